//! A writing process is killed at random moments: what it acknowledged is there, nothing is there
//! by half. Invariants 2, 4 and 8.
//!
//! The writer is this test binary, run again with a variable in its environment. It commits the
//! row numbered `k` to two tables, and changes a row of a third to say `k`, all at once, and then
//! prints `acknowledged k version`.

use std::io::{BufRead as _, BufReader};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use rand::rngs::StdRng;
use rand::{RngExt as _, SeedableRng as _};
use udr_core::env::Env;
use udr_core::id::Version;
use udr_core::maintenance::FsckOptions;
use udr_core::name::RefName;
use udr_core::refs::Revision;
use udr_core::store::{Store, StoreOptions};
use udr_core::txn::Committed;
use udr_core::{Repository, Result};
use udr_testkit::fixtures::{self, Row, Rows, row};
use udr_testkit::row_changes;

use crate::world::{append, check, commit_rows, committed, create_tables, head_rows, path};

const FOLDER: &str = "UDR_TEST_CRASH_FOLDER";
const KILLS: u32 = 200;
/// Kills on one repository; its history must not make the later ones slower.
const KILLS_PER_REPOSITORY: u32 = 20;
/// How often all metadata is checked, too; it takes longer than what the writers wrote.
const CHECK_EVERY: u32 = 10;
const LIFE_MAX: Duration = Duration::from_millis(200);

async fn open(folder: &str) -> Repository {
    let store = Store::open(folder, &StoreOptions::default()).unwrap();
    Repository::open(store, Env::system()).await.unwrap()
}

/// The process that is killed; a test that passes at once unless it was asked to write.
#[tokio::test]
async fn writer_process() {
    let Ok(folder) = std::env::var(FOLDER) else {
        return;
    };
    let repository = open(&folder).await;
    let main = RefName::main();
    let head = repository.head(&main).await.unwrap();
    let rows = head.table(&path("a")).await.unwrap().rows();
    for k in i64::try_from(rows).unwrap().. {
        let committed = write_one(&repository, k).await.unwrap();
        // The harness has written the test's name without a line's end.
        println!("\nacknowledged {k} {}", committed.version);
    }
}

/// How many rows the third table has; number `k % COUNTERS` says the last `k`.
const COUNTERS: i64 = 5;

async fn write_one(repository: &Repository, k: i64) -> Result<Committed> {
    let mut transaction = repository.begin(&RefName::main()).await?;
    for table in ["a", "b"] {
        let batch = fixtures::numbered([k]);
        append(repository, &mut transaction, &path(table), batch).await?;
    }
    let (env, word) = (repository.env(), k.to_string());
    let change = (|row: &Row| row.0 == k % COUNTERS, word.as_str());
    row_changes::change(&mut transaction, &path("c"), env, change, &[]).await?;
    committed(transaction.commit().await)
}

/// What the third table has once there are `rows` rows in the others.
fn counters(rows: i64) -> Rows {
    let last = |i: i64| (0..rows).rev().find(|k| k % COUNTERS == i);
    let said = |i| (i, last(i).map_or_else(|| row(i).1, |k| Some(k.to_string())));
    fixtures::multiset((0..COUNTERS).map(said))
}

fn start(folder: &str) -> Child {
    Command::new(std::env::current_exe().unwrap())
        .args([
            "--exact",
            "crash::writer_process",
            "--nocapture",
            "--test-threads=1",
        ])
        .env(FOLDER, folder)
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap()
}

/// Lets a writer live for a while, kills it, and returns what it had acknowledged.
fn kill_after(folder: &str, life: Duration) -> Vec<(i64, Version)> {
    let mut child = start(folder);
    let output = child.stdout.take().unwrap();
    let reader = std::thread::spawn(move || {
        let mut acknowledged = Vec::new();
        for line in BufReader::new(output).lines().map_while(Result::ok) {
            // A line that was cut off by the kill has no version, or has lost digits of it.
            if let Some(rest) = line.strip_prefix("acknowledged ")
                && let Some((k, version)) = rest.split_once(' ')
            {
                acknowledged.push((k.parse().unwrap(), Version(version.parse().unwrap())));
            }
        }
        acknowledged
    });
    std::thread::sleep(life);
    assert!(
        child.try_wait().unwrap().is_none(),
        "the writer ended by itself"
    );
    child.kill().unwrap();
    child.wait().unwrap();
    reader.join().unwrap()
}

