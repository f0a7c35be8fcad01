//! DELETE removes the rows that its predicate names, and no other.

use arrow::datatypes::{DataType, Field, Schema};
use datafusion::prelude::SessionConfig;
use udr_core::ErrorKind;
use udr_datafusion::InstallOptions;

use crate::every_way::Case;
use crate::fixture::Fixture;

/// `t` in two files, and `u`, which has a NULL.
const ROWS: Case<'static> = Case {
    setup: &[
        "CREATE TABLE t (id BIGINT NOT NULL, grp INT, name TEXT)",
        "INSERT INTO t VALUES (1, 1, 'a'), (2, 1, 'b'), (3, 2, NULL), (4, NULL, 'd')",
        "INSERT INTO t VALUES (5, 2, 'e'), (6, 3, 'f')",
        "CREATE TABLE u (id BIGINT, grp INT)",
        "INSERT INTO u VALUES (2, 1), (5, 9), (NULL, 3)",
    ],
    ask: "SELECT id FROM t ORDER BY id",
};

#[tokio::test]
async fn a_predicate_chooses_rows_over_files() {
    ROWS.changes(
        "DELETE FROM t WHERE id = 2 OR id = 6",
        2,
        &["1", "3", "4", "5"],
    )
    .await;
    ROWS.changes(
        "DELETE FROM t WHERE name IS NULL",
        1,
        &["1", "2", "4", "5", "6"],
    )
    .await;
    ROWS.changes(
        "DELETE FROM t WHERE grp > 1 AND name <> 'e'",
        1,
        &["1", "2", "3", "4", "5"],
    )
    .await;
}

#[tokio::test]
async fn without_a_predicate_all_rows_go() {
    ROWS.changes("DELETE FROM t", 6, &[]).await;
    ROWS.changes("DELETE FROM t WHERE true", 6, &[]).await;
}

#[tokio::test]
async fn a_predicate_that_is_never_true_removes_nothing() {
    let all = &["1", "2", "3", "4", "5", "6"];
    for predicate in [
        "false",
        "NULL",
        "1 = 0",
        "id = NULL",
        "id > 100",
        "NULL AND id = 1",
    ] {
        ROWS.changes(&format!("DELETE FROM t WHERE {predicate}"), 0, all)
            .await;
    }
}

#[tokio::test]
async fn a_subquery_chooses_rows() {
    ROWS.changes(
        "DELETE FROM t WHERE id IN (SELECT id FROM u)",
        2,
        &["1", "3", "4", "6"],
    )
    .await;
    ROWS.changes(
        "DELETE FROM t WHERE EXISTS (SELECT 1 FROM u WHERE u.id = t.id AND u.grp = t.grp)",
        1,
        &["1", "3", "4", "5", "6"],
    )
    .await;
    ROWS.changes(
        "DELETE FROM t WHERE NOT EXISTS (SELECT 1 FROM u WHERE u.id = t.id)",
        4,
        &["2", "5"],
    )
    .await;
    ROWS.changes(
        "DELETE FROM t WHERE id > (SELECT avg(id) FROM u)",
        3,
        &["1", "2", "3"],
    )
    .await;
    ROWS.changes(
        "DELETE FROM t WHERE grp < (SELECT max(grp) FROM u WHERE u.id = t.id)",
        1,
        &["1", "2", "3", "4", "6"],
    )
    .await;
}

#[tokio::test]
async fn a_subquery_beside_other_conditions_does_not_widen_them() {
    ROWS.changes(
        "DELETE FROM t WHERE grp = 1 AND id IN (SELECT id FROM u)",
        1,
        &["1", "3", "4", "5", "6"],
    )
    .await;
    ROWS.changes(
        "DELETE FROM t WHERE grp = 3 OR id IN (SELECT id FROM u)",
        3,
        &["1", "3", "4"],
    )
    .await;
}

#[tokio::test]
async fn not_in_with_a_null_removes_nothing() {
    let all = &["1", "2", "3", "4", "5", "6"];
    ROWS.changes("DELETE FROM t WHERE id NOT IN (SELECT id FROM u)", 0, all)
        .await;
    ROWS.changes(
        "DELETE FROM t WHERE id NOT IN (SELECT id FROM u WHERE id IS NOT NULL)",
        4,
        &["2", "5"],
    )
    .await;
    ROWS.changes(
        "DELETE FROM t WHERE grp NOT IN (SELECT grp FROM u)",
        2,
        &["1", "2", "4", "6"],
    )
    .await;
    ROWS.changes(
        "DELETE FROM t WHERE id NOT IN (SELECT id FROM u WHERE false)",
        6,
        &[],
    )
    .await;
}

