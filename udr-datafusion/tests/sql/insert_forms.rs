//! INSERT by name, with defaults, and in the place of rows that match a predicate.

use udr_core::ErrorKind;

use crate::fixture::Fixture;

async fn days() -> Fixture {
    let f = Fixture::new().await;
    f.udr("CREATE TABLE d (day INT NOT NULL, \"N\" BIGINT DEFAULT 3 + 4, c VARCHAR)")
        .await;
    f.udr("INSERT INTO d VALUES (1, 1, 'a'), (1, 2, 'b'), (2, 3, 'c')")
        .await;
    f.udr("INSERT INTO d VALUES (3, 4, 'd')").await;
    f
}

async fn rows(f: &Fixture) -> Vec<String> {
    f.udr("SELECT * FROM d ORDER BY day, \"N\"").await
}

#[tokio::test]
async fn columns_are_matched_by_name() {
    let f = days().await;
    let sql = "INSERT INTO d BY NAME SELECT 'e' AS c, 4 AS day";
    assert_eq!(f.udr(sql).await, ["1"]);
    let sql =
        "INSERT INTO d BY NAME WITH w AS (SELECT * FROM d WHERE day = 4) SELECT day + 1 AS day,
               \"N\" FROM w";
    assert_eq!(f.udr(sql).await, ["1"]);
    assert_eq!(rows(&f).await[4..], ["4|7|e", "5|7|"]);
    let (kind, text) = f.udr_refused("INSERT INTO d BY NAME SELECT 1 AS dya").await;
    assert_eq!(kind, ErrorKind::NotFound);
    assert!(text.contains("dya"), "{text}");
    assert_eq!(
        f.udr("INSERT OVERWRITE d BY NAME SELECT 9 AS day").await,
        ["1"]
    );
    assert_eq!(rows(&f).await, ["9|7|"]);
    f.check().await;
}

#[tokio::test]
async fn default_stands_for_the_columns_own() {
    let f = days().await;
    f.udr("INSERT INTO d VALUES (7, DEFAULT, DEFAULT), (8, 9, 'x')")
        .await;
    assert_eq!(rows(&f).await[4..], ["7|7|", "8|9|x"]);
    f.udr("CREATE TABLE e (a INT DEFAULT 5, b VARCHAR DEFAULT 'b')")
        .await;
    f.udr("INSERT INTO e DEFAULT VALUES").await;
    assert_eq!(f.udr("SELECT * FROM e").await, ["5|b"]);
    f.check().await;
}

#[tokio::test]
async fn rows_that_match_give_way_to_those_of_the_query() {
    let f = days().await;
    let before = f.version().await;
    let sql = "INSERT INTO d REPLACE WHERE day <= 2 SELECT day, \"N\" + 10, c FROM d WHERE day = 1";
    assert_eq!(f.udr(sql).await, ["5"], "three went and two came");
    assert_eq!(f.version().await, before + 1);
    assert_eq!(rows(&f).await, ["1|11|a", "1|12|b", "3|4|d"]);
    let sql = "INSERT INTO d (day, c) REPLACE WHERE d.day = 5 VALUES (5, 'new')";
    assert_eq!(f.udr(sql).await, ["1"]);
    let sql = "INSERT INTO d AS x BY NAME REPLACE WHERE x.day = 1 SELECT 1 AS day LIMIT 0";
    assert_eq!(f.udr(sql).await, ["2"]);
    assert_eq!(rows(&f).await, ["3|4|d", "5|7|new"]);
    f.check().await;
}

#[tokio::test]
async fn a_new_row_that_does_not_match_is_shown() {
    let f = days().await;
    let before = f.version().await;
    for (value, shown) in [("4", "N=4"), ("NULL", "N=NULL")] {
        let sql =
            format!("INSERT INTO d REPLACE WHERE \"N\" < 3 VALUES (1, 1, 'a'), (1, {value}, 'q')");
        let (kind, text) = f.udr_refused(&sql).await;
        assert_eq!(kind, ErrorKind::Invalid);
        assert!(text.contains(shown) && text.contains("c=q"), "{text}");
    }
    let (_, text) = f
        .udr_refused("INSERT INTO d REPLACE WHERE day < random() SELECT 1, 2, 'a'")
        .await;
    assert!(text.contains("not the same each time"), "{text}");
    assert_eq!(f.version().await, before);
    assert_eq!(rows(&f).await.len(), 4);
}

#[tokio::test]
async fn replaced_rows_and_their_successors_are_one_step_of_a_transaction() {
    let f = days().await;
    f.udr("BEGIN").await;
    f.udr("INSERT INTO d VALUES (1, 100, 'staged')").await;
    f.udr("INSERT INTO d REPLACE WHERE day = 1 SELECT 1, count(*), 'count' FROM d WHERE day = 1")
        .await;
    assert_eq!(rows(&f).await, ["1|3|count", "2|3|c", "3|4|d"]);
    f.udr("ROLLBACK").await;
    assert_eq!(rows(&f).await.len(), 4);
}

#[tokio::test]
async fn forms_of_ours_need_a_table_of_the_repository() {
    let f = days().await;
    f.run("CREATE TABLE datafusion.public.h (day INT)").await;
    for sql in [
        "INSERT INTO datafusion.public.h BY NAME SELECT 1 AS day",
        "INSERT INTO datafusion.public.h REPLACE WHERE day = 1 SELECT 1",
    ] {
        assert_eq!(f.udr_refused(sql).await.0, ErrorKind::Unsupported, "{sql}");
    }
    f.udr("INSERT INTO datafusion.public.h SELECT day FROM d")
        .await;
    assert_eq!(
        f.udr("SELECT count(*) FROM datafusion.public.h").await,
        ["4"]
    );
}
