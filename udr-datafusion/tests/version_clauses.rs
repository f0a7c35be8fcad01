//! A version clause is obeyed or refused, never dropped.

use udr_core::ErrorKind;
use udr_datafusion::udr_sql;

use crate::fixture::{Fixture, id_and_name};

#[tokio::test]
async fn a_version_clause_is_refused_wherever_it_is_written() {
    let f = Fixture::with_table().await;
    f.create("u", &id_and_name()).await;
    f.run("INSERT INTO t VALUES (1, 'a')").await;
    f.create_view("w", "SELECT * FROM t").await;
    let d = f.with_dialect("databricks").await;
    let before = f.version().await;
    for sql in [
        "SELECT * FROM t VERSION AS OF 1",
        "SELECT * FROM t TIMESTAMP AS OF '2026-01-01'",
        "SELECT x.id FROM t VERSION AS OF 1 AS x",
        "SELECT * FROM udr.public.t VERSION AS OF 1",
        "SELECT * FROM w VERSION AS OF 1",
        "SELECT * FROM u JOIN t VERSION AS OF 1 ON u.id = t.id",
        "SELECT * FROM t VERSION AS OF 1, u",
        "SELECT * FROM u LEFT JOIN (SELECT * FROM t VERSION AS OF 1) s ON u.id = s.id",
        "SELECT * FROM u WHERE id IN (SELECT id FROM t VERSION AS OF 1)",
        "SELECT * FROM u WHERE EXISTS (SELECT 1 FROM t VERSION AS OF 1)",
        "SELECT (SELECT max(id) FROM t VERSION AS OF 1)",
        "WITH c AS (SELECT * FROM t VERSION AS OF 1) SELECT * FROM c",
        "WITH c AS (SELECT * FROM t) SELECT * FROM c VERSION AS OF 1",
        "SELECT * FROM u UNION ALL SELECT * FROM t VERSION AS OF 1",
        "EXPLAIN SELECT * FROM t VERSION AS OF 1",
        "INSERT INTO u SELECT * FROM t VERSION AS OF 1",
        "INSERT OVERWRITE u SELECT * FROM t VERSION AS OF 1",
        "UPDATE t VERSION AS OF 1 SET name = 'x'",
        "DELETE FROM t VERSION AS OF 1 WHERE id = 1",
        "MERGE INTO u USING t VERSION AS OF 1 ON u.id = t.id WHEN MATCHED THEN DELETE",
    ] {
        let (kind, text) = d.refused(sql).await;
        assert_eq!(kind, ErrorKind::Unsupported, "{sql}: {text}");
    }
    assert_eq!(f.version().await, before);
}

#[tokio::test]
async fn the_other_dialects_that_parse_version_clauses_refuse_them() {
    let f = Fixture::with_table().await;
    for (dialect, sql) in [
        ("snowflake", "SELECT * FROM t AT(TIMESTAMP => '2026-01-01')"),
        ("snowflake", "SELECT * FROM t BEFORE(STATEMENT => 'x')"),
        (
            "bigquery",
            "SELECT * FROM t FOR SYSTEM_TIME AS OF '2026-01-01'",
        ),
        (
            "mssql",
            "SELECT * FROM t FOR SYSTEM_TIME AS OF '2026-01-01'",
        ),
    ] {
        let (kind, text) = f.with_dialect(dialect).await.refused(sql).await;
        assert_eq!(kind, ErrorKind::Unsupported, "{dialect}: {text}");
        assert!(text.contains("t@42"), "{text}");
    }
}

#[tokio::test]
async fn a_delete_in_a_dialect_that_has_version_clauses_goes_through_udr_sql() {
    let f = Fixture::with_table().await;
    f.run("INSERT INTO t VALUES (1, 'a'), (2, 'b'), (3, 'c')")
        .await;
    for (dialect, id) in [("databricks", 1), ("snowflake", 2)] {
        let d = f.with_dialect(dialect).await;
        let delete = format!("DELETE FROM t WHERE id = {id}");
        let (kind, text) = d.refused(&delete).await;
        assert_eq!(kind, ErrorKind::Unsupported, "{text}");
        assert!(text.contains("udr_sql"), "{text}");
        let friendly = async |sql: &str| udr_sql(&d.ctx, sql).await?.collect().await;
        assert!(
            friendly("DELETE FROM t VERSION AS OF 1 WHERE id = 3")
                .await
                .is_err()
        );
        friendly(&delete).await.unwrap();
        friendly("PREPARE gone AS DELETE FROM t WHERE id = 77")
            .await
            .unwrap();
        friendly("EXECUTE gone").await.unwrap();
    }
    assert_eq!(f.values("SELECT id FROM t").await, ["3"]);
}

#[tokio::test]
async fn a_sample_is_refused_and_not_dropped() {
    let f = Fixture::with_table().await;
    f.run("INSERT INTO t VALUES (1, 'a'), (2, 'b')").await;
    for sql in [
        "SELECT * FROM t TABLESAMPLE (10 PERCENT)",
        "UPDATE t TABLESAMPLE (10 PERCENT) SET name = 'x'",
    ] {
        assert_eq!(f.refused(sql).await.0, ErrorKind::Unsupported, "{sql}");
    }
    assert_eq!(f.values("SELECT name FROM t ORDER BY id").await, ["a", "b"]);
}

#[tokio::test]
async fn a_sample_of_a_table_is_refused_and_not_the_whole_of_it() {
    let f = Fixture::with_table().await;
    f.run("INSERT INTO t VALUES (1, 'a')").await;
    let sql = "SELECT * FROM t TABLESAMPLE (1 PERCENT)";
    let (kind, text) = f.refused(sql).await;
    assert_eq!(kind, ErrorKind::Unsupported, "{text}");
    let (kind, text) = f.udr_refused(sql).await;
    assert_eq!(kind, ErrorKind::Unsupported, "{text}");
    let mysql = f.with_dialect("mysql").await;
    let (kind, text) = mysql.refused("SELECT * FROM t PARTITION (p0)").await;
    assert_eq!(kind, ErrorKind::Unsupported, "{text}");
    // What the context has beside the repository is the engine's.
    f.run("CREATE TABLE datafusion.public.m AS SELECT 1 AS id")
        .await;
    f.run("SELECT * FROM datafusion.public.m TABLESAMPLE (1 PERCENT)")
        .await;
}
