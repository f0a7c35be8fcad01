//! A repository in a folder: a transaction over two tables, a branch, time travel.
//!
//! `cargo run -p udr-examples --example quickstart`
#![expect(
    clippy::print_stdout,
    clippy::unwrap_used,
    reason = "an example shows its results"
)]

use datafusion::arrow::util::pretty::pretty_format_batches;
use datafusion::error::Result;
use datafusion::prelude::SessionContext;
use udr_core::Repository;
use udr_core::env::Env;
use udr_core::store::{Store, StoreOptions};
use udr_datafusion::{InstallOptions, install, udr_sql};

#[tokio::main]
async fn main() -> std::result::Result<(), Box<dyn std::error::Error>> {
    let folder = tempfile::tempdir()?;
    let store = Store::open(folder.path().to_str().unwrap(), &StoreOptions::default())?;
    let repository = Repository::create(store, Env::system()).await?;
    let ctx = SessionContext::new();
    install(&ctx, InstallOptions::new(repository.clone())).await?;

    // Version 1: both tables and their rows become visible together, or not at all.
    for sql in [
        "BEGIN",
        "CREATE TABLE accounts (id BIGINT NOT NULL, owner VARCHAR)",
        "CREATE TABLE moves (account BIGINT NOT NULL, cents BIGINT NOT NULL)",
        "INSERT INTO accounts VALUES (1, 'Ada'), (2, 'Grace')",
        "INSERT INTO moves VALUES (1, 10000), (2, 500)",
        "COMMIT MESSAGE 'Open two accounts'",
    ] {
        run(&ctx, sql).await?;
    }
    // Version 2: money goes from one account to the other.
    run(&ctx, "INSERT INTO moves VALUES (1, -2500), (2, 2500)").await?;
    let balances = "SELECT owner, sum(cents) AS cents FROM accounts
                    JOIN moves ON id = account GROUP BY owner ORDER BY owner";
    let now = run(&ctx, balances).await?;
    println!("now\n{now}");
    assert!(now.contains("| Ada   | 7500  |") && now.contains("| Grace | 3000  |"));

    // An experiment on a branch, which costs one small record whatever the size of the tables.
    run(&ctx, "CREATE BRANCH what_if").await?;
    run(&ctx, "USE BRANCH what_if").await?;
    run(&ctx, "INSERT INTO moves VALUES (2, 999999)").await?;
    let there = run(&ctx, balances).await?;
    run(&ctx, "USE BRANCH main").await?;
    println!("on the branch\n{there}");
    assert!(there.contains("1002999"));
    assert_eq!(run(&ctx, balances).await?, now);

    // Time travel: a table as it was at version 1.
    let then = run(
        &ctx,
        "SELECT sum(cents) AS cents FROM moves VERSION AS OF 1 WHERE account = 1",
    );
    let then = then.await?;
    println!("at version 1\n{then}");
    assert!(then.contains("| 10000 |"));

    let log = run(&ctx, "SELECT version, message FROM udr.log").await?;
    println!("{log}");
    assert!(log.contains("Open two accounts"));
    Ok(())
}

/// Runs a statement to its end, and gives what it shows.
async fn run(ctx: &SessionContext, sql: &str) -> Result<String> {
    let batches = udr_sql(ctx, sql).await?.collect().await?;
    Ok(pretty_format_batches(&batches)?.to_string())
}
