//! Where a row was first written: what it is known by while files are rewritten around it.
//!
//! A row is its file's id and its position there. Files that UPDATE, MERGE or a rewrite wrote carry
//! three more columns: file id and position of where the row was first written, and the sequence
//! of the commit that last changed it. NULL stands for the row's own: this file, this position, the
//! file's `added_at`. So in a row that was changed the third is NULL, in one that was only moved
//! none is.

use std::fmt;
use std::sync::Arc;

use arrow::array::{
    Array as _, ArrayRef, AsArray as _, FixedSizeBinaryArray, Int64Array, RecordBatch,
};
use arrow::datatypes::{Field, Int64Type};
use uuid::Uuid;

use crate::error::{Error, Result};
use crate::format::{DataFile, IDENTITY_LEN, identity_columns};
use crate::id::FileId;

/// Identifies a row for good: the file that it was first written to, and its place there.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RowId {
    /// The file.
    pub file: FileId,
    /// The row of it, from 0 on.
    pub position: u64,
}

impl RowId {
    /// The file's 16 bytes, then the position, most significant byte first: in order of position
    /// within a file.
    #[expect(
        clippy::big_endian_bytes,
        reason = "so that bytes sort as positions do"
    )]
    pub fn to_bytes(self) -> [u8; 24] {
        let mut bytes = [0; 24];
        let (file, position) = bytes.split_at_mut(16);
        file.copy_from_slice(self.file.as_bytes());
        position.copy_from_slice(&self.position.to_be_bytes());
        bytes
    }

    /// Reads what [`RowId::to_bytes`] wrote.
    #[expect(
        clippy::big_endian_bytes,
        reason = "so that bytes sort as positions do"
    )]
    pub fn from_bytes(bytes: [u8; 24]) -> Self {
        let (mut file, mut position) = ([0; 16], [0; 8]);
        file.copy_from_slice(&bytes[..16]);
        position.copy_from_slice(&bytes[16..]);
        Self {
            file: FileId::from_uuid(Uuid::from_bytes(file)),
            position: u64::from_be_bytes(position),
        }
    }
}

impl fmt::Display for RowId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.file, self.position)
    }
}

/// Whether data files carry the identity of their rows.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum RowIdentity {
    /// Rows are new: what identifies them is where they are written.
    #[default]
    Own,
    /// Every batch has the columns of [`identity_fields`] after those of the table.
    Carried,
}

/// The columns that carry identity: file id, position, and sequence of the last change.
pub fn identity_fields() -> [Field; IDENTITY_LEN] {
    identity_columns().map(|field| field.to_arrow())
}

/// The identity of the rows of a batch, as the file has it.
#[derive(Debug)]
pub(crate) struct Identities {
    file: FileId,
    added_at: u64,
    places: Places,
    files: FixedSizeBinaryArray,
    positions: Int64Array,
    changes: Int64Array,
}

/// Where the rows of a batch are in their file.
#[derive(Debug)]
pub(crate) enum Places {
    /// One after the other, from this one on.
    From(u64),
    /// There, ascending.
    At(Vec<u64>),
}

impl Places {
    /// Where a row of the batch is.
    pub(crate) fn of(&self, row: usize) -> u64 {
        match self {
            Self::From(first) => first + row as u64,
            // A row that is not there has an identity that cannot be.
            Self::At(places) => places.get(row).copied().unwrap_or(u64::MAX),
        }
    }
}

/// Where a row was first written, and the sequence of the commit that last changed it; 0 if that
/// is not published yet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Origin {
    pub(crate) row: RowId,
    pub(crate) changed_at: u64,
}

impl Identities {
    /// Takes the last columns of a batch of `file` whose rows are at `places`.
    ///
    /// # Errors
    ///
    /// `Corrupt` if they are no identities.
    pub(crate) fn new(file: &DataFile, places: Places, batch: &RecordBatch) -> Result<Self> {
        let at = batch.num_columns().checked_sub(IDENTITY_LEN);
        let parts = at.and_then(|at| batch.columns().get(at..));
        let Some([files, positions, changes]) = parts else {
            return Err(Error::internal("a batch has no columns of identity"));
        };
        let (Some(files), Some(positions), Some(changes)) = (
            files
                .as_fixed_size_binary_opt()
                .filter(|f| f.value_length() == 16),
            positions.as_primitive_opt::<Int64Type>(),
            changes.as_primitive_opt::<Int64Type>(),
        ) else {
            return Err(Error::internal("a column of identity has a wrong type"));
        };
        Ok(Self {
            file: file.id,
            added_at: file.added_at,
            places,
            files: files.clone(),
            positions: positions.clone(),
            changes: changes.clone(),
        })
    }

