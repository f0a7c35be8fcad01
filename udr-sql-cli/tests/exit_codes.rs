//! Exit codes are part of the interface.

use std::io::{BufRead as _, BufReader, Write as _};

use crate::udr::{Udr, finished};

#[test]
fn an_error_in_a_statement_is_1() {
    let udr = Udr::new();
    let ran = udr.run(&["-c", "SELECT nope"]).failed(1);
    assert!(ran.err.contains("error[UDR-0400]"), "{}", ran.err);
    assert_eq!(ran.out, "");
    let ran = udr.run(&["-c", "SELECT * FROM missing"]).failed(1);
    assert!(ran.err.contains("error[UDR-0404]"), "{}", ran.err);
}

#[test]
fn wrong_usage_is_2() {
    let udr = Udr::new();
    for arguments in [
        &["--format", "xml"][..],
        &["-f", "absent.sql"],
        &["fsck"],
        &["--repo", "ftp://host/x", "-c", "SELECT 1"],
        &["--branch", "nope", "-c", "SELECT 1"],
        &["--branch", "no such name", "-c", "SELECT 1"],
        &[
            "--repo",
            "s3://bucket/x",
            "--store-option",
            "nope=1",
            "-c",
            "SELECT 1",
        ],
    ] {
        let ran = udr.run(arguments).failed(2);
        assert!(ran.err.contains("error"), "{arguments:?}: {}", ran.err);
    }
}

#[test]
fn version_and_help_are_0() {
    let udr = Udr::new();
    assert_eq!(
        udr.run(&["--version"]).ok().out,
        format!("udr {}\n", env!("CARGO_PKG_VERSION"))
    );
    assert!(udr.run(&["--help"]).ok().out.contains("Exit codes"));
}

#[test]
fn a_conflict_is_3() {
    let udr = Udr::new();
    udr.lake(&["CREATE TABLE t AS SELECT 1 AS id"]).ok();
    let mut first = udr.spawn(&["--repo", "lake", "--durability", "none"]);
    let mut input = first.stdin.take().unwrap();
    let mut said = BufReader::new(first.stderr.take().unwrap());
    input
        .write_all(b"BEGIN;\nINSERT OVERWRITE t SELECT 2 AS id;\n")
        .unwrap();
    let mut line = String::new();
    while !line.starts_with("INSERT OVERWRITE") {
        line.clear();
        assert!(said.read_line(&mut line).unwrap() > 0, "it ended early");
    }
    udr.lake(&["INSERT OVERWRITE t SELECT 3 AS id"]).ok();
    input.write_all(b"COMMIT;\n").unwrap();
    drop(input);
    let ran = finished(first).failed(3);
    let error = std::io::read_to_string(said).unwrap();
    assert!(error.contains("error[UDR-0412]"), "{error}");
    assert_eq!(ran.out, "");
    let ran = udr.lake(&["SELECT id FROM t"]).ok();
    assert!(ran.out.contains("|  3 |"), "{}", ran.out);
}

#[test]
fn an_unreachable_store_is_4() {
    let udr = Udr::new();
    let mut arguments = vec!["--repo", "s3://bucket/lake", "-c", "SELECT 1"];
    for option in [
        "endpoint=http://127.0.0.1:9",
        "allow_http=true",
        "region=eu-west-1",
        "access_key_id=x",
        "secret_access_key=canary",
    ] {
        arguments.extend(["--store-option", option]);
    }
    let ran = udr.run(&arguments).failed(4);
    assert!(ran.err.contains("error[UDR-0503]"), "{}", ran.err);
    assert!(!ran.err.contains("canary"), "{}", ran.err);
}

#[cfg(unix)]
#[test]
fn ctrl_c_is_130() {
    let udr = Udr::new();
    let child = udr.spawn(&[
        "-c",
        "CREATE TABLE t AS SELECT 1 AS id",
        "-c",
        "SELECT count(*) FROM generate_series(1, 1000000000000) AS s (v) WHERE v % 3 = 7",
    ]);
    interrupt(child, "CREATE TABLE");
}

#[cfg(unix)]
#[test]
fn ctrl_c_while_waiting_for_standard_input_is_130() {
    let udr = Udr::new();
    let mut child = udr.spawn(&[]);
    let mut input = child.stdin.take().unwrap();
    input
        .write_all(b"CREATE TABLE t AS SELECT 1 AS id;\n")
        .unwrap();
    interrupt(child, "CREATE TABLE");
    drop(input);
}

#[cfg(unix)]
fn interrupt(mut child: std::process::Child, after: &str) {
    let mut said = BufReader::new(child.stderr.take().unwrap());
    let mut line = String::new();
    while !line.starts_with(after) {
        line.clear();
        assert!(said.read_line(&mut line).unwrap() > 0, "it ended early");
    }
    let id = child.id().to_string();
    std::process::Command::new("kill")
        .args(["-INT", &id])
        .status()
        .unwrap();
    finished(child).failed(130);
    assert!(
        std::io::read_to_string(said)
            .unwrap()
            .contains("interrupted")
    );
}
