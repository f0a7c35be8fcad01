//! The new state of a table: its manifest tree with the staged changes.

use std::sync::Arc;

use bytes::Bytes;
use futures::{StreamExt as _, TryStreamExt as _};

use super::Context;
use super::prepare::Place;
use super::rewrite::{Rewrites, united};
use super::tree::{Replacement, Replacements, Tree};
use crate::error::{Error, Result};
use crate::format::{DataFile, DeletionVectorRef, ManifestRef, ObjectRef, TableState, encode};
use crate::id::{FileId, TableId};
use crate::snapshot::overlay::{StagedDeletes, StagedSketches, StagedTable};

/// How many deletion vectors are read at once.
const CONCURRENCY: usize = 16;

/// Objects that are to be stored, all at once.
#[derive(Debug, Default)]
pub(super) struct NewObjects {
    pub(super) objects: Vec<Bytes>,
    /// Those that are no parts of the commit, however small: few who read it need them.
    pub(super) apart: Vec<Bytes>,
    /// Deletion vectors, which are kept beside the data of their table.
    pub(super) vectors: Vec<(TableId, Bytes)>,
}

/// Puts the new state of one table together.
pub(super) struct StateBuilder<'a> {
    pub(super) context: &'a Context,
    pub(super) id: TableId,
    pub(super) table: &'a StagedTable,
    pub(super) rewrites: &'a Rewrites,
    pub(super) place: Place,
    pub(super) sequence: u64,
}

/// What is left of a file that loses rows.
enum Left {
    Nothing,
    Rewritten(Vec<Arc<DataFile>>),
    Vector(Arc<DataFile>, Bytes),
}

impl StateBuilder<'_> {
    /// The state, and how many data files came and went.
    pub(super) async fn build(&self, new: &mut NewObjects) -> Result<(TableState, (u64, u64))> {
        let table = self.table;
        let mut state = match (&table.base, table.kept()) {
            (_, Some(kept)) => TableState::clone(kept),
            (Some(base), None) => TableState {
                properties: base.state.properties.clone(),
                ..TableState::empty(self.id, table.schema.as_ref().clone())
            },
            (None, None) => TableState::empty(self.id, table.schema.as_ref().clone()),
        };
        state.schema = table.schema.as_ref().clone();
        state.constraints = table.constraints.to_vec();
        let (changes, mut added) = self.changes(new).await?;
        let gone = changes.values().filter(|change| change.entry.is_none());
        let removed = gone.count() as u64;
        added.extend(self.added(new).await?);
        let files = (added.len() as u64, removed);
        let top = std::mem::take(&mut state.manifests);
        let mut tree = Tree::new(&self.context.loader, &table.schema, self.place, top);
        tree.replace(&changes).await?;
        tree.append(added).await?;
        let (top, objects) = tree.objects();
        new.objects.extend(objects);
        let sum = |part: fn(&ManifestRef) -> u64| {
            top.iter()
                .try_fold(0u64, |total, m| total.checked_add(part(m)))
                .ok_or_else(|| Error::invalid("a table would get too large").with("table", self.id))
        };
        state.rows = sum(|m| m.rows)? - sum(|m| m.deleted)?;
        state.bytes = sum(|m| m.data_bytes)?;
        state.files = sum(|m| m.files)?;
        state.manifests = top;
        match &table.sketches {
            StagedSketches::OfBase => {}
            StagedSketches::Dropped => state.sketches = None,
            StagedSketches::Counted(sketches) => {
                let bytes = encode(sketches.as_ref())?;
                state.sketches = Some(ObjectRef::of(self.place.epoch, &bytes));
                // Those of tables that have no rows can be equal.
                if !new.apart.contains(&bytes) {
                    new.apart.push(bytes);
                }
            }
        }
        Ok((state, files))
    }

    /// What becomes of the files of the base, and the files that take the place of some.
    async fn changes(&self, new: &mut NewObjects) -> Result<(Replacements, Vec<Arc<DataFile>>)> {
        let mut changes = Replacements::new();
        let mut added = Vec::new();
        let of_base = self.table.deleted.values().filter(|d| !d.staged);
        for (deletes, left) in self.left(of_base).await? {
            let entry = match left {
                Left::Nothing => None,
                Left::Rewritten(files) => {
                    added.extend(files.iter().map(|file| self.dated(file)));
                    None
                }
                Left::Vector(file, bytes) => {
                    new.vectors.push((self.id, bytes));
                    Some(file)
                }
            };
            let change = Replacement {
                added_at: deletes.file.added_at,
                entry,
            };
            changes.insert(deletes.file.id, change);
        }
        Ok((changes, added))
    }

    /// The files that the transaction added, as far as it left any rows of them.
    async fn added(&self, new: &mut NewObjects) -> Result<Vec<Arc<DataFile>>> {
        let staged = self.table.deleted.values().filter(|d| d.staged);
        let left = self.left(staged).await?.into_iter();
        let mut left = left
            .map(|(deletes, left)| (deletes.file.id, left))
            .collect::<std::collections::BTreeMap<FileId, Left>>();
        let mut added = Vec::with_capacity(self.table.added.len());
        for file in &self.table.added {
            match left.remove(&file.id) {
                None => added.push(self.dated(file)),
                Some(Left::Nothing) => {}
                Some(Left::Rewritten(files)) => {
                    added.extend(files.iter().map(|file| self.dated(file)));
                }
                Some(Left::Vector(file, bytes)) => {
                    new.vectors.push((self.id, bytes));
                    added.push(self.dated(&file));
                }
            }
        }
        Ok(added)
    }

    /// The entry of a file that this commit adds.
    fn dated(&self, file: &Arc<DataFile>) -> Arc<DataFile> {
        let mut columns = file.columns.clone();
        // Of columns that were added since the file was written.
        for field in self.table.schema.fields() {
            if !columns.contains_key(&field.id)
                && let Some(stats) = field.absent_stats(file.rows)
            {
                columns.insert(field.id, stats);
            }
        }
        Arc::new(DataFile {
            added_at: self.sequence,
            columns,
            ..DataFile::clone(file)
        })
    }

    async fn left<'b>(
        &self,
        deletes: impl Iterator<Item = &'b StagedDeletes>,
    ) -> Result<Vec<(StagedDeletes, Left)>> {
        let deletes = deletes.cloned().collect::<Vec<_>>();
        futures::stream::iter(deletes)
            .map(|deletes| async move {
                let left = self.left_of(&deletes).await?;
                Ok((deletes, left))
            })
            .buffered(CONCURRENCY)
            .try_collect()
            .await
    }

    async fn left_of(&self, deletes: &StagedDeletes) -> Result<Left> {
        if deletes.all() {
            return Ok(Left::Nothing);
        }
        if let Some(files) = self.rewrites.of_file(deletes) {
            return Ok(Left::Rewritten(files.to_vec()));
        }
        let vector = united(self.context, self.id, deletes).await?;
        let bytes = vector.encode();
        let file = DataFile {
            deletes: Some(DeletionVectorRef {
                object: ObjectRef::of(self.place.epoch, &bytes),
                rows: vector.len(),
            }),
            ..DataFile::clone(&deletes.file)
        };
        Ok(Left::Vector(Arc::new(file), bytes))
    }
}
