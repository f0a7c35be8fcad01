//! Parquet files that others wrote, as data files of a table, where they are.
//!
//! In: a file that was found, and the columns of a table. Out: an entry for it, with a digest and
//! statistics of its rows; and its footer, decoded as if the file had the field ids that the entry
//! gives its columns. Called by imports, and by whatever reads footers.

use std::collections::BTreeMap;
use std::sync::Arc;

use arrow::array::RecordBatch;
use arrow::datatypes::{Schema as ArrowSchema, SchemaRef};
use bytes::Bytes;
use futures::stream::BoxStream;
use futures::{StreamExt as _, TryStreamExt as _};
use parquet::arrow::arrow_reader::{ArrowReaderMetadata, ArrowReaderOptions};
use parquet::arrow::parquet_to_arrow_schema;
use parquet::basic::Repetition;
use parquet::errors::{ParquetError, Result as ParquetResult};
use parquet::file::FOOTER_SIZE;
use parquet::file::metadata::{
    FileMetaData, FooterTail, KeyValue, ParquetMetaData, ParquetMetaDataBuilder,
    ParquetMetaDataOptions, ParquetMetaDataReader,
};
use parquet::schema::types::{SchemaDescriptor, Type as ParquetType, TypePtr};

use super::evolve;
use super::footer::fetch_footer;
use super::reader::read_batches;
use super::verify::Found;
use crate::env::Env;
use crate::error::{Error, ErrorKind, Result};
use crate::format::{Adopted, DataFile, Field, ObjectRef, PathValue, Schema, Type};
use crate::id::{Digest, Epoch, FieldId, TableId};
use crate::store::{FoundFile, Store};

/// Under this key the metadata of a decoded schema has the values of columns that are not in the
/// file, as JSON by field id.
pub const VALUES_KEY: &str = "udr.values";
/// How much of the end of a file is read at first.
const TAIL_BYTES: u64 = 64 << 10;
/// The most bytes of a footer with its page index.
const FOOTER_BYTES_MAX: u64 = 256 << 20;

/// A Parquet file that was found: its columns, and where its footer is.
#[derive(Debug, Clone)]
pub struct FileShape {
    file: FoundFile,
    /// From the first byte of the page index on.
    footer: Bytes,
    metadata: Arc<ParquetMetaData>,
    columns: SchemaRef,
}

impl FileShape {
    /// Reads the footer of a file.
    ///
    /// # Errors
    ///
    /// `Invalid` if it is no Parquet file, `Unsupported` if it is of a kind that cannot be read
    /// here; `NotFound`, `Unavailable`.
    pub async fn of(store: &Store, file: &FoundFile) -> Result<Self> {
        let refused = |why: &str| Error::invalid(why.to_owned()).with("file", &file.url);
        let not_parquet = |e: ParquetError| refused("not a Parquet file").with_source(e);
        let tail = Tail::read(store, file, TAIL_BYTES).await?;
        let Some((_, last)) = tail.bytes.split_last_chunk::<FOOTER_SIZE>() else {
            return Err(refused("not a Parquet file: it is too short"));
        };
        let last = FooterTail::try_new(last).map_err(not_parquet)?;
        if last.is_encrypted_footer() {
            return Err(Error::unsupported("an encrypted file").with("file", &file.url));
        }
        let metadata_bytes = last.metadata_length() as u64 + FOOTER_SIZE as u64;
        let tail = tail.at_least(store, file, metadata_bytes).await?;
        let metadata = tail.from(metadata_bytes)?;
        let metadata = metadata.slice(..metadata.len() - FOOTER_SIZE);
        let metadata = ParquetMetaDataReader::decode_metadata(&metadata).map_err(not_parquet)?;
        let index = metadata.row_groups().iter().flat_map(|g| g.columns());
        let index = index.flat_map(|c| [c.column_index_offset(), c.offset_index_offset()]);
        let index = index.flatten().filter_map(|at| u64::try_from(at).ok());
        let start = index.min().unwrap_or(u64::MAX);
        let footer_bytes = metadata_bytes.max(file.bytes.saturating_sub(start));
        let tail = tail.at_least(store, file, footer_bytes).await?;
        let columns = parquet_to_arrow_schema(metadata.file_metadata().schema_descr(), None)
            .map_err(|e| refused("the columns of the file cannot be understood").with_source(e))?;
        Ok(Self {
            file: file.clone(),
            footer: tail.from(footer_bytes)?,
            metadata: Arc::new(metadata),
            columns: Arc::new(columns),
        })
    }

