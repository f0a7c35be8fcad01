//! Many processes write at once to a folder on local disk: nothing is lost, nothing doubled, and
//! versions have no gaps.

use std::collections::BTreeSet;
use std::process::{Command, Stdio};

use udr_core::ErrorKind;
use udr_core::Repository;
use udr_core::env::Env;
use udr_core::name::RefName;
use udr_core::store::{Store, StoreOptions};
use udr_testkit::fixtures::{self, row};

use crate::world::{check, commit_rows, create_tables, head_rows};

const FOLDER: &str = "UDR_TEST_WRITERS_FOLDER";
const TABLE: &str = "UDR_TEST_WRITERS_TABLE";
const WRITER: &str = "UDR_TEST_WRITERS_NUMBER";
const PROCESSES: i64 = 8;
const COMMITS: i64 = 50;

/// One of the processes; a test that passes at once unless it was asked to write.
#[tokio::test]
async fn writer_process() {
    let Ok(folder) = std::env::var(FOLDER) else {
        return;
    };
    let table = std::env::var(TABLE).unwrap();
    let writer: i64 = std::env::var(WRITER).unwrap().parse().unwrap();
    let store = Store::open(&folder, &StoreOptions::default()).unwrap();
    let repository = Repository::open(store, Env::system()).await.unwrap();
    let main = RefName::main();
    for i in 0..COMMITS {
        let id = writer * COMMITS + i;
        let committed = loop {
            match commit_rows(&repository, &main, &[&table], id..=id).await {
                Ok(committed) => break committed,
                // Retries are bounded; nothing was published, so a writer may start again.
                Err(e) if e.kind() == ErrorKind::Conflict => println!("\nagain {id}: {e}"),
                Err(e) => panic!("{e:?}"),
            }
        };
        println!(
            "\nacknowledged {} {}",
            committed.version, committed.attempts
        );
    }
}

/// Runs the writers and checks the versions that they were told.
async fn race(tables: &[&str]) {
    let root = tempfile::tempdir().unwrap();
    let folder = root.path().join("repository");
    let folder = folder.to_str().unwrap();
    let store = Store::open(folder, &StoreOptions::default()).unwrap();
    let repository = Repository::create(store, Env::system()).await.unwrap();
    create_tables(&repository, tables).await;
    let main = RefName::main();
    let first = repository.head(&main).await.unwrap().version().unwrap().0;
    let table_of = |writer: i64| tables[usize::try_from(writer).unwrap() % tables.len()];
    let children: Vec<_> = (0..PROCESSES)
        .map(|writer| {
            Command::new(std::env::current_exe().unwrap())
                .args([
                    "--exact",
                    "writers::writer_process",
                    "--nocapture",
                    "--test-threads=1",
                ])
                .envs([(FOLDER, folder), (TABLE, table_of(writer))])
                .env(WRITER, writer.to_string())
                .stdout(Stdio::piped())
                .stderr(Stdio::piped())
                .spawn()
                .unwrap()
        })
        .collect();
    let mut versions = BTreeSet::new();
    let (mut attempts, mut restarts) = (0, 0);
    for child in children {
        let output = child.wait_with_output().unwrap();
        let text = String::from_utf8_lossy(&output.stdout);
        assert!(
            output.status.success(),
            "{text}{}",
            String::from_utf8_lossy(&output.stderr)
        );
        restarts += text.lines().filter(|l| l.starts_with("again ")).count();
        for line in text.lines().filter_map(|l| l.strip_prefix("acknowledged ")) {
            let (version, tried) = line.split_once(' ').unwrap();
            assert!(
                versions.insert(version.parse::<u64>().unwrap()),
                "{version} twice"
            );
            attempts += tried.parse::<u64>().unwrap();
        }
    }
    println!(
        "{} commits, {attempts} attempts, {restarts} started again",
        versions.len()
    );
    let commits = (PROCESSES * COMMITS).unsigned_abs();
    assert_eq!(
        versions,
        (first + 1..=first + commits).collect::<BTreeSet<_>>()
    );
    assert_eq!(
        repository.head(&main).await.unwrap().version().unwrap().0,
        first + commits
    );
    for (i, table) in tables.iter().enumerate() {
        let mine = (0..PROCESSES)
            .filter(|w| usize::try_from(*w).unwrap() % tables.len() == i)
            .flat_map(|w| w * COMMITS..(w + 1) * COMMITS);
        let found = head_rows(&repository, &main, table).await.unwrap();
        assert_eq!(found, fixtures::multiset(mine.map(row)), "rows of {table}");
    }
    check(&repository).await;
}

#[tokio::test]
async fn processes_append_to_one_table() {
    race(&["t"]).await;
}

#[tokio::test]
async fn processes_append_to_a_table_each() {
    race(&["t0", "t1", "t2", "t3", "t4", "t5", "t6", "t7"]).await;
}
