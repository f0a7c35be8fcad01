//! What DataFusion may believe of a table's values.
//!
//! The optimizer replaces data by exact statistics, so a bound is exact only if a row has that
//! very value, and whatever is unknown stays absent.

use std::collections::BTreeMap;

use arrow::datatypes::{DECIMAL128_MAX_PRECISION, DataType, Schema as ArrowSchema};
use datafusion::common::stats::Precision;
use datafusion::common::{ColumnStatistics, ScalarValue, Statistics};
use udr_core::Result;
use udr_core::format::{Bound, ColumnStats, DataFile, Field, Schema, Value, merge_column_stats};
use udr_core::id::FieldId;
use udr_core::snapshot::FileTask;

use crate::error::into_udr;

/// The most files whose statistics are given and summed up one by one.
pub(super) const FILES_MAX: usize = 1_000;

/// The statistics of rows that `columns` describe, in the order of `schema`.
///
/// # Errors
///
/// `Corrupt` if a bound is no value of its column's type.
pub(super) fn statistics(
    schema: &Schema,
    arrow_schema: &ArrowSchema,
    rows: u64,
    columns: &BTreeMap<FieldId, ColumnStats>,
) -> Result<Statistics> {
    let column_statistics = schema
        .fields()
        .iter()
        .zip(arrow_schema.fields())
        .map(|(field, arrow)| match columns.get(&field.id) {
            Some(stats) => column(stats, arrow.data_type()),
            None => Ok(ColumnStatistics::new_unknown()),
        })
        .collect::<Result<Vec<_>>>()?;
    Ok(Statistics {
        num_rows: exact(rows),
        // Compressed bytes of all columns say little of what a few columns take in memory, by which
        // joins choose the side that they keep. Without them a scan of columns of fixed width is as
        // large as they are, and others are compared by their rows.
        total_byte_size: Precision::Absent,
        column_statistics,
    })
}

/// The statistics of some files together; only their number of rows if they are many.
pub(super) fn of_files(
    schema: &Schema,
    arrow_schema: &ArrowSchema,
    tasks: &[FileTask],
) -> Result<Statistics> {
    let rows = tasks.iter().map(FileTask::live_rows).sum();
    let columns = if tasks.len() > FILES_MAX {
        BTreeMap::new()
    } else {
        let parts = tasks
            .iter()
            .map(|task| (task.live_rows(), task.column_stats()));
        let parts = parts.collect::<Vec<_>>();
        merge_column_stats(parts.iter().map(|(rows, columns)| (*rows, columns)))
    };
    statistics(schema, arrow_schema, rows, &columns)
}

/// The least and the greatest value that a column can have in some files; `None` if unknown, also
/// if there are many files.
///
/// # Errors
///
/// `Corrupt` if a bound is no value of its column's type.
pub(crate) fn bounds<'a>(
    field: &Field,
    files: impl Iterator<Item = &'a DataFile> + Clone,
) -> Result<Option<(ScalarValue, ScalarValue)>> {
    if files.clone().count() > FILES_MAX {
        return Ok(None);
    }
    let merged = merge_column_stats(files.map(|file| (file.rows, &file.columns)));
    let Some(stats) = merged.get(&field.id) else {
        return Ok(None);
    };
    let found = column(stats, &field.ty.to_arrow())?;
    let value = |value: &Precision<ScalarValue>| value.get_value().cloned();
    Ok(value(&found.min_value).zip(value(&found.max_value)))
}

fn column(stats: &ColumnStats, data_type: &DataType) -> Result<ColumnStatistics> {
    let bound = |bound: Option<&Bound>| -> Result<Precision<ScalarValue>> {
        let Some(bound) = bound else {
            return Ok(Precision::Absent);
        };
        let array = Value::array(data_type, [Some(&bound.value)])?;
        let value = ScalarValue::try_from_array(&array, 0).map_err(into_udr)?;
        Ok(if bound.exact {
            Precision::Exact(value)
        } else {
            Precision::Inexact(value)
        })
    };
    Ok(ColumnStatistics {
        null_count: stats.null_count.map_or(Precision::Absent, exact),
        min_value: bound(stats.lower.as_ref())?,
        max_value: bound(stats.upper.as_ref())?,
        ..ColumnStatistics::new_unknown()
    })
}

/// Adds the sums of columns over all of `rows` rows, for a scan right below an aggregate: the engine
/// also answers with them where rows are joined in between.
pub(super) fn add_sums(
    statistics: &mut Statistics,
    schema: &Schema,
    rows: u64,
    known: &BTreeMap<FieldId, ColumnStats>,
) {
    let columns = statistics.column_statistics.iter_mut();
    for (column, field) in columns.zip(schema.fields()) {
        let stats = known.get(&field.id);
        if let Some(sum) = stats.and_then(|stats| sum(stats, &field.ty.to_arrow(), rows)) {
            column.sum_value = Precision::Exact(sum);
        }
    }
}

/// The sum of a column with `rows` rows, if it is known that one has a value: of none it is NULL.
///
/// It is left out if it is more than 64 bits: the engine wraps around then.
fn sum(stats: &ColumnStats, data_type: &DataType, rows: u64) -> Option<ScalarValue> {
    let sum = stats
        .sum
        .filter(|_| stats.null_count.is_some_and(|nulls| nulls < rows))?;
    Some(match data_type {
        DataType::Decimal128(_, scale) => {
            ScalarValue::Decimal128(Some(sum), DECIMAL128_MAX_PRECISION, *scale)
        }
        ty if ty.is_unsigned_integer() => ScalarValue::UInt64(Some(sum.try_into().ok()?)),
        ty if ty.is_signed_integer() => ScalarValue::Int64(Some(sum.try_into().ok()?)),
        _ => return None,
    })
}

fn exact(count: u64) -> Precision<usize> {
    usize::try_from(count).map_or(Precision::Absent, Precision::Exact)
}
