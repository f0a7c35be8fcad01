//! One namespace as a schema.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use async_trait::async_trait;
use datafusion::catalog::{SchemaProvider, TableProvider};
use datafusion::error::Result;
use datafusion::logical_expr::TableType;
use udr_core::name::{NamespaceName, RefName, RelationPath};
use udr_core::snapshot::{Relation, RelationKind};
use udr_core::{Error, ErrorKind};

use super::broken_view::BrokenView;
use super::provider::refuse_ddl;
use super::refused::Refused;
use super::relation_name::{Part, RelationRef};
use super::system::MetadataTable;
use super::{Scope, missing, view};
use crate::changes::{ChangesTable, Feed};
use crate::error::to_datafusion;
use crate::session::{Source, UdrSession};
use crate::table::{RowsTable, UdrTable};

/// One namespace as a schema.
#[derive(Debug)]
pub(crate) struct UdrSchema {
    session: Arc<UdrSession>,
    catalog: String,
    namespace: NamespaceName,
    scope: Scope,
    /// Whether the names were listed here: then one that cannot be read is still one of them.
    listed: AtomicBool,
}

impl UdrSchema {
    pub(super) fn new(
        session: Arc<UdrSession>,
        catalog: String,
        namespace: NamespaceName,
        scope: Scope,
    ) -> Self {
        Self {
            session,
            catalog,
            namespace,
            scope,
            listed: AtomicBool::new(false),
        }
    }

    /// The provider of a name, or an error that says what there is instead. Nothing for a table
    /// function that no table hides: it is looked up as a table first, and found elsewhere.
    async fn find(&self, text: &str) -> udr_core::Result<Option<Arc<dyn TableProvider>>> {
        let name = RelationRef::parse(text)?;
        let path = RelationPath::new(self.namespace.clone(), name.name);
        if let Some(feed) = self.feed(&path, name.part.as_ref()).await? {
            return Ok(Some(Arc::new(feed)));
        }
        let scope = match name.revision {
            // In another branch's catalog, `"t@42"` is version 42 of that branch.
            Some(revision) if self.catalog != self.session.catalog() => {
                let branch = RefName::new(self.catalog.as_str())?;
                self.scope.at(Source::On(branch, revision))
            }
            Some(revision) => self.scope.at(Source::At(revision)),
            None => self.scope.clone(),
        };
        let pinned = match self.session.pinned(&scope.source).await {
            Ok(pinned) => pinned,
            Err(error) if self.is_branch_catalog(&scope) => {
                return Err(missing::catalog(&self.session, &self.catalog, error).await);
            }
            Err(error) => return Err(error),
        };
        if scope.source.is_tip()
            && let Err(error) = self.session.see(&pinned).await
        {
            tracing::debug!(%error, "the names of the state could not be read");
        }
        let found = pinned.snapshot.relation(&path).await?;
        if !matches!(found, Some(Relation::Table(_)))
            && let Some(reads) = self.session.reads(&pinned)
        {
            reads.name(&path);
        }
        Ok(Some(match (found, name.part) {
            // Looking for what there is instead costs more than the statement may.
            (None, _) if self.session.is_table_function(text) => return Ok(None),
            (None, _) => {
                return Err(
                    missing::relation(&self.session, &pinned.snapshot, &path, &scope).await,
                );
            }
            (Some(Relation::Table(table)), None) => {
                Arc::new(UdrTable::new(Arc::clone(&self.session), scope, &table)?)
            }
            (Some(Relation::Table(table)), Some(Part::Rows)) => {
                let table = UdrTable::new(Arc::clone(&self.session), scope, &table)?;
                Arc::new(RowsTable::with_origin(table)?)
            }
            (Some(Relation::Table(table)), Some(Part::Metadata(kind))) => Arc::new(
                MetadataTable::of_table(Arc::clone(&self.session), &scope, &table, kind),
            ),
            (Some(Relation::View(view)), None) => {
                view::provider(&self.session, &scope, &path, &view).await?
            }
            (_, Some(Part::Changes(_) | Part::NetChanges(_) | Part::Tail(_))) => {
                return Err(Error::internal("a feed was looked up as a table"));
            }
            (Some(Relation::View(_)), Some(_)) => return Err(missing::no_metadata(&path)),
        }))
    }

