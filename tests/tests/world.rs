//! How the tests reach a repository: open, write rows, read rows, check.

use std::sync::Arc;
use std::time::Duration;

use arrow::record_batch::RecordBatch;
use futures::TryStreamExt as _;
use object_store::ObjectStore;
use udr_core::Repository;
use udr_core::data::{TableWriter, WriteOptions};
use udr_core::env::Env;
use udr_core::format::{DataFile, Schema};
use udr_core::maintenance::FsckOptions;
use udr_core::name::{RefName, RelationPath};
use udr_core::snapshot::Snapshot;
use udr_core::store::{Probe, RetryPolicy, Store, StoreOptions};
use udr_core::txn::{CommitOutcome, Committed, Transaction};
use udr_core::{Error, Result};
use udr_testkit::fixtures::{self, Rows};

/// The path of a relation in the first namespace.
pub(crate) fn path(name: &str) -> RelationPath {
    RelationPath::parse("public", name).unwrap()
}

/// The name of a branch or a tag.
pub(crate) fn named(name: &str) -> RefName {
    RefName::new(name).unwrap()
}

/// No call is made twice.
pub(crate) fn once() -> RetryPolicy {
    RetryPolicy::none()
}

/// Calls are made up to three times, without pauses.
pub(crate) fn thrice() -> RetryPolicy {
    RetryPolicy {
        attempts: 3,
        backoff: Duration::ZERO,
        backoff_max: Duration::ZERO,
    }
}

/// A store over an object store, with nothing cached.
pub(crate) fn store(inner: Arc<dyn ObjectStore>, retry: RetryPolicy) -> Store {
    Store::wrap(
        inner,
        "",
        &StoreOptions {
            retry,
            probe: Probe::Never,
            ..StoreOptions::default()
        },
    )
    .unwrap()
}

/// Opens the repository in an object store, with nothing cached.
pub(crate) async fn open(inner: Arc<dyn ObjectStore>) -> Result<Repository> {
    Repository::open(store(inner, once()), Env::system()).await
}

/// A new repository in an object store.
pub(crate) async fn create(inner: Arc<dyn ObjectStore>) -> Repository {
    Repository::create(store(inner, once()), Env::system())
        .await
        .unwrap()
}

/// Uploads batches as data files of a table, for a transaction to add.
pub(crate) async fn upload(
    repository: &Repository,
    transaction: &Transaction,
    table: &RelationPath,
    batches: &[RecordBatch],
) -> Result<Vec<DataFile>> {
    let table = transaction.snapshot().table(table).await?;
    let mut writer = TableWriter::new(
        repository.store(),
        repository.env(),
        table.id(),
        transaction.epoch(),
        table.schema(),
        WriteOptions::default(),
    )?;
    for batch in batches {
        writer.write(batch).await?;
    }
    writer.finish().await
}

/// Adds rows to a table in a transaction.
pub(crate) async fn append(
    repository: &Repository,
    transaction: &mut Transaction,
    table: &RelationPath,
    batch: RecordBatch,
) -> Result<()> {
    let files = upload(repository, transaction, table, &[batch]).await?;
    transaction.append(table, files).await
}

/// Creates empty tables with the fixtures' schema, in one commit.
pub(crate) async fn create_tables(repository: &Repository, tables: &[&str]) {
    let mut transaction = repository.begin(&RefName::main()).await.unwrap();
    for table in tables {
        let schema = Schema::from_arrow(&fixtures::schema()).unwrap();
        transaction
            .create_table(&path(table), schema)
            .await
            .unwrap();
    }
    committed(transaction.commit().await).unwrap();
}

/// Commits numbered rows to some tables of a branch, all at once.
pub(crate) async fn commit_rows(
    repository: &Repository,
    branch: &RefName,
    tables: &[&str],
    ids: impl Iterator<Item = i64> + Clone,
) -> Result<Committed> {
    let mut transaction = repository.begin(branch).await?;
    for table in tables {
        append(
            repository,
            &mut transaction,
            &path(table),
            fixtures::numbered(ids.clone()),
        )
        .await?;
    }
    committed(transaction.commit().await)
}

/// What was committed; a conflict is an error here.
pub(crate) fn committed(outcome: Result<CommitOutcome>) -> Result<Committed> {
    match outcome? {
        CommitOutcome::Committed(committed) => Ok(committed),
        CommitOutcome::Unchanged(_) => Err(Error::internal("nothing was staged")),
        CommitOutcome::Conflicted(conflicted) => {
            let why: Vec<_> = conflicted
                .conflicts
                .iter()
                .map(ToString::to_string)
                .collect();
            Err(Error::conflict(why.join("; ")))
        }
    }
}

/// All rows of a table of the fixtures' schema at a state.
pub(crate) async fn rows(snapshot: &Snapshot, table: &RelationPath) -> Result<Rows> {
    let table = snapshot.table(table).await?;
    let mut batches: Vec<RecordBatch> = Vec::new();
    for file in table.plan(None).await?.files {
        let stream = table.read(&file).await?;
        batches.extend(stream.try_collect::<Vec<_>>().await?);
    }
    fixtures::rows(&batches).map_err(|e| Error::internal("not a fixture table").with_source(e))
}

/// All rows of a table at the head of a branch.
pub(crate) async fn head_rows(
    repository: &Repository,
    branch: &RefName,
    table: &str,
) -> Result<Rows> {
    rows(&repository.head(branch).await?, &path(table)).await
}

/// Everything stored is there and undamaged.
pub(crate) async fn check(repository: &Repository) {
    let report = repository.fsck(FsckOptions::Data).await.unwrap();
    assert!(report.problems.is_empty(), "fsck: {:#?}", report.problems);
}
