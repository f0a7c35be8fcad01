//! The columns of a manifest that are there only where an entry has something to say.

use std::sync::Arc;

use arrow::array::{
    Array as _, ArrayRef, AsArray as _, BooleanArray, FixedSizeBinaryArray, StringArray,
    UInt32Array, UInt64Array,
};
use arrow::datatypes::{DataType, UInt32Type, UInt64Type};

use super::columns::mistyped;
use super::{AddedRange, Manifest, ManifestRef, digest};
use crate::error::{Error, Result};
use crate::format::{Adopted, DataFile, DeletionVectorRef, ObjectRef, SortField, Within};
use crate::id::Epoch;

/// Of a leaf: digest, epoch and length of a file's deletion vector, and how many rows it deletes.
const DIGEST: &str = "deletes_digest";
const EPOCH: &str = "deletes_epoch";
const BYTES: &str = "deletes_bytes";
const ROWS: &str = "deletes_rows";
/// Of a leaf: whether the file has the identity of its rows.
const CARRIES_IDENTITY: &str = "carries_identity";
/// Of a leaf: where a file was found, and which columns it has, as JSON.
const ADOPTED: &str = "adopted";
/// Of a leaf: the order that the rows of a file have, as JSON.
const SORTED_BY: &str = "sorted_by";
/// Of an inner manifest: what its references say.
const DELETED: &str = "deleted";
const ADDED_FIRST: &str = "added_first";
const ADDED_LAST: &str = "added_last";
/// Of an inner manifest: the commit that an entry is a part of, and its length; a length without a
/// commit is of the one that the manifest itself is a part of, and 0.
const COMMIT: &str = "commit";
const COMMIT_BYTES: &str = "commit_bytes";

/// The type of an optional column; `None` if manifests of this level have none of this name.
pub(super) fn type_of(level: u8, name: &str) -> Option<DataType> {
    Some(match (level, name) {
        (0, DIGEST) => DataType::FixedSizeBinary(32),
        (0, EPOCH) => DataType::UInt32,
        (0, BYTES | ROWS) => DataType::UInt64,
        (0, CARRIES_IDENTITY) => DataType::Boolean,
        (0, ADOPTED | SORTED_BY) => DataType::Utf8,
        (1.., DELETED | ADDED_FIRST | ADDED_LAST | COMMIT_BYTES) => DataType::UInt64,
        (1.., COMMIT) => DataType::FixedSizeBinary(32),
        _ => return None,
    })
}

/// Whether the column can have NULLs.
pub(super) fn is_nullable(name: &str) -> bool {
    matches!(
        name,
        DIGEST
            | EPOCH
            | BYTES
            | ROWS
            | ADOPTED
            | SORTED_BY
            | ADDED_FIRST
            | ADDED_LAST
            | COMMIT
            | COMMIT_BYTES
    )
}

/// The columns of a leaf for `files`.
pub(super) fn of_files(files: &[Arc<DataFile>]) -> Result<Vec<(&'static str, ArrayRef)>> {
    let mut columns = Vec::new();
    let deletes = || files.iter().map(|file| file.deletes);
    if deletes().any(|deletes| deletes.is_some()) {
        let digests = deletes().map(|d| d.map(|d| *d.object.digest.as_bytes()));
        columns.push((DIGEST, Arc::new(fixed32(digests)?) as ArrayRef));
        let epochs = deletes().map(|d| d.map(|d| d.object.epoch.0));
        columns.push((EPOCH, Arc::new(epochs.collect::<UInt32Array>())));
        let bytes = deletes().map(|d| d.map(|d| d.object.bytes));
        columns.push((BYTES, Arc::new(bytes.collect::<UInt64Array>())));
        let rows = deletes().map(|d| d.map(|d| d.rows));
        columns.push((ROWS, Arc::new(rows.collect::<UInt64Array>())));
    }
    if files.iter().any(|file| file.carries_identity) {
        let carried = files.iter().map(|file| Some(file.carries_identity));
        columns.push((
            CARRIES_IDENTITY,
            Arc::new(carried.collect::<BooleanArray>()),
        ));
    }
    if files.iter().any(|file| file.adopted.is_some()) {
        let adopted = files.iter().map(|file| {
            let adopted = file.adopted.as_deref();
            adopted.map(serde_json::to_string).transpose()
        });
        let adopted = adopted.collect::<Result<StringArray, _>>();
        let adopted = adopted
            .map_err(|e| Error::internal("an adopted file cannot be written").with_source(e))?;
        columns.push((ADOPTED, Arc::new(adopted)));
    }
    if files.iter().any(|file| !file.sorted_by.is_empty()) {
        let orders = files.iter().map(|file| {
            let order = Some(&file.sorted_by).filter(|order| !order.is_empty());
            order.map(serde_json::to_string).transpose()
        });
        let orders = orders.collect::<Result<StringArray, _>>();
        let orders =
            orders.map_err(|e| Error::internal("an order cannot be written").with_source(e))?;
        columns.push((SORTED_BY, Arc::new(orders)));
    }
    Ok(columns)
}

