//! A table of numbers whose rows are deleted and changed: what those tests share.

use std::collections::BTreeMap;
use std::sync::Arc;

use arrow::array::{Array as _, AsArray as _, Int64Array, RecordBatch};
use arrow::datatypes::{DataType, Field, Int64Type, Schema as ArrowSchema};
use futures::TryStreamExt as _;
use udr_core::Repository;
use udr_core::data::{
    DeletionVector, RowId, RowIdentity, TableWriter, WriteOptions, identity_fields, read_rows,
    replacing,
};
use udr_core::env::Env;
use udr_core::format::{Change, DataFile, Schema, TableChange};
use udr_core::maintenance::FsckOptions;
use udr_core::name::{RefName, RelationPath};
use udr_core::snapshot::Snapshot;
use udr_core::store::Store;
use udr_core::txn::{CommitOutcome, Conflict, RowChanges, RowOperation, Transaction};

pub(crate) async fn repository() -> Repository {
    let env = Env::seeded(1, 1_700_000_000_000_000);
    let repository = Repository::create(Store::memory(), env).await.unwrap();
    let mut txn = begin(&repository).await;
    txn.create_table(&t(), schema()).await.unwrap();
    commit(txn).await;
    repository
}

pub(crate) fn t() -> RelationPath {
    RelationPath::parse("public", "t").unwrap()
}

pub(crate) fn schema() -> Schema {
    let column = |name| Field::new(name, DataType::Int64, true);
    Schema::from_arrow(&ArrowSchema::new(vec![column("id"), column("v")])).unwrap()
}

pub(crate) async fn begin(repository: &Repository) -> Transaction {
    repository.begin(&RefName::main()).await.unwrap()
}

pub(crate) async fn commit(txn: Transaction) {
    match txn.commit().await.unwrap() {
        CommitOutcome::Committed(_) => {}
        other => panic!("not committed: {other:?}"),
    }
}

pub(crate) async fn conflicts(txn: Transaction) -> Vec<Conflict> {
    match txn.commit().await.unwrap() {
        CommitOutcome::Conflicted(conflicted) => conflicted.conflicts,
        other => panic!("no conflict: {other:?}"),
    }
}

pub(crate) async fn head(repository: &Repository) -> Snapshot {
    repository.head(&RefName::main()).await.unwrap()
}

/// What the newest commit says of the table.
pub(crate) async fn summary(repository: &Repository) -> TableChange {
    let head = head(repository).await;
    match head.commit().changes.as_slice() {
        [Change::Table(change)] => change.clone(),
        other => panic!("not one table: {other:?}"),
    }
}

pub(crate) async fn write(
    txn: &Transaction,
    rows: &[(i64, i64)],
    ids: Option<&[Option<RowId>]>,
) -> Vec<DataFile> {
    let table = txn.snapshot().table(&t()).await.unwrap();
    let identity = match ids {
        Some(_) => RowIdentity::Carried,
        None => RowIdentity::Own,
    };
    let options = WriteOptions {
        identity,
        ..WriteOptions::default()
    };
    let seed = u64::from_le_bytes(txn.id().as_bytes()[..8].try_into().unwrap());
    let env = Env::seeded(seed ^ rows.len() as u64 ^ u64::from(txn.is_empty()), 0);
    let (store, schema) = (table.store(), table.schema());
    let mut writer =
        TableWriter::new(store, &env, table.id(), txn.epoch(), schema, options).unwrap();
    let column = |of: fn(&(i64, i64)) -> i64| -> arrow::array::ArrayRef {
        Arc::new(rows.iter().map(of).collect::<Int64Array>())
    };
    let mut columns = vec![column(|row| row.0), column(|row| row.1)];
    let mut fields = schema.to_arrow().fields().to_vec();
    if let Some(ids) = ids {
        columns.extend(replacing(ids).unwrap());
        fields.extend(identity_fields().map(Arc::new));
    }
    let schema = Arc::new(ArrowSchema::new(fields));
    let batch = RecordBatch::try_new(schema, columns).unwrap();
    writer.write(&batch).await.unwrap();
    writer.finish().await.unwrap()
}

pub(crate) async fn insert(txn: &mut Transaction, ids: impl IntoIterator<Item = i64>) {
    let rows = ids.into_iter().map(|id| (id, 0)).collect::<Vec<_>>();
    let files = Box::pin(write(txn, &rows, None)).await;
    txn.append(&t(), files).await.unwrap();
}

pub(crate) struct Found {
    pub(crate) deleted: Vec<(Arc<DataFile>, DeletionVector)>,
    pub(crate) rows: Vec<(i64, i64)>,
    pub(crate) ids: Vec<Option<RowId>>,
}

