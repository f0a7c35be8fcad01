//! Compares a data file with its entry in a manifest (invariants 1, 5 and 7).

use std::cmp::Ordering;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use arrow::array::{Array as _, ArrayRef, AsArray as _, RecordBatch};
use arrow::compute::cast;
use arrow::compute::kernels::aggregate;
use arrow::datatypes::{
    DataType, Decimal128Type, Float64Type, Int64Type, Schema as ArrowSchema, UInt64Type,
};
use futures::TryStreamExt as _;
use parquet::arrow::ArrowSchemaConverter;
use parquet::arrow::arrow_reader::{ArrowReaderMetadata, ArrowReaderOptions};
use parquet::file::metadata::ParquetMetaData;
use parquet::schema::types::Type as ParquetType;

use super::adopt;
use super::evolve::{self, is_current};
use super::footer::fetch_footer;
use super::live::read_identities;
use super::reader::read_verified_batches;
use super::seen::{SeenOrder, add_sum, has_nan};
use super::stats::{file_stats, lower_bound, upper_bound};
use crate::error::{Error, Result};
use crate::format::{Bound, ColumnStats, DataFile, Field, Schema, SortField, Value, evolved_stats};
use crate::id::{FieldId, TableId};
use crate::store::{Place, Store, Verify};

/// Reads the footer of a data file and checks that it is what the file's entry says.
///
/// That is: the digest of the footer, the number of rows, types and field ids of the columns, where
/// these lie, and that no statistic contradicts those that the footer has.
///
/// # Errors
///
/// `Corrupt`, saying what is wrong; `Unavailable` from the store.
pub async fn verify_footer(
    store: &Store,
    table: TableId,
    file: &DataFile,
    schema: &Schema,
) -> Result<()> {
    let footer = Arc::new(fetch_footer(store, table, file).await?);
    let check = || {
        let metadata = ArrowReaderMetadata::try_new(Arc::clone(&footer), ArrowReaderOptions::new());
        let metadata = metadata.map_err(|e| {
            Error::corrupt("the columns of a data file cannot be understood").with_source(e)
        })?;
        let columns = FileColumns {
            parquet: footer.file_metadata().schema_descr().root_schema(),
            arrow: metadata.schema(),
        };
        if let Some(adopted) = &file.adopted {
            return adopt::check(metadata.schema(), adopted, schema);
        }
        check_columns(columns, schema)?;
        check_identity(columns, file.carries_identity)?;
        compare_recorded(&footer, metadata.schema(), file, schema)
    };
    check().map_err(|e| e.with("data_file", file.object.digest))
}

/// The columns of a file.
#[derive(Clone, Copy)]
struct FileColumns<'a> {
    parquet: &'a ParquetType,
    arrow: &'a ArrowSchema,
}

/// Compares an entry with Parquet's own statistics, where these are the values of rows.
fn compare_recorded(
    footer: &ParquetMetaData,
    columns: &ArrowSchema,
    file: &DataFile,
    schema: &Schema,
) -> Result<()> {
    let written = Schema::of_file(columns)?;
    // Parquet leaves NaN out, so what it says of floats holds for the other values.
    let recorded = file_stats(&written, footer, None);
    let recorded = evolved_stats(&recorded, &written, schema)?;
    let wrong = |entry: Option<&Bound>, recorded: Option<&Bound>, outer| {
        let exact = recorded.filter(|bound| bound.exact);
        exact.is_some_and(|bound| !holds(entry, Some(&bound.value), outer))
    };
    for (id, stats) in &file.columns {
        let Some(recorded) = recorded.get(id) else {
            continue;
        };
        let nulls = stats.null_count.zip(recorded.null_count);
        let what = if nulls.is_some_and(|(entry, recorded)| entry != recorded) {
            "null count"
        } else if wrong(
            stats.lower.as_ref(),
            recorded.lower.as_ref(),
            Ordering::Less,
        ) {
            "lower bound"
        } else if wrong(
            stats.upper.as_ref(),
            recorded.upper.as_ref(),
            Ordering::Greater,
        ) {
            "upper bound"
        } else {
            continue;
        };
        return Err(wrong_statistic(what, *id, schema));
    }
    Ok(())
}

fn wrong_statistic(what: &str, id: FieldId, schema: &Schema) -> Error {
    let name = schema
        .field_by_id(id)
        .map_or("", |field| field.name.as_str());
    Error::corrupt("a statistic of a data file is wrong")
        .with("statistic", what)
        .with("column", name)
}

