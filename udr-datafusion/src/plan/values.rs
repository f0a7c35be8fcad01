//! `INSERT … VALUES` into a column that is not nullable.
//!
//! DataFusion gives the columns of VALUES the nullability of the table's, and Arrow then refuses a
//! NULL in the name of a column that only DataFusion knows, `column2`. So VALUES may have NULLs
//! here, and the writer refuses them in the name of the table's column.

use std::sync::Arc;

use datafusion::common::DFSchema;
use datafusion::error::Result;
use datafusion::logical_expr::{LogicalPlan, Projection, Values};

/// The input of an INSERT, with VALUES whose columns are nullable.
pub(super) fn nullable_values(input: Arc<LogicalPlan>) -> Result<Arc<LogicalPlan>> {
    let LogicalPlan::Projection(projection) = input.as_ref() else {
        return Ok(input);
    };
    let LogicalPlan::Values(values) = projection.input.as_ref() else {
        return Ok(input);
    };
    let fields = values.schema.iter().map(|(qualifier, field)| {
        let field = field.as_ref().clone().with_nullable(true);
        (qualifier.cloned(), Arc::new(field))
    });
    let schema = DFSchema::new_with_metadata(fields.collect(), values.schema.metadata().clone())?;
    let values = LogicalPlan::Values(Values {
        schema: Arc::new(schema),
        values: values.values.clone(),
    });
    let projection = Projection::try_new(projection.expr.clone(), Arc::new(values))?;
    Ok(Arc::new(LogicalPlan::Projection(projection)))
}
