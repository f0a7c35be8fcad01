//! The table provider.

use std::collections::HashMap;
use std::sync::Arc;

use arrow::datatypes::SchemaRef;
use async_trait::async_trait;
use datafusion::catalog::{Session, TableProvider};
use datafusion::common::{Constraint as EngineConstraint, Constraints, DFSchema, DFSchemaRef};
use datafusion::error::Result as DataFusionResult;
use datafusion::logical_expr::dml::{InsertOp, MergeIntoClause};
use datafusion::logical_expr::{Expr, TableProviderFilterPushDown, TableType};
use datafusion::physical_plan::ExecutionPlan;
use udr_core::format::Constraint;
use udr_core::name::RelationPath;
use udr_core::snapshot::{Prune, Relation, TableSnapshot};
use udr_core::{Error, Result};

use super::file_rows::Files;
use super::predicate::TablePredicate;
use super::row_columns::RowColumns;
use super::scan;
use crate::catalog::{Scope, ViewStep, views_unchanged};
use crate::error::to_datafusion;
use crate::exec::{FileSpec, RowTarget, UdrStageExec, check_ends, truncate};
use crate::session::{Pinned, Rows, Source, StatementPin, UdrSession};

/// A table by name, at a state that is found when it is scanned.
///
/// Providers are kept in prepared statements and data frames, so none holds on to a state: the
/// schema is that of planning, the rows are those of the statement's [`StatementPin`].
#[derive(Debug, Clone)]
pub(crate) struct UdrTable {
    session: Arc<UdrSession>,
    source: Source,
    views: Arc<[ViewStep]>,
    path: RelationPath,
    schema: SchemaRef,
    defaults: Arc<Defaults>,
    /// The keys that the optimizer relies on.
    keys: Option<Constraints>,
    /// The columns that take no values.
    generated: Arc<[String]>,
    pin: Option<Arc<StatementPin>>,
    /// Whether the statement was seen to have no clause that its plan does not show.
    checked: bool,
    /// Whether all of its rows go into an aggregate as they are.
    aggregated: bool,
}

impl UdrTable {
    /// A provider of the table that `table` shows, for names in `scope`.
    ///
    /// # Errors
    ///
    /// `Internal` if the context is gone.
    pub(crate) fn new(
        session: Arc<UdrSession>,
        scope: Scope,
        table: &TableSnapshot,
    ) -> Result<Self> {
        let defaults = Arc::new(Defaults::new(&session, table)?);
        let fields = table.schema().fields().iter();
        let generated = fields
            .filter(|field| field.generated.is_some())
            .map(|field| field.name.clone())
            .collect();
        let keys = scope.source.is_tip().then(|| keys(table)).flatten();
        Ok(Self {
            session,
            source: scope.source,
            views: scope.views,
            path: table.path().clone(),
            schema: table.arrow_schema(),
            defaults,
            keys,
            generated,
            pin: None,
            checked: false,
            aggregated: false,
        })
    }

    /// The same table, in a statement that has no clause that its plan does not show.
    pub(crate) fn with_checked_clauses(&self) -> Self {
        Self {
            checked: true,
            ..self.clone()
        }
    }

    /// Whether the statement was seen to have no clause that its plan does not show.
    pub(crate) fn has_checked_clauses(&self) -> bool {
        self.checked
    }

    /// Whether a column is generated, so that no statement gives it a value.
    pub(crate) fn is_generated(&self, column: &str) -> bool {
        self.generated.iter().any(|name| name == column)
    }

    /// The same table, read at the state of a statement.
    pub(crate) fn pinned(&self, pin: Arc<StatementPin>) -> Self {
        Self {
            pin: Some(pin),
            ..self.clone()
        }
    }

    /// The same table, all rows of which go into an aggregate as they are.
    pub(crate) fn aggregated(&self) -> Self {
        Self {
            aggregated: true,
            ..self.clone()
        }
    }

    /// Its name.
    pub(crate) fn path(&self) -> &RelationPath {
        &self.path
    }

    /// Whether another provider reads the same table at the same state.
    pub(crate) fn is_same(&self, other: &Self) -> bool {
        self.path == other.path
            && self.source.key() == other.source.key()
            && self.schema == other.schema
    }

