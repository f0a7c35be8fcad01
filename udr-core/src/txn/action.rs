//! One staged change: what it is, and what it does to a transaction's view.

use std::collections::BTreeSet;
use std::sync::Arc;

use super::OnExisting;
use super::alter::{self, Alteration};
use super::rows::{Refused, RowEdit};
use crate::error::{Error, Result};
use crate::format::{DataFile, Schema, TableOperation, View};
use crate::id::TableId;
use crate::name::{NamespaceName, RelationPath};
use crate::snapshot::locate::added_after;
use crate::snapshot::overlay::{Overlay, StagedRelation, StagedTable};
use crate::snapshot::{CatalogEntry, Snapshot};

/// A change, as it is replayed on a newer head.
#[derive(Debug, Clone)]
pub(crate) enum Action {
    CreateNamespace(NamespaceName),
    DropNamespace(NamespaceName),
    CreateTable {
        path: RelationPath,
        id: TableId,
        schema: Arc<Schema>,
    },
    Append {
        path: RelationPath,
        id: TableId,
        files: Vec<Arc<DataFile>>,
    },
    Overwrite {
        path: RelationPath,
        id: TableId,
        files: Vec<Arc<DataFile>>,
    },
    AlterTable {
        path: RelationPath,
        id: TableId,
        alterations: Vec<Alteration>,
    },
    Truncate {
        path: RelationPath,
        id: TableId,
    },
    ChangeRows {
        path: RelationPath,
        id: TableId,
        edit: Arc<RowEdit>,
    },
    RenameTable {
        id: TableId,
        from: RelationPath,
        to: RelationPath,
    },
    DropTable {
        path: RelationPath,
        id: TableId,
    },
    PutView {
        path: RelationPath,
        view: View,
        on_existing: OnExisting,
    },
    DropView {
        path: RelationPath,
    },
}

impl Action {
    /// Stages the change in `overlay`, which lies over the base of `snapshot` and is part of it.
    ///
    /// `since` is the sequence of the commit that the change was made on, if it is replayed on a
    /// newer one.
    ///
    /// # Errors
    ///
    /// `NotFound`, `AlreadyExists`, `Invalid`, or the rows that are gone; `overlay` is then to be
    /// thrown away.
    pub(crate) async fn apply(
        &self,
        snapshot: &Snapshot,
        overlay: &mut Overlay,
        since: Option<u64>,
    ) -> Result<(), Refused> {
        match self {
            Self::CreateNamespace(name) => create_namespace(snapshot, overlay, name)?,
            Self::DropNamespace(name) => drop_namespace(snapshot, overlay, name).await?,
            Self::CreateTable { path, id, schema } => {
                free(snapshot, path).await?;
                let created = StagedTable::created(path.clone(), Arc::clone(schema));
                overlay.tables.insert(*id, created);
                overlay
                    .relations
                    .insert(path.clone(), Some(StagedRelation::Table(*id)));
            }
            Self::Append { path, id, files } => {
                let mut table = table(snapshot, path, *id).await?;
                if let Some(since) = since {
                    refuse_adopted(snapshot, &table, files, since).await?;
                }
                table.added.extend(files.iter().map(Arc::clone));
                table.operations.insert(TableOperation::Append);
                overlay.tables.insert(*id, table);
            }
            Self::Overwrite { path, id, files } => {
                let mut table = table(snapshot, path, *id).await?;
                table.replace(files, TableOperation::Overwrite);
                overlay.tables.insert(*id, table);
            }
            Self::Truncate { path, id } => {
                let mut table = table(snapshot, path, *id).await?;
                table.replace(&[], TableOperation::Truncate);
                overlay.tables.insert(*id, table);
            }
            Self::ChangeRows { path, id, edit } => {
                let mut table = table(snapshot, path, *id).await?;
                edit.apply(snapshot, *id, &mut table, since).await?;
                overlay.tables.insert(*id, table);
            }
            Self::AlterTable {
                path,
                id,
                alterations,
            } => {
                let table = table(snapshot, path, *id).await?;
                alter::apply(snapshot, overlay, *id, table, alterations).await?;
            }
            Self::RenameTable { id, from, to } => {
                rename_table(snapshot, overlay, *id, (from, to)).await?;
            }
            Self::DropTable { path, id } => {
                let dropped = table(snapshot, path, *id).await?;
                drop_table(snapshot, overlay, dropped, (path, *id))?;
            }
            Self::PutView {
                path,
                view,
                on_existing,
            } => {
                match snapshot.catalog().entry(path).await? {
                    Some(CatalogEntry::View(_)) if *on_existing == OnExisting::Replace => {}
                    _ => free(snapshot, path).await?,
                }
                let staged = StagedRelation::View(view.clone());
                overlay.relations.insert(path.clone(), Some(staged));
            }
            Self::DropView { path } => drop_view(snapshot, overlay, path).await?,
        }
        Ok(())
    }
}

