//! DELETE with an alias, with other tables and with a limit.

use udr_core::ErrorKind;

use crate::fixture::Fixture;

async fn five() -> Fixture {
    let f = Fixture::with_table().await;
    f.udr("CREATE TABLE s (id BIGINT, v VARCHAR)").await;
    f.udr("INSERT INTO t VALUES (1, 'a'), (2, 'a'), (3, 'b')")
        .await;
    f.udr("INSERT INTO t VALUES (4, 'b'), (5, 'c')").await;
    f.udr("INSERT INTO s VALUES (2, 'x'), (2, 'y'), (4, 'z'), (9, 'z')")
        .await;
    f
}

async fn ids(f: &Fixture) -> Vec<String> {
    f.udr("SELECT id FROM t ORDER BY id").await
}

#[tokio::test]
async fn an_alias_names_the_table_also_in_subqueries() {
    let f = five().await;
    let sql = "DELETE FROM t AS x WHERE EXISTS
               (SELECT 1 FROM t WHERE t.name = x.name AND t.id < x.id)";
    assert_eq!(f.udr(sql).await, ["2"]);
    assert_eq!(ids(&f).await, ["1", "3", "5"]);
    assert_eq!(f.udr("DELETE FROM public.t y WHERE y.id = 3").await, ["1"]);
    assert_eq!(
        f.udr("DELETE FROM udr.public.t AS y WHERE y.id = 3").await,
        ["0"]
    );
    assert_eq!(ids(&f).await, ["1", "5"]);
    f.check().await;
}

#[tokio::test]
async fn a_row_that_is_found_twice_is_deleted_once() {
    let f = five().await;
    let before = f.version().await;
    let sql = "DELETE FROM t USING s WHERE t.id = s.id AND s.v > 'w'";
    assert_eq!(f.udr(sql).await, ["2"]);
    assert_eq!(f.version().await, before + 1);
    assert_eq!(ids(&f).await, ["1", "3", "5"]);
    let sql = "DELETE FROM t AS a USING s, (SELECT 'z' AS v) AS w
               WHERE w.v = s.v AND a.id + 4 = s.id";
    assert_eq!(f.udr(sql).await, ["1"]);
    assert_eq!(ids(&f).await, ["1", "3"]);
    assert_eq!(
        f.udr("DELETE FROM t USING s WHERE s.v = 'none'").await,
        ["0"]
    );
    assert_eq!(f.udr("DELETE FROM t USING s").await, ["2"]);
    f.check().await;
}

#[tokio::test]
async fn the_first_rows_of_an_order_are_deleted() {
    let f = five().await;
    assert_eq!(f.udr("DELETE FROM t ORDER BY id DESC LIMIT 2").await, ["2"]);
    assert_eq!(ids(&f).await, ["1", "2", "3"]);
    assert_eq!(
        f.udr("DELETE FROM t AS x WHERE name = 'a' ORDER BY x.id LIMIT 1")
            .await,
        ["1"]
    );
    assert_eq!(ids(&f).await, ["2", "3"]);
    assert_eq!(f.udr("DELETE FROM t LIMIT 0").await, ["0"]);
    assert_eq!(
        f.udr("DELETE FROM t USING s WHERE s.v = 'z' LIMIT 1").await,
        ["1"]
    );
    assert_eq!(f.udr("SELECT count(*) FROM t").await, ["1"]);
    f.check().await;
}

#[tokio::test]
async fn what_is_no_table_of_the_branch_is_refused() {
    let f = five().await;
    f.udr("CREATE BRANCH dev").await;
    f.udr("CREATE VIEW w AS SELECT * FROM t").await;
    let before = f.version().await;
    for sql in [
        "DELETE FROM \"t@1\" AS x",
        "UPDATE \"t@dev\" SET id = 1 LIMIT 1",
        "UPDATE dev.public.t AS x SET id = 1",
        "DELETE FROM t VERSION AS OF 1",
        "UPDATE t VERSION AS OF 1 SET id = 2",
        "MERGE INTO t VERSION AS OF 1 USING s ON t.id = s.id WHEN MATCHED THEN DELETE",
        "INSERT INTO t VERSION AS OF 1 SELECT 1, 'a'",
        "INSERT INTO t AT (BRANCH => 'dev') BY NAME SELECT 1 AS id",
        "DELETE FROM w AS x WHERE x.id = 1",
        "DELETE FROM \"t$files\" AS x",
        "WITH t AS (SELECT 1 AS id) DELETE FROM t",
    ] {
        let (kind, _) = f.udr_refused(sql).await;
        assert_eq!(kind, ErrorKind::Invalid, "{sql}");
    }
    let (kind, text) = f.udr_refused("DELETE FROM tt AS x").await;
    assert_eq!(kind, ErrorKind::NotFound);
    assert!(text.contains("tt"), "{text}");
    assert_eq!(f.version().await, before);
}
