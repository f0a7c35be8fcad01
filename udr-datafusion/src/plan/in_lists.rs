//! Lists that the engine must not merge.
//!
//! The engine merges two `IN` lists of one operand: `a IN (1, 2) AND a IN (3)` becomes false, and
//! `a NOT IN (1) OR a NOT IN (2)` true. That is not so where `a` is NULL, where a list has a NULL,
//! and where it has anything that is no literal: `a IN (b) AND a IN (c)` holds where `b = c`. A
//! DELETE would take rows that its condition says nothing of.
//!
//! In: an `AND` or an `OR` as it is planned, so that a statement is right however it is run, and
//! before PREPARE optimizes it. Out: the same condition, in a form that has nothing to merge, if
//! both sides have a list of one operand; else as it was, also where merging is right: the operand is
//! never NULL, and its lists are of literals. Called by DataFusion.

use std::collections::HashSet;

use datafusion::common::tree_node::{Transformed, TreeNode as _, TreeNodeRecursion};
use datafusion::common::{DFSchema, ScalarValue};
use datafusion::error::Result as DataFusionResult;
use datafusion::logical_expr::expr::InList;
use datafusion::logical_expr::planner::{ExprPlanner, PlannerResult, RawBinaryExpr};
use datafusion::logical_expr::{
    BinaryExpr, Case, Expr, ExprSchemable as _, Operator, binary_expr, lit,
};
use datafusion::sql::sqlparser::ast::BinaryOperator;

/// Plans conditions with several lists of one operand.
#[derive(Debug)]
pub(crate) struct InLists;

impl ExprPlanner for InLists {
    fn plan_binary_op(
        &self,
        expr: RawBinaryExpr,
        schema: &DFSchema,
    ) -> DataFusionResult<PlannerResult<RawBinaryExpr>> {
        let op = match expr.op {
            BinaryOperator::And => Operator::And,
            BinaryOperator::Or => Operator::Or,
            _ => return Ok(PlannerResult::Original(expr)),
        };
        // What comes last in a chain is seldom a list, so that a long one is not looked at again
        // with each link.
        let mut both = operands(&expr.right)?;
        if !both.is_empty() {
            let left = operands(&expr.left)?;
            both.retain(|operand| left.contains(operand));
            let sides = [&expr.left, &expr.right];
            both.retain(|operand| !merges_rightly(operand, sides, schema));
        }
        if both.is_empty() {
            return Ok(PlannerResult::Original(expr));
        }
        let left = apart(expr.left, &both)?;
        let right = apart(expr.right, &both)?;
        Ok(PlannerResult::Planned(binary_expr(left, op, right)))
    }
}

/// Whether all lists of `operand` mean what they do when they are merged.
fn merges_rightly(operand: &Expr, sides: [&Expr; 2], schema: &DFSchema) -> bool {
    let never_null = matches!(operand.nullable(schema), Ok(false));
    // Floats have two zeros, which are one value or two.
    let exact = operand.get_type(schema).is_ok_and(|ty| !ty.is_floating());
    never_null && exact && sides.iter().all(|side| has_literals_only(side, operand))
}

/// Whether what `operand` is compared with in `expr` are literals, and none is NULL.
fn has_literals_only(expr: &Expr, operand: &Expr) -> bool {
    let is_known = |expr: &Expr| match expr {
        Expr::Literal(value, _) => !value.is_null() && !value.data_type().is_floating(),
        _ => false,
    };
    let other = expr.exists(|expr| {
        Ok(match expr {
            Expr::InList(list) => list.expr.as_ref() == operand && !list.list.iter().all(is_known),
            other => equality(other)
                .is_some_and(|(column, constant)| column == operand && !is_known(constant)),
        })
    });
    !other.unwrap_or(true)
}

/// What is compared with a list in `expr`, or with values that the engine would make a list of.
fn operands(expr: &Expr) -> DataFusionResult<HashSet<Expr>> {
    let mut found = HashSet::new();
    expr.apply(|expr| {
        if is_apart(expr) {
            return Ok(TreeNodeRecursion::Jump);
        }
        match expr {
            Expr::InList(list) if !list.expr.is_volatile() => {
                found.insert(list.expr.as_ref().clone());
            }
            Expr::BinaryExpr(both) if both.op == Operator::Or => {
                let left = compared(&both.left)?;
                let right = compared(&both.right)?;
                found.extend(left.intersection(&right).cloned());
            }
            _ => {}
        }
        Ok(TreeNodeRecursion::Continue)
    })?;
    Ok(found)
}

