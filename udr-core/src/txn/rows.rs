//! Row changes: which rows of which files go, when staged and when replayed on a newer head.

use std::collections::BTreeMap;
use std::sync::Arc;

use futures::{StreamExt as _, TryStreamExt as _};

use super::find_rows::{find_again, identify};
use crate::data::{DeletionVector, RowId};
use crate::error::{Error, Result};
use crate::format::{DataFile, TableOperation};
use crate::id::{FileId, TableId};
use crate::snapshot::Snapshot;
use crate::snapshot::locate::locate;
use crate::snapshot::overlay::{StagedDeletes, StagedTable};

/// How many deletion vectors are read at once.
const CONCURRENCY: usize = 16;
/// How many rows of a conflict are named.
pub(super) const ROWS_NAMED: usize = 5;

/// What a statement does that changes rows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[expect(missing_docs, reason = "the names say it")]
pub enum RowOperation {
    Delete,
    Update,
    Merge,
}

impl RowOperation {
    pub(super) fn table_operation(self) -> TableOperation {
        match self {
            Self::Delete => TableOperation::Delete,
            Self::Update => TableOperation::Update,
            Self::Merge => TableOperation::Merge,
        }
    }
}

/// Rows of a table that go, and rows that come.
#[derive(Debug, Clone)]
pub struct RowChanges {
    /// What is done.
    pub operation: RowOperation,
    /// Rows that go: positions in data files, with the entry of the file as the transaction's
    /// snapshot has it. None of them was deleted before.
    pub deleted: Vec<(Arc<DataFile>, DeletionVector)>,
    /// Data files with the rows that come. Those that take the place of others carry their
    /// identity.
    pub added: Vec<DataFile>,
}

/// Row changes, as they are replayed.
#[derive(Debug)]
pub(crate) struct RowEdit {
    pub(super) operation: RowOperation,
    deleted: Vec<(Arc<DataFile>, Arc<DeletionVector>)>,
    added: Vec<Arc<DataFile>>,
}

/// Why a change cannot be staged.
#[derive(Debug)]
pub(crate) enum Refused {
    /// For another reason than rows.
    Error(Error),
    /// Because these rows, perhaps among others, are gone.
    Rows(Vec<RowId>),
}

impl From<Error> for Refused {
    fn from(error: Error) -> Self {
        Self::Error(error)
    }
}

impl Refused {
    /// The refusal of a change that is staged for the first time.
    pub(super) fn into_error(self) -> Error {
        match self {
            Self::Error(error) => error,
            Self::Rows(rows) => Error::invalid("a row to be changed was deleted before")
                .with("rows", row_list(&rows)),
        }
    }
}

/// The rows, for people.
pub(super) fn row_list(rows: &[RowId]) -> String {
    let rows = rows.iter().map(ToString::to_string).collect::<Vec<_>>();
    rows.join(", ")
}

impl RowEdit {
    /// Brings changes to one vector for each file.
    ///
    /// # Errors
    ///
    /// `Invalid` if a row goes twice.
    pub(super) fn new(changes: RowChanges) -> Result<Self> {
        let mut deleted = BTreeMap::<FileId, (Arc<DataFile>, DeletionVector)>::new();
        for (file, rows) in changes.deleted {
            let entry = deleted
                .entry(file.id)
                .or_insert_with(|| (Arc::clone(&file), DeletionVector::new()));
            let before = entry.1.len();
            entry.1.union_with(&rows);
            if entry.1.len() != before + rows.len() {
                return Err(Error::invalid("a row would be deleted twice")
                    .with("data_file", file.object.digest));
            }
        }
        let deleted = deleted.into_values().filter(|(_, rows)| !rows.is_empty());
        Ok(Self {
            operation: changes.operation,
            deleted: deleted.map(|(file, rows)| (file, Arc::new(rows))).collect(),
            added: changes.added.into_iter().map(Arc::new).collect(),
        })
    }

    /// Whether nothing changes.
    pub(super) fn is_empty(&self) -> bool {
        self.deleted.is_empty() && self.added.is_empty()
    }

