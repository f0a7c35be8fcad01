//! The order that the rows of a scan come in, where every file has it.

use std::cmp::Ordering;

use datafusion::physical_expr::LexOrdering;
use udr_core::format::{DataFile, Schema, SortField, Type, Value};
use udr_core::snapshot::FileTask;

use crate::exec::sort_exprs;

/// Files dealt out to partitions, and the order that rows have within each.
pub(super) struct OrderedFiles {
    pub(super) ordering: LexOrdering,
    pub(super) partitions: Vec<Vec<FileTask>>,
}

/// Deals files out to at most `partitions` so that each has its rows in the order that is common to
/// all files.
///
/// `None` if there is none, if too many files have values in common, or if the partitions would not
/// be even, though the files are of more than `split_from` bytes together: they stay in theirs, and
/// are not split.
pub(super) fn ordered_files(
    schema: &Schema,
    tasks: &[FileTask],
    partitions: usize,
    split_from: usize,
) -> Option<OrderedFiles> {
    let mut order = comparable(schema, common(tasks)?);
    let leading = order.first()?;
    let dealt = if tasks.len() <= partitions {
        tasks.iter().map(|task| vec![task.clone()]).collect()
    } else {
        // The engine compares the bounds of files, too, and of all columns.
        let known = order.iter().take_while(|field| {
            let mut files = tasks.iter().map(|task| &task.file);
            files.all(|file| is_bounded(field, file))
        });
        order = order.get(..known.count())?;
        apart(leading, tasks, partitions)?
    };
    let bytes = |files: &Vec<FileTask>| files.iter().map(|task| task.file.object.bytes).sum();
    let sizes = dealt.iter().map(bytes).collect::<Vec<_>>();
    if !are_even(&sizes, partitions) && sizes.iter().sum::<u64>() >= split_from as u64 {
        return None;
    }
    Some(OrderedFiles {
        ordering: LexOrdering::new(sort_exprs(schema, order))?,
        partitions: dealt,
    })
}

/// Whether there are as many partitions as are wanted, of about the same size.
pub(super) fn are_even(sizes: &[u64], wanted: usize) -> bool {
    let mean = sizes.iter().sum::<u64>() / (sizes.len().max(1) as u64);
    let largest = sizes.iter().max();
    sizes.len() >= wanted && largest.is_some_and(|largest| *largest <= mean + mean / 8)
}

/// What the orders of all files begin with.
fn common(tasks: &[FileTask]) -> Option<&[SortField]> {
    let mut orders = tasks.iter().map(|task| task.file.sorted_by.as_slice());
    let first = orders.next()?;
    let common = orders.try_fold(first, |common, order| {
        let pairs = common.iter().zip(order);
        let same = pairs.take_while(|(a, b)| a == b).count();
        common.get(..same).filter(|common| !common.is_empty())
    });
    common.filter(|common| !common.is_empty())
}

/// The fields before the first of a column of floats: some operators of the engine take 0.0 and -0.0
/// for equal and go by what follows, others do not.
fn comparable<'a>(schema: &Schema, order: &'a [SortField]) -> &'a [SortField] {
    let is_float = |field: &SortField| {
        let column = schema.field_by_id(field.source);
        column
            .is_none_or(|column| matches!(column.ty, Type::Float16 | Type::Float32 | Type::Float64))
    };
    let end = order.iter().position(is_float).unwrap_or(order.len());
    order.get(..end).unwrap_or_default()
}

/// Deals out files so that within a partition all values of a file come after those of the one
/// before.
fn apart(leading: &SortField, tasks: &[FileTask], partitions: usize) -> Option<Vec<Vec<FileTask>>> {
    let mut files = tasks.iter().collect::<Vec<_>>();
    if files.iter().any(|task| !is_bounded(leading, &task.file)) {
        return None;
    }
    files.sort_by(|a, b| in_order(leading, a, b).then_with(|| digests(a, b)));
    let mut dealt: Vec<(u64, Vec<&FileTask>)> = vec![(0, Vec::new()); partitions];
    for task in files {
        let fitting = dealt.iter_mut().filter(|(_, files)| {
            let last = files.last();
            last.is_none_or(|last| is_before(leading, last, task))
        });
        let (bytes, files) = fitting.min_by_key(|(bytes, _)| *bytes)?;
        *bytes += task.file.object.bytes;
        files.push(task);
    }
    let dealt = dealt.into_iter();
    Some(
        dealt
            .map(|(_, files)| files.into_iter().cloned().collect())
            .collect(),
    )
}

/// Whether it is known between which values all rows of a file are; there are no bounds where one
/// is NaN.
fn is_bounded(by: &SortField, file: &DataFile) -> bool {
    let stats = file.columns.get(&by.source);
    stats.is_some_and(|stats| {
        stats.null_count == Some(0) && stats.lower.is_some() && stats.upper.is_some()
    })
}

/// By their first values.
fn in_order(by: &SortField, a: &FileTask, b: &FileTask) -> Ordering {
    let (a, b) = if by.descending { (b, a) } else { (a, b) };
    let first = |task| bound(by, task, !by.descending);
    let order = first(a).zip(first(b)).and_then(|(a, b)| a.compare(b));
    order.unwrap_or(Ordering::Equal)
}

/// The value that no row of a file is less than, or greater than.
fn bound<'a>(by: &SortField, task: &'a FileTask, lower: bool) -> Option<&'a Value> {
    let stats = task.file.columns.get(&by.source)?;
    let bound = if lower { &stats.lower } else { &stats.upper };
    bound.as_ref().map(|bound| &bound.value)
}

fn digests(a: &FileTask, b: &FileTask) -> Ordering {
    a.file.object.digest.cmp(&b.file.object.digest)
}

/// Whether all rows of `a` come before all rows of `b`, none being equal.
fn is_before(by: &SortField, a: &FileTask, b: &FileTask) -> bool {
    let (a, b) = if by.descending { (b, a) } else { (a, b) };
    let (upper, lower) = (bound(by, a, false), bound(by, b, true));
    let order = upper.zip(lower);
    order.and_then(|(upper, lower)| upper.compare(lower)) == Some(Ordering::Less)
}
