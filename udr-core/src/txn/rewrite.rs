//! Files that lose most of their rows are written anew without them.

use std::collections::BTreeMap;
use std::sync::Arc;

use futures::{StreamExt as _, TryStreamExt as _};

use super::Context;
use crate::data::{DeletionVector, RewriteTarget, rewrite_file};
use crate::error::Result;
use crate::format::DataFile;
use crate::id::{Epoch, FileId, TableId};
use crate::snapshot::overlay::{Overlay, StagedDeletes};

/// A file of which more than one row in this many is deleted is written anew.
const DELETED_SHARE: u64 = 2;
/// How many files are written anew at once.
const CONCURRENCY: usize = 4;

/// Files that were written anew, by the id of the file that they take the place of.
#[derive(Debug, Default)]
pub(super) struct Rewrites {
    files: BTreeMap<FileId, Rewrite>,
}

#[derive(Debug)]
struct Rewrite {
    from: Arc<DataFile>,
    deleted: Arc<DeletionVector>,
    to: Vec<Arc<DataFile>>,
}

impl Rewrites {
    /// Writes anew what of `overlay` is due. Where rows are afterwards does not matter to the
    /// transaction, which is about to be published.
    pub(super) async fn of(context: &Context, epoch: Epoch, overlay: &Overlay) -> Result<Self> {
        let mut due = Vec::new();
        for (id, table) in &overlay.tables {
            let files = table.deleted.values().filter(|deletes| is_due(deletes));
            let target = Arc::new(RewriteTarget {
                table: *id,
                epoch,
                schema: Arc::clone(&table.schema),
                key_columns: table.key_columns(),
            });
            due.extend(files.map(|deletes| (Arc::clone(&target), deletes.clone())));
        }
        let rewrites = futures::stream::iter(due)
            .map(|(target, deletes)| rewrite(context, target, deletes))
            .buffer_unordered(CONCURRENCY)
            .try_collect::<Vec<_>>()
            .await?;
        let files = rewrites.into_iter().map(|r| (r.from.id, r));
        Ok(Self {
            files: files.collect(),
        })
    }

    /// The files that take the place of one, if others left it as it was.
    pub(super) fn of_file(&self, deletes: &StagedDeletes) -> Option<&[Arc<DataFile>]> {
        let rewrite = self.files.get(&deletes.file.id)?;
        let same = rewrite.from == deletes.file && rewrite.deleted == deletes.rows;
        same.then_some(rewrite.to.as_slice())
    }
}

fn is_due(deletes: &StagedDeletes) -> bool {
    let deleted = deletes.file.deleted_rows() + deletes.rows.len();
    // What the transaction added itself has no readers yet that would gain from it.
    let gains = deleted.saturating_mul(DELETED_SHARE) > deletes.file.rows;
    gains && !deletes.staged && !deletes.all()
}

async fn rewrite(
    context: &Context,
    target: Arc<RewriteTarget>,
    deletes: StagedDeletes,
) -> Result<Rewrite> {
    let deleted = united(context, target.table, &deletes).await?;
    let (store, env) = (&context.store, &context.env);
    let files = rewrite_file(store, env, &target, &deletes.file, &deleted).await?;
    Ok(Rewrite {
        from: deletes.file,
        deleted: deletes.rows,
        to: files.into_iter().map(Arc::new).collect(),
    })
}

/// The rows of a file that are deleted, before and by the transaction.
pub(super) async fn united(
    context: &Context,
    table: TableId,
    deletes: &StagedDeletes,
) -> Result<DeletionVector> {
    let mut deleted = DeletionVector::clone(&deletes.rows);
    if let Some(stored) = &deletes.file.deletes {
        let rows = deletes.file.rows;
        deleted.union_with(&DeletionVector::read(&context.store, table, stored, rows).await?);
    }
    Ok(deleted)
}
