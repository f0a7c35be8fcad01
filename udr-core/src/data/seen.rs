//! What is seen of the rows of a file besides what Parquet counts.

use std::cmp::Ordering;

use arrow::array::{
    Array, ArrayRef, AsArray as _, DynComparator, PrimitiveArray, RecordBatch, make_comparator,
};
use arrow::compute::{SortOptions, take};
use arrow::datatypes::{
    ArrowPrimitiveType, DataType, Decimal128Type, Float32Type, Float64Type, Int8Type, Int16Type,
    Int32Type, Int64Type, UInt8Type, UInt16Type, UInt32Type, UInt64Type,
};
use arrow::error::ArrowError;

use crate::error::{Error, Result};
use crate::format::{ColumnStats, Schema, SortField};

/// What is seen of all rows of a file.
#[derive(Debug)]
pub(super) struct SeenRows {
    /// By position.
    columns: Vec<SeenColumn>,
    order: SeenOrder,
}

#[derive(Debug)]
struct SeenColumn {
    /// Whether it holds NaN: Parquet's statistics leave that out, so they bound nothing then.
    nan: bool,
    /// `None` if the column has no sum, or one that is too large.
    sum: Option<i128>,
}

impl SeenRows {
    /// Of no rows yet, of a table.
    pub(super) fn new(schema: &Schema) -> Self {
        let columns = schema.fields().iter().map(|field| SeenColumn {
            nan: false,
            sum: field.ty.has_sum().then_some(0),
        });
        Self {
            columns: columns.collect(),
            order: SeenOrder::new(schema.sorted_by(), schema),
        }
    }

    /// Rows that follow those seen before.
    ///
    /// # Errors
    ///
    /// `Internal` if they cannot be compared.
    pub(super) fn look_at(&mut self, batch: &RecordBatch) -> Result<()> {
        for (seen, column) in self.columns.iter_mut().zip(batch.columns()) {
            seen.nan = seen.nan || has_nan(column.as_ref());
            seen.sum = seen.sum.and_then(|sum| add_sum(sum, column.as_ref()));
        }
        self.order.look_at(batch)
    }

    pub(super) fn has_nan(&self, column: usize) -> bool {
        self.columns.get(column).is_some_and(|seen| seen.nan)
    }

    pub(super) fn sum(&self, column: usize) -> Option<i128> {
        let seen = self.columns.get(column)?;
        seen.sum.and_then(ColumnStats::storable_sum)
    }

    /// The order that the rows have, as far as it is the table's.
    pub(super) fn order(&self) -> &[SortField] {
        self.order.fields()
    }
}

/// How far rows come in an order.
#[derive(Debug)]
pub(super) struct SeenOrder {
    /// The part of the order that held so far.
    fields: Vec<SortField>,
    /// Where the columns are.
    positions: Vec<usize>,
    /// Those of the last row that was seen.
    last: Vec<ArrayRef>,
}

impl SeenOrder {
    /// `order` is over columns of `schema`; it ends at one that is not there.
    pub(super) fn new(order: &[SortField], schema: &Schema) -> Self {
        let columns = schema.fields();
        let known = order.iter().map_while(|field| {
            let position = columns
                .iter()
                .position(|column| column.id == field.source)?;
            Some((*field, position))
        });
        let (fields, positions) = known.unzip();
        Self {
            fields,
            positions,
            last: Vec::new(),
        }
    }

    pub(super) fn fields(&self) -> &[SortField] {
        &self.fields
    }

    /// Rows that follow those seen before, with the columns of the schema in order.
    ///
    /// # Errors
    ///
    /// `Internal` if they cannot be compared.
    pub(super) fn look_at(&mut self, batch: &RecordBatch) -> Result<()> {
        if self.fields.is_empty() || batch.num_rows() == 0 {
            return Ok(());
        }
        let columns = self
            .positions
            .iter()
            .map(|at| ArrayRef::clone(batch.column(*at)));
        let columns = columns.collect::<Vec<_>>();
        if !self.last.is_empty() {
            let across = self.comparators(&self.last, &columns)?;
            self.keep(columns_in_order(&across, [(0, 0)].into_iter()));
        }
        let within = self.comparators(&columns, &columns)?;
        let neighbours = (1..batch.num_rows()).map(|row| (row - 1, row));
        self.keep(columns_in_order(&within, neighbours));
        let last = u64::try_from(batch.num_rows() - 1).unwrap_or(u64::MAX);
        let last = PrimitiveArray::<UInt64Type>::from(vec![last]);
        let taken = columns.iter().map(|column| take(column, &last, None));
        self.last = taken
            .collect::<std::result::Result<_, _>>()
            .map_err(incomparable)?;
        Ok(())
    }

