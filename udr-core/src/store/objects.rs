//! Content-addressed objects: metadata, whole and cached.
//!
//! In: bytes, or references. Out: references, or verified bytes (invariant 1). Called by whoever
//! stores anything but a ref.
//!
//! Objects are written with a plain overwrite: the bytes of a name never differ, so it can be
//! repeated, needs no answer to be believed, and repairs what rotted or was cut short.

use std::sync::Arc;

use bytes::Bytes;
use futures::{FutureExt as _, StreamExt as _, TryStreamExt as _};
use object_store::path::Path;
use object_store::{Error as StoreError, GetOptions, ObjectStoreExt as _};

use crate::error::{Error, ErrorKind, Result};
use crate::format::{Commit, ObjectRef, Within};
use crate::id::{Digest, Epoch, TableId};

use super::cache::CacheKind;
use super::layout::Layout;
use super::{Store, failure};

/// The most bytes of a metadata object.
pub(super) const OBJECT_BYTES_MAX: u64 = 256 << 20;
/// Objects up to this size are written to local disk one after the other: less than going back and
/// forth between threads.
const SMALL_BYTES_MAX: usize = 64 << 10;
/// How many objects are written at once.
const PUTS_AT_ONCE: usize = 64;
/// The fewest digits that objects are sought by.
const PREFIX_DIGITS_MIN: usize = 4;
/// How many shard folders are listed at once.
const LISTS_AT_ONCE: usize = 8;

/// Whether bytes that are read are kept in memory.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Keep {
    Yes,
    No,
}

impl Store {
    /// Stores a metadata object; durable no later than the next record that this store creates.
    ///
    /// # Errors
    ///
    /// `Invalid` if it is too large, `Unavailable` if the store cannot be written.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future leaves the whole object or none.
    pub async fn put_object(&self, epoch: Epoch, bytes: Bytes) -> Result<ObjectRef> {
        let object = ObjectRef::of(epoch, &bytes);
        if object.bytes > OBJECT_BYTES_MAX {
            return Err(Error::invalid("metadata object is too large").with("bytes", object.bytes));
        }
        let path = self.inner.layout.object(epoch, &object.digest);
        self.put(&path, &bytes).await?;
        self.keep(object.digest, bytes);
        Ok(object)
    }

    /// Stores metadata objects, all at once; durable no later than the next record that this store
    /// creates.
    ///
    /// # Errors
    ///
    /// `Invalid` if one is too large, `Unavailable` if the store cannot be written.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future leaves any of them, each whole.
    pub(crate) async fn put_objects(&self, epoch: Epoch, objects: Vec<Bytes>) -> Result<()> {
        let small = |bytes: &Bytes| bytes.len() <= SMALL_BYTES_MAX;
        let Some(local) = self
            .inner
            .local
            .as_ref()
            .filter(|_| objects.iter().all(small))
        else {
            return futures::stream::iter(objects)
                .map(|bytes| self.put_object(epoch, bytes))
                .buffer_unordered(PUTS_AT_ONCE)
                .try_for_each(|_| async { Ok(()) })
                .await;
        };
        let digests = objects
            .iter()
            .map(|bytes| Digest::of(bytes))
            .collect::<Vec<_>>();
        let put = || {
            let paths = digests
                .iter()
                .map(|digest| self.inner.layout.object(epoch, digest));
            local.put_all(paths.zip(objects.iter().cloned()).collect())
        };
        let put = self.inner.retry.run(&self.inner.env, put).await;
        put.map_err(|error| failure::explain_write(&error, &self.inner.layout.objects()))?;
        for (digest, bytes) in digests.into_iter().zip(objects) {
            self.keep(digest, bytes);
        }
        Ok(())
    }

    /// The bytes of a metadata object, verified.
    ///
    /// # Errors
    ///
    /// `Corrupt`, naming the object, if it is missing or is not what `object` says; `Unavailable`.
    pub async fn get_object(&self, object: &ObjectRef) -> Result<Bytes> {
        self.object(object, Keep::Yes).await
    }

    /// As [`Store::get_object`], for who keeps what it makes of the bytes.
    pub(crate) async fn get_object_once(&self, object: &ObjectRef) -> Result<Bytes> {
        // What else is in a commit is likely to be needed next.
        let keep = match object.within {
            Some(_) => Keep::Yes,
            None => Keep::No,
        };
        self.object(object, keep).await
    }

