//! All traffic with the object store.
//!
//! In: typed references, names and bytes. Out: bytes that are what their reference says, and
//! writes that are durable when they return (invariants 1 and 8). Called by every layer above;
//! the only place that names `object_store` or a path.

mod cache;
mod data_files;
mod disk_cache;
mod failure;
mod found;
mod layout;
mod local;
mod location;
mod objects;
mod probe;
mod readback;
mod records;
mod retry;
mod staged;
#[cfg(test)]
mod tests;

use std::fmt;
use std::sync::Arc;

use object_store::memory::InMemory;
use object_store::path::Path;
use object_store::{ListResult, ObjectStore};
use tokio::sync::OnceCell;

use crate::env::Env;
use crate::error::{Error, Result};

pub use cache::{CacheKind, CacheStats};
pub use data_files::Place;
pub use disk_cache::DiskCacheOptions;
pub use found::FoundFile;
pub use local::local_object_store;
pub use readback::Created;
pub use retry::RetryPolicy;
pub use staged::StagedFile;

pub(crate) use cache::MemoryCache;
use disk_cache::DiskCache;
use found::FoundStores;
use layout::Layout;
use local::LocalStore;

/// The default of [`StoreOptions::cache_bytes`].
const CACHE_BYTES: u64 = 256 << 20;

/// Whether writes to local disk survive a power cut.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Durability {
    /// Every write is on disk before it is answered.
    #[default]
    Full,
    /// Nothing is synced; for tests and scratch.
    None,
}

/// How much of a data file is verified when parts of it are read. Metadata and the footers of data
/// files always are.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Verify {
    /// Nothing but the footer.
    #[default]
    Metadata,
    /// Every column chunk that is read, against the digest that the footer has. Chunks are read
    /// whole for it.
    Full,
}

/// When it is found out whether a store creates an object only if it is absent.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Probe {
    /// Before the first record of each process, unless the store is local or in memory.
    #[default]
    BeforeWriting,
    /// Only when a repository is made; for stores that are known to.
    Never,
}

/// What kind of ref a record belongs to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum RefKind {
    /// A ref that moves.
    Branch,
    /// A ref that does not.
    Tag,
}

impl RefKind {
    /// What a person calls it.
    pub fn noun(self) -> &'static str {
        match self {
            Self::Branch => "branch",
            Self::Tag => "tag",
        }
    }
}

/// How a store is used.
#[derive(Clone)]
pub struct StoreOptions {
    /// Whether local writes survive a power cut.
    pub durability: Durability,
    /// How many bytes of metadata and of footers, as they are read and decoded, are kept in memory;
    /// 0 for none.
    pub cache_bytes: u64,
    /// Where parts of data files are kept on local disk, if the store is a remote one; none is
    /// without.
    pub disk_cache: Option<DiskCacheOptions>,
    /// How failed calls are repeated.
    pub retry: RetryPolicy,
    /// When conditional writes are tried.
    pub probe: Probe,
    /// How much of data files is verified.
    pub verify: Verify,
    /// Options of the remote store, such as `endpoint`, `region` or `allow_http`, as
    /// `object_store` spells them; they go before the environment's.
    pub options: Vec<(String, String)>,
    /// Where pauses between attempts get their randomness.
    pub env: Env,
}

impl Default for StoreOptions {
    fn default() -> Self {
        Self {
            durability: Durability::default(),
            cache_bytes: CACHE_BYTES,
            disk_cache: None,
            retry: RetryPolicy::default(),
            probe: Probe::default(),
            verify: Verify::default(),
            options: Vec::new(),
            env: Env::system(),
        }
    }
}

impl fmt::Debug for StoreOptions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // The values of options can be secrets.
        let options = self.options.iter().map(|(key, _)| key).collect::<Vec<_>>();
        f.debug_struct("StoreOptions")
            .field("durability", &self.durability)
            .field("cache_bytes", &self.cache_bytes)
            .field("disk_cache", &self.disk_cache)
            .field("retry", &self.retry)
            .field("probe", &self.probe)
            .field("verify", &self.verify)
            .field("options", &options)
            .finish_non_exhaustive()
    }
}

/// The store of one repository; clones share it.
#[derive(Clone)]
pub struct Store {
    inner: Arc<Inner>,
}