    /// Forgets all but the first fields.
    fn keep(&mut self, fields: usize) {
        self.fields.truncate(fields);
        self.positions.truncate(fields);
    }

    fn comparators(&self, left: &[ArrayRef], right: &[ArrayRef]) -> Result<Vec<DynComparator>> {
        let columns = self.fields.iter().zip(left).zip(right);
        let comparators = columns.map(|((field, left), right)| {
            let options = SortOptions {
                descending: field.descending,
                nulls_first: field.nulls_first,
            };
            make_comparator(left.as_ref(), right.as_ref(), options).map_err(incomparable)
        });
        comparators.collect()
    }
}

fn incomparable(error: ArrowError) -> Error {
    Error::internal("rows cannot be compared").with_source(error)
}

/// By how many columns, from the first on, the pairs of rows are in order.
fn columns_in_order(
    columns: &[DynComparator],
    pairs: impl Iterator<Item = (usize, usize)>,
) -> usize {
    let mut ordered = columns;
    for (before, after) in pairs {
        for (depth, compare) in ordered.iter().enumerate() {
            match compare(before, after) {
                Ordering::Less => break,
                Ordering::Equal => {}
                Ordering::Greater => {
                    ordered = ordered.get(..depth).unwrap_or_default();
                    break;
                }
            }
        }
        if ordered.is_empty() {
            break;
        }
    }
    ordered.len()
}

/// Whether a row that is not NULL is NaN.
pub(super) fn has_nan(array: &dyn Array) -> bool {
    match array.data_type() {
        DataType::Float32 => nan_in(array.as_primitive::<Float32Type>(), f32::is_nan),
        DataType::Float64 => nan_in(array.as_primitive::<Float64Type>(), f64::is_nan),
        _ => false,
    }
}

fn nan_in<T: ArrowPrimitiveType>(
    array: &PrimitiveArray<T>,
    is_nan: impl Fn(T::Native) -> bool,
) -> bool {
    // Without a branch per value the inner loop is vectorised.
    let found = array.values().chunks(1_024).any(|chunk| {
        chunk
            .iter()
            .fold(false, |found, value| found | is_nan(*value))
    });
    // Rows that are NULL can hold anything.
    found && (array.null_count() == 0 || array.iter().flatten().any(is_nan))
}

/// `sum` and the values that are not NULL; `None` if the type has no sum, or it gets too large.
pub(super) fn add_sum(sum: i128, array: &dyn Array) -> Option<i128> {
    match array.data_type() {
        DataType::Int8 => total(sum, array.as_primitive::<Int8Type>()),
        DataType::Int16 => total(sum, array.as_primitive::<Int16Type>()),
        DataType::Int32 => total(sum, array.as_primitive::<Int32Type>()),
        DataType::Int64 => total(sum, array.as_primitive::<Int64Type>()),
        DataType::UInt8 => total(sum, array.as_primitive::<UInt8Type>()),
        DataType::UInt16 => total(sum, array.as_primitive::<UInt16Type>()),
        DataType::UInt32 => total(sum, array.as_primitive::<UInt32Type>()),
        DataType::UInt64 => total(sum, array.as_primitive::<UInt64Type>()),
        DataType::Decimal128(..) => {
            let mut values = array.as_primitive::<Decimal128Type>().iter().flatten();
            values.try_fold(sum, i128::checked_add)
        }
        _ => None,
    }
}

fn total<T: ArrowPrimitiveType>(sum: i128, array: &PrimitiveArray<T>) -> Option<i128>
where
    T::Native: Into<i128>,
{
    // Numbers of 64 bits do not overflow 128, of however many rows a batch is.
    let values = if array.null_count() == 0 {
        array.values().iter().map(|value| (*value).into()).sum()
    } else {
        array.iter().flatten().map(Into::into).sum::<i128>()
    };
    sum.checked_add(values)
}