/// Reads all of a data file and checks that it is what its entry says.
///
/// That is: length and digest of the file and of its footer, the number of rows, their order, types
/// and field ids of its columns, and that no statistic is wrong. Statistics may be absent, and bounds
/// that are not exact may be wider than the values.
///
/// # Errors
///
/// `Corrupt`, saying what is wrong; `Unavailable` from the store.
pub async fn verify_data_file(
    store: &Store,
    table: TableId,
    file: &DataFile,
    schema: &Schema,
) -> Result<()> {
    // The digest comes first: only bytes that were written by this format are decoded.
    store
        .verify_data_file(Place::of(table, file), &file.object)
        .await?;
    verify_footer(store, table, file, schema).await?;

    let mut found = Found::new(&file.sorted_by, schema);
    // A column that is NOT NULL by now may have been written when it was not, with rows that are
    // deleted.
    let relaxed = schema.relaxed();
    // The digests of chunks are checked on the way.
    let read = read_verified_batches(store, table, file, &relaxed, Verify::Full);
    let mut batches = read.await?;
    while let Some(batch) = batches.try_next().await? {
        found.add(schema, &batch)?;
    }
    found
        .compare(file, schema)
        .map_err(|e| e.with("data_file", file.object.digest))?;
    verify_identities(store, table, file).await
}

/// Reads the identity of every row of a data file, and checks that it can be one.
async fn verify_identities(store: &Store, table: TableId, file: &DataFile) -> Result<()> {
    if !file.carries_identity {
        return Ok(());
    }
    let mut batches = read_identities(store, table, file).await?;
    while let Some(batch) = batches.try_next().await? {
        for row in 0..batch.len() {
            let origin = batch.origin(row);
            origin.map_err(|e| e.with("data_file", file.object.digest))?;
        }
    }
    Ok(())
}

/// Checks that a file has all columns of identity, of their types, or none, as its entry says.
fn check_identity(file: FileColumns<'_>, carries: bool) -> Result<()> {
    let wrong = || Error::corrupt("a data file has other columns of identity than its entry says");
    let identity = Schema::identity_only();
    check_columns(file, &identity)?;
    let has = |id: FieldId| {
        file.parquet.get_fields().iter().any(|column| {
            let info = column.get_basic_info();
            info.has_id() && info.id() == id.0
        })
    };
    let found = identity.fields().iter().map(|field| has(field.id));
    match found.collect::<Vec<_>>().as_slice() {
        [true, true, true] if carries => Ok(()),
        [false, false, false] if !carries => Ok(()),
        _ => Err(wrong()),
    }
}

/// Checks that every column of the file has an id of its own, and that those of the schema have
/// the types that the schema says.
fn check_columns(file: FileColumns<'_>, schema: &Schema) -> Result<()> {
    let convert = |schema: &Schema| {
        ArrowSchemaConverter::new()
            .convert(&schema.to_file_arrow())
            .map_err(|e| {
                Error::corrupt("the columns of a table are no Parquet columns").with_source(e)
            })
    };
    let expected = convert(schema)?;
    // Whether a column allows NULL can have been altered since the file was written.
    let altered = convert(&schema.opposite())?;
    let mut by_id = BTreeMap::new();
    let mut ids = BTreeSet::new();
    for column in file.parquet.get_fields() {
        if !column.get_basic_info().has_id() || !collect_ids(column, &mut ids) {
            return Err(
                Error::corrupt("a column of a data file has no field id of its own")
                    .with("column", column.name()),
            );
        }
        by_id.insert(column.get_basic_info().id(), column);
    }
    let columns = expected.root_schema().get_fields().iter();
    let columns = columns.zip(altered.root_schema().get_fields());
    for (field, (column, altered)) in schema.fields().iter().zip(columns) {
        let arrow = file.arrow.fields().iter();
        let arrow = arrow.map(AsRef::as_ref);
        let arrow = arrow
            .clone()
            .find(|f| evolve::field_id(f) == Some(field.id));
        let wrong = match by_id.get(&field.id.0).zip(arrow) {
            // It was written under another name, or as another type.
            Some((_, arrow)) if *arrow.name() != field.name || !is_current(arrow, field) => {
                evolve::check(arrow, field).is_err()
            }
            Some((found, _)) => *found != column && *found != altered,
            None => !field.nullable && field.initial.is_none(),
        };
        if wrong {
            return Err(
                Error::corrupt("a column of a data file is not the one of its table")
                    .with("column", column.name())
                    .with("id", column.get_basic_info().id()),
            );
        }
    }
    Ok(())
}

