use arrow::array::{
    Date32Array, Decimal128Array, Int8Array, Int64Array, Time64MicrosecondArray,
    TimestampMicrosecondArray, TimestampNanosecondArray, TimestampSecondArray,
};
use proptest::prelude::*;

use super::*;
use crate::error::ErrorKind;

fn text(values: &[&str]) -> ArrayRef {
    Arc::new(StringViewArray::from(values.to_vec()))
}

#[expect(
    clippy::needless_pass_by_value,
    reason = "arrays are made where they are passed"
)]
fn applied(transform: Transform, ty: &Type, values: ArrayRef) -> Vec<Option<i64>> {
    let made = transform.apply(ty, &values).unwrap();
    int64(&made).unwrap().iter().collect()
}

fn micros() -> Type {
    Type::Timestamp(TimeUnit::Microsecond, None)
}

#[test]
fn hashes_are_those_of_the_specification() {
    let hash = |bytes: &[u8]| murmur3(bytes).cast_signed();
    assert_eq!(hash(&34i64.to_le_bytes()), 2_017_239_379);
    assert_eq!(hash(&shortest(1_420)), -500_754_589);
    assert_eq!(hash(&17_486i64.to_le_bytes()), -653_330_422);
    assert_eq!(hash(&81_068_000_000i64.to_le_bytes()), -662_762_989);
    assert_eq!(
        hash(&1_510_871_468_000_000i64.to_le_bytes()),
        -2_047_944_441
    );
    assert_eq!(hash(b"iceberg"), 1_210_000_089);
    assert_eq!(hash(&[0, 1, 2, 3]), -188_683_207);
}

#[test]
fn equal_values_of_any_layout_are_in_one_bucket() {
    let of = |ty: &Type, values: ArrayRef| applied(Transform::Bucket(100), ty, values);
    let expected = vec![Some(i64::from(2_017_239_379 % 100)), None];
    assert_eq!(
        of(
            &Type::Int32,
            Arc::new(Int32Array::from(vec![Some(34), None]))
        ),
        expected
    );
    assert_eq!(
        of(
            &Type::Int64,
            Arc::new(Int64Array::from(vec![Some(34), None]))
        ),
        expected
    );
    assert_eq!(
        of(
            &Type::UInt64,
            Arc::new(UInt64Array::from(vec![Some(34), None]))
        ),
        expected
    );
    let instant = 1_510_871_468;
    let seconds = TimestampSecondArray::from(vec![instant]);
    let micro = TimestampMicrosecondArray::from(vec![instant * 1_000_000]);
    let unit = Type::Timestamp(TimeUnit::Second, None);
    assert_eq!(of(&unit, Arc::new(seconds)), of(&micros(), Arc::new(micro)));
    let time = Time64MicrosecondArray::from(vec![81_068_000_000]);
    let time = of(&Type::Time64(TimeUnit::Microsecond), Arc::new(time));
    assert_eq!(time, [Some(i64::from((-662_762_989 & i32::MAX) % 100))]);
}

#[test]
fn dates_before_1970_are_in_the_year_and_month_they_are_in() {
    let days = Date32Array::from(vec![
        Some(-1),
        Some(0),
        Some(364),
        Some(365),
        Some(-719_162),
        None,
    ]);
    let days = Arc::new(days) as ArrayRef;
    let of = |transform: Transform| applied(transform, &Type::Date32, Arc::clone(&days));
    assert_eq!(
        of(Transform::Year),
        [Some(-1), Some(0), Some(0), Some(1), Some(-1_969), None]
    );
    assert_eq!(
        of(Transform::Month),
        [
            Some(-1),
            Some(0),
            Some(11),
            Some(12),
            Some(-1_969 * 12),
            None
        ]
    );
    let instants = TimestampMicrosecondArray::from(vec![-1, 0, 3_599_999_999]);
    let instants = Arc::new(instants) as ArrayRef;
    let hours = applied(Transform::Hour, &micros(), Arc::clone(&instants));
    assert_eq!(hours, [Some(-1), Some(0), Some(0)]);
    let days = applied(Transform::Day, &micros(), instants);
    assert_eq!(days, [Some(-1), Some(0), Some(0)]);
}