/// What is compared with a constant in `expr`.
fn compared(expr: &Expr) -> DataFusionResult<HashSet<Expr>> {
    let mut found = HashSet::new();
    expr.apply(|expr| {
        if is_apart(expr) {
            return Ok(TreeNodeRecursion::Jump);
        }
        found.extend(equality(expr).map(|(operand, _)| operand.clone()));
        Ok(TreeNodeRecursion::Continue)
    })?;
    Ok(found)
}

/// The column and the constant of a comparison that the engine takes for a list of one.
fn equality(expr: &Expr) -> Option<(&Expr, &Expr)> {
    let Expr::BinaryExpr(BinaryExpr { left, op, right }) = expr else {
        return None;
    };
    if *op != Operator::Eq {
        return None;
    }
    match (left.as_ref(), right.as_ref()) {
        (column @ Expr::Column(_), constant) | (constant, column @ Expr::Column(_))
            if is_constant(constant) =>
        {
            Some((column, constant))
        }
        _ => None,
    }
}

/// Whether it is the same for all rows, and may become a literal.
fn is_constant(expr: &Expr) -> bool {
    let varies = expr.exists(|expr| {
        Ok(matches!(
            expr,
            Expr::Column(_)
                | Expr::OuterReferenceColumn(..)
                | Expr::ScalarSubquery(_)
                | Expr::InSubquery(_)
                | Expr::Exists(_)
        ))
    });
    !varies.unwrap_or(true)
}

/// `expr` with nothing to merge that compares one of `operands`.
fn apart(expr: Expr, operands: &HashSet<Expr>) -> DataFusionResult<Expr> {
    let changed = expr.transform_down(|expr| {
        if is_apart(&expr) {
            return Ok(Transformed::new(expr, false, TreeNodeRecursion::Jump));
        }
        let changed = match expr {
            Expr::InList(list) if operands.contains(&list.expr) => list_apart(list),
            other => match equality(&other) {
                Some((operand, _)) if operands.contains(operand) => {
                    let operand = operand.clone();
                    unless_null(operand, other)
                }
                _ => return Ok(Transformed::no(other)),
            },
        };
        Ok(Transformed::new(changed, true, TreeNodeRecursion::Jump))
    })?;
    Ok(changed.data)
}

/// A list with its literals in it, and everything else beside it.
fn list_apart(list: InList) -> Expr {
    let InList {
        expr,
        list,
        negated,
    } = list;
    let (compare, join) = if negated {
        (Operator::NotEq, Operator::And)
    } else {
        (Operator::Eq, Operator::Or)
    };
    let mut literals = Vec::new();
    let mut parts = Vec::new();
    for element in list {
        match element {
            Expr::Literal(value, _) if value.is_null() => {
                parts.push(lit(ScalarValue::Boolean(None)));
            }
            literal @ Expr::Literal(..) => literals.push(literal),
            other => {
                let constant = is_constant(&other);
                let one = binary_expr(expr.as_ref().clone(), compare, other);
                parts.push(if constant {
                    unless_null(expr.as_ref().clone(), one)
                } else {
                    one
                });
            }
        }
    }
    if !literals.is_empty() || parts.is_empty() {
        let operand = expr.as_ref().clone();
        let list = Expr::InList(InList::new(expr, literals, negated));
        parts.insert(0, unless_null(operand, list));
    }
    let joined = parts.into_iter();
    let joined = joined.reduce(|all, part| binary_expr(all, join, part));
    joined.unwrap_or_else(|| lit(negated))
}

/// What `comparison` with `operand` says, in a form that the engine does not look into.
fn unless_null(operand: Expr, comparison: Expr) -> Expr {
    let unknown = lit(ScalarValue::Boolean(None));
    Expr::Case(Case {
        expr: None,
        when_then_expr: vec![(Box::new(operand.is_null()), Box::new(unknown))],
        else_expr: Some(Box::new(comparison)),
    })
}

/// Whether it is what [`unless_null`] makes.
fn is_apart(expr: &Expr) -> bool {
    let Expr::Case(case) = expr else {
        return false;
    };
    let [(when, then)] = case.when_then_expr.as_slice() else {
        return false;
    };
    let Expr::IsNull(operand) = when.as_ref() else {
        return false;
    };
    let unknown = matches!(then.as_ref(), Expr::Literal(ScalarValue::Boolean(None), _));
    let compares = match case.else_expr.as_deref() {
        Some(Expr::InList(list)) => list.expr == *operand,
        Some(Expr::BinaryExpr(both)) => both.left == *operand || both.right == *operand,
        _ => false,
    };
    case.expr.is_none() && unknown && compares
}
