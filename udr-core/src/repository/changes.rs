//! What happened between two states.

use std::collections::BTreeSet;

use super::Repository;
use crate::changes::{
    Poll, Position, SubscribeOptions, Subscription, TableChanges, Tail, row_changes, state_of,
};
use crate::error::{Error, ErrorKind, Result};
use crate::format::CommitRef;
use crate::history::LogEntry;
use crate::id::{FieldId, TableId};
use crate::name::{RefName, RelationPath};
use crate::refs::{Point, Revision};
use crate::snapshot::Snapshot;
use crate::store::RefKind;
use crate::txn::{snapshot_at, snapshot_of};

impl Repository {
    /// The commits that lead from a state (left out) to another, oldest first; all of them, if it
    /// begins with nothing.
    ///
    /// Reads as many records and commits as it returns.
    ///
    /// # Errors
    ///
    /// `Invalid` if no commits lead from one to the other; `NotFound` if no branch leads to the
    /// later state any more; `Unavailable`, `Corrupt`.
    pub async fn commits_between(
        &self,
        current: &RefName,
        from: Option<&Snapshot>,
        to: &Snapshot,
    ) -> Result<Vec<LogEntry>> {
        let refuse = |why: &str| {
            let error = Error::invalid(why.to_owned()).with("to", to.commit_id());
            match from {
                Some(from) => error.with("from", from.commit_id()),
                None => error,
            }
        };
        let (first, last) = (from.map(sequence), sequence(to));
        if from.is_some_and(|from| from.commit_id() == to.commit_id()) {
            return Ok(Vec::new());
        }
        let apart = || {
            refuse("no line of commits leads from the first state to the last")
                .with_hint("the net changes of any two states can be read")
        };
        match first {
            Some(first) if first > last => {
                return Err(refuse("the first state is later than the last"));
            }
            Some(first) if first == last => return Err(apart()),
            _ => {}
        }
        let most = first.map(|first| last - first);
        let most = most.map(|most| usize::try_from(most).unwrap_or(usize::MAX));
        let mut newest = to.clone();
        let mut entries = Vec::new();
        loop {
            let older = self.log_of(current, &newest, most).await?;
            let wanted =
                |entry: &LogEntry| first.is_none_or(|first| entry.reference.sequence > first);
            entries.extend(older.into_iter().filter(wanted));
            let oldest = entries.last().ok_or_else(apart)?;
            // A branch that starts in the middle of a merge has no record of what led there.
            match (oldest.commit.parents.first(), from) {
                (Some(parent), Some(from)) if parent.id() == from.commit_id() => break,
                (None, None) => break,
                (Some(parent), _) if first.is_none_or(|first| parent.sequence > first) => {
                    newest = self.state_of(parent).await?;
                }
                _ => return Err(apart()),
            }
        }
        entries.reverse();
        Ok(entries)
    }

    /// The state before all that `revision` names, `None` if nothing came before: the state before
    /// the first commit of a version, before a commit, before what was published from a time on.
    ///
    /// # Errors
    ///
    /// As [`Repository::resolve`]; `Invalid` if what it names is later than `last`.
    pub async fn before(
        &self,
        current: &RefName,
        revision: &Revision,
        last: &Snapshot,
    ) -> Result<Option<Snapshot>> {
        let (before, named) = self.context.history.before(current, revision).await?;
        if named.is_some_and(|named| named.sequence > sequence(last)) {
            return Err(Error::invalid("the first state is later than the last")
                .with("first", revision)
                .with("last", last.commit_id()));
        }
        match before {
            Some(commit) => self.state_of(&commit).await.map(Some),
            None => Ok(None),
        }
    }

    /// What a commit did to the rows of tables, in the order of its summary; of those in `only`, if
    /// that is given. Tables whose rows it left alone are left out.
    ///
    /// A table that was dropped lost all of its rows, one that was created had none before.
    ///
    /// # Errors
    ///
    /// `Unavailable`, `Corrupt`.
    pub async fn row_changes(
        &self,
        entry: &LogEntry,
        only: Option<&BTreeSet<TableId>>,
    ) -> Result<Vec<(RelationPath, TableChanges)>> {
        row_changes(&self.context, entry, only).await
    }

    /// What is different between the rows of a table at two states, whichever is older, as if one
    /// commit had done it; nothing stands for a state before the first.
    ///
    /// # Errors
    ///
    /// `Invalid` if neither state has the table; `Unsupported` beyond 4,096 commits from where the
    /// states parted, or if the table got other columns on both sides since; `Unavailable`,
    /// `Corrupt`.
    pub async fn net_changes(
        &self,
        table: TableId,
        from: Option<&Snapshot>,
        to: &Snapshot,
    ) -> Result<TableChanges> {
        let old = match from {
            Some(from) => from.table_by_id(table).await?,
            None => None,
        };
        let new = to.table_by_id(table).await?;
        let Some(from) = from else {
            return TableChanges::between(old.as_ref(), new.as_ref(), 0).await;
        };
        let common = self.context.history.common(from.point(), to.point());
        let common = common.await?;
        if let (Some(old), Some(new)) = (&old, &new)
            && ![from, to]
                .iter()
                .any(|state| state.commit_id() == common.id())
        {
            let then = self.state_of(&common).await?.table_by_id(table).await?;
            let then = then.map_or(FieldId(1), |table| table.schema().next_field_id());
            if [old, new]
                .iter()
                .all(|table| table.schema().next_field_id() > then)
            {
                return Err(Error::unsupported(
                    "both branches added columns, and nothing tells these apart",
                )
                .with("table", new.path()));
            }
        }
        TableChanges::between(old.as_ref(), new.as_ref(), common.sequence).await
    }

