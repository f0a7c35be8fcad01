//! Encodes batches as Parquet and hands each full file to the store.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::io::{self, Write};
use std::sync::Arc;

use arrow::array::RecordBatch;
use arrow::datatypes::SchemaRef;
use parquet::arrow::arrow_writer::{ArrowWriter, ArrowWriterOptions};
use parquet::basic::{Compression, Encoding, Type as PhysicalType, ZstdLevel};
use parquet::errors::ParquetError;
use parquet::file::metadata::ParquetMetaData;
use parquet::file::properties::{EnabledStatistics, WriterProperties, WriterVersion};
use parquet::schema::types::{ColumnPath, SchemaDescriptor};
use tokio::task::JoinSet;

use super::batch::conform;
use super::chunks::ChunkHashes;
use super::partition::{Part, PartitionKey, PartitionValues, Partitioner};
use super::row_identity::RowIdentity;
use super::seen::SeenRows;
use super::stats::file_stats;
use crate::env::Env;
use crate::error::{Error, Result};
use crate::format::{ColumnStats, DataFile, ObjectRef, Schema, SortField};
use crate::id::{Digest, Epoch, FieldId, FileId, TableId};
use crate::store::{StagedFile, Store};

/// How many finished files may be on their way into the store while the next one is encoded.
const STORING_MAX: usize = 2;
/// Rows that are encoded before the size of the file is looked at again.
const SLICE_ROWS: usize = 64 * 1_024;
/// Parquet numbers row groups with 16 bits; a file is closed well before that.
const ROW_GROUPS_MAX: usize = 16 * 1_024;
/// Longer strings and binaries are truncated in Parquet's own statistics.
const STATISTICS_BYTES_MAX: usize = 64;
/// A page is stored compressed if that leaves at most this share of it: what is saved beyond that
/// takes longer to decompress than to fetch.
const COMPRESSION_WORTH: f64 = 0.9;
/// The largest dictionary of numbers: a few thousand stay in a processor's cache.
const NUMBERS_BYTES_MAX: usize = 128 << 10;
/// How many partitions have a file open at once, and how much may be buffered of more than one:
/// beyond that the fullest is closed. Rows in the order of their partitions need one.
const OPEN_MAX: usize = 64;
const OPEN_BYTES_MAX: usize = 256 << 20;
/// How often a bloom filter may say of a value that is not there that it could be.
const BLOOM_FALSE_POSITIVES: f64 = 0.01;

/// How data files are laid out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct WriteOptions {
    /// Bytes of Parquet after which the next file is begun.
    pub target_bytes: u64,
    /// The most rows in a row group.
    pub row_group_rows: usize,
    /// The zstd level, 1 to 22.
    pub compression_level: i32,
    /// Whether the rows come with their identity.
    pub identity: RowIdentity,
}

impl Default for WriteOptions {
    fn default() -> Self {
        Self {
            target_bytes: 128 * 1_024 * 1_024,
            row_group_rows: 1_024 * 1_024,
            compression_level: 3,
            identity: RowIdentity::Own,
        }
    }
}

/// Writes one stream of batches into one or more data files.
///
/// The same batches give the same bytes, so the same digests. Every file has rows of one partition.
/// Within a partition rows keep their order, within a file and over the files that
/// [`TableWriter::finish`] returns. Encoding runs in the caller's task; a
/// finished file is made durable in a task of its own while the next one is encoded.
///
/// Dropping it abandons what is not durable yet. Files that are stay behind, unreferenced, until
/// garbage collection.
#[must_use = "nothing is written until `finish`"]
pub struct TableWriter {
    store: Store,
    env: Env,
    table: TableId,
    epoch: Epoch,
    layout: Layout,
    /// The files that rows are still added to, one for each partition.
    open: BTreeMap<PartitionKey, OpenFile>,
    /// Files by their place in the order of rows.
    files: BTreeMap<usize, DataFile>,
    storing: JoinSet<Result<(usize, DataFile)>>,
    begun: usize,
    /// Set while a call is under way and left set by one that fails or is dropped: rows may be
    /// missing then, so nothing more is accepted.
    broken: bool,
}

