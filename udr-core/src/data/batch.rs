//! Makes incoming batches fit the columns of a table, or says why they do not.

use std::sync::Arc;

use arrow::array::{
    Array as _, ArrayRef, ArrowPrimitiveType, AsArray as _, BooleanBufferBuilder,
    FixedSizeListArray, ListArray, MapArray, PrimitiveArray, RecordBatch, StructArray,
    new_null_array,
};
use arrow::buffer::{BooleanBuffer, NullBuffer, OffsetBuffer};
use arrow::compute::{cast, filter};
use arrow::datatypes::{
    DataType, Decimal128Type, Decimal256Type, DecimalType, Field, Fields, Schema, SchemaRef,
};
use arrow::error::ArrowError;

use crate::error::{Error, Result};

/// The rows of `batch` with columns that Parquet can be written from under `schema`.
///
/// Columns are matched by position. Layouts of one logical type are brought to one another:
/// dictionaries and runs to their values, any list to a list, small decimals to wide ones.
/// Top-level strings and binaries stay in the layout they came in, which Parquet writes as well.
///
/// # Errors
///
/// `Invalid`, naming the column: another type, a NULL in a column that allows none, a decimal
/// beyond its precision.
pub(super) fn conform(batch: &RecordBatch, schema: &SchemaRef) -> Result<RecordBatch> {
    if batch.num_columns() != schema.fields().len() {
        return Err(
            Error::invalid("the number of columns differs from the table's")
                .with("given", batch.num_columns())
                .with("expected", schema.fields().len()),
        );
    }
    let mut changed = false;
    let mut columns = Vec::with_capacity(batch.num_columns());
    for (field, array) in schema.fields().iter().zip(batch.columns()) {
        let column = column(array, field)?;
        changed |= !Arc::ptr_eq(&column, array);
        columns.push(column);
    }
    if !changed {
        return Ok(batch.clone());
    }
    let fields = schema
        .fields()
        .iter()
        .zip(&columns)
        .map(|(field, column)| Field::new(field.name(), column.data_type().clone(), true))
        .collect::<Fields>();
    RecordBatch::try_new(Arc::new(Schema::new(fields)), columns)
        .map_err(|e| Error::internal("columns do not make a batch").with_source(e))
}

fn column(array: &ArrayRef, field: &Field) -> Result<ArrayRef> {
    let path = field.name();
    if field.data_type().is_nested() {
        return nested(array, field, None, path);
    }
    let same = match (array.data_type(), field.data_type()) {
        (DataType::Utf8 | DataType::LargeUtf8, DataType::Utf8View) => true,
        (DataType::Binary | DataType::LargeBinary, DataType::BinaryView) => true,
        (from, to) => from == to,
    };
    let array = if same {
        Arc::clone(array)
    } else {
        plain(array, field.data_type(), path)?
    };
    refuse_nulls(&array, field, None, path)?;
    refuse_wide_decimals(&array, path)?;
    Ok(array)
}

/// Rebuilds a nested column in exactly the type of `field`; `visible` are the rows that no
/// enclosing NULL hides.
fn nested(
    array: &ArrayRef,
    field: &Field,
    visible: Option<&NullBuffer>,
    path: &str,
) -> Result<ArrayRef> {
    let array = &unpack(array, path)?;
    refuse_nulls(array, field, visible, path)?;
    match (array.data_type(), field.data_type()) {
        (DataType::Struct(given), DataType::Struct(fields)) => {
            let names =
                |fields: &Fields| fields.iter().map(|f| f.name().clone()).collect::<Vec<_>>();
            if names(given) != names(fields) {
                return Err(mismatch(array.data_type(), field.data_type(), path));
            }
            structure(array.as_struct(), fields, visible, path)
        }
        (DataType::List(_), DataType::List(element)) => {
            list(array.as_list(), element, visible, path)
        }
        (DataType::FixedSizeList(_, given), DataType::FixedSizeList(element, size))
            if given == size =>
        {
            fixed_list(array.as_fixed_size_list(), element, visible, path)
        }
        (DataType::Map(..), DataType::Map(entries, sorted)) => {
            map(array.as_map(), entries, *sorted, visible, path)
        }
        (_, to) => {
            let array = plain(array, to, path)?;
            refuse_wide_decimals(&array, path)?;
            Ok(array)
        }
    }
}

