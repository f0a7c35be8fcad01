//! Files and entries that do not belong together are found out.

use std::collections::{BTreeMap, BTreeSet};
use std::io::Write as _;
use std::sync::Arc;

use arrow::array::{ArrayRef, Int64Array, RecordBatch, StringArray};
use arrow::datatypes::{DataType, Schema as ArrowSchema};
use parquet::file::metadata::{ColumnChunkMetaDataBuilder, ParquetMetaDataWriter};
use parquet::file::writer::TrackedWrite;
use rand::rngs::StdRng;
use rand::{RngExt as _, SeedableRng as _};

use super::super::footer::{fetch_footer, footer};
use super::super::verify_footer;
use super::generate::generate;
use super::{Fixture, everything, field};
use crate::error::ErrorKind;
use crate::format::{Bound, ColumnStats, DataFile, Schema, SortField, Value};
use crate::id::{Digest, FieldId};

const LONG: &str =
    "xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx";

/// A file of two columns with ids 1 and 2.
async fn two_columns(fixture: &Fixture) -> (Schema, DataFile) {
    let a: ArrayRef = Arc::new(Int64Array::from(vec![Some(3), None, Some(9)]));
    let s: ArrayRef = Arc::new(StringArray::from(vec!["a", "b", LONG]));
    let batch = RecordBatch::try_from_iter([("a", a), ("s", s)]).unwrap();
    let (schema, file) = fixture.one(&batch).await;
    assert!(!file.columns[&FieldId(2)].upper.as_ref().unwrap().exact);
    (schema, file)
}

fn int(value: i64, exact: bool) -> Option<Bound> {
    Some(Bound {
        value: Value::Int(value),
        exact,
    })
}

fn text(value: &str, exact: bool) -> Option<Bound> {
    Some(Bound {
        value: Value::String(value.to_owned()),
        exact,
    })
}

fn by(source: i32, descending: bool) -> SortField {
    SortField {
        source: FieldId(source),
        descending,
        nulls_first: false,
    }
}

fn with(file: &DataFile, id: i32, change: impl Fn(&mut ColumnStats)) -> DataFile {
    let mut changed = file.clone();
    change(changed.columns.get_mut(&FieldId(id)).unwrap());
    changed
}

#[tokio::test]
async fn statistics_may_be_absent_or_wider() {
    let fixture = Fixture::new();
    let (schema, file) = two_columns(&fixture).await;
    for honest in [
        file.clone(),
        with(&file, 1, |s| *s = ColumnStats::default()),
        with(&file, 1, |s| s.lower = int(2, false)),
        with(&file, 1, |s| s.lower = int(3, false)),
        with(&file, 1, |s| s.upper = int(i64::MAX, false)),
        with(&file, 2, |s| s.lower = text("", false)),
        with(&file, 1, |s| s.sum = None),
        DataFile {
            // Of a column that the table does not have, nothing is said.
            sorted_by: vec![by(2, false), by(1, false), by(9, false)],
            ..file.clone()
        },
        DataFile {
            columns: BTreeMap::new(),
            ..file.clone()
        },
    ] {
        fixture.verify(&schema, &honest).await.unwrap();
    }
}

#[tokio::test]
async fn an_entry_that_lies_is_found_out() {
    let fixture = Fixture::new();
    let (schema, file) = two_columns(&fixture).await;
    for lying in [
        with(&file, 1, |s| s.null_count = Some(0)),
        with(&file, 1, |s| s.lower = int(4, false)),
        with(&file, 1, |s| s.lower = int(2, true)),
        with(&file, 1, |s| s.upper = int(8, false)),
        with(&file, 1, |s| s.upper = int(10, true)),
        with(&file, 1, |s| s.upper = text("z", false)),
        with(&file, 2, |s| s.upper = text(&LONG[..64], false)),
        with(&file, 2, |s| s.lower = text("aa", false)),
        with(&file, 1, |s| s.sum = Some(13)),
        with(&file, 2, |s| s.sum = Some(0)),
        DataFile {
            sorted_by: vec![by(1, true)],
            ..file.clone()
        },
        DataFile {
            sorted_by: vec![by(1, false)],
            ..file.clone()
        },
        DataFile {
            rows: 4,
            ..file.clone()
        },
        DataFile {
            footer_digest: Digest::of(b""),
            ..file.clone()
        },
        DataFile {
            footer_bytes: file.footer_bytes - 1,
            ..file.clone()
        },
    ] {
        let error = fixture.verify(&schema, &lying).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Corrupt, "{lying:?}");
        // The footer tells it as well, but for bounds that it has only truncated, and what it does
        // not have.
        let truncated = lying.columns[&FieldId(2)].upper == text(&LONG[..64], false);
        let unseen = lying.sorted_by != file.sorted_by
            || lying
                .columns
                .values()
                .zip(file.columns.values())
                .any(|(a, b)| a.sum != b.sum);
        let (store, table) = (&fixture.store, fixture.table);
        let footer = verify_footer(store, table, &lying, &schema).await;
        assert_eq!(footer.is_ok(), truncated || unseen, "{lying:?}");
    }
}

