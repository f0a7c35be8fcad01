//! Stages what was written: in the session's transaction, or in one that commits at once.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use arrow::array::UInt64Array;
use arrow::datatypes::{DataType, Field, Schema};
use arrow::record_batch::RecordBatch;
use datafusion::common::tree_node::TreeNodeRecursion;
use datafusion::error::{DataFusionError, Result as DataFusionResult};
use datafusion::execution::{SendableRecordBatchStream, TaskContext};
use datafusion::logical_expr::dml::InsertOp;
use datafusion::physical_plan::coalesce_partitions::CoalescePartitionsExec;
use datafusion::physical_plan::distribution_requirements::InputDistributionRequirements;
use datafusion::physical_plan::execution_plan::CardinalityEffect;
use datafusion::physical_plan::stream::RecordBatchStreamAdapter;
use datafusion::physical_plan::{
    DisplayAs, DisplayFormatType, Distribution, ExecutionPlan, ExecutionPlanProperties as _,
    PhysicalExpr, PlanProperties,
};
use futures::StreamExt as _;
use parking_lot::Mutex;
use udr_core::Error;
use udr_core::name::RelationPath;
use udr_core::snapshot::TableSnapshot;
use udr_core::txn::read_ahead;

use super::command::ran_already;
use super::partition_writer::FileSpec;
use super::properties;
use super::write::{UdrWriteExec, decode_entries};
use crate::error::to_datafusion;
use crate::session::{UdrSession, WriteTarget};

/// Takes the data files that its input wrote into a table, and gives the number of rows.
///
/// It runs once: the transaction is taken by the first execution.
pub(crate) struct UdrStageExec {
    input: Arc<dyn ExecutionPlan>,
    stage: Arc<Stage>,
    properties: Arc<PlanProperties>,
}

struct Stage {
    session: Arc<UdrSession>,
    path: RelationPath,
    table: TableSnapshot,
    overwrite: bool,
    target: Mutex<Option<WriteTarget>>,
    started: AtomicBool,
}

impl UdrStageExec {
    /// A plan that writes `input`, which ends, into data files and stages them.
    pub(crate) fn plan(
        input: Arc<dyn ExecutionPlan>,
        spec: FileSpec,
        op: InsertOp,
        target: WriteTarget,
    ) -> Arc<dyn ExecutionPlan> {
        let stage = Stage {
            session: Arc::clone(&spec.session),
            path: spec.table.path().clone(),
            table: spec.table.clone(),
            overwrite: matches!(op, InsertOp::Overwrite),
            target: Mutex::new(Some(target)),
            started: AtomicBool::new(false),
        };
        let mut written: Arc<dyn ExecutionPlan> = Arc::new(UdrWriteExec::new(input, spec));
        if written.output_partitioning().partition_count() > 1 {
            written = Arc::new(CoalescePartitionsExec::new(written));
        }
        Arc::new(Self::new(written, Arc::new(stage)))
    }

    fn new(input: Arc<dyn ExecutionPlan>, stage: Arc<Stage>) -> Self {
        let count = Field::new("count", DataType::UInt64, false);
        let schema = Arc::new(Schema::new(vec![count]));
        Self {
            input,
            stage,
            properties: properties(schema, 1),
        }
    }
}

impl fmt::Debug for UdrStageExec {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("UdrStageExec")
            .field("input", &self.input)
            .finish_non_exhaustive()
    }
}

impl DisplayAs for UdrStageExec {
    fn fmt_as(&self, t: DisplayFormatType, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let operation = if self.stage.overwrite {
            "overwrite"
        } else {
            "append"
        };
        match t {
            DisplayFormatType::Default | DisplayFormatType::Verbose => {
                write!(f, "UdrStageExec: {operation} table={}", self.stage.path)
            }
            DisplayFormatType::TreeRender => write!(f, "{operation} {}", self.stage.path),
        }
    }
}

