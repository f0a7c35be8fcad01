//! From staged changes to the objects of a commit.

use std::sync::Arc;

use bytes::Bytes;
use futures::{StreamExt as _, TryStreamExt as _};

use super::root::{Renamed, RootBuilder};
use super::tree::Tree;
use super::{About, Context};
use crate::env::Micros;
use crate::error::{Error, Result};
use crate::format::{
    Change, Commit, CommitRef, DataFile, Entry, ObjectRef, RelationOperation, Root, TableChange,
    TableOperation, TableState, encode,
};
use crate::id::{Digest, Epoch, TableId, TransactionId};
use crate::snapshot::overlay::{Overlay, StagedRelation, StagedTable};
use crate::snapshot::{Catalog, CatalogEntry, Snapshot};

/// How many objects are uploaded at once.
const UPLOADS: usize = 64;

/// A commit whose objects are not stored yet.
pub(super) struct Prepared {
    pub(super) commit: CommitRef,
    objects: Vec<Bytes>,
    epoch: Epoch,
    root: (Digest, Arc<Root>),
    states: Vec<(Digest, Arc<TableState>)>,
}

impl Prepared {
    /// Makes every object durable, all at once (invariant 8).
    pub(super) async fn store(&self, context: &Context) -> Result<()> {
        // By value: a future that borrows each item is not provably `Send`.
        futures::stream::iter(self.objects.clone())
            .map(|bytes| context.store.put_object(self.epoch, bytes))
            .buffer_unordered(UPLOADS)
            .try_for_each(|_| async { Ok(()) })
            .await
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
    pub(super) about: &'a About,
    pub(super) transaction: TransactionId,
    pub(super) epoch: Epoch,
    pub(super) at: Micros,
}

impl Draft<'_> {
    /// Puts the objects of the commit together; reads only manifests and pages that change.
    pub(super) async fn prepare(&self) -> Result<Prepared> {
        let (epoch, about) = (self.epoch, self.about);
        let parent = self.base.point().commit;
        let sequence = parent.sequence + 1;
        let mut changes = namespace_changes(self.overlay);
        let mut renamed = Renamed::new();
        let mut objects = Vec::new();
        let states = self
            .tables(sequence, &mut changes, &mut renamed, &mut objects)
            .await?;
        self.views(&mut changes, &mut renamed).await?;
        let mut builder = RootBuilder::new(&self.context.loader, epoch, self.base.catalog().root());
        builder.namespaces(&self.overlay.namespaces);
        builder.references(&self.overlay.references);
        builder.relations(renamed).await?;
        if let Some(key) = &about.idempotency_key {
            builder.key(key, sequence)?;
        }
        let root_bytes = encode(&builder.root)?;
        let root_ref = ObjectRef::of(epoch, &root_bytes);
        let root = (root_ref.digest, Arc::new(builder.root));
        objects.append(&mut builder.objects);
        objects.push(root_bytes);
        let commit = Commit {
            parents: vec![parent],
            root: root_ref,
            sequence,
            author: about.author.clone(),
            message: about.message.clone(),
            committed_at: self.at,
            metadata: about.metadata.clone(),
            transaction: self.transaction,
            idempotency_key: about.idempotency_key.clone(),
            changes,
        };
        let bytes = encode(&commit)?;
        let object = ObjectRef::of(epoch, &bytes);
        objects.push(bytes);
        Ok(Prepared {
            commit: CommitRef { object, sequence },
            objects,
            epoch,
            root,
            states,
        })
    }

    /// Adds what became of the tables; returns their new states.
    async fn tables(
        &self,
        sequence: u64,
        changes: &mut Vec<Change>,
        renamed: &mut Renamed,
        objects: &mut Vec<Bytes>,
    ) -> Result<Vec<(Digest, Arc<TableState>)>> {
        let mut states = Vec::new();
        for (id, table) in &self.overlay.tables {
            changes.push(Change::Table(table_change(*id, table)?));
            let Some(path) = &table.path else { continue };
            let state = match &table.base {
                Some(base) if !table.has_changes() => base.object,
                _ => {
                    let new =
                        state(self.context, *id, table, self.epoch, sequence, objects).await?;
                    let bytes = encode(&new)?;
                    let reference = ObjectRef::of(self.epoch, &bytes);
                    objects.push(bytes);
                    states.push((reference.digest, Arc::new(new)));
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
                Some(StagedRelation::Table(_)) => continue,
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

/// The new state of a table, whose manifests are added to `objects`.
async fn state(
    context: &Context,
    id: TableId,
    table: &StagedTable,
    epoch: Epoch,
    sequence: u64,
    objects: &mut Vec<Bytes>,
) -> Result<TableState> {
    let mut state = match (&table.base, table.kept()) {
        (_, Some(kept)) => TableState::clone(kept),
        (Some(base), None) => TableState {
            properties: base.state.properties.clone(),
            ..TableState::empty(id, table.schema.as_ref().clone())
        },
        (None, None) => TableState::empty(id, table.schema.as_ref().clone()),
    };
    state.schema = table.schema.as_ref().clone();
    state.constraints = table.constraints.to_vec();
    let overflow = || Error::invalid("a table would get too large").with("table", id);
    for file in &table.added {
        state.rows = state.rows.checked_add(file.rows).ok_or_else(overflow)?;
        state.bytes = state
            .bytes
            .checked_add(file.object.bytes)
            .ok_or_else(overflow)?;
        state.files += 1;
    }
    let mut tree = Tree::new(
        &context.loader,
        &table.schema,
        epoch,
        std::mem::take(&mut state.manifests),
    );
    let added = table.added.iter();
    let added = added.map(|file| {
        Arc::new(DataFile {
            added_at: sequence,
            ..DataFile::clone(file)
        })
    });
    tree.append(added.collect()).await?;
    state.manifests = tree.top;
    objects.append(&mut tree.objects);
    Ok(state)
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

fn table_change(id: TableId, table: &StagedTable) -> Result<TableChange> {
    let base_path = table.base.as_ref().map(|base| &base.path);
    let path =
        table.path.as_ref().or(base_path).ok_or_else(|| {
            Error::internal("a staged table neither was nor is").with("table", id)
        })?;
    let renamed_from = base_path.filter(|from| table.path.as_ref().is_some_and(|p| p != *from));
    let mut operations = Vec::new();
    if table.base.is_none() {
        operations.push(TableOperation::Create);
    }
    if table.overwritten {
        operations.push(TableOperation::Overwrite);
    } else if !table.added.is_empty() {
        operations.push(TableOperation::Append);
    }
    if renamed_from.is_some() {
        operations.push(TableOperation::Rename);
    }
    operations.extend(table.altered.filter(|_| table.base.is_some()));
    if table.path.is_none() {
        operations = vec![TableOperation::Drop];
    }
    let gone = table
        .base
        .as_ref()
        .filter(|_| table.overwritten || table.path.is_none());
    Ok(TableChange {
        table: id,
        path: path.clone(),
        renamed_from: renamed_from.cloned(),
        operations,
        rows_added: table.added.iter().map(|f| f.rows).sum(),
        rows_removed: gone.map_or(0, |base| base.state.rows),
        files_added: table.added.len() as u64,
        files_removed: gone.map_or(0, |base| base.state.files),
    })
}
