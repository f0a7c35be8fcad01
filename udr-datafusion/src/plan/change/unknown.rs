//! Refuses predicates that the engine would answer with false where SQL says unknown.
//!
//! `x IN (SELECT …)` is unknown, not false, where `x` or a row of the subquery is NULL and nothing
//! is equal. The engine knows that where rows must meet an `IN` or `NOT IN` by itself. Inside an
//! `OR`, a `NOT` or a `CASE` it joins for a mark that is never unknown. That chooses the same rows
//! for an `IN` below nothing but `AND` and `OR`, where unknown is as good as false; but
//! `a OR x NOT IN (SELECT …)` would hold for rows that it must not hold for.

use std::collections::BTreeSet;

use datafusion::common::tree_node::{TreeNode as _, TreeNodeRecursion};
use datafusion::common::{Column, DFSchema, JoinType};
use datafusion::error::Result as DataFusionResult;
use datafusion::logical_expr::utils::split_conjunction;
use datafusion::logical_expr::{Expr, ExprSchemable as _, LogicalPlan, Operator, Subquery};
use udr_core::Error;

use crate::error::to_datafusion;

/// Refuses a plan, fresh or optimised, that asks such a thing of the rows to change.
///
/// # Errors
///
/// `Unsupported`, with the expression.
pub(super) fn refuse(plan: &LogicalPlan, statement: &str) -> DataFusionResult<()> {
    let mut marks = BTreeSet::new();
    plan.apply_with_subqueries(|node| {
        marks.extend(mark(node)?);
        Ok(TreeNodeRecursion::Continue)
    })?;
    let mut found = None;
    plan.apply_with_subqueries(|node| {
        found = unknown(node, &marks)?;
        Ok(if found.is_some() {
            TreeNodeRecursion::Stop
        } else {
            TreeNodeRecursion::Continue
        })
    })?;
    let Some(expression) = found else {
        return Ok(());
    };
    Err(to_datafusion(
        Error::unsupported(
            "whether a value that may be NULL is in a subquery cannot be asked inside OR, NOT or CASE",
        )
        .with("statement", statement)
        .with("expression", expression)
        .with_hint("ask with EXISTS, or make it a condition of its own that is joined by AND"),
    ))
}

/// The mark that an optimised plan has in place of a comparison that can be unknown.
fn mark(node: &LogicalPlan) -> DataFusionResult<Option<Column>> {
    let LogicalPlan::Join(join) = node else {
        return Ok(None);
    };
    if join.join_type != JoinType::LeftMark {
        return Ok(None);
    }
    let (left, right) = (join.left.schema(), join.right.schema());
    for (a, b) in &join.on {
        if a.nullable(left)? || b.nullable(right)? {
            return Ok(join.schema.columns().pop());
        }
    }
    Ok(None)
}

/// An expression of `node` that would be answered with false in place of unknown, where that
/// matters.
fn unknown(node: &LogicalPlan, marks: &BTreeSet<Column>) -> DataFusionResult<Option<String>> {
    let inputs = node.inputs();
    let schema = inputs
        .iter()
        .try_fold(DFSchema::empty(), |all, input| all.join(input.schema()));
    // Only a set operation has inputs that do not go together, and it has no expressions.
    let schema = schema.unwrap_or_else(|_| DFSchema::empty());
    let filters = matches!(node, LogicalPlan::Filter(_));
    let mut found = None;
    node.apply_expressions(|expr| {
        let parts = if filters {
            split_conjunction(expr)
        } else {
            vec![expr]
        };
        for part in parts {
            let alone = filters && matches!(part, Expr::InSubquery(_));
            let carried = !filters && matches!(part, Expr::Column(_));
            if !alone && !carried && matters(part, &schema, marks, filters)? {
                found = Some(part.to_string());
                return Ok(TreeNodeRecursion::Stop);
            }
        }
        Ok(TreeNodeRecursion::Continue)
    })?;
    Ok(found)
}

/// Whether false in place of unknown changes what `expr` says; `chooses` if it chooses rows, so
/// that both are the same to it.
fn matters(
    expr: &Expr,
    schema: &DFSchema,
    marks: &BTreeSet<Column>,
    chooses: bool,
) -> DataFusionResult<bool> {
    match expr {
        Expr::BinaryExpr(both) if matches!(both.op, Operator::And | Operator::Or) => {
            Ok(matters(&both.left, schema, marks, chooses)?
                || matters(&both.right, schema, marks, chooses)?)
        }
        Expr::InSubquery(asked) if chooses && !asked.negated => Ok(false),
        Expr::Column(_) if chooses => Ok(false),
        other => other.exists(|expr| match expr {
            Expr::InSubquery(asked) => nullable(&asked.expr, &asked.subquery, schema),
            Expr::SetComparison(asked) => nullable(&asked.expr, &asked.subquery, schema),
            Expr::Column(column) => Ok(marks.contains(column)),
            _ => Ok(false),
        }),
    }
}

/// Whether a comparison with a subquery can be unknown.
fn nullable(expr: &Expr, subquery: &Subquery, schema: &DFSchema) -> DataFusionResult<bool> {
    let fields = subquery.subquery.schema().fields();
    Ok(fields.iter().any(|field| field.is_nullable()) || expr.nullable(schema).unwrap_or(true))
}
