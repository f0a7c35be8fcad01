//! Transactions, branches and time travel through the public API.

use std::sync::Arc;

use arrow::array::{Int64Array, RecordBatch};
use arrow::datatypes::{DataType, Field, Schema as ArrowSchema};
use futures::TryStreamExt as _;
use udr_core::data::{TableWriter, WriteOptions};
use udr_core::env::Env;
use udr_core::format::{DataFile, Schema, View};
use udr_core::id::{RecordNumber, Version};
use udr_core::maintenance::FsckOptions;
use udr_core::name::{NamespaceName, RefName, RelationPath};
use udr_core::refs::Revision;
use udr_core::snapshot::Snapshot;
use udr_core::store::{RefKind, Store, StoreOptions};
use udr_core::txn::{CommitOutcome, Committed, OnExisting, Transaction};
use udr_core::{ErrorKind, FastForward, MergeMode, Repository, TransactionOutcome};

pub(crate) async fn repository() -> Repository {
    let env = Env::seeded(1, 1_700_000_000_000_000);
    Repository::create(Store::memory(), env).await.unwrap()
}

pub(crate) fn path(name: &str) -> RelationPath {
    RelationPath::parse("public", name).unwrap()
}

pub(crate) fn schema() -> Schema {
    let id = Field::new("id", DataType::Int64, false);
    Schema::from_arrow(&ArrowSchema::new(vec![id])).unwrap()
}

pub(crate) async fn files(txn: &Transaction, table: &RelationPath, ids: &[i64]) -> Vec<DataFile> {
    let table = txn.snapshot().table(table).await.unwrap();
    let env = Env::seeded(
        u64::from_le_bytes(txn.id().as_bytes()[..8].try_into().unwrap()),
        0,
    );
    let (id, epoch, schema) = (table.id(), txn.epoch(), table.schema());
    let mut writer = TableWriter::new(
        table.store(),
        &env,
        id,
        epoch,
        schema,
        WriteOptions::default(),
    )
    .unwrap();
    let column = Arc::new(Int64Array::from(ids.to_vec()));
    writer
        .write(&RecordBatch::try_new(schema.to_arrow(), vec![column]).unwrap())
        .await
        .unwrap();
    Box::pin(writer.finish()).await.unwrap()
}

pub(crate) async fn append(txn: &mut Transaction, table: &RelationPath, ids: &[i64]) {
    let files = Box::pin(files(txn, table, ids)).await;
    txn.append(table, files).await.unwrap();
}

pub(crate) async fn committed(txn: Transaction) -> Committed {
    match txn.commit().await.unwrap() {
        CommitOutcome::Committed(committed) => committed,
        other => panic!("not committed: {other:?}"),
    }
}

pub(crate) async fn conflicts(txn: Transaction) -> String {
    match txn.commit().await.unwrap() {
        CommitOutcome::Conflicted(conflicted) => conflicted.to_error().to_string(),
        other => panic!("no conflict: {other:?}"),
    }
}

pub(crate) async fn ids(snapshot: &Snapshot, table: &RelationPath) -> Vec<i64> {
    let table = snapshot.table(table).await.unwrap();
    let mut found = Vec::new();
    for file in table.plan(None).await.unwrap().files {
        let batches = table.read(&file).await.unwrap();
        for batch in batches.try_collect::<Vec<_>>().await.unwrap() {
            let column = batch
                .column(0)
                .as_any()
                .downcast_ref::<Int64Array>()
                .unwrap();
            found.extend(column.values());
        }
    }
    found.sort_unstable();
    assert_eq!(found.len() as u64, table.rows());
    found
}

/// A repository with the table `t` holding 1 at version 1.
pub(crate) async fn with_table() -> Repository {
    let repository = repository().await;
    let mut txn = repository.begin(&RefName::main()).await.unwrap();
    txn.create_table(&path("t"), schema()).await.unwrap();
    append(&mut txn, &path("t"), &[1]).await;
    assert_eq!(committed(txn).await.version, Version(1));
    repository
}

pub(crate) async fn clean(repository: &Repository) {
    let report = repository.fsck(FsckOptions::Data).await.unwrap();
    assert!(report.is_clean(), "{:#?}", report.problems);
}

