//! Filters leave out files, never rows.

use arrow::datatypes::{DataType, Field, Schema, TimeUnit};

use crate::fixture::Fixture;

/// Ten files of ten rows with ascending ids.
async fn ten_files() -> Fixture {
    let f = Fixture::with_table().await;
    for file in 0..10 {
        let (first, last) = (file * 10, file * 10 + 9);
        f.run(&format!(
            "INSERT INTO t SELECT value, 'n' || lpad(value::text, 3, '0')
             FROM generate_series({first}, {last})"
        ))
        .await;
    }
    f
}

/// How many data files a query opens.
async fn files_read(f: &Fixture, sql: &str) -> usize {
    f.run("SET datafusion.explain.format = 'indent'").await;
    f.plan(sql).await.matches(".parquet").count()
}

#[tokio::test]
async fn only_files_that_can_match_are_read() {
    let f = ten_files().await;
    let files = f
        .value("SELECT count(*) FROM t$files")
        .await
        .parse::<usize>()
        .unwrap();
    assert!(files >= 10, "{files}");
    assert_eq!(files_read(&f, "SELECT * FROM t").await, files);
    for (filter, rows) in [
        ("id = 42", 1),
        ("id IN (3, 97)", 2),
        ("id > 94", 5),
        ("id BETWEEN 18 AND 21", 4),
        ("id = 42 OR id = 58", 2),
        ("name = 'n042'", 1),
        ("name LIKE 'n09%'", 10),
        ("id + 1 = 43", 1),
        ("id = 1 AND name = 'n090'", 0),
        ("id > 1000", 0),
        ("name IS NULL", 0),
    ] {
        let sql = format!("SELECT id FROM t WHERE {filter}");
        assert_eq!(f.values(&sql).await.len(), rows, "{filter}");
    }
    let few = files / 10;
    assert_eq!(files_read(&f, "SELECT id FROM t WHERE id = 42").await, few);
    assert_eq!(
        files_read(&f, "SELECT name FROM t WHERE id IN (3, 97)").await,
        2 * few
    );
    assert_eq!(
        files_read(&f, "SELECT id FROM t WHERE name = 'n042'").await,
        few
    );
    assert_eq!(files_read(&f, "SELECT id FROM t WHERE id > 1000").await, 0);
    assert_eq!(
        files_read(&f, "SELECT id FROM t WHERE name IS NULL").await,
        0
    );
    f.check().await;
}

#[tokio::test]
async fn a_limit_reads_no_more_files_than_it_needs() {
    let f = ten_files().await;
    assert!(files_read(&f, "SELECT id FROM t LIMIT 15").await <= 8);
    assert_eq!(f.values("SELECT id FROM t LIMIT 15").await.len(), 15);
    assert_eq!(
        f.values("SELECT id FROM t WHERE id > 94 LIMIT 15")
            .await
            .len(),
        5
    );
    assert_eq!(
        f.values("SELECT id FROM t ORDER BY id DESC LIMIT 2").await,
        ["99", "98"]
    );
}

#[tokio::test]
async fn files_of_a_transaction_are_left_out_too() {
    let f = ten_files().await;
    f.run("START TRANSACTION").await;
    f.run("INSERT INTO t VALUES (500, 'new')").await;
    assert_eq!(files_read(&f, "SELECT id FROM t WHERE id = 500").await, 1);
    assert_eq!(
        f.values("SELECT id FROM t WHERE id >= 99 ORDER BY id")
            .await,
        ["99", "500"]
    );
    f.run("ROLLBACK").await;
    assert_eq!(files_read(&f, "SELECT id FROM t WHERE id = 500").await, 0);
}

#[tokio::test]
async fn every_type_is_pruned_as_its_rows_compare() {
    let f = Fixture::new().await;
    let zone = Some("Europe/Berlin".into());
    let schema = Schema::new(vec![
        Field::new("k", DataType::Int64, false),
        Field::new("b", DataType::Boolean, true),
        Field::new("u", DataType::UInt64, true),
        Field::new("f", DataType::Float32, true),
        Field::new("d", DataType::Decimal128(12, 2), true),
        Field::new("day", DataType::Date32, true),
        Field::new("ts", DataType::Timestamp(TimeUnit::Microsecond, zone), true),
        Field::new("bin", DataType::Binary, true),
    ]);
    f.create("x", &schema).await;
    for k in 0..4 {
        f.run(&format!(
            "INSERT INTO x SELECT {k}, {k} > 1, {k} * 4611686018427387904::bigint unsigned, {k}.5,
             {k}.25, DATE '2026-01-01' + INTERVAL '{k} days',
             TIMESTAMP '2026-01-01T00:00:00Z' + INTERVAL '{k} hours', X'0{k}'"
        ))
        .await;
    }
    for filter in [
        "b",
        "NOT b",
        "u > 9223372036854775807",
        "f < 1.0",
        "d = 2.25",
        "d > 1.3",
        "day >= DATE '2026-01-03'",
        "ts < '2026-01-01T02:00:00Z'",
        "bin = X'02'",
        "k % 2 = 1",
        "b IS NULL",
    ] {
        let pruned = f
            .values(&format!("SELECT k FROM x WHERE {filter} ORDER BY k"))
            .await;
        let all = format!(
            "SELECT k FROM (SELECT k, ({filter}) AS keep FROM x ORDER BY random()) WHERE keep ORDER BY k"
        );
        let every = f
            .run(&all)
            .await
            .iter()
            .map(|b| b.num_rows())
            .sum::<usize>();
        assert_eq!(pruned.len(), every, "{filter}: {pruned:?}");
    }
    f.check().await;
}
