//! One table of a snapshot.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::sync::Arc;

use arrow::array::RecordBatch;
use arrow::datatypes::SchemaRef;
use futures::stream::BoxStream;

use super::overlay::{StagedSketches, StagedTable};
use super::scan::{self, ScanPlan};
use super::{FileTask, Loader, Prune, locate};
use crate::data::read_live_batches;
use crate::error::Result;
use crate::format::{
    ColumnStats, Constraint, DataFile, ManifestRef, Schema, Sketches, TableState,
    live_column_stats, merge_column_stats,
};
use crate::id::{FieldId, TableId};
use crate::name::RelationPath;
use crate::store::Store;

/// One table at one commit, or as a transaction sees it; cheap to clone.
#[derive(Clone)]
pub struct TableSnapshot {
    loader: Loader,
    path: RelationPath,
    id: TableId,
    schema: Arc<Schema>,
    arrow_schema: SchemaRef,
    staged: StagedTable,
}

impl TableSnapshot {
    pub(super) fn new(
        loader: Loader,
        path: RelationPath,
        id: TableId,
        staged: StagedTable,
    ) -> Self {
        let schema = Arc::clone(&staged.schema);
        Self {
            loader,
            path,
            id,
            arrow_schema: schema.to_arrow(),
            schema,
            staged,
        }
    }

    /// Which table, whatever its name.
    pub fn id(&self) -> TableId {
        self.id
    }

    /// Its name.
    pub fn path(&self) -> &RelationPath {
        &self.path
    }

    /// Its columns.
    pub fn schema(&self) -> &Schema {
        &self.schema
    }

    /// What its rows must be.
    pub fn constraints(&self) -> &[Constraint] {
        &self.staged.constraints
    }

    /// The columns of its keys: values of them are looked for one by one.
    pub fn key_columns(&self) -> BTreeSet<FieldId> {
        self.staged.key_columns()
    }

    /// The data files that a transaction added and that are not at its base.
    pub fn added(&self) -> &[Arc<DataFile>] {
        &self.staged.added
    }

    /// Whether a transaction removed rows that are at its base.
    pub fn removes_rows(&self) -> bool {
        self.staged.removes_rows()
    }

    /// Whether a transaction added or removed rows.
    pub fn changes_rows(&self) -> bool {
        self.staged.changes_rows()
    }

    /// The table without what a transaction staged; `None` if the transaction created it.
    pub fn base(&self) -> Option<Self> {
        let base = self.staged.base.clone()?;
        let staged = StagedTable::unchanged(base.path.clone(), base.object, base.state);
        Some(Self::new(self.loader.clone(), base.path, self.id, staged))
    }

    /// The same rows, read as if every column allowed NULL.
    #[must_use]
    pub fn relaxed(&self) -> Self {
        let mut staged = self.staged.clone();
        staged.schema = Arc::new(self.schema.relaxed());
        Self::new(self.loader.clone(), self.path.clone(), self.id, staged)
    }

    /// Whether both have the same rows for certain.
    pub fn has_rows_of(&self, other: &Self) -> bool {
        let kept = |table: &Self| {
            let base = table.staged.base.as_ref();
            base.filter(|_| !table.staged.overwritten)
                .map(|base| base.object.digest)
        };
        let added = |table: &Self| table.staged.added.iter().map(|f| f.id).collect::<Vec<_>>();
        let deleted = |table: &Self| {
            let files = table.staged.deleted.iter();
            files
                .map(|(file, deletes)| (*file, Arc::clone(&deletes.rows)))
                .collect::<Vec<_>>()
        };
        self.id == other.id
            && kept(self) == kept(other)
            && added(self) == added(other)
            && deleted(self) == deleted(other)
    }

    /// Its columns as engines see them.
    pub fn arrow_schema(&self) -> SchemaRef {
        Arc::clone(&self.arrow_schema)
    }

    /// The top of its stored manifest tree.
    pub(crate) fn stored_manifests(&self) -> &[ManifestRef] {
        self.staged.kept().map_or(&[][..], |state| &state.manifests)
    }

    pub(crate) fn loader(&self) -> &Loader {
        &self.loader
    }

    /// Where its files are.
    pub fn store(&self) -> &Store {
        self.loader.store()
    }

    /// The exact number of rows.
    pub fn rows(&self) -> u64 {
        let added = self.staged.added.iter().map(|f| f.live_rows()).sum::<u64>();
        let deleted = self.staged.deleted.values().map(|d| d.rows.len());
        (self.kept(|s| s.rows) + added).saturating_sub(deleted.sum())
    }

    /// Bytes of all data files.
    pub fn bytes(&self) -> u64 {
        let added = self.staged.added.iter().map(|f| f.object.bytes);
        let gone = self.staged.gone().map(|d| d.file.object.bytes);
        (self.kept(|s| s.bytes) + added.sum::<u64>()).saturating_sub(gone.sum())
    }

    /// How many data files there are.
    pub fn file_count(&self) -> u64 {
        (self.kept(|s| s.files) + self.staged.added.len() as u64)
            .saturating_sub(self.staged.gone().count() as u64)
    }

    /// Whether rows of its files are deleted, by published commits or by the transaction.
    pub fn has_deletes(&self) -> bool {
        self.kept(TableState::deleted_rows) > 0 || !self.staged.deleted.is_empty()
    }

