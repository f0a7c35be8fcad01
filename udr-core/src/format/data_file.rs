//! The entry of one data file in a manifest.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::{Adopted, ColumnStats, ObjectRef, SortField};
use crate::error::{Error, Result};
use crate::id::{Digest, FieldId, FileId};

/// One data file of a table, with what a scan needs to know before opening it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DataFile {
    /// Identifies this addition of the file: row identities start with it.
    pub id: FileId,
    /// The file.
    pub object: ObjectRef,
    /// Bytes from the first byte of the page index to the end of the file.
    pub footer_bytes: u32,
    /// The digest of those bytes.
    pub footer_digest: Digest,
    /// How many rows it has; never 0.
    pub rows: u64,
    /// Statistics by top-level column.
    ///
    /// Every column that the file has and that is not nested has a null count: one of which nothing is
    /// said is not in the file, and has its initial value.
    pub columns: BTreeMap<FieldId, ColumnStats>,
    /// The sequence of the commit that added it; 0 while it is staged.
    pub added_at: u64,
    /// The rows of it that are deleted; none if all are there.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub deletes: Option<DeletionVectorRef>,
    /// Whether it has the columns that say where its rows were first written.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub carries_identity: bool,
    /// The order that its rows have, as far as it is known; deleted ones included. Columns that the
    /// table does not have any more can be among it.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub sorted_by: Vec<SortField>,
    /// Where it was found; none if it was written by the repository.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub adopted: Option<Arc<Adopted>>,
}

/// Names the deletion vector of a data file.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DeletionVectorRef {
    /// The vector.
    pub object: ObjectRef,
    /// How many rows are deleted: at least one, and not all of the file's (invariant 6).
    pub rows: u64,
}

impl DataFile {
    /// How many of its rows are deleted.
    pub fn deleted_rows(&self) -> u64 {
        self.deletes.map_or(0, |deletes| deletes.rows)
    }

    /// How many of its rows are not deleted.
    pub fn live_rows(&self) -> u64 {
        self.rows.saturating_sub(self.deleted_rows())
    }

    /// Checks what can be checked without reading the file.
    ///
    /// # Errors
    ///
    /// `Corrupt`, saying what is wrong.
    pub(crate) fn validate(&self) -> Result<()> {
        let refuse =
            |why: &str| Err(Error::corrupt(why.to_owned()).with("data_file", self.object.digest));
        if self.rows == 0 {
            return refuse("a data file has no rows");
        }
        if u64::from(self.footer_bytes) > self.object.bytes || self.footer_bytes < 12 {
            return refuse("the footer of a data file is too short or longer than the file");
        }
        if let Some(deletes) = &self.deletes
            && (deletes.rows == 0 || deletes.rows >= self.rows)
        {
            return refuse("a deletion vector has no rows of its file, or all of them");
        }
        if let Some(adopted) = &self.adopted {
            adopted.validate()?;
            if self.carries_identity {
                return refuse("an adopted file has no identities of rows");
            }
        }
        for stats in self.columns.values() {
            if stats.null_count.is_some_and(|nulls| nulls > self.rows) {
                return refuse("a column has more NULLs than rows");
            }
        }
        Ok(())
    }
}
