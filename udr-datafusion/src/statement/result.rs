//! The batches that statements return; each kind of statement has one schema.

use std::sync::{Arc, LazyLock};

use arrow::array::{ArrayRef, StringArray, UInt64Array};
use arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use arrow::record_batch::RecordBatch;
use udr_core::id::{Digest, Version};
use udr_core::{Error, Result};

use crate::catalog::system::{history_schema, log_schema, refs_schema, time_field};
use crate::sql::ast::Command;

macro_rules! schema {
    ($(#[$doc:meta])* $name:ident: $($field:expr),+ $(,)?) => {
        $(#[$doc])*
        pub(super) fn $name() -> SchemaRef {
            static SCHEMA: LazyLock<SchemaRef> =
                LazyLock::new(|| Arc::new(Schema::new(vec![$($field),+])));
            Arc::clone(&SCHEMA)
        }
    };
}

fn text(name: &str, nullable: bool) -> Field {
    Field::new(name, DataType::Utf8, nullable)
}

fn count(name: &str, nullable: bool) -> Field {
    Field::new(name, DataType::UInt64, nullable)
}

fn truth(name: &str) -> Field {
    Field::new(name, DataType::Boolean, false)
}

schema! {
    /// What was done, in words.
    done_schema: text("result", false)
}
schema! {
    /// How many rows were written.
    count_schema: count("count", false)
}
schema! {
    ref_schema: text("name", false), count("version", false), text("commit_id", false)
}
schema! {
    commit_schema: text("result", false), count("version", true), text("commit_id", true)
}
schema! {
    merge_schema:
        text("result", false), count("version", false), text("commit_id", true),
        count("commits", false)
}
schema! {
    columns_schema:
        text("table_catalog", false), text("table_schema", false), text("table_name", false),
        text("column_name", false), text("data_type", false), text("is_nullable", false)
}
schema! {
    reflog_schema:
        count("version", false), text("operation", false), text("commit_id", true),
        count("commits", false), time_field("moved_at"), text("created_from", true)
}
schema! {
    status_schema:
        text("branch", false), count("version", true), text("commit_id", false),
        text("as_of", true), text("transaction", true), count("base_version", true),
        truth("changed"), truth("read_only")
}
schema! {
    analyze_schema: text("column_name", false), count("distinct_values", false)
}
schema! {
    import_schema: count("files", false), count("rows", false), count("bytes", false)
}
schema! {
    tables_schema: text("namespace", false), text("name", false), text("kind", false)
}

/// What a command returns.
pub(crate) fn command_schema(command: &Command) -> SchemaRef {
    match command {
        Command::Commit { .. } => commit_schema(),
        Command::CreateRef { .. } => ref_schema(),
        Command::MergeBranch { .. } => merge_schema(),
        Command::ShowRefs(_) => refs_schema(),
        Command::ShowLog { .. } => log_schema(),
        Command::ShowReflog { .. } => reflog_schema(),
        Command::ShowStatus => status_schema(),
        Command::ShowTables { .. } => tables_schema(),
        Command::Analyze(_) => analyze_schema(),
        Command::Import(_) => import_schema(),
        Command::DescribeHistory { .. } => history_schema(),
        Command::Begin { .. }
        | Command::Rollback
        | Command::Savepoint(_)
        | Command::RollbackTo(_)
        | Command::Release(_)
        | Command::DropRef { .. }
        | Command::UseBranch(_)
        | Command::SetAsOf(_)
        | Command::SetAuthor(_)
        | Command::SetVerify(_) => done_schema(),
    }
}

/// A batch of `schema`.
pub(super) fn batch(schema: SchemaRef, columns: Vec<ArrayRef>) -> Result<RecordBatch> {
    RecordBatch::try_new(schema, columns)
        .map_err(|e| Error::internal("a result does not fit its schema").with_source(e))
}

/// One row that says what was done.
pub(super) fn done(what: impl Into<String>) -> Result<RecordBatch> {
    batch(done_schema(), vec![one_text(what)])
}

/// One row with a count of rows.
pub(super) fn counted(rows: u64) -> Result<RecordBatch> {
    batch(count_schema(), vec![one_count(rows)])
}

/// A column of one text.
pub(super) fn one_text(value: impl Into<String>) -> ArrayRef {
    Arc::new(StringArray::from(vec![value.into()]))
}

/// A column of one text, or NULL.
pub(super) fn maybe_text(value: Option<String>) -> ArrayRef {
    Arc::new(StringArray::from(vec![value]))
}

/// A column of one number.
pub(super) fn one_count(value: u64) -> ArrayRef {
    Arc::new(UInt64Array::from(vec![value]))
}

/// A column of one version, or NULL.
pub(super) fn maybe_version(version: Option<Version>) -> ArrayRef {
    Arc::new(UInt64Array::from(vec![version.map(|version| version.0)]))
}

/// A column of one commit id, or NULL.
pub(super) fn maybe_commit(commit: Option<Digest>) -> ArrayRef {
    maybe_text(commit.map(|commit| commit.to_hex()))
}
