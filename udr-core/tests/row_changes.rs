//! Deleting and changing rows: what is published, what conflicts, what is found again.

use std::collections::BTreeMap;
use std::sync::Arc;

use arrow::datatypes::{DataType, Field, Schema as ArrowSchema};
use udr_core::ErrorKind;
use udr_core::data::DeletionVector;
use udr_core::diff::file_changes;
use udr_core::env::Env;
use udr_core::format::{DataFile, DeletionVectorRef, Schema, TableOperation};
use udr_core::id::{Epoch, FileId, Version};
use udr_core::maintenance::FsckOptions;
use udr_core::name::{RefName, RelationPath};
use udr_core::refs::Revision;
use udr_core::snapshot::Snapshot;
use udr_core::txn::{RowChanges, RowOperation, Transaction};

use crate::row_world::{
    begin, checked, commit, conflicts, contents, delete, expected, filled, find, head, insert,
    repository, summary, t, update, write,
};

#[tokio::test]
async fn deleted_rows_are_gone_from_then_on_and_nowhere_before() {
    let repository = filled(2).await;
    let before = head(&repository).await.version().unwrap();
    let mut txn = begin(&repository).await;
    delete(&mut txn, |id| id % 5 == 0).await;
    let left = expected((0..20).filter(|id| id % 5 != 0).map(|id| (id, 0)));
    assert_eq!(contents(&txn.snapshot()).await, left);
    assert_eq!(contents(&head(&repository).await).await.len(), 20);
    commit(txn).await;
    assert_eq!(contents(&head(&repository).await).await, left);
    let change = summary(&repository).await;
    assert_eq!(change.operations, [TableOperation::Delete]);
    assert_eq!((change.rows_added, change.rows_removed), (0, 4));
    assert_eq!((change.files_added, change.files_removed), (0, 0));

    // Deleting more of the same files unites with what was deleted before.
    let mut txn = begin(&repository).await;
    delete(&mut txn, |id| id % 5 == 1).await;
    commit(txn).await;
    let left = expected((0..20).filter(|id| id % 5 > 1).map(|id| (id, 0)));
    assert_eq!(contents(&head(&repository).await).await, left);
    let revision = Revision::at_version(before);
    let then = repository.resolve(&RefName::main(), &revision).await;
    assert_eq!(contents(&then.unwrap()).await.len(), 20);
    checked(&repository).await;
}

#[tokio::test]
async fn a_file_whose_rows_are_all_deleted_leaves_the_table() {
    let repository = filled(3).await;
    let mut txn = begin(&repository).await;
    delete(&mut txn, |id| (10..20).contains(&id)).await;
    assert_eq!(txn.snapshot().table(&t()).await.unwrap().file_count(), 2);
    commit(txn).await;
    let table = head(&repository).await.table(&t()).await.unwrap();
    assert_eq!((table.file_count(), table.rows()), (2, 20));
    assert!(!table.has_deletes());
    let change = summary(&repository).await;
    assert_eq!((change.files_removed, change.rows_removed), (1, 10));
    let mut txn = begin(&repository).await;
    delete(&mut txn, |_| true).await;
    commit(txn).await;
    let table = head(&repository).await.table(&t()).await.unwrap();
    assert_eq!((table.file_count(), table.rows(), table.bytes()), (0, 0, 0));
    checked(&repository).await;
}

