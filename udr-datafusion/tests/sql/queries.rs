//! What DataFusion does is done by DataFusion.

use datafusion::prelude::{SessionConfig, SessionContext};
use udr_core::ErrorKind;
use udr_datafusion::error::udr_error;
use udr_datafusion::{DefaultCatalog, InstallOptions, udr_sql};

use crate::fixture::Fixture;

#[tokio::test]
async fn queries_and_inserts_run_when_they_are_collected() {
    let f = Fixture::with_table().await;
    let before = f.version().await;
    let frame = udr_sql(&f.ctx, "INSERT INTO t VALUES (1, 'a'), (2, 'b')")
        .await
        .unwrap();
    assert_eq!(f.version().await, before);
    frame.collect().await.unwrap();
    assert_eq!(f.version().await, before + 1);
    assert_eq!(
        f.udr("INSERT OVERWRITE t SELECT id, 'x' FROM t WHERE id = 2")
            .await,
        ["1"]
    );
    assert_eq!(f.udr("SELECT * FROM t;").await, ["2|x"]);
    assert_eq!(f.udr("SELECT at.id FROM t at").await, ["2"]);
    f.udr("SET datafusion.execution.batch_size = 10").await;
    assert_eq!(f.udr("SELECT 1 + 1 AS two").await, ["2"]);
    f.check().await;
}

#[tokio::test]
async fn errors_are_datafusions_or_ours() {
    let f = Fixture::with_table().await;
    for sql in [
        "",
        "SELECT",
        "FROBNICATE t",
        "SELECT 1; SELECT 2",
        "SELECT nothing FROM t",
    ] {
        let error = f.try_udr(sql).await.unwrap_err();
        assert!(udr_error(&error).is_none(), "{sql}: {error}");
    }
    let (kind, text) = f.udr_refused("SELECT * FROM tt").await;
    assert_eq!(kind, ErrorKind::NotFound);
    assert!(text.contains("did you mean"), "{text}");
    let bare = SessionContext::new();
    let error = udr_sql(&bare, "SELECT 1").await.unwrap_err();
    assert!(udr_error(&error).unwrap().to_string().contains("install"));
}

#[tokio::test]
async fn a_context_that_keeps_its_default_catalog_names_the_repository() {
    let f = Fixture::with_table().await;
    let options = InstallOptions {
        default: DefaultCatalog::Unchanged,
        ..InstallOptions::new(f.session.repository().clone())
    };
    let f = Fixture::with(options, SessionConfig::new()).await;
    f.udr("CREATE TABLE m AS SELECT 1 AS id").await;
    f.udr("CREATE TABLE udr.public.u AS SELECT id FROM m").await;
    assert_eq!(
        f.udr("SHOW TABLES").await,
        ["public|t|table", "public|u|table"]
    );
    assert_eq!(
        f.udr("SELECT u.id FROM udr.public.u VERSION AS OF 2").await,
        ["1"]
    );
    f.udr("CREATE VIEW udr.public.v AS SELECT * FROM udr.public.u")
        .await;
    assert_eq!(
        f.udr_refused("CREATE VIEW udr.public.w AS SELECT * FROM m")
            .await
            .0,
        ErrorKind::Invalid
    );
    assert_eq!(f.udr("SELECT id FROM udr.public.v").await, ["1"]);
    assert_eq!(f.udr("CREATE SCHEMA udr.s").await, ["schema s created"]);
    f.udr("CREATE SCHEMA s").await;
    f.udr("DROP TABLE m").await;
    f.udr("DROP VIEW udr.public.v").await;
    f.udr("DROP SCHEMA udr.s").await;
    f.check().await;
}

#[tokio::test]
async fn identifiers_keep_their_case_where_the_context_says_so() {
    let f = Fixture::new().await;
    f.udr("CREATE TABLE \"T\" AS SELECT 1 AS \"Id\"").await;
    assert_eq!(
        f.udr("SELECT \"Id\" FROM \"T\" VERSION AS OF 1").await,
        ["1"]
    );
    f.udr("SET datafusion.sql_parser.enable_ident_normalization = false")
        .await;
    assert_eq!(f.udr("SELECT Id FROM T VERSION AS OF 1").await, ["1"]);
    assert_eq!(f.udr("DESCRIBE HISTORY T").await.len(), 1);
    f.udr("ALTER TABLE T RENAME TO U").await;
    assert_eq!(f.udr("SHOW TABLES").await, ["public|U|table"]);
}

#[tokio::test]
async fn a_missing_table_is_answered_with_what_helps_here() {
    let f = Fixture::new().await;
    let (kind, text) = f.udr_refused("SELECT * FROM wholly_unknown").await;
    assert_eq!(kind, ErrorKind::NotFound, "{text}");
    assert!(text.contains("SHOW TABLES"), "{text}");
    assert!(!text.contains("udr_sql"), "{text}");
}
