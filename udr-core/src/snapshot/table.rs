//! One table of a snapshot.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use arrow::datatypes::SchemaRef;

use super::overlay::StagedTable;
use super::scan::{self, ScanPlan};
use super::{Loader, Prune};
use crate::error::Result;
use crate::format::{ColumnStats, ManifestRef, Schema, TableState, merge_column_stats};
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
        self.kept(|s| s.rows) + self.staged.added.iter().map(|f| f.rows).sum::<u64>()
    }

    /// Bytes of all data files.
    pub fn bytes(&self) -> u64 {
        self.kept(|s| s.bytes)
            + self
                .staged
                .added
                .iter()
                .map(|f| f.object.bytes)
                .sum::<u64>()
    }

    /// How many data files there are.
    pub fn file_count(&self) -> u64 {
        self.kept(|s| s.files) + self.staged.added.len() as u64
    }

    /// What is known of each column over all rows.
    pub fn column_stats(&self) -> BTreeMap<FieldId, ColumnStats> {
        let kept = self.staged.kept().map(|s| (s.rows, s.column_stats()));
        let kept = kept.iter().map(|(rows, columns)| (*rows, columns));
        merge_column_stats(kept.chain(self.staged.added.iter().map(|f| (f.rows, &f.columns))))
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
        let mut plan = scan::plan(&self.loader, &self.schema, top, prune).await?;
        plan.files_total += self.staged.added.len() as u64;
        plan.files
            .extend(scan::keep_files(&self.schema, &self.staged.added, prune)?);
        Ok(plan)
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
                let manifest = self.loader.manifest(&self.schema, &reference).await?;
                let mut children = manifest.manifests(0..manifest.len())?;
                children.reverse();
                waiting.extend(children);
            }
            found.push(reference);
        }
        Ok(found)
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
