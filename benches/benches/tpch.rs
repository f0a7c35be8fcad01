//! The 22 queries of TPC-H on tables of a repository, beside plain DataFusion over Parquet files that
//! it wrote itself, with its defaults: the same rows in the same order in as many files.
//!
//! Two more sides: plain DataFusion over the very files of the repository, and tables of a repository
//! whose large ones are sorted by date and have bloom filters, and whose values were counted.
//! `UDR_BENCH_QUERY` is the number of a query, or several: only they are run, and what EXPLAIN ANALYZE
//! says of them is printed. Settings are DataFusion's, such as
//! `DATAFUSION_EXECUTION_TARGET_PARTITIONS`.
#![expect(
    clippy::panic,
    clippy::unwrap_used,
    reason = "a benchmark that cannot go on ends"
)]

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use arrow::datatypes::{DataType, Schema};
use arrow::util::pretty::pretty_format_batches;
use datafusion::catalog::TableProvider as _;
use datafusion::datasource::MemTable;
use datafusion::prelude::{ParquetReadOptions, SessionConfig, SessionContext};
use tokio::runtime::Runtime;
use udr_benches::lineitem::{run, run_plain};
use udr_benches::tpch::{ORDERS, QUERIES, TABLES, generate, in_memory};
use udr_benches::{median, scratch, time};
use udr_core::Repository;
use udr_core::env::Env;
use udr_core::name::RelationPath;
use udr_core::store::{Store, StoreOptions};
use udr_datafusion::{InstallOptions, UdrSession, install};

/// How often each query is run on each side.
const ROUNDS: usize = 7;

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
        let ctx = context();
        let options = InstallOptions::new(repository);
        let session = install(&ctx, options).await.unwrap();
        let parts = SessionConfig::new().target_partitions();
        for table in TABLES {
            let source = in_memory(generate(table, parts));
            let name = "datafusion.public.source";
            ctx.register_table(name, Arc::<MemTable>::clone(&source))
                .unwrap();
            let order = ORDERS
                .iter()
                .find(|(large, ..)| clustered && *large == table);
            let order = order.map_or(String::new(), |(_, by, key)| {
                format!("WRITE ORDERED BY {by} WRITE BLOOM FILTERS ON ({key})")
            });
            let columns = source_columns(&source.schema());
            run(&ctx, &format!("CREATE TABLE {table} ({columns}) {order}")).await;
            run(&ctx, &format!("INSERT INTO {table} SELECT * FROM {name}")).await;
            ctx.deregister_table(name).unwrap();
            if clustered {
                run(&ctx, &format!("ANALYZE TABLE {table}")).await;
            }
        }
        Self {
            ctx,
            session,
            folder: folder.to_owned(),
        }
    }

    /// Plain DataFusion over the data files.
    async fn files(&self) -> SessionContext {
        let ctx = context();
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

/// The columns of a table in SQL: none of them is ever NULL.
fn source_columns(schema: &Schema) -> String {
    let columns = schema.fields().iter().map(|field| {
        let ty = match field.data_type() {
            DataType::Int64 => "BIGINT".to_owned(),
            DataType::Int32 => "INT".to_owned(),
            DataType::Date32 => "DATE".to_owned(),
            DataType::Utf8View => "VARCHAR".to_owned(),
            DataType::Decimal128(precision, scale) => format!("DECIMAL({precision}, {scale})"),
            other => panic!("no column of TPC-H is {other}"),
        };
        assert!(!field.is_nullable());
        format!("{} {ty} NOT NULL", field.name())
    });
    columns.collect::<Vec<_>>().join(", ")
}

/// Plain DataFusion over files of its own.
async fn plain(folder: &Path) -> SessionContext {
    let (ctx, writer) = (context(), context());
    let parts = SessionConfig::new().target_partitions();
    for table in TABLES {
        let files = folder.join(table);
        for (at, part) in generate(table, parts).into_iter().enumerate() {
            let source = in_memory(vec![part]);
            writer.register_table("source", source).unwrap();
            let file = files.join(format!("{at}.parquet"));
            let copy = format!("COPY source TO '{}' STORED AS PARQUET", file.display());
            run_plain(&writer, &copy).await;
            writer.deregister_table("source").unwrap();
        }
        let options = ParquetReadOptions::default();
        let register = ctx.register_parquet(table, files.to_str().unwrap(), options);
        register.await.unwrap();
    }
    ctx
}

fn context() -> SessionContext {
    SessionContext::new_with_config(SessionConfig::from_env().unwrap())
}

/// What is compared.
struct Sides {
    plain: SessionContext,
    files: SessionContext,
    tables: Tables,
    clustered: Tables,
}

/// What a query took on each side.
struct Taken {
    floor: Duration,
    files: Duration,
    udr: Duration,
    clustered: Duration,
}

fn measure(runtime: &Runtime, query: &str, sides: &Sides) -> Taken {
    let mut rounds = [const { Vec::new() }; 4];
    // The first round warms up, and compares the answers.
    for round in 0..=ROUNDS {
        let (expected, floor) = time(|| runtime.block_on(run_plain(&sides.plain, query)));
        let (found, udr) = time(|| runtime.block_on(run(&sides.tables.ctx, query)));
        let (same, files) = time(|| runtime.block_on(run_plain(&sides.files, query)));
        let (again, sorted) = time(|| runtime.block_on(run(&sides.clustered.ctx, query)));
        if round == 0 {
            let expected = pretty_format_batches(&expected).unwrap().to_string();
            for found in [found, same, again] {
                let found = pretty_format_batches(&found).unwrap().to_string();
                assert_eq!(found, expected, "{query}");
            }
            continue;
        }
        for (times, took) in rounds.iter_mut().zip([floor, files, udr, sorted]) {
            times.push(took);
        }
    }
    let [floor, files, udr, clustered] = rounds.map(median);
    Taken {
        floor,
        files,
        udr,
        clustered,
    }
}

fn geometric_mean(ratios: impl ExactSizeIterator<Item = f64>) -> f64 {
    let count = f64::from(u32::try_from(ratios.len()).unwrap());
    (ratios.map(f64::ln).sum::<f64>() / count).exp()
}

/// The queries that `UDR_BENCH_QUERY` asks for.
#[expect(
    clippy::disallowed_methods,
    reason = "a benchmark is configured by its environment"
)]
fn asked() -> Option<Vec<usize>> {
    let asked = std::env::var("UDR_BENCH_QUERY").ok()?;
    let numbers = asked.split(',').map(|number| number.trim().parse());
    Some(numbers.collect::<Result<_, _>>().unwrap())
}

