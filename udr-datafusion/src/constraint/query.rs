//! Queries over the rows of a state, run by the engine within its memory limit.

use std::sync::Arc;

use arrow::record_batch::RecordBatch;
use datafusion::common::Column;
use datafusion::datasource::provider_as_source;
use datafusion::error::{DataFusionError, Result as DataFusionResult};
use datafusion::execution::context::{SessionContext, SessionState};
use datafusion::logical_expr::{Expr, LogicalPlan, LogicalPlanBuilder};
use udr_core::Result;
use udr_core::snapshot::TableSnapshot;

use crate::error::into_udr;
use crate::session::UdrSession;
use crate::table::{FileRows, Files};

/// Asks about rows of tables at states that nobody has published yet.
pub(super) struct Query {
    pub(super) session: Arc<UdrSession>,
    pub(super) state: SessionState,
}

impl Query {
    /// The rows of a table that are in some of its files.
    pub(super) fn rows(
        &self,
        table: &TableSnapshot,
        files: &Files,
    ) -> DataFusionResult<LogicalPlanBuilder> {
        let rows = FileRows::new(Arc::clone(&self.session), table, files.clone());
        LogicalPlanBuilder::scan("rows", provider_as_source(Arc::new(rows)), None)
    }

    /// The first row that a plan gives.
    ///
    /// Hash joins are fast but hold one side in memory; where that is too much, the plan is run
    /// again with joins that sort, which spill.
    pub(super) async fn first(&self, plan: LogicalPlanBuilder) -> Result<Option<RecordBatch>> {
        let plan = plan
            .limit(0, Some(1))
            .and_then(LogicalPlanBuilder::build)
            .map_err(into_udr)?;
        let rows = self.all(plan).await?;
        Ok(rows.into_iter().find(|batch| batch.num_rows() > 0))
    }

    /// All rows that a plan gives.
    pub(super) async fn all(&self, plan: LogicalPlan) -> Result<Vec<RecordBatch>> {
        match self.run(self.state.clone(), plan.clone()).await {
            Err(error) if is_exhausted(&error) => {
                let mut state = self.state.clone();
                let options = state.config_mut().options_mut();
                options.optimizer.prefer_hash_join = false;
                self.run(state, plan).await.map_err(into_udr)
            }
            other => other.map_err(into_udr),
        }
    }

    async fn run(
        &self,
        state: SessionState,
        plan: LogicalPlan,
    ) -> DataFusionResult<Vec<RecordBatch>> {
        let context = SessionContext::new_with_state(state);
        Box::pin(context.execute_logical_plan(plan))
            .await?
            .collect()
            .await
    }
}

/// A column by its very name.
pub(super) fn column(name: &str) -> Expr {
    Expr::Column(Column::new_unqualified(name))
}

fn is_exhausted(error: &DataFusionError) -> bool {
    matches!(error.find_root(), DataFusionError::ResourcesExhausted(_))
}