pub(crate) async fn head(repository: &Repository) -> Snapshot {
    repository.head(&RefName::main()).await.unwrap()
}

#[tokio::test]
async fn a_transaction_reads_its_own_writes_and_nobody_else_does() {
    let repository = with_table().await;
    let mut txn = repository.begin(&RefName::main()).await.unwrap();
    append(&mut txn, &path("t"), &[2]).await;
    txn.create_table(&path("u"), schema()).await.unwrap();
    append(&mut txn, &path("u"), &[7]).await;
    assert_eq!(ids(&txn.snapshot(), &path("t")).await, [1, 2]);
    assert_eq!(ids(&txn.snapshot(), &path("u")).await, [7]);
    assert_eq!(ids(&head(&repository).await, &path("t")).await, [1]);
    assert!(head(&repository).await.table(&path("u")).await.is_err());
    drop(txn);
    assert_eq!(head(&repository).await.version(), Some(Version(1)));
    clean(&repository).await;
}

#[tokio::test]
async fn concurrent_appends_are_rebased_and_both_kept() {
    let repository = with_table().await;
    let mut first = repository.begin(&RefName::main()).await.unwrap();
    let mut second = repository.begin(&RefName::main()).await.unwrap();
    append(&mut first, &path("t"), &[2]).await;
    append(&mut second, &path("t"), &[3]).await;
    assert_eq!(committed(first).await.attempts, 1);
    let second = committed(second).await;
    assert_eq!((second.version, second.attempts), (Version(3), 2));
    assert_eq!(ids(&head(&repository).await, &path("t")).await, [1, 2, 3]);
    clean(&repository).await;
}

#[tokio::test]
async fn an_overwrite_does_not_lose_rows_appended_meanwhile() {
    let repository = with_table().await;
    let mut overwrite = repository.begin(&RefName::main()).await.unwrap();
    let mut other = repository.begin(&RefName::main()).await.unwrap();
    let replacement = files(&overwrite, &path("t"), &[9]).await;
    overwrite.overwrite(&path("t"), replacement).await.unwrap();
    append(&mut other, &path("t"), &[2]).await;
    committed(other).await;
    let error = conflicts(overwrite).await;
    assert!(
        error.contains("table public.t: INSERT OVERWRITE here, INSERT meanwhile"),
        "{error}"
    );
    assert_eq!(ids(&head(&repository).await, &path("t")).await, [1, 2]);
    clean(&repository).await;
}

#[tokio::test]
async fn an_append_follows_a_table_that_was_renamed_meanwhile() {
    let repository = with_table().await;
    let mut txn = repository.begin(&RefName::main()).await.unwrap();
    append(&mut txn, &path("t"), &[2]).await;
    let mut rename = repository.begin(&RefName::main()).await.unwrap();
    rename.rename_table(&path("t"), &path("u")).await.unwrap();
    committed(rename).await;
    committed(txn).await;
    assert_eq!(ids(&head(&repository).await, &path("u")).await, [1, 2]);
    assert!(head(&repository).await.table(&path("t")).await.is_err());
    clean(&repository).await;
}

#[tokio::test]
async fn a_rename_and_its_own_append_survive_a_concurrent_append() {
    let repository = with_table().await;
    let mut txn = repository.begin(&RefName::main()).await.unwrap();
    txn.rename_table(&path("t"), &path("u")).await.unwrap();
    append(&mut txn, &path("u"), &[2]).await;
    let mut other = repository.begin(&RefName::main()).await.unwrap();
    append(&mut other, &path("t"), &[3]).await;
    committed(other).await;
    committed(txn).await;
    assert_eq!(ids(&head(&repository).await, &path("u")).await, [1, 2, 3]);
    clean(&repository).await;
}

