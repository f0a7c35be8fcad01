//! Column chunks are what the digests in the footer say, or are refused.

use std::ops::Range;
use std::sync::Arc;

use arrow::array::{ArrayRef, Int64Array, RecordBatch, StringArray};
use parquet::arrow::async_reader::AsyncFileReader as _;
use parquet::errors::ParquetError;

use super::super::chunks::Chunks;
use super::super::footer::fetch_footer;
use super::super::{DataFileReader, WriteOptions};
use super::generate::generate;
use super::{Fixture, everything};
use crate::error::{Error, ErrorKind};
use crate::format::{DataFile, Schema};
use crate::id::Digest;
use crate::store::Verify;

impl Fixture {
    fn reader(&self, file: &DataFile, verify: Verify) -> DataFileReader {
        let (store, file) = (self.store.clone(), Arc::new(file.clone()));
        DataFileReader::new(store, self.table, file).with_verify(verify)
    }

    /// Where the chunks of a file are, each its own range.
    async fn chunks(&self, file: &DataFile) -> (Chunks, Vec<Range<u64>>) {
        let footer = fetch_footer(&self.store, self.table, file).await.unwrap();
        let chunks = Chunks::of(&footer).unwrap();
        let start = 4..file.object.bytes - u64::from(file.footer_bytes);
        let ranges = chunks.around(std::slice::from_ref(&start)).unwrap();
        (chunks, ranges)
    }
}

fn slice<'a>(bytes: &'a [u8], range: &Range<u64>) -> &'a [u8] {
    let (start, end) = (
        range.start.try_into().unwrap(),
        range.end.try_into().unwrap(),
    );
    &bytes[start..end]
}

fn refused(error: ParquetError) -> Error {
    match error {
        ParquetError::External(error) => *error.downcast::<Error>().unwrap(),
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn every_chunk_of_every_row_group_has_the_digest_of_its_bytes() {
    let fixture = Fixture::new();
    let batch = generate(&everything(), 21, 900);
    let schema = Schema::from_arrow(&batch.schema()).unwrap();
    let options = WriteOptions {
        row_group_rows: 200,
        ..WriteOptions::default()
    };
    let files = fixture.write(&schema, options, &[batch]).await.unwrap();
    for file in &files {
        let bytes = fixture.bytes(file).await;
        let (chunks, ranges) = fixture.chunks(file).await;
        assert_eq!(ranges.len() % 5, 0, "five row groups");
        // All bytes between the magic number and the footer belong to a chunk.
        assert_eq!(ranges[0].start, 4);
        assert!(ranges.windows(2).all(|two| two[0].end == two[1].start));
        let read = |range: &Range<u64>| (range.clone(), slice(&bytes, range).to_vec().into());
        chunks
            .check(&ranges.iter().map(read).collect::<Vec<_>>())
            .unwrap();
        fixture.verify(&schema, file).await.unwrap();
    }
}

#[tokio::test]
async fn verified_ranges_are_the_same_bytes() {
    let fixture = Fixture::new();
    let (_, file) = fixture.one(&generate(&everything(), 22, 300)).await;
    let bytes = fixture.bytes(&file).await;
    let (_, chunks) = fixture.chunks(&file).await;
    let end = file.object.bytes - u64::from(file.footer_bytes);
    let (first, last) = (&chunks[0], &chunks[chunks.len() - 1]);
    let ranges = vec![
        first.clone(),
        first.start + 1..first.end - 1,
        // Over several chunks, in any order, some twice.
        last.clone(),
        first.end - 1..chunks[3].start + 1,
        4..end,
        first.clone(),
        7..7,
    ];
    let mut reader = fixture.reader(&file, Verify::Full);
    let read = reader.get_byte_ranges(ranges.clone()).await.unwrap();
    for (range, read) in ranges.iter().zip(read) {
        assert_eq!(read, slice(&bytes, range), "{range:?}");
    }
    for outside in [0..4, 2..9, end - 1..end + 1] {
        let error = refused(reader.get_bytes(outside).await.unwrap_err());
        assert_eq!(error.kind(), ErrorKind::Corrupt, "{error}");
    }
}

#[tokio::test]
async fn a_flipped_bit_in_a_chunk_is_noticed_if_data_is_verified() {
    let fixture = Fixture::new();
    // Incompressible values: many bits can flip without a trace.
    let numbers = (0..200_i64).map(|i| i.wrapping_mul(0x1e37_79b9_7f4a_7c15));
    let names = (0..200).map(|i| Digest::of(format!("{i}").as_bytes()).to_hex());
    let columns: [(&str, ArrayRef); 2] = [
        ("a", Arc::new(numbers.collect::<Int64Array>())),
        ("s", Arc::new(names.map(Some).collect::<StringArray>())),
    ];
    let (schema, file) = fixture
        .one(&RecordBatch::try_from_iter(columns).unwrap())
        .await;
    let whole = fixture
        .read(&schema, std::slice::from_ref(&file))
        .await
        .unwrap();
    let bytes = fixture.bytes(&file).await;
    let (_, chunks) = fixture.chunks(&file).await;
    let mut unnoticed = 0;
    for chunk in &chunks {
        for at in (chunk.start..chunk.end).step_by(37) {
            let mut damaged = bytes.clone();
            damaged[usize::try_from(at).unwrap()] ^= 1 << (at % 8);
            let damaged = fixture.replace(&file, &damaged).await;
            let read = fixture.read(&schema, std::slice::from_ref(&damaged)).await;
            unnoticed += usize::from(read.is_ok_and(|read| read != whole));
            let mut reader = fixture.reader(&damaged, Verify::Full);
            let part = chunk.start..chunk.start + 5;
            let error = refused(reader.get_bytes(part).await.unwrap_err());
            assert_eq!(error.kind(), ErrorKind::Corrupt, "{error}");
            assert!(error.context("data_file").is_some(), "{error}");
            assert!(fixture.verify(&schema, &damaged).await.is_err());
            // Other chunks are read all the same.
            let other = chunks.iter().find(|other| *other != chunk).unwrap();
            reader.get_bytes(other.clone()).await.unwrap();
        }
    }
    assert!(unnoticed > 0, "wrong rows are what this is for");
}