    /// Its columns.
    pub fn columns(&self) -> &SchemaRef {
        &self.columns
    }

    /// How many rows it has.
    pub fn rows(&self) -> u64 {
        u64::try_from(self.metadata.file_metadata().num_rows()).unwrap_or(0)
    }

    /// Its rows, in order, as batches of the stored types of its columns; what its columns are is
    /// the first of both.
    ///
    /// # Errors
    ///
    /// `Unsupported` if a column is of a type that cannot be stored, or the file is laid out in a
    /// way that cannot be read; `NotFound`, `Unavailable`; the same for every batch.
    pub async fn read(
        &self,
        store: &Store,
        env: &Env,
    ) -> Result<(SchemaRef, BoxStream<'static, Result<RecordBatch>>)> {
        let schema = Schema::from_arrow(&self.columns)?;
        let columns = schema.to_arrow();
        if self.rows() == 0 {
            return Ok((columns, futures::stream::empty().boxed()));
        }
        let adoption = Adoption {
            store,
            env,
            table: TableId::from_uuid(uuid::Uuid::nil()),
            schema: &schema,
            epoch: Epoch::default(),
        };
        let ids = adoption.columns(self, &BTreeMap::new())?;
        // The rows are read once, so nobody asks what the digest of all of it is.
        let file = adoption.file(self, ids, BTreeMap::new(), Digest::of(&[]))?;
        let batches = read_batches(store, adoption.table, &file, &schema).await;
        let unread = |e: Error| match e.kind() {
            ErrorKind::Corrupt => Error::unsupported("the file cannot be read").with_source(e),
            _ => e,
        };
        let url = self.url().to_owned();
        let batches = batches.map_err(|e| unread(e).with("file", &url))?;
        let batches = batches.map_err(move |e| unread(e).with("file", &url));
        Ok((columns, batches.boxed()))
    }

    /// Where it is.
    pub fn url(&self) -> &str {
        &self.file.url
    }

    /// Its length.
    pub fn bytes(&self) -> u64 {
        self.file.bytes
    }
}

/// The end of a file.
struct Tail {
    bytes: Bytes,
}

impl Tail {
    async fn read(store: &Store, file: &FoundFile, bytes: u64) -> Result<Self> {
        let start = file.bytes.saturating_sub(bytes);
        let bytes = store.read_found(&file.url, start..file.bytes).await?;
        Ok(Self { bytes })
    }

    async fn at_least(self, store: &Store, file: &FoundFile, bytes: u64) -> Result<Self> {
        if bytes <= self.bytes.len() as u64 {
            return Ok(self);
        }
        if bytes > file.bytes || bytes > FOOTER_BYTES_MAX {
            return Err(
                Error::invalid("the footer of a Parquet file is longer than it can be")
                    .with("file", &file.url)
                    .with("bytes", bytes),
            );
        }
        Self::read(store, file, bytes).await
    }

    /// The last bytes.
    fn from(&self, bytes: u64) -> Result<Bytes> {
        let bytes = usize::try_from(bytes).ok();
        let start = bytes.and_then(|bytes| self.bytes.len().checked_sub(bytes));
        let start = start.ok_or_else(|| Error::invalid("a Parquet file is too short"))?;
        Ok(self.bytes.slice(start..))
    }
}

