//! INSERT: effects in execution only, once, all or nothing.

use std::collections::BTreeMap;
use std::sync::Arc;

use arrow::datatypes::{DataType, Field, Schema};
use datafusion::execution::runtime_env::RuntimeEnvBuilder;
use datafusion::physical_plan::collect;
use datafusion::prelude::{SessionConfig, SessionContext};
use udr_core::ErrorKind;
use udr_datafusion::error::udr_error;
use udr_datafusion::{InstallOptions, install};

use crate::fixture::{Fixture, id_and_name};

#[tokio::test]
async fn rows_that_were_inserted_are_read() {
    let f = Fixture::with_table().await;
    let before = f.version().await;
    assert_eq!(
        f.written("INSERT INTO t VALUES (1, 'a'), (2, NULL)").await,
        2
    );
    assert_eq!(f.version().await, before + 1);
    assert_eq!(f.written("INSERT INTO t (name, id) SELECT 'c', 3").await, 1);
    assert_eq!(
        f.values("SELECT id FROM t ORDER BY id").await,
        ["1", "2", "3"]
    );
    assert_eq!(f.value("SELECT id FROM t WHERE name IS NULL").await, "2");
    f.check().await;
}

#[tokio::test]
async fn a_null_in_values_names_the_column_of_the_table() {
    let f = Fixture::with_table().await;
    for sql in [
        "INSERT INTO t VALUES (1, 'a'), (NULL, 'b')",
        "INSERT INTO t (name, id) VALUES ('a', NULL)",
        "INSERT INTO t (name, id) SELECT 'a', NULL",
        "INSERT INTO t (name) VALUES ('a')",
    ] {
        let (kind, text) = f.refused(sql).await;
        assert_eq!(kind, ErrorKind::Invalid, "{sql}: {text}");
        assert!(text.contains("column=`id`"), "{sql}: {text}");
    }
    assert_eq!(f.value("SELECT count(*) FROM t").await, "0");
    f.check().await;
}

#[tokio::test]
async fn explaining_an_insert_changes_nothing() {
    let f = Fixture::with_table().await;
    let before = f.version().await;
    let plan = f.plan("INSERT INTO t SELECT 1, 'a'").await;
    assert!(
        plan.contains("UdrStageExec: append table=public.t"),
        "{plan}"
    );
    assert!(plan.contains("UdrWriteExec"), "{plan}");
    f.plan("INSERT OVERWRITE t SELECT 1, 'a'").await;
    f.ctx.sql("INSERT INTO t VALUES (1, 'a')").await.unwrap();
    assert_eq!(f.version().await, before);
    assert_eq!(f.value("SELECT count(*) FROM t").await, "0");
    f.check().await;
}

#[tokio::test]
async fn a_plan_that_writes_runs_once() {
    let f = Fixture::with_table().await;
    let plan = f.ctx.sql("INSERT INTO t VALUES (1, 'a')").await.unwrap();
    let plan = plan.create_physical_plan().await.unwrap();
    collect(Arc::clone(&plan), f.ctx.task_ctx()).await.unwrap();
    let error = collect(plan, f.ctx.task_ctx()).await.unwrap_err();
    assert_eq!(udr_error(&error).unwrap().kind(), ErrorKind::Invalid);
    assert_eq!(f.value("SELECT count(*) FROM t").await, "1");
    f.check().await;
}

#[tokio::test]
async fn overwriting_a_table_reads_it_first() {
    let f = Fixture::with_table().await;
    f.run("INSERT INTO t VALUES (1, 'a'), (2, 'b'), (3, 'c')")
        .await;
    assert_eq!(
        f.written("INSERT OVERWRITE t SELECT id, name FROM t WHERE id <> 2")
            .await,
        2
    );
    assert_eq!(f.values("SELECT id FROM t ORDER BY id").await, ["1", "3"]);
    assert_eq!(
        f.written("INSERT OVERWRITE t SELECT * FROM t WHERE false")
            .await,
        0
    );
    assert_eq!(f.value("SELECT count(*) FROM t").await, "0");
    f.check().await;
}

#[tokio::test]
async fn inserting_no_rows_publishes_nothing() {
    let f = Fixture::with_table().await;
    let before = f.version().await;
    assert_eq!(f.written("INSERT INTO t SELECT * FROM t").await, 0);
    assert_eq!(f.version().await, before);
}

#[tokio::test]
async fn a_null_where_none_is_allowed_leaves_nothing() {
    let f = Fixture::with_table().await;
    f.create(
        "source",
        &Schema::new(vec![Field::new("id", DataType::Int64, true)]),
    )
    .await;
    f.run("INSERT INTO source VALUES (1), (NULL), (3)").await;
    let before = f.version().await;
    let (kind, text) = f.refused("INSERT INTO t SELECT id, 'x' FROM source").await;
    assert_eq!(kind, ErrorKind::Invalid);
    assert!(text.contains("id"), "{text}");
    assert_eq!(f.version().await, before);
    assert_eq!(f.value("SELECT count(*) FROM t").await, "0");
    f.check().await;
}

