//! What a writer does not accept, and what it accepts in another layout.

use std::sync::Arc;

use arrow::array::{
    Array, ArrayRef, AsArray as _, Int32Array, Int64Array, ListArray, PrimitiveArray, RecordBatch,
    StringArray, StructArray, new_null_array,
};
use arrow::buffer::{NullBuffer, OffsetBuffer};
use arrow::compute::cast;
use arrow::datatypes::{DataType, Decimal128Type, Schema as ArrowSchema};

use super::super::{TableWriter, WriteOptions};
use super::{Fixture, field};
use crate::error::{Error, ErrorKind};
use crate::format::Schema;
use crate::id::Epoch;

async fn refused(schema: ArrowSchema, columns: Vec<ArrayRef>) -> Error {
    let names = (0..columns.len()).map(|i| format!("in{i}"));
    let batch = RecordBatch::try_from_iter(names.zip(columns)).unwrap();
    let schema = Schema::from_arrow(&schema).unwrap();
    let fixture = Fixture::new();
    fixture
        .write(&schema, WriteOptions::default(), &[batch])
        .await
        .unwrap_err()
}

#[tokio::test]
async fn a_null_is_refused_where_the_schema_allows_none() {
    let schema = ArrowSchema::new(vec![field("a", DataType::Int32, false)]);
    let nulls: ArrayRef = Arc::new(Int32Array::from(vec![Some(1), None]));
    let error = refused(schema.clone(), vec![nulls]).await;
    assert_eq!(
        (error.kind(), error.context("column")),
        (ErrorKind::Invalid, Some("a"))
    );
    let error = refused(schema, vec![new_null_array(&DataType::Null, 2)]).await;
    assert_eq!(
        (error.kind(), error.context("column")),
        (ErrorKind::Invalid, Some("a"))
    );

    let part = |nullable| vec![field("x", DataType::Int32, nullable)].into();
    let list = |fields| DataType::List(Arc::new(field("item", DataType::Struct(fields), true)));
    let schema = ArrowSchema::new(vec![field("l", list(part(false)), true)]);
    let x: ArrayRef = Arc::new(Int32Array::from(vec![Some(1), None, None]));
    let structs = |nulls: Vec<bool>| {
        let structs = StructArray::new(part(true), vec![Arc::clone(&x)], Some(nulls.into()));
        let item = Arc::new(field("item", DataType::Struct(part(true)), true));
        let offsets = OffsetBuffer::from_lengths([1, 1, 1]);
        let lists = Some(NullBuffer::from(vec![true, true, false]));
        Arc::new(ListArray::new(item, offsets, Arc::new(structs), lists)) as ArrayRef
    };
    let error = refused(schema.clone(), vec![structs(vec![true, true, true])]).await;
    assert_eq!(
        (error.kind(), error.context("column")),
        (ErrorKind::Invalid, Some("l.item.x"))
    );

    // Hidden below a NULL, a NULL is none: once below a struct, once below a list.
    let fixture = Fixture::new();
    let schema = Schema::from_arrow(&schema).unwrap();
    let batch = RecordBatch::try_from_iter([("l", structs(vec![true, false, true]))]).unwrap();
    let files = fixture
        .write(&schema, WriteOptions::default(), &[batch])
        .await
        .unwrap();
    fixture.verify(&schema, &files[0]).await.unwrap();
    let back = fixture.read(&schema, &files).await.unwrap();
    let lists = back.column(0).as_list::<i32>();
    assert_eq!((lists.is_null(1), lists.is_null(2)), (false, true));
    assert!(lists.value(1).is_null(0));
    assert_eq!(
        lists.value(0).as_struct().column(0).as_ref(),
        &Int32Array::from(vec![1]) as &dyn Array
    );
}

