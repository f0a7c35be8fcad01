//! What became of the rows of one table between two states.

use std::sync::Arc;

use futures::{StreamExt as _, TryStreamExt as _};

use super::pairs::Pairs;
use crate::data::{DeletionVector, RowSet};
use crate::diff::file_changes;
use crate::error::{Error, Result};
use crate::format::{DataFile, Schema};
use crate::id::TableId;
use crate::snapshot::{FileTask, TableSnapshot};
use crate::store::Store;

/// How many deletion vectors are read at once.
const CONCURRENCY: usize = 16;

/// The rows of one table that two states do not have in common, found but not read.
#[derive(Debug, Clone)]
pub struct TableChanges {
    pub(super) store: Store,
    pub(super) table: TableId,
    schema: Arc<Schema>,
    pub(super) gone: Vec<Part>,
    pub(super) came: Vec<Part>,
    pub(super) pairs: Arc<Pairs>,
}

/// Rows of a data file that are on one side only, as far as files tell.
#[derive(Debug, Clone)]
pub(super) struct Part {
    pub(super) file: Arc<DataFile>,
    pub(super) rows: RowSet,
    /// The columns of the state that the file's entry is from.
    pub(super) schema: Arc<Schema>,
}

impl TableChanges {
    /// Compares a table `before` and `after`; nothing stands for a table that is not there.
    ///
    /// `common` is the sequence of the newest commit that led to both states: of `before`, where
    /// `after` follows from it. Rows that were changed later than that are not the same, even if a
    /// commit of the same sequence changed them on both sides.
    ///
    /// Reads manifests as [`file_changes`] does, deletion vectors of files of which rows went, and
    /// the identities of rows that were written anew: the cost follows the change. Those are kept in
    /// bitmaps; rows are read by [`TableChanges::read`].
    ///
    /// # Errors
    ///
    /// `Invalid` if it is not one table; `Unsupported` for what a transaction has staged; `Corrupt`,
    /// `Unavailable`.
    pub async fn between(
        before: Option<&TableSnapshot>,
        after: Option<&TableSnapshot>,
        common: u64,
    ) -> Result<Self> {
        let Some(any) = after.or(before) else {
            return Err(Error::invalid("a table that never was has no changes"));
        };
        let (store, table) = (any.store().clone(), any.id());
        let schema = Arc::new(any.schema().clone());
        let (gone, came) = match (before, after) {
            (Some(before), Some(after)) => parts(before, after).await?,
            (Some(before), None) => (all(before).await?, Vec::new()),
            (None, Some(after)) => (Vec::new(), all(after).await?),
            (None, None) => (Vec::new(), Vec::new()),
        };
        let pairs = Pairs::of(&store, table, &gone, &came, common).await?;
        Ok(Self {
            store,
            table,
            schema,
            gone,
            came,
            pairs: Arc::new(pairs),
        })
    }

    /// Which table, whatever its name.
    pub fn table(&self) -> TableId {
        self.table
    }

    /// The columns that the table has after the changes; before them, if it is not there then.
    pub fn schema(&self) -> &Schema {
        &self.schema
    }

    /// How large the files are that the rows are in: bytes, and rows.
    pub fn file_sizes(&self) -> (u64, u64) {
        let parts = self.gone.iter().chain(&self.came);
        parts.fold((0, 0), |(bytes, rows), part| {
            (bytes + part.file.object.bytes, rows + part.file.rows)
        })
    }

    /// Whether there are none for certain.
    pub fn is_empty(&self) -> bool {
        self.gone.is_empty() && self.came.is_empty()
    }
}

/// The rows that are only in one of two states of a table: in the earlier one, in the later one.
async fn parts(before: &TableSnapshot, after: &TableSnapshot) -> Result<(Vec<Part>, Vec<Part>)> {
    let changes = file_changes(before, after).await?;
    let mut gone = whole(before, changes.removed).await?;
    let mut came = whole(after, changes.added).await?;
    let (old, new) = changes.changed.into_iter().unzip::<_, _, Vec<_>, Vec<_>>();
    let deleted_before = deleted(before, &old).await?;
    let deleted_after = deleted(after, &new).await?;
    let deleted = deleted_before.into_iter().zip(deleted_after);
    let schemas = [before, after].map(|table| Arc::new(table.schema().clone()));
    for ((old, new), (before, after)) in old.into_iter().zip(new).zip(deleted) {
        let went = after.difference(&before);
        let returned = before.difference(&after);
        let [earlier, later] = &schemas;
        for (file, rows, schema, parts) in [
            (old, went, earlier, &mut gone),
            (new, returned, later, &mut came),
        ] {
            if !rows.is_empty() {
                parts.push(Part {
                    file,
                    rows: RowSet::Only(Arc::new(rows)),
                    schema: Arc::clone(schema),
                });
            }
        }
    }
    Ok((gone, came))
}

/// All rows of a table.
async fn all(table: &TableSnapshot) -> Result<Vec<Part>> {
    let files = table.plan(None).await?.files;
    whole(table, files.into_iter().map(|task| task.file).collect()).await
}

/// The rows of files that are not deleted.
async fn whole(table: &TableSnapshot, files: Vec<Arc<DataFile>>) -> Result<Vec<Part>> {
    let deleted = deleted(table, &files).await?;
    let schema = Arc::new(table.schema().clone());
    let parts = files.into_iter().zip(deleted).map(|(file, deleted)| Part {
        file,
        rows: RowSet::Except(deleted),
        schema: Arc::clone(&schema),
    });
    Ok(parts.collect())
}

/// The deleted rows of each file.
async fn deleted(
    table: &TableSnapshot,
    files: &[Arc<DataFile>],
) -> Result<Vec<Arc<DeletionVector>>> {
    let (store, id) = (table.store().clone(), table.id());
    let files = files.to_vec();
    futures::stream::iter(files)
        .map(|file| {
            let store = store.clone();
            async move {
                let deleted = FileTask::new(file, None).deleted(&store, id).await?;
                Ok(deleted.unwrap_or_default())
            }
        })
        .buffered(CONCURRENCY)
        .try_collect()
        .await
}
