//! Data files that were found and not written.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::Value;
use crate::error::{Error, Result};
use crate::id::FieldId;

/// The most bytes of a URL.
const URL_BYTES_MAX: usize = 4_096;

/// Where a data file is that an import adopted, and which columns of its table it has.
///
/// Such a file is read in place and never deleted. Its columns carry no ids of their own.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Adopted {
    /// The file: an absolute URL.
    pub url: String,
    /// The columns that it has, and the parts of nested ones, by their paths in the file's schema,
    /// with dots between names. Others of its columns are not read.
    pub columns: BTreeMap<String, FieldId>,
    /// Columns that all rows have one value of, since it is in the path and not in the file; NULL is
    /// none.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub values: BTreeMap<FieldId, Option<Value>>,
}

impl Adopted {
    /// Checks what can be checked without reading the file.
    ///
    /// # Errors
    ///
    /// `Corrupt`, saying what is wrong.
    pub(super) fn validate(&self) -> Result<()> {
        let refuse = |why: &str| Err(Error::corrupt(why.to_owned()).with("url", &self.url));
        if self.url.len() > URL_BYTES_MAX || !self.url.contains("://") {
            return refuse("an adopted file has no URL");
        }
        let ids = self.columns.values().chain(self.values.keys());
        let mut ids = ids.copied().collect::<Vec<_>>();
        ids.sort_unstable();
        if ids.windows(2).any(|two| two[0] == two[1]) {
            return refuse("an adopted file has a column twice");
        }
        if ids.is_empty() {
            return refuse("an adopted file has no columns");
        }
        Ok(())
    }
}
