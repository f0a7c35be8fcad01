//! Reads a feed.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use arrow::datatypes::SchemaRef;
use arrow::record_batch::RecordBatch;
use futures::stream::BoxStream;
use futures::{FutureExt as _, StreamExt as _, TryStreamExt as _};
use udr_core::changes::{ChangeKind, ChangeRequest, Poll, TableChanges};
use udr_core::format::Schema;
use udr_core::id::TableId;
use udr_core::name::RefName;
use udr_core::snapshot::{Prune, Snapshot, TableSnapshot};
use udr_core::{Error, LogEntry, Repository, Result};

use super::columns::{CommitColumns, nullable};
use super::kinds::KindFilter;
use super::provider::COMMIT_DIGITS;
use super::rows::RowFilter;

/// How many commits are looked at ahead of the one that is read.
const AHEAD: usize = 8;
/// The most bytes and rows of data files of a commit that is read ahead, too.
const AHEAD_BYTES_MAX: u64 = 256 << 10;
const AHEAD_ROWS_MAX: u64 = 8 << 10;

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
    /// What is different between two states of the one table; the commit is that of the second.
    Net {
        from: Option<Snapshot>,
        to: Snapshot,
        entry: LogEntry,
    },
    /// What the commits of a branch do after a state, or from the first on, as they are published.
    Tail {
        branch: RefName,
        from: Option<Snapshot>,
        /// The sequence of the state that the statement was planned for.
        since: u64,
    },
}

/// What is to be read of a feed; may be read several times.
#[derive(Debug)]
pub(crate) struct FeedScan {
    repository: Repository,
    rows: RowFilter,
    tables: BTreeMap<TableId, Read>,
    steps: Vec<Step>,
    /// The branch that is followed, and from where, if it is.
    tail: Option<(RefName, Option<Snapshot>, u64)>,
    filter: Option<KindFilter>,
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
    entry: LogEntry,
    /// For net changes, the two states; the first may be that before all commits.
    net: Option<(Option<Snapshot>, Snapshot)>,
    commit: Arc<CommitColumns>,
    /// The kinds of changes of each table that can pass the filters.
    kinds: Arc<BTreeMap<TableId, BTreeSet<ChangeKind>>>,
}

impl FeedScan {
    /// A scan of the steps that `filter` keeps.
    ///
    /// # Errors
    ///
    /// Those of evaluating it.
    pub(super) fn new(
        repository: Repository,
        rows: RowFilter,
        tables: Vec<FeedTable>,
        steps: Steps,
        filter: Option<KindFilter>,
    ) -> Result<Self> {
        let tables = tables.into_iter().enumerate().map(|(at, table)| {
            let columns = rows.read.columns_of(at, &table.schema);
            (table.id, Read { at, table, columns })
        });
        let mut scan = Self {
            repository,
            tables: tables.collect(),
            rows,
            steps: Vec::new(),
            tail: None,
            filter,
            commits_pruned: 0,
        };
        let (entries, net) = match steps {
            Steps::Commits(entries) => (entries, None),
            Steps::Net { from, to, entry } => (vec![entry], Some((from, to))),
            Steps::Tail {
                branch,
                from,
                since,
            } => {
                scan.tail = Some((branch, from, since));
                (Vec::new(), None)
            }
        };
        for entry in entries {
            match scan.step(entry, net.clone())? {
                Some(step) => scan.steps.push(step),
                None => scan.commits_pruned += 1,
            }
        }
        Ok(scan)
    }

    /// What is to be read of a commit; `None` if none of its rows can be in the feed.
    fn step(
        &self,
        entry: LogEntry,
        net: Option<(Option<Snapshot>, Snapshot)>,
    ) -> Result<Option<Step>> {
        let commit = commit_columns(&entry);
        let mut kinds = BTreeMap::new();
        for (id, read) in &self.tables {
            if net.is_none() && !entry.commit.changes_any(&BTreeSet::from([*id])) {
                continue;
            }
            let kept = match &self.filter {
                Some(filter) => filter.keep(&commit, &read.table.name)?,
                None => BTreeSet::from(ChangeKind::ALL),
            };
            if !kept.is_empty() {
                kinds.insert(*id, kept);
            }
        }
        Ok((!kinds.is_empty()).then(|| Step {
            entry,
            net,
            commit: Arc::new(commit),
            kinds: Arc::new(kinds),
        }))
    }

    /// Whether it goes on for ever.
    pub(crate) fn is_unbounded(&self) -> bool {
        self.tail.is_some()
    }

    /// The columns of its batches.
    pub(crate) fn schema(&self) -> SchemaRef {
        self.rows.schema()
    }

