//! What data files promise, over all types.

mod chunks;
mod footers;
mod generate;
mod refusals;
mod rows;

use std::io::Write as _;
use std::sync::Arc;

use arrow::array::{Array as _, ArrayData, RecordBatch, make_array};
use arrow::compute::{cast, concat_batches};
use arrow::datatypes::{DataType, Field, Schema as ArrowSchema, TimeUnit};
use futures::TryStreamExt as _;

use super::footer::fetch_footer;
use super::{TableWriter, WriteOptions, read_batches, verify_data_file};
use crate::env::Env;
use crate::error::{Error, Result};
use crate::format::{DataFile, Schema};
use crate::id::{Epoch, TableId};
use crate::store::Store;

struct Fixture {
    store: Store,
    env: Env,
    table: TableId,
}

impl Fixture {
    fn new() -> Self {
        let env = Env::seeded(1, 0);
        Self {
            store: Store::memory(),
            table: env.table_id(),
            env,
        }
    }

    fn writer(&self, schema: &Schema, options: WriteOptions) -> TableWriter {
        TableWriter::new(
            &self.store,
            &self.env,
            self.table,
            Epoch(0),
            schema,
            options,
        )
        .unwrap()
    }

    async fn write(
        &self,
        schema: &Schema,
        options: WriteOptions,
        batches: &[RecordBatch],
    ) -> Result<Vec<DataFile>> {
        let mut writer = self.writer(schema, options);
        for batch in batches {
            writer.write(batch).await?;
        }
        writer.finish().await
    }

    async fn one(&self, batch: &RecordBatch) -> (Schema, DataFile) {
        let schema = Schema::from_arrow(&batch.schema()).unwrap();
        let mut files = self
            .write(
                &schema,
                WriteOptions::default(),
                std::slice::from_ref(batch),
            )
            .await
            .unwrap();
        assert_eq!(files.len(), 1);
        (schema, files.remove(0))
    }

    async fn read(&self, schema: &Schema, files: &[DataFile]) -> Result<RecordBatch> {
        let mut batches = Vec::new();
        for file in files {
            let stream = read_batches(&self.store, self.table, file, schema).await?;
            batches.extend(stream.try_collect::<Vec<_>>().await?);
        }
        Ok(concat_batches(&schema.to_arrow(), &batches).unwrap())
    }

    async fn verify(&self, schema: &Schema, file: &DataFile) -> Result<()> {
        verify_data_file(&self.store, self.table, file, schema).await
    }

    async fn bytes(&self, file: &DataFile) -> Vec<u8> {
        let range = 0..file.object.bytes;
        self.store
            .read_data_file(self.table, &file.object, std::slice::from_ref(&range))
            .await
            .unwrap()[0]
            .to_vec()
    }

    /// Stores `bytes` and describes them as `file` does.
    async fn replace(&self, file: &DataFile, bytes: &[u8]) -> DataFile {
        let mut staged = self.store.stage_data_file(self.table, Epoch(0)).unwrap();
        staged.write_all(bytes).unwrap();
        let object = self.store.put_data_file(staged).await.unwrap();
        DataFile {
            object,
            ..file.clone()
        }
    }

    async fn footer_error(&self, file: &DataFile) -> Error {
        let footer = fetch_footer(&self.store, self.table, file).await;
        footer.unwrap_err()
    }
}

fn field(name: &str, ty: DataType, nullable: bool) -> Field {
    Field::new(name, ty, nullable)
}

