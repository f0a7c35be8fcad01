//! From a value to the partition that it belongs to.
//!
//! The transforms are those of the Apache Iceberg table specification, hashes included (its
//! appendix B), so that a table is laid out as its users know it.

#[cfg(test)]
mod tests;

use std::fmt;
use std::sync::Arc;

use arrow::array::{
    Array as _, ArrayRef, AsArray as _, BinaryViewArray, Int32Array, PrimitiveArray,
    StringViewArray, UInt64Array,
};
use arrow::compute::cast;
use arrow::datatypes::{
    DataType, Date32Type, Decimal128Type, Int32Type, Int64Type, TimeUnit, UInt64Type,
};
use arrow::util::display::array_value_to_string;
use serde::{Deserialize, Serialize};

use super::{Type, Value};
use crate::error::{Error, Result};

/// How the values of a column become those of a partition field; NULL stays NULL.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub enum Transform {
    /// The value itself.
    Identity,
    /// Years since 1970, in UTC.
    Year,
    /// Months since January 1970, in UTC.
    Month,
    /// The day, in UTC.
    Day,
    /// Hours since 1970, in UTC.
    Hour,
    /// One of so many buckets, by a hash.
    Bucket(u32),
    /// The multiple of this width at or below a number; so many characters or bytes that it begins
    /// with.
    Truncate(u32),
}

impl fmt::Display for Transform {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Identity => f.write_str("identity"),
            Self::Year => f.write_str("year"),
            Self::Month => f.write_str("month"),
            Self::Day => f.write_str("day"),
            Self::Hour => f.write_str("hour"),
            Self::Bucket(count) => write!(f, "bucket({count})"),
            Self::Truncate(width) => write!(f, "truncate({width})"),
        }
    }
}

impl From<Transform> for String {
    fn from(transform: Transform) -> Self {
        transform.to_string()
    }
}

impl TryFrom<String> for Transform {
    type Error = Error;

    fn try_from(text: String) -> Result<Self> {
        let unknown = || Error::corrupt("no such transform").with("transform", &text);
        let (name, number) = match text.split_once('(') {
            None => (text.as_str(), None),
            Some((name, rest)) => {
                let number = rest.strip_suffix(')').and_then(|n| n.parse().ok());
                (name, Some(number.ok_or_else(unknown)?))
            }
        };
        Ok(match (name, number) {
            ("identity", None) => Self::Identity,
            ("year", None) => Self::Year,
            ("month", None) => Self::Month,
            ("day", None) => Self::Day,
            ("hour", None) => Self::Hour,
            ("bucket", Some(count)) => Self::Bucket(count),
            ("truncate", Some(width)) => Self::Truncate(width),
            _ => return Err(unknown()),
        })
    }
}

impl Transform {
    /// The type of what it makes of values of `source`.
    ///
    /// # Errors
    ///
    /// `Invalid` if it cannot be applied to them, or has a number that is out of range.
    pub fn result_type(self, source: &Type) -> Result<Type> {
        let whole = 1..=i32::MAX.cast_unsigned();
        match self {
            Self::Bucket(number) | Self::Truncate(number) if !whole.contains(&number) => {
                return Err(Error::invalid("the number of a transform is out of range")
                    .with("transform", self)
                    .with_hint("it is 1 at least"));
            }
            _ => {}
        }
        let number = matches!(
            source,
            Type::Int8
                | Type::Int16
                | Type::Int32
                | Type::Int64
                | Type::UInt8
                | Type::UInt16
                | Type::UInt32
                | Type::UInt64
                | Type::Decimal128 { .. }
        );
        let text = matches!(source, Type::String | Type::Binary);
        let instant = matches!(source, Type::Date64 | Type::Timestamp(..));
        let float = matches!(source, Type::Float32 | Type::Float64);
        let (fits, result) = match self {
            Self::Identity => (source.has_bounds() && !float, source.clone()),
            Self::Year | Self::Month => (instant || *source == Type::Date32, Type::Int32),
            Self::Day => (instant || *source == Type::Date32, Type::Date32),
            Self::Hour => (instant, Type::Int32),
            Self::Bucket(_) => {
                let boolean = *source == Type::Boolean;
                (source.has_bounds() && !float && !boolean, Type::Int32)
            }
            Self::Truncate(_) => (number || text, source.clone()),
        };
        if fits {
            return Ok(result);
        }
        Err(Error::invalid("a transform cannot be applied to this type")
            .with("transform", self)
            .with("type", source)
            .with_hint(match self {
                Self::Identity => "floats and nested columns cannot be partitioned by",
                Self::Year | Self::Month | Self::Day => {
                    "year, month and day are of dates and timestamps"
                }
                Self::Hour => "hour is of timestamps",
                Self::Bucket(_) => {
                    "bucket is of numbers but floats, dates, times, strings and binaries"
                }
                Self::Truncate(_) => "truncate is of integers, decimals, strings and binaries",
            }))
    }