    /// A plan that reads the table's columns and `rows`, by position in both.
    pub(super) async fn read(
        &self,
        state: &dyn Session,
        rows: RowColumns,
        projection: Option<&Vec<usize>>,
        filters: &[Expr],
        limit: Option<usize>,
    ) -> DataFusionResult<Arc<dyn ExecutionPlan>> {
        // Without the rule that pins whole statements, a scan is a statement of its own.
        let pin = self.pin.clone().unwrap_or_default();
        let resolved = self.resolve(&pin).await;
        let (pinned, table) = resolved.map_err(to_datafusion)?;
        let predicate = TablePredicate::new(state, table.schema(), &self.schema, filters);
        let predicate = predicate.map(Arc::new);
        if let Some(reads) = self.session.reads(&pinned) {
            reads.table(table.id(), predicate.clone().map(|p| p as Arc<dyn Prune>));
        }
        let scan = scan::Scan {
            session: &self.session,
            pin: &pin,
            table: &table,
            rows,
            projection,
            // Files are left out for a limit only if every row counts.
            limit: limit.filter(|_| filters.is_empty()),
            files: &Files::All,
            aggregated: self.aggregated,
        };
        scan.plan(state, predicate.as_deref()).await
    }

    /// The table at the state of a statement that changes some of its rows, and where the change
    /// goes.
    ///
    /// # Errors
    ///
    /// `Invalid` if it cannot be written, `Conflict` if it changed since it was planned.
    pub(super) async fn to_change(&self) -> Result<RowTarget> {
        self.refuse_fixed()?;
        let pin = self.pin.clone().unwrap_or_default();
        let (pinned, table) = self.resolve(&pin).await?;
        let target = self.session.write_target(&pinned, Rows::Replace).await?;
        Ok(RowTarget {
            session: Arc::clone(&self.session),
            pin,
            table,
            target,
        })
    }

    /// The table at the statement's state, and that state.
    async fn resolve(&self, pin: &StatementPin) -> Result<(Pinned, TableSnapshot)> {
        let pinned = pin.state(&self.session, &self.source).await?;
        views_unchanged(&self.session, &self.views, pin).await?;
        let table = match pinned.snapshot.relation(&self.path).await? {
            Some(Relation::Table(table)) => *table,
            Some(Relation::View(_)) => return Err(self.changed()),
            // Says which name is near.
            None => pinned.snapshot.table(&self.path).await?,
        };
        // What the plan relies on must still hold: a prepared one can be older than a DROP.
        let same_keys = self.keys.is_none() || self.keys == keys(&table);
        if table.arrow_schema() != self.schema || !same_keys {
            return Err(self.changed());
        }
        Ok((pinned, table))
    }

    fn changed(&self) -> Error {
        Error::conflict("a table changed while the statement was being planned")
            .with("table", &self.path)
            .with_hint("run the statement again, or prepare it again")
    }

    fn refuse_fixed(&self) -> Result<()> {
        match self.source.key() {
            None => Ok(()),
            Some(revision) => Err(
                Error::invalid("only the session's own branch can be written")
                    .with("table", &self.path)
                    .with("revision", revision)
                    .with_hint("USE BRANCH switches to another branch"),
            ),
        }
    }

    async fn insert(
        &self,
        input: Arc<dyn ExecutionPlan>,
        op: InsertOp,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        self.refuse_fixed()?;
        check_ends(input.as_ref())?;
        if matches!(op, InsertOp::Replace) {
            return Err(Error::unsupported("tables have no keys to replace rows by")
                .with("table", &self.path)
                .with_hint("use INSERT INTO or INSERT OVERWRITE"));
        }
        if let Some((column, sql)) = &self.defaults.broken {
            return Err(
                Error::invalid("a column's default cannot be understood here")
                    .with("table", &self.path)
                    .with("column", column)
                    .with("default", sql),
            );
        }
        let pin = self.pin.clone().unwrap_or_default();
        let (pinned, table) = self.resolve(&pin).await?;
        let rows = match op {
            InsertOp::Overwrite => Rows::Replace,
            InsertOp::Append | InsertOp::Replace => Rows::Add,
        };
        let target = self.session.write_target(&pinned, rows).await?;
        let spec = FileSpec::new(Arc::clone(&self.session), table, target.epoch())?;
        Ok(UdrStageExec::plan(input, spec, op, target))
    }

    /// The refusal of a row-level change that was not rewritten before it came here.
    ///
    /// What DataFusion passes to its hooks can be less than the statement said, so that they
    /// would change rows that it did not mean.
    fn refuse_rows(&self, statement: &str) -> DataFusionResult<Arc<dyn ExecutionPlan>> {
        Err(to_datafusion(
            Error::unsupported(format!("{statement} was planned without the rules of UDR"))
                .with("table", &self.path)
                .with_hint("run it in a context that udr_datafusion::install was called on"),
        ))
    }
}

