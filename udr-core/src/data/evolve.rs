//! From the columns of a data file to those that its table has by now.
//!
//! In: arrays as a file has them, whose fields carry their ids. Out: arrays of the table's types.
//! Parts are found by id at every depth: what the file does not have is NULL, or a column's initial
//! value, and what the table does not have any more is left out. Called by the reader, and by
//! engines that read files themselves.

use std::sync::Arc;

use arrow::array::{
    Array as _, ArrayRef, AsArray as _, FixedSizeListArray, ListArray, MapArray, StructArray,
    new_null_array,
};
use arrow::compute::{cast_with_options, take};
use arrow::datatypes::{DataType, Field as ArrowField, Fields, UInt64Type};
use parquet::arrow::PARQUET_FIELD_ID_META_KEY;

use crate::error::{Error, Result};
use crate::format::{EXACT, Field, Type, Value};
use crate::id::FieldId;

/// The id that a column of a file carries.
pub fn field_id(field: &ArrowField) -> Option<FieldId> {
    let id = field.metadata().get(PARQUET_FIELD_ID_META_KEY)?;
    id.parse().ok().map(FieldId)
}

/// Whether a column of a file has the type that the column of the table has by now.
pub fn is_current(file: &ArrowField, field: &Field) -> bool {
    *file.data_type() == field.ty.to_file_arrow()
}

/// Whether a column of a file can be read as one of the table.
///
/// # Errors
///
/// `Corrupt` if it is of a type that the column never had.
pub(super) fn check(file: &ArrowField, field: &Field) -> Result<()> {
    let wrong = || {
        Error::corrupt("a column of a data file is not the one of its table")
            .with("column", &field.name)
            .with("id", field.id)
            .with("type", file.data_type())
            .with("expected", &field.ty)
    };
    match (file.data_type(), &field.ty) {
        (DataType::Struct(parts), Type::Struct(fields)) => {
            for part in fields {
                match source(parts, part.id) {
                    Some((_, file)) => check(file, part)?,
                    None if part.nullable => {}
                    None => return Err(wrong()),
                }
            }
            Ok(())
        }
        (DataType::List(file), Type::List(element)) => check(file, element),
        (DataType::FixedSizeList(file, size), Type::FixedList(element, expected))
            if size == expected =>
        {
            check(file, element)
        }
        (DataType::Map(entries, _), Type::Map { key, value }) => match entries.data_type() {
            DataType::Struct(parts) if parts.len() == 2 => {
                check(&parts[0], key)?;
                check(&parts[1], value)
            }
            _ => Err(wrong()),
        },
        (from, to) => match is_current(file, field) || became(from, to) {
            true => Ok(()),
            false => Err(wrong()),
        },
    }
}

/// Whether values of a column as it was can be read as those of the column that it is elsewhere.
pub(crate) fn becomes(was: &Field, field: &Field) -> bool {
    check(&was.to_file_arrow(), field).is_ok()
}

/// Whether a column of type `to` can have been of the type `from`, which is not nested.
fn became(from: &DataType, to: &Type) -> bool {
    let from = match from {
        DataType::Int8 => Type::Int8,
        DataType::Int16 => Type::Int16,
        DataType::Int32 => Type::Int32,
        DataType::UInt8 => Type::UInt8,
        DataType::UInt16 => Type::UInt16,
        DataType::UInt32 => Type::UInt32,
        DataType::Float32 => Type::Float32,
        DataType::Date32 => Type::Date32,
        // As files that were adopted have them.
        DataType::Utf8 | DataType::LargeUtf8 => return *to == Type::String,
        DataType::Binary | DataType::LargeBinary => return *to == Type::Binary,
        DataType::Decimal128(precision, scale) => Type::Decimal128 {
            precision: *precision,
            scale: *scale,
        },
        _ => return false,
    };
    from.widens_to(to)
}

