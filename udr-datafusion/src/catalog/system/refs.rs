//! `udr.branches` and `udr.tags`.

use std::sync::{Arc, LazyLock};

use arrow::array::{ArrayRef, BooleanArray, StringArray, UInt64Array};
use arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use arrow::record_batch::RecordBatch;
use udr_core::RefHead;
use udr_core::{Error, Moment, Result};

use super::{time_field, times};
use crate::session::UdrSession;

/// The columns of `udr.branches` and `udr.tags`.
pub(crate) fn refs_schema() -> SchemaRef {
    static SCHEMA: LazyLock<SchemaRef> = LazyLock::new(|| {
        Arc::new(Schema::new(vec![
            Field::new("name", DataType::Utf8, false),
            Field::new("version", DataType::UInt64, false),
            Field::new("commit_id", DataType::Utf8, false),
            time_field("moved_at"),
            Field::new("current", DataType::Boolean, false),
        ]))
    });
    Arc::clone(&SCHEMA)
}

/// The branches by name; `current` is the one that the session is on.
///
/// # Errors
///
/// Those of reading the store.
pub(crate) async fn branches_batch(session: &UdrSession, moment: &Moment) -> Result<RecordBatch> {
    let current = session.branch();
    refs_batch(moment.branches().await?, |head| head.name == current)
}

/// The tags by name.
///
/// # Errors
///
/// Those of reading the store.
pub(crate) async fn tags_batch(moment: &Moment) -> Result<RecordBatch> {
    refs_batch(moment.tags().await?, |_| false)
}

fn refs_batch(mut heads: Vec<RefHead>, current: impl Fn(&RefHead) -> bool) -> Result<RecordBatch> {
    heads.sort_by(|a, b| a.name.cmp(&b.name));
    let columns: Vec<ArrayRef> = vec![
        Arc::new(StringArray::from_iter_values(
            heads.iter().map(|h| h.name.to_string()),
        )),
        Arc::new(UInt64Array::from_iter_values(
            heads.iter().map(|h| h.version.0),
        )),
        Arc::new(StringArray::from_iter_values(
            heads.iter().map(|h| h.commit.id().to_hex()),
        )),
        Arc::new(times(heads.iter().map(|h| h.moved_at))),
        Arc::new(BooleanArray::from_iter(
            heads.iter().map(|h| Some(current(h))),
        )),
    ];
    RecordBatch::try_new(refs_schema(), columns)
        .map_err(|error| Error::internal("the refs do not fit their schema").with_source(error))
}
