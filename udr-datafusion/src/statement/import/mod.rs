//! `IMPORT PARQUET`: files that are there already become rows of a table.

mod copy;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use arrow::array::{ArrayRef, AsArray as _, StringArray, UInt64Array};
use arrow::compute::cast_with_options;
use arrow::datatypes::{DataType, Field, Fields, Schema as ArrowSchema, UInt64Type};
use arrow::record_batch::RecordBatch;
use chrono::NaiveDate;
use datafusion::error::Result;
use datafusion::execution::context::SessionState;
use futures::{FutureExt as _, StreamExt as _, TryStreamExt as _};
use percent_encoding::percent_decode_str;
use udr_core::data::{Adoption, FileShape};
use udr_core::format::{DataFile, EXACT, PathValue, Schema, Value};
use udr_core::id::FieldId;
use udr_core::name::RelationPath;
use udr_core::snapshot::{Relation, TableSnapshot};
use udr_core::store::Store;
use udr_core::txn::Transaction;
use udr_core::{Error, Result as CoreResult};

use super::{change, result, target};
use crate::error::to_datafusion;
use crate::session::UdrSession;
use crate::sql::ast::Import;

/// How many footers are read at once.
const FOOTERS: usize = 16;
/// How many files are looked through at once.
const FILES: usize = 4;
/// Why nothing can be imported.
const NO_ROWS: &str = "the files have no columns";
/// What a folder is called whose rows have no value.
const NO_VALUE: &str = "__HIVE_DEFAULT_PARTITION__";
/// Adopts the files, which stay where they are; or copies their rows.
pub(super) async fn run(
    state: &SessionState,
    session: &Arc<UdrSession>,
    import: &Import,
) -> Result<RecordBatch> {
    let path = target::reference_path(state, session, &import.table).map_err(to_datafusion)?;
    let store = session.repository().store();
    let found = find(store, &import.patterns).await;
    let found = found.map_err(to_datafusion)?;
    let counts = if import.copy {
        let bytes = found.iter().map(|found| found.shape.bytes()).sum();
        let files = found.len() as u64;
        let rows = copy::copy(state, session, &path, found).await;
        [files, rows.map_err(to_datafusion)?, bytes]
    } else {
        let message = format!("IMPORT PARQUET INTO {path}");
        let files = change(session, message, async |transaction| {
            adopt(session, transaction, &path, &found).await
        });
        let files = files.await?;
        let sum = |of: fn(&DataFile) -> u64| files.iter().map(of).sum();
        [
            sum(|_| 1),
            sum(|file| file.rows),
            sum(|file| file.object.bytes),
        ]
    };
    let columns = counts.map(|count| Arc::new(UInt64Array::from(vec![count])) as ArrayRef);
    result::batch(result::import_schema(), columns.into()).map_err(to_datafusion)
}

/// How many rows a statement says it wrote.
fn count(written: &RecordBatch) -> CoreResult<u64> {
    let counts = written.columns().first();
    let counts = counts.and_then(|column| column.as_primitive_opt::<UInt64Type>());
    counts
        .and_then(|counts| counts.iter().next().flatten())
        .ok_or_else(|| Error::internal("a statement does not say what it wrote"))
}

/// A file, and the values that the folders it is in stand for.
struct Found {
    shape: FileShape,
    folders: Vec<(String, Option<String>)>,
}

async fn find(store: &Store, patterns: &[String]) -> CoreResult<Vec<Found>> {
    let mut files = BTreeMap::new();
    for pattern in patterns {
        let found = store.find_files(pattern).await?;
        files.extend(found.into_iter().map(|file| (file.url.clone(), file)));
    }
    let shapes = files.into_values().map(|file| {
        let read = async move {
            Ok(Found {
                folders: folders(&file.url),
                shape: FileShape::of(store, &file).await?,
            })
        };
        read.boxed()
    });
    futures::stream::iter(shapes.collect::<Vec<_>>())
        .buffered(FOOTERS)
        .try_collect()
        .await
}

/// What folders such as `day=2024-01-01` say.
fn folders(url: &str) -> Vec<(String, Option<String>)> {
    let decoded = |text: &str| percent_decode_str(text).decode_utf8_lossy().into_owned();
    let parts = url.split('/').rev().skip(1);
    let pairs = parts.filter_map(|part| part.split_once('='));
    let pairs = pairs.filter(|(name, _)| !name.is_empty());
    pairs
        .map(|(name, value)| {
            let value = decoded(value);
            (decoded(name), (value != NO_VALUE).then_some(value))
        })
        .collect()
}

