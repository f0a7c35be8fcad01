//! Single values, as statistics hold them.

use arrow::array::{
    Array, ArrayRef, AsArray as _, BinaryViewArray, BooleanArray, Decimal128Array,
    FixedSizeBinaryArray, PrimitiveArray, StringViewArray,
};
use arrow::datatypes::{
    ArrowPrimitiveType, DataType, Date32Type, Date64Type, Float32Type, Float64Type, Int8Type,
    Int16Type, Int32Type, Int64Type, Time32MillisecondType, Time32SecondType,
    Time64MicrosecondType, Time64NanosecondType, TimeUnit, TimestampMicrosecondType,
    TimestampMillisecondType, TimestampNanosecondType, TimestampSecondType, UInt8Type, UInt16Type,
    UInt32Type, UInt64Type,
};
use serde::{Deserialize, Serialize};
use std::cmp::Ordering;
use std::sync::Arc;

use super::Type;
use crate::error::{Error, Result};

/// A value that is not NULL. Dates, times and timestamps are `Int` in the unit of their column.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[expect(missing_docs, reason = "the names say it")]
pub enum Value {
    Bool(bool),
    Int(i64),
    #[serde(rename = "uint")]
    UInt(u64),
    #[serde(with = "float_text")]
    Float(f64),
    #[serde(with = "decimal_text")]
    Decimal(i128),
    String(String),
    #[serde(with = "hex_text")]
    Binary(Vec<u8>),
}

/// Values of one kind are equal if neither is less: a float is the same float, NaN included.
impl PartialEq for Value {
    fn eq(&self, other: &Self) -> bool {
        self.compare(other) == Some(Ordering::Equal)
    }
}

impl Eq for Value {}

macro_rules! integers {
    ($array:expr, $row:expr, $ty:ty, $variant:ident) => {
        Self::$variant($array.as_primitive::<$ty>().value($row).into())
    };
}

impl Value {
    /// The value in one row; `None` for NULL and for types that have no bounds.
    pub fn from_array(array: &dyn Array, row: usize) -> Option<Self> {
        if array.is_null(row) {
            return None;
        }
        Some(match array.data_type() {
            DataType::Boolean => Self::Bool(array.as_boolean().value(row)),
            DataType::Int8 => integers!(array, row, Int8Type, Int),
            DataType::Int16 => integers!(array, row, Int16Type, Int),
            DataType::Int32 => integers!(array, row, Int32Type, Int),
            DataType::Int64 => integers!(array, row, Int64Type, Int),
            DataType::UInt8 => integers!(array, row, UInt8Type, UInt),
            DataType::UInt16 => integers!(array, row, UInt16Type, UInt),
            DataType::UInt32 => integers!(array, row, UInt32Type, UInt),
            DataType::UInt64 => integers!(array, row, UInt64Type, UInt),
            DataType::Float32 => integers!(array, row, Float32Type, Float),
            DataType::Float64 => integers!(array, row, Float64Type, Float),
            DataType::Date32 => integers!(array, row, Date32Type, Int),
            DataType::Date64 => integers!(array, row, Date64Type, Int),
            DataType::Time32(TimeUnit::Second) => integers!(array, row, Time32SecondType, Int),
            DataType::Time32(_) => integers!(array, row, Time32MillisecondType, Int),
            DataType::Time64(TimeUnit::Microsecond) => {
                integers!(array, row, Time64MicrosecondType, Int)
            }
            DataType::Time64(_) => integers!(array, row, Time64NanosecondType, Int),
            DataType::Timestamp(unit, _) => match unit {
                TimeUnit::Second => integers!(array, row, TimestampSecondType, Int),
                TimeUnit::Millisecond => integers!(array, row, TimestampMillisecondType, Int),
                TimeUnit::Microsecond => integers!(array, row, TimestampMicrosecondType, Int),
                TimeUnit::Nanosecond => integers!(array, row, TimestampNanosecondType, Int),
            },
            DataType::Decimal128(..) => Self::Decimal(
                array
                    .as_primitive::<arrow::datatypes::Decimal128Type>()
                    .value(row),
            ),
            DataType::Utf8 => Self::String(array.as_string::<i32>().value(row).to_owned()),
            DataType::LargeUtf8 => Self::String(array.as_string::<i64>().value(row).to_owned()),
            DataType::Utf8View => Self::String(array.as_string_view().value(row).to_owned()),
            DataType::Binary => Self::Binary(array.as_binary::<i32>().value(row).to_vec()),
            DataType::LargeBinary => Self::Binary(array.as_binary::<i64>().value(row).to_vec()),
            DataType::BinaryView => Self::Binary(array.as_binary_view().value(row).to_vec()),
            DataType::FixedSizeBinary(_) => {
                Self::Binary(array.as_fixed_size_binary().value(row).to_vec())
            }
            _ => return None,
        })
    }

