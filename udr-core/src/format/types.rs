//! Column types, independent of how an engine lays values out in memory.

use std::fmt;
use std::sync::Arc;

use arrow::compute::CastOptions;
use arrow::datatypes::{DataType, Field as ArrowField, Fields, TimeUnit};
use arrow::util::display::FormatOptions;
use serde::{Deserialize, Serialize};

use super::Value;
use super::schema::Field;
use crate::error::{Error, Result};

/// Casts to a column's type: a value that does not fit is an error, not NULL.
pub const EXACT: CastOptions<'static> = CastOptions {
    safe: false,
    format_options: FormatOptions::new(),
};

/// A column type. Text forms such as `timestamp(us,UTC)` are what is stored.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "Repr", into = "Repr")]
#[expect(missing_docs, reason = "the names say it")]
pub enum Type {
    Boolean,
    Int8,
    Int16,
    Int32,
    Int64,
    UInt8,
    UInt16,
    UInt32,
    UInt64,
    Float16,
    Float32,
    Float64,
    Decimal128 { precision: u8, scale: i8 },
    Decimal256 { precision: u8, scale: i8 },
    Date32,
    Date64,
    Time32(TimeUnit),
    Time64(TimeUnit),
    Timestamp(TimeUnit, Option<Arc<str>>),
    String,
    Binary,
    FixedBinary(i32),
    List(Box<Field>),
    FixedList(Box<Field>, i32),
    Struct(Vec<Field>),
    Map { key: Box<Field>, value: Box<Field> },
}

#[derive(Serialize, Deserialize)]
#[serde(untagged)]
enum Repr {
    Plain(String),
    Nested(Nested),
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
enum Nested {
    List(Box<Field>),
    FixedList { element: Box<Field>, size: i32 },
    Struct(Vec<Field>),
    Map { key: Box<Field>, value: Box<Field> },
}

impl Type {
    /// The most bytes of a bound: longer strings and binaries are truncated.
    pub const BOUND_BYTES_MAX: usize = 64;
    /// The largest size of fixed binaries, in bytes, and of fixed lists, in elements.
    pub const FIXED_SIZE_MAX: i32 = 1 << 20;

    /// The arrow type that engines see: strings and binaries are views.
    ///
    /// The parts of nested types are known by name: ids would make another type of them than that
    /// of the same values in an expression.
    pub fn to_arrow(&self) -> DataType {
        self.with_parts(&|field| ArrowField::new(&field.name, field.ty.to_arrow(), field.nullable))
    }

    /// The arrow type in data files, where every part has its field id.
    pub(crate) fn to_file_arrow(&self) -> DataType {
        self.with_parts(&Field::to_file_arrow)
    }

    fn with_parts(&self, part: &dyn Fn(&Field) -> ArrowField) -> DataType {
        match self {
            Self::Boolean => DataType::Boolean,
            Self::Int8 => DataType::Int8,
            Self::Int16 => DataType::Int16,
            Self::Int32 => DataType::Int32,
            Self::Int64 => DataType::Int64,
            Self::UInt8 => DataType::UInt8,
            Self::UInt16 => DataType::UInt16,
            Self::UInt32 => DataType::UInt32,
            Self::UInt64 => DataType::UInt64,
            Self::Float16 => DataType::Float16,
            Self::Float32 => DataType::Float32,
            Self::Float64 => DataType::Float64,
            Self::Decimal128 { precision, scale } => DataType::Decimal128(*precision, *scale),
            Self::Decimal256 { precision, scale } => DataType::Decimal256(*precision, *scale),
            Self::Date32 => DataType::Date32,
            Self::Date64 => DataType::Date64,
            Self::Time32(unit) => DataType::Time32(*unit),
            Self::Time64(unit) => DataType::Time64(*unit),
            Self::Timestamp(unit, zone) => DataType::Timestamp(*unit, zone.clone()),
            Self::String => DataType::Utf8View,
            Self::Binary => DataType::BinaryView,
            Self::FixedBinary(size) => DataType::FixedSizeBinary(*size),
            Self::List(element) => DataType::List(Arc::new(part(element))),
            Self::FixedList(element, size) => {
                DataType::FixedSizeList(Arc::new(part(element)), *size)
            }
            Self::Struct(fields) => DataType::Struct(fields.iter().map(part).collect::<Fields>()),
            Self::Map { key, value } => {
                let entries = Fields::from(vec![part(key), part(value)]);
                let entries = ArrowField::new("entries", DataType::Struct(entries), false);
                DataType::Map(Arc::new(entries), false)
            }
        }
    }