#[tokio::test]
async fn two_that_create_one_name_conflict_and_a_dropped_table_takes_no_rows() {
    let repository = with_table().await;
    let mut first = repository.begin(&RefName::main()).await.unwrap();
    let mut second = repository.begin(&RefName::main()).await.unwrap();
    first.create_table(&path("u"), schema()).await.unwrap();
    second.create_table(&path("u"), schema()).await.unwrap();
    let mut late = repository.begin(&RefName::main()).await.unwrap();
    append(&mut late, &path("t"), &[2]).await;
    first.drop_table(&path("t")).await.unwrap();
    committed(first).await;
    assert!(conflicts(second).await.contains("table public.u"));
    assert!(
        conflicts(late)
            .await
            .contains("INSERT here, DROP TABLE meanwhile")
    );
    clean(&repository).await;
}

#[tokio::test]
async fn savepoints_undo_what_followed_them() {
    let repository = with_table().await;
    let mut txn = repository.begin(&RefName::main()).await.unwrap();
    append(&mut txn, &path("t"), &[2]).await;
    txn.savepoint("a").unwrap();
    append(&mut txn, &path("t"), &[3]).await;
    txn.drop_table(&path("t")).await.unwrap();
    txn.savepoint("b").unwrap();
    txn.rollback_to("a").unwrap();
    assert_eq!(
        txn.rollback_to("b").unwrap_err().kind(),
        ErrorKind::NotFound
    );
    txn.release("a").unwrap();
    assert_eq!(txn.release("a").unwrap_err().kind(), ErrorKind::NotFound);
    committed(txn).await;
    assert_eq!(ids(&head(&repository).await, &path("t")).await, [1, 2]);
    clean(&repository).await;
}

#[tokio::test]
async fn a_replayed_key_returns_the_first_result_however_old() {
    let repository = with_table().await;
    let keyed = async |ids: &[i64], key: String| {
        let mut txn = repository.begin(&RefName::main()).await.unwrap();
        append(&mut txn, &path("t"), ids).await;
        txn.set_idempotency_key(key);
        committed(txn).await
    };
    let first = keyed(&[2], "load-0".to_owned()).await;
    // Enough to push the first key out of the root and onto a page.
    for n in 1..70 {
        let mut txn = repository.begin(&RefName::main()).await.unwrap();
        txn.create_namespace(&NamespaceName::new(format!("n{n}")).unwrap())
            .await
            .unwrap();
        txn.set_idempotency_key(format!("namespace-{n}"));
        committed(txn).await;
    }
    let again = keyed(&[2], "load-0".to_owned()).await;
    assert!(again.replayed && !first.replayed);
    assert_eq!(
        (again.version, again.commit_id),
        (first.version, first.commit_id)
    );
    assert_eq!(ids(&head(&repository).await, &path("t")).await, [1, 2]);
    clean(&repository).await;
}

#[tokio::test]
async fn one_key_tried_twice_at_once_is_applied_once() {
    let repository = with_table().await;
    let mut first = repository.begin(&RefName::main()).await.unwrap();
    let mut second = repository.begin(&RefName::main()).await.unwrap();
    for txn in [&mut first, &mut second] {
        append(txn, &path("t"), &[2]).await;
        txn.set_idempotency_key("load");
    }
    let (first, second) = (committed(first).await, committed(second).await);
    assert!(second.replayed);
    assert_eq!(second.commit_id, first.commit_id);
    assert_eq!(ids(&head(&repository).await, &path("t")).await, [1, 2]);
}

