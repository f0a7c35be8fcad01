//! Long results: every row, without keeping them, and readers that leave early.

use std::io::{BufRead as _, BufReader};

use crate::udr::{Udr, finished};

#[test]
fn a_million_rows_come_out_whole() {
    let udr = Udr::new();
    let sql = "SELECT value AS id FROM generate_series(1, 1000000)";
    let ran = udr.run(&["--format", "csv", "-c", sql]).ok();
    assert_eq!(ran.out.lines().count(), 1_000_001);
    assert_eq!(ran.out.lines().last(), Some("1000000"));
    let ran = udr.run(&["--format", "json", "-c", sql]).ok();
    assert_eq!(ran.out.lines().count(), 1_000_002);
    let ran = udr.run(&["-c", sql]).ok();
    assert_eq!(ran.out.lines().count(), 1_000_004);
}

#[test]
fn a_reader_that_leaves_ends_it_quietly() {
    let udr = Udr::new();
    for format in ["csv", "json", "table", "vertical"] {
        let mut child = udr.spawn(&[
            "--format",
            format,
            "-c",
            "SELECT value AS id FROM generate_series(1, 1000000000)",
        ]);
        let mut out = BufReader::new(child.stdout.take().unwrap());
        let mut line = String::new();
        out.read_line(&mut line).unwrap();
        drop(out);
        let ran = finished(child).ok();
        assert_eq!(ran.err.lines().count(), 1, "{format}: {}", ran.err);
    }
}

#[test]
fn a_small_memory_limit_spills_instead_of_failing() {
    let udr = Udr::new();
    let ran = udr
        .run(&[
            "--memory-limit",
            "40M",
            "--format",
            "csv",
            "-c",
            "SELECT value AS id FROM generate_series(1, 3000000) ORDER BY (value * 7919) % 3000017",
        ])
        .ok();
    assert_eq!(ran.out.lines().count(), 3_000_001);
}

#[test]
fn a_reader_that_leaves_does_not_keep_the_rest_from_being_done() {
    let udr = Udr::new();
    udr.lake(&["CREATE TABLE t (id BIGINT)"]).ok();
    let mut child = udr.spawn(&[
        "--repo",
        "lake",
        "--format",
        "csv",
        "-c",
        "BEGIN; SELECT value AS id FROM generate_series(1, 1000000000)",
        "-c",
        "INSERT INTO t VALUES (1); SELECT count(*) FROM t; COMMIT",
    ]);
    let mut out = BufReader::new(child.stdout.take().unwrap());
    let mut line = String::new();
    out.read_line(&mut line).unwrap();
    drop(out);
    let ran = finished(child).ok();
    assert!(ran.err.contains("committed"), "{}", ran.err);
    let ran = udr.lake(&["SELECT count(*) AS n FROM t"]).ok();
    assert!(ran.out.contains("| 1 |"), "{}", ran.out);
}

#[cfg(unix)]
#[test]
fn a_subscription_prints_rows_as_they_come_until_it_is_interrupted() {
    let udr = Udr::new();
    udr.lake(&[
        "CREATE TABLE t (id BIGINT, name VARCHAR)",
        "INSERT INTO t VALUES (1, 'one')",
    ])
    .ok();
    for format in ["table", "csv", "ndjson"] {
        let mut child = udr.spawn(&[
            "--repo",
            "lake",
            "--format",
            format,
            "-c",
            "SUBSCRIBE TO t FROM 1",
        ]);
        let mut out = BufReader::new(child.stdout.take().unwrap());
        let mut until = |word: &str| {
            let mut line = String::new();
            while !line.contains(word) {
                line.clear();
                assert!(out.read_line(&mut line).unwrap() > 0, "{format}: no {word}");
            }
        };
        until("one");
        let name = format!("seen as {format}");
        udr.lake(&[&format!("INSERT INTO t VALUES (2, '{name}')")])
            .ok();
        until(&name);
        let id = child.id().to_string();
        let kill = std::process::Command::new("kill")
            .args(["-INT", &id])
            .status();
        assert!(kill.unwrap().success());
        finished(child).failed(130);
    }
}
