//! The portable twins: the same statements through plain SQL.

use udr_core::ErrorKind;

use crate::fixture::Fixture;

fn call(statement: &str) -> String {
    format!(
        "SELECT * FROM udr_call('{}')",
        statement.replace('\'', "''")
    )
}

#[tokio::test]
async fn every_statement_has_a_twin_with_the_same_result() {
    let (friendly, portable) = (Fixture::with_table().await, Fixture::with_table().await);
    for statement in [
        "BEGIN",
        "CREATE SCHEMA s",
        "CREATE TABLE s.u (id INT NOT NULL, name TEXT DEFAULT 'x')",
        "CREATE TABLE w AS SELECT value AS id FROM generate_series(1, 3)",
        "SAVEPOINT p",
        "DROP TABLE w",
        "ROLLBACK TO p",
        "RELEASE p",
        "CREATE VIEW v AS SELECT * FROM t",
        "COMMIT MESSAGE 'it''s'",
        "BEGIN READ ONLY AS OF 0",
        "SHOW TABLES",
        "ROLLBACK",
        "CREATE BRANCH dev FROM main~1",
        "CREATE TAG v1",
        "USE BRANCH dev",
        "SHOW TABLES",
        "CREATE TABLE x (id INT)",
        "CREATE OR REPLACE TABLE x AS SELECT * FROM t VERSION AS OF 1",
        "ALTER TABLE x RENAME TO y",
        "ALTER TABLE y ADD COLUMN extra INT COMMENT 'x' FIRST",
        "ALTER TABLE y ADD PARTITION FIELD bucket(3, extra), WRITE ORDERED BY extra",
        "COMMENT ON COLUMN y.extra IS NULL",
        "CREATE TABLE z (id INT) PARTITIONED BY (id)",
        "SHOW LOG LIMIT 3",
        "SHOW REFLOG",
        "SHOW BRANCHES",
        "SHOW TAGS",
        "SHOW STATUS",
        "DESCRIBE HISTORY y",
        "SET udr.as_of = 'dev~1'",
        "RESET udr.as_of",
        "SET udr.branch = 'main'",
        "MERGE BRANCH main INTO main2 DRY RUN",
        "DROP VIEW v",
        "DROP SCHEMA s CASCADE",
        "DROP TABLE IF EXISTS missing",
        "DROP TAG v1",
        "DROP BRANCH dev",
    ] {
        let ours = friendly.try_udr(statement).await;
        let theirs = portable.try_run(&call(statement)).await;
        match (ours, theirs) {
            (Ok(ours), Ok(theirs)) => assert_eq!(ours, theirs, "{statement}"),
            (Err(ours), Err(theirs)) => {
                let text = |e| udr_datafusion::error::udr_error(e).map(ToString::to_string);
                assert_eq!(text(&ours), text(&theirs), "{statement}");
                assert!(text(&ours).is_some(), "{statement}: {ours}");
            }
            (ours, theirs) => panic!("{statement}: {ours:?} and {theirs:?}"),
        }
    }
    friendly.check().await;
    portable.check().await;
}

#[tokio::test]
async fn nothing_happens_before_execution_and_then_once() {
    let f = Fixture::with_table().await;
    let sql = call("CREATE BRANCH dev");
    f.run(&format!("EXPLAIN {sql}")).await;
    let frame = f.ctx.sql(&sql).await.unwrap();
    assert_eq!(f.udr("SHOW BRANCHES").await.len(), 1);
    frame.clone().collect().await.unwrap();
    assert_eq!(f.udr("SHOW BRANCHES").await.len(), 2);
    f.run("EXPLAIN SELECT result FROM udr_call('DROP TABLE t') WHERE result = 'x'")
        .await;
    f.run("EXPLAIN SELECT udr_use('dev')").await;
    assert_eq!(f.session.branch().as_str(), "main");
    // Of one batch, a part may be asked for.
    assert_eq!(
        f.values("SELECT name FROM udr_call('SHOW BRANCHES') WHERE current")
            .await,
        ["main"]
    );
    assert_eq!(
        f.values("SELECT count(*) FROM udr_call('SHOW BRANCHES')")
            .await,
        ["2"]
    );
    f.check().await;
}

