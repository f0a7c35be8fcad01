//! `udr fsck` on a whole repository and on a damaged one.

use std::path::{Path, PathBuf};

use crate::udr::Udr;

fn files(folder: &Path, found: &mut Vec<PathBuf>) {
    for entry in folder.read_dir().unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            files(&path, found);
        } else {
            found.push(path);
        }
    }
}

fn files_below(folder: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    files(folder, &mut found);
    found.sort();
    found
}

#[test]
fn a_whole_repository_has_no_problems() {
    let udr = Udr::new();
    udr.lake(&[
        "CREATE TABLE t AS SELECT 1 AS id",
        "CREATE TAG v1",
        "INSERT INTO t VALUES (2)",
    ])
    .ok();
    for arguments in [
        &["fsck", "--repo", "lake"][..],
        &["fsck", "--data", "--repo", "lake"],
    ] {
        let ran = udr.run(arguments).ok();
        assert_eq!(ran.out, "");
        assert!(ran.err.starts_with("no problems; checked"), "{}", ran.err);
    }
    for (format, document) in [
        ("json", "[]\n"),
        ("ndjson", ""),
        ("csv", "invariant,place,problem\n"),
    ] {
        let ran = udr
            .run(&["fsck", "--repo", "lake", "--format", format])
            .ok();
        assert_eq!(ran.out, document, "{format}");
    }
}

#[test]
fn damage_is_exit_code_5() {
    let udr = Udr::new();
    udr.lake(&["CREATE TABLE t AS SELECT 1 AS id"]).ok();
    let data = files_below(&udr.home().join("lake/data"));
    let file = data.first().unwrap();
    let mut bytes = std::fs::read(file).unwrap();
    let last = bytes.len() - 10;
    bytes[last] ^= 0xff;
    std::fs::write(file, bytes).unwrap();
    let ran = udr
        .run(&["fsck", "--data", "--repo", "lake", "--format", "csv"])
        .failed(5);
    assert!(
        ran.out.starts_with("invariant,place,problem\n"),
        "{}",
        ran.out
    );
    assert!(ran.err.contains("problem"), "{}", ran.err);
    let ran = udr.lake(&["SELECT id FROM t WHERE id > 0"]).failed(5);
    assert!(ran.err.contains("error[UDR-0422]"), "{}", ran.err);
}

#[test]
fn a_repository_that_is_not_there_is_not_made() {
    let udr = Udr::new();
    let ran = udr.run(&["fsck", "--repo", "absent"]).failed(1);
    assert!(ran.err.contains("error[UDR-0404]"), "{}", ran.err);
    assert!(!udr.home().join("absent").exists());
}
