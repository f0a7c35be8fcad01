//! What was read lately, in memory: verified bytes, and what was decoded from them.
//!
//! In: values by the digest of what they were made from. Out: the same values. Called by `objects`,
//! and by the layers above through [`Store`](super::Store). What has a digest never changes, so
//! nothing here is ever invalidated; it was verified when it went in.

use std::any::Any;
use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use futures::FutureExt as _;
use futures::future::BoxFuture;
use quick_cache::Weighter;
use quick_cache::sync::Cache;

use crate::error::{Error, Result};
use crate::id::Digest;

/// What an entry weighs beside its value.
const ENTRY_BYTES: u64 = 192;
/// The size that most entries are below; only used to size the cache's index.
const TYPICAL_BYTES: u64 = 16 * 1024;

/// What is kept in memory.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum CacheKind {
    /// The bytes of commits, other small metadata and deletion vectors, as they are stored.
    Objects,
    /// Roots, namespaces and table states, decoded.
    States,
    /// Manifests, decoded.
    Manifests,
    /// Footers of data files, decoded.
    Footers,
}

impl CacheKind {
    /// All of them.
    pub const ALL: [Self; 4] = [Self::Objects, Self::States, Self::Manifests, Self::Footers];

    /// What a person calls it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Objects => "objects",
            Self::States => "states",
            Self::Manifests => "manifests",
            Self::Footers => "footers",
        }
    }
}

/// How a cache fared since it was made.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CacheStats {
    /// How often what was asked for was there.
    pub hits: u64,
    /// How often it had to be read.
    pub misses: u64,
    /// How many things are there.
    pub entries: u64,
    /// Their bytes.
    pub bytes: u64,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
struct Key {
    kind: CacheKind,
    digest: Digest,
}

#[derive(Clone)]
struct Entry {
    value: Arc<dyn Any + Send + Sync>,
    bytes: u64,
}

#[derive(Clone)]
struct ByBytes;

impl Weighter<Key, Entry> for ByBytes {
    fn weight(&self, _: &Key, entry: &Entry) -> u64 {
        ENTRY_BYTES + entry.bytes
    }
}

#[derive(Debug, Default)]
struct Counts {
    hits: AtomicU64,
    misses: AtomicU64,
}

/// One cache for all kinds of things, bounded by bytes; concurrent misses read once.
pub(crate) struct MemoryCache {
    cache: Option<Cache<Key, Entry, ByBytes>>,
    counts: [Counts; CacheKind::ALL.len()],
}

impl MemoryCache {
    /// Holds at most `bytes`; 0 turns it off.
    pub(super) fn new(bytes: u64) -> Self {
        let items = usize::try_from(bytes / TYPICAL_BYTES).unwrap_or(usize::MAX);
        let items = items.clamp(16, 1 << 20);
        Self {
            cache: (bytes > 0).then(|| Cache::with_weighter(items, bytes, ByBytes)),
            counts: Default::default(),
        }
    }

    /// Keeps what was just made; it is likely to be needed next.
    pub(crate) fn insert<T: Any + Send + Sync>(
        &self,
        kind: CacheKind,
        digest: Digest,
        value: Arc<T>,
        bytes: u64,
    ) {
        if let Some(cache) = &self.cache {
            cache.insert(Key { kind, digest }, Entry { value, bytes });
        }
    }

    /// What is kept of `digest`.
    pub(crate) fn get<T: Any + Send + Sync>(
        &self,
        kind: CacheKind,
        digest: Digest,
    ) -> Option<Arc<T>> {
        let found = self.cache.as_ref();
        let found = found.and_then(|cache| cache.get(&Key { kind, digest }));
        let found = found.and_then(|entry| entry.value.downcast().ok());
        self.count(kind, found.is_some());
        found
    }