#[tokio::test]
async fn a_file_of_another_table_is_found_out() {
    let fixture = Fixture::new();
    let (_, file) = two_columns(&fixture).await;
    let other = ArrowSchema::new(vec![
        field("a", DataType::Int32, true),
        field("s", DataType::Utf8View, true),
    ]);
    let other = Schema::from_arrow(&other).unwrap();
    let error = fixture.verify(&other, &file).await.unwrap_err();
    assert_eq!(
        (error.kind(), error.context("column")),
        (ErrorKind::Corrupt, Some("a"))
    );
    let error = fixture.read(&other, &[file]).await.unwrap_err();
    assert_eq!(
        (error.kind(), error.context("column")),
        (ErrorKind::Corrupt, Some("a"))
    );
}

#[tokio::test]
async fn an_altered_footer_is_refused_before_it_is_parsed() {
    let fixture = Fixture::new();
    let (_, file) = fixture.one(&generate(&everything(), 11, 50)).await;
    let bytes = fixture.bytes(&file).await;
    let footer = bytes.len() - usize::try_from(file.footer_bytes).unwrap();
    for at in [footer, (footer + bytes.len()) / 2, bytes.len() - 1] {
        let mut altered = bytes.clone();
        altered[at] ^= 4;
        let altered = fixture.replace(&file, &altered).await;
        let error = fixture.footer_error(&altered).await;
        assert_eq!(error.kind(), ErrorKind::Corrupt);
        assert!(error.message().contains("altered"), "{error}");
    }
}

#[tokio::test]
async fn a_footer_with_the_right_digest_is_still_checked() {
    let fixture = Fixture::new();
    let (_, file) = fixture.one(&generate(&everything(), 12, 50)).await;
    let bytes = fixture.bytes(&file).await;

    let rows = DataFile {
        rows: file.rows + 1,
        ..file.clone()
    };
    assert_eq!(fixture.footer_error(&rows).await.kind(), ErrorKind::Corrupt);

    // The footer is whole, but the file lacks the columns that it points to.
    let footer = bytes.len() - usize::try_from(file.footer_bytes).unwrap();
    for data in [&bytes[..0], &bytes[..footer / 2], &bytes[..footer - 1]] {
        let shorter = fixture
            .replace(&file, &[data, &bytes[footer..]].concat())
            .await;
        assert_eq!(
            fixture.footer_error(&shorter).await.kind(),
            ErrorKind::Corrupt
        );
    }

    // Any footer at all, as long as its digest is right: an error, never a panic.
    let mut rng = StdRng::seed_from_u64(5);
    for _ in 0..2_000 {
        let mut altered = bytes.clone();
        for _ in 0..rng.random_range(1..4) {
            let at = rng.random_range(footer..bytes.len());
            altered[at] ^= 1 << rng.random_range(0..8);
        }
        let digest = Digest::of(&altered[footer..]);
        let altered = fixture.replace(&file, &altered).await;
        let altered = DataFile {
            footer_digest: digest,
            ..altered
        };
        let parsed = fetch_footer(&fixture.store, fixture.table, &altered).await;
        if let Err(error) = parsed {
            assert_eq!(error.kind(), ErrorKind::Corrupt, "{error}");
        }
    }
}

