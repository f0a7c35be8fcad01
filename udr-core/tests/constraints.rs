//! Constraints of tables, and the validator that a commit asks about them.

use std::sync::Arc;
use std::sync::Mutex;

use async_trait::async_trait;
use udr_core::format::Constraint;
use udr_core::id::{FieldId, TableId, Version};
use udr_core::name::RefName;
use udr_core::snapshot::Snapshot;
use udr_core::txn::{Alteration, CommitOutcome, Transaction, Validate};
use udr_core::{Error, ErrorKind, Repository, Result};

use crate::transactions::{
    append, clean, committed, conflicts, files, head, ids, path, repository, schema, with_table,
};

const ID: FieldId = FieldId(1);

/// What a validator was asked: the version that the state is based on, how many tables changed,
/// and the version of the state that was checked before.
type Question = (Option<Version>, usize, Option<Version>);

/// Writes down what it is asked; finds fault with a row of this id.
#[derive(Debug, Default)]
struct Recorder {
    asked: Mutex<Vec<Question>>,
    forbidden: Option<i64>,
}

#[async_trait]
impl Validate for Recorder {
    async fn validate(
        &self,
        staged: &Snapshot,
        changed: &[TableId],
        checked: Option<&Snapshot>,
    ) -> Result<()> {
        let question = (
            staged.version(),
            changed.len(),
            checked.and_then(Snapshot::version),
        );
        self.asked.lock().unwrap().push(question);
        for id in changed {
            let Some(table) = staged.table_by_id(*id).await? else {
                continue;
            };
            let found = ids(staged, table.path()).await;
            if self.forbidden.is_some_and(|id| found.contains(&id)) {
                return Err(Error::invalid("the row is forbidden").with("table", table.path()));
            }
        }
        Ok(())
    }
}

fn check() -> Constraint {
    Constraint::Check {
        name: "positive".to_owned(),
        sql: "id > 0".to_owned(),
    }
}

fn key(name: &str) -> Constraint {
    Constraint::Unique {
        name: name.to_owned(),
        columns: vec![ID],
        primary: true,
    }
}

fn foreign_key(parent: TableId) -> Constraint {
    Constraint::ForeignKey {
        name: "to_parent".to_owned(),
        columns: vec![ID],
        parent,
        parent_columns: vec![ID],
    }
}

async fn begin(repository: &Repository, forbidden: Option<i64>) -> (Transaction, Arc<Recorder>) {
    let recorder = Arc::new(Recorder {
        forbidden,
        ..Recorder::default()
    });
    let mut txn = repository.begin(&RefName::main()).await.unwrap();
    txn.set_validator(Arc::clone(&recorder) as Arc<dyn Validate>);
    (txn, recorder)
}

async fn add(txn: &mut Transaction, table: &str, constraint: Constraint) -> Result<()> {
    let added = vec![Alteration::AddConstraint(constraint)];
    txn.alter_table(&path(table), added).await
}

/// A repository with the table `t` holding 1 and the constraint of `check`.
async fn constrained() -> Repository {
    let repository = with_table().await;
    let (mut txn, recorder) = begin(&repository, None).await;
    add(&mut txn, "t", check()).await.unwrap();
    committed(txn).await;
    assert_eq!(
        *recorder.asked.lock().unwrap(),
        [(Some(Version(1)), 1, None)]
    );
    repository
}

/// A repository with the table `p` that has a key, and `c` that leads to it.
async fn related() -> Repository {
    let repository = repository().await;
    let mut txn = repository.begin(&RefName::main()).await.unwrap();
    let parent = txn.create_table(&path("p"), schema()).await.unwrap();
    txn.create_table(&path("c"), schema()).await.unwrap();
    add(&mut txn, "p", key("p_key")).await.unwrap();
    add(&mut txn, "c", foreign_key(parent)).await.unwrap();
    // No table has rows, so there is nothing to check.
    committed(txn).await;
    repository
}