#[tokio::test]
async fn rows_are_changed_in_every_spelling() {
    let f = Fixture::with_table().await;
    f.run("CREATE TABLE datafusion.public.m (id INT)").await;
    assert_eq!(
        f.value(&call("INSERT INTO t VALUES (1, 'a'), (2, 'b')"))
            .await,
        "2"
    );
    let upsert = "INSERT INTO t VALUES (2, 'c'), (3, 'c') ON CONFLICT (id)
                  DO UPDATE SET name = excluded.name";
    f.run(&format!("EXPLAIN {}", call(upsert))).await;
    assert_eq!(f.values("SELECT name FROM t ORDER BY id").await, ["a", "b"]);
    assert_eq!(f.value(&call(upsert)).await, "2");
    let update = "UPDATE t SET name = s.n FROM (VALUES (1, 'x')) AS s (id, n) WHERE s.id = t.id";
    assert_eq!(f.value(&call(update)).await, "1");
    assert_eq!(
        f.value(&call("DELETE FROM t AS x WHERE x.id = 2")).await,
        "1"
    );
    assert_eq!(f.values("SELECT name FROM t ORDER BY id").await, ["x", "c"]);
    f.run("START TRANSACTION").await;
    f.run(&call("INSERT INTO t REPLACE WHERE id < 3 VALUES (2, 'y')"))
        .await;
    f.run("ROLLBACK").await;
    assert_eq!(f.values("SELECT name FROM t ORDER BY id").await, ["x", "c"]);
    f.check().await;
}

#[tokio::test]
async fn queries_and_returned_rows_are_refused() {
    let f = Fixture::with_table().await;
    for statement in [
        "SELECT 1",
        "INSERT INTO t VALUES (1, 'a') RETURNING id",
        "EXPLAIN DELETE FROM t",
        "PREPARE p AS DELETE FROM t",
        "INSERT INTO datafusion.public.m VALUES (1)",
        "COPY t TO 'x'",
        "EXPLAIN SELECT 1",
        "SET datafusion.execution.batch_size = 10",
        "CREATE EXTERNAL TABLE x STORED AS CSV LOCATION 'x'",
    ] {
        let (kind, _) = f.refused(&call(statement)).await;
        assert_eq!(kind, ErrorKind::Unsupported, "{statement}");
    }
    for sql in [
        "SELECT * FROM udr_call()",
        "SELECT * FROM udr_call(1)",
        "SELECT * FROM udr_call('BEGIN', 'COMMIT')",
        "SELECT * FROM udr_use('a', 'b')",
    ] {
        assert_eq!(f.refused(sql).await.0, ErrorKind::Invalid, "{sql}");
    }
    assert!(f.try_run(&call("FROBNICATE")).await.is_err());
    assert!(f.try_run(&call("BEGIN; COMMIT")).await.is_err());
    let (kind, _) = f
        .refused(&call("CREATE TABLE datafusion.public.m (id INT)"))
        .await;
    assert_eq!(kind, ErrorKind::Unsupported);
    let (kind, text) = f
        .refused(&call("CREATE TABLE u AS SELECT * FROM missing"))
        .await;
    assert_eq!(kind, ErrorKind::NotFound, "{text}");
    let (kind, text) = f
        .refused(&call("CREATE TABLE u AS SELECT nothing FROM t"))
        .await;
    assert_eq!(kind, ErrorKind::Invalid, "{text}");
    assert!(text.contains("nothing"), "{text}");
}

#[tokio::test]
async fn a_branch_is_used_by_a_function() {
    let f = Fixture::with_table().await;
    f.create_branch("dev").await;
    f.create_branch("next").await;
    assert_eq!(f.value("SELECT udr_use('dev')").await, "dev");
    assert_eq!(f.session.branch().as_str(), "dev");
    assert_eq!(
        f.value("SELECT * FROM udr_use('next')").await,
        "on branch next"
    );
    assert_eq!(f.session.branch().as_str(), "next");
    assert_eq!(
        f.refused("SELECT udr_use('missing')").await.0,
        ErrorKind::NotFound
    );
    let two = "SELECT udr_use(x) FROM (VALUES ('dev'), ('main')) AS v (x)";
    assert_eq!(f.refused(two).await.0, ErrorKind::Invalid);
    assert_eq!(f.session.branch().as_str(), "next");
    let (kind, text) = f.refused("SELECT * FROM udr_at('t', 'main~1')").await;
    assert_eq!(kind, ErrorKind::Unsupported);
    assert!(text.contains("\"t@main~1\""), "{text}");
}

#[tokio::test]
async fn a_call_that_is_read_twice_is_refused() {
    let f = Fixture::with_table().await;
    let sql = "WITH c AS (SELECT * FROM udr_call('INSERT_HERE'))
               SELECT * FROM c UNION ALL SELECT * FROM c";
    let before = f.version().await;
    let (kind, text) = f
        .refused(&sql.replace("INSERT_HERE", "CREATE OR REPLACE TABLE u AS SELECT 1 AS id"))
        .await;
    assert_eq!(kind, ErrorKind::Invalid, "{text}");
    assert_eq!(f.version().await, before);
    // Two calls are two calls, and a prepared one runs each time.
    f.run(
        "SELECT * FROM udr_call('CREATE TAG a') UNION ALL SELECT * FROM udr_call('CREATE TAG b')",
    )
    .await;
    f.run("PREPARE q AS SELECT * FROM udr_call('CREATE OR REPLACE TABLE u AS SELECT 1 AS id')")
        .await;
    f.run("EXECUTE q").await;
    f.run("EXECUTE q").await;
    assert_eq!(f.version().await, before + 2);
}
