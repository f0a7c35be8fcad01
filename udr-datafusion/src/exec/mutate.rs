//! Takes the rows of a change apart: where rows are that go, and values that are written.

use std::fmt;
use std::sync::Arc;

use arrow::array::{
    Array as _, ArrayRef, AsArray as _, BooleanArray, FixedSizeBinaryArray, FixedSizeBinaryBuilder,
    Int64Array, UInt8Array, UInt32Array, new_null_array,
};
use arrow::compute::filter_record_batch;
use arrow::datatypes::{DataType, Field, Int64Type, Schema, SchemaRef, UInt8Type, UInt32Type};
use arrow::record_batch::RecordBatch;
use datafusion::common::tree_node::TreeNodeRecursion;
use datafusion::error::Result as DataFusionResult;
use datafusion::execution::{SendableRecordBatchStream, TaskContext};
use datafusion::physical_plan::metrics::{BaselineMetrics, ExecutionPlanMetricsSet, MetricsSet};
use datafusion::physical_plan::stream::RecordBatchStreamAdapter;
use datafusion::physical_plan::{
    DisplayAs, DisplayFormatType, ExecutionPlan, ExecutionPlanProperties as _, PhysicalExpr,
    PlanProperties,
};
use futures::StreamExt as _;
use parking_lot::Mutex;
use udr_core::data::identity_fields;
use udr_core::txn::RowOperation;
use udr_core::{Error, Result};

use super::change::RowChange;
use super::mutation::{Action, Mutation, mutation_schema};
use super::partition_writer::{FileSpec, PartitionWriter};
use super::properties;
use super::returned::Returned;
use super::row_key::hit_twice;
use crate::error::to_datafusion;
use crate::session::StatementPin;

/// A partition that has no more than this to write leaves it to the node that stages the change, so
/// that small changes make one file, however many partitions there are.
const SMALL_BYTES: usize = 1 << 20;

/// What the partitions of a change share.
#[derive(Clone)]
pub(super) struct MutateSpec {
    pub(super) change: RowChange,
    pub(super) files: FileSpec,
    pub(super) pin: Arc<StatementPin>,
    /// What partitions left to be written.
    pub(super) rest: Arc<Mutex<Vec<Rest>>>,
}

/// Rows that a partition found but did not write, and what would have written them.
pub(super) struct Rest {
    pub(super) writer: PartitionWriter,
    pub(super) batches: Vec<RecordBatch>,
}

/// Finds which rows each partition of its input changes, and writes the values they get.
pub(super) struct UdrMutateExec {
    input: Arc<dyn ExecutionPlan>,
    spec: MutateSpec,
    properties: Arc<PlanProperties>,
    metrics: ExecutionPlanMetricsSet,
}

impl UdrMutateExec {
    /// The same, keeping what it writes or deletes.
    pub(super) fn keeping(&self, returned: &Arc<Returned>) -> Self {
        let spec = MutateSpec {
            files: self.spec.files.keeping(returned),
            ..self.spec.clone()
        };
        Self::new(Arc::clone(&self.input), spec)
    }

    pub(super) fn new(input: Arc<dyn ExecutionPlan>, spec: MutateSpec) -> Self {
        let partitions = input.output_partitioning().partition_count();
        Self {
            input,
            spec,
            properties: properties(mutation_schema(), partitions),
            metrics: ExecutionPlanMetricsSet::new(),
        }
    }
}

impl fmt::Debug for UdrMutateExec {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("UdrMutateExec")
            .field("input", &self.input)
            .finish_non_exhaustive()
    }
}

impl DisplayAs for UdrMutateExec {
    fn fmt_as(&self, t: DisplayFormatType, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let table = self.spec.files.table.path();
        match t {
            DisplayFormatType::Default | DisplayFormatType::Verbose => {
                write!(f, "UdrMutateExec: table={table}")
            }
            DisplayFormatType::TreeRender => write!(f, "table={table}"),
        }
    }
}

