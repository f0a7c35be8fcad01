//! A plan node that runs an asynchronous function and gives its batch.
//!
//! Statements with effects that DataFusion can only reach as a table are scans of a
//! [`CommandTable`]: nothing happens while they are planned or explained, and the function runs
//! once when the plan does.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use arrow::datatypes::SchemaRef;
use arrow::record_batch::RecordBatch;
use async_trait::async_trait;
use datafusion::catalog::{Session, TableProvider};
use datafusion::common::project_schema;
use datafusion::common::tree_node::TreeNodeRecursion;
use datafusion::datasource::source_as_provider;
use datafusion::error::Result as DataFusionResult;
use datafusion::execution::{SendableRecordBatchStream, TaskContext};
use datafusion::logical_expr::{Expr, LogicalPlan, TableType};
use datafusion::physical_plan::stream::RecordBatchStreamAdapter;
use datafusion::physical_plan::{
    DisplayAs, DisplayFormatType, ExecutionPlan, PhysicalExpr, PlanProperties,
};
use futures::future::BoxFuture;
use udr_core::{Error, Result};

use super::properties;
use crate::error::to_datafusion;

/// What a command runs.
type Run = Arc<dyn Fn() -> BoxFuture<'static, Result<RecordBatch>> + Send + Sync>;

/// How often a plan may run its function.
#[derive(Debug, Clone)]
pub(crate) enum Runs {
    /// Once, since it has effects; set when it has run.
    Once(Arc<AtomicBool>),
    /// As often as it is executed, since it only reads.
    Again,
}

impl Runs {
    /// Once.
    pub(crate) fn once() -> Self {
        Self::Once(Arc::new(AtomicBool::new(false)))
    }
}

/// A table whose one batch is what a function with effects returns.
#[derive(Clone)]
pub struct CommandTable {
    schema: SchemaRef,
    run: Run,
}

impl CommandTable {
    /// A table of `schema` that runs `run` each time a plan that scans it is executed; a plan may
    /// scan it once.
    pub fn new(
        schema: SchemaRef,
        run: impl Fn() -> BoxFuture<'static, Result<RecordBatch>> + Send + Sync + 'static,
    ) -> Self {
        Self {
            schema,
            run: Arc::new(run),
        }
    }

    /// Whether a plan node is a scan of a command.
    pub(crate) fn is_scanned_by(node: &LogicalPlan) -> bool {
        Self::scanned_by(node).is_some()
    }

    /// The command that a plan node is a scan of.
    pub(crate) fn scanned_by(node: &LogicalPlan) -> Option<Arc<dyn TableProvider>> {
        let LogicalPlan::TableScan(scan) = node else {
            return None;
        };
        let provider = source_as_provider(&scan.source).ok()?;
        provider.is::<Self>().then_some(provider)
    }
}

impl fmt::Debug for CommandTable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CommandTable")
            .field("schema", &self.schema)
            .finish_non_exhaustive()
    }
}

#[async_trait]
impl TableProvider for CommandTable {
    fn schema(&self) -> SchemaRef {
        Arc::clone(&self.schema)
    }

    fn table_type(&self) -> TableType {
        TableType::Temporary
    }

    async fn scan(
        &self,
        _state: &dyn Session,
        projection: Option<&Vec<usize>>,
        _filters: &[Expr],
        _limit: Option<usize>,
    ) -> DataFusionResult<Arc<dyn ExecutionPlan>> {
        let runs = Runs::once();
        let projection = projection.map(Vec::as_slice);
        let run = Arc::clone(&self.run);
        Ok(Arc::new(CommandExec::try_new(
            "command",
            &self.schema,
            projection,
            run,
            runs,
        )?))
    }
}

/// Runs a function when it is executed, and gives the batch that it returns.
pub struct CommandExec {
    name: String,
    schema: SchemaRef,
    projection: Option<Vec<usize>>,
    run: Run,
    runs: Runs,
    properties: Arc<PlanProperties>,
}

impl CommandExec {
    /// `schema` is what `run` returns, before `projection`.
    pub(crate) fn try_new(
        name: impl Into<String>,
        schema: &SchemaRef,
        projection: Option<&[usize]>,
        run: Run,
        runs: Runs,
    ) -> DataFusionResult<Self> {
        let projected = project_schema(schema, projection.as_ref())?;
        Ok(Self {
            name: name.into(),
            schema: Arc::clone(schema),
            projection: projection.map(<[usize]>::to_vec),
            run,
            runs,
            properties: properties(projected, 1),
        })
    }
}

impl fmt::Debug for CommandExec {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CommandExec")
            .field("name", &self.name)
            .finish_non_exhaustive()
    }
}

impl DisplayAs for CommandExec {
    fn fmt_as(&self, t: DisplayFormatType, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match t {
            DisplayFormatType::Default | DisplayFormatType::Verbose => {
                write!(f, "CommandExec: {}", self.name)
            }
            DisplayFormatType::TreeRender => write!(f, "{}", self.name),
        }
    }
}

impl ExecutionPlan for CommandExec {
    fn name(&self) -> &'static str {
        "CommandExec"
    }

    fn properties(&self) -> &Arc<PlanProperties> {
        &self.properties
    }

    fn children(&self) -> Vec<&Arc<dyn ExecutionPlan>> {
        Vec::new()
    }

    fn apply_expressions(
        &self,
        _f: &mut dyn FnMut(&Arc<dyn PhysicalExpr>) -> DataFusionResult<TreeNodeRecursion>,
    ) -> DataFusionResult<TreeNodeRecursion> {
        Ok(TreeNodeRecursion::Continue)
    }

    fn with_new_children(
        self: Arc<Self>,
        _children: Vec<Arc<dyn ExecutionPlan>>,
    ) -> DataFusionResult<Arc<dyn ExecutionPlan>> {
        Ok(self)
    }

    fn execute(
        &self,
        _partition: usize,
        _context: Arc<TaskContext>,
    ) -> DataFusionResult<SendableRecordBatchStream> {
        if let Runs::Once(ran) = &self.runs
            && ran.swap(true, Ordering::AcqRel)
        {
            return Err(to_datafusion(ran_already()));
        }
        let run = Arc::clone(&self.run);
        let (schema, projection) = (Arc::clone(&self.schema), self.projection.clone());
        let batch = async move {
            let batch = run().await.map_err(to_datafusion)?;
            if batch.schema().fields() != schema.fields() {
                return Err(to_datafusion(Error::internal(
                    "a command returned another schema",
                )));
            }
            Ok(match projection {
                Some(columns) => batch.project(&columns)?,
                None => batch,
            })
        };
        let stream = futures::stream::once(batch);
        Ok(Box::pin(RecordBatchStreamAdapter::new(
            self.schema(),
            stream,
        )))
    }
}

/// A plan with effects was executed a second time.
pub(super) fn ran_already() -> Error {
    Error::invalid("a plan with effects has run already").with_hint("plan the statement again")
}
