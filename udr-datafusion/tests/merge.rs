//! MERGE does for each pair of rows what the first clause that applies says.

use std::sync::Arc;

use datafusion::execution::memory_pool::FairSpillPool;
use datafusion::execution::runtime_env::RuntimeEnvBuilder;
use datafusion::prelude::{SessionConfig, SessionContext};
use udr_core::ErrorKind;
use udr_datafusion::{InstallOptions, install};

use crate::every_way::Case;
use crate::fixture::Fixture;

const ROWS: Case<'static> = Case {
    setup: &[
        "CREATE TABLE t (id BIGINT, qty INT DEFAULT 7, name TEXT NOT NULL DEFAULT 'new')",
        "INSERT INTO t VALUES (1, 10, 'a'), (2, 20, 'b'), (3, 30, 'c')",
        "INSERT INTO t VALUES (4, 40, 'd'), (NULL, 0, 'null')",
        "CREATE TABLE s (id BIGINT, qty INT, name TEXT)",
        "INSERT INTO s VALUES (2, 200, 'B'), (3, -1, 'C'), (9, 900, 'I'), (NULL, 5, 'N')",
    ],
    ask: "SELECT concat_ws('/', coalesce(id::text, '-'), coalesce(qty::text, '-'), name) FROM t
          ORDER BY id NULLS LAST, qty",
};

#[tokio::test]
async fn matched_rows_are_updated() {
    ROWS.changes(
        "MERGE INTO t USING s ON t.id = s.id WHEN MATCHED THEN UPDATE SET qty = s.qty, name = concat(t.name, s.name)",
        2,
        &["1/10/a", "2/200/bB", "3/-1/cC", "4/40/d", "-/0/null"],
    )
    .await;
}

#[tokio::test]
async fn matched_rows_are_deleted() {
    ROWS.changes(
        "MERGE INTO t USING s ON t.id = s.id WHEN MATCHED THEN DELETE",
        2,
        &["1/10/a", "4/40/d", "-/0/null"],
    )
    .await;
}

#[tokio::test]
async fn rows_of_the_source_alone_are_inserted_and_null_matches_nothing() {
    ROWS.changes(
        "MERGE INTO t USING s ON t.id = s.id WHEN NOT MATCHED THEN INSERT VALUES (s.id, s.qty, s.name)",
        2,
        &["1/10/a", "2/20/b", "3/30/c", "4/40/d", "9/900/I", "-/0/null", "-/5/N"],
    )
    .await;
    ROWS.changes(
        "MERGE INTO t USING s ON t.id = s.id
         WHEN NOT MATCHED BY TARGET AND s.id IS NOT NULL THEN INSERT (id) VALUES (s.id)",
        1,
        &[
            "1/10/a", "2/20/b", "3/30/c", "4/40/d", "9/7/new", "-/0/null",
        ],
    )
    .await;
}

#[tokio::test]
async fn rows_of_the_target_alone_are_changed() {
    ROWS.changes(
        "MERGE INTO t USING s ON t.id = s.id WHEN NOT MATCHED BY SOURCE THEN DELETE",
        3,
        &["2/20/b", "3/30/c"],
    )
    .await;
    ROWS.changes(
        "MERGE INTO t USING s ON t.id = s.id
         WHEN NOT MATCHED BY SOURCE AND t.qty > 5 THEN UPDATE SET name = concat(t.name, '!')",
        2,
        &["1/10/a!", "2/20/b", "3/30/c", "4/40/d!", "-/0/null"],
    )
    .await;
    ROWS.changes(
        "MERGE INTO t USING s ON t.id = s.id
         WHEN MATCHED THEN UPDATE SET qty = s.qty
         WHEN NOT MATCHED BY SOURCE THEN DELETE",
        5,
        &["2/200/b", "3/-1/c"],
    )
    .await;
}

