//! Deleting and changing rows of a fixture table through the core's API.
//!
//! In: an open transaction, and which rows are meant. Out: the change, staged as an engine stages
//! it: positions to delete, and new files that carry the identity of the rows they replace. Called
//! by tests of row changes.

use std::sync::Arc;

use arrow::array::{ArrayRef, AsArray as _, RecordBatch};
use arrow::datatypes::{Int64Type, Schema as ArrowSchema};
use futures::TryStreamExt as _;
use udr_core::data::{
    DeletionVector, RowId, RowIdentity, TableWriter, WriteOptions, identity_fields, read_rows,
    replacing,
};
use udr_core::env::Env;
use udr_core::format::DataFile;
use udr_core::name::RelationPath;
use udr_core::snapshot::Snapshot;
use udr_core::txn::{RowChanges, RowOperation, Transaction};
use udr_core::{Error, Result};

use crate::fixtures::{Row, batch};

/// Rows that were found.
#[derive(Debug, Default)]
pub struct Found {
    /// Where they are, by file; files without any are left out.
    pub places: Vec<(Arc<DataFile>, DeletionVector)>,
    /// The rows.
    pub rows: Vec<Row>,
    /// What identifies them.
    pub ids: Vec<RowId>,
}

/// The rows of a table that `wanted` picks.
///
/// # Errors
///
/// As reading the table.
pub async fn find(
    snapshot: &Snapshot,
    table: &RelationPath,
    wanted: impl Fn(&Row) -> bool,
) -> Result<Found> {
    let table = snapshot.table(table).await?;
    let mut found = Found::default();
    for task in table.plan(None).await?.files {
        let deleted = task.deleted(table.store(), table.id()).await?;
        let mut batches = read_rows(table.store(), table.id(), &task.file, table.schema()).await?;
        let mut places = DeletionVector::new();
        let mut position = 0;
        while let Some((batch, ids)) = batches.try_next().await? {
            let numbers = batch.column(0).as_primitive::<Int64Type>();
            let words = batch.column(1).as_string_view();
            for ((number, word), id) in numbers.iter().zip(words.iter()).zip(ids) {
                let row = (number.unwrap_or_default(), word.map(str::to_owned));
                let live = !deleted.as_ref().is_some_and(|d| d.contains(position));
                if live && wanted(&row) {
                    places.insert(position);
                    found.rows.push(row);
                    found.ids.push(id);
                }
                position += 1;
            }
        }
        if !places.is_empty() {
            found.places.push((task.file, places));
        }
    }
    Ok(found)
}

/// Stages the deletion of the rows that `wanted` picks.
///
/// # Errors
///
/// As [`Transaction::change_rows`].
pub async fn delete(
    transaction: &mut Transaction,
    table: &RelationPath,
    wanted: impl Fn(&Row) -> bool,
) -> Result<()> {
    let found = find(&transaction.snapshot(), table, wanted).await?;
    let changes = RowChanges {
        operation: RowOperation::Delete,
        deleted: found.places,
        added: Vec::new(),
    };
    transaction.change_rows(table, changes).await
}

/// Stages that the rows which `wanted` picks become `word`, and that `inserted` come.
///
/// # Errors
///
/// As [`Transaction::change_rows`].
pub async fn change(
    transaction: &mut Transaction,
    table: &RelationPath,
    env: &Env,
    (wanted, word): (impl Fn(&Row) -> bool, &str),
    inserted: &[Row],
) -> Result<()> {
    let found = find(&transaction.snapshot(), table, wanted).await?;
    let replaced = found.rows.iter().map(|row| (row.0, Some(word.to_owned())));
    let rows = replaced.chain(inserted.iter().cloned()).collect::<Vec<_>>();
    let ids = found.ids.iter().map(|id| Some(*id));
    let ids = ids.chain(inserted.iter().map(|_| None)).collect::<Vec<_>>();
    let operation = if inserted.is_empty() {
        RowOperation::Update
    } else {
        RowOperation::Merge
    };
    let added = Box::pin(write(transaction, table, env, &rows, &ids)).await?;
    let changes = RowChanges {
        operation,
        deleted: found.places,
        added,
    };
    transaction.change_rows(table, changes).await
}

async fn write(
    transaction: &Transaction,
    table: &RelationPath,
    env: &Env,
    rows: &[Row],
    ids: &[Option<RowId>],
) -> Result<Vec<DataFile>> {
    if rows.is_empty() {
        return Ok(Vec::new());
    }
    let table = transaction.snapshot().table(table).await?;
    let options = WriteOptions {
        identity: RowIdentity::Carried,
        ..WriteOptions::default()
    };
    let (store, schema) = (table.store(), table.schema());
    let mut writer =
        TableWriter::new(store, env, table.id(), transaction.epoch(), schema, options)?;
    let own = batch(rows);
    let mut columns: Vec<ArrayRef> = own.columns().to_vec();
    columns.extend(replacing(ids)?);
    let mut fields = own.schema().fields().to_vec();
    fields.extend(identity_fields().map(Arc::new));
    let wide = RecordBatch::try_new(Arc::new(ArrowSchema::new(fields)), columns)
        .map_err(|e| Error::internal("columns do not make a batch").with_source(e))?;
    writer.write(&wide).await?;
    writer.finish().await
}
