//! UPDATE gives rows other values, and changes nothing else.

use udr_core::ErrorKind;

use crate::every_way::Case;
use crate::fixture::Fixture;

const ROWS: Case<'static> = Case {
    setup: &[
        "CREATE TABLE t (id BIGINT NOT NULL, small SMALLINT, name TEXT)",
        "INSERT INTO t VALUES (1, 10, 'a'), (2, 20, 'b'), (3, NULL, NULL)",
        "INSERT INTO t VALUES (4, 40, 'd')",
        "CREATE TABLE u (id BIGINT, name TEXT)",
        "INSERT INTO u VALUES (1, 'one'), (2, NULL), (9, 'nine'), (NULL, 'none')",
    ],
    ask: "SELECT concat_ws('/', id, coalesce(small::text, '-'), coalesce(name, '-')) FROM t ORDER BY id",
};

#[tokio::test]
async fn values_and_expressions_are_set_where_the_predicate_says() {
    ROWS.changes(
        "UPDATE t SET name = 'x' WHERE id >= 3",
        2,
        &["1/10/a", "2/20/b", "3/-/x", "4/40/x"],
    )
    .await;
    ROWS.changes(
        "UPDATE t SET small = small + 1, name = concat(name, small) WHERE id <> 2",
        3,
        &["1/11/a10", "2/20/b", "3/-/", "4/41/d40"],
    )
    .await;
    ROWS.changes(
        "UPDATE t SET id = id + 100",
        4,
        &["101/10/a", "102/20/b", "103/-/-", "104/40/d"],
    )
    .await;
    ROWS.changes(
        "UPDATE t SET small = NULL WHERE id = 1",
        1,
        &["1/-/a", "2/20/b", "3/-/-", "4/40/d"],
    )
    .await;
}

#[tokio::test]
async fn assignments_see_the_values_from_before() {
    ROWS.changes(
        "UPDATE t SET id = small, small = id WHERE id < 3",
        2,
        &["3/-/-", "4/40/d", "10/1/a", "20/2/b"],
    )
    .await;
    ROWS.changes(
        "UPDATE t SET small = length(concat(name, 'zz')), name = concat(name, 'zz') WHERE id = 1",
        1,
        &["1/3/azz", "2/20/b", "3/-/-", "4/40/d"],
    )
    .await;
}

#[tokio::test]
async fn no_row_is_changed_without_a_match() {
    let all = &["1/10/a", "2/20/b", "3/-/-", "4/40/d"];
    for predicate in ["false", "NULL", "id = 77", "small > 20 AND small < 20"] {
        ROWS.changes(
            &format!("UPDATE t SET name = 'x' WHERE {predicate}"),
            0,
            all,
        )
        .await;
    }
}

#[tokio::test]
async fn a_subquery_gives_values() {
    ROWS.changes(
        "UPDATE t SET name = (SELECT max(u.name) FROM u WHERE u.id = t.id) WHERE id < 4",
        3,
        &["1/10/one", "2/20/-", "3/-/-", "4/40/d"],
    )
    .await;
    ROWS.changes(
        "UPDATE t SET small = (SELECT count(*) FROM u)",
        4,
        &["1/4/a", "2/4/b", "3/4/-", "4/4/d"],
    )
    .await;
    ROWS.changes(
        "UPDATE t SET small = (SELECT max(x.small) FROM t AS x) WHERE id = 3",
        1,
        &["1/10/a", "2/20/b", "3/40/-", "4/40/d"],
    )
    .await;
}

#[tokio::test]
async fn a_subquery_chooses_rows() {
    ROWS.changes(
        "UPDATE t SET name = 'x' WHERE id IN (SELECT id FROM u)",
        2,
        &["1/10/x", "2/20/x", "3/-/-", "4/40/d"],
    )
    .await;
    ROWS.changes(
        "UPDATE t SET name = 'x' WHERE id NOT IN (SELECT id FROM u)",
        0,
        &["1/10/a", "2/20/b", "3/-/-", "4/40/d"],
    )
    .await;
    ROWS.changes(
        "UPDATE t SET name = 'x' WHERE NOT EXISTS (SELECT 1 FROM u WHERE u.id = t.id)",
        2,
        &["1/10/a", "2/20/b", "3/-/x", "4/40/x"],
    )
    .await;
}

#[tokio::test]
async fn an_alias_stands_for_the_table() {
    ROWS.changes(
        "UPDATE t AS x SET name = concat(x.name, '!') WHERE x.id = 1",
        1,
        &["1/10/a!", "2/20/b", "3/-/-", "4/40/d"],
    )
    .await;
}