#[tokio::test]
async fn what_an_outer_null_hides_may_be_null_at_any_depth() {
    let leaf = |nullable| vec![field("x", DataType::Int32, nullable)].into();
    let inner = |nullable| vec![field("inner", DataType::Struct(leaf(nullable)), nullable)].into();
    let schema = ArrowSchema::new(vec![field("s", DataType::Struct(inner(false)), true)]);
    let schema = Schema::from_arrow(&schema).unwrap();
    let x: ArrayRef = Arc::new(Int32Array::from(vec![Some(1), None]));
    let middle: ArrayRef = Arc::new(StructArray::new(leaf(true), vec![x], None));
    let batch = |valid: [bool; 2]| {
        let nulls = Some(NullBuffer::from(valid.to_vec()));
        let outer = StructArray::new(inner(true), vec![Arc::clone(&middle)], nulls);
        RecordBatch::try_from_iter([("s", Arc::new(outer) as ArrayRef)]).unwrap()
    };
    let fixture = Fixture::new();
    let options = WriteOptions::default();
    let error = fixture
        .write(&schema, options, &[batch([true, true])])
        .await
        .unwrap_err();
    assert_eq!(error.context("column"), Some("s.inner.x"));

    let files = fixture
        .write(&schema, options, &[batch([true, false])])
        .await
        .unwrap();
    fixture.verify(&schema, &files[0]).await.unwrap();
    let back = fixture.read(&schema, &files).await.unwrap();
    assert_eq!(
        (back.column(0).is_null(0), back.column(0).is_null(1)),
        (false, true)
    );
}

#[tokio::test]
async fn columns_of_another_number_or_type_are_refused() {
    let schema = ArrowSchema::new(vec![
        field("a", DataType::Int32, true),
        field("b", DataType::Decimal128(5, 2), true),
    ]);
    let ints: ArrayRef = Arc::new(Int32Array::from(vec![1]));
    let decimals = |v: i128, p| -> ArrayRef {
        let array = PrimitiveArray::<Decimal128Type>::from(vec![v]);
        Arc::new(array.with_precision_and_scale(p, 2).unwrap())
    };
    let error = refused(schema.clone(), vec![Arc::clone(&ints)]).await;
    assert_eq!(
        (error.kind(), error.context("given")),
        (ErrorKind::Invalid, Some("1"))
    );
    for (columns, name) in [
        (
            vec![
                Arc::new(Int64Array::from(vec![1])) as ArrayRef,
                decimals(1, 5),
            ],
            "a",
        ),
        (
            vec![
                Arc::new(StringArray::from(vec!["1"])) as ArrayRef,
                decimals(1, 5),
            ],
            "a",
        ),
        (vec![Arc::clone(&ints), decimals(1, 6)], "b"),
        // Six digits in a column of five: Parquet would store other digits.
        (vec![Arc::clone(&ints), decimals(100_000, 5)], "b"),
        (vec![Arc::clone(&ints), decimals(-100_000, 5)], "b"),
    ] {
        let error = refused(schema.clone(), columns).await;
        assert_eq!(
            (error.kind(), error.context("column")),
            (ErrorKind::Invalid, Some(name))
        );
    }
    let parts = |first: &str, second: &str| {
        vec![
            field(first, DataType::Int32, true),
            field(second, DataType::Int32, true),
        ]
    };
    let schema = ArrowSchema::new(vec![field(
        "s",
        DataType::Struct(parts("x", "y").into()),
        true,
    )]);
    let swapped = StructArray::new(parts("y", "x").into(), vec![Arc::clone(&ints), ints], None);
    let error = refused(schema, vec![Arc::new(swapped)]).await;
    assert_eq!(
        (error.kind(), error.context("column")),
        (ErrorKind::Invalid, Some("s"))
    );
}

#[tokio::test]
async fn dictionaries_runs_and_untyped_nulls_become_plain_columns() {
    let fixture = Fixture::new();
    let strings: ArrayRef = Arc::new(StringArray::from(vec![Some("x"), None, Some("x")]));
    let key = DataType::Dictionary(Box::new(DataType::Int8), Box::new(DataType::Utf8));
    let runs = DataType::RunEndEncoded(
        Arc::new(field("run_ends", DataType::Int32, false)),
        Arc::new(field("values", DataType::Utf8, true)),
    );
    let columns = ["dictionary", "runs", "null"].map(str::to_owned);
    let schema = ArrowSchema::new(
        columns
            .iter()
            .map(|name| field(name, DataType::Utf8View, true))
            .collect::<Vec<_>>(),
    );
    let schema = Schema::from_arrow(&schema).unwrap();
    let batch = RecordBatch::try_from_iter(columns.into_iter().zip([
        cast(&strings, &key).unwrap(),
        cast(&strings, &runs).unwrap(),
        new_null_array(&DataType::Null, 3),
    ]))
    .unwrap();
    let files = fixture
        .write(&schema, WriteOptions::default(), &[batch])
        .await
        .unwrap();
    fixture.verify(&schema, &files[0]).await.unwrap();
    let back = fixture.read(&schema, &files).await.unwrap();
    let expected = cast(&strings, &DataType::Utf8View).unwrap();
    assert_eq!((back.column(0), back.column(1)), (&expected, &expected));
    assert_eq!(back.column(2).null_count(), 3);
    let nulls: Vec<_> = files[0]
        .columns
        .values()
        .map(|stats| stats.null_count)
        .collect();
    assert_eq!(nulls, [Some(1), Some(1), Some(3)]);
}

