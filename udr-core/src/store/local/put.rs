//! Writing files so that a power cut at any point leaves each whole or absent.
//!
//! In: bytes and a name. Out: a file under that name. Called by `mod`, `stage` and `upload`.
//!
//! Every file is written to a temporary name in the folder where it will stay. Then:
//!
//! - **replace** (large files, repairs): sync the file, rename it, sync the folder.
//! - **add** (small files): link it to its name and leave the syncing to `pending`. A file that
//!   has the name already is kept if it has the same bytes, which it has unless it is damaged; it
//!   is synced all the same, since whoever wrote it may not have done so yet. A damaged one is
//!   replaced, durably, so that a durable file never gives way to one that is not.
//! - **create** (records): sync the file and everything added so far, link the file to its name,
//!   sync the folder. So what a record refers to is durable before it can be seen (invariant 8).
//!
//! A file whose sync failed is written anew, since its pages now count as clean and a second sync
//! would succeed for nothing.

use std::fs::File;
use std::io::{self, ErrorKind, Read as _};
use std::sync::Arc;

use bytes::Bytes;
use object_store::PutPayload;

use super::folder::{Folder, Root};
use super::pending::Added;
use super::temp::{Existing, TempFile};
use crate::store::failure::LocalError;

/// How often a file is written before its failing syncs are believed.
const WRITES_MAX: usize = 2;
/// The largest file whose syncing is left to the next record: larger ones are better on their way
/// early.
pub(super) const ADDED_BYTES_MAX: usize = 1 << 20;

/// Where a file is: a folder below the root, and a name in it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Place {
    pub(super) folder: String,
    pub(super) name: String,
}

/// Stores what `write` writes, durably when it returns.
pub(super) fn replace(
    root: &Root,
    place: &Place,
    existing: Existing,
    write: impl Fn(&TempFile) -> io::Result<()>,
) -> Result<(), LocalError> {
    let mut tries = 1;
    loop {
        let temp = TempFile::create(root, &place.folder).map_err(LocalError::nothing)?;
        write(&temp).map_err(LocalError::nothing)?;
        match finish(root, temp, &place.name, existing) {
            // Nothing has the name yet, so nobody is harmed by a second attempt.
            Err(e) if tries < WRITES_MAX && e.sync_failed => tries += 1,
            Err(e) => return Err(e.error),
            Ok(()) => return Ok(()),
        }
    }
}

/// Why [`finish`] failed.
pub(super) struct Unfinished {
    error: LocalError,
    /// Whether it was the file's own sync, so that the file must be written anew.
    sync_failed: bool,
}

impl From<Unfinished> for LocalError {
    fn from(unfinished: Unfinished) -> Self {
        unfinished.error
    }
}

/// Syncs a written file and gives it its name, durably.
pub(super) fn finish(
    root: &Root,
    mut temp: TempFile,
    name: &str,
    existing: Existing,
) -> Result<(), Unfinished> {
    let failed = |error, sync_failed| Unfinished { error, sync_failed };
    if root.syncs() {
        let synced = temp.file().sync_all();
        synced.map_err(|e| failed(LocalError::nothing(e), true))?;
    }
    let placed = temp.place(name, existing);
    placed.map_err(|e| failed(LocalError::nothing(e), false))?;
    let settled = root.settle(&temp.folder);
    settled.map_err(|e| failed(LocalError::unknown(e), false))
}

/// Stores `payload`, visible when it returns and durable before the next record is visible.
pub(super) fn add(root: &Root, place: &Place, payload: &PutPayload) -> Result<(), LocalError> {
    // While syncing fails, no more may come to wait.
    if root.pending.is_full() {
        let synced = root.pending.sync(root, None);
        synced.others.map_err(LocalError::nothing)?;
    }
    let folder = root.folder(&place.folder).map_err(LocalError::nothing)?;
    // Looked for first: file systems are slow to make a file soon after one was removed.
    if let Some(file) = open_if_same(&folder, &place.name, payload) {
        return leave_to_sync(root, place, payload, &folder, Arc::new(file));
    }
    let mut temp = TempFile::create_in(root, folder).map_err(LocalError::nothing)?;
    temp.write_pieces(payload).map_err(LocalError::nothing)?;
    let file = match temp.place(&place.name, Existing::Keep) {
        Ok(()) => Arc::clone(temp.file()),
        Err(e) if e.kind() == ErrorKind::AlreadyExists => {
            match open_if_same(&temp.folder, &place.name, payload) {
                Some(file) => Arc::new(file),
                None => {
                    return finish(root, temp, &place.name, Existing::Replace).map_err(Into::into);
                }
            }
        }
        Err(e) => return Err(LocalError::nothing(e)),
    };
    leave_to_sync(root, place, payload, &temp.folder, file)
}

