//! What happened between two states.

use std::cmp::Ordering;
use std::collections::BTreeSet;

use super::{LogEntry, Repository};
use crate::changes::TableChanges;
use crate::error::{Error, Result};
use crate::format::{Change, CommitRef, TableChange};
use crate::id::TableId;
use crate::name::{RefName, RelationPath};
use crate::refs::Point;
use crate::snapshot::{Relation, Snapshot, TableSnapshot};
use crate::txn::snapshot_at;

/// How far two states may be from the commit that led to both.
const APART_MAX: u64 = 4_096;

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
        if first.is_some_and(|first| first > last) {
            return Err(refuse("the first state is later than the last"));
        }
        if from.is_some_and(|from| from.commit_id() == to.commit_id()) {
            return Ok(Vec::new());
        }
        let most = first.map(|first| last - first);
        let most = most.map(|most| usize::try_from(most).unwrap_or(usize::MAX));
        let mut entries = self.log_of(current, to, most).await?;
        entries.reverse();
        let after = entries
            .partition_point(|entry| first.is_some_and(|first| entry.reference.sequence <= first));
        entries.drain(..after);
        let leads = match from {
            None => true,
            Some(from) => entries.first().is_some_and(|entry| {
                let parent = entry.commit.parents.first();
                parent.is_some_and(|parent| parent.id() == from.commit_id())
            }),
        };
        match leads {
            true => Ok(entries),
            false => Err(
                refuse("no line of commits leads from the first state to the last")
                    .with_hint("the net changes of any two states can be read"),
            ),
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
        let changes = entry
            .commit
            .changes
            .iter()
            .filter_map(|change| match change {
                Change::Table(change) => Some(change),
                Change::Namespace { .. } | Change::View { .. } => None,
            });
        let wanted = |change: &&TableChange| only.is_none_or(|only| only.contains(&change.table));
        let changes = changes.filter(wanted).collect::<Vec<_>>();
        if changes.is_empty() {
            return Ok(Vec::new());
        }
        let after = self.state_of(&entry.reference).await?;
        let before = match entry.commit.parents.first() {
            Some(parent) => Some(self.state_of(parent).await?),
            None => None,
        };
        let common = before.as_ref().map_or(0, sequence);
        let mut found = Vec::with_capacity(changes.len());
        for change in changes {
            let earlier = change.renamed_from.as_ref().unwrap_or(&change.path);
            let old = match &before {
                Some(before) => table_at(before, earlier, change.table).await?,
                None => None,
            };
            let new = table_at(&after, &change.path, change.table).await?;
            if old.is_none() && new.is_none() {
                continue;
            }
            let rows = TableChanges::between(old.as_ref(), new.as_ref(), common).await?;
            if !rows.is_empty() {
                found.push((change.path.clone(), rows));
            }
        }
        Ok(found)
    }

    /// What is different between the rows of a table at two states, whichever is older, as if one
    /// commit had done it; nothing stands for a state before the first.
    ///
    /// # Errors
    ///
    /// `Invalid` if neither state has the table; `Unsupported` beyond 4,096 commits from where the
    /// states parted, or if a column of the first is of a type that the last cannot show;
    /// `Unavailable`, `Corrupt`.
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
        let common = match from {
            Some(from) => self.common_sequence(from, to).await?,
            None => 0,
        };
        TableChanges::between(old.as_ref(), new.as_ref(), common).await
    }

    /// The sequence of the newest commit that led to both states.
    async fn common_sequence(&self, one: &Snapshot, other: &Snapshot) -> Result<u64> {
        let history = &self.context.history;
        for (earlier, later) in [(one, other), (other, one)] {
            if earlier.commit_id() == later.commit_id() {
                return Ok(sequence(earlier));
            }
            // From the log, which can be searched; commits only know their parents.
            if let Some(point) = later.point().published() {
                let record = history.published_as(&point).await?;
                let lineage = history.lineage_of(record).await?;
                let (id, at) = (earlier.commit_id(), sequence(earlier));
                if history.published_in(lineage, id, at).await?.is_some() {
                    return Ok(at);
                }
            }
        }
        let (mut one, mut other) = (one.point().commit, other.point().commit);
        for _ in 0..APART_MAX {
            if one.id() == other.id() {
                return Ok(one.sequence);
            }
            let back = async |at: CommitRef| {
                let commit = history.commit(&at).await?;
                let parent = commit.parents.first().copied();
                parent.ok_or_else(|| Error::corrupt("two states have no commit in common"))
            };
            (one, other) = match one.sequence.cmp(&other.sequence) {
                Ordering::Greater => (back(one).await?, other),
                Ordering::Less => (one, back(other).await?),
                Ordering::Equal => (back(one).await?, back(other).await?),
            };
        }
        Err(Error::unsupported(
            "the states are more than 4,096 commits apart",
        ))
    }

    /// The state that a commit made.
    ///
    /// # Errors
    ///
    /// `Unavailable`, `Corrupt`.
    pub async fn state_of(&self, commit: &CommitRef) -> Result<Snapshot> {
        let point = Point {
            branch: None,
            version: None,
            commit: *commit,
            at: 0,
            skipped: 0,
        };
        snapshot_at(&self.context, point).await
    }
}

fn sequence(snapshot: &Snapshot) -> u64 {
    snapshot.point().commit.sequence
}

/// The table of this name, if it is the one that is meant.
async fn table_at(
    snapshot: &Snapshot,
    path: &RelationPath,
    id: TableId,
) -> Result<Option<TableSnapshot>> {
    match snapshot.relation(path).await? {
        Some(Relation::Table(table)) if table.id() == id => Ok(Some(*table)),
        _ => Ok(None),
    }
}
