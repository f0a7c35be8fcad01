//! CREATE TABLE, with and without a query.

use std::sync::Arc;

use async_trait::async_trait;
use datafusion::catalog::Session;
use datafusion::execution::SessionStateBuilder;
use datafusion::execution::context::QueryPlanner;
use datafusion::logical_expr::LogicalPlan;
use datafusion::physical_plan::ExecutionPlan;
use datafusion::physical_planner::{DefaultPhysicalPlanner, PhysicalPlanner as _};
use datafusion::prelude::{SessionConfig, SessionContext};
use udr_core::ErrorKind;
use udr_datafusion::{InstallOptions, UdrSession, install};

use crate::fixture::Fixture;

#[tokio::test]
async fn a_table_has_the_columns_that_were_written() {
    let f = Fixture::new().await;
    assert_eq!(
        f.udr(
            "CREATE TABLE t (id BIGINT NOT NULL, Name TEXT DEFAULT 'it''s', \"At\" TIMESTAMP, \
             price DECIMAL(10, 2) DEFAULT 1.5, ok BOOLEAN DEFAULT true, tags TEXT[])"
        )
        .await,
        ["table public.t created"]
    );
    let described = f.udr("DESCRIBE t").await;
    let nullable = described
        .iter()
        .map(|line| line.split('|').step_by(2).collect::<Vec<_>>().join(" "))
        .collect::<Vec<_>>();
    assert_eq!(
        nullable,
        [
            "id NO",
            "name YES",
            "At YES",
            "price YES",
            "ok YES",
            "tags YES"
        ]
    );
    f.udr("INSERT INTO t (id) VALUES (1)").await;
    assert_eq!(f.udr("SELECT * FROM t").await, ["1|it's||1.50|true|"]);
    f.udr_fails("INSERT INTO t (name) VALUES ('x')").await;
    assert_eq!(
        f.udr("SELECT message FROM udr.log LIMIT 2").await[1],
        "CREATE TABLE public.t"
    );
    f.check().await;
}

#[tokio::test]
async fn what_is_not_enforced_is_refused() {
    let f = Fixture::new().await;
    for columns in [
        "id INT UNIQUE NOT ENFORCED",
        "id INT, INDEX (id)",
        "id INT, UNIQUE (id + 1)",
        "id INT GENERATED ALWAYS AS IDENTITY",
        "id INT COMMENT 'x'",
        "id INTERVAL",
    ] {
        let (kind, text) = f.udr_refused(&format!("CREATE TABLE t ({columns})")).await;
        assert_eq!(kind, ErrorKind::Unsupported, "{columns}: {text}");
    }
    for sql in [
        "CREATE TABLE t (id INT) WITH (a = 1)",
        "CREATE TABLE t LIKE u",
        "CREATE TEMPORARY TABLE t (id INT)",
        "CREATE TABLE t (id INT DEFAULT 'abc')",
        "CREATE TABLE t (id INT DEFAULT id)",
        "CREATE TABLE t (id INT DEFAULT count(*))",
        "CREATE TABLE t (id INT DEFAULT (SELECT 1))",
        "CREATE TABLE t (ok BOOLEAN DEFAULT DATE '2026-01-31')",
        "CREATE TABLE t (id TEXT DEFAULT udr_use('main'))",
        "CREATE TABLE t (id INT, id INT)",
        "CREATE TABLE t ()",
        "CREATE TABLE t",
        "CREATE TABLE \"a b\" (id INT)",
        "CREATE TABLE \"../x\" (id INT)",
        "CREATE TABLE \"t$files\" (id INT)",
        "CREATE TABLE missing.t (id INT)",
        "CREATE TABLE udr.udr.t (id INT)",
        "CREATE OR REPLACE TABLE IF NOT EXISTS t (id INT)",
    ] {
        f.udr_fails(sql).await;
    }
    assert_eq!(f.udr("SHOW TABLES").await, [""; 0]);
    assert_eq!(f.version().await, 0);
}

