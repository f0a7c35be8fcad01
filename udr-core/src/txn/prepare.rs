//! From staged changes to the objects of a commit.

use std::collections::BTreeSet;
use std::sync::Arc;

use bytes::Bytes;
use futures::{StreamExt as _, TryStreamExt as _};

use super::rewrite::Rewrites;
use super::root::{Renamed, RootBuilder};
use super::state::{NewObjects, StateBuilder};
use super::{About, Context};
use crate::env::Micros;
use crate::error::{Error, Result};
use crate::format::{
    Change, Commit, CommitRef, Entry, ObjectRef, RelationOperation, Root, Stored as _, TableChange,
    TableOperation, TableState, Within, encode,
};
use crate::id::{Epoch, TableId, TransactionId};
use crate::snapshot::overlay::{Overlay, StagedRelation, StagedTable};
use crate::snapshot::{Catalog, CatalogEntry, Snapshot, Written};

/// How many deletion vectors are uploaded at once.
const UPLOADS: usize = 64;

/// Where a commit puts the objects that it makes.
#[derive(Debug, Clone, Copy)]
pub(super) struct Place {
    pub(super) epoch: Epoch,
    /// As references say it: beside each other in the commit, or each by itself.
    pub(super) within: Option<Within>,
}

impl Place {
    /// The reference to a new object.
    pub(super) fn refer(&self, bytes: &[u8]) -> ObjectRef {
        ObjectRef {
            within: self.within,
            ..ObjectRef::of(self.epoch, bytes)
        }
    }
}

/// A commit whose objects are not stored yet.
pub(super) struct Prepared {
    pub(super) commit: CommitRef,
    objects: Vec<Bytes>,
    vectors: Vec<(TableId, Bytes)>,
    epoch: Epoch,
    root: Written<Root>,
    states: Vec<Written<TableState>>,
}

impl Prepared {
    /// Makes every object durable, all at once (invariant 8).
    pub(super) async fn store(&self, context: &Context) -> Result<()> {
        let objects = context.store.put_objects(self.epoch, self.objects.clone());
        // By value: a future that borrows each item is not provably `Send`.
        let (store, epoch) = (&context.store, self.epoch);
        let vectors = futures::stream::iter(self.vectors.clone())
            .map(|(table, bytes)| store.put_deletion_vector(table, epoch, bytes))
            .buffer_unordered(UPLOADS)
            .try_for_each(|_| async { Ok(()) });
        Box::pin(async { futures::try_join!(objects, vectors).map(drop) }).await
    }

    /// Keeps what a following transaction will ask for.
    pub(super) fn keep(self, context: &Context) {
        context.loader.keep(self.root, self.states);
    }
}

/// What a commit is made of.
pub(super) struct Draft<'a> {
    pub(super) context: &'a Context,
    pub(super) base: &'a Snapshot,
    pub(super) overlay: &'a Overlay,
    pub(super) rewrites: &'a Rewrites,
    pub(super) about: &'a About,
    pub(super) transaction: TransactionId,
    pub(super) epoch: Epoch,
    pub(super) at: Micros,
}

/// What a commit says, and the objects that it makes, in order; some never become parts of it.
struct Parts {
    commit: Commit,
    objects: Vec<Bytes>,
    apart: Vec<Bytes>,
    vectors: Vec<(TableId, Bytes)>,
    root: Written<Root>,
    states: Vec<Written<TableState>>,
}

impl Parts {
    /// Whether they are few enough bytes to be stored with the commit.
    fn are_small(&self) -> bool {
        let bytes = self.objects.iter().map(|bytes| bytes.len() as u64);
        bytes.sum::<u64>() <= Commit::PARTS_BYTES_MAX
    }

