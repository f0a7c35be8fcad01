//! Rows come in the order that their files have, and only where it is the one that is asked for.

use crate::fixture::Fixture;

/// Whether a query is answered without sorting.
async fn unsorted(f: &Fixture, sql: &str) -> bool {
    let plan = f.plan(sql).await;
    assert!(plan.contains("DataSourceExec"), "{plan}");
    !plan.contains("SortExec")
}

#[tokio::test]
async fn the_order_of_files_is_used_as_far_as_it_holds() {
    let f = Fixture::new().await;
    f.udr("CREATE TABLE t (id BIGINT, k INT, name VARCHAR) WRITE ORDERED BY k DESC NULLS LAST, id")
        .await;
    f.udr("INSERT INTO t SELECT v, v * 7 % 50, 'n' || v FROM (SELECT unnest(range(0, 1000)) AS v)")
        .await;
    let ordered = "SELECT k, id FROM t ORDER BY k DESC NULLS LAST, id";
    assert!(unsorted(&f, ordered).await);
    assert!(unsorted(&f, "SELECT name FROM t ORDER BY k DESC NULLS LAST").await);
    assert!(!unsorted(&f, "SELECT k FROM t ORDER BY k DESC NULLS FIRST").await);
    assert!(!unsorted(&f, "SELECT id FROM t ORDER BY id").await);
    assert_eq!(
        f.udr("SELECT DISTINCT sorted_by FROM t$files").await,
        ["k DESC NULLS LAST, id"]
    );
    let rows = f.udr(ordered).await;
    let ends = [rows.first(), rows.last()].map(|row| row.unwrap().clone());
    assert_eq!(
        (rows.len(), ends),
        (1000, ["49|7", "0|950"].map(str::to_owned))
    );
    // Rows that are deleted leave the others as they are; a renamed or widened column is the same.
    f.udr("DELETE FROM t WHERE id % 3 = 0").await;
    f.udr("ALTER TABLE t RENAME COLUMN k TO kk").await;
    f.udr("ALTER TABLE t ALTER COLUMN kk SET DATA TYPE BIGINT")
        .await;
    let ordered = "SELECT kk, id FROM t ORDER BY kk DESC NULLS LAST, id";
    assert!(unsorted(&f, ordered).await);
    let mut expected = rows
        .into_iter()
        .filter(|row| row.split_once('|').unwrap().1.parse::<u32>().unwrap() % 3 != 0);
    assert!(f.udr(ordered).await.into_iter().eq(expected.by_ref()));
    // What an UPDATE writes can be in any order.
    f.udr("UPDATE t SET kk = 100 + id % 2 WHERE id > 800").await;
    assert!(!unsorted(&f, ordered).await);
    assert_eq!(f.udr(ordered).await[..2], ["101|803", "101|805"]);
    // Nothing is left of an order whose first column is gone.
    f.udr("CREATE TABLE u (id BIGINT, k INT) WRITE ORDERED BY k, id")
        .await;
    f.udr("INSERT INTO u SELECT id, kk FROM t").await;
    f.udr("ALTER TABLE u WRITE UNORDERED").await;
    assert!(unsorted(&f, "SELECT id FROM u ORDER BY k, id").await);
    f.udr("ALTER TABLE u DROP COLUMN k").await;
    assert!(!unsorted(&f, "SELECT id FROM u ORDER BY id").await);
    assert_eq!(f.udr("SELECT sorted_by FROM u$files LIMIT 1").await, [""]);
    f.check().await;
}

#[tokio::test]
async fn rows_that_come_sorted_are_known_to_be_in_the_order_of_the_table() {
    let f = Fixture::new().await;
    f.udr("CREATE TABLE t (k INT, x DOUBLE) WRITE ORDERED BY k")
        .await;
    f.udr("INSERT INTO t VALUES (1, 1), (2, 2)").await;
    f.udr("ALTER TABLE t WRITE ORDERED BY k, x").await;
    f.udr("INSERT INTO t VALUES (3, 'NaN'), (3, 0.0), (4, -0.0), (5, NULL)")
        .await;
    assert_eq!(
        f.udr("SELECT sorted_by FROM t$files ORDER BY rows").await,
        ["k", "k, x"]
    );
    assert!(unsorted(&f, "SELECT k FROM t ORDER BY k").await);
    assert!(!unsorted(&f, "SELECT k FROM t ORDER BY k, x").await);
    f.check().await;
}

