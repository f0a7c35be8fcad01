//! Functions for those who have only plain SQL.
//!
//! | function | what it does |
//! |---|---|
//! | `SELECT * FROM udr_call('CREATE BRANCH dev')` | any statement of `udr_sql` that is no query |
//! | `SELECT udr_use('dev')`, `SELECT * FROM udr_use('dev')` | `USE BRANCH dev` |
//! | `SELECT * FROM udr_at('t', 'main~2')` | only in `udr_sql`; plain SQL has the name `"t@main~2"` |
//! | `SELECT * FROM table_changes('t', 3, 7)` | the same, with `"t$changes@2..7"` |
//! | `SELECT * FROM udr_changes(2, 7, 't', 'u')` | the same, with `udr."changes$t,u@2..7"` |
//!
//! In: literals. Out: tables and values whose effects happen when they are executed, once, and not
//! when they are planned or explained. Called by DataFusion.

mod at;
mod call;
mod changes;
mod use_branch;

use std::sync::Arc;

use datafusion::common::ScalarValue;
use datafusion::execution::context::SessionContext;
use datafusion::logical_expr::Expr;
use udr_core::{Error, Result};

use crate::session::UdrSession;
use crate::sql::changes::ChangeFunction;

pub(crate) use use_branch::has_effects;

/// Registers the functions of a session in its context.
pub(crate) fn register(ctx: &SessionContext, session: &Arc<UdrSession>) {
    ctx.register_udtf(
        "udr_call",
        Arc::new(call::UdrCall::new(Arc::clone(session))),
    );
    ctx.register_udtf(
        "udr_use",
        Arc::new(use_branch::UdrUseTable::new(Arc::clone(session))),
    );
    ctx.register_udtf("udr_at", Arc::new(at::UdrAt));
    for function in ChangeFunction::ALL {
        ctx.register_udtf(function.as_str(), Arc::new(changes::UdrChanges(function)));
    }
    ctx.register_udf(use_branch::scalar(Arc::clone(session)));
}

/// The one argument of a function, which must be a string literal.
fn only_string(exprs: &[Expr], usage: &'static str) -> Result<String> {
    match exprs {
        [
            Expr::Literal(
                ScalarValue::Utf8(Some(text))
                | ScalarValue::Utf8View(Some(text))
                | ScalarValue::LargeUtf8(Some(text)),
                _,
            ),
        ] => Ok(text.clone()),
        _ => Err(Error::invalid("the function takes one string").with_hint(usage)),
    }
}