#[tokio::test]
async fn a_table_is_kept_or_replaced_if_there_is_one() {
    let f = Fixture::with_table().await;
    f.udr("INSERT INTO t VALUES (1, 'a')").await;
    assert_eq!(
        f.udr_refused("CREATE TABLE t (x INT)").await.0,
        ErrorKind::AlreadyExists
    );
    assert_eq!(
        f.udr_refused("CREATE TABLE t AS SELECT 1 AS x").await.0,
        ErrorKind::AlreadyExists
    );
    let before = f.version().await;
    assert!(f.udr("CREATE TABLE IF NOT EXISTS t (x INT)").await[0].starts_with("unchanged"));
    assert_eq!(
        f.udr("CREATE TABLE IF NOT EXISTS t AS SELECT 1 AS x").await,
        ["0"]
    );
    assert_eq!(f.version().await, before);
    // The query reads the table that it replaces.
    assert_eq!(
        f.udr("CREATE OR REPLACE TABLE t AS SELECT id + 1 AS x FROM t")
            .await,
        ["1"]
    );
    assert_eq!(f.version().await, before + 1);
    assert_eq!(f.udr("SELECT x FROM t").await, ["2"]);
    assert_eq!(f.udr("SELECT id FROM t VERSION AS OF 2").await, ["1"]);
    f.udr("CREATE OR REPLACE TABLE t (y TEXT)").await;
    assert_eq!(f.udr("SELECT count(y) FROM t").await, ["0"]);
    f.udr("CREATE OR REPLACE TABLE fresh (y TEXT)").await;
    f.udr("CREATE VIEW v AS SELECT * FROM t").await;
    assert_eq!(
        f.udr_refused("CREATE OR REPLACE TABLE v (y TEXT)").await.0,
        ErrorKind::Invalid
    );
    assert_eq!(
        f.udr_refused("CREATE TABLE v (y TEXT)").await.0,
        ErrorKind::AlreadyExists
    );
    f.check().await;
}

#[tokio::test]
async fn a_query_fills_its_table_in_one_commit() {
    let f = Fixture::new().await;
    let rows = f
        .udr("CREATE TABLE t AS SELECT value AS id, 'k' || value AS name FROM generate_series(1, 20000)")
        .await;
    assert_eq!(rows, ["20000"]);
    assert_eq!(f.version().await, 1);
    assert_eq!(
        f.udr("SELECT count(*), min(id), max(id) FROM t").await,
        ["20000|1|20000"]
    );
    assert_eq!(
        f.udr("SELECT message, operation FROM udr.log LIMIT 1")
            .await,
        ["CREATE TABLE public.t AS SELECT|CREATE TABLE, INSERT",]
    );
    // The columns of a query can be NULL later.
    f.udr("INSERT INTO t VALUES (NULL, NULL)").await;
    f.udr("CREATE TABLE u (a SMALLINT NOT NULL, b TEXT) AS SELECT id, name FROM t WHERE id < 3")
        .await;
    assert_eq!(
        f.udr("SELECT arrow_typeof(a), b FROM u ORDER BY a").await,
        ["Int16|k1", "Int16|k2"]
    );
    f.udr("CREATE TABLE empty AS SELECT * FROM t WHERE false")
        .await;
    assert_eq!(f.udr("SELECT count(*) FROM empty").await, ["0"]);
    f.udr("CREATE TABLE w AS (SELECT * FROM u)").await;
    assert_eq!(f.udr("SELECT count(*) FROM w").await, ["2"]);
    f.check().await;
}

#[tokio::test]
async fn a_query_that_fails_leaves_nothing() {
    let f = Fixture::new().await;
    for sql in [
        "CREATE TABLE t AS SELECT 1 / (value - 15000) AS x FROM generate_series(1, 20000)",
        "CREATE TABLE t (x INT NOT NULL) AS SELECT NULL::INT FROM generate_series(1, 3)",
        "CREATE TABLE t (x INT) AS SELECT 'abc'",
        "CREATE TABLE t (x INT) AS SELECT 1, 2",
        "CREATE TABLE t AS SELECT a.value, b.value FROM generate_series(1, 2) a, generate_series(1, 2) b",
        "CREATE TABLE t AS SELECT * FROM missing",
    ] {
        f.udr_fails(sql).await;
    }
    assert_eq!(f.version().await, 0);
    assert_eq!(f.udr("SHOW TABLES").await, [""; 0]);
    f.check().await;
}

#[tokio::test]
async fn explaining_makes_nothing() {
    let f = Fixture::new().await;
    for sql in [
        "EXPLAIN CREATE TABLE t (id INT)",
        "EXPLAIN CREATE TABLE t AS SELECT 1 AS id",
    ] {
        drop(f.try_udr(sql).await);
    }
    assert_eq!(f.version().await, 0);
}

