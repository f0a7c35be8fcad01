//! `t$columns` and `t$partitions`: what a table's rows are made of, and put apart by.

use std::collections::BTreeMap;
use std::sync::{Arc, LazyLock};

use arrow::array::{ArrayRef, BooleanArray, Int32Array, StringArray, UInt64Array};
use arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use arrow::record_batch::RecordBatch;
use udr_core::format::{DataFile, Field as Column, PartitionField, Schema as TableSchema, Type};
use udr_core::snapshot::TableSnapshot;
use udr_core::{Error, Result};

/// The columns of `t$columns`.
pub(super) fn columns_schema() -> SchemaRef {
    static SCHEMA: LazyLock<SchemaRef> = LazyLock::new(|| {
        Arc::new(Schema::new(vec![
            Field::new("column_name", DataType::Utf8, false),
            Field::new("field_id", DataType::Int32, false),
            Field::new("data_type", DataType::Utf8, false),
            Field::new("is_nullable", DataType::Boolean, false),
            Field::new("default", DataType::Utf8, true),
            Field::new("generated", DataType::Utf8, true),
            Field::new("comment", DataType::Utf8, true),
            Field::new("distinct_values", DataType::UInt64, true),
        ]))
    });
    Arc::clone(&SCHEMA)
}

/// The columns of `t$partitions`.
pub(super) fn partitions_schema() -> SchemaRef {
    static SCHEMA: LazyLock<SchemaRef> = LazyLock::new(|| {
        Arc::new(Schema::new(vec![
            Field::new("partition", DataType::Utf8, false),
            Field::new("files", DataType::UInt64, false),
            Field::new("rows", DataType::UInt64, false),
            Field::new("deleted_rows", DataType::UInt64, false),
            Field::new("bytes", DataType::UInt64, false),
        ]))
    });
    Arc::clone(&SCHEMA)
}

/// The columns of a table, each before its parts.
pub(super) fn columns_batch(table: &TableSnapshot) -> Result<RecordBatch> {
    let mut found = Vec::new();
    for column in table.schema().fields() {
        collect(column, column.name.clone(), &mut found);
    }
    let text = |of: &dyn Fn(&Column) -> Option<String>| -> ArrayRef {
        let values = found.iter().map(|(_, column)| of(column));
        Arc::new(values.collect::<StringArray>())
    };
    let names = found.iter().map(|(name, _)| name.as_str());
    let ids = found.iter().map(|(_, column)| column.id.0);
    let distinct = found.iter().map(|(_, column)| column.distinct);
    let nullable = found.iter().map(|(_, column)| Some(column.nullable));
    let columns: Vec<ArrayRef> = vec![
        Arc::new(StringArray::from_iter_values(names)),
        Arc::new(Int32Array::from_iter_values(ids)),
        text(&|column| Some(column.ty.to_string())),
        Arc::new(nullable.collect::<BooleanArray>()),
        text(&|column| column.default.clone()),
        text(&|column| column.generated.clone()),
        text(&|column| column.comment.clone()),
        Arc::new(distinct.collect::<UInt64Array>()),
    ];
    RecordBatch::try_new(columns_schema(), columns)
        .map_err(|error| Error::internal("the columns do not fit their schema").with_source(error))
}

/// A column and its parts, by the paths that ALTER TABLE names them by.
fn collect<'a>(column: &'a Column, path: String, found: &mut Vec<(String, &'a Column)>) {
    let called = |part: &'a Column, at: usize| match &column.ty {
        Type::Struct(_) => part.name.as_str(),
        Type::Map { .. } => ["key", "value"].get(at).copied().unwrap_or_default(),
        _ => "element",
    };
    let parts = column.ty.children().into_iter().enumerate();
    let parts = parts.map(|(at, part)| (format!("{path}.{}", called(part, at)), part));
    let parts = parts.collect::<Vec<_>>();
    found.push((path, column));
    for (path, part) in parts {
        collect(part, path, found);
    }
}

/// The sizes of a partition.
#[derive(Default)]
struct Sizes {
    files: u64,
    rows: u64,
    deleted: u64,
    bytes: u64,
}

/// The partitions of a table, as it is partitioned by now.
pub(super) async fn partitions_batch(table: &TableSnapshot) -> Result<RecordBatch> {
    let fields = table.schema().partitioned_by().collect::<Vec<_>>();
    let mut partitions = BTreeMap::<Vec<String>, Sizes>::new();
    for task in table.plan(None).await?.files {
        let values = fields.iter();
        let values = values.map(|field| value(table.schema(), field, &task.file));
        let sizes = partitions.entry(values.collect()).or_default();
        sizes.files += 1;
        sizes.rows += task.live_rows();
        sizes.deleted += task.deleted_rows();
        sizes.bytes += task.file.object.bytes;
    }
    let names = partitions.keys().map(|values| {
        let named = fields.iter().zip(values);
        let named = named.map(|(field, value)| format!("{}={value}", field.name));
        named.collect::<Vec<_>>().join("/")
    });
    let count = |of: fn(&Sizes) -> u64| -> ArrayRef {
        Arc::new(UInt64Array::from_iter_values(partitions.values().map(of)))
    };
    let columns: Vec<ArrayRef> = vec![
        Arc::new(StringArray::from_iter_values(names)),
        count(|sizes| sizes.files),
        count(|sizes| sizes.rows),
        count(|sizes| sizes.deleted),
        count(|sizes| sizes.bytes),
    ];
    RecordBatch::try_new(partitions_schema(), columns).map_err(|error| {
        Error::internal("the partitions do not fit their schema").with_source(error)
    })
}

/// What a file has in a partition field; `*` if it was written before there was one.
fn value(schema: &TableSchema, field: &PartitionField, file: &DataFile) -> String {
    let Some(stats) = file.columns.get(&field.id) else {
        return "*".to_owned();
    };
    if stats.null_count == Some(file.rows) {
        return "NULL".to_owned();
    }
    let ty = schema
        .measured_by_id(field.id)
        .map(|field| field.ty.clone());
    match (stats.lower.as_ref(), ty) {
        (Some(bound), Some(ty)) => field.transform.show(&bound.value, &ty),
        _ => "*".to_owned(),
    }
}