/// Whether `column` has an id, and no id in it was seen before. The groups that Parquet puts
/// around the elements of lists and maps have none.
fn collect_ids(column: &ParquetType, ids: &mut BTreeSet<i32>) -> bool {
    let info = column.get_basic_info();
    if info.has_id() && !ids.insert(info.id()) {
        return false;
    }
    if column.is_primitive() {
        return info.has_id();
    }
    column
        .get_fields()
        .iter()
        .all(|part| collect_ids(part, ids))
}

/// What the rows of a file hold.
pub(super) struct Found {
    rows: u64,
    columns: BTreeMap<FieldId, FoundColumn>,
    order: SeenOrder,
}

struct FoundColumn {
    /// How many rows were looked at: not all, where some have no value of a partition field.
    rows: u64,
    nulls: u64,
    nan: bool,
    /// `None` if it has none, or one that is too large.
    sum: Option<i128>,
    least: Option<Value>,
    greatest: Option<Value>,
}

impl Found {
    /// Of no rows yet, which may come in `order`.
    pub(super) fn new(order: &[SortField], schema: &Schema) -> Self {
        Self {
            rows: 0,
            columns: BTreeMap::new(),
            order: SeenOrder::new(order, schema),
        }
    }

    /// The order that the rows have.
    pub(super) fn order(&self) -> &[SortField] {
        self.order.fields()
    }

    pub(super) fn add(&mut self, schema: &Schema, batch: &RecordBatch) -> Result<()> {
        self.rows += batch.num_rows() as u64;
        self.order.look_at(batch)?;
        for (field, array) in schema.fields().iter().zip(batch.columns()) {
            self.add_column(field, array)?;
            let partitions = schema.partition_fields().iter();
            for partition in partitions.filter(|partition| partition.source == field.id) {
                let Some(column) = schema.measured_by_id(partition.id) else {
                    continue;
                };
                // Rows that could be in no partition were written when there was none.
                if let Ok(values) = partition.transform.apply(&field.ty, array) {
                    self.add_column(&column, &values)?;
                }
            }
        }
        Ok(())
    }

    fn add_column(&mut self, field: &Field, array: &ArrayRef) -> Result<()> {
        let column = self.columns.entry(field.id);
        let column = column.or_insert_with(|| FoundColumn::new(field));
        column.rows += array.len() as u64;
        column.nulls += array.logical_null_count() as u64;
        column.nan |= has_nan(array.as_ref());
        column.sum = column.sum.and_then(|sum| add_sum(sum, array.as_ref()));
        if field.ty.has_bounds() {
            let (least, greatest) = extremes(array)?;
            keep(&mut column.least, least, Ordering::Less);
            keep(&mut column.greatest, greatest, Ordering::Greater);
        }
        Ok(())
    }

    /// The statistics of the columns of `schema` that are not nested; of partition fields where all
    /// rows are in one partition.
    pub(super) fn stats(&self, schema: &Schema) -> BTreeMap<FieldId, ColumnStats> {
        let mut stats = BTreeMap::new();
        for field in schema.measured() {
            let Some(found) = self.columns.get(&field.id) else {
                continue;
            };
            let own = schema.field_by_id(field.id).is_some();
            let mixed = found.nulls > 0 && found.nulls < self.rows;
            let apart = mixed || found.least != found.greatest || found.rows < self.rows;
            if !field.ty.children().is_empty() || (!own && apart) {
                continue;
            }
            let bound = |value: &Option<Value>| {
                let value = value.clone().filter(|_| !found.nan);
                value.map(|value| Bound { value, exact: true })
            };
            let column = ColumnStats {
                lower: bound(&found.least).and_then(lower_bound),
                upper: bound(&found.greatest).and_then(upper_bound),
                null_count: Some(found.nulls),
                sum: found
                    .sum
                    .filter(|_| own)
                    .and_then(ColumnStats::storable_sum),
            };
            stats.insert(field.id, column);
        }
        stats
    }

