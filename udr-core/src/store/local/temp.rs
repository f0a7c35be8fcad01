//! Writing a file so that it is whole or absent under its name, whatever happens.
//!
//! In: bytes and a name. Out: a durable file. Called by `mod` and by staged data files.
//!
//! 1. Write to a temporary name in the same folder and sync the file.
//! 2. Link it to its name (create) or rename it (overwrite). Before this nothing is stored.
//! 3. Sync the folder, and every folder made on the way.
//!
//! A file whose sync failed is written anew, since its pages now count as clean and a second sync
//! would succeed for nothing.

use std::fs::File;
use std::io::{self, ErrorKind, Write};
use std::sync::Arc;

use cap_std::fs::OpenOptions;

use super::folder::{Folder, Root};
use crate::store::failure::LocalError;

/// How often a file is written before its failing syncs are believed.
const WRITES_MAX: usize = 2;
/// How often a free temporary name is sought.
const NAMES_MAX: usize = 16;

/// What is to become of a file that has the name already.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Existing {
    /// It stays, and the write fails.
    Keep,
    /// It is replaced.
    Replace,
}

/// A file without a name; removed when dropped.
#[derive(Debug)]
pub(crate) struct TempFile {
    root: Arc<Root>,
    folder: Folder,
    file: File,
    /// Empty once the file is in its place.
    name: String,
}

impl TempFile {
    /// Makes one in the folder at `path` below the root, which is made if need be.
    pub(super) fn create(root: &Arc<Root>, path: &str) -> io::Result<Self> {
        let folder = root.folder(path)?;
        let mut options = OpenOptions::new();
        options.write(true).create_new(true);
        let mut tries = 0;
        let (file, name) = loop {
            let name = root.temp_name();
            match folder.dir.open_with(&name, &options) {
                Ok(file) => break (file.into_std(), name),
                Err(e) if e.kind() == ErrorKind::AlreadyExists && tries < NAMES_MAX => tries += 1,
                Err(e) => return Err(e),
            }
        };
        Ok(Self {
            root: Arc::clone(root),
            folder,
            file,
            name,
        })
    }

    pub(super) fn file(&mut self) -> &mut File {
        &mut self.file
    }

    /// Gives the file its name, durably; one that has it already is replaced.
    pub(super) fn publish(mut self, name: &str) -> Result<(), LocalError> {
        self.sync().map_err(LocalError::nothing)?;
        self.place(name, Existing::Replace)
            .map_err(LocalError::nothing)?;
        self.root.settle(&self.folder).map_err(LocalError::unknown)
    }

    fn sync(&self) -> io::Result<()> {
        if self.root.syncs() {
            self.file.sync_all()
        } else {
            Ok(())
        }
    }

    fn place(&mut self, name: &str, existing: Existing) -> io::Result<()> {
        let dir = &self.folder.dir;
        match existing {
            Existing::Replace => dir.rename(&self.name, dir, name)?,
            Existing::Keep => {
                dir.hard_link(&self.name, dir, name)?;
                // A leftover is swept later; the file is in its place.
                drop(dir.remove_file(&self.name));
            }
        }
        self.name.clear();
        Ok(())
    }
}

impl Write for TempFile {
    fn write(&mut self, buf: &[u8]) -> io::Result<usize> {
        self.file.write(buf)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.file.flush()
    }
}

impl Drop for TempFile {
    fn drop(&mut self) {
        if !self.name.is_empty() {
            drop(self.folder.dir.remove_file(&self.name));
        }
    }
}

/// Stores what `write` writes as `name` in the folder at `path`.
pub(super) fn store(
    root: &Arc<Root>,
    path: &str,
    name: &str,
    mut existing: Existing,
    write: impl Fn(&mut File) -> io::Result<()>,
) -> Result<(), LocalError> {
    let mut visible = false;
    let mut tries = 1;
    loop {
        let failed = |cause| match visible {
            true => LocalError::unknown(cause),
            false => LocalError::nothing(cause),
        };
        let mut temp = TempFile::create(root, path).map_err(failed)?;
        write(temp.file()).map_err(failed)?;
        if let Err(cause) = temp.sync() {
            if tries == WRITES_MAX {
                return Err(failed(cause));
            }
            tries += 1;
            continue;
        }
        if let Err(cause) = temp.place(name, existing) {
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
                visible = true;
                tries += 1;
            }
        }
    }
}

/// Stores `bytes` as `name` without syncing anything; whole while the power is on, and after a cut
/// it may be empty or gone.
pub(super) fn store_unsynced(
    root: &Arc<Root>,
    path: &str,
    name: &str,
    bytes: &[u8],
) -> io::Result<()> {
    let mut temp = TempFile::create(root, path)?;
    temp.write_all(bytes)?;
    temp.place(name, Existing::Replace)
}
