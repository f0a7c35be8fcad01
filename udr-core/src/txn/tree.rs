//! Growing and changing a table's manifest tree.
//!
//! New files land in a small manifest of their own. Manifests of one size are merged into one of
//! the next size, as the levels of a log-structured merge tree are (`O'Neil` et al., 1996), so that
//! a commit writes a number of entries logarithmic in the number of files, and the top of the tree
//! stays short. Full leaves are gathered under inner manifests in the same way.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use bytes::Bytes;
use futures::future::BoxFuture;
use futures::{FutureExt as _, StreamExt as _, TryStreamExt as _};

use super::prepare::Place;
use crate::error::{Error, Result};
use crate::format::{DataFile, Manifest, ManifestRef, Schema, TableState};
use crate::id::{Digest, FileId};
use crate::snapshot::Loader;
use crate::snapshot::locate::may_hold;

/// How many manifests of one size are merged.
const FANOUT: usize = 4;
/// A manifest with this many entries is not merged any more.
pub(super) const BIG: usize = Manifest::ENTRIES_MAX / FANOUT;
/// How many big manifests of one level are gathered under one of the next.
pub(super) const GATHER: usize = 8;
/// How many manifests are read at once.
pub(super) const CONCURRENCY: usize = 16;

/// What becomes of data files in the tree, by id.
pub(super) type Replacements = BTreeMap<FileId, Replacement>;

/// What becomes of one data file.
#[derive(Debug)]
pub(super) struct Replacement {
    /// The sequence of the commit that added it, by which it is found.
    pub(super) added_at: u64,
    /// Its new entry; none if it leaves the table.
    pub(super) entry: Option<Arc<DataFile>>,
}

/// A manifest tree that is being changed.
pub(super) struct Tree<'a> {
    loader: &'a Loader,
    schema: &'a Schema,
    place: Place,
    /// The top, oldest data first.
    top: Vec<ManifestRef>,
    /// Manifests that are to be stored: they cannot be read yet.
    fresh: BTreeMap<Digest, Fresh>,
}

/// A manifest that is not stored yet.
struct Fresh {
    bytes: Bytes,
    below: Below,
}

/// The entries of a manifest.
enum Below {
    Files(Vec<Arc<DataFile>>),
    Manifests(Vec<ManifestRef>),
}

impl<'a> Tree<'a> {
    /// The tree with `top`; new manifests get stored as `place` says.
    pub(super) fn new(
        loader: &'a Loader,
        schema: &'a Schema,
        place: Place,
        top: Vec<ManifestRef>,
    ) -> Self {
        Self {
            loader,
            schema,
            place,
            top,
            fresh: BTreeMap::new(),
        }
    }

    /// The manifests that are to be stored.
    pub(super) fn objects(self) -> (Vec<ManifestRef>, impl Iterator<Item = Bytes>) {
        (self.top, self.fresh.into_values().map(|fresh| fresh.bytes))
    }

    /// Changes entries, or takes them out; rewrites the manifests above them and no others.
    ///
    /// # Errors
    ///
    /// `Internal` if an entry is not in the tree; `Unavailable`, `Corrupt`.
    pub(super) async fn replace(&mut self, changes: &Replacements) -> Result<()> {
        if changes.is_empty() {
            return Ok(());
        }
        let ages = changes.values().map(|change| change.added_at).collect();
        let top = std::mem::take(&mut self.top);
        let (top, found) = self.replaced(top, changes, &ages).await?;
        self.top = top;
        if found != changes.len() {
            return Err(Error::internal(
                "a data file to be changed is not in its table",
            ));
        }
        Ok(())
    }