    /// The commits of a branch after a state, or all of them, as they are published; those that are
    /// there are read first.
    ///
    /// # Errors
    ///
    /// As [`Repository::commits_between`], up to the head of the branch; `NotFound` if there is no
    /// such branch.
    pub async fn tail(
        &self,
        branch: &RefName,
        from: Option<&Snapshot>,
        poll: Poll,
    ) -> Result<Tail> {
        let record = self.context.refs.head(RefKind::Branch, branch).await?;
        let head = snapshot_of(&self.context, &record).await?;
        let waiting = self.commits_between(branch, from, &head).await?;
        Ok(Tail::new(self.context.clone(), record, waiting, poll))
    }

    /// The changes of tables on a branch after a state, commit by commit, as they are published.
    ///
    /// Read the rows of a snapshot, then subscribe from it: nothing is missing in between, and
    /// nothing comes twice. The stream never ends by itself. It reads when it is polled, and no
    /// further than a few small files ahead; while nothing is new, each look is one request.
    ///
    /// # Errors
    ///
    /// As [`Repository::tail`]; `NotFound` if a table is neither in the state nor at the head. The
    /// stream ends with an error, after which it can be resumed from [`Repository::state_at`] of the
    /// last position: `NotFound` if the branch was dropped, `Unavailable`, `Corrupt`.
    ///
    /// ```
    /// use futures::TryStreamExt as _;
    /// use udr_core::changes::{ChangeEvent, SubscribeOptions};
    /// use udr_core::env::Env;
    /// use udr_core::name::{NamespaceName, RefName};
    /// use udr_core::store::Store;
    /// use udr_core::Repository;
    ///
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> udr_core::Result<()> {
    /// let repository = Repository::create(Store::memory(), Env::system()).await?;
    /// let main = RefName::main();
    /// let start = repository.head(&main).await?;
    /// let mut transaction = repository.begin(&main).await?;
    /// transaction.create_namespace(&NamespaceName::new("sales")?).await?;
    /// let _ = transaction.commit().await?;
    ///
    /// let options = SubscribeOptions::default();
    /// let mut changes = repository.subscribe(&main, &start, options).await?;
    /// match changes.try_next().await? {
    ///     Some(ChangeEvent::Commit { position, .. }) => {
    ///         // Kept somewhere, it is where to go on.
    ///         let resumed = position.to_string().parse()?;
    ///         let state = repository.state_at(&resumed).await?;
    ///         assert_eq!(state.version().map(|v| v.0), Some(1));
    ///     }
    ///     other => panic!("no rows were changed: {other:?}"),
    /// }
    /// # Ok(())
    /// # }
    /// ```
    pub async fn subscribe(
        &self,
        branch: &RefName,
        from: &Snapshot,
        options: SubscribeOptions,
    ) -> Result<Subscription> {
        let mut tables = None;
        if !options.tables.is_empty() {
            let head = self.head(branch).await?;
            let mut ids = BTreeSet::new();
            for path in &options.tables {
                let found = match from.table(path).await {
                    Err(error) if error.kind() == ErrorKind::NotFound => head.table(path).await,
                    found => found,
                };
                ids.insert(found?.id());
            }
            tables = Some(ids);
        }
        let tail = self.tail(branch, Some(from), options.poll).await?;
        Ok(Subscription::new(self.context.clone(), tail, tables))
    }

    /// The state at a position.
    ///
    /// # Errors
    ///
    /// `NotFound` if the branch is not there any more, or does not lead to the position; the hint has
    /// its newest version. `Unavailable`, `Corrupt`.
    pub async fn state_at(&self, position: &Position) -> Result<Snapshot> {
        let history = &self.context.history;
        let (branch, version) = (position.branch(), position.version());
        let record = history.published_version(branch, version).await?;
        let mut commits = record.head.iter().chain(&record.commits);
        if let Some(commit) = commits.find(|commit| commit.id() == position.commit()) {
            let point = Point {
                branch: Some(record.name.clone()),
                version: Some(record.version),
                commit: *commit,
                at: record.at,
                skipped: record.skipped,
            };
            return snapshot_at(&self.context, point).await;
        }
        let error =
            Error::not_found("the position is not part of its branch").with("position", position);
        let newest = self.head(position.branch()).await?.version();
        Err(match newest {
            Some(newest) => error.with_hint(format!("the newest version is {newest}")),
            None => error,
        })
    }

    /// The state that a commit made.
    ///
    /// # Errors
    ///
    /// `Unavailable`, `Corrupt`.
    pub async fn state_of(&self, commit: &CommitRef) -> Result<Snapshot> {
        state_of(&self.context, commit).await
    }
}

fn sequence(snapshot: &Snapshot) -> u64 {
    snapshot.point().commit.sequence
}
