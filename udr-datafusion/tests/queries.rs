//! Queries of all shapes over tables whose columns carry field ids.

use udr_core::ErrorKind;

use crate::fixture::{Fixture, id_and_name};

/// Queries, and the values of their first column in the order of text.
const SHAPES: &[(&str, &str)] = &[
    ("SELECT id FROM t UNION ALL SELECT id FROM u", "1 2 2 3 4"),
    ("SELECT id FROM t UNION SELECT id FROM u", "1 2 3 4"),
    (
        "SELECT id, name FROM t INTERSECT SELECT id, name FROM u",
        "2",
    ),
    (
        "SELECT id, name FROM t EXCEPT SELECT id, name FROM u",
        "1 3",
    ),
    (
        "SELECT id FROM t UNION ALL SELECT id FROM \"t@HEAD~1\"",
        "1 1 2 2 3 3",
    ),
    (
        "SELECT coalesce(t.id, u.id) FROM t FULL JOIN u ON t.id = u.id",
        "1 2 3 4",
    ),
    ("SELECT id FROM t JOIN u USING (id, name)", "2"),
    (
        "SELECT t.id FROM t LEFT JOIN u ON t.name = u.name WHERE u.id IS NULL",
        "1 3",
    ),
    ("SELECT id FROM t WHERE id NOT IN (SELECT id FROM u)", "1 3"),
    (
        "SELECT id FROM t WHERE EXISTS (SELECT 1 FROM u WHERE u.id = t.id)",
        "2",
    ),
    ("SELECT id FROM t WHERE id = (SELECT min(id) FROM u)", "2"),
    (
        "SELECT id FROM t a WHERE name = (SELECT max(name) FROM u b WHERE b.id = a.id)",
        "2",
    ),
    ("SELECT count(*) FROM t GROUP BY name", "1 1 1"),
    ("SELECT max(id) FROM t GROUP BY id % 2", "2 3"),
    (
        "SELECT max(id) FROM t GROUP BY id % 2 HAVING count(*) > 1",
        "3",
    ),
    ("SELECT DISTINCT id % 2 FROM t", "0 1"),
    ("SELECT sum(id) OVER (ORDER BY id) FROM t", "1 3 6"),
    (
        "SELECT id FROM (SELECT id, row_number() OVER (ORDER BY id DESC) r FROM t) WHERE r = 1",
        "3",
    ),
    (
        "SELECT CASE WHEN name IS NULL THEN -1 ELSE id END FROM t",
        "-1 1 2",
    ),
    (
        "WITH c AS (SELECT * FROM t) SELECT a.id FROM c a JOIN c b ON a.id = b.id + 1",
        "2 3",
    ),
    ("WITH t AS (SELECT id FROM u) SELECT id FROM t", "2 4"),
    (
        "WITH a AS (WITH b AS (SELECT id FROM t) SELECT id FROM b) SELECT id FROM a",
        "1 2 3",
    ),
    (
        "WITH RECURSIVE r AS (SELECT min(id) AS id FROM t UNION ALL
             SELECT r.id + 1 FROM r WHERE r.id + 1 IN (SELECT id FROM t)) SELECT id FROM r",
        "1 2 3",
    ),
    (
        "SELECT x.id FROM t x, LATERAL (SELECT u.id FROM u WHERE u.id = x.id) y",
        "2",
    ),
    ("SELECT id FROM t ORDER BY id DESC LIMIT 1 OFFSET 1", "2"),
    (
        "SELECT grouping(name) FROM u GROUP BY ROLLUP (name)",
        "0 0 1",
    ),
    ("SELECT unnest(array_agg(id)) FROM t", "1 2 3"),
    ("VALUES (1), (2)", "1 2"),
    ("SELECT value FROM generate_series(1, 2)", "1 2"),
];

async fn two_tables() -> Fixture {
    let f = Fixture::with_table().await;
    let reversed = arrow::datatypes::Schema::new(
        id_and_name()
            .fields()
            .iter()
            .rev()
            .cloned()
            .collect::<Vec<_>>(),
    );
    f.create("u", &reversed).await;
    f.run("INSERT INTO t VALUES (1, 'a'), (2, 'b')").await;
    f.run("INSERT INTO t VALUES (3, NULL)").await;
    f.run("INSERT INTO u (id, name) VALUES (2, 'b'), (4, 'd')")
        .await;
    f
}

#[tokio::test]
async fn queries_of_all_shapes_have_the_right_rows() {
    let f = two_tables().await;
    for (sql, expected) in SHAPES {
        let mut values = f.values(sql).await;
        values.sort();
        assert_eq!(values.join(" "), *expected, "{sql}");
    }
    f.run("INSERT INTO u (id, name) WITH c AS (SELECT * FROM t) SELECT id, name FROM c")
        .await;
    assert_eq!(f.value("SELECT count(*) FROM u").await, "5");
    f.check().await;
}

#[tokio::test]
async fn settings_of_the_scan_do_not_change_answers() {
    let f = two_tables().await;
    for setting in [
        "datafusion.execution.parquet.pushdown_filters = true",
        "datafusion.execution.parquet.reorder_filters = true",
        "datafusion.execution.parquet.enable_page_index = false",
        "datafusion.execution.parquet.binary_as_string = true",
        "datafusion.execution.parquet.schema_force_view_types = false",
        "datafusion.execution.target_partitions = 1",
        "datafusion.execution.collect_statistics = false",
        "datafusion.optimizer.repartition_file_min_size = 1",
        "datafusion.execution.batch_size = 1",
    ] {
        f.run(&format!("SET {setting}")).await;
        assert_eq!(
            f.values("SELECT id FROM t WHERE id > 1 ORDER BY id").await,
            ["2", "3"]
        );
        assert_eq!(
            f.values("SELECT name FROM t WHERE name >= 'b'").await,
            ["b"]
        );
        assert_eq!(
            f.value("SELECT count(*) FROM t WHERE name IS NULL").await,
            "1"
        );
        assert_eq!(f.value("SELECT max(id) FROM t WHERE id < 3").await, "2");
    }
}

#[tokio::test]
async fn a_table_is_exported_and_imported_through_files() {
    let f = two_tables().await;
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("t.parquet");
    let file = file.to_str().unwrap();
    f.run(&format!("COPY t TO '{file}' STORED AS PARQUET"))
        .await;
    f.run(&format!(
        "COPY (SELECT * FROM \"t@HEAD~3\") TO '{file}.csv' STORED AS CSV"
    ))
    .await;
    f.run(&format!(
        "CREATE EXTERNAL TABLE datafusion.public.f STORED AS PARQUET LOCATION '{file}'"
    ))
    .await;
    f.run("INSERT OVERWRITE t SELECT id * 10, name FROM datafusion.public.f")
        .await;
    assert_eq!(
        f.values("SELECT id FROM t ORDER BY id").await,
        ["10", "20", "30"]
    );
    let here = format!("CREATE EXTERNAL TABLE g STORED AS PARQUET LOCATION '{file}'");
    assert_eq!(f.refused(&here).await.0, ErrorKind::NotFound);
    f.check().await;
}
