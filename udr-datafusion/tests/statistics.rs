//! Aggregates come from metadata where it is exact, and from the rows where it is not.

use arrow::datatypes::{DataType, Field, Schema};

use udr_core::ErrorKind;

use crate::fixture::Fixture;

async fn numbers() -> Fixture {
    let f = Fixture::new().await;
    let schema = Schema::new(vec![
        Field::new("i", DataType::Int32, true),
        Field::new("x", DataType::Float64, true),
        Field::new("s", DataType::Utf8, true),
    ]);
    f.create("n", &schema).await;
    f
}

/// Whether a query is answered without reading data files.
async fn from_metadata(f: &Fixture, sql: &str) -> bool {
    !f.plan(sql).await.contains("DataSourceExec")
}

#[tokio::test]
async fn exact_aggregates_are_answered_from_metadata_after_appends() {
    let f = numbers().await;
    f.run("INSERT INTO n VALUES (5, 0.5, 'b'), (NULL, NULL, NULL)")
        .await;
    f.run("INSERT INTO n VALUES (-3, 2.5, 'a'), (7, -1.5, 'c')")
        .await;
    f.run("INSERT INTO n VALUES (NULL, NULL, NULL)").await;
    for (sql, expected) in [
        ("SELECT count(*) FROM n", "5"),
        ("SELECT count(i) FROM n", "3"),
        ("SELECT min(i) FROM n", "-3"),
        ("SELECT max(i) FROM n", "7"),
        ("SELECT min(x) FROM n", "-1.5"),
        ("SELECT max(x) FROM n", "2.5"),
        ("SELECT min(s) FROM n", "a"),
        ("SELECT max(s) FROM n", "c"),
        ("SELECT sum(i) FROM n", "9"),
    ] {
        assert!(from_metadata(&f, sql).await, "{sql} reads data files");
        assert_eq!(f.value(sql).await, expected, "{sql}");
    }
    assert_eq!(f.value("SELECT count(*) FROM n WHERE i > 0").await, "2");
    assert_eq!(
        f.value("SELECT count(*) FROM (SELECT * FROM n LIMIT 2)")
            .await,
        "2"
    );
    assert_eq!(
        f.value("SELECT count(*) FROM (SELECT * FROM n LIMIT 2 OFFSET 4)")
            .await,
        "1"
    );
}

