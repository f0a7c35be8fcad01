//! Finds rows again whose files others have rewritten.

use std::collections::BTreeMap;
use std::sync::Arc;

use futures::TryStreamExt as _;

use super::rows::{ROWS_NAMED, Refused};
use crate::data::{DeletionVector, RowId, read_identities};
use crate::error::Result;
use crate::format::{DataFile, TableState};
use crate::id::{FileId, TableId};
use crate::snapshot::Loader;
use crate::snapshot::locate::added_after;
use crate::store::Store;

/// Rows by where they were first written: positions by file.
type Origins = BTreeMap<FileId, DeletionVector>;

/// Where the rows of `lost` files are in `state`, which commits after `since` made of what they
/// were.
///
/// A row is found in the files that were added since, by its identity. If it was changed since, or
/// is nowhere, others changed or deleted it, and the change is refused.
pub(super) async fn find_again(
    loader: &Loader,
    table: TableId,
    state: &TableState,
    lost: &[(Arc<DataFile>, Arc<DeletionVector>)],
    since: u64,
) -> Result<Vec<(Arc<DataFile>, DeletionVector)>, Refused> {
    let store = loader.store();
    let mut sought = origins(store, table, lost).await?;
    let mut clashes = Vec::new();
    let mut found = Vec::new();
    for file in added_after(loader, &state.schema, &state.manifests, since).await? {
        if sought.is_empty() {
            break;
        }
        if !file.carries_identity {
            continue;
        }
        let deleted = match &file.deletes {
            Some(stored) => DeletionVector::read(store, table, stored, file.rows).await?,
            None => DeletionVector::new(),
        };
        let mut rows = DeletionVector::new();
        let mut batches = read_identities(store, table, &file).await?;
        let mut position = 0;
        while let Some(batch) = batches.try_next().await? {
            for row in 0..batch.len() {
                let origin = batch.origin(row)?;
                let at = position + row as u64;
                if deleted.contains(at) || !take(&mut sought, &origin.row) {
                    continue;
                }
                if origin.changed_at > since {
                    clashes.push(origin.row);
                } else {
                    rows.insert(at);
                }
            }
            position += batch.len() as u64;
        }
        if !rows.is_empty() {
            found.push((file, rows));
        }
    }
    let gone = sought.iter().flat_map(|(file, positions)| {
        positions.iter().map(|position| RowId {
            file: *file,
            position,
        })
    });
    clashes.extend(gone.take(ROWS_NAMED));
    if clashes.is_empty() {
        return Ok(found);
    }
    clashes.truncate(ROWS_NAMED);
    Err(Refused::Rows(clashes))
}

/// What identifies rows of a file, given by position.
pub(super) async fn identify(
    store: &Store,
    table: TableId,
    file: &DataFile,
    positions: impl Iterator<Item = u64>,
) -> Result<Vec<RowId>> {
    let positions = positions.collect::<DeletionVector>();
    let own = |position| RowId {
        file: file.id,
        position,
    };
    let Some(last) = positions.max().filter(|_| file.carries_identity) else {
        return Ok(positions.iter().map(own).collect());
    };
    let mut rows = Vec::new();
    let mut batches = read_identities(store, table, file).await?;
    let mut first = 0;
    while first <= last
        && let Some(batch) = batches.try_next().await?
    {
        for row in 0..batch.len() {
            if positions.contains(first + row as u64) {
                rows.push(batch.origin(row)?.row);
            }
        }
        first += batch.len() as u64;
    }
    Ok(rows)
}

async fn origins(
    store: &Store,
    table: TableId,
    lost: &[(Arc<DataFile>, Arc<DeletionVector>)],
) -> Result<Origins> {
    let mut sought = Origins::new();
    for (file, rows) in lost {
        if !file.carries_identity {
            sought.entry(file.id).or_default().union_with(rows);
            continue;
        }
        let mut batches = read_identities(store, table, file).await?;
        let mut first = 0;
        while let Some(batch) = batches.try_next().await? {
            for row in 0..batch.len() {
                if rows.contains(first + row as u64) {
                    let origin = batch.origin(row)?.row;
                    sought
                        .entry(origin.file)
                        .or_default()
                        .insert(origin.position);
                }
            }
            first += batch.len() as u64;
        }
    }
    Ok(sought)
}

/// Takes a row out of `sought`; false if it is not there.
fn take(sought: &mut Origins, row: &RowId) -> bool {
    let Some(positions) = sought.get_mut(&row.file) else {
        return false;
    };
    let taken = positions.remove(row.position);
    if positions.is_empty() {
        sought.remove(&row.file);
    }
    taken
}
