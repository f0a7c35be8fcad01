//! Subscriptions: what is published reaches every subscriber once, in order, from wherever it was.

use std::collections::BTreeMap;
use std::time::Duration;

use arrow::array::AsArray as _;
use arrow::datatypes::Int64Type;
use futures::{StreamExt as _, TryStreamExt as _};
use udr_core::changes::{ChangeEvent, Poll, Position, SubscribeOptions, Subscription};
use udr_core::name::{RefName, RelationPath};
use udr_core::refs::Revision;
use udr_core::{ErrorKind, Repository};

use crate::row_world::{
    begin, commit, contents, delete, filled, head, insert, repository, schema, t, update,
};

fn options(tables: &[RelationPath]) -> SubscribeOptions {
    SubscribeOptions {
        tables: tables.to_vec(),
        poll: Poll {
            first: Duration::from_millis(1),
            most: Duration::from_millis(4),
        },
    }
}

async fn subscribe(repository: &Repository, from: u64, tables: &[RelationPath]) -> Subscription {
    let from = Revision::at_version(udr_core::id::Version(from));
    let from = repository.resolve(&RefName::main(), &from).await.unwrap();
    let main = RefName::main();
    let subscription = repository.subscribe(&main, &from, options(tables));
    subscription.await.unwrap()
}

/// What a subscriber made of what it was given.
#[derive(Debug, Default)]
struct Reader {
    rows: BTreeMap<i64, i64>,
    /// What of a commit was given already.
    pending: Vec<(bool, i64, i64)>,
    position: Option<Position>,
    commits: Vec<u64>,
}

impl Reader {
    fn take(&mut self, event: ChangeEvent) {
        match event {
            ChangeEvent::Rows { batch, .. } => {
                let column = |i: usize| batch.rows.column(i).as_primitive::<Int64Type>();
                for (row, kind) in batch.kinds.iter().enumerate() {
                    let (id, v) = (column(0).value(row), column(1).value(row));
                    self.pending.push((kind.came(), id, v));
                }
            }
            ChangeEvent::Commit { commit, position } => {
                for (came, id, v) in self.pending.drain(..) {
                    if came {
                        assert!(self.rows.insert(id, v).is_none(), "{id} came twice");
                    } else {
                        assert_eq!(self.rows.remove(&id), Some(v), "{id} went");
                    }
                }
                self.commits.push(commit.reference.sequence);
                self.position = Some(position);
            }
        }
    }

    async fn read(&mut self, subscription: &mut Subscription, until: u64) {
        while self.commits.last().is_none_or(|last| *last < until) {
            self.take(subscription.try_next().await.unwrap().unwrap());
        }
    }
}

#[tokio::test]
async fn a_snapshot_and_what_follows_it_are_all_there_is() {
    let repository = filled(3).await;
    let start = head(&repository).await;
    let mut reader = Reader {
        rows: contents(&start).await,
        ..Reader::default()
    };
    let main = RefName::main();
    let mut subscription = repository
        .subscribe(&main, &start, options(&[t()]))
        .await
        .unwrap();
    let writer = repository.clone();
    let writing = tokio::spawn(async move {
        for round in 0..12 {
            let mut txn = begin(&writer).await;
            insert(&mut txn, 100 + round * 10..100 + round * 10 + 5).await;
            commit(txn).await;
            let mut txn = begin(&writer).await;
            update(&mut txn, 1, |id| id % 4 == round % 4).await;
            delete(&mut txn, |id| id % 9 == round % 9).await;
            commit(txn).await;
        }
    });
    let last = start.commit().sequence + 24;
    reader.read(&mut subscription, last).await;
    writing.await.unwrap();
    let end = head(&repository).await;
    assert_eq!(reader.rows, contents(&end).await);
    let expected = (start.commit().sequence + 1..=last).collect::<Vec<_>>();
    assert_eq!(reader.commits, expected);
    // A second subscriber does not depend on the first.
    let mut late = Reader::default();
    let mut subscription = subscribe(&repository, 1, &[]).await;
    late.read(&mut subscription, last).await;
    assert_eq!(late.rows, reader.rows);
}

