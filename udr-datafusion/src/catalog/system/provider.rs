//! The providers of metadata tables.

use std::sync::Arc;

use arrow::datatypes::SchemaRef;
use async_trait::async_trait;
use datafusion::catalog::{SchemaProvider, Session, TableProvider};
use datafusion::error::Result as DataFusionResult;
use datafusion::logical_expr::{Expr, TableType};
use datafusion::physical_plan::ExecutionPlan;
use udr_core::error::nearest;
use udr_core::id::TableId;
use udr_core::name::RelationPath;
use udr_core::snapshot::TableSnapshot;
use udr_core::{Error, Result};

use super::super::Scope;
use super::super::provider::refuse_ddl;
use super::super::relation_name::CHANGES;
use super::table_history::{history_batch, history_schema, snapshots_batch, snapshots_schema};
use super::{
    SystemTable, TableMetadata, branches_batch, caches, constraints, files, layout, log_batch,
    log_schema, refs_schema, tags_batch,
};
use crate::changes::{ChangeRange, ChangesTable, Feed};
use crate::error::to_datafusion;
use crate::exec::{CommandExec, Runs};
use crate::session::{Source, StatementPin, UdrSession};

/// The schema `udr`: the repository's own tables.
#[derive(Debug)]
pub(crate) struct SystemSchema {
    session: Arc<UdrSession>,
    catalog: String,
    scope: Scope,
}

impl SystemSchema {
    pub(crate) fn new(session: Arc<UdrSession>, catalog: String, scope: Scope) -> Self {
        Self {
            session,
            catalog,
            scope,
        }
    }

    /// The feed that `changes[$table,table…][@revision..revision]` names; `None` for another name.
    async fn feed(&self, name: &str) -> Result<Option<ChangesTable>> {
        let (what, range) = match name.split_once('@') {
            Some((what, range)) => (what, Some(range)),
            None => (name, None),
        };
        let (word, tables) = match what.split_once('$') {
            Some((word, tables)) => (word, Some(tables)),
            None => (what, None),
        };
        if word != CHANGES {
            return Ok(None);
        }
        let range = range.map_or_else(|| Ok(ChangeRange::default()), str::parse)?;
        let feed = match tables {
            None => Feed::Everything,
            Some(tables) => Feed::Tables(self.named(tables)?),
        };
        let source = self.scope.feed_source(&self.session, &self.catalog)?;
        let session = Arc::clone(&self.session);
        let views = Arc::clone(&self.scope.views);
        ChangesTable::new(session, source, views, feed, Some(range))
            .await
            .map(Some)
    }

    /// Tables by what they were called; a plain name is looked up where plain names are.
    fn named(&self, tables: &str) -> Result<Vec<(String, RelationPath)>> {
        let default = match self.scope.views.last() {
            Some(view) => view.namespace.to_string(),
            None => {
                let state = self.session.context_state()?;
                state.config_options().catalog.default_schema.clone()
            }
        };
        let mut named = Vec::<(String, RelationPath)>::new();
        for name in tables.split(',').map(str::trim) {
            let path = match name.split_once('.') {
                Some((namespace, name)) => RelationPath::parse(namespace, name)?,
                None => RelationPath::parse(&default, name)?,
            };
            if named.iter().any(|(_, known)| *known == path) {
                return Err(Error::invalid("a table is named twice").with("table", path));
            }
            named.push((name.to_owned(), path));
        }
        Ok(named)
    }
}

#[async_trait]
impl SchemaProvider for SystemSchema {
    fn table_names(&self) -> Vec<String> {
        SystemTable::ALL
            .map(|table| table.as_str().to_owned())
            .to_vec()
    }

    async fn table(&self, name: &str) -> DataFusionResult<Option<Arc<dyn TableProvider>>> {
        let Some(table) = SystemTable::ALL
            .into_iter()
            .find(|table| table.as_str() == name)
        else {
            if let Some(feed) = self.feed(name).await.map_err(to_datafusion)? {
                return Ok(Some(Arc::new(feed)));
            }
            let names = SystemTable::ALL.map(SystemTable::as_str);
            let error = Error::not_found("no such system table").with("name", name);
            let error = match nearest(name, names) {
                Some(near) => error.with_hint(format!("did you mean `{near}`?")),
                None => error.with_hint(format!("there are {}", names.join(", "))),
            };
            return Err(to_datafusion(error));
        };
        Ok(Some(Arc::new(MetadataTable {
            session: Arc::clone(&self.session),
            source: self.scope.source.clone(),
            what: What::System(table),
            pin: None,
        })))
    }

    fn table_exist(&self, name: &str) -> bool {
        SystemTable::ALL
            .into_iter()
            .any(|table| table.as_str() == name)
    }

    fn register_table(
        &self,
        name: String,
        _table: Arc<dyn TableProvider>,
    ) -> DataFusionResult<Option<Arc<dyn TableProvider>>> {
        Err(to_datafusion(refuse_ddl("CREATE TABLE", &name)))
    }

