//! Reading stored objects, decoded and cached.
//!
//! Everything cached is named by its digest, so nothing is ever invalidated.

use std::fmt;
use std::sync::Arc;

use quick_cache::sync::Cache;

use crate::error::Result;
use crate::format::{
    KeyPage, Manifest, ManifestRef, NamespacePage, ObjectRef, Root, Stored, TableState, decode,
};
use crate::id::Digest;
use crate::store::Store;

/// How many decoded roots, pages and table states are expected; only used to size an index.
const OBJECTS: usize = 1_024;
/// How large the roots, the pages, the table states and the pages of keys that are kept are, each
/// kind together, as they are stored. Decoded they take some four times as much.
const OBJECT_BYTES_MAX: u64 = 16 << 20;
/// How many decoded manifests are kept: 64 full ones with 16 columns are about 100 MB.
const MANIFEST_ENTRIES_MAX: u64 = 64 * Manifest::ENTRIES_MAX as u64;

/// A manifest, and what its reference says of it: a reference that says something else is checked
/// anew.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
struct ManifestKey {
    digest: Digest,
    level: u8,
    entries: u32,
    files: u64,
    rows: u64,
    data_bytes: u64,
    deleted: u64,
    added_at: Option<(u64, u64)>,
}

impl ManifestKey {
    fn of(reference: &ManifestRef) -> Self {
        Self {
            digest: reference.object.digest,
            level: reference.level,
            entries: reference.entries,
            files: reference.files,
            rows: reference.rows,
            data_bytes: reference.data_bytes,
            deleted: reference.deleted,
            added_at: reference.added_at.map(|range| (range.first, range.last)),
        }
    }
}

/// A decoded object, and the length of what it was decoded from.
#[derive(Debug)]
struct Decoded<T> {
    value: Arc<T>,
    bytes: u64,
}

impl<T> Clone for Decoded<T> {
    fn clone(&self) -> Self {
        Self {
            value: Arc::clone(&self.value),
            bytes: self.bytes,
        }
    }
}

type Objects<T> = Cache<Digest, Decoded<T>, ByBytes>;

#[derive(Clone)]
struct ByBytes;

impl<T> quick_cache::Weighter<Digest, Decoded<T>> for ByBytes {
    fn weight(&self, _: &Digest, object: &Decoded<T>) -> u64 {
        object.bytes.max(1)
    }
}

#[derive(Clone)]
struct ByEntries;

impl quick_cache::Weighter<ManifestKey, Arc<Manifest>> for ByEntries {
    fn weight(&self, _: &ManifestKey, manifest: &Arc<Manifest>) -> u64 {
        manifest.len().max(1) as u64
    }
}

/// Loads and decodes objects; clones share one cache.
#[derive(Clone)]
pub(crate) struct Loader {
    store: Store,
    caches: Arc<Caches>,
}

struct Caches {
    roots: Objects<Root>,
    pages: Objects<NamespacePage>,
    keys: Objects<KeyPage>,
    states: Objects<TableState>,
    manifests: Cache<ManifestKey, Arc<Manifest>, ByEntries>,
}

impl Loader {
    pub(crate) fn new(store: Store) -> Self {
        let caches = Caches {
            roots: Objects::with_weighter(OBJECTS, OBJECT_BYTES_MAX, ByBytes),
            pages: Objects::with_weighter(OBJECTS, OBJECT_BYTES_MAX, ByBytes),
            keys: Objects::with_weighter(OBJECTS, OBJECT_BYTES_MAX, ByBytes),
            states: Objects::with_weighter(OBJECTS, OBJECT_BYTES_MAX, ByBytes),
            manifests: Cache::with_weighter(OBJECTS, MANIFEST_ENTRIES_MAX, ByEntries),
        };
        Self {
            store,
            caches: Arc::new(caches),
        }
    }

    pub(crate) fn store(&self) -> &Store {
        &self.store
    }

    pub(crate) async fn root(&self, object: &ObjectRef) -> Result<Arc<Root>> {
        self.load(&self.caches.roots, object).await
    }

    pub(crate) async fn page(&self, object: &ObjectRef) -> Result<Arc<NamespacePage>> {
        self.load(&self.caches.pages, object).await
    }

    pub(crate) async fn key_page(&self, object: &ObjectRef) -> Result<Arc<KeyPage>> {
        self.load(&self.caches.keys, object).await
    }

    pub(crate) async fn state(&self, object: &ObjectRef) -> Result<Arc<TableState>> {
        self.load(&self.caches.states, object).await
    }

    pub(crate) async fn object<T: Stored>(&self, object: &ObjectRef) -> Result<T> {
        let bytes = self.store.get_object(object).await?;
        let mut value = decode::<T>(&bytes).map_err(|e| e.with("object", object.digest))?;
        value.settle(object.within)?;
        Ok(value)
    }

    pub(crate) async fn manifest(&self, reference: &ManifestRef) -> Result<Arc<Manifest>> {
        let key = ManifestKey::of(reference);
        if let Some(manifest) = self.caches.manifests.get(&key) {
            return Ok(manifest);
        }
        let bytes = self.store.get_object(&reference.object).await?;
        let manifest = Arc::new(Manifest::decode(bytes, reference)?);
        self.caches.manifests.insert(key, Arc::clone(&manifest));
        Ok(manifest)
    }

    /// Keeps what was just written, so that the next transaction need not read it.
    pub(crate) fn keep(&self, root: Written<Root>, states: Vec<Written<TableState>>) {
        root.keep(&self.caches.roots);
        for state in states {
            state.keep(&self.caches.states);
        }
    }

    async fn load<T: Stored>(&self, cache: &Objects<T>, object: &ObjectRef) -> Result<Arc<T>> {
        if let Some(decoded) = cache.get(&object.digest) {
            return Ok(decoded.value);
        }
        let value = Arc::new(self.object::<T>(object).await?);
        let decoded = Decoded {
            value: Arc::clone(&value),
            bytes: object.bytes,
        };
        cache.insert(object.digest, decoded);
        Ok(value)
    }
}

/// An object that was just written, as it is read.
#[derive(Debug)]
pub(crate) struct Written<T> {
    /// What names it.
    pub(crate) object: ObjectRef,
    /// What it is.
    pub(crate) value: T,
}

impl<T> Written<T> {
    fn keep(self, cache: &Objects<T>) {
        let decoded = Decoded {
            value: Arc::new(self.value),
            bytes: self.object.bytes,
        };
        cache.insert(self.object.digest, decoded);
    }
}

impl fmt::Debug for Loader {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Loader")
            .field("store", &self.store)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::id::Epoch;

    #[test]
    fn what_is_kept_is_bounded_by_bytes_and_not_by_number() {
        let cache = Objects::<u8>::with_weighter(OBJECTS, OBJECT_BYTES_MAX, ByBytes);
        for n in 0..64 {
            let mut object = ObjectRef::of(Epoch::default(), &[n]);
            object.bytes = 1 << 20;
            Written { object, value: n }.keep(&cache);
        }
        assert!(cache.weight() <= OBJECT_BYTES_MAX, "{}", cache.weight());
        assert!(!cache.is_empty());
    }
}
