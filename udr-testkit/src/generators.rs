//! Arbitrary schemas and batches.
//!
//! In: sizes. Out: proptest strategies that shrink towards few columns, few rows and NULL. Called
//! by property tests of the format and of the data layer.

use std::sync::Arc;

use arrow::array::{
    ArrayRef, ArrowPrimitiveType, BinaryViewArray, BooleanArray, Date32Array, Decimal128Array,
    FixedSizeBinaryArray, ListArray, MapArray, PrimitiveArray, StringViewArray, StructArray,
};
use arrow::buffer::{NullBuffer, OffsetBuffer};
use arrow::datatypes::{
    DataType, Field, FieldRef, Fields, Float32Type, Float64Type, Int8Type, Int16Type, Int32Type,
    Int64Type, Schema, SchemaRef, Time64MicrosecondType, TimeUnit, TimestampMicrosecondType,
    TimestampMillisecondType, TimestampNanosecondType, TimestampSecondType, UInt8Type, UInt16Type,
    UInt32Type, UInt64Type,
};
use arrow::record_batch::{RecordBatch, RecordBatchOptions};
use proptest::collection::vec;
use proptest::option;
use proptest::prelude::{BoxedStrategy, Just, Strategy, any, prop_oneof};

/// The deepest nesting of generated types.
const DEPTH: u32 = 2;

/// A flat column type.
pub fn flat_type() -> BoxedStrategy<DataType> {
    prop_oneof![
        Just(DataType::Int64),
        Just(DataType::Utf8View),
        Just(DataType::Boolean),
        Just(DataType::Int8),
        Just(DataType::Int16),
        Just(DataType::Int32),
        Just(DataType::UInt8),
        Just(DataType::UInt16),
        Just(DataType::UInt32),
        Just(DataType::UInt64),
        Just(DataType::Float32),
        Just(DataType::Float64),
        Just(DataType::BinaryView),
        Just(DataType::Date32),
        Just(DataType::Time64(TimeUnit::Microsecond)),
        (1i32..=20).prop_map(DataType::FixedSizeBinary),
        (1u8..=38)
            .prop_flat_map(|precision| (Just(precision), 0..=precision.min(10)))
            .prop_map(|(precision, scale)| DataType::Decimal128(precision, scale.cast_signed())),
        (
            time_unit(),
            option::of(prop_oneof![Just("UTC"), Just("+02:00")])
        )
            .prop_map(|(unit, zone)| DataType::Timestamp(unit, zone.map(Into::into))),
    ]
    .boxed()
}

fn time_unit() -> impl Strategy<Value = TimeUnit> {
    prop_oneof![
        Just(TimeUnit::Microsecond),
        Just(TimeUnit::Second),
        Just(TimeUnit::Millisecond),
        Just(TimeUnit::Nanosecond),
    ]
}

/// A column type, nested ones included.
pub fn data_type() -> BoxedStrategy<DataType> {
    flat_type()
        .prop_recursive(DEPTH, 8, 3, |inner| {
            let fields = vec((inner.clone(), any::<bool>()), 1..=3);
            prop_oneof![
                (inner.clone(), any::<bool>())
                    .prop_map(|(ty, null)| DataType::List(field("item", ty, null))),
                fields.prop_map(|children| DataType::Struct(numbered(children, "m"))),
                (inner, any::<bool>()).prop_map(|(ty, null)| map_type(ty, null)),
            ]
        })
        .boxed()
}

fn field(name: &str, ty: DataType, nullable: bool) -> FieldRef {
    Arc::new(Field::new(name, ty, nullable))
}

fn numbered(children: Vec<(DataType, bool)>, prefix: &str) -> Fields {
    let named = |(i, (ty, null))| field(&format!("{prefix}{i}"), ty, null);
    children.into_iter().enumerate().map(named).collect()
}

fn map_type(value: DataType, nullable: bool) -> DataType {
    let key = field("key", DataType::Utf8View, false);
    let entry = DataType::Struct([key, field("value", value, nullable)].into_iter().collect());
    DataType::Map(field("entries", entry, false), false)
}

/// A schema of 1 to `columns` columns named `c0`, `c1`, ….
pub fn schema(columns: usize) -> BoxedStrategy<SchemaRef> {
    schema_of(data_type(), columns)
}

/// A schema of 1 to `columns` flat columns.
pub fn flat_schema(columns: usize) -> BoxedStrategy<SchemaRef> {
    schema_of(flat_type(), columns)
}

fn schema_of(ty: BoxedStrategy<DataType>, columns: usize) -> BoxedStrategy<SchemaRef> {
    vec((ty, any::<bool>()), 1..=columns)
        .prop_map(|columns| Arc::new(Schema::new(numbered(columns, "c"))))
        .boxed()
}