/// Leaves a file that has its name to be synced before the next record.
fn leave_to_sync(
    root: &Root,
    place: &Place,
    payload: &PutPayload,
    folder: &Folder,
    file: Arc<File>,
) -> Result<(), LocalError> {
    if !root.syncs() {
        root.remember(folder.unsettled());
        return Ok(());
    }
    root.pending.push(Added {
        place: place.clone(),
        payload: payload.clone(),
        unsettled: folder.unsettled().to_vec(),
        file: Some(file),
    });
    if root.pending.is_full() {
        root.pending
            .sync(root, None)
            .others
            .map_err(LocalError::unknown)?;
    }
    Ok(())
}

/// The file that has the name already, if it has these bytes.
fn open_if_same(folder: &Folder, name: &str, payload: &PutPayload) -> Option<File> {
    let mut file = folder.dir.open(name).ok()?.into_std();
    let metadata = file.metadata().ok()?;
    if !metadata.is_file() || metadata.len() != payload.content_length() as u64 {
        return None;
    }
    let mut stored = Vec::with_capacity(payload.content_length());
    file.by_ref()
        .take(ADDED_BYTES_MAX as u64 + 1)
        .read_to_end(&mut stored)
        .ok()?;
    let mut rest = stored.as_slice();
    for piece in payload {
        rest = rest.strip_prefix(piece.as_ref())?;
    }
    rest.is_empty().then_some(file)
}

/// Stores `payload` if nothing has the name, durably and after everything added so far.
pub(super) fn create(root: &Root, place: &Place, payload: &PutPayload) -> Result<(), LocalError> {
    let mut existing = Existing::Keep;
    let mut tries = 1;
    loop {
        // Once the bytes have been visible, no failure can say that nothing is stored.
        let failed = |cause| match existing {
            Existing::Keep => LocalError::nothing(cause),
            Existing::Replace => LocalError::unknown(cause),
        };
        let mut temp = TempFile::create(root, &place.folder).map_err(failed)?;
        temp.write_pieces(payload).map_err(failed)?;
        if root.syncs() {
            let synced = root.pending.sync(root, Some(temp.file()));
            synced.others.map_err(failed)?;
            match synced.own {
                Err(_) if tries < WRITES_MAX => {
                    tries += 1;
                    continue;
                }
                own => own.map_err(failed)?,
            }
        }
        if let Err(cause) = temp.place(&place.name, existing) {
            if cause.kind() == ErrorKind::AlreadyExists {
                // What is there may be ours, from an attempt that was given up: whoever reads it
                // next can rely on it.
                root.settle(&temp.folder).map_err(LocalError::unknown)?;
            }
            return Err(failed(cause));
        }
        match root.settle(&temp.folder) {
            Ok(()) => return Ok(()),
            Err(cause) if tries == WRITES_MAX => return Err(LocalError::unknown(cause)),
            Err(_) => {
                // The name is taken by these very bytes, so replacing them harms nobody.
                existing = Existing::Replace;
                tries += 1;
            }
        }
    }
}

/// Stores `text`, never durably: whole while the power is on, perhaps empty or gone after a cut.
pub(super) fn note(
    root: &Root,
    place: &Place,
    existing: Existing,
    text: &Bytes,
) -> Result<(), LocalError> {
    let mut temp = TempFile::create(root, &place.folder).map_err(LocalError::nothing)?;
    temp.write_pieces([text]).map_err(LocalError::nothing)?;
    temp.place(&place.name, existing)
        .map_err(LocalError::nothing)
}
