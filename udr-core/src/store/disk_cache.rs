//! Parts of data files of a remote store, on local disk.
//!
//! In: ranges of files that never change, and how to read what is not here. Out: their bytes. Called
//! by `objects`. Files are cut into blocks; a block is a file of its own, named by the digest of the
//! data file and its number, and ends with a digest of itself, so that one that was cut short or
//! rotted is read again. Any number of processes may use one folder. What goes wrong here is never
//! an error: the store is asked instead.

use std::collections::BTreeSet;
use std::fs;
use std::io::{self, Write as _};
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::SystemTime;

use bytes::Bytes;
use futures::future::BoxFuture;

use super::cache::CacheStats;
use crate::error::{Error, Result};
use crate::id::Digest;

/// The size of a block.
const BLOCK_BYTES: u64 = 256 << 10;
/// How much of the limit is left after old blocks were removed.
const KEPT_PERCENT: u64 = 90;
const DIGEST_BYTES: usize = 32;

/// Where parts of remote data files are kept.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DiskCacheOptions {
    /// A folder on local disk, made if it is not there. Processes that trust each other may share it:
    /// a block is believed if it is whole.
    pub folder: PathBuf,
    /// The most bytes it takes, about.
    pub bytes: u64,
}

/// The cache of one store; clones share it.
#[derive(Debug, Clone)]
pub(super) struct DiskCache {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    folder: PathBuf,
    limit: u64,
    hits: AtomicU64,
    misses: AtomicU64,
    /// Bytes written since old blocks were last looked for.
    written: AtomicU64,
    cleaning: AtomicBool,
}

impl DiskCache {
    pub(super) fn new(options: &DiskCacheOptions) -> Self {
        Self {
            inner: Arc::new(Inner {
                folder: options.folder.clone(),
                limit: options.bytes,
                hits: AtomicU64::new(0),
                misses: AtomicU64::new(0),
                // What others left is looked at with the first block.
                written: AtomicU64::new(options.bytes),
                cleaning: AtomicBool::new(false),
            }),
        }
    }

    pub(super) fn limit(&self) -> u64 {
        self.inner.limit
    }

    /// The bytes of `ranges`, none of which is empty, of the file `digest` that has `length` bytes;
    /// `read` reads what is not here.
    ///
    /// # Errors
    ///
    /// Those of `read`.
    pub(super) async fn ranges<'a>(
        &self,
        digest: Digest,
        length: u64,
        ranges: &[Range<u64>],
        read: impl FnOnce(Vec<Range<u64>>) -> BoxFuture<'a, Result<Vec<Bytes>>>,
    ) -> Result<Vec<Bytes>> {
        let wanted = ranges.iter().flat_map(blocks).collect::<BTreeSet<_>>();
        let block_range = move |block: u64| {
            let start = block * BLOCK_BYTES;
            start..length.min(start + BLOCK_BYTES)
        };
        let inner = Arc::clone(&self.inner);
        let found = tokio::task::spawn_blocking(move || {
            let found = wanted.into_iter().map(|block| {
                let path = inner.path(&digest, block);
                let bytes = block_range(block).end - block_range(block).start;
                (block, load(&path, bytes))
            });
            found.collect::<Vec<_>>()
        });
        let found = found.await;
        let mut found = found.map_err(|e| Error::internal("a task ended").with_source(e))?;
        let missing = found.iter().filter(|(_, bytes)| bytes.is_none());
        let missing = missing.map(|(block, _)| *block).collect::<Vec<_>>();
        let count = |counter: &AtomicU64, blocks: usize| {
            counter.fetch_add(blocks as u64, Ordering::Relaxed);
        };
        count(&self.inner.hits, found.len() - missing.len());
        count(&self.inner.misses, missing.len());
        if !missing.is_empty() {
            let runs = runs(&missing);
            let wanted = runs.iter();
            let wanted =
                wanted.map(|run| block_range(run.start).start..block_range(run.end - 1).end);
            let bytes = read(wanted.collect()).await?;
            let mut new = Vec::with_capacity(missing.len());
            for (run, bytes) in runs.into_iter().zip(bytes) {
                let first = block_range(run.start).start;
                for block in run {
                    let range = block_range(block);
                    let part = place(range.start - first).zip(place(range.end - first));
                    let part = part.filter(|(_, end)| *end <= bytes.len());
                    let (start, end) = part.ok_or_else(short)?;
                    new.push((block, bytes.slice(start..end)));
                }
            }
            for (block, bytes) in &mut found {
                if bytes.is_none()
                    && let Ok(at) = new.binary_search_by_key(block, |(block, _)| *block)
                {
                    *bytes = Some(new[at].1.clone());
                }
            }
            self.keep(digest, new);
        }
        ranges.iter().map(|range| cut(&found, range)).collect()
    }

    /// Writes blocks, beside whatever comes next.
    fn keep(&self, digest: Digest, blocks: Vec<(u64, Bytes)>) {
        let inner = Arc::clone(&self.inner);
        drop(tokio::task::spawn_blocking(move || {
            for (block, bytes) in blocks {
                if let Err(error) = inner.store(&digest, block, &bytes) {
                    tracing::debug!(%error, folder = %inner.folder.display(), "a block was not kept");
                    return;
                }
            }
            inner.clean();
        }));
    }

    /// How the cache fared. Looks at all of the folder.
    pub(super) fn stats(&self) -> CacheStats {
        let files = self.inner.files().unwrap_or_default();
        CacheStats {
            hits: self.inner.hits.load(Ordering::Relaxed),
            misses: self.inner.misses.load(Ordering::Relaxed),
            entries: files.len() as u64,
            bytes: files.iter().map(|file| file.bytes).sum(),
        }
    }
}

