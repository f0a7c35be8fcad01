//! The statistics columns of a manifest.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use arrow::array::{
    Array as _, ArrayRef, AsArray as _, Decimal128Array, PrimitiveArray, RecordBatch, UInt8Array,
    UInt64Array, new_null_array,
};
use arrow::compute::cast_with_options;
use arrow::datatypes::{
    ArrowPrimitiveType, DataType, Decimal128Type, Schema as ArrowSchema, UInt8Type, UInt64Type,
};

use super::lazy::LazyColumns;
use super::{Bounds, storage_type};
use crate::error::{Error, Result};
use crate::format::{Bound, ColumnStats, EXACT, Field, Schema, Type, Value};
use crate::id::FieldId;

const LEAF: [&str; 8] = [
    "digest",
    "epoch",
    "bytes",
    "file_id",
    "footer_bytes",
    "footer_digest",
    "rows",
    "added_at",
];
const INNER: [&str; 7] = [
    "digest",
    "epoch",
    "bytes",
    "entries",
    "files",
    "rows",
    "data_bytes",
];

/// How sums are stored, whatever the scale of their column is.
const SUM: DataType = DataType::Decimal128(38, 0);

/// Builds the columns for `stats`, one map for each entry.
pub(super) fn build(
    schema: &Schema,
    stats: &[&BTreeMap<FieldId, ColumnStats>],
) -> Result<Vec<(String, ArrayRef)>> {
    let mut columns = Vec::new();
    for field in schema.measured() {
        let of_field = || stats.iter().map(|columns| columns.get(&field.id));
        let lower = || of_field().map(|s| s.and_then(|s| s.lower.as_ref()));
        let upper = || of_field().map(|s| s.and_then(|s| s.upper.as_ref()));
        let id = field.id;
        if field.ty.has_bounds() && (lower().any(|b| b.is_some()) || upper().any(|b| b.is_some())) {
            let ty = storage_type(&field.ty.to_arrow());
            let values = |b: Option<&'_ Bound>| b.map(|b| b.value.clone());
            let lowers = lower().map(values).collect::<Vec<_>>();
            let uppers = upper().map(values).collect::<Vec<_>>();
            let exact = lower().zip(upper()).map(|(lower, upper)| {
                u8::from(lower.is_some_and(|b| b.exact))
                    | (u8::from(upper.is_some_and(|b| b.exact)) << 1)
            });
            let exact = UInt8Array::from_iter_values(exact);
            columns.push((
                format!("c{id}.lower"),
                Value::array(&ty, lowers.iter().map(Option::as_ref))?,
            ));
            columns.push((
                format!("c{id}.upper"),
                Value::array(&ty, uppers.iter().map(Option::as_ref))?,
            ));
            columns.push((format!("c{id}.exact"), Arc::new(exact) as ArrayRef));
        }
        if of_field().any(|s| s.is_some_and(|s| s.null_count.is_some())) {
            let nulls = of_field()
                .map(|s| s.and_then(|s| s.null_count))
                .collect::<UInt64Array>();
            columns.push((format!("c{id}.nulls"), Arc::new(nulls) as ArrayRef));
        }
        if of_field().any(|s| s.is_some_and(|s| s.sum.is_some())) {
            let sums = of_field().map(|s| s.and_then(|s| s.sum));
            let sums = sums.collect::<Decimal128Array>();
            columns.push((format!("c{id}.sum"), Arc::new(sums.with_data_type(SUM))));
        }
    }
    Ok(columns)
}

/// Whether a column is one of statistics.
pub(super) fn is_statistic(name: &str) -> bool {
    parse(name).is_some()
}