#[tokio::test]
async fn a_reader_that_stops_anywhere_goes_on_where_it_was() {
    let repository = repository().await;
    let mut txn = begin(&repository).await;
    insert(&mut txn, 0..40).await;
    commit(txn).await;
    for round in 0..10 {
        let mut txn = begin(&repository).await;
        update(&mut txn, 1, |id| id % 3 == round % 3).await;
        insert(&mut txn, 1_000 + round..1_001 + round).await;
        commit(txn).await;
    }
    let end = head(&repository).await;
    let last = end.commit().sequence;
    let mut reader = Reader::default();
    let mut stops = 0;
    while reader.commits.last() != Some(&last) {
        let main = RefName::main();
        let from = match &reader.position {
            // As it comes back from where it was kept.
            Some(position) => {
                let position = position.to_string().parse().unwrap();
                repository.state_at(&position).await.unwrap()
            }
            None => {
                let first = Revision::at_version(udr_core::id::Version(1));
                repository.resolve(&main, &first).await.unwrap()
            }
        };
        let mut subscription = repository
            .subscribe(&main, &from, options(&[t()]))
            .await
            .unwrap();
        stops += 1;
        // What was given of a commit that did not end is given again.
        reader.pending.clear();
        for _ in 0..1 + stops % 30 {
            if reader.commits.last() == Some(&last) {
                break;
            }
            reader.take(subscription.try_next().await.unwrap().unwrap());
        }
    }
    assert!(stops > 3, "it never stopped");
    assert_eq!(reader.rows, contents(&end).await);
}

#[tokio::test]
async fn a_table_is_followed_through_names_and_others_only_move_the_position() {
    let repository = filled(1).await;
    let start = head(&repository).await.version().unwrap().0;
    let path = |name: &str| RelationPath::parse("public", name).unwrap();
    let mut txn = begin(&repository).await;
    txn.create_table(&path("other"), schema()).await.unwrap();
    commit(txn).await;
    let mut txn = begin(&repository).await;
    txn.rename_table(&t(), &path("renamed")).await.unwrap();
    commit(txn).await;
    let mut txn = begin(&repository).await;
    txn.drop_table(&path("renamed")).await.unwrap();
    commit(txn).await;
    let mut subscription = subscribe(&repository, start, &[t()]).await;
    let mut seen = Vec::new();
    for _ in 0..4 {
        seen.push(match subscription.try_next().await.unwrap().unwrap() {
            ChangeEvent::Rows { table, batch, .. } => {
                assert!(batch.kinds.iter().all(|kind| !kind.came()));
                format!("{} rows of {table}", batch.kinds.len())
            }
            ChangeEvent::Commit { position, .. } => format!("{}", position.version().0 - start),
        });
    }
    assert_eq!(seen, ["1", "2", "10 rows of public.renamed", "3"]);
    let (main, now) = (RefName::main(), head(&repository).await);
    let unknown = repository.subscribe(&main, &now, options(&[path("nope")]));
    assert_eq!(unknown.await.unwrap_err().kind(), ErrorKind::NotFound);
}

#[tokio::test]
async fn a_branch_that_is_dropped_ends_it_and_says_where() {
    let repository = filled(1).await;
    let dev = RefName::new("dev").unwrap();
    let start = head(&repository).await;
    repository.create_branch(&dev, &start).await.unwrap();
    let mut txn = repository.begin(&dev).await.unwrap();
    insert(&mut txn, 50..51).await;
    commit(txn).await;
    let mut subscription = repository
        .subscribe(&dev, &start, options(&[]))
        .await
        .unwrap();
    let mut position = None;
    for _ in 0..2 {
        if let ChangeEvent::Commit { position: at, .. } =
            subscription.try_next().await.unwrap().unwrap()
        {
            position = Some(at);
        }
    }
    let position = position.unwrap();
    repository.drop_branch(&dev).await.unwrap();
    let error = subscription.try_next().await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::NotFound);
    let version = position.version();
    assert_eq!(
        error.hint().unwrap(),
        format!("its last version was {version}")
    );
    assert!(subscription.next().await.is_none());
    assert_eq!(
        repository.state_at(&position).await.unwrap_err().kind(),
        ErrorKind::NotFound
    );
    // A branch of the same name that came later is another one.
    repository.create_branch(&dev, &start).await.unwrap();
    let error = repository.state_at(&position).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::NotFound, "{error}");
    assert!(error.hint().unwrap().contains("dropped"), "{error}");
    // Nor is a commit that another branch published a position of this one.
    let text = position.to_string();
    let (_, commit) = text.split_once('/').unwrap();
    let other = format!("main@1/{commit}").parse().unwrap();
    let error = repository.state_at(&other).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::NotFound);
    assert!(
        error.hint().unwrap().contains("newest version is"),
        "{error}"
    );
}
