//! Walking the folders below the root.
//!
//! In: a prefix. Out: the files below it, or the leftovers among them removed. Called by `mod`.
//! Symbolic links are neither listed nor followed, temporary files are hidden.

use std::io::{self, ErrorKind};
use std::sync::Arc;

use cap_std::fs::{Dir, DirEntry, ReadDir};
use chrono::{DateTime, Utc};
use object_store::path::Path;
use object_store::{ListResult, ObjectMeta};

use super::folder::{Root, TEMP_PREFIX};
use crate::env::Env;

/// How deep the walk goes; the layout is far below.
const DEPTH_MAX: usize = 64;
/// How old a leftover is before it is removed: older than any file that is still being written.
const LEFTOVER_AGE_MIN_SECS: i64 = 3_600;
/// How many entries a sweep looks at.
const SWEEP_ENTRIES_MAX: usize = 200_000;

/// A folder that can be gone by the time it is opened is as good as empty.
fn present<T>(result: io::Result<T>) -> io::Result<Option<T>> {
    match result {
        Ok(value) => Ok(Some(value)),
        Err(e) if e.kind() == ErrorKind::NotFound => Ok(None),
        Err(e) => Err(e),
    }
}

/// What the walk needs to know about a file.
pub(super) fn meta(location: Path, metadata: &std::fs::Metadata) -> io::Result<ObjectMeta> {
    Ok(ObjectMeta {
        location,
        last_modified: metadata.modified()?.into(),
        size: metadata.len(),
        e_tag: None,
        version: None,
    })
}

fn entry_meta(location: Path, entry: &DirEntry) -> io::Result<Option<ObjectMeta>> {
    let Some(metadata) = present(entry.metadata())? else {
        return Ok(None);
    };
    Ok(Some(ObjectMeta {
        location,
        last_modified: DateTime::<Utc>::from(metadata.modified()?.into_std()),
        size: metadata.len(),
        e_tag: None,
        version: None,
    }))
}

/// The name of an entry that can be part of a path.
fn name_of(entry: &DirEntry) -> Option<String> {
    let name = entry.file_name().into_string().ok()?;
    // A name that a path would spell differently was not written by this store.
    (Path::from(name.as_str()).as_ref() == name).then_some(name)
}

fn open_folder(root: &Root, prefix: &Path) -> io::Result<Option<Dir>> {
    let Some(dir) = present(root.open())? else {
        return Ok(None);
    };
    if prefix.is_root() {
        return dir.try_clone().map(Some);
    }
    match dir.open_dir(prefix.as_ref()) {
        Err(e) if e.kind() == ErrorKind::NotADirectory && dir.is_file(prefix.as_ref()) => Ok(None),
        opened => present(opened),
    }
}

/// The files and folders directly below `prefix`.
pub(super) fn list_level(root: &Root, prefix: &Path) -> io::Result<ListResult> {
    let mut found = ListResult {
        common_prefixes: Vec::new(),
        objects: Vec::new(),
    };
    let Some(dir) = open_folder(root, prefix)? else {
        return Ok(found);
    };
    for entry in dir.entries()? {
        let entry = entry?;
        let Some(name) = name_of(&entry) else {
            continue;
        };
        let Some(kind) = present(entry.file_type())? else {
            continue;
        };
        let location = prefix.clone().join(name.as_str());
        if kind.is_dir() {
            found.common_prefixes.push(location);
        } else if kind.is_file() && !name.starts_with(TEMP_PREFIX) {
            found.objects.extend(entry_meta(location, &entry)?);
        }
    }
    found.common_prefixes.sort();
    found.objects.sort_by(|a, b| a.location.cmp(&b.location));
    Ok(found)
}

/// Gives every file below `prefix` to `emit` until it wants no more.
pub(super) fn walk(
    root: &Root,
    prefix: &Path,
    mut emit: impl FnMut(ObjectMeta) -> bool,
) -> io::Result<()> {
    each_file(root, prefix, |_, location, entry| {
        let hidden = location
            .filename()
            .is_some_and(|name| name.starts_with(TEMP_PREFIX));
        if hidden {
            return Ok(true);
        }
        Ok(entry_meta(location, entry)?.is_none_or(&mut emit))
    })
}

/// Removes temporary files that nobody can be writing any more.
pub(super) fn sweep(root: &Arc<Root>) -> io::Result<usize> {
    let now = Env::system().now();
    let mut seen = 0;
    let mut removed = 0;
    each_file(root, &Path::default(), |dir, location, entry| {
        seen += 1;
        let leftover = location
            .filename()
            .is_some_and(|name| name.starts_with(TEMP_PREFIX));
        if leftover && let Some(metadata) = present(entry.metadata())? {
            let modified = DateTime::<Utc>::from(metadata.modified()?.into_std());
            let age = now.saturating_sub(modified.timestamp_micros());
            if age > LEFTOVER_AGE_MIN_SECS * 1_000_000 {
                removed += usize::from(present(dir.remove_file(entry.file_name()))?.is_some());
            }
        }
        Ok(seen < SWEEP_ENTRIES_MAX)
    })?;
    Ok(removed)
}

/// Calls `visit` for every regular file below `prefix` until it says to stop.
fn each_file(
    root: &Root,
    prefix: &Path,
    mut visit: impl FnMut(&Dir, Path, &DirEntry) -> io::Result<bool>,
) -> io::Result<()> {
    let Some(dir) = open_folder(root, prefix)? else {
        return Ok(());
    };
    let entries = dir.entries()?;
    let mut open: Vec<(Dir, Path, ReadDir)> = vec![(dir, prefix.clone(), entries)];
    while let Some((dir, path, entries)) = open.last_mut() {
        let Some(entry) = entries.next() else {
            drop(open.pop());
            continue;
        };
        let entry = entry?;
        let Some(name) = name_of(&entry) else {
            continue;
        };
        let Some(kind) = present(entry.file_type())? else {
            continue;
        };
        let location = path.clone().join(name.as_str());
        if kind.is_file() {
            if !visit(dir, location, &entry)? {
                return Ok(());
            }
        } else if kind.is_dir() {
            let Some(below) = present(dir.open_dir(&name))? else {
                continue;
            };
            if open.len() >= DEPTH_MAX {
                return Err(io::Error::other("folders are nested too deeply"));
            }
            let entries = below.entries()?;
            open.push((below, location, entries));
        }
    }
    Ok(())
}