    /// What is kept of `digest`, or else what `read` makes, with its bytes.
    ///
    /// # Errors
    ///
    /// Those of `read`.
    pub(crate) async fn get_or_read<'a, T: Any + Send + Sync>(
        &self,
        kind: CacheKind,
        digest: Digest,
        read: impl FnOnce() -> BoxFuture<'a, Result<(Arc<T>, u64)>>,
    ) -> Result<Arc<T>> {
        if let Some(found) = self.get(kind, digest) {
            return Ok(found);
        }
        let read = read();
        let Some(cache) = &self.cache else {
            return read.await.map(|(value, _)| value);
        };
        Self::read(cache, Key { kind, digest }, read).boxed().await
    }

    async fn read<'a, T: Any + Send + Sync>(
        cache: &Cache<Key, Entry, ByBytes>,
        key: Key,
        read: BoxFuture<'a, Result<(Arc<T>, u64)>>,
    ) -> Result<Arc<T>> {
        let mut read = Some(read);
        let entry = cache.get_or_insert_async(&key, async {
            let read = read.take();
            let read = read.ok_or_else(|| Error::internal("what is not cached is read twice"))?;
            let (value, bytes) = read.await?;
            Ok::<_, Error>(Entry { value, bytes })
        });
        let entry = entry.await?;
        match (entry.value.downcast(), read) {
            (Ok(found), _) => Ok(found),
            // Two kinds of objects cannot have the same bytes: what asks for the wrong one is told.
            (Err(_), Some(read)) => read.await.map(|(value, _)| value),
            (Err(_), None) => Err(Error::internal("a cached value was lost")),
        }
    }

    /// How the cache fared with things of a kind. Looks at each of them.
    pub(super) fn stats(&self, kind: CacheKind) -> CacheStats {
        let (mut entries, mut bytes) = (0, 0);
        for (key, entry) in self.cache.iter().flat_map(|cache| cache.iter()) {
            if key.kind == kind {
                entries += 1;
                bytes += ENTRY_BYTES + entry.bytes;
            }
        }
        let counts = &self.counts[kind as usize];
        CacheStats {
            hits: counts.hits.load(Ordering::Relaxed),
            misses: counts.misses.load(Ordering::Relaxed),
            entries,
            bytes,
        }
    }

    fn count(&self, kind: CacheKind, hit: bool) {
        let counts = &self.counts[kind as usize];
        let count = if hit { &counts.hits } else { &counts.misses };
        count.fetch_add(1, Ordering::Relaxed);
    }
}

impl fmt::Debug for MemoryCache {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MemoryCache")
            .field("bytes", &self.cache.as_ref().map(Cache::weight))
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cache() -> MemoryCache {
        MemoryCache::new(16 << 20)
    }

    async fn read(cache: &MemoryCache, kind: CacheKind, n: u8) -> Arc<u8> {
        let read = cache.get_or_read(kind, Digest::of(&[n]), || {
            async move { Ok((Arc::new(n), 1 << 10)) }.boxed()
        });
        read.await.unwrap()
    }

    #[test]
    fn what_is_kept_is_bounded_by_bytes_and_not_by_number() {
        let cache = cache();
        for n in 0..64_u8 {
            let digest = Digest::of(&[n]);
            cache.insert(CacheKind::States, digest, Arc::new(n), 1 << 20);
        }
        let stats = cache.stats(CacheKind::States);
        assert!(stats.bytes <= 16 << 20, "{stats:?}");
        assert!(stats.entries > 0);
    }

    #[tokio::test]
    async fn hits_and_misses_are_counted_by_kind() {
        let cache = cache();
        for n in [1, 1, 2, 1] {
            assert_eq!(*read(&cache, CacheKind::Footers, n).await, n);
        }
        let stats = cache.stats(CacheKind::Footers);
        assert_eq!((stats.hits, stats.misses, stats.entries), (2, 2, 2));
        let others = cache.stats(CacheKind::Manifests);
        assert_eq!((others.hits, others.misses, others.entries), (0, 0, 0));
    }

    #[tokio::test]
    async fn what_fails_is_not_kept() {
        let cache = cache();
        let digest = Digest::of(b"x");
        let failed = cache.get_or_read::<u8>(CacheKind::States, digest, || {
            async { Err(Error::corrupt("broken")) }.boxed()
        });
        failed.await.unwrap_err();
        let read = cache.get_or_read(CacheKind::States, digest, || {
            async { Ok((Arc::new(7_u8), 1)) }.boxed()
        });
        assert_eq!(*read.await.unwrap(), 7);
    }

    #[tokio::test]
    async fn a_value_of_another_type_is_read_again() {
        let cache = cache();
        let digest = Digest::of(b"x");
        cache.insert(CacheKind::States, digest, Arc::new(7_u8), 1);
        assert_eq!(cache.get::<u16>(CacheKind::States, digest), None);
        let read = cache.get_or_read(CacheKind::States, digest, || {
            async { Ok((Arc::new(8_u16), 1)) }.boxed()
        });
        assert_eq!(*read.await.unwrap(), 8);
    }

    #[tokio::test]
    async fn without_room_nothing_is_kept() {
        let cache = MemoryCache::new(0);
        read(&cache, CacheKind::States, 1).await;
        read(&cache, CacheKind::States, 1).await;
        let stats = cache.stats(CacheKind::States);
        assert_eq!((stats.hits, stats.misses, stats.entries), (0, 2, 0));
    }
}
