//! The aggregate that makes a sketch of values. It is no function that has a name in SQL.

use std::sync::Arc;

use arrow::array::{ArrayRef, AsArray as _};
use arrow::datatypes::{DataType, Field, FieldRef};
use datafusion::common::ScalarValue;
use datafusion::error::Result;
use datafusion::logical_expr::function::{AccumulatorArgs, StateFieldsArgs};
use datafusion::logical_expr::utils::format_state_name;
use datafusion::logical_expr::{
    Accumulator, AggregateUDF, AggregateUDFImpl, Expr, Signature, Volatility,
};
use udr_core::format::Sketch;

use crate::error::to_datafusion;

/// The sketch of the values of `column`, in its stored form.
pub(super) fn sketch_of(column: Expr) -> Expr {
    AggregateUDF::from(SketchValues {
        signature: Signature::any(1, Volatility::Immutable),
    })
    .call(vec![column])
}

#[derive(Debug, PartialEq, Eq, Hash)]
struct SketchValues {
    signature: Signature,
}

impl AggregateUDFImpl for SketchValues {
    fn name(&self) -> &'static str {
        "sketch_values"
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, _: &[DataType]) -> Result<DataType> {
        Ok(DataType::Binary)
    }

    fn state_fields(&self, args: StateFieldsArgs<'_>) -> Result<Vec<FieldRef>> {
        let name = format_state_name(args.name, "sketch");
        Ok(vec![Arc::new(Field::new(name, DataType::Binary, true))])
    }

    fn accumulator(&self, _: AccumulatorArgs<'_>) -> Result<Box<dyn Accumulator>> {
        Ok(Box::new(Values::default()))
    }
}

/// The values so far.
#[derive(Debug, Default)]
struct Values(Sketch);

impl Accumulator for Values {
    fn update_batch(&mut self, values: &[ArrayRef]) -> Result<()> {
        let mut values = values.iter();
        values
            .try_for_each(|values| self.0.add(values))
            .map_err(to_datafusion)
    }

    fn merge_batch(&mut self, states: &[ArrayRef]) -> Result<()> {
        let sketches = states.iter().flat_map(|state| state.as_binary::<i32>());
        for sketch in sketches.flatten() {
            let sketch = Sketch::from_bytes(sketch).map_err(to_datafusion)?;
            self.0.merge(&sketch);
        }
        Ok(())
    }

    fn state(&mut self) -> Result<Vec<ScalarValue>> {
        Ok(vec![self.evaluate()?])
    }

    fn evaluate(&mut self) -> Result<ScalarValue> {
        Ok(ScalarValue::Binary(Some(self.0.to_bytes())))
    }

    fn size(&self) -> usize {
        self.0.memory_bytes()
    }
}
