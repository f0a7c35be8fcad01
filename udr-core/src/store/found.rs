//! Files that others wrote, outside of the repository or beside it: found, read, never changed.
//!
//! In: URLs and patterns. Out: bytes, and what is there. Called by `objects` for adopted data
//! files, and by imports.

use std::collections::BTreeMap;
use std::ops::Range;
use std::path::{Component, Path as FolderPath};
use std::sync::Arc;

use bytes::Bytes;
use futures::TryStreamExt as _;
use glob::{MatchOptions, Pattern};
use object_store::local::LocalFileSystem;
use object_store::path::Path;
use object_store::{ObjectMeta, ObjectStore, ObjectStoreExt as _};
use parking_lot::Mutex;

use super::{Store, StoreOptions, failure, location};
use crate::error::{Error, Result};
use crate::id::Digest;

/// The most files that one pattern finds.
const FILES_MAX: usize = 1_000_000;
/// Characters that make a pattern of a path.
const WILD: [char; 3] = ['*', '?', '['];
/// `*` stays within a folder, and no hidden file is meant.
const MATCHING: MatchOptions = MatchOptions {
    case_sensitive: true,
    require_literal_separator: true,
    require_literal_leading_dot: true,
};

/// A file that was found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FoundFile {
    /// Its URL.
    pub url: String,
    /// Its length.
    pub bytes: u64,
}

/// The stores that files were found in, by what their URLs begin with.
#[derive(Debug)]
pub(super) struct FoundStores {
    options: StoreOptions,
    stores: Mutex<BTreeMap<String, Arc<dyn ObjectStore>>>,
}

impl FoundStores {
    pub(super) fn new(options: &StoreOptions) -> Self {
        Self {
            options: options.clone(),
            stores: Mutex::default(),
        }
    }

    /// The store of a file, and its path there.
    ///
    /// # Errors
    ///
    /// `Invalid` if it is no URL, or has secrets in it; `Unsupported` if there is no store for it.
    pub(super) fn open(&self, url: &str) -> Result<(Arc<dyn ObjectStore>, Path)> {
        let invalid = |why: &str| Error::invalid(why).with("url", failure::redact(url));
        let (scheme, rest) = url.split_once("://").ok_or_else(|| invalid("not a URL"))?;
        let (bucket, path) = rest.split_once('/').unwrap_or((rest, ""));
        let path = Path::parse(path).map_err(|e| invalid("not a path").with_source(e))?;
        let store = match scheme {
            "file" if bucket.is_empty() => {
                self.store("file://", || Ok(Arc::new(LocalFileSystem::new())))?
            }
            "s3" | "s3a" | "gs" | "az" | "adl" | "abfs" | "abfss" => {
                let bucket = format!("{scheme}://{bucket}");
                self.store(&bucket, || {
                    location::open(&bucket, &self.options).map(|opened| opened.backend)
                })?
            }
            _ => {
                return Err(Error::unsupported("no store for the files of this URL")
                    .with("url", failure::redact(url))
                    .with_hint("a path, or s3://, gs://, az:// or abfss://"));
            }
        };
        Ok((store, path))
    }

    fn store(
        &self,
        key: &str,
        make: impl FnOnce() -> Result<Arc<dyn ObjectStore>>,
    ) -> Result<Arc<dyn ObjectStore>> {
        let mut stores = self.stores.lock();
        if let Some(store) = stores.get(key) {
            return Ok(Arc::clone(store));
        }
        let made = make()?;
        stores.insert(key.to_owned(), Arc::clone(&made));
        Ok(made)
    }
}

