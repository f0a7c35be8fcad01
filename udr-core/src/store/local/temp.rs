//! A file that does not have its name yet.
//!
//! In: a folder. Out: a file that is whole before it has a name. Called by `put` and `stage`.

use std::fs::File;
use std::io::{self, ErrorKind, Write as _};
use std::sync::Arc;

use bytes::Bytes;
use cap_std::fs::{Dir, OpenOptions};
#[cfg(target_os = "linux")]
use rustix::{fs::RenameFlags, io::Errno};

use super::folder::{Folder, Root};

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

/// A file under a temporary name in the folder where it will stay; removed when dropped.
#[derive(Debug)]
pub(super) struct TempFile {
    pub(super) folder: Folder,
    file: Arc<File>,
    /// Empty once the file is in its place.
    name: String,
}

impl TempFile {
    /// Makes one in the folder at `path` below the root, which is made if need be.
    pub(super) fn create(root: &Root, path: &str) -> io::Result<Self> {
        Self::create_in(root, root.folder(path)?)
    }

    /// Makes one in `folder`.
    pub(super) fn create_in(root: &Root, folder: Folder) -> io::Result<Self> {
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
        let file = Arc::new(file);
        Ok(Self { folder, file, name })
    }

    pub(super) fn file(&self) -> &Arc<File> {
        &self.file
    }

    pub(super) fn write_pieces<'a>(
        &self,
        pieces: impl IntoIterator<Item = &'a Bytes>,
    ) -> io::Result<()> {
        let mut file = &*self.file;
        pieces
            .into_iter()
            .try_for_each(|piece| file.write_all(piece))
    }

    /// Gives the file its name, without making anything durable.
    pub(super) fn place(&mut self, name: &str, existing: Existing) -> io::Result<()> {
        let dir = &self.folder.dir;
        match existing {
            Existing::Replace => dir.rename(&self.name, dir, name)?,
            Existing::Keep => place_new(dir, &self.name, name)?,
        }
        self.name.clear();
        Ok(())
    }
}

/// Gives the file called `from` the name `to`, which nothing has.
fn place_new(dir: &Dir, from: &str, to: &str) -> io::Result<()> {
    #[cfg(target_os = "linux")]
    match rustix::fs::renameat_with(dir, from, dir, to, RenameFlags::NOREPLACE) {
        // Not every file system can; all that matter can link.
        Err(Errno::INVAL | Errno::NOSYS | Errno::NOTSUP) => {}
        done => return done.map_err(Into::into),
    }
    dir.hard_link(from, dir, to)?;
    // A leftover is swept later; the file is in its place.
    drop(dir.remove_file(from));
    Ok(())
}

impl Drop for TempFile {
    fn drop(&mut self) {
        if !self.name.is_empty() {
            drop(self.folder.dir.remove_file(&self.name));
        }
    }
}
