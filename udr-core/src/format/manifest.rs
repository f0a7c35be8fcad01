//! Manifests: the tree that lists a table's data files with their statistics.
//!
//! A leaf (level 0) has a row for each data file, an inner manifest a row for each manifest below.
//! They are Parquet, so that statistics are typed and a table's own metadata can be queried like
//! any table. Columns: what identifies the entry, then for each column of the table
//! `c<field id>.lower`, `.upper`, `.exact` (bit 0: lower, bit 1: upper), `.nulls` and `.sum`, each
//! absent where no entry has it.

mod columns;
mod encode;
mod lazy;
mod optional;

use std::collections::{BTreeMap, BTreeSet};

use arrow::array::{
    ArrayRef, AsArray as _, FixedSizeBinaryArray, RecordBatch, UInt32Array, UInt64Array,
};
use arrow::datatypes::{DataType, UInt32Type, UInt64Type};
use bytes::Bytes;
use parquet::arrow::arrow_reader::{ArrowReaderMetadata, ArrowReaderOptions};
use parquet::file::metadata::KeyValue;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use self::columns::StatColumns;
use self::lazy::LazyColumns;
use super::envelope::FORMAT_VERSION;
use super::{ColumnStats, DataFile, ObjectRef, Schema, Within};
use crate::error::{Error, Result};
use crate::id::{Digest, Epoch, FieldId, FileId};

/// Names a manifest, with what its rows add up to.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ManifestRef {
    /// The manifest.
    pub object: ObjectRef,
    /// 0 for a leaf; else one more than the manifests below.
    pub level: u8,
    /// Rows of the manifest.
    pub entries: u32,
    /// Data files below it.
    pub files: u64,
    /// Rows in them.
    pub rows: u64,
    /// Their bytes.
    pub data_bytes: u64,
    /// How many of the rows are deleted.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub deleted: u64,
    /// When the data files below were added; `None` if that is not recorded.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub added_at: Option<AddedRange>,
    /// Statistics over them.
    pub columns: BTreeMap<FieldId, ColumnStats>,
}

/// The sequences of the commits that added data files: the first and the last.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AddedRange {
    /// The least.
    pub first: u64,
    /// The greatest.
    pub last: u64,
}

impl AddedRange {
    /// The range of `values`; `None` if there are none.
    fn of(values: impl Iterator<Item = u64>) -> Option<Self> {
        values.fold(None, |range, v| {
            let Self { first, last } = range.unwrap_or(Self { first: v, last: v });
            Some(Self {
                first: first.min(v),
                last: last.max(v),
            })
        })
    }

    /// The range of all of `parts`; `None` if one is not known.
    fn over(parts: impl Iterator<Item = Option<Self>>) -> Option<Self> {
        let parts = parts.collect::<Option<Vec<_>>>()?;
        Self::of(parts.iter().flat_map(|part| [part.first, part.last]))
    }
}

#[expect(
    clippy::trivially_copy_pass_by_ref,
    reason = "serde passes a reference"
)]
fn is_zero(value: &u64) -> bool {
    *value == 0
}

/// A manifest: decoded but for statistics, which are decoded when they are asked for, column by
/// column, and kept.
#[derive(Debug)]
pub struct Manifest {
    level: u8,
    /// All columns but the statistics.
    batch: RecordBatch,
    stats: LazyColumns,
    /// What it is a part of.
    home: Option<Within>,
}

/// What is known of several files, or several manifests, as columns.
#[derive(Debug, Clone)]
pub struct Containers {
    rows: UInt64Array,
    bounds: BTreeMap<FieldId, Bounds>,
}

/// Bounds of one column in several containers; NULL is unknown.
#[derive(Debug, Clone)]
pub struct Bounds {
    /// Lower bounds, of the column's type.
    pub lower: ArrayRef,
    /// Upper bounds, of the column's type.
    pub upper: ArrayRef,
    /// How many rows are NULL.
    pub null_count: UInt64Array,
}

impl Containers {
    /// The statistics of `parts` (rows, by column) for the columns in `fields`.
    ///
    /// # Errors
    ///
    /// `Corrupt` if a statistic does not fit the type of its column.
    pub fn new(
        schema: &Schema,
        fields: &BTreeSet<FieldId>,
        parts: &[(u64, &BTreeMap<FieldId, ColumnStats>)],
    ) -> Result<Self> {
        let mut bounds = BTreeMap::new();
        for id in fields {
            let field = schema.measured_by_id(*id);
            let Some(field) = field.filter(|f| f.ty.has_bounds()) else {
                continue;
            };
            let stats = || parts.iter().map(|(_, columns)| columns.get(id));
            let data_type = field.ty.to_arrow();
            let lower = super::Value::array(
                &data_type,
                stats().map(|s| s.and_then(|s| s.lower.as_ref()).map(|b| &b.value)),
            )?;
            let upper = super::Value::array(
                &data_type,
                stats().map(|s| s.and_then(|s| s.upper.as_ref()).map(|b| &b.value)),
            )?;
            let null_count = stats().map(|s| s.and_then(|s| s.null_count)).collect();
            bounds.insert(
                *id,
                Bounds {
                    lower,
                    upper,
                    null_count,
                },
            );
        }
        Ok(Self {
            rows: parts.iter().map(|(rows, _)| Some(*rows)).collect(),
            bounds,
        })
    }