#[tokio::test]
async fn every_kind_of_clause_goes_with_every_other() {
    ROWS.changes(
        "MERGE INTO t USING s ON t.id = s.id
         WHEN MATCHED AND s.qty < 0 THEN DELETE
         WHEN MATCHED THEN UPDATE SET qty = s.qty
         WHEN NOT MATCHED THEN INSERT (name, id, qty) VALUES (s.name, s.id, s.qty)
         WHEN NOT MATCHED BY SOURCE AND t.id = 1 THEN UPDATE SET name = 'gone'
         WHEN NOT MATCHED BY SOURCE THEN DELETE",
        7,
        &["1/10/gone", "2/200/b", "9/900/I", "-/5/N"],
    )
    .await;
    ROWS.changes(
        "MERGE INTO t USING s ON t.id = s.id
         WHEN NOT MATCHED THEN INSERT VALUES (s.id, s.qty, s.name)
         WHEN NOT MATCHED BY SOURCE THEN DELETE",
        5,
        &["2/20/b", "3/30/c", "9/900/I", "-/5/N"],
    )
    .await;
    ROWS.changes(
        "MERGE INTO t USING s ON t.id = s.id
         WHEN MATCHED THEN UPDATE SET qty = s.qty
         WHEN NOT MATCHED THEN INSERT (id, qty) VALUES (s.id, s.qty)",
        4,
        &[
            "1/10/a",
            "2/200/b",
            "3/-1/c",
            "4/40/d",
            "9/900/new",
            "-/0/null",
            "-/5/new",
        ],
    )
    .await;
}

#[tokio::test]
async fn the_first_clause_that_applies_wins() {
    ROWS.changes(
        "MERGE INTO t USING s ON t.id = s.id
         WHEN MATCHED AND t.qty > 25 THEN UPDATE SET name = 'first'
         WHEN MATCHED AND t.qty > 15 THEN UPDATE SET name = 'second'
         WHEN MATCHED THEN DELETE
         WHEN NOT MATCHED AND s.qty > 100 THEN INSERT (id, name) VALUES (s.id, 'large')
         WHEN NOT MATCHED THEN INSERT (id, name) VALUES (s.id, 'small')",
        4,
        &[
            "1/10/a",
            "2/20/second",
            "3/30/first",
            "4/40/d",
            "9/7/large",
            "-/0/null",
            "-/7/small",
        ],
    )
    .await;
    ROWS.changes(
        "MERGE INTO t USING s ON t.id = s.id
         WHEN MATCHED AND NULL THEN DELETE
         WHEN MATCHED AND false THEN DELETE",
        0,
        &["1/10/a", "2/20/b", "3/30/c", "4/40/d", "-/0/null"],
    )
    .await;
}

#[tokio::test]
async fn a_query_and_values_can_be_the_source() {
    ROWS.changes(
        "MERGE INTO t AS x USING (SELECT id, sum(qty) AS total FROM s GROUP BY id) AS y
         ON x.id = y.id WHEN MATCHED AND y.total > 0 THEN UPDATE SET qty = y.total",
        1,
        &["1/10/a", "2/200/b", "3/30/c", "4/40/d", "-/0/null"],
    )
    .await;
    ROWS.changes(
        "MERGE INTO t USING (VALUES (1, 'one'), (5, 'five')) AS v(k, text) ON t.id = v.k
         WHEN MATCHED THEN UPDATE SET name = v.text
         WHEN NOT MATCHED THEN INSERT (id, name) VALUES (v.k, v.text)",
        2,
        &[
            "1/10/one", "2/20/b", "3/30/c", "4/40/d", "5/7/five", "-/0/null",
        ],
    )
    .await;
    ROWS.changes(
        "MERGE INTO t AS x USING t AS y ON x.id = y.id + 1 WHEN MATCHED THEN UPDATE SET qty = y.qty",
        3,
        &["1/10/a", "2/10/b", "3/20/c", "4/30/d", "-/0/null"],
    )
    .await;
}