#[tokio::test]
async fn without_a_validator_what_needs_one_is_refused() {
    let repository = constrained().await;
    let mut txn = repository.begin(&RefName::main()).await.unwrap();
    append(&mut txn, &path("t"), &[2]).await;
    let error = txn.commit().await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unsupported);
    assert_eq!(error.context("table"), Some("public.t"));
    let mut txn = repository.begin(&RefName::main()).await.unwrap();
    add(&mut txn, "t", key("t_key")).await.unwrap();
    assert_eq!(
        txn.commit().await.unwrap_err().kind(),
        ErrorKind::Unsupported
    );

    // What no constraint could be broken by is not.
    let mut txn = repository.begin(&RefName::main()).await.unwrap();
    txn.create_table(&path("u"), schema()).await.unwrap();
    append(&mut txn, &path("u"), &[7]).await;
    let dropped = vec![Alteration::DropConstraint("positive".to_owned())];
    txn.alter_table(&path("t"), dropped).await.unwrap();
    committed(txn).await;
    let mut txn = repository.begin(&RefName::main()).await.unwrap();
    append(&mut txn, &path("t"), &[-1]).await;
    committed(txn).await;
    clean(&repository).await;
}

#[tokio::test]
async fn each_attempt_is_checked_and_told_what_was() {
    let repository = constrained().await;
    let (mut slow, asked) = begin(&repository, None).await;
    append(&mut slow, &path("t"), &[2]).await;
    let (mut fast, _) = begin(&repository, None).await;
    append(&mut fast, &path("t"), &[3]).await;
    committed(fast).await;
    assert_eq!(committed(slow).await.version, Version(4));
    let expected = [
        (Some(Version(2)), 1, None),
        (Some(Version(3)), 1, Some(Version(2))),
    ];
    assert_eq!(*asked.asked.lock().unwrap(), expected);
    assert_eq!(ids(&head(&repository).await, &path("t")).await, [1, 2, 3]);
    clean(&repository).await;
}

#[tokio::test]
async fn what_breaks_a_constraint_at_once_is_an_error_and_with_others_a_conflict() {
    let repository = constrained().await;
    let (mut txn, _) = begin(&repository, Some(5)).await;
    append(&mut txn, &path("t"), &[5]).await;
    assert_eq!(txn.commit().await.unwrap_err().kind(), ErrorKind::Invalid);

    let (mut slow, _) = begin(&repository, Some(5)).await;
    append(&mut slow, &path("t"), &[2]).await;
    let (mut fast, _) = begin(&repository, None).await;
    append(&mut fast, &path("t"), &[5]).await;
    committed(fast).await;
    let CommitOutcome::Conflicted(conflicted) = slow.commit().await.unwrap() else {
        panic!("a broken constraint was published");
    };
    assert!(
        conflicted.conflicts[0]
            .subject
            .contains("the row is forbidden")
    );
    assert_eq!(ids(&head(&repository).await, &path("t")).await, [1, 5]);
    clean(&repository).await;
}

#[tokio::test]
async fn a_constraint_and_changes_of_rows_conflict_both_ways() {
    for constraint_first in [true, false] {
        for overwrite in [true, false] {
            let repository = with_table().await;
            let (mut constrain, _) = begin(&repository, None).await;
            add(&mut constrain, "t", check()).await.unwrap();
            let (mut write, _) = begin(&repository, None).await;
            let rows = files(&write, &path("t"), &[-1]).await;
            if overwrite {
                write.overwrite(&path("t"), rows).await.unwrap();
            } else {
                write.append(&path("t"), rows).await.unwrap();
            }
            let (first, second) = match constraint_first {
                true => (constrain, write),
                false => (write, constrain),
            };
            committed(first).await;
            let text = conflicts(second).await;
            assert!(
                text.contains("table public.t") && text.contains("ALTER TABLE"),
                "{text}"
            );
            clean(&repository).await;
        }
    }
}

#[tokio::test]
async fn what_only_loosens_a_table_goes_with_its_rows() {
    let repository = constrained().await;
    let (mut alter, _) = begin(&repository, None).await;
    let loosened = vec![
        Alteration::DropConstraint("positive".to_owned()),
        Alteration::DropNotNull(ID),
        Alteration::SetDefault(ID, "1".to_owned()),
    ];
    alter.alter_table(&path("t"), loosened).await.unwrap();
    let (mut write, _) = begin(&repository, None).await;
    append(&mut write, &path("t"), &[2]).await;
    committed(write).await;
    committed(alter).await;
    let table = head(&repository).await.table(&path("t")).await.unwrap();
    assert!(table.constraints().is_empty() && table.schema().fields()[0].nullable);
    assert_eq!(table.schema().fields()[0].default.as_deref(), Some("1"));
    assert_eq!(table.rows(), 2);
    clean(&repository).await;
}

