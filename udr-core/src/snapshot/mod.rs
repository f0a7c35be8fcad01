//! A state seen whole: namespaces, tables, schemas, and which files a scan needs (layer L5).
//!
//! In: a point in history, perhaps with a transaction's staged changes on top. Out: tables and
//! pruned scan plans. Called by transactions, the repository and engines. A snapshot never
//! changes; reading it needs no lock and no listing.

mod catalog;
mod file_task;
mod load;
pub(crate) mod locate;
pub(crate) mod overlay;
mod prune;
mod scan;
mod table;

use std::fmt;
use std::sync::Arc;

pub(crate) use self::catalog::{Catalog, CatalogEntry};
pub use self::file_task::FileTask;
pub(crate) use self::load::{Loader, Written};
pub use self::prune::Prune;
pub use self::scan::ScanPlan;
pub(crate) use self::scan::keep_files;
pub use self::table::TableSnapshot;
use crate::error::{Error, Result, nearest};
use crate::format::{Commit, View};
use crate::id::{Digest, TableId, Version};
use crate::name::{NamespaceName, RefName, RelationName, RelationPath};
use crate::refs::Point;

/// Every table and view at one commit, or as a transaction sees them; cheap to clone.
#[derive(Clone)]
pub struct Snapshot {
    inner: Arc<Inner>,
}

struct Inner {
    point: Point,
    commit: Arc<Commit>,
    catalog: Catalog,
}

/// A table or a view, found by name.
#[derive(Debug, Clone)]
pub enum Relation {
    /// A table.
    Table(Box<TableSnapshot>),
    /// A view.
    View(View),
}

/// Which of the two a name stands for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[expect(missing_docs, reason = "the names say it")]
pub enum RelationKind {
    Table,
    View,
}

impl Snapshot {
    pub(crate) fn new(point: Point, commit: Arc<Commit>, catalog: Catalog) -> Self {
        Self {
            inner: Arc::new(Inner {
                point,
                commit,
                catalog,
            }),
        }
    }

    /// The same point with other staged changes.
    pub(crate) fn with_catalog(&self, catalog: Catalog) -> Self {
        Self::new(
            self.inner.point.clone(),
            Arc::clone(&self.inner.commit),
            catalog,
        )
    }

    pub(crate) fn catalog(&self) -> &Catalog {
        &self.inner.catalog
    }

    /// The point in history that it shows.
    pub fn point(&self) -> &Point {
        &self.inner.point
    }

    /// The branch that it was found on; none for a commit that no branch leads to.
    pub fn branch(&self) -> Option<&RefName> {
        self.inner.point.branch.as_ref()
    }

    /// The version on that branch.
    pub fn version(&self) -> Option<Version> {
        self.inner.point.version
    }

    /// The commit id.
    pub fn commit_id(&self) -> Digest {
        self.inner.point.commit.id()
    }

    /// The commit.
    pub fn commit(&self) -> &Commit {
        &self.inner.commit
    }

    /// Whether a transaction's unpublished changes are part of it.
    pub fn is_staged(&self) -> bool {
        !self.inner.catalog.overlay().is_empty()
    }

