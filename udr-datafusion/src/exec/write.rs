//! Writes rows into data files, one stream of files for each partition.
//!
//! The files are durable but nothing refers to them: each partition gives their entries as rows,
//! and the node above stages them all at once.

use std::fmt;
use std::sync::{Arc, LazyLock};

use arrow::array::{AsArray as _, BinaryArray};
use arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use arrow::record_batch::RecordBatch;
use datafusion::common::tree_node::TreeNodeRecursion;
use datafusion::error::Result as DataFusionResult;
use datafusion::execution::{SendableRecordBatchStream, TaskContext};
use datafusion::physical_expr::OrderingRequirements;
use datafusion::physical_plan::coalesce_partitions::CoalescePartitionsExec;
use datafusion::physical_plan::distribution_requirements::InputDistributionRequirements;
use datafusion::physical_plan::metrics::{
    BaselineMetrics, ExecutionPlanMetricsSet, MetricBuilder, MetricsSet,
};
use datafusion::physical_plan::stream::RecordBatchStreamAdapter;
use datafusion::physical_plan::{
    DisplayAs, DisplayFormatType, Distribution, ExecutionPlan, ExecutionPlanProperties as _,
    PhysicalExpr, PlanProperties,
};
use futures::StreamExt as _;
use udr_core::format::DataFile;
use udr_core::{Error, Result};

use super::layout::RowLayout;
use super::partition_writer::{FileSpec, PartitionWriter};
use super::properties;
use super::returned::Returned;
use crate::error::to_datafusion;

/// Runs `input` to its end and writes its rows, each partition into files of its own.
///
/// Nothing refers to the files yet.
///
/// # Errors
///
/// Those of `input` and of writing; files that are durable already stay behind then, unreferenced.
pub(crate) async fn write_files(
    input: Arc<dyn ExecutionPlan>,
    spec: FileSpec,
    context: Arc<TaskContext>,
) -> DataFusionResult<Vec<DataFile>> {
    let partitions = context.session_config().target_partitions();
    let input = RowLayout::new(spec.table.schema()).of(input, partitions)?;
    let written = Arc::new(UdrWriteExec::new(input, spec));
    let mut entries = CoalescePartitionsExec::new(written).execute(0, context)?;
    let mut files = Vec::new();
    while let Some(batch) = entries.next().await {
        files.extend(decode_entries(&batch?).map_err(to_datafusion)?);
    }
    Ok(files)
}

/// Writes each partition of its input into data files, and gives their entries as rows.
pub(crate) struct UdrWriteExec {
    input: Arc<dyn ExecutionPlan>,
    spec: FileSpec,
    layout: RowLayout,
    properties: Arc<PlanProperties>,
    metrics: ExecutionPlanMetricsSet,
}

impl UdrWriteExec {
    /// The same, keeping what it writes.
    pub(super) fn keeping(&self, returned: &Arc<Returned>) -> Self {
        Self::new(Arc::clone(&self.input), self.spec.keeping(returned))
    }

    pub(crate) fn new(input: Arc<dyn ExecutionPlan>, spec: FileSpec) -> Self {
        let partitions = input.output_partitioning().partition_count();
        Self {
            input,
            layout: RowLayout::new(spec.table.schema()),
            spec,
            properties: properties(entry_schema(), partitions),
            metrics: ExecutionPlanMetricsSet::new(),
        }
    }
}

/// The rows that [`UdrWriteExec`] gives: a data file's manifest entry each.
fn entry_schema() -> SchemaRef {
    static SCHEMA: LazyLock<SchemaRef> = LazyLock::new(|| {
        Arc::new(Schema::new(vec![Field::new(
            "data_file",
            DataType::Binary,
            false,
        )]))
    });
    Arc::clone(&SCHEMA)
}

fn encode_entries(files: &[DataFile]) -> Result<RecordBatch> {
    let broken = "a data file's entry cannot be passed on";
    let entries = files
        .iter()
        .map(serde_json::to_vec)
        .collect::<serde_json::Result<Vec<_>>>()
        .map_err(|error| Error::internal(broken).with_source(error))?;
    let entries = BinaryArray::from_iter_values(entries);
    RecordBatch::try_new(entry_schema(), vec![Arc::new(entries)])
        .map_err(|error| Error::internal(broken).with_source(error))
}

