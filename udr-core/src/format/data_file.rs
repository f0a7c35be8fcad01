//! The entry of one data file in a manifest.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::{ColumnStats, ObjectRef};
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
    pub columns: BTreeMap<FieldId, ColumnStats>,
    /// The sequence of the commit that added it; 0 while it is staged.
    pub added_at: u64,
}

impl DataFile {
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
        for stats in self.columns.values() {
            if stats.null_count.is_some_and(|nulls| nulls > self.rows) {
                return refuse("a column has more NULLs than rows");
            }
        }
        Ok(())
    }
}
