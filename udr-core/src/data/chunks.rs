//! Digests of column chunks, so that a part of a data file can be verified without the rest.
//!
//! In: pages on their way into a file, or a footer. Out: the digest of each chunk, in the footer's
//! key-value metadata; or bytes that are what their chunk's digest says. Called by `writer`,
//! `reader` and `footer`. The footer itself is verified against the manifest.

use std::ops::Range;
use std::sync::Arc;

use bytes::Bytes;
use parking_lot::Mutex;
use parquet::column::page_store::{
    InMemoryPageStore, PageKey, PageStore, PageStoreArgs, PageStoreFactory,
};
use parquet::errors::Result as ParquetResult;
use parquet::file::metadata::{KeyValue, ParquetMetaData};

use super::footer::chunk_range;
use crate::error::{Error, Result};
use crate::id::Digest;

/// The key of the footer's metadata under which the digests are.
const KEY: &str = "udr.chunk_digests";
/// The hexadecimal digits of a digest.
const DIGITS: usize = 64;

/// Hashes the chunks of one file while Parquet copies their pages into it, which it does chunk by
/// chunk, in the order in which their stores were made.
#[derive(Debug, Clone, Default)]
pub(super) struct ChunkHashes {
    by_chunk: Arc<Mutex<Vec<Option<Digest>>>>,
}

impl ChunkHashes {
    /// What the footer has to say of `chunks` chunks that were written.
    pub(super) fn metadata(&self, chunks: usize) -> Result<KeyValue> {
        let digests = self.by_chunk.lock();
        let known = digests.iter().flatten().map(|digest| digest.to_hex());
        let value = known.collect::<String>();
        if digests.len() != chunks || value.len() != chunks * DIGITS {
            return Err(Error::internal("not every column chunk was hashed"));
        }
        Ok(KeyValue::new(KEY.to_owned(), value))
    }
}

impl PageStoreFactory for ChunkHashes {
    fn create(&self, _args: &PageStoreArgs<'_>) -> ParquetResult<Box<dyn PageStore>> {
        let mut by_chunk = self.by_chunk.lock();
        by_chunk.push(None);
        Ok(Box::new(HashedPages {
            pages: InMemoryPageStore::default(),
            hasher: blake3::Hasher::new(),
            chunk: by_chunk.len() - 1,
            by_chunk: Arc::clone(&self.by_chunk),
        }))
    }
}

/// The pages of one chunk, which are taken in the order of the file.
struct HashedPages {
    pages: InMemoryPageStore,
    hasher: blake3::Hasher,
    chunk: usize,
    by_chunk: Arc<Mutex<Vec<Option<Digest>>>>,
}

impl PageStore for HashedPages {
    fn put(&mut self, value: Bytes) -> ParquetResult<PageKey> {
        self.pages.put(value)
    }

    fn take(&mut self, key: PageKey) -> ParquetResult<Bytes> {
        let bytes = self.pages.take(key)?;
        self.hasher.update(&bytes);
        Ok(bytes)
    }

    fn memory_size(&self) -> usize {
        self.pages.memory_size()
    }
}

impl Drop for HashedPages {
    fn drop(&mut self) {
        if let Some(digest) = self.by_chunk.lock().get_mut(self.chunk) {
            *digest = Some(self.hasher.finalize().into());
        }
    }
}

/// Where the chunks of a file are and what is in them, in order of place.
#[derive(Debug)]
pub(super) struct Chunks {
    chunks: Vec<(Range<u64>, Digest)>,
}

/// Checks that a footer has a digest for each chunk, if it has any.
pub(super) fn check_digests(metadata: &ParquetMetaData) -> Result<()> {
    let count = metadata.row_groups().iter().map(|g| g.num_columns());
    match recorded(metadata) {
        Some(text) if text.len() != count.sum::<usize>() * DIGITS => {
            Err(malformed("not every column chunk has a digest"))
        }
        _ => Ok(()),
    }
}

