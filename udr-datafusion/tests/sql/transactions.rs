//! BEGIN, COMMIT, ROLLBACK, savepoints, the session's pin.

use udr_core::ErrorKind;

use crate::fixture::Fixture;

#[tokio::test]
async fn statements_of_a_transaction_are_one_commit() {
    let f = Fixture::new().await;
    let other = f.other().await;
    let before = f.version().await;
    f.udr("BEGIN").await;
    f.udr("CREATE TABLE a (id BIGINT)").await;
    f.udr("CREATE TABLE b AS SELECT 1 AS id").await;
    f.udr("INSERT INTO a SELECT id + 1 FROM b").await;
    assert_eq!(f.udr("SELECT a.id, b.id FROM a, b").await, ["2|1"]);
    assert_eq!(other.udr("SHOW TABLES").await, [""; 0]);
    let committed = f.udr("COMMIT MESSAGE 'it''s done; really'").await;
    assert!(
        committed[0].starts_with(&format!("committed|{}|", before + 1)),
        "{committed:?}"
    );
    assert_eq!(f.version().await, before + 1);
    assert_eq!(other.udr("SELECT a.id, b.id FROM a, b").await, ["2|1"]);
    assert_eq!(
        f.udr("SELECT message FROM udr.log LIMIT 1").await,
        ["it's done; really"]
    );
    f.check().await;
}

#[tokio::test]
async fn a_rolled_back_transaction_leaves_nothing() {
    let f = Fixture::with_table().await;
    let before = f.version().await;
    f.udr("START TRANSACTION").await;
    f.udr("INSERT INTO t VALUES (1, 'a')").await;
    f.udr("CREATE SCHEMA s").await;
    f.udr("CREATE TABLE s.u AS SELECT * FROM t").await;
    f.udr("ROLLBACK").await;
    assert_eq!(f.udr("SELECT count(*) FROM t").await, ["0"]);
    assert_eq!(f.udr("SHOW TABLES").await, ["public|t|table"]);
    assert_eq!(f.udr("BEGIN").await, ["transaction started"]);
    assert_eq!(f.udr("COMMIT").await, ["unchanged||"]);
    assert_eq!(f.version().await, before);
    for sql in [
        "COMMIT",
        "ROLLBACK",
        "SAVEPOINT s",
        "ROLLBACK TO s",
        "RELEASE s",
    ] {
        assert_eq!(f.udr_refused(sql).await.0, ErrorKind::Invalid, "{sql}");
    }
    f.check().await;
}

#[tokio::test]
async fn savepoints_undo_ddl_and_rows() {
    let f = Fixture::with_table().await;
    f.udr("BEGIN").await;
    f.udr("INSERT INTO t VALUES (1, 'a')").await;
    f.udr("SAVEPOINT s").await;
    f.udr("INSERT INTO t VALUES (2, 'b')").await;
    f.udr("CREATE TABLE u (id INT)").await;
    assert_eq!(
        f.udr("ROLLBACK TO SAVEPOINT s").await,
        ["rolled back to savepoint s"]
    );
    assert_eq!(f.udr("SELECT id FROM t").await, ["1"]);
    assert_eq!(f.udr("SHOW TABLES").await, ["public|t|table"]);
    assert_eq!(f.udr_refused("ROLLBACK TO x").await.0, ErrorKind::NotFound);
    f.udr("RELEASE s").await;
    f.udr("END").await;
    assert_eq!(f.udr("SELECT id FROM t").await, ["1"]);
    f.check().await;
}

#[tokio::test]
async fn a_statement_that_fails_leaves_the_transaction_as_it_was() {
    let f = Fixture::with_table().await;
    f.udr("BEGIN").await;
    f.udr("INSERT INTO t VALUES (1, 'a')").await;
    f.udr_fails("CREATE TABLE u AS SELECT 1 / (id - 1) AS x FROM t")
        .await;
    assert_eq!(
        f.udr_refused("DROP TABLE t, missing").await.0,
        ErrorKind::NotFound
    );
    assert_eq!(f.udr("SHOW TABLES").await, ["public|t|table"]);
    f.udr("COMMIT").await;
    assert_eq!(f.udr("SELECT id FROM t").await, ["1"]);
    f.check().await;
}