    /// How many rows there are.
    pub(crate) fn len(&self) -> usize {
        self.files.len()
    }

    /// The file, and the sequence of the commit that added it, if these are the origin of each row,
    /// which then is where it is.
    pub(crate) fn own(&self) -> Option<(FileId, u64)> {
        let none = self.files.null_count() == self.files.len()
            && self.positions.null_count() == self.positions.len()
            && self.changes.null_count() == self.changes.len();
        none.then_some((self.file, self.added_at))
    }

    /// Where the rows are.
    pub(crate) fn places(&self) -> &Places {
        &self.places
    }

    /// The identity of a row of the batch.
    ///
    /// # Errors
    ///
    /// `Corrupt` if the file says what cannot be.
    pub(crate) fn origin(&self, row: usize) -> Result<Origin> {
        let corrupt = || {
            Error::corrupt("the identity of a row is not one").with("position", self.places.of(row))
        };
        let own = RowId {
            file: self.file,
            position: self.places.of(row),
        };
        let id = match (self.files.is_valid(row), self.positions.is_valid(row)) {
            (false, false) => own,
            (true, true) => RowId {
                file: FileId::from_uuid(
                    Uuid::from_slice(self.files.value(row)).map_err(|_| corrupt())?,
                ),
                position: u64::try_from(self.positions.value(row)).map_err(|_| corrupt())?,
            },
            _ => return Err(corrupt()),
        };
        let changed_at = if self.changes.is_valid(row) {
            let changed_at = u64::try_from(self.changes.value(row)).map_err(|_| corrupt())?;
            // What a file says of the past came before the file; what is staged has no place yet.
            if self.files.is_null(row) || (self.added_at > 0 && changed_at > self.added_at) {
                return Err(corrupt());
            }
            changed_at
        } else {
            self.added_at
        };
        Ok(Origin {
            row: id,
            changed_at,
        })
    }
}

/// The columns of [`identity_fields`] for rows that take the place of others; `None` for rows that
/// take nobody's.
///
/// # Errors
///
/// `Invalid` if a position is out of range.
pub fn replacing(rows: &[Option<RowId>]) -> Result<[ArrayRef; IDENTITY_LEN]> {
    let files = rows.iter().map(|row| row.map(|row| *row.file.as_bytes()));
    let files = FixedSizeBinaryArray::try_from_sparse_iter_with_size(files, 16)
        .map_err(|e| Error::internal("an id has a wrong size").with_source(e))?;
    let position = |row: RowId| {
        i64::try_from(row.position).map_err(|e| {
            Error::invalid("a position is out of range")
                .with("position", row.position)
                .with_source(e)
        })
    };
    let positions = rows
        .iter()
        .map(|row| row.map(position).transpose())
        .collect::<Result<Int64Array>>()?;
    let changes = Int64Array::new_null(rows.len());
    Ok([Arc::new(files), Arc::new(positions), Arc::new(changes)])
}

/// Columns that carry `origins`, for rows that are only moved.
///
/// # Errors
///
/// `Internal` if a number is out of range.
pub(crate) fn moved_columns(origins: &[Origin]) -> Result<[ArrayRef; IDENTITY_LEN]> {
    let signed = |value: u64| {
        i64::try_from(value)
            .map_err(|e| Error::internal("a position is out of range").with_source(e))
    };
    let files = origins
        .iter()
        .map(|origin| Some(*origin.row.file.as_bytes()));
    let files = FixedSizeBinaryArray::try_from_sparse_iter_with_size(files, 16)
        .map_err(|e| Error::internal("an id has a wrong size").with_source(e))?;
    let positions = origins
        .iter()
        .map(|origin| signed(origin.row.position))
        .collect::<Result<Int64Array>>()?;
    let changes = origins
        .iter()
        .map(|origin| signed(origin.changed_at))
        .collect::<Result<Int64Array>>()?;
    Ok([Arc::new(files), Arc::new(positions), Arc::new(changes)])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_row_id_is_24_bytes_that_sort_by_position() {
        let file = FileId::from_uuid(Uuid::from_u128(0x0102));
        let id = |position| RowId { file, position };
        assert_eq!(RowId::from_bytes(id(300).to_bytes()), id(300));
        assert!(id(255).to_bytes() < id(256).to_bytes());
        assert_eq!(id(7).to_string(), "00000000-0000-0000-0000-000000000102:7");
    }
}
