//! `udr fsck`: is everything that was stored still there, and undamaged?
//!
//! In: a repository that exists. Out: one row per problem on standard output, a summary on standard
//! error, exit code 5 if there is a problem. Called by `main`.

use std::io;
use std::sync::Arc;

use arrow::array::{RecordBatch, StringArray, UInt8Array};
use arrow::datatypes::{DataType, Field, Schema};
use indicatif::{HumanBytes, HumanCount};
use udr_core::Repository;
use udr_core::maintenance::{FsckOptions, FsckReport};

use crate::console::Console;
use crate::exit::{Exit, Failure, Stop, output_stop};
use crate::output::Format;

/// Checks a repository.
///
/// # Errors
///
/// What kept it from being read at all.
pub(crate) async fn fsck(
    repository: &Repository,
    options: FsckOptions,
    format: Format,
    console: &Console,
) -> Result<Exit, Stop> {
    let report = repository
        .fsck(options)
        .await
        .map_err(|error| Failure::from(&error))?;
    console.notice(&summary(&report));
    let exit = if report.is_clean() {
        Exit::Done
    } else {
        Exit::Corrupt
    };
    // A program gets a document without rows; a person has been told already.
    if exit == Exit::Done && !format.is_for_machines() {
        return Ok(exit);
    }
    let problems = problems(&report)?;
    let mut rows = format.rows(problems.schema_ref(), io::stdout().lock());
    rows.write(&problems)?;
    let mut out = rows.finish()?;
    io::Write::flush(&mut out).map_err(|error| output_stop(&error))?;
    Ok(exit)
}

fn problems(report: &FsckReport) -> Result<RecordBatch, Failure> {
    let text = |name| Field::new(name, DataType::Utf8, false);
    let schema = Schema::new(vec![
        Field::new("invariant", DataType::UInt8, false),
        text("place"),
        text("problem"),
    ]);
    let all = &report.problems;
    Ok(RecordBatch::try_new(
        Arc::new(schema),
        vec![
            Arc::new(all.iter().map(|p| p.invariant).collect::<UInt8Array>()),
            Arc::new(StringArray::from_iter_values(all.iter().map(|p| &p.place))),
            Arc::new(StringArray::from_iter_values(
                all.iter().map(|p| &p.message),
            )),
        ],
    )?)
}

fn summary(report: &FsckReport) -> String {
    let verdict = match report.problems.len() {
        0 => "no problems".to_owned(),
        1 => "1 problem".to_owned(),
        n => format!("{n} problems"),
    };
    format!(
        "{verdict}; checked {} ref records, {} commits, {} metadata objects, {} deletion vectors \
         and {} data files ({})",
        HumanCount(report.records),
        HumanCount(report.commits),
        HumanCount(report.objects),
        HumanCount(report.deletion_vectors),
        HumanCount(report.data_files),
        HumanBytes(report.data_bytes)
    )
}