impl ExecutionPlan for UdrMutateExec {
    fn name(&self) -> &'static str {
        "UdrMutateExec"
    }

    fn properties(&self) -> &Arc<PlanProperties> {
        &self.properties
    }

    fn children(&self) -> Vec<&Arc<dyn ExecutionPlan>> {
        vec![&self.input]
    }

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
            return Err(to_datafusion(Error::internal("a change has one input")));
        };
        Ok(Arc::new(Self::new(input, self.spec.clone())))
    }

    fn execute(
        &self,
        partition: usize,
        context: Arc<TaskContext>,
    ) -> DataFusionResult<SendableRecordBatchStream> {
        let input = self.input.execute(partition, Arc::clone(&context))?;
        let consumer = format!("UdrMutateExec[{partition}]");
        let mutating = Mutating {
            writer: PartitionWriter::new(&self.spec.files, &consumer, &context),
            spec: self.spec.clone(),
            baseline: BaselineMetrics::new(&self.metrics, partition),
            found: Mutation::default(),
            small: Some(Vec::new()),
            small_bytes: 0,
            written: written_schema(&self.spec.files.table.arrow_schema()),
            context: Arc::clone(&context),
        };
        let stream = futures::stream::once(mutating.run(input));
        Ok(Box::pin(RecordBatchStreamAdapter::new(
            self.schema(),
            stream,
        )))
    }

    fn metrics(&self) -> Option<MetricsSet> {
        Some(self.metrics.clone_inner())
    }
}

/// The table's columns and what identifies the rows.
fn written_schema(table: &SchemaRef) -> SchemaRef {
    let columns = table.fields().iter();
    let columns = columns.map(|field| field.as_ref().clone().with_nullable(true));
    let fields = columns.chain(identity_fields());
    Arc::new(Schema::new(fields.collect::<Vec<Field>>()))
}

/// One partition being taken apart.
struct Mutating {
    spec: MutateSpec,
    writer: PartitionWriter,
    baseline: BaselineMetrics,
    found: Mutation,
    /// What is to be written, as long as it is little.
    small: Option<Vec<RecordBatch>>,
    small_bytes: usize,
    written: SchemaRef,
    context: Arc<TaskContext>,
}

impl Mutating {
    async fn run(mut self, mut input: SendableRecordBatchStream) -> DataFusionResult<RecordBatch> {
        while let Some(batch) = input.next().await {
            let batch = batch?;
            self.baseline.record_output(batch.num_rows());
            let rows = Rows::new(self.spec.change.operation, &batch).map_err(to_datafusion)?;
            if let Some((number, position)) = self.hit(&rows).map_err(to_datafusion)? {
                let error = hit_twice(&self.spec, number, position).await;
                return Err(to_datafusion(error));
            }
            if self.spec.change.operation == RowOperation::Delete
                && let Some(returned) = &self.spec.files.returned
            {
                returned.keep(&batch, rows.values, &self.context)?;
            }
            if let Some(batch) = self.values(&rows, &batch).map_err(to_datafusion)? {
                self.write(batch).await?;
            }
        }
        match self.small.take() {
            Some(batches) if batches.is_empty() => {}
            Some(batches) => self.spec.rest.lock().push(Rest {
                writer: self.writer,
                batches,
            }),
            None => self.found.files = Box::pin(self.writer.finish()).await?,
        }
        let pin = &self.spec.pin;
        let rows_of = |number| pin.scanned(number).map(|file| file.rows);
        self.found.encode(rows_of).map_err(to_datafusion)
    }

    async fn write(&mut self, batch: RecordBatch) -> DataFusionResult<()> {
        let Some(small) = &mut self.small else {
            return self.writer.write(&batch).await;
        };
        self.small_bytes += batch.get_array_memory_size();
        small.push(batch);
        if self.small_bytes > SMALL_BYTES {
            for batch in self.small.take().unwrap_or_default() {
                self.writer.write(&batch).await?;
            }
        }
        Ok(())
    }

    /// Notes which rows go; returns one that went before, if that matters.
    fn hit(&mut self, rows: &Rows<'_>) -> Result<Option<(u32, u64)>> {
        let mut twice = None;
        let mut at = 0;
        while at < rows.file.len() {
            if rows.file.is_null(at) {
                self.found.inserted += 1;
                at += 1;
                continue;
            }
            // Rows come in runs of one file.
            let number = rows.file.value(at);
            let vector = self.found.hits.entry(number).or_default();
            while at < rows.file.len() && rows.file.is_valid(at) && rows.file.value(at) == number {
                let position =
                    u64::try_from(rows.row.value(at)).map_err(|e| broken().with_source(e))?;
                if !vector.insert(position) {
                    twice = Some((number, position));
                }
                at += 1;
            }
        }
        Ok(twice.filter(|_| self.spec.change.operation != RowOperation::Delete))
    }