#[tokio::test]
async fn a_changed_row_keeps_its_identity_however_often_it_is_changed_or_moved() {
    let repository = filled(2).await;
    let first = find(&head(&repository).await, |id| id == 3).await.ids;
    for round in 1..=3 {
        let mut txn = begin(&repository).await;
        update(&mut txn, 1, |id| id == 3 || id == 12).await;
        commit(txn).await;
        let change = summary(&repository).await;
        assert_eq!(change.operations, [TableOperation::Update]);
        assert_eq!((change.rows_added, change.rows_removed), (2, 2));
        let found = find(&head(&repository).await, |id| id == 3).await;
        assert_eq!(found.ids, first);
        assert_eq!(found.rows, [(3, round)]);
    }
    // Most of a file goes: what is left is written anew, and stays what it was.
    let kept = find(&head(&repository).await, |id| id == 4).await.ids;
    let mut txn = begin(&repository).await;
    delete(&mut txn, |id| id < 3 || (5..10).contains(&id)).await;
    commit(txn).await;
    let found = find(&head(&repository).await, |id| id == 4).await;
    assert_eq!(found.ids, kept);
    let change = summary(&repository).await;
    assert_eq!((change.rows_added, change.rows_removed), (0, 8));
    assert_eq!((change.files_added, change.files_removed), (1, 1));
    let table = head(&repository).await.table(&t()).await.unwrap();
    let plan = table.plan(None).await.unwrap();
    assert!(
        plan.files
            .iter()
            .any(|task| task.file.carries_identity && task.file.rows == 1)
    );
    checked(&repository).await;
}

#[tokio::test]
async fn a_transaction_changes_what_it_added_and_takes_it_back() {
    let repository = filled(1).await;
    let mut txn = begin(&repository).await;
    insert(&mut txn, 100..110).await;
    txn.savepoint("added").unwrap();
    delete(&mut txn, |id| id == 5 || id == 105).await;
    update(&mut txn, 7, |id| id == 6 || id == 106).await;
    let mut left = expected((0..10).chain(100..110).map(|id| (id, 0)));
    let all = left.clone();
    left.remove(&5);
    left.remove(&105);
    left.insert(6, 7);
    left.insert(106, 7);
    assert_eq!(contents(&txn.snapshot()).await, left);
    txn.rollback_to("added").unwrap();
    assert_eq!(contents(&txn.snapshot()).await, all);
    delete(&mut txn, |id| id == 5 || id == 105).await;
    update(&mut txn, 7, |id| id == 6 || id == 106).await;
    update(&mut txn, 1, |id| id == 6 || id == 106).await;
    left.insert(6, 8);
    left.insert(106, 8);
    commit(txn).await;
    assert_eq!(contents(&head(&repository).await).await, left);
    let change = summary(&repository).await;
    assert_eq!(
        change.operations,
        [
            TableOperation::Append,
            TableOperation::Delete,
            TableOperation::Update
        ]
    );
    assert_eq!((change.rows_added, change.rows_removed), (10, 2));
    let mut txn = begin(&repository).await;
    insert(&mut txn, 200..210).await;
    delete(&mut txn, |id| id >= 200).await;
    commit(txn).await;
    assert_eq!(contents(&head(&repository).await).await, left);
    checked(&repository).await;
}

#[tokio::test]
async fn positions_that_are_not_there_or_were_deleted_are_refused() {
    let repository = filled(1).await;
    let mut txn = begin(&repository).await;
    let file = find(&txn.snapshot(), |_| false).await.deleted.remove(0).0;
    let attempt = async |txn: &mut Transaction, file: &DataFile, rows: &[u64]| {
        let deleted = vec![(Arc::new(file.clone()), rows.iter().copied().collect())];
        let changes = RowChanges {
            operation: RowOperation::Delete,
            deleted,
            added: Vec::new(),
        };
        txn.change_rows(&t(), changes).await
    };
    let kind = |result: udr_core::Result<()>| result.unwrap_err().kind();
    assert_eq!(
        kind(attempt(&mut txn, &file, &[10]).await),
        ErrorKind::Invalid
    );
    attempt(&mut txn, &file, &[1, 2]).await.unwrap();
    let again = attempt(&mut txn, &file, &[2, 3]).await.unwrap_err();
    assert_eq!(again.kind(), ErrorKind::Invalid);
    assert_eq!(
        again.context("rows"),
        Some(format!("{}:2", file.id).as_str())
    );
    assert_eq!(contents(&txn.snapshot()).await.len(), 8);
    commit(txn).await;
    let mut txn = begin(&repository).await;
    let file = find(&txn.snapshot(), |_| false).await.deleted.remove(0).0;
    assert_eq!(
        kind(attempt(&mut txn, &file, &[1]).await),
        ErrorKind::Invalid
    );
    let stranger = DataFile {
        id: repository.env().file_id(),
        ..DataFile::clone(&file)
    };
    assert_eq!(
        kind(attempt(&mut txn, &stranger, &[5]).await),
        ErrorKind::Invalid
    );
    attempt(&mut txn, &file, &[]).await.unwrap();
    assert!(txn.is_empty(), "nothing was staged");
}

