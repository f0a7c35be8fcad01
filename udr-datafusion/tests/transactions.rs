//! Transactions through plain SQL.

use std::sync::Arc;

use datafusion::physical_plan::ExecutionPlan;
use udr_core::ErrorKind;

use crate::fixture::{Fixture, id_and_name};

#[tokio::test]
async fn a_transaction_reads_its_own_writes_and_others_do_not() {
    let f = Fixture::with_table().await;
    f.create("u", &id_and_name()).await;
    let other = f.other().await;
    f.run("START TRANSACTION").await;
    f.run("INSERT INTO t VALUES (1, 'a')").await;
    f.run("INSERT INTO u SELECT id, 'from t' FROM t").await;
    assert_eq!(
        f.value("SELECT count(*) FROM t JOIN u USING (id)").await,
        "1"
    );
    assert_eq!(other.value("SELECT count(*) FROM t").await, "0");
    let before = f.version().await;
    f.run("COMMIT").await;
    assert_eq!(f.version().await, before + 1);
    assert_eq!(
        other
            .value("SELECT count(*) FROM t JOIN u USING (id)")
            .await,
        "1"
    );
    f.check().await;
}

#[tokio::test]
async fn a_transaction_reads_its_base_whatever_others_publish() {
    let f = Fixture::with_table().await;
    let other = f.other().await;
    f.run("START TRANSACTION").await;
    other.run("INSERT INTO t VALUES (1, 'a')").await;
    assert_eq!(f.value("SELECT count(*) FROM t").await, "0");
    f.run("INSERT INTO t VALUES (2, 'b')").await;
    assert_eq!(f.values("SELECT id FROM t").await, ["2"]);
    f.run("COMMIT").await;
    assert_eq!(f.values("SELECT id FROM t ORDER BY id").await, ["1", "2"]);
    f.check().await;
}

#[tokio::test]
async fn a_rollback_leaves_nothing() {
    let f = Fixture::with_table().await;
    let before = f.version().await;
    f.run("START TRANSACTION").await;
    f.run("INSERT INTO t VALUES (1, 'a')").await;
    f.run("ROLLBACK").await;
    assert_eq!(f.value("SELECT count(*) FROM t").await, "0");
    assert_eq!(f.version().await, before);
    assert!(f.session.status().transaction.is_none());
    f.check().await;
}

#[tokio::test]
async fn a_failed_statement_leaves_the_transaction_as_it_was() {
    let f = Fixture::with_table().await;
    f.run("START TRANSACTION").await;
    f.run("INSERT INTO t VALUES (1, 'a')").await;
    assert!(
        f.try_run("INSERT INTO t SELECT id / 0, name FROM t")
            .await
            .is_err()
    );
    let failed = f
        .session
        .write(async |transaction| {
            transaction.drop_table(&crate::fixture::path("t")).await?;
            Err::<(), _>(udr_core::Error::invalid("changed my mind"))
        })
        .await;
    assert_eq!(failed.unwrap_err().message(), "changed my mind");
    assert_eq!(f.value("SELECT count(*) FROM t").await, "1");
    f.run("COMMIT").await;
    assert_eq!(f.value("SELECT count(*) FROM t").await, "1");
    f.check().await;
}

#[tokio::test]
async fn what_cannot_be_reconciled_is_a_conflict_that_says_what() {
    let f = Fixture::with_table().await;
    let other = f.other().await;
    f.run("START TRANSACTION").await;
    f.run("INSERT OVERWRITE t VALUES (1, 'mine')").await;
    other.run("INSERT INTO t VALUES (2, 'theirs')").await;
    let (kind, text) = f.refused("COMMIT").await;
    assert_eq!(kind, ErrorKind::Conflict);
    assert!(text.contains("public.t"), "{text}");
    assert!(f.session.status().transaction.is_none());
    assert_eq!(f.values("SELECT name FROM t").await, ["theirs"]);
    f.check().await;
}

#[tokio::test]
async fn an_overwrite_is_checked_from_the_state_that_it_read() {
    let f = Fixture::with_table().await;
    f.run("INSERT INTO t VALUES (1, 'a')").await;
    let frame = f
        .ctx
        .sql("INSERT OVERWRITE t SELECT id + 1, name FROM t")
        .await
        .unwrap();
    let plan = frame.create_physical_plan().await.unwrap();
    f.other()
        .await
        .run("INSERT INTO t VALUES (7, 'late')")
        .await;
    let error = datafusion::physical_plan::collect(plan, f.ctx.task_ctx())
        .await
        .unwrap_err();
    let error = udr_datafusion::error::udr_error(&error).unwrap();
    assert_eq!(error.kind(), ErrorKind::Conflict);
    assert_eq!(f.values("SELECT id FROM t ORDER BY id").await, ["1", "7"]);
    f.check().await;
}

#[tokio::test]
async fn a_read_only_transaction_refuses_to_write() {
    let f = Fixture::with_table().await;
    f.run("START TRANSACTION READ ONLY").await;
    f.other().await.run("INSERT INTO t VALUES (1, 'a')").await;
    assert_eq!(f.value("SELECT count(*) FROM t").await, "0");
    assert_eq!(
        f.refused("INSERT INTO t VALUES (2, 'b')").await.0,
        ErrorKind::Invalid
    );
    f.run("COMMIT").await;
    assert_eq!(f.value("SELECT count(*) FROM t").await, "1");
}

