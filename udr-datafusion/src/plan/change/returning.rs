//! A DELETE that gives the rows that it deletes.

use datafusion::common::Column;
use datafusion::datasource::{provider_as_source, source_as_provider};
use datafusion::error::Result as DataFusionResult;
use datafusion::logical_expr::dml::InsertOp;
use datafusion::logical_expr::{
    DmlStatement, EmptyRelation, Expr, LogicalPlan, LogicalPlanBuilder, WriteOp,
};
use udr_core::Error;

use super::widen::widen;
use super::{PLACE, Target, volatile};
use crate::error::to_datafusion;
use crate::table::{RowSink, UdrTable};

/// The DELETE, whose input has the columns of the table, with their values on the way to the sink.
///
/// # Errors
///
/// `Unsupported` as for any DELETE.
pub(crate) fn delete_returning(dml: &DmlStatement) -> DataFusionResult<LogicalPlan> {
    let provider = source_as_provider(&dml.target)?;
    let Some(table) = provider.downcast_ref::<UdrTable>() else {
        return Err(to_datafusion(Error::unsupported(
            "RETURNING is for the repository's tables",
        )));
    };
    let target = Target { dml, table };
    volatile::refuse(&dml.input, "DELETE")?;
    let sink = provider_as_source(std::sync::Arc::new(RowSink::returning(table.clone())));
    let columns = target.schema();
    let values = dml.input.schema().columns();
    let named = values.iter().map(Column::name);
    if !named.eq(columns.fields().iter().map(|field| field.name())) {
        return Err(target.not_understood(&dml.input));
    }
    let plan = match widen(&dml.input, &target, PLACE)? {
        Some(widened) => {
            let mut exprs = widened.places();
            exprs.extend(values.into_iter().map(Expr::Column));
            LogicalPlanBuilder::from(widened.plan)
                .project(exprs)?
                .build()?
        }
        None => LogicalPlan::EmptyRelation(EmptyRelation {
            produce_one_row: false,
            schema: std::sync::Arc::new(datafusion::common::DFSchema::try_from(sink.schema())?),
        }),
    };
    Ok(LogicalPlan::Dml(DmlStatement::new(
        dml.table_name.clone(),
        sink,
        WriteOp::Insert(InsertOp::Append),
        std::sync::Arc::new(plan),
    )))
}
