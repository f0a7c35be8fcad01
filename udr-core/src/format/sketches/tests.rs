use arrow::array::Int64Array;
use arrow::datatypes::{DataType, Field, Schema as ArrowSchema, TimeUnit};

use super::*;
use crate::env::Env;
use crate::error::ErrorKind;
use crate::format::{ObjectRef, TableState, decode, encode};
use crate::id::Epoch;

fn column(ty: Type, values: i64) -> ColumnSketch {
    let mut sketch = Sketch::new();
    sketch
        .add(&Int64Array::from_iter_values(0..values))
        .unwrap();
    ColumnSketch::new(ty, 7, 9_000, &sketch)
}

fn sketches(columns: impl IntoIterator<Item = (i32, ColumnSketch)>) -> Sketches {
    let columns = columns.into_iter().map(|(id, c)| (FieldId(id), c));
    Sketches {
        columns: columns.collect(),
    }
}

#[test]
fn sketches_survive_encoding() {
    let stored = sketches([
        (1, column(Type::Int64, 5_000)),
        (3, column(Type::String, 0)),
    ]);
    let bytes = encode(&stored).unwrap();
    assert_eq!(decode::<Sketches>(&bytes).unwrap(), stored);
    let none = Sketches::default();
    assert_eq!(decode::<Sketches>(&encode(&none).unwrap()).unwrap(), none);
}

#[test]
fn sketches_that_break_a_rule_are_neither_written_nor_read() {
    let mut cut = column(Type::Int64, 5_000);
    cut.sketch.pop();
    let mut long = column(Type::Int64, 5_000);
    long.sketch.resize(Sketch::BYTES_MAX + 1, 0);
    for broken in [
        sketches([(0, column(Type::Int64, 3))]),
        sketches([(1, column(Type::Float64, 3))]),
        sketches([(1, cut)]),
        sketches([(2, long)]),
    ] {
        let error = encode(&broken).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Corrupt, "{broken:?}");
    }
}

#[test]
fn a_sketch_is_of_a_column_that_the_table_has_or_had() {
    let columns = vec![Field::new("a", DataType::Int64, true)];
    let schema = Schema::from_arrow(&ArrowSchema::new(columns)).unwrap();
    let checked = |id| {
        let sketches = sketches([(id, column(Type::Int64, 3))]);
        sketches.check(&schema, &Error::invalid)
    };
    checked(1).unwrap();
    assert_eq!(checked(2).unwrap_err().kind(), ErrorKind::Invalid);
}

#[test]
fn values_are_the_same_in_a_column_that_was_widened_unless_they_were_dates() {
    let decimal = |precision| Type::Decimal128 {
        precision,
        scale: 2,
    };
    let micros = Type::Timestamp(TimeUnit::Microsecond, None);
    for (from, to, same) in [
        (Type::Int64, Type::Int64, true),
        (Type::Int8, Type::Int64, true),
        (Type::UInt8, Type::UInt32, true),
        (decimal(9), decimal(20), true),
        (Type::Date32, Type::Date32, true),
        (Type::Date32, micros, false),
        (Type::Int64, Type::Int32, false),
        (Type::Int64, Type::String, false),
    ] {
        assert_eq!(column(from.clone(), 3).is_of(&to), same, "{from} to {to}");
    }
}

#[test]
fn a_table_state_without_sketches_does_not_mention_them() {
    let columns = vec![Field::new("a", DataType::Int64, true)];
    let schema = Schema::from_arrow(&ArrowSchema::new(columns)).unwrap();
    let mut state = TableState::empty(Env::seeded(1, 0).table_id(), schema);
    let bytes = encode(&state).unwrap();
    assert!(!String::from_utf8_lossy(&bytes).contains("sketches"));
    let object = encode(&sketches([(1, column(Type::Int64, 3))])).unwrap();
    state.sketches = Some(ObjectRef::of(Epoch(0), &object));
    let bytes = encode(&state).unwrap();
    assert_eq!(decode::<TableState>(&bytes).unwrap(), state);
}
