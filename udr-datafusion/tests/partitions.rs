//! Rows are put apart by partition when they are written, and left out by it when they are read.

use udr_core::ErrorKind;

use crate::fixture::{Fixture, path};

/// How many data files the table called `t` has, and how many of them a query reads.
async fn files(f: &Fixture, query: &str) -> (u64, usize) {
    let snapshot = f.session.snapshot().await.unwrap();
    let total = snapshot.table(&path("t")).await.unwrap().file_count();
    (total, f.plan(query).await.matches(".parquet").count())
}

async fn partitioned(by: &str) -> Fixture {
    let f = Fixture::new().await;
    f.udr(&format!(
        "CREATE TABLE t (id BIGINT, ts TIMESTAMP, name VARCHAR) PARTITIONED BY ({by})"
    ))
    .await;
    f
}

const ROWS: &str = "INSERT INTO t SELECT v, CASE WHEN v % 11 = 0 THEN NULL ELSE \
     to_timestamp_seconds(1704067200 + v * 86400) END, 'n' || (v % 10) \
     FROM (SELECT unnest(range(0, 300)) AS v)";

#[tokio::test]
async fn every_file_has_rows_of_one_partition() {
    let f = partitioned("month(ts)").await;
    f.udr(ROWS).await;
    // Ten months, and NULL.
    let (total, read) = files(&f, "SELECT * FROM t WHERE ts = TIMESTAMP '2024-02-03'").await;
    assert_eq!((total, read), (11, 1));
    assert_eq!(f.udr("SELECT count(*) FROM t").await, ["300"]);
    let (_, read) = files(&f, "SELECT * FROM t WHERE ts IS NULL").await;
    assert_eq!(read, 1);
    assert_eq!(
        f.udr("SELECT count(*) FROM t WHERE ts IS NULL").await,
        ["28"]
    );
    f.check().await;
}

#[tokio::test]
async fn a_point_is_looked_for_in_its_bucket_only() {
    let f = partitioned("bucket(8, id), bucket(4, name)").await;
    f.udr(ROWS).await;
    f.udr("INSERT INTO t VALUES (NULL, NULL, NULL)").await;
    for id in [0, 7, 123, 299] {
        let query = format!("SELECT id FROM t WHERE id = {id}");
        let (total, read) = files(&f, &query).await;
        assert!(read <= 4 && total > 20, "{total} {read}");
        assert_eq!(f.udr(&query).await, [id.to_string()]);
        let query = format!("SELECT id FROM t WHERE id = {id} AND name = 'n{}'", id % 10);
        let (_, read) = files(&f, &query).await;
        assert!(read <= 1, "{read}");
        assert_eq!(f.udr(&query).await, [id.to_string()]);
        let query = format!("SELECT id FROM t WHERE id = {id} AND name = 'x'");
        assert!(f.udr(&query).await.is_empty());
    }
    let query = "SELECT count(*) FROM t WHERE id IN (5, 6, 1000)";
    assert_eq!(f.udr(query).await, ["2"]);
    assert_eq!(
        f.udr("SELECT count(*) FROM t WHERE id NOT IN (5, 6)").await,
        ["298"]
    );
    assert_eq!(
        f.udr("SELECT count(*) FROM t WHERE id IS NULL").await,
        ["1"]
    );
    assert_eq!(
        f.udr("SELECT count(*) FROM t WHERE id = 5 OR id IS NULL")
            .await,
        ["2"]
    );
    f.check().await;
}

#[tokio::test]
async fn partitions_evolve_without_rewriting() {
    let f = partitioned("year(ts)").await;
    f.udr(ROWS).await;
    let before = files(&f, "SELECT * FROM t").await;
    assert_eq!(before.0, 2);
    f.udr("ALTER TABLE t REPLACE PARTITION FIELD year(ts) WITH month(ts)")
        .await;
    f.udr("ALTER TABLE t ADD PARTITION FIELD bucket(4, id) AS b")
        .await;
    assert_eq!(files(&f, "SELECT * FROM t").await, before);
    f.udr("INSERT INTO t SELECT id + 1000, ts, name FROM t WHERE id BETWEEN 31 AND 60")
        .await;
    let (total, _) = files(&f, "SELECT * FROM t").await;
    assert!(total > before.0 + 4, "{total}");
    assert_eq!(f.udr("SELECT id FROM t WHERE id = 40").await, ["40"]);
    assert_eq!(f.udr("SELECT id FROM t WHERE id = 1040").await, ["1040"]);
    assert_eq!(f.udr("SELECT count(*) FROM t").await, ["330"]);
    f.udr("ALTER TABLE t DROP PARTITION FIELD b").await;
    f.udr("ALTER TABLE t DROP PARTITION FIELD month(ts)").await;
    f.udr("INSERT INTO t VALUES (5000, NULL, 'x')").await;
    assert_eq!(f.udr("SELECT id FROM t WHERE id = 1040").await, ["1040"]);
    assert_eq!(f.udr("SELECT id FROM t WHERE id = 5000").await, ["5000"]);
    // A column that rows were put apart by once can go.
    f.udr("ALTER TABLE t DROP COLUMN id").await;
    assert_eq!(f.udr("SELECT count(*) FROM t").await, ["331"]);
    f.check().await;
}