#[tokio::test]
async fn many_files_follow_each_other_where_they_have_no_values_in_common() {
    let f = Fixture::new().await;
    f.udr("CREATE TABLE t (k INT) WRITE ORDERED BY k").await;
    // More files than partitions.
    for n in 0..12 {
        let first = n * 5 % 12 * 10;
        f.udr(&format!(
            "INSERT INTO t SELECT unnest(range({first}, {first} + 10))"
        ))
        .await;
    }
    let query = "SELECT k FROM t ORDER BY k";
    assert!(unsorted(&f, query).await);
    let expected = (0..120).map(|k: u32| k.to_string()).collect::<Vec<_>>();
    assert_eq!(f.udr(query).await, expected);
    // NULLs come last in every file, so there is no order any more; nor where values meet.
    f.udr("INSERT INTO t VALUES (200), (NULL)").await;
    assert!(!unsorted(&f, query).await);
    f.udr("DELETE FROM t WHERE k = 200 OR k IS NULL").await;
    assert!(unsorted(&f, query).await);
    for _ in 0..4 {
        f.udr("INSERT INTO t VALUES (5)").await;
    }
    assert!(!unsorted(&f, query).await);
    assert_eq!(
        f.udr(query).await[4..11],
        ["4", "5", "5", "5", "5", "5", "6"]
    );
}

/// A limit must not make the engine forget the order.
#[tokio::test]
async fn the_first_rows_are_the_first_of_all_files() {
    let f = Fixture::new().await;
    f.udr("CREATE TABLE t (k INT, x DOUBLE) WRITE ORDERED BY k, x")
        .await;
    // Files of which each of four partitions has two.
    for first in [60, 0, 70, 10, 50, 20, 40, 30] {
        let rows = if first == 60 { 3 } else { 10 };
        f.udr(&format!(
            "INSERT INTO t SELECT v, v / 2 FROM (SELECT unnest(range({first}, {first} + {rows})) AS v)"
        ))
        .await;
    }
    assert!(unsorted(&f, "SELECT k FROM t ORDER BY k LIMIT 5").await);
    for _ in 0..20 {
        for (query, expected) in [
            ("SELECT k FROM t ORDER BY k LIMIT 5", "0|1|2|3|4"),
            (
                "SELECT k FROM t ORDER BY k, x LIMIT 3 OFFSET 58",
                "58|59|60",
            ),
            ("SELECT k FROM t ORDER BY k DESC LIMIT 3", "79|78|77"),
            (
                "SELECT k FROM t WHERE k > 18 ORDER BY k LIMIT 3",
                "19|20|21",
            ),
            (
                "SELECT k FROM (SELECT k FROM t LIMIT 100) ORDER BY k LIMIT 2",
                "0|1",
            ),
        ] {
            assert_eq!(f.udr(query).await.join("|"), expected, "{query}");
        }
    }
    // A second column without bounds in one file does not take the first one's order away.
    f.udr("INSERT INTO t VALUES (90, 'NaN'), (91, 1)").await;
    assert!(unsorted(&f, "SELECT k FROM t ORDER BY k").await);
    assert!(!unsorted(&f, "SELECT k FROM t ORDER BY k, x").await);
    assert_eq!(
        f.udr("SELECT k FROM t ORDER BY k DESC LIMIT 1").await,
        ["91"]
    );
}

/// With a limit the engine would let partitions take each other's files, and stop before it has
/// opened all that it needs.
#[tokio::test]
async fn every_partition_reads_its_own_files() {
    let f = Fixture::new().await;
    f.udr("CREATE TABLE t (k INT) WRITE ORDERED BY k").await;
    // Four files with every fourth number each, and four more far above.
    for first in [0, 1, 2, 3, 1000, 1001, 1002, 1003] {
        f.udr(&format!(
            "INSERT INTO t SELECT {first} + 4 * v AS k FROM (SELECT unnest(range(0, 20)) AS v)"
        ))
        .await;
    }
    for (query, expected) in [
        ("SELECT k FROM t ORDER BY k LIMIT 8", "0|1|2|3|4|5|6|7"),
        ("SELECT k FROM t ORDER BY k LIMIT 3 OFFSET 9", "9|10|11"),
    ] {
        assert!(unsorted(&f, query).await);
        assert_eq!(f.udr(query).await.join("|"), expected, "{query}");
    }
}