#[tokio::test]
async fn a_branch_reads_on_from_where_it_starts_and_back_through_its_origin() {
    let repository = with_table().await;
    let (main, dev) = (RefName::main(), RefName::new("dev").unwrap());
    let branch = repository
        .create_branch(&dev, &head(&repository).await)
        .await
        .unwrap();
    assert_eq!(branch.version, Version(1));
    let mut txn = repository.begin(&dev).await.unwrap();
    append(&mut txn, &path("t"), &[2]).await;
    assert_eq!(committed(txn).await.version, Version(2));
    let at = async |branch: &RefName, revision: &str| {
        repository.resolve(branch, &revision.parse().unwrap()).await
    };
    assert_eq!(
        ids(&at(&main, "dev").await.unwrap(), &path("t")).await,
        [1, 2]
    );
    assert_eq!(ids(&at(&dev, "main").await.unwrap(), &path("t")).await, [1]);
    assert_eq!(ids(&at(&dev, "1").await.unwrap(), &path("t")).await, [1]);
    assert_eq!(at(&dev, "0").await.unwrap().version(), Some(Version(0)));
    assert_eq!(at(&dev, "dev~2").await.unwrap().version(), Some(Version(0)));
    assert_eq!(
        at(&dev, "dev~3").await.unwrap_err().kind(),
        ErrorKind::NotFound
    );
    assert_eq!(at(&dev, "7").await.unwrap_err().kind(), ErrorKind::NotFound);
    let commit = at(&dev, "HEAD").await.unwrap().commit_id();
    let short = at(&main, &commit.to_hex()[..8]).await.unwrap();
    assert_eq!(
        (short.commit_id(), short.version()),
        (commit, Some(Version(2)))
    );
    let error = at(&dev, "mian").await.unwrap_err();
    assert_eq!(error.hint(), Some("did you mean `main`?"));
    clean(&repository).await;
}

#[tokio::test]
async fn a_time_names_the_state_that_was_current_then() {
    let repository = with_table().await;
    let mut times = vec![head(&repository).await.point().at];
    for n in 2..30 {
        let mut txn = repository.begin(&RefName::main()).await.unwrap();
        append(&mut txn, &path("t"), &[n]).await;
        committed(txn).await;
        times.push(head(&repository).await.point().at);
    }
    for (i, time) in times.iter().enumerate() {
        for (offset, version) in [(0, i as u64 + 1), (-1, i as u64)] {
            let revision = Revision::at_time(time + offset);
            let found = repository
                .resolve(&RefName::main(), &revision)
                .await
                .unwrap();
            assert_eq!(found.version(), Some(Version(version)));
        }
    }
    let before = Revision::at_time(0);
    let error = repository
        .resolve(&RefName::main(), &before)
        .await
        .unwrap_err();
    assert_eq!(error.kind(), ErrorKind::NotFound);
    clean(&repository).await;
}

#[tokio::test]
async fn a_dropped_name_goes_on_counting_and_hides_its_first_life() {
    let repository = with_table().await;
    let dev = RefName::new("dev").unwrap();
    let mut versions = Vec::new();
    for n in 0..2 {
        repository
            .create_branch(&dev, &head(&repository).await)
            .await
            .unwrap();
        let mut txn = repository.begin(&dev).await.unwrap();
        append(&mut txn, &path("t"), &[10 + n]).await;
        versions.push(committed(txn).await.version);
        if n == 0 {
            repository.drop_branch(&dev).await.unwrap();
            assert_eq!(
                repository.begin(&dev).await.unwrap_err().kind(),
                ErrorKind::NotFound
            );
        }
    }
    assert!(versions[1] > versions[0]);
    let first_life = Revision::at_version(versions[0]);
    let error = repository.resolve(&dev, &first_life).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::NotFound, "{error}");
    let (upper, now) = (RefName::new("DEV").unwrap(), head(&repository).await);
    let taken = repository.create_branch(&upper, &now).await.unwrap_err();
    assert_eq!(taken.kind(), ErrorKind::AlreadyExists);
    clean(&repository).await;
}

/// One more row on a branch; the version that shows it.
async fn put(repository: &Repository, branch: &RefName, id: i64) -> Version {
    let mut txn = repository.begin(branch).await.unwrap();
    append(&mut txn, &path("t"), &[id]).await;
    committed(txn).await.version
}

/// The rows of `t` at a version of a branch.
async fn at(repository: &Repository, branch: &RefName, version: u64) -> Vec<i64> {
    let revision = Revision::at_version(Version(version));
    let snapshot = repository.resolve(branch, &revision).await.unwrap();
    assert_eq!(snapshot.version(), Some(Version(version)));
    ids(&snapshot, &path("t")).await
}

