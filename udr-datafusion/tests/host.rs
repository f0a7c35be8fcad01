//! A context keeps what it had.

use datafusion::prelude::{SessionConfig, SessionContext};
use udr_core::ErrorKind;
use udr_core::Repository;
use udr_core::env::Env;
use udr_core::store::Store;
use udr_datafusion::{DefaultCatalog, InstallOptions, UdrSession, install};

use crate::fixture::{Fixture, id_and_name};

async fn repository() -> Repository {
    Repository::create(Store::memory(), Env::seeded(1, 0))
        .await
        .unwrap()
}

#[tokio::test]
async fn the_contexts_own_tables_stay_and_join_with_ours() {
    let ctx = SessionContext::new();
    ctx.sql("CREATE TABLE mine AS VALUES (1, 'x'), (2, 'y')")
        .await
        .unwrap();
    let mut options = InstallOptions::new(repository().await);
    options.default = DefaultCatalog::Unchanged;
    options.catalog = "lake".to_owned();
    let session = install(&ctx, options).await.unwrap();
    let f = Fixture { ctx, session };
    f.create("t", &id_and_name()).await;
    f.run("INSERT INTO lake.public.t SELECT column1, column2 FROM mine")
        .await;
    let sql = "SELECT count(*) FROM mine JOIN lake.public.t ON column1 = id AND column2 = name";
    assert_eq!(f.value(sql).await, "2");
    f.run("CREATE TABLE also_mine AS SELECT * FROM lake.public.t")
        .await;
    f.run("DROP TABLE mine").await;
    assert_eq!(f.value("SELECT count(*) FROM also_mine").await, "2");
    assert!(f.try_run("SELECT * FROM mine").await.is_err());
    f.check().await;
}

#[tokio::test]
async fn the_session_is_found_through_the_configuration() {
    let f = Fixture::new().await;
    let found = f
        .ctx
        .state()
        .config()
        .get_extension::<UdrSession>()
        .unwrap();
    assert!(std::sync::Arc::ptr_eq(&found, &f.session));
}

#[tokio::test]
async fn a_second_repository_or_a_taken_name_is_refused() {
    let f = Fixture::new().await;
    let options = InstallOptions::new(repository().await);
    let error = install(&f.ctx, options).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::AlreadyExists);
    let mut options = InstallOptions::new(repository().await);
    options.catalog = "datafusion".to_owned();
    let error = install(&SessionContext::new(), options).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::AlreadyExists);
}

#[tokio::test]
async fn a_context_with_url_tables_reads_ours_too() {
    let options = InstallOptions::new(repository().await);
    let f = Fixture::with(options, SessionConfig::new()).await;
    f.create("t", &id_and_name()).await;
    let ctx = f.ctx.clone().enable_url_table();
    let f = Fixture {
        ctx,
        session: f.session,
    };
    f.run("INSERT INTO t VALUES (1, 'a')").await;
    assert_eq!(f.value("SELECT count(*) FROM t").await, "1");
    assert_eq!(f.value("SELECT count(*) FROM \"t@HEAD~1\"").await, "0");
}

#[tokio::test]
async fn two_tables_join_on_strings_over_many_partitions() {
    let f = Fixture::with_table().await;
    f.create("u", &id_and_name()).await;
    for i in 0..8 {
        f.run(&format!(
            "INSERT INTO t SELECT value, 'k' || value FROM generate_series({i}00, {i}99)"
        ))
        .await;
        f.run(&format!(
            "INSERT INTO u SELECT value, 'k' || value FROM generate_series({i}50, {i}99)"
        ))
        .await;
    }
    let sql = "SELECT count(*) FROM t JOIN u USING (name)";
    assert_eq!(f.value(sql).await, "400");
}