/// The keys of a table, as the optimizer knows them: they hold in every state that a transaction
/// or a branch has.
fn keys(table: &TableSnapshot) -> Option<Constraints> {
    let fields = table.schema().fields();
    let place = |id| fields.iter().position(|field| field.id == id);
    let keys = table.constraints().iter().filter_map(|constraint| {
        let Constraint::Unique {
            columns, primary, ..
        } = constraint
        else {
            return None;
        };
        let places = columns.iter().map(|id| place(*id)).collect::<Option<_>>()?;
        Some(match primary {
            true => EngineConstraint::PrimaryKey(places),
            false => EngineConstraint::Unique(places),
        })
    });
    let keys = keys.collect::<Vec<_>>();
    (!keys.is_empty()).then(|| Constraints::new_unverified(keys))
}

/// The defaults of a table's columns.
#[derive(Debug, Default)]
struct Defaults {
    by_column: HashMap<String, Expr>,
    /// A column and its default that the context cannot understand, such as a function that it
    /// does not have. The table can be read all the same.
    broken: Option<(String, String)>,
}

impl Defaults {
    fn new(session: &UdrSession, table: &TableSnapshot) -> Result<Self> {
        let mut defaults = Self::default();
        if table
            .schema()
            .fields()
            .iter()
            .all(|field| field.default.is_none())
        {
            return Ok(defaults);
        }
        let state = session.context_state()?;
        for field in table.schema().fields() {
            let Some(sql) = &field.default else {
                continue;
            };
            match state.create_logical_expr(sql, &DFSchema::empty()) {
                Ok(expr) => {
                    defaults.by_column.insert(field.name.clone(), expr);
                }
                Err(error) => {
                    tracing::debug!(%error, column = field.name, "a default cannot be understood");
                    defaults.broken = Some((field.name.clone(), sql.clone()));
                }
            }
        }
        Ok(defaults)
    }
}

#[async_trait]
impl TableProvider for UdrTable {
    fn schema(&self) -> SchemaRef {
        Arc::clone(&self.schema)
    }

    fn table_type(&self) -> TableType {
        TableType::Base
    }

    fn constraints(&self) -> Option<&Constraints> {
        self.keys.as_ref()
    }

    fn get_column_default(&self, column: &str) -> Option<&Expr> {
        self.defaults.by_column.get(column)
    }

    fn supports_filters_pushdown(
        &self,
        filters: &[&Expr],
    ) -> DataFusionResult<Vec<TableProviderFilterPushDown>> {
        // Filters choose files; each row is still checked.
        Ok(vec![TableProviderFilterPushDown::Inexact; filters.len()])
    }

    async fn scan(
        &self,
        state: &dyn Session,
        projection: Option<&Vec<usize>>,
        filters: &[Expr],
        limit: Option<usize>,
    ) -> DataFusionResult<Arc<dyn ExecutionPlan>> {
        self.read(state, RowColumns::None, projection, filters, limit)
            .await
    }

    async fn insert_into(
        &self,
        _state: &dyn Session,
        input: Arc<dyn ExecutionPlan>,
        insert_op: InsertOp,
    ) -> DataFusionResult<Arc<dyn ExecutionPlan>> {
        self.insert(input, insert_op).await.map_err(to_datafusion)
    }

    async fn delete_from(
        &self,
        _state: &dyn Session,
        _filters: Vec<Expr>,
    ) -> DataFusionResult<Arc<dyn ExecutionPlan>> {
        self.refuse_rows("DELETE")
    }

    async fn update(
        &self,
        _state: &dyn Session,
        _assignments: Vec<(String, Expr)>,
        _filters: Vec<Expr>,
    ) -> DataFusionResult<Arc<dyn ExecutionPlan>> {
        self.refuse_rows("UPDATE")
    }

    async fn truncate(&self, _state: &dyn Session) -> DataFusionResult<Arc<dyn ExecutionPlan>> {
        let target = self.to_change().await.map_err(to_datafusion)?;
        truncate(target)
    }

    async fn merge_into(
        &self,
        _state: &dyn Session,
        _source: Arc<dyn ExecutionPlan>,
        _merge_schema: DFSchemaRef,
        _on: Expr,
        _clauses: Vec<MergeIntoClause>,
    ) -> DataFusionResult<Arc<dyn ExecutionPlan>> {
        self.refuse_rows("MERGE")
    }
}
