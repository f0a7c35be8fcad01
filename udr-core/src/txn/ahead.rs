//! Reading what a commit will merge before it has to wait for it.
//!
//! A commit merges small manifests (see [`super::tree`]). Which ones follows from their sizes alone,
//! so those that others wrote can be read while data files are on their way.

use futures::{StreamExt as _, TryStreamExt as _};

use super::tree::{BIG, CONCURRENCY, GATHER, run_to_merge};
use crate::error::Result;
use crate::format::{Manifest, ManifestRef, TableState};
use crate::snapshot::{Loader, TableSnapshot};

/// Reads the manifests that a commit merges which adds a data file to `table`; for whoever writes
/// that file, to be done at the same time.
///
/// # Errors
///
/// `Unavailable`, `Corrupt`; the commit would say the same.
pub async fn read_ahead(table: &TableSnapshot) -> Result<()> {
    read(table.loader(), table.stored_manifests(), 1).await
}

/// Reads the manifests of `top` that are merged when `files` files are added.
pub(super) async fn read(loader: &Loader, top: &[ManifestRef], files: usize) -> Result<()> {
    futures::stream::iter(merged(top, files))
        .map(|at| {
            let reference = top[at].clone();
            async move { loader.manifest(&reference).await }
        })
        .buffer_unordered(CONCURRENCY)
        .try_for_each(|_| async { Ok(()) })
        .await
}

/// A manifest of the top while it grows: a stored one, or one that the commit writes.
#[derive(Debug, Clone, Copy)]
struct Node {
    level: u8,
    entries: usize,
    stored: Option<usize>,
}

/// Where in `top` the manifests are that [`super::tree::Tree::append`] of `files` files reads.
fn merged(top: &[ManifestRef], files: usize) -> Vec<usize> {
    let stored = top.iter().enumerate().map(|(at, m)| Node {
        level: m.level,
        entries: m.entries as usize,
        stored: Some(at),
    });
    let mut nodes = stored.collect::<Vec<_>>();
    let mut read = Vec::new();
    grow(&mut nodes, &mut read, 0, files);
    let mut level = 0;
    loop {
        let start = nodes.partition_point(|m| m.level > level);
        let big = |m: &&Node| m.level == level && m.entries >= BIG;
        let count = nodes[start..].iter().take_while(big).count();
        if count < GATHER {
            break;
        }
        let rest = nodes.split_off(start + count);
        nodes.truncate(start);
        level += 1;
        grow(&mut nodes, &mut read, level, count);
        nodes.extend(rest);
    }
    if nodes.len() > TableState::MANIFESTS_MAX {
        let leaves = nodes.iter().filter(|m| m.level == 0);
        read.extend(leaves.filter_map(|m| m.stored));
    }
    read
}

/// Puts `entries` behind the manifests of `level`, merged with those that are due.
fn grow(nodes: &mut Vec<Node>, read: &mut Vec<usize>, level: u8, mut entries: usize) {
    let sizes = |nodes: &[Node]| {
        let sizes = nodes.iter().map(|m| (m.level, m.entries));
        sizes.collect::<Vec<_>>()
    };
    while let Some(run) = run_to_merge(&sizes(nodes), level, entries) {
        for node in nodes.drain(run..) {
            entries += node.entries;
            read.extend(node.stored);
        }
    }
    while entries > 0 {
        let one = entries.min(Manifest::ENTRIES_MAX);
        nodes.push(Node {
            level,
            entries: one,
            stored: None,
        });
        entries -= one;
    }
}
