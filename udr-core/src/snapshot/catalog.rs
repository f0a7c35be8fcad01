//! Names to tables and views: the stored root, with a transaction's changes on top.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::overlay::{Overlay, StagedRelation, StagedTable};
use super::{Loader, RelationKind, TableSnapshot};
use crate::error::{Error, Result};
use crate::format::{Entry, Namespace, ObjectRef, Reference, Relations, Root, View};
use crate::id::TableId;
use crate::name::{NamespaceName, RelationName, RelationPath};

#[derive(Debug, Clone)]
pub(crate) struct Catalog {
    loader: Loader,
    root: Arc<Root>,
    overlay: Arc<Overlay>,
}

/// What a name stands for.
#[derive(Debug, Clone)]
pub(crate) enum CatalogEntry {
    /// A table as stored.
    Table {
        id: TableId,
        state: ObjectRef,
    },
    /// A table that was created or changed in the transaction.
    Staged(TableId),
    View(View),
}

impl Catalog {
    pub(crate) fn new(loader: Loader, root: Arc<Root>) -> Self {
        Self {
            loader,
            root,
            overlay: Arc::default(),
        }
    }

    pub(crate) fn with_overlay(&self, overlay: Arc<Overlay>) -> Self {
        Self {
            overlay,
            ..self.clone()
        }
    }

    pub(crate) fn loader(&self) -> &Loader {
        &self.loader
    }

    pub(crate) fn root(&self) -> &Arc<Root> {
        &self.root
    }

    pub(crate) fn overlay(&self) -> &Overlay {
        &self.overlay
    }

    pub(crate) fn has_namespace(&self, name: &NamespaceName) -> bool {
        match self.overlay.namespaces.get(name) {
            Some(exists) => *exists,
            None => self.root.namespaces.contains_key(name),
        }
    }

    pub(crate) fn namespaces(&self) -> Vec<NamespaceName> {
        let mut names = self
            .root
            .namespaces
            .keys()
            .map(|n| (n, true))
            .collect::<BTreeMap<_, _>>();
        names.extend(
            self.overlay
                .namespaces
                .iter()
                .map(|(name, exists)| (name, *exists)),
        );
        names
            .into_iter()
            .filter(|(_, exists)| *exists)
            .map(|(name, _)| name.clone())
            .collect()
    }

    pub(crate) async fn entry(&self, path: &RelationPath) -> Result<Option<CatalogEntry>> {
        if let Some(staged) = self.overlay.relations.get(path) {
            return Ok(staged.as_ref().map(|staged| match staged {
                StagedRelation::Table(id) => CatalogEntry::Staged(*id),
                StagedRelation::View(view) => CatalogEntry::View(view.clone()),
            }));
        }
        if self.overlay.namespaces.get(&path.namespace) == Some(&false) {
            return Ok(None);
        }
        let Some(namespace) = self.root.namespaces.get(&path.namespace) else {
            return Ok(None);
        };
        let entry = match namespace {
            Namespace::Inline(entries) => entries.get(&path.name).cloned(),
            Namespace::Pages(pages) => {
                let after = pages.partition_point(|page| page.first <= path.name);
                match after.checked_sub(1) {
                    None => None,
                    Some(i) => {
                        let page = self.loader.page(&pages[i].object).await?;
                        page.entries.get(&path.name).cloned()
                    }
                }
            }
        };
        Ok(entry.map(|entry| match entry {
            Entry::Table { id, .. } if self.overlay.tables.contains_key(&id) => {
                CatalogEntry::Staged(id)
            }
            Entry::Table { id, state } => CatalogEntry::Table { id, state },
            Entry::View(view) => CatalogEntry::View(view),
        }))
    }

    pub(crate) async fn relations(
        &self,
        namespace: &NamespaceName,
    ) -> Result<Vec<(RelationName, RelationKind)>> {
        let kind = |entry: &Entry| match entry {
            Entry::Table { .. } => RelationKind::Table,
            Entry::View(_) => RelationKind::View,
        };
        let stored = self.stored_relations(namespace).await?;
        let mut names = stored
            .iter()
            .map(|(name, entry)| (name.clone(), kind(entry)))
            .collect::<BTreeMap<_, _>>();
        for (path, staged) in &self.overlay.relations {
            if path.namespace != *namespace {
                continue;
            }
            match staged {
                None => names.remove(&path.name),
                Some(StagedRelation::Table(_)) => {
                    names.insert(path.name.clone(), RelationKind::Table)
                }
                Some(StagedRelation::View(_)) => {
                    names.insert(path.name.clone(), RelationKind::View)
                }
            };
        }
        Ok(names.into_iter().collect())
    }

