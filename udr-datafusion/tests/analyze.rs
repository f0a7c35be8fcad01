//! ANALYZE TABLE again: what was counted stays counted, as long as it is of use.

use std::collections::BTreeMap;
use std::sync::Arc;

use object_store::ObjectStoreExt as _;
use object_store::memory::InMemory;
use object_store::path::Path;
use udr_core::ErrorKind;
use udr_core::format::{ColumnSketch, Sketch, Sketches, Type};
use udr_core::id::FieldId;
use udr_core::maintenance::FsckOptions;
use udr_core::txn::Alteration;

use crate::damage::{objects, session};
use crate::fixture::{Fixture, path};

/// A table whose `few` has a value of its own in each of the first 80 of 1,000 rows: which rows were
/// counted shows in how many values it has.
async fn table() -> Fixture {
    let f = Fixture::new().await;
    f.udr("CREATE TABLE t (id INT, few INT, day DATE)").await;
    f.udr("INSERT INTO t SELECT v, CASE WHEN v <= 80 THEN v ELSE 0 END, DATE '2026-01-01' FROM generate_series(1, 1000) AS g(v)")
        .await;
    f
}

/// How many values ANALYZE counts in a column.
async fn counted(f: &Fixture, column: &str) -> u64 {
    let lines = f.udr(&format!("ANALYZE TABLE t ({column})")).await;
    let (name, count) = lines[0].split_once('|').unwrap();
    assert_eq!((lines.len(), name), (1, column));
    count.parse().unwrap()
}

/// The sketches of `t`, by column.
async fn sketches(f: &Fixture) -> BTreeMap<FieldId, ColumnSketch> {
    let snapshot = f.session.snapshot().await.unwrap();
    let table = snapshot.table(&path("t")).await.unwrap();
    let found = table.sketches().await.unwrap();
    found.map_or_else(BTreeMap::new, |found| found.columns.clone())
}

async fn rows(f: &Fixture, column: i32) -> u64 {
    sketches(f).await[&FieldId(column)].rows
}

#[tokio::test]
async fn values_of_rows_that_are_gone_stay_counted_until_a_tenth_is() {
    let f = table().await;
    assert_eq!(counted(&f, "few").await, 81);
    f.udr("DELETE FROM t WHERE id <= 40").await;
    f.udr("INSERT INTO t VALUES (2000, 2000, NULL), (2001, NULL, NULL)")
        .await;
    assert_eq!(counted(&f, "few").await, 82);
    assert_eq!(rows(&f, 2).await, 1002);
    // Of 1,002 rows that were counted, 902 are left, then 901.
    f.udr("DELETE FROM t WHERE id BETWEEN 901 AND 960").await;
    assert_eq!(counted(&f, "few").await, 82);
    f.udr("DELETE FROM t WHERE id = 961").await;
    assert_eq!(counted(&f, "few").await, 42);
    assert_eq!(rows(&f, 2).await, 901);
    f.check().await;
}

#[tokio::test]
async fn rows_that_are_updated_are_counted_again() {
    let f = table().await;
    assert_eq!(counted(&f, "few").await, 81);
    f.udr("UPDATE t SET few = few + 1000 WHERE id <= 30").await;
    assert_eq!(counted(&f, "few").await, 111);
    f.udr("UPDATE t SET few = few + 1000 WHERE id <= 200").await;
    let exact = f.udr("SELECT count(DISTINCT few) FROM t").await;
    assert_eq!(counted(&f, "few").await.to_string(), exact[0]);
    f.check().await;
}

#[tokio::test]
async fn a_table_that_is_overwritten_is_counted_anew() {
    let f = table().await;
    assert_eq!(counted(&f, "few").await, 81);
    f.udr("INSERT OVERWRITE t SELECT id, 5, day FROM t WHERE id < 100")
        .await;
    assert!(sketches(&f).await.is_empty());
    assert_eq!(counted(&f, "few").await, 1);
    f.udr("TRUNCATE TABLE t").await;
    assert_eq!(counted(&f, "few").await, 0);
    f.udr("INSERT INTO t VALUES (1, 1, NULL)").await;
    assert_eq!(counted(&f, "few").await, 1);
    f.check().await;
}