fn recorded(metadata: &ParquetMetaData) -> Option<&str> {
    let all = metadata.file_metadata().key_value_metadata()?;
    all.iter().find(|pair| pair.key == KEY)?.value.as_deref()
}

fn malformed(why: &str) -> Error {
    Error::corrupt(why.to_owned())
}

impl Chunks {
    /// The chunks of a file, by its footer.
    ///
    /// # Errors
    ///
    /// `Corrupt` if the footer has no digests, or some that are none.
    pub(super) fn of(metadata: &ParquetMetaData) -> Result<Self> {
        check_digests(metadata)?;
        let text = recorded(metadata)
            .ok_or_else(|| malformed("a data file has no digests of its column chunks"))?;
        let groups = metadata.row_groups().iter();
        let all = groups.flat_map(|group| group.columns());
        let mut chunks = all
            .zip(text.as_bytes().chunks(DIGITS))
            .map(|(chunk, digits)| {
                let digest = std::str::from_utf8(digits).ok();
                let digest = digest.and_then(|digits| digits.parse().ok());
                chunk_range(chunk)
                    .zip(digest)
                    .ok_or_else(|| malformed("the digest of a column chunk cannot be read"))
            })
            .collect::<Result<Vec<_>>>()?;
        chunks.sort_by_key(|(range, _)| (range.start, range.end));
        if chunks.windows(2).any(|two| two[0].0.end > two[1].0.start) {
            return Err(malformed("two column chunks are in one place"));
        }
        Ok(Self { chunks })
    }

    /// The whole chunks that must be read to verify `ranges`, each once.
    ///
    /// # Errors
    ///
    /// `Corrupt` if a part of a range is in no chunk.
    pub(super) fn around(&self, ranges: &[Range<u64>]) -> Result<Vec<Range<u64>>> {
        let mut wanted = vec![false; self.chunks.len()];
        for range in ranges.iter().filter(|range| !range.is_empty()) {
            let mut at = self.chunks.partition_point(|(c, _)| c.end <= range.start);
            let mut covered = range.start;
            while covered < range.end {
                let chunk = self.chunks.get(at).map(|(chunk, _)| chunk);
                let Some(chunk) = chunk.filter(|chunk| chunk.start <= covered) else {
                    return Err(malformed("bytes of a data file are in no column chunk")
                        .with("range", format!("{}..{}", range.start, range.end)));
                };
                wanted[at] = true;
                covered = chunk.end;
                at += 1;
            }
        }
        let chunks = self.chunks.iter().zip(wanted);
        Ok(chunks
            .filter(|(_, wanted)| *wanted)
            .map(|((range, _), _)| range.clone())
            .collect())
    }

    /// Checks whole chunks that were read.
    ///
    /// # Errors
    ///
    /// `Corrupt` if one is not what its digest says.
    pub(super) fn check(&self, read: &[(Range<u64>, Bytes)]) -> Result<()> {
        for (range, bytes) in read {
            let known = self.chunks.iter().find(|(chunk, _)| chunk == range);
            if known.is_none_or(|(_, digest)| *digest != Digest::of(bytes)) {
                return Err(malformed("a column chunk has been altered")
                    .with("range", format!("{}..{}", range.start, range.end)));
            }
        }
        Ok(())
    }
}

/// Cuts `range` out of adjoining pieces that cover it.
pub(super) fn cut(read: &[(Range<u64>, Bytes)], range: &Range<u64>) -> Result<Bytes> {
    let mut parts = Vec::new();
    for (piece, bytes) in read {
        let (start, end) = (range.start.max(piece.start), range.end.min(piece.end));
        if start < end {
            let place = |at: u64| usize::try_from(at - piece.start).ok();
            let part = place(start).zip(place(end)).filter(|p| p.1 <= bytes.len());
            let (start, end) = part.ok_or_else(|| Error::internal("a piece is too short"))?;
            parts.push(bytes.slice(start..end));
        }
    }
    Ok(match parts.as_slice() {
        [one] => one.clone(),
        parts => parts.concat().into(),
    })
}
