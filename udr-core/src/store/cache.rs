//! Metadata objects read lately, by digest.
//!
//! In: verified bytes. Out: the same bytes. Called by `objects`. An object never changes, so
//! nothing here is ever invalidated; what is in it was verified when it went in.

use bytes::Bytes;
use quick_cache::Weighter;
use quick_cache::sync::Cache;

use crate::error::Result;
use crate::id::Digest;

/// What an entry weighs beside its bytes.
const ENTRY_BYTES: u64 = 128;
/// The size most metadata objects are below; only used to size the cache's index.
const TYPICAL_BYTES: u64 = 8 * 1024;

#[derive(Clone)]
struct BytesWeighter;

impl Weighter<Digest, Bytes> for BytesWeighter {
    fn weight(&self, _: &Digest, bytes: &Bytes) -> u64 {
        ENTRY_BYTES + bytes.len() as u64
    }
}

/// A bounded cache; concurrent misses of one digest read it once.
pub(super) struct ObjectCache {
    cache: Option<Cache<Digest, Bytes, BytesWeighter>>,
}

impl ObjectCache {
    /// Holds at most `bytes`; 0 turns it off.
    pub(super) fn new(bytes: u64) -> Self {
        let items = usize::try_from(bytes / TYPICAL_BYTES)
            .unwrap_or(usize::MAX)
            .max(16);
        Self {
            cache: (bytes > 0).then(|| Cache::with_weighter(items, bytes, BytesWeighter)),
        }
    }

    /// Keeps what was just written; it is likely to be read next.
    pub(super) fn insert(&self, digest: Digest, bytes: Bytes) {
        if let Some(cache) = &self.cache {
            cache.insert(digest, bytes);
        }
    }

    /// The bytes of `digest`, through `read` if they are not here.
    pub(super) async fn get_or_read(
        &self,
        digest: &Digest,
        read: impl Future<Output = Result<Bytes>>,
    ) -> Result<Bytes> {
        match &self.cache {
            Some(cache) => cache.get_or_insert_async(digest, read).await,
            None => read.await,
        }
    }
}