    /// Whether a greater value never becomes a lesser one: bounds of the column bound the
    /// partitions, too.
    pub fn is_monotone(self) -> bool {
        !matches!(self, Self::Bucket(_))
    }

    /// Applies it to the values of a column of type `source`.
    ///
    /// # Errors
    ///
    /// `Invalid` if it cannot be applied to the type, or a value is beyond what it can make.
    pub fn apply(self, source: &Type, values: &ArrayRef) -> Result<ArrayRef> {
        let result = self.result_type(source)?.to_arrow();
        let made: ArrayRef = match self {
            Self::Identity => Arc::clone(values),
            Self::Year => Arc::new(
                days(values)?.try_unary::<_, Int32Type, _>(|day| int32(civil(day).0 - 1_970))?,
            ),
            Self::Month => Arc::new(days(values)?.try_unary::<_, Int32Type, _>(|day| {
                let (year, month) = civil(day);
                int32((year - 1_970) * 12 + month - 1)
            })?),
            Self::Day => Arc::new(days(values)?.try_unary::<_, Date32Type, _>(int32)?),
            Self::Hour => {
                let hour = ticks_per_day(values.data_type()) / 24;
                let ticks = int64(values)?;
                Arc::new(ticks.try_unary::<_, Int32Type, _>(|tick| int32(tick.div_euclid(hour)))?)
            }
            Self::Bucket(count) => Arc::new(bucket(values, count)?),
            Self::Truncate(width) => truncate(values, width)?,
        };
        // Identity keeps the layout that the values came in.
        if *made.data_type() == result {
            return Ok(made);
        }
        cast(&made, &result).map_err(unable)
    }
}

impl Transform {
    /// A value of a partition field of type `ty`, for people: years, months and hours as dates are
    /// written.
    pub fn show(self, value: &Value, ty: &Type) -> String {
        let number = match value {
            Value::Int(number) => *number,
            _ => 0,
        };
        match self {
            Self::Year => format!("{:04}", 1_970 + number),
            Self::Month => {
                let (year, month) = (1_970 + number.div_euclid(12), number.rem_euclid(12) + 1);
                format!("{year:04}-{month:02}")
            }
            Self::Hour => {
                let (year, month, day) = civil_day(number.div_euclid(24));
                let hour = number.rem_euclid(24);
                format!("{year:04}-{month:02}-{day:02}-{hour:02}")
            }
            Self::Identity | Self::Day | Self::Bucket(_) | Self::Truncate(_) => {
                let array = Value::array(&ty.to_arrow(), [Some(value)]);
                let text = array
                    .ok()
                    .and_then(|array| array_value_to_string(&array, 0).ok());
                text.unwrap_or_default()
            }
        }
    }
}

fn unable(source: arrow::error::ArrowError) -> Error {
    Error::invalid("a value cannot be assigned to a partition").with_source(source)
}

fn int32(value: i64) -> Result<i32> {
    i32::try_from(value).map_err(|e| {
        Error::invalid("a date is too far from 1970 to be partitioned by")
            .with("value", value)
            .with_source(e)
    })
}

fn ticks_per_day(data_type: &DataType) -> i64 {
    86_400
        * match data_type {
            DataType::Timestamp(TimeUnit::Second, _) => 1,
            DataType::Timestamp(TimeUnit::Microsecond, _) => 1_000_000,
            DataType::Timestamp(TimeUnit::Nanosecond, _) => 1_000_000_000,
            _ => 1_000,
        }
}