#[tokio::test]
async fn different_rows_of_one_file_are_united_and_the_same_row_conflicts() {
    let repository = filled(1).await;
    let (mut a, mut b, mut c) = (
        begin(&repository).await,
        begin(&repository).await,
        begin(&repository).await,
    );
    delete(&mut a, |id| id == 1).await;
    update(&mut b, 5, |id| id == 2).await;
    delete(&mut c, |id| id == 2 || id == 3).await;
    let row = find(&c.base().clone(), |id| id == 2).await.ids[0].unwrap();
    commit(a).await;
    commit(b).await;
    let found = conflicts(c).await;
    assert_eq!(found.len(), 1);
    assert_eq!(found[0].rows, [row]);
    assert_eq!(
        found[0].to_string(),
        format!(
            "table public.t: DELETE here, DELETE, UPDATE of the same rows meanwhile (rows {row})"
        )
    );
    let mut left = expected((0..10).map(|id| (id, 0)));
    left.remove(&1);
    left.insert(2, 5);
    assert_eq!(contents(&head(&repository).await).await, left);
    checked(&repository).await;
}

#[tokio::test]
async fn row_changes_go_with_appends_and_renames_and_not_with_what_replaces_all_rows() {
    let repository = filled(1).await;
    let mut ours = begin(&repository).await;
    delete(&mut ours, |id| id == 1).await;
    let mut theirs = begin(&repository).await;
    insert(&mut theirs, [50]).await;
    commit(theirs).await;
    commit(ours).await;
    assert_eq!(contents(&head(&repository).await).await.len(), 10);

    for what in ["overwrite", "truncate", "drop"] {
        let mut theirs = begin(&repository).await;
        let mut ours = begin(&repository).await;
        delete(&mut ours, |id| id == 50).await;
        let mut ours_replacing = begin(&repository).await;
        let mut row = begin(&repository).await;
        delete(&mut row, |id| id == 2).await;
        for txn in [&mut theirs, &mut ours_replacing] {
            match what {
                "overwrite" => txn.overwrite(&t(), Vec::new()).await.unwrap(),
                "truncate" => txn.truncate(&t()).await.unwrap(),
                _ => txn.drop_table(&t()).await.unwrap(),
            }
        }
        commit(row).await;
        assert_eq!(
            conflicts(ours_replacing).await.len(),
            1,
            "{what} after a delete"
        );
        assert_eq!(conflicts(theirs).await.len(), 1, "{what} after a delete");
        let mut again = begin(&repository).await;
        match what {
            "overwrite" => again.overwrite(&t(), Vec::new()).await.unwrap(),
            "truncate" => again.truncate(&t()).await.unwrap(),
            _ => again.drop_table(&t()).await.unwrap(),
        }
        commit(again).await;
        assert_eq!(conflicts(ours).await.len(), 1, "a delete after {what}");
        if what != "drop" {
            let change = summary(&repository).await;
            assert_eq!(change.rows_added, 0);
            assert_eq!(contents(&head(&repository).await).await.len(), 0);
            let mut txn = begin(&repository).await;
            insert(&mut txn, [1, 2, 50]).await;
            commit(txn).await;
        }
    }
    checked(&repository).await;
}

