//! About how many different values there are, in a few kilobytes that can be merged.

use arrow::array::{Array, AsArray as _};
use arrow::compute::cast_with_options;
use arrow::datatypes::{DataType, Decimal128Type, Int64Type, UInt64Type};
use datasketches::hash::value::raw_bytes;
use datasketches::hll::{HllSketch, HllType, HllUnion};

use super::EXACT;
use crate::error::{Error, Result};

/// The logarithm of the number of registers: a standard error of 1.6 %.
const LG_K: u8 = 12;
/// How registers are stored: whatever their six bits are, they are a register's.
const STORED_AS: HllType = HllType::Hll6;

/// The different values that were added, NULL not among them, as far as counting them goes.
///
/// A `HyperLogLog` sketch, as Apache `DataSketches` keeps and stores it: the sketches of parts merge
/// into that of the whole. Values are hashed as they are stored in a table, however arrow lays them
/// out, so that integers stay what they are when their column becomes of a longer type, and decimals
/// when theirs gets more digits.
#[derive(Debug, Clone)]
pub struct Sketch {
    values: HllUnion,
}

impl Sketch {
    /// The most bytes that a sketch is stored in: a header, and six bits for each register.
    pub const BYTES_MAX: usize = 40 + (1 << LG_K) * 6 / 8 + 1;

    /// The sketch of no values.
    ///
    /// # Panics
    ///
    /// Never: the number of registers is one that there can be.
    pub fn new() -> Self {
        #[expect(clippy::expect_used, reason = "12 is between 4 and 21")]
        let values = HllUnion::new(LG_K).expect("there can be this many registers");
        Self { values }
    }

    /// Adds the values of an array.
    ///
    /// # Errors
    ///
    /// `Unsupported` for types that have no sketches; see [`Type::has_sketch`](super::Type::has_sketch).
    pub fn add(&mut self, array: &dyn Array) -> Result<()> {
        let as_type = |ty: &DataType| {
            cast_with_options(array, ty, &EXACT)
                .map_err(|e| Error::internal("values cannot be counted").with_source(e))
        };
        match array.data_type() {
            DataType::Boolean
            | DataType::Int8
            | DataType::Int16
            | DataType::Int32
            | DataType::Int64
            | DataType::Date32
            | DataType::Timestamp(..) => {
                let values = as_type(&DataType::Int64)?;
                let values = values.as_primitive::<Int64Type>().iter().flatten();
                values.for_each(|value| self.add_bytes(&value.to_le_bytes()));
            }
            DataType::UInt8 | DataType::UInt16 | DataType::UInt32 | DataType::UInt64 => {
                let values = as_type(&DataType::UInt64)?;
                let values = values.as_primitive::<UInt64Type>().iter().flatten();
                values.for_each(|value| self.add_bytes(&value.to_le_bytes()));
            }
            DataType::Decimal128(..) => {
                let values = array.as_primitive::<Decimal128Type>().iter().flatten();
                values.for_each(|value| self.add_bytes(&value.to_le_bytes()));
            }
            DataType::Utf8 | DataType::LargeUtf8 | DataType::Utf8View => {
                let values = as_type(&DataType::Utf8View)?;
                let values = values.as_string_view().iter().flatten();
                values.for_each(|value| self.add_bytes(value.as_bytes()));
            }
            DataType::Binary | DataType::LargeBinary | DataType::BinaryView => {
                let values = as_type(&DataType::BinaryView)?;
                let values = values.as_binary_view().iter().flatten();
                values.for_each(|value| self.add_bytes(value));
            }
            DataType::FixedSizeBinary(_) => {
                let values = array.as_fixed_size_binary().iter().flatten();
                values.for_each(|value| self.add_bytes(value));
            }
            DataType::Dictionary(_, values) => {
                let values = as_type(values)?;
                self.add(&values)?;
            }
            other => {
                return Err(
                    Error::unsupported("values of this type are not counted").with("type", other)
                );
            }
        }
        Ok(())
    }

    /// Adds the values of another sketch.
    pub fn merge(&mut self, other: &Self) {
        let other = other.values.to_sketch(HllType::Hll8);
        self.values.update(&other);
    }

    /// About how many values there are; it does not depend on the order in which they came.
    pub fn count(&self) -> u64 {
        let count = self.values.composite_estimate().round();
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "what is no number that there can be becomes the nearest one"
        )]
        let count = count as u64;
        count
    }

    /// The bytes to store: those of any implementation of the library.
    pub fn to_bytes(&self) -> Vec<u8> {
        self.values.to_sketch(STORED_AS).serialize()
    }

    /// The sketch in `bytes`.
    ///
    /// # Errors
    ///
    /// `Corrupt` if they are none, or one of another size.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self> {
        let corrupt = || Error::corrupt("not a valid sketch").with("bytes", bytes.len());
        if bytes.len() > Self::BYTES_MAX {
            return Err(corrupt());
        }
        let stored = HllSketch::deserialize(bytes).map_err(|e| corrupt().with("why", e))?;
        if stored.lg_config_k() != LG_K || stored.target_type() != STORED_AS {
            return Err(corrupt());
        }
        let mut sketch = Self::new();
        // What follows from the registers is found anew.
        sketch.values.update(&stored);
        Ok(sketch)
    }

    /// How many bytes it takes in memory, about.
    pub fn memory_bytes(&self) -> usize {
        size_of::<Self>() + self.values.estimated_size()
    }

    fn add_bytes(&mut self, value: &[u8]) {
        self.values.update_value(raw_bytes::from_slice(value));
    }
}

impl Default for Sketch {
    fn default() -> Self {
        Self::new()
    }
}

#[cfg(test)]
mod tests;
