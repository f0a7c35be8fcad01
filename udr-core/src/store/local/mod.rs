//! An object store on local disk whose answers survive a power cut.
//!
//! In: calls of the `object_store` trait. Out: files below one folder. Called by `Store`, and by
//! tests that wrap it. `object_store`'s own local backend never syncs; this one writes as `put`
//! describes, and follows no symbolic link out of its folder.

mod batch;
mod folder;
mod list;
mod pending;
mod put;
mod stage;
mod temp;
#[cfg(test)]
mod tests;
mod upload;

use std::fmt;
use std::fs::File;
use std::io::{self, Read as _, Seek as _, SeekFrom};
use std::ops::Range;
use std::path::Path as DiskPath;
use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use futures::stream::{self, BoxStream, StreamExt as _};
use object_store::path::Path;
use object_store::{
    CopyMode, CopyOptions, Error as StoreError, GetOptions, GetResult, GetResultPayload,
    ListResult, MultipartUpload, ObjectMeta, ObjectStore, PutMode, PutMultipartOptions, PutOptions,
    PutPayload, PutResult, Result,
};
use tokio::sync::mpsc;

use super::Durability;
use super::failure::LocalError;
use crate::error::Error;
use folder::{Root, TEMP_PREFIX};
use put::{ADDED_BYTES_MAX, Place};
use temp::{Existing, TempFile};

pub(crate) use stage::{LocalStage, Staged};

/// The largest piece that is read at once.
const PIECE_BYTES_MAX: u64 = 1 << 20;
/// How many files a listing is ahead of its reader.
const LISTED_AHEAD_MAX: usize = 1_024;

/// Files below one folder as an object store.
#[derive(Debug, Clone)]
pub(crate) struct LocalStore {
    root: Arc<Root>,
}

/// The durable local backend below the folder `path`, which is made by the first write.
///
/// # Errors
///
/// `Invalid` if `path` cannot be made absolute.
pub fn local_object_store(
    path: impl AsRef<DiskPath>,
    durability: Durability,
) -> crate::Result<Arc<dyn ObjectStore>> {
    Ok(Arc::new(LocalStore::new(path.as_ref(), durability)?))
}

impl LocalStore {
    pub(crate) fn new(path: &DiskPath, durability: Durability) -> crate::Result<Self> {
        let root = Root::new(path, durability).map_err(|e| {
            Error::invalid("not a path of a folder")
                .with("path", path.display())
                .with_source(e)
        })?;
        Ok(Self {
            root: Arc::new(root),
        })
    }

    /// A data file in `folder`, which is made once it is needed.
    pub(crate) fn stage(&self, folder: &Path) -> LocalStage {
        LocalStage::new(Arc::clone(&self.root), folder.clone())
    }

    /// Stores small files, all in one go; as durable as any that is put.
    pub(crate) async fn put_all(&self, files: Vec<(Path, Bytes)>) -> Result<()> {
        let root = Arc::clone(&self.root);
        let put = tokio::task::spawn_blocking(move || {
            files.into_iter().try_for_each(|(path, bytes)| {
                let place = place_of(&path)?;
                put::add(&root, &place, &bytes.into()).map_err(|e| e.at(path.as_ref()))
            })
        });
        put.await?
    }

    /// Stores `text` without syncing anything: it is whole or lost. With `PutMode::Create` only if
    /// nothing has the name.
    pub(crate) async fn put_unsynced(&self, path: &Path, text: Bytes, mode: PutMode) -> Result<()> {
        let existing = match mode {
            PutMode::Create => Existing::Keep,
            PutMode::Overwrite | PutMode::Update(_) => Existing::Replace,
        };
        let place = place_of(path)?;
        let root = Arc::clone(&self.root);
        blocking(path, move || put::note(&root, &place, existing, &text)).await
    }

    /// Syncs everything that waits for the next record.
    pub(crate) async fn flush(&self) -> Result<()> {
        let root = Arc::clone(&self.root);
        blocking(&Path::default(), move || {
            let synced = root.pending.sync(&root, None);
            synced.others.map_err(LocalError::unknown)
        })
        .await
    }

    /// Removes what interrupted writes left behind, and says how many.
    pub(crate) async fn sweep(&self) -> Result<usize> {
        let root = Arc::clone(&self.root);
        blocking(&Path::default(), move || {
            list::sweep(&root).map_err(LocalError::nothing)
        })
        .await
    }
}