#[tokio::test]
async fn what_the_engine_would_take_for_false_where_it_is_unknown_is_refused() {
    // A NULL in `u` makes all of these unknown for rows that are not in it.
    for condition in [
        "grp = 99 OR id NOT IN (SELECT id FROM u)",
        "CASE WHEN id IN (SELECT id FROM u) THEN false ELSE true END",
    ] {
        let hint = &["may be NULL", "ask with EXISTS"];
        ROWS.refuses(&format!("DELETE FROM t WHERE {condition}"), hint)
            .await;
        ROWS.refuses(&format!("UPDATE t SET name = 'x' WHERE {condition}"), hint)
            .await;
    }
}

#[tokio::test]
async fn a_table_is_compared_with_itself_as_it_was() {
    ROWS.changes(
        "DELETE FROM t WHERE id = (SELECT max(id) FROM t)",
        1,
        &["1", "2", "3", "4", "5"],
    )
    .await;
    ROWS.changes(
        "DELETE FROM t WHERE grp IN (SELECT grp FROM t AS x WHERE x.name = 'e')",
        2,
        &["1", "2", "4", "6"],
    )
    .await;
    ROWS.changes(
        "DELETE FROM t WHERE EXISTS (SELECT 1 FROM t AS x WHERE x.grp = t.grp AND x.id < t.id)",
        2,
        &["1", "3", "4", "6"],
    )
    .await;
}

#[tokio::test]
async fn limit_removes_so_many_rows() {
    ROWS.changes(
        "DELETE FROM t WHERE id >= 6 LIMIT 3",
        1,
        &["1", "2", "3", "4", "5"],
    )
    .await;
    ROWS.changes("DELETE FROM t LIMIT 0", 0, &["1", "2", "3", "4", "5", "6"])
        .await;
    let f = Fixture::with_table().await;
    f.run("INSERT INTO t SELECT value, 'x' FROM generate_series(1, 1000)")
        .await;
    assert_eq!(f.written("DELETE FROM t WHERE id > 10 LIMIT 7").await, 7);
    assert_eq!(f.value("SELECT count(*) FROM t").await, "993");
    assert_eq!(f.written("DELETE FROM t LIMIT 100").await, 100);
    f.run("PREPARE some AS DELETE FROM t LIMIT 93").await;
    assert_eq!(f.written("EXECUTE some").await, 93);
    assert_eq!(f.written("EXECUTE some").await, 93);
    assert_eq!(f.value("SELECT count(*) FROM t").await, "707");
    f.check().await;
}

#[tokio::test]
async fn a_volatile_predicate_is_refused_with_the_reason() {
    let reason = &["not the same each time", "random()"];
    ROWS.refuses("DELETE FROM t WHERE random() < 0.5", reason)
        .await;
    ROWS.refuses(
        "DELETE FROM t WHERE id IN (SELECT id FROM u WHERE random() < 2)",
        &["not the same each time"],
    )
    .await;
    ROWS.refuses("DELETE FROM t WHERE grp = 1 OR random() < 0.5", reason)
        .await;
}

#[tokio::test]
async fn explain_shows_the_plan_and_removes_nothing() {
    let f = Fixture::with_table().await;
    f.run("INSERT INTO t VALUES (1, 'a'), (2, 'b')").await;
    let before = f.version().await;
    let plan = f.plan("DELETE FROM t WHERE id = 1").await;
    assert!(
        plan.contains("UdrChangeExec: DELETE FROM public.t"),
        "{plan}"
    );
    f.run("EXPLAIN VERBOSE DELETE FROM t").await;
    assert_eq!(f.version().await, before);
    assert_eq!(f.value("SELECT count(*) FROM t").await, "2");
    f.run("EXPLAIN ANALYZE DELETE FROM t WHERE id = 1").await;
    assert_eq!(f.values("SELECT id FROM t").await, ["2"]);
}

#[tokio::test]
async fn only_the_columns_of_the_predicate_are_read() {
    let f = Fixture::with_table().await;
    f.run("INSERT INTO t VALUES (1, 'a'), (2, 'b')").await;
    let plan = f.plan("DELETE FROM t WHERE id = 1").await;
    assert!(
        plan.contains("projection=[_udr_file, _udr_row]") && !plan.contains("name"),
        "{plan}"
    );
}

