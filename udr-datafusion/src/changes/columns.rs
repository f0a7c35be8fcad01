//! The columns of a feed.

use std::sync::Arc;

use arrow::array::{
    ArrayRef, FixedSizeBinaryBuilder, RecordBatch, RecordBatchOptions, StringArray, StructArray,
    TimestampMicrosecondArray, UInt64Array, new_null_array,
};
use arrow::buffer::NullBuffer;
use arrow::datatypes::{DataType, Field, FieldRef, Fields, Schema, SchemaRef};
use udr_core::changes::{ChangeBatch, ChangeKind};
use udr_core::env::Micros;
use udr_core::format::Schema as TableSchema;
use udr_core::{Error, Result};

use crate::catalog::system::time_field;
use crate::table::{COMMIT_SEQUENCE, ROW_ID};

/// What happened to a row.
const CHANGE_TYPE: &str = "_change_type";
const COMMIT_TIMESTAMP: &str = "_commit_timestamp";
const COMMIT_VERSION: &str = "_commit_version";
const COMMIT_ID: &str = "_commit_id";
const COMMIT_AUTHOR: &str = "_commit_author";
const COMMIT_MESSAGE: &str = "_commit_message";
const TABLE: &str = "_table";

/// What is the same for all rows of one commit.
#[derive(Debug, Clone)]
pub(super) struct CommitColumns {
    pub(super) version: u64,
    pub(super) sequence: u64,
    pub(super) timestamp: Micros,
    pub(super) id: String,
    pub(super) author: String,
    pub(super) message: String,
}

/// What a column of a feed shows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Shown {
    /// A column of the one table that the feed is of, by position.
    Column(usize),
    /// All columns of a table, by its place in the feed.
    Table(usize),
    ChangeType,
    CommitVersion,
    CommitSequence,
    CommitTimestamp,
    CommitId,
    CommitAuthor,
    CommitMessage,
    TableName,
    RowId,
}

impl Shown {
    /// Whether it never descends in a feed.
    pub(super) fn ascends(self) -> bool {
        self == Self::CommitSequence
    }

    /// Whether it is the same for all rows of one kind that a commit changed in a table.
    pub(super) fn is_constant(self) -> bool {
        !matches!(self, Self::Column(_) | Self::Table(_) | Self::RowId)
    }
}

/// A feed of one table: its columns, then what happened to each row.
pub(super) fn of_table(table: &TableSchema) -> Result<(SchemaRef, Vec<Shown>)> {
    let relaxed = nullable(table);
    let own = relaxed.iter().enumerate();
    let own = own.map(|(at, field)| (Arc::clone(field), Shown::Column(at)));
    let added = [
        (text(CHANGE_TYPE), Shown::ChangeType),
        (version(), Shown::CommitVersion),
        (time(), Shown::CommitTimestamp),
        (text(COMMIT_ID), Shown::CommitId),
        (sequence(), Shown::CommitSequence),
        (row_id(), Shown::RowId),
    ];
    if let Some((field, _)) = added.iter().find(|(f, _)| table.field(f.name()).is_some()) {
        return Err(Error::invalid(
            "the table has a column of this name itself, so its feed has no place for the change's",
        )
        .with("column", field.name())
        .with_hint("udr_changes shows the rows of tables apart from what happened to them"));
    }
    Ok(own.chain(added).unzip_schema())
}

/// A feed of several tables, each with the name of its column: what happened to each row, then a
/// column for each table, of which the one that the row is of is not NULL.
pub(super) fn of_tables<'a>(
    tables: impl Iterator<Item = (&'a str, &'a TableSchema)> + Clone,
) -> Result<(SchemaRef, Vec<Shown>)> {
    let first = [
        (version(), Shown::CommitVersion),
        (sequence(), Shown::CommitSequence),
        (text(COMMIT_ID), Shown::CommitId),
        (time(), Shown::CommitTimestamp),
        (text(COMMIT_AUTHOR), Shown::CommitAuthor),
        (text(COMMIT_MESSAGE), Shown::CommitMessage),
        (text(TABLE), Shown::TableName),
        (text(CHANGE_TYPE), Shown::ChangeType),
        (row_id(), Shown::RowId),
    ];
    let taken = |name: &str| first.iter().any(|(field, _)| field.name() == name);
    if let Some((name, _)) = tables.clone().find(|(name, _)| taken(name)) {
        return Err(
            Error::invalid("a feed has a column of the table's name itself")
                .with("table", name)
                .with_hint(format!("call it `public.{name}`, with its schema")),
        );
    }
    let tables = tables.enumerate().map(|(at, (name, table))| {
        let ty = DataType::Struct(nullable(table));
        (Arc::new(Field::new(name, ty, true)), Shown::Table(at))
    });
    Ok(first.into_iter().chain(tables).unzip_schema())
}

trait UnzipSchema {
    fn unzip_schema(self) -> (SchemaRef, Vec<Shown>);
}

impl<I: Iterator<Item = (FieldRef, Shown)>> UnzipSchema for I {
    fn unzip_schema(self) -> (SchemaRef, Vec<Shown>) {
        let (fields, shown): (Vec<_>, Vec<_>) = self.unzip();
        (Arc::new(Schema::new(fields)), shown)
    }
}

/// The columns of a table, each allowing NULL.
pub(super) fn nullable(table: &TableSchema) -> Fields {
    let schema = table.to_arrow();
    let fields = schema.fields().iter();
    let fields = fields.map(|field| field.as_ref().clone().with_nullable(true));
    fields.collect()
}

