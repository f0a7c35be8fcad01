//! Branches of a large table, and reading far back from a cold start.
//!
//! The floor of a branch is one small record in a folder of its own, durable. The floor of reading
//! version 1 after 1,000 commits is reading the head, equally cold.
#![expect(
    clippy::panic,
    clippy::unwrap_used,
    reason = "a benchmark that cannot go on ends"
)]

mod compare;

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use arrow::array::{Int64Array, RecordBatch};
use arrow::datatypes::{DataType, Field, Schema as ArrowSchema};
use criterion::Criterion;
use futures::TryStreamExt as _;
use tokio::runtime::Runtime;
use udr_benches::{Round, files, quiesce, scratch, time, write_durably};
use udr_core::Repository;
use udr_core::data::{TableWriter, WriteOptions};
use udr_core::env::Env;
use udr_core::format::{Bound, ColumnStats, DataFile, ObjectRef, Schema, Value};
use udr_core::id::{Digest, Epoch};
use udr_core::name::{RefName, RelationPath};
use udr_core::refs::Revision;
use udr_core::store::{Durability, Store, StoreOptions};
use udr_core::txn::{CommitOutcome, Transaction};

use self::compare::compare;

/// How many data files the branched table has.
const FILES: i64 = 10_000;
/// How many branches are made in all: ten samples and two warm-up rounds of this many.
const BRANCHES: u32 = 100;
/// How many commits lie between version 1 and the head.
const COMMITS: i64 = 1_000;
/// The bytes of a record: about those of a ref record.
const RECORD: [u8; 512] = [b'x'; 512];

fn path() -> RelationPath {
    RelationPath::parse("public", "t").unwrap()
}