/// A batch of `schema` with at most `rows` rows.
pub fn batch(schema: SchemaRef, rows: usize) -> BoxedStrategy<RecordBatch> {
    (0..=rows)
        .prop_flat_map(move |rows| {
            let columns: Vec<_> = schema
                .fields()
                .iter()
                .map(|f| array(f.data_type(), f.is_nullable(), rows))
                .collect();
            let schema = Arc::clone(&schema);
            columns.prop_map(move |columns| assemble(&schema, columns, rows))
        })
        .boxed()
}

/// A batch of any schema with at most `columns` columns and `rows` rows.
pub fn any_batch(columns: usize, rows: usize) -> BoxedStrategy<RecordBatch> {
    schema(columns)
        .prop_flat_map(move |schema| batch(schema, rows))
        .boxed()
}

#[expect(
    clippy::expect_used,
    reason = "the columns were generated from the schema's types"
)]
fn assemble(schema: &SchemaRef, columns: Vec<ArrayRef>, rows: usize) -> RecordBatch {
    let options = RecordBatchOptions::new().with_row_count(Some(rows));
    RecordBatch::try_new_with_options(Arc::clone(schema), columns, &options)
        .expect("columns match the schema they were made from")
}

/// An array of `ty` with exactly `rows` values.
///
/// # Panics
///
/// If `ty` is not one that [`data_type`] makes.
pub fn array(ty: &DataType, nullable: bool, rows: usize) -> BoxedStrategy<ArrayRef> {
    match ty {
        DataType::Struct(fields) => struct_array(fields.clone(), nullable, rows),
        DataType::List(item) => list_array(Arc::clone(item), nullable, rows),
        DataType::Map(entries, _) => map_array(Arc::clone(entries), nullable, rows),
        _ => flat_array(ty, nullable, rows),
    }
}

fn values<T: std::fmt::Debug + Clone + 'static>(
    value: impl Strategy<Value = T> + 'static,
    nullable: bool,
    rows: usize,
) -> BoxedStrategy<Vec<Option<T>>> {
    if nullable {
        vec(option::weighted(0.8, value), rows).boxed()
    } else {
        vec(value.prop_map(Some), rows).boxed()
    }
}

fn numbers<T: ArrowPrimitiveType>(
    value: impl Strategy<Value = T::Native> + 'static,
    nullable: bool,
    rows: usize,
    ty: &DataType,
) -> BoxedStrategy<ArrayRef> {
    let ty = ty.clone();
    values(value, nullable, rows)
        .prop_map(move |v| -> ArrayRef {
            Arc::new(
                v.into_iter()
                    .collect::<PrimitiveArray<T>>()
                    .with_data_type(ty.clone()),
            )
        })
        .boxed()
}

#[expect(
    clippy::panic,
    reason = "a test asked for a type that no generator makes"
)]
fn flat_array(ty: &DataType, nullable: bool, rows: usize) -> BoxedStrategy<ArrayRef> {
    let (n, r) = (nullable, rows);
    match ty {
        DataType::Int8 => numbers::<Int8Type>(any::<i8>(), n, r, ty),
        DataType::Int16 => numbers::<Int16Type>(any::<i16>(), n, r, ty),
        DataType::Int32 => numbers::<Int32Type>(any::<i32>(), n, r, ty),
        DataType::Int64 => numbers::<Int64Type>(any::<i64>(), n, r, ty),
        DataType::UInt8 => numbers::<UInt8Type>(any::<u8>(), n, r, ty),
        DataType::UInt16 => numbers::<UInt16Type>(any::<u16>(), n, r, ty),
        DataType::UInt32 => numbers::<UInt32Type>(any::<u32>(), n, r, ty),
        DataType::UInt64 => numbers::<UInt64Type>(any::<u64>(), n, r, ty),
        DataType::Float32 => numbers::<Float32Type>(proptest::num::f32::ANY, n, r, ty),
        DataType::Float64 => numbers::<Float64Type>(proptest::num::f64::ANY, n, r, ty),
        DataType::Date32 => values(-800_000i32..800_000, n, r)
            .prop_map(|v| -> ArrayRef { Arc::new(v.into_iter().collect::<Date32Array>()) })
            .boxed(),
        DataType::Time64(TimeUnit::Microsecond) => {
            numbers::<Time64MicrosecondType>(0i64..86_400_000_000, n, r, ty)
        }
        DataType::Timestamp(unit, _) => match unit {
            TimeUnit::Second => {
                numbers::<TimestampSecondType>(-9_999_999_999i64..9_999_999_999, n, r, ty)
            }
            TimeUnit::Millisecond => {
                numbers::<TimestampMillisecondType>(any::<i32>().prop_map(i64::from), n, r, ty)
            }
            TimeUnit::Microsecond => numbers::<TimestampMicrosecondType>(any::<i64>(), n, r, ty),
            TimeUnit::Nanosecond => numbers::<TimestampNanosecondType>(any::<i64>(), n, r, ty),
        },
        DataType::Boolean => values(any::<bool>(), n, r)
            .prop_map(|v| -> ArrayRef { Arc::new(BooleanArray::from(v)) })
            .boxed(),
        DataType::Utf8View => values("[ -~äß\u{1f600}]{0,40}", n, r)
            .prop_map(|v| -> ArrayRef { Arc::new(v.into_iter().collect::<StringViewArray>()) })
            .boxed(),
        DataType::BinaryView => values(vec(any::<u8>(), 0..40), n, r)
            .prop_map(|v| -> ArrayRef { Arc::new(v.into_iter().collect::<BinaryViewArray>()) })
            .boxed(),
        DataType::FixedSizeBinary(size) => fixed_binary(*size, n, r),
        DataType::Decimal128(precision, scale) => decimal(*precision, *scale, n, r),
        other => panic!("no generator for {other}"),
    }
}