#[tokio::test]
async fn a_delete_follows_a_table_that_was_renamed_meanwhile() {
    let repository = filled(1).await;
    let mut ours = begin(&repository).await;
    delete(&mut ours, |id| id == 1).await;
    let mut theirs = begin(&repository).await;
    let to = RelationPath::parse("public", "u").unwrap();
    theirs.rename_table(&t(), &to).await.unwrap();
    commit(theirs).await;
    commit(ours).await;
    assert_eq!(head(&repository).await.table(&to).await.unwrap().rows(), 9);
    checked(&repository).await;
}

#[tokio::test]
async fn rows_are_found_again_in_a_file_that_others_wrote_anew() {
    let repository = filled(2).await;
    let mut ours = begin(&repository).await;
    update(&mut ours, 9, |id| id == 8 || id == 15).await;
    delete(&mut ours, |id| id == 9).await;
    let mut late = begin(&repository).await;
    delete(&mut late, |id| id == 0 || id == 8).await;
    let row = find(&late.base().clone(), |id| id == 0).await.ids[0].unwrap();
    // Others delete most of the file, twice: it is rewritten, and what was rewritten is, too.
    let mut theirs = begin(&repository).await;
    delete(&mut theirs, |id| id < 6).await;
    commit(theirs).await;
    let mut theirs = begin(&repository).await;
    delete(&mut theirs, |id| id == 6 || id == 7 || id == 12).await;
    commit(theirs).await;
    let mut theirs = begin(&repository).await;
    insert(&mut theirs, 30..33).await;
    commit(theirs).await;
    commit(ours).await;
    let mut left = expected((10..20).chain(30..33).map(|id| (id, 0)));
    left.remove(&12);
    left.insert(8, 9);
    left.insert(15, 9);
    assert_eq!(contents(&head(&repository).await).await, left);
    // A row that is gone, and one that was changed since.
    let found = conflicts(late).await;
    assert_eq!(found.len(), 1);
    assert!(found[0].rows.contains(&row), "{:?}", found[0]);
    assert_eq!(found[0].rows.len(), 2);
    checked(&repository).await;
}

#[tokio::test]
async fn rows_of_a_rewritten_file_are_found_again_when_it_is_rewritten_once_more() {
    let repository = filled(1).await;
    let mut txn = begin(&repository).await;
    delete(&mut txn, |id| id < 6).await;
    commit(txn).await;
    let mut ours = begin(&repository).await;
    delete(&mut ours, |id| id == 9).await;
    let mut theirs = begin(&repository).await;
    delete(&mut theirs, |id| id < 9).await;
    let mut other = begin(&repository).await;
    update(&mut other, 1, |id| id == 8).await;
    commit(theirs).await;
    assert_eq!(conflicts(other).await.len(), 1);
    commit(ours).await;
    assert_eq!(contents(&head(&repository).await).await, expected([]));
    checked(&repository).await;
}

#[tokio::test]
async fn a_rewrite_gives_way_to_what_others_did_to_the_file() {
    let repository = filled(1).await;
    let mut ours = begin(&repository).await;
    delete(&mut ours, |id| id < 6).await;
    let mut theirs = begin(&repository).await;
    update(&mut theirs, 4, |id| id == 7).await;
    commit(theirs).await;
    commit(ours).await;
    let left = expected([(6, 0), (7, 4), (8, 0), (9, 0)]);
    assert_eq!(contents(&head(&repository).await).await, left);
    let table = head(&repository).await.table(&t()).await.unwrap();
    let plan = table.plan(None).await.unwrap();
    let deleted = plan.files.iter().map(|task| task.deleted_rows());
    assert_eq!(
        deleted.collect::<Vec<_>>(),
        [7, 0],
        "a vector took the place of the rewrite"
    );
    checked(&repository).await;
}

