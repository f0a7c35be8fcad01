//! A Parquet scan of files some of whose rows are deleted.
//!
//! In: the scan, whose files carry their deletion vectors. Out: the same without the deleted rows,
//! whatever is pushed down into it. Called by `scan`.

use std::fmt;
use std::sync::Arc;

use arrow::buffer::BooleanBuffer;
use arrow::datatypes::{DataType, Field};
use arrow::record_batch::RecordBatch;
use datafusion::common::config::ConfigOptions;
use datafusion::common::tree_node::TreeNodeRecursion;
use datafusion::datasource::listing::PartitionedFile;
use datafusion::datasource::physical_plan::{FileGroup, FileScanConfig, FileSource};
use datafusion::datasource::table_schema::TableSchema;
use datafusion::error::{DataFusionError, Result as DataFusionResult};
use datafusion::functions::core::file_row_index;
use datafusion::functions::core::getfield::GetFieldFunc;
use datafusion::physical_expr::expressions::{Column, Literal};
use datafusion::physical_expr::projection::{ProjectionExpr, ProjectionExprs};
use datafusion::physical_expr::{
    EquivalenceProperties, LexOrdering, PhysicalExpr, PhysicalSortExpr, ScalarFunctionExpr,
};
use datafusion::physical_plan::filter_pushdown::{FilterPushdownPropagation, PushedDown};
use datafusion::physical_plan::metrics::ExecutionPlanMetricsSet;
use datafusion::physical_plan::{DisplayFormatType, SortOrderPushdownResult};
use datafusion_datasource::morsel::{Morsel, MorselPlan, MorselPlanner, Morselizer};
use futures::StreamExt as _;
use futures::stream::BoxStream;
use object_store::ObjectStore;
use udr_core::Error;
use udr_core::data::DeletionVector;
use udr_core::format::{DataFile, Schema};
use udr_core::id::FieldId;

use super::deletes::{Reading, without_deleted};
use super::order::are_even;
use crate::error::to_datafusion;

/// A column that no table has, for the place of each row in its file.
const PLACE: &str = "_udr_place";

/// Reads files as another source does, without the rows that are deleted.
#[derive(Clone)]
pub(super) struct LiveRows {
    inner: Arc<dyn FileSource>,
    /// How many rows are deleted.
    deleted: u64,
    /// The columns of the table that cannot be NULL.
    required: Arc<[FieldId]>,
    /// Whether the reader evaluates filters.
    filters: bool,
}

impl LiveRows {
    /// `deleted` rows are in the vectors that files have as an extension.
    pub(super) fn new(inner: Arc<dyn FileSource>, schema: &Schema, deleted: u64) -> Self {
        let required = schema.fields().iter().filter(|field| !field.nullable);
        Self {
            inner,
            deleted,
            required: required.map(|field| field.id).collect(),
            filters: false,
        }
    }

    fn over(&self, inner: Arc<dyn FileSource>) -> Arc<dyn FileSource> {
        Arc::new(Self {
            inner,
            ..self.clone()
        })
    }

    /// What the other source reads, and after it the place of each row in its file.
    fn with_places(&self) -> DataFusionResult<Arc<dyn FileSource>> {
        let columns = match self.inner.projection() {
            Some(projection) => projection
                .iter()
                .map(|shown| shown.alias.clone())
                .collect::<Vec<_>>(),
            None => return Err(unable()),
        };
        let columns = columns.into_iter().enumerate().map(|(at, name)| {
            let column = Column::new(&name, at);
            ProjectionExpr::new(Arc::new(column), name)
        });
        let place = ScalarFunctionExpr::new(
            file_row_index().name(),
            file_row_index(),
            Vec::new(),
            Arc::new(Field::new(PLACE, DataType::Int64, true)),
            Arc::new(ConfigOptions::default()),
        );
        let place = ProjectionExpr::new(Arc::new(place), PLACE);
        let projection = ProjectionExprs::new(columns.chain([place]));
        let with_places = self.inner.try_pushdown_projection(&projection)?;
        with_places.ok_or_else(unable)
    }
}

/// Whether an expression is a column, or a part of one.
fn takes_columns(expr: &Arc<dyn PhysicalExpr>) -> bool {
    if ScalarFunctionExpr::try_downcast_func::<GetFieldFunc>(expr.as_ref()).is_some() {
        let mut children = expr.children().into_iter();
        return children.next().is_some_and(takes_columns)
            && children.all(|child| child.is::<Literal>());
    }
    expr.is::<Column>()
}

