//! The table provider of a feed.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use arrow::datatypes::SchemaRef;
use async_trait::async_trait;
use datafusion::catalog::{Session, TableProvider};
use datafusion::error::Result as DataFusionResult;
use datafusion::logical_expr::{Expr, TableProviderFilterPushDown, TableType};
use datafusion::physical_plan::ExecutionPlan;
use udr_core::format::{Change, TableOperation};
use udr_core::id::TableId;
use udr_core::name::RelationPath;
use udr_core::snapshot::{Relation, Snapshot, TableSnapshot};
use udr_core::{Error, ErrorKind, LogEntry, Result};

use super::columns::{self, Layout};
use super::kinds::KindFilter;
use super::range::{ChangeRange, FeedSource};
use super::scan::{FeedScan, FeedTable, Steps};
use crate::error::to_datafusion;
use crate::exec::ChangesExec;
use crate::session::{StatementPin, UdrSession};
use crate::table::table_predicate;

/// What a feed is of.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Feed {
    /// One table, commit by commit.
    Table(RelationPath),
    /// One table, as if one commit had done everything.
    Net(RelationPath),
    /// These tables, commit by commit, with the names of their columns.
    Tables(Vec<(String, RelationPath)>),
    /// All tables that changed, commit by commit.
    Everything,
}

/// A feed by name, whose commits are found when it is scanned.
#[derive(Debug, Clone)]
pub(crate) struct ChangesTable {
    session: Arc<UdrSession>,
    source: FeedSource,
    feed: Feed,
    range: ChangeRange,
    schema: SchemaRef,
    pin: Option<Arc<StatementPin>>,
}

/// A feed as it is at one moment.
struct Resolved {
    from: Option<Snapshot>,
    to: Snapshot,
    /// In the order of their columns.
    tables: Vec<FeedTable>,
    /// The commits; none for net changes.
    entries: Vec<LogEntry>,
    layout: Layout,
}

impl ChangesTable {
    /// A provider of a feed.
    ///
    /// # Errors
    ///
    /// `NotFound` if a state or a table is not there; `Invalid` if no commits lead from the first
    /// state to the last, or a column has the name of one of the feed's.
    pub(crate) async fn new(
        session: Arc<UdrSession>,
        source: FeedSource,
        feed: Feed,
        range: ChangeRange,
    ) -> Result<Self> {
        let mut table = Self {
            session,
            source,
            feed,
            range,
            schema: SchemaRef::new(arrow::datatypes::Schema::empty()),
            pin: None,
        };
        let resolved = table.resolve(&StatementPin::default()).await?;
        table.schema = resolved.layout.schema;
        Ok(table)
    }

    /// The same feed, read at the state of a statement.
    pub(crate) fn pinned(&self, pin: Arc<StatementPin>) -> Self {
        Self {
            pin: Some(pin),
            ..self.clone()
        }
    }

    async fn resolve(&self, pin: &StatementPin) -> Result<Resolved> {
        let ends = self.range.resolve(&self.session, pin, &self.source);
        let (from, to) = ends.await?;
        let (current, repository) = (self.session.branch(), self.session.repository());
        let entries = match &self.feed {
            Feed::Net(_) => Vec::new(),
            _ => {
                let entries = repository.commits_between(&current, from.as_ref(), &to);
                entries.await?
            }
        };
        let tables = match &self.feed {
            Feed::Table(path) | Feed::Net(path) => {
                vec![self.table(path.to_string(), path, &to, &entries).await?]
            }
            Feed::Tables(named) => {
                let mut tables = Vec::with_capacity(named.len());
                for (name, path) in named {
                    tables.push(self.table(name.clone(), path, &to, &entries).await?);
                }
                tables
            }
            Feed::Everything => self.changed(&to, &entries).await?,
        };
        let (schema, shown) = match (&self.feed, tables.as_slice()) {
            (Feed::Table(_) | Feed::Net(_), [table]) => columns::of_table(&table.schema)?,
            _ => {
                let tables = tables.iter().map(|t| (t.name.as_str(), t.schema.as_ref()));
                columns::of_tables(tables)
            }
        };
        Ok(Resolved {
            from,
            to,
            tables,
            entries,
            layout: Layout { schema, shown },
        })
    }

    /// The table of this name at the end of the range.
    async fn table(
        &self,
        name: String,
        path: &RelationPath,
        to: &Snapshot,
        entries: &[LogEntry],
    ) -> Result<FeedTable> {
        let error = match to.table(path).await {
            Ok(table) => return Ok(FeedTable::new(name, &table)),
            Err(error) => error,
        };
        // It may have been dropped on the way.
        let drop = entries.iter().rev().find(|entry| {
            let mut changes = entry.commit.changes.iter();
            changes.any(|change| match change {
                Change::Table(change) => {
                    change.path == *path && change.operations.contains(&TableOperation::Drop)
                }
                Change::Namespace { .. } | Change::View { .. } => false,
            })
        });
        Err(match (error.kind(), drop) {
            (ErrorKind::NotFound, Some(drop)) => {
                Error::not_found("the table was dropped within the range")
                    .with("table", path)
                    .with("version", drop.version)
                    .with_hint(format!(
                        "end with version {} or earlier; udr_changes without tables shows it too",
                        drop.version.0.saturating_sub(1)
                    ))
            }
            _ => error,
        })
    }