#[tokio::test]
async fn the_condition_can_be_any_comparison() {
    ROWS.changes(
        "MERGE INTO t USING s ON t.id < s.id - 6 WHEN MATCHED THEN UPDATE SET name = s.name",
        2,
        &["1/10/I", "2/20/I", "3/30/c", "4/40/d", "-/0/null"],
    )
    .await;
    ROWS.changes(
        "MERGE INTO t USING s ON t.id = s.id AND t.qty > 25 AND s.qty < 0
         WHEN MATCHED THEN DELETE
         WHEN NOT MATCHED AND s.id = 2 THEN INSERT (id, name) VALUES (s.id, 'extra')",
        2,
        &["1/10/a", "2/7/extra", "2/20/b", "4/40/d", "-/0/null"],
    )
    .await;
    ROWS.changes(
        "MERGE INTO t USING s ON false WHEN NOT MATCHED BY SOURCE AND t.id = 4 THEN DELETE",
        1,
        &["1/10/a", "2/20/b", "3/30/c", "-/0/null"],
    )
    .await;
}

#[tokio::test]
async fn a_row_that_matches_twice_is_an_error_that_shows_its_key() {
    let setup: Vec<&str> = ROWS
        .setup
        .iter()
        .copied()
        .chain(["INSERT INTO s VALUES (2, 201, 'again')"])
        .collect();
    let case = Case {
        setup: &setup,
        ask: ROWS.ask,
    };
    let key = &["matches more than one row", "id=2", "public.t"];
    for action in ["UPDATE SET qty = s.qty", "DELETE"] {
        case.refuses(
            &format!("MERGE INTO t USING s ON t.id = s.id WHEN MATCHED THEN {action}"),
            key,
        )
        .await;
    }
    case.refuses(
        "MERGE INTO t USING s ON t.id = s.id
         WHEN MATCHED AND s.qty = 200 THEN DELETE
         WHEN MATCHED THEN UPDATE SET qty = s.qty
         WHEN NOT MATCHED THEN INSERT (id) VALUES (s.id)
         WHEN NOT MATCHED BY SOURCE THEN DELETE",
        key,
    )
    .await;
    // Only one of the two does anything.
    case.changes(
        "MERGE INTO t USING s ON t.id = s.id WHEN MATCHED AND s.qty > 200 THEN UPDATE SET qty = s.qty",
        1,
        &["1/10/a", "2/201/b", "3/30/c", "4/40/d", "-/0/null"],
    )
    .await;
    case.changes(
        "MERGE INTO t USING s ON t.id = s.id WHEN NOT MATCHED THEN INSERT (id) VALUES (s.id)",
        2,
        &[
            "1/10/a", "2/20/b", "3/30/c", "4/40/d", "9/7/new", "-/0/null", "-/7/new",
        ],
    )
    .await;
}

#[tokio::test]
async fn what_a_clause_cannot_see_or_do_is_refused() {
    for (sql, text) in [
        (
            "MERGE INTO t USING s ON t.id = s.id WHEN NOT MATCHED THEN INSERT (id) VALUES (t.id)",
            "rows of the source only",
        ),
        (
            "MERGE INTO t USING s ON t.id = s.id WHEN NOT MATCHED AND t.qty = 1 THEN INSERT (id) VALUES (s.id)",
            "rows of the source only",
        ),
        (
            "MERGE INTO t USING s ON t.id = s.id WHEN NOT MATCHED BY SOURCE THEN UPDATE SET qty = s.qty",
            "rows of the target only",
        ),
        (
            "MERGE INTO t USING s ON t.id = s.id AND random() < 2 WHEN MATCHED THEN DELETE",
            "not the same each time",
        ),
        (
            "MERGE INTO t USING s ON t.id = s.id WHEN MATCHED AND random() < 2 THEN DELETE",
            "not the same each time",
        ),
        (
            "MERGE INTO t USING s ON t.id = s.id WHEN MATCHED AND t.id IN (SELECT id FROM s) THEN DELETE",
            "subqueries",
        ),
    ] {
        ROWS.refuses(sql, &[text]).await;
    }
}

