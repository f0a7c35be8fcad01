//! `ISOLATION LEVEL SERIALIZABLE`: what a transaction read is as it was when it commits.

use udr_core::ErrorKind;

use crate::fixture::Fixture;

const BEGIN: &str = "BEGIN ISOLATION LEVEL SERIALIZABLE";

/// Tables `t` with two files, of ids from 1 and from 100, and `u`.
async fn filled() -> (Fixture, Fixture) {
    let f = Fixture::with_table().await;
    f.udr("INSERT INTO t VALUES (1, 'a'), (2, 'b')").await;
    f.udr("INSERT INTO t VALUES (100, 'c'), (101, 'd')").await;
    f.udr("CREATE TABLE u (id BIGINT)").await;
    f.udr("CREATE VIEW few AS SELECT id FROM t WHERE id < 50")
        .await;
    let other = f.other().await;
    (f, other)
}

/// Whether a transaction that ran `reads` and then wrote to `u` commits after others ran `theirs`.
async fn commits(begin: &str, reads: &[&str], theirs: &str) -> bool {
    let (f, other) = filled().await;
    f.udr(begin).await;
    for sql in reads {
        f.udr(sql).await;
    }
    f.udr("INSERT INTO u VALUES (0)").await;
    other.udr(theirs).await;
    let before = f.version().await;
    let committed = match f.session.commit(None).await {
        Ok(_) => true,
        Err(error) => {
            assert_eq!(error.kind(), ErrorKind::Conflict, "{reads:?}: {error}");
            false
        }
    };
    assert_eq!(f.version().await - before, u64::from(committed));
    f.check().await;
    committed
}

/// What a transaction reads, what another one commits meanwhile, and whether the first, serializable,
/// commits then.
const READS: &[(&str, &str, bool)] = &[
    (
        "SELECT sum(id) FROM t",
        "INSERT INTO t VALUES (3, 'e')",
        false,
    ),
    (
        "SELECT count(*) FROM t",
        "DELETE FROM t WHERE id = 1",
        false,
    ),
    ("SELECT * FROM t LIMIT 1", "TRUNCATE TABLE t", false),
    (
        "SELECT id FROM few",
        "UPDATE t SET name = 'x' WHERE id = 2",
        false,
    ),
    (
        "SELECT * FROM \"t$files\"",
        "INSERT INTO t VALUES (3, 'e')",
        false,
    ),
    (
        "SELECT * FROM \"t$rows\"",
        "DELETE FROM t WHERE id = 1",
        false,
    ),
    ("SELECT _row_id FROM t", "DELETE FROM t WHERE id = 1", false),
    (
        "SELECT * FROM t WHERE id = 1",
        "DELETE FROM t WHERE id = 2",
        false,
    ),
    (
        "SELECT * FROM t WHERE id = 1",
        "DELETE FROM t WHERE id = 100",
        true,
    ),
    (
        "SELECT * FROM t WHERE id = 7",
        "INSERT INTO t VALUES (7, 'g')",
        false,
    ),
    (
        "SELECT * FROM t WHERE id = 7",
        "INSERT INTO t VALUES (8, 'h')",
        true,
    ),
    ("SELECT 1", "INSERT INTO t VALUES (3, 'e')", true),
    (
        "SELECT * FROM \"t@main~1\"",
        "INSERT INTO t VALUES (3, 'e')",
        true,
    ),
    (
        "SELECT id FROM few",
        "CREATE OR REPLACE VIEW few AS SELECT 1 AS id",
        false,
    ),
    (
        "SELECT * FROM t",
        "ALTER TABLE t ADD CONSTRAINT c CHECK (id > 0)",
        false,
    ),
    ("SELECT * FROM t", "DROP TABLE t", false),
    (
        "UPDATE u SET id = (SELECT max(id) FROM t)",
        "INSERT INTO t VALUES (500, 'e')",
        false,
    ),
    (
        "DELETE FROM t WHERE id BETWEEN 50 AND 60",
        "INSERT INTO t VALUES (55, 'e')",
        false,
    ),
];

