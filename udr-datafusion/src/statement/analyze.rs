//! `ANALYZE TABLE`: how many values columns have, for who orders joins.

use std::sync::Arc;

use arrow::array::{ArrayRef, AsArray as _, RecordBatch, StringArray, UInt64Array};
use arrow::datatypes::UInt64Type;
use datafusion::dataframe::DataFrame;
use datafusion::error::Result;
use datafusion::execution::context::SessionState;
use datafusion::sql::sqlparser::ast::Ident;
use udr_core::format::{Field, Type};
use udr_core::name::RelationPath;
use udr_core::snapshot::TableSnapshot;
use udr_core::txn::Alteration;
use udr_core::{Error, Result as CoreResult};

use super::{change, result, target};
use crate::constraint::find_field;
use crate::error::to_datafusion;
use crate::session::UdrSession;
use crate::sql::ast::Analyze;

/// Counts the values of columns, about, and keeps the counts with the table.
pub(super) async fn run(
    state: &SessionState,
    session: &UdrSession,
    analyze: &Analyze,
) -> Result<RecordBatch> {
    let path = target::reference_path(state, session, &analyze.table).map_err(to_datafusion)?;
    let snapshot = session.snapshot().await.map_err(to_datafusion)?;
    let table = snapshot.table(&path).await.map_err(to_datafusion)?;
    let fields = fields(&table, analyze.columns.as_deref()).map_err(to_datafusion)?;
    let counts = count(state, session, &path, &fields).await?;
    let alterations = fields.iter().zip(&counts);
    let alterations = alterations.map(|(field, count)| Alteration::SetDistinct(field.id, *count));
    let alterations = alterations.collect::<Vec<_>>();
    let message = format!("ANALYZE TABLE {path}");
    change(session, message, async |transaction| {
        transaction.alter_table(&path, alterations).await
    })
    .await?;
    let names = fields.iter().map(|field| field.name.as_str());
    let columns = vec![
        Arc::new(StringArray::from_iter_values(names)) as ArrayRef,
        Arc::new(UInt64Array::from_iter_values(counts)),
    ];
    result::batch(result::analyze_schema(), columns).map_err(to_datafusion)
}

/// The columns that are meant: those that are named, or all whose values can be counted.
fn fields(table: &TableSnapshot, named: Option<&[String]>) -> CoreResult<Vec<Field>> {
    let Some(named) = named else {
        let all = table.schema().fields().iter();
        let all = all.filter(|field| is_counted(&field.ty));
        return Ok(all.cloned().collect());
    };
    let fields = named.iter().map(|name| {
        let field = find_field(table, name)?;
        match is_counted(&field.ty) {
            true => Ok(field.clone()),
            false => Err(
                Error::unsupported("the values of a column of this type are not counted")
                    .with("column", name)
                    .with("type", &field.ty),
            ),
        }
    });
    fields.collect()
}

/// Whether the engine counts values of the type.
fn is_counted(ty: &Type) -> bool {
    matches!(
        ty,
        Type::Boolean
            | Type::Int8
            | Type::Int16
            | Type::Int32
            | Type::Int64
            | Type::UInt8
            | Type::UInt16
            | Type::UInt32
            | Type::UInt64
            | Type::String
            | Type::Binary
            | Type::Date32
            | Type::Timestamp(..)
            | Type::Decimal128 { .. }
            | Type::FixedBinary(_)
    )
}

/// The number of values of each column, about: `HyperLogLog` with an error of some percent.
async fn count(
    state: &SessionState,
    session: &UdrSession,
    path: &RelationPath,
    fields: &[Field],
) -> Result<Vec<u64>> {
    if fields.is_empty() {
        return Ok(Vec::new());
    }
    let quoted = |name: &str| Ident::with_quote('"', name).to_string();
    let counts = fields
        .iter()
        .enumerate()
        .map(|(at, field)| format!("approx_distinct({}) AS c{at}", quoted(&field.name)));
    let sql = format!(
        "SELECT {} FROM {}.{}.{}",
        counts.collect::<Vec<_>>().join(", "),
        quoted(session.catalog()),
        quoted(path.namespace.as_str()),
        quoted(path.name.as_str())
    );
    let plan = Box::pin(state.create_logical_plan(&sql)).await?;
    let batches = Box::pin(DataFrame::new(state.clone(), plan).collect()).await?;
    let rows = batches.iter().find(|batch| batch.num_rows() > 0);
    let counts = rows.map_or(&[][..], RecordBatch::columns).iter();
    let counts = counts.map(|count| {
        let count = count.as_primitive_opt::<UInt64Type>();
        count.and_then(|count| count.iter().next().flatten())
    });
    let counts = counts.collect::<Option<Vec<_>>>();
    counts
        .filter(|counts| counts.len() == fields.len())
        .ok_or_else(|| to_datafusion(Error::internal("the engine counted something else")))
}