/// Both tables agree and nothing acknowledged is missing.
async fn inspect(folder: &str, acknowledged: &[(i64, Version)]) {
    let repository = open(folder).await;
    let main = RefName::main();
    let head = repository.head(&main).await.unwrap();
    let count = async |table| head.table(&path(table)).await.unwrap().rows();
    let rows = i64::try_from(count("a").await).unwrap();
    assert_eq!(
        rows,
        i64::try_from(count("b").await).unwrap(),
        "a commit is there by half"
    );
    assert_eq!(
        head_rows(&repository, &main, "c").await.unwrap(),
        counters(rows),
        "a commit is there by half"
    );
    if let Some((k, version)) = acknowledged.last() {
        assert!(
            rows > *k,
            "row {k} was acknowledged, and there are {rows} rows"
        );
        assert!(head.version().unwrap() >= *version);
        let then = repository
            .resolve(&main, &Revision::at_version(*version))
            .await
            .unwrap();
        assert_eq!(
            then.table(&path("a")).await.unwrap().rows(),
            k.unsigned_abs() + 1
        );
    }
}

/// All metadata is there and agrees.
async fn inspect_metadata(folder: &str) {
    let report = open(folder)
        .await
        .fsck(FsckOptions::Metadata)
        .await
        .unwrap();
    assert!(report.is_clean(), "fsck: {:#?}", report.problems);
}

/// Exactly the rows 0, 1, 2, … are in both tables, and everything stored is undamaged.
async fn inspect_whole(folder: &str) {
    let repository = open(folder).await;
    let main = RefName::main();
    let rows = head_rows(&repository, &main, "a").await.unwrap();
    let expected = fixtures::multiset((0..i64::try_from(rows.len()).unwrap()).map(row));
    assert_eq!(rows, expected);
    assert_eq!(head_rows(&repository, &main, "b").await.unwrap(), expected);
    check(&repository).await;
    // It can still be written to.
    commit_rows(&repository, &main, &["a", "b"], [-1].into_iter())
        .await
        .unwrap();
}

#[tokio::test]
async fn a_killed_writer_loses_nothing_that_it_acknowledged() {
    let seed = std::env::var("UDR_TEST_SEED").map_or_else(
        |_| rand::random::<u64>(),
        |seed| seed.parse().expect("UDR_TEST_SEED is a number"),
    );
    println!("UDR_TEST_SEED={seed}");
    let mut random = StdRng::seed_from_u64(seed);
    let started = Instant::now();
    let mut total = 0;
    for _ in 0..KILLS / KILLS_PER_REPOSITORY {
        let root = tempfile::tempdir().unwrap();
        let folder = root.path().join("repository");
        let folder = folder.to_str().unwrap();
        let store = Store::open(folder, &StoreOptions::default()).unwrap();
        let repository = Repository::create(store, Env::system()).await.unwrap();
        create_tables(&repository, &["a", "b", "c"]).await;
        commit_rows(&repository, &RefName::main(), &["c"], 0..COUNTERS)
            .await
            .unwrap();
        for kill in 1..=KILLS_PER_REPOSITORY {
            let life = LIFE_MAX.mul_f64(random.random_range(0.05..1.0));
            let acknowledged = kill_after(folder, life);
            total += acknowledged.len();
            inspect(folder, &acknowledged).await;
            if kill % CHECK_EVERY == 0 {
                inspect_metadata(folder).await;
            }
        }
        inspect_whole(folder).await;
    }
    println!(
        "{KILLS} kills, {total} acknowledged commits, {:?}",
        started.elapsed()
    );
    assert!(
        total > 100,
        "the writers were killed before they wrote: {total} commits"
    );
}