    #[expect(
        clippy::too_many_lines,
        reason = "one arm for each type, nothing to tell apart"
    )]
    /// An array of `data_type` with a row for each value; `None` becomes NULL.
    ///
    /// # Errors
    ///
    /// `Corrupt` if a value does not belong to the type or does not fit it.
    pub fn array<'a>(
        data_type: &DataType,
        values: impl IntoIterator<Item = Option<&'a Self>>,
    ) -> Result<ArrayRef> {
        let values = values.into_iter();
        Ok(match data_type {
            DataType::Boolean => {
                let values = values.map(|v| v.map(Self::bool).transpose());
                Arc::new(values.collect::<Result<BooleanArray>>()?)
            }
            DataType::Int8 => ints::<Int8Type>(values, data_type)?,
            DataType::Int16 => ints::<Int16Type>(values, data_type)?,
            DataType::Int32 => ints::<Int32Type>(values, data_type)?,
            DataType::Int64 => ints::<Int64Type>(values, data_type)?,
            DataType::UInt8 => ints::<UInt8Type>(values, data_type)?,
            DataType::UInt16 => ints::<UInt16Type>(values, data_type)?,
            DataType::UInt32 => ints::<UInt32Type>(values, data_type)?,
            DataType::UInt64 => ints::<UInt64Type>(values, data_type)?,
            DataType::Date32 => ints::<Date32Type>(values, data_type)?,
            DataType::Date64 => ints::<Date64Type>(values, data_type)?,
            DataType::Time32(TimeUnit::Second) => ints::<Time32SecondType>(values, data_type)?,
            DataType::Time32(_) => ints::<Time32MillisecondType>(values, data_type)?,
            DataType::Time64(TimeUnit::Microsecond) => {
                ints::<Time64MicrosecondType>(values, data_type)?
            }
            DataType::Time64(_) => ints::<Time64NanosecondType>(values, data_type)?,
            DataType::Timestamp(unit, _) => match unit {
                TimeUnit::Second => ints::<TimestampSecondType>(values, data_type)?,
                TimeUnit::Millisecond => ints::<TimestampMillisecondType>(values, data_type)?,
                TimeUnit::Microsecond => ints::<TimestampMicrosecondType>(values, data_type)?,
                TimeUnit::Nanosecond => ints::<TimestampNanosecondType>(values, data_type)?,
            },
            DataType::Float32 => {
                #[expect(clippy::cast_possible_truncation, reason = "checked by the comparison")]
                let narrow = |v: f64| {
                    let narrow = v as f32;
                    (f64::from(narrow) == v)
                        .then_some(narrow)
                        .ok_or_else(misfit)
                };
                let values = values.map(|v| v.map(|v| v.float().and_then(narrow)).transpose());
                Arc::new(values.collect::<Result<PrimitiveArray<Float32Type>>>()?)
            }
            DataType::Float64 => {
                let values = values.map(|v| v.map(Self::float).transpose());
                Arc::new(values.collect::<Result<PrimitiveArray<Float64Type>>>()?)
            }
            DataType::Decimal128(precision, scale) => {
                let values = values.map(|v| v.map(Self::decimal).transpose());
                let array = values.collect::<Result<Decimal128Array>>()?;
                let array = array.with_precision_and_scale(*precision, *scale);
                Arc::new(array.map_err(|e| misfit().with_source(e))?)
            }
            DataType::Utf8View => {
                let values = values.map(|v| v.map(Self::str).transpose());
                Arc::new(
                    values
                        .collect::<Result<Vec<_>>>()?
                        .into_iter()
                        .collect::<StringViewArray>(),
                )
            }
            DataType::BinaryView => {
                let values = values.map(|v| v.map(Self::binary).transpose());
                Arc::new(
                    values
                        .collect::<Result<Vec<_>>>()?
                        .into_iter()
                        .collect::<BinaryViewArray>(),
                )
            }
            DataType::FixedSizeBinary(size) => {
                let values = values.map(|v| v.map(Self::binary).transpose());
                let values = values.collect::<Result<Vec<_>>>()?;
                let array =
                    FixedSizeBinaryArray::try_from_sparse_iter_with_size(values.into_iter(), *size);
                Arc::new(array.map_err(|e| misfit().with_source(e))?)
            }
            _ => return Err(misfit().with("type", data_type)),
        })
    }

    /// Compares two values of one column; `None` if they are of different kinds.
    ///
    /// Floats are in IEEE 754 total order, as in arrow's kernels.
    pub fn compare(&self, other: &Self) -> Option<Ordering> {
        Some(match (self, other) {
            (Self::Bool(a), Self::Bool(b)) => a.cmp(b),
            (Self::Int(a), Self::Int(b)) => a.cmp(b),
            (Self::UInt(a), Self::UInt(b)) => a.cmp(b),
            (Self::Float(a), Self::Float(b)) => a.total_cmp(b),
            (Self::Decimal(a), Self::Decimal(b)) => a.cmp(b),
            (Self::String(a), Self::String(b)) => a.cmp(b),
            (Self::Binary(a), Self::Binary(b)) => a.cmp(b),
            _ => return None,
        })
    }

    /// The value once its column, which was of type `from`, is of type `to`.
    ///
    /// # Errors
    ///
    /// `Invalid` if it is none of that type.
    pub(crate) fn widened(&self, from: &Type, to: &Type) -> Result<Self> {
        let (Type::Date32, Type::Timestamp(unit, None), Self::Int(days)) = (from, to, self) else {
            return Ok(self.clone());
        };
        let ticks = 86_400
            * match unit {
                TimeUnit::Second => 1,
                TimeUnit::Millisecond => 1_000,
                TimeUnit::Microsecond => 1_000_000,
                TimeUnit::Nanosecond => 1_000_000_000,
            };
        days.checked_mul(ticks).map(Self::Int).ok_or_else(|| {
            Error::invalid("a date is beyond the timestamps of this unit")
                .with("days_since_1970", days)
                .with("type", to)
        })
    }

    fn bool(&self) -> Result<bool> {
        if let Self::Bool(v) = self {
            Ok(*v)
        } else {
            Err(misfit())
        }
    }

    fn float(&self) -> Result<f64> {
        if let Self::Float(v) = self {
            Ok(*v)
        } else {
            Err(misfit())
        }
    }

    fn decimal(&self) -> Result<i128> {
        if let Self::Decimal(v) = self {
            Ok(*v)
        } else {
            Err(misfit())
        }
    }

    fn str(&self) -> Result<&str> {
        if let Self::String(v) = self {
            Ok(v)
        } else {
            Err(misfit())
        }
    }

    fn binary(&self) -> Result<&[u8]> {
        if let Self::Binary(v) = self {
            Ok(v)
        } else {
            Err(misfit())
        }
    }
}