struct Inner {
    backend: Arc<dyn ObjectStore>,
    /// The backend again, if it is our own on local disk.
    local: Option<Arc<LocalStore>>,
    layout: Layout,
    location: String,
    cache: MemoryCache,
    cache_bytes: u64,
    disk_cache: Option<DiskCache>,
    found: FoundStores,
    retry: RetryPolicy,
    probe: Probe,
    verify: Verify,
    /// Set once the store was found to honour conditions.
    trusted: OnceCell<()>,
    env: Env,
}

impl Store {
    /// A store in memory, empty.
    pub fn memory() -> Self {
        let opened = location::Opened {
            backend: Arc::new(InMemory::new()),
            local: None,
            prefix: Path::default(),
            location: "memory://".to_owned(),
        };
        Self::new(opened, &StoreOptions::default())
    }

    /// The store at `location`: the path of a folder, or a `file://`, `memory://`, `s3://`,
    /// `gs://` or `az://` URL. Touches nothing; a folder is made by the first write.
    ///
    /// # Errors
    ///
    /// `Invalid` if the location or an option is wrong or the location holds credentials,
    /// `Unsupported` if there is no store for it.
    pub fn open(location: &str, options: &StoreOptions) -> Result<Self> {
        Ok(Self::new(location::open(location, options)?, options))
    }

    /// A store in somebody's object store, below `prefix`.
    ///
    /// # Errors
    ///
    /// `Invalid` if `prefix` is not a path.
    pub fn wrap(
        backend: Arc<dyn ObjectStore>,
        prefix: &str,
        options: &StoreOptions,
    ) -> Result<Self> {
        let prefix = Path::parse(prefix).map_err(|e| {
            Error::invalid("not a path")
                .with("prefix", prefix)
                .with_source(e)
        })?;
        let location = failure::redact(&format!("{backend}/{prefix}"));
        Ok(Self::new(
            location::Opened {
                backend,
                local: None,
                prefix,
                location,
            },
            options,
        ))
    }

    fn new(opened: location::Opened, options: &StoreOptions) -> Self {
        // Links see to it on local disk, and memory has one lock.
        let known = opened.local.is_some() || opened.location.starts_with("memory:");
        let inner = Inner {
            probe: if known { Probe::Never } else { options.probe },
            verify: options.verify,
            trusted: OnceCell::new(),
            backend: opened.backend,
            local: opened.local,
            layout: Layout::new(opened.prefix),
            location: opened.location,
            cache: MemoryCache::new(options.cache_bytes),
            cache_bytes: options.cache_bytes,
            disk_cache: options
                .disk_cache
                .as_ref()
                .filter(|options| !known && options.bytes > 0)
                .map(DiskCache::new),
            found: FoundStores::new(options),
            retry: options.retry,
            env: options.env.clone(),
        };
        Self {
            inner: Arc::new(inner),
        }
    }

    /// How much of data files is verified.
    pub fn verify(&self) -> Verify {
        self.inner.verify
    }

    /// What the store was opened as, without secrets.
    pub fn location(&self) -> &str {
        &self.inner.location
    }

    /// What was read lately.
    pub(crate) fn cache(&self) -> &MemoryCache {
        &self.inner.cache
    }

    /// The most bytes that are kept in memory.
    pub fn cache_bytes(&self) -> u64 {
        self.inner.cache_bytes
    }

    /// How the memory cache fared with things of a kind, since the store was opened. Takes a look
    /// at everything in it.
    pub fn cache_stats(&self, kind: CacheKind) -> CacheStats {
        self.inner.cache.stats(kind)
    }

    /// How the cache on local disk fared with blocks of data files, and the most bytes it has; none
    /// if there is none. Looks at all of its folder.
    pub fn disk_cache_stats(&self) -> Option<(CacheStats, u64)> {
        let cache = self.inner.disk_cache.as_ref()?;
        Some((cache.stats(), cache.limit()))
    }

    /// What is directly below `folder`.
    async fn list_level(&self, folder: &Path) -> Result<ListResult> {
        let list = || self.inner.backend.list_with_delimiter(Some(folder));
        let listed = self.inner.retry.run(&self.inner.env, list).await;
        listed.map_err(|error| failure::explain(&error, folder))
    }
}

impl fmt::Debug for Store {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Store")
            .field("location", &self.inner.location)
            .finish_non_exhaustive()
    }
}
