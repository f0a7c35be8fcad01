//! INSERT, DELETE, UPDATE and MERGE on tables of the repository, in every spelling.
//!
//! What a statement says becomes statements and queries that DataFusion plans; their plans are put
//! together to one change of rows, which is one commit.

mod evolve;
mod plan;
mod target;
mod upsert;

use std::sync::Arc;

use datafusion::common::Result;
use datafusion::execution::context::SessionState;
use datafusion::logical_expr::LogicalPlan;
use datafusion::sql::parser::Statement as SqlStatement;
use datafusion::sql::sqlparser::ast::ObjectName;
use udr_core::Error;

use self::plan::{Planner, columns};
use super::target::{Place, place};
use crate::error::to_datafusion;
use crate::plan::checked;
use crate::session::{Source, UdrSession};
use crate::sql::dml::{Change, Form, Frame, Target, is_marked, returns, target_name};

/// A statement that changes rows of one of the repository's tables.
#[derive(Debug)]
pub(super) struct RowStatement {
    frame: Frame,
    change: Change,
    target: ObjectName,
    /// Whether the target gets the columns that it lacks.
    evolves: bool,
}

/// Whether a statement changes rows, or is about one that does.
pub(super) fn changes(statement: &SqlStatement) -> bool {
    Frame::split(statement).is_some()
}

/// Whether a statement changes rows, at once, and gives their number and nothing else.
pub(super) fn counts(statement: &SqlStatement) -> bool {
    Frame::split(statement).is_some_and(|(frame, inner, _)| frame.is_empty() && !returns(&inner))
}

impl RowStatement {
    /// The statement, if it is one and its target is in the repository.
    ///
    /// # Errors
    ///
    /// `Invalid` if the target is on another branch; `Unsupported` for clauses that cannot be done
    /// right, or that only the repository's tables know.
    pub(super) fn of(
        state: &SessionState,
        session: &UdrSession,
        statement: &SqlStatement,
    ) -> Result<Option<Self>> {
        let Some((frame, inner, with)) = Frame::split(statement) else {
            return Ok(None);
        };
        let Some(target) = target_name(&inner).cloned() else {
            return Ok(None);
        };
        if place(state, session, &target)? == Place::Host {
            if is_marked(&inner) {
                return Err(to_datafusion(
                    Error::unsupported("this form changes rows of the repository's tables only")
                        .with("table", target.to_string()),
                ));
            }
            return Ok(None);
        }
        let fold = state.config_options().sql_parser.enable_ident_normalization;
        let change = Change::new(inner, with.as_ref(), fold)?;
        Ok(Some(Self {
            frame,
            change,
            target,
            evolves: false,
        }))
    }

    /// The same, `WITH SCHEMA EVOLUTION`.
    ///
    /// # Errors
    ///
    /// `Unsupported` if it cannot have it, `Invalid` if it lacks the names of columns.
    pub(super) fn evolving(mut self) -> Result<Self> {
        if self.frame.prepares() {
            return Err(to_datafusion(
                Error::unsupported("a prepared statement cannot change its target's columns")
                    .with_hint("ALTER TABLE first, or run it without PREPARE"),
            ));
        }
        self.change = self.change.evolving()?;
        self.evolves = true;
        Ok(self)
    }

    /// The plan of the statement; nothing is changed before it runs.
    ///
    /// # Errors
    ///
    /// Those of the statement.
    pub(super) async fn plan(
        self,
        state: &SessionState,
        session: &Arc<UdrSession>,
    ) -> Result<LogicalPlan> {
        let source = match self.change.source() {
            Some(query) => {
                let planner = Planner::new(state, session, self.frame.clone());
                Some(planner.source(query).await?)
            }
            None => None,
        };
        let evolution = match &source {
            Some(source) if self.evolves => {
                evolve::evolution(state, session, &self.target, &self.change, source).await?
            }
            _ => None,
        };
        match evolution {
            None => Box::pin(self.planned(state, session, &Source::Tip, source)).await,
            Some(evolution) => {
                let seen = Source::Evolving(Arc::new(evolution));
                let state = evolve::seeing(state, session, &seen);
                Box::pin(self.planned(&state, session, &seen, source)).await
            }
        }
    }

    /// The plan, with the target as it is `seen`.
    async fn planned(
        self,
        state: &SessionState,
        session: &Arc<UdrSession>,
        seen: &Source,
        source: Option<LogicalPlan>,
    ) -> Result<LogicalPlan> {
        let target = if self.change.needs_target() {
            target::look_up(state, session, &self.target, seen).await?
        } else {
            Target::default()
        };
        let returning = self.change.returning().cloned();
        if returning.is_some() && self.frame.prepares() {
            return Err(to_datafusion(
                Error::unsupported("a prepared statement cannot return the rows that it changes")
                    .with_hint("run it without PREPARE, or leave RETURNING out"),
            ));
        }
        // What returns rows stands in the frame instead of what changes them.
        let frame = match &returning {
            Some(_) => Frame::none(),
            None => self.frame.clone(),
        };
        let planner = Planner::new(state, session, frame);
        let columns = source.as_ref().map(columns);
        let plan = match self.change.form(&target, columns.as_deref())? {
            Form::Statement(statement) => planner.framed(*statement).await?,
            Form::Delete(rows) => planner.delete(rows).await?,
            Form::Update(rows) => planner.update(rows).await?,
            Form::Upsert(upsert) => Box::pin(planner.upsert(*upsert)).await?,
            Form::Replace(replace) => Box::pin(planner.replace(*replace)).await?,
        };
        let plan = checked(plan)?;
        match returning {
            None => Ok(plan),
            Some(query) => {
                let planner = Planner::new(state, session, self.frame);
                planner.returning(query, plan).await
            }
        }
    }
}