#[expect(clippy::too_many_lines, reason = "one story of a name, told in order")]
#[tokio::test]
async fn a_name_used_again_reads_on_from_its_origin_and_its_log_has_no_gap() {
    let repository = with_table().await;
    let (main, dev) = (RefName::main(), RefName::new("dev").unwrap());
    repository
        .create_branch(&dev, &head(&repository).await)
        .await
        .unwrap();
    put(&repository, &dev, 100).await;
    repository.drop_branch(&dev).await.unwrap();
    for id in 2..=20 {
        put(&repository, &main, id).await;
    }
    // Three lives: a client that has seen the first ones, and one that has seen nothing.
    for life in 0..3 {
        let now = head(&repository).await;
        let from = now.version().unwrap().0;
        let made = repository.create_branch(&dev, &now).await.unwrap();
        assert_eq!(made.version, Version(from), "it is above its own last one");
        let next = put(&repository, &dev, 1_000 + life).await;
        assert_eq!(next, Version(from + 1));
        put(&repository, &dev, 2_000 + life).await;
        put(&repository, &main, 3_000 + life).await;
        let env = Env::seeded(2, 1_800_000_000_000_000);
        let cold = Repository::open(repository.store().clone(), env)
            .await
            .unwrap();
        for repository in [&repository, &cold] {
            for version in 1..=from {
                let shown = at(repository, &dev, version).await;
                assert_eq!(shown, at(repository, &main, version).await);
            }
            let own = at(repository, &dev, from + 1).await;
            assert!(own.contains(&(1_000 + life)) && !own.contains(&(2_000 + life)));
            assert!(!own.contains(&100));
            let last = at(repository, &dev, from + 2).await;
            assert!(last.contains(&(2_000 + life)));
            let past = Revision::at_version(Version(from + 3));
            assert!(repository.resolve(&dev, &past).await.is_err());
        }
        let log = cold.log(&dev, None).await.unwrap();
        assert_eq!(log[0].version, Version(from + 2));
        // A branch, a tag and a transaction find a version that the log has under another number.
        let revision = Revision::at_version(Version(from + 1));
        let point = cold.resolve(&dev, &revision).await.unwrap();
        let tag = RefName::new(format!("life-{life}")).unwrap();
        cold.create_tag(&tag, &point).await.unwrap();
        let leaf = RefName::new(format!("leaf-{life}")).unwrap();
        cold.create_branch(&leaf, &point).await.unwrap();
        assert_eq!(
            at(&cold, &leaf, from + 1).await,
            at(&cold, &dev, from + 1).await
        );
        assert_eq!(at(&cold, &leaf, 2).await, at(&cold, &main, 2).await);
        let mut late = cold.begin_at(&dev, &point).await.unwrap();
        append(&mut late, &path("t"), &[4_000 + life]).await;
        let id = late.id();
        let version = committed(late).await.version;
        assert_eq!(version, Version(from + 3));
        let outcome = cold.transaction_outcome(id).await.unwrap();
        let expected = TransactionOutcome::Committed {
            kind: RefKind::Branch,
            name: dev.clone(),
            version,
        };
        assert_eq!(outcome, expected);
        assert_eq!(cold.settle_transaction(&dev, id).await.unwrap(), expected);
        clean(&cold).await;
        repository.drop_branch(&dev).await.unwrap();
        for id in 0..6 {
            put(&repository, &main, 5_000 + id).await;
        }
    }
    let records = repository.store().list_records(RefKind::Branch, &dev).await;
    let records = records.unwrap().into_iter().map(|number| number.0);
    let expected = 1..=3 + 3 * 5;
    assert_eq!(records.collect::<Vec<_>>(), expected.collect::<Vec<_>>());
    clean(&repository).await;
}

#[tokio::test]
async fn a_transaction_that_is_in_no_log_is_unknown_until_it_is_shut_out() {
    let repository = with_table().await;
    let (main, dev) = (RefName::main(), RefName::new("dev").unwrap());
    let mut txn = repository.begin(&main).await.unwrap();
    append(&mut txn, &path("t"), &[2]).await;
    let id = txn.id();
    let outcome = repository.transaction_outcome(id).await.unwrap();
    assert_eq!(outcome, TransactionOutcome::Unknown);
    let error = repository.settle_transaction(&dev, id).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::NotFound);
    let before = head(&repository).await;
    let outcome = repository.settle_transaction(&main, id).await.unwrap();
    assert_eq!(outcome, TransactionOutcome::NotPublished);
    let after = head(&repository).await;
    assert_eq!(after.commit_id(), before.commit_id());
    assert_eq!(after.version(), Some(Version(2)), "the fence has a version");
    clean(&repository).await;
}