#[tokio::test]
async fn a_truncated_table_takes_rows_again_in_one_transaction() {
    let repository = filled(2).await;
    let mut txn = begin(&repository).await;
    delete(&mut txn, |id| id == 3).await;
    txn.truncate(&t()).await.unwrap();
    assert_eq!(contents(&txn.snapshot()).await.len(), 0);
    insert(&mut txn, [7, 8]).await;
    delete(&mut txn, |id| id == 7).await;
    commit(txn).await;
    assert_eq!(contents(&head(&repository).await).await, expected([(8, 0)]));
    let change = summary(&repository).await;
    assert_eq!(
        change.operations,
        [
            TableOperation::Append,
            TableOperation::Truncate,
            TableOperation::Delete
        ]
    );
    assert_eq!((change.rows_added, change.rows_removed), (1, 20));
    assert_eq!((change.files_added, change.files_removed), (1, 2));
    checked(&repository).await;
}

#[tokio::test]
async fn a_change_of_one_file_among_many_rewrites_only_the_manifests_above_it() {
    let repository = repository().await;
    let mut files = Vec::new();
    let txn = begin(&repository).await;
    for id in 0..40 {
        files.extend(Box::pin(write(&txn, &[(id, 0), (id + 1_000, 0)], None)).await);
    }
    drop(txn);
    // Many entries for the same bytes, each with an id of its own.
    let env = Env::seeded(9, 0);
    let entries = (0..5_000).map(|n| DataFile {
        id: env.file_id(),
        ..files[n % 40].clone()
    });
    let mut txn = begin(&repository).await;
    txn.append(&t(), entries.collect()).await.unwrap();
    commit(txn).await;
    for n in 0..30 {
        let mut txn = begin(&repository).await;
        insert(&mut txn, [5_000 + n]).await;
        commit(txn).await;
    }
    let table = head(&repository).await.table(&t()).await.unwrap();
    let before = table.manifests().await.unwrap();
    let task = table.plan(None).await.unwrap().files.swap_remove(5_020);
    let mut txn = begin(&repository).await;
    let deleted = vec![(Arc::clone(&task.file), [0].into_iter().collect())];
    let changes = RowChanges {
        operation: RowOperation::Delete,
        deleted,
        added: Vec::new(),
    };
    txn.change_rows(&t(), changes).await.unwrap();
    commit(txn).await;
    let table = head(&repository).await.table(&t()).await.unwrap();
    assert_eq!(table.rows(), 10_029);
    let after = table.manifests().await.unwrap();
    let new = after.iter().filter(|m| !before.contains(m)).count();
    assert!(new <= 1, "{new} manifests were written");
    assert_eq!(head(&repository).await.version(), Some(Version(33)));
    let files = table.plan(None).await.unwrap().files;
    assert!(
        files.iter().all(|t| t.file.id != task.file.id),
        "its only row is gone"
    );
}

#[tokio::test]
async fn names_and_ids_of_the_format_are_refused_in_schemas() {
    let field = Field::new("_udr_position", DataType::Int64, true);
    let error = Schema::from_arrow(&ArrowSchema::new(vec![field])).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Invalid);
    assert_eq!(error.context("column"), Some("_udr_position"));
}

#[tokio::test]
async fn fsck_reports_a_vector_that_is_not_what_its_entry_says() {
    let repository = filled(1).await;
    let table = head(&repository).await.table(&t()).await.unwrap();
    let file = table.plan(None).await.unwrap().files.remove(0).file;
    for (rows, said) in [(vec![3, 10], 2), (vec![3], 2)] {
        let vector = rows.into_iter().collect::<DeletionVector>();
        let store = repository.store();
        let object = store
            .put_deletion_vector(table.id(), Epoch::default(), vector.encode())
            .await
            .unwrap();
        let mut txn = begin(&repository).await;
        let forged = DataFile {
            id: repository.env().file_id(),
            deletes: Some(DeletionVectorRef { object, rows: said }),
            ..DataFile::clone(&file)
        };
        txn.overwrite(&t(), vec![forged]).await.unwrap();
        commit(txn).await;
        let table = head(&repository).await.table(&t()).await.unwrap();
        let task = table.plan(None).await.unwrap().files.remove(0);
        let error = task.deleted(store, table.id()).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Corrupt);
        let named = error.context("deletion_vector").unwrap();
        assert_eq!(named, object.digest.to_hex());
        let report = repository.fsck(FsckOptions::Metadata).await.unwrap();
        let broken = report.problems.iter().map(|problem| problem.invariant);
        assert!(broken.clone().all(|number| number == 6), "{report:?}");
        assert!(broken.count() > 0);
    }
}