/// What files are adopted for.
#[derive(Debug)]
pub struct Adoption<'a> {
    /// Where they are read from.
    pub store: &'a Store,
    /// Makes their ids.
    pub env: &'a Env,
    /// The table.
    pub table: TableId,
    /// Its columns.
    pub schema: &'a Schema,
    /// The epoch of the transaction.
    pub epoch: Epoch,
}

impl Adoption<'_> {
    /// The entry of a file; `values` are those of columns that are in its path. Reads all of it.
    ///
    /// `None` if the file has no rows.
    ///
    /// # Errors
    ///
    /// `Invalid` if its columns are not those of the table, or a column that is NOT NULL has a NULL;
    /// `Unsupported` if it is laid out in a way that cannot be read in place; `Conflict` if it
    /// changes meanwhile; `NotFound`, `Unavailable`.
    pub async fn entry(
        &self,
        shape: &FileShape,
        mut values: BTreeMap<FieldId, PathValue>,
    ) -> Result<Option<DataFile>> {
        let url = shape.url();
        if shape.rows() == 0 {
            return Ok(None);
        }
        let columns = self
            .columns(shape, &values)
            .map_err(|e| e.with("file", url))?;
        // What is in the file is so, whatever its path says.
        values.retain(|id, _| !columns.values().any(|known| known == id));
        let digest = self.store.digest_of_found(url, shape.bytes()).await?;
        let digest = digest.ok_or_else(|| changed(url))?;
        let mut file = self.file(shape, columns, values, digest)?;
        self.measure(&mut file).await.map_err(|e| match e.kind() {
            ErrorKind::Corrupt => Error::unsupported("the file cannot be read in place")
                .with("file", url)
                .with_source(e),
            _ => e.with("file", url),
        })?;
        Ok(Some(file))
    }

    /// The entry of a file of which nothing is known yet.
    fn file(
        &self,
        shape: &FileShape,
        columns: BTreeMap<String, FieldId>,
        values: BTreeMap<FieldId, PathValue>,
        digest: Digest,
    ) -> Result<DataFile> {
        let adopted = Adopted {
            url: shape.url().to_owned(),
            columns,
            values,
        };
        Ok(DataFile {
            id: self.env.file_id(),
            object: ObjectRef {
                digest,
                epoch: self.epoch,
                bytes: shape.bytes(),
                within: None,
            },
            footer_bytes: u32::try_from(shape.footer.len())
                .map_err(|e| Error::internal("a footer is too long").with_source(e))?,
            footer_digest: Digest::of(&shape.footer),
            rows: shape.rows(),
            columns: BTreeMap::new(),
            added_at: 0,
            deletes: None,
            carries_identity: false,
            sorted_by: Vec::new(),
            adopted: Some(Arc::new(adopted)),
        })
    }

    /// Finds statistics out, by reading all rows.
    async fn measure(&self, file: &mut DataFile) -> Result<()> {
        let footer = fetch_footer(self.store, self.table, file).await?;
        let metadata = ArrowReaderMetadata::try_new(Arc::new(footer), ArrowReaderOptions::new());
        let metadata = metadata.map_err(|e| {
            Error::corrupt("the columns of a file cannot be understood").with_source(e)
        })?;
        let adopted = file.adopted.clone();
        if let Some(adopted) = &adopted {
            check(metadata.schema(), adopted, self.schema).map_err(|e| {
                Error::invalid("a column of the file is of another type than the table's")
                    .with_source(e)
                    .with_hint("IMPORT PARQUET … COPY converts it; or widen the table's column")
            })?;
        }
        let relaxed = self.schema.relaxed();
        let mut batches = read_batches(self.store, self.table, file, &relaxed).await?;
        let mut found = Found::new(self.schema.sorted_by(), self.schema);
        while let Some(batch) = batches.try_next().await? {
            found.add(self.schema, &batch)?;
        }
        file.sorted_by = found.order().to_vec();
        let mut stats = found.stats(self.schema);
        for field in self.schema.fields().iter().filter(|field| !field.nullable) {
            let nulls = stats.get(&field.id).and_then(|stats| stats.null_count);
            if nulls.is_some_and(|nulls| nulls > 0) {
                return Err(Error::invalid("a NULL in a column that is NOT NULL")
                    .with("column", &field.name));
            }
        }
        // Of a column of which nothing is said, the file is known not to have it.
        if let Some(adopted) = &adopted {
            let has = |id: &FieldId| {
                adopted.columns.values().any(|known| known == id) || adopted.values.contains_key(id)
            };
            stats.retain(|id, _| has(id) || self.schema.field_by_id(*id).is_none());
        }
        file.columns = stats;
        Ok(())
    }

    /// The ids of the file's columns, by path.
    fn columns(
        &self,
        shape: &FileShape,
        values: &BTreeMap<FieldId, PathValue>,
    ) -> Result<BTreeMap<String, FieldId>> {
        let mut columns = BTreeMap::new();
        let root = shape.metadata.file_metadata().schema_descr();
        let found = root.root_schema().get_fields();
        for column in found {
            let Some(field) = self.schema.field(column.name()) else {
                return Err(unknown(column.name(), self.schema.fields()));
            };
            assign(column, field, column.name(), &mut columns)?;
        }
        for field in self.schema.fields() {
            let has = columns.values().any(|id| *id == field.id) || values.contains_key(&field.id);
            if !has && !field.nullable && field.initial.is_none() {
                return Err(Error::invalid("the file lacks a column that is NOT NULL")
                    .with("column", &field.name));
            }
        }
        Ok(columns)
    }
}

