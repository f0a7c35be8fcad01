//! How a data file is read without the rows that are deleted.
//!
//! In: a deletion vector. Out: what the Parquet reader leaves out, and what is taken out of the
//! batches that it makes. Called by `live_rows`, once a file is opened.
//!
//! The reader leaves out runs of rows, at a price for each run and column: it skips, and starts
//! anew. Where few rows are deleted here and there, that is more than to read all rows and to take
//! some out.

use std::ops::Range;
use std::sync::Arc;

use arrow::array::{
    Array as _, ArrayRef, ArrowPrimitiveType, AsArray as _, BooleanArray, BooleanBufferBuilder,
    PrimitiveArray, RecordBatch, RecordBatchOptions, downcast_primitive,
};
use arrow::buffer::{BooleanBuffer, ScalarBuffer};
use arrow::compute::{FilterBuilder, FilterPredicate};
use arrow::datatypes::Int64Type;
use arrow::error::ArrowError;
use datafusion::datasource::physical_plan::parquet::ParquetRowSelection;
use parquet::arrow::arrow_reader::RowSelection;
use udr_core::data::DeletionVector;
use udr_core::{Error, Result};

/// How many rows of a file there are for each run of deleted ones, from where on the reader leaves
/// out all of them.
const ROWS_PER_RUN: usize = 2_048;
/// How long a run of deleted rows is that the reader leaves out in any case: some pages may be in
/// it that need not be read at all.
const LONG_RUN: usize = 8_192;

/// How a file is read.
#[derive(Debug)]
pub(super) struct Reading {
    /// What the reader reads; everything if there is none.
    pub(super) selection: Option<ParquetRowSelection>,
    /// Which of the file's rows are not deleted, if the reader reads others, too.
    pub(super) live: Option<BooleanBuffer>,
}

impl Reading {
    /// The rows of a file of `rows` rows without those that are deleted. These can be read as well,
    /// and taken out, if they are `readable`.
    ///
    /// # Errors
    ///
    /// `Unsupported` if the file has more rows than can be addressed here.
    pub(super) fn new(deleted: &DeletionVector, rows: u64, readable: bool) -> Result<Self> {
        let rows = usize::try_from(rows)
            .map_err(|e| Error::unsupported("a data file is too large").with_source(e))?;
        let runs = deleted_runs(deleted, rows).count();
        let all = !readable || runs.saturating_mul(ROWS_PER_RUN) <= rows;
        let left_out = deleted_runs(deleted, rows).filter(|run| all || run.len() >= LONG_RUN);
        let selection = selection(left_out, rows);
        let live = (!all).then(|| live_rows(deleted, rows));
        Ok(Self { selection, live })
    }
}

/// The runs of deleted rows, in order.
fn deleted_runs(deleted: &DeletionVector, rows: usize) -> impl Iterator<Item = Range<usize>> {
    // What lies beyond the end is nothing that this file has.
    let rows_of = move |at| usize::try_from(at).ok().filter(|at| *at < rows);
    let mut deleted = deleted.iter().map_while(rows_of).peekable();
    std::iter::from_fn(move || {
        let start = deleted.next()?;
        let mut end = start + 1;
        while deleted.next_if_eq(&end).is_some() {
            end += 1;
        }
        Some(start..end)
    })
}

/// All rows but those in `left_out`; nothing if that is all rows.
fn selection(
    left_out: impl Iterator<Item = Range<usize>>,
    rows: usize,
) -> Option<ParquetRowSelection> {
    let mut start = 0;
    let read = left_out
        .chain(std::iter::once(rows..rows))
        .filter_map(|run| {
            let read = start..run.start;
            start = run.end;
            (!read.is_empty()).then_some(read)
        });
    let read = read.collect::<Vec<_>>();
    if read.first().is_some_and(|run| *run == (0..rows)) {
        return None;
    }
    let selection = RowSelection::from_consecutive_ranges(read.into_iter(), rows);
    Some(ParquetRowSelection::new(selection))
}

fn live_rows(deleted: &DeletionVector, rows: usize) -> BooleanBuffer {
    let mut live = BooleanBufferBuilder::new(rows);
    live.append_n(rows, true);
    for run in deleted_runs(deleted, rows) {
        for row in run {
            live.set_bit(row, false);
        }
    }
    live.finish()
}