    /// How many containers there are.
    pub fn len(&self) -> usize {
        self.rows.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.rows.is_empty()
    }

    /// Rows of each.
    pub fn rows(&self) -> &UInt64Array {
        &self.rows
    }

    /// Bounds of a column; `None` if its type has none.
    pub fn bounds(&self, field: FieldId) -> Option<&Bounds> {
        self.bounds.get(&field)
    }
}

impl Manifest {
    /// The most rows of a manifest.
    pub const ENTRIES_MAX: usize = 4_096;
    /// The most levels of a tree: enough for more files than can be counted.
    pub(super) const LEVEL_MAX: u8 = 8;

    /// Decodes the manifest that `expected` names; the digest of `bytes` has been checked.
    ///
    /// # Errors
    ///
    /// `Corrupt` if it is not a manifest or not what `expected` says, `Unsupported` if a newer
    /// version wrote it.
    pub fn decode(bytes: Bytes, expected: &ManifestRef) -> Result<Self> {
        let corrupt =
            |why: &str| Error::corrupt(why.to_owned()).with("manifest", expected.object.digest);
        let metadata = ArrowReaderMetadata::load(&bytes, ArrowReaderOptions::new())
            .map_err(|e| corrupt("a manifest is not Parquet").with_source(e))?;
        let file = metadata.metadata().file_metadata();
        let level = check_header(file.key_value_metadata())
            .map_err(|e| e.with("manifest", expected.object.digest))?;
        let rows = usize::try_from(file.num_rows()).unwrap_or(0);
        if level != expected.level
            || rows != expected.entries as usize
            || rows == 0
            || rows > Self::ENTRIES_MAX
        {
            return Err(corrupt("a manifest is not what its reference says"));
        }
        // A part of a commit would keep all of the commit in memory.
        let bytes = match expected.object.within {
            Some(_) => Bytes::copy_from_slice(&bytes),
            None => bytes,
        };
        let stats = LazyColumns::new(expected.object.digest, bytes, metadata);
        let batch = stats.others()?;
        columns::check(&batch, stats.schema(), level)?;
        let manifest = Self {
            level,
            batch,
            stats,
            home: expected.object.within,
        };
        manifest.check_totals(expected)?;
        Ok(manifest)
    }

    /// How many rows it has.
    pub fn len(&self) -> usize {
        self.batch.num_rows()
    }

    /// Whether it has no rows, which no stored manifest has.
    pub fn is_empty(&self) -> bool {
        self.batch.num_rows() == 0
    }

    /// About how much memory it takes once all of it is decoded.
    pub(crate) fn memory_bytes(&self) -> u64 {
        self.batch.get_array_memory_size() as u64 + self.stats.memory_bytes()
    }

    /// 0 for a leaf.
    pub fn level(&self) -> u8 {
        self.level
    }

    /// The statistics of its entries for the columns of `schema` in `fields`; those of other columns
    /// are not decoded.
    ///
    /// # Errors
    ///
    /// `Corrupt` if a statistic does not fit the type of its column.
    pub fn containers(&self, schema: &Schema, fields: &BTreeSet<FieldId>) -> Result<Containers> {
        let mut bounds = BTreeMap::new();
        for id in fields {
            let field = schema.measured_by_id(*id);
            let Some(field) = field.filter(|f| f.ty.has_bounds()) else {
                continue;
            };
            bounds.insert(*id, columns::bounds(self.len(), &self.stats, &field)?);
        }
        Ok(Containers {
            rows: self.uint64("rows")?.clone(),
            bounds,
        })
    }

