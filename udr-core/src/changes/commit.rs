//! What one commit did to rows.

use std::collections::BTreeSet;

use super::TableChanges;
use crate::error::Result;
use crate::format::{Change, CommitRef, TableChange};
use crate::history::LogEntry;
use crate::id::TableId;
use crate::name::RelationPath;
use crate::refs::Point;
use crate::snapshot::Snapshot;
use crate::txn::{Context, snapshot_at};

/// See [`Repository::row_changes`](crate::Repository::row_changes).
pub(crate) async fn row_changes(
    context: &Context,
    entry: &LogEntry,
    only: Option<&BTreeSet<TableId>>,
) -> Result<Vec<(RelationPath, TableChanges)>> {
    let changes = entry.commit.changes.iter();
    let changes = changes.filter_map(|change| match change {
        Change::Table(change) => Some(change),
        Change::Namespace { .. } | Change::View { .. } => None,
    });
    let wanted = |change: &&TableChange| only.is_none_or(|only| only.contains(&change.table));
    let changes = changes.filter(wanted).collect::<Vec<_>>();
    if changes.is_empty() {
        return Ok(Vec::new());
    }
    let after = state_of(context, &entry.reference).await?;
    let before = match entry.commit.parents.first() {
        Some(parent) => Some(state_of(context, parent).await?),
        None => None,
    };
    let common = before
        .as_ref()
        .map_or(0, |before| before.point().commit.sequence);
    let mut found = Vec::with_capacity(changes.len());
    for change in changes {
        let earlier = change.renamed_from.as_ref().unwrap_or(&change.path);
        let old = match &before {
            Some(before) => before.table_called(earlier, change.table).await?,
            None => None,
        };
        let new = after.table_called(&change.path, change.table).await?;
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

/// The state that a commit made.
pub(crate) async fn state_of(context: &Context, commit: &CommitRef) -> Result<Snapshot> {
    let point = Point {
        branch: None,
        version: None,
        commit: *commit,
        at: 0,
        skipped: 0,
    };
    snapshot_at(context, point).await
}
