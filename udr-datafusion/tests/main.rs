//! One binary for all integration tests: linking the query engine is slow.
#![expect(
    clippy::unwrap_used,
    clippy::panic,
    reason = "the lints know tests by their attribute, not what tests share"
)]

mod analyze;
mod changes;
mod damage;
mod ddl;
mod delete;
mod every_way;
mod evolution;
mod fixture;
mod host;
mod import;
mod in_lists;
mod insert;
mod live_rows;
mod merge;
mod names;
mod order;
mod outcomes;
mod partitions;
mod pinning;
mod pruning;
mod queries;
mod row_changes;
mod rows;
mod session;
mod sql;
mod statistics;
mod system_tables;
mod transactions;
mod truncate;
mod update;
mod version_clauses;
mod views;

use std::collections::BTreeSet;
use std::path::Path;

#[test]
fn no_test_file_is_forgotten() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests");
    let source = include_str!("main.rs");
    let declared = source
        .lines()
        .filter_map(|line| {
            line.strip_prefix("mod ")?
                .strip_suffix(';')
                .map(str::to_owned)
        })
        .collect::<BTreeSet<_>>();
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_stem().unwrap().to_str().unwrap().to_owned();
        let is_module = path.is_dir() || path.extension().is_some_and(|e| e == "rs");
        if is_module && name != "main" {
            assert!(
                declared.contains(&name),
                "tests/{name} is not a module of tests/main.rs"
            );
        }
    }
}
