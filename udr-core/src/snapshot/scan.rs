//! From a table's manifest tree to the files that a scan must read.

use std::sync::Arc;

use futures::{StreamExt as _, TryStreamExt as _};

use super::load::CONCURRENCY;
use super::{FileTask, Loader, Prune};
use crate::error::{Error, Result};
use crate::format::{Containers, DataFile, Manifest, ManifestRef, Schema};

/// The files that a scan must read, in the order in which they were added.
#[derive(Debug, Clone, Default)]
pub struct ScanPlan {
    /// The files.
    pub files: Vec<FileTask>,
    /// How many files the table has.
    pub files_total: u64,
    /// How many manifests were read to find them.
    pub manifests_read: u64,
    /// How many were not, with all that is below them, since no row there can match.
    pub manifests_pruned: u64,
}

/// The files that a scan must read, without what a transaction staged.
#[derive(Debug, Default)]
pub(super) struct Found {
    pub(super) files: Vec<Arc<DataFile>>,
    pub(super) manifests_read: u64,
    pub(super) manifests_pruned: u64,
}

/// Descends from `top` to the files that `prune` keeps.
pub(super) async fn find(
    loader: &Loader,
    schema: &Schema,
    top: &[ManifestRef],
    prune: Option<&dyn Prune>,
) -> Result<Found> {
    let mut plan = Found::default();
    let mut manifests = keep_manifests(schema, top.to_vec(), prune)?;
    plan.manifests_pruned += (top.len() - manifests.len()) as u64;
    while manifests.iter().any(|m| m.level > 0) {
        let inner = manifests.iter().filter(|m| m.level > 0).count();
        plan.manifests_read += inner as u64;
        let expanded = futures::stream::iter(manifests)
            .map(|manifest| expand(loader, schema, manifest, prune))
            .buffered(CONCURRENCY)
            .try_collect::<Vec<_>>()
            .await?;
        manifests = Vec::new();
        for (children, pruned) in expanded {
            plan.manifests_pruned += pruned;
            manifests.extend(children);
        }
    }
    plan.manifests_read += manifests.len() as u64;
    plan.files = futures::stream::iter(manifests)
        .map(|manifest| files(loader, schema, manifest, prune))
        .buffered(CONCURRENCY)
        .try_concat()
        .await?;
    Ok(plan)
}

/// Keeps those of `files` that `prune` keeps.
pub(crate) fn keep_files(
    schema: &Schema,
    files: &[Arc<DataFile>],
    prune: Option<&dyn Prune>,
) -> Result<Vec<Arc<DataFile>>> {
    let Some(prune) = prune.filter(|_| !files.is_empty()) else {
        return Ok(files.to_vec());
    };
    let parts = files
        .iter()
        .map(|f| (f.rows, &f.columns))
        .collect::<Vec<_>>();
    let keep = ask(prune, &Containers::new(schema, prune.fields(), &parts)?)?;
    Ok(files
        .iter()
        .zip(keep)
        .filter(|(_, keep)| *keep)
        .map(|(f, _)| Arc::clone(f))
        .collect())
}

fn keep_manifests(
    schema: &Schema,
    manifests: Vec<ManifestRef>,
    prune: Option<&dyn Prune>,
) -> Result<Vec<ManifestRef>> {
    let Some(prune) = prune.filter(|_| !manifests.is_empty()) else {
        return Ok(manifests);
    };
    let parts = manifests
        .iter()
        .map(|m| (m.rows, &m.columns))
        .collect::<Vec<_>>();
    let keep = ask(prune, &Containers::new(schema, prune.fields(), &parts)?)?;
    Ok(manifests
        .into_iter()
        .zip(keep)
        .filter(|(_, keep)| *keep)
        .map(|(m, _)| m)
        .collect())
}

/// The manifests below one that are to be read, and how many need not be.
async fn expand(
    loader: &Loader,
    schema: &Schema,
    reference: ManifestRef,
    prune: Option<&dyn Prune>,
) -> Result<(Vec<ManifestRef>, u64)> {
    if reference.level == 0 {
        return Ok((vec![reference], 0));
    }
    let manifest = loader.manifest(&reference).await?;
    let kept = kept(schema, &manifest, prune)?;
    let pruned = manifest.len() - kept.len();
    Ok((manifest.manifests(schema, kept)?, pruned as u64))
}

/// The rows of a manifest that `prune` keeps.
fn kept(schema: &Schema, manifest: &Manifest, prune: Option<&dyn Prune>) -> Result<Vec<usize>> {
    let Some(prune) = prune else {
        return Ok((0..manifest.len()).collect());
    };
    let keep = ask(prune, &manifest.containers(schema, prune.fields())?)?;
    let rows = keep.iter().enumerate().filter(|(_, keep)| **keep);
    Ok(rows.map(|(row, _)| row).collect())
}

async fn files(
    loader: &Loader,
    schema: &Schema,
    reference: ManifestRef,
    prune: Option<&dyn Prune>,
) -> Result<Vec<Arc<DataFile>>> {
    let manifest = loader.manifest(&reference).await?;
    let files = manifest.files(schema, kept(schema, &manifest, prune)?)?;
    Ok(files.into_iter().map(Arc::new).collect())
}

fn ask(prune: &dyn Prune, containers: &Containers) -> Result<Vec<bool>> {
    let keep = prune.keep(containers)?;
    if keep.len() != containers.len() {
        return Err(Error::internal(
            "a predicate answered for another number of containers",
        ));
    }
    Ok(keep)
}