#[expect(clippy::expect_used, reason = "every value was made with the size")]
fn fixed_binary(size: i32, nullable: bool, rows: usize) -> BoxedStrategy<ArrayRef> {
    let length = usize::try_from(size).expect("generated sizes are positive");
    values(vec(any::<u8>(), length), nullable, rows)
        .prop_map(move |v| -> ArrayRef {
            let array = FixedSizeBinaryArray::try_from_sparse_iter_with_size(v.into_iter(), size);
            Arc::new(array.expect("every value has the size"))
        })
        .boxed()
}

#[expect(
    clippy::expect_used,
    reason = "precision and scale come from a valid type"
)]
fn decimal(precision: u8, scale: i8, nullable: bool, rows: usize) -> BoxedStrategy<ArrayRef> {
    let limit = 10i128.pow(u32::from(precision)) - 1;
    values(-limit..=limit, nullable, rows)
        .prop_map(move |v| -> ArrayRef {
            let array = v.into_iter().collect::<Decimal128Array>();
            Arc::new(
                array
                    .with_precision_and_scale(precision, scale)
                    .expect("a valid type"),
            )
        })
        .boxed()
}

fn validity(nullable: bool, rows: usize) -> BoxedStrategy<Option<NullBuffer>> {
    if nullable {
        vec(proptest::bool::weighted(0.8), rows)
            .prop_map(|v| Some(NullBuffer::from(v)))
            .boxed()
    } else {
        Just(None).boxed()
    }
}

fn struct_array(fields: Fields, nullable: bool, rows: usize) -> BoxedStrategy<ArrayRef> {
    let children: Vec<_> = fields
        .iter()
        .map(|f| array(f.data_type(), f.is_nullable(), rows))
        .collect();
    (children, validity(nullable, rows))
        .prop_map(move |(children, nulls)| -> ArrayRef {
            Arc::new(StructArray::new(fields.clone(), children, nulls))
        })
        .boxed()
}

fn list_array(item: FieldRef, nullable: bool, rows: usize) -> BoxedStrategy<ArrayRef> {
    (vec(0usize..4, rows), validity(nullable, rows))
        .prop_flat_map(move |(lengths, nulls)| {
            let lengths = visible(lengths, nulls.as_ref());
            let items = array(item.data_type(), item.is_nullable(), lengths.iter().sum());
            let item = Arc::clone(&item);
            items.prop_map(move |items| -> ArrayRef {
                let offsets = OffsetBuffer::from_lengths(lengths.iter().copied());
                Arc::new(ListArray::new(
                    Arc::clone(&item),
                    offsets,
                    items,
                    nulls.clone(),
                ))
            })
        })
        .boxed()
}

fn map_array(entries: FieldRef, nullable: bool, rows: usize) -> BoxedStrategy<ArrayRef> {
    (vec(0usize..4, rows), validity(nullable, rows))
        .prop_flat_map(move |(lengths, nulls)| {
            let lengths = visible(lengths, nulls.as_ref());
            let items = array(entries.data_type(), false, lengths.iter().sum());
            let entries = Arc::clone(&entries);
            items.prop_map(move |items| -> ArrayRef {
                use arrow::array::AsArray as _;
                let offsets = OffsetBuffer::from_lengths(lengths.iter().copied());
                let items = items.as_struct().clone();
                Arc::new(MapArray::new(
                    Arc::clone(&entries),
                    offsets,
                    items,
                    nulls.clone(),
                    false,
                ))
            })
        })
        .boxed()
}

/// Nothing lies under a NULL, so that equal arrays have equal children.
fn visible(lengths: Vec<usize>, nulls: Option<&NullBuffer>) -> Vec<usize> {
    let shown = |(i, n)| {
        if nulls.is_none_or(|nulls| nulls.is_valid(i)) {
            n
        } else {
            0
        }
    };
    lengths.into_iter().enumerate().map(shown).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    proptest::proptest! {
        #[test]
        fn a_batch_has_the_schema_it_was_made_for(batch in any_batch(4, 6)) {
            for (column, field) in batch.columns().iter().zip(batch.schema().fields()) {
                proptest::prop_assert_eq!(column.data_type(), field.data_type());
                proptest::prop_assert!(field.is_nullable() || column.null_count() == 0);
            }
        }
    }
}
