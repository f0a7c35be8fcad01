//! Constraints and changes of rows.

use super::constraints::broken;
use crate::fixture::Fixture;

#[tokio::test]
async fn changed_rows_obey_the_rules_for_rows() {
    let f = Fixture::new().await;
    f.udr(
        "CREATE TABLE t (id INT PRIMARY KEY, n INT NOT NULL CHECK (n > 0), \
         double INT GENERATED ALWAYS AS (n * 2))",
    )
    .await;
    f.udr("INSERT INTO t (id, n) VALUES (1, 1), (2, 2), (3, 3)")
        .await;
    broken(
        &f,
        "UPDATE t SET n = n - 2",
        &["t_n_check", "public.t", "n=-1"],
    )
    .await;
    broken(
        &f,
        "UPDATE t SET n = NULL WHERE id = 2",
        &["column=`n`", "id=2, n=NULL"],
    )
    .await;
    broken(
        &f,
        "UPDATE t SET double = 7",
        &["generated", "column=`double`"],
    )
    .await;
    f.udr("UPDATE t SET n = n + 10 WHERE id > 1").await;
    let all = "SELECT * FROM t ORDER BY id";
    assert_eq!(f.udr(all).await, ["1|1|2", "2|12|24", "3|13|26"]);
    let merge = |then: &str| {
        format!("MERGE INTO t USING (VALUES (1, 5), (9, 9)) AS s (id, n) ON t.id = s.id {then}")
    };
    let update = "WHEN MATCHED THEN UPDATE SET n = s.n";
    let insert = "WHEN NOT MATCHED THEN INSERT (id, n) VALUES (s.id, s.n)";
    for (then, parts) in [
        ("WHEN MATCHED THEN UPDATE SET n = 0", ["t_n_check", "n=0"]),
        (
            "WHEN MATCHED THEN UPDATE SET double = 5",
            ["generated", "double"],
        ),
        (
            "WHEN NOT MATCHED THEN INSERT (id, n, double) VALUES (s.id, s.n, 5)",
            ["generated", "double"],
        ),
        (
            "WHEN NOT MATCHED THEN INSERT (id, n) VALUES (1, s.n)",
            ["t_pkey", "id=1"],
        ),
    ] {
        broken(&f, &merge(then), &parts).await;
    }
    f.udr(&merge(&format!("{update} {insert}"))).await;
    assert_eq!(f.udr(all).await, ["1|5|10", "2|12|24", "3|13|26", "9|9|18"]);
    f.check().await;
}

#[tokio::test]
async fn changed_rows_keep_keys_apart() {
    let f = Fixture::new().await;
    f.udr("CREATE TABLE t (id INT PRIMARY KEY, n INT)").await;
    f.udr("INSERT INTO t VALUES (1, 1), (2, 2), (3, 3)").await;
    f.udr("INSERT INTO t VALUES (4, 4)").await;
    broken(&f, "UPDATE t SET id = 1 WHERE id = 2", &["t_pkey", "id=1"]).await;
    broken(&f, "UPDATE t SET id = 7", &["t_pkey", "id=7"]).await;
    // All rows move at once, so that none is in the way of another.
    f.udr("UPDATE t SET id = id + 1").await;
    assert_eq!(
        f.udr("SELECT id FROM t ORDER BY id").await,
        ["2", "3", "4", "5"]
    );
    f.udr("BEGIN").await;
    f.udr("DELETE FROM t WHERE id = 2").await;
    f.udr("INSERT INTO t VALUES (2, 9)").await;
    broken(&f, "INSERT INTO t VALUES (2, 9)", &["t_pkey"]).await;
    f.udr("DELETE FROM t WHERE id = 2").await;
    f.udr("INSERT INTO t VALUES (2, 10)").await;
    f.udr("COMMIT").await;
    assert_eq!(f.udr("SELECT n FROM t WHERE id = 2").await, ["10"]);
    f.check().await;
}

#[tokio::test]
async fn rows_with_children_are_not_deleted() {
    let f = Fixture::new().await;
    f.udr("CREATE TABLE p (id INT PRIMARY KEY, n INT)").await;
    f.udr("CREATE TABLE c (id INT, p INT REFERENCES p)").await;
    f.udr("INSERT INTO p VALUES (1, 1), (2, 2), (3, 3), (4, 4)")
        .await;
    f.udr("INSERT INTO c VALUES (1, 1), (2, 2), (3, NULL)")
        .await;
    for sql in [
        "DELETE FROM p WHERE id = 1",
        "DELETE FROM p",
        "TRUNCATE TABLE p",
        "UPDATE p SET id = 10 WHERE id = 2",
        "UPDATE c SET p = 9 WHERE id = 2",
        "MERGE INTO p USING (VALUES (1)) AS s (id) ON p.id = s.id WHEN MATCHED THEN DELETE",
    ] {
        broken(&f, sql, &["c_p_fkey"]).await;
    }
    f.udr("DELETE FROM p WHERE id = 3").await;
    f.udr("UPDATE p SET n = 0").await;
    f.udr("UPDATE p SET id = 30 WHERE id = 4").await;
    f.udr("BEGIN").await;
    f.udr("DELETE FROM p WHERE id = 1").await;
    f.udr("DELETE FROM c WHERE p = 1").await;
    f.udr("COMMIT").await;
    f.udr("BEGIN").await;
    f.udr("UPDATE p SET id = 20 WHERE id = 2").await;
    f.udr("UPDATE c SET p = 20 WHERE p = 2").await;
    f.udr("COMMIT").await;
    assert_eq!(f.udr("SELECT p FROM c ORDER BY id").await, ["20", ""]);
    f.check().await;
}

#[tokio::test]
async fn rows_that_are_deleted_need_not_obey() {
    let f = Fixture::new().await;
    f.udr("CREATE TABLE t (id INT, n INT)").await;
    f.udr("INSERT INTO t SELECT value, value + 0 FROM generate_series(1, 10)")
        .await;
    f.udr("INSERT INTO t VALUES (NULL, 1), (1, -1), (50, 2), (51, 2)")
        .await;
    f.udr("DELETE FROM t WHERE id IS NULL OR n < 0").await;
    f.udr("ALTER TABLE t ADD PRIMARY KEY (id), ADD CHECK (n > 0)")
        .await;
    assert_eq!(f.udr("SELECT count(*), count(id) FROM t").await, ["12|12"]);
    assert_eq!(
        f.udr("SELECT id FROM t WHERE id > 49 ORDER BY id").await,
        ["50", "51"]
    );
    f.udr("UPDATE t SET n = n + 1 WHERE id = 50").await;
    // The file is written anew without what is deleted.
    f.udr("DELETE FROM t WHERE id = 51").await;
    f.udr("UPDATE t SET n = n + 1").await;
    assert_eq!(f.udr("SELECT min(id), max(n) FROM t").await, ["1|11"]);
    f.check().await;
}
