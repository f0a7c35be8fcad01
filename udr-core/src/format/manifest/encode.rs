//! From entries to the bytes of a manifest.

use std::collections::BTreeMap;
use std::sync::Arc;

use arrow::array::{
    Array as _, ArrayRef, FixedSizeBinaryArray, RecordBatch, UInt32Array, UInt64Array,
};
use arrow::datatypes::{Field as ArrowField, Schema as ArrowSchema};
use bytes::Bytes;
use parquet::arrow::ArrowWriter;
use parquet::arrow::arrow_writer::ArrowWriterOptions;
use parquet::basic::{Compression, ZstdLevel};
use parquet::file::metadata::KeyValue;
use parquet::file::properties::{EnabledStatistics, WriterProperties};

use super::{AddedRange, Manifest, ManifestRef, columns, optional};
use crate::error::{Error, Result};
use crate::format::envelope::FORMAT_VERSION;
use crate::format::{ColumnStats, DataFile, ObjectRef, Schema, merge_column_stats};
use crate::id::{Epoch, FieldId};

/// What the entries of a manifest add up to.
struct Totals {
    entries: usize,
    files: u64,
    rows: u64,
    data_bytes: u64,
    deleted: u64,
    added_at: Option<AddedRange>,
}

impl ManifestRef {
    fn of(
        bytes: &[u8],
        epoch: Epoch,
        level: u8,
        totals: &Totals,
        columns: BTreeMap<FieldId, ColumnStats>,
    ) -> Result<Self> {
        let entries = u32::try_from(totals.entries)
            .map_err(|e| Error::internal("a manifest has too many entries").with_source(e))?;
        Ok(Self {
            object: ObjectRef::of(epoch, bytes),
            level,
            entries,
            files: totals.files,
            rows: totals.rows,
            data_bytes: totals.data_bytes,
            deleted: totals.deleted,
            added_at: totals.added_at,
            columns,
        })
    }
}

impl Manifest {
    /// Encodes a leaf for `files`, which are not empty.
    ///
    /// # Errors
    ///
    /// `Corrupt` if an entry does not validate.
    pub fn encode_files(
        schema: &Schema,
        epoch: Epoch,
        files: &[Arc<DataFile>],
    ) -> Result<(ManifestRef, Bytes)> {
        for file in files {
            file.validate()?;
        }
        let mut columns = identity_columns(files.iter().map(|f| &f.object))?;
        columns.push((
            "file_id",
            fixed(files.iter().map(|f| f.id.as_bytes().as_slice()), 16)?,
        ));
        columns.push((
            "footer_bytes",
            Arc::new(UInt32Array::from_iter_values(
                files.iter().map(|f| f.footer_bytes),
            )),
        ));
        columns.push((
            "footer_digest",
            fixed(
                files.iter().map(|f| f.footer_digest.as_bytes().as_slice()),
                32,
            )?,
        ));
        columns.push(("rows", uint64(files.iter().map(|f| f.rows))));
        columns.push(("added_at", uint64(files.iter().map(|f| f.added_at))));
        columns.extend(optional::of_files(files)?);
        let stats = files.iter().map(|f| &f.columns).collect::<Vec<_>>();
        let bytes = write(schema, 0, columns, &stats)?;
        let mut merged = merge_column_stats(files.iter().map(|f| (f.rows, &f.columns)));
        merged.retain(|id, _| schema.measured_by_id(*id).is_some());
        let totals = Totals {
            entries: files.len(),
            files: files.len() as u64,
            rows: files.iter().map(|f| f.rows).sum(),
            data_bytes: files.iter().map(|f| f.object.bytes).sum(),
            deleted: files.iter().map(|f| f.deleted_rows()).sum(),
            added_at: AddedRange::of(files.iter().map(|f| f.added_at)),
        };
        Ok((ManifestRef::of(&bytes, epoch, 0, &totals, merged)?, bytes))
    }