    async fn object(&self, object: &ObjectRef, keep: Keep) -> Result<Bytes> {
        let (digest, bytes) = match object.within {
            None => (object.digest, object.bytes),
            Some(Within::Commit { digest, bytes }) => (digest, bytes),
            Some(Within::Here) => {
                return Err(Error::internal(
                    "a reference does not say what it was read from",
                ));
            }
        };
        let stored = ObjectRef {
            digest,
            bytes,
            within: None,
            ..*object
        };
        let path = self.inner.layout.object(stored.epoch, &stored.digest);
        let found = self.get(&path, &stored, keep).await?;
        if object.within.is_none() {
            return Ok(found);
        }
        Commit::part(&found, object).map_err(|error| error.with("path", &path))
    }

    /// The bytes at `path` that `object` names, from memory or the store.
    async fn get(&self, path: &Path, object: &ObjectRef, keep: Keep) -> Result<Bytes> {
        if object.bytes > OBJECT_BYTES_MAX {
            return Err(corrupt(
                "reference to a metadata object that is too large",
                path,
                object,
            ));
        }
        let cache = &self.inner.cache;
        let (kind, digest) = (CacheKind::Objects, object.digest);
        let bytes = match keep {
            Keep::Yes => {
                let read = || {
                    let read = async {
                        let bytes = self.read_object(path, object).await?;
                        Ok((Arc::new(bytes), object.bytes))
                    };
                    read.boxed()
                };
                let bytes: Arc<Bytes> = cache.get_or_read(kind, digest, read).await?;
                Bytes::clone(&bytes)
            }
            Keep::No => match cache.get::<Bytes>(kind, digest) {
                Some(bytes) => Bytes::clone(&bytes),
                None => self.read_object(path, object).await?,
            },
        };
        if bytes.len() as u64 != object.bytes {
            return Err(corrupt(
                "object has another length than its reference",
                path,
                object,
            ));
        }
        Ok(bytes)
    }

    /// Stores the deletion vector of a data file; durable no later than the next record that this
    /// store creates.
    ///
    /// # Errors
    ///
    /// `Invalid` if it is too large, `Unavailable` if the store cannot be written.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future leaves the whole object or none.
    pub async fn put_deletion_vector(
        &self,
        table: TableId,
        epoch: Epoch,
        bytes: Bytes,
    ) -> Result<ObjectRef> {
        let object = ObjectRef::of(epoch, &bytes);
        if object.bytes > OBJECT_BYTES_MAX {
            return Err(Error::invalid("deletion vector is too large").with("bytes", object.bytes));
        }
        let layout = &self.inner.layout;
        let path = layout.deletion_vector(table, epoch, &object.digest);
        self.put(&path, &bytes).await?;
        self.keep(object.digest, bytes);
        Ok(object)
    }

    /// The bytes of a deletion vector, verified.
    ///
    /// # Errors
    ///
    /// `Corrupt`, naming the object, if it is missing or is not what `object` says; `Unavailable`.
    pub async fn get_deletion_vector(&self, table: TableId, object: &ObjectRef) -> Result<Bytes> {
        let layout = &self.inner.layout;
        let path = layout.deletion_vector(table, object.epoch, &object.digest);
        self.get(&path, object, Keep::Yes).await
    }

    /// Keeps what was just written; it is likely to be read next.
    fn keep(&self, digest: Digest, bytes: Bytes) {
        let size = bytes.len() as u64;
        let cache = &self.inner.cache;
        cache.insert(CacheKind::Objects, digest, Arc::new(bytes), size);
    }

    async fn read_object(&self, path: &Path, object: &ObjectRef) -> Result<Bytes> {
        let read = || self.read_capped(path, object.bytes);
        match self.inner.retry.run(&self.inner.env, read).await {
            Ok(Some(bytes)) if bytes.len() as u64 == object.bytes => {
                if Digest::of(&bytes) != object.digest {
                    return Err(corrupt(
                        "object has another digest than its name",
                        path,
                        object,
                    ));
                }
                Ok(bytes)
            }
            Ok(_) => Err(corrupt(
                "object has another length than its reference",
                path,
                object,
            )),
            Err(error) => Err(lost(&error, path)),
        }
    }