/// What all files of one writer share.
struct Layout {
    schema: Schema,
    identity: RowIdentity,
    arrow: SchemaRef,
    parquet: SchemaDescriptor,
    properties: WriterProperties,
    target_bytes: u64,
    slice_rows: usize,
    /// None if rows are not put apart.
    partitioner: Option<Partitioner>,
}

impl TableWriter {
    /// Makes a writer of rows of `schema`; nothing is created before the first row.
    ///
    /// # Errors
    ///
    /// `Invalid` for options out of range, `Unsupported` for a schema that Parquet cannot hold.
    pub fn new(
        store: &Store,
        env: &Env,
        table: TableId,
        epoch: Epoch,
        schema: &Schema,
        options: WriteOptions,
    ) -> Result<Self> {
        Ok(Self {
            store: store.clone(),
            env: env.clone(),
            table,
            epoch,
            layout: Layout::new(schema, &options)?,
            open: BTreeMap::new(),
            files: BTreeMap::new(),
            storing: JoinSet::new(),
            begun: 0,
            broken: false,
        })
    }

    /// Gives these columns bloom filters, so that a reader who looks for single values can leave
    /// out row groups that do not have them; for the columns of keys.
    pub fn with_bloom_filters(mut self, columns: &BTreeSet<FieldId>) -> Self {
        self.layout.bloom_filters(columns);
        self
    }

    /// Adds rows; columns are taken by position, those of the identity last.
    ///
    /// # Errors
    ///
    /// `Invalid` if the number of columns differs, a column is of another type, or there is a NULL
    /// (or a decimal too large) where the schema allows none; the column is named. `Unavailable`
    /// if a file cannot be stored. After any error the writer accepts nothing more.
    ///
    /// # Cancel safety
    ///
    /// Not cancel safe: a dropped call leaves a writer that accepts nothing more.
    pub async fn write(&mut self, batch: &RecordBatch) -> Result<()> {
        self.begin_call()?;
        let batch = conform(batch, &self.layout.arrow)?;
        if batch.num_rows() > 0 {
            let parts = match &self.layout.partitioner {
                Some(partitioner) => partitioner.split(&batch)?,
                None => vec![Part {
                    key: PartitionKey::default(),
                    values: PartitionValues::default(),
                    rows: batch,
                }],
            };
            for part in parts {
                self.write_part(part).await?;
            }
        }
        while let Some(stored) = self.storing.try_join_next() {
            self.settle(stored)?;
        }
        self.broken = false;
        Ok(())
    }

    /// Bytes of memory that hold rows which are not in a file yet.
    pub fn memory_bytes(&self) -> usize {
        self.open.values().map(OpenFile::memory_bytes).sum()
    }

    /// Ends the last file and waits until all are stored; none if there were no rows.
    ///
    /// They are durable once a commit through the same [`Store`] refers to them. Whoever hands them
    /// to another process, which commits them, calls [`Store::flush`] first.
    ///
    /// # Errors
    ///
    /// `Unavailable` if a file cannot be stored, `Internal` after a call that failed.
    ///
    /// # Cancel safety
    ///
    /// Dropped, it leaves at most unreferenced files.
    pub async fn finish(mut self) -> Result<Vec<DataFile>> {
        self.begin_call()?;
        while let Some((_, file)) = self.open.pop_first() {
            let (place, last) = file.finish(&self.layout)?;
            let id = self.env.file_id();
            if self.open.is_empty() {
                let stored = Box::pin(last.store(&self.store, id));
                let file = stored.await?;
                self.files.insert(place, file);
            } else {
                self.store_aside(place, last, id).await?;
            }
        }
        while let Some(stored) = self.storing.join_next().await {
            self.settle(stored)?;
        }
        Ok(self.files.into_values().collect())
    }