#[tokio::test]
async fn a_writer_that_failed_accepts_nothing_more() {
    let fixture = Fixture::new();
    let schema = ArrowSchema::new(vec![field("a", DataType::Int32, false)]);
    let schema = Schema::from_arrow(&schema).unwrap();
    let batch = |v: Option<i32>| {
        let array: ArrayRef = Arc::new(Int32Array::from(vec![v]));
        RecordBatch::try_from_iter([("a", array)]).unwrap()
    };
    let mut writer = fixture.writer(&schema, WriteOptions::default());
    writer.write(&batch(Some(1))).await.unwrap();
    assert!(writer.memory_bytes() > 0);
    writer.write(&batch(None)).await.unwrap_err();
    writer.write(&batch(Some(1))).await.unwrap_err();
    writer.finish().await.unwrap_err();
}

#[test]
fn options_out_of_range_are_refused() {
    let fixture = Fixture::new();
    let schema = ArrowSchema::new(vec![field("a", DataType::Int32, false)]);
    let schema = Schema::from_arrow(&schema).unwrap();
    for options in [
        WriteOptions {
            target_bytes: 0,
            ..Default::default()
        },
        WriteOptions {
            row_group_rows: 0,
            ..Default::default()
        },
        WriteOptions {
            compression_level: 99,
            ..Default::default()
        },
    ] {
        let writer = TableWriter::new(
            &fixture.store,
            &fixture.env,
            fixture.table,
            Epoch(0),
            &schema,
            options,
        );
        assert_eq!(writer.unwrap_err().kind(), ErrorKind::Invalid);
    }
}

#[test]
fn types_that_parquet_cannot_hold_make_no_schema() {
    let item = Arc::new(field("item", DataType::Int8, true));
    let entries = vec![
        field("k", DataType::Utf8, true),
        field("v", DataType::Int8, true),
    ];
    let entries = Arc::new(field("entries", DataType::Struct(entries.into()), false));
    for ty in [
        DataType::FixedSizeBinary(0),
        DataType::FixedSizeList(item, 0),
        DataType::Map(entries, false),
        DataType::Decimal128(5, -1),
        DataType::Decimal128(5, 7),
        DataType::Decimal256(5, -1),
        DataType::Decimal256(40, 41),
    ] {
        let inner = Arc::new(field("inner", ty, true));
        let schema = ArrowSchema::new(vec![field("a", DataType::List(inner), true)]);
        let error = Schema::from_arrow(&schema).unwrap_err();
        assert_eq!(
            (error.kind(), error.context("column")),
            (ErrorKind::Unsupported, Some("inner"))
        );
    }
    let none = Schema::from_arrow(&ArrowSchema::empty()).unwrap_err();
    assert_eq!(none.kind(), ErrorKind::Unsupported);
}

#[test]
fn rows_of_a_stored_schema_that_parquet_cannot_hold_are_refused() {
    let fixture = Fixture::new();
    for schema in [
        r#"{"fields":[],"last_field_id":0}"#,
        r#"{"fields":[{"id":1,"name":"a","type":"fixed_binary(0)","nullable":true}],"last_field_id":1}"#,
        r#"{"fields":[{"id":1,"name":"a","type":"decimal128(5,7)","nullable":true}],"last_field_id":1}"#,
    ] {
        let schema = serde_json::from_str::<Schema>(schema).unwrap();
        let options = WriteOptions::default();
        let (store, env, table) = (&fixture.store, &fixture.env, fixture.table);
        let writer = TableWriter::new(store, env, table, Epoch(0), &schema, options);
        assert_eq!(writer.unwrap_err().kind(), ErrorKind::Unsupported);
    }
}