fn changed(url: &str) -> Error {
    Error::conflict("the file changed while it was imported").with("file", url)
}

fn unknown(name: &str, fields: &[Field]) -> Error {
    let names = fields.iter().map(|field| field.name.as_str());
    let error = Error::invalid("the table lacks a column of the file").with("column", name);
    match crate::error::nearest(name, names) {
        Some(near) => error.with_hint(format!(
            "did you rename `{near}`? ALTER TABLE … RENAME or ADD COLUMN makes it fit"
        )),
        None => error.with_hint("ALTER TABLE … ADD COLUMN, and import the file then"),
    }
}

/// Gives a column of a file, and its parts, the ids of a column of the table.
fn assign(
    column: &ParquetType,
    field: &Field,
    path: &str,
    columns: &mut BTreeMap<String, FieldId>,
) -> Result<()> {
    let unfit = || {
        Error::invalid("a column of the file is of another type than the table's")
            .with("column", path)
            .with("expected", &field.ty)
            .with_hint("IMPORT PARQUET … COPY converts what can be")
    };
    if columns.insert(path.to_owned(), field.id).is_some() {
        return Err(Error::unsupported("two columns of the file have one path").with("path", path));
    }
    let parts = match column {
        ParquetType::GroupType { fields, .. } => fields.as_slice(),
        ParquetType::PrimitiveType { .. } => &[],
    };
    let repeated = || match parts {
        [only] if only.is_group() => Ok((only, format!("{path}.{}", only.name()))),
        _ => Err(unfit()),
    };
    match &field.ty {
        Type::Struct(fields) => {
            for part in parts {
                let field = fields.iter().find(|field| field.name == part.name());
                let field = field.ok_or_else(|| unknown(part.name(), fields))?;
                assign(part, field, &format!("{path}.{}", part.name()), columns)?;
            }
            if parts.is_empty() {
                Err(unfit())
            } else {
                Ok(())
            }
        }
        Type::List(element) | Type::FixedList(element, _) => {
            let (repeated, path) = repeated()?;
            let [part] = repeated.get_fields() else {
                return Err(unfit());
            };
            assign(part, element, &format!("{path}.{}", part.name()), columns)
        }
        Type::Map { key, value } => {
            let (repeated, path) = repeated()?;
            let [first, second] = repeated.get_fields() else {
                return Err(unfit());
            };
            assign(first, key, &format!("{path}.{}", first.name()), columns)?;
            assign(second, value, &format!("{path}.{}", second.name()), columns)
        }
        _ if parts.is_empty() => Ok(()),
        _ => Err(unfit()),
    }
}

