//! `SET` lists: tuples taken apart, defaults put in, each column once.

use datafusion::common::Result;
use datafusion::sql::sqlparser::ast::{
    Assignment, AssignmentTarget, Expr, GroupByExpr, Ident, ObjectName, Query, SelectItem, SetExpr,
};
use udr_core::Error;

use super::build::quoted;
use super::target::{Named, Target};
use crate::sql::external;

/// A column's name and its new value.
pub(super) type Value = (String, Expr);

/// The values that a `SET` list gives.
///
/// # Errors
///
/// `NotFound` if there is no such column; `Invalid` if one is set twice, is another table's, or is
/// computed; `Unsupported` for tuples that cannot be taken apart.
pub(super) fn values(list: Vec<Assignment>, named: &Named, target: &Target) -> Result<Vec<Value>> {
    let mut values: Vec<Value> = Vec::with_capacity(list.len());
    for Assignment { target: set, value } in list {
        let pairs = match set {
            AssignmentTarget::ColumnName(name) => vec![(name, value)],
            AssignmentTarget::Tuple(names) => pairs(names, value)?,
        };
        for (name, value) in pairs {
            let (name, value) = one(&name, value, named, target)?;
            if values.iter().any(|(set, _)| *set == name) {
                return Err(external(
                    Error::invalid("a column is set twice").with("column", name),
                ));
            }
            values.push((name, value));
        }
    }
    Ok(values)
}

/// The values as a `SET` list that DataFusion plans.
pub(super) fn list(values: Vec<Value>) -> Vec<Assignment> {
    values
        .into_iter()
        .map(|(name, value)| Assignment {
            target: AssignmentTarget::ColumnName(ObjectName::from(vec![quoted(&name)])),
            value,
        })
        .collect()
}

fn one(name: &ObjectName, value: Expr, named: &Named, target: &Target) -> Result<Value> {
    let parts = name
        .0
        .iter()
        .filter_map(|part| part.as_ident().cloned())
        .collect::<Vec<_>>();
    let Some((column, qualifier)) = parts.split_last().filter(|_| parts.len() == name.0.len())
    else {
        return Err(external(
            Error::unsupported("this is no column").with("column", name.to_string()),
        ));
    };
    if !qualifier.is_empty() && !named.is_meant_by(qualifier, target.fold) {
        return Err(external(
            Error::invalid("only columns of the target can be set")
                .with("column", name.to_string())
                .with("target", named.short().value)
                .with_hint("a field of a struct is set by setting the whole column"),
        ));
    }
    let column = target.column(column)?;
    let default = is_default(&value);
    if column.generated && !default {
        return Err(external(
            Error::invalid("a generated column cannot be set")
                .with("column", &column.name)
                .with_hint("it is computed from the other columns"),
        ));
    }
    let value = if default {
        column.default_value()
    } else {
        value
    };
    Ok((column.name.clone(), value))
}

/// Whether the expression is the word `DEFAULT`.
pub(super) fn is_default(expr: &Expr) -> bool {
    matches!(expr, Expr::Identifier(ident)
        if ident.quote_style.is_none() && ident.value.eq_ignore_ascii_case("DEFAULT"))
}

/// `(a, b) = (1, 2)` and `(a, b) = (SELECT x, y …)`.
fn pairs(names: Vec<ObjectName>, value: Expr) -> Result<Vec<(ObjectName, Expr)>> {
    let count = names.len();
    let values = match value {
        Expr::Tuple(values) => values,
        Expr::Nested(value) if count == 1 => vec![*value],
        Expr::Subquery(query) => columns(&query, count)?,
        other => {
            return Err(external(
                Error::unsupported("a list of columns is set to a list of values or to a subquery")
                    .with("value", other.to_string())
                    .with_hint("(a, b) = (1, 2)"),
            ));
        }
    };
    if values.len() != count {
        return Err(external(
            Error::invalid("the lists of columns and of values have different lengths")
                .with("columns", count)
                .with("values", values.len()),
        ));
    }
    Ok(names.into_iter().zip(values).collect())
}

/// The columns of a query, each as a subquery of its own.
///
/// The subqueries run one by one, so that all must find the same row: the rows that a query has,
/// and not some of them.
fn columns(query: &Query, count: usize) -> Result<Vec<Expr>> {
    let refused = |why: &str| {
        external(
            Error::unsupported("the subquery cannot be taken apart into columns")
                .with("reason", why)
                .with_hint("write SET a = (SELECT …), b = (SELECT …), or UPDATE … FROM"),
        )
    };
    let SetExpr::Select(select) = query.body.as_ref() else {
        return Err(refused("it is no plain SELECT"));
    };
    let picks = query.limit_clause.is_some()
        || query.fetch.is_some()
        || select.top.is_some()
        || select.distinct.is_some()
        || !query.pipe_operators.is_empty();
    if picks {
        return Err(refused("it picks some of its rows"));
    }
    if query.order_by.is_some() || !by_expressions(&select.group_by) {
        return Err(refused("it has an ORDER BY, or a GROUP BY with positions"));
    }
    let mut columns = Vec::with_capacity(count);
    for item in &select.projection {
        if !matches!(
            item,
            SelectItem::UnnamedExpr(_) | SelectItem::ExprWithAlias { .. }
        ) {
            return Err(refused("it has a wildcard"));
        }
        let mut one = query.clone();
        if let SetExpr::Select(select) = one.body.as_mut() {
            select.projection = vec![item.clone()];
        }
        columns.push(Expr::Subquery(Box::new(one)));
    }
    Ok(columns)
}

fn by_expressions(group_by: &GroupByExpr) -> bool {
    match group_by {
        GroupByExpr::All(_) => false,
        GroupByExpr::Expressions(by, modifiers) => {
            modifiers.is_empty() && !by.iter().any(|expr| matches!(expr, Expr::Value(_)))
        }
    }
}

/// The identifiers of a compound one, or of a plain one.
pub(super) fn parts(expr: &Expr) -> Option<&[Ident]> {
    match expr {
        Expr::Identifier(ident) => Some(std::slice::from_ref(ident)),
        Expr::CompoundIdentifier(parts) => Some(parts),
        _ => None,
    }
}
