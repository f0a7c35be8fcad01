//! Reads a feed.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use arrow::datatypes::SchemaRef;
use arrow::record_batch::RecordBatch;
use futures::stream::BoxStream;
use futures::{FutureExt as _, StreamExt as _, TryStreamExt as _};
use udr_core::changes::{ChangeKind, ChangeRequest, TableChanges};
use udr_core::format::Schema;
use udr_core::id::TableId;
use udr_core::snapshot::{Prune, Snapshot, TableSnapshot};
use udr_core::{LogEntry, Repository, Result};

use super::columns::{CommitColumns, Layout};
use super::kinds::KindFilter;

/// How many commits are looked at ahead of the one that is read.
const AHEAD: usize = 8;
/// The most bytes of data files of a commit that is read ahead, too.
const AHEAD_BYTES_MAX: u64 = 256 << 10;

/// A table of a feed.
#[derive(Debug, Clone)]
pub(super) struct FeedTable {
    pub(super) id: TableId,
    /// What its column or its rows are called by.
    pub(super) name: String,
    /// The columns as which its rows are read, whatever it was when they changed.
    pub(super) schema: Arc<Schema>,
    /// Tells files without rows that matter.
    pub(super) prune: Option<Arc<dyn Prune>>,
}

impl FeedTable {
    pub(super) fn new(name: String, table: &TableSnapshot) -> Self {
        Self {
            id: table.id(),
            name,
            schema: Arc::new(table.schema().clone()),
            prune: None,
        }
    }
}

/// What a feed is read from.
#[derive(Debug)]
pub(super) enum Steps {
    /// What each of these commits did.
    Commits(Vec<LogEntry>),
    /// What is different between two states of the one table.
    Net {
        from: Option<Snapshot>,
        to: Snapshot,
    },
}

/// What is to be read of a feed; may be read several times.
#[derive(Debug)]
pub(crate) struct FeedScan {
    repository: Repository,
    layout: Layout,
    tables: BTreeMap<TableId, Read>,
    steps: Vec<Step>,
    /// How many commits are left out since no row of them can pass the filters.
    pub(crate) commits_pruned: usize,
}

/// What is read of a table.
#[derive(Debug)]
struct Read {
    /// Its place in the feed.
    at: usize,
    table: FeedTable,
    columns: Vec<usize>,
}

#[derive(Debug, Clone)]
struct Step {
    source: StepSource,
    commit: Arc<CommitColumns>,
    /// The kinds of changes of each table that can pass the filters.
    kinds: Arc<BTreeMap<TableId, BTreeSet<ChangeKind>>>,
}

#[derive(Debug, Clone)]
enum StepSource {
    Commit(LogEntry),
    Net(Option<Snapshot>, Snapshot),
}

impl FeedScan {
    /// A scan of the steps that `filter` keeps.
    ///
    /// # Errors
    ///
    /// Those of evaluating it.
    pub(super) fn new(
        repository: Repository,
        layout: Layout,
        tables: Vec<FeedTable>,
        steps: Steps,
        filter: Option<&KindFilter>,
    ) -> Result<Self> {
        let sources = match steps {
            Steps::Net { from, to } => vec![StepSource::Net(from, to)],
            Steps::Commits(entries) => {
                let ids = tables.iter().map(|table| table.id).collect::<BTreeSet<_>>();
                let touched = entries
                    .into_iter()
                    .filter(|entry| entry.commit.changes_any(&ids));
                touched.map(StepSource::Commit).collect()
            }
        };
        let mut found = Vec::with_capacity(sources.len());
        let all = sources.len();
        for source in sources {
            let commit = source.columns();
            let mut kinds = BTreeMap::new();
            for table in &tables {
                let kept = match filter {
                    Some(filter) => filter.keep(&commit, &table.name)?,
                    None => BTreeSet::from(ChangeKind::ALL),
                };
                if !kept.is_empty() {
                    kinds.insert(table.id, kept);
                }
            }
            if !kinds.is_empty() {
                found.push(Step {
                    source,
                    commit: Arc::new(commit),
                    kinds: Arc::new(kinds),
                });
            }
        }
        let tables = tables.into_iter().enumerate().map(|(at, table)| {
            let columns = layout.columns_of(at, &table.schema);
            (table.id, Read { at, table, columns })
        });
        Ok(Self {
            repository,
            tables: tables.collect(),
            layout,
            commits_pruned: all - found.len(),
            steps: found,
        })
    }

