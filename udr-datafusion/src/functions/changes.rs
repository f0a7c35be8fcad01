//! `table_changes` and `udr_changes`, which plain SQL has under other names.

use std::sync::Arc;

use datafusion::catalog::{TableFunctionArgs, TableFunctionImpl, TableProvider};
use datafusion::error::Result;
use udr_core::Error;

use crate::error::to_datafusion;
use crate::sql::changes::ChangeFunction;

/// Refuses, and says which name does the same, as [`UdrAt`](super::at::UdrAt) does and for its
/// reason.
#[derive(Debug)]
pub(super) struct UdrChanges(pub(super) ChangeFunction);

impl TableFunctionImpl for UdrChanges {
    fn call_with_args(&self, _args: TableFunctionArgs<'_, '_>) -> Result<Arc<dyn TableProvider>> {
        let hint = match self.0 {
            ChangeFunction::Table => {
                "write \"t$changes@2..7\" (after version 2, up to 7), or \"t$changes@[3..7\""
            }
            ChangeFunction::Udr => "write udr.\"changes@2..7\", or udr.\"changes$t,u@2..7\"",
        };
        let error =
            Error::unsupported(format!("{} is only understood by udr_sql", self.0.as_str()));
        Err(to_datafusion(error.with_hint(hint)))
    }
}
