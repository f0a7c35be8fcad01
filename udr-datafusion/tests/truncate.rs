//! TRUNCATE removes all rows of a table and keeps the table.

use udr_core::ErrorKind;

use crate::every_way::Case;
use crate::fixture::Fixture;

const ROWS: Case<'static> = Case {
    setup: &[
        "CREATE TABLE t (id BIGINT NOT NULL, name TEXT)",
        "INSERT INTO t VALUES (1, 'a'), (2, 'b')",
        "INSERT INTO t VALUES (3, 'c')",
        "DELETE FROM t WHERE id = 1",
    ],
    ask: "SELECT id FROM t ORDER BY id",
};

#[tokio::test]
async fn all_rows_go_and_the_table_stays() {
    ROWS.changes("TRUNCATE TABLE t", 2, &[]).await;
    let f = Fixture::with_table().await;
    f.run("INSERT INTO t VALUES (1, 'a')").await;
    f.run("TRUNCATE TABLE t").await;
    f.run("INSERT INTO t VALUES (2, 'b')").await;
    assert_eq!(f.values("SELECT id FROM t").await, ["2"]);
    f.check().await;
}

#[tokio::test]
async fn an_empty_table_is_left_alone() {
    let empty = Case {
        setup: &["CREATE TABLE t (id BIGINT)"],
        ask: ROWS.ask,
    };
    empty.changes("TRUNCATE TABLE t", 0, &[]).await;
}

#[tokio::test]
async fn explain_truncates_nothing() {
    let f = Fixture::with_table().await;
    f.run("INSERT INTO t VALUES (1, 'a')").await;
    f.run("EXPLAIN TRUNCATE TABLE t").await;
    assert_eq!(f.value("SELECT count(*) FROM t").await, "1");
}

#[tokio::test]
async fn a_transaction_that_truncates_can_be_rolled_back() {
    let f = Fixture::with_table().await;
    f.run("INSERT INTO t VALUES (1, 'a'), (2, 'b')").await;
    f.run("START TRANSACTION").await;
    f.run("UPDATE t SET name = 'x'").await;
    f.run("TRUNCATE TABLE t").await;
    f.run("INSERT INTO t VALUES (3, 'c')").await;
    assert_eq!(f.values("SELECT id FROM t").await, ["3"]);
    f.run("ROLLBACK").await;
    assert_eq!(f.values("SELECT name FROM t ORDER BY id").await, ["a", "b"]);
    f.check().await;
}

#[tokio::test]
async fn rows_that_somebody_else_changed_meanwhile_conflict() {
    let f = Fixture::with_table().await;
    f.run("INSERT INTO t VALUES (1, 'a')").await;
    let other = f.other().await;
    f.run("START TRANSACTION").await;
    f.run("TRUNCATE TABLE t").await;
    other.run("UPDATE t SET name = 'theirs'").await;
    assert_eq!(f.refused("COMMIT").await.0, ErrorKind::Conflict);
    assert_eq!(f.values("SELECT name FROM t").await, ["theirs"]);
}

#[tokio::test]
async fn only_the_sessions_own_branch_is_truncated() {
    let f = Fixture::with_table().await;
    f.run("INSERT INTO t VALUES (1, 'a')").await;
    f.create_branch("dev").await;
    assert_eq!(
        f.refused("TRUNCATE TABLE dev.public.t").await.0,
        ErrorKind::Invalid
    );
    assert_eq!(f.value("SELECT count(*) FROM dev.public.t").await, "1");
}
