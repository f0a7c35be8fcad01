//! Tables of 1,000, 100,000 and 1,000,000 data files that nobody reads, partitioned by day and
//! bucket: opening and planning a selective query in a new process, one more append, and what two
//! neighbouring commits differ by.
//!
//! The floor is a list of the files with their bounds, in one Parquet file, filtered by the engine
//! in a new process: what a table's metadata would be if nobody ever wrote to it.
#![expect(
    clippy::panic,
    clippy::unwrap_used,
    reason = "a benchmark that cannot go on ends"
)]

use std::collections::BTreeMap;
use std::fs::File;
use std::path::Path;
use std::process::Command;
use std::sync::Arc;
use std::time::Duration;

use arrow::array::{
    ArrayRef, Date32Array, Int32Array, Int64Array, RecordBatch, StringArray,
    TimestampMicrosecondArray,
};
use arrow::datatypes::{DataType, Field, Schema as ArrowSchema, TimeUnit};
use datafusion::prelude::{ParquetReadOptions, SessionContext};
use parquet::arrow::ArrowWriter;
use tokio::runtime::Runtime;
use udr_benches::{files, median, peak_memory, quiesce, scratch, time};
use udr_core::Repository;
use udr_core::diff::file_changes;
use udr_core::env::Env;
use udr_core::format::{Bound, ColumnStats, DataFile, ObjectRef, Schema, Transform, Value};
use udr_core::id::{Digest, Epoch, FieldId, Version};
use udr_core::name::{RefName, RelationPath};
use udr_core::refs::Revision;
use udr_core::store::{Durability, Store, StoreOptions};
use udr_core::txn::{Alteration, CommitOutcome, Transaction};
use udr_datafusion::{InstallOptions, install, udr_sql};

/// How many files a day has: four in each bucket.
const FILES_A_DAY: i64 = 64;
const BUCKETS: u32 = 16;
/// How many files a commit adds while a table is built.
const FILES_A_COMMIT: i64 = 2_500;
/// How often a new process is started.
const ROUNDS: usize = 7;
const DAY: i64 = 86_400_000_000;

fn path() -> RelationPath {
    RelationPath::parse("public", "t").unwrap()
}

fn store(folder: &Path) -> Store {
    let options = StoreOptions {
        durability: Durability::None,
        ..StoreOptions::default()
    };
    Store::open(folder.to_str().unwrap(), &options).unwrap()
}

fn columns() -> ArrowSchema {
    let micros = DataType::Timestamp(TimeUnit::Microsecond, None);
    ArrowSchema::new(vec![
        Field::new("id", DataType::Int64, false),
        Field::new("ts", micros, false),
        Field::new("amount", DataType::Int32, true),
        Field::new("name", DataType::Utf8, true),
    ])
}

async fn publish(transaction: Transaction) {
    match transaction.commit().await.unwrap() {
        CommitOutcome::Committed(_) => {}
        other => panic!("not committed: {other:?}"),
    }
}

/// What the entries of files are made with.
struct Entries {
    env: Env,
    columns: Vec<FieldId>,
    partition: Vec<FieldId>,
}

impl Entries {
    fn new(env: &Env, schema: &Schema) -> Self {
        Self {
            env: env.clone(),
            columns: schema.fields().iter().map(|field| field.id).collect(),
            partition: schema.partitioned_by().map(|field| field.id).collect(),
        }
    }

    /// The entry of file number `n`, which nobody reads.
    fn entry(&self, n: i64) -> Arc<DataFile> {
        let range = |lower, upper| ColumnStats {
            lower: Some(Bound {
                value: lower,
                exact: true,
            }),
            upper: Some(Bound {
                value: upper,
                exact: true,
            }),
            null_count: Some(0),
            sum: None,
        };
        let ints = |lower, upper| range(Value::Int(lower), Value::Int(upper));
        let day = n / FILES_A_DAY;
        let name = |c: char| Value::String(format!("{c}{:08}", n % 9_973));
        let stats = [
            ints(n % 64, 1_000_000_000 + n % 64),
            ints(day * DAY, (day + 1) * DAY - 1),
            ints(-n % 100, 100_000),
            range(name('a'), name('z')),
            ints(day, day),
            ints(n % i64::from(BUCKETS), n % i64::from(BUCKETS)),
        ];
        let ids = self.columns.iter().chain(&self.partition).copied();
        Arc::new(DataFile {
            id: self.env.file_id(),
            object: ObjectRef {
                digest: Digest::of(&n.to_le_bytes()),
                epoch: Epoch::default(),
                bytes: 128 << 20,
                within: None,
            },
            footer_bytes: 4_096,
            footer_digest: Digest::of(&(-n).to_le_bytes()),
            rows: 1_000,
            columns: ids.zip(stats).collect::<BTreeMap<_, _>>(),
            added_at: 0,
            deletes: None,
            carries_identity: false,
            sorted_by: Vec::new(),
            adopted: None,
        })
    }
}