/// Refuses columns that this version does not know: they could change what an entry means.
pub(super) fn check(batch: &RecordBatch, all: &ArrowSchema, level: u8) -> Result<()> {
    let known: &[&str] = if level == 0 { &LEAF } else { &INNER };
    for name in known {
        match batch.column_by_name(name) {
            Some(column) if column.null_count() == 0 => {}
            _ => {
                return Err(Error::corrupt("a manifest lacks a column").with("column", *name));
            }
        }
    }
    for field in all.fields() {
        let name = field.name();
        if known.contains(&name.as_str()) {
            continue;
        }
        let expected = match (super::optional::type_of(level, name), parse(name)) {
            (Some(expected), _) => expected,
            (None, Some((_, "exact"))) => DataType::UInt8,
            (None, Some((_, "nulls"))) => DataType::UInt64,
            (None, Some((_, "sum"))) => SUM,
            // What the bounds of a column are is looked at when they are asked for.
            (None, Some(_)) => continue,
            (None, None) => {
                return Err(Error::unsupported("a manifest has an unknown column")
                    .with("column", name)
                    .with_hint("open it with a newer build"));
            }
        };
        if *field.data_type() != expected {
            return Err(mistyped(name));
        }
    }
    Ok(())
}

/// The bounds of one column in all entries, as values of the column.
pub(super) fn bounds(rows: usize, columns: &LazyColumns, field: &Field) -> Result<Bounds> {
    let used = |part: &str| ["lower", "upper", "nulls"].contains(&part);
    columns.load(|name| parse(name).is_some_and(|(id, part)| id == field.id && used(part)))?;
    let data_type = field.ty.to_arrow();
    let bound = |part: &str| {
        let name = format!("c{}.{part}", field.id);
        let Some(array) = columns.get(&name)? else {
            return Ok(new_null_array(&data_type, rows));
        };
        let mut array = stored(&array, field, &name)?;
        // There is no way from a view or a long number in one step.
        let via = match &data_type {
            DataType::FixedSizeBinary(_) => Some(DataType::Binary),
            DataType::Time32(_) => Some(DataType::Int32),
            _ => None,
        };
        for to in via.iter().chain([&data_type]) {
            let cast = cast_with_options(&array, to, &EXACT);
            array = cast.map_err(|e| mistyped(&name).with_source(e))?;
        }
        Ok(array)
    };
    let nulls = columns.get(&format!("c{}.nulls", field.id))?;
    let nulls = primitive::<UInt64Type>(nulls);
    Ok(Bounds {
        lower: bound("lower")?,
        upper: bound("upper")?,
        null_count: nulls.unwrap_or_else(|| UInt64Array::new_null(rows)),
    })
}

/// A column of bounds in the type in which they are stored for `field`. It can be of before the
/// column was widened.
fn stored(array: &ArrayRef, field: &Field, name: &str) -> Result<ArrayRef> {
    let column = field.ty.to_arrow();
    let to = storage_type(&column);
    let via = match (array.data_type(), &to) {
        (from, to) if from == to => return Ok(Arc::clone(array)),
        (DataType::Utf8, DataType::Utf8View) | (DataType::Binary, DataType::BinaryView) => None,
        (DataType::Decimal128(from, scale), DataType::Decimal128(to, same))
            if from <= to && scale == same =>
        {
            None
        }
        (DataType::Date32, DataType::Int64) if matches!(field.ty, Type::Timestamp(_, None)) => {
            Some(&column)
        }
        _ => return Err(mistyped(name)),
    };
    let wrong = |e| mistyped(name).with_source(e);
    let array = match via {
        Some(via) => &cast_with_options(array, via, &EXACT).map_err(wrong)?,
        None => array,
    };
    cast_with_options(array, &to, &EXACT).map_err(wrong)
}

pub(super) fn mistyped(name: &str) -> Error {
    Error::corrupt("a manifest column has a wrong type").with("column", name)
}

fn parse(name: &str) -> Option<(FieldId, &str)> {
    let (id, part) = name.strip_prefix('c')?.split_once('.')?;
    let known = matches!(part, "lower" | "upper" | "exact" | "nulls" | "sum");
    known.then_some((FieldId(id.parse().ok()?), part))
}

