//! Typed statistics of a data file's columns, from what Parquet counted while encoding.

use std::collections::BTreeMap;

use parquet::data_type::{ByteArray, FixedLenByteArray};
use parquet::file::metadata::ParquetMetaData;
use parquet::file::statistics::Statistics;

use super::seen::SeenRows;
use crate::format::{Bound, ColumnStats, Schema, Type, Value};
use crate::id::FieldId;

/// Strings and binaries in bounds are cut to this many bytes.
const BOUND_BYTES_MAX: usize = Type::BOUND_BYTES_MAX;

/// The statistics of every top-level column that is not nested, over all row groups. What Parquet
/// does not count was `seen`; else it is unknown, and bounds hold for values that are not NaN.
pub(super) fn file_stats(
    schema: &Schema,
    metadata: &ParquetMetaData,
    seen: Option<&SeenRows>,
) -> BTreeMap<FieldId, ColumnStats> {
    let parquet = metadata.file_metadata().schema_descr();
    let mut columns = BTreeMap::new();
    for leaf in 0..parquet.num_columns() {
        let position = parquet.get_column_root_idx(leaf);
        let Some(field) = schema.fields().get(position) else {
            continue;
        };
        if !field.ty.children().is_empty() {
            continue;
        }
        let bounded = field.ty.has_bounds() && !seen.is_some_and(|seen| seen.has_nan(position));
        let mut total: Option<(u64, ColumnStats)> = None;
        for group in metadata.row_groups() {
            let rows = u64::try_from(group.num_rows()).unwrap_or(0);
            let statistics = group
                .columns()
                .get(leaf)
                .and_then(|chunk| chunk.statistics());
            let stats = chunk_stats(&field.ty, bounded, statistics);
            total = Some(match total {
                None => (rows, stats),
                Some((before, sum)) => (before + rows, sum.union(before, &stats, rows)),
            });
        }
        let (_, mut stats) = total.unwrap_or_default();
        stats.sum = seen.and_then(|seen| seen.sum(position));
        columns.insert(field.id, stats);
    }
    columns
}

fn chunk_stats(ty: &Type, bounded: bool, statistics: Option<&Statistics>) -> ColumnStats {
    let Some(statistics) = statistics else {
        return ColumnStats::default();
    };
    let (lower, upper) = if bounded {
        chunk_bounds(ty, statistics)
    } else {
        (None, None)
    };
    ColumnStats {
        lower: lower.and_then(lower_bound),
        upper: upper.and_then(upper_bound),
        null_count: statistics.null_count_opt(),
        sum: None,
    }
}

/// The least and greatest value that Parquet noted, as the values of `ty`.
fn chunk_bounds(ty: &Type, statistics: &Statistics) -> (Option<Bound>, Option<Bound>) {
    macro_rules! bounds {
        ($statistics:expr, $value:expr) => {{
            let value = $value;
            let lower = $statistics.min_opt().and_then(&value);
            let upper = $statistics.max_opt().and_then(&value);
            (
                lower.map(|value| Bound {
                    value,
                    exact: $statistics.min_is_exact(),
                }),
                upper.map(|value| Bound {
                    value,
                    exact: $statistics.max_is_exact(),
                }),
            )
        }};
    }
    match statistics {
        Statistics::Boolean(s) => bounds!(s, |v: &bool| Some(Value::Bool(*v))),
        Statistics::Int32(s) => bounds!(s, |v: &i32| Some(match ty {
            Type::UInt8 | Type::UInt16 | Type::UInt32 => Value::UInt(v.cast_unsigned().into()),
            Type::Decimal128 { .. } => Value::Decimal((*v).into()),
            _ => Value::Int((*v).into()),
        })),
        Statistics::Int64(s) => bounds!(s, |v: &i64| Some(match ty {
            Type::UInt64 => Value::UInt(v.cast_unsigned()),
            Type::Decimal128 { .. } => Value::Decimal((*v).into()),
            _ => Value::Int(*v),
        })),
        Statistics::Float(s) => bounds!(s, |v: &f32| Some(Value::Float((*v).into()))),
        Statistics::Double(s) => bounds!(s, |v: &f64| Some(Value::Float(*v))),
        Statistics::ByteArray(s) => bounds!(s, |v: &ByteArray| match ty {
            Type::String => v.as_utf8().ok().map(|v| Value::String(v.to_owned())),
            Type::Binary => Some(Value::Binary(v.data().to_vec())),
            _ => None,
        }),
        Statistics::FixedLenByteArray(s) => bounds!(s, |v: &FixedLenByteArray| match ty {
            Type::Decimal128 { .. } => signed_be(v.data()).map(Value::Decimal),
            // A truncated bound would not be a value of the type, so there is none.
            Type::FixedBinary(size) if usize::try_from(*size) == Ok(v.data().len()) => {
                Some(Value::Binary(v.data().to_vec()))
            }
            _ => None,
        }),
        Statistics::Int96(_) => (None, None),
    }
}

