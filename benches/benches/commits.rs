//! Commits of 100 rows, durable: alone at three lengths of the history, and by eight processes.
//!
//! The floor turns the same rows into Parquet and writes them and one small record. Each gets a
//! temporary name and is synced, renamed, and its folder synced. What the disk alone takes of that
//! is printed, too.
#![expect(
    clippy::panic,
    clippy::unwrap_used,
    reason = "a benchmark that cannot go on ends"
)]

mod compare;

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::Duration;

use arrow::array::{Float64Array, Int64Array, RecordBatch, StringArray};
use arrow::datatypes::{DataType, Field, Schema as ArrowSchema};
use criterion::Criterion;
use parquet::arrow::ArrowWriter;
use parquet::basic::{Compression, ZstdLevel};
use parquet::file::properties::WriterProperties;
use tokio::runtime::Runtime;
use udr_benches::{Round, median, quiesce, report, scratch, time, write_durably};
use udr_core::Repository;
use udr_core::data::{TableWriter, WriteOptions};
use udr_core::env::Env;
use udr_core::format::Schema;
use udr_core::name::{RefName, RelationPath};
use udr_core::store::{Durability, Store, StoreOptions};
use udr_core::txn::{CommitOutcome, Committed, Transaction};

use self::compare::compare;

/// The lengths of the history that commits are measured at.
const LENGTHS: [u64; 3] = [100, 1_000, 10_000];
/// How many commits one round makes: enough for every size of merge in the manifest tree.
const BLOCK: u32 = 16;
const WRITERS: u32 = 8;
const COMMITS_PER_WRITER: u32 = 25;
/// The bytes of a record: about those of a ref record.
const RECORD: [u8; 512] = [b'x'; 512];
/// Set for the processes that this one starts.
const WRITER: &str = "UDR_BENCH_WRITER";

/// The rows of one commit: no two commits have the same.
fn batch(number: u64) -> RecordBatch {
    let schema = ArrowSchema::new(vec![
        Field::new("id", DataType::Int64, false),
        Field::new("name", DataType::Utf8, true),
        Field::new("value", DataType::Float64, true),
    ]);
    let first = i64::try_from(number).unwrap() * 100;
    let ids = Int64Array::from_iter_values(first..first + 100);
    let names = StringArray::from_iter_values((0..100).map(|n| format!("name {n}")));
    let values = Float64Array::from_iter_values((0..100).map(f64::from));
    let columns = (Arc::new(ids), Arc::new(names), Arc::new(values));
    RecordBatch::try_new(Arc::new(schema), vec![columns.0, columns.1, columns.2]).unwrap()
}

fn parquet(batch: &RecordBatch) -> Vec<u8> {
    let level = ZstdLevel::try_new(3).unwrap();
    let properties = WriterProperties::builder()
        .set_compression(Compression::ZSTD(level))
        .build();
    let mut writer = ArrowWriter::try_new(Vec::new(), batch.schema(), Some(properties)).unwrap();
    writer.write(batch).unwrap();
    writer.into_inner().unwrap()
}

fn path() -> RelationPath {
    RelationPath::parse("public", "t").unwrap()
}

fn store(folder: &Path, durability: Durability) -> Store {
    let options = StoreOptions {
        durability,
        ..StoreOptions::default()
    };
    Store::open(folder.to_str().unwrap(), &options).unwrap()
}

async fn open(folder: &Path, durability: Durability) -> Repository {
    Repository::open(store(folder, durability), Env::system())
        .await
        .unwrap()
}

async fn publish(transaction: Transaction) -> Committed {
    match transaction.commit().await.unwrap() {
        CommitOutcome::Committed(committed) => committed,
        other => panic!("not committed: {other:?}"),
    }
}

async fn commit(repository: &Repository, number: u64) -> Committed {
    let mut transaction = repository.begin(&RefName::main()).await.unwrap();
    let table = transaction.snapshot().table(&path()).await.unwrap();
    let mut writer = TableWriter::new(
        repository.store(),
        repository.env(),
        table.id(),
        transaction.epoch(),
        table.schema(),
        WriteOptions::default(),
    )
    .unwrap();
    writer.write(&batch(number)).await.unwrap();
    let files = writer.finish().await.unwrap();
    transaction.append(&path(), files).await.unwrap();
    publish(transaction).await
}

/// A repository with an empty table at version 1.
async fn create(folder: &Path) {
    let store = store(folder, Durability::Full);
    let repository = Repository::create(store, Env::system()).await.unwrap();
    let mut transaction = repository.begin(&RefName::main()).await.unwrap();
    let schema = Schema::from_arrow(&batch(0).schema()).unwrap();
    transaction.create_table(&path(), schema).await.unwrap();
    let _ = publish(transaction).await;
}

/// Makes commits quickly until the branch has `versions`.
async fn fill(folder: &Path, versions: u64) {
    let repository = open(folder, Durability::None).await;
    let main = RefName::main();
    let mut newest = repository.head(&main).await.unwrap().version().unwrap().0;
    while newest < versions {
        newest = Box::pin(commit(&repository, newest)).await.version.0;
    }
}

/// Writes what a commit must write, under names that nothing has.
struct Floor {
    folder: PathBuf,
    next: u64,
    /// What the disk took.
    disk: Duration,
}

impl Floor {
    fn new(folder: PathBuf) -> Self {
        for part in ["data", "refs"] {
            std::fs::create_dir_all(folder.join(part)).unwrap();
        }
        Self {
            folder,
            next: 0,
            disk: Duration::ZERO,
        }
    }