impl Store {
    /// The files that a path, a URL or a pattern of one means, by name: of a folder, the Parquet
    /// files at any depth that are not hidden and in no hidden folder (`.` or `_` comes first).
    ///
    /// `*`, `?` and `[…]` stay within a folder, `**` does not. A path on local disk may be
    /// relative.
    ///
    /// # Errors
    ///
    /// `NotFound` if there is none; `Invalid` for what is no path or pattern, or means too many
    /// files; `Unavailable`.
    pub async fn find_files(&self, pattern: &str) -> Result<Vec<FoundFile>> {
        let (bucket, whole) = absolute(pattern)?;
        let wild = whole.find(WILD);
        let folder = match wild {
            Some(at) => whole[..at].rfind('/').map_or("", |end| &whole[..end]),
            None => whole.as_str(),
        };
        let url = |path: &Path| format!("{bucket}/{path}");
        let (store, path) = self.inner.found.open(&format!("{bucket}/{folder}"))?;
        let matches = match wild {
            Some(_) => Some(Pattern::new(&whole).map_err(|e| {
                Error::invalid("not a pattern")
                    .with("pattern", failure::redact(pattern))
                    .with_source(e)
            })?),
            None => None,
        };
        if matches.is_none() {
            let head = || store.head(&path);
            if let Ok(meta) = self.inner.retry.run(&self.inner.env, head).await {
                return Ok(vec![FoundFile {
                    url: url(&path),
                    bytes: meta.size,
                }]);
            }
        }
        let wanted = |meta: &ObjectMeta| match &matches {
            Some(pattern) => pattern.matches_with(meta.location.as_ref(), MATCHING),
            None => is_visible_parquet(&below(&meta.location, &path)),
        };
        let mut found = Vec::new();
        let mut listed = store.list(Some(&path));
        while let Some(meta) = listed
            .try_next()
            .await
            .map_err(|e| failure::explain(&e, &path))?
        {
            if meta.size == 0 || !wanted(&meta) {
                continue;
            }
            if found.len() == FILES_MAX {
                return Err(Error::invalid("the pattern means too many files")
                    .with("pattern", failure::redact(pattern))
                    .with("files_max", FILES_MAX));
            }
            found.push(FoundFile {
                url: url(&meta.location),
                bytes: meta.size,
            });
        }
        if found.is_empty() {
            return Err(Error::not_found("no file is meant by this")
                .with("pattern", failure::redact(pattern)));
        }
        found.sort_by(|a, b| a.url.cmp(&b.url));
        Ok(found)
    }

    /// The digest of a file that was found; `None` if it has another length by now.
    ///
    /// # Errors
    ///
    /// `NotFound`, `Unavailable`.
    pub(crate) async fn digest_of_found(&self, url: &str, bytes: u64) -> Result<Option<Digest>> {
        let (store, path) = self.inner.found.open(url)?;
        let hash = || super::data_files::hash(store.as_ref(), &path, bytes);
        let hashed = self.inner.retry.run(&self.inner.env, hash).await;
        let (found, digest) = hashed.map_err(|e| failure::explain(&e, &path))?;
        Ok((found == bytes).then_some(digest))
    }

    /// A part of a file that was found.
    ///
    /// # Errors
    ///
    /// `NotFound`, `Unavailable`.
    pub(crate) async fn read_found(&self, url: &str, range: Range<u64>) -> Result<Bytes> {
        let (store, path) = self.inner.found.open(url)?;
        let read = || store.get_range(&path, range.clone());
        let read = self.inner.retry.run(&self.inner.env, read).await;
        read.map_err(|e| failure::explain(&e, &path))
    }
}

/// What a URL of the place that a person wrote begins with, and the path there, as object stores
/// spell it; what makes a pattern of it stays as it is.
fn absolute(pattern: &str) -> Result<(String, String)> {
    if let Some((scheme, rest)) = pattern.split_once("://") {
        let (bucket, path) = rest.split_once('/').unwrap_or((rest, ""));
        let path = path.trim_matches('/').to_owned();
        return Ok((format!("{scheme}://{bucket}"), path));
    }
    if pattern.is_empty() {
        return Err(Error::invalid("the path is empty"));
    }
    let path = std::path::absolute(FolderPath::new(pattern)).map_err(|e| {
        Error::invalid("not a path")
            .with("path", pattern)
            .with_source(e)
    })?;
    let mut parts = Vec::new();
    for component in path.components() {
        match component {
            Component::Normal(part) => {
                let part = part.to_str().ok_or_else(|| {
                    Error::unsupported("a path that is not Unicode").with("path", path.display())
                })?;
                parts.push(part);
            }
            Component::ParentDir => drop(parts.pop()),
            Component::Prefix(_) | Component::RootDir | Component::CurDir => {}
        }
    }
    Ok(("file://".to_owned(), parts.join("/")))
}

fn below(path: &Path, root: &Path) -> String {
    let below = path.as_ref().strip_prefix(root.as_ref());
    below
        .unwrap_or(path.as_ref())
        .trim_start_matches('/')
        .to_owned()
}

fn is_visible_parquet(below: &str) -> bool {
    let hidden = |part: &str| part.starts_with('.') || part.starts_with('_') && !part.contains('=');
    let parquet = [".parquet", ".parq", ".pq"];
    !below.split('/').any(hidden) && parquet.iter().any(|end| below.ends_with(end))
}