    fn begin_call(&mut self) -> Result<()> {
        if self.broken {
            return Err(Error::internal(
                "a writer was used after a call that failed",
            ));
        }
        self.broken = true;
        Ok(())
    }

    /// Adds rows of one partition.
    async fn write_part(&mut self, part: Part) -> Result<()> {
        if !self.open.contains_key(&part.key) && self.open.len() >= OPEN_MAX {
            self.close_largest().await?;
        }
        let mut start = 0;
        while start < part.rows.num_rows() {
            let rows = self.layout.slice_rows.min(part.rows.num_rows() - start);
            let file = match self.open.get_mut(&part.key) {
                Some(file) => file,
                None => {
                    let staged = self.store.stage_data_file(self.table, self.epoch)?;
                    let values = part.values.clone();
                    let file = OpenFile::new(staged, &self.layout, self.begun, values)?;
                    self.begun += 1;
                    self.open.entry(part.key.clone()).or_insert(file)
                }
            };
            file.write(&part.rows.slice(start, rows))?;
            start += rows;
            if file.is_full(&self.layout) {
                self.close_file(&part.key).await?;
            }
        }
        while self.open.len() > 1 && self.memory_bytes() > OPEN_BYTES_MAX {
            self.close_largest().await?;
        }
        Ok(())
    }

    /// Closes the file that most is buffered of.
    async fn close_largest(&mut self) -> Result<()> {
        let sizes = self
            .open
            .iter()
            .map(|(key, file)| (file.memory_bytes(), key));
        match sizes.max().map(|(_, key)| key.clone()) {
            Some(key) => self.close_file(&key).await,
            None => Ok(()),
        }
    }

    async fn close_file(&mut self, key: &PartitionKey) -> Result<()> {
        let Some(file) = self.open.remove(key) else {
            return Ok(());
        };
        let (place, file) = file.finish(&self.layout)?;
        self.store_aside(place, file, self.env.file_id()).await
    }

    /// Makes a file durable while others are written.
    async fn store_aside(&mut self, place: usize, file: FinishedFile, id: FileId) -> Result<()> {
        while self.storing.len() >= STORING_MAX {
            let Some(stored) = self.storing.join_next().await else {
                break;
            };
            self.settle(stored)?;
        }
        let store = self.store.clone();
        self.storing
            .spawn(async move { Ok((place, file.store(&store, id).await?)) });
        Ok(())
    }

    fn settle(
        &mut self,
        stored: Result<Result<(usize, DataFile)>, tokio::task::JoinError>,
    ) -> Result<()> {
        let (place, file) = stored
            .map_err(|e| Error::internal("storing a data file was interrupted").with_source(e))??;
        self.files.insert(place, file);
        Ok(())
    }
}

impl fmt::Debug for TableWriter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TableWriter")
            .field("table", &self.table)
            .field("epoch", &self.epoch)
            .field("files", &self.begun)
            .field("memory_bytes", &self.memory_bytes())
            .finish_non_exhaustive()
    }
}

fn check_length(object: &ObjectRef, bytes: u64) -> Result<()> {
    if object.bytes == bytes {
        return Ok(());
    }
    Err(
        Error::internal("a data file was stored with another length than was written")
            .with("written", bytes)
            .with("stored", object.bytes),
    )
}