    /// Whether sizes, precision and scale are such that values of the type can be made.
    pub(crate) fn is_in_range(&self) -> bool {
        let sized = |size: i32| (0..=Self::FIXED_SIZE_MAX).contains(&size);
        match self {
            Self::FixedBinary(size) | Self::FixedList(_, size) => sized(*size),
            Self::Decimal128 { precision, .. } => (1..=38).contains(precision),
            Self::Decimal256 { precision, .. } => (1..=76).contains(precision),
            _ => true,
        }
    }

    /// Whether lower and upper bounds are kept for columns of this type.
    pub fn has_bounds(&self) -> bool {
        match self {
            Self::Float16
            | Self::Decimal256 { .. }
            | Self::List(_)
            | Self::FixedList(..)
            | Self::Struct(_)
            | Self::Map { .. } => false,
            Self::FixedBinary(size) => {
                usize::try_from(*size).is_ok_and(|size| size <= Self::BOUND_BYTES_MAX)
            }
            _ => true,
        }
    }

    /// Whether the sum of a column of this type is kept: it is the same in whatever order values are
    /// added.
    pub fn has_sum(&self) -> bool {
        match self {
            Self::Int8
            | Self::Int16
            | Self::Int32
            | Self::Int64
            | Self::UInt8
            | Self::UInt16
            | Self::UInt32
            | Self::UInt64
            | Self::Decimal128 { .. } => true,
            Self::Boolean
            | Self::Float16
            | Self::Float32
            | Self::Float64
            | Self::Decimal256 { .. }
            | Self::Date32
            | Self::Date64
            | Self::Time32(_)
            | Self::Time64(_)
            | Self::Timestamp(..)
            | Self::String
            | Self::Binary
            | Self::FixedBinary(_)
            | Self::List(_)
            | Self::FixedList(..)
            | Self::Struct(_)
            | Self::Map { .. } => false,
        }
    }

    /// Whether the values of a column of this type can be counted: those of floats depend on who
    /// compares them.
    pub fn has_sketch(&self) -> bool {
        match self {
            Self::Boolean
            | Self::Int8
            | Self::Int16
            | Self::Int32
            | Self::Int64
            | Self::UInt8
            | Self::UInt16
            | Self::UInt32
            | Self::UInt64
            | Self::Decimal128 { .. }
            | Self::Date32
            | Self::Timestamp(..)
            | Self::String
            | Self::Binary
            | Self::FixedBinary(_) => true,
            Self::Float16
            | Self::Float32
            | Self::Float64
            | Self::Decimal256 { .. }
            | Self::Date64
            | Self::Time32(_)
            | Self::Time64(_)
            | Self::List(_)
            | Self::FixedList(..)
            | Self::Struct(_)
            | Self::Map { .. } => false,
        }
    }

    /// Whether `value` is one of the type.
    pub fn has_value(&self, value: &Value) -> bool {
        let nan = matches!(value, Value::Float(v) if v.is_nan());
        self.has_bounds() && !nan && Value::array(&self.to_arrow(), [Some(value)]).is_ok()
    }