#[tokio::test]
async fn tables_of_the_context_are_its_own() {
    let f = Fixture::new().await;
    f.udr("CREATE TABLE datafusion.public.m AS SELECT 1 AS id")
        .await;
    assert_eq!(f.udr("SELECT id FROM datafusion.public.m").await, ["1"]);
    f.udr("CREATE TABLE t AS SELECT id FROM datafusion.public.m")
        .await;
    assert_eq!(f.udr("SELECT id FROM t").await, ["1"]);
    f.udr("DROP TABLE datafusion.public.m").await;
    assert_eq!(f.udr("SHOW TABLES").await, ["public|t|table"]);
    let external = "STORED AS CSV LOCATION '/nowhere.csv'";
    let (kind, text) = f
        .udr_refused(&format!("CREATE EXTERNAL TABLE x (a INT) {external}"))
        .await;
    assert_eq!(kind, ErrorKind::Unsupported);
    assert!(text.contains("datafusion.public"), "{text}");
}

#[tokio::test]
async fn a_table_that_could_hold_no_row_is_not_made() {
    let f = Fixture::new().await;
    for (sql, why) in [
        ("CREATE TABLE t ()", "without columns"),
        (
            "CREATE TABLE t AS SELECT arrow_cast(1, 'Decimal128(5, -1)') AS a",
            "negative scale",
        ),
        (
            "CREATE TABLE t AS SELECT arrow_cast('', 'FixedSizeBinary(0)') AS a",
            "no bytes",
        ),
    ] {
        let (kind, text) = f.udr_refused(sql).await;
        assert_eq!(kind, ErrorKind::Unsupported, "{sql}: {text}");
        assert!(text.contains(why), "{sql}: {text}");
    }
    assert_eq!(f.version().await, 0);
    f.check().await;
}

/// Lets another session act between planning and running.
#[derive(Debug)]
struct Interrupted {
    session: Arc<UdrSession>,
}

#[async_trait]
impl QueryPlanner for Interrupted {
    async fn create_physical_plan(
        &self,
        plan: &LogicalPlan,
        state: &dyn Session,
    ) -> datafusion::error::Result<Arc<dyn ExecutionPlan>> {
        let planned = DefaultPhysicalPlanner::default()
            .create_physical_plan(plan, state)
            .await?;
        let options = InstallOptions::new(self.session.repository().clone());
        let other = Fixture::with(options, SessionConfig::new()).await;
        other.run("INSERT INTO t VALUES (7, 'late')").await;
        Ok(planned)
    }
}

#[tokio::test]
async fn a_table_is_not_replaced_by_a_query_that_missed_its_newest_rows() {
    let f = Fixture::with_table().await;
    f.run("INSERT INTO t VALUES (1, 'a')").await;
    let state = SessionStateBuilder::new()
        .with_default_features()
        .with_query_planner(Arc::new(Interrupted {
            session: Arc::clone(&f.session),
        }))
        .build();
    let ctx = SessionContext::new_with_state(state);
    let options = InstallOptions::new(f.session.repository().clone());
    let session = install(&ctx, options).await.unwrap();
    let slow = Fixture { ctx, session };
    let (kind, text) = slow
        .udr_refused("CREATE OR REPLACE TABLE t AS SELECT * FROM t")
        .await;
    assert_eq!(kind, ErrorKind::Conflict, "{text}");
    assert_eq!(f.values("SELECT id FROM t ORDER BY id").await, ["1", "7"]);
    f.check().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn of_many_that_make_or_drop_one_thing_with_an_if_none_fails() {
    let f = Fixture::new().await;
    let all = async |sql: &str| {
        let mut running = Vec::new();
        for _ in 0..8 {
            let (other, sql) = (f.other().await, sql.to_owned());
            running.push(tokio::spawn(async move {
                other.udr(&sql).await;
            }));
        }
        for one in running {
            one.await.unwrap();
        }
    };
    for sql in [
        "CREATE SCHEMA IF NOT EXISTS s",
        "CREATE TABLE IF NOT EXISTS s.jobs (id BIGINT)",
        "CREATE TABLE IF NOT EXISTS s.made AS SELECT 1 AS id",
        "CREATE VIEW IF NOT EXISTS s.v AS SELECT 1 AS one",
        "DROP VIEW IF EXISTS s.v",
        "DROP TABLE IF EXISTS s.jobs, s.made",
        "DROP SCHEMA IF EXISTS s CASCADE",
    ] {
        let before = f.version().await;
        all(sql).await;
        assert_eq!(f.version().await, before + 1, "{sql}");
    }
    f.check().await;
}
