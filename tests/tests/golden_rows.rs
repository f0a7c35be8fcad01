//! A repository with changed rows that was written once and must stay readable by every future
//! build: deletion vectors, files that carry the identity of their rows, files written anew.
//!
//! `golden/v1-rows` is written again as `golden/v1` is.

use std::path::{Path, PathBuf};

use udr_core::Repository;
use udr_core::env::Env;
use udr_core::format::{Change, TableOperation};
use udr_core::id::Version;
use udr_core::name::RefName;
use udr_core::refs::Revision;
use udr_testkit::fixtures::{Row, Rows, multiset, row};
use udr_testkit::row_changes;

use crate::golden::{START, copy_of, files, open_store};
use crate::world::{check, commit_rows, committed, create_tables, head_rows, path, rows};

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("golden/v1-rows")
}

/// Writes the repository; every byte depends on nothing but this code and the format.
async fn write(folder: &Path) {
    let env = Env::seeded(2, START);
    let repository = Repository::create(open_store(folder, &env), env.clone())
        .await
        .unwrap();
    let (main, t) = (RefName::main(), path("t"));
    create_tables(&repository, &["t", "u"]).await;
    for ids in [0..20, 20..30] {
        commit_rows(&repository, &main, &["t", "u"], ids)
            .await
            .unwrap();
    }
    // Version 4: a vector over each file.
    let mut transaction = repository.begin(&main).await.unwrap();
    let third = |row: &Row| row.0 % 10 == 3;
    row_changes::delete(&mut transaction, &t, third)
        .await
        .unwrap();
    committed(transaction.commit().await).unwrap();
    // Version 5: changed rows carry their identity, and one that comes has none.
    let mut transaction = repository.begin(&main).await.unwrap();
    let change = (|row: &Row| row.0 % 10 == 4, "changed");
    row_changes::change(&mut transaction, &t, &env, change, &[row(100)])
        .await
        .unwrap();
    committed(transaction.commit().await).unwrap();
    // Version 6: most of the first file goes, so that it is written anew.
    let mut transaction = repository.begin(&main).await.unwrap();
    let most = |row: &Row| row.0 < 12;
    row_changes::delete(&mut transaction, &t, most)
        .await
        .unwrap();
    transaction.truncate(&path("u")).await.unwrap();
    committed(transaction.commit().await).unwrap();
}

/// The rows of `t` at a version.
fn expected(version: u64) -> Rows {
    let ids = 0..if version < 3 { 20 } else { 30 };
    let left = ids.filter(|id| version < 4 || id % 10 != 3);
    let left = left.filter(|id| version < 6 || *id >= 12);
    let changed = |id: i64| match id % 10 {
        4 if version >= 5 => (id, Some("changed".to_owned())),
        _ => row(id),
    };
    let more = (version >= 5).then(|| row(100));
    multiset(left.map(changed).chain(more))
}

#[tokio::test]
async fn writing_under_a_fixed_seed_gives_the_same_bytes() {
    let (first, second) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    write(first.path()).await;
    write(second.path()).await;
    let (first, second) = (files(first.path()), files(second.path()));
    assert!(first == second, "other names, or other bytes");
    if std::env::var_os("UDR_TEST_WRITE_GOLDEN").is_some() {
        if folder().exists() {
            std::fs::remove_dir_all(folder()).unwrap();
        }
        write(&folder()).await;
    }
}

#[tokio::test]
async fn changed_rows_of_version_1_show_what_was_written() {
    let (_folder, store) = copy_of(&folder());
    let repository = Repository::open(store, Env::system()).await.unwrap();
    check(&repository).await;
    let main = RefName::main();
    for version in 2..=6 {
        let revision = Revision::at_version(Version(version));
        let then = repository.resolve(&main, &revision).await.unwrap();
        let found = rows(&then, &path("t")).await.unwrap();
        assert_eq!(found, expected(version), "version {version}");
    }
    let head = repository.head(&main).await.unwrap();
    let table = head.table(&path("t")).await.unwrap();
    let plan = table.plan(None).await.unwrap();
    assert!(plan.files.iter().any(|task| task.file.deletes.is_some()));
    assert!(plan.files.iter().any(|task| task.file.carries_identity));
    assert_eq!(head.table(&path("u")).await.unwrap().rows(), 0);
    let operations: Vec<_> = head
        .commit()
        .changes
        .iter()
        .flat_map(|change| match change {
            Change::Table(change) => change.operations.clone(),
            _ => Vec::new(),
        })
        .collect();
    assert!(operations.contains(&TableOperation::Delete));
    assert!(operations.contains(&TableOperation::Truncate));
    // A row is what it was, wherever it has been moved to.
    let at = Revision::at_version(Version(3));
    let then = repository.resolve(&main, &at).await.unwrap();
    let t = path("t");
    for id in [15, 14, 24, 29] {
        let same = |row: &Row| row.0 == id;
        let before = row_changes::find(&then, &t, same).await.unwrap();
        let after = row_changes::find(&head, &t, same).await.unwrap();
        assert_eq!(after.ids, before.ids, "row {id}");
        assert_eq!(after.ids.len(), 1);
    }
}

#[tokio::test]
async fn changed_rows_of_version_1_can_be_changed_again() {
    let (_folder, store) = copy_of(&folder());
    let repository = Repository::open(store, Env::system()).await.unwrap();
    let main = RefName::main();
    let mut transaction = repository.begin(&main).await.unwrap();
    let some = |row: &Row| row.0 % 2 == 0;
    row_changes::delete(&mut transaction, &path("t"), some)
        .await
        .unwrap();
    committed(transaction.commit().await).unwrap();
    let mut left = expected(6);
    left.retain(|row, _| row.0 % 2 != 0);
    assert_eq!(head_rows(&repository, &main, "t").await.unwrap(), left);
    check(&repository).await;
}
