//! Refuses predicates that could choose other rows each time they are asked.
//!
//! Which rows a statement changes must follow from what it read: a conflict is decided by the
//! rows, and a transaction can only tell what it depends on if asking again gives the same.

use datafusion::common::tree_node::{TreeNode as _, TreeNodeRecursion};
use datafusion::error::Result as DataFusionResult;
use datafusion::logical_expr::{Expr, LogicalPlan};
use udr_core::Error;

use crate::error::to_datafusion;

/// Refuses a plan that chooses rows by an expression that is not the same each time.
///
/// # Errors
///
/// `Unsupported`, with the expression.
pub(super) fn refuse(plan: &LogicalPlan, statement: &str) -> DataFusionResult<()> {
    let chooses = match plan {
        LogicalPlan::Filter(_) | LogicalPlan::Limit(_) | LogicalPlan::Sort(_) => true,
        LogicalPlan::TableScan(_) => true,
        LogicalPlan::Join(join) => {
            if volatile_plan(&join.right)? {
                return Err(refusal(statement, &join.right.display().to_string()));
            }
            true
        }
        _ => false,
    };
    if chooses {
        plan.apply_expressions(|expr| {
            refuse_expr(expr, statement)?;
            Ok(TreeNodeRecursion::Continue)
        })?;
    }
    // The right side of a join was looked at whole.
    match plan {
        LogicalPlan::Join(join) => refuse(&join.left, statement),
        other => other
            .inputs()
            .into_iter()
            .try_for_each(|input| refuse(input, statement)),
    }
}

/// Refuses an expression that is not the same each time.
///
/// # Errors
///
/// As [`refuse`].
pub(super) fn refuse_expr(expr: &Expr, statement: &str) -> DataFusionResult<()> {
    if volatile(expr)? {
        return Err(refusal(statement, &expr.to_string()));
    }
    Ok(())
}

fn refusal(statement: &str, what: &str) -> datafusion::error::DataFusionError {
    to_datafusion(
        Error::unsupported(
            "rows cannot be chosen by an expression that is not the same each time it is asked",
        )
        .with("statement", statement)
        .with("expression", what)
        .with_hint("write the chosen rows' keys to a table first, and choose by that"),
    )
}

/// Whether an expression, or a subquery in it, can give other values each time.
fn volatile(expr: &Expr) -> DataFusionResult<bool> {
    expr.exists(|expr| {
        Ok(expr.is_volatile_node()
            || match expr {
                Expr::InSubquery(subquery) => volatile_plan(&subquery.subquery.subquery)?,
                Expr::Exists(subquery) => volatile_plan(&subquery.subquery.subquery)?,
                Expr::ScalarSubquery(subquery) => volatile_plan(&subquery.subquery)?,
                Expr::SetComparison(subquery) => volatile_plan(&subquery.subquery.subquery)?,
                _ => false,
            })
    })
}

fn volatile_plan(plan: &LogicalPlan) -> DataFusionResult<bool> {
    let mut found = false;
    plan.apply_with_subqueries(|node| {
        node.apply_expressions(|expr| {
            found |= expr.is_volatile();
            Ok(TreeNodeRecursion::Continue)
        })?;
        Ok(if found {
            TreeNodeRecursion::Stop
        } else {
            TreeNodeRecursion::Continue
        })
    })?;
    Ok(found)
}
