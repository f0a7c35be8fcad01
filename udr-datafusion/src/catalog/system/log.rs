//! `udr.log`: the commits that led to a state.

use std::sync::{Arc, LazyLock};

use arrow::array::{ArrayRef, ListBuilder, StringArray, StringBuilder, UInt64Array};
use arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use arrow::record_batch::RecordBatch;
use udr_core::LogEntry;
use udr_core::snapshot::Snapshot;
use udr_core::{Error, Result};

use super::{time_field, times};
use crate::session::UdrSession;

/// How many commits are read at first where it is not known how many will be needed.
const PAGE: usize = 64;

/// The columns of `udr.log`.
pub(crate) fn log_schema() -> SchemaRef {
    static SCHEMA: LazyLock<SchemaRef> = LazyLock::new(|| {
        let parent = Field::new("item", DataType::Utf8, false);
        Arc::new(Schema::new(vec![
            Field::new("version", DataType::UInt64, false),
            Field::new("commit_id", DataType::Utf8, false),
            Field::new("parents", DataType::List(Arc::new(parent)), false),
            Field::new("author", DataType::Utf8, false),
            Field::new("message", DataType::Utf8, false),
            time_field("committed_at"),
            Field::new("operation", DataType::Utf8, false),
        ]))
    });
    Arc::clone(&SCHEMA)
}

/// The commits that led to `snapshot`, newest first, at most `limit`.
///
/// # Errors
///
/// Those of reading the store.
pub(crate) async fn log_batch(
    session: &UdrSession,
    snapshot: &Snapshot,
    limit: Option<usize>,
) -> Result<RecordBatch> {
    let entries = entries(session, snapshot, limit, |_| true).await?;
    let mut parents = ListBuilder::new(StringBuilder::new()).with_field(Field::new(
        "item",
        DataType::Utf8,
        false,
    ));
    for entry in &entries {
        for parent in &entry.commit.parents {
            parents.values().append_value(parent.id().to_hex());
        }
        parents.append(true);
    }
    let text = |of: fn(&LogEntry) -> String| -> ArrayRef {
        Arc::new(StringArray::from_iter_values(entries.iter().map(of)))
    };
    let columns: Vec<ArrayRef> = vec![
        Arc::new(UInt64Array::from_iter_values(
            entries.iter().map(|e| e.version.0),
        )),
        text(|e| e.reference.id().to_hex()),
        Arc::new(parents.finish()),
        text(|e| e.commit.author.clone()),
        text(|e| e.commit.message.clone()),
        Arc::new(times(entries.iter().map(|e| e.commit.committed_at))),
        text(|e| e.commit.operation()),
    ];
    RecordBatch::try_new(log_schema(), columns)
        .map_err(|error| Error::internal("the log does not fit its schema").with_source(error))
}

/// The commits that led to `snapshot` and that `keep` keeps, newest first.
///
/// Without a limit the whole log is read; with one, a part that grows until it has enough.
pub(super) async fn entries(
    session: &UdrSession,
    snapshot: &Snapshot,
    limit: Option<usize>,
    keep: impl Fn(&LogEntry) -> bool,
) -> Result<Vec<LogEntry>> {
    let (repository, current) = (session.repository(), session.branch());
    let Some(limit) = limit else {
        let mut all = repository.log_of(&current, snapshot, None).await?;
        all.retain(keep);
        return Ok(all);
    };
    let mut page = limit.max(PAGE);
    loop {
        let mut found = repository.log_of(&current, snapshot, Some(page)).await?;
        let whole = found.len() < page;
        found.retain(&keep);
        if whole || found.len() >= limit {
            found.truncate(limit);
            return Ok(found);
        }
        page = page.saturating_mul(4);
    }
}
