//! Files that are visible and not yet known to be durable.
//!
//! In: files as they are added. Out: all of them durable, when a record is about to refer to some.
//! Called by `put`.
//!
//! A commit adds a handful of small files and then one record. Syncing each file and each folder
//! by itself costs a journal commit of the disk per call; asked for all at once, they share one.

use std::collections::BTreeSet;
use std::fs::File;
use std::io;
use std::mem;
use std::sync::Arc;

use object_store::PutPayload;
use parking_lot::Mutex;

use super::batch::Batch;
use super::folder::Root;
use super::put::{self, Place};
use super::temp::Existing;

/// How many files wait at most; the one after syncs them all.
const FILES_MAX: usize = 64;
/// How many bytes wait at most.
const BYTES_MAX: usize = 8 << 20;

/// A file that was added.
#[derive(Debug)]
pub(super) struct Added {
    pub(super) place: Place,
    pub(super) payload: PutPayload,
    /// As in `Folder`.
    pub(super) unsettled: Vec<(String, String)>,
    /// Nothing if a sync failed: then only writing the bytes again helps.
    pub(super) file: Option<Arc<File>>,
}

/// What became of a batch of syncs.
pub(super) struct Synced {
    /// Of the file that was given.
    pub(super) own: io::Result<()>,
    /// Of everything that was waiting.
    pub(super) others: io::Result<()>,
}

/// The files of one store that wait.
#[derive(Debug, Default)]
pub(super) struct Pending {
    waiting: Mutex<Vec<Added>>,
    /// Held while syncing: whoever finds nothing waiting must still wait for what is under way.
    turn: Mutex<()>,
}

impl Pending {
    pub(super) fn push(&self, added: Added) {
        self.waiting.lock().push(added);
    }

    #[cfg(test)]
    pub(super) fn len(&self) -> usize {
        self.waiting.lock().len()
    }

    pub(super) fn is_full(&self) -> bool {
        let waiting = self.waiting.lock();
        let bytes = waiting
            .iter()
            .map(|added| added.payload.content_length())
            .sum::<usize>();
        waiting.len() > FILES_MAX || bytes > BYTES_MAX
    }

    /// Makes everything that waits durable, and `own` with it. What cannot be goes on waiting, so
    /// that nobody who relies on it succeeds.
    pub(super) fn sync(&self, root: &Root, own: Option<&Arc<File>>) -> Synced {
        let _turn = self.turn.lock();
        let mut waiting = mem::take(&mut *self.waiting.lock());
        let (own, settled) = sync_together(root, own, &mut waiting);
        let mut others = Ok(());
        let mut failed = Vec::new();
        for mut added in waiting {
            if settled && added.file.is_some() {
                root.remember(&added.unsettled);
                continue;
            }
            let written = put::replace(root, &added.place, Existing::Replace, |temp| {
                temp.write_pieces(&added.payload)
            });
            if let Err(error) = written {
                others = Err(error.cause);
                added.file = None;
                failed.push(added);
            }
        }
        self.waiting.lock().append(&mut failed);
        Synced { own, others }
    }
}

/// Syncs `own`, the files of `added` and the folders that name them, all at once. Says how it went
/// for `own` and for the folders; files that failed are forgotten.
fn sync_together(
    root: &Root,
    own: Option<&Arc<File>>,
    added: &mut [Added],
) -> (io::Result<()>, bool) {
    let folders = added.iter().flat_map(|added| {
        let parents = added.unsettled.iter().map(|(_, parent)| parent.as_str());
        parents.chain([added.place.folder.as_str()])
    });
    let folders = folders.collect::<BTreeSet<_>>();
    let folders = folders
        .into_iter()
        .filter_map(|folder| root.open_to_sync(folder).transpose());
    let Ok(folders) = folders
        .map(|folder| folder.map(Arc::new))
        .collect::<io::Result<Vec<_>>>()
    else {
        return (own.map_or(Ok(()), |file| file.sync_all()), false);
    };
    let files = added
        .iter()
        .filter_map(|added| added.file.clone())
        .collect::<Vec<_>>();
    let own_count = usize::from(own.is_some());
    let (file_count, folder_count) = (files.len(), folders.len());
    let jobs = own
        .cloned()
        .into_iter()
        .chain(files)
        .chain(folders)
        .collect();
    let mut results = Batch::run(jobs).into_iter();

    let own = results.by_ref().take(own_count).next().unwrap_or(Ok(()));
    let with_file = added.iter_mut().filter(|added| added.file.is_some());
    for (added, result) in with_file.zip(results.by_ref().take(file_count)) {
        if result.is_err() {
            added.file = None;
        }
    }
    (own, results.take(folder_count).all(|result| result.is_ok()))
}
