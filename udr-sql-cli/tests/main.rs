//! The `udr` program, run as people and scripts run it.
#![expect(
    clippy::unwrap_used,
    reason = "the lints know tests by their attribute, not what tests share"
)]

mod demo;
mod exit_codes;
mod formats;
mod fsck;
mod prompt;
mod scripts;
mod sql_files;
mod streaming;
mod txn;
mod udr;

/// A file that is not a module here would never run.
#[test]
fn no_test_file_is_forgotten() {
    let text = include_str!("main.rs");
    let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("tests");
    for entry in folder.read_dir().unwrap() {
        let name = entry.unwrap().file_name().into_string().unwrap();
        let module = name.strip_suffix(".rs").unwrap_or(&name);
        assert!(
            module == "main" || text.contains(&format!("mod {module};")),
            "{name}"
        );
    }
}
