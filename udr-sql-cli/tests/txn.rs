//! `udr txn`: what became of a transaction.

use crate::udr::Udr;

/// The id of the last transaction that was published on `main`.
fn last_transaction(udr: &Udr) -> String {
    let log = udr.home().join("lake/refs/heads/main");
    let mut records: Vec<_> = log.read_dir().unwrap().map(|e| e.unwrap().path()).collect();
    records.retain(|path| !path.ends_with("hint.json"));
    records.sort();
    let record = std::fs::read_to_string(records.last().unwrap()).unwrap();
    let (_, rest) = record.split_once(r#""transactions":[""#).unwrap();
    rest.split_once('"').unwrap().0.to_owned()
}

#[test]
fn a_published_transaction_is_committed_at_its_version() {
    let udr = Udr::new();
    udr.lake(&["CREATE TABLE t AS SELECT 1 AS id"]).ok();
    let id = last_transaction(&udr);
    udr.lake(&["INSERT INTO t VALUES (2)"]).ok();
    let ran = udr
        .run(&["txn", &id, "--repo", "lake", "--format", "csv"])
        .ok();
    assert_eq!(ran.out, "outcome,branch,tag,version\ncommitted,main,,1\n");
}

#[test]
fn what_is_in_no_log_is_unknown_until_its_branch_is_named() {
    let udr = Udr::new();
    udr.lake(&["CREATE TABLE t AS SELECT 1 AS id"]).ok();
    let id = "00000000-0000-4000-8000-000000000000";
    let ask = |more: &[&str]| {
        let arguments = ["txn", id, "--repo", "lake", "--format", "csv"];
        udr.run(&[&arguments[..], more].concat())
    };
    let ran = ask(&[]).failed(4);
    assert_eq!(ran.out, "outcome,branch,tag,version\nunknown,,,\n");
    assert!(ran.err.contains("--branch"), "{}", ran.err);
    let ran = ask(&["--branch", "main"]).failed(1);
    assert_eq!(ran.out, "outcome,branch,tag,version\nnot published,,,\n");
    let ran = ask(&["--branch", "nope"]).failed(1);
    assert!(ran.err.contains("error[UDR-0404]"), "{}", ran.err);
    udr.lake(&["INSERT INTO t VALUES (2)"]).ok();
    udr.run(&["fsck", "--repo", "lake"]).ok();
}

#[test]
fn what_is_no_id_is_wrong_usage() {
    let udr = Udr::new();
    udr.lake(&["SELECT 1"]).ok();
    udr.run(&["txn", "nope", "--repo", "lake"]).failed(2);
    udr.run(&["txn", "--repo", "lake"]).failed(2);
}