impl Layout {
    fn new(schema: &Schema, options: &WriteOptions) -> Result<Self> {
        if options.target_bytes == 0 || options.row_group_rows == 0 {
            return Err(Error::invalid(
                "the sizes of files and row groups must not be 0",
            ));
        }
        let level = ZstdLevel::try_new(options.compression_level).map_err(|e| {
            Error::invalid("no such compression level")
                .with("level", options.compression_level)
                .with_source(e)
        })?;
        let mut parquet = schema.to_parquet()?;
        let mut arrow = schema.to_file_arrow();
        if options.identity == RowIdentity::Carried {
            let carried = schema.with_identity();
            parquet = carried.to_parquet()?;
            arrow = carried.to_file_arrow();
        }
        // Nothing that varies from run to run goes in: the bytes depend on the rows alone.
        //
        // Pages of version 2 can be left as they are where compression saves little. Numbers that are
        // too many for a small dictionary are packed as differences, which are smaller and faster to
        // read than compressed ones.
        let mut properties = WriterProperties::builder()
            .set_created_by("udr".to_owned())
            .set_writer_version(WriterVersion::PARQUET_2_0)
            .set_compression(Compression::ZSTD(level))
            .set_data_page_v2_compression_ratio_threshold(COMPRESSION_WORTH)
            .set_max_row_group_row_count(Some(options.row_group_rows))
            .set_dictionary_enabled(true)
            .set_statistics_enabled(EnabledStatistics::Page)
            .set_statistics_truncate_length(Some(STATISTICS_BYTES_MAX))
            .set_column_index_truncate_length(Some(STATISTICS_BYTES_MAX))
            .set_bloom_filter_enabled(false);
        for leaf in parquet.columns() {
            let path = leaf.path().clone();
            properties = match leaf.physical_type() {
                PhysicalType::INT32 | PhysicalType::INT64 => properties
                    .set_column_dictionary_page_size_limit(path.clone(), NUMBERS_BYTES_MAX)
                    .set_column_encoding(path, Encoding::DELTA_BINARY_PACKED),
                PhysicalType::BYTE_ARRAY => {
                    properties.set_column_encoding(path, Encoding::DELTA_LENGTH_BYTE_ARRAY)
                }
                _ => properties.set_column_encoding(path, Encoding::PLAIN),
            };
        }
        let properties = properties.build();
        let mut layout = Self {
            schema: schema.clone(),
            identity: options.identity,
            arrow,
            parquet,
            properties,
            target_bytes: options.target_bytes,
            slice_rows: SLICE_ROWS.min(options.row_group_rows.saturating_mul(1_024)),
            partitioner: Partitioner::new(schema)?,
        };
        layout.bloom_filters(&schema.bloom_filters().iter().copied().collect());
        Ok(layout)
    }
}

impl Layout {
    /// The filters follow their row group, so that they are not part of the footer; they are
    /// folded to the size that the values need.
    fn bloom_filters(&mut self, columns: &BTreeSet<FieldId>) {
        let mut builder = self.properties.clone().into_builder();
        for field in self.schema.fields() {
            if columns.contains(&field.id) {
                let path = ColumnPath::from(field.name.as_str());
                builder = builder
                    .set_column_bloom_filter_enabled(path.clone(), true)
                    .set_column_bloom_filter_fpp(path, BLOOM_FALSE_POSITIVES);
            }
        }
        self.properties = builder.build();
    }
}

/// A file that rows are still added to.
struct OpenFile {
    writer: ArrowWriter<Sink>,
    chunks: ChunkHashes,
    seen: SeenRows,
    rows: u64,
    /// Its place in the order in which files were begun.
    place: usize,
    values: PartitionValues,
}

/// A file that only has to be made durable.
struct FinishedFile {
    staged: StagedFile,
    carries_identity: bool,
    bytes: u64,
    footer_bytes: u32,
    footer_digest: Digest,
    rows: u64,
    columns: BTreeMap<FieldId, ColumnStats>,
    sorted_by: Vec<SortField>,
}

impl FinishedFile {
    async fn store(self, store: &Store, id: FileId) -> Result<DataFile> {
        let object = store.put_data_file(self.staged).await?;
        check_length(&object, self.bytes)?;
        Ok(DataFile {
            id,
            object,
            footer_bytes: self.footer_bytes,
            footer_digest: self.footer_digest,
            rows: self.rows,
            columns: self.columns,
            added_at: 0,
            deletes: None,
            carries_identity: self.carries_identity,
            sorted_by: self.sorted_by,
            adopted: None,
        })
    }
}