    /// Which of its columns ascend from row to row. Versions need not, where a branch has a log of
    /// its own.
    pub(crate) fn ascending(&self) -> impl Iterator<Item = usize> + '_ {
        self.rows.ascending()
    }

    /// How many commits are read.
    pub(crate) fn commits(&self) -> usize {
        self.steps.len()
    }

    /// The rows, in the order of commits; those that went before those that came.
    pub(crate) fn read(self: &Arc<Self>) -> BoxStream<'static, Result<RecordBatch>> {
        let known = futures::stream::iter(self.steps.clone()).map(Ok);
        let steps = match self.tail.clone() {
            Some((branch, from, since)) => Arc::clone(self).follow(branch, from, since),
            None => known.boxed(),
        };
        let scan = Arc::clone(self);
        let batches = steps.map(move |step| {
            let scan = Arc::clone(&scan);
            async move { scan.open(step?).await }.boxed()
        });
        batches.buffered(AHEAD).try_flatten().boxed()
    }

    /// What is to be read of commits as they are published.
    fn follow(
        self: Arc<Self>,
        branch: RefName,
        from: Option<Snapshot>,
        since: u64,
    ) -> BoxStream<'static, Result<Step>> {
        let scan = Arc::clone(&self);
        let tail = async move {
            let tail = scan
                .repository
                .tail(&branch, from.as_ref(), Poll::default());
            let entries = futures::stream::try_unfold(tail.await?, |mut tail| async move {
                let entry = tail.next().await?;
                Ok(Some((entry, tail)))
            });
            Ok(entries)
        };
        let steps = futures::stream::once(tail).try_flatten();
        let steps = steps.try_filter_map(move |entry| {
            let scan = Arc::clone(&self);
            async move {
                // What was there when the statement was planned is read as its columns are since.
                if entry.reference.sequence > since {
                    scan.check_columns(&entry).await?;
                }
                scan.step(entry, None)
            }
        });
        steps.boxed()
    }

    /// Refuses to go on where a table is not what it was when the statement was planned.
    async fn check_columns(&self, entry: &LogEntry) -> Result<()> {
        for (id, read) in &self.tables {
            if !entry.commit.changes_any(&BTreeSet::from([*id])) {
                continue;
            }
            let state = self.repository.at(entry).await?;
            let parent = entry.commit.parents.first();
            let mut last = parent.map_or_else(String::new, |parent| parent.id().to_hex());
            last.truncate(COMMIT_DIGITS);
            let table = state.table_by_id(*id).await?;
            let Some(table) = table else {
                return Err(Error::not_found("the table was dropped")
                    .with("table", &read.table.name)
                    .with("version", entry.version)
                    .with_hint(format!("what came before can be read up to '{last}'")));
            };
            if nullable(table.schema()) != nullable(&read.table.schema) {
                return Err(Error::conflict("the columns of the table changed")
                    .with("table", &read.table.name)
                    .with("version", entry.version)
                    .with_hint(format!("subscribe again from '{last}'")));
            }
        }
        Ok(())
    }

    async fn open(self: Arc<Self>, step: Step) -> Result<BoxStream<'static, Result<RecordBatch>>> {
        let mut changes = self.changes(&step).await?;
        changes.sort_by_key(|changes| self.tables.get(&changes.table()).map(|read| read.at));
        let sizes = changes.iter().map(TableChanges::file_sizes);
        let (bytes, rows) = sizes.fold((0, 0), |(bytes, rows), (b, r)| (bytes + b, rows + r));
        let mut parts = Vec::with_capacity(changes.len());
        for changes in changes {
            parts.push(self.part(&step, &changes)?);
        }
        let batches = futures::stream::iter(parts).flatten();
        if bytes > AHEAD_BYTES_MAX || rows > AHEAD_ROWS_MAX {
            return Ok(batches.boxed());
        }
        let batches = batches.collect::<Vec<_>>().await;
        Ok(futures::stream::iter(batches).boxed())
    }

    async fn changes(&self, step: &Step) -> Result<Vec<TableChanges>> {
        let Some((from, to)) = &step.net else {
            let ids = step.kinds.keys().copied().collect::<BTreeSet<_>>();
            let changes = self.repository.row_changes(&step.entry, Some(&ids)).await?;
            return Ok(changes.into_iter().map(|(_, changes)| changes).collect());
        };
        let mut found = Vec::new();
        for id in step.kinds.keys() {
            let changes = self.repository.net_changes(*id, from.as_ref(), to);
            found.push(changes.await?);
        }
        Ok(found)
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
                return Err(Error::internal("a table left its feed"));
            };
            let table = (read.at, read.table.name.as_str());
            let batch = scan
                .rows
                .read
                .batch(&commit, table, &read.columns, &batch?)?;
            scan.rows.shown(batch)
        });
        let some = |batch: &Result<RecordBatch>| {
            let empty = batch.as_ref().is_ok_and(|batch| batch.num_rows() == 0);
            std::future::ready(!empty)
        };
        Ok(shown.filter(some).boxed())
    }
}

fn commit_columns(entry: &LogEntry) -> CommitColumns {
    CommitColumns {
        version: entry.version.0,
        sequence: entry.reference.sequence,
        timestamp: entry.published_at,
        id: entry.reference.id().to_hex(),
        author: entry.commit.author.clone(),
        message: entry.commit.message.clone(),
    }
}