    /// The feed of a table, if that is what the name asks for.
    async fn feed(
        &self,
        path: &RelationPath,
        part: Option<&Part>,
    ) -> udr_core::Result<Option<ChangesTable>> {
        let path = path.clone();
        let (feed, range) = match part {
            Some(Part::Changes(range)) => (Feed::Table(path), Some(range)),
            Some(Part::NetChanges(range)) => (Feed::Net(path), Some(range)),
            Some(Part::Tail(range)) => (Feed::Tail(path), range.as_ref()),
            Some(Part::Rows | Part::Metadata(_)) | None => return Ok(None),
        };
        let source = self.scope.feed_source(&self.session, &self.catalog)?;
        let (session, views) = (Arc::clone(&self.session), Arc::clone(&self.scope.views));
        let feed = ChangesTable::new(session, source, views, feed, range.cloned());
        feed.await.map(Some)
    }

    fn is_branch_catalog(&self, scope: &Scope) -> bool {
        self.catalog != self.session.catalog() && scope.source.key() == self.scope.source.key()
    }
}

#[async_trait]
impl SchemaProvider for UdrSchema {
    fn table_names(&self) -> Vec<String> {
        self.listed.store(true, Ordering::Relaxed);
        if self.scope.source.is_tip() {
            self.session.relations(self.namespace.as_str())
        } else {
            Vec::new()
        }
    }

    async fn table(&self, name: &str) -> Result<Option<Arc<dyn TableProvider>>> {
        match self.find(name).await {
            // `information_schema` lists the names and looks each one up. A view that cannot be
            // read must not hide all the others, and what has been dropped meanwhile is not there.
            Err(error) if self.listed.load(Ordering::Relaxed) => {
                let kind = self.session.known_kind(self.namespace.as_str(), name);
                match (kind, error.kind()) {
                    (Some(RelationKind::View), _) => Ok(Some(Arc::new(BrokenView::new(error)))),
                    (_, ErrorKind::NotFound) => Ok(None),
                    _ => Err(to_datafusion(error)),
                }
            }
            found => found.map_err(to_datafusion),
        }
    }

    async fn table_type(&self, name: &str) -> Result<Option<TableType>> {
        if self.scope.source.is_tip() {
            match self.session.known_kind(self.namespace.as_str(), name) {
                Some(RelationKind::Table) => return Ok(Some(TableType::Base)),
                Some(RelationKind::View) => return Ok(Some(TableType::View)),
                None => {}
            }
        }
        Ok(self
            .table(name)
            .await?
            .map(|provider| provider.table_type()))
    }

    fn register_table(
        &self,
        name: String,
        table: Arc<dyn TableProvider>,
    ) -> Result<Option<Arc<dyn TableProvider>>> {
        let statement = match table.table_type() {
            TableType::View => "CREATE VIEW",
            TableType::Base | TableType::Temporary => "CREATE TABLE",
        };
        Err(to_datafusion(refuse_ddl(statement, &name)))
    }

    fn deregister_table(&self, name: &str) -> Result<Option<Arc<dyn TableProvider>>> {
        let statement = match self.session.known_kind(self.namespace.as_str(), name) {
            Some(RelationKind::View) => "DROP VIEW",
            _ => "DROP TABLE",
        };
        // `DROP … IF EXISTS` swallows this error; a frame that nobody collects says nothing else.
        tracing::warn!(name, "{statement} was not run: use udr_sql or udr_call");
        Err(to_datafusion(Refused::leave(
            &self.session,
            statement,
            name,
        )))
    }

    fn table_exist(&self, name: &str) -> bool {
        self.scope.source.is_tip()
            && self
                .session
                .known_kind(self.namespace.as_str(), name)
                .is_some()
    }
}
