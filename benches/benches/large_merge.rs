//! A `MERGE` of 1,000 rows into a table of 60,000,000 in a memory pool of 512 MiB.
//!
//! The floor finds the same rows: it joins the same data files with the same source through plain
//! DataFusion, in a pool of the same size, and changes nothing. Each round changes a branch of its
//! own, so all begin with the same table. `UDR_BENCH_ROWS` is the size of the table.
#![expect(clippy::unwrap_used, reason = "a benchmark that cannot go on ends")]

use std::path::Path;
use std::sync::Arc;

use arrow::array::AsArray as _;
use arrow::datatypes::Int64Type;
use datafusion::execution::runtime_env::RuntimeEnvBuilder;
use datafusion::prelude::{ParquetReadOptions, SessionConfig, SessionContext};
use tokio::runtime::Runtime;
use udr_benches::lineitem::{bytes, run, run_plain};
use udr_benches::{Round, files, peak_memory, quiesce, report, reset_peak_memory, scratch, time};
use udr_core::Repository;
use udr_core::env::Env;
use udr_core::store::{Store, StoreOptions};
use udr_datafusion::{InstallOptions, install};

const ROUNDS: u32 = 5;
const POOL_BYTES: usize = 512 << 20;
/// How many rows the source has; of 100, 99 are in the table.
const SOURCE_ROWS: i64 = 1_000;

#[expect(
    clippy::disallowed_methods,
    reason = "a benchmark is configured by its environment"
)]
fn table_rows() -> i64 {
    std::env::var("UDR_BENCH_ROWS").map_or(60_000_000, |text| text.parse().unwrap())
}

/// A context whose pool is small.
fn context() -> SessionContext {
    let runtime = RuntimeEnvBuilder::new().with_memory_limit(POOL_BYTES, 1.0);
    let runtime = Arc::new(runtime.build().unwrap());
    SessionContext::new_with_config_rt(SessionConfig::new(), runtime)
}

async fn repository(folder: &Path) -> SessionContext {
    let store = Store::open(folder.to_str().unwrap(), &StoreOptions::default()).unwrap();
    let repository = Repository::create(store, Env::system()).await.unwrap();
    let ctx = context();
    let options = InstallOptions::new(repository);
    install(&ctx, options).await.unwrap();
    ctx
}

/// Rows all over the table, and some that are new.
fn source() -> String {
    let (rows, old) = (table_rows(), SOURCE_ROWS - SOURCE_ROWS / 100);
    format!(
        "SELECT value * {} AS id, 5000 AS a FROM generate_series(1, {old})
         UNION ALL SELECT {rows} + value, 5000 FROM generate_series(1, {})",
        rows / SOURCE_ROWS,
        SOURCE_ROWS - old
    )
}

async fn number(ctx: &SessionContext, sql: &str) -> i64 {
    let rows = run(ctx, sql).await;
    rows[0].column(0).as_primitive::<Int64Type>().value(0)
}

/// The table, and what is plain Parquet to DataFusion.
async fn load(folder: &Path) -> (SessionContext, SessionContext) {
    let udr = repository(folder).await;
    let insert = format!(
        "INSERT INTO big SELECT value, value % 1000, value * 0.5, 'name ' || (value % 100000)
         FROM generate_series(1, {})",
        table_rows()
    );
    run(
        &udr,
        "CREATE TABLE big (id BIGINT, a BIGINT, b DOUBLE, c VARCHAR)",
    )
    .await;
    run(&udr, &insert).await;
    let data = files(&folder.join("data")).unwrap();
    let data = data[0].parent().unwrap().to_str().unwrap().to_owned();
    let floor = context();
    let options = ParquetReadOptions::default();
    floor.register_parquet("big", data, options).await.unwrap();
    (udr, floor)
}

#[expect(clippy::print_stdout, reason = "the report of a benchmark")]
fn main() {
    let scratch = scratch().unwrap();
    let folder = scratch.path().join("repository");
    let runtime = Runtime::new().unwrap();
    let (udr, floor) = runtime.block_on(load(&folder));
    let source = source();
    let find = format!(
        "SELECT count(*), sum(big.a), max(b), max(c) FROM ({source}) s JOIN big ON big.id = s.id"
    );
    let merge = format!(
        "MERGE INTO big USING ({source}) s ON big.id = s.id WHEN MATCHED THEN UPDATE SET a = s.a
         WHEN NOT MATCHED THEN INSERT (id, a) VALUES (s.id, s.a)"
    );
    let (mut rounds, mut written, mut memory) = (Vec::new(), 0, 0);
    for n in 0..ROUNDS {
        runtime.block_on(run(&udr, &format!("CREATE BRANCH b{n} FROM main")));
        runtime.block_on(run(&udr, &format!("USE BRANCH b{n}")));
        quiesce().unwrap();
        let (_, floor) = time(|| runtime.block_on(run_plain(&floor, &find)));
        let before = bytes(&files(&folder).unwrap());
        reset_peak_memory().unwrap();
        let (_, udr_took) = time(|| runtime.block_on(run(&udr, &merge)));
        memory = memory.max(peak_memory().unwrap());
        // A round that writes what an earlier one wrote stores it once.
        written = written.max(bytes(&files(&folder).unwrap()) - before);
        rounds.push(Round {
            udr: udr_took,
            floor,
        });
        let count = |condition: &str| {
            let sql = format!("SELECT count(*) FROM big WHERE {condition}");
            runtime.block_on(number(&udr, &sql))
        };
        assert_eq!(count("a = 5000"), SOURCE_ROWS);
        assert_eq!(count("true"), table_rows() + SOURCE_ROWS / 100);
    }
    report("merge_of_1000_rows_into_many", 1, &rounds);
    println!(
        "merge_of_1000_rows_into_many: {} rows, wrote {written} bytes; peak memory {} MiB of the \
         process, the pool has {} MiB",
        table_rows(),
        memory >> 20,
        POOL_BYTES >> 20
    );
}
