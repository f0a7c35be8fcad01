//! Views are planned anew, at the state they are read at, and only read.

use std::sync::Arc;

use arrow::datatypes::Schema;
use datafusion::catalog::{TableFunctionArgs, TableFunctionImpl, TableProvider};
use datafusion::error::Result;
use udr_core::{Error, ErrorKind};
use udr_datafusion::exec::CommandTable;

use crate::fixture::{Fixture, id_and_name};

#[tokio::test]
async fn a_view_shows_later_commits() {
    let f = Fixture::with_table().await;
    f.create_view("v", "SELECT count(*) AS n FROM t").await;
    assert_eq!(f.value("SELECT n FROM v").await, "0");
    f.run("INSERT INTO t VALUES (1, 'a')").await;
    assert_eq!(f.value("SELECT n FROM v").await, "1");
    f.run("PREPARE q AS SELECT n FROM v").await;
    f.other().await.run("INSERT INTO t VALUES (2, 'b')").await;
    assert_eq!(f.value("EXECUTE q").await, "2");
}

#[tokio::test]
async fn a_view_is_read_at_its_own_revision_throughout() {
    let f = Fixture::with_table().await;
    f.create_view("v", "SELECT count(*) AS n FROM t").await;
    f.create_view("vv", "SELECT n * 10 AS m FROM v").await;
    f.create_branch("dev").await;
    let dev = f.other().await;
    dev.session
        .use_branch(&"dev".parse().unwrap())
        .await
        .unwrap();
    dev.run("INSERT INTO t VALUES (1, 'a')").await;
    assert_eq!(f.value("SELECT m FROM vv").await, "0");
    assert_eq!(f.value("SELECT m FROM \"vv@dev\"").await, "10");
    assert_eq!(f.value("SELECT m FROM dev.public.vv").await, "10");
    assert_eq!(dev.value("SELECT m FROM vv").await, "10");
    assert_eq!(dev.value("SELECT m FROM \"vv@main\"").await, "0");
    let two =
        "SELECT (SELECT m FROM vv) + (SELECT 2 * m FROM \"vv@dev\") - (SELECT m FROM \"vv@dev\")";
    assert_eq!(f.value(two).await, "10");
    let two = "SELECT a.m, b.m FROM vv a CROSS JOIN \"vv@dev\" b";
    assert!(
        f.shown(two).await.contains("| 0 | 10 |"),
        "{}",
        f.shown(two).await
    );
    let two = "SELECT m FROM vv UNION SELECT m FROM \"vv@dev\" ORDER BY m";
    assert_eq!(f.values(two).await, ["0", "10"]);
    let two = "SELECT (SELECT m FROM vv) AS a, (SELECT m FROM \"vv@dev\") AS b";
    assert!(
        f.shown(two).await.contains("| 0 | 10 |"),
        "{}",
        f.shown(two).await
    );
    // A name that says which state keeps its state inside a view.
    f.create_view(
        "both",
        "SELECT (SELECT count(*) FROM t) AS a, (SELECT count(*) FROM \"t@dev\") AS b",
    )
    .await;
    assert_eq!(f.value("SELECT a + 2 * b FROM both").await, "2");
}

#[tokio::test]
async fn a_views_names_mean_what_they_meant_to_its_author() {
    let f = Fixture::with_table().await;
    f.create_view("v", "SELECT id FROM t").await;
    f.run("INSERT INTO t VALUES (1, 'a')").await;
    f.run("SET datafusion.catalog.default_catalog = 'datafusion'")
        .await;
    f.run("CREATE TABLE t (other INT)").await;
    f.run("SET datafusion.sql_parser.dialect = 'mysql'").await;
    assert_eq!(f.value("SELECT id FROM udr.public.v").await, "1");
}

