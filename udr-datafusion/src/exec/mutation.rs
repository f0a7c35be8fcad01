//! What the partitions of a change hand to the node that stages it.

use std::collections::BTreeMap;
use std::sync::{Arc, LazyLock};

use arrow::array::{Array as _, AsArray as _, BinaryArray, UInt32Array, UInt64Array};
use arrow::datatypes::{DataType, Field, Schema, SchemaRef, UInt32Type, UInt64Type};
use arrow::record_batch::RecordBatch;
use bytes::Bytes;
use udr_core::data::DeletionVector;
use udr_core::format::DataFile;
use udr_core::{Error, Result};

/// What a `MERGE` does with a row.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub(crate) enum Action {
    /// It goes.
    Delete = 1,
    /// It gets other values.
    Update = 2,
    /// It is new.
    Insert = 3,
}

impl Action {
    /// The action with a number.
    pub(super) fn from_number(number: u8) -> Option<Self> {
        [Self::Delete, Self::Update, Self::Insert]
            .into_iter()
            .find(|action| *action as u8 == number)
    }
}

/// What one partition, or all of them, found and wrote.
#[derive(Debug, Default)]
pub(super) struct Mutation {
    /// Rows that go or are written anew, by the number of their file.
    pub(super) hits: BTreeMap<u32, DeletionVector>,
    /// What was written.
    pub(super) files: Vec<DataFile>,
    /// How many rows are new.
    pub(super) inserted: u64,
}

/// The rows that the partitions give: a file with hits, a written file, or a count each.
pub(super) fn mutation_schema() -> SchemaRef {
    static SCHEMA: LazyLock<SchemaRef> = LazyLock::new(|| {
        Arc::new(Schema::new(vec![
            Field::new("file", DataType::UInt32, true),
            Field::new("rows", DataType::UInt64, true),
            Field::new("hits", DataType::Binary, true),
            Field::new("written", DataType::Binary, true),
        ]))
    });
    Arc::clone(&SCHEMA)
}

fn broken() -> Error {
    Error::internal("a part of a change was damaged on its way")
}

impl Mutation {
    /// As rows; `rows_of` says how many rows a file has.
    pub(super) fn encode(&self, rows_of: impl Fn(u32) -> Result<u64>) -> Result<RecordBatch> {
        let size = self.hits.len() + self.files.len() + 1;
        let mut numbers = Vec::with_capacity(size);
        let mut rows = Vec::with_capacity(size);
        let mut hits = Vec::with_capacity(size);
        let mut written = Vec::with_capacity(size);
        for (number, vector) in &self.hits {
            numbers.push(Some(*number));
            rows.push(Some(rows_of(*number)?));
            hits.push(Some(vector.encode()));
            written.push(None);
        }
        for file in &self.files {
            numbers.push(None);
            rows.push(None);
            hits.push(None);
            let entry = serde_json::to_vec(file).map_err(|e| broken().with_source(e))?;
            written.push(Some(entry));
        }
        numbers.push(None);
        rows.push(Some(self.inserted));
        hits.push(None);
        written.push(None);
        RecordBatch::try_new(
            mutation_schema(),
            vec![
                Arc::new(UInt32Array::from(numbers)),
                Arc::new(UInt64Array::from(rows)),
                Arc::new(hits.into_iter().collect::<BinaryArray>()),
                Arc::new(written.into_iter().collect::<BinaryArray>()),
            ],
        )
        .map_err(|e| broken().with_source(e))
    }

    /// Adds what a partition gave; returns a row that was hit before, if there is one, as the
    /// number of its file and its position.
    pub(super) fn add(&mut self, batch: &RecordBatch) -> Result<Option<(u32, u64)>> {
        let [numbers, rows, hits, written] = batch.columns() else {
            return Err(broken());
        };
        let numbers = numbers
            .as_primitive_opt::<UInt32Type>()
            .ok_or_else(broken)?;
        let rows = rows.as_primitive_opt::<UInt64Type>().ok_or_else(broken)?;
        let hits = hits.as_binary_opt::<i32>().ok_or_else(broken)?;
        let written = written.as_binary_opt::<i32>().ok_or_else(broken)?;
        let mut twice = None;
        for at in 0..batch.num_rows() {
            if numbers.is_valid(at) {
                let bytes = Bytes::copy_from_slice(hits.value(at));
                let vector = DeletionVector::decode(&bytes, rows.value(at))?;
                let found = self.unite(numbers.value(at), &vector);
                twice = twice.or(found.map(|position| (numbers.value(at), position)));
            } else if written.is_valid(at) {
                let file = serde_json::from_slice(written.value(at));
                self.files.push(file.map_err(|e| broken().with_source(e))?);
            } else {
                self.inserted += rows.value(at);
            }
        }
        Ok(twice)
    }

    /// Adds hits; returns one that was there before.
    fn unite(&mut self, number: u32, vector: &DeletionVector) -> Option<u64> {
        let before = self.hits.entry(number).or_default();
        let twice = before.intersection(vector).iter().next();
        before.union_with(vector);
        twice
    }
}
