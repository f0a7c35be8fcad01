//! The table `lineitem` of TPC-H in a repository and in memory, for the benchmarks that use it.
//!
//! `UDR_BENCH_SF` is the scale factor. What cannot go on panics.
#![expect(clippy::unwrap_used, reason = "a benchmark that cannot go on ends")]
#![expect(clippy::missing_panics_doc, reason = "said above of all of it")]

use std::fs::File;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::files;
use arrow::record_batch::RecordBatch;
use datafusion::datasource::MemTable;
use datafusion::prelude::{ParquetReadOptions, SessionConfig, SessionContext};
use futures::TryStreamExt as _;
use tokio::runtime::Runtime;
use tpchgen::generators::LineItemGenerator;
use tpchgen_arrow::{LineItemArrow, RecordBatchIterator as _};
use udr_core::Repository;
use udr_core::env::Env;
use udr_core::store::{Store, StoreOptions};
use udr_datafusion::{InstallOptions, install, udr_sql};

/// Queries that read much and return little, and what they are called.
pub const SCANS: [(&str, &str); 3] = [
    (
        "sum_of_4_columns",
        "SELECT sum(l_quantity), sum(l_extendedprice), sum(l_discount), sum(l_tax) FROM lineitem",
    ),
    (
        "tpch_q1",
        "SELECT l_returnflag, l_linestatus, sum(l_quantity), sum(l_extendedprice),
                sum(l_extendedprice * (1 - l_discount)), avg(l_quantity), count(*)
         FROM lineitem WHERE l_shipdate <= DATE '1998-09-02'
         GROUP BY l_returnflag, l_linestatus ORDER BY l_returnflag, l_linestatus",
    ),
    (
        "tpch_q6",
        "SELECT sum(l_extendedprice * l_discount) FROM lineitem
         WHERE l_shipdate >= DATE '1994-01-01' AND l_shipdate < DATE '1995-01-01'
           AND l_discount BETWEEN 0.05 AND 0.07 AND l_quantity < 24",
    ),
];

#[expect(
    clippy::disallowed_methods,
    reason = "a benchmark is configured by its environment"
)]
pub(crate) fn scale_factor() -> f64 {
    std::env::var("UDR_BENCH_SF").map_or(1.0, |text| text.parse().unwrap())
}

/// The rows in memory, in as many parts as there are cores.
fn generate(parts: usize) -> MemTable {
    let count = i32::try_from(parts).unwrap();
    let part = |part| {
        let generator = LineItemGenerator::new(scale_factor(), part, count);
        LineItemArrow::new(generator).with_batch_size(8_192)
    };
    let schema = Arc::clone(part(1).schema());
    let parts = (1..=count).map(|n| part(n).collect()).collect();
    MemTable::try_new(schema, parts).unwrap()
}

/// The rows that a statement gives through `udr_sql`.
pub async fn run(ctx: &SessionContext, sql: &str) -> Vec<RecordBatch> {
    udr_sql(ctx, sql).await.unwrap().collect().await.unwrap()
}

/// The rows that a statement gives through DataFusion alone.
pub async fn run_plain(ctx: &SessionContext, sql: &str) -> Vec<RecordBatch> {
    ctx.sql(sql).await.unwrap().collect().await.unwrap()
}

/// Reads all rows of all columns and keeps none.
pub async fn drain(ctx: &SessionContext, table: &str) -> usize {
    let rows = ctx.table(table).await.unwrap();
    let batches = rows.execute_stream().await.unwrap();
    let count = |rows, batch: RecordBatch| async move { Ok(rows + batch.num_rows()) };
    batches.try_fold(0, count).await.unwrap()
}

/// The bytes of some files.
pub fn bytes(files: &[PathBuf]) -> u64 {
    files
        .iter()
        .map(|file| file.metadata().unwrap().len())
        .sum()
}

/// A repository, and plain DataFusion.
#[expect(missing_debug_implementations, reason = "a context has none")]
pub struct Sides {
    /// Runs both.
    pub runtime: Runtime,
    /// Has the repository.
    pub udr: SessionContext,
    /// Has not.
    pub floor: SessionContext,
    /// How many files one load makes.
    pub parts: usize,
    folder: PathBuf,
}

impl Sides {
    /// An empty repository below `scratch`, and the rows to load in memory.
    pub fn new(scratch: &Path) -> Self {
        let runtime = Runtime::new().unwrap();
        let folder = scratch.join("repository");
        let parts = SessionConfig::new().target_partitions();
        let source = Arc::new(generate(parts));
        let udr = SessionContext::new();
        runtime.block_on(async {
            let options = StoreOptions::default();
            let store = Store::open(folder.to_str().unwrap(), &options).unwrap();
            let repository = Repository::create(store, Env::system()).await.unwrap();
            let options = InstallOptions::new(repository);
            install(&udr, options).await.unwrap();
        });
        let floor = SessionContext::new();
        for ctx in [&udr, &floor] {
            ctx.register_table("datafusion.public.source", Arc::<MemTable>::clone(&source))
                .unwrap();
        }
        Self {
            runtime,
            udr,
            floor,
            parts,
            folder,
        }
    }

    /// Data files of all tables.
    pub fn data_files(&self) -> Vec<PathBuf> {
        files(&self.folder.join("data")).unwrap()
    }

    /// Loads the rows into a new table.
    pub fn load_udr(&self, table: &str) {
        let sql = format!("CREATE TABLE {table} AS SELECT * FROM datafusion.public.source");
        self.runtime.block_on(run(&self.udr, &sql));
    }

    /// Every file of the repository.
    pub fn all_files(&self) -> Vec<PathBuf> {
        files(&self.folder).unwrap()
    }

    /// Runs a statement through `udr_sql`.
    pub fn udr_sql(&self, sql: &str) -> Vec<RecordBatch> {
        self.runtime.block_on(run(&self.udr, sql))
    }

    /// Frees the rows that were loaded.
    pub fn forget_source(&self) {
        for ctx in [&self.udr, &self.floor] {
            ctx.deregister_table("datafusion.public.source").unwrap();
        }
    }

    /// Lets plain DataFusion read the data files in `folder` as `lineitem`.
    pub fn register_plain(&self, folder: &Path) {
        let folder = folder.to_str().unwrap();
        let options = ParquetReadOptions::default();
        let register = self.floor.register_parquet("lineitem", folder, options);
        self.runtime.block_on(register).unwrap();
    }

    /// Writes the rows of `query` as `count` Parquet files, durably, with plain DataFusion.
    pub fn copy(&self, query: &str, folder: &Path, count: usize) {
        let set = format!("SET datafusion.execution.minimum_parallel_output_files = {count}");
        let copy = format!(
            "COPY ({query}) TO '{}/' STORED AS PARQUET OPTIONS (compression 'zstd(3)')",
            folder.display()
        );
        self.runtime.block_on(async {
            run_plain(&self.floor, &set).await;
            run_plain(&self.floor, &copy).await;
        });
        for file in files(folder).unwrap() {
            File::open(file).unwrap().sync_all().unwrap();
        }
        File::open(folder).unwrap().sync_all().unwrap();
    }
}
