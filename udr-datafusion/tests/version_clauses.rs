//! A version clause is obeyed or refused, never dropped.

use udr_core::ErrorKind;

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