/// A block that is kept.
struct Kept {
    path: PathBuf,
    bytes: u64,
    used: SystemTime,
}

impl Inner {
    fn path(&self, digest: &Digest, block: u64) -> PathBuf {
        let hex = digest.to_hex();
        let (shard, rest) = hex.split_at(2);
        self.folder.join(shard).join(format!("{rest}-{block}"))
    }

    fn store(&self, digest: &Digest, block: u64, bytes: &Bytes) -> io::Result<()> {
        let path = self.path(digest, block);
        let folder = path.parent().unwrap_or(&self.folder);
        fs::create_dir_all(folder)?;
        let mut file = tempfile::NamedTempFile::new_in(folder)?;
        file.write_all(bytes)?;
        file.write_all(Digest::of(bytes).as_bytes())?;
        file.persist(&path)?;
        let written = bytes.len() as u64 + DIGEST_BYTES as u64;
        self.written.fetch_add(written, Ordering::Relaxed);
        Ok(())
    }

    /// Removes what was not used for longest, once much was written.
    fn clean(&self) {
        let due = self.limit / 100 * (100 - KEPT_PERCENT);
        if self.written.load(Ordering::Relaxed) < due.max(1)
            || self.cleaning.swap(true, Ordering::Acquire)
        {
            return;
        }
        self.written.store(0, Ordering::Relaxed);
        let mut files = self.files().unwrap_or_default();
        let mut total = files.iter().map(|file| file.bytes).sum::<u64>();
        if total > self.limit {
            files.sort_by_key(|file| file.used);
            for file in files {
                if total <= self.limit / 100 * KEPT_PERCENT {
                    break;
                }
                if fs::remove_file(&file.path).is_ok() {
                    total -= file.bytes;
                }
            }
        }
        self.cleaning.store(false, Ordering::Release);
    }

    fn files(&self) -> io::Result<Vec<Kept>> {
        let mut files = Vec::new();
        for shard in fs::read_dir(&self.folder)? {
            for file in fs::read_dir(shard?.path())? {
                let file = file?;
                // Another process may have removed it.
                if let Ok(meta) = file.metadata() {
                    files.push(Kept {
                        path: file.path(),
                        bytes: meta.len(),
                        used: meta.modified()?,
                    });
                }
            }
        }
        Ok(files)
    }
}

/// The numbers of the blocks that a range is in.
fn blocks(range: &Range<u64>) -> Range<u64> {
    range.start / BLOCK_BYTES..range.end.div_ceil(BLOCK_BYTES)
}

/// Ascending numbers as ranges of those that follow each other.
fn runs(numbers: &[u64]) -> Vec<Range<u64>> {
    let mut runs: Vec<Range<u64>> = Vec::new();
    for number in numbers {
        match runs.last_mut() {
            Some(run) if run.end == *number => run.end += 1,
            _ => runs.push(*number..number + 1),
        }
    }
    runs
}

/// A block of this many bytes, if it is there and whole.
fn load(path: &Path, bytes: u64) -> Option<Bytes> {
    let file = fs::File::open(path).ok()?;
    let mut found = Vec::with_capacity(place(bytes)? + DIGEST_BYTES);
    io::Read::read_to_end(
        &mut io::Read::take(&file, bytes + DIGEST_BYTES as u64 + 1),
        &mut found,
    )
    .ok()?;
    let (block, digest) = found.split_last_chunk::<DIGEST_BYTES>()?;
    if block.len() as u64 != bytes || Digest::of(block).as_bytes() != digest {
        return None;
    }
    // So that it is not among the first to go.
    #[expect(
        clippy::disallowed_methods,
        reason = "compared with what the disk says"
    )]
    file.set_modified(SystemTime::now()).ok();
    let length = block.len();
    found.truncate(length);
    Some(found.into())
}