    fn compare(&self, file: &DataFile, schema: &Schema) -> Result<()> {
        if self.rows != file.rows {
            return Err(
                Error::corrupt("a data file has another number of rows than its entry")
                    .with("entry", file.rows)
                    .with("file", self.rows),
            );
        }
        let order = SeenOrder::new(&file.sorted_by, schema);
        if self.order() != order.fields() {
            return Err(Error::corrupt(
                "the rows of a data file are not in the order that its entry says",
            ));
        }
        for field in schema.fields().iter().filter(|field| !field.nullable) {
            let nulls = self.columns.get(&field.id).map_or(0, |column| column.nulls);
            // Rows that are deleted may have what is not allowed any more.
            if nulls > 0 && file.deletes.is_none() {
                return Err(Error::corrupt("a column that is NOT NULL has NULLs")
                    .with("column", &field.name));
            }
        }
        for (id, stats) in &file.columns {
            let Some(column) = self.columns.get(id) else {
                continue;
            };
            column
                .compare(stats)
                .map_err(|what| wrong_statistic(what, *id, schema))?;
        }
        Ok(())
    }
}

impl FoundColumn {
    fn new(field: &Field) -> Self {
        Self {
            rows: 0,
            nulls: 0,
            nan: false,
            sum: field.ty.has_sum().then_some(0),
            least: None,
            greatest: None,
        }
    }

    fn compare(&self, stats: &ColumnStats) -> Result<(), &'static str> {
        if stats.null_count.is_some_and(|nulls| nulls != self.nulls) {
            return Err("null count");
        }
        if stats.sum.is_some() && stats.sum != self.sum {
            return Err("sum");
        }
        if self.nan && (stats.lower.is_some() || stats.upper.is_some()) {
            return Err("bounds of a column with NaN");
        }
        if !holds(stats.lower.as_ref(), self.least.as_ref(), Ordering::Less) {
            return Err("lower bound");
        }
        if !holds(
            stats.upper.as_ref(),
            self.greatest.as_ref(),
            Ordering::Greater,
        ) {
            return Err("upper bound");
        }
        Ok(())
    }
}

/// Whether `bound` is the value itself if exact, else on the `outer` side of it.
fn holds(bound: Option<&Bound>, value: Option<&Value>, outer: Ordering) -> bool {
    let Some(bound) = bound else { return true };
    let Some(value) = value else {
        return !bound.exact;
    };
    match bound.value.compare(value) {
        Some(Ordering::Equal) => true,
        Some(order) => order == outer && !bound.exact,
        None => false,
    }
}

fn keep(kept: &mut Option<Value>, value: Option<Value>, outer: Ordering) {
    let Some(value) = value else { return };
    if kept
        .as_ref()
        .is_none_or(|kept| value.compare(kept) == Some(outer))
    {
        *kept = Some(value);
    }
}

/// The least and the greatest value of a column that has bounds.
fn extremes(array: &ArrayRef) -> Result<(Option<Value>, Option<Value>)> {
    macro_rules! pair {
        ($array:expr, $min:ident, $max:ident, $value:expr) => {{
            let array = $array;
            (
                aggregate::$min(array).map($value),
                aggregate::$max(array).map($value),
            )
        }};
    }
    let text = |v: &str| Value::String(v.to_owned());
    let binary = |v: &[u8]| Value::Binary(v.to_vec());
    Ok(match array.data_type() {
        DataType::Boolean => pair!(array.as_boolean(), min_boolean, max_boolean, Value::Bool),
        DataType::Utf8View => {
            pair!(
                array.as_string_view(),
                min_string_view,
                max_string_view,
                text
            )
        }
        DataType::BinaryView => {
            pair!(
                array.as_binary_view(),
                min_binary_view,
                max_binary_view,
                binary
            )
        }
        DataType::FixedSizeBinary(_) => {
            let array = array.as_fixed_size_binary();
            pair!(array, min_fixed_size_binary, max_fixed_size_binary, binary)
        }
        DataType::Decimal128(..) => {
            pair!(
                array.as_primitive::<Decimal128Type>(),
                min,
                max,
                Value::Decimal
            )
        }
        DataType::Float32 | DataType::Float64 => {
            let array = widen(array, &DataType::Float64)?;
            pair!(array.as_primitive::<Float64Type>(), min, max, Value::Float)
        }
        from if from.is_unsigned_integer() => {
            let array = widen(array, &DataType::UInt64)?;
            pair!(array.as_primitive::<UInt64Type>(), min, max, Value::UInt)
        }
        _ => {
            let array = widen(array, &DataType::Int64)?;
            pair!(array.as_primitive::<Int64Type>(), min, max, Value::Int)
        }
    })
}

fn widen(array: &ArrayRef, to: &DataType) -> Result<ArrayRef> {
    cast(array, to).map_err(|e| {
        Error::internal("a column cannot be widened")
            .with("type", array.data_type())
            .with_source(e)
    })
}
