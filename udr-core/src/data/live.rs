//! The rows of a data file that are not deleted.

use std::collections::BTreeSet;
use std::sync::Arc;

use arrow::array::{BooleanArray, RecordBatch, UInt64Array};
use arrow::buffer::BooleanBuffer;
use arrow::compute::{filter_record_batch, take};
use arrow::datatypes::Schema as ArrowSchema;
use futures::stream::BoxStream;
use futures::{StreamExt as _, TryStreamExt as _};

use super::deletion_vector::DeletionVector;
use super::reader::{read_batches, read_batches_at};
use super::row_identity::{Identities, Places, RowId, RowIdentity, moved_columns};
use super::writer::{TableWriter, WriteOptions};
use crate::env::Env;
use crate::error::{Error, Result};
use crate::format::{DataFile, IDENTITY_LEN, Schema};
use crate::id::{Epoch, FieldId, TableId};
use crate::store::Store;

/// Reads the rows of a data file that `deleted` does not have, in order.
///
/// # Errors
///
/// As [`read_batches`].
pub async fn read_live_batches(
    store: &Store,
    table: TableId,
    file: &DataFile,
    schema: &Schema,
    deleted: Option<Arc<DeletionVector>>,
) -> Result<BoxStream<'static, Result<RecordBatch>>> {
    let Some(deleted) = deleted.filter(|deleted| !deleted.is_empty()) else {
        return read_batches(store, table, file, schema).await;
    };
    // Rows that are deleted may have NULLs that the others must not.
    let batches = read_batches(store, table, file, &schema.relaxed()).await?;
    let arrow = schema.to_arrow();
    let mut first = 0;
    let live = batches.map(move |batch| {
        let batch = batch?;
        let kept = live_mask(&deleted, first, batch.num_rows());
        first += batch.num_rows() as u64;
        let live = filter_record_batch(&batch, &kept)
            .map_err(|e| Error::internal("rows cannot be filtered").with_source(e))?;
        RecordBatch::try_new(Arc::clone(&arrow), live.columns().to_vec())
            .map_err(|e| Error::corrupt("a data file does not fit its table").with_source(e))
    });
    Ok(live.boxed())
}

/// Reads all rows of a data file, deleted ones included, each with what identifies it.
///
/// # Errors
///
/// As [`read_batches`].
pub async fn read_rows(
    store: &Store,
    table: TableId,
    file: &DataFile,
    schema: &Schema,
) -> Result<BoxStream<'static, Result<(RecordBatch, Vec<RowId>)>>> {
    let wide = schema.relaxed().with_identity();
    let batches = read_batches(store, table, file, &wide).await?;
    let (file, own) = (DataFile::clone(file), schema.fields().len());
    let mut first = 0;
    let rows = batches.map(move |batch| {
        let batch = batch?;
        let identities = Identities::new(&file, Places::From(first), &batch)?;
        first += batch.num_rows() as u64;
        let ids = (0..batch.num_rows())
            .map(|row| identities.origin(row).map(|origin| origin.row))
            .collect::<Result<Vec<_>>>()?;
        let own = batch
            .project(&(0..own).collect::<Vec<_>>())
            .map_err(|e| Error::internal("columns do not make a batch").with_source(e))?;
        Ok((own, ids))
    });
    Ok(rows.boxed())
}

/// Reads where each row of a data file was first written; rows that are deleted included.
///
/// # Errors
///
/// As [`read_batches`].
pub(crate) async fn read_identities(
    store: &Store,
    table: TableId,
    file: &DataFile,
) -> Result<BoxStream<'static, Result<Identities>>> {
    let schema = Schema::identity_only();
    let batches = read_batches(store, table, file, &schema).await?;
    let file = DataFile::clone(file);
    let mut first = 0;
    let identities = batches.map(move |batch| {
        let batch = batch?;
        let found = Identities::new(&file, Places::From(first), &batch)?;
        first += batch.num_rows() as u64;
        Ok(found)
    });
    Ok(identities.boxed())
}

/// Which rows of a data file are meant.
#[derive(Debug, Clone)]
pub(crate) enum RowSet {
    /// All but these.
    Except(Arc<DeletionVector>),
    /// These.
    Only(Arc<DeletionVector>),
}

impl RowSet {
    /// Where the rows are in a file of `rows` rows.
    pub(crate) fn positions(&self, rows: u64) -> DeletionVector {
        match self {
            Self::Only(positions) => DeletionVector::clone(positions),
            Self::Except(deleted) => {
                let mut all = DeletionVector::new();
                all.insert_range(0..rows);
                all.difference(deleted)
            }
        }
    }
}

