//! Integration tests of udr-core, in one binary.
#![expect(
    clippy::unwrap_used,
    clippy::panic,
    reason = "the lints know tests by their attribute, not what tests share"
)]

mod architecture;
mod constraints;
mod isolation;
mod row_changes;
mod row_world;
mod subscribe;
mod transactions;

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