/// The rows that a transaction sees and `wanted` picks by id.
pub(crate) async fn find(snapshot: &Snapshot, wanted: impl Fn(i64) -> bool) -> Found {
    let table = snapshot.table(&t()).await.unwrap();
    let mut found = Found {
        deleted: Vec::new(),
        rows: Vec::new(),
        ids: Vec::new(),
    };
    for task in table.plan(None).await.unwrap().files {
        let deleted = task.deleted(table.store(), table.id()).await.unwrap();
        let rows = read_rows(table.store(), table.id(), &task.file, table.schema());
        let mut rows = rows.await.unwrap();
        let mut vector = DeletionVector::new();
        let mut first = 0;
        while let Some((batch, ids)) = rows.try_next().await.unwrap() {
            let column = |i: usize| batch.column(i).as_primitive::<Int64Type>().values();
            for (row, id) in ids.into_iter().enumerate() {
                let position = first + row as u64;
                let gone = deleted.as_ref().is_some_and(|d| d.contains(position));
                if !gone && wanted(column(0)[row]) {
                    vector.insert(position);
                    found.rows.push((column(0)[row], column(1)[row]));
                    found.ids.push(Some(id));
                }
            }
            first += batch.num_rows() as u64;
        }
        found.deleted.push((task.file, vector));
    }
    found
}

pub(crate) async fn delete(txn: &mut Transaction, wanted: impl Fn(i64) -> bool) {
    let found = Box::pin(find(&txn.snapshot(), wanted)).await;
    let changes = RowChanges {
        operation: RowOperation::Delete,
        deleted: found.deleted,
        added: Vec::new(),
    };
    txn.change_rows(&t(), changes).await.unwrap();
}

/// Adds `by` to the value of rows.
pub(crate) async fn update(txn: &mut Transaction, by: i64, wanted: impl Fn(i64) -> bool) {
    let found = Box::pin(find(&txn.snapshot(), wanted)).await;
    let rows = found.rows.iter().map(|(id, v)| (*id, v + by));
    let rows = rows.collect::<Vec<_>>();
    let added = Box::pin(write(txn, &rows, Some(&found.ids))).await;
    let changes = RowChanges {
        operation: RowOperation::Update,
        deleted: found.deleted,
        added,
    };
    txn.change_rows(&t(), changes).await.unwrap();
}

/// Rows by id; checks that counts and statistics agree with them.
pub(crate) async fn contents(snapshot: &Snapshot) -> BTreeMap<i64, i64> {
    let table = snapshot.table(&t()).await.unwrap();
    let plan = table.plan(None).await.unwrap();
    assert_eq!(plan.files.len() as u64, plan.files_total);
    let mut rows = BTreeMap::new();
    for task in &plan.files {
        let batches = table.read(task).await.unwrap();
        let mut live = 0;
        for batch in batches.try_collect::<Vec<_>>().await.unwrap() {
            let column = |i: usize| batch.column(i).as_primitive::<Int64Type>();
            live += batch.num_rows() as u64;
            for row in 0..batch.num_rows() {
                let before = rows.insert(column(0).value(row), column(1).value(row));
                assert!(before.is_none(), "a row was found twice");
            }
            assert_eq!(column(0).null_count(), 0);
        }
        assert_eq!(live, task.live_rows());
        assert!(live > 0, "a file without rows was left");
    }
    assert_eq!(table.rows(), rows.len() as u64);
    let id = table.schema().field("id").unwrap().id;
    let stats = table.column_stats().remove(&id).unwrap_or_default();
    if let Some(bound) = stats.lower {
        let least = rows.keys().next().copied().unwrap_or(i64::MAX);
        let udr_core::format::Value::Int(lower) = bound.value else {
            panic!("not a number")
        };
        assert!(lower <= least && (!bound.exact || lower == least));
    }
    rows
}

pub(crate) fn expected(rows: impl IntoIterator<Item = (i64, i64)>) -> BTreeMap<i64, i64> {
    rows.into_iter().collect()
}

pub(crate) async fn checked(repository: &Repository) {
    let report = repository.fsck(FsckOptions::Data).await.unwrap();
    assert!(report.is_clean(), "{:#?}", report.problems);
}

/// A table of `files` files with ten rows each.
pub(crate) async fn filled(files: i64) -> Repository {
    let repository = repository().await;
    for file in 0..files {
        let mut txn = begin(&repository).await;
        insert(&mut txn, file * 10..file * 10 + 10).await;
        commit(txn).await;
    }
    repository
}
