//! Data files as Parquet readers want them.

use std::ops::Range;
use std::slice;
use std::sync::Arc;

use arrow::array::{RecordBatch, RecordBatchOptions};
use arrow::datatypes::{FieldRef, SchemaRef};
use bytes::Bytes;
use futures::future::BoxFuture;
use futures::stream::BoxStream;
use futures::{FutureExt as _, StreamExt as _};
use parquet::arrow::arrow_reader::{ArrowReaderMetadata, ArrowReaderOptions, RowSelection};
use parquet::arrow::async_reader::AsyncFileReader;
use parquet::arrow::{ParquetRecordBatchStreamBuilder, ProjectionMask};
use parquet::errors::ParquetError;
use parquet::file::metadata::ParquetMetaData;

use super::chunks::{Chunks, cut};
use super::deletion_vector::DeletionVector;
use super::evolve::{self, evolve};
use super::footer::{fetch_footer, footer};
use crate::error::{Error, Result};
use crate::format::{Adopted, DataFile, Field, Schema};
use crate::id::TableId;
use crate::store::{Place, Store, Verify};

/// Rows per batch of [`read_batches`].
const BATCH_ROWS: usize = 8 * 1_024;

/// Reads one data file; its footer is verified before it is parsed, and column chunks before they
/// are decoded if the store's options or [`DataFileReader::with_verify`] ask for it.
///
/// Errors are [`ParquetError::External`] around an [`Error`].
#[derive(Debug, Clone)]
pub struct DataFileReader {
    store: Store,
    table: TableId,
    file: Arc<DataFile>,
    verify: Verify,
    /// Where its chunks are, once somebody needed that.
    chunks: Option<Arc<Chunks>>,
}

impl DataFileReader {
    /// Makes a reader; nothing is read before it is asked for.
    pub fn new(store: Store, table: TableId, file: Arc<DataFile>) -> Self {
        let verify = store.verify();
        Self {
            store,
            table,
            file,
            verify,
            chunks: None,
        }
    }

    /// Verifies as much as `verify` says, whatever the store's options say.
    #[must_use]
    pub fn with_verify(mut self, verify: Verify) -> Self {
        self.verify = verify;
        self
    }

    async fn ranges(&mut self, ranges: &[Range<u64>]) -> Result<Vec<Bytes>, ParquetError> {
        let read = match self.verify {
            // What others wrote has no digests of its chunks.
            _ if self.file.adopted.is_some() => self.read(ranges).await,
            Verify::Metadata => self.read(ranges).await,
            Verify::Full => self.verified(ranges).await,
        };
        read.map_err(external)
    }

    async fn read(&self, ranges: &[Range<u64>]) -> Result<Vec<Bytes>> {
        self.store
            .read_data_file(Place::of(self.table, &self.file), &self.file.object, ranges)
            .await
    }

    /// Reads the chunks around `ranges` whole, since only then they can be verified.
    async fn verified(&mut self, ranges: &[Range<u64>]) -> Result<Vec<Bytes>> {
        let digest = self.file.object.digest;
        let chunks = self.chunks().await?;
        let whole = chunks.around(ranges);
        let whole = whole.map_err(|e| e.with("data_file", digest))?;
        let bytes = self.read(&whole).await?;
        let read = whole.into_iter().zip(bytes).collect::<Vec<_>>();
        chunks
            .check(&read)
            .map_err(|e| e.with("data_file", digest))?;
        ranges.iter().map(|range| cut(&read, range)).collect()
    }

    async fn chunks(&mut self) -> Result<Arc<Chunks>> {
        if let Some(chunks) = &self.chunks {
            return Ok(Arc::clone(chunks));
        }
        let footer = footer(&self.store, self.table, &self.file);
        let chunks = Chunks::of(footer.await?.as_ref());
        let chunks = chunks.map_err(|e| e.with("data_file", self.file.object.digest))?;
        Ok(Arc::clone(self.chunks.insert(Arc::new(chunks))))
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
            footer(&self.store, self.table, &self.file)
                .await
                .map_err(external)
        }
        .boxed()
    }
}

/// Reads all rows of a data file, in order, as batches of `schema`.
///
/// Columns are found by field id; one that the file does not have has its initial value.
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
    read_verified_batches(store, table, file, schema, store.verify()).await
}

