//! The columns of a manifest, of which statistics are decoded when they are asked for.

use std::collections::BTreeMap;

use arrow::array::{ArrayRef, RecordBatch, RecordBatchReader as _};
use arrow::compute::concat_batches;
use arrow::datatypes::Schema as ArrowSchema;
use arrow::error::ArrowError;
use bytes::Bytes;
use parking_lot::Mutex;
use parquet::arrow::ProjectionMask;
use parquet::arrow::arrow_reader::{ArrowReaderMetadata, ParquetRecordBatchReaderBuilder};

use super::Manifest;
use super::columns::is_statistic;
use crate::error::{Error, Result};
use crate::id::Digest;

/// The bytes of a manifest, and what was decoded of its statistics.
#[derive(Debug)]
pub(super) struct LazyColumns {
    /// Names the manifest.
    digest: Digest,
    bytes: Bytes,
    metadata: ArrowReaderMetadata,
    /// Where the statistics are, by name.
    statistics: BTreeMap<String, usize>,
    decoded: Mutex<BTreeMap<String, ArrayRef>>,
}

impl LazyColumns {
    pub(super) fn new(digest: Digest, bytes: Bytes, metadata: ArrowReaderMetadata) -> Self {
        let fields = metadata.schema().fields().iter().enumerate();
        let statistics = fields.filter(|(_, field)| is_statistic(field.name()));
        let statistics = statistics.map(|(at, field)| (field.name().clone(), at));
        Self {
            digest,
            bytes,
            statistics: statistics.collect(),
            metadata,
            decoded: Mutex::default(),
        }
    }

    /// All columns, decoded or not.
    pub(super) fn schema(&self) -> &ArrowSchema {
        self.metadata.schema()
    }

    /// The columns that are no statistics.
    pub(super) fn others(&self) -> Result<RecordBatch> {
        let fields = self.schema().fields().iter().enumerate();
        let others = fields.filter(|(_, field)| !self.statistics.contains_key(field.name()));
        self.decode(others.map(|(at, _)| at))
    }

    /// The column of statistics of this name, if there is one.
    ///
    /// # Errors
    ///
    /// `Corrupt` if it cannot be decoded.
    pub(super) fn get(&self, name: &str) -> Result<Option<ArrayRef>> {
        if let Some(column) = self.decoded.lock().get(name) {
            return Ok(Some(ArrayRef::clone(column)));
        }
        let Some(at) = self.statistics.get(name) else {
            return Ok(None);
        };
        self.keep([*at])?;
        Ok(self.decoded.lock().get(name).cloned())
    }

    /// Decodes the columns of statistics that are `wanted`, together: each time costs as much as a few
    /// columns do.
    ///
    /// # Errors
    ///
    /// `Corrupt` if one cannot be decoded.
    pub(super) fn load(&self, wanted: impl Fn(&str) -> bool) -> Result<()> {
        let missing = {
            let decoded = self.decoded.lock();
            let missing = self.statistics.iter();
            let missing = missing.filter(|(name, _)| wanted(name) && !decoded.contains_key(*name));
            missing.map(|(_, at)| *at).collect::<Vec<_>>()
        };
        self.keep(missing)
    }

    fn keep(&self, columns: impl IntoIterator<Item = usize>) -> Result<()> {
        let mut columns = columns.into_iter().peekable();
        if columns.peek().is_none() {
            return Ok(());
        }
        // Two that ask at once both decode: that is cheaper than to wait.
        let batch = self.decode(columns)?;
        let columns = batch.schema_ref().fields().iter().zip(batch.columns());
        let columns =
            columns.map(|(field, column)| (field.name().clone(), ArrayRef::clone(column)));
        self.decoded.lock().extend(columns);
        Ok(())
    }

    /// The names of what was decoded.
    #[cfg(test)]
    pub(super) fn decoded(&self) -> Vec<String> {
        self.decoded.lock().keys().cloned().collect()
    }

    /// The bytes, and about what all statistics take when they are decoded.
    pub(super) fn memory_bytes(&self) -> u64 {
        let groups = self.metadata.metadata().row_groups().iter();
        let chunks = groups.flat_map(|group| group.columns());
        let decoded = chunks.map(|chunk| u64::try_from(chunk.uncompressed_size()).unwrap_or(0));
        self.bytes.len() as u64 + decoded.sum::<u64>()
    }

    fn decode(&self, columns: impl Iterator<Item = usize>) -> Result<RecordBatch> {
        let corrupt = |e: ArrowError| {
            Error::corrupt("a manifest cannot be read")
                .with("manifest", self.digest)
                .with_source(e)
        };
        let file = self.metadata.metadata().file_metadata();
        let mask = ProjectionMask::roots(file.schema_descr(), columns);
        let metadata = self.metadata.clone();
        let reader =
            ParquetRecordBatchReaderBuilder::new_with_metadata(self.bytes.clone(), metadata)
                .with_projection(mask)
                .with_batch_size(Manifest::ENTRIES_MAX)
                .build();
        let reader = reader.map_err(|e| corrupt(e.into()))?;
        let schema = reader.schema();
        let batches = reader.collect::<std::result::Result<Vec<_>, _>>();
        concat_batches(&schema, &batches.map_err(corrupt)?).map_err(corrupt)
    }
}
