//! How constraints are checked: by whom, in how much memory, reading how much; and who relies on them.

use std::sync::Arc;

use arrow::array::{ArrayRef, Int32Array};
use arrow::record_batch::RecordBatch;
use datafusion::execution::memory_pool::FairSpillPool;
use datafusion::execution::runtime_env::RuntimeEnvBuilder;
use datafusion::prelude::{SessionConfig, SessionContext};
use udr_core::data::{TableWriter, WriteOptions};
use udr_core::env::Env;
use udr_core::store::Store;
use udr_core::{ErrorKind, Repository};
use udr_datafusion::{InstallOptions, install};

use super::constraints::broken;
use crate::fixture::{Fixture, path};

#[tokio::test]
async fn branches_keep_the_constraints_they_came_with() {
    let f = Fixture::new().await;
    f.udr("CREATE TABLE t (id INT PRIMARY KEY, n INT CHECK (n > 0))")
        .await;
    f.udr("INSERT INTO t VALUES (1, 1)").await;
    f.udr("CREATE TAG v1").await;
    f.udr("CREATE BRANCH dev").await;
    f.udr("USE BRANCH dev").await;
    broken(&f, "INSERT INTO t VALUES (1, 2)", &["t_pkey"]).await;
    broken(&f, "INSERT INTO t VALUES (2, 0)", &["t_n_check"]).await;
    f.udr("INSERT INTO t VALUES (2, 2)").await;
    f.udr("MERGE BRANCH dev INTO main").await;
    f.udr("USE BRANCH main").await;
    broken(&f, "INSERT INTO t VALUES (2, 3)", &["t_pkey"]).await;
    f.udr("ALTER TABLE t DROP CONSTRAINT t_pkey").await;
    f.udr("INSERT INTO t VALUES (2, 3)").await;
    assert_eq!(
        f.udr("SELECT count(*) FROM \"t$constraints@v1\" WHERE kind = 'PRIMARY KEY'")
            .await,
        ["1"]
    );
    f.check().await;
}

#[tokio::test]
async fn the_optimizer_knows_keys_while_they_hold() {
    let f = Fixture::new().await;
    f.udr("CREATE TABLE t (id INT PRIMARY KEY, n INT)").await;
    f.udr("INSERT INTO t VALUES (1, 5), (2, 5)").await;
    // Columns that depend on the key need no aggregate.
    let grouped = "SELECT id, n FROM t GROUP BY id ORDER BY id";
    assert_eq!(f.udr(grouped).await, ["1|5", "2|5"]);
    f.udr("CREATE TAG v1").await;
    f.udr_fails("SELECT id, n FROM \"t@v1\" GROUP BY id").await;
    f.udr(&format!("PREPARE q AS {grouped}")).await;
    f.udr("ALTER TABLE t DROP CONSTRAINT t_pkey").await;
    f.udr("INSERT INTO t VALUES (1, 6)").await;
    f.udr_fails(grouped).await;
    assert_eq!(f.udr_refused("EXECUTE q").await.0, ErrorKind::Conflict);
}

#[tokio::test]
async fn files_without_a_key_are_not_read_for_it() {
    let f = Fixture::new().await;
    f.udr("CREATE TABLE t (id BIGINT PRIMARY KEY, code TEXT UNIQUE)")
        .await;
    for i in 0..6 {
        f.udr(&format!(
            "INSERT INTO t SELECT value * 7 + {i}, concat('c', value * 7 + {i}) \
             FROM generate_series(0, 199)"
        ))
        .await;
    }
    broken(&f, "INSERT INTO t SELECT 1001, 'fresh'", &["id=1001"]).await;
    broken(&f, "INSERT INTO t SELECT 100000, 'c1001'", &["code=c1001"]).await;
    f.udr("INSERT INTO t SELECT value, concat('d', value) FROM generate_series(5000, 9000)")
        .await;
    broken(
        &f,
        "INSERT INTO t SELECT value, concat('e', value) FROM generate_series(9000, 12000)",
        &["id=9000"],
    )
    .await;
    f.check().await;
}

#[tokio::test]
async fn files_that_were_not_written_here_are_checked_when_they_are_staged() {
    let f = Fixture::new().await;
    f.udr("CREATE TABLE t (id INT, n INT CHECK (n > 0), m INT GENERATED ALWAYS AS (n + 1))")
        .await;
    for (n, m, part) in [(0, 1, "t_n_check"), (1, 1, "generated"), (1, 2, "")] {
        for open in [true, false] {
            if open {
                f.udr("BEGIN").await;
            }
            let outcome = Box::pin(foreign_append(&f, [1, n, m])).await;
            if open {
                f.udr("ROLLBACK").await;
            }
            match outcome {
                Ok(()) => assert_eq!(part, "", "{n}, {m} were accepted"),
                Err(error) => assert!(
                    !part.is_empty() && error.to_string().contains(part),
                    "{n}, {m}: {error}"
                ),
            }
        }
    }
    assert_eq!(f.udr("SELECT * FROM t").await, ["1|1|2"]);
    f.check().await;
}