    /// The relations of a namespace as stored, without staged changes.
    pub(crate) async fn stored_relations(&self, namespace: &NamespaceName) -> Result<Relations> {
        match self.root.namespaces.get(namespace) {
            None => Ok(Relations::new()),
            Some(Namespace::Inline(entries)) => Ok(entries.clone()),
            Some(Namespace::Pages(pages)) => {
                let mut all = Relations::new();
                for page in pages {
                    let page = self.loader.page(&page.object).await?;
                    all.extend(page.entries.iter().map(|(n, e)| (n.clone(), e.clone())));
                }
                Ok(all)
            }
        }
    }

    /// The table with this id, and its name, however it is called; reads names until it is found.
    pub(crate) async fn by_id(
        &self,
        wanted: TableId,
    ) -> Result<Option<(RelationPath, CatalogEntry)>> {
        if let Some(staged) = self.overlay.tables.get(&wanted) {
            let path = staged.path.clone();
            return Ok(path.map(|path| (path, CatalogEntry::Staged(wanted))));
        }
        let found = |namespace: &NamespaceName, entries: &Relations| {
            entries.iter().find_map(|(name, entry)| match entry {
                Entry::Table { id, state } if *id == wanted => Some((
                    RelationPath::new(namespace.clone(), name.clone()),
                    CatalogEntry::Table {
                        id: *id,
                        state: *state,
                    },
                )),
                _ => None,
            })
        };
        for (name, namespace) in &self.root.namespaces {
            match namespace {
                Namespace::Inline(entries) => {
                    if let Some(table) = found(name, entries) {
                        return Ok(Some(table));
                    }
                }
                Namespace::Pages(pages) => {
                    for page in pages {
                        let page = self.loader.page(&page.object).await?;
                        if let Some(table) = found(name, &page.entries) {
                            return Ok(Some(table));
                        }
                    }
                }
            }
        }
        Ok(None)
    }

    /// Which tables have foreign keys to which.
    pub(crate) fn references(&self) -> BTreeSet<Reference> {
        let mut references = self.root.references.clone();
        for (reference, exists) in &self.overlay.references {
            if *exists {
                references.insert(*reference);
            } else {
                references.remove(reference);
            }
        }
        references
    }

    /// The table that `entry` stands for.
    pub(crate) async fn table(
        &self,
        path: &RelationPath,
        entry: &CatalogEntry,
    ) -> Result<TableSnapshot> {
        let (id, table) = self.staged(path, entry).await?;
        Ok(TableSnapshot::new(
            self.loader.clone(),
            path.clone(),
            id,
            table,
        ))
    }

    /// The table as something to stage changes for.
    pub(crate) async fn staged(
        &self,
        path: &RelationPath,
        entry: &CatalogEntry,
    ) -> Result<(TableId, StagedTable)> {
        match entry {
            CatalogEntry::View(_) => {
                Err(Error::invalid("it is a view, not a table").with("name", path))
            }
            CatalogEntry::Staged(id) => match self.overlay.tables.get(id) {
                Some(staged) => Ok((*id, staged.clone())),
                None => Err(Error::internal("a staged table has no changes").with("table", path)),
            },
            CatalogEntry::Table { id, state } => {
                let loaded = self.state(*id, state).await?;
                Ok((*id, StagedTable::unchanged(path.clone(), *state, loaded)))
            }
        }
    }

    async fn state(
        &self,
        id: TableId,
        object: &ObjectRef,
    ) -> Result<Arc<crate::format::TableState>> {
        let state = self.loader.state(object).await?;
        if state.id != id {
            return Err(Error::corrupt("a table state belongs to another table")
                .with("object", object.digest)
                .with("table", id));
        }
        Ok(state)
    }
}
