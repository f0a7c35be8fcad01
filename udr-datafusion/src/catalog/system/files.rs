//! `t$files` and `t$manifests`: where a table's rows are.

use std::sync::{Arc, LazyLock};

use arrow::array::{ArrayRef, StringArray, UInt8Array, UInt32Array, UInt64Array};
use arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use arrow::record_batch::RecordBatch;
use udr_core::format::{DataFile, ManifestRef, Schema as TableSchema};
use udr_core::snapshot::TableSnapshot;
use udr_core::{Error, Result};

/// The columns of `t$files`.
pub(super) fn files_schema() -> SchemaRef {
    static SCHEMA: LazyLock<SchemaRef> = LazyLock::new(|| {
        Arc::new(Schema::new(vec![
            Field::new("file_id", DataType::Utf8, false),
            Field::new("digest", DataType::Utf8, false),
            Field::new("epoch", DataType::UInt32, false),
            Field::new("rows", DataType::UInt64, false),
            Field::new("deleted_rows", DataType::UInt64, false),
            Field::new("deletion_vector", DataType::Utf8, true),
            Field::new("bytes", DataType::UInt64, false),
            Field::new("added_at", DataType::UInt64, true),
            Field::new("columns", DataType::Utf8, false),
            Field::new("url", DataType::Utf8, true),
            Field::new("sorted_by", DataType::Utf8, true),
        ]))
    });
    Arc::clone(&SCHEMA)
}

/// The columns of `t$manifests`.
pub(super) fn manifests_schema() -> SchemaRef {
    static SCHEMA: LazyLock<SchemaRef> = LazyLock::new(|| {
        Arc::new(Schema::new(vec![
            Field::new("digest", DataType::Utf8, false),
            Field::new("level", DataType::UInt8, false),
            Field::new("files", DataType::UInt64, false),
            Field::new("rows", DataType::UInt64, false),
            Field::new("deleted_rows", DataType::UInt64, false),
            Field::new("data_bytes", DataType::UInt64, false),
            Field::new("bytes", DataType::UInt64, false),
        ]))
    });
    Arc::clone(&SCHEMA)
}

/// The data files of a table; `columns` has their statistics as JSON, by column name, `url` says
/// where files are that the repository did not write, and `sorted_by` in which order their rows are.
pub(super) async fn files_batch(
    table: &TableSnapshot,
    limit: Option<usize>,
) -> Result<RecordBatch> {
    let tasks = table.plan(None).await?.files;
    let files = tasks.into_iter().take(limit.unwrap_or(usize::MAX));
    let files = files.map(|task| task.file).collect::<Vec<_>>();
    let statistics = files
        .iter()
        .map(|file| statistics(table.schema(), file))
        .collect::<Result<Vec<_>>>()?;
    let count = |of: fn(&DataFile) -> u64| -> ArrayRef {
        Arc::new(UInt64Array::from_iter_values(
            files.iter().map(|file| of(file)),
        ))
    };
    let text = |of: fn(&DataFile) -> String| -> ArrayRef {
        Arc::new(StringArray::from_iter_values(
            files.iter().map(|file| of(file)),
        ))
    };
    let added = files
        .iter()
        .map(|file| (file.added_at > 0).then_some(file.added_at));
    let vectors = files.iter().map(|file| {
        let vector = file.deletes.as_ref();
        vector.map(|deletes| deletes.object.digest.to_hex())
    });
    let urls = files.iter().map(|file| {
        let adopted = file.adopted.as_ref();
        adopted.map(|adopted| adopted.url.as_str())
    });
    let orders = files.iter().map(|file| order(table.schema(), file));
    let columns: Vec<ArrayRef> = vec![
        text(|file| file.id.to_string()),
        text(|file| file.object.digest.to_hex()),
        Arc::new(UInt32Array::from_iter_values(
            files.iter().map(|file| file.object.epoch.0),
        )),
        count(|file| file.rows),
        count(DataFile::deleted_rows),
        Arc::new(vectors.collect::<StringArray>()),
        count(|file| file.object.bytes),
        Arc::new(added.collect::<UInt64Array>()),
        Arc::new(StringArray::from_iter_values(statistics)),
        Arc::new(urls.collect::<StringArray>()),
        Arc::new(orders.collect::<StringArray>()),
    ];
    RecordBatch::try_new(files_schema(), columns)
        .map_err(|error| Error::internal("the files do not fit their schema").with_source(error))
}

/// The manifests of a table.
pub(super) async fn manifests_batch(
    table: &TableSnapshot,
    limit: Option<usize>,
) -> Result<RecordBatch> {
    let mut manifests = table.manifests().await?;
    manifests.truncate(limit.unwrap_or(usize::MAX));
    let count = |of: fn(&ManifestRef) -> u64| -> ArrayRef {
        Arc::new(UInt64Array::from_iter_values(manifests.iter().map(of)))
    };
    let digests = manifests.iter().map(|m| m.object.digest.to_hex());
    let columns: Vec<ArrayRef> = vec![
        Arc::new(StringArray::from_iter_values(digests)),
        Arc::new(UInt8Array::from_iter_values(
            manifests.iter().map(|m| m.level),
        )),
        count(|m| m.files),
        count(|m| m.rows),
        count(|m| m.deleted),
        count(|m| m.data_bytes),
        count(|m| m.object.bytes),
    ];
    RecordBatch::try_new(manifests_schema(), columns).map_err(|error| {
        Error::internal("the manifests do not fit their schema").with_source(error)
    })
}

/// The order of a file's rows as it is written in SQL, as far as its columns are still there.
fn order(schema: &TableSchema, file: &DataFile) -> Option<String> {
    let terms = file.sorted_by.iter().map_while(|field| {
        let column = schema.field_by_id(field.source)?;
        let (descending, nulls_first) = (field.descending, field.nulls_first);
        let direction = if descending { " DESC" } else { "" };
        let nulls = match nulls_first {
            _ if nulls_first == descending => "",
            true => " NULLS FIRST",
            false => " NULLS LAST",
        };
        Some(format!("{}{direction}{nulls}", column.name))
    });
    let terms = terms.collect::<Vec<_>>();
    (!terms.is_empty()).then(|| terms.join(", "))
}

fn statistics(schema: &TableSchema, file: &DataFile) -> Result<String> {
    let by_name = schema
        .measured()
        .filter_map(|field| {
            let stats = file.columns.get(&field.id)?;
            Some((field.name.clone(), stats))
        })
        .collect::<std::collections::BTreeMap<_, _>>();
    serde_json::to_string(&by_name)
        .map_err(|error| Error::internal("statistics cannot be shown").with_source(error))
}
