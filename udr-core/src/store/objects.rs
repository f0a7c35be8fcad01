//! Content-addressed objects: metadata, whole and cached; data files, in ranges.
//!
//! In: bytes, or references. Out: references, or verified bytes (invariant 1). Called by whoever
//! stores anything but a ref.
//!
//! Objects are written with a plain overwrite: the bytes of a name never differ, so it can be
//! repeated, needs no answer to be believed, and repairs what rotted or was cut short.

use std::io::{Read as _, Seek as _};
use std::ops::Range;
use std::sync::Arc;

use bytes::Bytes;
use futures::{FutureExt as _, StreamExt as _, TryStreamExt as _};
use object_store::path::Path;
use object_store::{
    Error as StoreError, GetOptions, ObjectStore, ObjectStoreExt as _, WriteMultipart,
};

use crate::error::{Error, ErrorKind, Result};
use crate::format::{Adopted, Commit, DataFile, ObjectRef, Within};
use crate::id::{Digest, Epoch, TableId};

use super::cache::CacheKind;
use super::layout::Layout;
use super::local::Staged;
use super::staged::{Body, StagedFile};
use super::{Store, failure};

/// The most bytes of a metadata object.
pub(super) const OBJECT_BYTES_MAX: u64 = 256 << 20;
/// Objects up to this size are written to local disk one after the other: less than going back and
/// forth between threads.
const SMALL_BYTES_MAX: usize = 64 << 10;
/// How many objects are written at once.
const PUTS_AT_ONCE: usize = 64;
/// How many bytes of a data file are spooled in memory.
const SPOOLED_BYTES_MAX: usize = 8 << 20;
/// From here on a data file is uploaded in parts.
const PARTS_FROM_BYTES: u64 = 16 << 20;
/// The size of a part.
const PART_BYTES: usize = 8 << 20;
/// How many parts are on their way at once.
const PARTS_AT_ONCE: usize = 4;
/// The fewest digits that objects are sought by.
const PREFIX_DIGITS_MIN: usize = 4;
/// How many shard folders are listed at once.
const LISTS_AT_ONCE: usize = 8;

/// Where a data file is.
#[derive(Debug, Clone, Copy)]
pub enum Place<'a> {
    /// In the repository, among the files of a table.
    Own(TableId),
    /// Where an import found it.
    Found(&'a Adopted),
}

impl From<TableId> for Place<'_> {
    fn from(table: TableId) -> Self {
        Self::Own(table)
    }
}

