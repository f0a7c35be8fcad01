//! Expressions without columns, evaluated by DataFusion.

use std::sync::Arc;

use datafusion::common::{DFSchema, Result, ScalarValue};
use datafusion::execution::context::SessionState;
use datafusion::logical_expr::Expr;
use datafusion::logical_expr::simplify::SimplifyContext;
use datafusion::optimizer::simplify_expressions::ExprSimplifier;

use datafusion::sql::sqlparser::ast::{self, ExprWithAlias};
use udr_core::Error;

use super::external;

/// Evaluates `expr`; `now()` is when `state` started its statement.
///
/// # Errors
///
/// DataFusion's, and `Invalid` if the value depends on more than literals and the time.
pub(crate) fn evaluate(state: &SessionState, expr: ast::Expr) -> Result<ScalarValue> {
    let text = expr.to_string();
    let schema = DFSchema::empty();
    let expr = state
        .create_logical_expr_from_sql_expr(ExprWithAlias { expr, alias: None }, &schema)
        .map_err(|e| not_constant(&text).with_source(e))
        .map_err(external)?;
    let context = SimplifyContext::builder()
        .with_config_options(Arc::clone(state.config_options()))
        .with_query_execution_start_time(state.execution_props().query_execution_start_time)
        .build();
    let simplifier = ExprSimplifier::new(context);
    match simplifier
        .coerce(expr, &schema)
        .and_then(|expr| simplifier.simplify(expr))?
    {
        Expr::Literal(value, _) => Ok(value),
        _ => Err(external(not_constant(&text))),
    }
}

fn not_constant(text: &str) -> Error {
    Error::invalid("the expression is not constant").with("expression", text)
}
