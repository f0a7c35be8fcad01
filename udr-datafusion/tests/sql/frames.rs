//! Changes of rows with WITH, EXPLAIN and PREPARE in front.

use crate::fixture::Fixture;

async fn tables() -> Fixture {
    let f = Fixture::with_table().await;
    f.udr("CREATE TABLE s (id BIGINT, name VARCHAR)").await;
    f.udr("INSERT INTO t VALUES (1, 'a'), (2, 'b'), (3, 'c')")
        .await;
    f.udr("INSERT INTO s VALUES (2, 'x'), (4, 'y')").await;
    f
}

async fn rows(f: &Fixture) -> Vec<String> {
    f.udr("SELECT id, name FROM t ORDER BY id").await
}

#[tokio::test]
async fn every_statement_takes_a_with_clause() {
    let f = tables().await;
    let with = "WITH W AS (SELECT id, name FROM s), two AS (SELECT 2 AS id)";
    assert_eq!(
        f.udr(&format!(
            "{with} UPDATE t SET name = w.name FROM w WHERE w.id = t.id"
        ))
        .await,
        ["1"]
    );
    assert_eq!(rows(&f).await, ["1|a", "2|x", "3|c"]);
    assert_eq!(
        f.udr(&format!(
            "{with} DELETE FROM t WHERE id IN (SELECT id FROM two)"
        ))
        .await,
        ["1"]
    );
    assert_eq!(
        f.udr(&format!(
            "{with} DELETE FROM t AS a USING two, w WHERE a.id + 1 = two.id AND w.id = 4"
        ))
        .await,
        ["1"]
    );
    assert_eq!(
        f.udr(&format!(
            "{with} MERGE INTO t USING w ON t.id = w.id WHEN NOT MATCHED THEN INSERT *"
        ))
        .await,
        ["2"]
    );
    assert_eq!(rows(&f).await, ["2|x", "3|c", "4|y"]);
    assert_eq!(
        f.udr(&format!(
            "{with} INSERT INTO t SELECT id + 10, 'i' FROM two"
        ))
        .await,
        ["1"]
    );
    assert_eq!(
        f.udr(
            "WITH RECURSIVE n AS (SELECT 20 AS id UNION ALL SELECT id + 1 FROM n WHERE id < 22)
               INSERT INTO t BY NAME SELECT id FROM n"
        )
        .await,
        ["3"]
    );
    assert_eq!(f.udr("SELECT count(*) FROM t").await, ["7"]);
    f.check().await;
}

#[tokio::test]
async fn an_explained_change_changes_nothing() {
    let f = tables().await;
    let before = f.version().await;
    for sql in [
        "UPDATE t SET name = s.name FROM s WHERE s.id = t.id",
        "UPDATE t SET name = 'x' ORDER BY id LIMIT 1",
        "DELETE FROM t AS x WHERE x.id = 1",
        "DELETE FROM t USING s WHERE s.id = t.id",
        "WITH w AS (SELECT 1) DELETE FROM t AS x",
        "INSERT INTO t VALUES (1, 'q') ON CONFLICT (id) DO UPDATE SET name = excluded.name",
        "INSERT INTO t REPLACE WHERE id = 1 VALUES (1, 'q')",
        "INSERT INTO t BY NAME SELECT 9 AS id",
        "MERGE INTO t USING s ON t.id = s.id WHEN MATCHED THEN UPDATE SET *",
    ] {
        let plan = f.udr(&format!("EXPLAIN {sql}")).await.join("\n");
        assert!(plan.contains("physical_plan"), "{sql}: {plan}");
        assert!(
            plan.contains("UdrChangeExec") || plan.contains("UdrStageExec"),
            "{sql}: {plan}"
        );
        f.udr(&format!("EXPLAIN VERBOSE {sql}")).await;
        assert_eq!(f.version().await, before, "{sql}");
    }
    assert_eq!(rows(&f).await, ["1|a", "2|b", "3|c"]);
    f.udr("EXPLAIN ANALYZE DELETE FROM t AS x WHERE x.id = 1")
        .await;
    assert_eq!(
        rows(&f).await,
        ["2|b", "3|c"],
        "EXPLAIN ANALYZE runs the statement"
    );
}

#[tokio::test]
async fn a_prepared_change_runs_with_each_set_of_values() {
    let f = tables().await;
    f.udr("PREPARE up AS UPDATE t AS a SET name = $2 || s.name FROM s WHERE s.id = a.id AND a.id = $1")
        .await;
    assert_eq!(f.udr("EXECUTE up(2, 'p')").await, ["1"]);
    assert_eq!(f.udr("EXECUTE up(3, 'p')").await, ["0"]);
    assert_eq!(rows(&f).await, ["1|a", "2|px", "3|c"]);
    f.udr("PREPARE del (BIGINT) AS DELETE FROM t AS a USING s WHERE a.id = s.id AND a.id = $1")
        .await;
    assert_eq!(f.udr("EXECUTE del(2)").await, ["1"]);
    assert_eq!(f.udr("EXECUTE del(1)").await, ["0"]);
    f.udr(
        "PREPARE put AS INSERT INTO t VALUES ($1, $2)
           ON CONFLICT (id) DO UPDATE SET name = t.name || excluded.name",
    )
    .await;
    assert_eq!(f.udr("EXECUTE put(1, 'q')").await, ["1"]);
    assert_eq!(f.udr("EXECUTE put(5, 'q')").await, ["1"]);
    assert_eq!(f.udr("EXECUTE put(5, 'r')").await, ["1"]);
    assert_eq!(rows(&f).await, ["1|aq", "3|c", "5|qr"]);
    f.udr("PREPARE first AS DELETE FROM t ORDER BY id LIMIT $1")
        .await;
    assert_eq!(f.udr("EXECUTE first(2)").await, ["2"]);
    assert_eq!(rows(&f).await, ["5|qr"]);
    f.udr("PREPARE rep AS INSERT INTO t REPLACE WHERE id >= $1 SELECT $1, 'rep'")
        .await;
    assert_eq!(f.udr("EXECUTE rep(5)").await, ["2"]);
    assert_eq!(rows(&f).await, ["5|rep"]);
    f.udr(
        "PREPARE mer AS MERGE INTO t USING (VALUES ($1, 'm')) AS v (id, name) ON t.id = v.id
           WHEN MATCHED THEN UPDATE SET * WHEN NOT MATCHED THEN INSERT *",
    )
    .await;
    assert_eq!(f.udr("EXECUTE mer(5)").await, ["1"]);
    assert_eq!(f.udr("EXECUTE mer(6)").await, ["1"]);
    assert_eq!(rows(&f).await, ["5|m", "6|m"]);
    f.check().await;
}
