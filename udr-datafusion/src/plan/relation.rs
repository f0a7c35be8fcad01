//! A version clause is obeyed or refused.
//!
//! DataFusion's planner drops `VERSION AS OF` and its relatives without a word and answers with
//! the current rows. What obeys them rewrites them before they come here.

use datafusion::error::Result as DataFusionResult;
use datafusion::logical_expr::planner::{
    RelationPlanner, RelationPlannerContext, RelationPlanning,
};
use datafusion::sql::sqlparser::ast::TableFactor;
use udr_core::Error;

use crate::error::to_datafusion;

/// Refuses every relation that has a version clause.
#[derive(Debug)]
pub(crate) struct VersionClauses;

impl RelationPlanner for VersionClauses {
    fn plan_relation(
        &self,
        relation: TableFactor,
        _context: &mut dyn RelationPlannerContext,
    ) -> DataFusionResult<RelationPlanning> {
        match relation {
            TableFactor::Table {
                name,
                version: Some(version),
                ..
            } => Err(to_datafusion(
                Error::unsupported("a version clause is not understood by this entry point")
                    .with("clause", format!("{name} {version}"))
                    .with_hint(
                        "use udr_sql, or a name such as \"t@42\", \"t@dev\", \"t@2026-01-01\"",
                    ),
            )),
            other => Ok(RelationPlanning::Original(Box::new(other))),
        }
    }
}
