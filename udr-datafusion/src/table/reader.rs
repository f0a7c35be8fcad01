//! Opens data files through the repository's store, which checks what it reads.

use std::fmt;
use std::ops::Range;
use std::sync::Arc;

use bytes::Bytes;
use datafusion::datasource::listing::PartitionedFile;
use datafusion::datasource::physical_plan::{ParquetFileMetrics, ParquetFileReaderFactory};
use datafusion::error::Result as DataFusionResult;
use datafusion::physical_plan::metrics::ExecutionPlanMetricsSet;
use futures::future::BoxFuture;
use parquet::arrow::arrow_reader::ArrowReaderOptions;
use parquet::arrow::async_reader::AsyncFileReader;
use parquet::errors::Result as ParquetResult;
use parquet::file::metadata::ParquetMetaData;
use parquet::file::page_index::column_index::ColumnIndexMetaData;
use udr_core::Error;
use udr_core::data::DataFileReader;
use udr_core::format::{DataFile, Type};
use udr_core::id::{FieldId, TableId};
use udr_core::snapshot::TableSnapshot;
use udr_core::store::{Store, Verify};

use crate::error::to_datafusion;
use crate::session::UdrSession;

/// Makes the readers of one table's data files.
pub(super) struct DataFileReaderFactory {
    store: Store,
    table: TableId,
    floats: Vec<FieldId>,
    verify: Verify,
}

impl DataFileReaderFactory {
    pub(super) fn new(table: &TableSnapshot, session: &UdrSession) -> Self {
        let fields = table.schema().fields().iter();
        let floats = fields
            .filter(|field| matches!(field.ty, Type::Float16 | Type::Float32 | Type::Float64))
            .map(|field| field.id)
            .collect();
        Self {
            store: session.repository().store().clone(),
            table: table.id(),
            floats,
            verify: session.verify(),
        }
    }

    /// The float columns of a file that may hold NaN.
    ///
    /// Parquet leaves NaN out of a column's minimum and maximum, but NaN is the greatest value to
    /// the engine: believing them would lose rows. The manifest has bounds only where there is
    /// no NaN.
    fn doubtful(&self, file: &DataFile) -> Vec<FieldId> {
        let bounded = |id: &FieldId| {
            file.columns
                .get(id)
                .is_some_and(|stats| stats.upper.is_some() || stats.null_count == Some(file.rows))
        };
        let floats = self.floats.iter().filter(|id| !bounded(id));
        floats.copied().collect()
    }
}

impl fmt::Debug for DataFileReaderFactory {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("DataFileReaderFactory")
            .field("table", &self.table)
            .finish_non_exhaustive()
    }
}

impl ParquetFileReaderFactory for DataFileReaderFactory {
    fn create_reader(
        &self,
        partition_index: usize,
        file: PartitionedFile,
        _metadata_size_hint: Option<usize>,
        metrics: &ExecutionPlanMetricsSet,
    ) -> DataFusionResult<Box<dyn AsyncFileReader + Send>> {
        // A plan that went through a serialisation has lost it, and cannot be read here.
        let entry = file.extension::<Arc<DataFile>>().ok_or_else(|| {
            to_datafusion(
                Error::unsupported("a scan cannot be sent to another process")
                    .with("file", file.path()),
            )
        })?;
        let inner = DataFileReader::new(self.store.clone(), self.table, Arc::clone(entry))
            .with_verify(self.verify);
        let metrics = ParquetFileMetrics::new(partition_index, file.path().as_ref(), metrics);
        Ok(Box::new(EngineReader {
            inner,
            metrics,
            doubtful: self.doubtful(entry),
            verify: self.verify,
        }))
    }
}

/// Counts what is read, and leaves out statistics that the engine would misunderstand.
struct EngineReader {
    inner: DataFileReader,
    metrics: ParquetFileMetrics,
    /// Columns whose statistics are left out.
    doubtful: Vec<FieldId>,
    verify: Verify,
}

impl EngineReader {
    fn count(&self, ranges: &[Range<u64>]) {
        let bytes = ranges
            .iter()
            .map(|range| range.end.saturating_sub(range.start))
            .sum::<u64>();
        self.metrics
            .bytes_scanned
            .add(usize::try_from(bytes).unwrap_or(usize::MAX));
    }
}

impl AsyncFileReader for EngineReader {
    fn get_bytes(&mut self, range: Range<u64>) -> BoxFuture<'_, ParquetResult<Bytes>> {
        self.count(std::slice::from_ref(&range));
        self.inner.get_bytes(range)
    }

    fn get_byte_ranges(
        &mut self,
        ranges: Vec<Range<u64>>,
    ) -> BoxFuture<'_, ParquetResult<Vec<Bytes>>> {
        self.count(&ranges);
        self.inner.get_byte_ranges(ranges)
    }

    fn get_metadata<'a>(
        &'a mut self,
        options: Option<&'a ArrowReaderOptions>,
    ) -> BoxFuture<'a, ParquetResult<Arc<ParquetMetaData>>> {
        Box::pin(async move {
            let mut metadata = self.inner.get_metadata(options).await?;
            if self.verify == Verify::Full {
                metadata = Arc::new(without_bloom_filters(&metadata)?);
            }
            if self.doubtful.is_empty() {
                return Ok(metadata);
            }
            without_statistics(&metadata, &self.doubtful).map(Arc::new)
        })
    }
}

/// The same metadata without bloom filters: they have no digests that they could be verified by.
fn without_bloom_filters(metadata: &ParquetMetaData) -> ParquetResult<ParquetMetaData> {
    let groups = metadata.row_groups().iter().map(|group| {
        let chunks = group.columns().iter().map(|chunk| {
            let chunk = chunk.clone().into_builder();
            let chunk = chunk.set_bloom_filter_offset(None);
            chunk.set_bloom_filter_length(None).build()
        });
        let chunks = chunks.collect::<ParquetResult<Vec<_>>>()?;
        let group = group.clone().into_builder();
        group.set_column_metadata(chunks).build()
    });
    let groups = groups.collect::<ParquetResult<Vec<_>>>()?;
    let builder = metadata.clone().into_builder().set_row_groups(groups);
    Ok(builder.build())
}

/// The same metadata, knowing nothing of the values of these columns.
fn without_statistics(
    metadata: &ParquetMetaData,
    columns: &[FieldId],
) -> ParquetResult<ParquetMetaData> {
    let schema = metadata.file_metadata().schema_descr();
    let doubtful = |column: usize| {
        let info = schema.get_column_root(column).get_basic_info();
        info.has_id() && columns.contains(&FieldId(info.id()))
    };
    let mut groups = Vec::with_capacity(metadata.num_row_groups());
    let mut index = metadata.column_index().cloned();
    for (at, group) in metadata.row_groups().iter().enumerate() {
        let mut chunks = Vec::with_capacity(group.num_columns());
        for (column, chunk) in group.columns().iter().enumerate() {
            if !doubtful(column) {
                chunks.push(chunk.clone());
                continue;
            }
            let chunk = chunk.clone().into_builder().clear_statistics();
            let chunk = chunk
                .set_column_index_offset(None)
                .set_column_index_length(None);
            chunks.push(chunk.build()?);
            let pages = index
                .as_mut()
                .and_then(|index| index.get_mut(at)?.get_mut(column));
            if let Some(pages) = pages {
                *pages = ColumnIndexMetaData::NONE;
            }
        }
        groups.push(
            group
                .clone()
                .into_builder()
                .set_column_metadata(chunks)
                .build()?,
        );
    }
    let builder = metadata.clone().into_builder().set_row_groups(groups);
    Ok(builder.set_column_index(index).build())
}
