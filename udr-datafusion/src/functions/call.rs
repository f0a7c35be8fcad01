//! `udr_call('statement')`: any statement that is no query, through plain SQL.

use std::sync::Arc;

use datafusion::catalog::{TableFunctionArgs, TableFunctionImpl, TableProvider};
use datafusion::error::Result;
use udr_core::Error;

use super::only_string;
use crate::error::to_datafusion;
use crate::exec::CommandTable;
use crate::session::UdrSession;
use crate::sql::parser::parse;
use crate::statement::{parse_options, result_schema, run_parsed};

/// Parses a statement when it is planned, and runs it when it is executed.
#[derive(Debug)]
pub(super) struct UdrCall {
    session: Arc<UdrSession>,
}

impl UdrCall {
    pub(super) fn new(session: Arc<UdrSession>) -> Self {
        Self { session }
    }
}

impl TableFunctionImpl for UdrCall {
    fn call_with_args(&self, args: TableFunctionArgs<'_, '_>) -> Result<Arc<dyn TableProvider>> {
        let usage = "SELECT * FROM udr_call('CREATE BRANCH dev')";
        let sql = only_string(args.exprs(), usage).map_err(to_datafusion)?;
        let statement = parse(&sql, parse_options(args.session().config_options()))?;
        let Some(schema) = result_schema(&statement) else {
            return Err(to_datafusion(
                Error::unsupported("udr_call runs no queries, and no RETURNING")
                    .with("statement", sql)
                    .with_hint("run it as plain SQL, or with udr_sql"),
            ));
        };
        let session = Arc::clone(&self.session);
        Ok(Arc::new(CommandTable::new(schema, move || {
            let (session, statement) = (Arc::clone(&session), statement.clone());
            Box::pin(async move { run_parsed(&session, statement).await })
        })))
    }
}