#[tokio::test]
async fn changes_of_rows_keep_rows_in_their_partitions() {
    let f = partitioned("bucket(4, name), truncate(100, id)").await;
    f.udr(ROWS).await;
    f.udr("UPDATE t SET name = 'z' WHERE id % 7 = 0").await;
    f.udr("DELETE FROM t WHERE id % 5 = 1").await;
    f.udr(
        "MERGE INTO t USING (SELECT unnest(range(290, 310)) AS id) s ON t.id = s.id \
         WHEN MATCHED THEN UPDATE SET name = 'm' WHEN NOT MATCHED THEN INSERT (id, name) \
         VALUES (s.id, 'new')",
    )
    .await;
    assert_eq!(
        f.udr("SELECT count(*) FROM t WHERE name = 'z'").await,
        ["34"]
    );
    assert_eq!(
        f.udr("SELECT count(*) FROM t WHERE name = 'm'").await,
        ["8"]
    );
    assert_eq!(
        f.udr("SELECT count(*) FROM t WHERE name = 'new'").await,
        ["12"]
    );
    f.check().await;
}

#[tokio::test]
async fn rows_are_sorted_as_the_table_says() {
    let f = Fixture::new().await;
    f.udr("CREATE TABLE t (id BIGINT, k INT, name VARCHAR) PARTITIONED BY (truncate(1, name)) WRITE ORDERED BY k DESC NULLS LAST, id")
        .await;
    f.udr("INSERT INTO t SELECT v, v * 7 % 50, CASE WHEN v % 2 = 0 THEN 'a' ELSE 'b' END FROM (SELECT unnest(range(0, 1000)) AS v)")
        .await;
    f.udr("ALTER TABLE t WRITE UNORDERED").await;
    f.udr("CREATE TABLE u (id BIGINT, k INT) WRITE ORDERED BY (k)")
        .await;
    f.udr("INSERT INTO u SELECT id, k FROM t").await;
    let snapshot = f.session.snapshot().await.unwrap();
    for (name, ascending) in [("t", false), ("u", true)] {
        let table = snapshot.table(&path(name)).await.unwrap();
        for task in table.plan(None).await.unwrap().files {
            use arrow::array::AsArray as _;
            use futures::TryStreamExt as _;
            let batches = table.read(&task).await.unwrap();
            let batches = batches.try_collect::<Vec<_>>().await.unwrap();
            let ks = batches.iter().flat_map(|batch| {
                let k = batch
                    .column(1)
                    .as_primitive::<arrow::datatypes::Int32Type>();
                k.values().to_vec()
            });
            let ks = ks.collect::<Vec<_>>();
            assert!(
                ks.is_sorted_by(|a, b| if ascending { a <= b } else { a >= b }),
                "{name}"
            );
        }
    }
    f.check().await;
}

#[tokio::test]
async fn create_table_as_lays_rows_out() {
    let f = partitioned("month(ts)").await;
    f.udr(ROWS).await;
    f.udr("CREATE TABLE c PARTITIONED BY (bucket(4, id)) AS SELECT * FROM t")
        .await;
    let snapshot = f.session.snapshot().await.unwrap();
    assert_eq!(snapshot.table(&path("c")).await.unwrap().file_count(), 4);
    assert_eq!(f.udr("SELECT count(*) FROM c").await, ["300"]);
    f.check().await;
}

