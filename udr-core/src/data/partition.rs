//! Puts rows apart by the partition that they belong to.

use std::collections::{BTreeMap, HashMap};
use std::fmt;

use arrow::array::{ArrayRef, RecordBatch, UInt32Array};
use arrow::compute::take_record_batch;
use arrow::row::{Row, RowConverter, SortField};

use super::stats::{lower_bound, upper_bound};
use crate::error::{Error, Result};
use crate::format::{Bound, ColumnStats, Schema, Transform, Type, Value};
use crate::id::FieldId;

/// Tells one partition from another; of a table without partitions there is one, which is empty.
pub(super) type PartitionKey = Box<[u8]>;

/// Finds the partitions of rows.
pub(super) struct Partitioner {
    fields: Vec<Made>,
    converter: RowConverter,
}

/// A partition field, and the column that it is made of.
struct Made {
    id: FieldId,
    transform: Transform,
    source: usize,
    ty: Type,
}

/// The rows of a batch that belong to one partition.
pub(super) struct Part {
    pub(super) key: PartitionKey,
    pub(super) values: PartitionValues,
    pub(super) rows: RecordBatch,
}

/// The values of partition fields; `None` is NULL.
#[derive(Debug, Clone, Default)]
pub(super) struct PartitionValues(Vec<(FieldId, Option<Value>)>);

impl PartitionValues {
    /// What a file of `rows` rows has in its partition fields.
    pub(super) fn stats(&self, rows: u64) -> BTreeMap<FieldId, ColumnStats> {
        let fields = self.0.iter().map(|(id, value)| {
            let bound = |value: &Value| Bound {
                value: value.clone(),
                exact: true,
            };
            let stats = ColumnStats {
                lower: value.as_ref().map(bound).and_then(lower_bound),
                upper: value.as_ref().map(bound).and_then(upper_bound),
                null_count: Some(if value.is_some() { 0 } else { rows }),
                sum: None,
            };
            (*id, stats)
        });
        fields.collect()
    }
}

impl Partitioner {
    /// None if the table is not partitioned.
    pub(super) fn new(schema: &Schema) -> Result<Option<Self>> {
        let mut fields = Vec::new();
        let mut types = Vec::new();
        for field in schema.partitioned_by() {
            let mut columns = schema.fields().iter().enumerate();
            let column = columns.find(|(_, column)| column.id == field.source);
            let (source, column) = column.ok_or_else(|| {
                Error::internal("a partition field has no column").with("field", &field.name)
            })?;
            let result = field.transform.result_type(&column.ty)?;
            types.push(SortField::new(result.to_arrow()));
            fields.push(Made {
                id: field.id,
                transform: field.transform,
                source,
                ty: column.ty.clone(),
            });
        }
        if fields.is_empty() {
            return Ok(None);
        }
        let converter = RowConverter::new(types)
            .map_err(|e| Error::internal("partitions cannot be compared").with_source(e))?;
        Ok(Some(Self { fields, converter }))
    }

    /// The rows of a batch by partition, in the order in which these are met; rows keep theirs.
    ///
    /// # Errors
    ///
    /// `Invalid` if a value can be assigned to no partition.
    pub(super) fn split(&self, batch: &RecordBatch) -> Result<Vec<Part>> {
        let internal = |e| Error::internal("rows cannot be put apart").with_source(e);
        let mut columns = Vec::with_capacity(self.fields.len());
        for field in &self.fields {
            let source = batch.columns().get(field.source).ok_or_else(|| {
                Error::internal("a batch lacks a column that it is partitioned by")
            })?;
            columns.push(field.transform.apply(&field.ty, source)?);
        }
        let rows = self.converter.convert_columns(&columns).map_err(internal)?;
        let mut found = HashMap::<Row<'_>, usize>::new();
        let mut groups = Vec::<(usize, Vec<u32>)>::new();
        for (at, row) in rows.iter().enumerate() {
            let group = *found.entry(row).or_insert_with(|| {
                groups.push((at, Vec::new()));
                groups.len() - 1
            });
            if let Some((_, members)) = groups.get_mut(group) {
                let at = u32::try_from(at)
                    .map_err(|e| Error::internal("a batch has too many rows").with_source(e))?;
                members.push(at);
            }
        }
        let whole = groups.len() == 1;
        let parts = groups.into_iter().map(|(first, members)| {
            let part = match whole {
                true => batch.clone(),
                false => take_record_batch(batch, &UInt32Array::from(members)).map_err(internal)?,
            };
            Ok(Part {
                key: rows.row(first).as_ref().into(),
                values: self.values(&columns, first),
                rows: part,
            })
        });
        parts.collect()
    }

    fn values(&self, columns: &[ArrayRef], row: usize) -> PartitionValues {
        let fields = self.fields.iter().zip(columns);
        let values = fields.map(|(field, array)| (field.id, Value::from_array(array, row)));
        PartitionValues(values.collect())
    }
}

impl fmt::Debug for Partitioner {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let fields = self.fields.iter().map(|field| field.id);
        f.debug_list().entries(fields).finish()
    }
}
