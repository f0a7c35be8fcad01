//! Expressions over the columns of one row: checks and generated columns.

use std::sync::Arc;

use arrow::compute::can_cast_types;
use arrow::datatypes::{DataType, SchemaRef};
use datafusion::common::DFSchema;
use datafusion::common::config::{ExecutionOptions, SqlParserOptions};
use datafusion::common::tree_node::{TreeNode as _, TreeNodeRecursion};
use datafusion::error::Result as DataFusionResult;
use datafusion::execution::context::SessionState;
use datafusion::logical_expr::{Expr, ExprSchemable as _, Volatility};
use datafusion::physical_plan::PhysicalExpr;
use udr_core::{Error, Result};

use crate::functions::has_effects;

/// What the value of an expression must be.
#[derive(Debug, Clone)]
pub(crate) enum Wanted {
    /// Of a check.
    Boolean,
    /// Of a generated column: its type.
    Of(DataType),
}

/// The state of a context in which rules say the same for everybody: neither the dialect nor the
/// time zone of a client changes what an expression is.
pub(super) fn for_rules(state: &SessionState) -> SessionState {
    let mut state = state.clone();
    let options = state.config_mut().options_mut();
    let defaults = ExecutionOptions::default();
    options.sql_parser = SqlParserOptions::default();
    options.execution.time_zone = defaults.time_zone;
    options.execution.enable_ansi_mode = defaults.enable_ansi_mode;
    state
}

/// The expression, ready to be evaluated over batches of `schema`; of type `wanted`. `state` is one
/// [`for_rules`].
pub(super) fn compile(
    state: &SessionState,
    sql: &str,
    schema: &SchemaRef,
    wanted: &Wanted,
) -> DataFusionResult<Arc<dyn PhysicalExpr>> {
    let columns = DFSchema::try_from(Arc::clone(schema))?;
    let expr = state.create_logical_expr(sql, &columns)?;
    let expr = match wanted {
        Wanted::Boolean => expr,
        Wanted::Of(ty) => expr.cast_to(ty, &columns)?,
    };
    state.create_physical_expr(expr, &columns)
}

/// Refuses an expression that cannot be a rule: it depends on more than the columns of its row,
/// could be another value the next time, or is not of the type wanted.
///
/// # Errors
///
/// `Invalid`, with the expression and the reason.
pub(crate) fn check_expression(
    state: &SessionState,
    sql: &str,
    schema: &SchemaRef,
    wanted: &Wanted,
) -> Result<()> {
    let refuse = |why: String| {
        Error::invalid("the expression cannot be a rule for rows")
            .with("expression", sql)
            .with("reason", why)
    };
    let engine = |error: datafusion::error::DataFusionError| refuse(error.strip_backtrace());
    let columns = DFSchema::try_from(Arc::clone(schema)).map_err(engine)?;
    let state = &for_rules(state);
    let expr = state.create_logical_expr(sql, &columns).map_err(engine)?;
    let mut reason = None;
    expr.apply(|expr| {
        reason = reason_against(expr);
        Ok(match reason {
            Some(_) => TreeNodeRecursion::Stop,
            None => TreeNodeRecursion::Continue,
        })
    })
    .map_err(engine)?;
    if let Some(reason) = reason {
        return Err(refuse(reason.to_owned()));
    }
    let compiled = compile(state, sql, schema, &Wanted::Boolean).map_err(engine)?;
    let found = compiled.data_type(schema).map_err(engine)?;
    match wanted {
        Wanted::Boolean if matches!(found, DataType::Boolean | DataType::Null) => Ok(()),
        Wanted::Boolean => Err(refuse(format!("it is of type {found}, not boolean"))),
        Wanted::Of(ty) if can_cast_types(&found, ty) => {
            compile(state, sql, schema, wanted).map_err(engine)?;
            Ok(())
        }
        Wanted::Of(ty) => Err(refuse(format!("it is of type {found}, the column of {ty}"))),
    }
}

fn reason_against(expr: &Expr) -> Option<&'static str> {
    match expr {
        Expr::AggregateFunction(_) | Expr::WindowFunction(_) => Some("it looks at other rows"),
        Expr::ScalarSubquery(_) | Expr::Exists(_) | Expr::InSubquery(_) => {
            Some("it has a subquery")
        }
        Expr::Placeholder(_) | Expr::ScalarVariable(..) | Expr::OuterReferenceColumn(..) => {
            Some("it depends on more than the columns of the row")
        }
        Expr::ScalarFunction(function)
            if function.func.signature().volatility != Volatility::Immutable =>
        {
            Some("it is not the same value every time")
        }
        expr if has_effects(expr) => Some("it has effects"),
        _ => None,
    }
}
