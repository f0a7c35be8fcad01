//! A scan of the data files that can match.

use std::sync::Arc;

use datafusion::catalog::Session;
use datafusion::common::config::TableParquetOptions;
use datafusion::common::stats::Precision;
use datafusion::common::{ColumnStatistics, Statistics, project_schema};
use datafusion::datasource::listing::PartitionedFile;
use datafusion::datasource::physical_plan::{
    FileGroup, FileScanConfigBuilder, FileSource, ParquetSource,
};
use datafusion::datasource::source::DataSourceExec;
use datafusion::datasource::table_schema::TableSchema;
use datafusion::error::Result as DataFusionResult;
use datafusion::physical_expr::Partitioning;
use datafusion::physical_plan::ExecutionPlan;
use datafusion::physical_plan::empty::EmptyExec;
use datafusion::physical_plan::metrics::{ExecutionPlanMetricsSet, MetricBuilder};
use futures::{StreamExt as _, TryStreamExt as _};
use udr_core::Result;
use udr_core::data::DeletionVector;
use udr_core::format::Schema;
use udr_core::snapshot::{FileTask, Prune, TableSnapshot};

use super::evolution::ByFieldId;
use super::file_rows::Files;
use super::live_rows::LiveRows;
use super::order::ordered_files;
use super::predicate::TablePredicate;
use super::reader::DataFileReaderFactory;
use super::row_columns::RowColumns;
use super::statistics::{FILES_MAX, add_sums, of_files, statistics};
use crate::error::to_datafusion;
use crate::session::{StatementPin, UdrSession};

/// How many deletion vectors are fetched at once.
const VECTORS: usize = 16;

/// What is read of a table.
pub(super) struct Scan<'a> {
    pub(super) session: &'a UdrSession,
    pub(super) pin: &'a StatementPin,
    pub(super) table: &'a TableSnapshot,
    /// What is read besides the table's columns.
    pub(super) rows: RowColumns,
    /// By position in the table's columns and what follows them.
    pub(super) projection: Option<&'a Vec<usize>>,
    /// How many rows are enough, if any will do.
    pub(super) limit: Option<usize>,
    /// Which of its files are read.
    pub(super) files: &'a Files,
    /// Whether nothing is between the scan and an aggregate over all of its rows.
    pub(super) aggregated: bool,
}