#[tokio::test]
async fn transaction_statements_have_no_effect_until_they_run() {
    let f = Fixture::with_table().await;
    let planned = f.ctx.sql("START TRANSACTION").await.unwrap();
    f.run("EXPLAIN START TRANSACTION").await;
    assert!(f.session.status().transaction.is_none());
    planned.collect().await.unwrap();
    assert!(f.session.status().transaction.is_some());
    f.run("EXPLAIN ROLLBACK").await;
    assert!(f.session.status().transaction.is_some());
}

#[tokio::test]
async fn statements_out_of_order_are_refused() {
    let f = Fixture::with_table().await;
    for sql in ["COMMIT", "ROLLBACK"] {
        assert_eq!(f.refused(sql).await.0, ErrorKind::Invalid, "{sql}");
    }
    f.run("START TRANSACTION").await;
    assert_eq!(f.refused("START TRANSACTION").await.0, ErrorKind::Invalid);
    assert_eq!(
        f.refused("COMMIT AND CHAIN").await.0,
        ErrorKind::Unsupported
    );
    assert!(f.session.status().transaction.is_some());
}

#[tokio::test]
async fn a_write_planned_in_a_transaction_does_not_land_in_the_next() {
    let f = Fixture::with_table().await;
    f.run("START TRANSACTION").await;
    let frame = f.ctx.sql("INSERT INTO t VALUES (1, 'a')").await.unwrap();
    let plan = frame.create_physical_plan().await.unwrap();
    f.run("ROLLBACK").await;
    f.run("START TRANSACTION").await;
    let error = datafusion::physical_plan::collect(plan, f.ctx.task_ctx())
        .await
        .unwrap_err();
    let error = udr_datafusion::error::udr_error(&error).unwrap();
    assert_eq!(error.kind(), ErrorKind::Conflict);
    f.run("COMMIT").await;
    assert_eq!(f.value("SELECT count(*) FROM t").await, "0");
}

#[tokio::test]
async fn an_overwrite_does_not_replace_rows_of_its_transaction_that_it_has_not_seen() {
    let f = Fixture::with_table().await;
    f.run("START TRANSACTION").await;
    f.run("INSERT INTO t VALUES (1, 'a')").await;
    let frame = f
        .ctx
        .sql("INSERT OVERWRITE t SELECT id + 1, name FROM t")
        .await
        .unwrap();
    let plan = frame.create_physical_plan().await.unwrap();
    let frame = f
        .ctx
        .sql("INSERT INTO t SELECT id + 10, name FROM t")
        .await
        .unwrap();
    let append = frame.create_physical_plan().await.unwrap();
    f.run("INSERT INTO t VALUES (5, 'late')").await;
    let error = datafusion::physical_plan::collect(plan, f.ctx.task_ctx())
        .await
        .unwrap_err();
    let error = udr_datafusion::error::udr_error(&error).unwrap();
    assert_eq!(error.kind(), ErrorKind::Conflict);
    datafusion::physical_plan::collect(append, f.ctx.task_ctx())
        .await
        .unwrap();
    assert_eq!(
        f.values("SELECT id FROM t ORDER BY id").await,
        ["1", "5", "11"]
    );
    f.run("INSERT OVERWRITE t SELECT id + 1, name FROM t").await;
    f.run("COMMIT").await;
    assert_eq!(
        f.values("SELECT id FROM t ORDER BY id").await,
        ["2", "6", "12"]
    );
    f.check().await;
}

async fn planned(f: &Fixture, sql: &str) -> Arc<dyn ExecutionPlan> {
    let frame = f.ctx.sql(sql).await.unwrap();
    frame.create_physical_plan().await.unwrap()
}

async fn conflicts(f: &Fixture, plan: Arc<dyn ExecutionPlan>) {
    let error = datafusion::physical_plan::collect(plan, f.ctx.task_ctx())
        .await
        .unwrap_err();
    let error = udr_datafusion::error::udr_error(&error).unwrap();
    assert_eq!(error.kind(), ErrorKind::Conflict);
}

#[tokio::test]
async fn rows_are_not_added_to_another_table_of_the_same_name() {
    let f = Fixture::with_table().await;
    f.run("START TRANSACTION").await;
    let plan = planned(&f, "INSERT INTO t VALUES (1, 'a')").await;
    f.udr("CREATE OR REPLACE TABLE t (id VARCHAR)").await;
    conflicts(&f, plan).await;
    assert_eq!(f.value("SELECT count(*) FROM t").await, "0");
    f.run("COMMIT").await;
    f.check().await;
}

#[tokio::test]
async fn rows_that_come_from_undone_ones_are_not_added() {
    let f = Fixture::with_table().await;
    f.run("START TRANSACTION").await;
    f.udr("SAVEPOINT s").await;
    f.run("INSERT INTO t VALUES (1, 'a')").await;
    let plan = planned(&f, "INSERT INTO t SELECT id + 10, name FROM t").await;
    f.udr("ROLLBACK TO s").await;
    conflicts(&f, plan).await;
    f.run("INSERT INTO t VALUES (2, 'b')").await;
    f.run("COMMIT").await;
    assert_eq!(f.values("SELECT id FROM t").await, ["2"]);
    f.check().await;
}
