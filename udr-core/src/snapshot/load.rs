//! Reading stored objects, decoded and cached.
//!
//! Everything cached is named by its digest, so nothing is ever invalidated.

use std::fmt;
use std::sync::Arc;

use quick_cache::sync::Cache;

use crate::error::Result;
use crate::format::{
    KeyPage, Manifest, ManifestRef, NamespacePage, ObjectRef, Root, Schema, Stored, TableState,
    decode,
};
use crate::id::Digest;
use crate::store::Store;

/// How many decoded roots, pages and table states are kept.
const OBJECTS_MAX: usize = 1_024;
/// How many decoded pages of idempotency keys are kept: twice what a branch has.
const KEY_PAGES_MAX: usize = 128;
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
    roots: Cache<Digest, Arc<Root>>,
    pages: Cache<Digest, Arc<NamespacePage>>,
    keys: Cache<Digest, Arc<KeyPage>>,
    states: Cache<Digest, Arc<TableState>>,
    manifests: Cache<ManifestKey, Arc<Manifest>, ByEntries>,
}

impl Loader {
    pub(crate) fn new(store: Store) -> Self {
        let caches = Caches {
            roots: Cache::new(OBJECTS_MAX),
            pages: Cache::new(OBJECTS_MAX),
            keys: Cache::new(KEY_PAGES_MAX),
            states: Cache::new(OBJECTS_MAX),
            manifests: Cache::with_weighter(OBJECTS_MAX, MANIFEST_ENTRIES_MAX, ByEntries),
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

    pub(crate) async fn manifest(
        &self,
        schema: &Schema,
        reference: &ManifestRef,
    ) -> Result<Arc<Manifest>> {
        let key = ManifestKey::of(reference);
        if let Some(manifest) = self.caches.manifests.get(&key) {
            return Ok(manifest);
        }
        let bytes = self.store.get_object(&reference.object).await?;
        let manifest = Arc::new(Manifest::decode(schema, bytes, reference)?);
        self.caches.manifests.insert(key, Arc::clone(&manifest));
        Ok(manifest)
    }

    /// Keeps what was just written, so that the next transaction need not read it.
    pub(crate) fn keep(&self, root: (Digest, Arc<Root>), states: Vec<(Digest, Arc<TableState>)>) {
        self.caches.roots.insert(root.0, root.1);
        for (digest, state) in states {
            self.caches.states.insert(digest, state);
        }
    }

    async fn load<T: Stored>(
        &self,
        cache: &Cache<Digest, Arc<T>>,
        object: &ObjectRef,
    ) -> Result<Arc<T>> {
        if let Some(value) = cache.get(&object.digest) {
            return Ok(value);
        }
        let value = Arc::new(self.object::<T>(object).await?);
        cache.insert(object.digest, Arc::clone(&value));
        Ok(value)
    }
}

impl fmt::Debug for Loader {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Loader")
            .field("store", &self.store)
            .finish_non_exhaustive()
    }
}