fn misfit() -> Error {
    Error::corrupt("a statistic does not fit the type of its column")
}

fn ints<'a, T>(
    values: impl Iterator<Item = Option<&'a Value>>,
    data_type: &DataType,
) -> Result<ArrayRef>
where
    T: ArrowPrimitiveType,
    T::Native: TryFrom<i64> + TryFrom<u64>,
{
    let native = |value: &Value| match value {
        Value::Int(v) => T::Native::try_from(*v).map_err(|_| misfit()),
        Value::UInt(v) => T::Native::try_from(*v).map_err(|_| misfit()),
        _ => Err(misfit()),
    };
    let array = values
        .map(|value| value.map(native).transpose())
        .collect::<Result<PrimitiveArray<T>>>()?;
    Ok(Arc::new(array.with_data_type(data_type.clone())))
}

mod float_text {
    use serde::{Deserialize as _, Deserializer, Serializer, de::Error as _};

    pub(super) fn serialize<S: Serializer>(value: &f64, serializer: S) -> Result<S::Ok, S::Error> {
        // The shortest text that reads back to the same bits; infinities included.
        serializer.collect_str(&format_args!("{value:?}"))
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<f64, D::Error> {
        let text = String::deserialize(deserializer)?;
        match text.parse::<f64>() {
            Ok(value) if !value.is_nan() => Ok(value),
            _ => Err(D::Error::custom("not a number")),
        }
    }
}

mod decimal_text {
    use serde::{Deserialize as _, Deserializer, Serializer, de::Error as _};

    pub(super) fn serialize<S: Serializer>(value: &i128, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(value)
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(
        deserializer: D,
    ) -> Result<i128, D::Error> {
        String::deserialize(deserializer)?
            .parse()
            .map_err(D::Error::custom)
    }
}

pub(in crate::format) mod hex_text {
    use serde::{Deserialize as _, Deserializer, Serializer, de::Error as _};
    use std::fmt::Write as _;

    pub(in crate::format) fn serialize<S: Serializer>(
        value: &[u8],
        serializer: S,
    ) -> Result<S::Ok, S::Error> {
        let mut text = String::with_capacity(value.len() * 2);
        for byte in value {
            write!(text, "{byte:02x}").map_err(serde::ser::Error::custom)?;
        }
        serializer.serialize_str(&text)
    }

    pub(in crate::format) fn deserialize<'de, D: Deserializer<'de>>(
        deserializer: D,
    ) -> Result<Vec<u8>, D::Error> {
        let text = String::deserialize(deserializer)?;
        if !text.len().is_multiple_of(2) || !text.is_ascii() {
            return Err(D::Error::custom("not hexadecimal"));
        }
        (0..text.len())
            .step_by(2)
            .map(|i| u8::from_str_radix(&text[i..i + 2], 16).map_err(D::Error::custom))
            .collect()
    }
}
