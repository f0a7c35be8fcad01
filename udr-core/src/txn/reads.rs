//! What a serializable transaction read, and whether others changed it.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use parking_lot::Mutex;

use super::conflict::{Conflict, Theirs};
use crate::error::Result;
use crate::format::TableOperation;
use crate::id::{Digest, FileId, TableId};
use crate::name::RelationPath;
use crate::snapshot::{Prune, Relation, Snapshot, TableSnapshot};

/// From here on the predicates of one table count as the whole table.
const PREDICATES_MAX: usize = 64;

/// What others may not change while a transaction is open.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Isolation {
    /// Only what it changes itself: it reads one state, whatever others publish.
    #[default]
    Snapshot,
    /// Also what it read, so that it could have run after them.
    Serializable,
}

/// What a transaction read: it matters to a serializable one.
///
/// All clones of a transaction share one log, and going back to a savepoint takes nothing out of
/// it: what was read was read.
#[derive(Debug, Clone, Default)]
pub struct ReadLog {
    reads: Arc<Mutex<Reads>>,
}

impl ReadLog {
    /// Notes that the rows of a table that can match were read: all of them without a predicate.
    pub fn table(&self, table: TableId, predicate: Option<Arc<dyn Prune>>) {
        self.reads.lock().table(table, predicate);
    }

    /// Notes that a name was looked up and stood for nothing, or for a view.
    pub fn name(&self, path: &RelationPath) {
        self.reads.lock().names.insert(path.clone());
    }

    /// What was read so far.
    pub(super) fn so_far(&self) -> Reads {
        self.reads.lock().clone()
    }
}

/// What was read.
#[derive(Debug, Clone, Default)]
pub(super) struct Reads {
    /// No predicates stand for the whole table.
    tables: BTreeMap<TableId, Vec<Arc<dyn Prune>>>,
    /// Names that stood for something else than a table, or for nothing.
    names: BTreeSet<RelationPath>,
}

impl Reads {
    fn table(&mut self, table: TableId, predicate: Option<Arc<dyn Prune>>) {
        let Some(predicate) = predicate else {
            self.tables.insert(table, Vec::new());
            return;
        };
        match self.tables.get_mut(&table) {
            None => {
                self.tables.insert(table, vec![predicate]);
            }
            Some(whole) if whole.is_empty() => {}
            Some(full) if full.len() >= PREDICATES_MAX => full.clear(),
            Some(predicates) => predicates.push(predicate),
        }
    }

    /// What was read at `base` and is other at `head`.
    ///
    /// Which rows of a file match is not looked at: a file that can hold matching rows and came,
    /// went or lost rows is a conflict.
    pub(super) async fn conflicts(
        &self,
        base: &Snapshot,
        head: &Snapshot,
        theirs: &Theirs,
    ) -> Result<Vec<Conflict>> {
        let mut found = Vec::new();
        for (id, predicates) in &self.tables {
            let Some((path, operations)) = theirs.table(*id) else {
                continue;
            };
            if self
                .changed(base, head, path, operations, predicates)
                .await?
            {
                let words = operations
                    .iter()
                    .map(|o| o.as_str())
                    .collect::<BTreeSet<_>>();
                found.push(Conflict {
                    subject: format!("table {path}"),
                    ours: "what matches was read".to_owned(),
                    theirs: words.into_iter().collect::<Vec<_>>().join(", "),
                    rows: Vec::new(),
                });
            }
        }
        for path in &self.names {
            if kind(base, path).await? != kind(head, path).await? {
                found.push(Conflict {
                    subject: format!("name {path}"),
                    ours: "it was looked up".to_owned(),
                    theirs: "it stands for something else".to_owned(),
                    rows: Vec::new(),
                });
            }
        }
        Ok(found)
    }

    async fn changed(
        &self,
        base: &Snapshot,
        head: &Snapshot,
        path: &RelationPath,
        operations: &[TableOperation],
        predicates: &[Arc<dyn Prune>],
    ) -> Result<bool> {
        let by_file = |operation: &TableOperation| match operation {
            TableOperation::Append
            | TableOperation::Delete
            | TableOperation::Update
            | TableOperation::Merge
            | TableOperation::Alter
            | TableOperation::Constrain => true,
            // Its predicates were of other types.
            TableOperation::Evolve
            | TableOperation::Create
            | TableOperation::Overwrite
            | TableOperation::Truncate
            | TableOperation::Rename
            | TableOperation::Drop => false,
        };
        if predicates.is_empty() || !operations.iter().all(by_file) {
            return Ok(true);
        }
        let (before, after) = (base.table(path).await?, head.table(path).await?);
        for predicate in predicates {
            let predicate = predicate.as_ref();
            if matching(&before, predicate).await? != matching(&after, predicate).await? {
                return Ok(true);
            }
        }
        Ok(false)
    }
}

/// The files that can hold matching rows, with their deletion vectors.
async fn matching(
    table: &TableSnapshot,
    predicate: &dyn Prune,
) -> Result<BTreeSet<(FileId, Option<Digest>)>> {
    let files = table.plan(Some(predicate)).await?.files;
    let entry = |deletes: crate::format::DeletionVectorRef| deletes.object.digest;
    Ok(files
        .iter()
        .map(|task| (task.file.id, task.file.deletes.map(entry)))
        .collect())
}

/// What a name stands for, as far as whoever looked it up can tell.
async fn kind(snapshot: &Snapshot, path: &RelationPath) -> Result<Option<String>> {
    Ok(match snapshot.relation(path).await? {
        None => None,
        Some(Relation::Table(table)) => Some(table.id().to_string()),
        Some(Relation::View(view)) => Some(format!("{view:?}")),
    })
}
