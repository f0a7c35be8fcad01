//! VALUES that are inserted may have NULL where the table may not.
//!
//! DataFusion gives the VALUES of an INSERT the schema of the table, and fails on a NULL with the
//! name of a column of VALUES. Here whoever writes the rows finds it, and names the table, the
//! column and the row; and a generated column has no value yet.

use std::sync::Arc;

use datafusion::common::DFSchema;
use datafusion::common::tree_node::{Transformed, TreeNode as _};
use datafusion::error::Result;
use datafusion::logical_expr::{LogicalPlan, Values};

/// The input of an INSERT whose VALUES allow NULL in every column.
pub(super) fn allow_nulls(input: Arc<LogicalPlan>) -> Result<Arc<LogicalPlan>> {
    if !input.exists(|node| Ok(is_strict(node)))? {
        return Ok(input);
    }
    let relaxed = Arc::unwrap_or_clone(input).transform_up(|node| {
        Ok(match node {
            LogicalPlan::Values(values) if is_strict_schema(&values.schema) => {
                let schema = Arc::new(relaxed(&values.schema)?);
                Transformed::yes(LogicalPlan::Values(Values { schema, ..values }))
            }
            LogicalPlan::Values(_) => Transformed::no(node),
            // What a node says of NULL follows from what is below it.
            other => Transformed::yes(other.recompute_schema()?),
        })
    })?;
    Ok(Arc::new(relaxed.data))
}

fn is_strict(node: &LogicalPlan) -> bool {
    matches!(node, LogicalPlan::Values(values) if is_strict_schema(&values.schema))
}

fn is_strict_schema(schema: &DFSchema) -> bool {
    schema.fields().iter().any(|field| !field.is_nullable())
}

fn relaxed(schema: &DFSchema) -> Result<DFSchema> {
    let fields = schema.iter().map(|(qualifier, field)| {
        let field = field.as_ref().clone().with_nullable(true);
        (qualifier.cloned(), Arc::new(field))
    });
    DFSchema::new_with_metadata(fields.collect(), schema.metadata().clone())
}
