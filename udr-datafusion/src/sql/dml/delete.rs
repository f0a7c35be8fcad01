//! `DELETE`, with an alias, with other tables and with a limit.

use datafusion::common::Result;
use datafusion::sql::sqlparser::ast::helpers::attached_token::AttachedToken;
use datafusion::sql::sqlparser::ast::{
    Delete, Expr, FromTable, ObjectName, SelectItem, Statement, TableFactor, TableWithJoins, Value,
};
use udr_core::Error;

use super::target::Named;
use super::{Form, Selected, build};
use crate::sql::external;

/// The tables behind `DELETE FROM`.
pub(super) fn tables(delete: &Delete) -> &[TableWithJoins] {
    match &delete.from {
        FromTable::WithFromKeyword(tables) | FromTable::WithoutKeyword(tables) => tables,
    }
}

/// Whether DataFusion plans the DELETE as it stands.
pub(super) fn is_plain(delete: &Delete) -> bool {
    let [table] = tables(delete) else {
        return false;
    };
    matches!(&table.relation, TableFactor::Table { alias: None, .. })
        && delete.using.is_none()
        && delete.limit.is_none()
        && delete.returning.is_none()
}

/// What a DELETE deletes, as DataFusion plans it.
///
/// # Errors
///
/// `Unsupported` for what cannot be done right.
pub(super) fn delete(mut delete: Delete) -> Result<Form> {
    if delete.output.is_some() {
        return Err(super::returning::no_output());
    }
    let target = match tables(&delete) {
        [table] if table.joins.is_empty() && delete.tables.is_empty() => table,
        _ => {
            return Err(external(
                Error::unsupported("a DELETE deletes from one table")
                    .with_hint("DELETE FROM t USING s WHERE t.id = s.id"),
            ));
        }
    };
    let named = Named::of(&target.relation, "DELETE")?;
    if is_plain(&delete) {
        delete.order_by.clear();
        return Ok(Form::Statement(Box::new(Statement::Delete(delete))));
    }
    let from = vec![build::alone(target.relation.clone())];
    let mut check = None;
    let selection = match delete.using {
        None => delete.selection,
        Some(using) => {
            let tables = from.iter().cloned().chain(using.clone()).collect();
            // Finds names that are in two tables, which the subquery would take for its own.
            check = Some(build::select(vec![one()], tables, delete.selection.clone()));
            Some(Expr::Exists {
                subquery: Box::new(build::select(vec![one()], using, delete.selection)),
                negated: false,
            })
        }
    };
    let rows = build::select(vec![build::everything()], from, selection);
    let rows = build::limited(rows, delete.order_by, delete.limit);
    Ok(Form::Delete(Selected {
        check: check.map(Box::new),
        ..Selected::new(named.name, rows)
    }))
}

/// `DELETE FROM name`
pub(crate) fn delete_all(name: ObjectName) -> Statement {
    Statement::Delete(Delete {
        delete_token: AttachedToken::empty(),
        optimizer_hints: Vec::new(),
        tables: Vec::new(),
        from: FromTable::WithFromKeyword(vec![build::alone(build::table(name, None))]),
        using: None,
        selection: None,
        returning: None,
        output: None,
        order_by: Vec::new(),
        limit: None,
    })
}

fn one() -> SelectItem {
    SelectItem::UnnamedExpr(Expr::value(Value::Number("1".into(), false)))
}