fn structure(
    array: &StructArray,
    fields: &Fields,
    visible: Option<&NullBuffer>,
    path: &str,
) -> Result<ArrayRef> {
    // What an outer NULL hides is NULL here, too, so that its parts may hold anything.
    let nulls = NullBuffer::union(array.nulls(), visible);
    let columns = array
        .columns()
        .iter()
        .zip(fields)
        .map(|(part, f)| nested(part, f, nulls.as_ref(), &format!("{path}.{}", f.name())))
        .collect::<Result<Vec<_>>>()?;
    let array = StructArray::try_new_with_length(fields.clone(), columns, nulls, array.len());
    Ok(Arc::new(array.map_err(|e| unfit(path, e))?))
}

fn list(
    array: &ListArray,
    element: &Arc<Field>,
    visible: Option<&NullBuffer>,
    path: &str,
) -> Result<ArrayRef> {
    let (nulls, offsets, values) = shown(array.nulls(), visible, array.offsets(), array.values())
        .map_err(|e| unfit(path, e))?;
    let values = nested(
        &values,
        element,
        None,
        &format!("{path}.{}", element.name()),
    )?;
    let array = ListArray::try_new(Arc::clone(element), offsets, values, nulls);
    Ok(Arc::new(array.map_err(|e| unfit(path, e))?))
}

fn fixed_list(
    array: &FixedSizeListArray,
    element: &Arc<Field>,
    visible: Option<&NullBuffer>,
    path: &str,
) -> Result<ArrayRef> {
    let (size, length) = (array.value_length(), array.len());
    let nulls = NullBuffer::union(array.nulls(), visible);
    let each = usize::try_from(size).unwrap_or(0);
    let shown = nulls.as_ref().map(|nulls| nulls.expand(each));
    let element_path = format!("{path}.{}", element.name());
    let values = nested(array.values(), element, shown.as_ref(), &element_path)?;
    let element = Arc::clone(element);
    let array = FixedSizeListArray::try_new_with_length(element, size, values, nulls, length);
    Ok(Arc::new(array.map_err(|e| unfit(path, e))?))
}

fn map(
    array: &MapArray,
    entries: &Arc<Field>,
    sorted: bool,
    visible: Option<&NullBuffer>,
    path: &str,
) -> Result<ArrayRef> {
    let DataType::Struct(fields) = entries.data_type() else {
        return Err(mismatch(array.data_type(), entries.data_type(), path));
    };
    let given: ArrayRef = Arc::new(array.entries().clone());
    let (nulls, offsets, given) =
        shown(array.nulls(), visible, array.offsets(), &given).map_err(|e| unfit(path, e))?;
    // What the two parts are called differs from engine to engine.
    let columns = given
        .as_struct()
        .columns()
        .iter()
        .zip(fields)
        .map(|(part, f)| nested(part, f, None, &format!("{path}.{}", f.name())))
        .collect::<Result<Vec<_>>>()?;
    let length = given.len();
    let parts = StructArray::try_new_with_length(fields.clone(), columns, None, length);
    let map = MapArray::try_new(
        Arc::clone(entries),
        offsets,
        parts.map_err(|e| unfit(path, e))?,
        nulls,
        sorted,
    );
    Ok(Arc::new(map.map_err(|e| unfit(path, e))?))
}

/// Leaves only the elements of lists that are not NULL and that `visible` does not hide.
fn shown(
    nulls: Option<&NullBuffer>,
    visible: Option<&NullBuffer>,
    offsets: &OffsetBuffer<i32>,
    values: &ArrayRef,
) -> Result<(Option<NullBuffer>, OffsetBuffer<i32>, ArrayRef), ArrowError> {
    let nulls = NullBuffer::union(nulls, visible);
    let all = offsets.first().copied() == Some(0)
        && offsets.last().and_then(|end| usize::try_from(*end).ok()) == Some(values.len());
    if all && nulls.as_ref().is_none_or(|nulls| nulls.null_count() == 0) {
        return Ok((nulls, offsets.clone(), Arc::clone(values)));
    }
    let mut keep = BooleanBufferBuilder::new(values.len());
    let mut lengths = Vec::with_capacity(offsets.len());
    for (row, bounds) in offsets.windows(2).enumerate() {
        let [start, end] = [bounds[0], bounds[1]].map(|v| usize::try_from(v).unwrap_or(0));
        let valid = nulls.as_ref().is_none_or(|nulls| nulls.is_valid(row));
        lengths.push(if valid { end - start } else { 0 });
        // Between one list's end and the next one's start there is nothing.
        keep.append_n(start.saturating_sub(keep.len()), false);
        keep.append_n(end - start, valid);
    }
    keep.append_n(values.len() - keep.len(), false);
    let values = filter(values.as_ref(), &keep.finish().into())?;
    Ok((nulls, OffsetBuffer::from_lengths(lengths), values))
}