/// Runs a disk call where it may block.
async fn blocking<T: Send + 'static>(
    path: &Path,
    call: impl FnOnce() -> Result<T, LocalError> + Send + 'static,
) -> Result<T> {
    tokio::task::spawn_blocking(call)
        .await?
        .map_err(|e| e.at(path.as_ref()))
}

/// Where the file at `path` is.
fn place_of(path: &Path) -> Result<Place> {
    let hidden = |part: &str| part.is_empty() || part.starts_with(TEMP_PREFIX);
    if path.as_ref().split('/').any(hidden) {
        return Err(LocalError::nothing(io::ErrorKind::InvalidFilename.into()).at(path.as_ref()));
    }
    let (folder, name) = path
        .as_ref()
        .rsplit_once('/')
        .unwrap_or(("", path.as_ref()));
    Ok(Place {
        folder: folder.to_owned(),
        name: name.to_owned(),
    })
}

fn open(root: &Root, path: &Path) -> Result<(File, ObjectMeta), LocalError> {
    let opened = || {
        let file = root.open()?.open(path.as_ref())?.into_std();
        let metadata = file.metadata()?;
        if !metadata.is_file() {
            return Err(io::ErrorKind::NotFound.into());
        }
        let meta = list::meta(path.clone(), &metadata)?;
        Ok((file, meta))
    };
    opened().map_err(LocalError::nothing)
}

fn read(file: &mut File, bytes: u64) -> io::Result<Bytes> {
    let length = usize::try_from(bytes).map_err(io::Error::other)?;
    let mut buffer = vec![0; length];
    file.read_exact(&mut buffer)?;
    Ok(buffer.into())
}

/// The bytes from where `file` stands, piece by piece.
fn pieces(file: File, bytes: u64, path: Path) -> BoxStream<'static, Result<Bytes>> {
    let next = move |(mut file, left): (File, u64)| {
        let path = path.clone();
        async move {
            if left == 0 {
                return Ok(None);
            }
            blocking(&path, move || {
                let piece = read(&mut file, left.min(PIECE_BYTES_MAX));
                let piece = piece.map_err(LocalError::nothing)?;
                let left = left - piece.len() as u64;
                Ok(Some((piece, (file, left))))
            })
            .await
        }
    };
    stream::try_unfold((file, bytes), next).boxed()
}

#[async_trait]
impl ObjectStore for LocalStore {
    async fn put_opts(
        &self,
        location: &Path,
        payload: PutPayload,
        opts: PutOptions,
    ) -> Result<PutResult> {
        if !opts.attributes.is_empty() {
            return Err(not_implemented("put_opts with attributes"));
        }
        let small = payload.content_length() <= ADDED_BYTES_MAX;
        let place = place_of(location)?;
        let root = Arc::clone(&self.root);
        match opts.mode {
            PutMode::Create => {
                blocking(location, move || put::create(&root, &place, &payload)).await?;
            }
            PutMode::Overwrite if small => {
                blocking(location, move || put::add(&root, &place, &payload)).await?;
            }
            PutMode::Overwrite => {
                let write = move |temp: &TempFile| temp.write_pieces(&payload);
                blocking(location, move || {
                    put::replace(&root, &place, Existing::Replace, write)
                })
                .await?;
            }
            PutMode::Update(_) => return Err(not_implemented("put_opts with PutMode::Update")),
        }
        Ok(PutResult {
            e_tag: None,
            version: None,
        })
    }

    async fn put_multipart_opts(
        &self,
        location: &Path,
        opts: PutMultipartOptions,
    ) -> Result<Box<dyn MultipartUpload>> {
        if !opts.attributes.is_empty() {
            return Err(not_implemented("put_multipart_opts with attributes"));
        }
        let folder = place_of(location)?.folder;
        let root = Arc::clone(&self.root);
        let upload_root = Arc::clone(&root);
        let file = blocking(location, move || {
            TempFile::create(&root, &folder).map_err(LocalError::nothing)
        })
        .await?;
        Ok(Box::new(upload::LocalUpload::new(
            upload_root,
            location.clone(),
            file,
        )))
    }