/// A range out of the blocks around it, which are in order.
fn cut(blocks: &[(u64, Option<Bytes>)], range: &Range<u64>) -> Result<Bytes> {
    let first = blocks.partition_point(|(block, _)| (block + 1) * BLOCK_BYTES <= range.start);
    let mut parts = Vec::new();
    for (block, bytes) in &blocks[first..] {
        let start = block * BLOCK_BYTES;
        if start >= range.end {
            break;
        }
        let bytes = bytes.as_ref().ok_or_else(short)?;
        let from = place(range.start.saturating_sub(start));
        let to = place((range.end - start).min(bytes.len() as u64));
        let part = from.zip(to).filter(|(from, to)| from <= to);
        let (from, to) = part.ok_or_else(short)?;
        parts.push(bytes.slice(from..to));
    }
    Ok(match parts.as_slice() {
        [one] => one.clone(),
        parts => parts.concat().into(),
    })
}

fn place(at: u64) -> Option<usize> {
    usize::try_from(at).ok()
}

fn short() -> Error {
    Error::internal("blocks of a data file do not have the range that was asked for")
}

#[cfg(test)]
#[expect(
    clippy::cast_possible_truncation,
    clippy::single_range_in_vec_init,
    reason = "what is tested is small, and can be one range"
)]
mod tests {
    use futures::FutureExt as _;

    use super::*;

    const LENGTH: u64 = 3 * BLOCK_BYTES + 1_000;

    fn content() -> Vec<u8> {
        (0..LENGTH).map(|at| (at * 7 / 3 % 251) as u8).collect()
    }

    fn cache(folder: &Path, bytes: u64) -> DiskCache {
        DiskCache::new(&DiskCacheOptions {
            folder: folder.to_owned(),
            bytes,
        })
    }

    /// Reads ranges, and says how many were asked for.
    async fn read(cache: &DiskCache, file: u8, ranges: &[Range<u64>]) -> usize {
        let content = content();
        let mut asked = 0;
        let digest = Digest::of(&[file]);
        let found = cache.ranges(digest, LENGTH, ranges, |wanted| {
            asked = wanted.len();
            let parts = wanted.iter().map(|range| {
                Bytes::copy_from_slice(&content[range.start as usize..range.end as usize])
            });
            let parts = parts.collect();
            async { Ok(parts) }.boxed()
        });
        let found = found.await.unwrap();
        for (range, bytes) in ranges.iter().zip(found) {
            assert_eq!(
                bytes,
                content[range.start as usize..range.end as usize],
                "{range:?}"
            );
        }
        asked
    }

    /// Waits until blocks that are written beside have been.
    async fn settle(cache: &DiskCache, entries: u64) {
        while cache.stats().entries != entries {
            tokio::task::yield_now().await;
        }
    }

    #[tokio::test]
    async fn what_was_read_is_not_read_again() {
        let folder = tempfile::tempdir().unwrap();
        let cache = cache(folder.path(), 64 << 20);
        let ends = [LENGTH - 10..LENGTH, 0..5, 5..BLOCK_BYTES + 1];
        assert_eq!(read(&cache, 1, &ends).await, 2);
        settle(&cache, 3).await;
        assert_eq!(read(&cache, 1, &ends).await, 0);
        assert_eq!(read(&cache, 1, &[0..LENGTH]).await, 1);
        settle(&cache, 4).await;
        // Another handle on the folder, and another file.
        let again = self::cache(folder.path(), 64 << 20);
        assert_eq!(read(&again, 1, &[7..LENGTH - 7]).await, 0);
        assert_eq!(read(&again, 2, &[7..9]).await, 1);
        let stats = cache.stats();
        assert_eq!((stats.hits, stats.misses), (6, 4));
    }

    #[tokio::test]
    async fn a_damaged_block_is_read_again() {
        let folder = tempfile::tempdir().unwrap();
        let cache = cache(folder.path(), 64 << 20);
        read(&cache, 1, &[0..LENGTH]).await;
        settle(&cache, 4).await;
        for (at, file) in cache.inner.files().unwrap().into_iter().enumerate() {
            let mut bytes = fs::read(&file.path).unwrap();
            match at {
                0 => bytes[17] ^= 1,
                1 => bytes.truncate(100),
                2 => bytes.push(0),
                _ => bytes.clear(),
            }
            fs::write(&file.path, bytes).unwrap();
        }
        assert_eq!(read(&cache, 1, &[0..LENGTH]).await, 1);
    }

    #[tokio::test]
    async fn it_stays_within_its_limit_and_without_a_folder_does_nothing() {
        let folder = tempfile::tempdir().unwrap();
        let limit = 8 * BLOCK_BYTES;
        let cache = cache(folder.path(), limit);
        for file in 0..20 {
            read(&cache, file, &[0..LENGTH]).await;
        }
        while cache.stats().bytes > limit + 4 * BLOCK_BYTES || cache.stats().entries == 0 {
            tokio::task::yield_now().await;
        }
        let file = folder.path().join("file");
        fs::write(&file, "not a folder").unwrap();
        let broken = self::cache(&file, limit);
        assert_eq!(read(&broken, 1, &[0..9]).await, 1);
        assert_eq!(read(&broken, 1, &[0..9]).await, 1);
    }
}