fn schema() -> Schema {
    let id = Field::new("id", DataType::Int64, false);
    Schema::from_arrow(&ArrowSchema::new(vec![id])).unwrap()
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

async fn publish(transaction: Transaction) {
    match transaction.commit().await.unwrap() {
        CommitOutcome::Committed(_) => {}
        other => panic!("not committed: {other:?}"),
    }
}

/// The entry of a file that nobody reads.
fn entry(env: &Env, schema: &Schema, n: i64) -> DataFile {
    let bound = |value| {
        Some(Bound {
            value: Value::Int(value),
            exact: true,
        })
    };
    let stats = ColumnStats {
        lower: bound(n * 1_000),
        upper: bound(n * 1_000 + 999),
        null_count: Some(0),
        sum: None,
    };
    DataFile {
        id: env.file_id(),
        object: ObjectRef {
            digest: Digest::of(&n.to_le_bytes()),
            epoch: Epoch::default(),
            bytes: 128 << 20,
            within: None,
        },
        footer_bytes: 4_096,
        footer_digest: Digest::of(&(-n).to_le_bytes()),
        rows: 1_000,
        columns: BTreeMap::from([(schema.fields()[0].id, stats)]),
        added_at: 0,
        deletes: None,
        carries_identity: false,
        sorted_by: Vec::new(),
        adopted: None,
    }
}

/// A repository with a table of [`FILES`] files.
async fn create_large(folder: &Path) {
    let env = Env::system();
    let repository = Repository::create(store(folder, Durability::Full), env.clone())
        .await
        .unwrap();
    let mut transaction = repository.begin(&RefName::main()).await.unwrap();
    transaction.create_table(&path(), schema()).await.unwrap();
    let schema = schema();
    let files = (0..FILES).map(|n| entry(&env, &schema, n)).collect();
    transaction.append(&path(), files).await.unwrap();
    publish(transaction).await;
}

#[expect(clippy::print_stdout, reason = "the report of a benchmark")]
fn branches(criterion: &mut Criterion) {
    let runtime = Runtime::new().unwrap();
    let scratch = scratch().unwrap();
    let folder = scratch.path().join("repository");
    runtime.block_on(create_large(&folder));
    quiesce().unwrap();
    let repository = runtime.block_on(open(&folder, Durability::Full));
    let head = runtime.block_on(repository.head(&RefName::main())).unwrap();
    let floor = scratch.path().join("floor");
    std::fs::create_dir(&floor).unwrap();
    let mut made = 0_u32;
    compare(criterion, "branch_of_10000_files", BRANCHES, || {
        let mut round = Round {
            udr: Default::default(),
            floor: Default::default(),
        };
        for _ in 0..BRANCHES {
            let name = format!("branch-{made}");
            round.floor += time(|| {
                let folder = floor.join(&name);
                std::fs::create_dir(&folder).unwrap();
                write_durably(&folder, "0", &RECORD).unwrap();
                std::fs::File::open(&floor).unwrap().sync_all().unwrap();
            })
            .1;
            let name = RefName::new(name).unwrap();
            let create = repository.create_branch(&name, &head);
            round.udr += time(|| runtime.block_on(create).unwrap()).1;
            made += 1;
        }
        round
    });
    let sizes = files(&folder.join("refs/heads")).unwrap();
    let sizes = sizes.iter().filter(|file| !file.ends_with("hint.json"));
    let sizes = sizes.map(|file| file.metadata().unwrap().len());
    println!(
        "branch_of_10000_files: {made} branches, largest record {} bytes",
        sizes.max().unwrap()
    );
}

async fn commit_row(repository: &Repository, n: i64) {
    let mut transaction = repository.begin(&RefName::main()).await.unwrap();
    if n == 1 {
        transaction.create_table(&path(), schema()).await.unwrap();
    }
    let table = transaction.snapshot().table(&path()).await.unwrap();
    let (id, epoch, schema) = (table.id(), transaction.epoch(), table.schema());
    let (store, env) = (repository.store(), repository.env());
    let options = WriteOptions::default();
    let mut writer = TableWriter::new(store, env, id, epoch, schema, options).unwrap();
    let column = Arc::new(Int64Array::from(vec![n]));
    let batch = RecordBatch::try_new(schema.to_arrow(), vec![column]).unwrap();
    writer.write(&batch).await.unwrap();
    let files = writer.finish().await.unwrap();
    transaction.append(&path(), files).await.unwrap();
    publish(transaction).await;
}

/// Opens, finds a version and plans a scan of it, as a new process does.
async fn plan_cold(folder: &Path, revision: &Revision) -> usize {
    let repository = open(folder, Durability::Full).await;
    let snapshot = repository.resolve(&RefName::main(), revision).await;
    let table = snapshot.unwrap().table(&path()).await.unwrap();
    table.plan(None).await.unwrap().files.len()
}

/// The same, and reads the rows.
async fn read_cold(folder: &Path, revision: &Revision) -> usize {
    let repository = open(folder, Durability::Full).await;
    let snapshot = repository.resolve(&RefName::main(), revision).await;
    let table = snapshot.unwrap().table(&path()).await.unwrap();
    let mut rows = 0;
    for file in table.plan(None).await.unwrap().files {
        let read = table.read(&file).await.unwrap();
        let batches = read.try_collect::<Vec<_>>().await.unwrap();
        rows += batches.iter().map(RecordBatch::num_rows).sum::<usize>();
    }
    rows
}

#[expect(clippy::print_stdout, reason = "the report of a benchmark")]
fn far_back(criterion: &mut Criterion) {
    let runtime = Runtime::new().unwrap();
    let scratch = scratch().unwrap();
    let folder = scratch.path().join("repository");
    runtime.block_on(async {
        let store = store(&folder, Durability::None);
        let repository = Repository::create(store, Env::system()).await.unwrap();
        for n in 1..=COMMITS {
            Box::pin(commit_row(&repository, n)).await;
        }
    });
    quiesce().unwrap();
    let (old, new) = ("1".parse::<Revision>().unwrap(), "main".parse().unwrap());
    compare(criterion, "version_1_after_1000_commits", 1, || {
        let (files, floor) = time(|| runtime.block_on(plan_cold(&folder, &new)));
        assert_eq!(i64::try_from(files), Ok(COMMITS));
        let (files, udr) = time(|| runtime.block_on(plan_cold(&folder, &old)));
        assert_eq!(files, 1);
        Round { udr, floor }
    });
    let (rows, took) = time(|| runtime.block_on(read_cold(&folder, &old)));
    assert_eq!(rows, 1);
    println!("version_1_after_1000_commits: with its rows {took:.3?}");
}

fn main() {
    let mut criterion = Criterion::default().configure_from_args();
    branches(&mut criterion);
    far_back(&mut criterion);
    criterion.final_summary();
}
