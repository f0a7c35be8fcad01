//! Reads a change feed.

use std::fmt;
use std::sync::Arc;

use datafusion::common::tree_node::TreeNodeRecursion;
use datafusion::error::Result as DataFusionResult;
use datafusion::execution::{SendableRecordBatchStream, TaskContext};
use datafusion::physical_expr::expressions::Column;
use datafusion::physical_expr::{EquivalenceProperties, PhysicalSortExpr};
use datafusion::physical_plan::coop::cooperative;
use datafusion::physical_plan::execution_plan::{Boundedness, EmissionType, SchedulingType};
use datafusion::physical_plan::metrics::{
    BaselineMetrics, ExecutionPlanMetricsSet, MetricBuilder, MetricsSet, RecordOutput as _,
};
use datafusion::physical_plan::stream::RecordBatchStreamAdapter;
use datafusion::physical_plan::{
    DisplayAs, DisplayFormatType, ExecutionPlan, Partitioning, PhysicalExpr, PlanProperties,
};
use futures::StreamExt as _;

use crate::changes::FeedScan;
use crate::error::to_datafusion;

/// Gives the rows of a feed in one partition, in the order of commits.
#[derive(Debug)]
pub(crate) struct ChangesExec {
    scan: Arc<FeedScan>,
    properties: Arc<PlanProperties>,
    metrics: ExecutionPlanMetricsSet,
}

impl ChangesExec {
    pub(crate) fn new(scan: FeedScan) -> Self {
        let schema = scan.schema();
        let ascending = scan.ascending().filter_map(|at| {
            let column = Column::new(schema.fields().get(at)?.name(), at);
            Some(vec![PhysicalSortExpr::new_default(Arc::new(column))])
        });
        let properties = PlanProperties::new(
            EquivalenceProperties::new_with_orderings(Arc::clone(&schema), ascending),
            Partitioning::UnknownPartitioning(1),
            EmissionType::Incremental,
            match scan.is_unbounded() {
                true => Boundedness::Unbounded {
                    requires_infinite_memory: false,
                },
                false => Boundedness::Bounded,
            },
        );
        let metrics = ExecutionPlanMetricsSet::new();
        let counts = [
            ("commits_read", scan.commits()),
            ("commits_pruned", scan.commits_pruned),
        ];
        for (name, count) in counts {
            MetricBuilder::new(&metrics).global_counter(name).add(count);
        }
        Self {
            scan: Arc::new(scan),
            properties: Arc::new(properties.with_scheduling_type(SchedulingType::Cooperative)),
            metrics,
        }
    }
}

impl DisplayAs for ChangesExec {
    fn fmt_as(&self, kind: DisplayFormatType, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let commits = self.scan.commits();
        match kind {
            DisplayFormatType::Default | DisplayFormatType::Verbose => {
                write!(f, "ChangesExec: commits={commits}")
            }
            DisplayFormatType::TreeRender => write!(f, "commits={commits}"),
        }
    }
}

impl ExecutionPlan for ChangesExec {
    fn name(&self) -> &'static str {
        "ChangesExec"
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

    fn metrics(&self) -> Option<MetricsSet> {
        Some(self.metrics.clone_inner())
    }

    fn execute(
        &self,
        partition: usize,
        _context: Arc<TaskContext>,
    ) -> DataFusionResult<SendableRecordBatchStream> {
        let metrics = BaselineMetrics::new(&self.metrics, partition);
        let batches = self.scan.read().map(move |batch| {
            let batch = batch.map_err(to_datafusion)?;
            Ok(batch.record_output(&metrics))
        });
        let batches = RecordBatchStreamAdapter::new(self.scan.schema(), batches);
        Ok(Box::pin(cooperative(batches)))
    }
}