#[tokio::test]
async fn a_read_only_transaction_stays_at_its_state() {
    let f = Fixture::with_table().await;
    f.udr("INSERT INTO t VALUES (1, 'a')").await;
    f.udr("CREATE TAG one").await;
    f.udr("BEGIN READ ONLY").await;
    f.other().await.udr("INSERT INTO t VALUES (2, 'b')").await;
    assert_eq!(f.udr("SELECT count(*) FROM t").await, ["1"]);
    assert_eq!(
        f.udr_refused("INSERT INTO t VALUES (3, 'c')").await.0,
        ErrorKind::Invalid
    );
    assert_eq!(
        f.udr_refused("CREATE TABLE u (id INT)").await.0,
        ErrorKind::Invalid
    );
    f.udr("COMMIT").await;
    assert_eq!(f.udr("SELECT count(*) FROM t").await, ["2"]);
    for (revision, rows) in [("one", "1"), ("'HEAD~1'", "1"), ("HEAD~2", "0"), ("2", "1")] {
        f.udr(&format!("BEGIN READ ONLY AS OF {revision}")).await;
        assert_eq!(f.udr("SELECT count(*) FROM t").await, [rows], "{revision}");
        f.udr("ROLLBACK").await;
    }
    let (kind, _) = f.udr_refused("BEGIN READ ONLY AS OF missing").await;
    assert_eq!(kind, ErrorKind::NotFound);
    assert_eq!(f.udr_refused("COMMIT").await.0, ErrorKind::Invalid);
}

#[tokio::test]
async fn a_conflict_gives_the_transaction_up_and_says_why() {
    let f = Fixture::with_table().await;
    f.udr("BEGIN").await;
    f.udr("INSERT INTO t VALUES (1, 'a')").await;
    f.other().await.udr("DROP TABLE t").await;
    let (kind, text) = f.udr_refused("COMMIT").await;
    assert_eq!(kind, ErrorKind::Conflict);
    assert!(text.contains("public.t"), "{text}");
    assert_eq!(f.udr_refused("COMMIT").await.0, ErrorKind::Invalid);
    f.check().await;
}

#[tokio::test]
async fn a_pinned_session_reads_one_state_and_writes_nothing() {
    let f = Fixture::with_table().await;
    f.udr("INSERT INTO t VALUES (1, 'a')").await;
    f.udr("INSERT INTO t VALUES (2, 'b')").await;
    assert_eq!(
        f.udr("SET udr.as_of = 'main~1'").await,
        ["reading as of main~1"]
    );
    assert_eq!(f.udr("SELECT count(*) FROM t").await, ["1"]);
    assert_eq!(f.udr("SELECT count(*) FROM \"t@main\"").await, ["2"]);
    for sql in [
        "INSERT INTO t VALUES (3, 'c')",
        "CREATE TABLE u (id INT)",
        "DROP TABLE t",
    ] {
        assert_eq!(f.udr_refused(sql).await.0, ErrorKind::Invalid, "{sql}");
    }
    f.udr("RESET udr.as_of").await;
    assert_eq!(f.udr("SELECT count(*) FROM t").await, ["2"]);
    f.udr("SET udr.as_of TO 2").await;
    assert_eq!(f.udr("SELECT count(*) FROM t").await, ["1"]);
    f.udr("SET udr.as_of = DEFAULT").await;
    assert_eq!(
        f.udr_refused("SET udr.as_of = 'missing'").await.0,
        ErrorKind::NotFound
    );
    assert_eq!(f.udr("SELECT count(*) FROM t").await, ["2"]);
}

#[tokio::test]
async fn commits_are_by_whom_the_session_says() {
    let f = Fixture::new().await;
    f.udr("SET udr.author = 'Ada Lovelace'").await;
    f.udr("CREATE TABLE t (id BIGINT)").await;
    f.udr("BEGIN").await;
    f.udr("INSERT INTO t VALUES (1)").await;
    f.udr("SET udr.author = 'Grace'").await;
    f.udr("COMMIT").await;
    f.udr("RESET udr.author").await;
    f.udr("INSERT INTO t VALUES (2)").await;
    assert_eq!(
        f.udr("SELECT author FROM udr.log ORDER BY version").await,
        ["udr", "Ada Lovelace", "Grace", "unknown"]
    );
    let (kind, _) = f.udr_refused("SET udr.author = ' '").await;
    assert_eq!(kind, ErrorKind::Invalid);
    f.check().await;
}
