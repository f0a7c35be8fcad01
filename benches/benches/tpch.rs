//! The 22 queries of TPC-H on tables of a repository, beside plain DataFusion over the very same
//! Parquet files; and on tables whose large ones are sorted by date.
#![expect(clippy::unwrap_used, reason = "a benchmark that cannot go on ends")]

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use arrow::util::pretty::pretty_format_batches;
use datafusion::prelude::{ParquetReadOptions, SessionConfig, SessionContext};
use tokio::runtime::Runtime;
use udr_benches::lineitem::{run, run_plain};
use udr_benches::tpch::{ORDERS, QUERIES, TABLES, generate};
use udr_benches::{median, scratch, time};
use udr_core::Repository;
use udr_core::env::Env;
use udr_core::name::RelationPath;
use udr_core::store::{Store, StoreOptions};
use udr_datafusion::{InstallOptions, UdrSession, install};

/// How often each query is run on each side.
const ROUNDS: usize = 5;

/// A repository with the tables.
struct Tables {
    ctx: SessionContext,
    session: Arc<UdrSession>,
    folder: PathBuf,
}

impl Tables {
    async fn load(folder: &Path, clustered: bool) -> Self {
        let store = Store::open(folder.to_str().unwrap(), &StoreOptions::default()).unwrap();
        let repository = Repository::create(store, Env::system()).await.unwrap();
        let ctx = SessionContext::new();
        let options = InstallOptions::new(repository);
        let session = install(&ctx, options).await.unwrap();
        let parts = SessionConfig::new().target_partitions();
        for table in TABLES {
            let source = Arc::new(generate(table, parts));
            let name = "datafusion.public.source";
            ctx.register_table(name, source).unwrap();
            let order = ORDERS
                .iter()
                .find(|(large, _)| clustered && *large == table);
            let order = order.map_or(String::new(), |(_, by)| format!("WRITE ORDERED BY {by}"));
            let sql = format!("CREATE TABLE {table} {order} AS SELECT * FROM {name}");
            run(&ctx, &sql).await;
            ctx.deregister_table(name).unwrap();
        }
        Self {
            ctx,
            session,
            folder: folder.to_owned(),
        }
    }

    /// Plain DataFusion over the data files.
    async fn plain(&self) -> SessionContext {
        let ctx = SessionContext::new();
        let snapshot = self.session.snapshot().await.unwrap();
        for table in TABLES {
            let path = RelationPath::parse("public", table).unwrap();
            let id = snapshot.table(&path).await.unwrap().id();
            let files = self.folder.join(format!("data/{id}/0"));
            let options = ParquetReadOptions::default();
            let register = ctx.register_parquet(table, files.to_str().unwrap(), options);
            register.await.unwrap();
        }
        ctx
    }
}

/// What a query took on each side.
struct Taken {
    floor: Duration,
    udr: Duration,
    clustered: Duration,
}

fn measure(
    runtime: &Runtime,
    query: &str,
    plain: &SessionContext,
    tables: &Tables,
    clustered: &Tables,
) -> Taken {
    let mut rounds = [const { Vec::new() }; 3];
    // The first round warms up, and compares the answers.
    for round in 0..=ROUNDS {
        let (expected, floor) = time(|| runtime.block_on(run_plain(plain, query)));
        let (found, udr) = time(|| runtime.block_on(run(&tables.ctx, query)));
        let (again, sorted) = time(|| runtime.block_on(run(&clustered.ctx, query)));
        if round == 0 {
            let expected = pretty_format_batches(&expected).unwrap().to_string();
            for found in [found, again] {
                let found = pretty_format_batches(&found).unwrap().to_string();
                assert_eq!(found, expected, "{query}");
            }
            continue;
        }
        for (times, took) in rounds.iter_mut().zip([floor, udr, sorted]) {
            times.push(took);
        }
    }
    let [floor, udr, clustered] = rounds.map(median);
    Taken {
        floor,
        udr,
        clustered,
    }
}

fn geometric_mean(ratios: impl ExactSizeIterator<Item = f64>) -> f64 {
    let count = f64::from(u32::try_from(ratios.len()).unwrap());
    (ratios.map(f64::ln).sum::<f64>() / count).exp()
}

#[expect(clippy::print_stdout, reason = "the report of a benchmark")]
fn main() {
    let scratch = scratch().unwrap();
    let runtime = Runtime::new().unwrap();
    let (tables, clustered) = runtime.block_on(async {
        let tables = Tables::load(&scratch.path().join("plain"), false).await;
        let clustered = Tables::load(&scratch.path().join("clustered"), true).await;
        (tables, clustered)
    });
    let plain = runtime.block_on(tables.plain());
    let share = |took: Duration, of: &Taken| took.as_secs_f64() / of.floor.as_secs_f64();
    let mut all = Vec::new();
    for (at, query) in QUERIES.iter().enumerate() {
        let taken = measure(&runtime, query, &plain, &tables, &clustered);
        println!(
            "tpch q{:02}: floor {:.1?}, udr {:.1?} = {:.2} of its time, clustered {:.1?} = {:.2}",
            at + 1,
            taken.floor,
            taken.udr,
            share(taken.udr, &taken),
            taken.clustered,
            share(taken.clustered, &taken),
        );
        all.push(taken);
    }
    let udr = geometric_mean(all.iter().map(|taken| share(taken.udr, taken)));
    let sorted = geometric_mean(all.iter().map(|taken| share(taken.clustered, taken)));
    println!("tpch: geometric mean of the floor's time: udr {udr:.3}, clustered {sorted:.3}");
}