impl ExecutionPlan for UdrStageExec {
    fn name(&self) -> &'static str {
        "UdrStageExec"
    }

    fn properties(&self) -> &Arc<PlanProperties> {
        &self.properties
    }

    fn children(&self) -> Vec<&Arc<dyn ExecutionPlan>> {
        vec![&self.input]
    }

    fn input_distribution_requirements(&self) -> InputDistributionRequirements {
        InputDistributionRequirements::new(vec![Distribution::SinglePartition])
    }

    // As far as the planner is concerned: else it would drop an ORDER BY below.
    fn maintains_input_order(&self) -> Vec<bool> {
        vec![true]
    }

    fn benefits_from_input_partitioning(&self) -> Vec<bool> {
        vec![false]
    }

    fn apply_expressions(
        &self,
        _f: &mut dyn FnMut(&Arc<dyn PhysicalExpr>) -> DataFusionResult<TreeNodeRecursion>,
    ) -> DataFusionResult<TreeNodeRecursion> {
        Ok(TreeNodeRecursion::Continue)
    }

    fn with_new_children(
        self: Arc<Self>,
        mut children: Vec<Arc<dyn ExecutionPlan>>,
    ) -> DataFusionResult<Arc<dyn ExecutionPlan>> {
        let (Some(input), None) = (children.pop(), children.pop()) else {
            return Err(to_datafusion(Error::internal("a stage has one input")));
        };
        Ok(Arc::new(Self::new(input, Arc::clone(&self.stage))))
    }

    fn cardinality_effect(&self) -> CardinalityEffect {
        CardinalityEffect::LowerEqual
    }

    fn execute(
        &self,
        partition: usize,
        context: Arc<TaskContext>,
    ) -> DataFusionResult<SendableRecordBatchStream> {
        if partition != 0 {
            return Err(to_datafusion(Error::internal("a stage has one partition")));
        }
        if self.stage.started.swap(true, Ordering::AcqRel) {
            return Err(to_datafusion(ran_already()));
        }
        let input = self.input.execute(0, context)?;
        let (stage, schema) = (Arc::clone(&self.stage), self.schema());
        let count = async move {
            let count = stage.run(input).await?;
            let count = Arc::new(UInt64Array::from(vec![count]));
            Ok(RecordBatch::try_new(schema, vec![count])?)
        };
        let stream = futures::stream::once(count);
        Ok(Box::pin(RecordBatchStreamAdapter::new(
            self.schema(),
            stream,
        )))
    }
}

impl Stage {
    /// Waits until everything is written, then changes the table.
    async fn run(&self, mut input: SendableRecordBatchStream) -> DataFusionResult<u64> {
        let written = async {
            let mut files = Vec::new();
            while let Some(batch) = input.next().await {
                files.extend(decode_entries(&batch?).map_err(to_datafusion)?);
            }
            Ok::<_, DataFusionError>(files)
        };
        let ahead = async {
            if !self.overwrite {
                // What cannot be read is for the commit to say.
                read_ahead(&self.table).await.ok();
            }
        };
        let (files, ()) = futures::join!(written, ahead);
        let files = files?;
        let rows = files.iter().map(|file| file.rows).sum();
        let target = self.target.lock().take();
        let target = target.ok_or_else(|| to_datafusion(ran_already()))?;
        let (path, overwrite) = (self.path.clone(), self.overwrite);
        let verb = if overwrite {
            "INSERT OVERWRITE"
        } else {
            "INSERT INTO"
        };
        let message = format!("{verb} {path}");
        let table = self.table.id();
        self.session
            .write_to(target, message, async move |transaction| {
                if transaction.snapshot().table(&path).await?.id() != table {
                    return Err(Error::conflict(
                        "another table has taken the name while rows were written",
                    )
                    .with("table", path)
                    .with_hint("run the statement again"));
                }
                if overwrite {
                    transaction.overwrite(&path, files).await
                } else {
                    transaction.append(&path, files).await
                }
            })
            .await
            .map_err(to_datafusion)?;
        Ok(rows)
    }
}
