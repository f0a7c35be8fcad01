//! The table `lineitem` of TPC-H: loading it and scanning it.
//!
//! The floor of a load is DataFusion's own `COPY` of the same batches into as many Parquet files of
//! the same compression, which are then synced, as UDR's are. The floor of a scan is DataFusion's
//! own table over the very data files that UDR wrote.
#![expect(clippy::unwrap_used, reason = "a benchmark that cannot go on ends")]

mod compare;

use std::path::{Path, PathBuf};

use arrow::record_batch::RecordBatch;
use arrow::util::pretty::pretty_format_batches;
use criterion::Criterion;
use udr_benches::lineitem::{SCANS, Sides, bytes, drain, run_plain};
use udr_benches::{Round, files, quiesce, report, scratch, time};

use self::compare::compare;

/// How often the table is loaded by each side.
const LOADS: u32 = 3;
/// What is loaded.
const SOURCE: &str = "SELECT * FROM datafusion.public.source";

#[expect(clippy::print_stdout, reason = "the report of a benchmark")]
fn load(sides: &Sides, scratch: &Path, of_one_load: &[PathBuf]) {
    let mut rounds = Vec::new();
    for n in 0..LOADS {
        quiesce().unwrap();
        let floor_folder = scratch.join(format!("floor-{n}"));
        let (_, floor) = time(|| sides.copy(SOURCE, &floor_folder, of_one_load.len()));
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
    sides.register_plain(plain);
    compare(criterion, "scan/all_columns", 1, || {
        let (expected, floor) = time(|| runtime.block_on(drain(&sides.floor, "lineitem")));
        let (rows, udr) = time(|| runtime.block_on(drain(&sides.udr, "lineitem")));
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
