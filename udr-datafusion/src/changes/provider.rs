//! The table provider of a feed.

use std::collections::BTreeMap;
use std::sync::Arc;

use arrow::datatypes::{Schema, SchemaRef};
use async_trait::async_trait;
use datafusion::catalog::{Session, TableProvider};
use datafusion::common::tree_node::TreeNode as _;
use datafusion::datasource::source_as_provider;
use datafusion::error::Result as DataFusionResult;
use datafusion::logical_expr::{Expr, LogicalPlan, TableProviderFilterPushDown, TableType};
use datafusion::physical_plan::ExecutionPlan;
use udr_core::format::{Change, TableChange, TableOperation};
use udr_core::id::TableId;
use udr_core::name::RelationPath;
use udr_core::snapshot::Snapshot;
use udr_core::{Error, ErrorKind, LogEntry, Result};

use super::columns::{self, Layout};
use super::kinds::KindFilter;
use super::range::{ChangeRange, FeedSource};
use super::rows::RowFilter;
use super::scan::{FeedScan, FeedTable, Steps};
use crate::catalog::{ViewStep, views_unchanged};
use crate::error::to_datafusion;
use crate::exec::ChangesExec;
use crate::session::{StatementPin, UdrSession};
use crate::table::table_predicate;

/// How many digits of a commit id name it in a feed; more than a version has.
pub(super) const COMMIT_DIGITS: usize = 24;

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
    /// One table, commit by commit, those to come included.
    Tail(RelationPath),
}

/// A feed by name, whose commits are found when it is scanned.
#[derive(Debug, Clone)]
pub(crate) struct ChangesTable {
    session: Arc<UdrSession>,
    source: FeedSource,
    views: Arc<[ViewStep]>,
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
    layout: Layout,
}