fn text(name: &str) -> FieldRef {
    Arc::new(Field::new(name, DataType::Utf8, false))
}

fn version() -> FieldRef {
    Arc::new(Field::new(COMMIT_VERSION, DataType::UInt64, false))
}

fn sequence() -> FieldRef {
    Arc::new(Field::new(COMMIT_SEQUENCE, DataType::UInt64, false))
}

fn time() -> FieldRef {
    Arc::new(time_field(COMMIT_TIMESTAMP))
}

fn row_id() -> FieldRef {
    Arc::new(Field::new(ROW_ID, DataType::FixedSizeBinary(24), false))
}

/// A column that has one value for all rows of a commit, and of a table.
pub(super) fn constant(
    shown: Shown,
    commit: &CommitColumns,
    table: &str,
    rows: usize,
) -> Option<ArrayRef> {
    let text = |value: &str| -> ArrayRef {
        Arc::new(StringArray::from_iter_values(std::iter::repeat_n(
            value, rows,
        )))
    };
    Some(match shown {
        Shown::CommitVersion => Arc::new(UInt64Array::from_value(commit.version, rows)),
        Shown::CommitSequence => Arc::new(UInt64Array::from_value(commit.sequence, rows)),
        Shown::CommitTimestamp => Arc::new(
            TimestampMicrosecondArray::from_value(commit.timestamp, rows).with_timezone("UTC"),
        ),
        Shown::CommitId => text(&commit.id),
        Shown::CommitAuthor => text(&commit.author),
        Shown::CommitMessage => text(&commit.message),
        Shown::TableName => text(table),
        Shown::ChangeType | Shown::RowId | Shown::Column(_) | Shown::Table(_) => return None,
    })
}

/// The words for kinds of changes.
pub(super) fn change_types(kinds: &[ChangeKind]) -> ArrayRef {
    let words = kinds.iter().map(|kind| kind.as_str());
    Arc::new(StringArray::from_iter_values(words))
}

/// Puts rows of one table and what is known of their commit together.
#[derive(Debug, Clone)]
pub(super) struct Layout {
    pub(super) schema: SchemaRef,
    pub(super) shown: Vec<Shown>,
}

impl Layout {
    /// The columns at these positions.
    pub(super) fn project(&self, columns: &[usize]) -> Result<Self> {
        let schema = self.schema.project(columns);
        let shown = columns.iter().filter_map(|at| self.shown.get(*at));
        Ok(Self {
            schema: Arc::new(schema.map_err(|e| Error::internal("no such column").with_source(e))?),
            shown: shown.copied().collect(),
        })
    }

    /// Which columns of a table are read for it, ascending; `at` is its place in the feed.
    pub(super) fn columns_of(&self, at: usize, table: &TableSchema) -> Vec<usize> {
        let whole = self.shown.contains(&Shown::Table(at));
        let columns = 0..table.fields().len();
        columns
            .filter(|column| whole || self.shown.contains(&Shown::Column(*column)))
            .collect()
    }

    /// A batch of the feed; `batch` has the columns `read` of the table at place `at`.
    pub(super) fn batch(
        &self,
        commit: &CommitColumns,
        (at, table): (usize, &str),
        read: &[usize],
        batch: &ChangeBatch,
    ) -> Result<RecordBatch> {
        let rows = batch.kinds.len();
        let fields = self.schema.fields().iter();
        let columns = self.shown.iter().zip(fields).map(|(shown, field)| {
            if let Some(constant) = constant(*shown, commit, table, rows) {
                return Ok(constant);
            }
            match shown {
                Shown::ChangeType => Ok(change_types(&batch.kinds)),
                Shown::RowId => row_ids(batch),
                Shown::Column(column) => {
                    let place = read.iter().position(|read| read == column);
                    let column = place.and_then(|place| batch.rows.columns().get(place));
                    column
                        .cloned()
                        .ok_or_else(|| Error::internal("a column of a feed was not read"))
                }
                Shown::Table(of) if *of == at => whole_rows(batch, field, rows),
                _ => Ok(new_null_array(field.data_type(), rows)),
            }
        });
        let columns = columns.collect::<Result<Vec<_>>>()?;
        let options = RecordBatchOptions::new().with_row_count(Some(rows));
        RecordBatch::try_new_with_options(Arc::clone(&self.schema), columns, &options)
            .map_err(|e| Error::internal("a batch does not fit its feed").with_source(e))
    }
}

fn row_ids(batch: &ChangeBatch) -> Result<ArrayRef> {
    let mut ids = FixedSizeBinaryBuilder::with_capacity(batch.row_ids.len(), 24);
    for id in &batch.row_ids {
        let added = ids.append_value(id.to_bytes());
        added.map_err(|e| Error::internal("an id has a wrong size").with_source(e))?;
    }
    Ok(Arc::new(ids.finish()))
}

/// The rows as values of one column.
fn whole_rows(batch: &ChangeBatch, field: &Field, rows: usize) -> Result<ArrayRef> {
    let DataType::Struct(fields) = field.data_type() else {
        return Err(Error::internal("a table of a feed is no struct"));
    };
    let (fields, columns) = (fields.clone(), batch.rows.columns().to_vec());
    let rows = StructArray::try_new_with_length(fields, columns, None::<NullBuffer>, rows);
    let rows = rows.map_err(|e| Error::internal("rows do not fit their feed").with_source(e))?;
    Ok(Arc::new(rows))
}