/// Integers, dates, times and timestamps as plain numbers.
fn int64(values: &ArrayRef) -> Result<PrimitiveArray<Int64Type>> {
    let plain = match values.data_type() {
        DataType::Date32 | DataType::Time32(_) => {
            let short = cast(values, &DataType::Int32).map_err(unable)?;
            cast(&short, &DataType::Int64).map_err(unable)?
        }
        _ => cast(values, &DataType::Int64).map_err(unable)?,
    };
    Ok(plain.as_primitive::<Int64Type>().clone())
}

/// Days since 1970.
fn days(values: &ArrayRef) -> Result<PrimitiveArray<Int64Type>> {
    let numbers = int64(values)?;
    if *values.data_type() == DataType::Date32 {
        return Ok(numbers);
    }
    let day = ticks_per_day(values.data_type());
    Ok(numbers.unary(|tick| tick.div_euclid(day)))
}

/// Year and month of a day since 1970 in the proleptic Gregorian calendar, after Howard Hinnant,
/// "chrono-Compatible Low-Level Date Algorithms".
fn civil(day: i64) -> (i64, i64) {
    let (year, month, _) = civil_day(day);
    (year, month)
}

/// As [`civil`], with the day of the month.
fn civil_day(day: i64) -> (i64, i64, i64) {
    let shifted = day.saturating_add(719_468);
    let era = shifted.div_euclid(146_097);
    let of_era = shifted.rem_euclid(146_097);
    let year = (of_era - of_era / 1_460 + of_era / 36_524 - of_era / 146_096) / 365;
    let of_year = of_era - (365 * year + year / 4 - year / 100);
    let from_march = (5 * of_year + 2) / 153;
    let month = if from_march < 10 {
        from_march + 3
    } else {
        from_march - 9
    };
    let day = of_year - (153 * from_march + 2) / 5 + 1;
    (era * 400 + year + i64::from(month <= 2), month, day)
}

fn bucket(values: &ArrayRef, count: u32) -> Result<Int32Array> {
    let place = |bytes: &[u8]| {
        let hash = murmur3(bytes) & i32::MAX.cast_unsigned();
        (hash % count).cast_signed()
    };
    macro_rules! hashed {
        ($array:expr) => {
            $array
                .iter()
                .map(|value| value.map(|v| place(v.as_ref())))
                .collect()
        };
    }
    Ok(match values.data_type() {
        DataType::Utf8 => hashed!(values.as_string::<i32>()),
        DataType::LargeUtf8 => hashed!(values.as_string::<i64>()),
        DataType::Utf8View => hashed!(values.as_string_view()),
        DataType::Binary => hashed!(values.as_binary::<i32>()),
        DataType::LargeBinary => hashed!(values.as_binary::<i64>()),
        DataType::BinaryView => hashed!(values.as_binary_view()),
        DataType::FixedSizeBinary(_) => hashed!(values.as_fixed_size_binary()),
        DataType::Decimal128(..) => {
            let numbers = values.as_primitive::<Decimal128Type>();
            numbers.unary(|v| place(&shortest(v)))
        }
        DataType::UInt64 => values
            .as_primitive::<UInt64Type>()
            .unary(|v| place(&v.to_le_bytes())),
        // An instant is hashed in microseconds, so that the unit does not matter.
        DataType::Timestamp(TimeUnit::Second, _) => {
            int64(values)?.unary(|v| place(&v.wrapping_mul(1_000_000).to_le_bytes()))
        }
        DataType::Timestamp(TimeUnit::Millisecond, _) => {
            int64(values)?.unary(|v| place(&v.wrapping_mul(1_000).to_le_bytes()))
        }
        _ => int64(values)?.unary(|v| place(&v.to_le_bytes())),
    })
}

