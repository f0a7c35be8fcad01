//! `udr txn`: was a transaction published, whose commit ended without an answer?
//!
//! In: its id, from the message of the error. Out: one row on standard output, and an exit code: 0
//! if it was, 1 if it was not and never will be, 4 if that cannot be told. Called by `main`.

use std::io;
use std::sync::Arc;

use arrow::array::{RecordBatch, StringArray, UInt64Array};
use arrow::datatypes::{DataType, Field, Schema};
use udr_core::id::TransactionId;
use udr_core::name::RefName;
use udr_core::store::RefKind;
use udr_core::{Repository, TransactionOutcome};

use crate::console::Console;
use crate::exit::{Exit, Failure, Stop, output_stop};
use crate::output::Format;

/// Looks a transaction up, and shuts it out of `branch` if it is not found.
///
/// # Errors
///
/// What kept the logs from being read.
pub(crate) async fn txn(
    repository: &Repository,
    id: &str,
    branch: Option<&str>,
    format: Format,
    console: &Console,
) -> Result<Exit, Stop> {
    let usage = |error: &udr_core::Error| Failure::from(error).exiting(Exit::Usage);
    let id = id.parse::<TransactionId>().map_err(|e| usage(&e))?;
    let branch = branch
        .map(RefName::new)
        .transpose()
        .map_err(|e| usage(&e))?;
    let mut outcome = repository.transaction_outcome(id).await?;
    if let (TransactionOutcome::Unknown, Some(branch)) = (&outcome, &branch) {
        outcome = repository.settle_transaction(branch, id).await?;
    }
    let row = row(&outcome)?;
    let mut rows = format.rows(row.schema_ref(), io::stdout().lock());
    rows.write(&row)?;
    let mut out = rows.finish()?;
    io::Write::flush(&mut out).map_err(|error| output_stop(&error))?;
    Ok(match outcome {
        TransactionOutcome::Committed { .. } => Exit::Done,
        TransactionOutcome::NotPublished => Exit::Failed,
        TransactionOutcome::Unknown => {
            console.notice(&format!(
                "notice: no log has it, but a request that is still under way may publish it yet: \
                 udr txn {id} --branch <its branch> makes sure that none can"
            ));
            Exit::Unreachable
        }
    })
}

fn row(outcome: &TransactionOutcome) -> Result<RecordBatch, Failure> {
    let (word, at) = match outcome {
        TransactionOutcome::Committed {
            kind,
            name,
            version,
        } => ("committed", Some((*kind, name, version.0))),
        TransactionOutcome::NotPublished => ("not published", None),
        TransactionOutcome::Unknown => ("unknown", None),
    };
    let name = |wanted: RefKind| {
        let at = at.filter(|(kind, ..)| *kind == wanted);
        Arc::new(StringArray::from(vec![
            at.map(|(_, name, _)| name.as_str()),
        ]))
    };
    let text = |name, nullable| Field::new(name, DataType::Utf8, nullable);
    let schema = Schema::new(vec![
        text("outcome", false),
        text("branch", true),
        text("tag", true),
        Field::new("version", DataType::UInt64, true),
    ]);
    Ok(RecordBatch::try_new(
        Arc::new(schema),
        vec![
            Arc::new(StringArray::from(vec![word])),
            name(RefKind::Branch),
            name(RefKind::Tag),
            Arc::new(UInt64Array::from(vec![at.map(|(.., version)| version)])),
        ],
    )?)
}