#[tokio::test]
async fn definitions_that_cannot_be_are_refused() {
    let repository = related().await;
    let head = head(&repository).await;
    let parent = head.table(&path("p")).await.unwrap().id();
    let unique = |columns: Vec<FieldId>| Constraint::Unique {
        name: "u".to_owned(),
        columns,
        primary: false,
    };
    let cases = [
        ("p", key("p_key"), ErrorKind::AlreadyExists),
        ("p", key("second"), ErrorKind::Invalid),
        ("p", unique(Vec::new()), ErrorKind::Invalid),
        ("p", unique(vec![ID, ID]), ErrorKind::Invalid),
        ("p", unique(vec![FieldId(9)]), ErrorKind::Invalid),
        ("c", foreign_key(parent), ErrorKind::AlreadyExists),
    ];
    for (table, constraint, kind) in cases {
        let (mut txn, _) = begin(&repository, None).await;
        let error = add(&mut txn, table, constraint.clone()).await.unwrap_err();
        assert_eq!(error.kind(), kind, "{constraint:?}: {error}");
        assert!(txn.is_empty());
    }
    let (mut txn, _) = begin(&repository, None).await;
    let nobody = Constraint::ForeignKey {
        name: "x".to_owned(),
        columns: vec![ID],
        parent: repository.env().table_id(),
        parent_columns: vec![ID],
    };
    let error = add(&mut txn, "c", nobody).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::NotFound);
    for dropped in [
        Alteration::DropConstraint("p_key".to_owned()),
        Alteration::DropNotNull(ID),
    ] {
        let error = txn
            .alter_table(&path("p"), vec![dropped])
            .await
            .unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Invalid, "{error}");
    }
    let error = txn.drop_table(&path("p")).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Invalid, "{error}");
    txn.drop_table(&path("c")).await.unwrap();
    txn.drop_table(&path("p")).await.unwrap();
    committed(txn).await;
    clean(&repository).await;
}

#[tokio::test]
async fn a_parent_that_loses_rows_is_checked_under_whatever_name_its_child_has() {
    let repository = related().await;
    let (mut txn, recorder) = begin(&repository, None).await;
    append(&mut txn, &path("p"), &[1]).await;
    append(&mut txn, &path("c"), &[1]).await;
    txn.rename_table(&path("c"), &path("child")).await.unwrap();
    committed(txn).await;
    assert_eq!(recorder.asked.lock().unwrap()[0].1, 2);
    let state = head(&repository).await;
    let parent = state.table(&path("p")).await.unwrap();
    let children = state.children(parent.id());
    let child = state.table_by_id(children[0]).await.unwrap().unwrap();
    assert_eq!((children.len(), child.path()), (1, &path("child")));

    let mut txn = repository.begin(&RefName::main()).await.unwrap();
    txn.overwrite(&path("p"), Vec::new()).await.unwrap();
    assert_eq!(
        txn.commit().await.unwrap_err().kind(),
        ErrorKind::Unsupported
    );
    let (mut txn, recorder) = begin(&repository, None).await;
    txn.overwrite(&path("p"), Vec::new()).await.unwrap();
    committed(txn).await;
    assert_eq!(recorder.asked.lock().unwrap().len(), 1);
    clean(&repository).await;
}

#[tokio::test]
async fn a_foreign_key_and_the_drop_of_its_parent_conflict_both_ways() {
    for key_first in [true, false] {
        let repository = repository().await;
        let (mut txn, _) = begin(&repository, None).await;
        let parent = txn.create_table(&path("p"), schema()).await.unwrap();
        txn.create_table(&path("c"), schema()).await.unwrap();
        add(&mut txn, "p", key("p_key")).await.unwrap();
        committed(txn).await;
        let (mut with_key, _) = begin(&repository, None).await;
        add(&mut with_key, "c", foreign_key(parent)).await.unwrap();
        let (mut dropping, _) = begin(&repository, None).await;
        dropping.drop_table(&path("p")).await.unwrap();
        let (first, second) = match key_first {
            true => (with_key, dropping),
            false => (dropping, with_key),
        };
        committed(first).await;
        conflicts(second).await;
        clean(&repository).await;
    }
}
