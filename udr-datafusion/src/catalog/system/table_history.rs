//! `t$history` and `t$snapshots`: what happened to a table, and how large it was afterwards.

use std::sync::{Arc, LazyLock};

use arrow::array::{ArrayRef, StringArray, UInt64Array};
use arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use arrow::record_batch::RecordBatch;
use futures::{StreamExt as _, TryStreamExt as _};
use udr_core::LogEntry;
use udr_core::format::{Change, TableChange};
use udr_core::id::TableId;
use udr_core::snapshot::{Relation, Snapshot};
use udr_core::{Error, Result};

use super::log::entries;
use super::{time_field, times};
use crate::session::UdrSession;

/// How many states are looked at together.
const CONCURRENCY: usize = 16;

/// The columns of `t$history`.
pub(crate) fn history_schema() -> SchemaRef {
    static SCHEMA: LazyLock<SchemaRef> = LazyLock::new(|| {
        Arc::new(Schema::new(vec![
            Field::new("version", DataType::UInt64, false),
            Field::new("commit_id", DataType::Utf8, false),
            time_field("committed_at"),
            Field::new("author", DataType::Utf8, false),
            Field::new("message", DataType::Utf8, false),
            Field::new("operation", DataType::Utf8, false),
            Field::new("rows_added", DataType::UInt64, false),
            Field::new("rows_removed", DataType::UInt64, false),
            Field::new("files_added", DataType::UInt64, false),
            Field::new("files_removed", DataType::UInt64, false),
        ]))
    });
    Arc::clone(&SCHEMA)
}

/// The columns of `t$snapshots`.
pub(super) fn snapshots_schema() -> SchemaRef {
    static SCHEMA: LazyLock<SchemaRef> = LazyLock::new(|| {
        Arc::new(Schema::new(vec![
            Field::new("version", DataType::UInt64, false),
            Field::new("commit_id", DataType::Utf8, false),
            Field::new("parent_id", DataType::Utf8, true),
            time_field("committed_at"),
            Field::new("operation", DataType::Utf8, false),
            Field::new("rows", DataType::UInt64, true),
            Field::new("files", DataType::UInt64, true),
            Field::new("bytes", DataType::UInt64, true),
        ]))
    });
    Arc::clone(&SCHEMA)
}

/// The versions up to `snapshot` that changed the table, newest first.
pub(crate) async fn history_batch(
    session: &UdrSession,
    snapshot: &Snapshot,
    table: TableId,
    limit: Option<usize>,
) -> Result<RecordBatch> {
    let changes = changes(session, snapshot, table, limit).await?;
    let count = |of: fn(&TableChange) -> u64| -> ArrayRef {
        Arc::new(UInt64Array::from_iter_values(
            changes.iter().map(|(_, change)| of(change)),
        ))
    };
    let columns: Vec<ArrayRef> = vec![
        versions(&changes),
        text(&changes, |entry, _| entry.reference.id().to_hex()),
        Arc::new(times(
            changes.iter().map(|(entry, _)| entry.commit.committed_at),
        )),
        text(&changes, |entry, _| entry.commit.author.clone()),
        text(&changes, |entry, _| entry.commit.message.clone()),
        text(&changes, |_, change| operation(change)),
        count(|change| change.rows_added),
        count(|change| change.rows_removed),
        count(|change| change.files_added),
        count(|change| change.files_removed),
    ];
    RecordBatch::try_new(history_schema(), columns)
        .map_err(|error| Error::internal("the history does not fit its schema").with_source(error))
}

/// The table after each commit up to `snapshot` that changed it, newest first.
///
/// Sizes are absent where the commit dropped it.
pub(super) async fn snapshots_batch(
    session: &UdrSession,
    snapshot: &Snapshot,
    table: TableId,
    limit: Option<usize>,
) -> Result<RecordBatch> {
    let changes = changes(session, snapshot, table, limit).await?;
    let looks = changes
        .iter()
        .map(|(entry, change)| size_after(session, entry, change))
        .collect::<Vec<_>>();
    let sizes = futures::stream::iter(looks)
        .buffered(CONCURRENCY)
        .try_collect::<Vec<_>>()
        .await?;
    let size = |of: fn(&(u64, u64, u64)) -> u64| -> ArrayRef {
        Arc::new(
            sizes
                .iter()
                .map(|size| size.as_ref().map(of))
                .collect::<UInt64Array>(),
        )
    };
    let parents = changes
        .iter()
        .map(|(entry, _)| entry.commit.parents.first().map(|p| p.id().to_hex()));
    let columns: Vec<ArrayRef> = vec![
        versions(&changes),
        text(&changes, |entry, _| entry.reference.id().to_hex()),
        Arc::new(parents.collect::<StringArray>()),
        Arc::new(times(
            changes.iter().map(|(entry, _)| entry.commit.committed_at),
        )),
        text(&changes, |_, change| operation(change)),
        size(|(rows, _, _)| *rows),
        size(|(_, files, _)| *files),
        size(|(_, _, bytes)| *bytes),
    ];
    RecordBatch::try_new(snapshots_schema(), columns).map_err(|error| {
        Error::internal("the snapshots do not fit their schema").with_source(error)
    })
}

/// Rows, files and bytes of a table after a commit that changed it; `None` if it was dropped.
async fn size_after(
    session: &UdrSession,
    entry: &LogEntry,
    change: &TableChange,
) -> Result<Option<(u64, u64, u64)>> {
    let state = session.repository().at(entry).await?;
    Ok(match state.relation(&change.path).await? {
        Some(Relation::Table(found)) if found.id() == change.table => {
            Some((found.rows(), found.file_count(), found.bytes()))
        }
        _ => None,
    })
}

type Changes = Vec<(LogEntry, TableChange)>;

async fn changes(
    session: &UdrSession,
    snapshot: &Snapshot,
    table: TableId,
    limit: Option<usize>,
) -> Result<Changes> {
    let of = |entry: &LogEntry| {
        entry.commit.changes.iter().find_map(|change| match change {
            Change::Table(change) if change.table == table => Some(change.clone()),
            _ => None,
        })
    };
    let found = entries(session, snapshot, limit, |entry| of(entry).is_some()).await?;
    Ok(found
        .into_iter()
        .filter_map(|entry| of(&entry).map(|c| (entry, c)))
        .collect())
}

fn operation(change: &TableChange) -> String {
    change
        .operations
        .iter()
        .map(|operation| operation.as_str())
        .collect::<Vec<_>>()
        .join(", ")
}

fn versions(changes: &Changes) -> ArrayRef {
    Arc::new(UInt64Array::from_iter_values(
        changes.iter().map(|(entry, _)| entry.version.0),
    ))
}

fn text(changes: &Changes, of: fn(&LogEntry, &TableChange) -> String) -> ArrayRef {
    Arc::new(StringArray::from_iter_values(
        changes.iter().map(|(entry, change)| of(entry, change)),
    ))
}
