//! One file of a scan, and which of its rows are there.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::data::DeletionVector;
use crate::error::Result;
use crate::format::{ColumnStats, DataFile, live_column_stats};
use crate::id::{FieldId, TableId};
use crate::store::Store;

/// A data file to read, without the rows that are deleted.
#[derive(Debug, Clone)]
pub struct FileTask {
    /// The file's entry; what it says of rows and columns includes rows that are deleted.
    pub file: Arc<DataFile>,
    /// Rows that a transaction deleted; none of them is in the file's own vector.
    staged: Option<Arc<DeletionVector>>,
}

impl FileTask {
    pub(crate) fn new(file: Arc<DataFile>, staged: Option<Arc<DeletionVector>>) -> Self {
        Self { file, staged }
    }

    /// How many rows are deleted.
    pub fn deleted_rows(&self) -> u64 {
        let staged = self.staged.as_ref().map_or(0, |staged| staged.len());
        self.file.deleted_rows() + staged
    }

    /// How many rows are not deleted; at least one.
    pub fn live_rows(&self) -> u64 {
        self.file.rows.saturating_sub(self.deleted_rows())
    }

    /// Whether some rows are deleted.
    pub fn has_deletes(&self) -> bool {
        self.deleted_rows() > 0
    }

    /// What holds of the columns over the rows that are not deleted.
    pub fn column_stats(&self) -> BTreeMap<FieldId, ColumnStats> {
        live_column_stats(self.file.rows, self.deleted_rows(), &self.file.columns)
    }

    /// The rows that are deleted; `None` if there are none.
    ///
    /// What is stored is read through the store's cache.
    ///
    /// # Errors
    ///
    /// `Corrupt`, naming the object, if the stored vector is missing, damaged or another than the
    /// entry says; `Unavailable`.
    pub async fn deleted(
        &self,
        store: &Store,
        table: TableId,
    ) -> Result<Option<Arc<DeletionVector>>> {
        let Some(reference) = &self.file.deletes else {
            return Ok(self.staged.clone());
        };
        let mut stored = DeletionVector::read(store, table, reference, self.file.rows).await?;
        if let Some(staged) = &self.staged {
            stored.union_with(staged);
        }
        Ok(Some(Arc::new(stored)))
    }
}
