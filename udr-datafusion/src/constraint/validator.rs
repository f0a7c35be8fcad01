//! Checks what a statement staged, and what a commit is about to publish.
//!
//! NOT NULL, checks, generated columns and keys hold after every statement; foreign keys hold at
//! commit, so that both sides can come in one transaction. Of a state that is known to be right,
//! only what is new is looked at:
//!
//! 1. A statement is compared with the state before it, a commit with the base of its transaction.
//! 2. A commit whose rows were all checked after the last statement checks foreign keys only.
//! 3. A commit that others were faster than compares its rows with what they published since.

use std::collections::BTreeSet;
use std::sync::{Arc, Weak};

use async_trait::async_trait;
use datafusion::execution::context::SessionState;
use datafusion::prelude::SessionContext;
use parking_lot::{Mutex, RwLock};
use udr_core::format::{Constraint, DataFile};
use udr_core::id::TableId;
use udr_core::snapshot::{Snapshot, TableSnapshot};
use udr_core::txn::Validate;
use udr_core::{Error, Result};

use super::check::Check;
use super::expression::for_rules;
use super::foreign_keys::ForeignKeys;
use super::query::Query;
use super::row_rules::RuleBasis;
use crate::session::UdrSession;

/// Checks the constraints of the transactions of one session.
pub(crate) struct Validator {
    context: Weak<RwLock<SessionState>>,
    /// The state after the last statement that was checked.
    statement: Mutex<Option<Snapshot>>,
}

impl Validator {
    pub(crate) fn new(context: Weak<RwLock<SessionState>>) -> Self {
        Self {
            context,
            statement: Mutex::new(None),
        }
    }

    /// Checks what a statement of an open transaction staged.
    ///
    /// # Errors
    ///
    /// `Invalid` if a row breaks a constraint; those of reading.
    pub(crate) async fn statement(&self, before: &Snapshot, after: &Snapshot) -> Result<()> {
        for id in after.staged_tables() {
            let Some(table) = after.table_by_id(id).await? else {
                continue;
            };
            let before = before.table_by_id(id).await?;
            self.rows_of(before.as_ref(), &table).await?;
        }
        *self.statement.lock() = Some(after.clone());
        Ok(())
    }

    /// Checks all but foreign keys, given that they held before.
    async fn rows_of(&self, before: Option<&TableSnapshot>, table: &TableSnapshot) -> Result<()> {
        let added = added_since(before, table);
        let tightened = before.is_some_and(|before| {
            before.schema() != table.schema() || before.constraints() != table.constraints()
        });
        let basis = RuleBasis::of(table);
        if (added.is_empty() || (basis.is_trivial() && table.key_columns().is_empty()))
            && !tightened
        {
            return Ok(());
        }
        let check = Check {
            query: self.query()?,
            table,
        };
        check.each_row(before, &added, &basis).await?;
        for constraint in table.constraints() {
            if matches!(constraint, Constraint::Unique { .. }) {
                check.key(before, &added, constraint).await?;
            }
        }
        Ok(())
    }

    pub(super) fn query(&self) -> Result<Query> {
        let state = self
            .context
            .upgrade()
            .ok_or_else(|| Error::internal("the session outlived its context"))?;
        let state = state.read().clone();
        let session = state
            .config()
            .get_extension::<UdrSession>()
            .ok_or_else(|| Error::internal("the context has no repository"))?;
        // A context of its own starts the clock of its statement.
        let state = SessionContext::new_with_state(for_rules(&state)).state();
        Ok(Query { session, state })
    }
}

#[async_trait]
impl Validate for Validator {
    async fn validate(
        &self,
        staged: &Snapshot,
        changed: &[TableId],
        checked: Option<&Snapshot>,
    ) -> Result<()> {
        let known = self.statement.lock().take();
        let known = known.is_some_and(|known| known.is_same(staged));
        for id in changed {
            let Some(table) = staged.table_by_id(*id).await? else {
                continue;
            };
            let base = table.base();
            match checked {
                None if known => {}
                None => self.rows_of(base.as_ref(), &table).await?,
                Some(checked) => {
                    let check = Check {
                        query: self.query()?,
                        table: &table,
                    };
                    check.keys_again(checked).await?;
                }
            }
            let foreign = ForeignKeys {
                validator: self,
                staged,
                checked,
                table: &table,
            };
            foreign.of_added(base.as_ref()).await?;
            foreign.of_removed(base.as_ref()).await?;
        }
        Ok(())
    }
}

impl std::fmt::Debug for Validator {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Validator").finish_non_exhaustive()
    }
}

/// The files of `table` that a transaction added since a state of it.
fn added_since(before: Option<&TableSnapshot>, table: &TableSnapshot) -> Vec<Arc<DataFile>> {
    let known = before.map_or(&[][..], TableSnapshot::added);
    let known = known.iter().map(|file| file.id).collect::<BTreeSet<_>>();
    let added = table.added().iter();
    added
        .filter(|file| !known.contains(&file.id))
        .cloned()
        .collect()
}