/// Decodes the footer of an adopted file: its columns have the ids that its entry gives them.
///
/// What the writer noted of Arrow types is left out: a column is what Parquet says it is.
pub(super) fn decode(metadata: &[u8], adopted: &Adopted) -> ParquetResult<ParquetMetaData> {
    let found = ParquetMetaDataReader::decode_schema(metadata)?;
    let root = with_ids(found.root_schema(), None, adopted)?;
    let schema = Arc::new(SchemaDescriptor::new(root));
    let options = ParquetMetaDataOptions::new().with_schema(schema);
    let decoded = ParquetMetaDataReader::decode_metadata_with_options(metadata, Some(&options))?;
    let values = match adopted.values.is_empty() {
        true => None,
        false => {
            let text = serde_json::to_string(&adopted.values)
                .map_err(|e| ParquetError::External(Box::new(e)))?;
            Some(vec![KeyValue::new(VALUES_KEY.to_owned(), text)])
        }
    };
    let of_file = decoded.file_metadata();
    let of_file = FileMetaData::new(
        of_file.version(),
        of_file.num_rows(),
        of_file.created_by().map(str::to_owned),
        values,
        of_file.schema_descr_ptr(),
        of_file.column_orders().cloned(),
    );
    let groups = decoded.row_groups().to_vec();
    Ok(ParquetMetaDataBuilder::new(of_file)
        .set_row_groups(groups)
        .build())
}

fn with_ids(ty: &ParquetType, path: Option<&str>, adopted: &Adopted) -> ParquetResult<TypePtr> {
    let info = ty.get_basic_info();
    // The groups that Parquet puts around elements are no columns, whatever they are called.
    let repeated = info.has_repetition() && info.repetition() == Repetition::REPEATED;
    let id = path.filter(|_| !repeated);
    let id = id.and_then(|path| adopted.columns.get(path));
    let id = id.map(|id| id.0);
    let made = match ty {
        ParquetType::GroupType { fields, .. } => {
            let parts = fields.iter().map(|part| {
                let path = match path {
                    Some(path) => format!("{path}.{}", part.name()),
                    None => part.name().to_owned(),
                };
                with_ids(part, Some(&path), adopted)
            });
            let mut builder = ParquetType::group_type_builder(info.name())
                .with_converted_type(info.converted_type())
                .with_logical_type(info.logical_type_ref().cloned())
                .with_fields(parts.collect::<ParquetResult<_>>()?)
                .with_id(id);
            if info.has_repetition() {
                builder = builder.with_repetition(info.repetition());
            }
            builder.build()?
        }
        ParquetType::PrimitiveType {
            physical_type,
            type_length,
            scale,
            precision,
            ..
        } => ParquetType::primitive_type_builder(info.name(), *physical_type)
            .with_repetition(info.repetition())
            .with_converted_type(info.converted_type())
            .with_logical_type(info.logical_type_ref().cloned())
            .with_length(*type_length)
            .with_scale(*scale)
            .with_precision(*precision)
            .with_id(id)
            .build()?,
    };
    Ok(Arc::new(made))
}

/// Checks that the columns of an adopted file can be read as those of its table.
///
/// # Errors
///
/// `Corrupt` if one is of a type that the column never had, or one that must be there is not.
pub(super) fn check(columns: &ArrowSchema, adopted: &Adopted, schema: &Schema) -> Result<()> {
    for field in schema.fields() {
        if let Some(value) = adopted.values.get(&field.id) {
            value.column(field)?;
            continue;
        }
        let mut found = columns.fields().iter();
        let found = found.find(|column| evolve::field_id(column) == Some(field.id));
        match found {
            Some(column) => evolve::check(column, field)?,
            None if field.nullable || field.initial.is_some() => {}
            None => {
                return Err(
                    Error::corrupt("a data file does not have a column of its table")
                        .with("column", &field.name),
                );
            }
        }
    }
    Ok(())
}
