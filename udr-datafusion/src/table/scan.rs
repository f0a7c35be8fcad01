//! A scan of the data files that can match.

use std::sync::Arc;

use arrow::datatypes::SchemaRef;
use datafusion::catalog::Session;
use datafusion::common::config::TableParquetOptions;
use datafusion::common::{Statistics, project_schema};
use datafusion::datasource::listing::PartitionedFile;
use datafusion::datasource::physical_plan::{FileGroup, FileScanConfigBuilder, ParquetSource};
use datafusion::datasource::source::DataSourceExec;
use datafusion::datasource::table_schema::TableSchema;
use datafusion::error::Result as DataFusionResult;
use datafusion::physical_plan::ExecutionPlan;
use datafusion::physical_plan::empty::EmptyExec;
use udr_core::format::DataFile;
use udr_core::snapshot::{Prune, TableSnapshot};
use udr_core::{Error, Result};

use super::predicate::TablePredicate;
use super::reader::DataFileReaderFactory;
use super::statistics::{FILES_MAX, of_files, statistics};
use crate::error::to_datafusion;
use crate::session::UdrSession;

/// What is read of a table.
pub(super) struct Scan<'a> {
    pub(super) session: &'a UdrSession,
    pub(super) table: &'a TableSnapshot,
    pub(super) projection: Option<&'a Vec<usize>>,
    /// How many rows are enough, if any will do.
    pub(super) limit: Option<usize>,
}

impl Scan<'_> {
    /// A plan that reads the files that `predicate` keeps.
    pub(super) async fn plan(
        &self,
        state: &dyn Session,
        predicate: Option<&TablePredicate>,
    ) -> DataFusionResult<Arc<dyn ExecutionPlan>> {
        let schema = self.table.arrow_schema();
        let plan = self.table.plan(predicate.map(|p| p as &dyn Prune)).await;
        let plan = plan.map_err(to_datafusion)?;
        let whole = plan.files.len() as u64 == plan.files_total;
        if let Some(task) = plan.files.iter().find(|task| task.has_deletes()) {
            return Err(to_datafusion(
                Error::unsupported("a data file with deleted rows cannot be scanned")
                    .with("table", self.table.path())
                    .with("data_file", task.file.object.digest),
            ));
        }
        let files = plan.files.into_iter().map(|task| task.file).collect();
        let files = enough(files, self.limit);
        if files.is_empty() {
            return Ok(Arc::new(EmptyExec::new(project_schema(
                &schema,
                self.projection,
            )?)));
        }
        let statistics = self
            .statistics(&schema, &files, whole)
            .map_err(to_datafusion)?;
        let groups = self.groups(&schema, files, state.config().target_partitions());
        // Columns are matched by name, which holds as long as none can be renamed; a rename needs
        // an adapter that matches the `PARQUET:field_id` of both schemas.
        let options = TableParquetOptions {
            global: state.config_options().execution.parquet.clone(),
            ..TableParquetOptions::default()
        };
        let source = ParquetSource::new(TableSchema::from(schema))
            .with_table_parquet_options(options)
            .with_parquet_file_reader_factory(Arc::new(DataFileReaderFactory::new(
                self.table,
                self.session,
            )));
        let config = FileScanConfigBuilder::new(self.session.store_url().clone(), Arc::new(source))
            .with_file_groups(groups.map_err(to_datafusion)?)
            .with_statistics(statistics)
            .with_limit(self.limit)
            .with_projection_indices(self.projection.cloned())?
            .build();
        Ok(DataSourceExec::from_data_source(config))
    }

    fn statistics(
        &self,
        schema: &SchemaRef,
        files: &[Arc<DataFile>],
        whole: bool,
    ) -> Result<Statistics> {
        let table = self.table;
        if self.limit.is_some() {
            // The rows that will be read are some of these.
            let files = files.iter().map(AsRef::as_ref);
            return Ok(of_files(table.schema(), schema, files)?.to_inexact());
        }
        if whole {
            let columns = table.column_stats();
            return statistics(
                table.schema(),
                schema,
                table.rows(),
                table.bytes(),
                &columns,
            );
        }
        of_files(table.schema(), schema, files.iter().map(AsRef::as_ref))
    }

    /// The files, dealt out to partitions of about the same size.
    fn groups(
        &self,
        schema: &SchemaRef,
        mut files: Vec<Arc<DataFile>>,
        partitions: usize,
    ) -> Result<Vec<FileGroup>> {
        let partitions = partitions.clamp(1, files.len());
        let with_statistics = files.len() <= FILES_MAX;
        // The largest first, each to the partition that has least; ties in the order of digests,
        // so that equal states have equal plans.
        files.sort_by_key(|file| (std::cmp::Reverse(file.object.bytes), file.object.digest));
        let mut groups = vec![(0u64, Vec::new()); partitions];
        for file in files {
            let bytes = file.object.bytes;
            let file = self.partitioned_file(schema, file, with_statistics)?;
            if let Some((total, group)) = groups.iter_mut().min_by_key(|(total, _)| *total) {
                *total += bytes;
                group.push(file);
            }
        }
        Ok(groups
            .into_iter()
            .map(|(_, files)| FileGroup::new(files))
            .collect())
    }

    fn partitioned_file(
        &self,
        schema: &SchemaRef,
        file: Arc<DataFile>,
        with_statistics: bool,
    ) -> Result<PartitionedFile> {
        let name = format!("{}.parquet", file.object.digest.to_hex());
        let mut partitioned = PartitionedFile::new(name, file.object.bytes);
        if with_statistics {
            let (rows, bytes) = (file.rows, file.object.bytes);
            let found = statistics(self.table.schema(), schema, rows, bytes, &file.columns)?;
            partitioned.statistics = Some(Arc::new(found));
        }
        Ok(partitioned.with_extension(file))
    }
}

/// The first files that have `limit` rows together.
fn enough(files: Vec<Arc<DataFile>>, limit: Option<usize>) -> Vec<Arc<DataFile>> {
    let Some(limit) = limit else { return files };
    let limit = limit as u64;
    let mut rows = 0u64;
    files
        .into_iter()
        .take_while(|file| {
            let wanted = rows < limit;
            rows = rows.saturating_add(file.rows);
            wanted
        })
        .collect()
}