#[tokio::test]
async fn a_value_that_does_not_fit_is_an_error_that_names_the_column() {
    let named = &["does not fit", "qty", "public.t"];
    ROWS.refuses(
        "MERGE INTO t USING s ON t.id = s.id WHEN MATCHED THEN UPDATE SET qty = t.id * 3000000000",
        named,
    )
    .await;
    ROWS.refuses(
        "MERGE INTO t USING s ON t.id = s.id WHEN NOT MATCHED THEN INSERT (id, qty) VALUES (s.id, 3000000000)",
        named,
    )
    .await;
    for sql in [
        "MERGE INTO t USING s ON t.id = s.id WHEN MATCHED THEN UPDATE SET name = NULL",
        "MERGE INTO t USING s ON t.id = s.id WHEN NOT MATCHED THEN INSERT (name) VALUES (NULL)",
    ] {
        ROWS.refuses(sql, &["name", "public.t"]).await;
    }
}

#[tokio::test]
async fn a_value_of_a_clause_that_does_not_apply_does_no_harm() {
    ROWS.changes(
        "MERGE INTO t USING s ON t.id = s.id
         WHEN MATCHED AND s.qty > 0 THEN UPDATE SET qty = 1000 / s.qty
         WHEN MATCHED THEN UPDATE SET qty = CAST('5' AS INT)
         WHEN NOT MATCHED AND s.id = 9 THEN INSERT (id, qty) VALUES (s.id, s.qty * 2)",
        3,
        &[
            "1/10/a",
            "2/5/b",
            "3/5/c",
            "4/40/d",
            "9/1800/new",
            "-/0/null",
        ],
    )
    .await;
}

#[tokio::test]
async fn explain_shows_the_plan_and_changes_nothing() {
    let f = Fixture::with_table().await;
    f.run("INSERT INTO t VALUES (1, 'a'), (2, 'b')").await;
    let before = f.version().await;
    let sql = "MERGE INTO t USING (VALUES (1)) AS s(id) ON t.id = s.id WHEN MATCHED THEN DELETE";
    let plan = f.plan(sql).await;
    assert!(
        plan.contains("UdrChangeExec: MERGE INTO public.t"),
        "{plan}"
    );
    assert!(
        plan.contains("projection=[id, _udr_file, _udr_row]"),
        "{plan}"
    );
    assert_eq!(f.version().await, before);
    assert_eq!(f.written(sql).await, 1);
}

#[tokio::test]
async fn the_source_prunes_the_scan_of_the_target() {
    let f = Fixture::with_table().await;
    for part in 0..4 {
        let sql = format!(
            "INSERT INTO t SELECT value, 'x' FROM generate_series({}, {})",
            part * 1000 + 1,
            part * 1000 + 1000
        );
        f.run(&sql).await;
    }
    f.create("s", &crate::fixture::id_and_name()).await;
    f.run("INSERT INTO s VALUES (1500, 'new'), (1501, 'new'), (5000, 'new')")
        .await;
    let merge = "MERGE INTO t USING s ON t.id = s.id WHEN MATCHED THEN UPDATE SET name = s.name
        WHEN NOT MATCHED THEN INSERT VALUES (s.id, s.name)";
    let plan = f.plan(merge).await;
    assert!(plan.contains("DynamicFilter"), "{plan}");
    assert_eq!(f.written(merge).await, 3);
    assert_eq!(
        f.values("SELECT id FROM t WHERE name = 'new' ORDER BY id")
            .await,
        ["1500", "1501", "5000"]
    );
    assert_eq!(f.value("SELECT count(*) FROM t").await, "4001");
    f.check().await;
}

