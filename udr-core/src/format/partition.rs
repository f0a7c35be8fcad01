//! What the rows of a table are put apart by, and the order that they are written in.
//!
//! A partition field is known like a column: by a field id that is never used again. What it is in
//! a file stands among the file's statistics, so that manifests bound it at every level. Fields
//! that are dropped stay known: files that were written with them are still told apart by them.

use std::borrow::Cow;
use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};

use super::{Field, Schema, Transform, Type};
use crate::error::{Error, Result};
use crate::id::FieldId;

/// The most partition fields that a table has, dropped ones included.
const FIELDS_MAX: usize = 100;

/// One field of a partition: every file has one value of it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PartitionField {
    /// What identifies it in statistics; no column has it.
    pub id: FieldId,
    /// The column that it is made of.
    pub source: FieldId,
    /// How.
    pub transform: Transform,
    /// What users call it.
    pub name: String,
    /// Whether files that are written do not have it any more.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub dropped: bool,
}

/// A column that rows are sorted by before they are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SortField {
    /// The column.
    pub source: FieldId,
    /// Whether the greatest value comes first.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub descending: bool,
    /// Whether NULL comes before all values.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub nulls_first: bool,
}

impl Schema {
    /// What files that are written are put apart by.
    pub fn partitioned_by(&self) -> impl Iterator<Item = &PartitionField> {
        self.partitioned_by.iter().filter(|field| !field.dropped)
    }

    /// Every partition field that files can have been written with.
    pub fn partition_fields(&self) -> &[PartitionField] {
        &self.partitioned_by
    }

    /// What rows are sorted by before they are written, within a partition.
    pub fn sorted_by(&self) -> &[SortField] {
        &self.sorted_by
    }

