//! What a statement that is no query is answered with.
//!
//! In: the statement, and the row it returns. Out: one line for standard error. Called by `run`.

use datafusion::arrow::array::{Array as _, AsArray as _, RecordBatch};
use datafusion::arrow::datatypes::{DataType, Field, SchemaRef, UInt64Type};
use datafusion::arrow::util::display::array_value_to_string;
use indicatif::HumanCount;

use crate::exit::Failure;
use crate::tag::tag;

/// Statements that do something; what they return says how it went.
const VERBS: &[&str] = &[
    "ABORT",
    "ALTER",
    "BEGIN",
    "COMMENT",
    "COMMIT",
    "COPY",
    "CREATE",
    "DEALLOCATE",
    "DELETE",
    "DROP",
    "END",
    "INSERT",
    "MERGE",
    "PREPARE",
    "RELEASE",
    "RESET",
    "ROLLBACK",
    "SAVEPOINT",
    "SET",
    "START",
    "TRUNCATE",
    "UPDATE",
    "USE",
];
/// Those among them that change rows: they return how many, or with RETURNING the rows.
const CHANGES: &[&str] = &["DELETE", "INSERT", "MERGE", "UPDATE"];
/// Digits of a commit id that are enough to name it.
const ID_DIGITS: usize = 12;

/// Collects the answer of one statement.
#[derive(Debug)]
pub(crate) struct Confirmation {
    tag: String,
    rows: Option<u64>,
    result: Option<String>,
    details: Vec<String>,
}

impl Confirmation {
    /// `None` if the statement returns rows for their own sake.
    pub(crate) fn of(sql: &str, schema: &SchemaRef) -> Option<Self> {
        let tag = tag(sql);
        let verb = tag.split(' ').next().unwrap_or("");
        let returning = CHANGES.contains(&verb) && tag != "MERGE BRANCH" && !is_count(schema);
        let acts = VERBS.contains(&verb) && !is_dry_run(sql) && !returning;
        (acts || schema.fields().is_empty()).then(|| Self {
            tag,
            rows: None,
            result: None,
            details: Vec::new(),
        })
    }

    /// Takes in what the statement returned.
    ///
    /// # Errors
    ///
    /// A value that has no text.
    pub(crate) fn add(&mut self, batch: &RecordBatch) -> Result<(), Failure> {
        for (field, column) in batch.schema_ref().fields().iter().zip(batch.columns()) {
            if is_count_field(field) {
                let counts = column.as_primitive::<UInt64Type>();
                self.rows = Some(counts.iter().flatten().sum::<u64>() + self.rows.unwrap_or(0));
                continue;
            }
            for row in (0..batch.num_rows()).filter(|row| column.is_valid(*row)) {
                let value = array_value_to_string(column, row)?;
                match field.name().as_str() {
                    "result" => self.result = Some(value),
                    "name" => self.details.push(value),
                    "commit_id" => {
                        let digits = value.chars().take(ID_DIGITS).collect::<String>();
                        self.details.push(format!("commit {digits}"));
                    }
                    name => self.details.push(format!("{name} {value}")),
                }
            }
        }
        Ok(())
    }

    /// The line.
    pub(crate) fn text(self) -> String {
        let rows = self.rows.map(rows_text);
        std::iter::once(self.result.unwrap_or(self.tag))
            .chain(self.details)
            .chain(rows)
            .collect::<Vec<_>>()
            .join(", ")
    }
}

fn is_count(schema: &SchemaRef) -> bool {
    matches!(schema.fields().iter().as_slice(), [field] if is_count_field(field))
}

fn is_count_field(field: &Field) -> bool {
    field.name() == "count" && field.data_type() == &DataType::UInt64
}

/// A dry run is a question, and what it returns is the result.
fn is_dry_run(sql: &str) -> bool {
    let mut words = sql.split_whitespace().rev().map(str::to_ascii_uppercase);
    words.next().as_deref() == Some("RUN") && words.next().as_deref() == Some("DRY")
}

/// A number of rows, for people.
pub(crate) fn rows_text(count: u64) -> String {
    if count == 1 {
        "1 row".to_owned()
    } else {
        format!("{} rows", HumanCount(count))
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use datafusion::arrow::array::{ArrayRef, StringArray, UInt64Array};

    use super::*;

    fn answer(sql: &str, columns: Vec<(&str, ArrayRef)>) -> Option<String> {
        let batch = RecordBatch::try_from_iter(columns).unwrap();
        let mut confirmation = Confirmation::of(sql, batch.schema_ref())?;
        confirmation.add(&batch).unwrap();
        Some(confirmation.text())
    }

    fn text(value: Option<&str>) -> ArrayRef {
        Arc::new(StringArray::from(vec![value]))
    }

    #[test]
    fn statements_that_act_are_confirmed() {
        let count = || -> ArrayRef { Arc::new(UInt64Array::from(vec![12_345])) };
        assert_eq!(
            answer("insert into t select 1", vec![("count", count())]).as_deref(),
            Some("INSERT, 12,345 rows")
        );
        assert_eq!(
            answer(
                "DROP TABLE t",
                vec![("result", text(Some("table t dropped")))]
            )
            .as_deref(),
            Some("table t dropped")
        );
        let commit = vec![
            ("result", text(Some("committed"))),
            ("version", Arc::new(UInt64Array::from(vec![3])) as ArrayRef),
            ("commit_id", text(Some("0123456789abcdef"))),
        ];
        assert_eq!(
            answer("COMMIT", commit).as_deref(),
            Some("committed, version 3, commit 0123456789ab")
        );
    }

    #[test]
    fn queries_are_not() {
        let one = || vec![("count", Arc::new(UInt64Array::from(vec![1])) as ArrayRef)];
        for sql in [
            "SELECT count(*) AS count FROM t",
            "EXPLAIN INSERT INTO t VALUES (1)",
            "SHOW LOG",
        ] {
            assert_eq!(answer(sql, one()), None, "{sql}");
        }
        let rows = || vec![("id", text(Some("a"))), ("count", text(Some("b")))];
        for sql in [
            "INSERT INTO t VALUES (1) RETURNING *",
            "UPDATE t SET id = 1 RETURNING id, count",
            "DELETE FROM t RETURNING *",
            "MERGE INTO t USING u ON true WHEN MATCHED THEN DELETE RETURNING *",
        ] {
            assert_eq!(answer(sql, rows()), None, "{sql}");
        }
        let merged = vec![("result", text(Some("merged")))];
        let answered = answer("MERGE BRANCH a INTO b", merged);
        assert_eq!(answered.as_deref(), Some("merged"));
    }
}