    /// The rows that are written, with what identifies them.
    fn values(&self, rows: &Rows<'_>, batch: &RecordBatch) -> Result<Option<RecordBatch>> {
        let Some(carried) = &rows.carried else {
            return Ok(None);
        };
        let mut columns = batch
            .columns()
            .get(rows.values..)
            .unwrap_or_default()
            .to_vec();
        columns.extend(self.identity(rows, carried)?);
        let written = RecordBatch::try_new(Arc::clone(&self.written), columns)
            .map_err(|e| broken().with_source(e))?;
        let Some(keep) = rows.kept() else {
            return Ok(Some(written));
        };
        let kept = filter_record_batch(&written, &keep).map_err(|e| broken().with_source(e))?;
        Ok((kept.num_rows() > 0).then_some(kept))
    }

    /// What identifies each row: what it carries, else where it is; nothing if it is new. That the
    /// version is absent says that the row's values are those of this change.
    fn identity(&self, rows: &Rows<'_>, carried: &Carried<'_>) -> Result<[ArrayRef; 3]> {
        let count = rows.file.len();
        let mut files = FixedSizeBinaryBuilder::with_capacity(count, 16);
        let mut positions = Int64Array::builder(count);
        let mut last: Option<(u32, [u8; 16])> = None;
        for at in 0..count {
            if rows.file.is_null(at) {
                files.append_null();
                positions.append_null();
                continue;
            }
            if carried.file.is_valid(at) {
                let file = carried.file.value(at);
                files
                    .append_value(file)
                    .map_err(|e| broken().with_source(e))?;
                positions.append_value(carried.position.value(at));
                continue;
            }
            let number = rows.file.value(at);
            let id = match last {
                Some((known, id)) if known == number => id,
                _ => *self.spec.pin.scanned(number)?.id.as_bytes(),
            };
            last = Some((number, id));
            files
                .append_value(id)
                .map_err(|e| broken().with_source(e))?;
            positions.append_value(rows.row.value(at));
        }
        Ok([
            Arc::new(files.finish()),
            Arc::new(positions.finish()),
            new_null_array(&DataType::Int64, count),
        ])
    }
}

/// A batch of a change, taken apart.
struct Rows<'a> {
    file: &'a UInt32Array,
    row: &'a Int64Array,
    carried: Option<Carried<'a>>,
    action: Option<&'a UInt8Array>,
    /// Where the values begin.
    values: usize,
}

/// What rows carry of what they were.
struct Carried<'a> {
    file: &'a FixedSizeBinaryArray,
    position: &'a Int64Array,
}

fn broken() -> Error {
    Error::internal("a change of rows came with other columns")
}

impl<'a> Rows<'a> {
    fn new(operation: RowOperation, batch: &'a RecordBatch) -> Result<Self> {
        let column = |at: usize| batch.columns().get(at).ok_or_else(broken);
        let mut rows = Self {
            file: column(0)?
                .as_primitive_opt::<UInt32Type>()
                .ok_or_else(broken)?,
            row: column(1)?
                .as_primitive_opt::<Int64Type>()
                .ok_or_else(broken)?,
            carried: None,
            action: None,
            values: 2,
        };
        if operation == RowOperation::Delete {
            return Ok(rows);
        }
        rows.carried = Some(Carried {
            file: column(2)?.as_fixed_size_binary_opt().ok_or_else(broken)?,
            position: column(3)?
                .as_primitive_opt::<Int64Type>()
                .ok_or_else(broken)?,
        });
        rows.values = 4;
        if operation == RowOperation::Merge {
            rows.action = Some(
                column(4)?
                    .as_primitive_opt::<UInt8Type>()
                    .ok_or_else(broken)?,
            );
            rows.values = 5;
        }
        rows.check()?;
        Ok(rows)
    }

    /// Checks that what is new is nowhere yet, and everything else somewhere.
    fn check(&self) -> Result<()> {
        let Some(actions) = self.action else {
            return if self.file.null_count() == 0 {
                Ok(())
            } else {
                Err(broken())
            };
        };
        for (at, number) in actions.values().iter().enumerate() {
            let action = Action::from_number(*number).ok_or_else(broken)?;
            if actions.is_null(at) || self.file.is_null(at) != (action == Action::Insert) {
                return Err(broken());
            }
        }
        Ok(())
    }

    /// Which rows are written; `None` if all are.
    fn kept(&self) -> Option<BooleanArray> {
        let actions = self.action?;
        let goes = Action::Delete as u8;
        if actions.values().iter().all(|number| *number != goes) {
            return None;
        }
        let keep = actions.values().iter().map(|number| Some(*number != goes));
        Some(keep.collect())
    }
}