#[tokio::test]
async fn deletes_add_up_and_rows_that_are_gone_stay_gone() {
    let f = Fixture::with_table().await;
    f.run("INSERT INTO t SELECT value, 'x' FROM generate_series(1, 20000)")
        .await;
    assert_eq!(f.written("DELETE FROM t WHERE id % 7 = 0").await, 2857);
    assert_eq!(f.written("DELETE FROM t WHERE id % 7 = 0").await, 0);
    assert_eq!(f.written("DELETE FROM t WHERE id % 21 = 1").await, 953);
    let left =
        "SELECT count(*) FROM generate_series(1, 20000) WHERE value % 7 <> 0 AND value % 21 <> 1";
    let left = f.value(left).await;
    assert_eq!(f.value("SELECT count(*) FROM t").await, left);
    assert_eq!(f.value("SELECT count(id) FROM t").await, left);
    assert_eq!(f.value("SELECT count(DISTINCT id) FROM t").await, left);
    assert_eq!(
        f.value("SELECT count(*) FROM t WHERE id % 7 = 0 OR id % 21 = 1")
            .await,
        "0"
    );
    f.check().await;
}

#[tokio::test]
async fn a_deleted_extreme_is_no_minimum_and_no_maximum() {
    let f = Fixture::with_table().await;
    f.run("INSERT INTO t VALUES (1, 'a'), (5, 'b'), (9, NULL)")
        .await;
    f.run("DELETE FROM t WHERE id <> 5").await;
    assert_eq!(f.value("SELECT min(id) FROM t").await, "5");
    assert_eq!(f.value("SELECT max(id) FROM t").await, "5");
    assert_eq!(f.value("SELECT count(name) FROM t").await, "1");
    assert_eq!(f.value("SELECT count(*) FROM t").await, "1");
    assert_eq!(f.value("SELECT count(*) FROM t WHERE id = 9").await, "0");
    assert_eq!(
        f.value("SELECT count(*) FROM t WHERE name IS NULL").await,
        "0"
    );
    f.run("INSERT INTO t VALUES (7, 'c')").await;
    assert_eq!(f.value("SELECT sum(id) FROM t").await, "12");
    assert_eq!(
        f.values("SELECT id FROM t ORDER BY id DESC LIMIT 1").await,
        ["7"]
    );
}

#[tokio::test]
async fn limits_and_filters_count_only_rows_that_are_there() {
    let f = Fixture::with_table().await;
    f.run("INSERT INTO t SELECT value, 'x' FROM generate_series(1, 100)")
        .await;
    f.run("INSERT INTO t SELECT value, 'x' FROM generate_series(101, 200)")
        .await;
    f.run("DELETE FROM t WHERE id <= 95 OR id > 190").await;
    for limit in [1, 5, 6, 50, 95, 200] {
        let rows = f.values(&format!("SELECT id FROM t LIMIT {limit}")).await;
        assert_eq!(rows.len(), limit.min(95), "LIMIT {limit}");
    }
    assert_eq!(
        f.values("SELECT id FROM t ORDER BY id LIMIT 2").await,
        ["96", "97"]
    );
    assert_eq!(
        f.values("SELECT id FROM t ORDER BY id DESC LIMIT 1").await,
        ["190"]
    );
    assert_eq!(
        f.value("SELECT count(*) FROM (SELECT * FROM t LIMIT 20 OFFSET 90)")
            .await,
        "5"
    );
    f.run("SET datafusion.execution.parquet.pushdown_filters = true")
        .await;
    assert_eq!(
        f.value("SELECT count(*) FROM t WHERE id > 93 AND id < 99")
            .await,
        "3"
    );
    assert_eq!(f.values("SELECT name FROM t WHERE id = 190").await, ["x"]);
}

#[tokio::test]
async fn an_older_version_keeps_its_rows() {
    let f = Fixture::with_table().await;
    f.run("INSERT INTO t VALUES (1, 'a'), (2, 'b'), (3, 'c')")
        .await;
    let before = f.version().await;
    f.run("DELETE FROM t WHERE id = 2").await;
    assert_eq!(
        f.value(&format!("SELECT count(*) FROM \"t@{before}\""))
            .await,
        "3"
    );
    assert_eq!(f.values("SELECT id FROM t ORDER BY id").await, ["1", "3"]);
}

#[tokio::test]
async fn only_the_sessions_own_branch_can_lose_rows() {
    let f = Fixture::with_table().await;
    f.run("INSERT INTO t VALUES (1, 'a')").await;
    f.create_branch("dev").await;
    for target in ["\"t@dev\"", "dev.public.t", "\"t@1\""] {
        let (kind, text) = f.refused(&format!("DELETE FROM {target}")).await;
        assert_eq!(kind, ErrorKind::Invalid, "{text}");
    }
    assert!(f.try_run("DELETE FROM \"t$rows\"").await.is_err());
    assert!(f.try_run("DELETE FROM \"t$files\"").await.is_err());
    f.create_view("v", "SELECT * FROM t").await;
    assert!(f.try_run("DELETE FROM v").await.is_err());
    assert_eq!(f.value("SELECT count(*) FROM t").await, "1");
}