/// As [`read_batches`], verifying as much as `verify` says.
pub(super) async fn read_verified_batches(
    store: &Store,
    table: TableId,
    file: &DataFile,
    schema: &Schema,
    verify: Verify,
) -> Result<BoxStream<'static, Result<RecordBatch>>> {
    read_selected_batches(store, table, file, schema, verify, None).await
}

/// As [`read_batches`], only the rows at `positions`: pages with none of them are not read.
pub(super) async fn read_batches_at(
    store: &Store,
    table: TableId,
    file: &DataFile,
    schema: &Schema,
    positions: &DeletionVector,
) -> Result<BoxStream<'static, Result<RecordBatch>>> {
    let selection = positions.selection(file.rows)?;
    read_selected_batches(store, table, file, schema, store.verify(), Some(selection)).await
}

async fn read_selected_batches(
    store: &Store,
    table: TableId,
    file: &DataFile,
    schema: &Schema,
    verify: Verify,
    selection: Option<RowSelection>,
) -> Result<BoxStream<'static, Result<RecordBatch>>> {
    let footer = Arc::new(fetch_footer(store, table, file).await?);
    let chunks = match verify {
        _ if file.adopted.is_some() => None,
        Verify::Metadata => None,
        Verify::Full => Some(Arc::new(
            Chunks::of(&footer).map_err(|e| e.with("data_file", file.object.digest))?,
        )),
    };
    let metadata =
        ArrowReaderMetadata::try_new(footer, ArrowReaderOptions::new()).map_err(decode_error)?;
    let projection = Projection::new(metadata.schema(), schema, file.adopted.as_deref())?;
    let mask = ProjectionMask::roots(metadata.parquet_schema(), projection.roots());
    // The footer is at hand, so the reader never asks for it.
    let reader = DataFileReader::new(store.clone(), table, Arc::new(file.clone()));
    let reader = DataFileReader {
        verify,
        chunks,
        ..reader
    };
    let mut stream = ParquetRecordBatchStreamBuilder::new_with_metadata(reader, metadata)
        .with_projection(mask)
        .with_batch_size(BATCH_ROWS);
    if let Some(selection) = selection {
        stream = stream.with_row_selection(selection);
    }
    let stream = stream.build().map_err(decode_error)?;
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
    /// By column of the table: the column, and where it is in the file.
    columns: Vec<(Field, Option<Source>)>,
}

struct Source {
    at: usize,
    field: FieldRef,
}

impl Projection {
    fn new(file: &SchemaRef, schema: &Schema, adopted: Option<&Adopted>) -> Result<Self> {
        let columns = schema.fields().iter().map(|field| {
            let mut places = file.fields().iter().enumerate();
            let found = places.find(|(_, f)| evolve::field_id(f.as_ref()) == Some(field.id));
            let source = found.map(|(at, found)| Source {
                at,
                field: Arc::clone(found),
            });
            let value = adopted.and_then(|adopted| adopted.values.get(&field.id));
            match &source {
                Some(source) => evolve::check(&source.field, field)?,
                None if value.is_some() => {}
                None if field.nullable || field.initial.is_some() => {}
                None => {
                    return Err(
                        Error::corrupt("a data file does not have a column of its table")
                            .with("column", &field.name)
                            .with("id", field.id),
                    );
                }
            }
            let field = match value {
                Some(value) => value.column(field)?,
                None => field.clone(),
            };
            Ok((field, source))
        });
        Ok(Self {
            schema: schema.to_arrow(),
            columns: columns.collect::<Result<_>>()?,
        })
    }

    /// The columns of the file that are read, ascending.
    fn roots(&self) -> Vec<usize> {
        let sources = self
            .columns
            .iter()
            .filter_map(|(_, source)| source.as_ref());
        let mut roots = sources.map(|source| source.at).collect::<Vec<_>>();
        roots.sort_unstable();
        roots
    }

    fn apply(&self, batch: &RecordBatch) -> Result<RecordBatch> {
        let roots = self.roots();
        let columns = self.columns.iter().map(|(field, source)| {
            let Some(source) = source else {
                return evolve::initial(field, batch.num_rows());
            };
            let read = roots.binary_search(&source.at).ok();
            let read = read.and_then(|i| batch.columns().get(i)).ok_or_else(|| {
                Error::internal("a column was not read").with("column", &field.name)
            })?;
            evolve(read, &source.field, field)
        });
        let columns = columns.collect::<Result<Vec<_>>>()?;
        let options = RecordBatchOptions::new().with_row_count(Some(batch.num_rows()));
        RecordBatch::try_new_with_options(Arc::clone(&self.schema), columns, &options)
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