async fn adopt(
    session: &UdrSession,
    transaction: &mut Transaction,
    path: &RelationPath,
    found: &[Found],
) -> CoreResult<Vec<DataFile>> {
    let snapshot = transaction.snapshot();
    match snapshot.relation(path).await? {
        Some(Relation::Table(_)) => {}
        Some(Relation::View(_)) => {
            return Err(Error::invalid("a view has no files of its own").with("view", path));
        }
        None => {
            transaction.create_table(path, columns(found)?).await?;
        }
    }
    let table = transaction.snapshot().table(path).await?;
    refuse_known(&table, found).await?;
    let adoption = Adoption {
        store: session.repository().store(),
        env: session.repository().env(),
        table: table.id(),
        schema: table.schema(),
        epoch: transaction.epoch(),
    };
    let entries = found.iter().map(|found| {
        let (adoption, table) = (&adoption, &table);
        let entry = async move {
            let values = values(table, found).map_err(|e| e.with("file", found.shape.url()))?;
            adoption.entry(&found.shape, values).await
        };
        entry.boxed()
    });
    let entries = futures::stream::iter(entries.collect::<Vec<_>>()).buffered(FILES);
    let entries = entries.try_collect::<Vec<_>>().await?;
    let files = entries.into_iter().flatten().collect::<Vec<_>>();
    transaction.append(path, files.clone()).await?;
    Ok(files)
}

/// Refuses files whose rows are in the table already.
async fn refuse_known(table: &TableSnapshot, found: &[Found]) -> CoreResult<()> {
    let plan = table.plan(None).await?;
    let known = plan.files.iter().filter_map(|task| {
        let adopted = task.file.adopted.as_ref()?;
        Some(adopted.url.as_str())
    });
    let known = known.collect::<BTreeSet<_>>();
    match found.iter().find(|found| known.contains(found.shape.url())) {
        None => Ok(()),
        Some(found) => Err(Error::already_exists("a file is in the table already")
            .with("file", found.shape.url())
            .with("table", table.path())
            .with_hint("name only the files that are new")),
    }
}

/// The values of the table's columns that are in a file's path.
fn values(table: &TableSnapshot, found: &Found) -> CoreResult<BTreeMap<FieldId, PathValue>> {
    let mut values = BTreeMap::new();
    for (name, value) in &found.folders {
        let Some(field) = table.schema().field(name) else {
            continue;
        };
        let data_type = field.ty.to_arrow();
        let value = match value {
            None => None,
            Some(text) => {
                let text = Arc::new(StringArray::from(vec![text.as_str()])) as ArrayRef;
                let cast = cast_value(&text, &data_type, name)?;
                let value = Value::from_array(cast.as_ref(), 0);
                Some(value.ok_or_else(|| {
                    Error::unsupported("a column of this type cannot be in the path of a file")
                        .with("column", name)
                        .with("type", &field.ty)
                })?)
            }
        };
        if value.is_none() && !field.nullable {
            return Err(Error::invalid("a NULL in a column that is NOT NULL").with("column", name));
        }
        // The folder nearest to the file counts.
        let ty = field.ty.clone();
        values.entry(field.id).or_insert(PathValue { ty, value });
    }
    Ok(values)
}

/// The columns of a table for these files: those of the first, and those that folders stand for.
fn columns(found: &[Found]) -> CoreResult<Schema> {
    let Some(first) = found.first() else {
        return Err(Error::internal("there are no files"));
    };
    let own = first.shape.columns();
    let folders = first.folders.iter().rev();
    let folders = folders.filter(|(name, _)| own.field_with_name(name).is_err());
    let folders =
        folders.map(|(name, _)| Arc::new(Field::new(name, folder_type(found, name), true)));
    let fields = own.fields().iter().cloned().chain(folders);
    // What is in one file need not be in the next.
    let fields = fields.map(|field| field.as_ref().clone().with_nullable(true));
    Schema::from_arrow(&ArrowSchema::new(fields.collect::<Fields>()))
}

/// The values as those of a column.
fn cast_value(values: &ArrayRef, data_type: &DataType, column: &str) -> CoreResult<ArrayRef> {
    cast_with_options(values, data_type, &EXACT).map_err(|e| {
        Error::invalid("a value in the path of the file is none of the column's type")
            .with("column", column)
            .with("type", data_type)
            .with_source(e)
    })
}

/// The type of what folders say of a column.
fn folder_type(found: &[Found], name: &str) -> DataType {
    let values = found.iter().flat_map(|found| &found.folders);
    let values = values.filter(|(other, _)| other == name);
    type_of(values.filter_map(|(_, value)| value.as_deref()))
}

/// The type of values in paths.
fn type_of<'a>(mut values: impl Iterator<Item = &'a str> + Clone) -> DataType {
    if values.clone().next().is_none() {
        return DataType::Utf8;
    }
    // What begins with a zero is a code and no number.
    let number = |text: &str| {
        let plain = text.strip_prefix('-').unwrap_or(text);
        (plain == "0" || !plain.starts_with('0')) && text.parse::<i64>().is_ok()
    };
    if values.clone().all(number) {
        return DataType::Int64;
    }
    let date = |text: &str| text.len() == 10 && NaiveDate::parse_from_str(text, "%Y-%m-%d").is_ok();
    match values.all(date) {
        true => DataType::Date32,
        false => DataType::Utf8,
    }
}