impl OpenFile {
    fn new(
        staged: StagedFile,
        layout: &Layout,
        place: usize,
        values: PartitionValues,
    ) -> Result<Self> {
        let chunks = ChunkHashes::default();
        let options = ArrowWriterOptions::new()
            .with_properties(layout.properties.clone())
            .with_parquet_schema(layout.parquet.clone())
            .with_page_store_factory(Arc::new(chunks.clone()));
        let sink = Sink {
            staged: Some(staged),
            footer: None,
        };
        let writer = ArrowWriter::try_new_with_options(sink, Arc::clone(&layout.arrow), options)
            .map_err(encode_error)?;
        Ok(Self {
            writer,
            chunks,
            seen: SeenRows::new(&layout.schema),
            rows: 0,
            place,
            values,
        })
    }

    fn write(&mut self, batch: &RecordBatch) -> Result<()> {
        self.seen.look_at(batch)?;
        self.writer.write(batch).map_err(encode_error)?;
        self.rows += batch.num_rows() as u64;
        Ok(())
    }

    fn memory_bytes(&self) -> usize {
        self.writer.memory_size()
    }

    fn is_full(&self, layout: &Layout) -> bool {
        let bytes = self.writer.bytes_written() + self.writer.in_progress_size();
        bytes as u64 >= layout.target_bytes
            || self.writer.flushed_row_groups().len() >= ROW_GROUPS_MAX
    }

    /// Ends the file, and gives it with its place.
    fn finish(mut self, layout: &Layout) -> Result<(usize, FinishedFile)> {
        // After the last row group Parquet writes the page index, then the file metadata: what
        // follows here is exactly the footer.
        self.writer.flush().map_err(encode_error)?;
        self.writer.sync().map_err(|e| encode_error(e.into()))?;
        let groups = self.writer.flushed_row_groups().iter();
        let chunks = groups.map(|group| group.num_columns()).sum();
        let digests = self.chunks.metadata(chunks)?;
        self.writer.append_key_value_metadata(digests);
        self.writer.inner_mut().footer = Some(Footer::default());
        let metadata: ParquetMetaData = self.writer.finish().map_err(encode_error)?;
        let bytes = self.writer.bytes_written() as u64;
        let sink = self.writer.inner_mut();
        let (Some(staged), Some(footer)) = (sink.staged.take(), sink.footer.take()) else {
            return Err(Error::internal("a data file was finished twice"));
        };
        let footer_bytes = u32::try_from(footer.bytes)
            .map_err(|e| Error::internal("the footer of a data file is too long").with_source(e))?;
        let mut columns = file_stats(&layout.schema, &metadata, Some(&self.seen));
        columns.extend(self.values.stats(self.rows));
        let file = FinishedFile {
            staged,
            bytes,
            footer_bytes,
            footer_digest: footer.hasher.finalize().into(),
            rows: self.rows,
            columns,
            sorted_by: self.seen.order().to_vec(),
            carries_identity: layout.identity == RowIdentity::Carried,
        };
        Ok((self.place, file))
    }
}

/// Passes bytes on to the store, and hashes those of the footer.
struct Sink {
    staged: Option<StagedFile>,
    footer: Option<Footer>,
}

#[derive(Default)]
struct Footer {
    hasher: blake3::Hasher,
    bytes: u64,
}

impl Write for Sink {
    fn write(&mut self, buf: &[u8]) -> io::Result<usize> {
        let Some(staged) = &mut self.staged else {
            return Err(io::Error::other("the file is finished"));
        };
        let written = staged.write(buf)?;
        if let (Some(footer), Some(buf)) = (&mut self.footer, buf.get(..written)) {
            footer.hasher.update(buf);
            footer.bytes += written as u64;
        }
        Ok(written)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.staged.as_mut().map_or(Ok(()), Write::flush)
    }
}

fn encode_error(error: ParquetError) -> Error {
    match error {
        ParquetError::External(source) => match source.downcast::<io::Error>() {
            Ok(io) => Error::unavailable("a data file cannot be written").with_source(io),
            Err(other) => Error::internal("rows cannot be encoded").with_source(other),
        },
        other => Error::internal("rows cannot be encoded").with_source(other),
    }
}