/// The bytes of each group.
fn sizes(groups: &[FileGroup]) -> Vec<u64> {
    let bytes = |group: &FileGroup| group.iter().map(|file| file.object_meta.size).sum();
    groups.iter().map(bytes).collect()
}

fn unable() -> DataFusionError {
    to_datafusion(Error::internal("a scan cannot tell the places of rows"))
}

impl FileSource for LiveRows {
    fn create_file_opener(
        &self,
        object_store: Arc<dyn ObjectStore>,
        base_config: &FileScanConfig,
        partition: usize,
    ) -> DataFusionResult<Arc<dyn datafusion::datasource::physical_plan::FileOpener>> {
        // Says that there is none.
        self.inner
            .create_file_opener(object_store, base_config, partition)
    }

    fn create_morselizer(
        &self,
        object_store: Arc<dyn ObjectStore>,
        base_config: &FileScanConfig,
        partition: usize,
    ) -> DataFusionResult<Box<dyn Morselizer>> {
        // The reader must not count rows that are taken out afterwards.
        let mut unlimited = base_config.clone();
        unlimited.limit = None;
        let with_places = self.with_places()?;
        let store = Arc::clone(&object_store);
        Ok(Box::new(LiveRowsMorselizer {
            live: self
                .inner
                .create_morselizer(store, base_config, partition)?,
            all: with_places.create_morselizer(object_store, &unlimited, partition)?,
            required: Arc::clone(&self.required),
            filters: self.filters,
        }))
    }

    fn table_schema(&self) -> &TableSchema {
        self.inner.table_schema()
    }

    fn with_batch_size(&self, batch_size: usize) -> Arc<dyn FileSource> {
        self.over(self.inner.with_batch_size(batch_size))
    }

    fn filter(&self) -> Option<Arc<dyn PhysicalExpr>> {
        self.inner.filter()
    }

    fn projection(&self) -> Option<&ProjectionExprs> {
        self.inner.projection()
    }

    fn metrics(&self) -> &ExecutionPlanMetricsSet {
        self.inner.metrics()
    }

    fn file_type(&self) -> &str {
        self.inner.file_type()
    }

    fn fmt_extra(&self, kind: DisplayFormatType, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match kind {
            DisplayFormatType::Default | DisplayFormatType::Verbose => {
                write!(f, ", deleted_rows={}", self.deleted)?;
            }
            DisplayFormatType::TreeRender => writeln!(f, "deleted_rows={}", self.deleted)?,
        }
        self.inner.fmt_extra(kind, f)
    }

    fn supports_repartitioning(&self) -> bool {
        self.inner.supports_repartitioning()
    }

    fn repartitioned(
        &self,
        target_partitions: usize,
        repartition_file_min_size: usize,
        output_ordering: Option<LexOrdering>,
        config: &FileScanConfig,
    ) -> DataFusionResult<Option<FileScanConfig>> {
        // Small files beside large ones, as changes leave them: parts of equal bytes would cut the
        // large ones anew, and a row group goes as a whole to the part that it begins in.
        if are_even(&sizes(&config.file_groups), target_partitions) {
            return Ok(None);
        }
        let (target, least) = (target_partitions, repartition_file_min_size);
        self.inner
            .repartitioned(target, least, output_ordering, config)
    }

    fn try_pushdown_filters(
        &self,
        filters: Vec<Arc<dyn PhysicalExpr>>,
        config: &ConfigOptions,
    ) -> DataFusionResult<FilterPushdownPropagation<Arc<dyn FileSource>>> {
        let pushed = self.inner.try_pushdown_filters(filters, config)?;
        let evaluated = |filter| matches!(filter, &PushedDown::Yes);
        let filters = self.filters || pushed.filters.iter().any(evaluated);
        let over = |inner| -> Arc<dyn FileSource> {
            Arc::new(Self {
                inner,
                filters,
                ..self.clone()
            })
        };
        Ok(FilterPushdownPropagation {
            filters: pushed.filters,
            updated_node: pushed.updated_node.map(over),
        })
    }

    fn try_pushdown_sort(
        &self,
        order: &[PhysicalSortExpr],
        eq_properties: &EquivalenceProperties,
    ) -> DataFusionResult<SortOrderPushdownResult<Arc<dyn FileSource>>> {
        let pushed = self.inner.try_pushdown_sort(order, eq_properties)?;
        Ok(pushed.map(|inner| self.over(inner)))
    }

    fn reorder_files(&self, files: Vec<PartitionedFile>) -> Vec<PartitionedFile> {
        self.inner.reorder_files(files)
    }