/// Undoes layouts that stand for another type, at the top of `array` only.
fn unpack(array: &ArrayRef, path: &str) -> Result<ArrayRef> {
    let to = match array.data_type() {
        DataType::Dictionary(_, values) => values.as_ref().clone(),
        DataType::RunEndEncoded(_, values) => values.data_type().clone(),
        DataType::LargeList(element)
        | DataType::ListView(element)
        | DataType::LargeListView(element) => DataType::List(Arc::clone(element)),
        _ => return Ok(Arc::clone(array)),
    };
    cast(array, &to).map_err(|e| unfit(path, e))
}

/// Brings `array` to exactly the type `to` if both are layouts of one logical type.
fn plain(array: &ArrayRef, to: &DataType, path: &str) -> Result<ArrayRef> {
    let array = &unpack(array, path)?;
    let allowed = match (array.data_type(), to) {
        (from, to) if from == to => return Ok(Arc::clone(array)),
        (DataType::Null, _) => return Ok(new_null_array(to, array.len())),
        (DataType::Utf8 | DataType::LargeUtf8 | DataType::Utf8View, DataType::Utf8View)
        | (DataType::Binary | DataType::LargeBinary, DataType::BinaryView) => true,
        (
            DataType::Decimal32(p, s) | DataType::Decimal64(p, s),
            DataType::Decimal128(precision, scale),
        ) => (p, s) == (precision, scale),
        // The zone says how an instant is shown, not which one it is.
        (DataType::Timestamp(from, Some(_)), DataType::Timestamp(to, Some(_))) => from == to,
        _ => false,
    };
    if !allowed {
        return Err(mismatch(array.data_type(), to, path));
    }
    cast(array, to).map_err(|e| unfit(path, e))
}

fn unfit(path: &str, source: ArrowError) -> Error {
    Error::invalid("a column does not fit the table")
        .with("column", path)
        .with_source(source)
}

fn mismatch(given: &DataType, expected: &DataType, path: &str) -> Error {
    Error::invalid("a column has another type than the table's")
        .with("column", path)
        .with("given", given)
        .with("expected", expected)
}

/// Refuses a NULL that can be seen in a column which allows none.
fn refuse_nulls(
    array: &ArrayRef,
    field: &Field,
    visible: Option<&NullBuffer>,
    path: &str,
) -> Result<()> {
    if field.is_nullable() || array.logical_null_count() == 0 {
        return Ok(());
    }
    let nulls = array.logical_nulls();
    let missing = nulls.as_ref().map_or_else(
        || BooleanBuffer::new_unset(array.len()),
        |nulls| !nulls.inner(),
    );
    let seen = match visible {
        Some(visible) => &missing & visible.inner(),
        None => missing,
    };
    match seen.set_indices().next() {
        None => Ok(()),
        Some(row) => Err(Error::invalid("a column that is NOT NULL was given a NULL")
            .with("column", path)
            .with("row", row)),
    }
}

/// Refuses decimals with more digits than their type: Parquet would cut them off unnoticed.
fn refuse_wide_decimals(array: &ArrayRef, path: &str) -> Result<()> {
    let checked = match array.data_type() {
        DataType::Decimal128(precision, _) => {
            let array = array.as_primitive::<Decimal128Type>();
            // Most batches are cleared without a branch per value; rows that are NULL can hold
            // anything, so that a suspicion is looked into.
            let most = 10_i128
                .checked_pow(u32::from(*precision))
                .map_or(0, |limit| limit - 1);
            let wide = |v: &i128| *v > most || *v < -most;
            let suspect = array
                .values()
                .iter()
                .fold(false, |found, v| found | wide(v));
            if suspect {
                check_decimals(array, *precision)
            } else {
                Ok(())
            }
        }
        DataType::Decimal256(precision, _) => {
            check_decimals(array.as_primitive::<Decimal256Type>(), *precision)
        }
        _ => Ok(()),
    };
    checked.map_err(|e| {
        Error::invalid("a decimal has more digits than its column")
            .with("column", path)
            .with_source(e)
    })
}

fn check_decimals<T: DecimalType + ArrowPrimitiveType>(
    array: &PrimitiveArray<T>,
    precision: u8,
) -> Result<(), ArrowError> {
    let scale = match array.data_type() {
        DataType::Decimal128(_, scale) | DataType::Decimal256(_, scale) => *scale,
        _ => 0,
    };
    array
        .iter()
        .flatten()
        .try_for_each(|v| T::validate_decimal_precision(v, precision, scale))
}
