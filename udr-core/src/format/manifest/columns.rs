//! The statistics columns of a manifest.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use arrow::array::{Array as _, ArrayRef, AsArray as _, RecordBatch, UInt8Array, UInt64Array};
use arrow::datatypes::{UInt8Type, UInt64Type};

use super::storage_type;
use crate::error::{Error, Result};
use crate::format::{Bound, ColumnStats, Schema, Value};
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

/// Builds the columns for `stats`, one map for each entry.
pub(super) fn build(
    schema: &Schema,
    stats: &[&BTreeMap<FieldId, ColumnStats>],
) -> Result<Vec<(String, ArrayRef)>> {
    let mut columns = Vec::new();
    for field in schema.fields() {
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
    }
    Ok(columns)
}

/// Refuses columns that this version does not know: they could change what an entry means.
pub(super) fn check(batch: &RecordBatch, level: u8, schema: &Schema) -> Result<()> {
    let known: &[&str] = if level == 0 { &LEAF } else { &INNER };
    for name in known {
        match batch.column_by_name(name) {
            Some(column) if column.null_count() == 0 => {}
            _ => {
                return Err(Error::corrupt("a manifest lacks a column").with("column", *name));
            }
        }
    }
    for field in batch.schema_ref().fields() {
        let name = field.name();
        if known.contains(&name.as_str()) {
            continue;
        }
        if let Some(expected) = super::optional::type_of(level, name) {
            if *field.data_type() != expected {
                return Err(mistyped(name));
            }
            continue;
        }
        let Some((id, part)) = parse(name) else {
            return Err(Error::unsupported("a manifest has an unknown column")
                .with("column", name)
                .with_hint("open it with a newer build"));
        };
        let Some(column) = schema.field_by_id(id) else {
            continue;
        };
        let expected = match part {
            "exact" => arrow::datatypes::DataType::UInt8,
            "nulls" => arrow::datatypes::DataType::UInt64,
            _ => match storage_type(&column.ty.to_arrow()) {
                arrow::datatypes::DataType::Utf8View => arrow::datatypes::DataType::Utf8,
                arrow::datatypes::DataType::BinaryView => arrow::datatypes::DataType::Binary,
                other => other,
            },
        };
        if *field.data_type() != expected {
            return Err(mistyped(name));
        }
    }
    Ok(())
}

pub(super) fn mistyped(name: &str) -> Error {
    Error::corrupt("a manifest column has a wrong type").with("column", name)
}

fn parse(name: &str) -> Option<(FieldId, &str)> {
    let (id, part) = name.strip_prefix('c')?.split_once('.')?;
    let known = matches!(part, "lower" | "upper" | "exact" | "nulls");
    known.then_some((FieldId(id.parse().ok()?), part))
}

/// Reads the statistics columns of a decoded manifest.
pub(super) struct StatColumns<'a> {
    columns: BTreeMap<FieldId, Columns<'a>>,
}

#[derive(Default)]
struct Columns<'a> {
    lower: Option<&'a ArrayRef>,
    upper: Option<&'a ArrayRef>,
    exact: Option<&'a UInt8Array>,
    nulls: Option<&'a UInt64Array>,
}

impl<'a> StatColumns<'a> {
    pub(super) fn new(batch: &'a RecordBatch) -> Self {
        let mut columns = BTreeMap::<FieldId, Columns<'a>>::new();
        for (field, array) in batch.schema_ref().fields().iter().zip(batch.columns()) {
            let Some((id, part)) = parse(field.name()) else {
                continue;
            };
            let column = columns.entry(id).or_default();
            match part {
                "lower" => column.lower = Some(array),
                "upper" => column.upper = Some(array),
                "exact" => column.exact = array.as_primitive_opt::<UInt8Type>(),
                _ => column.nulls = array.as_primitive_opt::<UInt64Type>(),
            }
        }
        Self { columns }
    }

    /// The statistics of one entry, of all columns or of those in `fields`.
    pub(super) fn row(
        &self,
        row: usize,
        fields: Option<&BTreeSet<FieldId>>,
    ) -> BTreeMap<FieldId, ColumnStats> {
        let wanted = |id: &FieldId| fields.is_none_or(|fields| fields.contains(id));
        self.columns
            .iter()
            .filter(|(id, _)| wanted(id))
            .map(|(id, column)| {
                let exact = column
                    .exact
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
                    lower: bound(column.lower, 1),
                    upper: bound(column.upper, 2),
                    null_count: column
                        .nulls
                        .filter(|n| n.is_valid(row))
                        .map(|n| n.value(row)),
                };
                (*id, stats)
            })
            .filter(|(_, stats)| *stats != ColumnStats::default())
            .collect()
    }
}
