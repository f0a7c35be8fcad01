//! Changes of rows, in every spelling, become what can be planned.
//!
//! In: a parsed INSERT, DELETE, UPDATE or MERGE, and what its target looks like. Out: a [`Form`],
//! made of statements and queries that DataFusion plans and understands in the right way. Pure;
//! called by `statement`, which looks tables up and plans.

mod assignment;
mod build;
mod delete;
mod frame;
pub(super) mod head;
mod insert;
mod mark;
mod merge;
mod replace_where;
mod returning;
mod sides;
mod target;
mod update;
mod upsert;
mod with;

pub(crate) use delete::delete_all;
pub(crate) use frame::{Frame, query_statement};
pub(crate) use mark::is_marked;
pub(crate) use replace_where::Replace;
pub(crate) use returning::returns;
pub(crate) use target::{Key, Target, TargetColumn, target_name};
pub(crate) use upsert::{EXCLUDED, Twice, Upsert};

use datafusion::common::Result;
use datafusion::sql::sqlparser::ast::{Ident, ObjectName, Query, Statement, With};
use udr_core::Error;

use self::target::Named;
use super::external;

/// A change of rows as it is planned.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Form {
    /// A statement that DataFusion plans.
    Statement(Box<Statement>),
    /// The rows of a query over the target are deleted.
    Delete(Selected),
    /// The rows of a query over the target are written in their own places.
    Update(Selected),
    Upsert(Box<Upsert>),
    Replace(Box<Replace>),
}

/// Rows of the target.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Selected {
    pub(crate) target: ObjectName,
    /// All of the target's columns; the first table is the target.
    pub(crate) rows: Box<Query>,
    /// A query that must be possible to plan, or else names are not clear.
    pub(crate) check: Option<Box<Query>>,
}

impl Selected {
    fn new(target: ObjectName, rows: Query) -> Self {
        Self {
            target,
            rows: Box::new(rows),
            check: None,
        }
    }
}

/// A column of a statement's source.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct SourceColumn {
    /// What stands before it to tell it from others; nothing if it has no table.
    pub(crate) qualifier: Vec<Ident>,
    pub(crate) name: String,
}

impl SourceColumn {
    pub(crate) fn new(qualifier: &[String], name: &str) -> Self {
        Self {
            qualifier: qualifier.iter().map(|part| build::quoted(part)).collect(),
            name: name.to_owned(),
        }
    }
}

/// A statement that changes rows, with its `WITH` clause moved inside.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Change {
    statement: Statement,
    returning: Option<Query>,
    /// Whether the target gets the columns that it lacks.
    evolves: bool,
}

impl Change {
    /// Takes a statement and what stood in front of it.
    ///
    /// # Errors
    ///
    /// `Unsupported` or `Invalid` for clauses that cannot be done right.
    pub(crate) fn new(mut statement: Statement, with: Option<&With>, fold: bool) -> Result<Self> {
        if let Some(with) = with {
            with::push(with, &mut statement, fold)?;
        }
        let returning = match returning::take(&mut statement)? {
            None => None,
            Some(items) => Some(returning::query(items, &named(&statement)?)),
        };
        Ok(Self {
            statement,
            returning,
            evolves: false,
        })
    }

    /// The same, `WITH SCHEMA EVOLUTION`.
    ///
    /// # Errors
    ///
    /// `Unsupported` for what adds no values of a source's columns.
    pub(crate) fn evolving(mut self) -> Result<Self> {
        match &mut self.statement {
            Statement::Insert(insert) => insert::take_by_name(insert)?,
            Statement::Merge(_) => {}
            _ => {
                return Err(external(Error::unsupported(
                    "WITH SCHEMA EVOLUTION is for INSERT and MERGE",
                )));
            }
        }
        self.evolves = true;
        Ok(self)
    }

    /// The columns that the target must have, by the place of the one in the source that says what
    /// type they have.
    pub(crate) fn written(&self, source: &[SourceColumn], fold: bool) -> Vec<(String, usize)> {
        match &self.statement {
            Statement::Insert(insert) => insert::written(insert, source, fold),
            Statement::Merge(merge) => merge::written(merge, source, fold),
            _ => Vec::new(),
        }
    }

    /// The query whose columns must be known before the form is.
    pub(crate) fn source(&self) -> Option<Query> {
        match &self.statement {
            Statement::Insert(insert) => insert::source(insert, self.evolves),
            Statement::Merge(merge) => Some(merge::source(merge)),
            _ => None,
        }
    }

    /// Whether the form depends on what the target looks like.
    pub(crate) fn needs_target(&self) -> bool {
        match &self.statement {
            Statement::Insert(insert) => insert::needs_target(insert),
            Statement::Delete(delete) => !delete::is_plain(delete),
            _ => true,
        }
    }

    /// What of the changed rows is returned: a query over the target's name.
    pub(crate) fn returning(&self) -> Option<&Query> {
        self.returning.as_ref()
    }

    /// The statement as it is planned; `source` has the columns of [`Change::source`].
    ///
    /// # Errors
    ///
    /// Those of the statement.
    pub(crate) fn form(self, target: &Target, source: Option<&[SourceColumn]>) -> Result<Form> {
        match self.statement {
            Statement::Insert(statement) => insert::insert(statement, target, source),
            Statement::Update(statement) => update::update(statement, target),
            Statement::Delete(statement) => delete::delete(statement),
            Statement::Merge(statement) => {
                merge::merge(statement, target, source.unwrap_or_default(), self.evolves)
            }
            other => Ok(Form::Statement(Box::new(other))),
        }
    }
}

/// The target of a statement that returns rows.
fn named(statement: &Statement) -> Result<Named> {
    match statement {
        Statement::Insert(insert) => {
            let alias = mark::Clauses::take(&mut insert.clone()).alias;
            let name = target_name(statement).cloned();
            name.map(|name| Named { name, alias })
                .ok_or_else(|| external(Error::unsupported("an INSERT's target is a table")))
        }
        Statement::Update(update) => Named::of(&update.table.relation, "UPDATE"),
        Statement::Delete(delete) => match delete::tables(delete) {
            [table, ..] => Named::of(&table.relation, "DELETE"),
            [] => Err(external(Error::invalid("a DELETE needs a table"))),
        },
        _ => Err(external(Error::internal("the statement returns nothing"))),
    }
}

#[cfg(test)]
mod tests;
