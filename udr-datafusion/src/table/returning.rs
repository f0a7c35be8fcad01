//! The rows that a statement changes, as a table that is read when the change is made.

use std::sync::Arc;

use arrow::datatypes::SchemaRef;
use async_trait::async_trait;
use datafusion::catalog::{Session, TableProvider};
use datafusion::error::Result as DataFusionResult;
use datafusion::logical_expr::{Expr, LogicalPlan, TableType};
use datafusion::physical_plan::ExecutionPlan;

use crate::exec::{Returned, UdrReturningExec, keeping};

/// The rows that a statement changes.
///
/// Nothing happens while it is planned; the change runs once when the plan does, and its rows are
/// given when it is made.
#[derive(Debug)]
pub(crate) struct ReturningTable {
    schema: SchemaRef,
    change: LogicalPlan,
}

impl ReturningTable {
    /// `change` changes rows of a table with this schema.
    pub(crate) fn new(schema: SchemaRef, change: LogicalPlan) -> Self {
        Self { schema, change }
    }
}

#[async_trait]
impl TableProvider for ReturningTable {
    fn schema(&self) -> SchemaRef {
        Arc::clone(&self.schema)
    }

    fn table_type(&self) -> TableType {
        TableType::Temporary
    }

    async fn scan(
        &self,
        state: &dyn Session,
        projection: Option<&Vec<usize>>,
        _filters: &[Expr],
        _limit: Option<usize>,
    ) -> DataFusionResult<Arc<dyn ExecutionPlan>> {
        let change = state.create_physical_plan(&self.change).await?;
        let returned = Returned::new(Arc::clone(&self.schema));
        let change = keeping(change, &returned)?;
        let exec = UdrReturningExec::try_new(change, returned, projection.cloned())?;
        Ok(Arc::new(exec))
    }
}
