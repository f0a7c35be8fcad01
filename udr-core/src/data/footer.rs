//! Footers of data files: fetched in one request, verified, checked, cached.

use std::ops::Range;
use std::slice;
use std::sync::Arc;

use bytes::Bytes;
use futures::FutureExt as _;
use parquet::errors::ParquetError;
use parquet::file::metadata::{
    ColumnChunkMetaData, FooterTail, PageIndexPolicy, ParquetMetaData, ParquetMetaDataPushDecoder,
    ParquetMetaDataReader,
};
use parquet::{DecodeResult, file::FOOTER_SIZE};

use super::adopt;
use super::chunks::check_digests;
use crate::error::{Error, Result};
use crate::format::DataFile;
use crate::id::{Digest, TableId};
use crate::store::{CacheKind, Place, Store};

/// Every Parquet file begins with four bytes that belong to no column.
const DATA_START: u64 = 4;

/// The footer of `file`, from memory or the store. Concurrent callers share one request.
///
/// # Errors
///
/// `Corrupt` if the footer is missing or not the one that `file` describes, `Unavailable`.
pub(super) async fn footer(
    store: &Store,
    table: TableId,
    file: &DataFile,
) -> Result<Arc<ParquetMetaData>> {
    // What others wrote they may change: it is looked at each time.
    if file.adopted.is_some() {
        return fetch_footer(store, table, file).await.map(Arc::new);
    }
    let read = || {
        let read = async {
            let footer = fetch_footer(store, table, file).await?;
            let bytes = footer.memory_size() as u64;
            Ok((Arc::new(footer), bytes))
        };
        read.boxed()
    };
    let cache = store.cache();
    cache.get_or_read(CacheKind::Footers, key(file), read).await
}

/// Names everything that a footer is checked against, so that two entries which disagree about one
/// file never share a verdict.
fn key(file: &DataFile) -> Digest {
    let mut claims = file.object.digest.as_bytes().to_vec();
    claims.extend(file.footer_digest.as_bytes());
    claims.extend(file.object.epoch.0.to_le_bytes());
    claims.extend(file.object.bytes.to_le_bytes());
    claims.extend(file.footer_bytes.to_le_bytes());
    claims.extend(file.rows.to_le_bytes());
    Digest::of(&claims)
}

/// Reads exactly the footer, verifies it, then parses and checks it.
pub(super) async fn fetch_footer(
    store: &Store,
    table: TableId,
    file: &DataFile,
) -> Result<ParquetMetaData> {
    let start = footer_start(file)?;
    let range = start..file.object.bytes;
    let parts = store
        .read_data_file(
            Place::of(table, file),
            &file.object,
            slice::from_ref(&range),
        )
        .await?;
    let [footer] = parts.as_slice() else {
        return Err(Error::internal(
            "one range was asked for, but not one returned",
        ));
    };
    if Digest::of(footer) != file.footer_digest {
        return Err(Error::corrupt("the footer of a data file has been altered")
            .with("data_file", file.object.digest));
    }
    parse_footer(footer, file).map_err(|e| e.with("data_file", file.object.digest))
}

fn footer_start(file: &DataFile) -> Result<u64> {
    file.object
        .bytes
        .checked_sub(u64::from(file.footer_bytes))
        .ok_or_else(|| {
            Error::corrupt("the footer of a data file is longer than the file")
                .with("data_file", file.object.digest)
        })
}

/// Parses a footer whose digest is right, and believes nothing in it that can be checked.
fn parse_footer(footer: &Bytes, file: &DataFile) -> Result<ParquetMetaData> {
    let unreadable =
        |e: ParquetError| Error::corrupt("the footer of a data file cannot be read").with_source(e);
    let start = footer_start(file)?;
    let Some((rest, tail)) = footer.split_last_chunk::<FOOTER_SIZE>() else {
        return Err(Error::corrupt("the footer of a data file is too short"));
    };
    let tail = FooterTail::try_new(tail).map_err(unreadable)?;
    let index_bytes = match rest.len().checked_sub(tail.metadata_length()) {
        Some(bytes) if !tail.is_encrypted_footer() => bytes,
        _ => return Err(Error::corrupt("the file metadata is not within the footer")),
    };
    let (_, metadata) = rest.split_at(index_bytes);
    let metadata = match &file.adopted {
        None => ParquetMetaDataReader::decode_metadata(metadata).map_err(unreadable)?,
        Some(adopted) => adopt::decode(metadata, adopted).map_err(unreadable)?,
    };
    check_metadata(&metadata, file, start..start + index_bytes as u64)?;
    check_digests(&metadata)?;

    let mut decoder =
        ParquetMetaDataPushDecoder::try_new_with_metadata(file.object.bytes, metadata)
            .map_err(unreadable)?
            .with_page_index_policy(PageIndexPolicy::Optional);
    decoder
        .push_range(start..file.object.bytes, footer.clone())
        .map_err(unreadable)?;
    match decoder.try_decode().map_err(unreadable)? {
        DecodeResult::Data(metadata) => {
            check_page_index(&metadata)?;
            Ok(metadata)
        }
        DecodeResult::NeedsData(_) | DecodeResult::Finished => {
            Err(Error::corrupt("the page index is not within the footer"))
        }
    }
}

