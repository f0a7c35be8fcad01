//! Marks the plan of a statement that was looked at before it was planned.

use std::sync::Arc;

use datafusion::common::tree_node::{Transformed, TreeNode as _};
use datafusion::datasource::{provider_as_source, source_as_provider};
use datafusion::error::Result;
use datafusion::logical_expr::LogicalPlan;

use crate::table::UdrTable;

/// The plan of a statement that was seen to have no clause that DataFusion's planner drops.
///
/// # Errors
///
/// DataFusion's.
pub(crate) fn checked(plan: LogicalPlan) -> Result<LogicalPlan> {
    let marked = plan.transform_down(|node| {
        let LogicalPlan::Dml(mut dml) = node else {
            return Ok(Transformed::no(node));
        };
        let provider = source_as_provider(&dml.target).ok();
        let table = provider.as_ref().and_then(|p| p.downcast_ref::<UdrTable>());
        let Some(table) = table else {
            return Ok(Transformed::no(LogicalPlan::Dml(dml)));
        };
        dml.target = provider_as_source(Arc::new(table.with_checked_clauses()));
        Ok(Transformed::yes(LogicalPlan::Dml(dml)))
    })?;
    Ok(marked.data)
}
