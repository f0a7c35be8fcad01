//! What a statement says of how it ended is so, whichever call to the store fails.

use std::sync::Arc;

use datafusion::prelude::SessionConfig;
use object_store::memory::InMemory;
use udr_core::env::Env;
use udr_core::store::{RetryPolicy, Store, StoreOptions};
use udr_core::{ErrorKind, Repository};
use udr_datafusion::InstallOptions;
use udr_datafusion::error::udr_error;
use udr_testkit::{Fault, FaultStore, Operations};

use crate::fixture::Fixture;

/// More calls than any statement here makes.
const CALLS_MAX: u64 = 200;

/// A session whose store fails as it is told to, and one on the same store that always works.
async fn sessions(statements: &[&str]) -> (FaultStore, Fixture, Fixture) {
    let backend = Arc::new(InMemory::new());
    let faulty = FaultStore::new(Arc::<InMemory>::clone(&backend));
    let options = StoreOptions {
        retry: RetryPolicy::none(),
        ..StoreOptions::default()
    };
    let store = Store::wrap(backend, "", &options).unwrap();
    let env = Env::seeded(7, 1_767_225_600_000_000);
    let repository = Repository::create(store, env).await.unwrap();
    let whole = Fixture::with(InstallOptions::new(repository), SessionConfig::new()).await;
    for statement in statements {
        whole.udr(statement).await;
    }
    let store = Store::wrap(Arc::new(faulty.clone()), "", &options).unwrap();
    let repository = Repository::open(store, Env::seeded(8, 1_767_225_600_000_000))
        .await
        .unwrap();
    let options = InstallOptions::new(repository);
    let fixture = Fixture::with(options, SessionConfig::new()).await;
    (faulty, fixture, whole)
}

/// Fails the store from each call of `statement` on, in turn. `state` must be another one than
/// before exactly if the statement says that it was done.
async fn sweep(before: &[&str], statement: &str, state: &str) {
    let mut done = 0;
    for at in 1..CALLS_MAX {
        let (store, f, whole) = sessions(before).await;
        let own = state.starts_with("SHOW STATUS");
        let look = async || {
            if own {
                f.udr(state).await
            } else {
                whole.udr(state).await
            }
        };
        let old = look().await;
        store.plan(Fault::GoneBefore, at, Operations::ALL);
        let result = f.try_udr(statement).await;
        let hit = store.hit().is_some();
        store.heal().await.unwrap();
        let new = look().await;
        match &result {
            Ok(_) => assert_ne!(old, new, "call {at} of {statement}"),
            Err(error) => match udr_error(error).map(udr_core::Error::kind) {
                Some(ErrorKind::Indeterminate) => {}
                kind => {
                    assert_eq!(old, new, "call {at} of {statement}: {error}");
                    assert_eq!(kind, Some(ErrorKind::Unavailable), "{statement}: {error}");
                }
            },
        }
        done += u64::from(result.is_ok() && hit);
        whole.check().await;
        if !hit {
            assert!(result.is_ok(), "{statement}");
            assert!(done > 0, "no call of {statement} came after it was done");
            return;
        }
    }
    panic!("{statement} makes too many calls");
}

#[tokio::test(start_paused = true)]
async fn a_failure_after_a_table_was_made_or_dropped_is_none_of_the_statement() {
    let table = "CREATE TABLE t (id BIGINT)";
    sweep(&[], table, "SHOW TABLES").await;
    sweep(&[table], "DROP TABLE t", "SHOW TABLES").await;
    sweep(&[table], "ALTER TABLE t RENAME TO u", "SHOW TABLES").await;
}

#[tokio::test(start_paused = true)]
async fn a_failure_after_a_merge_or_a_switch_is_none_of_the_statement() {
    let before = [
        "CREATE BRANCH dev",
        "USE BRANCH dev",
        "CREATE TABLE t (id BIGINT)",
    ];
    sweep(&before, "MERGE BRANCH dev INTO main", "SHOW LOG ON main").await;
    sweep(&before, "USE BRANCH dev", "SHOW STATUS").await;
}

#[tokio::test(start_paused = true)]
async fn a_commit_that_the_store_fails_can_be_made_again() {
    let before = ["CREATE TABLE t (id BIGINT)"];
    let mut failed = 0;
    for at in 1..CALLS_MAX {
        let (store, f, whole) = sessions(&before).await;
        f.udr("BEGIN").await;
        f.udr("INSERT INTO t VALUES (1)").await;
        store.plan(Fault::GoneBefore, at, Operations::ALL);
        let result = f.try_udr("COMMIT").await;
        let hit = store.hit().is_some();
        store.heal().await.unwrap();
        if let Err(error) = result {
            let error = udr_error(&error).unwrap();
            if error.kind() == ErrorKind::Indeterminate {
                assert!(f.session.status().transaction.is_none());
                continue;
            }
            assert_eq!(error.kind(), ErrorKind::Unavailable, "{error}");
            assert!(error.to_string().contains("COMMIT again"), "{error}");
            assert_eq!(whole.udr("SELECT count(*) FROM t").await, ["0"]);
            assert_eq!(f.udr("SELECT count(*) FROM t").await, ["1"]);
            f.udr("INSERT INTO t VALUES (2)").await;
            f.udr("COMMIT").await;
            assert_eq!(whole.udr("SELECT id FROM t ORDER BY 1").await, ["1", "2"]);
            failed += 1;
        } else {
            assert_eq!(whole.udr("SELECT id FROM t").await, ["1"]);
        }
        assert!(f.session.status().transaction.is_none());
        whole.check().await;
        if !hit {
            assert!(failed > 0);
            return;
        }
    }
    panic!("COMMIT makes too many calls");
}