/// Refuses files of others that another import has made part of the table since.
async fn refuse_adopted(
    snapshot: &Snapshot,
    table: &StagedTable,
    files: &[Arc<DataFile>],
    since: u64,
) -> Result<()> {
    let url = |file: &Arc<DataFile>| file.adopted.as_ref().map(|adopted| adopted.url.clone());
    let ours = files.iter().filter_map(url).collect::<BTreeSet<_>>();
    let Some(kept) = table.kept().filter(|_| !ours.is_empty()) else {
        return Ok(());
    };
    let loader = snapshot.catalog().loader();
    let theirs = added_after(loader, &kept.schema, &kept.manifests, since).await?;
    match theirs.iter().filter_map(url).find(|url| ours.contains(url)) {
        None => Ok(()),
        Some(url) => Err(Error::already_exists(format!("{url} was imported"))),
    }
}

fn create_namespace(
    snapshot: &Snapshot,
    overlay: &mut Overlay,
    name: &NamespaceName,
) -> Result<()> {
    if snapshot.catalog().has_namespace(name) {
        return Err(Error::already_exists("the namespace exists already").with("namespace", name));
    }
    overlay.namespaces.insert(name.clone(), true);
    Ok(())
}

async fn drop_namespace(
    snapshot: &Snapshot,
    overlay: &mut Overlay,
    name: &NamespaceName,
) -> Result<()> {
    if !snapshot.relations(name).await?.is_empty() {
        return Err(Error::invalid("the namespace is not empty")
            .with("namespace", name)
            .with_hint("drop its tables and views first"));
    }
    if snapshot.catalog().root().namespaces.contains_key(name) {
        overlay.namespaces.insert(name.clone(), false);
    } else {
        overlay.namespaces.remove(name);
    }
    Ok(())
}

fn drop_table(
    snapshot: &Snapshot,
    overlay: &mut Overlay,
    mut table: StagedTable,
    (path, id): (&RelationPath, TableId),
) -> Result<()> {
    alter::forget_references(snapshot, overlay, path, id)?;
    table.path = None;
    table.added.clear();
    table.deleted.clear();
    overlay.relations.insert(path.clone(), None);
    if table.base.is_some() {
        overlay.tables.insert(id, table);
    } else {
        overlay.tables.remove(&id);
    }
    Ok(())
}

async fn rename_table(
    snapshot: &Snapshot,
    overlay: &mut Overlay,
    id: TableId,
    (from, to): (&RelationPath, &RelationPath),
) -> Result<()> {
    let mut table = table(snapshot, from, id).await?;
    free(snapshot, to).await?;
    table.path = Some(to.clone());
    overlay.tables.insert(id, table);
    overlay.relations.insert(from.clone(), None);
    let renamed = Some(StagedRelation::Table(id));
    overlay.relations.insert(to.clone(), renamed);
    Ok(())
}

async fn drop_view(snapshot: &Snapshot, overlay: &mut Overlay, path: &RelationPath) -> Result<()> {
    match snapshot.catalog().entry(path).await? {
        Some(CatalogEntry::View(_)) => {
            overlay.relations.insert(path.clone(), None);
            Ok(())
        }
        Some(_) => Err(Error::invalid("it is a table, not a view").with("name", path)),
        None => Err(snapshot.no_such_relation(path).await),
    }
}

/// Refuses a name that stands for something already.
async fn free(snapshot: &Snapshot, path: &RelationPath) -> Result<()> {
    if !snapshot.catalog().has_namespace(&path.namespace) {
        return Err(snapshot.no_such_relation(path).await);
    }
    match snapshot.catalog().entry(path).await? {
        None => Ok(()),
        Some(CatalogEntry::View(_)) => {
            Err(Error::already_exists("a view has this name already").with("name", path))
        }
        Some(_) => Err(Error::already_exists("a table has this name already").with("name", path)),
    }
}

pub(super) async fn table(
    snapshot: &Snapshot,
    path: &RelationPath,
    id: TableId,
) -> Result<StagedTable> {
    match snapshot.catalog().entry(path).await? {
        Some(entry) => {
            let (found, table) = snapshot.catalog().staged(path, &entry).await?;
            if found == id {
                return Ok(table);
            }
            Err(Error::not_found("the name stands for another table").with("table", path))
        }
        None => Err(snapshot.no_such_relation(path).await),
    }
}
