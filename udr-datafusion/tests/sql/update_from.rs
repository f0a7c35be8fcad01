//! UPDATE with other tables, with a limit, with lists of columns and with defaults.

use udr_core::ErrorKind;

use crate::fixture::Fixture;

/// `t` with ids 1 to 4, `s (id, v)` with 2 and 3.
async fn two_tables() -> Fixture {
    let f = Fixture::with_table().await;
    f.udr("CREATE TABLE s (id BIGINT, v VARCHAR)").await;
    f.udr("INSERT INTO t VALUES (1, 'a'), (2, 'b'), (3, 'c'), (4, 'd')")
        .await;
    f.udr("INSERT INTO s VALUES (2, 'x'), (3, 'y'), (9, 'z')")
        .await;
    f
}

async fn rows(f: &Fixture) -> Vec<String> {
    f.udr("SELECT id, name FROM t ORDER BY id, name").await
}

#[tokio::test]
async fn rows_get_values_of_another_table() {
    let f = two_tables().await;
    let before = f.version().await;
    let sql = "UPDATE t SET name = s.v || t.name FROM s WHERE s.id = t.id";
    assert_eq!(f.udr(sql).await, ["2"]);
    assert_eq!(f.version().await, before + 1);
    assert_eq!(rows(&f).await, ["1|a", "2|xb", "3|yc", "4|d"]);
    let joined = "UPDATE public.t AS a SET name = v, id = a.id + 10
                  FROM s JOIN (SELECT 3 AS only) AS o ON o.only = s.id WHERE s.id = a.id";
    assert_eq!(f.udr(joined).await, ["1"]);
    assert_eq!(rows(&f).await, ["1|a", "2|xb", "4|d", "13|y"]);
    let itself = "UPDATE t AS a SET name = b.name FROM t AS b WHERE a.id = 1 AND b.id = 4";
    assert_eq!(f.udr(itself).await, ["1"]);
    assert_eq!(
        f.udr("UPDATE t SET name = v FROM s WHERE s.id = t.id AND false")
            .await,
        ["0"]
    );
    assert_eq!(rows(&f).await, ["1|d", "2|xb", "4|d", "13|y"]);
    f.check().await;
}

#[tokio::test]
async fn a_row_that_is_found_twice_is_refused() {
    let f = two_tables().await;
    f.udr("INSERT INTO s VALUES (2, 'again')").await;
    let before = f.version().await;
    let (kind, text) = f
        .udr_refused("UPDATE t SET name = v FROM s WHERE s.id = t.id")
        .await;
    assert_eq!(kind, ErrorKind::Invalid);
    assert!(
        text.contains("more than once") && text.contains("id=2"),
        "{text}"
    );
    assert_eq!(f.version().await, before);
    assert_eq!(rows(&f).await, ["1|a", "2|b", "3|c", "4|d"]);
}

#[tokio::test]
async fn a_join_in_front_keeps_rows_without_a_partner() {
    let f = two_tables().await;
    let sql = "UPDATE t LEFT JOIN s ON s.id = t.id SET t.name = coalesce(s.v, 'none')";
    assert_eq!(f.udr(sql).await, ["4"]);
    assert_eq!(rows(&f).await, ["1|none", "2|x", "3|y", "4|none"]);
    let sql = "UPDATE t JOIN s USING (id) SET name = 'both' WHERE s.v = 'x'";
    assert_eq!(f.udr(sql).await, ["1"]);
    assert_eq!(rows(&f).await, ["1|none", "2|both", "3|y", "4|none"]);
    f.check().await;
}

#[tokio::test]
async fn a_name_in_two_tables_must_say_which() {
    let f = two_tables().await;
    let text = f
        .udr_fails("UPDATE t SET name = v FROM s WHERE id = 2")
        .await;
    assert!(text.contains("mbiguous"), "{text}");
    let text = f.udr_fails("DELETE FROM t USING s WHERE id = s.id").await;
    assert!(text.contains("mbiguous"), "{text}");
    let text = f
        .udr_fails("MERGE INTO t USING s ON id = s.id WHEN MATCHED THEN DELETE")
        .await;
    assert!(text.contains("in the target and in the source"), "{text}");
    assert_eq!(rows(&f).await.len(), 4);
}

#[tokio::test]
async fn the_first_rows_of_an_order_are_changed() {
    let f = two_tables().await;
    let sql = "UPDATE t SET id = id * 10 WHERE id > 1 ORDER BY id DESC LIMIT 2";
    assert_eq!(f.udr(sql).await, ["2"]);
    assert_eq!(rows(&f).await, ["1|a", "2|b", "30|c", "40|d"]);
    assert_eq!(
        f.udr("UPDATE t AS x SET name = x.name || '!' LIMIT 3")
            .await,
        ["3"]
    );
    let changed = "SELECT count(*) FROM t WHERE name LIKE '%!'";
    assert_eq!(f.udr(changed).await, ["3"]);
    assert_eq!(f.udr("UPDATE t SET name = 'no' LIMIT 0").await, ["0"]);
    f.check().await;
}

#[tokio::test]
async fn columns_are_set_together_and_to_their_defaults() {
    let f = Fixture::new().await;
    f.udr("CREATE TABLE d (id BIGINT, \"Big\" INT DEFAULT 7, c VARCHAR)")
        .await;
    f.udr("INSERT INTO d VALUES (1, 1, 'a'), (2, 2, 'b')").await;
    f.udr("UPDATE d SET (\"Big\", C) = (5, 'five') WHERE id = 1")
        .await;
    assert_eq!(
        f.udr("SELECT * FROM d ORDER BY id").await,
        ["1|5|five", "2|2|b"]
    );
    f.udr("UPDATE d SET \"Big\" = DEFAULT, c = DEFAULT WHERE id = 1")
        .await;
    assert_eq!(
        f.udr("SELECT * FROM d ORDER BY id").await,
        ["1|7|", "2|2|b"]
    );
    f.udr("UPDATE d SET (id, c) = (SELECT max(id) + 1, min(c) FROM d) WHERE id = 1")
        .await;
    assert_eq!(
        f.udr("SELECT * FROM d ORDER BY id").await,
        ["2|2|b", "3|7|b"]
    );
    let (kind, text) = f.udr_refused("UPDATE d SET c = 'a', C = 'b'").await;
    assert_eq!(kind, ErrorKind::Invalid);
    assert!(text.contains("set twice"), "{text}");
    let (kind, _) = f.udr_refused("UPDATE d SET big = 1").await;
    assert_eq!(kind, ErrorKind::NotFound);
    f.check().await;
}

#[tokio::test]
async fn a_value_that_does_not_fit_is_refused_with_its_column() {
    let f = two_tables().await;
    let text = f
        .udr_fails("UPDATE t SET id = s.v FROM s WHERE s.id = t.id")
        .await;
    assert!(
        text.contains("does not fit") && text.contains("id"),
        "{text}"
    );
    assert_eq!(rows(&f).await, ["1|a", "2|b", "3|c", "4|d"]);
}
