//! Schemas, DROP, RENAME.

use udr_core::ErrorKind;

use crate::fixture::Fixture;

#[tokio::test]
async fn schemas_come_and_go() {
    let f = Fixture::new().await;
    let other = f.other().await;
    assert_eq!(f.udr("CREATE SCHEMA s").await, ["schema s created"]);
    f.udr("CREATE TABLE s.t AS SELECT 1 AS id").await;
    assert_eq!(f.udr("SELECT id FROM s.t").await, ["1"]);
    // Another session sees it without being told.
    assert_eq!(other.udr("SELECT id FROM s.t").await, ["1"]);
    assert_eq!(
        f.udr_refused("CREATE SCHEMA s").await.0,
        ErrorKind::AlreadyExists
    );
    assert!(f.udr("CREATE SCHEMA IF NOT EXISTS udr.s").await[0].starts_with("unchanged"));
    assert_eq!(f.udr_refused("DROP SCHEMA s").await.0, ErrorKind::Invalid);
    f.udr("CREATE VIEW s.v AS SELECT * FROM s.t").await;
    let before = f.version().await;
    assert_eq!(f.udr("DROP SCHEMA s CASCADE").await, ["s dropped"]);
    assert_eq!(f.version().await, before + 1);
    assert_eq!(f.udr("SHOW TABLES").await, [""; 0]);
    assert_eq!(f.udr_refused("DROP SCHEMA s").await.0, ErrorKind::NotFound);
    assert!(f.udr("DROP SCHEMA IF EXISTS s").await[0].starts_with("unchanged"));
    for sql in [
        "CREATE SCHEMA udr",
        "CREATE SCHEMA information_schema",
        "CREATE SCHEMA \"a/b\"",
        "CREATE SCHEMA a.b.c",
        "CREATE SCHEMA nowhere.s",
    ] {
        assert_eq!(f.udr_refused(sql).await.0, ErrorKind::Invalid, "{sql}");
    }
    f.check().await;
}

#[tokio::test]
async fn names_are_dropped_together() {
    let f = Fixture::with_table().await;
    f.udr("CREATE TABLE u (id INT)").await;
    f.udr("CREATE VIEW v AS SELECT * FROM t").await;
    let before = f.version().await;
    assert_eq!(f.udr_refused("DROP TABLE t, v").await.0, ErrorKind::Invalid);
    assert_eq!(f.udr_refused("DROP VIEW t").await.0, ErrorKind::Invalid);
    let (kind, text) = f.udr_refused("DROP TABLE tt").await;
    assert_eq!(kind, ErrorKind::NotFound);
    assert!(text.contains("did you mean"), "{text}");
    assert_eq!(
        f.udr_refused("DROP TABLE t CASCADE").await.0,
        ErrorKind::Unsupported
    );
    assert_eq!(
        f.udr_refused("DROP TABLE t, datafusion.public.x").await.0,
        ErrorKind::Invalid
    );
    assert_eq!(f.version().await, before);
    assert_eq!(
        f.udr("DROP TABLE IF EXISTS t, missing, u").await,
        ["public.t, public.u dropped"]
    );
    assert_eq!(f.version().await, before + 1);
    assert!(f.udr("DROP TABLE IF EXISTS t").await[0].starts_with("unchanged"));
    assert!(f.udr("DROP VIEW IF EXISTS missing").await[0].starts_with("unchanged"));
    f.udr("DROP VIEW v").await;
    assert_eq!(f.udr("SHOW TABLES").await, [""; 0]);
    f.check().await;
}

#[tokio::test]
async fn a_table_keeps_its_rows_and_history_under_another_name() {
    let f = Fixture::with_table().await;
    f.udr("INSERT INTO t VALUES (1, 'a')").await;
    f.udr("CREATE SCHEMA s").await;
    assert_eq!(
        f.udr("ALTER TABLE t RENAME TO u").await,
        ["table public.t renamed to public.u"]
    );
    f.udr("ALTER TABLE u RENAME TO s.w").await;
    // A bare name stays in the schema.
    f.udr("ALTER TABLE s.w RENAME TO x").await;
    assert_eq!(f.udr("SELECT id FROM s.x").await, ["1"]);
    assert_eq!(f.udr("DESCRIBE HISTORY s.x").await.len(), 5);
    assert_eq!(f.udr("SELECT count(*) FROM t VERSION AS OF 2").await, ["1"]);
    f.udr("CREATE TABLE s.y (id INT)").await;
    assert_eq!(
        f.udr_refused("ALTER TABLE s.x RENAME TO y").await.0,
        ErrorKind::AlreadyExists
    );
    assert_eq!(
        f.udr_refused("ALTER TABLE missing RENAME TO y").await.0,
        ErrorKind::NotFound
    );
    assert!(f.udr("ALTER TABLE IF EXISTS missing RENAME TO y").await[0].starts_with("unchanged"));
    for sql in [
        "ALTER TABLE s.x SWAP WITH y",
        "ALTER TABLE s.x MODIFY COLUMN id BIGINT",
        "ALTER TABLE s.x SET TBLPROPERTIES ('a' = 'b')",
    ] {
        assert_eq!(f.udr_refused(sql).await.0, ErrorKind::Unsupported, "{sql}");
    }
    f.check().await;
}