    /// Stages the changes for `table`.
    ///
    /// The files are found again by id and age, whatever others did to them. A row that is deleted
    /// by now, here or there, refuses the whole change; other rows of the same file do not matter.
    pub(super) async fn apply(
        &self,
        snapshot: &Snapshot,
        id: TableId,
        table: &mut StagedTable,
        since: Option<u64>,
    ) -> Result<(), Refused> {
        let targets = self.targets(snapshot, id, table, since).await?;
        let mut clashes = Vec::new();
        for (file, rows) in self.clashes(snapshot, id, table, &targets).await? {
            let room = ROWS_NAMED.saturating_sub(clashes.len());
            let store = snapshot.catalog().loader().store();
            clashes.extend(identify(store, id, &file, rows.iter().take(room)).await?);
        }
        if !clashes.is_empty() {
            return Err(Refused::Rows(clashes));
        }
        for target in targets {
            let staged = table
                .deleted
                .entry(target.file.id)
                .or_insert_with(|| StagedDeletes {
                    file: Arc::clone(&target.file),
                    rows: Arc::default(),
                    staged: target.staged,
                });
            Arc::make_mut(&mut staged.rows).union_with(&target.rows);
        }
        table.added.extend(self.added.iter().map(Arc::clone));
        table.operations.insert(self.operation.table_operation());
        Ok(())
    }

    /// Where the rows are by now.
    async fn targets(
        &self,
        snapshot: &Snapshot,
        id: TableId,
        table: &StagedTable,
        since: Option<u64>,
    ) -> Result<Vec<Target>, Refused> {
        let own = table.added.iter().map(|file| (file.id, file));
        let own = own.collect::<BTreeMap<_, _>>();
        let wanted = self.deleted.iter().map(|(file, _)| file);
        let wanted = wanted.filter(|file| !own.contains_key(&file.id));
        let wanted = wanted.map(|file| (file.id, file.added_at)).collect();
        let loader = snapshot.catalog().loader();
        let stored = match table.kept() {
            Some(state) => locate(loader, &table.schema, &state.manifests, &wanted).await?,
            None => BTreeMap::new(),
        };
        let mut targets = Vec::with_capacity(self.deleted.len());
        let mut lost = Vec::new();
        for (file, rows) in &self.deleted {
            let (found, staged) = match (own.get(&file.id), stored.get(&file.id)) {
                (Some(own), _) => (*own, true),
                (None, Some(stored)) => (stored, false),
                (None, None) => {
                    lost.push((Arc::clone(file), Arc::clone(rows)));
                    continue;
                }
            };
            targets.push(Target {
                file: Arc::clone(found),
                rows: Arc::clone(rows),
                staged,
                // What was checked when the change was staged need not be checked again.
                unchanged: since.is_some() && found.deletes == file.deletes,
            });
        }
        if lost.is_empty() {
            return Ok(targets);
        }
        let (Some(since), Some(state)) = (since, table.kept()) else {
            let refused = Error::invalid("a data file to be changed is not in the table");
            return Err(refused.with("data_file", lost[0].0.object.digest).into());
        };
        let moved = find_again(loader, id, state, &lost, since).await?;
        targets.extend(moved.into_iter().map(|(file, rows)| Target {
            file,
            rows: Arc::new(rows),
            staged: false,
            unchanged: true,
        }));
        Ok(targets)
    }

    /// The rows of `targets` that are deleted already, by file.
    async fn clashes(
        &self,
        snapshot: &Snapshot,
        id: TableId,
        table: &StagedTable,
        targets: &[Target],
    ) -> Result<Vec<(Arc<DataFile>, DeletionVector)>> {
        let store = snapshot.catalog().loader().store();
        let checks = targets.iter().map(|target| {
            let staged = table.deleted.get(&target.file.id);
            let staged = staged.map(|staged| Arc::clone(&staged.rows));
            let target = target.clone();
            async move {
                let Target { file, rows, .. } = target;
                if let Some(last) = rows.max().filter(|last| *last >= file.rows) {
                    return Err(
                        Error::invalid("a position is past the end of its data file")
                            .with("data_file", file.object.digest)
                            .with("position", last)
                            .with("rows", file.rows),
                    );
                }
                let mut clash = match staged {
                    Some(staged) => staged.intersection(&rows),
                    None => DeletionVector::new(),
                };
                if let Some(stored) = file.deletes.filter(|_| !target.unchanged) {
                    let stored = DeletionVector::read(store, id, &stored, file.rows).await?;
                    clash.union_with(&stored.intersection(&rows));
                }
                Ok((file, clash))
            }
        });
        let checks = checks.collect::<Vec<_>>();
        let clashes = futures::stream::iter(checks).buffered(CONCURRENCY);
        clashes
            .try_filter(|(_, clash)| std::future::ready(!clash.is_empty()))
            .try_collect()
            .await
    }
}

/// Rows of one file that go.
#[derive(Debug, Clone)]
struct Target {
    file: Arc<DataFile>,
    rows: Arc<DeletionVector>,
    /// Whether the transaction added the file.
    staged: bool,
    /// Whether none of the rows can be in the file's own vector.
    unchanged: bool,
}