/// The rows of a batch that are not deleted, without its last column, which has each row's place in
/// the file.
pub(super) fn without_deleted(
    mut batch: RecordBatch,
    live: &BooleanBuffer,
) -> std::result::Result<RecordBatch, ArrowError> {
    let columns = batch.num_columns().saturating_sub(1);
    let places = batch.columns().get(columns);
    let places = places
        .and_then(|places| places.as_primitive_opt::<Int64Type>())
        .filter(|places| places.null_count() == 0)
        .ok_or_else(|| ArrowError::SchemaError("a batch lacks the places of its rows".into()))?;
    let kept = kept(places.values(), live)?;
    batch.remove_column(columns);
    let count = kept.values().count_set_bits();
    if count == batch.num_rows() {
        return Ok(batch);
    }
    let runs = kept.values().set_slices().collect::<Vec<_>>();
    let filter = FilterBuilder::new(&kept).optimize().build();
    let (schema, columns, _) = batch.into_parts();
    let columns = columns.into_iter();
    let columns = columns.map(|column| in_runs(column, &runs, &filter));
    let columns = columns.collect::<std::result::Result<Vec<_>, _>>()?;
    let options = RecordBatchOptions::new().with_row_count(Some(count));
    RecordBatch::try_new_with_options(schema, columns, &options)
}

/// The rows of a column that are in `runs`, which are those of `filter`.
fn in_runs(
    column: ArrayRef,
    runs: &[(usize, usize)],
    filter: &FilterPredicate,
) -> std::result::Result<ArrayRef, ArrowError> {
    macro_rules! moved {
        ($type:ty) => {
            moved::<$type>(column, runs, filter)
        };
    }
    downcast_primitive! {
        column.data_type() => (moved),
        _ => filter.filter(&column),
    }
}

/// As [`in_runs`], within the memory that the column has if nobody else has it, too: most rows move
/// by a little, and new memory would cost more than that.
fn moved<T: ArrowPrimitiveType>(
    column: ArrayRef,
    runs: &[(usize, usize)],
    filter: &FilterPredicate,
) -> std::result::Result<ArrayRef, ArrowError> {
    let values = column.as_primitive_opt::<T>();
    let Some(values) = values.filter(|values| values.null_count() == 0).cloned() else {
        return filter.filter(&column);
    };
    drop(column);
    let rows = values.len();
    let (data_type, values, _) = values.into_parts();
    let of = |values| {
        let array = PrimitiveArray::<T>::try_new(values, None)?;
        Ok::<_, ArrowError>(Arc::new(array.with_data_type(data_type)) as ArrayRef)
    };
    let mut buffer = match values.into_inner().into_mutable() {
        Ok(buffer) => buffer,
        Err(shared) => return filter.filter(&of(ScalarBuffer::new(shared, 0, rows))?),
    };
    let mut count = 0;
    let values = buffer.typed_data_mut::<T::Native>();
    for (start, end) in runs {
        values.copy_within(*start..*end, count);
        count += end - start;
    }
    buffer.truncate(count * size_of::<T::Native>());
    of(ScalarBuffer::new(buffer.into(), 0, count))
}

/// Whether each of the rows at `places` is not deleted.
fn kept(places: &[i64], live: &BooleanBuffer) -> std::result::Result<BooleanArray, ArrowError> {
    let outside = || ArrowError::InvalidArgumentError("a row is outside of its file".into());
    let place = |at: i64| usize::try_from(at).ok().filter(|at| *at < live.len());
    if let Some(first) = places.first() {
        let together = (*first..).zip(places).all(|(next, at)| next == *at);
        let start = place(*first).ok_or_else(outside)?;
        if together && live.len() - start >= places.len() {
            return Ok(BooleanArray::new(live.slice(start, places.len()), None));
        }
    }
    let mut kept = BooleanBufferBuilder::new(places.len());
    for at in places {
        kept.append(live.value(place(*at).ok_or_else(outside)?));
    }
    Ok(BooleanArray::new(kept.finish(), None))
}

#[cfg(test)]
mod tests {
    use arrow::array::{Decimal128Array, Int64Array, StringViewArray};

    use super::*;

    fn vector(deleted: impl IntoIterator<Item = u64>) -> DeletionVector {
        deleted.into_iter().collect()
    }

    fn runs(deleted: &[u64], rows: usize) -> Vec<Range<usize>> {
        deleted_runs(&vector(deleted.iter().copied()), rows).collect()
    }

