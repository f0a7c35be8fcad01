//! A version clause is obeyed or refused.
//!
//! DataFusion's planner drops `VERSION AS OF` and its relatives without a word and answers with
//! the current rows. What obeys them rewrites them before they come here.

use datafusion::datasource::source_as_provider;
use datafusion::error::Result as DataFusionResult;
use datafusion::logical_expr::planner::{
    RelationPlanner, RelationPlannerContext, RelationPlanning,
};
use datafusion::sql::sqlparser::ast::{ObjectName, TableFactor};
use udr_core::Error;

use crate::error::to_datafusion;
use crate::table::UdrTable;

/// Whether a name is that of a table of the repository.
fn is_ours(name: &ObjectName, context: &dyn RelationPlannerContext) -> DataFusionResult<bool> {
    let reference = context.object_name_to_table_reference(name.clone())?;
    let source = context.context_provider().get_table_source(reference);
    let provider = source.and_then(|source| source_as_provider(&source));
    Ok(provider.is_ok_and(|provider| provider.is::<UdrTable>()))
}

/// Refuses every relation that has a version clause, or another that would be dropped.
#[derive(Debug)]
pub(crate) struct VersionClauses;

impl RelationPlanner for VersionClauses {
    fn plan_relation(
        &self,
        relation: TableFactor,
        context: &mut dyn RelationPlannerContext,
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
            TableFactor::Table {
                name,
                sample,
                partitions,
                ..
            } if (sample.is_some() || !partitions.is_empty()) && is_ours(&name, context)? => {
                Err(to_datafusion(
                    Error::unsupported(
                        "a table is read or changed whole, not by sample or partition",
                    )
                    .with("table", name)
                    .with_hint("choose rows with WHERE or LIMIT"),
                ))
            }
            other => Ok(RelationPlanning::Original(Box::new(other))),
        }
    }
}
