//! The rows that some files of a table hold, for checks that look at what is new.

use std::collections::BTreeSet;
use std::sync::Arc;

use arrow::datatypes::SchemaRef;
use async_trait::async_trait;
use datafusion::catalog::{Session, TableProvider};
use datafusion::error::Result as DataFusionResult;
use datafusion::logical_expr::{Expr, TableProviderFilterPushDown, TableType};
use datafusion::physical_plan::ExecutionPlan;
use udr_core::format::DataFile;
use udr_core::id::FileId;
use udr_core::snapshot::TableSnapshot;

use super::predicate::TablePredicate;
use super::row_columns::RowColumns;
use super::scan;
use crate::session::{StatementPin, UdrSession};

/// Some files of a table.
#[derive(Debug, Clone)]
pub(crate) enum Files {
    /// All of them.
    All,
    /// These.
    Only(Arc<BTreeSet<FileId>>),
    /// All but these.
    Except(Arc<BTreeSet<FileId>>),
    /// Those that a commit after this one added, by its place in the order of the branch.
    AddedAfter(u64),
}

impl Files {
    pub(super) fn keeps(&self, file: &DataFile) -> bool {
        match self {
            Self::All => true,
            Self::Only(files) => files.contains(&file.id),
            Self::Except(files) => !files.contains(&file.id),
            // Files that are staged have no commit yet.
            Self::AddedAfter(sequence) => file.added_at > *sequence,
        }
    }
}

/// The rows of a table at one state that are in some of its files, each column allowing NULL.
#[derive(Debug, Clone)]
pub(crate) struct FileRows {
    session: Arc<UdrSession>,
    table: TableSnapshot,
    schema: SchemaRef,
    files: Files,
}

impl FileRows {
    pub(crate) fn new(session: Arc<UdrSession>, table: &TableSnapshot, files: Files) -> Self {
        // Whether a column that must have no NULL has any is what is asked: the engine must not
        // know the answer.
        let table = table.relaxed();
        Self {
            session,
            schema: table.arrow_schema(),
            table,
            files,
        }
    }
}

#[async_trait]
impl TableProvider for FileRows {
    fn schema(&self) -> SchemaRef {
        Arc::clone(&self.schema)
    }

    fn table_type(&self) -> TableType {
        TableType::Temporary
    }

    fn supports_filters_pushdown(
        &self,
        filters: &[&Expr],
    ) -> DataFusionResult<Vec<TableProviderFilterPushDown>> {
        Ok(vec![TableProviderFilterPushDown::Inexact; filters.len()])
    }

    async fn scan(
        &self,
        state: &dyn Session,
        projection: Option<&Vec<usize>>,
        filters: &[Expr],
        _limit: Option<usize>,
    ) -> DataFusionResult<Arc<dyn ExecutionPlan>> {
        let predicate = TablePredicate::new(state, self.table.schema(), &self.schema, filters);
        let scan = scan::Scan {
            session: &self.session,
            pin: &StatementPin::default(),
            table: &self.table,
            rows: RowColumns::None,
            projection,
            limit: None,
            files: &self.files,
            aggregated: false,
        };
        scan.plan(state, predicate.as_ref()).await
    }
}
