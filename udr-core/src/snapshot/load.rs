//! Reading stored objects, decoded and cached.
//!
//! Everything cached is named by its digest, so nothing is ever invalidated.

use std::fmt;
use std::sync::Arc;

use futures::{FutureExt as _, StreamExt as _, TryStreamExt as _};

use crate::error::Result;
use crate::format::{
    KeyPage, Manifest, ManifestRef, NamespacePage, ObjectRef, Root, Sketches, Stored, TableState,
    decode,
};
use crate::id::Digest;
use crate::store::{CacheKind, MemoryCache, Store};

/// How many manifests are read at once.
pub(super) const CONCURRENCY: usize = 16;

/// What a decoded object takes in memory for each byte that is stored.
const DECODED_BYTES: u64 = 4;

/// Names what was decoded from a manifest, and what its reference says of it: a reference that
/// says something else is checked anew.
fn manifest_key(reference: &ManifestRef) -> Digest {
    let added_at = reference.added_at.map(|range| [range.first, range.last]);
    let [first, last] = added_at.unwrap_or_default();
    let numbers = [
        u64::from(reference.level),
        u64::from(reference.entries),
        reference.files,
        reference.rows,
        reference.data_bytes,
        reference.deleted,
        u64::from(added_at.is_some()),
        first,
        last,
    ];
    let mut claims = reference.object.digest.as_bytes().to_vec();
    claims.extend(numbers.iter().flat_map(|number| number.to_le_bytes()));
    Digest::of(&claims)
}

/// Loads and decodes objects; clones of a store share what is kept.
#[derive(Clone)]
pub(crate) struct Loader {
    store: Store,
}

impl Loader {
    pub(crate) fn new(store: Store) -> Self {
        Self { store }
    }

    pub(crate) fn store(&self) -> &Store {
        &self.store
    }

    pub(crate) async fn root(&self, object: &ObjectRef) -> Result<Arc<Root>> {
        self.load(object).await
    }

    pub(crate) async fn page(&self, object: &ObjectRef) -> Result<Arc<NamespacePage>> {
        self.load(object).await
    }

    pub(crate) async fn key_page(&self, object: &ObjectRef) -> Result<Arc<KeyPage>> {
        self.load(object).await
    }

    pub(crate) async fn state(&self, object: &ObjectRef) -> Result<Arc<TableState>> {
        self.load(object).await
    }

    pub(crate) async fn sketches(&self, object: &ObjectRef) -> Result<Arc<Sketches>> {
        self.load(object).await
    }

    pub(crate) async fn object<T: Stored>(&self, object: &ObjectRef) -> Result<T> {
        let bytes = self.store.get_object(object).await?;
        let mut value = decode::<T>(&bytes).map_err(|e| e.with("object", object.digest))?;
        value.settle(object.within)?;
        Ok(value)
    }

    pub(crate) async fn manifest(&self, reference: &ManifestRef) -> Result<Arc<Manifest>> {
        let (kind, key) = (CacheKind::Manifests, manifest_key(reference));
        let read = || {
            let read = async {
                let bytes = self.store.get_object_once(&reference.object).await?;
                let manifest = Manifest::decode(bytes, reference)?;
                let bytes = manifest.memory_bytes();
                Ok((Arc::new(manifest), bytes))
            };
            read.boxed()
        };
        self.store.cache().get_or_read(kind, key, read).await
    }

    /// Several manifests, in order.
    pub(crate) async fn manifests(
        &self,
        references: Vec<ManifestRef>,
    ) -> Result<Vec<Arc<Manifest>>> {
        futures::stream::iter(references)
            .map(|reference| async move { self.manifest(&reference).await })
            .buffered(CONCURRENCY)
            .try_collect()
            .await
    }

    /// Keeps what was just written, so that the next transaction need not read it.
    pub(crate) fn keep(&self, root: Written<Root>, states: Vec<Written<TableState>>) {
        root.keep(self.store.cache());
        for state in states {
            state.keep(self.store.cache());
        }
    }

    async fn load<T: Stored + Send + Sync + 'static>(&self, object: &ObjectRef) -> Result<Arc<T>> {
        let read = || {
            let read = async {
                let value = self.object::<T>(object).await?;
                Ok((Arc::new(value), object.bytes * DECODED_BYTES))
            };
            read.boxed()
        };
        let (kind, digest) = (CacheKind::States, object.digest);
        self.store.cache().get_or_read(kind, digest, read).await
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

impl<T: Send + Sync + 'static> Written<T> {
    fn keep(self, cache: &MemoryCache) {
        let bytes = self.object.bytes * DECODED_BYTES;
        let value = Arc::new(self.value);
        cache.insert(CacheKind::States, self.object.digest, value, bytes);
    }
}

impl fmt::Debug for Loader {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Loader")
            .field("store", &self.store)
            .finish_non_exhaustive()
    }
}
