//! Changing rows of the table `lineitem` of TPC-H, beside copy-on-write of the same files.
//!
//! The floor reads the data files that UDR wrote, with the change made, and writes all of them anew
//! through DataFusion's own `COPY`, synced. Each round changes a branch of its own, so all begin
//! with the same table. `UDR_BENCH_SF` is the scale factor.
#![expect(clippy::unwrap_used, reason = "a benchmark that cannot go on ends")]

mod compare;

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use criterion::Criterion;
use udr_benches::lineitem::{SCANS, Sides, bytes, drain, run_plain};
use udr_benches::{Round, median, peak_memory, quiesce, reset_peak_memory, scratch, time};

use self::compare::compare;

/// How often each statement is run by either side.
const ROUNDS: u32 = 3;

/// A number that looks random, from 0 to 999, for each row.
const RANDOM: &str = "((l_orderkey * 7919 + l_linenumber * 104729) % 1000)";

/// A statement, the table that results from it, and the rows that it touches.
struct Change {
    name: &'static str,
    sql: String,
    /// What copy-on-write writes.
    result: String,
    /// The changed rows alone.
    touched: String,
}

fn changes() -> Vec<Change> {
    let new_rows = "SELECT l_orderkey + 100000000 AS l_orderkey, * EXCLUDE (l_orderkey) FROM";
    let source = format!(
        "SELECT * REPLACE (l_quantity + 1 AS l_quantity) FROM lineitem WHERE {RANDOM} < 5
         UNION ALL {new_rows} lineitem WHERE {RANDOM} BETWEEN 5 AND 9"
    );
    vec![
        Change {
            name: "update_of_0.1_percent",
            sql: format!("UPDATE lineitem SET l_quantity = l_quantity + 1 WHERE {RANDOM} = 13"),
            result: format!(
                "SELECT * REPLACE (CASE WHEN {RANDOM} = 13 THEN l_quantity + 1 ELSE l_quantity END
                 AS l_quantity) FROM lineitem"
            ),
            touched: format!("SELECT * FROM lineitem WHERE {RANDOM} = 13"),
        },
        Change {
            name: "delete_of_1_percent",
            sql: format!("DELETE FROM lineitem WHERE {RANDOM} < 10"),
            result: format!("SELECT * FROM lineitem WHERE {RANDOM} >= 10"),
            touched: format!("SELECT l_orderkey, l_linenumber FROM lineitem WHERE {RANDOM} < 10"),
        },
        Change {
            name: "merge_of_60000_rows",
            sql: "MERGE INTO lineitem USING datafusion.public.news AS s
                  ON lineitem.l_orderkey = s.l_orderkey AND lineitem.l_linenumber = s.l_linenumber
                  WHEN MATCHED THEN UPDATE SET l_quantity = s.l_quantity
                  WHEN NOT MATCHED THEN INSERT *"
                .to_owned(),
            result: "SELECT t.l_orderkey, t.* EXCLUDE (l_orderkey, l_quantity),
                     coalesce(s.l_quantity, t.l_quantity) AS l_quantity
                     FROM lineitem t LEFT JOIN news s
                     ON t.l_orderkey = s.l_orderkey AND t.l_linenumber = s.l_linenumber
                     UNION ALL SELECT l_orderkey, * EXCLUDE (l_orderkey, l_quantity), l_quantity
                     FROM news WHERE l_orderkey > 100000000"
                .to_owned(),
            touched: source,
        },
    ]
}

/// The rows of the source of the `MERGE`, in memory on both sides.
fn register_news(sides: &Sides) {
    let source = &changes()[2].touched;
    sides.runtime.block_on(async {
        let rows = sides.floor.sql(source).await.unwrap();
        let news = rows.cache().await.unwrap().into_view();
        for ctx in [&sides.udr, &sides.floor] {
            ctx.register_table("datafusion.public.news", Arc::clone(&news))
                .unwrap();
        }
    });
}

#[expect(clippy::print_stdout, reason = "the report of a benchmark")]
fn change(sides: &Sides, scratch: &Path, change: &Change) {
    let mut rounds = Vec::new();
    let mut written = 0;
    let mut memory = 0;
    for n in 0..ROUNDS {
        let branch = format!("{}_{n}", change.name.replace('.', "_"));
        sides.udr_sql(&format!("CREATE BRANCH {branch} FROM main"));
        sides.udr_sql(&format!("USE BRANCH {branch}"));
        quiesce().unwrap();
        let folder = scratch.join("copy-on-write");
        let (_, floor) = time(|| sides.copy(&change.result, &folder, sides.parts));
        std::fs::remove_dir_all(folder).unwrap();
        quiesce().unwrap();
        let before = bytes(&sides.all_files());
        reset_peak_memory().unwrap();
        let (_, udr) = time(|| sides.udr_sql(&change.sql));
        memory = memory.max(peak_memory().unwrap());
        // A round that writes what an earlier one wrote stores it once.
        written = written.max(bytes(&sides.all_files()) - before);
        rounds.push(Round { udr, floor });
    }
    let folder = scratch.join("touched");
    sides.copy(&change.touched, &folder, 1);
    let touched = bytes(&udr_benches::files(&folder).unwrap());
    std::fs::remove_dir_all(folder).unwrap();
    udr_benches::report(change.name, 1, &rounds);
    println!(
        "{}: wrote {written} bytes, the changed rows alone are {touched}; peak memory {} MiB",
        change.name,
        memory >> 20
    );
}

/// A scan of all rows after all three changes, beside one of the table as it was.
#[expect(clippy::print_stdout, reason = "the report of a benchmark")]
fn scan(sides: &Sides, criterion: &mut Criterion) {
    sides.udr_sql("CREATE BRANCH changed FROM main");
    sides.udr_sql("USE BRANCH changed");
    for change in changes() {
        sides.udr_sql(&change.sql);
    }
    for (name, sql) in SCANS {
        let before = sql.replace("lineitem", "\"lineitem@main\"");
        compare(criterion, &format!("scan_after/{name}"), 1, || {
            let (_, floor) = time(|| sides.udr_sql(&before));
            let (_, udr) = time(|| sides.udr_sql(sql));
            Round { udr, floor }
        });
    }
    let drain_all = |table: &str| sides.runtime.block_on(drain(&sides.udr, table));
    let mut ratios = Vec::<(Duration, Duration)>::new();
    for _ in 0..5 {
        let (_, before) = time(|| drain_all("\"lineitem@main\""));
        let (_, after) = time(|| drain_all("lineitem"));
        ratios.push((before, after));
    }
    let before = median(ratios.iter().map(|r| r.0).collect());
    let after = median(ratios.iter().map(|r| r.1).collect());
    println!(
        "scan_after/all_columns: before {before:.3?}, after {after:.3?}, {:.2} times",
        after.as_secs_f64() / before.as_secs_f64()
    );
}

fn main() {
    let mut criterion = Criterion::default().configure_from_args();
    let scratch = scratch().unwrap();
    let sides = Sides::new(scratch.path());
    sides.load_udr("lineitem");
    sides.forget_source();
    let plain = sides.data_files()[0].parent().unwrap().to_owned();
    sides.register_plain(&plain);
    register_news(&sides);
    let count = sides
        .runtime
        .block_on(run_plain(&sides.floor, "SELECT * FROM news"));
    let count = count
        .iter()
        .map(arrow::array::RecordBatch::num_rows)
        .sum::<usize>();
    assert!(count > 0, "the MERGE has no source");
    for one in changes() {
        change(&sides, scratch.path(), &one);
    }
    scan(&sides, &mut criterion);
    criterion.final_summary();
}