    fn try_pushdown_projection(
        &self,
        projection: &ProjectionExprs,
    ) -> DataFusionResult<Option<Arc<dyn FileSource>>> {
        // Others could fail with the values of deleted rows: they wait for those that are not.
        if !projection.iter().all(|shown| takes_columns(&shown.expr)) {
            return Ok(None);
        }
        let pushed = self.inner.try_pushdown_projection(projection)?;
        Ok(pushed.map(|inner| self.over(inner)))
    }

    fn apply_expressions(
        &self,
        f: &mut dyn FnMut(&Arc<dyn PhysicalExpr>) -> DataFusionResult<TreeNodeRecursion>,
    ) -> DataFusionResult<TreeNodeRecursion> {
        self.inner.apply_expressions(f)
    }
}

/// Opens each file in the way that suits what is deleted of it.
#[derive(Debug)]
struct LiveRowsMorselizer {
    /// Gives the rows that the reader does not leave out.
    live: Box<dyn Morselizer>,
    /// Gives them with their places.
    all: Box<dyn Morselizer>,
    /// As in [`LiveRows`].
    required: Arc<[FieldId]>,
    /// As in [`LiveRows`].
    filters: bool,
}

impl LiveRowsMorselizer {
    /// Whether the rows of a file that are deleted can be read. Filters can fail with their values,
    /// and the reader refuses NULLs in a column that was made NOT NULL when they were gone.
    fn is_readable(&self, file: &DataFile) -> bool {
        !self.filters
            && self.required.iter().all(|id| {
                let stats = file.columns.get(id);
                stats.is_some_and(|stats| stats.null_count == Some(0))
            })
    }
}

impl Morselizer for LiveRowsMorselizer {
    fn plan_file(&self, mut file: PartitionedFile) -> DataFusionResult<Box<dyn MorselPlanner>> {
        let Some(deleted) = file.extension::<Arc<DeletionVector>>() else {
            return self.live.plan_file(file);
        };
        let entry = file.extension::<Arc<DataFile>>().ok_or_else(unable)?;
        let reading = Reading::new(deleted, entry.rows, self.is_readable(entry));
        let reading = reading.map_err(to_datafusion)?;
        if let Some(selection) = reading.selection {
            file = file.with_extension(selection);
        }
        match reading.live {
            None => self.live.plan_file(file),
            Some(live) => Ok(Box::new(LivePlanner {
                inner: self.all.plan_file(file)?,
                live,
            })),
        }
    }
}

/// Plans what another planner does, without the rows that are deleted.
#[derive(Debug)]
struct LivePlanner {
    inner: Box<dyn MorselPlanner>,
    live: BooleanBuffer,
}

impl MorselPlanner for LivePlanner {
    fn plan(self: Box<Self>) -> DataFusionResult<Option<MorselPlan>> {
        let Self { inner, live } = *self;
        let Some(mut plan) = inner.plan()? else {
            return Ok(None);
        };
        let wrapped = |inner, live: &BooleanBuffer| -> Box<dyn MorselPlanner> {
            let live = live.clone();
            Box::new(Self { inner, live })
        };
        let morsels = plan.take_morsels().into_iter();
        let morsels = morsels.map(|inner| -> Box<dyn Morsel> {
            let live = live.clone();
            Box::new(LiveMorsel { inner, live })
        });
        let planners = plan.take_ready_planners().into_iter();
        let planners = planners.map(|inner| wrapped(inner, &live));
        let mut live_plan = MorselPlan::new()
            .with_morsels(morsels.collect())
            .with_planners(planners.collect());
        if let Some(pending) = plan.take_pending_planner() {
            let live = live.clone();
            live_plan.set_pending_planner(async move { Ok(wrapped(pending.await?, &live)) });
        }
        Ok(Some(live_plan))
    }
}

/// The batches of another morsel, without the rows that are deleted.
#[derive(Debug)]
struct LiveMorsel {
    inner: Box<dyn Morsel>,
    live: BooleanBuffer,
}

impl Morsel for LiveMorsel {
    fn into_stream(self: Box<Self>) -> BoxStream<'static, DataFusionResult<RecordBatch>> {
        let Self { inner, live } = *self;
        let batches = inner
            .into_stream()
            .map(move |batch| Ok(without_deleted(batch?, &live)?));
        let some = |batch: &DataFusionResult<RecordBatch>| {
            let empty = batch.as_ref().is_ok_and(|batch| batch.num_rows() == 0);
            std::future::ready(!empty)
        };
        batches.filter(some).boxed()
    }
}
