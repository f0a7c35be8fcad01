//! What a scan gives of files some of whose rows are deleted: the others, whatever is asked of them.

use datafusion::prelude::SessionConfig;
use udr_datafusion::InstallOptions;

use crate::fixture::Fixture;

const ROWS: i64 = 20_000;

/// Which rows are deleted: few and many, scattered and together, at the ends of groups and pages.
const DELETED: &[&str] = &[
    "id = 7777",
    "id % 1000 = 0",
    "id % 100 = 3",
    "id % 10 = 3",
    "id % 5 < 2",
    "id BETWEEN 2000 AND 9000",
    "id BETWEEN 2000 AND 10500 OR id % 50 = 1",
    "id < 3000 AND id % 3 <> 0",
    "id % 1000 = 999 OR id >= 19990",
];

/// Questions about `t`, whose answers are one column.
const QUESTIONS: &[&str] = &[
    "SELECT count(*) FROM t",
    "SELECT sum(id) FROM t",
    "SELECT count(word) FROM t WHERE half > 100.5",
    "SELECT count(*) FROM t WHERE id % 7 = 3 AND half < 5000",
    "SELECT id FROM t ORDER BY id LIMIT 20",
    "SELECT id FROM t WHERE half > 3000.2 ORDER BY half DESC LIMIT 15",
    "SELECT count(*) FROM (SELECT id FROM t LIMIT 12)",
    "SELECT count(*) FROM (SELECT * FROM t WHERE id > 500 LIMIT 2100)",
    "SELECT sum(100 / (id % 100 - 3)) FROM t WHERE id % 100 <> 3",
    "SELECT sum(a.id) FROM t a JOIN t b ON a.id = b.id + 1 WHERE b.half < 2000",
    "SELECT max(length(word)) FROM t WHERE id IN (SELECT id * 3 FROM t WHERE id < 4000)",
    "SELECT word FROM t WHERE id = 12003",
    "SELECT sum(named['x']) FROM (SELECT named FROM t WHERE id > 10)",
];

/// Two repositories with the same rows: deleted in one, and never there in the other.
async fn both(partitions: usize, pushdown: bool) -> (Fixture, Fixture) {
    let one = || async {
        let mut options = InstallOptions::new(Fixture::new().await.session.repository().clone());
        options.write.row_group_rows = 3_000;
        let mut config = SessionConfig::new();
        let parquet = &mut config.options_mut().execution.parquet;
        parquet.pushdown_filters = pushdown;
        config.options_mut().optimizer.repartition_file_min_size = 1_000;
        let f = Fixture::with(options, config).await;
        f.udr(&format!(
            "SET datafusion.execution.target_partitions = {partitions}"
        ))
        .await;
        f.udr("CREATE TABLE t (id BIGINT NOT NULL, half DOUBLE, word VARCHAR, named STRUCT<x BIGINT>)")
            .await;
        f
    };
    (one().await, one().await)
}

async fn fill(f: &Fixture, condition: &str) {
    f.udr(&format!(
        "INSERT INTO t SELECT value, value / 2.0, 'word ' || (value % 9),
         named_struct('x', value % 11) FROM generate_series(1, {ROWS}) WHERE {condition}"
    ))
    .await;
}

async fn asked(partitions: usize, pushdown: bool) {
    for deleted in DELETED {
        let (f, expected) = both(partitions, pushdown).await;
        fill(&f, "true").await;
        f.udr(&format!("DELETE FROM t WHERE {deleted}")).await;
        let condition = deleted.replace("id", "value");
        fill(&expected, &format!("NOT ({condition})")).await;
        for question in QUESTIONS {
            let (found, expected) = (f.udr(question).await, expected.udr(question).await);
            assert_eq!(found, expected, "{question} without {deleted}");
        }
        let before = f.version().await - 1;
        let all = format!("SELECT count(*) FROM t VERSION AS OF {before}");
        assert_eq!(f.udr(&all).await, [ROWS.to_string()], "{deleted}");
        let ids = "SELECT count(DISTINCT _row_id) FROM \"t$rows\"";
        let rows = expected.udr("SELECT count(*) FROM t").await;
        assert_eq!(f.udr(ids).await, rows, "{deleted}");
    }
}

#[tokio::test]
async fn deleted_rows_are_in_no_answer() {
    asked(1, false).await;
}

#[tokio::test]
async fn nor_where_files_are_read_in_parts() {
    asked(4, false).await;
}

#[tokio::test]
async fn nor_where_the_reader_filters() {
    asked(2, true).await;
}

#[tokio::test]
async fn what_cannot_be_done_with_deleted_rows_is_not_tried() {
    for pushdown in [false, true] {
        let (f, _) = both(2, pushdown).await;
        fill(&f, "true").await;
        f.udr("DELETE FROM t WHERE id % 100 = 3").await;
        // A division by zero for each of them.
        for sql in [
            "SELECT count(100 / (id % 100 - 3)) FROM t",
            "SELECT count(*) FROM t WHERE 100 / (id % 100 - 3) < 1000",
        ] {
            assert_eq!(f.udr(sql).await, ["19800"], "{sql}");
        }
        f.check().await;
    }
}

#[tokio::test]
async fn a_plan_says_that_rows_are_deleted() {
    let (f, _) = both(2, false).await;
    fill(&f, "true").await;
    let sql = "EXPLAIN SELECT sum(half) FROM t";
    assert!(!f.udr(sql).await.join("\n").contains("deleted_rows"));
    f.udr("DELETE FROM t WHERE id % 100 = 3").await;
    let plan = f.udr(sql).await.join("\n");
    assert!(plan.contains("deleted_rows=200"), "{plan}");
    let analyzed = f.udr("EXPLAIN ANALYZE SELECT sum(half) FROM t").await;
    assert!(
        analyzed.join("\n").contains("bytes_scanned"),
        "{analyzed:?}"
    );
}
