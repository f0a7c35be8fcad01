//! The root folder on disk, the folders below it, and which of them are known to be durable.
//!
//! In: relative paths. Out: open folders. Called by `temp`, `list` and `mod`. Every access below
//! the root goes through a `cap_std` handle, which refuses to leave it by `..` or by a symbolic
//! link.

use std::collections::HashSet;
use std::fs::File;
use std::io::{self, ErrorKind};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use cap_std::ambient_authority;
use cap_std::fs::Dir;
use parking_lot::Mutex;

use super::pending::Pending;
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
    /// Whether the root is known to be durable.
    settled: AtomicBool,
    durable: Mutex<HashSet<String>>,
    /// Files that were added and are not known to be durable.
    pub(super) pending: Pending,
    temp_suffix: String,
    temp_count: AtomicU64,
}

/// A folder that exists, and what must be synced before it is known to go on existing.
#[derive(Debug)]
pub(super) struct Folder {
    pub(super) dir: Dir,
    path: String,
    unsettled: Vec<(String, String)>,
}

impl Root {
    pub(super) fn new(path: &Path, durability: Durability) -> io::Result<Self> {
        Ok(Self {
            path: std::path::absolute(path)?,
            durability,
            opened: Mutex::new(None),
            settled: AtomicBool::new(false),
            durable: Mutex::new(HashSet::new()),
            pending: Pending::default(),
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

    /// The root, made if it does not exist; whoever made it, its parent's entry for it is durable.
    fn open_or_create(&self) -> io::Result<Arc<Dir>> {
        if self.settled.load(Ordering::Acquire) {
            return self.open();
        }
        let missing = |path: &&Path| matches!(path.try_exists(), Ok(false));
        let mut missing = self
            .path
            .ancestors()
            .take_while(missing)
            .collect::<Vec<_>>();
        missing.reverse();
        for path in &missing {
            match std::fs::create_dir(path) {
                Err(e) if e.kind() != ErrorKind::AlreadyExists => return Err(e),
                _ => {}
            }
            if let Some(parent) = path.parent().filter(|_| self.syncs()) {
                sync_ambient(parent)?;
            }
        }
        if let Some(parent) = self
            .path
            .parent()
            .filter(|_| self.syncs() && missing.is_empty())
        {
            // Another process can have made it just now. A parent that may not be opened is not
            // one that a process like this could have made it in.
            drop(sync_ambient(parent));
        }
        let root = self.open()?;
        self.settled.store(true, Ordering::Release);
        Ok(root)
    }

    /// The folder at `path`, made if it does not exist.
    pub(super) fn folder(&self, path: &str) -> io::Result<Folder> {
        match self.try_folder(path) {
            // Somebody removed what was remembered: make it again.
            Err(e) if e.kind() == ErrorKind::NotFound => {
                self.settled.store(false, Ordering::Release);
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
                path: String::new(),
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
            path: path.to_owned(),
            unsettled,
        })
    }

    /// Makes the entries of `folder` durable, and `folder` itself.
    pub(super) fn settle(&self, folder: &Folder) -> io::Result<()> {
        if !self.syncs() {
            self.remember(&folder.unsettled);
            return Ok(());
        }
        self.sync_folder(&folder.path)?;
        for (_, parent) in folder.unsettled.iter().rev() {
            self.sync_folder(parent)?;
        }
        self.remember(&folder.unsettled);
        Ok(())
    }

    /// The folder at `path` through a descriptor of its own: an error that another one has seen is
    /// not reported again.
    ///
    /// Nothing where a folder cannot be synced, and need not be.
    pub(super) fn open_to_sync(&self, path: &str) -> io::Result<Option<File>> {
        if cfg!(not(unix)) {
            return Ok(None);
        }
        let path = if path.is_empty() { "." } else { path };
        Ok(Some(self.open()?.open(path)?.into_std()))
    }

    fn sync_folder(&self, path: &str) -> io::Result<()> {
        self.open_to_sync(path)?
            .map_or(Ok(()), |folder| folder.sync_all())
    }

    /// Notes that folders, given as in [`Folder::unsettled`], are durable.
    pub(super) fn remember(&self, settled: &[(String, String)]) {
        if settled.is_empty() {
            return;
        }
        let mut durable = self.durable.lock();
        if durable.len() >= REMEMBERED_MAX {
            durable.clear();
        }
        durable.extend(settled.iter().map(|(child, _)| child.clone()));
    }
}

impl Folder {
    /// Folders that were made or found on the way here, each with the one whose entry names it;
    /// outermost first.
    pub(super) fn unsettled(&self) -> &[(String, String)] {
        &self.unsettled
    }
}

#[cfg(unix)]
fn sync_ambient(path: &Path) -> io::Result<()> {
    File::open(path)?.sync_all()
}

#[cfg(not(unix))]
fn sync_ambient(_: &Path) -> io::Result<()> {
    Ok(())
}