#[tokio::test]
async fn a_value_that_does_not_fit_is_an_error_that_names_the_column() {
    let named = &["does not fit", "small", "public.t"];
    // Prepared, it is refused when it is prepared, by the engine alone.
    ROWS.refuses("UPDATE t SET small = 70000", &["Int16"]).await;
    let f = Fixture::new().await;
    f.run("SELECT * FROM udr_call('CREATE TABLE t (small SMALLINT)')")
        .await;
    f.run("INSERT INTO t VALUES (1)").await;
    let (kind, text) = f.refused("UPDATE t SET small = 70000").await;
    assert_eq!(kind, ErrorKind::Invalid);
    assert!(named.iter().all(|part| text.contains(part)), "{text}");
    ROWS.refuses("UPDATE t SET small = id * 40000 WHERE id = 2", named)
        .await;
    ROWS.refuses("UPDATE t SET small = name", named).await;
    ROWS.refuses(
        "UPDATE t SET small = CASE WHEN id = 2 THEN 1e10 ELSE 1 END",
        named,
    )
    .await;
}

#[tokio::test]
async fn null_in_a_column_that_is_not_null_is_an_error_that_names_it() {
    ROWS.refuses("UPDATE t SET id = NULL WHERE id = 3", &["id", "public.t"])
        .await;
    ROWS.refuses("UPDATE t SET id = small", &["id", "public.t"])
        .await;
}

#[tokio::test]
async fn a_volatile_predicate_is_refused_and_a_volatile_value_is_not() {
    ROWS.refuses(
        "UPDATE t SET name = 'x' WHERE random() < 0.5",
        &["not the same each time"],
    )
    .await;
    let f = Fixture::with_table().await;
    f.run("INSERT INTO t VALUES (1, 'a'), (2, 'b')").await;
    assert_eq!(f.written("UPDATE t SET name = uuid()").await, 2);
    assert_eq!(
        f.value("SELECT count(DISTINCT name) FROM t WHERE length(name) = 36")
            .await,
        "2"
    );
}

#[tokio::test]
async fn rows_updated_again_and_again_stay_one_row_each() {
    let f = Fixture::with_table().await;
    f.run("INSERT INTO t SELECT value, '0' FROM generate_series(1, 5000)")
        .await;
    for round in 1..=4 {
        let sql = format!("UPDATE t SET name = '{round}' WHERE id % {} = 0", round + 1);
        f.run(&sql).await;
    }
    assert_eq!(f.value("SELECT count(*) FROM t").await, "5000");
    assert_eq!(f.value("SELECT count(DISTINCT id) FROM t").await, "5000");
    let expected = "SELECT count(*) FROM generate_series(1, 5000)
        WHERE value % 4 = 0 AND value % 5 <> 0";
    let expected = f.value(expected).await;
    assert_eq!(
        f.value("SELECT count(*) FROM t WHERE name = '3'").await,
        expected
    );
    f.check().await;
}

#[tokio::test]
async fn a_row_keeps_its_id_when_it_is_updated() {
    let f = Fixture::with_table().await;
    f.run("INSERT INTO t VALUES (1, 'a'), (2, 'b'), (3, 'c')")
        .await;
    let ids = f.values("SELECT _row_id FROM \"t$rows\" ORDER BY id").await;
    let added = f.version().await;
    f.run("UPDATE t SET name = 'x' WHERE id = 2").await;
    let once = f.version().await;
    f.run("UPDATE t SET name = 'y' WHERE id <> 1").await;
    assert_eq!(
        f.values("SELECT _row_id FROM \"t$rows\" ORDER BY id").await,
        ids
    );
    let versions = f
        .values("SELECT _commit_sequence FROM \"t$rows\" ORDER BY id")
        .await;
    let twice = (once + 1).to_string();
    assert_eq!(versions, [added.to_string(), twice.clone(), twice]);
    f.run("INSERT INTO t VALUES (4, 'd')").await;
    assert_eq!(
        f.value("SELECT count(DISTINCT _row_id) FROM \"t$rows\"")
            .await,
        "4"
    );
    let one = format!(
        "SELECT id FROM \"t$rows\" WHERE encode(_row_id, 'hex') = '{}'",
        ids[1]
    );
    assert_eq!(f.values(&one).await, ["2"]);
    f.check().await;
}

#[tokio::test]
async fn a_transaction_reads_its_own_updates_and_others_do_not() {
    let f = Fixture::with_table().await;
    f.run("INSERT INTO t VALUES (1, 'a'), (2, 'b')").await;
    f.run("START TRANSACTION").await;
    f.run("UPDATE t SET name = 'x' WHERE id = 1").await;
    f.run("INSERT INTO t VALUES (3, 'c')").await;
    f.run("UPDATE t SET name = concat(name, '+')").await;
    f.run("DELETE FROM t WHERE id = 2").await;
    let own = ["x+", "c+"];
    assert_eq!(f.values("SELECT name FROM t ORDER BY id").await, own);
    let other = f.other().await;
    assert_eq!(
        other.values("SELECT name FROM t ORDER BY id").await,
        ["a", "b"]
    );
    f.run("COMMIT").await;
    assert_eq!(other.values("SELECT name FROM t ORDER BY id").await, own);
    f.check().await;
}