    /// Whether every value of this type, or nearly every one, is one of `wider` as well, so that a
    /// column can become of that type: integers of a kind, floats, decimals of one scale, dates to
    /// timestamps without a zone.
    ///
    /// The days of a date reach further than the ticks of a timestamp: whether those of a column
    /// do is to be looked at.
    pub fn widens_to(&self, wider: &Self) -> bool {
        let signed = |ty: &Self| match ty {
            Self::Int8 => Some(8),
            Self::Int16 => Some(16),
            Self::Int32 => Some(32),
            Self::Int64 => Some(64),
            _ => None,
        };
        let unsigned = |ty: &Self| match ty {
            Self::UInt8 => Some(8),
            Self::UInt16 => Some(16),
            Self::UInt32 => Some(32),
            Self::UInt64 => Some(64),
            _ => None,
        };
        let grows = |bits: &dyn Fn(&Self) -> Option<u32>| {
            let pair = bits(self).zip(bits(wider));
            pair.is_some_and(|(from, to)| from < to)
        };
        match (self, wider) {
            (Self::Float32, Self::Float64) | (Self::Date32, Self::Timestamp(_, None)) => true,
            (
                Self::Decimal128 { precision, scale },
                Self::Decimal128 {
                    precision: more,
                    scale: same,
                },
            ) => precision < more && scale == same,
            _ => grows(&signed) || grows(&unsigned),
        }
    }

    /// The fields nested directly inside.
    pub fn children(&self) -> Vec<&Field> {
        match self {
            Self::List(element) | Self::FixedList(element, _) => vec![element.as_ref()],
            Self::Struct(fields) => fields.iter().collect(),
            Self::Map { key, value } => vec![key.as_ref(), value.as_ref()],
            _ => Vec::new(),
        }
    }
}

fn unit_name(unit: TimeUnit) -> &'static str {
    match unit {
        TimeUnit::Second => "s",
        TimeUnit::Millisecond => "ms",
        TimeUnit::Microsecond => "us",
        TimeUnit::Nanosecond => "ns",
    }
}

fn parse_unit(name: &str) -> Option<TimeUnit> {
    Some(match name {
        "s" => TimeUnit::Second,
        "ms" => TimeUnit::Millisecond,
        "us" => TimeUnit::Microsecond,
        "ns" => TimeUnit::Nanosecond,
        _ => return None,
    })
}

impl fmt::Display for Type {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Boolean => f.write_str("boolean"),
            Self::Int8 => f.write_str("int8"),
            Self::Int16 => f.write_str("int16"),
            Self::Int32 => f.write_str("int32"),
            Self::Int64 => f.write_str("int64"),
            Self::UInt8 => f.write_str("uint8"),
            Self::UInt16 => f.write_str("uint16"),
            Self::UInt32 => f.write_str("uint32"),
            Self::UInt64 => f.write_str("uint64"),
            Self::Float16 => f.write_str("float16"),
            Self::Float32 => f.write_str("float32"),
            Self::Float64 => f.write_str("float64"),
            Self::Decimal128 { precision, scale } => write!(f, "decimal128({precision},{scale})"),
            Self::Decimal256 { precision, scale } => write!(f, "decimal256({precision},{scale})"),
            Self::Date32 => f.write_str("date32"),
            Self::Date64 => f.write_str("date64"),
            Self::Time32(unit) => write!(f, "time32({})", unit_name(*unit)),
            Self::Time64(unit) => write!(f, "time64({})", unit_name(*unit)),
            Self::Timestamp(unit, None) => write!(f, "timestamp({})", unit_name(*unit)),
            Self::Timestamp(unit, Some(zone)) => {
                write!(f, "timestamp({},{zone})", unit_name(*unit))
            }
            Self::String => f.write_str("string"),
            Self::Binary => f.write_str("binary"),
            Self::FixedBinary(size) => write!(f, "fixed_binary({size})"),
            Self::List(element) => write!(f, "list<{}>", element.ty),
            Self::FixedList(element, size) => write!(f, "fixed_list<{}>({size})", element.ty),
            Self::Struct(fields) => {
                f.write_str("struct<")?;
                for (i, field) in fields.iter().enumerate() {
                    write!(
                        f,
                        "{}{}: {}",
                        if i == 0 { "" } else { ", " },
                        field.name,
                        field.ty
                    )?;
                }
                f.write_str(">")
            }
            Self::Map { key, value } => write!(f, "map<{}, {}>", key.ty, value.ty),
        }
    }
}

