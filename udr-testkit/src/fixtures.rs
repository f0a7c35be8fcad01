//! Small, fixed tables.
//!
//! In: counts. Out: schemas and batches whose rows can be told apart, and plain rows back from
//! batches. Called by every test that needs some data.

use std::collections::BTreeMap;
use std::sync::Arc;

use arrow::array::{ArrayRef, AsArray as _, Int64Array, StringViewArray};
use arrow::compute::cast;
use arrow::datatypes::{DataType, Field, Int64Type, Schema, SchemaRef};
use arrow::error::ArrowError;
use arrow::record_batch::RecordBatch;

/// A row of the fixture tables: a number and a word.
pub type Row = (i64, Option<String>);

/// How often each row is there.
pub type Rows = BTreeMap<Row, u64>;

/// `id BIGINT NOT NULL, word VARCHAR`.
pub fn schema() -> SchemaRef {
    Arc::new(Schema::new(vec![
        Field::new("id", DataType::Int64, false),
        Field::new("word", DataType::Utf8View, true),
    ]))
}

/// A batch of rows of [`schema`].
#[expect(
    clippy::expect_used,
    reason = "both columns are made here, of the schema's types"
)]
pub fn batch<'a>(rows: impl IntoIterator<Item = &'a Row>) -> RecordBatch {
    let (ids, words): (Vec<i64>, Vec<Option<String>>) = rows.into_iter().cloned().unzip();
    let ids: ArrayRef = Arc::new(Int64Array::from(ids));
    let words: ArrayRef = Arc::new(words.into_iter().collect::<StringViewArray>());
    RecordBatch::try_new(schema(), vec![ids, words]).expect("columns match the schema")
}

/// The row numbered `id`; every seventh has no word.
pub fn row(id: i64) -> Row {
    (id, (id % 7 != 0).then(|| format!("word {id}")))
}

/// A batch of the rows numbered `ids`.
pub fn numbered(ids: impl IntoIterator<Item = i64>) -> RecordBatch {
    batch(&ids.into_iter().map(row).collect::<Vec<_>>())
}

/// The rows of batches whose first two columns are a number and a word.
///
/// # Errors
///
/// The columns have other types.
pub fn rows<'a>(batches: impl IntoIterator<Item = &'a RecordBatch>) -> Result<Rows, ArrowError> {
    let mut rows = Rows::new();
    for batch in batches {
        let ids = cast(batch.column(0), &DataType::Int64)?;
        let words = cast(batch.column(1), &DataType::Utf8View)?;
        let ids = ids.as_primitive::<Int64Type>();
        let words = words.as_string_view();
        for (id, word) in ids.iter().zip(words.iter()) {
            let id = id.ok_or_else(|| ArrowError::InvalidArgumentError("id is NULL".into()))?;
            *rows.entry((id, word.map(str::to_owned))).or_default() += 1;
        }
    }
    Ok(rows)
}

/// How often each of `some` is there.
pub fn multiset(some: impl IntoIterator<Item = Row>) -> Rows {
    let mut rows = Rows::new();
    for row in some {
        *rows.entry(row).or_default() += 1;
    }
    rows
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_come_back_from_batches() {
        let batches = [numbered(0..10), numbered([3, 3])];
        let rows = rows(&batches).unwrap();
        assert_eq!(rows.values().sum::<u64>(), 12);
        assert_eq!(rows[&row(3)], 3);
        assert_eq!(rows[&(7, None)], 1);
        assert_eq!(rows, multiset((0..10).chain([3, 3]).map(row)));
    }
}
