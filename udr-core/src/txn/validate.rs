//! What only an engine can tell: whether rows obey the constraints of their table.

use std::fmt::Debug;
use std::sync::Arc;

use async_trait::async_trait;

use super::{Conflict, Transaction};
use crate::error::{Error, ErrorKind, Result};
use crate::format::TableOperation;
use crate::id::TableId;
use crate::snapshot::Snapshot;

/// Checks the constraints of what a transaction is about to publish.
///
/// A commit asks before each of its attempts, on the very state that the attempt publishes: the
/// attempt succeeds only if nobody publishes in between, so what was checked holds.
#[async_trait]
pub trait Validate: Debug + Send + Sync {
    /// Checks the tables `changed` in `staged`, the new head with the transaction's changes.
    ///
    /// `checked` is the state that the attempt before was made with: it was found to be right, so
    /// that only what others published since need be looked at. The base of the transaction obeys
    /// its constraints.
    ///
    /// # Errors
    ///
    /// `Invalid` if a row breaks a constraint, naming constraint, table and row; those of reading.
    async fn validate(
        &self,
        staged: &Snapshot,
        changed: &[TableId],
        checked: Option<&Snapshot>,
    ) -> Result<()>;
}

impl Transaction {
    /// Says who checks constraints. Without, changes of tables that have any that the change could
    /// break are not committed.
    pub fn set_validator(&mut self, validator: Arc<dyn Validate>) {
        self.validator = Some(validator);
    }

    /// Checks the constraints that the staged changes could break; a conflict if it is what others
    /// published that they break them with.
    pub(super) async fn validate(
        &self,
        staged: &Snapshot,
        checked: Option<&Snapshot>,
    ) -> Result<Option<Conflict>> {
        let changed = tables_to_validate(staged);
        let Some(first) = changed.first() else {
            return Ok(None);
        };
        let Some(validator) = &self.validator else {
            let tables = &staged.catalog().overlay().tables;
            let path = tables.get(first).and_then(|table| table.path.as_ref());
            let error = Error::unsupported("nobody checks the constraints of a changed table")
                .with_hint("change it through an engine, which sets a validator");
            return Err(match path {
                Some(path) => error.with("table", path),
                None => error,
            });
        };
        match validator.validate(staged, &changed, checked).await {
            Ok(()) => Ok(None),
            Err(error) if checked.is_some() && error.kind() == ErrorKind::Invalid => {
                Ok(Some(Conflict {
                    subject: error.to_string(),
                    ours: "it held".to_owned(),
                    theirs: "a change that breaks it".to_owned(),
                    rows: Vec::new(),
                }))
            }
            Err(error) => Err(error),
        }
    }
}

/// The changed tables of which a constraint could be broken, their own or that of a child.
fn tables_to_validate(staged: &Snapshot) -> Vec<TableId> {
    let overlay = staged.catalog().overlay();
    if overlay.tables.is_empty() {
        return Vec::new();
    }
    let references = staged.catalog().references();
    let tables = overlay.tables.iter().filter(|(id, table)| {
        let adds = !table.added.is_empty();
        let is_parent = || references.iter().any(|reference| reference.parent == **id);
        table.path.is_some()
            && ((table.altered == Some(TableOperation::Constrain)
                && (adds || table.base.is_some()))
                || (adds && table.is_constrained())
                || (table.removes_rows() && is_parent()))
    });
    tables.map(|(id, _)| *id).collect()
}