#[tokio::test]
async fn columns_are_counted_from_where_each_was_counted_up_to() {
    let f = table().await;
    assert_eq!(counted(&f, "few").await, 81);
    f.udr("DELETE FROM t WHERE id <= 10").await;
    f.udr("INSERT INTO t VALUES (1, 2000, DATE '2026-01-02')")
        .await;
    // The days of all rows, and of `few` those of the new one.
    let days = f.udr("ANALYZE TABLE t (day, few)").await;
    assert_eq!(days, ["day|2", "few|82"]);
    assert_eq!((rows(&f, 3).await, rows(&f, 2).await), (991, 1001));
    f.udr("INSERT INTO t VALUES (2, 3000, DATE '2026-01-03')")
        .await;
    assert_eq!(counted(&f, "day").await, 3);
    assert_eq!(rows(&f, 2).await, 1001, "the other column is as it was");
    assert_eq!(counted(&f, "few").await, 83);
    f.udr("ALTER TABLE t DROP COLUMN day").await;
    f.udr("ALTER TABLE t ADD COLUMN day INT DEFAULT 4").await;
    assert_eq!(f.udr("ANALYZE TABLE t").await.len(), 3);
    let columns = sketches(&f).await.into_keys().collect::<Vec<_>>();
    assert_eq!(columns, [FieldId(1), FieldId(2), FieldId(4)]);
    assert_eq!(counted(&f, "day").await, 1);
    f.check().await;
}

#[tokio::test]
async fn a_table_that_did_not_change_is_not_read() {
    let f = table().await;
    f.udr("ANALYZE TABLE t").await;
    f.udr("DELETE FROM t WHERE id <= 80").await;
    let lines = f.udr("ANALYZE TABLE t").await;
    assert_eq!(lines[1..], ["few|81", "day|1"]);
}

#[tokio::test]
async fn numbers_are_the_same_values_in_a_longer_type_and_dates_are_not_in_timestamps() {
    let f = table().await;
    assert_eq!(
        f.udr("ANALYZE TABLE t (few, day)").await,
        ["few|81", "day|1"]
    );
    f.udr("DELETE FROM t WHERE id <= 20").await;
    f.udr("ALTER TABLE t ALTER COLUMN few TYPE BIGINT").await;
    f.udr("ALTER TABLE t ALTER COLUMN day TYPE TIMESTAMP").await;
    f.udr("INSERT INTO t VALUES (1, 50, TIMESTAMP '2026-01-01 00:00:00')")
        .await;
    let lines = f.udr("ANALYZE TABLE t (few, day)").await;
    assert_eq!(lines, ["few|81", "day|1"]);
    // Only the days were counted over all rows.
    assert_eq!((rows(&f, 2).await, rows(&f, 3).await), (1001, 981));
    f.check().await;
}

#[tokio::test]
async fn rows_that_nobody_published_are_counted_and_not_kept() {
    let f = table().await;
    assert_eq!(counted(&f, "few").await, 81);
    let before = sketches(&f).await;
    f.udr("BEGIN").await;
    f.udr("DELETE FROM t WHERE id <= 10").await;
    f.udr("INSERT INTO t VALUES (1, 2000, NULL)").await;
    assert_eq!(counted(&f, "few").await, 72);
    assert_eq!(sketches(&f).await, before);
    f.udr("COMMIT").await;
    let shown = "SELECT distinct_values FROM t$columns WHERE column_name = 'few'";
    assert_eq!(f.udr(shown).await, ["72"]);
    assert_eq!(counted(&f, "few").await, 82);
    f.udr("CREATE TABLE other (a INT)").await;
    f.udr("BEGIN").await;
    f.udr("CREATE TABLE own (a INT)").await;
    f.udr("INSERT INTO own VALUES (1), (2)").await;
    assert_eq!(f.udr("ANALYZE TABLE own").await, ["a|2"]);
    f.udr("COMMIT").await;
    assert_eq!(f.udr("ANALYZE TABLE own").await, ["a|2"]);
    // The sketches of two tables can be the same bytes.
    f.udr("TRUNCATE TABLE own").await;
    f.udr("BEGIN").await;
    assert_eq!(f.udr("ANALYZE TABLE own").await, ["a|0"]);
    assert_eq!(f.udr("ANALYZE TABLE other").await, ["a|0"]);
    f.udr("COMMIT").await;
    f.check().await;
}