    /// The commit as it will be stored, with its parts in it if that is where they go.
    fn prepared(mut self, place: Place) -> Result<Prepared> {
        let sequence = self.commit.sequence;
        let (parts, mut objects) = match place.within {
            Some(_) => (self.objects, Vec::new()),
            None => (Vec::new(), self.objects),
        };
        let bytes = self.commit.encode(&parts)?;
        let object = ObjectRef::of(place.epoch, &bytes);
        objects.push(bytes);
        objects.append(&mut self.apart);
        let home = place.within.map(|_| object.as_home());
        self.root.value.settle(home)?;
        for state in &mut self.states {
            state.value.settle(home)?;
        }
        Ok(Prepared {
            commit: CommitRef { object, sequence },
            objects,
            vectors: self.vectors,
            epoch: place.epoch,
            root: self.root,
            states: self.states,
        })
    }
}

impl Draft<'_> {
    /// Puts the objects of the commit together; reads only manifests and pages that change.
    ///
    /// A small commit is one object. Of a large one, those who read the history do not have to
    /// read what it made.
    pub(super) async fn prepare(&self) -> Result<Prepared> {
        let place = |within| Place {
            epoch: self.epoch,
            within,
        };
        let beside = place(Some(Within::Here));
        let parts = self.parts(beside).await?;
        if parts.are_small() {
            return parts.prepared(beside);
        }
        let apart = place(None);
        self.parts(apart).await?.prepared(apart)
    }

    async fn parts(&self, place: Place) -> Result<Parts> {
        let about = self.about;
        let parent = self.base.point().commit;
        let sequence = parent.sequence.checked_add(1);
        let sequence = sequence.ok_or_else(|| {
            Error::corrupt("a commit has a sequence that nothing can follow")
                .with("commit", parent.id())
        })?;
        let mut changes = namespace_changes(self.overlay);
        let mut renamed = Renamed::new();
        let mut new = NewObjects::default();
        let states = self
            .tables((sequence, place), &mut changes, &mut renamed, &mut new)
            .await?;
        let NewObjects {
            mut objects,
            apart,
            vectors,
        } = new;
        self.views(&mut changes, &mut renamed).await?;
        let mut builder = RootBuilder::new(&self.context.loader, place, self.base.catalog().root());
        builder.namespaces(&self.overlay.namespaces);
        builder.references(&self.overlay.references);
        builder.relations(renamed).await?;
        if let Some(key) = &about.idempotency_key {
            builder.key(key, sequence)?;
        }
        let root_bytes = encode(&builder.root)?;
        let root = place.refer(&root_bytes);
        objects.append(&mut builder.objects);
        objects.push(root_bytes);
        let commit = Commit {
            parents: vec![parent],
            root,
            sequence,
            author: about.author.clone(),
            message: about.message.clone(),
            committed_at: self.at,
            metadata: about.metadata.clone(),
            transaction: self.transaction,
            idempotency_key: about.idempotency_key.clone(),
            changes,
            parts: Vec::new(),
        };
        Ok(Parts {
            commit,
            objects,
            apart,
            vectors,
            root: Written {
                object: root,
                value: builder.root,
            },
            states,
        })
    }

    /// Adds what became of the tables; returns their new states.
    async fn tables(
        &self,
        (sequence, place): (u64, Place),
        changes: &mut Vec<Change>,
        renamed: &mut Renamed,
        new: &mut NewObjects,
    ) -> Result<Vec<Written<TableState>>> {
        let mut states = Vec::new();
        for (id, table) in &self.overlay.tables {
            let Some(path) = &table.path else {
                changes.push(Change::Table(table_change(*id, table, (0, 0))?));
                continue;
            };
            let state = match &table.base {
                Some(base) if !table.has_changes() => {
                    changes.push(Change::Table(table_change(*id, table, (0, 0))?));
                    base.object
                }
                _ => {
                    let builder = StateBuilder {
                        context: self.context,
                        id: *id,
                        table,
                        rewrites: self.rewrites,
                        place,
                        sequence,
                    };
                    let (state, files) = builder.build(new).await?;
                    changes.push(Change::Table(table_change(*id, table, files)?));
                    let bytes = encode(&state)?;
                    let reference = place.refer(&bytes);
                    new.objects.push(bytes);
                    states.push(Written {
                        object: reference,
                        value: state,
                    });
                    reference
                }
            };
            let names = renamed.entry(path.namespace.clone()).or_default();
            names.insert(path.name.clone(), Some(Entry::Table { id: *id, state }));
        }
        Ok(states)
    }

    /// Adds what became of views, and names that stand for nothing any more.
    async fn views(&self, changes: &mut Vec<Change>, renamed: &mut Renamed) -> Result<()> {
        for (path, relation) in &self.overlay.relations {
            let entry = match relation {
                Some(StagedRelation::Table(_)) => {
                    // The name may have been a view's.
                    changes.extend(view_change(self.base.catalog(), path, false).await?);
                    continue;
                }
                Some(StagedRelation::View(view)) => Some(Entry::View(view.clone())),
                None => None,
            };
            changes.extend(view_change(self.base.catalog(), path, entry.is_some()).await?);
            let names = renamed.entry(path.namespace.clone()).or_default();
            names.insert(path.name.clone(), entry);
        }
        Ok(())
    }
}

