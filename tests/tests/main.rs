//! UDR's tests over real processes and stores, in one binary: linking the engine is slow.
#![expect(
    clippy::unwrap_used,
    clippy::panic,
    clippy::explicit_write,
    clippy::print_stdout,
    clippy::disallowed_methods,
    clippy::cast_possible_truncation,
    clippy::single_range_in_vec_init,
    clippy::too_many_lines,
    clippy::clone_on_ref_ptr,
    clippy::cognitive_complexity,
    reason = "tests stop at the first surprise, wait in real time and say what they skip"
)]

mod anomaly;
mod budgets;
mod changes;
mod conformance;
mod corruption;
mod crash;
mod evolution;
mod golden;
mod golden_constraints;
mod golden_layout;
mod golden_rows;
mod golden_sketches;
mod model;
mod oracle;
mod pruning;
mod races;
mod row_writers;
mod sql;
mod world;
mod writers;

use std::collections::BTreeSet;

#[test]
fn no_file_was_forgotten() {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/tests");
    let main = include_str!("main.rs");
    let declared: BTreeSet<_> = main
        .lines()
        .filter_map(|l| l.strip_prefix("mod ")?.strip_suffix(';').map(str::to_owned))
        .collect();
    let present: BTreeSet<_> = std::fs::read_dir(folder)
        .unwrap()
        .filter_map(|e| {
            e.unwrap()
                .file_name()
                .into_string()
                .unwrap()
                .strip_suffix(".rs")
                .map(str::to_owned)
        })
        .filter(|name| name != "main")
        .collect();
    assert_eq!(declared, present);
}