#[tokio::test]
async fn a_name_that_was_claimed_lower_reads_on_from_its_origin() {
    let repository = with_table().await;
    let (main, dev) = (RefName::main(), RefName::new("dev").unwrap());
    for id in 2..=9 {
        put(&repository, &main, id).await;
    }
    // A client that wanted to start at version 1 died before its record.
    let store = repository.store();
    store
        .claim_hint(RefKind::Branch, &dev, RecordNumber(1))
        .await
        .unwrap();
    let made = repository
        .create_branch(&dev, &head(&repository).await)
        .await
        .unwrap();
    assert_eq!(made.version, Version(9));
    for version in 1..=9 {
        assert_eq!(
            at(&repository, &dev, version).await,
            at(&repository, &main, version).await
        );
    }
    clean(&repository).await;
}

#[tokio::test]
async fn a_stalled_writer_cannot_publish_on_a_branch_that_was_dropped() {
    let repository = with_table().await;
    let dev = RefName::new("dev").unwrap();
    repository
        .create_branch(&dev, &head(&repository).await)
        .await
        .unwrap();
    let mut stalled = repository.begin(&dev).await.unwrap();
    append(&mut stalled, &path("t"), &[2]).await;
    repository.drop_branch(&dev).await.unwrap();
    repository
        .create_branch(&dev, &head(&repository).await)
        .await
        .unwrap();
    assert_eq!(
        stalled.commit().await.unwrap_err().kind(),
        ErrorKind::NotFound
    );
    let now = repository.head(&dev).await.unwrap();
    assert_eq!(ids(&now, &path("t")).await, [1]);
    clean(&repository).await;
}

#[tokio::test]
async fn a_fast_forward_publishes_the_commits_of_the_branch_and_refuses_divergence() {
    let repository = with_table().await;
    let (main, dev) = (RefName::main(), RefName::new("dev").unwrap());
    repository
        .create_branch(&dev, &head(&repository).await)
        .await
        .unwrap();
    for n in 2..5 {
        let mut txn = repository.begin(&dev).await.unwrap();
        append(&mut txn, &path("t"), &[n]).await;
        committed(txn).await;
    }
    let moved = repository
        .fast_forward(&dev, &main, MergeMode::DryRun)
        .await
        .unwrap();
    assert!(matches!(moved, FastForward::Moved { commits: 3, .. }));
    assert_eq!(head(&repository).await.version(), Some(Version(1)));
    let _ = repository
        .fast_forward(&dev, &main, MergeMode::Publish)
        .await
        .unwrap();
    assert_eq!(
        ids(&head(&repository).await, &path("t")).await,
        [1, 2, 3, 4]
    );
    assert_eq!(repository.log(&main, None).await.unwrap().len(), 5);
    let again = repository
        .fast_forward(&dev, &main, MergeMode::Publish)
        .await
        .unwrap();
    assert!(matches!(again, FastForward::UpToDate { .. }));
    for branch in [&main, &dev] {
        let mut txn = repository.begin(branch).await.unwrap();
        append(&mut txn, &path("t"), &[100]).await;
        committed(txn).await;
    }
    let error = repository
        .fast_forward(&dev, &main, MergeMode::Publish)
        .await
        .unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Conflict);
    clean(&repository).await;
}