    #[test]
    #[expect(clippy::single_range_in_vec_init, reason = "they are lists of ranges")]
    fn deleted_rows_are_told_in_runs() {
        assert!(runs(&[], 5).is_empty());
        assert_eq!(runs(&[0], 5), [0..1]);
        assert_eq!(runs(&[1, 2, 4], 5), [1..3, 4..5]);
        assert_eq!(runs(&[0, 1, 2, 3, 4], 5), [0..5]);
        assert_eq!(runs(&[1, 9], 5), [1..2]);
    }

    #[test]
    fn few_runs_are_left_out_by_the_reader() {
        let reading = Reading::new(&vector(10..5_000), 10_000, true).unwrap();
        assert!(reading.live.is_none());
        let selection = reading.selection.unwrap().into_inner();
        assert_eq!(selection.row_count(), 5_010);
        let covered = selection.iter().map(|run| run.row_count);
        assert_eq!(covered.sum::<usize>(), 10_000);
    }

    #[test]
    fn of_many_runs_only_the_long_ones_are_left_out_by_the_reader() {
        let scattered = (0..20_000).step_by(100);
        let reading = Reading::new(&vector(scattered.clone()), 50_000, true).unwrap();
        assert!(reading.selection.is_none());
        let live = reading.live.unwrap();
        assert_eq!((live.len(), live.count_set_bits()), (50_000, 49_800));
        let unreadable = Reading::new(&vector(scattered.clone()), 50_000, false).unwrap();
        assert_eq!(
            unreadable.selection.unwrap().into_inner().row_count(),
            49_800
        );
        assert!(unreadable.live.is_none());
        let deleted = vector(scattered.chain(30_000..45_000));
        let reading = Reading::new(&deleted, 50_000, true).unwrap();
        let selection = reading.selection.unwrap().into_inner();
        assert_eq!(selection.row_count(), 35_000);
        assert_eq!(reading.live.unwrap().count_set_bits(), 34_800);
    }

    #[test]
    fn rows_are_known_by_their_places_in_any_order() {
        let live = live_rows(&vector([3, 5]), 8);
        let places = |places: &[i64]| {
            let column = Arc::new(Int64Array::from(places.to_vec())) as ArrayRef;
            let batch = [("value", Arc::clone(&column)), ("place", column)];
            let batch = RecordBatch::try_from_iter(batch).unwrap();
            let rows = without_deleted(batch, &live)?;
            Ok::<_, ArrowError>(rows.column(0).as_primitive::<Int64Type>().values().to_vec())
        };
        assert_eq!(places(&[2, 3, 4, 5]).unwrap(), [2, 4]);
        assert_eq!(places(&[6, 7]).unwrap(), [6, 7]);
        // As many as from the first to the last, in another order.
        assert_eq!(places(&[3, 4, 1, 2, 7]).unwrap(), [4, 1, 2, 7]);
        assert_eq!(places(&[5, 0]).unwrap(), [0]);
        assert!(places(&[]).unwrap().is_empty());
        assert!(places(&[7, 8]).is_err());
        assert!(places(&[-1]).is_err());
    }

    #[test]
    fn columns_keep_their_types_and_values_whoever_has_their_memory() {
        let live = live_rows(&vector([0, 2, 3]), 6);
        let columns = || -> [(&str, ArrayRef); 5] {
            let decimal = Decimal128Array::from(vec![10, 11, 12, 13, 14, 15]);
            let decimal = decimal.with_precision_and_scale(9, 2).unwrap();
            let nulls = Int64Array::from(vec![None, Some(1), None, Some(3), None, Some(5)]);
            let words = StringViewArray::from(vec!["a", "b", "c", "d", "a longer word", "f"]);
            let sliced = Int64Array::from_iter_values(90..99).slice(3, 6);
            let places = Int64Array::from_iter_values(0..6);
            [
                ("decimal", Arc::new(decimal)),
                ("nulls", Arc::new(nulls)),
                ("words", Arc::new(words)),
                ("sliced", Arc::new(sliced)),
                ("place", Arc::new(places)),
            ]
        };
        let batch = || RecordBatch::try_from_iter(columns()).unwrap();
        let kept = BooleanArray::from(vec![false, true, false, false, true, true]);
        let expected = batch().project(&[0, 1, 2, 3]).unwrap();
        let expected = arrow::compute::filter_record_batch(&expected, &kept).unwrap();
        assert_eq!(without_deleted(batch(), &live).unwrap(), expected);
        let shared = batch();
        let before = batch();
        assert_eq!(without_deleted(shared.clone(), &live).unwrap(), expected);
        assert_eq!(shared, before, "what others have stays as it is");
    }
}