    /// Encodes an inner manifest over `children`, which are of one level and not empty.
    ///
    /// # Errors
    ///
    /// `Internal` if the tree would get too deep.
    pub fn encode_manifests(
        schema: &Schema,
        epoch: Epoch,
        children: &[ManifestRef],
    ) -> Result<(ManifestRef, Bytes)> {
        let level = children.iter().map(|c| c.level).max().unwrap_or(0) + 1;
        if level > Self::LEVEL_MAX || children.iter().any(|c| c.level + 1 != level) {
            return Err(Error::internal("a manifest tree is out of balance").with("level", level));
        }
        let mut columns = identity_columns(children.iter().map(|c| &c.object))?;
        let entries = UInt32Array::from_iter_values(children.iter().map(|c| c.entries));
        columns.push(("entries", Arc::new(entries)));
        columns.push(("files", uint64(children.iter().map(|c| c.files))));
        columns.push(("rows", uint64(children.iter().map(|c| c.rows))));
        columns.push(("data_bytes", uint64(children.iter().map(|c| c.data_bytes))));
        columns.extend(optional::of_manifests(children)?);
        let stats = children.iter().map(|c| &c.columns).collect::<Vec<_>>();
        let bytes = write(schema, level, columns, &stats)?;
        let mut merged = merge_column_stats(children.iter().map(|c| (c.rows, &c.columns)));
        merged.retain(|id, _| schema.measured_by_id(*id).is_some());
        let totals = Totals {
            entries: children.len(),
            files: children.iter().map(|c| c.files).sum(),
            rows: children.iter().map(|c| c.rows).sum(),
            data_bytes: children.iter().map(|c| c.data_bytes).sum(),
            deleted: children.iter().map(|c| c.deleted).sum(),
            added_at: AddedRange::over(children.iter().map(|c| c.added_at)),
        };
        Ok((
            ManifestRef::of(&bytes, epoch, level, &totals, merged)?,
            bytes,
        ))
    }
}

fn uint64(values: impl Iterator<Item = u64>) -> ArrayRef {
    Arc::new(UInt64Array::from_iter_values(values))
}

fn fixed<'a>(values: impl Iterator<Item = &'a [u8]>, size: i32) -> Result<ArrayRef> {
    let array = FixedSizeBinaryArray::try_from_sparse_iter_with_size(values.map(Some), size)
        .map_err(|e| Error::internal("an id has a wrong size").with_source(e))?;
    Ok(Arc::new(array))
}

fn identity_columns<'a>(
    objects: impl Iterator<Item = &'a ObjectRef> + Clone,
) -> Result<Vec<(&'static str, ArrayRef)>> {
    let epochs = UInt32Array::from_iter_values(objects.clone().map(|o| o.epoch.0));
    Ok(vec![
        (
            "digest",
            fixed(objects.clone().map(|o| o.digest.as_bytes().as_slice()), 32)?,
        ),
        ("epoch", Arc::new(epochs)),
        ("bytes", uint64(objects.map(|o| o.bytes))),
    ])
}

fn write(
    schema: &Schema,
    level: u8,
    identity: Vec<(&'static str, ArrayRef)>,
    stats: &[&BTreeMap<FieldId, ColumnStats>],
) -> Result<Bytes> {
    let mut fields = Vec::new();
    let mut arrays = Vec::new();
    for (name, array) in identity {
        let nullable = optional::is_nullable(name);
        fields.push(ArrowField::new(name, array.data_type().clone(), nullable));
        arrays.push(array);
    }
    for (name, array) in columns::build(schema, stats)? {
        fields.push(ArrowField::new(name, array.data_type().clone(), true));
        arrays.push(array);
    }
    let internal = |e: parquet::errors::ParquetError| {
        Error::internal("cannot encode a manifest").with_source(e)
    };
    let arrow_schema = Arc::new(ArrowSchema::new(fields));
    let batch = RecordBatch::try_new(Arc::clone(&arrow_schema), arrays)
        .map_err(|e| Error::internal("cannot encode a manifest").with_source(e))?;
    // Small manifests are the common case of small commits: compression would only cost time.
    let compression = if stats.len() < 32 {
        Compression::UNCOMPRESSED
    } else {
        Compression::ZSTD(ZstdLevel::default())
    };
    let header = vec![
        KeyValue::new("udr.kind".to_owned(), "manifest".to_owned()),
        KeyValue::new("udr.format".to_owned(), FORMAT_VERSION.to_string()),
        KeyValue::new("udr.level".to_owned(), level.to_string()),
    ];
    let properties = WriterProperties::builder()
        .set_created_by("udr".to_owned())
        .set_compression(compression)
        .set_dictionary_enabled(false)
        .set_statistics_enabled(EnabledStatistics::None)
        .set_offset_index_disabled(true)
        .set_key_value_metadata(Some(header))
        .build();
    let options = ArrowWriterOptions::new()
        .with_properties(properties)
        .with_skip_arrow_metadata(true);
    let mut writer =
        ArrowWriter::try_new_with_options(Vec::new(), arrow_schema, options).map_err(internal)?;
    writer.write(&batch).map_err(internal)?;
    writer.into_inner().map(Bytes::from).map_err(internal)
}
