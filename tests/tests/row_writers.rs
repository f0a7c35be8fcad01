//! Many processes change rows of one table at once, through SQL: changes of different rows of one
//! file all commit, a row that all of them count up loses nothing.

use std::process::{Command, Stdio};

use arrow::array::AsArray as _;
use arrow::datatypes::Int64Type;
use datafusion::prelude::SessionContext;
use udr_core::env::Env;
use udr_core::name::RefName;
use udr_core::store::{Store, StoreOptions};
use udr_core::{ErrorKind, Repository};
use udr_datafusion::error::udr_error;
use udr_datafusion::{InstallOptions, install, udr_sql};

use crate::world::check;

const FOLDER: &str = "UDR_TEST_ROW_WRITERS_FOLDER";
const WRITER: &str = "UDR_TEST_ROW_WRITERS_NUMBER";
const PROCESSES: i64 = 8;
const ROUNDS: i64 = 12;
/// The row that all processes change.
const SHARED: i64 = -1;

async fn context(repository: Repository) -> SessionContext {
    let ctx = SessionContext::new();
    install(&ctx, InstallOptions::new(repository))
        .await
        .unwrap();
    ctx
}

/// Runs a statement until no other process is in its way; returns how often one was.
async fn run(ctx: &SessionContext, sql: &str) -> u64 {
    let mut conflicts = 0;
    loop {
        let ran = match udr_sql(ctx, sql).await {
            Ok(frame) => frame.collect().await,
            Err(error) => Err(error),
        };
        match ran {
            Ok(_) => return conflicts,
            Err(error) => {
                let kind = udr_error(&error).map(udr_core::Error::kind);
                assert_eq!(kind, Some(ErrorKind::Conflict), "{sql}: {error}");
                conflicts += 1;
            }
        }
    }
}

/// One of the processes; a test that passes at once unless it was asked to write.
///
/// In each round it changes a row of its own, counts the shared one up, deletes another row of its
/// own, and adds one.
#[tokio::test]
async fn row_writer_process() {
    let Ok(folder) = std::env::var(FOLDER) else {
        return;
    };
    let writer: i64 = std::env::var(WRITER).unwrap().parse().unwrap();
    let store = Store::open(&folder, &StoreOptions::default()).unwrap();
    let repository = Repository::open(store, Env::system()).await.unwrap();
    let ctx = context(repository).await;
    let (mut own, mut shared) = (0, 0);
    for round in 0..ROUNDS {
        let id = writer * 1_000 + round;
        let changed = format!("UPDATE t SET n = n + {id} WHERE id = {id}");
        let deleted = format!("DELETE FROM t WHERE id = {}", id + 500);
        let added = format!("INSERT INTO t VALUES ({}, 1)", id + 900);
        shared += run(&ctx, &format!("UPDATE t SET n = n + 1 WHERE id = {SHARED}")).await;
        for sql in [changed, deleted, added] {
            own += run(&ctx, &sql).await;
        }
    }
    println!("\nconflicts {own} {shared}");
}

#[tokio::test]
async fn processes_change_rows_of_one_file() {
    let root = tempfile::tempdir().unwrap();
    let folder = root.path().join("repository");
    let folder = folder.to_str().unwrap();
    let store = Store::open(folder, &StoreOptions::default()).unwrap();
    let repository = Repository::create(store, Env::system()).await.unwrap();
    let ctx = context(repository.clone()).await;
    let own = format!(
        "SELECT w.value * 1000 + k.value, 0 FROM generate_series(0, {}) AS w,
         generate_series(0, 899) AS k",
        PROCESSES - 1
    );
    run(&ctx, "CREATE TABLE t (id BIGINT, n BIGINT)").await;
    run(
        &ctx,
        &format!("INSERT INTO t {own} UNION ALL SELECT {SHARED}, 0"),
    )
    .await;
    let first = head(&repository).await;

    let children: Vec<_> = (0..PROCESSES)
        .map(|writer| {
            Command::new(std::env::current_exe().unwrap())
                .args(["--exact", "row_writers::row_writer_process"])
                .args(["--nocapture", "--test-threads=1"])
                .env(FOLDER, folder)
                .env(WRITER, writer.to_string())
                .stdout(Stdio::piped())
                .stderr(Stdio::piped())
                .spawn()
                .unwrap()
        })
        .collect();
    for child in children {
        let output = child.wait_with_output().unwrap();
        let text = String::from_utf8_lossy(&output.stdout);
        let errors = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{text}{errors}");
        let said = text.lines().find_map(|l| l.strip_prefix("conflicts "));
        let (own, shared) = said.unwrap().split_once(' ').unwrap();
        println!("conflicts over own rows {own}, over the shared one {shared}");
        assert_eq!(own, "0", "rows that no other process touched");
    }

    let changes = (PROCESSES * ROUNDS * 4).unsigned_abs();
    assert_eq!(head(&repository).await - first, changes);
    for (sql, expected) in [
        (
            format!("SELECT n FROM t WHERE id = {SHARED}"),
            PROCESSES * ROUNDS,
        ),
        ("SELECT count(*) FROM t".to_owned(), PROCESSES * 900 + 1),
        (
            format!("SELECT count(*) FROM t WHERE id % 1000 < {ROUNDS} AND id >= 0 AND n = id"),
            PROCESSES * ROUNDS,
        ),
        (
            format!(
                "SELECT count(*) FROM t WHERE id % 1000 BETWEEN 500 AND {}",
                499 + ROUNDS
            ),
            0,
        ),
        (
            "SELECT count(*) FROM t WHERE id % 1000 >= 900".to_owned(),
            PROCESSES * ROUNDS,
        ),
    ] {
        let rows = udr_sql(&ctx, &sql).await.unwrap().collect().await.unwrap();
        let found = rows[0].column(0).as_primitive::<Int64Type>().value(0);
        assert_eq!(found, expected, "{sql}");
    }
    check(&repository).await;
}

async fn head(repository: &Repository) -> u64 {
    let head = repository.head(&RefName::main()).await.unwrap();
    head.version().unwrap().0
}