/// A column of every type, flat and nested, NULL allowed and not.
fn everything() -> ArrowSchema {
    use DataType as T;
    let flat = [
        T::Boolean,
        T::Int8,
        T::Int16,
        T::Int32,
        T::Int64,
        T::UInt8,
        T::UInt16,
        T::UInt32,
        T::UInt64,
        T::Float16,
        T::Float32,
        T::Float64,
        T::Decimal128(9, 2),
        T::Decimal128(18, 3),
        T::Decimal128(38, 10),
        T::Decimal256(50, 5),
        T::Date32,
        T::Date64,
        T::Time32(TimeUnit::Second),
        T::Time32(TimeUnit::Millisecond),
        T::Time64(TimeUnit::Microsecond),
        T::Time64(TimeUnit::Nanosecond),
        T::Timestamp(TimeUnit::Second, None),
        T::Timestamp(TimeUnit::Millisecond, Some("Europe/Berlin".into())),
        T::Timestamp(TimeUnit::Microsecond, Some("+05:30".into())),
        T::Timestamp(TimeUnit::Nanosecond, Some("UTC".into())),
        T::Utf8View,
        T::BinaryView,
        T::FixedSizeBinary(4),
        T::FixedSizeBinary(70),
    ];
    let mut fields = Vec::new();
    for (i, ty) in flat.into_iter().enumerate() {
        fields.push(field(&format!("n{i}"), ty.clone(), true));
        fields.push(field(&format!("r{i}"), ty, false));
    }
    let point = T::Struct(vec![field("x", T::Int64, false), field("s", T::Utf8View, true)].into());
    let list = |ty: T, nullable| T::List(Arc::new(field("item", ty, nullable)));
    let entries = T::Struct(
        vec![
            field("keys", T::Utf8View, false),
            field("values", list(T::Float32, false), true),
        ]
        .into(),
    );
    fields.extend([
        field("strings", list(T::Utf8View, true), true),
        field("required", list(T::Int32, false), false),
        field("point", point.clone(), true),
        field("points", list(point.clone(), false), true),
        field("deep", list(list(T::Decimal128(20, 4), true), true), true),
        field(
            "triple",
            T::FixedSizeList(Arc::new(field("item", T::Int16, false)), 3),
            true,
        ),
        field(
            "map",
            T::Map(Arc::new(field("entries", entries, false)), false),
            true,
        ),
        field(
            "nest",
            T::Struct(vec![field("point", point, false)].into()),
            true,
        ),
    ]);
    ArrowSchema::new(fields)
}

/// The same rows in layouts that another engine could send, without field ids.
fn relaid(batch: &RecordBatch) -> RecordBatch {
    fn loose(field: &Field, list: bool) -> Field {
        Field::new(field.name(), relaid_type(field.data_type(), list), true)
    }
    fn relaid_type(ty: &DataType, list: bool) -> DataType {
        match ty {
            DataType::Utf8View => DataType::LargeUtf8,
            DataType::BinaryView => DataType::Binary,
            DataType::List(f) if list => DataType::LargeList(Arc::new(loose(f, list))),
            DataType::List(f) => DataType::ListView(Arc::new(loose(f, list))),
            DataType::Struct(fields) => {
                DataType::Struct(fields.iter().map(|f| loose(f, list)).collect())
            }
            DataType::Timestamp(unit, Some(_)) => DataType::Timestamp(*unit, Some("UTC".into())),
            other => other.clone(),
        }
    }
    let columns = batch.columns().iter().enumerate().map(|(i, column)| {
        let ty = relaid_type(column.data_type(), i % 2 == 0);
        (
            batch.schema().field(i).name().clone(),
            cast(column, &ty).unwrap(),
        )
    });
    RecordBatch::try_from_iter(columns).unwrap()
}

/// The batch with the types and field ids of the schema.
fn stored(schema: &Schema, batch: &RecordBatch) -> RecordBatch {
    let arrow = schema.to_arrow();
    let columns = batch
        .columns()
        .iter()
        .zip(arrow.fields())
        .map(|(column, field)| {
            let data = column.to_data();
            make_array(retyped(&data, field.data_type()))
        })
        .collect();
    RecordBatch::try_new(arrow, columns).unwrap()
}

fn retyped(data: &ArrayData, ty: &DataType) -> ArrayData {
    let children: Vec<&DataType> = match ty {
        DataType::List(f) | DataType::FixedSizeList(f, _) | DataType::Map(f, _) => {
            vec![f.data_type()]
        }
        DataType::Struct(fields) => fields.iter().map(|f| f.data_type()).collect(),
        _ => Vec::new(),
    };
    let children = data
        .child_data()
        .iter()
        .zip(children)
        .map(|(data, ty)| retyped(data, ty))
        .collect();
    data.clone()
        .into_builder()
        .data_type(ty.clone())
        .child_data(children)
        .build()
        .unwrap()
}
