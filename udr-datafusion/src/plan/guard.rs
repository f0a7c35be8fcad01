//! A condition that every row must meet, or the statement fails.

use std::sync::Arc;

use arrow::array::{Array as _, AsArray as _, BooleanArray};
use arrow::datatypes::DataType;
use arrow::util::display::{ArrayFormatter, FormatOptions};
use datafusion::common::Column;
use datafusion::error::{DataFusionError, Result};
use datafusion::logical_expr::{
    ColumnarValue, Expr, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature, Volatility,
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

/// The value, where `condition` is true; a row for which it is not fails the statement and is shown
/// with these `columns`.
///
/// The optimizer moves a filter down to others, and then rows that they drop are looked at as well;
/// a value is computed where it stands.
pub(crate) fn guarded(condition: Expr, value: Expr, columns: &[String], refusal: Refusal) -> Expr {
    let guard = Guard {
        refusal,
        columns: columns.to_vec(),
        // It is asked about every row, and not folded.
        signature: Signature::variadic_any(Volatility::Volatile),
    };
    let shown = columns
        .iter()
        .map(|name| Expr::Column(Column::from_name(name)));
    let args = [condition, value].into_iter().chain(shown).collect();
    ScalarUDF::new_from_impl(guard).call(args)
}

/// Gives its second argument for every row whose first is true, and an error for any other.
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

    fn return_type(&self, arg_types: &[DataType]) -> Result<DataType> {
        arg_types.get(1).cloned().ok_or_else(broken)
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let arrays = ColumnarValue::values_to_arrays(&args.args)?;
        let [condition, _, shown @ ..] = arrays.as_slice() else {
            return Err(broken());
        };
        let met: &BooleanArray = condition.as_boolean_opt().ok_or_else(broken)?;
        // A constant condition about no rows comes as one value.
        let count = met.len().min(args.number_rows);
        let failed = (0..count).find(|row| met.is_null(*row) || !met.value(*row));
        match failed {
            None => args.args.get(1).cloned().ok_or_else(broken),
            Some(row) => Err(to_datafusion(self.error(shown, row))),
        }
    }
}

fn broken() -> DataFusionError {
    to_datafusion(Error::internal("a condition on rows is no condition"))
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