#[tokio::test]
async fn fsck_reports_identities_that_a_file_has_and_its_entry_denies() {
    let repository = filled(1).await;
    let mut txn = begin(&repository).await;
    let honest = Box::pin(write(&txn, &[(1, 1)], Some(&[None])))
        .await
        .remove(0);
    let lying = DataFile {
        carries_identity: false,
        sorted_by: Vec::new(),
        adopted: None,
        ..honest
    };
    txn.append(&t(), vec![lying]).await.unwrap();
    commit(txn).await;
    let report = repository.fsck(FsckOptions::Metadata).await.unwrap();
    assert_eq!(report.problems.len(), 1, "{report:?}");
}

/// The files of a state, and what is deleted of each.
async fn files(snapshot: &Snapshot) -> BTreeMap<FileId, Option<DeletionVectorRef>> {
    let table = snapshot.table(&t()).await.unwrap();
    let files = table.plan(None).await.unwrap().files;
    let files = files.into_iter().map(|task| task.file);
    files.map(|file| (file.id, file.deletes)).collect()
}

#[tokio::test]
async fn two_states_are_compared_by_their_files() {
    let repository = filled(3).await;
    let mut states = vec![head(&repository).await];
    for step in 0..48_i64 {
        let mut txn = begin(&repository).await;
        match step % 6 {
            3 => delete(&mut txn, |id| id % 13 == step / 6).await,
            4 => update(&mut txn, step, |id| id % 29 == step / 6).await,
            _ => {}
        }
        insert(&mut txn, [1_000 + step, 2_000 + step]).await;
        commit(txn).await;
        states.push(head(&repository).await);
    }
    let mut changed = 0;
    for before in &states {
        for after in &states {
            let (old, new) = (files(before).await, files(after).await);
            let before = before.table(&t()).await.unwrap();
            let after = after.table(&t()).await.unwrap();
            let found = file_changes(&before, &after).await.unwrap();
            let ids = |files: &[Arc<DataFile>]| {
                let ids = files.iter().map(|file| (file.id, file.deletes));
                ids.collect::<BTreeMap<_, _>>()
            };
            let only = |a: &BTreeMap<_, _>, b: &BTreeMap<FileId, _>| {
                let only = a.iter().filter(|(id, _)| !b.contains_key(id));
                only.map(|(id, deletes)| (*id, *deletes)).collect()
            };
            assert_eq!(ids(&found.added), only(&new, &old));
            assert_eq!(ids(&found.removed), only(&old, &new));
            let both = found.changed.iter().map(|(old, new)| {
                assert_eq!(old.id, new.id);
                (old.id, (old.deletes, new.deletes))
            });
            let both = both.collect::<BTreeMap<_, _>>();
            let expected = old.iter().filter_map(|(id, was)| {
                let is = new.get(id).filter(|is| *is != was)?;
                Some((*id, (*was, *is)))
            });
            assert_eq!(both, expected.collect());
            assert_eq!(found.is_empty(), old == new);
            changed += both.len();
        }
    }
    assert!(changed > 0);
    // What is not committed has no state of its own, and other tables have none in common.
    let mut txn = begin(&repository).await;
    insert(&mut txn, [1]).await;
    let staged = txn.snapshot().table(&t()).await.unwrap();
    let base = states[0].table(&t()).await.unwrap();
    let error = file_changes(&base, &staged).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unsupported);
    let other = RelationPath::parse("public", "other").unwrap();
    txn.create_table(&other, base.schema().clone())
        .await
        .unwrap();
    commit(txn).await;
    let other = head(&repository).await.table(&other).await.unwrap();
    let error = file_changes(&base, &other).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Invalid);
}