/// Reads a two's complement number of up to 16 bytes, most significant first.
fn signed_be(bytes: &[u8]) -> Option<i128> {
    let first = *bytes.first()?;
    if bytes.len() > 16 {
        return None;
    }
    let sign: i128 = if first & 0x80 == 0 { 0 } else { -1 };
    Some(
        bytes
            .iter()
            .fold(sign, |value, byte| (value << 8) | i128::from(*byte)),
    )
}

/// Makes a least value fit to be stored: short, and below both zeros if it is one.
pub(super) fn lower_bound(bound: Bound) -> Option<Bound> {
    Some(match bound.value {
        Value::Float(v) if v.is_nan() => return None,
        Value::Float(0.0) => Bound {
            value: Value::Float(-0.0),
            exact: false,
        },
        Value::String(text) if text.len() > BOUND_BYTES_MAX => {
            let end = text.floor_char_boundary(BOUND_BYTES_MAX);
            Bound {
                value: Value::String(text[..end].to_owned()),
                exact: false,
            }
        }
        Value::Binary(mut bytes) if bytes.len() > BOUND_BYTES_MAX => {
            bytes.truncate(BOUND_BYTES_MAX);
            Bound {
                value: Value::Binary(bytes),
                exact: false,
            }
        }
        value => Bound {
            value,
            exact: bound.exact,
        },
    })
}

/// Makes a greatest value fit to be stored; `None` if no short value is greater.
pub(super) fn upper_bound(bound: Bound) -> Option<Bound> {
    Some(match bound.value {
        Value::Float(v) if v.is_nan() => return None,
        Value::Float(0.0) => Bound {
            value: Value::Float(0.0),
            exact: false,
        },
        Value::String(text) if text.len() > BOUND_BYTES_MAX => Bound {
            value: Value::String(next_short_string(&text)?),
            exact: false,
        },
        Value::Binary(bytes) if bytes.len() > BOUND_BYTES_MAX => Bound {
            value: Value::Binary(next_short_bytes(bytes)?),
            exact: false,
        },
        value => Bound {
            value,
            exact: bound.exact,
        },
    })
}

/// A string of at most [`BOUND_BYTES_MAX`] bytes that is greater than every string which begins
/// as `text` does.
fn next_short_string(text: &str) -> Option<String> {
    let mut prefix = text[..text.floor_char_boundary(BOUND_BYTES_MAX)].to_owned();
    while let Some(last) = prefix.pop() {
        // `char` ranges step over the surrogates; the order of UTF-8 bytes is that of characters.
        let Some(next) = (last..=char::MAX).nth(1) else {
            continue;
        };
        if prefix.len() + next.len_utf8() <= BOUND_BYTES_MAX {
            prefix.push(next);
            return Some(prefix);
        }
    }
    None
}

fn next_short_bytes(mut bytes: Vec<u8>) -> Option<Vec<u8>> {
    bytes.truncate(BOUND_BYTES_MAX);
    while let Some(last) = bytes.pop() {
        if let Some(next) = last.checked_add(1) {
            bytes.push(next);
            return Some(bytes);
        }
    }
    None
}