/// A column of a file as the column of the table that it is by now.
///
/// # Errors
///
/// `Corrupt` if it is of a type that the column never had, or has a value that is none of the
/// column's type.
pub fn evolve(array: &ArrayRef, file: &ArrowField, field: &Field) -> Result<ArrayRef> {
    if !is_current(file, field) {
        check(file, field)?;
    }
    evolve_checked(array, field)
}

fn evolve_checked(array: &ArrayRef, field: &Field) -> Result<ArrayRef> {
    let to = field.ty.to_arrow();
    let evolved = match (&field.ty, array.data_type(), &to) {
        (_, from, to) if from == to => return Ok(Arc::clone(array)),
        (Type::Struct(fields), DataType::Struct(parts), DataType::Struct(to)) => {
            let array = array.as_struct();
            let columns = fields.iter().map(|field| match source(parts, field.id) {
                Some((at, _)) => evolve_checked(array.column(at), field),
                None => Ok(new_null_array(&field.ty.to_arrow(), array.len())),
            });
            let columns = columns.collect::<Result<Vec<_>>>()?;
            let nulls = array.nulls().cloned();
            StructArray::try_new_with_length(to.clone(), columns, nulls, array.len())
                .map(|array| Arc::new(array) as ArrayRef)
        }
        (Type::List(element), DataType::List(_), DataType::List(to)) => {
            let list = array.as_list::<i32>();
            let values = evolve_checked(list.values(), element)?;
            let (offsets, nulls) = (list.offsets().clone(), list.nulls().cloned());
            ListArray::try_new(Arc::clone(to), offsets, values, nulls)
                .map(|list| Arc::new(list) as ArrayRef)
        }
        (
            Type::FixedList(element, size),
            DataType::FixedSizeList(..),
            DataType::FixedSizeList(to, _),
        ) => {
            let list = array.as_fixed_size_list();
            let values = evolve_checked(list.values(), element)?;
            FixedSizeListArray::try_new(Arc::clone(to), *size, values, list.nulls().cloned())
                .map(|list| Arc::new(list) as ArrayRef)
        }
        (Type::Map { key, value }, DataType::Map(..), DataType::Map(entries, sorted)) => {
            let map = array.as_map();
            let DataType::Struct(fields) = entries.data_type() else {
                return Err(Error::internal("the entries of a map are no pairs"));
            };
            let columns = vec![
                evolve_checked(map.keys(), key)?,
                evolve_checked(map.values(), value)?,
            ];
            let (offsets, nulls) = (map.offsets().clone(), map.nulls().cloned());
            StructArray::try_new(fields.clone(), columns, None)
                .and_then(|pairs| {
                    MapArray::try_new(Arc::clone(entries), offsets, pairs, nulls, *sorted)
                })
                .map(|map| Arc::new(map) as ArrayRef)
        }
        _ => cast_with_options(array, &to, &EXACT),
    };
    evolved.map_err(|e| {
        Error::corrupt("a column of a data file does not fit its table")
            .with("column", &field.name)
            .with_source(e)
    })
}

fn source(parts: &Fields, id: FieldId) -> Option<(usize, &ArrowField)> {
    let found = parts
        .iter()
        .position(|part| field_id(part.as_ref()) == Some(id))?;
    Some((found, parts[found].as_ref()))
}

/// A column in `rows` rows that were written before it was added.
///
/// # Errors
///
/// `Corrupt` if its initial value is none of its type.
pub fn initial(field: &Field, rows: usize) -> Result<ArrayRef> {
    let data_type = field.ty.to_arrow();
    let Some(value) = &field.initial else {
        return Ok(new_null_array(&data_type, rows));
    };
    let one = Value::array(&data_type, [Some(value)])?;
    let same = arrow::array::PrimitiveArray::<UInt64Type>::from_value(0, rows);
    take(one.as_ref(), &same, None)
        .map_err(|e| Error::internal("a value cannot be repeated").with_source(e))
}