fn namespace_changes(overlay: &Overlay) -> Vec<Change> {
    let operation = |exists: &bool| {
        if *exists {
            RelationOperation::Create
        } else {
            RelationOperation::Drop
        }
    };
    overlay
        .namespaces
        .iter()
        .map(|(name, exists)| Change::Namespace {
            name: name.clone(),
            operation: operation(exists),
        })
        .collect()
}

/// What became of a view; nothing where the name is only free because a table went.
async fn view_change(
    base: &Catalog,
    path: &crate::name::RelationPath,
    exists: bool,
) -> Result<Option<Change>> {
    let before = base.with_overlay(Arc::default()).entry(path).await?;
    let was_view = matches!(before, Some(CatalogEntry::View(_)));
    let operation = match (was_view, exists) {
        (false, false) => return Ok(None),
        (false, true) => RelationOperation::Create,
        (true, true) => RelationOperation::Replace,
        (true, false) => RelationOperation::Drop,
    };
    Ok(Some(Change::View {
        path: path.clone(),
        operation,
    }))
}

/// The summary of what became of a table; `files` are the data files that came and went.
fn table_change(id: TableId, table: &StagedTable, files: (u64, u64)) -> Result<TableChange> {
    let base_path = table.base.as_ref().map(|base| &base.path);
    let path =
        table.path.as_ref().or(base_path).ok_or_else(|| {
            Error::internal("a staged table neither was nor is").with("table", id)
        })?;
    let renamed_from = base_path.filter(|from| table.path.as_ref().is_some_and(|p| p != *from));
    let mut operations = table.operations.clone();
    if operations.contains(&TableOperation::Overwrite) {
        operations.remove(&TableOperation::Append);
    }
    if table.base.is_none() {
        operations.insert(TableOperation::Create);
    }
    if renamed_from.is_some() {
        operations.insert(TableOperation::Rename);
    }
    operations.extend(table.altered.filter(|_| table.base.is_some()));
    if table.path.is_none() {
        operations = BTreeSet::from([TableOperation::Drop]);
    }
    let gone = table
        .base
        .as_ref()
        .filter(|_| table.overwritten || table.path.is_none());
    let (files_added, files_removed) = files;
    let added = table.added.iter().map(|f| f.live_rows()).sum::<u64>();
    Ok(TableChange {
        table: id,
        path: path.clone(),
        renamed_from: renamed_from.cloned(),
        operations: operations.into_iter().collect(),
        rows_added: added.saturating_sub(table.deleted_rows(true)),
        rows_removed: match gone {
            Some(base) => base.state.rows,
            None => table.deleted_rows(false),
        },
        files_added,
        files_removed: gone.map_or(files_removed, |base| base.state.files),
    })
}
