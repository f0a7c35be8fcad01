//! CREATE VIEW stores what means the same to everybody.

use datafusion::prelude::SessionConfig;
use udr_core::ErrorKind;
use udr_datafusion::InstallOptions;

use crate::fixture::Fixture;

#[tokio::test]
async fn a_view_reads_what_its_author_saw() {
    let f = Fixture::with_table().await;
    f.udr("CREATE SCHEMA s").await;
    f.udr("CREATE TABLE s.t AS SELECT 7 AS seven").await;
    f.udr("CREATE VIEW v AS SELECT id FROM t WHERE name = 'it''s'")
        .await;
    f.udr("CREATE VIEW s.w (x) AS SELECT id FROM udr.public.t")
        .await;
    f.udr("CREATE VIEW vv AS WITH t AS (SELECT x FROM s.w) SELECT x AS y FROM t")
        .await;
    f.udr("INSERT INTO t VALUES (1, 'it''s')").await;
    assert_eq!(f.udr("SELECT * FROM v").await, ["1"]);
    // Another default schema, another name of the catalog.
    f.udr("SET datafusion.catalog.default_schema = 's'").await;
    assert_eq!(f.udr("SELECT id FROM public.v").await, ["1"]);
    f.udr("CREATE VIEW public.seven AS SELECT seven FROM t")
        .await;
    let options = InstallOptions {
        catalog: "lake".to_owned(),
        ..InstallOptions::new(f.session.repository().clone())
    };
    let other = Fixture::with(options, SessionConfig::new()).await;
    assert_eq!(other.udr("SELECT seven FROM seven").await, ["7"]);
    assert_eq!(other.udr("SELECT x FROM s.w").await, ["1"]);
    assert_eq!(other.udr("SELECT y FROM vv").await, ["1"]);
    f.check().await;
}

#[tokio::test]
async fn a_view_may_read_an_older_version() {
    let f = Fixture::with_table().await;
    f.udr("CREATE VIEW old AS SELECT count(*) AS n FROM t VERSION AS OF 1")
        .await;
    f.udr("INSERT INTO t VALUES (1, 'a')").await;
    assert_eq!(f.udr("SELECT n FROM old").await, ["0"]);
    let (kind, text) = f
        .udr_refused("CREATE VIEW x AS SELECT * FROM t TIMESTAMP AS OF now()")
        .await;
    assert_eq!(kind, ErrorKind::Unsupported, "{text}");
}

#[tokio::test]
async fn a_version_in_a_view_is_one_state_for_everybody() {
    let f = Fixture::with_table().await;
    f.udr("CREATE BRANCH dev").await;
    f.udr("INSERT INTO t VALUES (1, 'main')").await;
    f.udr("USE BRANCH dev").await;
    f.udr("INSERT INTO t VALUES (2, 'dev'), (3, 'dev')").await;
    let time = f
        .udr("SELECT moved_at FROM udr.branches WHERE name = 'dev'")
        .await
        .remove(0);
    f.udr("CREATE VIEW number AS SELECT count(*) AS n FROM t VERSION AS OF 2")
        .await;
    f.udr(&format!(
        "CREATE VIEW time AS SELECT count(*) AS n FROM t TIMESTAMP AS OF '{time}'"
    ))
    .await;
    f.udr("CREATE VIEW named AS WITH \"t@2\" AS (SELECT 9 AS n) SELECT n FROM \"t@2\"")
        .await;
    f.udr("CREATE VIEW moving AS SELECT count(*) AS n FROM \"t@dev\"")
        .await;
    f.udr("CREATE VIEW back AS SELECT count(*) AS n FROM udr.public.t AS OF 'dev~2'")
        .await;
    f.udr("INSERT INTO t VALUES (4, 'dev')").await;
    let (kind, text) = f
        .udr_refused("CREATE VIEW h AS SELECT * FROM t AS OF 'HEAD~1'")
        .await;
    assert_eq!(kind, ErrorKind::Invalid, "{text}");
    f.udr("USE BRANCH main").await;
    for (view, rows) in [
        ("number", "2"),
        ("time", "2"),
        ("moving", "3"),
        ("back", "2"),
        ("named", "9"),
    ] {
        assert_eq!(
            f.udr(&format!("SELECT n FROM \"{view}@dev\"")).await,
            [rows],
            "{view}"
        );
    }
    f.check().await;
}

#[tokio::test]
async fn a_view_that_cannot_be_read_is_refused() {
    let f = Fixture::with_table().await;
    f.udr("CREATE TABLE datafusion.public.m (id INT)").await;
    f.udr("CREATE VIEW a AS SELECT 1 AS x").await;
    f.udr("CREATE VIEW b AS SELECT x FROM a").await;
    let before = f.version().await;
    for sql in [
        "CREATE VIEW v AS SELECT * FROM missing",
        "CREATE VIEW v AS SELECT nothing FROM t",
        "CREATE VIEW v AS SELECT * FROM datafusion.public.m",
        "CREATE VIEW v AS SELECT * FROM information_schema.tables",
        "CREATE VIEW v AS SELECT * FROM v",
        "CREATE OR REPLACE VIEW a AS SELECT * FROM a",
        "CREATE OR REPLACE VIEW a AS SELECT * FROM b",
        "CREATE VIEW v AS SELECT * FROM udr_call('DROP TABLE t')",
        "CREATE VIEW v AS SELECT udr_use('main')",
        "CREATE VIEW v (a, b) AS SELECT 1",
        "CREATE MATERIALIZED VIEW v AS SELECT 1",
        "CREATE TEMPORARY VIEW v AS SELECT 1",
        "CREATE VIEW a AS SELECT 2 AS x",
        "CREATE VIEW t AS SELECT 2 AS x",
        "CREATE OR REPLACE VIEW t AS SELECT 2 AS x",
        "CREATE VIEW \"v@dev\" AS SELECT 2 AS x",
    ] {
        f.udr_fails(sql).await;
    }
    assert_eq!(f.version().await, before);
    assert!(
        f.udr("CREATE VIEW IF NOT EXISTS a AS SELECT 2 AS x").await[0].starts_with("unchanged")
    );
    f.udr("CREATE OR REPLACE VIEW a AS SELECT 2 AS x").await;
    assert_eq!(f.udr("SELECT x FROM b").await, ["2"]);
    f.check().await;
}