/// A repository with a table of `count` files.
async fn build(folder: &Path, count: i64) {
    let env = Env::system();
    let repository = Repository::create(store(folder), env.clone()).await;
    let repository = repository.unwrap();
    let mut transaction = repository.begin(&RefName::main()).await.unwrap();
    let schema = Schema::from_arrow(&columns()).unwrap();
    let (id, ts) = (schema.fields()[0].id, schema.fields()[1].id);
    transaction.create_table(&path(), schema).await.unwrap();
    let fields = [(ts, Transform::Day), (id, Transform::Bucket(BUCKETS))];
    let fields = fields.map(|(source, transform)| Alteration::AddPartitionField {
        source,
        transform,
        name: None,
    });
    transaction
        .alter_table(&path(), fields.into())
        .await
        .unwrap();
    publish(transaction).await;
    let mut next = 0;
    while next < count {
        let end = count.min(next + FILES_A_COMMIT);
        append(&repository, next..end).await;
        next = end;
    }
}

async fn append(repository: &Repository, numbers: std::ops::Range<i64>) {
    let mut transaction = repository.begin(&RefName::main()).await.unwrap();
    let table = transaction.snapshot().table(&path()).await.unwrap();
    let entries = Entries::new(repository.env(), table.schema());
    let files = numbers.map(|n| DataFile::clone(&entries.entry(n)));
    transaction.append(&path(), files.collect()).await.unwrap();
    publish(transaction).await;
}

/// The files of a table with their bounds, as a list.
fn write_list(file: &Path, count: i64) {
    let numbers = 0..count;
    let day = |n: i64| n / FILES_A_DAY;
    let int32 = |v: i64| i32::try_from(v).unwrap();
    let ints = |of: &dyn Fn(i64) -> i64| -> ArrayRef {
        Arc::new(numbers.clone().map(of).collect::<Int64Array>())
    };
    let times = |of: &dyn Fn(i64) -> i64| -> ArrayRef {
        let times = numbers.clone().map(of);
        Arc::new(TimestampMicrosecondArray::from_iter_values(times))
    };
    let paths = numbers
        .clone()
        .map(|n| Digest::of(&n.to_le_bytes()).to_hex());
    let columns: Vec<(&str, ArrayRef)> = vec![
        ("path", Arc::new(StringArray::from_iter_values(paths))),
        (
            "day",
            Arc::new(Date32Array::from_iter_values(
                numbers.clone().map(|n| int32(day(n))),
            )),
        ),
        (
            "bucket",
            Arc::new(Int32Array::from_iter_values(
                numbers.clone().map(|n| int32(n % i64::from(BUCKETS))),
            )),
        ),
        ("id_min", ints(&|n| n % 64)),
        ("id_max", ints(&|n| 1_000_000_000 + n % 64)),
        ("ts_min", times(&|n| day(n) * DAY)),
        ("ts_max", times(&|n| (day(n) + 1) * DAY - 1)),
    ];
    let batch = RecordBatch::try_from_iter(columns).unwrap();
    let file = File::create(file).unwrap();
    let mut writer = ArrowWriter::try_new(file, batch.schema(), None).unwrap();
    writer.write(&batch).unwrap();
    writer.close().unwrap();
}

/// What a new process says: how long it took, its memory, and how many files it found.
struct Cold {
    took: Duration,
    memory: u64,
    files: u64,
}

impl Cold {
    fn run(side: &str, place: &Path, day: i64) -> Self {
        let output = Command::new(std::env::current_exe().unwrap())
            .args(["cold", side, place.to_str().unwrap(), &day.to_string()])
            .output()
            .unwrap();
        let text = String::from_utf8(output.stdout).unwrap();
        let numbers = text.split_whitespace().map(str::parse);
        let numbers = numbers.collect::<Result<Vec<u64>, _>>();
        let Ok([nanos, memory, files]) = numbers.as_deref() else {
            let errors = String::from_utf8_lossy(&output.stderr);
            panic!("a process said {text}: {errors}");
        };
        Self {
            took: Duration::from_nanos(*nanos),
            memory: *memory,
            files: *files,
        }
    }

    /// The middle of some rounds, as text.
    fn report(side: &str, place: &Path, day: i64) -> (Duration, String) {
        let rounds = (0..ROUNDS).map(|_| Self::run(side, place, day));
        let rounds = rounds.collect::<Vec<_>>();
        let took = median(rounds.iter().map(|round| round.took).collect());
        let memory = rounds.iter().map(|round| round.memory).max().unwrap() >> 20;
        let files = rounds[0].files;
        (
            took,
            format!("{took:.3?}, {memory} MiB resident, {files} files"),
        )
    }
}

/// The new process: opens, plans, and says what it took.
#[expect(clippy::print_stdout, reason = "what the parent reads")]
fn cold(side: &str, place: &Path, day: &str) {
    let day = day.parse::<i64>().unwrap();
    let runtime = Runtime::new().unwrap();
    let (found, took) = time(|| {
        runtime.block_on(async {
            let ctx = SessionContext::new();
            match side {
                "udr" => plan(&ctx, place, day).await,
                _ => filter(&ctx, place, day).await,
            }
        })
    });
    println!("{} {} {found}", took.as_nanos(), peak_memory().unwrap());
}