impl Scan<'_> {
    /// A plan that reads the files that `predicate` keeps.
    pub(super) async fn plan(
        &self,
        state: &dyn Session,
        predicate: Option<&TablePredicate>,
    ) -> DataFusionResult<Arc<dyn ExecutionPlan>> {
        let schema = self.rows.schema(&self.table.arrow_schema());
        let plan = self.table.plan(predicate.map(|p| p as &dyn Prune)).await;
        let mut plan = plan.map_err(to_datafusion)?;
        let pruned = Pruned {
            manifests_read: plan.manifests_read,
            manifests: plan.manifests_pruned,
            files: plan.files_total.saturating_sub(plan.files.len() as u64),
            by_buckets: predicate.map_or(0, TablePredicate::pruned_by_buckets),
        };
        plan.files.retain(|task| self.files.keeps(&task.file));
        let whole = plan.files.len() as u64 == plan.files_total;
        let files = enough(plan.files, self.limit);
        if files.is_empty() {
            let schema = project_schema(schema.table_schema(), self.projection)?;
            return Ok(Arc::new(EmptyExec::new(schema)));
        }
        let statistics = self.statistics(&schema, &files, whole);
        let statistics = statistics.map_err(to_datafusion)?;
        let partitions = state.config().target_partitions().max(1);
        let deleted = files.iter().map(FileTask::deleted_rows).sum::<u64>();
        let split_from = state.config_options().optimizer.repartition_file_min_size;
        // A limit may leave out row groups where filters are inside the scan, whatever their order.
        let ordered = !state.config_options().execution.parquet.pushdown_filters
            // Changes of rows have no use for an order.
            && self.rows == RowColumns::None
            && files.len() <= FILES_MAX;
        let ordered = Some(&files).filter(|_| ordered);
        let ordered = ordered
            .and_then(|files| ordered_files(self.table.schema(), files, partitions, split_from));
        let (dealt, ordering) = match ordered {
            Some(files) => (files.partitions, Some(files.ordering)),
            None => (even(files, partitions), None),
        };
        let groups = self.groups(&schema, &dealt).await;
        let groups = groups.map_err(to_datafusion)?;
        // Once partitions are declared, files stay in theirs: the engine forgets that the order is to
        // be kept where it pushes a limit down.
        let partitioning = ordering
            .is_some()
            .then(|| Partitioning::UnknownPartitioning(groups.len()));
        let mut options = TableParquetOptions {
            global: state.config_options().execution.parquet.clone(),
            ..TableParquetOptions::default()
        };
        // A change reads all columns of a few rows, which a filter inside the scan finds first.
        options.global.pushdown_filters |= self.rows == RowColumns::Place;
        let source = ParquetSource::new(schema)
            .with_table_parquet_options(options)
            .with_parquet_file_reader_factory(Arc::new(DataFileReaderFactory::new(
                self.table,
                self.session,
            )));
        let mut source = Arc::new(source) as Arc<dyn FileSource>;
        pruned.record(source.metrics());
        if deleted > 0 {
            source = Arc::new(LiveRows::new(source, self.table.schema(), deleted));
        }
        let config = FileScanConfigBuilder::new(self.session.store_url().clone(), source)
            .with_file_groups(groups)
            .with_output_ordering(ordering.into_iter().collect())
            .with_output_partitioning(partitioning)
            .with_statistics(statistics)
            .with_limit(self.limit)
            .with_projection_indices(self.projection.cloned())?
            .with_expr_adapter(Some(Arc::new(ByFieldId::new(self.table.schema()))))
            .build();
        Ok(DataSourceExec::from_data_source(config))
    }

    /// What may be believed of all rows together; of the columns after the table's, nothing.
    fn statistics(
        &self,
        schema: &TableSchema,
        tasks: &[FileTask],
        whole: bool,
    ) -> Result<Statistics> {
        let (table, columns) = (self.table, self.table.arrow_schema());
        let mut found = if whole && self.limit.is_none() {
            let (rows, known) = (table.rows(), table.column_stats());
            let mut found = statistics(table.schema(), &columns, rows, &known)?;
            if self.aggregated {
                add_sums(&mut found, table.schema(), rows, &known);
            }
            found
        } else {
            of_files(table.schema(), &columns, tasks)?
        };
        estimate_distinct(&mut found, table.schema());
        if self.limit.is_some() {
            // The rows that will be read are some of these.
            found = found.to_inexact();
        }
        Ok(padded(found, schema))
    }

    /// The files of each partition, as the engine takes them.
    async fn groups(
        &self,
        schema: &TableSchema,
        dealt: &[Vec<FileTask>],
    ) -> Result<Vec<FileGroup>> {
        let with_statistics = dealt.iter().map(Vec::len).sum::<usize>() <= FILES_MAX;
        let tasks = || dealt.iter().flatten();
        let mut deleted = self.deleted(tasks()).await?.into_iter();
        let first = match self.rows {
            RowColumns::Place => self.pin.number(tasks().map(|t| Arc::clone(&t.file)))?,
            RowColumns::None | RowColumns::Origin => 0,
        };
        let mut numbers = first..;
        let mut file = |task: &FileTask| {
            let mut file = self.partitioned_file(schema, task, with_statistics)?;
            let number = numbers.next().unwrap_or_default();
            file.partition_values = self.rows.constants(&task.file, number);
            Ok(match deleted.next().flatten() {
                Some(deleted) => file.with_extension(deleted),
                None => file,
            })
        };
        let groups = dealt.iter().map(|tasks| {
            let files = tasks.iter().map(&mut file);
            Ok(FileGroup::new(files.collect::<Result<_>>()?))
        });
        groups.collect()
    }

    /// The deleted rows of each file.
    async fn deleted(
        &self,
        tasks: impl Iterator<Item = &FileTask>,
    ) -> Result<Vec<Option<Arc<DeletionVector>>>> {
        let (store, table) = (self.session.repository().store(), self.table.id());
        let vectors = tasks.cloned();
        let vectors = vectors.map(|task| async move { task.deleted(store, table).await });
        futures::stream::iter(vectors)
            .buffered(VECTORS)
            .try_collect()
            .await
    }

    /// A file as it is stored: what is known of its values is of all its rows, deleted or not.
    fn partitioned_file(
        &self,
        schema: &TableSchema,
        task: &FileTask,
        with_statistics: bool,
    ) -> Result<PartitionedFile> {
        let file = &task.file;
        let name = format!("{}.parquet", file.object.digest.to_hex());
        let mut partitioned = PartitionedFile::new(name, file.object.bytes);
        if with_statistics {
            let columns = self.table.arrow_schema();
            let found = statistics(self.table.schema(), &columns, file.rows, &file.columns)?;
            partitioned.statistics = Some(Arc::new(padded(found, schema)));
        }
        Ok(partitioned.with_extension(Arc::clone(file)))
    }
}