#[test]
fn truncating_floors_numbers_and_cuts_text() {
    let ints = Int32Array::from(vec![Some(-1), Some(0), Some(9), Some(10), None]);
    let ints = applied(Transform::Truncate(10), &Type::Int32, Arc::new(ints));
    assert_eq!(ints, [Some(-10), Some(0), Some(0), Some(10), None]);
    let ty = Type::Decimal128 {
        precision: 5,
        scale: 2,
    };
    let decimals = Decimal128Array::from(vec![-1_065, 1_065])
        .with_precision_and_scale(5, 2)
        .unwrap();
    let made = Transform::Truncate(50)
        .apply(&ty, &(Arc::new(decimals) as ArrayRef))
        .unwrap();
    assert_eq!(
        made.as_primitive::<Decimal128Type>().values(),
        &[-1_100, 1_050]
    );
    let made = Transform::Truncate(2)
        .apply(&Type::String, &text(&["äöü", "a", ""]))
        .unwrap();
    assert_eq!(&made, &text(&["äö", "a", ""]));
}

#[test]
fn what_cannot_be_made_is_refused() {
    let kind = |result: Result<Type>| result.unwrap_err().kind();
    for (transform, ty) in [
        (Transform::Bucket(0), Type::Int32),
        (Transform::Truncate(0), Type::Int32),
        (Transform::Bucket(u32::MAX), Type::Int32),
        (Transform::Identity, Type::Float64),
        (Transform::Month, Type::String),
        (Transform::Hour, Type::Date32),
        (Transform::Truncate(3), Type::Date32),
        (Transform::Bucket(3), Type::Boolean),
    ] {
        assert_eq!(
            kind(transform.result_type(&ty)),
            ErrorKind::Invalid,
            "{transform} of {ty}"
        );
    }
    let least = Arc::new(Int8Array::from(vec![i8::MIN])) as ArrayRef;
    let error = Transform::Truncate(10)
        .apply(&Type::Int8, &least)
        .unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Invalid);
    let far = Arc::new(TimestampSecondArray::from(vec![i64::MAX])) as ArrayRef;
    let ty = Type::Timestamp(TimeUnit::Second, None);
    let error = Transform::Day.apply(&ty, &far).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Invalid);
    for text in [
        "bucket",
        "bucket()",
        "bucket(x)",
        "day(3)",
        "",
        "truncate(-1)",
    ] {
        assert!(Transform::try_from(text.to_owned()).is_err(), "{text}");
    }
}

fn transforms() -> impl Strategy<Value = Transform> {
    prop_oneof![
        Just(Transform::Identity),
        Just(Transform::Year),
        Just(Transform::Month),
        Just(Transform::Day),
        Just(Transform::Hour),
        (1u32..1_000).prop_map(Transform::Bucket),
        (1u32..1_000_000).prop_map(Transform::Truncate),
    ]
}

proptest! {
    #[test]
    fn text_survives(transform in transforms()) {
        prop_assert_eq!(Transform::try_from(transform.to_string()).unwrap(), transform);
    }

    #[test]
    fn monotone_transforms_keep_the_order_and_buckets_their_range(
        transform in transforms(),
        a in any::<i64>(),
        b in any::<i64>(),
    ) {
        let (ty, values): (Type, ArrayRef) = match transform {
            Transform::Truncate(_) => (Type::Int64, Arc::new(Int64Array::from(vec![a, b]))),
            _ => (
                Type::Timestamp(TimeUnit::Nanosecond, None),
                Arc::new(TimestampNanosecondArray::from(vec![a, b])),
            ),
        };
        let Ok(made) = transform.apply(&ty, &values) else {
            // Only what is close to the least value has no multiple below.
            prop_assert!(matches!(transform, Transform::Truncate(w) if a.min(b) < i64::MIN + i64::from(w)));
            return Ok(());
        };
        let made = int64(&made).unwrap();
        if let Transform::Bucket(count) = transform {
            prop_assert!(made.values().iter().all(|v| (0..i64::from(count)).contains(v)));
        } else {
            prop_assert_eq!(a.cmp(&b), a.cmp(&b).then(made.value(0).cmp(&made.value(1))));
            prop_assert!(a > b || made.value(0) <= made.value(1));
        }
    }
}