    /// Everything that files have statistics of: columns, then partition fields.
    pub fn measured(&self) -> impl Iterator<Item = Cow<'_, Field>> {
        let columns = self.fields.iter().map(Cow::Borrowed);
        let partitions = self.partitioned_by.iter();
        columns.chain(partitions.filter_map(|field| Some(Cow::Owned(self.as_column(field)?))))
    }

    /// The column or the partition field with this id.
    pub fn measured_by_id(&self, id: FieldId) -> Option<Cow<'_, Field>> {
        if let Some(field) = self.field_by_id(id) {
            return Some(Cow::Borrowed(field));
        }
        let field = self.partitioned_by.iter().find(|field| field.id == id)?;
        self.as_column(field).map(Cow::Owned)
    }

    /// A partition field as a column of its values.
    fn as_column(&self, field: &PartitionField) -> Option<Field> {
        let source = self.field_by_id(field.source)?;
        let ty = field.transform.result_type(&source.ty).ok()?;
        Some(Field::new(field.id, &field.name, ty, true))
    }

    /// Puts rows that are written from now on apart by one more field.
    ///
    /// # Errors
    ///
    /// `NotFound` if the column is not there, `Invalid` if the transform is none of its type,
    /// `AlreadyExists` if rows are put apart so already or the name is taken.
    pub(crate) fn add_partition_field(
        &mut self,
        source: FieldId,
        transform: Transform,
        name: Option<&str>,
    ) -> Result<()> {
        let column = self.field_by_id(source).ok_or_else(|| {
            Error::not_found("only a column of the table can be partitioned by").with("id", source)
        })?;
        transform
            .result_type(&column.ty)
            .map_err(|error| error.with("column", &column.name))?;
        let name = name.map_or_else(|| default_name(&column.name, transform), str::to_owned);
        let taken = |why: &str| Err(Error::already_exists(why).with("partition_field", &name));
        if self.partitioned_by().any(|f| f.name == name) {
            return taken("there is a partition field of this name");
        }
        let same = |f: &&mut PartitionField| f.source == source && f.transform == transform;
        if let Some(known) = self.partitioned_by.iter_mut().find(same) {
            if !known.dropped {
                return taken("rows are put apart by this already");
            }
            known.dropped = false;
            known.name = name;
            return Ok(());
        }
        let id = self.next_field_id();
        self.last_field_id = id;
        self.partitioned_by.push(PartitionField {
            id,
            source,
            transform,
            name,
            dropped: false,
        });
        Ok(())
    }

    /// Does not put rows apart by a field any more.
    ///
    /// # Errors
    ///
    /// `NotFound`.
    pub(crate) fn drop_partition_field(&mut self, id: FieldId) -> Result<()> {
        let mut fields = self.partitioned_by.iter_mut();
        let field = fields.find(|field| field.id == id && !field.dropped);
        let field = field
            .ok_or_else(|| Error::not_found("rows are not put apart by this").with("id", id))?;
        field.dropped = true;
        Ok(())
    }

    /// Sorts rows by `fields` before they are written; the caller checks the schema.
    pub(crate) fn sort_by(&mut self, fields: Vec<SortField>) {
        self.sorted_by = fields;
    }

    /// The columns that data files have bloom filters for, beside those of keys.
    pub fn bloom_filters(&self) -> &[FieldId] {
        &self.bloom_filters
    }

    /// Gives data files bloom filters for `columns`, and for no others; the caller checks the schema.
    pub(crate) fn filter_by(&mut self, columns: Vec<FieldId>) {
        self.bloom_filters = columns;
    }

    /// Whether the values of a column can be looked for in a bloom filter.
    fn has_filter(ty: &Type) -> bool {
        let float = matches!(ty, Type::Float16 | Type::Float32 | Type::Float64);
        ty.children().is_empty() && !float && *ty != Type::Boolean
    }

    /// Refuses to drop a column that rows are put apart or sorted by, and forgets what was made of
    /// it once.
    pub(super) fn forget_partitions(&mut self, column: FieldId) -> Result<()> {
        let used = self.partitioned_by().any(|field| field.source == column);
        if used || self.sorted_by.iter().any(|field| field.source == column) {
            return Err(
                Error::invalid("the table is partitioned or sorted by the column")
                    .with("id", column)
                    .with_hint("DROP PARTITION FIELD, or WRITE UNORDERED, first"),
            );
        }
        self.partitioned_by.retain(|field| field.source != column);
        Ok(())
    }

    /// Refuses another type of a column whose values would be in other partitions with it.
    pub(super) fn check_partitions(&self, column: FieldId, from: &Type, to: &Type) -> Result<()> {
        let hashed = |field: &&PartitionField| {
            field.source == column && matches!(field.transform, Transform::Bucket(_))
        };
        match self.partitioned_by.iter().find(hashed) {
            Some(field) if *from == Type::Date32 && from != to => {
                Err(Error::invalid("dates and timestamps are in other buckets")
                    .with("partition_field", &field.name)
                    .with("type", to)
                    .with_hint("add a column of the new type"))
            }
            _ => Ok(()),
        }
    }

    /// Checks partition fields and the order of rows.
    pub(super) fn check_layout(&self, error: &dyn Fn(String) -> Error) -> Result<()> {
        if self.partitioned_by.len() > FIELDS_MAX {
            return Err(error(
                "a table has more than 100 partition fields".to_owned(),
            ));
        }
        let mut ids = BTreeSet::new();
        let mut names = BTreeSet::new();
        for field in &self.partitioned_by {
            let refuse =
                |why: &str| Err(error(why.to_owned()).with("partition_field", &field.name));
            if field.id.0 < 1 || field.id > self.last_field_id || self.find(field.id).is_some() {
                return refuse("the id of a partition field is out of range or a column's");
            }
            if !ids.insert(field.id) || (!field.dropped && !names.insert(&field.name)) {
                return refuse("two partition fields have one id or one name");
            }
            if self.as_column(field).is_none() {
                return refuse("a partition field cannot be made of its column");
            }
        }
        let mut sources = BTreeSet::new();
        for field in &self.sorted_by {
            let column = self.field_by_id(field.source);
            let column = column.filter(|column| column.ty.children().is_empty());
            if column.is_none() || !sources.insert(field.source) {
                return Err(
                    error("a table cannot be sorted by this".to_owned()).with("id", field.source)
                );
            }
        }
        let mut filtered = BTreeSet::new();
        for id in &self.bloom_filters {
            let column = self.field_by_id(*id);
            let column = column.filter(|column| Self::has_filter(&column.ty));
            if column.is_none() || !filtered.insert(*id) {
                return Err(error("a column has no bloom filter, or two".to_owned())
                    .with("id", id)
                    .with_hint("columns that are not nested, float or boolean can have one"));
            }
        }
        Ok(())
    }
}

/// The name of a field that is given none.
fn default_name(column: &str, transform: Transform) -> String {
    match transform {
        Transform::Identity => column.to_owned(),
        Transform::Year => format!("{column}_year"),
        Transform::Month => format!("{column}_month"),
        Transform::Day => format!("{column}_day"),
        Transform::Hour => format!("{column}_hour"),
        Transform::Bucket(_) => format!("{column}_bucket"),
        Transform::Truncate(_) => format!("{column}_trunc"),
    }
}
