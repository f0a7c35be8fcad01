//! MERGE in the spellings that DataFusion does not plan.

use udr_core::ErrorKind;

use crate::fixture::Fixture;

async fn stock() -> Fixture {
    let f = Fixture::new().await;
    f.udr("CREATE TABLE stock (item VARCHAR NOT NULL, pieces INT DEFAULT 1, note VARCHAR)")
        .await;
    f.udr("INSERT INTO stock VALUES ('tea', 2, 'old'), ('milk', 3, 'old'), ('salt', 4, 'old')")
        .await;
    f
}

async fn rows(f: &Fixture) -> Vec<String> {
    f.udr("SELECT item, pieces, note FROM stock ORDER BY item")
        .await
}

#[tokio::test]
async fn a_star_takes_columns_by_their_names() {
    let f = stock().await;
    let before = f.version().await;
    let sql = "MERGE INTO stock AS t
               USING (SELECT 'new' AS note, 'x' AS more, * FROM
                      (VALUES (20, 'tea'), (1, 'figs')) AS v(pieces, item)) AS s
               ON t.item = s.item
               WHEN MATCHED THEN UPDATE SET * WHEN NOT MATCHED THEN INSERT *";
    assert_eq!(f.udr(sql).await, ["2"]);
    assert_eq!(f.version().await, before + 1);
    let expected = ["figs|1|new", "milk|3|old", "salt|4|old", "tea|20|new"];
    assert_eq!(rows(&f).await, expected);
    let (kind, text) = f
        .udr_refused(
            "MERGE INTO stock USING (SELECT 'tea' AS item) AS s ON stock.item = s.item
                      WHEN MATCHED THEN UPDATE SET *",
        )
        .await;
    assert_eq!(kind, ErrorKind::Invalid);
    assert!(text.contains("pieces"), "{text}");
    f.check().await;
}

#[tokio::test]
async fn a_source_is_values_a_subquery_or_the_target() {
    let f = stock().await;
    let sql = "MERGE INTO stock USING (VALUES ('tea', 5), ('rice', 6)) AS s (item, n)
               ON stock.item = s.item
               WHEN MATCHED THEN UPDATE SET pieces = n
               WHEN NOT MATCHED THEN INSERT (item, pieces) VALUES (item, n)";
    assert_eq!(f.udr(sql).await, ["2"]);
    assert_eq!(
        rows(&f).await,
        ["milk|3|old", "rice|6|", "salt|4|old", "tea|5|old"]
    );
    let sql = "MERGE INTO stock AS a USING stock ON a.item = 'tea' AND stock.item = 'salt'
               WHEN MATCHED THEN UPDATE SET pieces = stock.pieces + a.pieces";
    assert_eq!(f.udr(sql).await, ["1"]);
    let sql = "MERGE INTO stock USING (SELECT 'milk' AS thing) ON item = thing
               WHEN MATCHED THEN DELETE
               WHEN NOT MATCHED BY SOURCE AND pieces > 8 THEN UPDATE SET note = 'many'";
    assert_eq!(f.udr(sql).await, ["2"]);
    assert_eq!(rows(&f).await, ["rice|6|", "salt|4|old", "tea|9|many"]);
    f.check().await;
}

#[tokio::test]
async fn conditions_inside_of_actions_choose_rows() {
    let f = stock().await;
    let sql = "MERGE INTO stock t USING (VALUES ('tea', -2), ('milk', 1), ('salt', 0), ('figs', 0),
                                                ('rice', 7)) AS s (item, n)
               ON t.item = s.item
               WHEN MATCHED THEN UPDATE SET pieces = t.pieces + s.n WHERE s.n <> 0
                 DELETE WHERE t.pieces = 0
               WHEN NOT MATCHED THEN INSERT (item, pieces) VALUES (s.item, s.n) WHERE s.n > 0";
    assert_eq!(f.udr(sql).await, ["3"]);
    assert_eq!(rows(&f).await, ["milk|4|old", "rice|7|", "salt|4|old"]);
    f.check().await;
}

#[tokio::test]
async fn doing_nothing_keeps_a_row_from_the_rest() {
    let f = stock().await;
    let sql =
        "MERGE INTO stock t USING (VALUES ('tea', 1), ('milk', NULL), ('figs', 1)) AS s (item, n)
               ON t.item = s.item
               WHEN MATCHED AND s.n = 1 THEN DO NOTHING
               WHEN MATCHED THEN DELETE
               WHEN NOT MATCHED THEN DO NOTHING
               WHEN NOT MATCHED BY SOURCE THEN UPDATE SET pieces = DEFAULT, note = DEFAULT";
    assert_eq!(f.udr(sql).await, ["2"]);
    assert_eq!(rows(&f).await, ["salt|1|", "tea|2|old"]);
    f.check().await;
}

#[tokio::test]
async fn what_merge_cannot_do_is_said() {
    let f = stock().await;
    let before = f.version().await;
    let on = "MERGE INTO stock t USING stock s ON t.item = s.item";
    for (sql, sign) in [
        (
            format!("{on} WHEN MATCHED THEN DELETE OUTPUT deleted.item"),
            "returns no rows",
        ),
        (
            format!(
                "{on} WHEN MATCHED THEN UPDATE SET pieces = 1 WHERE t.pieces > 1
                  WHEN MATCHED THEN DELETE"
            ),
            "last WHEN",
        ),
        (
            format!("{on} WHEN MATCHED THEN UPDATE SET pieces = 1, pieces = 2"),
            "set twice",
        ),
        (
            format!("{on} WHEN MATCHED THEN UPDATE SET piece = 1"),
            "no such column",
        ),
    ] {
        let (_, text) = f.udr_refused(&sql).await;
        assert!(text.contains(sign), "{sql}: {text}");
    }
    assert_eq!(f.version().await, before);
}
