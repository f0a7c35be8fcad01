//! RETURNING.

use udr_core::ErrorKind;

use super::columns;
use crate::fixture::Fixture;

async fn numbers() -> Fixture {
    let f = Fixture::new().await;
    f.udr("CREATE TABLE r (id BIGINT NOT NULL, n INT DEFAULT 5, \"Name\" VARCHAR)")
        .await;
    f.udr("INSERT INTO r VALUES (1, 1, 'a'), (2, 2, 'b'), (3, 3, 'c')")
        .await;
    f
}

fn sorted(mut rows: Vec<String>) -> Vec<String> {
    rows.sort();
    rows
}

#[tokio::test]
async fn inserted_rows_come_back_as_they_are_stored() {
    let f = numbers().await;
    let before = f.version().await;
    let sql = "INSERT INTO r (id, \"Name\") VALUES (4, 7), (5, 'e') RETURNING *, id * n AS product";
    let batches = f.try_udr(sql).await.unwrap();
    assert_eq!(columns(&batches), ["id", "n", "Name", "product"]);
    assert_eq!(sorted(super::lines(&batches)), ["4|5|7|20", "5|5|e|25"]);
    assert_eq!(f.version().await, before + 1, "one statement, one commit");
    assert_eq!(f.udr("SELECT count(*) FROM r").await, ["5"]);
    let none = "INSERT INTO r SELECT * FROM r WHERE false RETURNING id";
    assert_eq!(f.udr(none).await, [""; 0]);
    f.check().await;
}

#[tokio::test]
async fn deleted_rows_come_back_as_they_were() {
    let f = numbers().await;
    let sql = "DELETE FROM r AS x WHERE x.id > 1 ORDER BY id LIMIT 1 RETURNING x.\"Name\", x.n + 1";
    assert!(
        f.try_udr(sql).await.is_err(),
        "RETURNING stands before ORDER BY"
    );
    let sql = "DELETE FROM r AS x WHERE x.id > 1 RETURNING x.\"Name\", x.n + 1 ORDER BY id LIMIT 1";
    assert_eq!(f.udr(sql).await, ["b|3"]);
    let sql = "DELETE FROM r USING (VALUES (1), (1)) AS v (id) WHERE r.id = v.id RETURNING r.*";
    assert_eq!(f.udr(sql).await, ["1|1|a"], "each row once");
    assert_eq!(
        f.udr("DELETE FROM r WHERE false RETURNING id").await,
        [""; 0]
    );
    assert_eq!(f.udr("DELETE FROM r RETURNING id").await, ["3"]);
    assert_eq!(f.udr("SELECT count(*) FROM r").await, ["0"]);
    f.check().await;
}

#[tokio::test]
async fn updated_rows_come_back_as_they_became() {
    let f = numbers().await;
    let sql = "UPDATE r SET n = n * 10 WHERE id < 3 RETURNING id, n";
    assert_eq!(sorted(f.udr(sql).await), ["1|10", "2|20"]);
    let sql = "UPDATE r SET n = v.n FROM (VALUES (3, 33)) AS v (id, n) WHERE v.id = r.id
               RETURNING r.id, r.n";
    assert_eq!(f.udr(sql).await, ["3|33"]);
    assert_eq!(
        f.udr("SELECT n FROM r ORDER BY id").await,
        ["10", "20", "33"]
    );
    f.check().await;
}

#[tokio::test]
async fn an_upsert_returns_what_it_wrote() {
    let f = numbers().await;
    let sql = "INSERT INTO r (id, n) VALUES (1, 7), (9, 9)
               ON CONFLICT (id) DO UPDATE SET n = r.n + excluded.n RETURNING id, n, \"Name\"";
    assert_eq!(sorted(f.udr(sql).await), ["1|8|a", "9|9|"]);
    let sql = "INSERT INTO r (id) VALUES (1), (10) ON CONFLICT (id) DO NOTHING RETURNING id, n";
    assert_eq!(f.udr(sql).await, ["10|5"]);
    let sql = "INSERT INTO r REPLACE WHERE id > 8 SELECT 11, 0, 'k' RETURNING \"Name\"";
    assert_eq!(f.udr(sql).await, ["k"]);
    assert_eq!(
        f.udr("SELECT id FROM r ORDER BY id").await,
        ["1", "2", "3", "11"]
    );
    f.check().await;
}

#[tokio::test]
async fn a_failed_change_returns_nothing_and_an_explained_one_does_nothing() {
    let f = numbers().await;
    let before = f.version().await;
    let twice = "UPDATE r SET n = v.n FROM (VALUES (1, 1), (1, 2)) AS v (id, n) WHERE v.id = r.id
                 RETURNING r.id";
    assert_eq!(f.udr_refused(twice).await.0, ErrorKind::Invalid);
    assert!(
        f.try_udr("INSERT INTO r VALUES (NULL, 1, 'x') RETURNING id")
            .await
            .is_err()
    );
    let plan = f.udr("EXPLAIN DELETE FROM r RETURNING id").await.join("\n");
    assert!(
        plan.contains("UdrReturningExec") && plan.contains("UdrChangeExec"),
        "{plan}"
    );
    let (kind, _) = f
        .udr_refused("PREPARE p AS DELETE FROM r WHERE id = $1 RETURNING id")
        .await;
    assert_eq!(kind, ErrorKind::Unsupported);
    let (kind, _) = f
        .udr_refused("DELETE FROM r RETURNING (SELECT max(id) FROM r)")
        .await;
    assert_eq!(kind, ErrorKind::Unsupported);
    let (kind, _) = f.udr_refused("DELETE FROM r OUTPUT deleted.id").await;
    assert_eq!(kind, ErrorKind::Unsupported);
    assert_eq!(f.version().await, before);
    assert_eq!(f.udr("SELECT count(*) FROM r").await, ["3"]);
}

#[tokio::test]
async fn rows_are_returned_inside_a_transaction() {
    let f = numbers().await;
    f.udr("BEGIN").await;
    assert_eq!(
        f.udr("INSERT INTO r (id) VALUES (4) RETURNING n").await,
        ["5"]
    );
    assert_eq!(f.udr("DELETE FROM r WHERE id = 4 RETURNING n").await, ["5"]);
    f.udr("ROLLBACK").await;
    assert_eq!(f.udr("SELECT count(*) FROM r").await, ["3"]);
}

#[tokio::test]
async fn a_frame_that_is_collected_in_part_changes_all_rows() {
    let f = numbers().await;
    let sql = "UPDATE r SET n = 0 RETURNING id";
    let frame = udr_datafusion::udr_sql(&f.ctx, sql).await.unwrap();
    let limited = frame.limit(0, Some(1)).unwrap();
    assert_eq!(limited.collect().await.unwrap()[0].num_rows(), 1);
    assert_eq!(f.udr("SELECT DISTINCT n FROM r").await, ["0"]);
}
