//! Data files as Parquet readers want them.

use std::ops::Range;
use std::slice;
use std::sync::Arc;

use arrow::array::{ArrayRef, RecordBatch, new_null_array};
use arrow::datatypes::SchemaRef;
use bytes::Bytes;
use futures::future::BoxFuture;
use futures::stream::BoxStream;
use futures::{FutureExt as _, StreamExt as _};
use parquet::arrow::arrow_reader::{ArrowReaderMetadata, ArrowReaderOptions};
use parquet::arrow::async_reader::AsyncFileReader;
use parquet::arrow::{ParquetRecordBatchStreamBuilder, ProjectionMask};
use parquet::errors::ParquetError;
use parquet::file::metadata::ParquetMetaData;

use super::footer::{FooterCache, fetch_footer};
use crate::error::{Error, Result};
use crate::format::{DataFile, Schema};
use crate::id::TableId;
use crate::store::Store;

/// Rows per batch of [`read_batches`].
const BATCH_ROWS: usize = 8 * 1_024;

/// Reads one data file; its footer is verified before it is parsed.
///
/// Errors are [`ParquetError::External`] around an [`Error`].
#[derive(Debug, Clone)]
pub struct DataFileReader {
    store: Store,
    table: TableId,
    file: Arc<DataFile>,
    cache: Arc<FooterCache>,
}

impl DataFileReader {
    /// Makes a reader; nothing is read before it is asked for.
    pub fn new(store: Store, table: TableId, file: Arc<DataFile>, cache: Arc<FooterCache>) -> Self {
        Self {
            store,
            table,
            file,
            cache,
        }
    }

    async fn ranges(&self, ranges: &[Range<u64>]) -> Result<Vec<Bytes>, ParquetError> {
        self.store
            .read_data_file(self.table, &self.file.object, ranges)
            .await
            .map_err(external)
    }
}

impl AsyncFileReader for DataFileReader {
    fn get_bytes(&mut self, range: Range<u64>) -> BoxFuture<'_, Result<Bytes, ParquetError>> {
        async move {
            let mut parts = self.ranges(slice::from_ref(&range)).await?;
            parts
                .pop()
                .ok_or_else(|| external(Error::internal("a range was not returned")))
        }
        .boxed()
    }

    fn get_byte_ranges(
        &mut self,
        ranges: Vec<Range<u64>>,
    ) -> BoxFuture<'_, Result<Vec<Bytes>, ParquetError>> {
        async move { self.ranges(&ranges).await }.boxed()
    }

    /// The whole footer with its page index, whatever the options ask for: it is one request.
    fn get_metadata<'a>(
        &'a mut self,
        _options: Option<&'a ArrowReaderOptions>,
    ) -> BoxFuture<'a, Result<Arc<ParquetMetaData>, ParquetError>> {
        async move {
            self.cache
                .footer(&self.store, self.table, &self.file)
                .await
                .map_err(external)
        }
        .boxed()
    }
}

/// Reads all rows of a data file, in order, as batches of `schema`.
///
/// Columns are found by field id; one that the file does not have is NULL.
///
/// # Errors
///
/// `Corrupt` if the file is missing or not what its entry or its table's schema says,
/// `Unavailable`; the same for every batch.
pub async fn read_batches(
    store: &Store,
    table: TableId,
    file: &DataFile,
    schema: &Schema,
) -> Result<BoxStream<'static, Result<RecordBatch>>> {
    let footer = Arc::new(fetch_footer(store, table, file).await?);
    let metadata =
        ArrowReaderMetadata::try_new(footer, ArrowReaderOptions::new()).map_err(decode_error)?;
    let projection = Projection::new(metadata.schema(), schema)?;
    let mask = ProjectionMask::roots(metadata.parquet_schema(), projection.roots());
    // The footer is at hand, so the reader never asks for it and needs no room to keep it.
    let cache = Arc::new(FooterCache::new(0));
    let reader = DataFileReader::new(store.clone(), table, Arc::new(file.clone()), cache);
    let stream = ParquetRecordBatchStreamBuilder::new_with_metadata(reader, metadata)
        .with_projection(mask)
        .with_batch_size(BATCH_ROWS)
        .build()
        .map_err(decode_error)?;
    let digest = file.object.digest;
    Ok(stream
        .map(move |batch| {
            batch
                .map_err(decode_error)
                .and_then(|batch| projection.apply(&batch))
                .map_err(|e| e.with("data_file", digest))
        })
        .boxed())
}

/// Which columns of a file make up the columns of a table.
struct Projection {
    schema: SchemaRef,
    /// By column of the table: the column of the file.
    sources: Vec<Option<usize>>,
}

impl Projection {
    fn new(file: &SchemaRef, schema: &Schema) -> Result<Self> {
        let arrow = schema.to_arrow();
        let mut sources = Vec::with_capacity(schema.fields().len());
        for (field, target) in schema.fields().iter().zip(arrow.fields()) {
            // The target's metadata is its field id, and nothing else.
            let source = file
                .fields()
                .iter()
                .position(|f| f.metadata() == target.metadata());
            let same = source.is_none_or(|i| file.field(i).data_type() == target.data_type());
            if !same || (source.is_none() && !field.nullable) {
                return Err(
                    Error::corrupt("a data file does not have a column of its table")
                        .with("column", &field.name)
                        .with("id", field.id),
                );
            }
            sources.push(source);
        }
        Ok(Self {
            schema: arrow,
            sources,
        })
    }

    /// The columns of the file that are read, ascending.
    fn roots(&self) -> Vec<usize> {
        let mut roots: Vec<usize> = self.sources.iter().flatten().copied().collect();
        roots.sort_unstable();
        roots
    }

    fn apply(&self, batch: &RecordBatch) -> Result<RecordBatch> {
        let roots = self.roots();
        let columns = self
            .sources
            .iter()
            .zip(self.schema.fields())
            .map(|(source, field)| {
                let read = source.and_then(|source| roots.binary_search(&source).ok());
                read.and_then(|i| batch.columns().get(i)).map_or_else(
                    || new_null_array(field.data_type(), batch.num_rows()),
                    Arc::<dyn arrow::array::Array>::clone,
                )
            })
            .collect::<Vec<ArrayRef>>();
        RecordBatch::try_new(Arc::clone(&self.schema), columns)
            .map_err(|e| Error::corrupt("a data file does not fit its table").with_source(e))
    }
}

fn external(error: Error) -> ParquetError {
    ParquetError::External(Box::new(error))
}

/// Finds the crate's own error in what a Parquet reader returns.
fn decode_error(error: ParquetError) -> Error {
    let other: Box<dyn std::error::Error + Send + Sync> = match error {
        ParquetError::External(source) => match source.downcast::<Error>() {
            Ok(own) => return *own,
            Err(other) => other,
        },
        other => other.into(),
    };
    Error::corrupt("a data file cannot be decoded").with_source(other)
}