/// The data files whose entries a batch of [`UdrWriteExec`] has.
pub(super) fn decode_entries(batch: &RecordBatch) -> Result<Vec<DataFile>> {
    let broken = || Error::internal("a data file's entry was damaged on its way");
    let column = batch.columns().first().ok_or_else(broken)?;
    let entries = column.as_binary_opt::<i32>().ok_or_else(broken)?;
    entries
        .iter()
        .map(|entry| {
            serde_json::from_slice(entry.ok_or_else(broken)?).map_err(|e| broken().with_source(e))
        })
        .collect()
}

impl fmt::Debug for UdrWriteExec {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("UdrWriteExec")
            .field("input", &self.input)
            .finish_non_exhaustive()
    }
}

impl DisplayAs for UdrWriteExec {
    fn fmt_as(&self, t: DisplayFormatType, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match t {
            DisplayFormatType::Default | DisplayFormatType::Verbose => {
                write!(f, "UdrWriteExec: table={}", self.spec.table.path())?;
                let rules = self.spec.rules.names();
                if rules.is_empty() {
                    return Ok(());
                }
                write!(f, ", rules=[{}]", rules.join(", "))
            }
            DisplayFormatType::TreeRender => write!(f, "table={}", self.spec.table.path()),
        }
    }
}

impl ExecutionPlan for UdrWriteExec {
    fn name(&self) -> &'static str {
        "UdrWriteExec"
    }

    fn properties(&self) -> &Arc<PlanProperties> {
        &self.properties
    }

    fn children(&self) -> Vec<&Arc<dyn ExecutionPlan>> {
        vec![&self.input]
    }

    // Files have the order of the rows that come in, so an ORDER BY below is kept, and rows in
    // order are not dealt out to partitions.
    fn maintains_input_order(&self) -> Vec<bool> {
        vec![true]
    }

    fn input_distribution_requirements(&self) -> InputDistributionRequirements {
        let keys = self.layout.partition();
        InputDistributionRequirements::new(vec![match keys {
            [] => Distribution::UnspecifiedDistribution,
            keys => Distribution::KeyPartitioned(keys.to_vec()),
        }])
    }

    fn required_input_ordering(&self) -> Vec<Option<OrderingRequirements>> {
        let ordering = self.layout.ordering(self.input.as_ref());
        vec![ordering.map(OrderingRequirements::from)]
    }

    fn benefits_from_input_partitioning(&self) -> Vec<bool> {
        vec![self.input.output_ordering().is_none()]
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
            return Err(to_datafusion(Error::internal("a write has one input")));
        };
        Ok(Arc::new(Self::new(input, self.spec.clone())))
    }

    fn execute(
        &self,
        partition: usize,
        context: Arc<TaskContext>,
    ) -> DataFusionResult<SendableRecordBatchStream> {
        let input = self.input.execute(partition, Arc::clone(&context))?;
        let writing = Writing {
            writer: PartitionWriter::new(
                &self.spec,
                &format!("UdrWriteExec[{partition}]"),
                &context,
            ),
            baseline: BaselineMetrics::new(&self.metrics, partition),
            files: MetricBuilder::new(&self.metrics).counter("files_written", partition),
            bytes: MetricBuilder::new(&self.metrics).counter("bytes_written", partition),
        };
        let stream = futures::stream::once(writing.run(input));
        Ok(Box::pin(RecordBatchStreamAdapter::new(
            self.schema(),
            stream,
        )))
    }

    fn metrics(&self) -> Option<MetricsSet> {
        Some(self.metrics.clone_inner())
    }
}

/// One partition being written.
struct Writing {
    writer: PartitionWriter,
    baseline: BaselineMetrics,
    files: datafusion::physical_plan::metrics::Count,
    bytes: datafusion::physical_plan::metrics::Count,
}

impl Writing {
    async fn run(mut self, mut input: SendableRecordBatchStream) -> DataFusionResult<RecordBatch> {
        while let Some(batch) = input.next().await {
            let batch = batch?;
            self.writer.write(&batch).await?;
            self.baseline.record_output(batch.num_rows());
        }
        let done = Box::pin(self.writer.finish()).await?;
        self.files.add(done.len());
        for file in &done {
            self.bytes
                .add(usize::try_from(file.object.bytes).unwrap_or(usize::MAX));
        }
        encode_entries(&done).map_err(to_datafusion)
    }
}