    async fn get_opts(&self, location: &Path, options: GetOptions) -> Result<GetResult> {
        place_of(location)?;
        if options.version.is_some() {
            return Err(not_implemented("get_opts with a version"));
        }
        let root = Arc::clone(&self.root);
        let path = location.clone();
        let (file, meta, range, first, left) = tokio::task::spawn_blocking(move || {
            let (mut file, meta) = open(&root, &path).map_err(|e| e.at(path.as_ref()))?;
            options.check_preconditions(&meta)?;
            let range = match &options.range {
                Some(range) => range.as_range(meta.size).map_err(|e| StoreError::Generic {
                    store: "local",
                    source: Box::new(LocalError::nothing(io::Error::other(e))),
                })?,
                None => 0..meta.size,
            };
            let failed = |e| LocalError::nothing(e).at(path.as_ref());
            let length = if options.head {
                0
            } else {
                range.end - range.start
            };
            if range.start > 0 && length > 0 {
                file.seek(SeekFrom::Start(range.start)).map_err(failed)?;
            }
            let first = read(&mut file, length.min(PIECE_BYTES_MAX)).map_err(failed)?;
            let left = length - first.len() as u64;
            Ok::<_, StoreError>((file, meta, range, first, left))
        })
        .await??;
        let first_piece = stream::iter((!first.is_empty()).then_some(Ok(first)));
        let payload = first_piece
            .chain(pieces(file, left, location.clone()))
            .boxed();
        Ok(GetResult {
            payload: GetResultPayload::Stream(payload),
            meta,
            range,
            attributes: Default::default(),
        })
    }

    async fn get_ranges(&self, location: &Path, ranges: &[Range<u64>]) -> Result<Vec<Bytes>> {
        place_of(location)?;
        let root = Arc::clone(&self.root);
        let path = location.clone();
        let ranges = ranges.to_vec();
        blocking(location, move || {
            let (mut file, _) = open(&root, &path)?;
            let read_range = |range: &Range<u64>| {
                file.seek(SeekFrom::Start(range.start))?;
                read(&mut file, range.end.saturating_sub(range.start))
            };
            ranges
                .iter()
                .map(read_range)
                .collect::<io::Result<_>>()
                .map_err(LocalError::nothing)
        })
        .await
    }

    fn delete_stream(
        &self,
        locations: BoxStream<'static, Result<Path>>,
    ) -> BoxStream<'static, Result<Path>> {
        let root = Arc::clone(&self.root);
        let delete = move |location: Result<Path>| {
            let root = Arc::clone(&root);
            async move {
                let location = location?;
                place_of(&location)?;
                let path = location.clone();
                blocking(&location, move || {
                    let removed = root.open().and_then(|dir| dir.remove_file(path.as_ref()));
                    removed.map_err(LocalError::nothing)
                })
                .await?;
                Ok(location)
            }
        };
        locations.map(delete).buffered(8).boxed()
    }

    fn list(&self, prefix: Option<&Path>) -> BoxStream<'static, Result<ObjectMeta>> {
        let root = Arc::clone(&self.root);
        let prefix = prefix.cloned().unwrap_or_default();
        let (sender, receiver) = mpsc::channel(LISTED_AHEAD_MAX);
        let start = async move {
            tokio::task::spawn_blocking(move || {
                let emit = |meta| sender.blocking_send(Ok(meta)).is_ok();
                if let Err(e) = list::walk(&root, &prefix, emit) {
                    let error = LocalError::nothing(e).at(prefix.as_ref());
                    // The reader may be gone.
                    drop(sender.blocking_send(Err(error)));
                }
            });
            stream::unfold(receiver, async |mut receiver| {
                receiver.recv().await.map(|item| (item, receiver))
            })
        };
        stream::once(start).flatten().boxed()
    }

    async fn list_with_delimiter(&self, prefix: Option<&Path>) -> Result<ListResult> {
        let root = Arc::clone(&self.root);
        let prefix = prefix.cloned().unwrap_or_default();
        let path = prefix.clone();
        blocking(&path, move || {
            list::list_level(&root, &prefix).map_err(LocalError::nothing)
        })
        .await
    }

    async fn copy_opts(&self, from: &Path, to: &Path, options: CopyOptions) -> Result<()> {
        let existing = match options.mode {
            CopyMode::Create => Existing::Keep,
            CopyMode::Overwrite => Existing::Replace,
        };
        place_of(from)?;
        let place = place_of(to)?;
        let root = Arc::clone(&self.root);
        let source = from.clone();
        blocking(to, move || {
            open(&root, &source)?;
            put::replace(&root, &place, existing, |temp| {
                let (mut from, _) = open(&root, &source).map_err(|e| e.cause)?;
                io::copy(&mut from, &mut &**temp.file()).map(drop)
            })
        })
        .await
    }
}

fn not_implemented(operation: &str) -> StoreError {
    StoreError::NotImplemented {
        operation: operation.to_owned(),
        implementer: "local".to_owned(),
    }
}

impl fmt::Display for LocalStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "local({})", self.root.path().display())
    }
}