fn primitive<T: ArrowPrimitiveType>(column: Option<ArrayRef>) -> Option<PrimitiveArray<T>> {
    column?.as_primitive_opt::<T>().cloned()
}

/// Reads the statistics columns of a manifest.
pub(super) struct StatColumns {
    columns: Vec<(FieldId, Columns)>,
    /// The columns of the table that files can lack, and then have their initial value.
    added: Vec<Field>,
}

struct Columns {
    lower: Option<ArrayRef>,
    upper: Option<ArrayRef>,
    exact: Option<UInt8Array>,
    nulls: Option<UInt64Array>,
    sum: Option<Decimal128Array>,
}

impl StatColumns {
    /// The columns of `schema`.
    ///
    /// # Errors
    ///
    /// `Corrupt` if the bounds of a column are of another type.
    pub(super) fn new(all: &LazyColumns, schema: &Schema) -> Result<Self> {
        let ids = schema
            .measured()
            .map(|field| field.id)
            .collect::<BTreeSet<_>>();
        all.load(|name| parse(name).is_some_and(|(id, _)| ids.contains(&id)))?;
        let mut columns = Vec::new();
        for field in schema.measured() {
            let column = |part: &str| all.get(&format!("c{}.{part}", field.id));
            let bound = |part: &str| {
                let array = column(part)?.filter(|_| field.ty.has_bounds());
                array.map(|array| stored(&array, &field, part)).transpose()
            };
            let found = Columns {
                lower: bound("lower")?,
                upper: bound("upper")?,
                exact: primitive::<UInt8Type>(column("exact")?),
                nulls: primitive::<UInt64Type>(column("nulls")?),
                sum: primitive::<Decimal128Type>(column("sum")?),
            };
            if found.lower.is_some() || found.upper.is_some() || found.nulls.is_some() {
                columns.push((field.id, found));
            }
        }
        let added = Vec::new();
        Ok(Self { columns, added })
    }

    /// The same of the entries of files, which have a null count for each column that they have: of
    /// one that a file lacks, its initial value is known.
    pub(super) fn of_files(all: &LazyColumns, schema: &Schema) -> Result<Self> {
        let mut found = Self::new(all, schema)?;
        for field in schema.fields() {
            let nulls = all.get(&format!("c{}.nulls", field.id))?;
            if nulls.is_none_or(|nulls| nulls.null_count() > 0) {
                found.added.push(field.clone());
            }
        }
        Ok(found)
    }

    /// The statistics of one entry, which is of `rows` rows.
    pub(super) fn row(&self, row: usize, rows: u64) -> BTreeMap<FieldId, ColumnStats> {
        let mut found = self.known(row);
        for field in &self.added {
            if !found.contains_key(&field.id)
                && let Some(stats) = field.absent_stats(rows)
            {
                found.insert(field.id, stats);
            }
        }
        found
    }

    fn known(&self, row: usize) -> BTreeMap<FieldId, ColumnStats> {
        self.columns
            .iter()
            .map(|(id, column)| {
                let exact = column
                    .exact
                    .as_ref()
                    .filter(|e| e.is_valid(row))
                    .map_or(0, |e| e.value(row));
                let bound = |array: Option<&ArrayRef>, bit: u8| {
                    let value = Value::from_array(array?, row)?;
                    Some(Bound {
                        value,
                        exact: exact & bit != 0,
                    })
                };
                let stats = ColumnStats {
                    lower: bound(column.lower.as_ref(), 1),
                    upper: bound(column.upper.as_ref(), 2),
                    null_count: column
                        .nulls
                        .as_ref()
                        .filter(|n| n.is_valid(row))
                        .map(|n| n.value(row)),
                    sum: column
                        .sum
                        .as_ref()
                        .filter(|sum| sum.is_valid(row))
                        .map(|sum| sum.value(row)),
                };
                (*id, stats)
            })
            .filter(|(_, stats)| *stats != ColumnStats::default())
            .collect()
    }
}