/// The columns of an inner manifest for `children`.
pub(super) fn of_manifests(children: &[ManifestRef]) -> Result<Vec<(&'static str, ArrayRef)>> {
    let mut columns = Vec::new();
    if children.iter().any(|child| child.deleted > 0) {
        let deleted = children.iter().map(|child| child.deleted);
        let deleted = UInt64Array::from_iter_values(deleted);
        columns.push((DELETED, Arc::new(deleted) as ArrayRef));
    }
    if children.iter().any(|child| child.added_at.is_some()) {
        let first = children.iter().map(|c| c.added_at.map(|range| range.first));
        columns.push((ADDED_FIRST, Arc::new(first.collect::<UInt64Array>())));
        let last = children.iter().map(|c| c.added_at.map(|range| range.last));
        columns.push((ADDED_LAST, Arc::new(last.collect::<UInt64Array>())));
    }
    let within = || children.iter().map(|child| child.object.within);
    if within().any(|within| within.is_some()) {
        let commits = within().map(|within| match within {
            Some(Within::Commit { digest, .. }) => Some(*digest.as_bytes()),
            Some(Within::Here) | None => None,
        });
        columns.push((COMMIT, Arc::new(fixed32(commits)?)));
        let bytes = within().map(|within| match within {
            Some(Within::Commit { bytes, .. }) => Some(bytes),
            Some(Within::Here) => Some(0),
            None => None,
        });
        columns.push((COMMIT_BYTES, Arc::new(bytes.collect::<UInt64Array>())));
    }
    Ok(columns)
}

fn fixed32(values: impl Iterator<Item = Option<[u8; 32]>>) -> Result<FixedSizeBinaryArray> {
    FixedSizeBinaryArray::try_from_sparse_iter_with_size(values, 32)
        .map_err(|e| Error::internal("an id has a wrong size").with_source(e))
}

/// The rows that the entries delete together; `None` if there are too many to count.
pub(super) fn deleted(manifest: &Manifest) -> Result<Option<u64>> {
    let name = if manifest.level == 0 { ROWS } else { DELETED };
    let Some(values) = uint64(manifest, name)? else {
        return Ok(Some(0));
    };
    Ok(values
        .iter()
        .flatten()
        .try_fold(0u64, |total, v| total.checked_add(v)))
}

/// When the entries were added; `None` if that is not recorded of all of them.
pub(super) fn added_at(manifest: &Manifest) -> Result<Option<AddedRange>> {
    if manifest.level == 0 {
        let values = manifest.uint64("added_at")?;
        return Ok(AddedRange::of(values.values().iter().copied()));
    }
    let columns = ManifestColumns::new(manifest)?;
    Ok(AddedRange::over(
        (0..manifest.len()).map(|row| columns.added_at(row)),
    ))
}

fn uint64<'a>(manifest: &'a Manifest, name: &str) -> Result<Option<&'a UInt64Array>> {
    let column = manifest.batch.column_by_name(name);
    column
        .map(|c| {
            c.as_primitive_opt::<UInt64Type>()
                .ok_or_else(|| mistyped(name))
        })
        .transpose()
}

/// Reads the optional columns of a leaf.
pub(super) struct FileColumns<'a> {
    deletes: Option<Deletes<'a>>,
    carried: Option<&'a BooleanArray>,
    adopted: Option<&'a StringArray>,
    sorted_by: Option<&'a StringArray>,
}

struct Deletes<'a> {
    digests: &'a FixedSizeBinaryArray,
    epochs: &'a UInt32Array,
    bytes: &'a UInt64Array,
    rows: &'a UInt64Array,
}