    /// The data files in the given rows of a leaf, with the statistics of the columns of `schema`.
    ///
    /// # Errors
    ///
    /// `Corrupt` if an entry does not validate.
    pub fn files(
        &self,
        schema: &Schema,
        rows: impl IntoIterator<Item = usize>,
    ) -> Result<Vec<DataFile>> {
        let rows = rows.into_iter().collect::<Vec<_>>();
        if rows.is_empty() {
            return Ok(Vec::new());
        }
        let objects = Objects::new(self)?;
        let (ids, footers) = (self.fixed("file_id")?, self.fixed("footer_digest")?);
        let footer_bytes = self.uint32("footer_bytes")?;
        let (counts, added_at) = (self.uint64("rows")?, self.uint64("added_at")?);
        let optional = optional::FileColumns::new(self)?;
        let stats = StatColumns::of_files(&self.stats, schema)?;
        rows.into_iter()
            .map(|row| {
                let file = DataFile {
                    id: FileId::from_uuid(Uuid::from_slice(ids.value(row)).map_err(wrong_size)?),
                    object: objects.row(row)?,
                    footer_bytes: footer_bytes.value(row),
                    footer_digest: digest(footers.value(row))?,
                    rows: counts.value(row),
                    columns: stats.row(row, counts.value(row)),
                    added_at: added_at.value(row),
                    deletes: optional.deletes(row)?,
                    carries_identity: optional.carries_identity(row),
                    sorted_by: optional.sorted_by(row)?,
                    adopted: optional.adopted(row)?,
                };
                file.validate()?;
                Ok(file)
            })
            .collect()
    }

    /// The names of the columns of statistics that were decoded.
    #[cfg(test)]
    pub(super) fn decoded(&self) -> Vec<String> {
        self.stats.decoded()
    }

    /// The files of a leaf in order: their ids, and the digests of what is deleted of them.
    ///
    /// # Errors
    ///
    /// `Corrupt` if an entry cannot be read.
    pub(crate) fn entries(&self) -> Result<Vec<(FileId, Option<Digest>)>> {
        let ids = self.fixed("file_id")?;
        let optional = optional::FileColumns::new(self)?;
        let rows = (0..self.len()).map(|row| {
            let id = Uuid::from_slice(ids.value(row)).map_err(wrong_size)?;
            let deletes = optional.deletes(row)?;
            let deletes = deletes.map(|deletes| deletes.object.digest);
            Ok((FileId::from_uuid(id), deletes))
        });
        rows.collect()
    }

    /// The rows of a leaf that are the entries of `wanted`.
    ///
    /// # Errors
    ///
    /// `Corrupt` if an entry cannot be read.
    pub(crate) fn find(&self, wanted: impl Fn(&FileId) -> bool) -> Result<Vec<usize>> {
        let ids = self.fixed("file_id")?;
        let mut found = Vec::new();
        for row in 0..self.len() {
            let id = Uuid::from_slice(ids.value(row)).map_err(wrong_size)?;
            if wanted(&FileId::from_uuid(id)) {
                found.push(row);
            }
        }
        Ok(found)
    }

    /// The rows of a leaf whose files were added by commits after `sequence`.
    ///
    /// # Errors
    ///
    /// `Corrupt` if an entry cannot be read.
    pub(crate) fn added_after(&self, sequence: u64) -> Result<Vec<usize>> {
        let added_at = self.uint64("added_at")?;
        Ok((0..self.len())
            .filter(|row| added_at.value(*row) > sequence)
            .collect())
    }

    /// The manifests in the given rows of an inner manifest, with the statistics of the columns of
    /// `schema`.
    ///
    /// # Errors
    ///
    /// `Corrupt` if an entry cannot be read.
    pub fn manifests(
        &self,
        schema: &Schema,
        rows: impl IntoIterator<Item = usize>,
    ) -> Result<Vec<ManifestRef>> {
        let rows = rows.into_iter().collect::<Vec<_>>();
        if rows.is_empty() {
            return Ok(Vec::new());
        }
        let objects = Objects::new(self)?;
        let entries = self.uint32("entries")?;
        let (files, counts) = (self.uint64("files")?, self.uint64("rows")?);
        let data_bytes = self.uint64("data_bytes")?;
        let optional = optional::ManifestColumns::new(self)?;
        let stats = StatColumns::new(&self.stats, schema)?;
        rows.into_iter()
            .map(|row| {
                let mut object = objects.row(row)?;
                object.within = optional.within(row)?;
                object.settle(self.home)?;
                Ok(ManifestRef {
                    object,
                    level: self.level - 1,
                    entries: entries.value(row),
                    files: files.value(row),
                    rows: counts.value(row),
                    data_bytes: data_bytes.value(row),
                    deleted: optional.deleted(row),
                    added_at: optional.added_at(row),
                    columns: stats.row(row, counts.value(row)),
                })
            })
            .collect()
    }