/// Checks row counts, and that chunks lie before the footer and page indexes inside `index`.
fn check_metadata(metadata: &ParquetMetaData, file: &DataFile, index: Range<u64>) -> Result<()> {
    let rows = u64::try_from(metadata.file_metadata().num_rows()).ok();
    let in_groups = metadata.row_groups().iter().try_fold(0_u64, |sum, group| {
        u64::try_from(group.num_rows())
            .ok()
            .and_then(|rows| sum.checked_add(rows))
    });
    if rows != Some(file.rows) || in_groups != Some(file.rows) {
        return Err(
            Error::corrupt("a data file has another number of rows than its entry says")
                .with("entry", file.rows)
                .with("file", metadata.file_metadata().num_rows()),
        );
    }
    let columns = metadata.file_metadata().schema_descr().num_columns();
    for group in metadata.row_groups() {
        if group.num_columns() != columns {
            return Err(Error::corrupt(
                "a row group has another number of columns than its file",
            ));
        }
        for chunk in group.columns() {
            let inside =
                |part: Option<Range<u64>>| part.is_none_or(|part| is_within(&part, &index));
            let whole = chunk_range(chunk)
                .is_some_and(|chunk| is_within(&chunk, &(DATA_START..index.start)));
            if !whole
                || chunk.file_path().is_some()
                || chunk.num_values() < 0
                || !inside(index_range(
                    chunk.column_index_offset(),
                    chunk.column_index_length(),
                ))
                || !inside(index_range(
                    chunk.offset_index_offset(),
                    chunk.offset_index_length(),
                ))
            {
                return Err(
                    Error::corrupt("a column chunk is not where a data file has them")
                        .with("column", chunk.column_path()),
                );
            }
        }
    }
    Ok(())
}

/// Checks that pages lie inside their chunks and that their first rows ascend.
fn check_page_index(metadata: &ParquetMetaData) -> Result<()> {
    let Some(groups) = metadata.offset_index() else {
        return Ok(());
    };
    for (i, (group, pages)) in metadata.row_groups().iter().zip(groups).enumerate() {
        let bounds = metadata.column_index().and_then(|index| index.get(i));
        for (j, (chunk, pages)) in group.columns().iter().zip(pages).enumerate() {
            let wrong = || {
                Error::corrupt("the page index does not fit its column chunk")
                    .with("column", chunk.column_path())
            };
            let locations = pages.page_locations();
            let within = chunk_range(chunk).ok_or_else(wrong)?;
            let mut next_row = 0;
            for page in locations {
                let range = u64::try_from(page.offset).ok().and_then(|start| {
                    let bytes = u64::try_from(page.compressed_page_size).ok()?;
                    Some(start..start.checked_add(bytes)?)
                });
                if range.is_none_or(|range| !is_within(&range, &within))
                    || page.first_row_index < next_row
                    || page.first_row_index >= group.num_rows()
                {
                    return Err(wrong());
                }
                next_row = page.first_row_index + 1;
            }
            let first_row = locations.first().map(|page| page.first_row_index);
            let no_bounds = parquet::file::page_index::column_index::ColumnIndexMetaData::NONE;
            let bounds = bounds
                .and_then(|columns| columns.get(j))
                .filter(|b| **b != no_bounds);
            if first_row != (group.num_rows() > 0).then_some(0)
                || bounds.is_some_and(|bounds| bounds.num_pages() != locations.len() as u64)
            {
                return Err(wrong());
            }
        }
    }
    Ok(())
}

pub(super) fn chunk_range(chunk: &ColumnChunkMetaData) -> Option<Range<u64>> {
    let data = u64::try_from(chunk.data_page_offset()).ok()?;
    let start = match chunk.dictionary_page_offset() {
        Some(offset) => u64::try_from(offset).ok()?,
        None => data,
    };
    let end = start.checked_add(u64::try_from(chunk.compressed_size()).ok()?)?;
    (start <= data && data <= end).then_some(start..end)
}

/// Where a page index is; a part that makes no sense is put where nothing lies within.
fn index_range(offset: Option<i64>, length: Option<i32>) -> Option<Range<u64>> {
    let (offset, length) = (offset?, length?);
    let range = || {
        let start = u64::try_from(offset).ok()?;
        Some(start..start.checked_add(u64::try_from(length).ok()?)?)
    };
    Some(range().unwrap_or(0..u64::MAX))
}

fn is_within(part: &Range<u64>, whole: &Range<u64>) -> bool {
    whole.start <= part.start && part.start <= part.end && part.end <= whole.end
}