    /// What is known of each column over all rows.
    pub fn column_stats(&self) -> BTreeMap<FieldId, ColumnStats> {
        let part = |rows: u64, deleted: u64, columns: &BTreeMap<FieldId, ColumnStats>| {
            let live = rows.saturating_sub(deleted);
            (live, live_column_stats(rows, deleted, columns))
        };
        let mut parts = Vec::with_capacity(self.staged.added.len() + 1);
        if let Some(state) = self.staged.kept() {
            // Which of its manifests has the file does not matter: no row need have a bound.
            let deleted = self.staged.deleted_rows(false);
            parts.push(part(state.rows, deleted, &state.column_stats()));
        }
        for file in &self.staged.added {
            let deleted = self.staged.deleted.get(&file.id);
            let deleted = deleted.map_or(0, |deletes| deletes.rows.len());
            let deleted = deleted + file.deleted_rows();
            parts.push(part(file.rows, deleted, &file.columns));
        }
        merge_column_stats(parts.iter().map(|(rows, columns)| (*rows, columns)))
    }

    /// The files that a scan must read: all, or those that `prune` keeps.
    ///
    /// Reads only manifests whose bounds match.
    ///
    /// # Errors
    ///
    /// `Unavailable`, `Corrupt`.
    pub async fn plan(&self, prune: Option<&dyn Prune>) -> Result<ScanPlan> {
        let top = self.stored_manifests();
        let mut found = scan::find(&self.loader, &self.schema, top, prune).await?;
        let added = scan::keep_files(&self.schema, &self.staged.added, prune)?;
        found.files.extend(added);
        Ok(ScanPlan {
            files: found
                .files
                .into_iter()
                .filter_map(|file| self.task(file))
                .collect(),
            files_total: self.file_count(),
            manifests_read: found.manifests_read,
            manifests_pruned: found.manifests_pruned,
        })
    }

    /// What is left of a file; `None` if nothing is.
    fn task(&self, file: Arc<DataFile>) -> Option<FileTask> {
        let Some(deletes) = self.staged.deleted.get(&file.id) else {
            return Some(FileTask::new(file, None));
        };
        (!deletes.all()).then(|| FileTask::new(file, Some(Arc::clone(&deletes.rows))))
    }

    /// Reads the rows of a file of a plan that are not deleted, in order.
    ///
    /// # Errors
    ///
    /// `Corrupt` if the file or its deletion vector is missing or not what its entry says,
    /// `Unavailable`; the same for every batch.
    pub async fn read(&self, task: &FileTask) -> Result<BoxStream<'static, Result<RecordBatch>>> {
        let deleted = task.deleted(self.store(), self.id).await?;
        read_live_batches(self.store(), self.id, &task.file, &self.schema, deleted).await
    }

    /// Every manifest of the table, each before those below it. Files that a transaction staged
    /// are in none yet.
    ///
    /// # Errors
    ///
    /// `Unavailable`, `Corrupt`.
    pub async fn manifests(&self) -> Result<Vec<ManifestRef>> {
        let mut waiting = self
            .staged
            .kept()
            .map_or_else(Vec::new, |s| s.manifests.clone());
        waiting.reverse();
        let mut found = Vec::new();
        while let Some(reference) = waiting.pop() {
            if reference.level > 0 {
                let manifest = self.loader.manifest(&reference).await?;
                let mut children = manifest.manifests(&self.schema, 0..manifest.len())?;
                children.reverse();
                waiting.extend(children);
            }
            found.push(reference);
        }
        Ok(found)
    }

    /// The sketches of the values of its columns; `None` if there are none.
    ///
    /// # Errors
    ///
    /// `Unavailable`, `Corrupt`.
    pub async fn sketches(&self) -> Result<Option<Arc<Sketches>>> {
        match &self.staged.sketches {
            StagedSketches::Counted(sketches) => Ok(Some(Arc::clone(sketches))),
            StagedSketches::Dropped => Ok(None),
            StagedSketches::OfBase => {
                let stored = self.staged.kept().and_then(|state| state.sketches);
                let Some(object) = stored else {
                    return Ok(None);
                };
                self.loader.sketches(&object).await.map(Some)
            }
        }
    }

    /// How many rows are in files that commits after this one added, by its sequence, or that a
    /// transaction did.
    ///
    /// Reads only manifests with files that were added since.
    ///
    /// # Errors
    ///
    /// `Unavailable`, `Corrupt`.
    pub async fn rows_added_after(&self, sequence: u64) -> Result<u64> {
        let top = self.stored_manifests();
        let mut files = locate::added_after(&self.loader, &self.schema, top, sequence).await?;
        files.extend(self.staged.added.iter().map(Arc::clone));
        let left = files.into_iter().filter_map(|file| self.task(file));
        Ok(left.map(|task| task.live_rows()).sum())
    }

    fn kept(&self, part: impl Fn(&TableState) -> u64) -> u64 {
        self.staged.kept().map_or(0, |state| part(state))
    }
}

impl fmt::Debug for TableSnapshot {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TableSnapshot")
            .field("path", &self.path)
            .field("id", &self.id)
            .field("rows", &self.rows())
            .finish_non_exhaustive()
    }
}
