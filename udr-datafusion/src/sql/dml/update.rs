//! `UPDATE`, with other tables and with a limit.
//!
//! Other tables become those of a query whose first table is the target, so that names, joins and
//! subqueries mean what they mean in a query. A target row that the query has twice is refused when
//! the change is staged.

use datafusion::common::Result;
use datafusion::sql::sqlparser::ast::{
    JoinOperator, Query, SelectItem, Statement, TableWithJoins, Update, UpdateTableFromKind,
};
use udr_core::Error;

use super::assignment::{self, Value};
use super::target::{Named, Target};
use super::{Form, Selected, build};
use crate::sql::external;

/// What an UPDATE changes, as DataFusion plans it.
///
/// # Errors
///
/// `Unsupported` for what cannot be done right, and those of the `SET` list.
pub(super) fn update(mut update: Update, target: &Target) -> Result<Form> {
    if let Some(or) = &update.or {
        return Err(external(
            Error::unsupported("UPDATE OR … is not implemented").with("clause", or.to_string()),
        ));
    }
    if update.output.is_some() {
        return Err(super::returning::no_output());
    }
    let named = Named::of(&update.table.relation, "UPDATE")?;
    let values = assignment::values(std::mem::take(&mut update.assignments), &named, target)?;
    let joins = std::mem::take(&mut update.table.joins);
    for join in &joins {
        check_join(&join.join_operator)?;
    }
    let mut from = vec![TableWithJoins {
        relation: update.table.relation.clone(),
        joins,
    }];
    match update.from.take() {
        Some(UpdateTableFromKind::BeforeSet(more) | UpdateTableFromKind::AfterSet(more)) => {
            from.extend(more);
        }
        None => {}
    }
    let joined = from.len() > 1 || from.iter().any(|table| !table.joins.is_empty());
    let rows = match (joined, update.limit.take()) {
        (true, None) => {
            let items = items(target, &named, values);
            build::select(items, from, update.selection)
        }
        (true, Some(_)) => {
            return Err(external(
                Error::unsupported("an UPDATE with other tables takes no LIMIT").with_hint(
                    "say which rows in WHERE: a LIMIT would count joined rows, not those of the \
                     target",
                ),
            ));
        }
        (false, Some(limit)) => {
            let order_by = std::mem::take(&mut update.order_by);
            let found = build::select(vec![build::everything()], from, update.selection);
            let found = build::limited(found, order_by, Some(limit));
            limited(found, target, &named, values)
        }
        (false, None) => {
            update.order_by.clear();
            update.assignments = assignment::list(values);
            return Ok(Form::Statement(Box::new(Statement::Update(update))));
        }
    };
    Ok(Form::Update(Selected::new(named.name, rows)))
}

/// The new rows of those that `found` has.
fn limited(found: Query, target: &Target, named: &Named, values: Vec<Value>) -> Query {
    let found = build::derived(found, Some(build::alias(named.short())));
    build::select(
        items(target, named, values),
        vec![build::alone(found)],
        None,
    )
}

/// All columns of the target, new values where there are some.
fn items(target: &Target, named: &Named, mut values: Vec<Value>) -> Vec<SelectItem> {
    let qualifier = named.qualifier();
    target
        .columns
        .iter()
        .map(|column| {
            let set = values.iter().position(|(name, _)| *name == column.name);
            let value = match set {
                Some(place) => values.swap_remove(place).1,
                None => build::column(&qualifier, &column.name),
            };
            build::item(value, &column.name)
        })
        .collect()
}

/// Joins that keep the target's rows what they are.
fn check_join(join: &JoinOperator) -> Result<()> {
    match join {
        JoinOperator::Join(_)
        | JoinOperator::Inner(_)
        | JoinOperator::Left(_)
        | JoinOperator::LeftOuter(_)
        | JoinOperator::CrossJoin(_) => Ok(()),
        _ => Err(external(
            Error::unsupported(
                "an UPDATE's target can be joined by JOIN, LEFT JOIN and CROSS JOIN",
            )
            .with_hint("use UPDATE t SET … FROM …, or MERGE"),
        )),
    }
}