#[tokio::test]
async fn a_failing_update_leaves_the_transaction_as_it_was() {
    let f = Fixture::with_table().await;
    f.run("INSERT INTO t VALUES (1, 'a'), (2, 'b')").await;
    f.run("START TRANSACTION").await;
    f.run("UPDATE t SET name = 'x' WHERE id = 1").await;
    let (kind, _) = f
        .refused("UPDATE t SET id = CASE WHEN id = 2 THEN NULL ELSE id END")
        .await;
    assert_eq!(kind, ErrorKind::Invalid);
    assert_eq!(f.values("SELECT name FROM t ORDER BY id").await, ["x", "b"]);
    f.run("COMMIT").await;
    assert_eq!(f.values("SELECT name FROM t ORDER BY id").await, ["x", "b"]);
    f.check().await;
}

#[tokio::test]
async fn two_transactions_that_update_one_row_conflict_and_different_rows_do_not() {
    let f = Fixture::with_table().await;
    f.run("INSERT INTO t VALUES (1, 'a'), (2, 'b'), (3, 'c')")
        .await;
    let other = f.other().await;
    f.run("START TRANSACTION").await;
    f.run("UPDATE t SET name = 'mine' WHERE id = 1").await;
    other.run("UPDATE t SET name = 'theirs' WHERE id = 2").await;
    f.run("COMMIT").await;
    assert_eq!(
        f.values("SELECT name FROM t ORDER BY id").await,
        ["mine", "theirs", "c"]
    );
    f.run("START TRANSACTION").await;
    f.run("UPDATE t SET name = 'mine' WHERE id = 3").await;
    other.run("DELETE FROM t WHERE id = 3").await;
    assert_eq!(f.refused("COMMIT").await.0, ErrorKind::Conflict);
    assert_eq!(
        f.values("SELECT name FROM t ORDER BY id").await,
        ["mine", "theirs"]
    );
    f.check().await;
}

#[tokio::test]
async fn the_filter_is_asked_before_other_columns_are_read() {
    let f = Fixture::with_table().await;
    f.run("INSERT INTO t VALUES (1, 'a'), (2, 'b')").await;
    let plan = f.plan("UPDATE t SET name = 'x' WHERE id = 1").await;
    assert!(!plan.contains("FilterExec"), "{plan}");
    assert!(plan.contains("predicate=id"), "{plan}");
}

#[tokio::test]
async fn every_type_survives_an_update_of_another_column() {
    let f = Fixture::new().await;
    f.run(
        "SELECT * FROM udr_call('CREATE TABLE w (id INT, d DECIMAL(12, 2), f DOUBLE, b BOOLEAN,
        day DATE, at TIMESTAMP, bin BYTEA, s TEXT, list BIGINT[])')",
    )
    .await;
    f.run(
        "INSERT INTO w
         SELECT 1, 1.50, 'NaN'::double, true, '2024-02-29', '2024-02-29T12:00:00', X'00ff', 'é', [1, NULL]",
    )
    .await;
    f.run("INSERT INTO w (id) VALUES (2)").await;
    let ask = "SELECT d, f, b, day, at, bin, s, list FROM w ORDER BY id";
    let before = f.shown(ask).await;
    f.run("UPDATE w SET id = id * 2").await;
    assert_eq!(f.shown(ask).await, before);
    f.run("MERGE INTO w USING (SELECT 2 AS id) AS s ON w.id = s.id WHEN MATCHED THEN UPDATE SET id = 1")
        .await;
    assert_eq!(f.shown(ask).await, before);
    f.check().await;
}

#[tokio::test]
async fn a_small_update_of_many_partitions_makes_one_file() {
    let f = Fixture::with_table().await;
    for part in 0..8 {
        let sql =
            format!("INSERT INTO t SELECT value * 8 + {part}, 'x' FROM generate_series(0, 99)");
        f.run(&sql).await;
    }
    let files = "SELECT count(*) FROM \"t$files\"";
    assert_eq!(f.value(files).await, "8");
    assert_eq!(
        f.written("UPDATE t SET name = 'y' WHERE id % 10 = 3").await,
        80
    );
    assert_eq!(f.value(files).await, "9");
    assert_eq!(
        f.value("SELECT count(*) FROM t WHERE name = 'y'").await,
        "80"
    );
    f.check().await;
}
