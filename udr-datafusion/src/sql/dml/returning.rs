//! `RETURNING`: what is shown of the rows that a statement changed.

use std::ops::ControlFlow;

use datafusion::common::{DataFusionError, Result};
use datafusion::sql::sqlparser::ast::{Query, SelectItem, Statement, TableFactor, Visitor};
use udr_core::Error;

use super::build;
use super::target::Named;
use crate::sql::external;

/// The `RETURNING` list of a statement.
pub(super) fn take(statement: &mut Statement) -> Result<Option<Vec<SelectItem>>> {
    let returning = match statement {
        Statement::Insert(insert) => insert.returning.take(),
        Statement::Update(update) => update.returning.take(),
        Statement::Delete(delete) => delete.returning.clone(),
        _ => None,
    };
    if let Some(items) = &returning
        && has_subquery(items)
    {
        return Err(external(
            Error::unsupported("RETURNING takes no subqueries")
                .with_hint("return the columns, and query the table afterwards"),
        ));
    }
    Ok(returning)
}

/// Whether the statement returns rows.
pub(crate) fn returns(statement: &Statement) -> bool {
    match statement {
        Statement::Insert(insert) => insert.returning.is_some(),
        Statement::Update(update) => update.returning.is_some(),
        Statement::Delete(delete) => delete.returning.is_some(),
        _ => false,
    }
}

/// A query of the returned columns; the rows that were changed are put in the place of its table.
pub(super) fn query(items: Vec<SelectItem>, named: &Named) -> Query {
    build::select(items, vec![build::alone(named.factor())], None)
}

/// The refusal of SQL Server's clause.
pub(super) fn no_output() -> DataFusionError {
    external(
        Error::unsupported("OUTPUT is not implemented")
            .with_hint("INSERT, UPDATE and DELETE take RETURNING at their end"),
    )
}

/// Whether a query is inside.
pub(super) fn has_subquery<T: datafusion::sql::sqlparser::ast::Visit>(node: &T) -> bool {
    struct Find;
    impl Visitor for Find {
        type Break = ();
        fn pre_visit_query(&mut self, _query: &Query) -> ControlFlow<()> {
            ControlFlow::Break(())
        }
        fn pre_visit_table_factor(&mut self, _factor: &TableFactor) -> ControlFlow<()> {
            ControlFlow::Break(())
        }
    }
    node.visit(&mut Find).is_break()
}