impl ChangesTable {
    /// A provider of a feed.
    ///
    /// # Errors
    ///
    /// `NotFound` if a state or a table is not there; `Invalid` if a column has the name of one of
    /// the feed's.
    pub(crate) async fn new(
        session: Arc<UdrSession>,
        source: FeedSource,
        views: Arc<[ViewStep]>,
        feed: Feed,
        range: Option<ChangeRange>,
    ) -> Result<Self> {
        let range = match (range, &feed) {
            (Some(range), Feed::Tail(_)) if !range.is_open() => {
                return Err(Error::invalid("what goes on has no end")
                    .with("range", range)
                    .with_hint("write `3..`: what comes after version 3"));
            }
            (Some(range), _) => range,
            (None, Feed::Tail(_)) => ChangeRange::from_now(),
            (None, _) => ChangeRange::default(),
        };
        let mut table = Self {
            session,
            source,
            views,
            feed,
            range,
            schema: SchemaRef::new(Schema::empty()),
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
        let tables = match &self.feed {
            Feed::Table(path) | Feed::Net(path) | Feed::Tail(path) => {
                let name = path.to_string();
                vec![self.table(name, path, from.as_ref(), &to).await?]
            }
            Feed::Tables(named) => {
                let mut tables = Vec::with_capacity(named.len());
                for (name, path) in named {
                    let table = self.table(name.clone(), path, from.as_ref(), &to);
                    tables.push(table.await?);
                }
                tables
            }
            Feed::Everything => {
                let entries = self.entries(from.as_ref(), &to).await?;
                self.changed(&to, &entries).await?
            }
        };
        let (schema, shown) = match (&self.feed, tables.as_slice()) {
            (Feed::Table(_) | Feed::Net(_) | Feed::Tail(_), [table]) => {
                columns::of_table(&table.schema)?
            }
            _ => {
                let tables = tables.iter().map(|t| (t.name.as_str(), t.schema.as_ref()));
                columns::of_tables(tables)?
            }
        };
        Ok(Resolved {
            from,
            to,
            tables,
            layout: Layout { schema, shown },
        })
    }

    async fn entries(&self, from: Option<&Snapshot>, to: &Snapshot) -> Result<Vec<LogEntry>> {
        let (current, repository) = (self.session.branch(), self.session.repository());
        repository.commits_between(&current, from, to).await
    }

    /// The table of this name at the end of the range.
    async fn table(
        &self,
        name: String,
        path: &RelationPath,
        from: Option<&Snapshot>,
        to: &Snapshot,
    ) -> Result<FeedTable> {
        let error = match to.table(path).await {
            Ok(table) => return Ok(FeedTable::new(name, &table)),
            Err(error) if error.kind() != ErrorKind::NotFound => return Err(error),
            Err(error) => error,
        };
        // It may have gone on the way.
        let Ok(entries) = self.entries(from, to).await else {
            return Err(error);
        };
        let dropped = |change: &TableChange| {
            change.path == *path && change.operations.contains(&TableOperation::Drop)
        };
        for entry in entries.iter().rev() {
            for change in table_changes(entry) {
                if dropped(change) {
                    return Err(Error::not_found("the table was dropped within the range")
                        .with("table", path)
                        .with("version", entry.version)
                        .with_hint(format!(
                            "end before version {}; udr_changes without tables shows it, too",
                            entry.version
                        )));
                }
                if change.renamed_from.as_ref() == Some(path) {
                    return Err(Error::not_found("the table was renamed within the range")
                        .with("table", path)
                        .with("version", entry.version)
                        .with_hint(format!("it is called {}", change.path)));
                }
            }
        }
        Err(error)
    }

    /// All tables that commits changed the rows of; those that are not there any more are called
    /// after the last commit that had them.
    async fn changed(&self, to: &Snapshot, entries: &[LogEntry]) -> Result<Vec<FeedTable>> {
        let mut last = BTreeMap::<TableId, (&LogEntry, RelationPath)>::new();
        for entry in entries {
            for change in table_changes(entry) {
                last.insert(change.table, (entry, change.path.clone()));
            }
        }
        let repository = self.session.repository();
        let mut tables = Vec::with_capacity(last.len());
        for (id, (entry, path)) in last {
            if let Some(table) = to.table_called(&path, id).await? {
                tables.push(FeedTable::new(path.to_string(), &table));
                continue;
            }
            // What one transaction created and dropped never was.
            let Some(parent) = entry.commit.parents.first() else {
                continue;
            };
            let before = repository.state_of(parent).await?;
            if let Some(table) = before.table_called(&path, id).await? {
                let mut commit = parent.id().to_hex();
                commit.truncate(COMMIT_DIGITS);
                tables.push(FeedTable::new(format!("{path}@{commit}"), &table));
            }
        }
        tables.sort_by(|a, b| a.name.cmp(&b.name));
        Ok(tables)
    }

    /// Notes what a serializable transaction reads.
    async fn note_reads(&self, pin: &StatementPin, tables: &[FeedTable]) -> Result<()> {
        if !self.range.is_open() || matches!(self.feed, Feed::Tail(_)) {
            return Ok(());
        }
        let pinned = pin.state(&self.session, &self.source.tip).await?;
        let Some(reads) = self.session.reads(&pinned) else {
            return Ok(());
        };
        if self.feed == Feed::Everything {
            return Err(
                Error::unsupported("a serializable transaction cannot watch all tables")
                    .with_hint("say which tables, or where the range ends"),
            );
        }
        tables.iter().for_each(|table| reads.table(table.id, None));
        Ok(())
    }

    async fn steps(&self, from: Option<Snapshot>, to: Snapshot) -> Result<Steps> {
        let (current, repository) = (self.session.branch(), self.session.repository());
        match &self.feed {
            Feed::Table(_) | Feed::Tables(_) | Feed::Everything => {
                Ok(Steps::Commits(self.entries(from.as_ref(), &to).await?))
            }
            Feed::Net(_) => {
                let entry = repository.log_of(&current, &to, Some(1)).await?.pop();
                let entry = entry.ok_or_else(|| Error::internal("a state has no commit"))?;
                Ok(Steps::Net { from, to, entry })
            }
            Feed::Tail(_) => {
                let branch = self.source.branch.clone().unwrap_or(current);
                let since = to.commit().sequence;
                Ok(Steps::Tail {
                    branch,
                    from,
                    since,
                })
            }
        }
    }

    /// Refuses to follow a branch where a statement reads one state of it.
    fn check_tip(&self) -> Result<()> {
        if !matches!(self.feed, Feed::Tail(_)) {
            return Ok(());
        }
        if self.session.status().transaction.is_some() || self.session.as_of().is_some() {
            return Err(
                Error::invalid("a session that reads one state does not see what comes")
                    .with_hint("COMMIT, ROLLBACK or RESET udr.as_of first"),
            );
        }
        if !self.source.tip.is_tip() && (self.source.branch.is_none() || !self.views.is_empty()) {
            return Err(
                Error::invalid("a view at another state does not see what comes")
                    .with_hint("name the table itself: dev.public.\"t$tail\""),
            );
        }
        Ok(())
    }

    async fn feed_scan(
        &self,
        state: &dyn Session,
        projection: Option<&Vec<usize>>,
        filters: &[Expr],
    ) -> Result<FeedScan> {
        let pin = self.pin.clone().unwrap_or_default();
        views_unchanged(&self.session, &self.views, &pin).await?;
        self.check_tip()?;
        let Resolved {
            from,
            to,
            mut tables,
            layout,
        } = self.resolve(&pin).await?;
        if layout.schema != self.schema {
            return Err(
                Error::conflict("a table changed while the statement was being planned")
                    .with("range", &self.range)
                    .with_hint("run the statement again, or prepare it again"),
            );
        }
        self.note_reads(&pin, &tables).await?;
        let kinds = KindFilter::new(state, &layout, filters);
        if let [table] = tables.as_mut_slice()
            && !matches!(self.feed, Feed::Tables(_) | Feed::Everything)
        {
            // What is after the columns of the table has no bounds, and is not asked for.
            table.prune = table_predicate(state, &table.schema, &self.schema, filters);
        }
        let all = (0..self.schema.fields().len()).collect();
        let shown = projection.unwrap_or(&all);
        let rows = RowFilter::new(state, &layout, shown, filters)?;
        let steps = self.steps(from, to).await?;
        let repository = self.session.repository().clone();
        FeedScan::new(repository, rows, tables, steps, kinds)
    }
}

/// Whether a plan reads what comes, and so gives rows for ever.
pub fn is_unbounded(plan: &LogicalPlan) -> bool {
    let found = plan.exists(|node| {
        let LogicalPlan::TableScan(scan) = node else {
            return Ok(false);
        };
        let provider = source_as_provider(&scan.source)?;
        let feed = provider.downcast_ref::<ChangesTable>();
        Ok(feed.is_some_and(|feed| matches!(feed.feed, Feed::Tail(_))))
    });
    matches!(found, Ok(true))
}

/// What a commit did to tables.
fn table_changes(entry: &LogEntry) -> impl Iterator<Item = &TableChange> {
    let changes = entry.commit.changes.iter();
    changes.filter_map(|change| match change {
        Change::Table(change) => Some(change),
        Change::Namespace { .. } | Change::View { .. } => None,
    })
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
        // Filters choose commits, kinds and files, then rows: a node above would hold rows back, and
        // mix them.
        Ok(vec![TableProviderFilterPushDown::Exact; filters.len()])
    }

    async fn scan(
        &self,
        state: &dyn Session,
        projection: Option<&Vec<usize>>,
        filters: &[Expr],
        _limit: Option<usize>,
    ) -> DataFusionResult<Arc<dyn ExecutionPlan>> {
        let scan = self.feed_scan(state, projection, filters).await;
        Ok(Arc::new(ChangesExec::new(scan.map_err(to_datafusion)?)))
    }
}