/// Appends one row to `t` without the engine.
async fn foreign_append(f: &Fixture, row: [i32; 3]) -> udr_core::Result<()> {
    let session = &f.session;
    session
        .write(async move |transaction| {
            let table = transaction.snapshot().table(&path("t")).await?;
            let repository = session.repository();
            let mut writer = TableWriter::new(
                repository.store(),
                repository.env(),
                table.id(),
                transaction.epoch(),
                table.schema(),
                WriteOptions::default(),
            )?;
            let columns = row.map(|value| Arc::new(Int32Array::from(vec![value])) as ArrayRef);
            let batch = RecordBatch::try_new(table.arrow_schema(), columns.to_vec()).unwrap();
            writer.write(&batch).await?;
            let files = writer.finish().await?;
            transaction.append(&path("t"), files).await
        })
        .await
}

#[tokio::test]
async fn keys_are_compared_within_the_memory_limit() {
    let env = Env::seeded(7, 1_767_225_600_000_000);
    let repository = Repository::create(Store::memory(), env).await.unwrap();
    let runtime = RuntimeEnvBuilder::new()
        .with_memory_pool(Arc::new(FairSpillPool::new(24 << 20)))
        .build_arc()
        .unwrap();
    let config = SessionConfig::new().with_target_partitions(2);
    let ctx = SessionContext::new_with_config_rt(config, runtime);
    let session = install(&ctx, InstallOptions::new(repository))
        .await
        .unwrap();
    let f = Fixture { ctx, session };
    f.udr("CREATE TABLE t (id TEXT PRIMARY KEY)").await;
    let insert = |first: i64, last: i64| {
        format!(
            "INSERT INTO t SELECT concat('a rather long key, so that it takes memory: ', value) \
             FROM generate_series({first}, {last})"
        )
    };
    f.udr(&insert(1, 150_000)).await;
    f.udr(&insert(150_001, 300_000)).await;
    broken(&f, &insert(300_000, 450_000), &["t_pkey", "memory: 300000"]).await;
    assert_eq!(f.udr("SELECT count(*) FROM t").await, ["300000"]);
}

#[tokio::test]
async fn other_columns_have_bloom_filters_on_request() {
    let f = Fixture::new().await;
    f.udr("CREATE TABLE t (id BIGINT, s VARCHAR, x DOUBLE) WRITE BLOOM FILTERS ON (s)")
        .await;
    let insert =
        "INSERT INTO t SELECT v * 2, 's' || (v * 2), v AS x FROM generate_series(1, 5000) AS g(v)";
    f.udr(insert).await;
    let pruned = async |sql: &str| {
        let plan = f.udr(&format!("EXPLAIN ANALYZE {sql}")).await.join("\n");
        let (_, rest) = plan.split_once("row_groups_pruned_bloom_filter=").unwrap();
        rest.split(',').next().unwrap().to_owned()
    };
    let absent = pruned("SELECT * FROM t WHERE s = 's501'").await;
    assert!(absent.contains("0 matched"), "{absent}");
    // Those of one column are given up for those of another, in files from then on.
    f.udr("ALTER TABLE t WRITE BLOOM FILTERS ON (id)").await;
    f.udr(insert).await;
    let absent = pruned("SELECT * FROM t WHERE id = 501").await;
    assert!(absent.contains("1 matched"), "{absent}");
    // They have no digests, so they are not believed where everything is verified.
    f.udr("SET udr.verify = 'full'").await;
    for s in ["s500", "s501"] {
        let sql = format!("SELECT count(*) FROM t WHERE s = '{s}'");
        let found = if s == "s500" { "2" } else { "0" };
        assert_eq!(f.udr(&sql).await, [found]);
    }
    f.udr("ALTER TABLE t DROP COLUMN id").await;
    f.udr("ALTER TABLE t WRITE NO BLOOM FILTERS").await;
    for (sql, kind) in [
        (
            "ALTER TABLE t WRITE BLOOM FILTERS ON (x)",
            ErrorKind::Invalid,
        ),
        (
            "ALTER TABLE t WRITE BLOOM FILTERS ON (s, s)",
            ErrorKind::Invalid,
        ),
        (
            "ALTER TABLE t WRITE BLOOM FILTERS ON (id)",
            ErrorKind::NotFound,
        ),
    ] {
        assert_eq!(f.udr_refused(sql).await.0, kind, "{sql}");
    }
    f.check().await;
}

#[tokio::test]
async fn bloom_filters_leave_out_row_groups_without_a_key() {
    let f = Fixture::new().await;
    f.udr("CREATE TABLE t (id BIGINT PRIMARY KEY, n BIGINT)")
        .await;
    f.udr("INSERT INTO t SELECT value * 2, value * 2 + 1 FROM generate_series(1, 5000)")
        .await;
    let pruned = async |sql: &str| {
        let plan = f.udr(&format!("EXPLAIN ANALYZE {sql}")).await.join("\n");
        let (_, rest) = plan.split_once("row_groups_pruned_bloom_filter=").unwrap();
        rest.split(',').next().unwrap().to_owned()
    };
    let there = pruned("SELECT * FROM t WHERE id = 500").await;
    let absent = pruned("SELECT * FROM t WHERE id = 501").await;
    assert!(there.contains("1 matched"), "{there}");
    assert!(absent.contains("0 matched"), "{absent}");
}