impl<'a> FileColumns<'a> {
    /// # Errors
    ///
    /// `Corrupt` if only some of the columns for deletion vectors are there.
    pub(super) fn new(manifest: &'a Manifest) -> Result<Self> {
        let batch = &manifest.batch;
        let parts = [DIGEST, EPOCH, BYTES, ROWS].map(|name| batch.column_by_name(name).is_some());
        let deletes = if parts.contains(&true) {
            Some(Deletes {
                digests: manifest.fixed(DIGEST)?,
                epochs: manifest
                    .column(EPOCH)?
                    .as_primitive_opt::<UInt32Type>()
                    .ok_or_else(|| mistyped(EPOCH))?,
                bytes: manifest.uint64(BYTES)?,
                rows: manifest.uint64(ROWS)?,
            })
        } else {
            None
        };
        let carried = batch
            .column_by_name(CARRIES_IDENTITY)
            .map(|c| {
                c.as_boolean_opt()
                    .filter(|c| c.null_count() == 0)
                    .ok_or_else(|| mistyped(CARRIES_IDENTITY))
            })
            .transpose()?;
        let text = |name: &str| {
            let column = batch.column_by_name(name);
            column
                .map(|c| c.as_string_opt().ok_or_else(|| mistyped(name)))
                .transpose()
        };
        Ok(Self {
            deletes,
            carried,
            adopted: text(ADOPTED)?,
            sorted_by: text(SORTED_BY)?,
        })
    }

    pub(super) fn deletes(&self, row: usize) -> Result<Option<DeletionVectorRef>> {
        let Some(columns) = &self.deletes else {
            return Ok(None);
        };
        let valid = [
            columns.digests.is_valid(row),
            columns.epochs.is_valid(row),
            columns.bytes.is_valid(row),
            columns.rows.is_valid(row),
        ];
        match valid {
            [false, false, false, false] => Ok(None),
            [true, true, true, true] => Ok(Some(DeletionVectorRef {
                object: ObjectRef {
                    digest: digest(columns.digests.value(row))?,
                    epoch: Epoch(columns.epochs.value(row)),
                    bytes: columns.bytes.value(row),
                    within: None,
                },
                rows: columns.rows.value(row),
            })),
            _ => Err(Error::corrupt(
                "an entry of a manifest has half a deletion vector",
            )),
        }
    }

    pub(super) fn adopted(&self, row: usize) -> Result<Option<Arc<Adopted>>> {
        let Some(adopted) = self.adopted.filter(|adopted| adopted.is_valid(row)) else {
            return Ok(None);
        };
        serde_json::from_str(adopted.value(row))
            .map(Some)
            .map_err(|e| Error::corrupt("an adopted file cannot be understood").with_source(e))
    }

    pub(super) fn sorted_by(&self, row: usize) -> Result<Vec<SortField>> {
        let Some(orders) = self.sorted_by.filter(|orders| orders.is_valid(row)) else {
            return Ok(Vec::new());
        };
        serde_json::from_str(orders.value(row))
            .map_err(|e| Error::corrupt("the order of a file cannot be understood").with_source(e))
    }

    pub(super) fn carries_identity(&self, row: usize) -> bool {
        self.carried.is_some_and(|carried| carried.value(row))
    }
}

/// Reads the optional columns of an inner manifest.
pub(super) struct ManifestColumns<'a> {
    deleted: Option<&'a UInt64Array>,
    first: Option<&'a UInt64Array>,
    last: Option<&'a UInt64Array>,
    commits: Option<&'a FixedSizeBinaryArray>,
    commit_bytes: Option<&'a UInt64Array>,
}

impl<'a> ManifestColumns<'a> {
    pub(super) fn new(manifest: &'a Manifest) -> Result<Self> {
        Ok(Self {
            deleted: uint64(manifest, DELETED)?,
            first: uint64(manifest, ADDED_FIRST)?,
            last: uint64(manifest, ADDED_LAST)?,
            commits: match manifest.batch.column_by_name(COMMIT) {
                Some(_) => Some(manifest.fixed(COMMIT)?),
                None => None,
            },
            commit_bytes: uint64(manifest, COMMIT_BYTES)?,
        })
    }

    pub(super) fn deleted(&self, row: usize) -> u64 {
        value(self.deleted, row).unwrap_or(0)
    }

    pub(super) fn added_at(&self, row: usize) -> Option<AddedRange> {
        Some(AddedRange {
            first: value(self.first, row)?,
            last: value(self.last, row)?,
        })
    }

    pub(super) fn within(&self, row: usize) -> Result<Option<Within>> {
        let commit = self.commits.filter(|commits| commits.is_valid(row));
        match (commit, value(self.commit_bytes, row)) {
            (None, None) => Ok(None),
            (None, Some(0)) => Ok(Some(Within::Here)),
            (Some(commits), Some(bytes)) => Ok(Some(Within::Commit {
                digest: digest(commits.value(row))?,
                bytes,
            })),
            _ => Err(Error::corrupt("an entry of a manifest has half a commit")),
        }
    }
}

fn value(array: Option<&UInt64Array>, row: usize) -> Option<u64> {
    let array = array?;
    array.is_valid(row).then(|| array.value(row))
}