/// The shortest big-endian two's complement form of a number.
#[expect(
    clippy::big_endian_bytes,
    reason = "the specification hashes them in this order"
)]
fn shortest(value: i128) -> Vec<u8> {
    let bytes = value.to_be_bytes();
    let sign = if value < 0 { 0xff } else { 0 };
    let redundant = |pair: &[u8]| pair[0] == sign && (pair[1] ^ sign) & 0x80 == 0;
    let skip = bytes.windows(2).take_while(|pair| redundant(pair)).count();
    bytes[skip..].to_vec()
}

/// `MurmurHash3` for 32 bits with seed 0 (Austin Appleby, public domain): the crates that have it
/// read from streams or are no longer kept.
fn murmur3(bytes: &[u8]) -> u32 {
    let mix = |k: u32| {
        k.wrapping_mul(0xcc9e_2d51)
            .rotate_left(15)
            .wrapping_mul(0x1b87_3593)
    };
    let (words, rest) = bytes.as_chunks::<4>();
    let mut hash = words.iter().fold(0u32, |hash, word| {
        (hash ^ mix(u32::from_le_bytes(*word)))
            .rotate_left(13)
            .wrapping_mul(5)
            .wrapping_add(0xe654_6b64)
    });
    if !rest.is_empty() {
        let mut last = [0; 4];
        last[..rest.len()].copy_from_slice(rest);
        hash ^= mix(u32::from_le_bytes(last));
    }
    #[expect(
        clippy::cast_possible_truncation,
        reason = "the algorithm takes the low bits"
    )]
    let length = bytes.len() as u32;
    hash ^= length;
    hash = (hash ^ (hash >> 16)).wrapping_mul(0x85eb_ca6b);
    hash = (hash ^ (hash >> 13)).wrapping_mul(0xc2b2_ae35);
    hash ^ (hash >> 16)
}

fn truncate(values: &ArrayRef, width: u32) -> Result<ArrayRef> {
    let below = |what: i128| {
        Error::invalid("a value is too close to the least one of its type to be truncated")
            .with("value", what)
    };
    Ok(match values.data_type() {
        DataType::Utf8 | DataType::LargeUtf8 | DataType::Utf8View => {
            let text = cast(values, &DataType::Utf8View).map_err(unable)?;
            let text = text.as_string_view().iter();
            let end = |text: &str| {
                let mut ends = text.char_indices().skip(width as usize);
                ends.next().map_or(text.len(), |(end, _)| end)
            };
            let cut = text.map(|text| text.map(|text| &text[..end(text)]));
            Arc::new(cut.collect::<StringViewArray>())
        }
        DataType::Binary | DataType::LargeBinary | DataType::BinaryView => {
            let bytes = cast(values, &DataType::BinaryView).map_err(unable)?;
            let bytes = bytes.as_binary_view().iter();
            let cut = bytes.map(|b| b.map(|b| &b[..b.len().min(width as usize)]));
            Arc::new(cut.collect::<BinaryViewArray>())
        }
        DataType::Decimal128(..) => {
            let width = i128::from(width);
            let numbers = values.as_primitive::<Decimal128Type>();
            let data_type = numbers.data_type().clone();
            let floored = numbers.try_unary::<_, Decimal128Type, _>(|v| {
                v.checked_sub(v.rem_euclid(width)).ok_or_else(|| below(v))
            })?;
            Arc::new(floored.with_data_type(data_type))
        }
        from if from.is_unsigned_integer() => {
            let numbers = cast(values, &DataType::UInt64).map_err(unable)?;
            let width = u64::from(width);
            let floored: UInt64Array = numbers
                .as_primitive::<UInt64Type>()
                .unary(|v| v - v % width);
            Arc::new(floored)
        }
        from => {
            let width = i64::from(width);
            let least = least(from);
            let floored = int64(values)?.try_unary::<_, Int64Type, _>(|v| {
                let floor = v.checked_sub(v.rem_euclid(width));
                floor.filter(|f| *f >= least).ok_or_else(|| below(v.into()))
            })?;
            Arc::new(floored)
        }
    })
}

/// The least value of a signed integer type.
fn least(data_type: &DataType) -> i64 {
    match data_type {
        DataType::Int8 => i8::MIN.into(),
        DataType::Int16 => i16::MIN.into(),
        DataType::Int32 => i32::MIN.into(),
        _ => i64::MIN,
    }
}