async fn plan(ctx: &SessionContext, folder: &Path, day: i64) -> usize {
    let repository = Repository::open(store(folder), Env::system()).await;
    let options = InstallOptions::new(repository.unwrap());
    install(ctx, options).await.unwrap();
    let from = day * DAY / 1_000_000;
    let sql = format!(
        "SELECT amount, name FROM t WHERE id = 12345 AND ts >= to_timestamp_seconds({from}) \
         AND ts < to_timestamp_seconds({})",
        from + 86_400
    );
    let frame = udr_sql(ctx, &sql).await.unwrap();
    let plan = frame.create_physical_plan().await.unwrap();
    let plan = datafusion::physical_plan::displayable(plan.as_ref());
    plan.indent(true).to_string().matches(".parquet").count()
}

async fn filter(ctx: &SessionContext, list: &Path, day: i64) -> usize {
    let options = ParquetReadOptions::default();
    let list = list.to_str().unwrap();
    ctx.register_parquet("files", list, options).await.unwrap();
    let bucket = 12_345 % i64::from(BUCKETS);
    let sql = format!(
        "SELECT path FROM files WHERE bucket = {bucket} AND id_min <= 12345 AND id_max >= 12345 \
         AND day = CAST({day} AS INT)::DATE"
    );
    let sql = sql.replace(
        &format!("CAST({day} AS INT)::DATE"),
        &format!("arrow_cast(arrow_cast({day}, 'Int32'), 'Date32')"),
    );
    let batches = ctx.sql(&sql).await.unwrap().collect().await.unwrap();
    batches.iter().map(RecordBatch::num_rows).sum()
}

async fn open(folder: &Path) -> Repository {
    let repository = Repository::open(store(folder), Env::system());
    repository.await.unwrap()
}

/// How long it takes, with nothing in memory, to find out what the newest commits added.
fn compare(runtime: &Runtime, folder: &Path, commits: u64) -> Vec<Duration> {
    let compared = (0..commits).map(|back| {
        let (before, after) = runtime.block_on(async {
            let repository = open(folder).await;
            let main = RefName::main();
            let head = repository.head(&main).await.unwrap();
            let version = head.version().unwrap().0 - back;
            let state = async |version| {
                let revision = Revision::at_version(Version(version));
                let snapshot = repository.resolve(&main, &revision).await.unwrap();
                snapshot.table(&path()).await.unwrap()
            };
            (state(version - 1).await, state(version).await)
        });
        let (changes, took) = time(|| runtime.block_on(file_changes(&before, &after)));
        assert_eq!(changes.unwrap().added.len(), 1);
        took
    });
    compared.collect()
}

fn bytes(folder: &Path) -> u64 {
    let files = files(folder).unwrap();
    files
        .iter()
        .map(|file| file.metadata().unwrap().len())
        .sum()
}

#[expect(clippy::print_stdout, reason = "the report of a benchmark")]
fn main() {
    let arguments = std::env::args().collect::<Vec<_>>();
    if let [_, mode, side, place, day] = arguments.as_slice()
        && mode == "cold"
    {
        cold(side, Path::new(place), day);
        return;
    }
    let test = arguments.iter().any(|argument| argument == "--test");
    let sizes: &[i64] = match test {
        true => &[1_000],
        false => &[1_000, 100_000, 1_000_000],
    };
    let scratch = scratch().unwrap();
    let runtime = Runtime::new().unwrap();
    let mut least = None;
    for count in sizes {
        let name = format!("metadata_of_{count}_files");
        let folder = scratch.path().join(count.to_string());
        let ((), built) = time(|| runtime.block_on(build(&folder, *count)));
        quiesce().unwrap();
        let day = count / FILES_A_DAY / 2;
        let (udr, text) = Cold::report("udr", &folder, day);
        println!("{name}: built in {built:.1?}, {} bytes", bytes(&folder));
        println!("{name}: cold open and plan {text}");
        let list = scratch.path().join(format!("{count}.parquet"));
        write_list(&list, *count);
        let (floor, text) = Cold::report("floor", &list, day);
        println!("{name}: a list of the files, filtered {text}");
        let ratio = floor.as_secs_f64() / udr.as_secs_f64();
        println!("{name}: ratio udr/floor = {ratio:.2}");
        // The largest of many appends, since every so often one merges what others left.
        let repository = runtime.block_on(open(&folder));
        let (mut sum, mut largest) = (0, 0);
        let appends = 64;
        for n in 0..appends {
            let before = bytes(&folder);
            runtime.block_on(append(&repository, count + n..count + n + 1));
            let written = bytes(&folder) - before;
            sum += written;
            largest = written.max(largest);
        }
        let mean = sum / appends.unsigned_abs();
        let compared = compare(&runtime, &folder, appends.unsigned_abs());
        println!(
            "{name}: what two neighbouring commits differ by is found in {:.3?} (median), {:.3?} at \
             most",
            median(compared.clone()),
            compared.iter().max().unwrap(),
        );
        let least = *least.get_or_insert(mean);
        println!(
            "{name}: an append writes {mean} bytes on average, {largest} at most; {:.2} of the \
             smallest table",
            mean as f64 / least as f64
        );
    }
}
