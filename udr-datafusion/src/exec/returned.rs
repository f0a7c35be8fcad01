//! The rows that a statement changed, returned when the change is made.

use std::fmt;
use std::sync::Arc;

use arrow::datatypes::SchemaRef;
use arrow::record_batch::RecordBatch;
use datafusion::common::project_schema;
use datafusion::common::tree_node::{Transformed, TreeNode as _, TreeNodeRecursion};
use datafusion::error::Result as DataFusionResult;
use datafusion::execution::memory_pool::{MemoryConsumer, MemoryReservation};
use datafusion::execution::{SendableRecordBatchStream, TaskContext};
use datafusion::physical_plan::distribution_requirements::InputDistributionRequirements;
use datafusion::physical_plan::stream::RecordBatchStreamAdapter;
use datafusion::physical_plan::{
    DisplayAs, DisplayFormatType, Distribution, ExecutionPlan, PhysicalExpr, PlanProperties,
};
use futures::{StreamExt as _, TryStreamExt as _};
use parking_lot::Mutex;
use udr_core::Error;

use super::mutate::UdrMutateExec;
use super::properties;
use super::write::UdrWriteExec;
use crate::error::to_datafusion;

/// Keeps the rows that a statement changes: as they are written, or as they were deleted.
///
/// They are in memory until the change is made. Where there is not enough of it, the statement
/// fails before it changes anything.
#[derive(Debug)]
pub(crate) struct Returned {
    /// The table's columns.
    schema: SchemaRef,
    kept: Mutex<Kept>,
}

#[derive(Debug, Default)]
struct Kept {
    batches: Vec<RecordBatch>,
    reservations: Vec<MemoryReservation>,
}

impl Returned {
    /// Keeps nothing yet of a table with this schema.
    pub(crate) fn new(schema: SchemaRef) -> Arc<Self> {
        Arc::new(Self {
            schema,
            kept: Mutex::default(),
        })
    }

    /// Keeps the rows of a batch whose columns from `first` on are the table's.
    pub(super) fn keep(
        &self,
        batch: &RecordBatch,
        first: usize,
        context: &TaskContext,
    ) -> DataFusionResult<()> {
        let broken = || to_datafusion(Error::internal("changed rows came with other columns"));
        let end = first + self.schema.fields().len();
        let columns = batch.columns().get(first..end).ok_or_else(broken)?;
        let rows = RecordBatch::try_new(Arc::clone(&self.schema), columns.to_vec())?;
        let reservation = MemoryConsumer::new("RETURNING").register(context.memory_pool());
        reservation.try_grow(rows.get_array_memory_size())?;
        let mut kept = self.kept.lock();
        kept.batches.push(rows);
        kept.reservations.push(reservation);
        Ok(())
    }

    fn take(&self) -> Kept {
        std::mem::take(&mut self.kept.lock())
    }
}

/// Makes the one node of a plan that writes or deletes rows keep them.
///
/// # Errors
///
/// `Internal` if there is none, or more than one.
pub(crate) fn keeping(
    plan: Arc<dyn ExecutionPlan>,
    returned: &Arc<Returned>,
) -> DataFusionResult<Arc<dyn ExecutionPlan>> {
    let mut found = 0;
    let plan = plan.transform_up(|node| {
        let keeps: Arc<dyn ExecutionPlan> = match (
            node.downcast_ref::<UdrWriteExec>(),
            node.downcast_ref::<UdrMutateExec>(),
        ) {
            (Some(write), _) => Arc::new(write.keeping(returned)),
            (None, Some(mutate)) => Arc::new(mutate.keeping(returned)),
            (None, None) => return Ok(Transformed::no(node)),
        };
        found += 1;
        Ok(Transformed::yes(keeps))
    })?;
    if found == 1 {
        return Ok(plan.data);
    }
    Err(to_datafusion(
        Error::internal("the rows that a statement changes cannot be found in its plan")
            .with("places", found),
    ))
}

/// Runs a change to its end, then gives the rows that it changed.
pub(crate) struct UdrReturningExec {
    change: Arc<dyn ExecutionPlan>,
    returned: Arc<Returned>,
    projection: Option<Vec<usize>>,
    properties: Arc<PlanProperties>,
}

impl UdrReturningExec {
    /// `change` keeps its rows in `returned`, of which the columns of `projection` are given.
    ///
    /// # Errors
    ///
    /// DataFusion's, if there are no such columns.
    pub(crate) fn try_new(
        change: Arc<dyn ExecutionPlan>,
        returned: Arc<Returned>,
        projection: Option<Vec<usize>>,
    ) -> DataFusionResult<Self> {
        let schema = project_schema(&returned.schema, projection.as_ref())?;
        Ok(Self {
            change,
            returned,
            projection,
            properties: properties(schema, 1),
        })
    }
}

impl fmt::Debug for UdrReturningExec {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("UdrReturningExec")
            .field("change", &self.change)
            .finish_non_exhaustive()
    }
}

impl DisplayAs for UdrReturningExec {
    fn fmt_as(&self, t: DisplayFormatType, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match t {
            DisplayFormatType::Default | DisplayFormatType::Verbose => {
                write!(f, "UdrReturningExec")
            }
            DisplayFormatType::TreeRender => Ok(()),
        }
    }
}

impl ExecutionPlan for UdrReturningExec {
    fn name(&self) -> &'static str {
        "UdrReturningExec"
    }

    fn properties(&self) -> &Arc<PlanProperties> {
        &self.properties
    }

    fn children(&self) -> Vec<&Arc<dyn ExecutionPlan>> {
        vec![&self.change]
    }

    fn input_distribution_requirements(&self) -> InputDistributionRequirements {
        InputDistributionRequirements::new(vec![Distribution::SinglePartition])
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
        let (Some(change), None) = (children.pop(), children.pop()) else {
            return Err(to_datafusion(Error::internal(
                "a change that returns rows has one input",
            )));
        };
        let (returned, projection) = (Arc::clone(&self.returned), self.projection.clone());
        Ok(Arc::new(Self::try_new(change, returned, projection)?))
    }

    fn execute(
        &self,
        partition: usize,
        context: Arc<TaskContext>,
    ) -> DataFusionResult<SendableRecordBatchStream> {
        if partition != 0 {
            return Err(to_datafusion(Error::internal(
                "returned rows have one partition",
            )));
        }
        let mut change = self.change.execute(0, context)?;
        let (returned, projection) = (Arc::clone(&self.returned), self.projection.clone());
        let rows = async move {
            while let Some(count) = change.next().await {
                count?;
            }
            // The memory is given back when the last row is.
            let Kept {
                batches,
                reservations,
            } = returned.take();
            let rows = batches.into_iter().map(move |batch| {
                let _held = &reservations;
                match &projection {
                    Some(columns) => Ok(batch.project(columns)?),
                    None => Ok(batch),
                }
            });
            Ok::<_, datafusion::error::DataFusionError>(futures::stream::iter(rows))
        };
        let stream = futures::stream::once(rows).try_flatten();
        Ok(Box::pin(RecordBatchStreamAdapter::new(
            self.schema(),
            stream,
        )))
    }
}
