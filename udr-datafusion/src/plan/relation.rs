//! A version clause is obeyed or refused.
//!
//! DataFusion's planner drops `VERSION AS OF` and its relatives without a word and answers with
//! the current rows. What obeys them rewrites them before they come here.

use std::sync::Arc;

use datafusion::error::Result as DataFusionResult;
use datafusion::logical_expr::planner::{
    RelationPlanner, RelationPlannerContext, RelationPlanning,
};
use datafusion::sql::sqlparser::ast::{ObjectName, TableFactor};
use udr_core::Error;

use crate::error::to_datafusion;
use crate::session::UdrSession;

/// Refuses every relation that has a version clause, and tables of the repository with another
/// clause that DataFusion would drop.
#[derive(Debug)]
pub(crate) struct VersionClauses {
    session: Arc<UdrSession>,
}

impl VersionClauses {
    pub(crate) fn new(session: Arc<UdrSession>) -> Self {
        Self { session }
    }

    /// Whether a name is in the repository, or would be.
    fn is_ours(
        &self,
        name: &ObjectName,
        context: &dyn RelationPlannerContext,
    ) -> DataFusionResult<bool> {
        let reference = context.object_name_to_table_reference(name.clone())?;
        let options = context.context_provider().options();
        let catalog = reference
            .catalog()
            .unwrap_or(&options.catalog.default_catalog);
        Ok(self.session.host_catalogs().catalog(catalog).is_none())
    }
}

impl RelationPlanner for VersionClauses {
    fn plan_relation(
        &self,
        relation: TableFactor,
        context: &mut dyn RelationPlannerContext,
    ) -> DataFusionResult<RelationPlanning> {
        if let TableFactor::Table {
            name,
            version: Some(version),
            ..
        } = &relation
        {
            return Err(to_datafusion(
                Error::unsupported("a version clause is not understood by this entry point")
                    .with("clause", format!("{name} {version}"))
                    .with_hint(
                        "use udr_sql, or a name such as \"t@42\", \"t@dev\", \"t@2026-01-01\"",
                    ),
            ));
        }
        if let Some((name, clause)) = dropped(&relation)
            && self.is_ours(name, context)?
        {
            return Err(to_datafusion(
                Error::unsupported("the clause after a table's name is not supported")
                    .with("name", name.to_string())
                    .with("clause", clause)
                    .with_hint("choose rows with WHERE or LIMIT"),
            ));
        }
        Ok(RelationPlanning::Original(Box::new(relation)))
    }
}

/// A clause after a table's name that changes its rows and that DataFusion drops without a word.
fn dropped(relation: &TableFactor) -> Option<(&ObjectName, &'static str)> {
    let TableFactor::Table {
        name,
        args: None,
        sample,
        partitions,
        json_path,
        with_ordinality,
        ..
    } = relation
    else {
        return None;
    };
    let clause = if sample.is_some() {
        "TABLESAMPLE"
    } else if !partitions.is_empty() {
        "PARTITION"
    } else if json_path.is_some() {
        "a JSON path"
    } else if *with_ordinality {
        "WITH ORDINALITY"
    } else {
        return None;
    };
    Some((name, clause))
}