    /// All tables that commits changed the rows of; those that are not there any more are called
    /// after the last version that had them.
    async fn changed(&self, to: &Snapshot, entries: &[LogEntry]) -> Result<Vec<FeedTable>> {
        let mut last = BTreeMap::<TableId, (&LogEntry, RelationPath)>::new();
        for entry in entries {
            for change in &entry.commit.changes {
                if let Change::Table(change) = change {
                    last.insert(change.table, (entry, change.path.clone()));
                }
            }
        }
        let repository = self.session.repository();
        let mut tables = Vec::with_capacity(last.len());
        for (id, (entry, path)) in last {
            let found = match table_at(to, &path, id).await? {
                Some(table) => Some((path.to_string(), table)),
                // Another name may have come with a namespace that was renamed.
                None => match to.table_by_id(id).await? {
                    Some(table) => Some((table.path().to_string(), table)),
                    None => {
                        let before = match entry.commit.parents.first() {
                            Some(parent) => repository.state_of(parent).await?,
                            None => continue,
                        };
                        let version = entry.version.0.saturating_sub(1);
                        let table = table_at(&before, &path, id).await?;
                        table.map(|table| (format!("{path}@{version}"), table))
                    }
                },
            };
            // What one transaction created and dropped never was.
            tables.extend(found.map(|(name, table)| FeedTable::new(name, &table)));
        }
        tables.sort_by(|a, b| a.name.cmp(&b.name));
        let names = tables.iter().map(|table| &table.name);
        if names.collect::<BTreeSet<_>>().len() < tables.len() {
            return Err(Error::unsupported(
                "several tables of one name were dropped in one version",
            )
            .with_hint("read a shorter range, or say which tables"));
        }
        Ok(tables)
    }

    fn changed_meanwhile(&self) -> Error {
        Error::conflict("a table changed while the statement was being planned")
            .with("range", &self.range)
            .with_hint("run the statement again, or prepare it again")
    }
}

async fn table_at(
    snapshot: &Snapshot,
    path: &RelationPath,
    id: TableId,
) -> Result<Option<TableSnapshot>> {
    match snapshot.relation(path).await? {
        Some(Relation::Table(table)) if table.id() == id => Ok(Some(*table)),
        _ => Ok(None),
    }
}

#[async_trait]
impl TableProvider for ChangesTable {
    fn schema(&self) -> SchemaRef {
        Arc::clone(&self.schema)
    }

    fn table_type(&self) -> TableType {
        TableType::View
    }

    fn supports_filters_pushdown(
        &self,
        filters: &[&Expr],
    ) -> DataFusionResult<Vec<TableProviderFilterPushDown>> {
        // Filters choose commits, kinds and files; each row is still checked.
        Ok(vec![TableProviderFilterPushDown::Inexact; filters.len()])
    }

    async fn scan(
        &self,
        state: &dyn Session,
        projection: Option<&Vec<usize>>,
        filters: &[Expr],
        _limit: Option<usize>,
    ) -> DataFusionResult<Arc<dyn ExecutionPlan>> {
        let pin = self.pin.clone().unwrap_or_default();
        let resolved = self.resolve(&pin).await.map_err(to_datafusion)?;
        if resolved.layout.schema != self.schema {
            return Err(to_datafusion(self.changed_meanwhile()));
        }
        if self.range.is_open() {
            let pinned = pin.state(&self.session, &self.source.tip).await;
            let pinned = pinned.map_err(to_datafusion)?;
            if let Some(reads) = self.session.reads(&pinned) {
                let tables = resolved.tables.iter();
                tables.for_each(|table| reads.table(table.id, None));
            }
        }
        let Resolved {
            from,
            to,
            mut tables,
            entries,
            layout,
        } = resolved;
        let kinds = KindFilter::new(state, &layout, filters);
        if let (Feed::Table(_) | Feed::Net(_), [table]) = (&self.feed, tables.as_mut_slice()) {
            // What is after the columns of the table has no bounds, and is not asked for.
            table.prune = table_predicate(state, &table.schema, &self.schema, filters);
        }
        let layout = match projection {
            Some(columns) => layout.project(columns).map_err(to_datafusion)?,
            None => layout,
        };
        let steps = match &self.feed {
            Feed::Net(_) => Steps::Net { from, to },
            _ => Steps::Commits(entries),
        };
        let repository = self.session.repository().clone();
        let scan = FeedScan::new(repository, layout, tables, steps, kinds.as_ref());
        Ok(Arc::new(ChangesExec::new(scan.map_err(to_datafusion)?)))
    }
}