    /// All namespaces, in order of name.
    ///
    /// # Errors
    ///
    /// `Unavailable`, `Corrupt`.
    #[expect(
        clippy::unused_async,
        reason = "where namespaces are kept may come to need I/O"
    )]
    pub async fn namespaces(&self) -> Result<Vec<NamespaceName>> {
        Ok(self.inner.catalog.namespaces())
    }

    /// The tables and views of a namespace, in order of name.
    ///
    /// # Errors
    ///
    /// `NotFound` if the namespace does not exist; `Unavailable`, `Corrupt`.
    pub async fn relations(
        &self,
        namespace: &NamespaceName,
    ) -> Result<Vec<(RelationName, RelationKind)>> {
        if !self.inner.catalog.has_namespace(namespace) {
            return Err(self.no_such_namespace(namespace));
        }
        self.inner.catalog.relations(namespace).await
    }

    /// What `path` stands for; `None` if nothing.
    ///
    /// # Errors
    ///
    /// `Unavailable`, `Corrupt`.
    pub async fn relation(&self, path: &RelationPath) -> Result<Option<Relation>> {
        let catalog = &self.inner.catalog;
        Ok(match catalog.entry(path).await? {
            None => None,
            Some(CatalogEntry::View(view)) => Some(Relation::View(view)),
            Some(entry) => Some(Relation::Table(Box::new(
                catalog.table(path, &entry).await?,
            ))),
        })
    }

    /// The table called `path`.
    ///
    /// # Errors
    ///
    /// `NotFound`, with the nearest name if there is one; `Invalid` if it is a view;
    /// `Unavailable`, `Corrupt`.
    pub async fn table(&self, path: &RelationPath) -> Result<TableSnapshot> {
        match self.relation(path).await? {
            Some(Relation::Table(table)) => Ok(*table),
            Some(Relation::View(_)) => Err(Error::invalid("it is a view").with("table", path)),
            None => Err(self.no_such_relation(path).await),
        }
    }

    /// The table with this id, whatever its name; `None` if there is none.
    ///
    /// # Errors
    ///
    /// `Unavailable`, `Corrupt`.
    pub async fn table_by_id(&self, id: TableId) -> Result<Option<TableSnapshot>> {
        let catalog = &self.inner.catalog;
        match catalog.by_id(id).await? {
            Some((path, entry)) => catalog.table(&path, &entry).await.map(Some),
            None => Ok(None),
        }
    }

    /// The table called `path`, if it is the one with this id; `None` if it is not there or another
    /// one.
    ///
    /// # Errors
    ///
    /// `Unavailable`, `Corrupt`.
    pub async fn table_called(
        &self,
        path: &RelationPath,
        id: TableId,
    ) -> Result<Option<TableSnapshot>> {
        match self.relation(path).await? {
            Some(Relation::Table(table)) if table.id() == id => Ok(Some(*table)),
            _ => Ok(None),
        }
    }

    /// The tables that have a foreign key to `parent`, itself perhaps among them.
    pub fn children(&self, parent: TableId) -> Vec<TableId> {
        let references = self.inner.catalog.references();
        let of_parent = references.iter().filter(|r| r.parent == parent);
        of_parent.map(|r| r.child).collect()
    }

    /// The tables that a transaction created or changed, and did not drop.
    pub fn staged_tables(&self) -> Vec<TableId> {
        let tables = self.inner.catalog.overlay().tables.iter();
        tables
            .filter(|(_, table)| table.path.is_some())
            .map(|(id, _)| *id)
            .collect()
    }

    /// The same point without a transaction's unpublished changes.
    #[must_use]
    pub fn published(&self) -> Self {
        match self.is_staged() {
            true => self.with_catalog(self.inner.catalog.with_overlay(Arc::default())),
            false => self.clone(),
        }
    }

    /// Whether both show the same point with the same staged changes; false where that takes more
    /// than a glance to see.
    pub fn is_same(&self, other: &Self) -> bool {
        self.commit_id() == other.commit_id()
            && std::ptr::eq(self.inner.catalog.overlay(), other.inner.catalog.overlay())
    }

    /// The error for a relation that does not exist, with the nearest name if there is one.
    pub async fn no_such_relation(&self, path: &RelationPath) -> Error {
        if !self.inner.catalog.has_namespace(&path.namespace) {
            return self.no_such_namespace(&path.namespace);
        }
        let error = Error::not_found("no such table or view").with("table", path);
        let Ok(names) = self.inner.catalog.relations(&path.namespace).await else {
            return error;
        };
        match nearest(
            path.name.as_str(),
            names.iter().map(|(name, _)| name.as_str()),
        ) {
            Some(nearest) => error.with_hint(format!("did you mean `{nearest}`?")),
            None => error,
        }
    }

    fn no_such_namespace(&self, name: &NamespaceName) -> Error {
        let error = Error::not_found("no such namespace").with("namespace", name);
        let names = self.inner.catalog.namespaces();
        match nearest(name.as_str(), names.iter().map(NamespaceName::as_str)) {
            Some(nearest) => error.with_hint(format!("did you mean `{nearest}`?")),
            None => error,
        }
    }
}

impl fmt::Debug for Snapshot {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Snapshot")
            .field("point", &self.inner.point)
            .field("staged", &self.is_staged())
            .finish_non_exhaustive()
    }
}