/// Reads some rows of a data file as batches of `schema`, every column allowing NULL, each with
/// what identifies its rows; in order.
///
/// # Errors
///
/// As [`read_batches`].
pub(crate) async fn read_identified(
    store: &Store,
    table: TableId,
    file: &DataFile,
    schema: &Schema,
    rows: &RowSet,
) -> Result<BoxStream<'static, Result<(RecordBatch, Identities)>>> {
    let wide = schema.relaxed().with_identity();
    let own = (0..schema.fields().len()).collect::<Vec<_>>();
    let entry = DataFile::clone(file);
    let identified = move |batch: &RecordBatch, places| {
        let identities = Identities::new(&entry, places, batch)?;
        let own = batch
            .project(&own)
            .map_err(|e| Error::internal("columns do not make a batch").with_source(e))?;
        Ok((own, identities))
    };
    match rows {
        RowSet::Only(positions) => {
            let batches = read_batches_at(store, table, file, &wide, positions).await?;
            let mut positions = DeletionVector::clone(positions).into_positions();
            let rows = batches.map(move |batch| {
                let batch = batch?;
                let places = positions.by_ref().take(batch.num_rows()).collect();
                identified(&batch, Places::At(places))
            });
            Ok(rows.boxed())
        }
        RowSet::Except(deleted) => {
            let batches = read_batches(store, table, file, &wide).await?;
            let deleted = Arc::clone(deleted);
            let mut first = 0;
            let rows = batches.map(move |batch| {
                let batch = batch?;
                let from = first;
                first += batch.num_rows() as u64;
                if deleted.is_empty() {
                    return identified(&batch, Places::From(from));
                }
                let kept = live_mask(&deleted, from, batch.num_rows());
                let places = kept.values().set_indices().map(|row| from + row as u64);
                let places = Places::At(places.collect());
                let live = filter_record_batch(&batch, &kept)
                    .map_err(|e| Error::internal("rows cannot be filtered").with_source(e))?;
                identified(&live, places)
            });
            Ok(rows.boxed())
        }
    }
}

/// What rows are written anew for.
pub(crate) struct RewriteTarget {
    pub(crate) table: TableId,
    pub(crate) epoch: Epoch,
    pub(crate) schema: Arc<Schema>,
    /// The columns of its keys.
    pub(crate) key_columns: BTreeSet<FieldId>,
}

/// Writes the rows of a data file that `deleted` does not have into new files, each with the
/// identity that it has.
///
/// # Errors
///
/// As [`read_batches`] and [`TableWriter`].
pub(crate) async fn rewrite_file(
    store: &Store,
    env: &Env,
    target: &RewriteTarget,
    file: &DataFile,
    deleted: &DeletionVector,
) -> Result<Vec<DataFile>> {
    let RewriteTarget {
        table,
        epoch,
        schema,
        key_columns,
    } = target;
    let table = *table;
    let options = WriteOptions {
        identity: RowIdentity::Carried,
        ..WriteOptions::default()
    };
    let writer = TableWriter::new(store, env, table, *epoch, schema, options)?;
    let mut writer = writer.with_bloom_filters(key_columns);
    let wide = schema.relaxed().with_identity();
    let mut batches = read_batches(store, table, file, &wide).await?;
    let mut first = 0;
    while let Some(batch) = batches.try_next().await? {
        let identities = Identities::new(file, Places::From(first), &batch)?;
        let kept = (0..batch.num_rows())
            .filter(|row| !deleted.contains(first + *row as u64))
            .collect::<Vec<_>>();
        first += batch.num_rows() as u64;
        if kept.is_empty() {
            continue;
        }
        writer.write(&moved(&batch, &identities, &kept)?).await?;
    }
    writer.finish().await
}

/// The rows `kept` of a batch, with what identifies them spelled out.
fn moved(batch: &RecordBatch, identities: &Identities, kept: &[usize]) -> Result<RecordBatch> {
    let internal =
        |e: arrow::error::ArrowError| Error::internal("rows cannot be moved").with_source(e);
    let indices = kept.iter().map(|row| *row as u64).collect::<UInt64Array>();
    let own = batch.num_columns().saturating_sub(IDENTITY_LEN);
    let mut columns = batch
        .columns()
        .iter()
        .take(own)
        .map(|column| take(column, &indices, None))
        .collect::<Result<Vec<_>, _>>()
        .map_err(internal)?;
    let origins = kept
        .iter()
        .map(|row| identities.origin(*row))
        .collect::<Result<Vec<_>>>()?;
    columns.extend(moved_columns(&origins)?);
    let schema: Arc<ArrowSchema> = batch.schema();
    RecordBatch::try_new(schema, columns).map_err(internal)
}

/// True for rows that are not deleted.
fn live_mask(deleted: &DeletionVector, first: u64, rows: usize) -> BooleanArray {
    let live = BooleanBuffer::collect_bool(rows, |row| !deleted.contains(first + row as u64));
    BooleanArray::new(live, None)
}
