//! Finds entries of a manifest tree by what they are, not by what is in them.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::Loader;
use crate::error::Result;
use crate::format::{DataFile, Manifest, ManifestRef, Schema};
use crate::id::FileId;

/// Files to find: by id, with the sequence of the commit that added them.
pub(crate) type Wanted = BTreeMap<FileId, u64>;

/// The entries of `wanted` that are below `top`.
///
/// Reads only manifests with files of the same age.
pub(crate) async fn locate(
    loader: &Loader,
    schema: &Schema,
    top: &[ManifestRef],
    wanted: &Wanted,
) -> Result<BTreeMap<FileId, Arc<DataFile>>> {
    let ages = wanted.values().copied().collect::<BTreeSet<_>>();
    let near = |reference: &ManifestRef| may_hold(reference, &ages);
    let pick = |manifest: &Manifest| manifest.find(|id| wanted.contains_key(id));
    let found = descend(loader, schema, top, &near, &pick).await?;
    Ok(found.into_iter().map(|file| (file.id, file)).collect())
}

/// The files below `top` that commits after `sequence` added.
pub(crate) async fn added_after(
    loader: &Loader,
    schema: &Schema,
    top: &[ManifestRef],
    sequence: u64,
) -> Result<Vec<Arc<DataFile>>> {
    let near =
        |reference: &ManifestRef| reference.added_at.is_none_or(|range| range.last > sequence);
    let pick = |manifest: &Manifest| manifest.added_after(sequence);
    descend(loader, schema, top, &near, &pick).await
}

/// Whether files of one of these ages can be below `reference`.
pub(crate) fn may_hold(reference: &ManifestRef, ages: &BTreeSet<u64>) -> bool {
    reference
        .added_at
        .is_none_or(|range| ages.range(range.first..=range.last).next().is_some())
}

async fn descend(
    loader: &Loader,
    schema: &Schema,
    top: &[ManifestRef],
    near: &(dyn Fn(&ManifestRef) -> bool + Sync),
    pick: &(dyn Fn(&Manifest) -> Result<Vec<usize>> + Sync),
) -> Result<Vec<Arc<DataFile>>> {
    let mut files = Vec::new();
    let mut waiting = top.iter().filter(|m| near(m)).cloned().collect::<Vec<_>>();
    while !waiting.is_empty() {
        let read = loader.manifests(waiting).await?;
        waiting = Vec::new();
        for manifest in read {
            if manifest.level() == 0 {
                let found = manifest.files(schema, pick(&manifest)?)?;
                files.extend(found.into_iter().map(Arc::new));
            } else {
                let children = manifest.manifests(schema, 0..manifest.len())?;
                waiting.extend(children.into_iter().filter(near));
            }
        }
    }
    Ok(files)
}
