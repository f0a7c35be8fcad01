use std::sync::Arc;

use arrow::array::{
    ArrayRef, BinaryArray, BinaryViewArray, BooleanArray, Date32Array, Decimal128Array,
    DictionaryArray, FixedSizeBinaryArray, Int8Array, Int32Array, Int64Array, LargeStringArray,
    StringArray, StringViewArray, TimestampMicrosecondArray, UInt16Array, UInt64Array,
    new_empty_array,
};
use arrow::datatypes::{Int32Type, TimeUnit};
use proptest::prelude::*;

use super::*;
use crate::error::ErrorKind;
use crate::format::Type;

fn of(array: &dyn Array) -> Sketch {
    let mut sketch = Sketch::new();
    sketch.add(array).unwrap();
    sketch
}

fn of_numbers(numbers: &[i64]) -> Sketch {
    of(&Int64Array::from(numbers.to_vec()))
}

fn stored(sketch: &Sketch) -> Sketch {
    Sketch::from_bytes(&sketch.to_bytes()).unwrap()
}

#[test]
fn a_count_is_off_by_a_few_percent_at_most() {
    for exact in [0, 1, 8, 300, 5_000, 200_000] {
        let numbers = (0..exact).map(|n| n * 7_919).collect::<Vec<_>>();
        let sketch = of_numbers(&[numbers.clone(), numbers].concat());
        let off = i64::try_from(sketch.count()).unwrap() - exact;
        assert!(off.abs() * 20 <= exact, "{} of {exact}", sketch.count());
        assert!(sketch.to_bytes().len() <= Sketch::BYTES_MAX);
        assert_eq!(stored(&sketch).count(), sketch.count());
    }
}

#[test]
fn a_value_is_the_same_however_arrow_lays_it_out() {
    let words = [Some("a"), None, Some(""), Some("grüße"), Some("a")];
    let dictionary = words.into_iter().collect::<DictionaryArray<Int32Type>>();
    let bytes = words.map(|word| word.map(str::as_bytes)).to_vec();
    let fixed = vec![Some(&b"ab"[..]), None, Some(&b"cd"[..])];
    let decimal = |precision| {
        let values = Decimal128Array::from(vec![Some(150), None, Some(-7)]);
        values.with_precision_and_scale(precision, 2).unwrap()
    };
    let alike: [Vec<ArrayRef>; 6] = [
        vec![
            Arc::new(StringArray::from(words.to_vec())),
            Arc::new(LargeStringArray::from(words.to_vec())),
            Arc::new(StringViewArray::from(words.to_vec())),
            Arc::new(dictionary),
            Arc::new(BinaryArray::from(bytes.clone())),
            Arc::new(BinaryViewArray::from(bytes)),
        ],
        vec![
            Arc::new(BinaryViewArray::from(fixed.clone())),
            Arc::new(
                FixedSizeBinaryArray::try_from_sparse_iter_with_size(fixed.into_iter(), 2).unwrap(),
            ),
        ],
        vec![
            Arc::new(Int8Array::from(vec![Some(-1), None, Some(7)])),
            Arc::new(Int32Array::from(vec![-1, 7])),
            Arc::new(Int64Array::from(vec![-1, 7])),
            Arc::new(Date32Array::from(vec![-1, 7])),
            Arc::new(TimestampMicrosecondArray::from(vec![-1, 7]).with_timezone("+01:00")),
        ],
        vec![
            Arc::new(UInt16Array::from(vec![0, 9])),
            Arc::new(UInt64Array::from(vec![0, 9])),
        ],
        vec![
            Arc::new(BooleanArray::from(vec![Some(true), None])),
            Arc::new(Int64Array::from(vec![1])),
        ],
        vec![Arc::new(decimal(5)), Arc::new(decimal(38))],
    ];
    for arrays in alike {
        let first = of(&arrays[0]);
        assert!(first.count() > 0);
        for array in &arrays {
            let sketch = of(array);
            assert_eq!(sketch.to_bytes(), first.to_bytes(), "{}", array.data_type());
        }
    }
}

#[test]
fn values_of_the_types_that_have_sketches_are_counted_and_no_others() {
    for ty in [
        Type::Boolean,
        Type::Int8,
        Type::UInt64,
        Type::Decimal128 {
            precision: 9,
            scale: 2,
        },
        Type::Date32,
        Type::Timestamp(TimeUnit::Nanosecond, Some("UTC".into())),
        Type::String,
        Type::Binary,
        Type::FixedBinary(3),
        Type::Float16,
        Type::Float64,
        Type::Decimal256 {
            precision: 9,
            scale: 2,
        },
        Type::Date64,
        Type::Time32(TimeUnit::Second),
        Type::Time64(TimeUnit::Nanosecond),
    ] {
        let added = Sketch::new().add(&new_empty_array(&ty.to_arrow()));
        assert_eq!(added.is_ok(), ty.has_sketch(), "{ty}");
        if let Err(error) = added {
            assert_eq!(error.kind(), ErrorKind::Unsupported, "{ty}");
        }
    }
}

#[test]
fn sketches_of_other_sizes_are_corrupt() {
    for (registers, ty) in [
        (11, HllType::Hll6),
        (13, HllType::Hll6),
        (12, HllType::Hll8),
    ] {
        let mut other = HllSketch::new(registers, ty).unwrap();
        for numbers in [1_u64..2, 2..3_000] {
            numbers.for_each(|number| other.update(number));
            let error = Sketch::from_bytes(&other.serialize()).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Corrupt);
        }
    }
}

/// Few values are kept as they are, more of them in registers.
fn numbers() -> impl Strategy<Value = Vec<i64>> {
    let number = prop_oneof![-20_i64..20, -2_000_i64..2_000];
    prop_oneof![
        prop::collection::vec(number.clone(), 0..30),
        prop::collection::vec(number, 0..3_000),
    ]
}

proptest! {
    #[test]
    fn sketches_of_parts_merge_into_that_of_the_whole(
        parts in prop::collection::vec(numbers(), 1..5),
    ) {
        let whole = of_numbers(&parts.concat());
        let mut forth = Sketch::new();
        for part in &parts {
            forth.merge(&stored(&of_numbers(part)));
        }
        let mut back = of_numbers(&parts[parts.len() - 1]);
        for part in parts.iter().rev() {
            back = stored(&back);
            back.merge(&of_numbers(part));
        }
        prop_assert_eq!(forth.count(), whole.count());
        prop_assert_eq!(back.count(), whole.count());
    }

    #[test]
    fn damaged_bytes_are_another_sketch_or_none(
        numbers in numbers(),
        damage in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..6),
        header in prop::collection::vec((0_usize..40, any::<u8>()), 0..3),
        length in any::<prop::sample::Index>(),
        shorten in prop::bool::weighted(0.3),
    ) {
        let mut bytes = of_numbers(&numbers).to_bytes();
        for (at, byte) in damage {
            let at = at.index(bytes.len());
            bytes[at] = byte;
        }
        for (at, byte) in header {
            if let Some(place) = bytes.get_mut(at) {
                *place = byte;
            }
        }
        if shorten {
            bytes.truncate(length.index(bytes.len()));
        }
        match Sketch::from_bytes(&bytes) {
            Err(error) => prop_assert_eq!(error.kind(), ErrorKind::Corrupt),
            Ok(mut sketch) => {
                sketch.merge(&of_numbers(&[1, 2, 3]));
                sketch.add(&Int64Array::from_iter_values(0..1_000)).unwrap();
                prop_assert_eq!(stored(&sketch).count(), sketch.count());
            }
        }
    }
}
