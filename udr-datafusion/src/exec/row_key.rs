//! Shows the row that a statement would change twice.

use arrow::record_batch::RecordBatch;
use arrow::util::display::{ArrayFormatter, FormatOptions};
use futures::StreamExt as _;
use udr_core::data::read_batches;
use udr_core::txn::RowOperation;
use udr_core::{Error, Result};

use super::mutate::MutateSpec;

/// How many columns are shown of a row whose key is not known.
const COLUMNS_MAX: usize = 4;

/// The error for a row that would be changed twice: `position` of the file with this number.
pub(super) async fn hit_twice(spec: &MutateSpec, number: u32, position: u64) -> Error {
    let (what, hint) = match spec.change.operation {
        RowOperation::Merge => (
            "a row of the target matches more than one row of the source",
            "make the source's rows unique by the columns of ON, for example with GROUP BY",
        ),
        RowOperation::Update | RowOperation::Delete => (
            "a row would be updated more than once",
            "make what the table is joined with unique by the columns of the join",
        ),
    };
    let error = Error::invalid(what).with("table", spec.files.table.path());
    // Failing to show the row must not hide what happened.
    let error = match describe(spec, number, position).await {
        Ok(Some(row)) => error.with("row", row),
        Ok(None) => error,
        Err(unread) => {
            tracing::debug!(%unread, "the row that was hit twice could not be read");
            error
        }
    };
    error.with_hint(hint)
}

async fn describe(spec: &MutateSpec, number: u32, position: u64) -> Result<Option<String>> {
    let (session, table) = (&spec.files.session, &spec.files.table);
    let file = spec.pin.scanned(number)?;
    let store = session.repository().store();
    let mut batches = read_batches(store, table.id(), &file, table.schema()).await?;
    let mut before = 0;
    while let Some(batch) = batches.next().await {
        let batch = batch?;
        let at = usize::try_from(position - before).unwrap_or(usize::MAX);
        if at < batch.num_rows() {
            return Ok(Some(shown(spec, &batch, at)));
        }
        before += batch.num_rows() as u64;
    }
    Ok(None)
}

/// The row's key as `column=value, …`.
fn shown(spec: &MutateSpec, batch: &RecordBatch, row: usize) -> String {
    let key = &spec.change.key;
    let options = FormatOptions::default().with_null("NULL");
    let schema = batch.schema();
    let columns = schema.fields().iter().zip(batch.columns());
    columns
        .filter(|(field, _)| key.is_empty() || key.contains(field.name()))
        .take(COLUMNS_MAX.max(key.len()))
        .map(|(field, column)| {
            let value = ArrayFormatter::try_new(column, &options);
            let value = value.map_or_else(|_| "?".to_owned(), |v| v.value(row).to_string());
            format!("{}={value}", field.name())
        })
        .collect::<Vec<_>>()
        .join(", ")
}