#[tokio::test]
async fn what_others_added_meanwhile_is_counted_the_next_time() {
    let f = table().await;
    let other = f.other().await;
    f.udr("BEGIN").await;
    assert_eq!(counted(&f, "few").await, 81);
    other.udr("INSERT INTO t VALUES (1, 2000, NULL)").await;
    f.udr("INSERT INTO t VALUES (2, 2001, NULL)").await;
    f.udr("COMMIT").await;
    assert_eq!(rows(&f, 2).await, 1000);
    f.udr("DELETE FROM t WHERE id <= 2").await;
    f.udr("INSERT INTO t VALUES (3, 2002, NULL)").await;
    assert_eq!(counted(&other, "few").await, 82);
    f.udr("BEGIN").await;
    f.udr("DELETE FROM t WHERE id = 3").await;
    f.udr("ROLLBACK").await;
    assert_eq!(counted(&f, "few").await, 82);
    f.check().await;
}

#[tokio::test]
async fn a_damaged_sketch_is_an_error_of_analyze_and_of_nothing_else() {
    let backend = Arc::new(InMemory::new());
    let f = session(&backend).await;
    f.udr("CREATE TABLE t (id INT, few INT)").await;
    f.udr("INSERT INTO t VALUES (1, 1), (2, 2)").await;
    assert_eq!(counted(&f, "few").await, 2);
    let mut damaged = Vec::<Path>::new();
    for path in objects(&backend).await {
        let bytes = backend.get(&path).await.unwrap().bytes().await.unwrap();
        if bytes.starts_with(b"{\"udr\":\"sketches\"") {
            let mut bytes = bytes.to_vec();
            let at = bytes.len() / 2;
            bytes[at] ^= 1;
            backend.put(&path, bytes.into()).await.unwrap();
            damaged.push(path);
        }
    }
    assert_eq!(damaged.len(), 1, "sketches are an object of their own");
    let f = session(&backend).await;
    assert_eq!(f.udr("SELECT sum(few) FROM t").await, ["3"]);
    f.udr("INSERT INTO t VALUES (3, 3)").await;
    f.udr("UPDATE t SET few = 4 WHERE id = 3").await;
    let (kind, text) = f.udr_refused("ANALYZE TABLE t").await;
    assert_eq!(kind, ErrorKind::Corrupt, "{text}");
    assert_eq!(f.udr("SELECT sum(few) FROM t").await, ["7"]);
    let report = f.session.repository().fsck(FsckOptions::Metadata).await;
    let problems = report.unwrap().problems;
    assert_eq!(problems.len(), 1, "{problems:?}");
    assert_eq!(problems[0].invariant, 4);
    f.udr("TRUNCATE TABLE t").await;
    assert_eq!(counted(&f, "few").await, 0);
}

#[tokio::test]
async fn sketches_of_columns_that_a_table_never_had_are_refused() {
    let f = table().await;
    let column = ColumnSketch::new(Type::Int32, 1, 0, &Sketch::new());
    let columns = BTreeMap::from([(FieldId(9), column)]);
    let sketches = Alteration::SetSketches(Arc::new(Sketches { columns }));
    let refused = f
        .session
        .write(async move |transaction| transaction.alter_table(&path("t"), vec![sketches]).await)
        .await;
    assert_eq!(refused.unwrap_err().kind(), ErrorKind::Invalid);
}