#[tokio::test]
async fn merging_again_and_again_keeps_one_row_of_each_key() {
    let f = Fixture::with_table().await;
    f.run("INSERT INTO t SELECT value, '0' FROM generate_series(1, 3000)")
        .await;
    for round in 1..=4 {
        let sql = format!(
            "MERGE INTO t USING (SELECT value * {round} AS id FROM generate_series(1, 1000)) AS s
             ON t.id = s.id
             WHEN MATCHED AND t.id % 10 = 0 THEN DELETE
             WHEN MATCHED THEN UPDATE SET name = '{round}'
             WHEN NOT MATCHED THEN INSERT VALUES (s.id, 'new')"
        );
        f.run(&sql).await;
        assert_eq!(
            f.value("SELECT count(*) - count(DISTINCT id) FROM t").await,
            "0",
            "round {round}"
        );
    }
    let rows = f.value("SELECT count(*) FROM t").await;
    assert_eq!(
        f.value("SELECT count(DISTINCT _row_id) FROM \"t$rows\"")
            .await,
        rows
    );
    f.check().await;
}

#[tokio::test]
async fn a_small_memory_pool_is_enough() {
    let f = Fixture::with_table().await;
    f.run("INSERT INTO t SELECT value, repeat('x', 100) FROM generate_series(1, 200000)")
        .await;
    let runtime = RuntimeEnvBuilder::new()
        .with_memory_pool(Arc::new(FairSpillPool::new(48 << 20)))
        .build_arc()
        .unwrap();
    let config = SessionConfig::new().with_target_partitions(2);
    let ctx = SessionContext::new_with_config_rt(config, runtime);
    install(&ctx, InstallOptions::new(f.session.repository().clone()))
        .await
        .unwrap();
    let merge = "MERGE INTO t USING (SELECT value AS id FROM generate_series(199001, 201000)) AS s
        ON t.id = s.id
        WHEN MATCHED THEN UPDATE SET name = 'short'
        WHEN NOT MATCHED THEN INSERT VALUES (s.id, 'new')";
    ctx.sql(merge).await.unwrap().collect().await.unwrap();
    assert_eq!(f.value("SELECT count(*) FROM t").await, "201000");
    assert_eq!(
        f.value("SELECT count(*) FROM t WHERE name = 'short'").await,
        "1000"
    );
    f.check().await;
}

#[tokio::test]
async fn two_merges_of_different_rows_go_together() {
    let f = Fixture::with_table().await;
    f.run("INSERT INTO t VALUES (1, 'a'), (2, 'b')").await;
    let other = f.other().await;
    let merge = |id: u32| {
        format!(
            "MERGE INTO t USING (SELECT {id} AS id) AS s ON t.id = s.id WHEN MATCHED THEN UPDATE SET name = 'x'"
        )
    };
    f.run("START TRANSACTION").await;
    f.run(&merge(1)).await;
    other.run(&merge(2)).await;
    f.run("COMMIT").await;
    assert_eq!(f.values("SELECT name FROM t ORDER BY id").await, ["x", "x"]);
    f.run("START TRANSACTION").await;
    f.run(&merge(1)).await;
    other.run(&merge(1)).await;
    assert_eq!(f.refused("COMMIT").await.0, ErrorKind::Conflict);
    f.check().await;
}

#[tokio::test]
async fn a_small_source_is_kept_whole_and_the_target_is_not_dealt_out() {
    let f = Fixture::with_table().await;
    f.run("INSERT INTO t SELECT value, repeat('x', 20) FROM generate_series(1, 400000)")
        .await;
    f.create("s", &crate::fixture::id_and_name()).await;
    f.run("INSERT INTO s SELECT value * 20, md5(value::text) || md5((value + 1)::text) FROM generate_series(1, 40000)")
        .await;
    let merge = "MERGE INTO t USING s ON t.id = s.id
        WHEN MATCHED THEN UPDATE SET name = s.name
        WHEN NOT MATCHED THEN INSERT VALUES (s.id, s.name)";
    let plan = f.plan(merge).await;
    assert!(plan.contains("mode=CollectLeft, join_type=Left"), "{plan}");
    assert_eq!(f.written(merge).await, 40000);
    assert_eq!(f.value("SELECT count(*) FROM t").await, "420000");
    assert_eq!(
        f.value("SELECT count(*) FROM t WHERE length(name) = 64")
            .await,
        "40000"
    );
    f.check().await;
}
