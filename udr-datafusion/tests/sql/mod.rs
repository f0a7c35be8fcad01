//! Statements through `udr_sql`, and their twins through plain SQL.

mod call;
mod constraint_changes;
mod constraint_checks;
mod constraint_races;
mod constraints;
mod create_table;
mod ddl;
mod delete_forms;
mod frames;
mod insert_forms;
mod merge_forms;
mod queries;
mod refs;
mod returning;
mod serializable;
mod show;
mod transactions;
mod update_from;
mod upsert;
mod versions;
mod views;

use arrow::record_batch::RecordBatch;
use arrow::util::display::array_value_to_string;
use datafusion::error::DataFusionError;
use udr_core::ErrorKind;
use udr_datafusion::error::udr_error;
use udr_datafusion::udr_sql;

use crate::fixture::Fixture;

impl Fixture {
    pub(crate) async fn try_udr(&self, sql: &str) -> Result<Vec<RecordBatch>, DataFusionError> {
        udr_sql(&self.ctx, sql).await?.collect().await
    }

    /// All rows, each as its values with `|` between them.
    #[track_caller]
    pub(crate) fn udr(&self, sql: &str) -> impl Future<Output = Vec<String>> {
        let place = std::panic::Location::caller();
        async move {
            match self.try_udr(sql).await {
                Ok(batches) => lines(&batches),
                Err(error) => panic!("{place}: {sql}: {error}"),
            }
        }
    }

    /// The kind and the text of the UDR error that a statement ends with.
    #[track_caller]
    pub(crate) fn udr_refused(&self, sql: &str) -> impl Future<Output = (ErrorKind, String)> {
        let place = std::panic::Location::caller();
        async move {
            match self.try_udr(sql).await {
                Ok(batches) => panic!("{place}: {sql} was accepted: {:?}", lines(&batches)),
                Err(error) => match udr_error(&error) {
                    Some(error) => (error.kind(), error.to_string()),
                    None => panic!("{place}: {sql} ended with a foreign error: {error}"),
                },
            }
        }
    }

    /// The text of whatever error a statement ends with.
    pub(crate) async fn udr_fails(&self, sql: &str) -> String {
        match self.try_udr(sql).await {
            Ok(batches) => panic!("{sql} was accepted: {:?}", lines(&batches)),
            Err(error) => error.to_string(),
        }
    }
}

pub(crate) fn lines(batches: &[RecordBatch]) -> Vec<String> {
    let mut lines = Vec::new();
    for batch in batches {
        for row in 0..batch.num_rows() {
            let values = batch
                .columns()
                .iter()
                .map(|column| array_value_to_string(column, row).unwrap());
            lines.push(values.collect::<Vec<_>>().join("|"));
        }
    }
    lines
}

/// The names of a statement's columns.
pub(crate) fn columns(batches: &[RecordBatch]) -> Vec<String> {
    batches[0]
        .schema()
        .fields()
        .iter()
        .map(|field| field.name().clone())
        .collect()
}
