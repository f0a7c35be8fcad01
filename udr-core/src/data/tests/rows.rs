//! Rows come back as they were written, in the files and with the statistics they should have.

use std::collections::BTreeSet;
use std::sync::Arc;

use arrow::array::{
    Array as _, ArrayRef, AsArray as _, Float64Array, Int64Array, RecordBatch, StringArray,
};
use arrow::datatypes::Int64Type;
use proptest::prelude::*;
use rand::SeedableRng as _;
use rand::rngs::StdRng;

use super::super::WriteOptions;
use super::super::seen::has_nan;
use super::super::stats::{lower_bound, upper_bound};
use super::generate::generate;
use super::{Fixture, everything, relaid, stored};
use crate::error::ErrorKind;
use crate::format::{Bound, ColumnStats, DataFile, Schema, Type, Value};
use crate::id::FieldId;
use crate::store::{Store, StoreOptions};

fn block_on<T>(future: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread()
        .build()
        .unwrap()
        .block_on(future)
}

/// Statistics could be left out without being wrong; they are not.
fn assert_known(schema: &Schema, file: &DataFile, batch: &RecordBatch) {
    for (field, array) in schema.fields().iter().zip(batch.columns()) {
        let Some(stats) = file.columns.get(&field.id) else {
            assert!(!field.ty.children().is_empty(), "{}", field.name);
            continue;
        };
        assert_eq!(
            stats.null_count,
            Some(array.null_count() as u64),
            "{}",
            field.name
        );
        let decimal = matches!(field.ty, Type::Decimal128 { .. });
        assert!(stats.sum.is_some() == field.ty.has_sum() || decimal);
        let all_null = array.null_count() == array.len();
        let known = field.ty.has_bounds()
            && !all_null
            && !has_nan(array.as_ref())
            && field.ty != Type::FixedBinary(70);
        assert_eq!(stats.lower.is_some(), known, "{}", field.name);
        match field.ty {
            // Some have no short upper bound.
            Type::String | Type::Binary => assert!(known || stats.upper.is_none()),
            _ => assert_eq!(stats.upper.is_some(), known, "{}", field.name),
        }
        if !matches!(
            field.ty,
            Type::String | Type::Binary | Type::Float32 | Type::Float64
        ) {
            assert!(
                stats
                    .lower
                    .iter()
                    .chain(&stats.upper)
                    .all(|bound| bound.exact)
            );
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn rows_come_back_as_they_were_written_and_statistics_are_true(
        seed: u64,
        rows in 0_usize..300,
        cut in 0_usize..300,
        row_group_rows in 1_usize..200,
        target_bytes in prop_oneof![Just(1_u64), Just(200_000), Just(u64::MAX)],
    ) {
        block_on(async {
            let fixture = Fixture::new();
            let arrow = everything();
            let schema = Schema::from_arrow(&arrow).unwrap();
            let batch = generate(&arrow, seed, rows);
            let cut = cut.min(rows);
            let batches = [batch.slice(0, cut), relaid(&batch.slice(cut, rows - cut))];
            let options = WriteOptions { row_group_rows, target_bytes, ..Default::default() };
            let files = fixture.write(&schema, options, &batches).await.unwrap();
            let files_expected = if target_bytes == 1 {
                usize::from(cut > 0) + usize::from(cut < rows)
            } else {
                files.len()
            };
            assert_eq!(files.len(), files_expected);
            assert_eq!(files.iter().map(|f| f.rows).sum::<u64>(), rows as u64);
            let back = fixture.read(&schema, &files).await.unwrap();
            assert_eq!(back, stored(&schema, &batch));
            let mut start = 0;
            for file in &files {
                file.validate().unwrap();
                fixture.verify(&schema, file).await.unwrap();
                let rows = usize::try_from(file.rows).unwrap();
                assert_known(&schema, file, &batch.slice(start, rows));
                start += rows;
            }
        });
    }

    #[test]
    fn short_bounds_of_strings_bound_them(
        text in prop_oneof![
            "\\PC{0,200}",
            "[\u{10fffe}\u{10ffff}]{0,80}",
            "[\u{d7ff}\u{e000}a\u{7f}\u{80}\u{7ff}\u{800}\u{ffff}\u{10000}]{0,120}",
        ]
    ) {
        let bound = |value| Bound { value, exact: true };
        let lower = lower_bound(bound(Value::String(text.clone()))).unwrap();
        let upper = upper_bound(bound(Value::String(text.clone())));
        let Value::String(low) = lower.value else { panic!() };
        prop_assert!(low <= text && low.len() <= 64);
        prop_assert_eq!(lower.exact, low == text);
        match upper {
            Some(Bound { value: Value::String(high), exact }) => {
                prop_assert!(high >= text && high.len() <= 64);
                prop_assert_eq!(exact, high == text);
            }
            None => prop_assert!(text.chars().take(16).all(|c| c == char::MAX)),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn short_bounds_of_binaries_bound_them(
        bytes in prop::collection::vec(prop_oneof![Just(0xff_u8), Just(0xfe), any::<u8>()], 0..150)
    ) {
        let bound = |value| Bound { value, exact: true };
        let lower = lower_bound(bound(Value::Binary(bytes.clone()))).unwrap();
        let upper = upper_bound(bound(Value::Binary(bytes.clone())));
        let Value::Binary(low) = lower.value else { panic!() };
        prop_assert!(low <= bytes && low.len() <= 64);
        match upper {
            Some(Bound { value: Value::Binary(high), .. }) => {
                prop_assert!(high >= bytes && high.len() <= 64);
            }
            None => prop_assert!(bytes.iter().take(64).all(|b| *b == 0xff)),
            other => panic!("{other:?}"),
        }
    }
}

#[test]
fn the_same_batches_have_the_same_digests() {
    block_on(async {
        let arrow = everything();
        let schema = Schema::from_arrow(&arrow).unwrap();
        let batch = generate(&arrow, 7, 500);
        let batches = [batch.slice(0, 123), batch.slice(123, 377)];
        let options = WriteOptions {
            row_group_rows: 100,
            ..Default::default()
        };
        let first = Fixture::new()
            .write(&schema, options, &batches)
            .await
            .unwrap();
        let second = Fixture::new()
            .write(&schema, options, &batches)
            .await
            .unwrap();
        assert_eq!(first, second);
    });
}

#[tokio::test]
async fn a_writer_without_rows_makes_no_file() {
    let fixture = Fixture::new();
    let arrow = everything();
    let schema = Schema::from_arrow(&arrow).unwrap();
    let empty = RecordBatch::new_empty(Arc::new(arrow));
    assert_eq!(
        fixture
            .write(&schema, WriteOptions::default(), &[empty])
            .await
            .unwrap(),
        []
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_long_stream_becomes_several_files_whose_rows_are_in_order() {
    let fixture = Fixture::new();
    let numbers = |from: i64| -> RecordBatch {
        let mut rng = StdRng::seed_from_u64(from.unsigned_abs());
        let noise =
            StringArray::from_iter_values((0..1_000).map(|_| rng.random::<u128>().to_string()));
        RecordBatch::try_from_iter([
            (
                "n",
                Arc::new(Int64Array::from_iter_values(from..from + 1_000)) as ArrayRef,
            ),
            ("noise", Arc::new(noise)),
        ])
        .unwrap()
    };
    let batches: Vec<_> = (0..30).map(|i| numbers(i * 1_000)).collect();
    let schema = Schema::from_arrow(&batches[0].schema()).unwrap();
    let options = WriteOptions {
        target_bytes: 100_000,
        row_group_rows: 1_500,
        ..Default::default()
    };
    // In a task of its own, as an engine does it.
    let (fixture, files) = {
        let (schema, batches) = (schema.clone(), batches.clone());
        let task = tokio::spawn(async move {
            let files = fixture.write(&schema, options, &batches).await.unwrap();
            (fixture, files)
        });
        task.await.unwrap()
    };
    assert!(files.len() > 4, "{}", files.len());
    let ids: BTreeSet<_> = files.iter().map(|f| f.id).collect();
    assert_eq!(ids.len(), files.len());
    let back = fixture.read(&schema, &files).await.unwrap();
    let expected = (0..30_000).collect::<Vec<i64>>();
    assert_eq!(
        back.column(0).as_primitive::<Int64Type>().values(),
        expected.as_slice()
    );
    // The bounds of one file begin where those of the one before end.
    let mut next = 0;
    for file in &files {
        assert!(file.object.bytes < 300_000, "{}", file.object.bytes);
        let stats = &file.columns[&FieldId(1)];
        assert_eq!(
            stats.lower,
            Some(Bound {
                value: Value::Int(next),
                exact: true
            })
        );
        next += i64::try_from(file.rows).unwrap();
        assert_eq!(
            stats.upper,
            Some(Bound {
                value: Value::Int(next - 1),
                exact: true
            })
        );
    }
}

#[tokio::test]
async fn one_large_batch_is_rolled_too() {
    let fixture = Fixture::new();
    let mut rng = StdRng::seed_from_u64(3);
    let noise = Int64Array::from_iter_values((0..400_000).map(|_| rng.random::<i64>()));
    let batch = RecordBatch::try_from_iter([("n", Arc::new(noise) as ArrayRef)]).unwrap();
    let schema = Schema::from_arrow(&batch.schema()).unwrap();
    let options = WriteOptions {
        target_bytes: 1 << 20,
        ..Default::default()
    };
    let files = fixture
        .write(&schema, options, std::slice::from_ref(&batch))
        .await
        .unwrap();
    assert!(files.len() > 1);
    let back = fixture.read(&schema, &files).await.unwrap();
    assert_eq!(back.column(0), batch.column(0));
}

#[tokio::test]
async fn statistics_of_floats_leave_nan_out_and_widen_zeros() {
    let fixture = Fixture::new();
    let column = |values: Vec<Option<f64>>| Arc::new(Float64Array::from(values)) as ArrayRef;
    let batch = RecordBatch::try_from_iter([
        ("nan", column(vec![Some(1.0), Some(f64::NAN), None])),
        ("zero", column(vec![Some(0.0), None, Some(-0.0)])),
        (
            "plain",
            column(vec![Some(-1.5), Some(2.5), Some(f64::INFINITY)]),
        ),
        ("none", column(vec![None, None, None])),
    ])
    .unwrap();
    let (schema, file) = fixture.one(&batch).await;
    let bound = |v, exact| {
        Some(Bound {
            value: Value::Float(v),
            exact,
        })
    };
    let stats = |lower, upper, nulls| ColumnStats {
        lower,
        upper,
        null_count: Some(nulls),
        sum: None,
    };
    let expected = [
        stats(None, None, 1),
        stats(bound(-0.0, false), bound(0.0, false), 1),
        stats(bound(-1.5, true), bound(f64::INFINITY, true), 0),
        stats(None, None, 3),
    ];
    let found: Vec<_> = file.columns.values().cloned().collect();
    assert_eq!(found, expected);
    let Some(Bound {
        value: Value::Float(zero),
        ..
    }) = found[1].lower
    else {
        panic!()
    };
    assert!(zero.is_sign_negative());
    fixture.verify(&schema, &file).await.unwrap();
}

/// All files below a folder.
fn files_below(folder: &std::path::Path) -> Vec<std::path::PathBuf> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(folder).into_iter().flatten() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            found.extend(files_below(&path));
        } else {
            found.push(path);
        }
    }
    found
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn on_local_disk_files_have_the_names_of_their_digests_and_a_dropped_writer_leaves_none() {
    let folder = tempfile::tempdir().unwrap();
    let fixture = Fixture {
        store: Store::open(folder.path().to_str().unwrap(), &StoreOptions::default()).unwrap(),
        ..Fixture::new()
    };
    let arrow = everything();
    let schema = Schema::from_arrow(&arrow).unwrap();
    let batch = generate(&arrow, 21, 100);
    let mut dropped = fixture.writer(&schema, WriteOptions::default());
    dropped.write(&batch).await.unwrap();
    drop(dropped);
    assert_eq!(files_below(folder.path()), Vec::<std::path::PathBuf>::new());

    let options = WriteOptions {
        target_bytes: 1,
        ..Default::default()
    };
    let batches = [batch.slice(0, 30), batch.slice(30, 30), batch.slice(60, 40)];
    let files = fixture.write(&schema, options, &batches).await.unwrap();
    let expected: BTreeSet<_> = files
        .iter()
        .map(|f| format!("{}.parquet", f.object.digest))
        .collect();
    let found = files_below(folder.path());
    let names = found
        .iter()
        .map(|f| f.file_name().unwrap().to_str().unwrap().to_owned());
    assert_eq!(names.collect::<BTreeSet<_>>(), expected);
    assert_eq!(
        fixture.read(&schema, &files).await.unwrap(),
        stored(&schema, &batch)
    );

    // A bit that flips on the disk is found by whoever reads the whole file.
    let damaged = found
        .iter()
        .find(|f| f.ends_with(format!("{}.parquet", files[0].object.digest)));
    let mut bytes = std::fs::read(damaged.unwrap()).unwrap();
    bytes[100] ^= 1;
    std::fs::write(damaged.unwrap(), &bytes).unwrap();
    let error = fixture.verify(&schema, &files[0]).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Corrupt);
    let last = bytes.len() - 1;
    bytes[last] ^= 1;
    std::fs::write(damaged.unwrap(), &bytes).unwrap();
    let error = fixture.footer_error(&files[0]).await;
    assert!(error.message().contains("altered"), "{error}");
}
