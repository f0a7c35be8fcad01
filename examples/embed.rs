//! UDR in a service that uses DataFusion already: its tables stay, and join with versioned ones.
//!
//! `cargo run -p udr-examples --example embed`
#![expect(
    clippy::print_stdout,
    clippy::unwrap_used,
    reason = "an example shows its results"
)]

use datafusion::arrow::util::pretty::pretty_format_batches;
use datafusion::error::Result;
use datafusion::prelude::SessionContext;
use udr_core::env::Env;
use udr_core::store::{Store, StoreOptions};
use udr_core::{ErrorKind, Repository};
use udr_datafusion::error::udr_error;
use udr_datafusion::{DefaultCatalog, InstallOptions, install};

#[tokio::main]
async fn main() -> std::result::Result<(), Box<dyn std::error::Error>> {
    // The service as it is: a context with a table of its own.
    let ctx = SessionContext::new();
    run(
        &ctx,
        "CREATE TABLE prices AS VALUES ('tea', 3), ('milk', 2)",
    )
    .await?;

    // One call adds a repository as the catalog `lake`; names without a catalog stay the service's.
    let folder = tempfile::tempdir()?;
    let store = Store::open(folder.path().to_str().unwrap(), &StoreOptions::default())?;
    let repository = Repository::open_or_create(store, Env::system()).await?;
    let options = InstallOptions {
        catalog: "lake".to_owned(),
        default: DefaultCatalog::Unchanged,
        author: Some("orders-service".to_owned()),
        ..InstallOptions::new(repository.clone())
    };
    let session = install(&ctx, options).await?;

    // From here on it is the service's own `ctx.sql`. DDL that plain SQL has no hook for goes
    // through `udr_call`.
    for table in [
        "lake.public.orders (item VARCHAR NOT NULL, pieces BIGINT NOT NULL)",
        "lake.public.audit (note VARCHAR)",
    ] {
        run(
            &ctx,
            &format!("SELECT * FROM udr_call('CREATE TABLE {table}')"),
        )
        .await?;
    }
    run(&ctx, "START TRANSACTION").await?;
    run(
        &ctx,
        "INSERT INTO lake.public.orders VALUES ('tea', 2), ('milk', 5)",
    )
    .await?;
    run(&ctx, "INSERT INTO lake.public.audit VALUES ('two orders')").await?;
    run(&ctx, "COMMIT").await?;

    let bill = run(
        &ctx,
        "SELECT sum(pieces * column2) AS total FROM lake.public.orders JOIN prices ON item = column1",
    )
    .await?;
    println!("{bill}");
    assert!(bill.contains("| 16    |"));

    // What is rolled back never was.
    run(&ctx, "START TRANSACTION").await?;
    run(&ctx, "INSERT INTO lake.public.orders VALUES ('tea', 1000)").await?;
    run(&ctx, "ROLLBACK").await?;
    let orders = "SELECT count(*) AS orders FROM lake.public.orders";
    assert!(run(&ctx, orders).await?.contains("| 2      |"));

    // Errors keep their kind on the way through DataFusion.
    let error = run(&ctx, "SELECT * FROM lake.public.\"orders@99\"")
        .await
        .unwrap_err();
    assert_eq!(
        udr_error(&error).map(udr_core::Error::kind),
        Some(ErrorKind::NotFound)
    );
    println!("{error}");

    // One commit for the transaction, whatever it touched.
    let head = repository.head(&session.branch()).await?;
    assert_eq!(head.commit().changes.len(), 2);
    assert_eq!(head.commit().author, "orders-service");
    Ok(())
}

/// Runs a statement to its end, and gives what it shows.
async fn run(ctx: &SessionContext, sql: &str) -> Result<String> {
    let batches = ctx.sql(sql).await?.collect().await?;
    Ok(pretty_format_batches(&batches)?.to_string())
}
