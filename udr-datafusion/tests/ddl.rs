//! Plain DDL cannot wait for a commit, and is refused.

use udr_core::ErrorKind;

use crate::fixture::Fixture;

#[tokio::test]
async fn plain_ddl_is_refused_and_changes_nothing() {
    let f = Fixture::with_table().await;
    f.create_view("v", "SELECT 1 AS one").await;
    let before = f.version().await;
    for sql in [
        "CREATE TABLE brand_new (id INT)",
        "CREATE TABLE IF NOT EXISTS brand_new (id INT)",
        "CREATE TABLE brand_new AS SELECT * FROM t",
        "CREATE OR REPLACE TABLE t AS SELECT 1",
        "CREATE VIEW brand_new AS SELECT * FROM t",
        "CREATE OR REPLACE VIEW v AS SELECT * FROM t",
        "CREATE SCHEMA brand_new",
        "CREATE SCHEMA IF NOT EXISTS brand_new",
        "CREATE SCHEMA udr.brand_new",
        "DROP SCHEMA public",
        "DROP SCHEMA IF EXISTS public CASCADE",
    ] {
        let (kind, text) = f.refused(sql).await;
        assert!(
            matches!(kind, ErrorKind::Unsupported | ErrorKind::NotFound),
            "{sql}: {text}"
        );
        assert!(text.contains("udr_call('"), "{sql}: {text}");
    }
    // DataFusion replaces what is said of a DROP by its own words.
    assert!(f.try_run("DROP TABLE t").await.is_err());
    assert!(f.try_run("DROP VIEW v").await.is_err());
    assert_eq!(f.version().await, before);
    assert_eq!(f.value("SELECT count(*) FROM t").await, "0");
    f.check().await;
}

#[tokio::test]
async fn a_drop_that_datafusion_calls_done_fails_when_it_is_collected() {
    let f = Fixture::with_table().await;
    f.create_view("v", "SELECT 1 AS one").await;
    let before = f.version().await;
    for sql in ["DROP TABLE IF EXISTS t", "DROP VIEW IF EXISTS v"] {
        let (kind, text) = f.refused(sql).await;
        assert_eq!(kind, ErrorKind::Unsupported, "{sql}: {text}");
        assert!(text.contains("udr_call('DROP"), "{sql}: {text}");
        f.run("SET datafusion.execution.batch_size = 100").await;
        f.run(
            sql.replace(" t", " missing")
                .replace(" v", " missing")
                .as_str(),
        )
        .await;
    }
    // The frame is what fails, whatever is run before it is collected.
    let frame = f.ctx.sql("DROP TABLE IF EXISTS t").await.unwrap();
    assert_eq!(f.value("SELECT count(*) FROM t").await, "0");
    assert_eq!(f.written("INSERT INTO t VALUES (1, 'a')").await, 1);
    assert!(frame.collect().await.is_err());
    assert_eq!(f.version().await, before + 1);
    f.check().await;
}
