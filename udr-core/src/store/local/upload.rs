//! A large file written in parts.
//!
//! In: parts, in order. Out: the file, whole, under its name. Called by `object_store`'s
//! writers through [`MultipartUpload`].

use std::io::{Seek as _, SeekFrom, Write as _};
use std::sync::Arc;

use async_trait::async_trait;
use object_store::path::Path;
use object_store::{
    Error as StoreError, MultipartUpload, PutPayload, PutResult, Result, UploadPart,
};
use parking_lot::Mutex;

use super::folder::Root;
use super::put;
use super::temp::{Existing, TempFile};
use super::{LocalError, blocking, place_of};

/// Parts that go to one temporary file.
#[derive(Debug)]
pub(super) struct LocalUpload {
    root: Arc<Root>,
    location: Path,
    /// Nothing once completed or aborted.
    file: Option<Arc<Mutex<TempFile>>>,
    next: u64,
}

impl LocalUpload {
    pub(super) fn new(root: Arc<Root>, location: Path, file: TempFile) -> Self {
        Self {
            root,
            location,
            file: Some(Arc::new(Mutex::new(file))),
            next: 0,
        }
    }

    fn ended(location: &Path) -> StoreError {
        let ended = std::io::Error::other("the upload has ended or is still being written");
        LocalError::nothing(ended).at(location.as_ref())
    }
}

#[async_trait]
impl MultipartUpload for LocalUpload {
    fn put_part(&mut self, data: PutPayload) -> UploadPart {
        let start = self.next;
        self.next += data.content_length() as u64;
        let location = self.location.clone();
        let file = self.file.clone();
        Box::pin(async move {
            let file = file.ok_or_else(|| Self::ended(&location))?;
            blocking(&location, move || {
                let temp = file.lock();
                let mut file = &**temp.file();
                file.seek(SeekFrom::Start(start))
                    .and_then(|_| data.iter().try_for_each(|bytes| file.write_all(bytes)))
                    .map_err(LocalError::nothing)
            })
            .await
        })
    }

    async fn complete(&mut self) -> Result<PutResult> {
        let ended = || Self::ended(&self.location);
        let file = self.file.take().ok_or_else(ended)?;
        let file = Arc::into_inner(file).ok_or_else(ended)?.into_inner();
        let place = place_of(&self.location)?;
        let root = Arc::clone(&self.root);
        blocking(&self.location, move || {
            put::finish(&root, file, &place.name, Existing::Replace).map_err(Into::into)
        })
        .await?;
        Ok(PutResult {
            e_tag: None,
            version: None,
        })
    }

    async fn abort(&mut self) -> Result<()> {
        self.file = None;
        Ok(())
    }
}