    /// The columns of its batches.
    pub(crate) fn schema(&self) -> SchemaRef {
        Arc::clone(&self.layout.schema)
    }

    /// Which of its columns ascend from row to row.
    pub(crate) fn ascending(&self) -> impl Iterator<Item = usize> + '_ {
        let shown = self.layout.shown.iter().enumerate();
        shown.filter(|(_, shown)| shown.ascends()).map(|(at, _)| at)
    }

    /// How many commits are read.
    pub(crate) fn commits(&self) -> usize {
        self.steps.len()
    }

    /// The rows, in the order of commits; those that went before those that came.
    pub(crate) fn read(self: &Arc<Self>) -> BoxStream<'static, Result<RecordBatch>> {
        let scan = Arc::clone(self);
        let steps = futures::stream::iter(self.steps.clone());
        let batches = steps.map(move |step| Arc::clone(&scan).open(step).boxed());
        batches.buffered(AHEAD).try_flatten().boxed()
    }

    async fn open(self: Arc<Self>, step: Step) -> Result<BoxStream<'static, Result<RecordBatch>>> {
        let mut changes = self.changes(&step).await?;
        changes.sort_by_key(|changes| self.tables.get(&changes.table()).map(|read| read.at));
        let bytes = changes.iter().map(TableChanges::file_bytes).sum::<u64>();
        let mut parts = Vec::with_capacity(changes.len());
        for changes in changes {
            parts.push(self.part(&step, &changes)?);
        }
        let batches = futures::stream::iter(parts).flatten();
        if bytes > AHEAD_BYTES_MAX {
            return Ok(batches.boxed());
        }
        let batches = batches.collect::<Vec<_>>().await;
        Ok(futures::stream::iter(batches).boxed())
    }

    async fn changes(&self, step: &Step) -> Result<Vec<TableChanges>> {
        match &step.source {
            StepSource::Commit(entry) => {
                let ids = step.kinds.keys().copied().collect::<BTreeSet<_>>();
                let changes = self.repository.row_changes(entry, Some(&ids)).await?;
                Ok(changes.into_iter().map(|(_, changes)| changes).collect())
            }
            StepSource::Net(from, to) => {
                let mut found = Vec::new();
                for id in step.kinds.keys() {
                    let changes = self.repository.net_changes(*id, from.as_ref(), to);
                    found.push(changes.await?);
                }
                Ok(found)
            }
        }
    }

    /// The rows of one table that one step changed.
    fn part(
        self: &Arc<Self>,
        step: &Step,
        changes: &TableChanges,
    ) -> Result<BoxStream<'static, Result<RecordBatch>>> {
        let id = changes.table();
        let (Some(read), Some(kinds)) = (self.tables.get(&id), step.kinds.get(&id)) else {
            return Ok(futures::stream::empty().boxed());
        };
        let batches = changes.read(&ChangeRequest {
            schema: Arc::clone(&read.table.schema),
            columns: read.columns.clone(),
            kinds: kinds.clone(),
            prune: read.table.prune.clone(),
        })?;
        let (scan, commit) = (Arc::clone(self), Arc::clone(&step.commit));
        let shown = batches.map(move |batch| {
            let Some(read) = scan.tables.get(&id) else {
                return Err(udr_core::Error::internal("a table left its feed"));
            };
            let table = (read.at, read.table.name.as_str());
            scan.layout.batch(&commit, table, &read.columns, &batch?)
        });
        Ok(shown.boxed())
    }
}

impl StepSource {
    fn columns(&self) -> CommitColumns {
        match self {
            Self::Commit(entry) => CommitColumns {
                version: Some(entry.version.0),
                sequence: entry.reference.sequence,
                timestamp: entry.published_at,
                id: entry.reference.id().to_hex(),
                author: entry.commit.author.clone(),
                message: entry.commit.message.clone(),
            },
            Self::Net(_, to) => CommitColumns {
                version: to.version().map(|version| version.0),
                sequence: to.point().commit.sequence,
                timestamp: to.point().at,
                id: to.commit_id().to_hex(),
                author: to.commit().author.clone(),
                message: to.commit().message.clone(),
            },
        }
    }
}
