//! Stages a change of rows: in the session's transaction, or in one that commits at once.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use arrow::array::UInt64Array;
use arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use arrow::record_batch::RecordBatch;
use datafusion::common::tree_node::TreeNodeRecursion;
use datafusion::error::Result as DataFusionResult;
use datafusion::execution::{SendableRecordBatchStream, TaskContext};
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
use udr_core::data::DeletionVector;
use udr_core::format::DataFile;
use udr_core::id::FileId;
use udr_core::snapshot::TableSnapshot;
use udr_core::txn::{RowChanges, RowOperation};
use udr_core::{Error, Result};

use super::command::ran_already;
use super::mutate::{MutateSpec, UdrMutateExec};
use super::mutation::Mutation;
use super::partition_writer::FileSpec;
use super::row_key::hit_twice;
use super::{check_ends, properties};
use crate::error::to_datafusion;
use crate::session::{StatementPin, UdrSession, WriteTarget};

/// What a statement does to rows.
#[derive(Debug, Clone)]
pub(crate) struct RowChange {
    pub(crate) operation: RowOperation,
    /// Columns that tell rows apart for who reads an error; all if it is empty.
    pub(crate) key: Arc<[String]>,
}

/// The table whose rows a statement changes, and where the change goes.
pub(crate) struct RowTarget {
    pub(crate) session: Arc<UdrSession>,
    pub(crate) pin: Arc<StatementPin>,
    pub(crate) table: TableSnapshot,
    pub(crate) target: WriteTarget,
}

/// Stages the change that its input found and wrote, and gives the number of rows.
///
/// It runs once: the transaction is taken by the first execution.
pub(crate) struct UdrChangeExec {
    input: Arc<dyn ExecutionPlan>,
    stage: Arc<Stage>,
    properties: Arc<PlanProperties>,
}

struct Stage {
    spec: MutateSpec,
    target: Mutex<Option<WriteTarget>>,
    started: AtomicBool,
}

/// The schema of what a statement with an effect gives.
pub(super) fn count_schema() -> SchemaRef {
    let count = Field::new("count", DataType::UInt64, false);
    Arc::new(Schema::new(vec![count]))
}

/// The verb of a change.
fn verb(operation: RowOperation) -> &'static str {
    match operation {
        RowOperation::Delete => "DELETE FROM",
        RowOperation::Update => "UPDATE",
        RowOperation::Merge => "MERGE INTO",
    }
}

impl UdrChangeExec {
    /// A plan that changes the rows that `input` names.
    ///
    /// # Errors
    ///
    /// `Unsupported` if a rule of the table cannot be understood here.
    pub(crate) fn plan(
        input: Arc<dyn ExecutionPlan>,
        target: RowTarget,
        change: RowChange,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        check_ends(input.as_ref())?;
        let epoch = target.target.epoch();
        let files = FileSpec::carrying(target.session, target.table, epoch)?;
        let spec = MutateSpec {
            change,
            files,
            pin: target.pin,
            rest: Arc::new(Mutex::new(Vec::new())),
        };
        let stage = Stage {
            spec: spec.clone(),
            target: Mutex::new(Some(target.target)),
            started: AtomicBool::new(false),
        };
        let mut mutated: Arc<dyn ExecutionPlan> = Arc::new(UdrMutateExec::new(input, spec));
        if mutated.output_partitioning().partition_count() > 1 {
            mutated = Arc::new(CoalescePartitionsExec::new(mutated));
        }
        Ok(Arc::new(Self::new(mutated, Arc::new(stage))))
    }

    fn new(input: Arc<dyn ExecutionPlan>, stage: Arc<Stage>) -> Self {
        Self {
            input,
            stage,
            properties: properties(count_schema(), 1),
        }
    }
}

impl fmt::Debug for UdrChangeExec {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("UdrChangeExec")
            .field("input", &self.input)
            .finish_non_exhaustive()
    }
}

impl DisplayAs for UdrChangeExec {
    fn fmt_as(&self, t: DisplayFormatType, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let verb = verb(self.stage.spec.change.operation);
        let path = self.stage.spec.files.table.path();
        match t {
            DisplayFormatType::Default | DisplayFormatType::Verbose => {
                write!(f, "UdrChangeExec: {verb} {path}")
            }
            DisplayFormatType::TreeRender => write!(f, "{verb} {path}"),
        }
    }
}

impl ExecutionPlan for UdrChangeExec {
    fn name(&self) -> &'static str {
        "UdrChangeExec"
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
            return Err(to_datafusion(Error::internal("a change has one partition")));
        }
        if self.stage.started.swap(true, Ordering::AcqRel) {
            return Err(to_datafusion(ran_already()));
        }
        let input = self.input.execute(0, context)?;
        let (stage, schema) = (Arc::clone(&self.stage), self.schema());
        let count = async move {
            let count = Box::pin(stage.run(input)).await?;
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
    /// Waits until everything is found and written, then changes the table.
    async fn run(&self, mut input: SendableRecordBatchStream) -> DataFusionResult<u64> {
        let operation = self.spec.change.operation;
        let mut found = Mutation::default();
        while let Some(batch) = input.next().await {
            let twice = found.add(&batch?).map_err(to_datafusion)?;
            if let Some((number, position)) = twice.filter(|_| operation != RowOperation::Delete) {
                let error = hit_twice(&self.spec, number, position).await;
                return Err(to_datafusion(error));
            }
        }
        found.files.extend(Box::pin(self.write_rest()).await?);
        let target = self.target.lock().take();
        let target = target.ok_or_else(|| to_datafusion(ran_already()))?;
        let hits = found.hits.values().map(DeletionVector::len).sum::<u64>();
        let count = hits + found.inserted;
        if count == 0 {
            return Ok(0);
        }
        let changes = RowChanges {
            operation,
            deleted: self.deleted(found.hits).map_err(to_datafusion)?,
            added: found.files,
        };
        let path = self.spec.files.table.path().clone();
        let message = format!("{} {path}", verb(operation));
        self.spec
            .files
            .session
            .write_to(target, message, async move |transaction| {
                transaction.change_rows(&path, changes).await
            })
            .await
            .map_err(to_datafusion)?;
        Ok(count)
    }

    /// Writes what the partitions left, together.
    async fn write_rest(&self) -> DataFusionResult<Vec<DataFile>> {
        let mut rest = std::mem::take(&mut *self.spec.rest.lock()).into_iter();
        let Some(first) = rest.next() else {
            return Ok(Vec::new());
        };
        let mut writer = first.writer;
        for batch in &first.batches {
            writer.write(batch).await?;
        }
        for batch in rest.flat_map(|rest| rest.batches) {
            writer.write(&batch).await?;
        }
        Box::pin(writer.finish()).await
    }

    /// The entries of the files with hits.
    fn deleted(
        &self,
        hits: BTreeMap<u32, DeletionVector>,
    ) -> Result<Vec<(Arc<DataFile>, DeletionVector)>> {
        let mut deleted: BTreeMap<FileId, (Arc<DataFile>, DeletionVector)> = BTreeMap::new();
        for (number, vector) in hits.into_iter().filter(|(_, vector)| !vector.is_empty()) {
            let file = self.spec.pin.scanned(number)?;
            let entry = deleted
                .entry(file.id)
                .or_insert_with(|| (file, DeletionVector::default()));
            entry.1.union_with(&vector);
        }
        Ok(deleted.into_values().collect())
    }
}