    /// The metadata objects whose digests start with `hex_prefix`, of all epochs, in order.
    ///
    /// # Errors
    ///
    /// `Invalid` if the prefix is not made of 4 to 64 lowercase hex digits; `Unavailable`.
    pub async fn find_objects(&self, hex_prefix: &str) -> Result<Vec<ObjectRef>> {
        let is_hex = |b: u8| b.is_ascii_digit() || matches!(b, b'a'..=b'f');
        if !(PREFIX_DIGITS_MIN..=64).contains(&hex_prefix.len()) || !hex_prefix.bytes().all(is_hex)
        {
            return Err(
                Error::invalid("an object is sought by 4 to 64 lowercase hex digits")
                    .with("prefix", hex_prefix),
            );
        }
        let epochs = self
            .list_level(&self.inner.layout.objects())
            .await?
            .common_prefixes;
        let shards = epochs
            .iter()
            .filter_map(Layout::epoch_of)
            .map(|epoch| async move {
                let shard = self.inner.layout.shard(epoch, hex_prefix);
                Ok::<_, Error>((epoch, self.list_level(&shard).await?.objects))
            });
        let shards = futures::stream::iter(shards).buffered(LISTS_AT_ONCE);
        let shards = shards.try_collect::<Vec<_>>().await?;
        let mut found = Vec::new();
        for (epoch, objects) in shards {
            for meta in objects {
                let Some(digest) = Layout::digest_of(&meta.location) else {
                    continue;
                };
                if digest.to_hex().starts_with(hex_prefix) {
                    found.push(ObjectRef {
                        digest,
                        epoch,
                        bytes: meta.size,
                        within: None,
                    });
                }
            }
        }
        found.sort_by_key(|object| (object.digest, object.epoch));
        Ok(found)
    }

    /// Makes everything durable that was stored through this store.
    ///
    /// Creating a record does so by itself. It is needed where the record that refers to an object
    /// or a data file is created by another process, or through another store of the same place.
    ///
    /// # Errors
    ///
    /// `Unavailable` if something cannot be made durable.
    pub async fn flush(&self) -> Result<()> {
        let Some(local) = &self.inner.local else {
            return Ok(());
        };
        let flushed = local.flush().await;
        flushed.map_err(|e| failure::explain_write(&e, &Path::default()))
    }

    /// Writes `bytes` under a name that only they can have.
    pub(super) async fn put(&self, path: &Path, bytes: &Bytes) -> Result<()> {
        let put = || self.inner.backend.put(path, bytes.clone().into());
        let put = self.inner.retry.run(&self.inner.env, put).await;
        put.map(drop)
            .map_err(|error| failure::explain_write(&error, path))
    }

    /// The whole object at `path`, or nothing if it has more than `cap` bytes.
    pub(super) async fn read_capped(
        &self,
        path: &Path,
        cap: u64,
    ) -> object_store::Result<Option<Bytes>> {
        let found = self
            .inner
            .backend
            .get_opts(path, GetOptions::default())
            .await?;
        if found.meta.size > cap {
            return Ok(None);
        }
        let mut stream = found.into_stream();
        let Some(first) = stream.try_next().await? else {
            return Ok(Some(Bytes::new()));
        };
        let Some(second) = stream.try_next().await? else {
            return Ok((first.len() as u64 <= cap).then_some(first));
        };
        let mut all = [first, second].concat();
        while all.len() as u64 <= cap
            && let Some(piece) = stream.try_next().await?
        {
            all.extend_from_slice(&piece);
        }
        Ok((all.len() as u64 <= cap).then(|| all.into()))
    }
}

pub(super) fn corrupt(message: &str, path: &Path, object: &ObjectRef) -> Error {
    Error::corrupt(message)
        .with("object", path)
        .with("bytes", object.bytes)
}

/// What a failed read of something that a reference names means.
pub(super) fn lost(error: &StoreError, path: &Path) -> Error {
    let explained = failure::explain(error, path);
    if explained.kind() == ErrorKind::NotFound {
        return Error::corrupt("missing object").with("object", path);
    }
    explained
}
