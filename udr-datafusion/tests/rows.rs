//! `t$rows` has each row of `t` with its id and the version that gave it its values.

use udr_core::ErrorKind;
use udr_datafusion::udr_sql;

use crate::fixture::{Fixture, id_and_name};

#[tokio::test]
async fn ids_are_unique_over_files_and_say_where_a_row_was_first_written() {
    let f = Fixture::with_table().await;
    f.run("INSERT INTO t SELECT value, 'x' FROM generate_series(1, 20000)")
        .await;
    let first = f.version().await.to_string();
    f.run("INSERT INTO t VALUES (0, 'y')").await;
    let ids = "SELECT count(DISTINCT _row_id) FROM \"t$rows\"";
    assert_eq!(f.value(ids).await, "20001");
    assert_eq!(
        f.value("SELECT max(length(encode(_row_id, 'hex'))) FROM \"t$rows\"")
            .await,
        "48"
    );
    let versions = "SELECT DISTINCT _commit_sequence FROM \"t$rows\" WHERE id > 0";
    assert_eq!(f.values(versions).await, [first]);
    f.run("DELETE FROM t WHERE id % 2 = 0").await;
    let left = f
        .values("SELECT _row_id FROM \"t$rows\" WHERE id = 9999")
        .await;
    let old = format!(
        "SELECT _row_id FROM \"t$rows@{}\" WHERE id = 9999",
        f.version().await - 1
    );
    assert_eq!(f.values(&old).await, left);
    assert_eq!(f.value(ids).await, "10000");
}

#[tokio::test]
async fn it_has_the_columns_of_the_table_first() {
    let f = Fixture::with_table().await;
    f.run("INSERT INTO t VALUES (1, 'a')").await;
    let batches = f.run("SELECT * FROM \"t$rows\"").await;
    let schema = batches[0].schema();
    let names: Vec<_> = schema
        .fields()
        .iter()
        .map(|field| field.name().as_str())
        .collect();
    assert_eq!(names, ["id", "name", "_row_id", "_commit_sequence"]);
    assert_eq!(
        f.value("SELECT name FROM \"t$rows\" WHERE id = 1").await,
        "a"
    );
    assert_eq!(f.value("SELECT count(*) FROM \"t$rows\"").await, "1");
    f.create("e", &id_and_name()).await;
    assert_eq!(f.value("SELECT count(_row_id) FROM \"e$rows\"").await, "0");
}

#[tokio::test]
async fn an_uncommitted_row_has_an_id_and_no_version() {
    let f = Fixture::with_table().await;
    f.run("START TRANSACTION").await;
    f.run("INSERT INTO t VALUES (1, 'a')").await;
    let sql = "SELECT count(_row_id), count(_commit_sequence) FROM \"t$rows\"";
    assert!(
        f.shown(sql).await.contains("| 1 "),
        "{}",
        f.shown(sql).await
    );
    assert_eq!(f.value("SELECT _commit_sequence FROM \"t$rows\"").await, "");
}

async fn friendly(f: &Fixture, sql: &str) -> datafusion::error::Result<Vec<Vec<String>>> {
    let batches = udr_sql(&f.ctx, sql).await?.collect().await?;
    let mut rows = Vec::new();
    for batch in &batches {
        for row in 0..batch.num_rows() {
            let cell = |column: &arrow::array::ArrayRef| {
                arrow::util::display::array_value_to_string(column, row).unwrap()
            };
            rows.push(batch.columns().iter().map(cell).collect());
        }
    }
    Ok(rows)
}

#[tokio::test]
async fn hidden_columns_can_be_named_and_are_not_in_the_wildcard() {
    let f = Fixture::with_table().await;
    f.create("u", &id_and_name()).await;
    f.run("INSERT INTO t VALUES (1, 'a'), (2, 'b')").await;
    f.run("INSERT INTO u VALUES (2, 'B')").await;
    let ids = f.values("SELECT _row_id FROM \"t$rows\" ORDER BY id").await;
    for (sql, expected) in [
        (
            "SELECT id, _row_id FROM t ORDER BY id",
            vec![vec!["1", &ids[0]], vec!["2", &ids[1]]],
        ),
        (
            "SELECT t.*, t._row_id FROM t WHERE id = 2",
            vec![vec!["2", "b", &ids[1]]],
        ),
        (
            "SELECT *, x._row_id FROM t AS x WHERE x.id = 2",
            vec![vec!["2", "b", &ids[1]]],
        ),
        (
            "SELECT t._row_id, u.* FROM t JOIN u ON t.id = u.id",
            vec![vec![ids[1].as_str(), "2", "B"]],
        ),
        (
            "SELECT name FROM t ORDER BY _row_id DESC LIMIT 1",
            vec![vec!["b"]],
        ),
        (
            "SELECT count(*) FROM t WHERE _commit_sequence > 0",
            vec![vec!["2"]],
        ),
        (
            "SELECT id FROM t WHERE _row_id = (SELECT max(_row_id) FROM t)",
            vec![vec!["2"]],
        ),
        (
            "WITH c AS (SELECT id, _row_id AS r FROM t) SELECT r FROM c WHERE id = 1",
            vec![vec![ids[0].as_str()]],
        ),
    ] {
        let rows = friendly(&f, sql)
            .await
            .unwrap_or_else(|error| panic!("{sql}: {error}"));
        assert_eq!(rows, expected, "{sql}");
    }
    assert_eq!(
        friendly(&f, "SELECT * FROM t WHERE id = 1").await.unwrap(),
        [["1", "a"]]
    );
}

#[tokio::test]
async fn a_tables_own_column_of_that_name_is_that_column() {
    let f = Fixture::new().await;
    f.run("SELECT * FROM udr_call('CREATE TABLE own (_row_id BIGINT)')")
        .await;
    f.run("INSERT INTO own VALUES (5)").await;
    assert_eq!(
        friendly(&f, "SELECT _row_id FROM own").await.unwrap(),
        [["5"]]
    );
    assert_eq!(
        f.refused("SELECT * FROM \"own$rows\"").await.0,
        ErrorKind::Invalid
    );
}
