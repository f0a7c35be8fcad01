//! Serializable transactions: what they read is as it was when they are published.

use std::collections::BTreeSet;
use std::sync::Arc;

use arrow::array::{Array as _, AsArray as _};
use arrow::datatypes::Int64Type;
use udr_core::Repository;
use udr_core::format::Containers;
use udr_core::id::FieldId;
use udr_core::name::RelationPath;
use udr_core::snapshot::Prune;
use udr_core::txn::{CommitOutcome, Isolation, Transaction};

use crate::row_world::{
    begin, checked, commit, conflicts, delete, filled, insert, schema, t, update,
};

/// Keeps files that can hold an `id` of a range.
#[derive(Debug)]
struct IdRange(BTreeSet<FieldId>, std::ops::Range<i64>);

impl IdRange {
    fn of(range: std::ops::Range<i64>) -> Arc<dyn Prune> {
        let id = schema().field("id").unwrap().id;
        Arc::new(Self(BTreeSet::from([id]), range))
    }
}

impl Prune for IdRange {
    fn fields(&self) -> &BTreeSet<FieldId> {
        &self.0
    }

    fn keep(&self, containers: &Containers) -> udr_core::Result<Vec<bool>> {
        let id = *self.0.first().unwrap();
        let bounds = containers.bounds(id).unwrap();
        let value = |array: &arrow::array::ArrayRef, row: usize| {
            let array = array.as_primitive::<Int64Type>();
            array.is_valid(row).then(|| array.value(row))
        };
        Ok((0..containers.len())
            .map(|row| {
                value(&bounds.lower, row).is_none_or(|lower| lower < self.1.end)
                    && value(&bounds.upper, row).is_none_or(|upper| upper >= self.1.start)
            })
            .collect())
    }
}

/// A transaction that read rows with an id of a range, and adds a row far from them.
async fn reader(repository: &Repository, range: std::ops::Range<i64>) -> Transaction {
    let mut txn = begin(repository).await;
    txn.set_isolation(Isolation::Serializable);
    let table = txn.snapshot().table(&t()).await.unwrap();
    txn.reads().table(table.id(), Some(IdRange::of(range)));
    insert(&mut txn, [1_000 + i64::try_from(table.rows()).unwrap()]).await;
    txn
}

#[tokio::test]
async fn a_serializable_transaction_conflicts_with_what_would_have_changed_what_it_read() {
    let repository = filled(3).await;
    // Rows come, change or go where it looked, and elsewhere.
    for (what, range, conflict) in [
        ("insert", 40..50, true),
        ("insert", 50..60, false),
        ("delete", 0..10, true),
        ("delete", 10..20, false),
        ("update", 20..30, true),
        ("update", 0..1, false),
    ] {
        let ours = reader(&repository, range.clone()).await;
        let mut theirs = begin(&repository).await;
        match what {
            "insert" => insert(&mut theirs, [45]).await,
            "delete" => delete(&mut theirs, |id| id == 5 || id == 45).await,
            _ => update(&mut theirs, 1, |id| id == 25).await,
        }
        commit(theirs).await;
        if conflict {
            let found = conflicts(ours).await;
            assert_eq!(found.len(), 1, "{what}");
            assert_eq!(found[0].ours, "what matches was read");
        } else {
            commit(ours).await;
        }
        if what == "delete" {
            let mut txn = begin(&repository).await;
            insert(&mut txn, [5]).await;
            commit(txn).await;
        } else if what == "insert" {
            let mut txn = begin(&repository).await;
            delete(&mut txn, |id| id == 45).await;
            commit(txn).await;
        }
    }
    // Others read the same, and both write elsewhere: write skew, unless somebody looks.
    let skew = async |isolation| {
        let (mut a, mut b) = (begin(&repository).await, begin(&repository).await);
        for (txn, id) in [(&mut a, 1), (&mut b, 11)] {
            txn.set_isolation(isolation);
            let table = txn.snapshot().table(&t()).await.unwrap();
            txn.reads().table(table.id(), None);
            update(txn, 1, |found| found == id).await;
        }
        commit(a).await;
        b.commit().await.unwrap()
    };
    let both = skew(Isolation::Snapshot).await;
    assert!(matches!(both, CommitOutcome::Committed(_)));
    let one = skew(Isolation::Serializable).await;
    assert!(matches!(one, CommitOutcome::Conflicted(_)));
    checked(&repository).await;
}

#[tokio::test]
async fn a_serializable_transaction_conflicts_with_a_name_that_came_or_a_table_that_was_emptied() {
    let repository = filled(1).await;
    let u = RelationPath::parse("public", "u").unwrap();
    let ours = reader(&repository, 500..600).await;
    ours.reads().name(&u);
    let mut theirs = begin(&repository).await;
    theirs.create_table(&u, schema()).await.unwrap();
    commit(theirs).await;
    let found = conflicts(ours).await;
    assert_eq!(found[0].subject, "name public.u");
    let ours = reader(&repository, 500..600).await;
    let mut theirs = begin(&repository).await;
    theirs.truncate(&t()).await.unwrap();
    commit(theirs).await;
    assert_eq!(conflicts(ours).await.len(), 1);
    // Nothing that it read was touched.
    let ours = reader(&repository, 500..600).await;
    let mut theirs = begin(&repository).await;
    theirs.drop_table(&u).await.unwrap();
    commit(theirs).await;
    commit(ours).await;
    checked(&repository).await;
}