    /// What becomes of `manifests`, and how many of `changes` are below them.
    fn replaced<'b>(
        &'b mut self,
        manifests: Vec<ManifestRef>,
        changes: &'b Replacements,
        ages: &'b BTreeSet<u64>,
    ) -> BoxFuture<'b, Result<(Vec<ManifestRef>, usize)>> {
        async move {
            let (loader, schema) = (self.loader, self.schema);
            let mut kept = Vec::with_capacity(manifests.len());
            let mut found = 0;
            // In pieces, so that not all manifests of a large table are in memory at once.
            for piece in manifests.chunks(CONCURRENCY) {
                let read = futures::stream::iter(piece.to_vec())
                    .map(|reference| async move {
                        if !may_hold(&reference, ages) {
                            return Ok((reference, None));
                        }
                        let manifest = loader.manifest(&reference).await?;
                        Ok((reference, Some(manifest)))
                    })
                    .buffered(CONCURRENCY)
                    .try_collect::<Vec<_>>()
                    .await?;
                for (reference, manifest) in read {
                    let replaced = match manifest {
                        None => (Some(reference), 0),
                        Some(leaf) if leaf.level() == 0 => {
                            self.replaced_leaf(reference, &leaf, changes)?
                        }
                        Some(inner) => {
                            let children = inner.manifests(schema, 0..inner.len())?;
                            let below = self.replaced(children, changes, ages).await?;
                            self.replaced_inner(reference, below)?
                        }
                    };
                    kept.extend(replaced.0);
                    found += replaced.1;
                }
            }
            Ok((kept, found))
        }
        .boxed()
    }

    fn replaced_leaf(
        &mut self,
        reference: ManifestRef,
        leaf: &Manifest,
        changes: &Replacements,
    ) -> Result<(Option<ManifestRef>, usize)> {
        let found = leaf.find(|id| changes.contains_key(id))?.len();
        if found == 0 {
            return Ok((Some(reference), 0));
        }
        let files = leaf.files(self.schema, 0..leaf.len())?;
        let files = files
            .into_iter()
            .filter_map(|file| match changes.get(&file.id) {
                None => Some(Arc::new(file)),
                Some(change) => change.entry.clone(),
            })
            .collect::<Vec<_>>();
        if files.is_empty() {
            return Ok((None, found));
        }
        Ok((Some(self.encode_leaf(files)?), found))
    }

    fn replaced_inner(
        &mut self,
        reference: ManifestRef,
        (children, found): (Vec<ManifestRef>, usize),
    ) -> Result<(Option<ManifestRef>, usize)> {
        if found == 0 {
            return Ok((Some(reference), 0));
        }
        if children.is_empty() {
            return Ok((None, found));
        }
        Ok((Some(self.encode_inner(children)?), found))
    }

    /// Adds files after all others.
    pub(super) async fn append(&mut self, files: Vec<Arc<DataFile>>) -> Result<()> {
        if files.is_empty() {
            return Ok(());
        }
        let mut carry = files;
        while let Some(run) = self.run_to_merge(0, carry.len()) {
            let merged = self.top.split_off(run);
            carry = [self.files(merged).await?, carry].concat();
        }
        self.push_leaves(&carry)?;
        self.gather(0).await?;
        if self.top.len() > TableState::MANIFESTS_MAX {
            self.repack().await?;
        }
        Ok(())
    }

    fn run_to_merge(&self, level: u8, entries: usize) -> Option<usize> {
        let sizes = self.top.iter().map(|m| (m.level, m.entries as usize));
        run_to_merge(&sizes.collect::<Vec<_>>(), level, entries)
    }

    fn push_leaves(&mut self, files: &[Arc<DataFile>]) -> Result<()> {
        for chunk in files.chunks(Manifest::ENTRIES_MAX) {
            let reference = self.encode_leaf(chunk.to_vec())?;
            self.top.push(reference);
        }
        Ok(())
    }

    fn encode_leaf(&mut self, files: Vec<Arc<DataFile>>) -> Result<ManifestRef> {
        let (mut reference, bytes) = Manifest::encode_files(self.schema, self.place.epoch, &files)?;
        reference.object.within = self.place.within;
        let below = Below::Files(files);
        let fresh = Fresh { bytes, below };
        self.fresh.insert(reference.object.digest, fresh);
        Ok(reference)
    }

    fn encode_inner(&mut self, children: Vec<ManifestRef>) -> Result<ManifestRef> {
        let (mut reference, bytes) =
            Manifest::encode_manifests(self.schema, self.place.epoch, &children)?;
        reference.object.within = self.place.within;
        let below = Below::Manifests(children);
        let fresh = Fresh { bytes, below };
        self.fresh.insert(reference.object.digest, fresh);
        Ok(reference)
    }

    fn push_inner(&mut self, at: usize, children: &[ManifestRef]) -> Result<()> {
        for (i, chunk) in children.chunks(Manifest::ENTRIES_MAX).enumerate() {
            let reference = self.encode_inner(chunk.to_vec())?;
            self.top.insert(at + i, reference);
        }
        Ok(())
    }

    /// Puts big manifests of `level` under an inner one once there are enough of them, and so on
    /// upwards.
    async fn gather(&mut self, mut level: u8) -> Result<()> {
        loop {
            // Higher levels come first: they hold older data.
            let start = self.top.partition_point(|m| m.level > level);
            let big = |m: &&ManifestRef| m.level == level && m.entries as usize >= BIG;
            let count = self.top[start..].iter().take_while(big).count();
            if count < GATHER {
                return Ok(());
            }
            let mut children = self.top.drain(start..start + count).collect::<Vec<_>>();
            let rest = self.top.split_off(start);
            level += 1;
            while let Some(run) = self.run_to_merge(level, children.len()) {
                let merged = self.top.split_off(run);
                children = [self.children(merged).await?, children].concat();
            }
            let at = self.top.len();
            self.push_inner(at, &children)?;
            self.top.extend(rest);
        }
    }

    /// Makes the top short again where commits of unlike sizes left too many small manifests.
    async fn repack(&mut self) -> Result<()> {
        let start = self.top.partition_point(|m| m.level > 0);
        let leaves = self.top.split_off(start);
        let files = self.files(leaves).await?;
        self.push_leaves(&files)?;
        if self.top.len() > TableState::MANIFESTS_MAX {
            let leaves = self.top.split_off(start);
            self.push_inner(start, &leaves)?;
        }
        Ok(())
    }

    /// What is in `manifests`, which leave the tree.
    async fn files(&mut self, manifests: Vec<ManifestRef>) -> Result<Vec<Arc<DataFile>>> {
        let (loader, schema) = (self.loader, self.schema);
        let taken = self.take(manifests);
        futures::stream::iter(taken)
            .map(|(reference, fresh)| async move {
                if let Some(Below::Files(files)) = fresh {
                    return Ok(files);
                }
                let manifest = loader.manifest(&reference).await?;
                let files = manifest.files(schema, 0..manifest.len())?;
                Ok(files.into_iter().map(Arc::new).collect::<Vec<_>>())
            })
            .buffered(CONCURRENCY)
            .try_concat()
            .await
    }

    async fn children(&mut self, manifests: Vec<ManifestRef>) -> Result<Vec<ManifestRef>> {
        let (loader, schema) = (self.loader, self.schema);
        let taken = self.take(manifests);
        futures::stream::iter(taken)
            .map(|(reference, fresh)| async move {
                if let Some(Below::Manifests(manifests)) = fresh {
                    return Ok(manifests);
                }
                let manifest = loader.manifest(&reference).await?;
                manifest.manifests(schema, 0..manifest.len())
            })
            .buffered(CONCURRENCY)
            .try_concat()
            .await
    }

    /// Those among `manifests` that are not stored yet need not be stored any more.
    fn take(&mut self, manifests: Vec<ManifestRef>) -> Vec<(ManifestRef, Option<Below>)> {
        manifests
            .into_iter()
            .map(|reference| {
                let fresh = self.fresh.remove(&reference.object.digest);
                (reference, fresh.map(|fresh| fresh.below))
            })
            .collect()
    }
}

/// Where the manifests of `level` at the end of the top begin that are due to be merged with
/// `entries` more; `top` has the level and the entries of each.
pub(super) fn run_to_merge(top: &[(u8, usize)], level: u8, entries: usize) -> Option<usize> {
    let small = |m: &&(u8, usize)| m.0 == level && tier(m.1) <= tier(entries);
    let run = top.iter().rev().take_while(small).count();
    let at = top.len() - run;
    let sum = top[at..].iter().map(|m| m.1).sum::<usize>();
    let due = run + 1 >= FANOUT && entries < BIG && sum + entries <= Manifest::ENTRIES_MAX;
    due.then_some(at)
}

/// The size class of a manifest: the whole part of the base-[`FANOUT`] logarithm.
fn tier(entries: usize) -> u32 {
    entries.max(1).ilog(FANOUT)
}