#[tokio::test]
async fn a_column_that_is_left_out_gets_its_default() {
    let f = Fixture::new().await;
    let defaults = BTreeMap::from([("name".to_owned(), "upper('nobody')".to_owned())]);
    let schema = udr_core::format::Schema::from_arrow(&id_and_name()).unwrap();
    f.create_stored("t", schema.with_defaults(defaults).unwrap())
        .await;
    f.run("INSERT INTO t (id) VALUES (1)").await;
    f.run("INSERT INTO t (id) SELECT id + 1 FROM t").await;
    f.run("INSERT INTO t VALUES (3, NULL)").await;
    let rows = f
        .values("SELECT coalesce(name, '-') FROM t ORDER BY id")
        .await;
    assert_eq!(rows, ["NOBODY", "NOBODY", "-"]);
    f.check().await;
}

#[tokio::test]
async fn a_default_that_cannot_be_understood_stops_writing_but_not_reading() {
    let f = Fixture::new().await;
    let defaults = BTreeMap::from([("name".to_owned(), "no_such_function()".to_owned())]);
    let schema = udr_core::format::Schema::from_arrow(&id_and_name()).unwrap();
    f.create_stored("t", schema.with_defaults(defaults).unwrap())
        .await;
    assert_eq!(f.value("SELECT count(*) FROM t").await, "0");
    let (kind, text) = f.refused("INSERT INTO t VALUES (1, 'a')").await;
    assert_eq!(kind, ErrorKind::Invalid);
    assert!(text.contains("no_such_function"), "{text}");
}

#[tokio::test]
async fn replacing_by_key_is_refused() {
    let f = Fixture::with_table().await;
    let (kind, _) = f.refused("REPLACE INTO t VALUES (1, 'a')").await;
    assert_eq!(kind, ErrorKind::Unsupported);
    assert_eq!(f.value("SELECT count(*) FROM t").await, "0");
}

#[tokio::test]
async fn many_partitions_write_many_files_in_one_commit() {
    let f = Fixture::with_table().await;
    let config = SessionConfig::new().with_batch_size(100);
    let options = InstallOptions::new(f.session.repository().clone());
    let wide = Fixture::with(options, config).await;
    let before = f.version().await;
    let sql = "INSERT INTO t SELECT value, 'n' || value FROM generate_series(1, 10000)";
    assert_eq!(wide.written(sql).await, 10_000);
    assert_eq!(f.version().await, before + 1);
    assert_eq!(f.value("SELECT sum(id) FROM t").await, "50005000");
    assert_eq!(f.value("SELECT count(DISTINCT name) FROM t").await, "10000");
    f.check().await;
}

#[tokio::test]
async fn a_copy_of_a_table_has_its_rows_in_order() {
    let f = Fixture::with_table().await;
    f.create("u", &id_and_name()).await;
    for start in [1, 1001, 2001] {
        f.run(&format!(
            "INSERT INTO t SELECT value, 'x' FROM generate_series({start}, {start} + 999)"
        ))
        .await;
    }
    f.run("INSERT INTO u SELECT * FROM t ORDER BY id DESC")
        .await;
    assert_eq!(f.value("SELECT id FROM u LIMIT 1").await, "3000");
    assert_eq!(f.value("SELECT count(*) FROM u$files").await, "1");
    f.check().await;
}

#[tokio::test]
async fn a_write_that_is_short_of_memory_makes_more_files() {
    let f = Fixture::with_table().await;
    f.run("INSERT INTO t SELECT value, CAST(random() AS VARCHAR) FROM generate_series(1, 1200000)")
        .await;
    f.create("u", &id_and_name()).await;
    let runtime = RuntimeEnvBuilder::new()
        .with_memory_limit(6 << 20, 1.0)
        .build_arc()
        .unwrap();
    let config = SessionConfig::new().with_target_partitions(1);
    let ctx = SessionContext::new_with_config_rt(config, runtime);
    let options = InstallOptions::new(f.session.repository().clone());
    let session = install(&ctx, options).await.unwrap();
    let small = Fixture { ctx, session };
    assert_eq!(
        small.written("INSERT INTO u SELECT * FROM t").await,
        1_200_000
    );
    let files = f
        .value("SELECT count(*) FROM u$files")
        .await
        .parse::<u64>()
        .unwrap();
    assert!(files > 1, "{files}");
    assert_eq!(
        f.value("SELECT count(*) FROM t JOIN u USING (id, name)")
            .await,
        "1200000"
    );
    f.check().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn inserts_of_many_sessions_at_once_are_all_kept() {
    let f = Fixture::with_table().await;
    let before = f.version().await;
    let mut writers = tokio::task::JoinSet::new();
    for writer in 0..6 {
        let session = f.other().await;
        writers.spawn(async move {
            for i in 0..5 {
                session
                    .run(&format!("INSERT INTO t VALUES ({writer}{i}, 'x')"))
                    .await;
            }
        });
    }
    while let Some(done) = writers.join_next().await {
        done.unwrap();
    }
    assert_eq!(f.version().await, before + 30);
    assert_eq!(f.value("SELECT count(DISTINCT id) FROM t").await, "30");
    f.check().await;
}
