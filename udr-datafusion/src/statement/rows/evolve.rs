//! `WITH SCHEMA EVOLUTION`: what a statement's target lacks to take the columns of its source.

use std::sync::Arc;

use arrow::datatypes::{DataType, Field as ArrowField, Schema as ArrowSchema};
use datafusion::common::Result;
use datafusion::execution::context::SessionState;
use datafusion::logical_expr::{Expr, LogicalPlan};
use datafusion::sql::sqlparser::ast::ObjectName;
use udr_core::format::{Field, NewColumn, Position, Schema, Type};
use udr_core::id::FieldId;
use udr_core::txn::Alteration;

use super::plan::columns;
use super::target;
use crate::catalog::Scope;
use crate::catalog::list::UdrCatalogList;
use crate::session::{Evolution, Source, UdrSession};
use crate::sql::dml::Change;

/// What has to be done to the columns of `name` before `change` can write the rows of `source`;
/// `None` if it is as it must be.
///
/// Columns that the table lacks are added behind the others, parts that structs lack are added to
/// them, and a column whose type the source's is wider than gets the wider one; a literal has no
/// type of its own and widens nothing.
///
/// # Errors
///
/// `Unsupported` for a column of a type that cannot be stored; those of looking the table up.
pub(super) async fn evolution(
    state: &SessionState,
    session: &UdrSession,
    name: &ObjectName,
    change: &Change,
    source: &LogicalPlan,
) -> Result<Option<Evolution>> {
    let fold = state.config_options().sql_parser.enable_ident_normalization;
    let table = target::table(state, session, name, &Source::Tip).await?;
    let schema = table.schema();
    let mut alterations = Vec::new();
    let mut added: Vec<String> = Vec::new();
    for (column, at) in change.written(&columns(source), fold) {
        let given = source.schema().field(at);
        match schema.field(&column) {
            Some(field) => {
                let literal = is_literal(source, at);
                widen(field, given.data_type(), literal, &mut alterations);
            }
            // Said twice, the statement is refused where its columns are looked at.
            None if added.contains(&column) => {}
            None => {
                let field = ArrowField::new(&column, given.data_type().clone(), true);
                alterations.push(add(None, field));
                added.push(column);
            }
        }
    }
    Ok((!alterations.is_empty()).then(|| Evolution {
        path: table.path().clone(),
        alterations,
    }))
}

/// A state whose names are `seen` like this.
pub(super) fn seeing(
    state: &SessionState,
    session: &Arc<UdrSession>,
    seen: &Source,
) -> SessionState {
    let mut state = state.clone();
    let list = UdrCatalogList::new(Arc::clone(session), Scope::new(seen.clone()));
    state.register_catalog_list(Arc::new(list));
    state
}

fn add(parent: Option<FieldId>, field: ArrowField) -> Alteration {
    Alteration::AddColumn(NewColumn {
        parent,
        field,
        position: Position::Last,
        default: None,
        initial: None,
        comment: None,
    })
}

/// Makes `field` wide enough for values of the type that is `given`.
fn widen(field: &Field, given: &DataType, literal: bool, alterations: &mut Vec<Alteration>) {
    if let (Type::Struct(parts), DataType::Struct(others)) = (&field.ty, given) {
        for other in others {
            match parts.iter().find(|part| part.name == *other.name()) {
                Some(part) => widen(part, other.data_type(), literal, alterations),
                None => {
                    let other = ArrowField::new(other.name(), other.data_type().clone(), true);
                    alterations.push(add(Some(field.id), other));
                }
            }
        }
        return;
    }
    let wider = stored(given).filter(|given| !literal && field.ty.widens_to(given));
    alterations.extend(wider.map(|wider| Alteration::WidenColumn(field.id, wider)));
}

/// The type as it is stored, if it can be.
fn stored(given: &DataType) -> Option<Type> {
    let column = ArrowField::new("column", given.clone(), true);
    let schema = Schema::from_arrow(&ArrowSchema::new(vec![column])).ok()?;
    schema.fields().first().map(|field| field.ty.clone())
}

/// Whether the values of a column are written out in the statement, without a cast.
fn is_literal(plan: &LogicalPlan, at: usize) -> bool {
    let of_input = |input: &LogicalPlan, expr: &Expr| match expr {
        Expr::Literal(..) => true,
        Expr::Column(column) => {
            let at = input.schema().index_of_column(column);
            at.is_ok_and(|at| is_literal(input, at))
        }
        _ => false,
    };
    match plan {
        LogicalPlan::Projection(projection) => {
            let expr = projection.expr.get(at).cloned().map(Expr::unalias_nested);
            expr.is_some_and(|expr| of_input(&projection.input, &expr.data))
        }
        LogicalPlan::Values(values) => {
            let mut cells = values.values.iter().filter_map(|row| row.get(at));
            cells.all(|cell| matches!(cell, Expr::Literal(..) | Expr::Negative(_)))
        }
        LogicalPlan::SubqueryAlias(alias) => is_literal(&alias.input, at),
        LogicalPlan::Filter(filter) => is_literal(&filter.input, at),
        LogicalPlan::Sort(sort) => is_literal(&sort.input, at),
        LogicalPlan::Limit(limit) => is_literal(&limit.input, at),
        LogicalPlan::Union(union) => union.inputs.iter().all(|input| is_literal(input, at)),
        _ => false,
    }
}
