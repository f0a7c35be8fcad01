//! What a column is set to, converted to its type or refused with the column's name.

use std::sync::Arc;

use arrow::datatypes::DataType;
use datafusion::error::Result as DataFusionResult;
use datafusion::logical_expr::expr::Alias;
use datafusion::logical_expr::{
    Cast, ColumnarValue, Expr, LogicalPlan, Projection, ScalarFunctionArgs, ScalarUDF,
    ScalarUDFImpl, Signature, Volatility,
};
use udr_core::Error;

use super::Target;
use crate::error::to_datafusion;

const NAME: &str = "udr_assign";

/// Lets the conversions at the top of an UPDATE name the column that they are for.
pub(super) fn name_columns(
    plan: &LogicalPlan,
    target: &Target<'_>,
) -> DataFusionResult<LogicalPlan> {
    let LogicalPlan::Projection(projection) = plan else {
        return Ok(plan.clone());
    };
    let schema = target.schema();
    let exprs = projection.expr.iter().enumerate().map(|(at, expr)| {
        let Some(field) = schema.fields().get(at) else {
            return Ok(expr.clone());
        };
        refuse_generated(target, field.name(), expr)?;
        Ok(match expr {
            Expr::Alias(alias) => {
                let value = assigned(target, field.name(), alias.expr.as_ref());
                Expr::Alias(Alias {
                    expr: Box::new(value),
                    ..alias.clone()
                })
            }
            other => other.clone(),
        })
    });
    let exprs = exprs.collect::<DataFusionResult<_>>()?;
    let plan = Projection::try_new(exprs, Arc::clone(&projection.input))?;
    Ok(LogicalPlan::Projection(plan))
}

/// Refuses a value for a column that is generated; its own old value and NULL stand for none.
pub(super) fn refuse_generated(
    target: &Target<'_>,
    column: &str,
    value: &Expr,
) -> DataFusionResult<()> {
    let mut plain = value;
    while let Expr::Alias(Alias { expr, .. }) | Expr::Cast(Cast { expr, .. }) = plain {
        plain = expr.as_ref();
    }
    let none = match plain {
        Expr::Column(same) => same.name == column,
        Expr::Literal(value, _) => value.is_null(),
        _ => false,
    };
    if none || !target.table.is_generated(column) {
        return Ok(());
    }
    Err(to_datafusion(
        Error::invalid("a generated column is given a value")
            .with("column", column)
            .with("table", target.table.path())
            .with("value", value)
            .with_hint("leave the column out, or say DEFAULT"),
    ))
}

/// The same value; if it is converted, by a conversion that names the column it is for.
pub(super) fn assigned(target: &Target<'_>, column: &str, value: &Expr) -> Expr {
    let Expr::Cast(Cast { expr, field }) = value else {
        return value.clone();
    };
    let wanted = target.schema();
    let wanted = wanted
        .field_with_name(column)
        .map(|f| f.data_type().clone());
    if wanted.is_ok_and(|wanted| wanted == *field.data_type()) {
        let conversion = Assign {
            table: target.table.path().to_string(),
            column: column.to_owned(),
            wanted: field.data_type().clone(),
            signature: Signature::any(1, Volatility::Immutable),
        };
        return ScalarUDF::new_from_impl(conversion).call(vec![expr.as_ref().clone()]);
    }
    value.clone()
}

/// Converts values to a column's type; one that does not fit is an error, never NULL.
#[derive(Debug, PartialEq, Eq, Hash)]
struct Assign {
    table: String,
    column: String,
    wanted: DataType,
    signature: Signature,
}

impl ScalarUDFImpl for Assign {
    fn name(&self) -> &'static str {
        NAME
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, _arg_types: &[DataType]) -> DataFusionResult<DataType> {
        Ok(self.wanted.clone())
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> DataFusionResult<ColumnarValue> {
        let [value] = args.args.as_slice() else {
            return Err(to_datafusion(Error::internal(
                "a conversion takes one value",
            )));
        };
        value.cast_to(&self.wanted, None).map_err(|error| {
            to_datafusion(
                Error::invalid("a value does not fit its column")
                    .with("table", &self.table)
                    .with("column", &self.column)
                    .with("type", &self.wanted)
                    .with("reason", error.strip_backtrace())
                    .with_source(error),
            )
        })
    }
}