#[tokio::test]
async fn views_and_namespaces_follow_the_rules_of_names() {
    let repository = with_table().await;
    let view = View {
        sql: "SELECT 1".to_owned(),
        namespace: NamespaceName::public(),
    };
    let mut txn = repository.begin(&RefName::main()).await.unwrap();
    txn.create_view(&path("v"), view.clone(), OnExisting::Refuse)
        .await
        .unwrap();
    let taken = txn
        .create_view(&path("t"), view.clone(), OnExisting::Replace)
        .await
        .unwrap_err();
    assert_eq!(taken.kind(), ErrorKind::AlreadyExists);
    let taken = txn.create_table(&path("v"), schema()).await.unwrap_err();
    assert_eq!(taken.kind(), ErrorKind::AlreadyExists);
    assert_eq!(
        txn.drop_view(&path("t")).await.unwrap_err().kind(),
        ErrorKind::Invalid
    );
    assert_eq!(
        txn.drop_table(&path("v")).await.unwrap_err().kind(),
        ErrorKind::Invalid
    );
    let full = txn
        .drop_namespace(&NamespaceName::public())
        .await
        .unwrap_err();
    assert_eq!(full.kind(), ErrorKind::Invalid);
    committed(txn).await;
    clean(&repository).await;
}

#[tokio::test]
async fn many_commits_and_many_tables_stay_in_short_trees() {
    let repository = with_table().await;
    for n in 0..300 {
        let mut txn = repository.begin(&RefName::main()).await.unwrap();
        append(&mut txn, &path("t"), &[n]).await;
        committed(txn).await;
    }
    let table = head(&repository).await.table(&path("t")).await.unwrap();
    assert_eq!(table.file_count(), 301);
    let manifests = table.manifests().await.unwrap();
    assert!(manifests.len() <= 16, "{} manifests", manifests.len());
    let plan = table.plan(None).await.unwrap();
    assert!(
        plan.files.is_sorted_by_key(|task| task.file.added_at),
        "files are in order of addition"
    );
    let mut txn = repository.begin(&RefName::main()).await.unwrap();
    for n in 0..600 {
        txn.create_table(&path(&format!("t{n:03}")), schema())
            .await
            .unwrap();
    }
    committed(txn).await;
    let mut txn = repository.begin(&RefName::main()).await.unwrap();
    for n in (0..600).filter(|n| n % 30 != 0) {
        txn.drop_table(&path(&format!("t{n:03}"))).await.unwrap();
    }
    committed(txn).await;
    let names = head(&repository)
        .await
        .relations(&NamespaceName::public())
        .await
        .unwrap();
    assert_eq!(names.len(), 21);
    clean(&repository).await;
}

#[tokio::test]
async fn a_branch_made_by_a_slow_clock_is_not_older_than_what_it_starts_from() {
    let inner: Arc<dyn object_store::ObjectStore> = Arc::new(object_store::memory::InMemory::new());
    let store = || Store::wrap(Arc::clone(&inner), "", &StoreOptions::default()).unwrap();
    let ahead = Repository::create(store(), Env::seeded(1, 2_000_000_000_000_000))
        .await
        .unwrap();
    let behind = Repository::open(store(), Env::seeded(2, 0)).await.unwrap();
    let from = ahead.head(&RefName::main()).await.unwrap();
    let dev = RefName::new("dev").unwrap();
    let branch = behind.create_branch(&dev, &from).await.unwrap();
    assert!(branch.moved_at >= from.point().at);
    let mut txn = behind.begin(&dev).await.unwrap();
    txn.create_table(&path("t"), schema()).await.unwrap();
    committed(txn).await;
    let head = behind.head(&dev).await.unwrap();
    assert!(head.commit().committed_at >= from.commit().committed_at);
    clean(&behind).await;
}

#[tokio::test]
async fn a_name_that_was_only_claimed_is_no_branch_and_can_be_made() {
    let repository = with_table().await;
    let dev = RefName::new("dev").unwrap();
    // What a client leaves that dies between its two steps.
    repository
        .store()
        .claim_hint(RefKind::Branch, &dev, RecordNumber(1))
        .await
        .unwrap();
    let names = repository.branches().await.unwrap();
    assert_eq!(
        names.iter().map(|b| b.name.as_str()).collect::<Vec<_>>(),
        ["main"]
    );
    assert_eq!(
        repository.head(&dev).await.unwrap_err().kind(),
        ErrorKind::NotFound
    );
    clean(&repository).await;
    let made = repository
        .create_branch(&dev, &head(&repository).await)
        .await
        .unwrap();
    assert_eq!(made.version, Version(1));
    clean(&repository).await;
}