#[tokio::test]
async fn rows_that_can_match_what_was_read_may_not_change() {
    for (reads, theirs, serializable) in READS {
        let snapshot = commits("BEGIN", &[reads], theirs).await;
        assert!(snapshot, "{reads}; {theirs}");
        let found = commits(BEGIN, &[reads], theirs).await;
        assert_eq!(found, *serializable, "{reads}; {theirs}");
    }
}

#[tokio::test]
async fn what_was_read_stays_read() {
    let theirs = "INSERT INTO t VALUES (3, 'e')";
    // Going back undoes what was written.
    let undone = ["SAVEPOINT s", "SELECT * FROM t", "ROLLBACK TO s"];
    assert!(!commits(BEGIN, &undone, theirs).await);
    // A statement that failed has read all the same.
    let (f, other) = filled().await;
    f.udr(BEGIN).await;
    f.udr_fails("INSERT INTO u SELECT 1 / (id - 1) FROM t")
        .await;
    f.udr("INSERT INTO u VALUES (0)").await;
    other.udr(theirs).await;
    assert_eq!(f.udr_refused("COMMIT").await.0, ErrorKind::Conflict);
    // One that was prepared reads when it is run.
    let (f, other) = filled().await;
    f.udr("PREPARE p AS SELECT count(*) FROM t").await;
    f.udr(BEGIN).await;
    f.udr("EXECUTE p").await;
    f.udr("INSERT INTO u VALUES (0)").await;
    other.udr(theirs).await;
    let (kind, message) = f.udr_refused("COMMIT").await;
    assert_eq!(kind, ErrorKind::Conflict);
    assert!(message.contains("public.t"), "{message}");
    // The next transaction has read nothing yet.
    f.udr(BEGIN).await;
    f.udr("INSERT INTO u VALUES (0)").await;
    other.udr(theirs).await;
    f.udr("COMMIT").await;
    f.check().await;
}

#[tokio::test]
async fn a_name_that_was_not_found_may_not_come() {
    let (f, other) = filled().await;
    f.udr(BEGIN).await;
    f.udr_refused("SELECT * FROM later").await;
    f.udr("INSERT INTO u VALUES (0)").await;
    other.udr("CREATE TABLE later (id BIGINT)").await;
    assert_eq!(f.udr_refused("COMMIT").await.0, ErrorKind::Conflict);
    f.check().await;
}

#[tokio::test]
async fn two_that_read_what_the_other_writes_do_not_both_commit() {
    let (a, b) = filled().await;
    for f in [&a, &b] {
        f.udr(BEGIN).await;
        assert_eq!(f.udr("SELECT count(*) FROM t WHERE id < 50").await, ["2"]);
    }
    a.udr("DELETE FROM t WHERE id = 1").await;
    b.udr("DELETE FROM t WHERE id = 2").await;
    a.udr("COMMIT").await;
    assert_eq!(b.udr_refused("COMMIT").await.0, ErrorKind::Conflict);
    assert_eq!(a.udr("SELECT count(*) FROM t WHERE id < 50").await, ["1"]);
    a.check().await;
}

#[tokio::test]
async fn plain_sql_is_serializable_through_a_call() {
    for (begin, serializable) in [
        (
            "SELECT * FROM udr_call('BEGIN ISOLATION LEVEL SERIALIZABLE')",
            true,
        ),
        ("START TRANSACTION", false),
        ("START TRANSACTION ISOLATION LEVEL REPEATABLE READ", false),
    ] {
        let (f, other) = filled().await;
        f.run(begin).await;
        f.run("SELECT count(*) FROM t").await;
        f.run("INSERT INTO u VALUES (0)").await;
        other.udr("INSERT INTO t VALUES (3, 'e')").await;
        let committed = f.session.commit(None).await;
        assert_eq!(committed.is_err(), serializable, "{begin}");
    }
}
