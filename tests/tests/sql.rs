//! The files in `sql/`, run through the library; a `connection` is a session of its own.
//!
//! Every file has a repository of its own, in memory. Rows are compared as text: NULL is `NULL`,
//! an empty string is `(empty)`.

use std::path::{Path, PathBuf};

use arrow::datatypes::DataType;
use arrow::error::ArrowError;
use arrow::record_batch::RecordBatch;
use arrow::util::display::{ArrayFormatter, FormatOptions};
use async_trait::async_trait;
use datafusion::error::DataFusionError;
use datafusion::execution::context::{SessionConfig, SessionContext};
use sqllogictest::{AsyncDB, DBOutput, DefaultColumnType, Runner};
use udr_core::Repository;
use udr_core::env::Env;
use udr_core::store::Store;
use udr_datafusion::{InstallOptions, install, udr_sql};

use crate::world::check;

/// One session.
struct Session {
    context: SessionContext,
}

impl Session {
    async fn new(repository: Repository) -> Result<Self, DataFusionError> {
        let config = SessionConfig::new()
            .with_information_schema(true)
            .with_target_partitions(2);
        let context = SessionContext::new_with_config(config);
        install(&context, InstallOptions::new(repository))
            .await
            .map_err(|e| DataFusionError::External(Box::new(e)))?;
        Ok(Self { context })
    }
}

#[async_trait]
impl AsyncDB for Session {
    type Error = DataFusionError;
    type ColumnType = DefaultColumnType;

    async fn run(&mut self, sql: &str) -> Result<DBOutput<DefaultColumnType>, DataFusionError> {
        let frame = udr_sql(&self.context, sql).await?;
        let types: Vec<_> = frame
            .schema()
            .fields()
            .iter()
            .map(|f| kind(f.data_type()))
            .collect();
        let batches = frame.collect().await?;
        if types.is_empty() {
            return Ok(DBOutput::StatementComplete(0));
        }
        let mut rows = Vec::new();
        for batch in &batches {
            rows.extend(texts(batch)?);
        }
        Ok(DBOutput::Rows { types, rows })
    }

    async fn shutdown(&mut self) {}

    fn engine_name(&self) -> &'static str {
        "udr"
    }

    async fn sleep(duration: std::time::Duration) {
        tokio::time::sleep(duration).await;
    }
}

fn kind(ty: &DataType) -> DefaultColumnType {
    match ty {
        ty if ty.is_integer() => DefaultColumnType::Integer,
        ty if ty.is_floating() => DefaultColumnType::FloatingPoint,
        DataType::Decimal128(..) | DataType::Decimal256(..) => DefaultColumnType::FloatingPoint,
        _ => DefaultColumnType::Text,
    }
}

fn texts(batch: &RecordBatch) -> Result<Vec<Vec<String>>, ArrowError> {
    let options = FormatOptions::default().with_null("NULL");
    let columns = batch
        .columns()
        .iter()
        .map(|column| ArrayFormatter::try_new(column, &options))
        .collect::<Result<Vec<_>, _>>()?;
    let cell = |column: &ArrayFormatter<'_>, row: usize| match column.value(row).to_string() {
        text if text.is_empty() => "(empty)".to_owned(),
        text => text,
    };
    Ok((0..batch.num_rows())
        .map(|row| columns.iter().map(|column| cell(column, row)).collect())
        .collect())
}

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("sql")
}

async fn run(file: &str) {
    let repository = Repository::create(Store::memory(), Env::system())
        .await
        .unwrap();
    let mut runner = Runner::new(|| Session::new(repository.clone()));
    runner.with_column_validator(sqllogictest::strict_column_validator);
    let path = folder().join(file);
    if let Err(error) = runner.run_file_async(&path).await {
        panic!("{}", error.display(false));
    }
    check(&repository).await;
}

macro_rules! files {
    ($($name:ident)*) => {
        $(
            #[tokio::test]
            async fn $name() {
                run(concat!(stringify!($name), ".slt")).await;
            }
        )*

        #[test]
        fn every_file_is_run() {
            let listed = [$(concat!(stringify!($name), ".slt")),*];
            let mut found: Vec<_> = std::fs::read_dir(folder())
                .unwrap()
                .map(|entry| entry.unwrap().file_name().into_string().unwrap())
                .collect();
            found.sort();
            assert_eq!(found, listed);
        }
    };
}

files! {
    branches
    changes
    conflicts
    constraints
    delete
    errors
    merge
    metadata
    replace_where
    returning
    show
    tables
    time_travel
    transactions
    truncate
    update
    update_from
    upsert
    version_clauses
    views
    writes
}
