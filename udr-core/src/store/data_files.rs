//! Data files: written as streams, read in ranges; those of the repository, and those that an import
//! found.
//!
//! In: bytes, or references. Out: references, or bytes of the length that was asked for; what they
//! are is verified by who knows the file's footer, or here as a whole (invariant 1). Called by
//! `data`.

use std::io::{Read as _, Seek as _};
use std::ops::Range;
use std::sync::Arc;

use bytes::Bytes;
use futures::{FutureExt as _, TryStreamExt as _};
use object_store::path::Path;
use object_store::{
    Error as StoreError, GetOptions, ObjectStore, ObjectStoreExt as _, WriteMultipart,
};

use crate::error::{Error, Result};
use crate::format::{Adopted, DataFile, ObjectRef};
use crate::id::{Digest, Epoch, TableId};

use super::local::Staged;
use super::objects::{corrupt, lost};
use super::staged::{Body, StagedFile};
use super::{Store, failure};

/// How many bytes of a data file are spooled in memory.
const SPOOLED_BYTES_MAX: usize = 8 << 20;
/// From here on a data file is uploaded in parts.
const PARTS_FROM_BYTES: u64 = 16 << 20;
/// The size of a part.
const PART_BYTES: usize = 8 << 20;
/// How many parts are on their way at once.
const PARTS_AT_ONCE: usize = 4;

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

impl Store {
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
