//! A condition that every row of a plan must meet, or the statement fails.

use std::sync::Arc;

use arrow::array::{Array as _, AsArray as _, BooleanArray};
use arrow::datatypes::DataType;
use arrow::util::display::{ArrayFormatter, FormatOptions};
use datafusion::common::ScalarValue;
use datafusion::error::Result;
use datafusion::logical_expr::{
    ColumnarValue, Expr, LogicalPlan, LogicalPlanBuilder, ScalarFunctionArgs, ScalarUDF,
    ScalarUDFImpl, Signature, Volatility,
};
use udr_core::Error;

use crate::error::to_datafusion;

/// The most characters of a row that an error shows.
const SHOWN_MAX: usize = 400;

/// What is said when a row does not meet a condition.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) struct Refusal {
    pub(crate) message: &'static str,
    pub(crate) table: String,
    pub(crate) hint: &'static str,
}

/// The plan, whose rows all meet `condition`; a row that does not fails the statement and is shown
/// with these `columns`.
///
/// # Errors
///
/// DataFusion's, if the condition does not fit the plan.
pub(crate) fn guarded(
    plan: LogicalPlan,
    condition: Expr,
    columns: &[String],
    refusal: Refusal,
) -> Result<LogicalPlan> {
    let guard = Guard {
        refusal,
        columns: columns.to_vec(),
        // It is asked about every row, once: neither folded nor moved.
        signature: Signature::variadic_any(Volatility::Volatile),
    };
    let shown = columns
        .iter()
        .map(|name| Expr::Column(datafusion::common::Column::from_name(name)));
    let args = std::iter::once(condition).chain(shown).collect();
    let guard = ScalarUDF::new_from_impl(guard).call(args);
    LogicalPlanBuilder::from(plan).filter(guard)?.build()
}

/// Gives true for every row whose first argument is true, and an error for any other.
#[derive(Debug, PartialEq, Eq, Hash)]
struct Guard {
    refusal: Refusal,
    columns: Vec<String>,
    signature: Signature,
}

impl ScalarUDFImpl for Guard {
    fn name(&self) -> &'static str {
        "udr_guard"
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, _arg_types: &[DataType]) -> Result<DataType> {
        Ok(DataType::Boolean)
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let arrays = ColumnarValue::values_to_arrays(&args.args)?;
        let broken = || to_datafusion(Error::internal("a condition on rows is no condition"));
        let (condition, shown) = arrays.split_first().ok_or_else(broken)?;
        let met: &BooleanArray = condition.as_boolean_opt().ok_or_else(broken)?;
        // A constant condition about no rows comes as one value.
        let count = met.len().min(args.number_rows);
        let failed = (0..count).find(|row| met.is_null(*row) || !met.value(*row));
        match failed {
            None => Ok(ColumnarValue::Scalar(ScalarValue::Boolean(Some(true)))),
            Some(row) => Err(to_datafusion(self.error(shown, row))),
        }
    }
}

impl Guard {
    fn error(&self, shown: &[Arc<dyn arrow::array::Array>], row: usize) -> Error {
        let options = FormatOptions::default().with_null("NULL");
        let values = self.columns.iter().zip(shown).map(|(name, column)| {
            let value = ArrayFormatter::try_new(column.as_ref(), &options);
            let value = value.map_or_else(|_| "?".to_owned(), |v| v.value(row).to_string());
            format!("{name}={value}")
        });
        let text = values.collect::<Vec<_>>().join(", ");
        let mut shown = text.chars().take(SHOWN_MAX).collect::<String>();
        if shown.len() < text.len() {
            shown.push('…');
        }
        Error::invalid(self.refusal.message)
            .with("table", &self.refusal.table)
            .with("row", shown)
            .with_hint(self.refusal.hint)
    }
}