    fn check_totals(&self, expected: &ManifestRef) -> Result<()> {
        let sum = |name: &str| -> Result<Option<u64>> {
            let values = self.uint64(name)?;
            Ok(values
                .values()
                .iter()
                .try_fold(0u64, |total, v| total.checked_add(*v)))
        };
        let (files, bytes) = if self.level == 0 {
            (Some(self.len() as u64), sum("bytes")?)
        } else {
            (sum("files")?, sum("data_bytes")?)
        };
        let added_at = optional::added_at(self)?;
        if sum("rows")? != Some(expected.rows)
            || files != Some(expected.files)
            || bytes != Some(expected.data_bytes)
            || optional::deleted(self)? != Some(expected.deleted)
            || expected
                .added_at
                .is_some_and(|range| added_at != Some(range))
        {
            return Err(
                Error::corrupt("the rows of a manifest do not add up to its reference")
                    .with("manifest", expected.object.digest),
            );
        }
        Ok(())
    }

    fn column(&self, name: &str) -> Result<&ArrayRef> {
        self.batch
            .column_by_name(name)
            .ok_or_else(|| Error::corrupt("a manifest lacks a column").with("column", name))
    }

    fn uint64(&self, name: &str) -> Result<&UInt64Array> {
        self.column(name)?
            .as_primitive_opt::<UInt64Type>()
            .ok_or_else(|| columns::mistyped(name))
    }

    fn uint32(&self, name: &str) -> Result<&UInt32Array> {
        self.column(name)?
            .as_primitive_opt::<UInt32Type>()
            .ok_or_else(|| columns::mistyped(name))
    }

    fn fixed(&self, name: &str) -> Result<&FixedSizeBinaryArray> {
        self.column(name)?
            .as_fixed_size_binary_opt()
            .ok_or_else(|| columns::mistyped(name))
    }
}

struct Objects<'a> {
    digests: &'a FixedSizeBinaryArray,
    epochs: &'a UInt32Array,
    bytes: &'a UInt64Array,
}

impl<'a> Objects<'a> {
    fn new(manifest: &'a Manifest) -> Result<Self> {
        Ok(Self {
            digests: manifest.fixed("digest")?,
            epochs: manifest.uint32("epoch")?,
            bytes: manifest.uint64("bytes")?,
        })
    }

    fn row(&self, row: usize) -> Result<ObjectRef> {
        Ok(ObjectRef {
            digest: digest(self.digests.value(row))?,
            epoch: Epoch(self.epochs.value(row)),
            bytes: self.bytes.value(row),
            within: None,
        })
    }
}

fn digest(bytes: &[u8]) -> Result<Digest> {
    <[u8; 32]>::try_from(bytes)
        .map(Digest::from_bytes)
        .map_err(wrong_size)
}

fn wrong_size(source: impl std::error::Error + Send + Sync + 'static) -> Error {
    Error::corrupt("an id in a manifest has a wrong size").with_source(source)
}

fn check_header(metadata: Option<&Vec<KeyValue>>) -> Result<u8> {
    let value = |key: &str| {
        metadata
            .into_iter()
            .flatten()
            .find(|kv| kv.key == key)
            .and_then(|kv| kv.value.as_deref())
    };
    if value("udr.kind") != Some("manifest") {
        return Err(Error::corrupt("a Parquet file is not a manifest"));
    }
    match value("udr.format").and_then(|v| v.parse::<u32>().ok()) {
        Some(format) if format > FORMAT_VERSION => {
            return Err(Error::unsupported("written by a newer version of UDR")
                .with("format", format)
                .with("supported", FORMAT_VERSION)
                .with_hint("open it with a newer build"));
        }
        Some(1..) => {}
        _ => return Err(Error::corrupt("a manifest has no format version")),
    }
    value("udr.level")
        .and_then(|v| v.parse().ok())
        .filter(|level| *level <= Manifest::LEVEL_MAX)
        .ok_or_else(|| Error::corrupt("a manifest has no valid level"))
}

/// The type in which a manifest stores bounds of a column: by kind of value, so that reading them
/// needs no hint of the column's own type.
fn storage_type(ty: &DataType) -> DataType {
    match ty {
        DataType::Boolean => DataType::Boolean,
        DataType::UInt8 | DataType::UInt16 | DataType::UInt32 | DataType::UInt64 => {
            DataType::UInt64
        }
        DataType::Float32 | DataType::Float64 => DataType::Float64,
        DataType::Decimal128(precision, scale) => DataType::Decimal128(*precision, *scale),
        // Days, so that they are told from the ticks of a timestamp that the column was widened to.
        DataType::Date32 => DataType::Date32,
        DataType::Utf8View => DataType::Utf8View,
        DataType::BinaryView | DataType::FixedSizeBinary(_) => DataType::BinaryView,
        _ => DataType::Int64,
    }
}