#[expect(clippy::print_stdout, reason = "the report of a benchmark")]
fn explain(runtime: &Runtime, query: &str, sides: &Sides) {
    for (name, ctx) in [
        ("floor", &sides.plain),
        ("files", &sides.files),
        ("udr", &sides.tables.ctx),
        ("clustered", &sides.clustered.ctx),
    ] {
        let plan = runtime.block_on(run_plain(ctx, &format!("EXPLAIN ANALYZE {query}")));
        println!("{name}:\n{}", pretty_format_batches(&plan).unwrap());
    }
}

#[expect(clippy::print_stdout, reason = "the report of a benchmark")]
fn main() {
    let scratch = scratch().unwrap();
    let runtime = Runtime::new().unwrap();
    let sides = runtime.block_on(async {
        let tables = Tables::load(&scratch.path().join("tables"), false).await;
        Sides {
            plain: plain(&scratch.path().join("plain")).await,
            files: tables.files().await,
            tables,
            clustered: Tables::load(&scratch.path().join("clustered"), true).await,
        }
    });
    let share = |took: Duration, of: &Taken| took.as_secs_f64() / of.floor.as_secs_f64();
    let mut all = Vec::new();
    let asked = asked();
    for (number, query) in (1..).zip(QUERIES) {
        if asked.as_ref().is_some_and(|asked| !asked.contains(&number)) {
            continue;
        }
        let taken = measure(&runtime, query, &sides);
        println!(
            "tpch q{number:02}: floor {:.1?}, over udr's files {:.2}, udr {:.1?} = {:.2} of its \
             time, clustered {:.1?} = {:.2}",
            taken.floor,
            share(taken.files, &taken),
            taken.udr,
            share(taken.udr, &taken),
            taken.clustered,
            share(taken.clustered, &taken),
        );
        if asked.is_some() {
            explain(&runtime, query, &sides);
        }
        all.push(taken);
    }
    let mean = |side: fn(&Taken) -> Duration| {
        geometric_mean(all.iter().map(|taken| share(side(taken), taken)))
    };
    println!(
        "tpch: geometric mean of the floor's time: over udr's files {:.3}, udr {:.3}, clustered \
         {:.3}",
        mean(|taken| taken.files),
        mean(|taken| taken.udr),
        mean(|taken| taken.clustered),
    );
}
