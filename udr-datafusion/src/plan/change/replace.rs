//! Rows in the place of others, in one change.

use datafusion::common::{Column, DFSchema, ScalarValue};
use datafusion::datasource::source_as_provider;
use datafusion::error::Result as DataFusionResult;
use datafusion::logical_expr::{
    DmlStatement, Expr, ExprSchemable as _, LogicalPlan, LogicalPlanBuilder, lit,
};
use udr_core::Error;
use udr_core::txn::RowOperation;

use super::widen::widen;
use super::{PLACE, Target, unknown, volatile};
use crate::error::to_datafusion;
use crate::exec::Action;
use crate::table::{ACTION, UdrTable, place_names, sink_schema};

/// The change that deletes the rows that `old` would delete, and inserts the rows of `new`, for each
/// of which `action` says so.
///
/// # Errors
///
/// `Unsupported` if the plan of the old rows is not understood or does not choose the same rows
/// each time.
pub(crate) fn replace_rows(
    old: &DmlStatement,
    new: LogicalPlan,
    action: &Expr,
) -> DataFusionResult<LogicalPlan> {
    let provider = source_as_provider(&old.target)?;
    let Some(table) = provider.downcast_ref::<UdrTable>() else {
        return Err(to_datafusion(Error::unsupported(
            "REPLACE WHERE is for the repository's tables",
        )));
    };
    let target = Target { dml: old, table };
    volatile::refuse(&old.input, "REPLACE WHERE")?;
    unknown::refuse(&old.input, "REPLACE WHERE")?;
    let sink = sink_schema(RowOperation::Merge, &target.schema());
    let sink = DFSchema::try_from(sink)?;
    let inserted = inserted(new, &sink, action)?;
    let plan = match widen(&old.input, &target, PLACE)? {
        None => inserted,
        Some(widened) => {
            let mut places = widened.places().into_iter();
            let deleted = sink.fields().iter().map(|field| {
                if field.name() == ACTION {
                    return Ok(lit(Action::Delete as u8).alias(ACTION));
                }
                let null = lit(ScalarValue::try_from(field.data_type())?);
                Ok(places.next().unwrap_or_else(|| null.alias(field.name())))
            });
            let deleted = deleted.collect::<DataFusionResult<Vec<_>>>()?;
            let deleted = LogicalPlanBuilder::from(widened.plan).project(deleted)?;
            deleted.union(inserted)?.build()?
        }
    };
    Ok(target.insert(RowOperation::Merge, Vec::new(), plan))
}

/// The new rows as the sink takes them.
fn inserted(new: LogicalPlan, sink: &DFSchema, action: &Expr) -> DataFusionResult<LogicalPlan> {
    let columns = sink.fields().iter().map(|field| {
        let name = field.name();
        let value = if name == ACTION {
            action.clone()
        } else if place_names().contains(name) {
            lit(ScalarValue::try_from(field.data_type())?)
        } else {
            Expr::Column(Column::from_name(name)).cast_to(field.data_type(), new.schema())?
        };
        Ok(value.alias(name))
    });
    let columns = columns.collect::<DataFusionResult<Vec<_>>>()?;
    LogicalPlanBuilder::from(new).project(columns)?.build()
}