#[tokio::test]
async fn sums_are_answered_from_metadata_where_they_are_facts() {
    let f = Fixture::new().await;
    f.udr(
        "CREATE TABLE t (i INT, l BIGINT, u BIGINT UNSIGNED, d DECIMAL(20, 2), x DOUBLE, day DATE)",
    )
    .await;
    f.udr("INSERT INTO t VALUES (1, 2, 3, 4.25, 5, '2026-01-01'), (NULL, NULL, NULL, NULL, NULL, NULL)")
        .await;
    f.udr("INSERT INTO t VALUES (-7, 9000000000, 18446744073709551612, -0.5, 0.1, '2026-01-02')")
        .await;
    for (sum, expected) in [
        ("sum(i)", "-6"),
        ("sum(l)", "9000000002"),
        ("sum(u)", "18446744073709551615"),
        ("sum(d)", "3.75"),
        ("sum(d), count(*)", "3.75|3"),
    ] {
        let sql = format!("SELECT {sum} FROM t");
        assert!(from_metadata(&f, &sql).await, "{sql} reads data files");
        assert_eq!(f.udr(&sql).await, [expected], "{sql}");
    }
    let types = "SELECT arrow_typeof(sum(i)), arrow_typeof(sum(u)), arrow_typeof(sum(d)) FROM t";
    assert_eq!(f.udr(types).await, ["Int64|UInt64|Decimal128(30, 2)"]);
    for (sql, expected) in [
        ("SELECT sum(x) FROM t", "5.1"),
        ("SELECT sum(DISTINCT i) FROM t", "-6"),
        ("SELECT sum(i) FROM t WHERE i > 0", "1"),
        ("SELECT sum(i * 2) FROM t", "-12"),
        ("SELECT sum(i) FILTER (WHERE l > 5) FROM t", "-7"),
        (
            "SELECT sum(i) FROM (SELECT * FROM t ORDER BY i LIMIT 1)",
            "-7",
        ),
    ] {
        assert!(!from_metadata(&f, sql).await, "{sql}");
        assert_eq!(f.udr(sql).await, [expected], "{sql}");
    }
    // Beyond 64 bits the engine decides what comes out, as it does for rows in memory.
    f.udr("INSERT INTO t (l, u) VALUES (9223372036854775807, 1)")
        .await;
    for sum in ["sum(l)", "sum(u)"] {
        assert!(!from_metadata(&f, &format!("SELECT {sum} FROM t")).await);
    }
    // Once a row is deleted, nobody knows.
    f.udr("DELETE FROM t WHERE i = 1").await;
    assert!(!from_metadata(&f, "SELECT sum(i) FROM t").await);
    assert_eq!(f.udr("SELECT sum(i), sum(d) FROM t").await, ["-7|-0.50"]);
    // Of a column that files lack it is known, too.
    f.udr("CREATE TABLE e (i INT)").await;
    f.udr("INSERT INTO e VALUES (1), (2)").await;
    let then = f.version().await;
    f.udr("ALTER TABLE e ADD COLUMN a INT DEFAULT 7").await;
    f.udr("ALTER TABLE e ADD COLUMN b INT").await;
    f.udr("ALTER TABLE e ALTER COLUMN i SET DATA TYPE BIGINT")
        .await;
    assert_eq!(f.udr("SELECT sum(b) FROM e").await, [""]);
    f.udr("INSERT INTO e VALUES (3000000000, 1, 5)").await;
    for (sql, expected) in [
        ("SELECT sum(a) FROM e", "15"),
        ("SELECT sum(b) FROM e", "5"),
        ("SELECT sum(i) FROM e", "3000000003"),
    ] {
        assert!(from_metadata(&f, sql).await, "{sql} reads data files");
        assert_eq!(f.udr(sql).await, [expected], "{sql}");
    }
    // Of no rows there is none, nor of rows that are joined.
    f.udr("CREATE TABLE nothing (i BIGINT)").await;
    assert_eq!(f.udr("SELECT sum(i) FROM nothing").await, [""]);
    assert_eq!(f.udr("SELECT sum(i) FROM e AS x").await, ["3000000003"]);
    let sql = format!("SELECT sum(i) + 1 FROM \"e@{then}\"");
    assert!(from_metadata(&f, &sql).await);
    assert_eq!(f.udr(&sql).await, ["4"]);
    f.check().await;
}

