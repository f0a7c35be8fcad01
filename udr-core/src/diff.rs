//! What changed between two states of a table (layer L6).
//!
//! In: one table at two commits, whichever is older. Out: the data files that only one of them has,
//! and those of which other rows are deleted. Called by programs that follow changes. What both states
//! share of their manifest trees is not read, so the cost follows the change.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use crate::error::{Error, Result};
use crate::format::{DataFile, Manifest, ManifestRef};
use crate::id::{Digest, FileId};
use crate::snapshot::TableSnapshot;

/// The data files that make two states of a table differ; by file id.
#[derive(Debug, Clone, Default)]
pub struct FileChanges {
    /// Files that only the later state has.
    pub added: Vec<Arc<DataFile>>,
    /// Files that only the earlier state has.
    pub removed: Vec<Arc<DataFile>>,
    /// Files of both, of which other rows are deleted: as they were, and as they are.
    pub changed: Vec<(Arc<DataFile>, Arc<DataFile>)>,
}

impl FileChanges {
    /// Whether both states have the same rows in the same files.
    pub fn is_empty(&self) -> bool {
        self.added.is_empty() && self.removed.is_empty() && self.changed.is_empty()
    }
}

/// Compares a table `before` and `after`; neither need be older. A file that was written anew is
/// removed and added. Each file has the statistics of the columns of its side.
///
/// Reads the manifests that only one side has: those of one more commit, and now and then those
/// that it merged.
///
/// # Errors
///
/// `Invalid` if it is not one table, `Unsupported` for what a transaction has staged; `Corrupt`,
/// `Unavailable`.
pub async fn file_changes(before: &TableSnapshot, after: &TableSnapshot) -> Result<FileChanges> {
    if before.id() != after.id() {
        return Err(Error::invalid("two tables have no states in common")
            .with("table", before.path())
            .with("other", after.path()));
    }
    for table in [before, after] {
        if !table.added().is_empty() || table.removes_rows() {
            return Err(
                Error::unsupported("what is not committed cannot be compared")
                    .with("table", table.path()),
            );
        }
    }
    let mut sides = [Side::new(before), Side::new(after)];
    loop {
        leave_out_common(&mut sides);
        let levels = sides.iter().flat_map(|side| &side.manifests);
        let Some(level) = levels.map(|m| m.level).max().filter(|level| *level > 0) else {
            break;
        };
        for side in &mut sides {
            side.expand(level).await?;
        }
    }
    let [before, after] = sides;
    let (before, after) = (before.leaves().await?, after.leaves().await?);
    let states = |leaves: &[Leaf<'_>]| {
        let entries = leaves.iter().flat_map(|leaf| &leaf.entries);
        entries.copied().collect::<BTreeSet<_>>()
    };
    let (old, new) = (states(&before), states(&after));
    let removed = only(&before, &new)?;
    let added = only(&after, &old)?;
    let mut changes = FileChanges::default();
    for (id, file) in &added {
        match removed.get(id) {
            Some(old) => changes.changed.push((Arc::clone(old), Arc::clone(file))),
            None => changes.added.push(Arc::clone(file)),
        }
    }
    let gone = removed
        .into_iter()
        .filter(|(id, _)| !added.contains_key(id));
    changes.removed.extend(gone.map(|(_, file)| file));
    Ok(changes)
}

/// A data file as it is in one state: its id, and what is deleted of it.
type Entry = (FileId, Option<Digest>);

/// What one state has that the other may not have.
struct Side<'a> {
    table: &'a TableSnapshot,
    manifests: Vec<ManifestRef>,
}

/// A manifest of files that only one state has.
struct Leaf<'a> {
    table: &'a TableSnapshot,
    manifest: Arc<Manifest>,
    entries: Vec<Entry>,
}

impl<'a> Side<'a> {
    fn new(table: &'a TableSnapshot) -> Self {
        Self {
            table,
            manifests: table.stored_manifests().to_vec(),
        }
    }

    /// Puts what is below the manifests of a level in their place.
    async fn expand(&mut self, level: u8) -> Result<()> {
        let all = std::mem::take(&mut self.manifests);
        let (inner, mut others): (Vec<_>, Vec<_>) = all.into_iter().partition(|m| m.level == level);
        let schema = self.table.schema();
        for manifest in self.table.loader().manifests(inner).await? {
            others.extend(manifest.manifests(schema, 0..manifest.len())?);
        }
        self.manifests = others;
        Ok(())
    }

    async fn leaves(self) -> Result<Vec<Leaf<'a>>> {
        let manifests = self.table.loader().manifests(self.manifests).await?;
        let leaves = manifests.into_iter().map(|manifest| {
            Ok(Leaf {
                table: self.table,
                entries: manifest.entries()?,
                manifest,
            })
        });
        leaves.collect()
    }
}

fn leave_out_common(sides: &mut [Side<'_>; 2]) {
    let digests = |side: &Side<'_>| {
        let manifests = side.manifests.iter();
        manifests
            .map(|manifest| manifest.object.digest)
            .collect::<BTreeSet<_>>()
    };
    let [before, after] = [digests(&sides[0]), digests(&sides[1])];
    for side in sides {
        side.manifests.retain(|manifest| {
            let digest = &manifest.object.digest;
            !(before.contains(digest) && after.contains(digest))
        });
    }
}

/// The files of some leaves that are not among `others` as they are here.
fn only(leaves: &[Leaf<'_>], others: &BTreeSet<Entry>) -> Result<BTreeMap<FileId, Arc<DataFile>>> {
    let mut found = BTreeMap::new();
    for leaf in leaves {
        let entries = leaf.entries.iter().enumerate();
        let rows = entries.filter(|(_, entry)| !others.contains(entry));
        let rows = rows.map(|(row, _)| row).collect::<Vec<_>>();
        if !rows.is_empty() {
            let files = leaf.manifest.files(leaf.table.schema(), rows)?;
            found.extend(files.into_iter().map(|file| (file.id, Arc::new(file))));
        }
    }
    Ok(found)
}