    fn commit(&mut self) {
        let parquet = parquet(&batch(self.next));
        let name = format!("{:012}", self.next);
        let write = || {
            write_durably(&self.folder.join("data"), &name, &parquet).unwrap();
            write_durably(&self.folder.join("refs"), &name, &RECORD).unwrap();
        };
        self.disk += time(write).1;
        self.next += 1;
    }
}

#[expect(clippy::print_stdout, reason = "the report of a benchmark")]
fn alone(criterion: &mut Criterion) {
    let runtime = Runtime::new().unwrap();
    let scratch = scratch().unwrap();
    let folder = scratch.path().join("repository");
    let mut floor = Floor::new(scratch.path().join("floor"));
    runtime.block_on(create(&folder));
    for length in LENGTHS {
        runtime.block_on(fill(&folder, length));
        quiesce().unwrap();
        let repository = runtime.block_on(open(&folder, Durability::Full));
        let name = format!("commit_at_{length}");
        let before = (floor.disk, floor.next);
        let mut number = length;
        compare(criterion, &name, BLOCK, || {
            let mut round = Round {
                udr: Default::default(),
                floor: Default::default(),
            };
            for _ in 0..BLOCK {
                round.floor += time(|| floor.commit()).1;
                round.udr += time(|| runtime.block_on(commit(&repository, number))).1;
                number += 1;
            }
            round
        });
        let (disk, commits) = (floor.disk - before.0, floor.next - before.1);
        if let Some(mean) = u32::try_from(commits)
            .ok()
            .and_then(|n| disk.checked_div(n))
        {
            println!("{name}: of the floor, the disk took {mean:.3?} (mean)");
        }
    }
}

/// A process that waits for a line and then commits.
struct Writer {
    process: Child,
}

impl Writer {
    /// Starts one that is ready: it has opened what it writes to.
    fn start(folder: &Path, kind: &str) -> Self {
        let mut process = Command::new(std::env::current_exe().unwrap())
            .env(WRITER, kind)
            .arg(folder)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut line = String::new();
        let stdout = process.stdout.as_mut().unwrap();
        BufReader::with_capacity(1, stdout)
            .read_line(&mut line)
            .unwrap();
        assert_eq!(line, "ready\n");
        Self { process }
    }

    fn go(&mut self) {
        let stdin = self.process.stdin.as_mut().unwrap();
        stdin.write_all(b"go\n").unwrap();
    }

    /// Waits for the end; returns what it printed: how many attempts its commits took.
    fn end(mut self) -> u32 {
        let mut attempts = String::new();
        let stdout = self.process.stdout.as_mut().unwrap();
        stdout.read_to_string(&mut attempts).unwrap();
        assert!(self.process.wait().unwrap().success());
        attempts.trim().parse().unwrap()
    }
}

/// What a process does that [`Writer::start`] started.
#[expect(
    clippy::print_stdout,
    reason = "how it talks to the one that started it"
)]
fn write_and_exit(kind: &str) {
    let folder = PathBuf::from(std::env::args_os().nth(1).unwrap());
    let wait = || {
        println!("ready");
        std::io::stdin().read_line(&mut String::new()).unwrap();
    };
    if kind == "floor" {
        let mut floor = Floor::new(folder.join(std::process::id().to_string()));
        wait();
        (0..COMMITS_PER_WRITER).for_each(|_| floor.commit());
        println!("{COMMITS_PER_WRITER}");
        return;
    }
    let runtime = Runtime::new().unwrap();
    let repository = runtime.block_on(open(&folder, Durability::Full));
    let first = u64::from(std::process::id()) << 16;
    wait();
    let attempts = (first..first + u64::from(COMMITS_PER_WRITER))
        .map(|number| runtime.block_on(commit(&repository, number)).attempts)
        .sum::<u32>();
    println!("{attempts}");
}

fn eight(folder: &Path, kind: &str) -> (u32, Duration) {
    let mut writers = (0..WRITERS)
        .map(|_| Writer::start(folder, kind))
        .collect::<Vec<_>>();
    time(|| {
        writers.iter_mut().for_each(Writer::go);
        writers.into_iter().map(Writer::end).sum()
    })
}

#[expect(clippy::print_stdout, reason = "the report of a benchmark")]
fn together() {
    let runtime = Runtime::new().unwrap();
    let scratch = scratch().unwrap();
    let folder = scratch.path().join("repository");
    runtime.block_on(create(&folder));
    let commits = WRITERS * COMMITS_PER_WRITER;
    let mut rounds = Vec::new();
    let mut attempts_per_commit = Vec::new();
    for _ in 0..3 {
        let (_, floor) = eight(scratch.path(), "floor");
        let (attempts, udr) = eight(&folder, "udr");
        rounds.push(Round { udr, floor });
        attempts_per_commit.push(f64::from(attempts) / f64::from(commits));
    }
    let head = runtime.block_on(async {
        let repository = open(&folder, Durability::Full).await;
        repository.head(&RefName::main()).await.unwrap()
    });
    let rows = runtime.block_on(head.table(&path())).unwrap().rows();
    assert_eq!(rows, 3 * 100 * u64::from(commits), "a commit was lost");
    let udr = median(rounds.iter().map(|round| round.udr).collect());
    println!(
        "commit_by_{WRITERS}_processes: {:.0} commits a second, attempts a commit {attempts_per_commit:.1?}",
        f64::from(commits) / udr.as_secs_f64()
    );
    report(&format!("commit_by_{WRITERS}_processes"), commits, &rounds);
}

fn main() {
    if let Some(kind) = std::env::var_os(WRITER) {
        write_and_exit(kind.to_str().unwrap());
        return;
    }
    let mut criterion = Criterion::default().configure_from_args();
    alone(&mut criterion);
    together();
    criterion.final_summary();
}
