//! The root folder on disk, the folders below it, and which of them are known to be durable.
//!
//! In: relative paths. Out: open folders. Called by `temp`, `list` and `mod`. Every access below
//! the root goes through a `cap_std` handle, which refuses to leave it by `..` or by a symbolic
//! link.

use std::collections::HashSet;
use std::io::{self, ErrorKind};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use cap_std::ambient_authority;
use cap_std::fs::Dir;
use parking_lot::Mutex;

use crate::env::Env;
use crate::store::Durability;

/// What the names of temporary files start with; no name of the layout does.
pub(super) const TEMP_PREFIX: &str = ".udr-tmp-";
/// How many folders are remembered as durable before starting over.
const REMEMBERED_MAX: usize = 65_536;

/// The folder that a local store is in.
#[derive(Debug)]
pub(crate) struct Root {
    path: PathBuf,
    durability: Durability,
    opened: Mutex<Option<Arc<Dir>>>,
    durable: Mutex<HashSet<String>>,
    temp_suffix: String,
    temp_count: AtomicU64,
}

/// A folder that exists, and what must be synced before it is known to go on existing.
#[derive(Debug)]
pub(super) struct Folder {
    pub(super) dir: Dir,
    /// Folders that were made or found on the way, each with the one whose entry names it.
    unsettled: Vec<(String, String)>,
}

impl Root {
    pub(super) fn new(path: &Path, durability: Durability) -> io::Result<Self> {
        Ok(Self {
            path: std::path::absolute(path)?,
            durability,
            opened: Mutex::new(None),
            durable: Mutex::new(HashSet::new()),
            // Unique to this store, so that processes on one disk do not meet.
            temp_suffix: Env::system().file_id().to_string(),
            temp_count: AtomicU64::new(0),
        })
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    pub(super) fn syncs(&self) -> bool {
        self.durability == Durability::Full
    }

    /// A name that no other temporary file has.
    pub(super) fn temp_name(&self) -> String {
        let count = self.temp_count.fetch_add(1, Ordering::Relaxed);
        format!("{TEMP_PREFIX}{}-{count}", self.temp_suffix)
    }

    /// The root, if it exists.
    pub(super) fn open(&self) -> io::Result<Arc<Dir>> {
        let mut opened = self.opened.lock();
        if let Some(dir) = &*opened {
            return Ok(Arc::clone(dir));
        }
        let dir = Arc::new(Dir::open_ambient_dir(&self.path, ambient_authority())?);
        *opened = Some(Arc::clone(&dir));
        Ok(dir)
    }

    /// The root, made if it does not exist.
    fn open_or_create(&self) -> io::Result<Arc<Dir>> {
        match self.open() {
            Err(e) if e.kind() == ErrorKind::NotFound => {}
            found => return found,
        }
        let missing = |path: &&Path| matches!(path.try_exists(), Ok(false));
        let mut made = self
            .path
            .ancestors()
            .take_while(missing)
            .collect::<Vec<_>>();
        made.reverse();
        for path in made {
            match std::fs::create_dir(path) {
                Err(e) if e.kind() != ErrorKind::AlreadyExists => return Err(e),
                _ => {}
            }
            if let Some(parent) = path.parent().filter(|_| self.syncs()) {
                sync_ambient(parent)?;
            }
        }
        self.open()
    }

    /// The folder at `path`, made if it does not exist.
    pub(super) fn folder(&self, path: &str) -> io::Result<Folder> {
        match self.try_folder(path) {
            // Somebody removed what was remembered: make it again.
            Err(e) if e.kind() == ErrorKind::NotFound => {
                *self.opened.lock() = None;
                self.durable.lock().clear();
                self.try_folder(path)
            }
            folder => folder,
        }
    }

    fn try_folder(&self, path: &str) -> io::Result<Folder> {
        let root = self.open_or_create()?;
        if path.is_empty() {
            return Ok(Folder {
                dir: root.try_clone()?,
                unsettled: Vec::new(),
            });
        }
        let mut unsettled = Vec::new();
        if !self.durable.lock().contains(path) {
            let mut parent = "";
            for end in path
                .match_indices('/')
                .map(|(at, _)| at)
                .chain([path.len()])
            {
                let (child, _) = path.split_at(end);
                if !self.durable.lock().contains(child) {
                    match root.create_dir(child) {
                        Err(e) if e.kind() != ErrorKind::AlreadyExists => return Err(e),
                        // Found is not durable: whoever made it may not have synced it yet.
                        _ => unsettled.push((child.to_owned(), parent.to_owned())),
                    }
                }
                parent = child;
            }
        }
        Ok(Folder {
            dir: root.open_dir(path)?,
            unsettled,
        })
    }

    /// Makes the entries of `folder` durable, and `folder` itself.
    pub(super) fn settle(&self, folder: &Folder) -> io::Result<()> {
        if !self.syncs() {
            self.remember(folder);
            return Ok(());
        }
        sync(&folder.dir)?;
        if folder.unsettled.is_empty() {
            return Ok(());
        }
        let root = self.open()?;
        for (_, parent) in folder.unsettled.iter().rev() {
            if parent.is_empty() {
                sync(&root)?;
            } else {
                sync(&root.open_dir(parent)?)?;
            }
        }
        self.remember(folder);
        Ok(())
    }

    fn remember(&self, folder: &Folder) {
        if folder.unsettled.is_empty() {
            return;
        }
        let mut durable = self.durable.lock();
        if durable.len() >= REMEMBERED_MAX {
            durable.clear();
        }
        durable.extend(folder.unsettled.iter().map(|(child, _)| child.clone()));
    }
}

/// Makes the entries of a folder durable, through a descriptor of its own: an error that another
/// one has seen is not reported again.
#[cfg(unix)]
fn sync(dir: &Dir) -> io::Result<()> {
    dir.open(".")?.sync_all()
}

#[cfg(not(unix))]
fn sync(_: &Dir) -> io::Result<()> {
    Ok(())
}

#[cfg(unix)]
fn sync_ambient(path: &Path) -> io::Result<()> {
    std::fs::File::open(path)?.sync_all()
}

#[cfg(not(unix))]
fn sync_ambient(_: &Path) -> io::Result<()> {
    Ok(())
}