#[tokio::test]
async fn views_that_refer_to_themselves_are_refused() {
    let f = Fixture::with_table().await;
    f.create_view("a", "SELECT * FROM b").await;
    f.create_view("b", "SELECT * FROM a").await;
    let (kind, text) = f.refused("SELECT * FROM a").await;
    assert_eq!(kind, ErrorKind::Invalid, "{text}");
    f.create_view("c", "SELECT * FROM main.public.d").await;
    f.create_view("d", "SELECT * FROM \"c@main\"").await;
    assert_eq!(f.refused("SELECT * FROM c").await.0, ErrorKind::Invalid);
    f.create_view("v0", "SELECT 1 AS x").await;
    for i in 1..=20 {
        f.create_view(&format!("v{i}"), &format!("SELECT * FROM v{}", i - 1))
            .await;
    }
    assert_eq!(f.value("SELECT x FROM v10").await, "1");
    assert_eq!(f.refused("SELECT x FROM v20").await.0, ErrorKind::Invalid);
}

#[derive(Debug)]
struct Boom;

impl TableFunctionImpl for Boom {
    fn call_with_args(&self, _args: TableFunctionArgs<'_, '_>) -> Result<Arc<dyn TableProvider>> {
        Ok(Arc::new(CommandTable::new(
            Arc::new(Schema::empty()),
            || Box::pin(async { Err(Error::internal("the command ran")) }),
        )))
    }
}

#[tokio::test]
async fn a_stored_view_that_would_change_something_is_refused() {
    let f = Fixture::with_table().await;
    f.create("u", &id_and_name()).await;
    f.ctx.register_udtf("boom", Arc::new(Boom));
    let before = f.version().await;
    for (i, sql) in [
        "INSERT INTO u VALUES (1, 'a')",
        "DROP TABLE u",
        "COMMIT",
        "SELECT 1 FROM boom()",
        "SELECT (SELECT count(*) FROM boom())",
        "SELECT 1; SELECT 2",
    ]
    .into_iter()
    .enumerate()
    {
        let name = format!("v{i}");
        f.create_view(&name, sql).await;
        let (kind, text) = f.refused(&format!("SELECT * FROM {name}")).await;
        assert_eq!(kind, ErrorKind::Invalid, "{sql}: {text}");
    }
    assert_eq!(f.version().await, before + 6);
    assert_eq!(f.value("SELECT count(*) FROM u").await, "0");
}

#[tokio::test]
async fn a_view_that_was_replaced_while_planning_is_refused() {
    let f = Fixture::with_table().await;
    f.create_view("v", "SELECT id FROM t").await;
    let frame = f.ctx.sql("SELECT * FROM v").await.unwrap();
    f.other()
        .await
        .create_view("v", "SELECT id + 1 AS id FROM t")
        .await;
    let error = frame.collect().await.unwrap_err();
    let error = udr_datafusion::error::udr_error(&error).unwrap();
    assert_eq!(error.kind(), ErrorKind::Conflict);
}

#[tokio::test]
async fn a_view_that_cannot_be_read_hides_nothing_else() {
    let f = Fixture::with_table().await;
    f.create("gone", &id_and_name()).await;
    f.create_view("broken", "SELECT * FROM gone").await;
    f.create_view("whole", "SELECT id FROM t").await;
    f.session
        .write(async |txn| txn.drop_table(&crate::fixture::path("gone")).await)
        .await
        .unwrap();
    f.run("SET datafusion.catalog.information_schema = true")
        .await;
    let columns = "SELECT table_name || '.' || column_name FROM information_schema.columns
                   WHERE table_schema = 'public' ORDER BY 1";
    assert_eq!(f.values(columns).await, ["t.id", "t.name", "whole.id"]);
    let views = "SELECT table_name FROM information_schema.views
                 WHERE table_schema = 'public' ORDER BY 1";
    assert!(f.values(views).await.contains(&"whole".to_owned()));
    f.run("SHOW COLUMNS FROM t").await;
    // Whoever reads it is told why it cannot be.
    let (_, text) = f.refused("SELECT * FROM broken").await;
    assert!(text.contains("a view cannot be read"), "{text}");
}