/// A scan that keeps an order does not split files, so a large one is split instead.
#[tokio::test]
async fn a_large_file_is_read_in_parts_and_still_sorted() {
    let f = Fixture::new().await;
    f.udr("CREATE TABLE t (k BIGINT, name VARCHAR) WRITE ORDERED BY k")
        .await;
    f.udr(
        "INSERT INTO t SELECT v, 'name ' || v FROM (SELECT unnest(range(0, 30000)) AS v) ORDER BY v",
    )
    .await;
    f.udr("DELETE FROM t WHERE k % 10 = 3").await;
    let expected = (0..30_000_u32)
        .filter(|k| k % 10 != 3)
        .map(|k| k.to_string());
    let expected = expected.collect::<Vec<_>>();
    let query = "SELECT k FROM t ORDER BY k";
    assert!(unsorted(&f, query).await);
    assert_eq!(f.udr(query).await, expected);
    f.udr("SET datafusion.optimizer.repartition_file_min_size = 1")
        .await;
    let plan = f.plan(query).await;
    assert!(
        plan.contains("SortExec") && plan.contains("4 groups"),
        "{plan}"
    );
    assert_eq!(f.udr(query).await, expected);
}

#[tokio::test]
async fn files_of_others_have_an_order_too() {
    let folder = tempfile::tempdir().unwrap();
    let plain = datafusion::prelude::SessionContext::new();
    for day in 1..7 {
        let place = folder.path().join(format!("day=2024-01-0{day}"));
        std::fs::create_dir_all(&place).unwrap();
        let sql = format!(
            "COPY (SELECT v * 7 AS k FROM generate_series({day}, 40) AS g(v)) TO '{}' STORED AS PARQUET",
            place.join("x.parquet").display()
        );
        plain.sql(&sql).await.unwrap().collect().await.unwrap();
    }
    let f = Fixture::new().await;
    f.udr("CREATE TABLE t (k BIGINT, day DATE) WRITE ORDERED BY day DESC, k")
        .await;
    f.udr(&format!(
        "IMPORT PARQUET '{}' INTO t",
        folder.path().display()
    ))
    .await;
    assert_eq!(
        f.udr("SELECT DISTINCT sorted_by FROM t$files").await,
        ["day DESC, k"]
    );
    let query = "SELECT day, k FROM t ORDER BY day DESC, k";
    assert!(unsorted(&f, query).await);
    let expected = (1..7)
        .rev()
        .flat_map(|day| (day..=40).map(move |v| format!("2024-01-0{day}|{}", v * 7)));
    assert_eq!(f.udr(query).await, expected.collect::<Vec<_>>());
    // Days become moments, in the same order.
    f.udr("ALTER TABLE t ALTER COLUMN day SET DATA TYPE TIMESTAMP")
        .await;
    f.udr("DELETE FROM t WHERE k < 270").await;
    let query = "SELECT k FROM t ORDER BY day DESC, k";
    assert!(unsorted(&f, query).await);
    assert_eq!(f.udr(query).await, [["273", "280"]; 6].concat());
    f.check().await;
}

#[tokio::test]
async fn zeros_of_both_signs_are_in_the_order_of_what_follows() {
    let f = Fixture::new().await;
    for (table, order) in [("sorted", "WRITE ORDERED BY x DESC"), ("plain", "")] {
        f.udr(&format!("CREATE TABLE {table} (id INT, x DOUBLE) {order}"))
            .await;
        for rows in [
            "(10, '-0.0'), (1, 'inf'), (4, '-0.0')",
            "(13, '0.0'), (2, 'NaN'), (3, '0.0')",
        ] {
            let insert = format!("INSERT INTO {table} VALUES {rows}");
            f.udr(&insert).await;
        }
    }
    for query in [
        "SELECT id FROM $ ORDER BY x DESC, id",
        "SELECT id FROM $ ORDER BY x DESC, id LIMIT 4",
        "SELECT id FROM $ ORDER BY x DESC NULLS LAST, id DESC LIMIT 5",
        "SELECT min(id), count(*) FROM $ GROUP BY x ORDER BY 1",
    ] {
        let expected = f.udr(&query.replace('$', "plain")).await;
        assert_eq!(
            f.udr(&query.replace('$', "sorted")).await,
            expected,
            "{query}"
        );
    }
    let plan = f.plan("SELECT id FROM sorted ORDER BY x DESC").await;
    assert!(plan.contains("SortExec"), "{plan}");
}