/// Files dealt out to partitions of about the same size.
fn even(mut tasks: Vec<FileTask>, partitions: usize) -> Vec<Vec<FileTask>> {
    // The largest first, each to the partition that has least; ties in the order of digests, so that
    // equal states have equal plans.
    tasks.sort_by_key(|task| {
        let object = task.file.object;
        (std::cmp::Reverse(object.bytes), object.digest)
    });
    let mut dealt = vec![(0u64, Vec::new()); partitions.min(tasks.len())];
    for task in tasks {
        if let Some((total, files)) = dealt.iter_mut().min_by_key(|(total, _)| *total) {
            *total += task.file.object.bytes;
            files.push(task);
        }
    }
    dealt.into_iter().map(|(_, files)| files).collect()
}

/// Adds how many values columns had when they were counted, which is no fact by now.
fn estimate_distinct(statistics: &mut Statistics, schema: &Schema) {
    let rows = statistics.num_rows.get_value().copied();
    let columns = statistics.column_statistics.iter_mut();
    for (column, field) in columns.zip(schema.fields()) {
        let known = field
            .distinct
            .map(|count| usize::try_from(count).unwrap_or(usize::MAX));
        if let Some(count) = known {
            let count = rows.map_or(count, |rows| count.min(rows));
            column.distinct_count = Precision::Inexact(count);
        }
    }
}

/// What a scan need not read, as EXPLAIN ANALYZE shows it.
struct Pruned {
    /// How many manifests were read.
    manifests_read: u64,
    /// How many manifests were not, with all files below them.
    manifests: u64,
    /// How many files of the table are not read, for whatever reason.
    files: u64,
    /// How many manifests and files the buckets of single values left out that bounds had kept.
    by_buckets: u64,
}

impl Pruned {
    fn record(&self, metrics: &ExecutionPlanMetricsSet) {
        let counts = [
            ("manifests_read", self.manifests_read),
            ("manifests_pruned", self.manifests),
            ("files_pruned", self.files),
            ("pruned_by_buckets", self.by_buckets),
        ];
        for (name, count) in counts {
            let counter = MetricBuilder::new(metrics).global_counter(name);
            counter.add(usize::try_from(count).unwrap_or(usize::MAX));
        }
    }
}

/// Knows nothing of the columns after those that `found` is of.
fn padded(mut found: Statistics, schema: &TableSchema) -> Statistics {
    let columns = schema.table_schema().fields().len();
    found
        .column_statistics
        .resize_with(columns, ColumnStatistics::new_unknown);
    found
}

/// The first files that have `limit` rows together.
fn enough(files: Vec<FileTask>, limit: Option<usize>) -> Vec<FileTask> {
    let Some(limit) = limit else { return files };
    let limit = limit as u64;
    let mut rows = 0u64;
    files
        .into_iter()
        .take_while(|file| {
            let wanted = rows < limit;
            rows = rows.saturating_add(file.live_rows());
            wanted
        })
        .collect()
}