/// The same file with a footer that says something else, and an entry that vouches for it.
async fn forge(
    fixture: &Fixture,
    file: &DataFile,
    change: impl Fn(ColumnChunkMetaDataBuilder) -> ColumnChunkMetaDataBuilder,
) -> DataFile {
    let footer = fetch_footer(&fixture.store, fixture.table, file)
        .await
        .unwrap();
    let mut groups = footer.row_groups().to_vec();
    for group in &mut groups {
        let chunk = &mut group.columns_mut()[0];
        *chunk = change(chunk.clone().into_builder()).build().unwrap();
    }
    let forged = footer.clone().into_builder().set_row_groups(groups).build();

    let bytes = fixture.bytes(file).await;
    let start = bytes.len() - usize::try_from(file.footer_bytes).unwrap();
    let mut out = Vec::new();
    let mut tracked = TrackedWrite::new(&mut out);
    tracked.write_all(&bytes[..start]).unwrap();
    ParquetMetaDataWriter::new_with_tracked(tracked, &forged)
        .finish()
        .unwrap();
    let file = fixture.replace(file, &out).await;
    DataFile {
        footer_bytes: u32::try_from(out.len() - start).unwrap(),
        footer_digest: Digest::of(&out[start..]),
        ..file
    }
}

#[tokio::test]
async fn a_column_chunk_lies_before_the_footer() {
    let fixture = Fixture::new();
    let (_, file) = fixture.one(&generate(&everything(), 15, 50)).await;
    let honest = forge(&fixture, &file, |chunk| chunk).await;
    fetch_footer(&fixture.store, fixture.table, &honest)
        .await
        .unwrap();

    let end = i64::try_from(file.object.bytes - u64::from(file.footer_bytes)).unwrap();
    type Change = fn(ColumnChunkMetaDataBuilder, i64) -> ColumnChunkMetaDataBuilder;
    let changes: [Change; 8] = [
        |chunk, _| {
            chunk
                .set_data_page_offset(-1)
                .set_dictionary_page_offset(None)
        },
        |chunk, _| {
            chunk
                .set_data_page_offset(0)
                .set_dictionary_page_offset(None)
        },
        |chunk, end| {
            chunk
                .set_data_page_offset(end)
                .set_dictionary_page_offset(None)
        },
        |chunk, _| chunk.set_dictionary_page_offset(Some(i64::MIN)),
        |chunk, _| chunk.set_total_compressed_size(-1),
        |chunk, end| chunk.set_total_compressed_size(end),
        |chunk, _| chunk.set_total_compressed_size(i64::MAX / 2),
        // Inside the file, but not where its pages are.
        |chunk, _| chunk.set_total_compressed_size(1),
    ];
    for change in changes {
        let lying = forge(&fixture, &file, |chunk| change(chunk, end)).await;
        assert_eq!(
            fixture.footer_error(&lying).await.kind(),
            ErrorKind::Corrupt
        );
    }
}

#[tokio::test]
async fn a_cached_footer_is_not_used_for_an_entry_that_differs() {
    let fixture = Fixture::new();
    let (_, file) = fixture.one(&generate(&everything(), 13, 20)).await;
    let get = |file: &DataFile| {
        let (store, table, file) = (fixture.store.clone(), fixture.table, file.clone());
        async move { footer(&store, table, &file).await }
    };
    let first = get(&file).await.unwrap();
    assert!(Arc::ptr_eq(&first, &get(&file).await.unwrap()));
    let lying = DataFile {
        rows: 21,
        ..file.clone()
    };
    assert_eq!(get(&lying).await.unwrap_err().kind(), ErrorKind::Corrupt);
    let lying = DataFile {
        footer_digest: Digest::of(b"x"),
        ..file.clone()
    };
    assert_eq!(get(&lying).await.unwrap_err().kind(), ErrorKind::Corrupt);
}

#[tokio::test]
async fn every_column_of_a_file_has_its_field_id_and_a_page_index() {
    let fixture = Fixture::new();
    let (_, file) = fixture.one(&generate(&everything(), 14, 20)).await;
    let footer = footer(&fixture.store, fixture.table, &file).await.unwrap();
    let parquet = footer.file_metadata().schema_descr();
    let mut ids = BTreeSet::new();
    for column in parquet.columns() {
        assert!(ids.insert(column.self_type().get_basic_info().id()));
    }
    for root in parquet.root_schema().get_fields() {
        ids.insert(root.get_basic_info().id());
    }
    // The outer lists and groups, and the leaves.
    assert!(ids.len() > parquet.num_columns());
    assert_eq!(footer.file_metadata().created_by(), Some("udr"));
    assert_eq!(
        footer.offset_index().unwrap()[0].len(),
        parquet.num_columns()
    );
    assert!(footer.column_index().is_some());
}
