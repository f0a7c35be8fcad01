//! The table `lineitem` of TPC-H: loading it and scanning it.
//!
//! The floor of a load is DataFusion's own `COPY` of the same batches into as many Parquet files of
//! the same compression, which are then synced, as UDR's are. The floor of a scan is DataFusion's
//! own table over the very data files that UDR wrote. `UDR_BENCH_SF` is the scale factor.
#![expect(clippy::unwrap_used, reason = "a benchmark that cannot go on ends")]

mod compare;

use std::fs::File;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use arrow::record_batch::RecordBatch;
use arrow::util::pretty::pretty_format_batches;
use criterion::Criterion;
use datafusion::datasource::MemTable;
use datafusion::prelude::{ParquetReadOptions, SessionConfig, SessionContext};
use futures::TryStreamExt as _;
use tokio::runtime::Runtime;
use tpchgen::generators::LineItemGenerator;
use tpchgen_arrow::{LineItemArrow, RecordBatchIterator as _};
use udr_benches::{Round, files, quiesce, report, scratch, time};
use udr_core::Repository;
use udr_core::env::Env;
use udr_core::store::{Store, StoreOptions};
use udr_datafusion::{InstallOptions, install, udr_sql};

use self::compare::compare;

/// How often the table is loaded by each side.
const LOADS: u32 = 3;

/// Queries that read much and return little, and what they are called.
const SCANS: [(&str, &str); 3] = [
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
fn scale_factor() -> f64 {
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

async fn run(ctx: &SessionContext, sql: &str) -> Vec<RecordBatch> {
    udr_sql(ctx, sql).await.unwrap().collect().await.unwrap()
}

async fn run_plain(ctx: &SessionContext, sql: &str) -> Vec<RecordBatch> {
    ctx.sql(sql).await.unwrap().collect().await.unwrap()
}

/// Reads all rows of all columns and keeps none.
async fn drain(ctx: &SessionContext) -> usize {
    let rows = ctx.table("lineitem").await.unwrap();
    let batches = rows.execute_stream().await.unwrap();
    let count = |rows, batch: RecordBatch| async move { Ok(rows + batch.num_rows()) };
    batches.try_fold(0, count).await.unwrap()
}

/// The bytes of some files.
fn bytes(files: &[PathBuf]) -> u64 {
    files
        .iter()
        .map(|file| file.metadata().unwrap().len())
        .sum()
}

struct Sides {
    runtime: Runtime,
    folder: PathBuf,
    udr: SessionContext,
    floor: SessionContext,
}

impl Sides {
    fn new(scratch: &Path) -> Self {
        let runtime = Runtime::new().unwrap();
        let folder = scratch.join("repository");
        let source = Arc::new(generate(SessionConfig::new().target_partitions()));
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
            folder,
            udr,
            floor,
        }
    }

    /// Data files of all tables.
    fn data_files(&self) -> Vec<PathBuf> {
        files(&self.folder.join("data")).unwrap()
    }

    fn load_udr(&self, table: &str) {
        let sql = format!("CREATE TABLE {table} AS SELECT * FROM datafusion.public.source");
        self.runtime.block_on(run(&self.udr, &sql));
    }

    fn load_floor(&self, folder: &Path, count: usize) {
        let set = format!("SET datafusion.execution.minimum_parallel_output_files = {count}");
        let copy = format!(
            "COPY (SELECT * FROM datafusion.public.source) TO '{}/' STORED AS PARQUET
             OPTIONS (compression 'zstd(3)')",
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

#[expect(clippy::print_stdout, reason = "the report of a benchmark")]
fn load(sides: &Sides, scratch: &Path, of_one_load: &[PathBuf]) {
    let mut rounds = Vec::new();
    for n in 0..LOADS {
        quiesce().unwrap();
        let floor_folder = scratch.join(format!("floor-{n}"));
        let (_, floor) = time(|| sides.load_floor(&floor_folder, of_one_load.len()));
        if n == 0 {
            let written = files(&floor_folder).unwrap();
            println!(
                "load: udr {} files of {} bytes, floor {} files of {} bytes",
                of_one_load.len(),
                bytes(of_one_load),
                written.len(),
                bytes(&written)
            );
        }
        std::fs::remove_dir_all(floor_folder).unwrap();
        quiesce().unwrap();
        let (_, udr) = time(|| sides.load_udr(&format!("load_{n}")));
        rounds.push(Round { udr, floor });
    }
    report("load", 1, &rounds);
}

fn scan(sides: &Sides, criterion: &mut Criterion, plain: &Path) {
    let runtime = &sides.runtime;
    runtime.block_on(async {
        let options = ParquetReadOptions::default();
        sides
            .floor
            .register_parquet("lineitem", plain.to_str().unwrap(), options)
            .await
            .unwrap();
    });
    compare(criterion, "scan/all_columns", 1, || {
        let (expected, floor) = time(|| runtime.block_on(drain(&sides.floor)));
        let (rows, udr) = time(|| runtime.block_on(drain(&sides.udr)));
        assert_eq!(rows, expected);
        Round { udr, floor }
    });
    for (name, sql) in SCANS {
        compare(criterion, &format!("scan/{name}"), 1, || {
            let (expected, floor) = time(|| runtime.block_on(run_plain(&sides.floor, sql)));
            let (found, udr) = time(|| runtime.block_on(run_plain(&sides.udr, sql)));
            let shown =
                |batches: &[RecordBatch]| pretty_format_batches(batches).unwrap().to_string();
            assert_eq!(shown(&found), shown(&expected), "{name}");
            Round { udr, floor }
        });
    }
}

fn main() {
    let mut criterion = Criterion::default().configure_from_args();
    let scratch = scratch().unwrap();
    let sides = Sides::new(scratch.path());
    // The table that is scanned; it warms up, and says how many files there are.
    sides.load_udr("lineitem");
    let written = sides.data_files();
    load(&sides, scratch.path(), &written);
    scan(&sides, &mut criterion, written[0].parent().unwrap());
    criterion.final_summary();
}