    fn deregister_table(&self, name: &str) -> DataFusionResult<Option<Arc<dyn TableProvider>>> {
        Err(to_datafusion(
            Error::invalid("a system table cannot be dropped").with("name", name),
        ))
    }
}

/// A table about the repository or about a table.
#[derive(Debug, Clone)]
pub(crate) struct MetadataTable {
    session: Arc<UdrSession>,
    source: Source,
    what: What,
    pin: Option<Arc<StatementPin>>,
}

#[derive(Debug, Clone)]
enum What {
    System(SystemTable),
    Table {
        kind: TableMetadata,
        path: RelationPath,
        id: TableId,
    },
}

impl MetadataTable {
    /// A table about `table`.
    pub(crate) fn of_table(
        session: Arc<UdrSession>,
        scope: &Scope,
        table: &TableSnapshot,
        kind: TableMetadata,
    ) -> Self {
        let what = What::Table {
            kind,
            path: table.path().clone(),
            id: table.id(),
        };
        Self {
            session,
            source: scope.source.clone(),
            what,
            pin: None,
        }
    }

    /// The same table, read at the state of a statement.
    pub(crate) fn pinned(&self, pin: Arc<StatementPin>) -> Self {
        Self {
            pin: Some(pin),
            ..self.clone()
        }
    }

    fn name(&self) -> String {
        match &self.what {
            What::System(table) => format!("{}.{}", super::SYSTEM_SCHEMA, table.as_str()),
            What::Table { kind, path, .. } => format!("{path}${}", kind.as_str()),
        }
    }

    async fn batch(&self, limit: Option<usize>) -> Result<arrow::record_batch::RecordBatch> {
        let session = &self.session;
        // Without the rule that pins whole statements, a scan is a statement of its own.
        let pin = self.pin.clone().unwrap_or_default();
        let state = async || pin.state(session, &self.source).await;
        match &self.what {
            What::System(SystemTable::Branches) => {
                branches_batch(session, pin.moment(session)).await
            }
            What::System(SystemTable::Tags) => tags_batch(pin.moment(session)).await,
            What::System(SystemTable::CacheStats) => {
                caches::cache_stats_batch(session.repository().store())
            }
            What::System(SystemTable::Log) => {
                log_batch(session, &state().await?.snapshot, limit).await
            }
            What::Table { kind, path, id } => {
                let state = state().await?;
                if let Some(reads) = session.reads(&state) {
                    reads.table(*id, None);
                }
                let snapshot = state.snapshot;
                match kind {
                    TableMetadata::History => history_batch(session, &snapshot, *id, limit).await,
                    TableMetadata::Snapshots => {
                        snapshots_batch(session, &snapshot, *id, limit).await
                    }
                    TableMetadata::Files => {
                        files::files_batch(&snapshot.table(path).await?, limit).await
                    }
                    TableMetadata::Manifests => {
                        files::manifests_batch(&snapshot.table(path).await?, limit).await
                    }
                    TableMetadata::Constraints => {
                        let table = snapshot.table(path).await?;
                        constraints::constraints_batch(&snapshot, &table).await
                    }
                    TableMetadata::Columns => layout::columns_batch(&snapshot.table(path).await?),
                    TableMetadata::Partitions => {
                        layout::partitions_batch(&snapshot.table(path).await?).await
                    }
                }
            }
        }
    }
}

#[async_trait]
impl TableProvider for MetadataTable {
    fn schema(&self) -> SchemaRef {
        match &self.what {
            What::System(SystemTable::Log) => log_schema(),
            What::System(SystemTable::Branches | SystemTable::Tags) => refs_schema(),
            What::System(SystemTable::CacheStats) => caches::cache_stats_schema(),
            What::Table { kind, .. } => match kind {
                TableMetadata::History => history_schema(),
                TableMetadata::Snapshots => snapshots_schema(),
                TableMetadata::Files => files::files_schema(),
                TableMetadata::Manifests => files::manifests_schema(),
                TableMetadata::Constraints => constraints::constraints_schema(),
                TableMetadata::Columns => layout::columns_schema(),
                TableMetadata::Partitions => layout::partitions_schema(),
            },
        }
    }

    fn table_type(&self) -> TableType {
        TableType::View
    }

    async fn scan(
        &self,
        _state: &dyn Session,
        projection: Option<&Vec<usize>>,
        _filters: &[Expr],
        limit: Option<usize>,
    ) -> DataFusionResult<Arc<dyn ExecutionPlan>> {
        let table = self.clone();
        let read = CommandExec::try_new(
            self.name(),
            &self.schema(),
            projection.map(Vec::as_slice),
            Arc::new(move || {
                let table = table.clone();
                Box::pin(async move { table.batch(limit).await })
            }),
            Runs::Again,
        )?;
        Ok(Arc::new(read))
    }
}
