//! Which rows of a data file are read: those that are not deleted.

use std::ops::Range;

use datafusion::datasource::physical_plan::parquet::ParquetRowSelection;
use parquet::arrow::arrow_reader::RowSelection;
use udr_core::data::DeletionVector;
use udr_core::{Error, Result};

/// The rows of a file of `rows` rows without those that are deleted.
///
/// # Errors
///
/// `Unsupported` if the file has more rows than can be addressed here.
pub(super) fn live_rows(deleted: &DeletionVector, rows: u64) -> Result<ParquetRowSelection> {
    let rows = usize::try_from(rows)
        .map_err(|e| Error::unsupported("a data file is too large").with_source(e))?;
    let selection = RowSelection::from_consecutive_ranges(live_ranges(deleted, rows), rows);
    Ok(ParquetRowSelection::new(selection))
}

/// The runs of rows that are not deleted, in order.
fn live_ranges(deleted: &DeletionVector, rows: usize) -> impl Iterator<Item = Range<usize>> {
    // What lies beyond the end is nothing that this file has.
    let ends = deleted
        .iter()
        .map(move |at| usize::try_from(at).unwrap_or(rows).min(rows));
    let mut start = 0;
    ends.chain([rows])
        .map(move |end| {
            let live = start..end;
            start = end.saturating_add(1);
            live
        })
        .filter(|live| live.start < live.end)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ranges(deleted: &[u64], rows: usize) -> Vec<Range<usize>> {
        let deleted = deleted.iter().copied().collect();
        live_ranges(&deleted, rows).collect()
    }

    #[test]
    #[expect(clippy::single_range_in_vec_init, reason = "they are lists of ranges")]
    fn live_rows_are_those_between_the_deleted_ones() {
        assert_eq!(ranges(&[], 5), [0..5]);
        assert_eq!(ranges(&[0], 5), [1..5]);
        assert_eq!(ranges(&[4], 5), [0..4]);
        assert_eq!(ranges(&[1, 2], 5), [0..1, 3..5]);
        assert!(ranges(&[0, 1, 2, 3, 4], 5).is_empty());
        assert_eq!(ranges(&[1, 9], 5), [0..1, 2..5]);
    }

    #[test]
    fn a_selection_covers_the_whole_file() {
        let deleted = [3u64, 7, 9].into_iter().collect();
        let selection = live_rows(&deleted, 10).unwrap().into_inner();
        assert_eq!(selection.row_count(), 7);
        assert_eq!(selection.iter().map(|run| run.row_count).sum::<usize>(), 10);
    }
}