#[tokio::test]
async fn what_cannot_be_partitioned_by_is_refused() {
    let f = partitioned("month(ts)").await;
    for (sql, kind) in [
        (
            "CREATE TABLE x (a INT) PARTITIONED BY (month(a))",
            ErrorKind::Invalid,
        ),
        (
            "CREATE TABLE x (a INT) PARTITIONED BY (bucket(0, a))",
            ErrorKind::Invalid,
        ),
        (
            "CREATE TABLE x (a DOUBLE) PARTITIONED BY (a)",
            ErrorKind::Invalid,
        ),
        (
            "CREATE TABLE x (a INT) PARTITIONED BY (b)",
            ErrorKind::NotFound,
        ),
        (
            "CREATE TABLE x (a INT[]) PARTITIONED BY (a)",
            ErrorKind::Invalid,
        ),
        (
            "CREATE TABLE x (a INT) PARTITIONED BY (a, a)",
            ErrorKind::AlreadyExists,
        ),
        (
            "ALTER TABLE t ADD PARTITION FIELD day(nowhere)",
            ErrorKind::NotFound,
        ),
        (
            "ALTER TABLE t ADD PARTITION FIELD month(ts)",
            ErrorKind::AlreadyExists,
        ),
        (
            "ALTER TABLE t DROP PARTITION FIELD day(ts)",
            ErrorKind::NotFound,
        ),
        ("ALTER TABLE t DROP COLUMN ts", ErrorKind::Invalid),
        (
            "ALTER TABLE t WRITE ORDERED BY nowhere",
            ErrorKind::NotFound,
        ),
    ] {
        let (found, text) = f.udr_refused(sql).await;
        assert_eq!(found, kind, "{sql}: {text}");
    }
    for sql in [
        "CREATE TABLE x (a INT) PARTITIONED BY (a + 1)",
        "CREATE TABLE x (a INT) PARTITIONED BY (sin(a))",
        "CREATE TABLE x (a INT) PARTITIONED BY ()",
        "ALTER TABLE t WRITE ORDERED BY id + 1",
    ] {
        assert!(f.try_udr(sql).await.is_err(), "{sql}");
    }
    assert_eq!(f.udr("SELECT count(*) FROM t").await, ["0"]);
    f.check().await;
}

#[tokio::test]
async fn explain_analyze_says_what_was_left_out_and_why() {
    let f = partitioned("bucket(8, id)").await;
    for _ in 0..3 {
        f.udr(ROWS).await;
    }
    let plan = f
        .udr("EXPLAIN ANALYZE SELECT name FROM t WHERE id = 123")
        .await
        .join("\n");
    let count = |name: &str| {
        let (_, rest) = plan.split_once(&format!(" {name}=")).unwrap();
        let digits = rest.split(|c: char| !c.is_ascii_digit()).next().unwrap();
        digits.parse::<u64>().unwrap()
    };
    assert_eq!(count("files_pruned"), 21, "{plan}");
    assert_eq!(count("pruned_by_buckets"), 21, "{plan}");
    assert!(count("manifests_read") > 0, "{plan}");
}

#[tokio::test]
async fn columns_and_partitions_are_tables() {
    let f = Fixture::new().await;
    f.udr("CREATE TABLE t (id BIGINT, ts TIMESTAMP, s STRUCT<x INT>)")
        .await;
    f.udr("INSERT INTO t (id) VALUES (0)").await;
    f.udr(
        "ALTER TABLE t ADD PARTITION FIELD month(ts), ADD PARTITION FIELD truncate(10, id) AS tens",
    )
    .await;
    f.udr("INSERT INTO t (id, ts) VALUES (1, '2024-02-03'), (2, '1969-12-31'), (33, '2024-02-04'), (4, NULL)")
        .await;
    f.udr("COMMENT ON COLUMN t.ts IS 'when'").await;
    assert_eq!(
        f.udr("SELECT partition, files, rows FROM t$partitions ORDER BY partition")
            .await,
        [
            "ts_month=*/tens=*|1|1",
            "ts_month=1969-12/tens=0|1|1",
            "ts_month=2024-02/tens=0|1|1",
            "ts_month=2024-02/tens=30|1|1",
            "ts_month=NULL/tens=0|1|1",
        ]
    );
    assert_eq!(
        f.udr("SELECT column_name, field_id, data_type, comment FROM t$columns")
            .await,
        [
            "id|1|int64|",
            "ts|2|timestamp(ns)|when",
            "s|3|struct<x: int32>|",
            "s.x|4|int32|",
        ]
    );
}