fn parse_plain(text: &str) -> Option<Type> {
    let (name, arguments) = match text.split_once('(') {
        None => (text, None),
        Some((name, rest)) => (name, Some(rest.strip_suffix(')')?)),
    };
    let pair = |arguments: &str| -> Option<(u8, i8)> {
        let (precision, scale) = arguments.split_once(',')?;
        Some((precision.parse().ok()?, scale.parse().ok()?))
    };
    Some(match (name, arguments) {
        ("boolean", None) => Type::Boolean,
        ("int8", None) => Type::Int8,
        ("int16", None) => Type::Int16,
        ("int32", None) => Type::Int32,
        ("int64", None) => Type::Int64,
        ("uint8", None) => Type::UInt8,
        ("uint16", None) => Type::UInt16,
        ("uint32", None) => Type::UInt32,
        ("uint64", None) => Type::UInt64,
        ("float16", None) => Type::Float16,
        ("float32", None) => Type::Float32,
        ("float64", None) => Type::Float64,
        ("date32", None) => Type::Date32,
        ("date64", None) => Type::Date64,
        ("string", None) => Type::String,
        ("binary", None) => Type::Binary,
        ("decimal128", Some(a)) => {
            let (precision, scale) = pair(a)?;
            Type::Decimal128 { precision, scale }
        }
        ("decimal256", Some(a)) => {
            let (precision, scale) = pair(a)?;
            Type::Decimal256 { precision, scale }
        }
        ("time32", Some(a)) => match parse_unit(a)? {
            unit @ (TimeUnit::Second | TimeUnit::Millisecond) => Type::Time32(unit),
            _ => return None,
        },
        ("time64", Some(a)) => match parse_unit(a)? {
            unit @ (TimeUnit::Microsecond | TimeUnit::Nanosecond) => Type::Time64(unit),
            _ => return None,
        },
        ("timestamp", Some(a)) => match a.split_once(',') {
            None => Type::Timestamp(parse_unit(a)?, None),
            Some((unit, zone)) => Type::Timestamp(parse_unit(unit)?, Some(Arc::from(zone))),
        },
        ("fixed_binary", Some(a)) => match a.parse().ok()? {
            size if size >= 0 => Type::FixedBinary(size),
            _ => return None,
        },
        _ => return None,
    })
}

impl TryFrom<Repr> for Type {
    type Error = Error;

    fn try_from(repr: Repr) -> Result<Self> {
        Ok(match repr {
            Repr::Plain(text) => match parse_plain(&text) {
                Some(ty) => ty,
                None => return Err(Error::corrupt("unknown column type").with("type", text)),
            },
            Repr::Nested(Nested::List(element)) => Self::List(element),
            Repr::Nested(Nested::FixedList { element, size }) => Self::FixedList(element, size),
            Repr::Nested(Nested::Struct(fields)) => Self::Struct(fields),
            Repr::Nested(Nested::Map { key, value }) => Self::Map { key, value },
        })
    }
}

impl From<Type> for Repr {
    fn from(ty: Type) -> Self {
        match ty {
            Type::List(element) => Self::Nested(Nested::List(element)),
            Type::FixedList(element, size) => Self::Nested(Nested::FixedList { element, size }),
            Type::Struct(fields) => Self::Nested(Nested::Struct(fields)),
            Type::Map { key, value } => Self::Nested(Nested::Map { key, value }),
            plain => Self::Plain(plain.to_string()),
        }
    }
}
