//! Reads the rows that changed.

use std::collections::BTreeSet;
use std::sync::Arc;

use arrow::array::BooleanArray;
use arrow::compute::filter_record_batch;
use arrow::record_batch::RecordBatch;
use futures::stream::BoxStream;
use futures::{FutureExt as _, StreamExt as _, TryStreamExt as _};

use super::pairs::Pairs;
use super::table::{Part, TableChanges};
use super::{ChangeBatch, ChangeKind};
use crate::data::{Identities, becomes, read_identified};
use crate::error::{Error, Result};
use crate::format::Schema;
use crate::id::TableId;
use crate::snapshot::{Prune, keep_files};
use crate::store::Store;

/// How many files are opened at once.
const CONCURRENCY: usize = 8;
/// The most bytes and rows of a file that is read ahead whole: together they are few.
const AHEAD_BYTES_MAX: u64 = 256 << 10;
const AHEAD_ROWS_MAX: u64 = 8 << 10;

/// What is wanted of changes.
#[derive(Debug, Clone)]
pub struct ChangeRequest {
    /// The columns as which rows are read, found by field id: those of the latest state, so that
    /// all changes look alike whatever the table was at the time.
    pub schema: Arc<Schema>,
    /// Which of them, by position, ascending.
    pub columns: Vec<usize>,
    /// Which kinds of changes.
    pub kinds: BTreeSet<ChangeKind>,
    /// Tells files that have none of the rows that matter, by their columns in `schema`.
    pub prune: Option<Arc<dyn Prune>>,
}

impl ChangeRequest {
    /// Everything, as rows with the columns of `schema`.
    pub fn all(schema: &Schema) -> Self {
        Self {
            schema: Arc::new(schema.clone()),
            columns: (0..schema.fields().len()).collect(),
            kinds: BTreeSet::from(ChangeKind::ALL),
            prune: None,
        }
    }
}

impl TableChanges {
    /// Reads the rows that changed: those that went, with what they were, before those that came.
    /// Batches have rows of one side.
    ///
    /// Of a file that lost some rows, only pages with those are read. Reads a few small files
    /// ahead, and no more than that is in memory.
    ///
    /// # Errors
    ///
    /// `Unsupported` if a column was of a type that does not become that of `request`, as where the
    /// later state is an older one; `Corrupt`, `Unavailable`, the same for every batch; `Internal` if
    /// `prune` cannot answer.
    pub fn read(&self, request: &ChangeRequest) -> Result<BoxStream<'static, Result<ChangeBatch>>> {
        let mut parts = Vec::new();
        for (side, came) in [(&self.gone, false), (&self.came, true)] {
            if request.kinds.iter().any(|kind| kind.came() == came) {
                let kept = keep(side, request)?;
                for part in &kept {
                    check_types(&part.schema, request)?;
                }
                parts.extend(kept.into_iter().map(|part| (part, came)));
            }
        }
        let reader = Arc::new(Reader {
            store: self.store.clone(),
            table: self.table,
            schema: request.schema.only(&request.columns),
            kinds: request.kinds.clone(),
            pairs: Arc::clone(&self.pairs),
        });
        let batches = futures::stream::iter(parts).map(move |(part, came)| {
            let reader = Arc::clone(&reader);
            reader.open(part, came).boxed()
        });
        Ok(batches.buffered(CONCURRENCY).try_flatten().boxed())
    }
}

/// Refuses to read values of a type that the column does not have in what is asked for.
fn check_types(schema: &Schema, request: &ChangeRequest) -> Result<()> {
    for at in &request.columns {
        let Some(field) = request.schema.fields().get(*at) else {
            return Err(Error::invalid("there is no such column").with("position", at));
        };
        if let Some(was) = schema.field_by_id(field.id)
            && !becomes(was, field)
        {
            return Err(Error::unsupported(
                "a column was of a type that cannot be shown as this one",
            )
            .with("column", &field.name)
            .with("type", &field.ty)
            .with("was", &was.ty));
        }
    }
    Ok(())
}

/// The parts whose files can have rows that matter.
fn keep(parts: &[Part], request: &ChangeRequest) -> Result<Vec<Part>> {
    let Some(prune) = &request.prune else {
        return Ok(parts.to_vec());
    };
    // Bounds are of the types that the columns had.
    let is_alike = |part: &Part| {
        prune.fields().iter().all(|id| {
            let ty = |schema: &Schema| schema.measured_by_id(*id).map(|field| field.ty.clone());
            ty(&part.schema) == ty(&request.schema)
        })
    };
    let (told, mut kept) = parts
        .iter()
        .cloned()
        .partition::<Vec<_>, _>(|part| is_alike(part));
    let files = told.iter().map(|p| Arc::clone(&p.file)).collect::<Vec<_>>();
    let files = keep_files(&request.schema, &files, Some(prune.as_ref()))?;
    let files = files.iter().map(|file| file.id).collect::<BTreeSet<_>>();
    kept.extend(told.into_iter().filter(|p| files.contains(&p.file.id)));
    Ok(kept)
}

struct Reader {
    store: Store,
    table: TableId,
    schema: Schema,
    kinds: BTreeSet<ChangeKind>,
    pairs: Arc<Pairs>,
}

impl Reader {
    async fn open(
        self: Arc<Self>,
        part: Part,
        came: bool,
    ) -> Result<BoxStream<'static, Result<ChangeBatch>>> {
        let (store, table) = (&self.store, self.table);
        let schema = self.schema.without_initials_of(&part.schema);
        let batches = read_identified(store, table, &part.file, &schema, &part.rows).await?;
        let reader = Arc::clone(&self);
        let digest = part.file.object.digest;
        let batches = batches.map(move |batch| {
            let (rows, identities) = batch?;
            let read = reader.told_apart(rows, &identities, came);
            read.map_err(|error| error.with("data_file", digest))
        });
        let some = |batch: &Result<ChangeBatch>| {
            let empty = batch.as_ref().is_ok_and(|batch| batch.kinds.is_empty());
            std::future::ready(!empty)
        };
        let batches = batches.filter(some);
        if part.file.object.bytes > AHEAD_BYTES_MAX || part.file.rows > AHEAD_ROWS_MAX {
            return Ok(batches.boxed());
        }
        let batches = batches.collect::<Vec<_>>().await;
        Ok(futures::stream::iter(batches).boxed())
    }

    /// The rows that are wanted, with what happened to them.
    fn told_apart(
        &self,
        rows: RecordBatch,
        identities: &Identities,
        came: bool,
    ) -> Result<ChangeBatch> {
        let only = self.pairs.only_kind(came);
        let mut kinds = Vec::with_capacity(rows.num_rows());
        let mut row_ids = Vec::with_capacity(rows.num_rows());
        let mut kept = Vec::with_capacity(rows.num_rows());
        for row in 0..rows.num_rows() {
            let id = identities.origin(row)?.row;
            let kind = only.or_else(|| self.pairs.kind(&id, came));
            let kind = kind.filter(|kind| self.kinds.contains(kind));
            kept.push(kind.is_some());
            if let Some(kind) = kind {
                kinds.push(kind);
                row_ids.push(id);
            }
        }
        let rows = match kinds.len() == rows.num_rows() {
            true => rows,
            false => filter_record_batch(&rows, &BooleanArray::from(kept))
                .map_err(|e| Error::internal("rows cannot be filtered").with_source(e))?,
        };
        Ok(ChangeBatch {
            rows,
            kinds,
            row_ids,
        })
    }
}