#[tokio::test]
async fn a_key_of_a_commit_inside_a_merge_is_known_on_a_branch_that_starts_there() {
    let repository = with_table().await;
    let (main, dev, mid) = (
        RefName::main(),
        RefName::new("dev").unwrap(),
        RefName::new("mid").unwrap(),
    );
    let now = head(&repository).await;
    repository.create_branch(&dev, &now).await.unwrap();
    let mut txn = repository.begin(&dev).await.unwrap();
    append(&mut txn, &path("t"), &[2]).await;
    txn.set_idempotency_key("k1");
    let first = committed(txn).await;
    put(&repository, &dev, 3).await;
    put(&repository, &dev, 4).await;
    repository
        .fast_forward(&dev, &main, MergeMode::Publish)
        .await
        .unwrap();
    let revision = "main~1".parse::<Revision>().unwrap();
    let inside = repository.resolve(&main, &revision).await.unwrap();
    let made = repository.create_branch(&mid, &inside).await.unwrap();
    for branch in [&dev, &main, &mid] {
        let mut txn = repository.begin(branch).await.unwrap();
        append(&mut txn, &path("t"), &[2]).await;
        txn.set_idempotency_key("k1");
        let again = committed(txn).await;
        assert!(again.replayed, "{branch}");
        assert_eq!(again.commit_id, first.commit_id, "{branch}");
        if branch == &mid {
            assert_eq!(again.version, made.version);
        }
    }
    clean(&repository).await;
}

#[tokio::test]
async fn a_commit_says_what_became_of_a_view_whose_name_a_table_takes() {
    let repository = with_table().await;
    let mut txn = repository.begin(&RefName::main()).await.unwrap();
    let view = View {
        sql: "SELECT 1".to_owned(),
        namespace: NamespaceName::public(),
    };
    txn.create_view(&path("v"), view, OnExisting::Refuse)
        .await
        .unwrap();
    let _done = committed(txn).await;
    let mut txn = repository.begin(&RefName::main()).await.unwrap();
    txn.drop_view(&path("v")).await.unwrap();
    txn.create_table(&path("v"), schema()).await.unwrap();
    let _done = committed(txn).await;
    let operation = head(&repository).await.commit().operation();
    assert_eq!(operation, "CREATE TABLE, DROP VIEW");
    let mut txn = repository.begin(&RefName::main()).await.unwrap();
    txn.create_table(&path("x"), schema()).await.unwrap();
    txn.drop_table(&path("x")).await.unwrap();
    let _done = committed(txn).await;
    assert_eq!(head(&repository).await.commit().operation(), "NO CHANGE");
    clean(&repository).await;
}

#[tokio::test]
async fn a_merge_is_not_older_than_its_commits_whatever_clock_they_were_made_by() {
    let repository = with_table().await;
    let (main, dev) = (RefName::main(), RefName::new("dev").unwrap());
    let now = head(&repository).await;
    repository.create_branch(&dev, &now).await.unwrap();
    let ahead = Env::seeded(5, 1_900_000_000_000_000);
    let ahead = Repository::open(repository.store().clone(), ahead)
        .await
        .unwrap();
    put(&ahead, &dev, 2).await;
    repository
        .fast_forward(&dev, &main, MergeMode::Publish)
        .await
        .unwrap();
    put(&repository, &main, 3).await;
    let log = repository.log(&main, None).await.unwrap();
    let times = log.iter().rev().map(|entry| entry.commit.committed_at);
    assert!(times.is_sorted(), "{log:#?}");
    clean(&repository).await;
}

#[tokio::test]
async fn a_state_of_another_repository_cannot_be_named() {
    let repository = with_table().await;
    let env = Env::seeded(9, 1_700_000_000_000_000);
    let other = Repository::create(Store::memory(), env).await.unwrap();
    let mut txn = other.begin(&RefName::main()).await.unwrap();
    txn.create_table(&path("u"), schema()).await.unwrap();
    let _done = committed(txn).await;
    let theirs = head(&other).await;
    let name = RefName::new("theirs").unwrap();
    let error = repository.create_tag(&name, &theirs).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Invalid, "{error}");
}