impl<'a> Place<'a> {
    /// Where a file of a table is.
    pub fn of(table: TableId, file: &'a DataFile) -> Self {
        match &file.adopted {
            Some(adopted) => Self::Found(adopted),
            None => Self::Own(table),
        }
    }
}

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

    /// Starts a data file. Touches nothing until there is much to write.
    ///
    /// # Errors
    ///
    /// None from the stores here, which fail when written to; one may have to reserve room.
    pub fn stage_data_file(&self, table: TableId, epoch: Epoch) -> Result<StagedFile> {
        let folder = self.inner.layout.data_folder(table, epoch);
        let body = match &self.inner.local {
            Some(local) => Body::Local(local.stage(&folder)),
            None => Body::Spooled(tempfile::spooled_tempfile(SPOOLED_BYTES_MAX)),
        };
        Ok(StagedFile::new(table, epoch, body))
    }

    /// Gives a data file its name; durable no later than the next record that this store creates,
    /// or the end of [`Store::flush`].
    ///
    /// # Errors
    ///
    /// `Unavailable` if the store cannot be written.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future leaves the whole file or none.
    pub async fn put_data_file(&self, staged: StagedFile) -> Result<ObjectRef> {
        let object = ObjectRef {
            digest: staged.digest(),
            epoch: staged.epoch,
            bytes: staged.bytes(),
            within: None,
        };
        let path = self
            .inner
            .layout
            .data_file(staged.table, staged.epoch, &object.digest);
        match staged.body {
            Body::Local(stage) => match stage.finish() {
                Staged::Few(bytes) => self.put(&path, &bytes.into()).await?,
                Staged::Many(file) => {
                    let published = file.publish(&path).await;
                    published.map_err(|e| failure::explain_write(&e, &path))?;
                }
            },
            Body::Spooled(file) => self.upload(&path, file, object.bytes).await?,
        }
        Ok(object)
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

    async fn upload(&self, path: &Path, file: tempfile::SpooledTempFile, bytes: u64) -> Result<()> {
        let spool = Spool::new(file);
        if bytes < PARTS_FROM_BYTES {
            let whole = spool
                .read(0, usize::try_from(bytes).unwrap_or(usize::MAX))
                .await;
            let whole = whole.map_err(|e| failure::explain_write(&e, path))?;
            return self.put(path, &whole).await;
        }
        let upload = || self.upload_parts(path, &spool, bytes);
        let uploaded = self.inner.retry.run(&self.inner.env, upload).await;
        uploaded.map_err(|e| failure::explain_write(&e, path))
    }

    /// Repeating it from the start is safe: the bytes of the name never differ.
    async fn upload_parts(
        &self,
        path: &Path,
        spool: &Spool,
        bytes: u64,
    ) -> object_store::Result<()> {
        let upload = self.inner.backend.put_multipart(path).await?;
        let mut writer = WriteMultipart::new_with_chunk_size(upload, PART_BYTES);
        let mut start = 0;
        while start < bytes {
            let part = async {
                writer.wait_for_capacity(PARTS_AT_ONCE).await?;
                spool.read(start, PART_BYTES).await
            };
            match part.await {
                Ok(part) if !part.is_empty() => {
                    start += part.len() as u64;
                    writer.put(part);
                }
                failed => {
                    // What was uploaded is dropped by the store's own rules if this fails, too.
                    drop(writer.abort().await);
                    return Err(failed.err().unwrap_or_else(|| StoreError::Generic {
                        store: "spool",
                        source: "the spooled file is shorter than what was written".into(),
                    }));
                }
            }
        }
        let Err(error) = writer.finish().await else {
            return Ok(());
        };
        // A client that repeats a completion whose answer was lost is told that there is no such
        // upload. The name says which bytes are there, so their number tells.
        match self.inner.backend.head(path).await {
            Ok(meta) if meta.size == bytes => Ok(()),
            _ => Err(match error {
                StoreError::NotFound { source, .. } => StoreError::Generic {
                    store: "multipart",
                    source,
                },
                other => other,
            }),
        }
    }

    /// Ranges of a data file, in the order asked for.
    ///
    /// # Errors
    ///
    /// `Corrupt`, naming the file, if a range is not inside it or it is missing or too short;
    /// `Unavailable`.
    pub async fn read_data_file(
        &self,
        place: impl Into<Place<'_>>,
        file: &ObjectRef,
        ranges: &[Range<u64>],
    ) -> Result<Vec<Bytes>> {
        let place = place.into();
        let (backend, path) = self.place(place, file)?;
        if let Some(range) = ranges
            .iter()
            .find(|r| r.start > r.end || r.end > file.bytes)
        {
            return Err(corrupt("range is not inside its data file", &path, file)
                .with("range", format!("{}..{}", range.start, range.end)));
        }
        let wanted = ranges
            .iter()
            .filter(|r| !r.is_empty())
            .cloned()
            .collect::<Vec<_>>();
        let from_store = |wanted: Vec<Range<u64>>| {
            let (backend, path) = (&backend, &path);
            let read = async move {
                let get = || backend.get_ranges(path, &wanted);
                match self.inner.retry.run(&self.inner.env, get).await {
                    Ok(read) => Ok(read),
                    Err(error) => Err(unread(backend.as_ref(), &error, path, file).await),
                }
            };
            read.boxed()
        };
        let read = match (&self.inner.disk_cache, place) {
            _ if wanted.is_empty() => Vec::new(),
            (Some(cache), Place::Own(_)) => {
                let (digest, bytes) = (file.digest, file.bytes);
                cache.ranges(digest, bytes, &wanted, from_store).await?
            }
            _ => from_store(wanted).await?,
        };
        let short = || corrupt("data file is shorter than its reference", &path, file);
        let mut read = read.into_iter();
        let mut out = Vec::with_capacity(ranges.len());
        for range in ranges {
            let bytes = match range.is_empty() {
                true => Bytes::new(),
                false => read.next().ok_or_else(short)?,
            };
            if bytes.len() as u64 != range.end - range.start {
                return Err(short());
            }
            out.push(bytes);
        }
        Ok(out)
    }

    /// The store that a data file is in, and its path there.
    fn place(&self, place: Place<'_>, file: &ObjectRef) -> Result<(Arc<dyn ObjectStore>, Path)> {
        match place {
            Place::Own(table) => {
                let path = self.inner.layout.data_file(table, file.epoch, &file.digest);
                Ok((Arc::clone(&self.inner.backend), path))
            }
            Place::Found(adopted) => self.inner.found.open(&adopted.url),
        }
    }

    /// Reads a whole data file and checks its length and digest.
    ///
    /// # Errors
    ///
    /// `Corrupt`, naming the file, if it is missing or differs; `Unavailable`.
    pub async fn verify_data_file(
        &self,
        place: impl Into<Place<'_>>,
        file: &ObjectRef,
    ) -> Result<()> {
        let (backend, path) = self.place(place.into(), file)?;
        let hash = || hash(backend.as_ref(), &path, file.bytes);
        match self.inner.retry.run(&self.inner.env, hash).await {
            Ok((bytes, _)) if bytes != file.bytes => Err(corrupt(
                "data file has another length than its reference",
                &path,
                file,
            )),
            Ok((_, digest)) if digest != file.digest => Err(corrupt(
                "data file has another digest than its name",
                &path,
                file,
            )),
            Ok(_) => Ok(()),
            Err(error) => Err(lost(&error, &path)),
        }
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

/// A spooled file that is read where reading may block.
#[derive(Clone)]
struct Spool {
    file: Arc<parking_lot::Mutex<tempfile::SpooledTempFile>>,
}

impl Spool {
    fn new(file: tempfile::SpooledTempFile) -> Self {
        Self {
            file: Arc::new(parking_lot::Mutex::new(file)),
        }
    }

    /// At most `bytes` bytes from `start` on.
    async fn read(&self, start: u64, bytes: usize) -> object_store::Result<Bytes> {
        let file = Arc::clone(&self.file);
        let read = tokio::task::spawn_blocking(move || {
            let mut file = file.lock();
            file.seek(std::io::SeekFrom::Start(start))?;
            let mut buffer = Vec::new();
            file.by_ref().take(bytes as u64).read_to_end(&mut buffer)?;
            Ok::<_, std::io::Error>(buffer.into())
        });
        read.await?
            .map_err(|e| failure::LocalError::nothing(e).at("spool"))
    }
}

/// Why ranges that the reference says are there could not be read.
async fn unread(
    backend: &dyn ObjectStore,
    error: &StoreError,
    path: &Path,
    file: &ObjectRef,
) -> Error {
    match backend.head(path).await {
        Ok(meta) if meta.size != file.bytes => corrupt(
            "data file has another length than its reference",
            path,
            file,
        ),
        _ => lost(error, path),
    }
}

/// The length and digest of what is at `path`, or a wrong length without reading past `cap`.
pub(super) async fn hash(
    backend: &dyn ObjectStore,
    path: &Path,
    cap: u64,
) -> object_store::Result<(u64, Digest)> {
    let found = backend.get_opts(path, GetOptions::default()).await?;
    let mut hasher = blake3::Hasher::new();
    let mut bytes = 0;
    if found.meta.size != cap {
        return Ok((found.meta.size, hasher.finalize().into()));
    }
    let mut stream = found.into_stream();
    while let Some(piece) = stream.try_next().await? {
        bytes += piece.len() as u64;
        if bytes > cap {
            break;
        }
        hasher.update(&piece);
    }
    Ok((bytes, hasher.finalize().into()))
}

fn corrupt(message: &str, path: &Path, object: &ObjectRef) -> Error {
    Error::corrupt(message)
        .with("object", path)
        .with("bytes", object.bytes)
}

/// What a failed read of something that a reference names means.
fn lost(error: &StoreError, path: &Path) -> Error {
    let explained = failure::explain(error, path);
    if explained.kind() == ErrorKind::NotFound {
        return Error::corrupt("missing object").with("object", path);
    }
    explained
}