#[tokio::test]
async fn a_failing_delete_leaves_the_transaction_as_it_was() {
    let f = Fixture::new().await;
    let schema = Schema::new(vec![
        Field::new("id", DataType::Int64, false),
        Field::new("text", DataType::Utf8, true),
    ]);
    f.create("t", &schema).await;
    f.run("INSERT INTO t VALUES (1, '1'), (2, 'two')").await;
    f.run("START TRANSACTION").await;
    f.run("INSERT INTO t VALUES (3, '3')").await;
    assert_eq!(f.written("DELETE FROM t WHERE id = 3").await, 1);
    assert!(
        f.try_run("DELETE FROM t WHERE CAST(text AS BIGINT) > 0")
            .await
            .is_err()
    );
    assert_eq!(f.values("SELECT id FROM t ORDER BY id").await, ["1", "2"]);
    assert_eq!(f.written("DELETE FROM t WHERE id = 1").await, 1);
    f.run("COMMIT").await;
    assert_eq!(f.values("SELECT id FROM t").await, ["2"]);
    f.check().await;
}

#[tokio::test]
async fn an_executed_statement_sees_what_is_there_each_time() {
    let f = Fixture::with_table().await;
    f.run("INSERT INTO t VALUES (1, 'a'), (2, 'b')").await;
    f.run("PREPARE gone(BIGINT) AS DELETE FROM t WHERE id = $1")
        .await;
    assert_eq!(f.written("EXECUTE gone(1)").await, 1);
    assert_eq!(f.written("EXECUTE gone(1)").await, 0);
    f.run("INSERT INTO t VALUES (1, 'again')").await;
    assert_eq!(f.written("EXECUTE gone(1)").await, 1);
    assert_eq!(f.values("SELECT name FROM t").await, ["b"]);
}

#[tokio::test]
async fn places_are_right_in_files_of_many_row_groups_that_are_read_in_parts() {
    let first = Fixture::new().await;
    let mut options = InstallOptions::new(first.session.repository().clone());
    options.write.row_group_rows = 1_000;
    let config = SessionConfig::new()
        .set_usize("datafusion.optimizer.repartition_file_min_size", 1)
        .set_usize("datafusion.execution.batch_size", 300);
    let f = Fixture::with(options, config).await;
    f.create("t", &crate::fixture::id_and_name()).await;
    f.run("INSERT INTO t SELECT value, value::text AS name FROM generate_series(0, 19999) ORDER BY value")
        .await;
    assert_eq!(f.value("SELECT count(*) FROM \"t$files\"").await, "1");
    // Whole row groups, parts of some, and single rows; what is gone before shifts nothing after.
    let mut gone = Vec::new();
    for condition in [
        "id BETWEEN 2500 AND 5499",
        "id % 37 = 5",
        "id IN (0, 999, 1000, 19999)",
        "name = '7777'",
        "id BETWEEN 2000 AND 9999 AND id % 11 = 3",
    ] {
        let rows = f
            .value(&format!("SELECT count(*) FROM t WHERE {condition}"))
            .await;
        assert_eq!(
            f.written(&format!("DELETE FROM t WHERE {condition}"))
                .await
                .to_string(),
            rows,
            "{condition}"
        );
        gone.push(format!("({condition})"));
        let expected = format!(
            "SELECT concat(count(*), '/', sum(id)) FROM
             (SELECT value AS id, value::text AS name FROM generate_series(0, 19999))
             WHERE NOT ({})",
            gone.join(" OR ")
        );
        let left = "SELECT concat(count(*), '/', sum(id)) FROM t WHERE id::text = name";
        assert_eq!(f.value(left).await, f.value(&expected).await, "{condition}");
    }
    let update = "UPDATE t SET name = concat('u', name) WHERE id % 101 = 7";
    let count = f.written(update).await;
    let wrong = "SELECT count(*) FROM t WHERE name <> CASE WHEN id % 101 = 7
        THEN concat('u', id::text) ELSE id::text END";
    assert_eq!(f.value(wrong).await, "0");
    let updated = "SELECT count(*) FROM t WHERE name LIKE 'u%'";
    assert_eq!(f.value(updated).await, count.to_string());
    f.check().await;
}
