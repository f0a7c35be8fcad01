//! `udr_at`, which plain SQL cannot have.

use std::sync::Arc;

use datafusion::catalog::{TableFunctionArgs, TableFunctionImpl, TableProvider};
use datafusion::error::Result;
use udr_core::Error;

use crate::error::to_datafusion;

/// Refuses, and says which name does the same.
///
/// DataFusion asks a table function for its columns synchronously, and finding the columns of a
/// table at a revision waits for the store. Names are resolved asynchronously, so `"t@revision"`
/// works everywhere; `udr_sql` turns this function into that name.
#[derive(Debug)]
pub(super) struct UdrAt;

impl TableFunctionImpl for UdrAt {
    fn call_with_args(&self, args: TableFunctionArgs<'_, '_>) -> Result<Arc<dyn TableProvider>> {
        let hint = match args.exprs() {
            [table, revision] => match (text(table), text(revision)) {
                (Some(table), Some(revision)) => format!("write \"{table}@{revision}\""),
                _ => "write \"t@main~2\"".to_owned(),
            },
            _ => "write \"t@main~2\"".to_owned(),
        };
        Err(to_datafusion(
            Error::unsupported("udr_at is only understood by udr_sql").with_hint(hint),
        ))
    }
}

fn text(expr: &datafusion::logical_expr::Expr) -> Option<String> {
    super::only_string(std::slice::from_ref(expr), "").ok()
}
