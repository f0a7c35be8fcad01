//! A repository with constraints that was written once and must stay readable by every future
//! build: checks, keys with bloom filters, foreign keys, generated columns, altered columns.
//!
//! `golden/v1-constraints` is written again as `golden/v1` is.

use std::path::{Path, PathBuf};

use datafusion::execution::context::{SessionConfig, SessionContext};
use udr_core::env::Env;
use udr_core::format::{Change, Constraint, TableOperation};
use udr_core::name::RefName;
use udr_core::{ErrorKind, Repository};
use udr_datafusion::error::udr_error;
use udr_datafusion::{InstallOptions, install, udr_sql};

use crate::golden::{START, copy_of, files, open_store};
use crate::world::{check, path};

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("golden/v1-constraints")
}

async fn session(repository: &Repository) -> SessionContext {
    // One partition, so that files are written in one order.
    let context = SessionContext::new_with_config(SessionConfig::new().with_target_partitions(1));
    let mut options = InstallOptions::new(repository.clone());
    options.author = Some("Ada".to_owned());
    install(&context, options).await.unwrap();
    context
}

async fn run(context: &SessionContext, sql: &str) {
    let frame = udr_sql(context, sql).await.unwrap();
    frame.collect().await.unwrap();
}

/// Writes the repository; every byte depends on nothing but this code and the format.
async fn write(folder: &Path) {
    let env = Env::seeded(4, START);
    let repository = Repository::create(open_store(folder, &env), env)
        .await
        .unwrap();
    let context = session(&repository).await;
    for sql in [
        "CREATE TABLE parents (id BIGINT PRIMARY KEY, code TEXT UNIQUE)",
        "CREATE TABLE children (id BIGINT, parent BIGINT REFERENCES parents, n INT DEFAULT 1, \
         twice INT GENERATED ALWAYS AS (n * 2), CONSTRAINT some CHECK (n > 0))",
        "INSERT INTO parents VALUES (1, 'a'), (2, NULL), (3, NULL)",
        "INSERT INTO children (id, parent, n) VALUES (1, 1, 5), (2, NULL, 6)",
        // The file before allows NULL in `id`, and no other.
        "ALTER TABLE children ADD CONSTRAINT children_key PRIMARY KEY (id)",
        "ALTER TABLE children ALTER COLUMN n DROP DEFAULT",
        "INSERT INTO children (id, parent) VALUES (3, 1)",
    ] {
        run(&context, sql).await;
    }
}

#[tokio::test]
async fn writing_constraints_under_a_fixed_seed_gives_the_same_bytes() {
    let (first, second) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    write(first.path()).await;
    write(second.path()).await;
    let (first, second) = (files(first.path()), files(second.path()));
    assert_eq!(Vec::from_iter(first.keys()), Vec::from_iter(second.keys()));
    assert!(first == second, "the same names, and other bytes");
    if std::env::var_os("UDR_TEST_WRITE_GOLDEN").is_some() {
        if folder().exists() {
            std::fs::remove_dir_all(folder()).unwrap();
        }
        write(&folder()).await;
    }
}

#[tokio::test]
async fn constraints_of_version_1_are_kept() {
    let (_folder, store) = copy_of(&folder());
    let repository = Repository::open(store, Env::system()).await.unwrap();
    check(&repository).await;
    let head = repository.head(&RefName::main()).await.unwrap();
    let table = head.table(&path("children")).await.unwrap();
    let names = table.constraints().iter().map(Constraint::name);
    assert_eq!(
        names.collect::<Vec<_>>(),
        ["some", "children_parent_fkey", "children_key"]
    );
    let twice = table.schema().field("twice").unwrap();
    assert_eq!(twice.generated.as_deref(), Some("n * 2"));
    let parent = head.table(&path("parents")).await.unwrap();
    assert_eq!(head.children(parent.id()), [table.id()]);
    let log = repository.log(&RefName::main(), None).await.unwrap();
    let operations = log.iter().flat_map(|entry| &entry.commit.changes);
    let operations = operations.flat_map(|change| match change {
        Change::Table(change) => change.operations.clone(),
        _ => Vec::new(),
    });
    let operations = operations.collect::<Vec<_>>();
    assert!(operations.contains(&TableOperation::Alter));
    assert!(operations.contains(&TableOperation::Constrain));

    let context = session(&repository).await;
    for (sql, constraint) in [
        ("INSERT INTO parents VALUES (1, 'z')", "parents_pkey"),
        ("INSERT INTO parents VALUES (4, 'a')", "parents_code_key"),
        ("INSERT INTO children (id, n) VALUES (2, 1)", "children_key"),
        ("INSERT INTO children (id, n) VALUES (9, 0)", "some"),
        (
            "INSERT INTO children (id, parent) VALUES (9, 9)",
            "children_parent_fkey",
        ),
        (
            "INSERT OVERWRITE parents VALUES (2, 'b')",
            "children_parent_fkey",
        ),
    ] {
        let frame = udr_sql(&context, sql).await.unwrap();
        let error = frame.collect().await.unwrap_err();
        let error = udr_error(&error).unwrap();
        assert_eq!(error.kind(), ErrorKind::Invalid, "{sql}");
        assert_eq!(error.context("constraint"), Some(constraint), "{sql}");
    }
    run(
        &context,
        "INSERT INTO children (id, parent, n) VALUES (9, 3, 1)",
    )
    .await;
    check(&repository).await;
}