/// The engine would answer these with the sums of a table's columns, if it knew them.
#[tokio::test]
async fn sums_are_those_of_the_rows_that_are_added() {
    let f = Fixture::new().await;
    f.udr("CREATE TABLE a (k BIGINT NOT NULL, i BIGINT)").await;
    f.udr("INSERT INTO a VALUES (1, 10), (2, 20), (3, NULL)")
        .await;
    f.udr("CREATE TABLE b (k BIGINT NOT NULL)").await;
    f.udr("INSERT INTO b VALUES (1), (1), (4)").await;
    f.udr("CREATE TABLE e (k BIGINT NOT NULL)").await;
    for (sql, expected) in [
        ("SELECT sum(i) FROM a", "30"),
        ("SELECT sum(a.i) FROM a JOIN b ON a.k = b.k", "20"),
        ("SELECT sum(a.i) FROM a LEFT JOIN b ON a.k = b.k", "40"),
        ("SELECT sum(a.i) FROM a FULL JOIN b ON a.k = b.k", "40"),
        ("SELECT sum(a.i) FROM a JOIN a AS o ON a.i = o.i", "30"),
        ("SELECT sum(a.i) FROM a, b", "90"),
        ("SELECT sum(a.i) FROM a, e", ""),
        ("SELECT sum(a.i) FROM a JOIN e ON a.k = e.k", ""),
        (
            "SELECT sum(a.i) FROM a WHERE EXISTS (SELECT 1 FROM b WHERE b.k = a.k)",
            "10",
        ),
        (
            "SELECT sum(i) FROM (SELECT i FROM a UNION ALL SELECT i FROM a)",
            "60",
        ),
        ("SELECT sum(i) FROM a WHERE k = 3", ""),
    ] {
        assert_eq!(f.udr(sql).await, [expected], "{sql}");
    }
    let stored = f.udr("SELECT columns FROM a$files").await;
    assert!(stored[0].contains(r#""sum":"30""#), "{stored:?}");
}

#[tokio::test]
async fn a_transaction_counts_its_own_rows() {
    let f = numbers().await;
    f.run("INSERT INTO n VALUES (1, 1.0, 'a')").await;
    f.run("START TRANSACTION").await;
    f.run("INSERT INTO n VALUES (9, 2.0, 'z')").await;
    assert_eq!(f.value("SELECT count(*) FROM n").await, "2");
    assert_eq!(f.value("SELECT max(i) FROM n").await, "9");
    f.run("INSERT OVERWRITE n VALUES (4, 4.0, 'm')").await;
    assert_eq!(f.value("SELECT count(*) FROM n").await, "1");
    assert_eq!(f.value("SELECT max(i) FROM n").await, "4");
    f.run("ROLLBACK").await;
    assert_eq!(f.value("SELECT max(i) FROM n").await, "1");
}

#[tokio::test]
async fn a_column_with_nan_is_read() {
    let f = numbers().await;
    f.run("INSERT INTO n VALUES (1, 1.0, 'a'), (2, 'NaN'::double, 'b')")
        .await;
    assert!(!from_metadata(&f, "SELECT max(x) FROM n").await);
    assert_eq!(f.value("SELECT max(x) FROM n").await, "NaN");
    assert_eq!(f.value("SELECT min(x) FROM n").await, "1.0");
    assert_eq!(f.value("SELECT count(*) FROM n WHERE x > 100").await, "1");
    f.run("INSERT INTO n VALUES (3, 5.0, 'c')").await;
    assert_eq!(f.value("SELECT max(x) FROM n").await, "NaN");
    assert_eq!(f.value("SELECT count(*) FROM n WHERE x > 4").await, "2");
}

#[tokio::test]
async fn zeros_of_both_signs_are_told_apart_as_the_rows_do() {
    let f = numbers().await;
    f.run("INSERT INTO n VALUES (1, -0.0::double, 'a')").await;
    f.run("INSERT INTO n VALUES (2, 0.0::double, 'b')").await;
    for comparison in [
        "x = 0.0",
        "x = -0.0",
        "x >= 0.0",
        "x <= -0.0",
        "x < 0.0",
        "x > -0.0",
    ] {
        let pruned = f
            .value(&format!("SELECT count(*) FROM n WHERE {comparison}"))
            .await;
        let every = format!("SELECT count(*) FILTER (WHERE {comparison}) FROM n");
        assert_eq!(pruned, f.value(&every).await, "{comparison}");
    }
}

#[tokio::test]
async fn a_truncated_string_bound_is_no_minimum_and_no_maximum() {
    let f = numbers().await;
    let (low, high) = ("a".repeat(300), "z".repeat(300));
    f.run(&format!(
        "INSERT INTO n VALUES (1, 1.0, '{low}x'), (2, 2.0, '{high}y')"
    ))
    .await;
    assert_eq!(f.value("SELECT min(s) FROM n").await, format!("{low}x"));
    assert_eq!(f.value("SELECT max(s) FROM n").await, format!("{high}y"));
    let equal = format!("SELECT i FROM n WHERE s = '{high}y'");
    assert_eq!(f.values(&equal).await, ["2"]);
    // A shorter value inside the truncated bounds, and one beyond them.
    f.run("INSERT INTO n VALUES (3, 3.0, 'm')").await;
    assert_eq!(f.value("SELECT max(s) FROM n").await, format!("{high}y"));
    assert_eq!(f.value("SELECT count(*) FROM n WHERE s > 'y'").await, "1");
}

#[tokio::test]
async fn a_constant_column_is_not_confused_with_its_nulls() {
    let f = numbers().await;
    f.run("INSERT INTO n VALUES (1, 1.0, 'a'), (1, NULL, NULL)")
        .await;
    f.run("INSERT INTO n VALUES (NULL, NULL, NULL)").await;
    let shown = f
        .values("SELECT concat_ws('/', i, x, s) FROM n ORDER BY i, x, s")
        .await;
    assert_eq!(shown, ["1/1.0/a", "1", ""]);
    assert_eq!(f.value("SELECT count(*) FROM n WHERE s IS NULL").await, "2");
    assert_eq!(
        f.value("SELECT count(*) FROM n WHERE i IS NOT NULL").await,
        "2"
    );
}

#[tokio::test]
async fn an_empty_table_has_no_minimum() {
    let f = numbers().await;
    assert_eq!(f.value("SELECT count(*) FROM n").await, "0");
    assert_eq!(f.value("SELECT min(i) FROM n").await, "");
    f.run("INSERT INTO n VALUES (NULL, NULL, NULL)").await;
    assert_eq!(f.value("SELECT max(s) FROM n").await, "");
}

#[tokio::test]
async fn values_are_counted_on_request() {
    let f = Fixture::new().await;
    f.udr("CREATE TABLE t (id BIGINT, kind VARCHAR, price DECIMAL(9, 2), x DOUBLE, l BIGINT[])")
        .await;
    f.udr("INSERT INTO t SELECT v, 'k' || (v % 7), v % 11 AS m, v AS x, [v] FROM generate_series(1, 1000) AS g(v)")
        .await;
    let counted = f.udr("ANALYZE TABLE t").await;
    assert_eq!(counted.len(), 3, "{counted:?}");
    let about = |line: &str, name: &str, exact: f64| {
        let (column, count) = line.split_once('|').unwrap();
        let count = count.parse::<f64>().unwrap();
        assert_eq!(column, name);
        assert!((count / exact - 1.0).abs() < 0.05, "{line}");
    };
    about(&counted[0], "id", 1000.0);
    about(&counted[1], "kind", 7.0);
    about(&counted[2], "price", 11.0);
    let version = f.version().await;
    // What was counted is no fact.
    f.udr("INSERT INTO t (id, kind) VALUES (5000, 'new')").await;
    f.udr("ALTER TABLE t RENAME COLUMN kind TO sort").await;
    assert_eq!(
        f.udr("SELECT count(DISTINCT id), count(DISTINCT sort) FROM t")
            .await,
        ["1001|8"]
    );
    f.udr("SET datafusion.explain.show_statistics = true").await;
    let plan = f.udr("EXPLAIN SELECT sort FROM t").await.join("\n");
    assert!(plan.contains("Distinct=Inexact(7)"), "{plan}");
    let before = format!("EXPLAIN SELECT kind FROM t VERSION AS OF {}", version - 1);
    let plan = f.udr(&before).await.join("\n");
    assert!(!plan.contains("Distinct="), "{plan}");
    f.udr("ANALYZE TABLE public.t COMPUTE STATISTICS FOR COLUMNS sort")
        .await;
    assert_eq!(
        f.udr("SELECT distinct_values FROM t$columns WHERE column_name = 'sort'")
            .await,
        ["8"]
    );
    for (sql, kind) in [
        ("ANALYZE TABLE nowhere", ErrorKind::NotFound),
        ("ANALYZE TABLE t (nothing)", ErrorKind::NotFound),
        ("ANALYZE TABLE t (x)", ErrorKind::Unsupported),
        ("ANALYZE TABLE \"t@1\"", ErrorKind::Invalid),
    ] {
        assert_eq!(f.udr_refused(sql).await.0, kind, "{sql}");
    }
    f.check().await;
}
