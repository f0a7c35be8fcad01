//! Growing a table's manifest tree.
//!
//! New files land in a small manifest of their own. Manifests of one size are merged into one of
//! the next size, as the levels of a log-structured merge tree are (`O'Neil` et al., 1996), so that
//! a commit writes a number of entries logarithmic in the number of files, and the top of the tree
//! stays short. Full leaves are gathered under inner manifests in the same way.

use std::collections::BTreeMap;
use std::sync::Arc;

use bytes::Bytes;
use futures::{StreamExt as _, TryStreamExt as _};

use crate::error::Result;
use crate::format::{DataFile, Manifest, ManifestRef, Schema, TableState};
use crate::id::{Digest, Epoch};
use crate::snapshot::Loader;

/// How many manifests of one size are merged.
const FANOUT: usize = 4;
/// A manifest with this many entries is not merged any more.
pub(super) const BIG: usize = Manifest::ENTRIES_MAX / FANOUT;
/// How many big manifests of one level are gathered under one of the next.
pub(super) const GATHER: usize = 8;
/// How many manifests are read at once.
pub(super) const CONCURRENCY: usize = 16;

/// A manifest tree that is being extended.
pub(super) struct Tree<'a> {
    loader: &'a Loader,
    schema: &'a Schema,
    epoch: Epoch,
    /// The top, oldest data first.
    pub(super) top: Vec<ManifestRef>,
    /// Manifests that are to be stored.
    pub(super) objects: Vec<Bytes>,
    /// What the leaves among them hold: they cannot be read yet.
    fresh: BTreeMap<Digest, Vec<Arc<DataFile>>>,
}

impl<'a> Tree<'a> {
    pub(super) fn new(
        loader: &'a Loader,
        schema: &'a Schema,
        epoch: Epoch,
        top: Vec<ManifestRef>,
    ) -> Self {
        Self {
            loader,
            schema,
            epoch,
            top,
            objects: Vec::new(),
            fresh: BTreeMap::new(),
        }
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
            let (reference, bytes) = Manifest::encode_files(self.schema, self.epoch, chunk)?;
            self.fresh.insert(reference.object.digest, chunk.to_vec());
            self.top.push(reference);
            self.objects.push(bytes);
        }
        Ok(())
    }

    fn push_inner(&mut self, at: usize, children: &[ManifestRef]) -> Result<()> {
        for (i, chunk) in children.chunks(Manifest::ENTRIES_MAX).enumerate() {
            let (reference, bytes) = Manifest::encode_manifests(self.schema, self.epoch, chunk)?;
            self.top.insert(at + i, reference);
            self.objects.push(bytes);
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

    async fn files(&self, manifests: Vec<ManifestRef>) -> Result<Vec<Arc<DataFile>>> {
        futures::stream::iter(manifests)
            .map(|reference| async move {
                if let Some(files) = self.fresh.get(&reference.object.digest) {
                    return Ok(files.clone());
                }
                let manifest = self.loader.manifest(self.schema, &reference).await?;
                let files = manifest.files(0..manifest.len())?;
                Ok(files.into_iter().map(Arc::new).collect::<Vec<_>>())
            })
            .buffered(CONCURRENCY)
            .try_concat()
            .await
    }

    async fn children(&self, manifests: Vec<ManifestRef>) -> Result<Vec<ManifestRef>> {
        futures::stream::iter(manifests)
            .map(|reference| async move {
                let manifest = self.loader.manifest(self.schema, &reference).await?;
                manifest.manifests(0..manifest.len())
            })
            .buffered(CONCURRENCY)
            .try_concat()
            .await
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
