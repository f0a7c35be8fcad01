//! Several clients do the same thing at once, each with a handle of its own, over a store whose
//! calls take time so that they overlap: one wins, the others are told, nothing is left by half.

use std::sync::Arc;
use std::time::Duration;

use futures::future::join_all;
use object_store::memory::InMemory;
use udr_core::env::Env;
use udr_core::format::Schema;
use udr_core::name::RefName;
use udr_core::{ErrorKind, MergeMode, Repository, Result};
use udr_testkit::CountingStore;
use udr_testkit::fixtures::{self, multiset, row};

use crate::world::{
    append, check, commit_rows, committed, create, create_tables, head_rows, named, once, open,
    path, store,
};

const CLIENTS: usize = 8;

fn slow(inner: &Arc<InMemory>) -> CountingStore {
    CountingStore::new(inner.clone(), Duration::from_millis(10))
}

async fn client(inner: &Arc<InMemory>) -> Repository {
    Repository::open(store(Arc::new(slow(inner)), once()), Env::system())
        .await
        .unwrap()
}

async fn clients(inner: &Arc<InMemory>) -> Vec<Repository> {
    join_all((0..CLIENTS).map(|_| client(inner))).await
}

/// Exactly one succeeded; the others failed in the given way.
fn one_winner<T>(answers: &[Result<T>], losers: ErrorKind) {
    let won = answers.iter().filter(|a| a.is_ok()).count();
    let kinds: Vec<_> = answers
        .iter()
        .filter_map(|a| a.as_ref().err().map(|e| e.kind()))
        .collect();
    assert_eq!(won, 1, "{won} winners; the others: {kinds:?}");
    assert!(kinds.iter().all(|kind| *kind == losers), "{kinds:?}");
}

/// `main` with versions 0 to 6 and a table `t`.
async fn sample() -> Arc<InMemory> {
    let inner = Arc::new(InMemory::new());
    let repository = create(inner.clone()).await;
    create_tables(&repository, &["t"]).await;
    for i in 0..5 {
        commit_rows(&repository, &RefName::main(), &["t"], i..i + 1)
            .await
            .unwrap();
    }
    inner
}

#[tokio::test(start_paused = true)]
async fn a_repository_created_at_once_is_one_repository() {
    let inner = Arc::new(InMemory::new());
    let answers = join_all(
        (0..CLIENTS)
            .map(|_| Repository::create(store(Arc::new(slow(&inner)), once()), Env::system())),
    )
    .await;
    one_winner(&answers, ErrorKind::AlreadyExists);
    let opened = open(inner).await.unwrap();
    assert_eq!(answers.iter().flatten().next().unwrap().id(), opened.id());
    check(&opened).await;
}

#[tokio::test(start_paused = true)]
async fn branches_created_at_once_have_one_winner() {
    let inner = sample().await;
    let main = RefName::main();
    let create = async |client: Repository| {
        let head = client.head(&main).await?;
        client.create_branch(&named("dev"), &head).await
    };
    let answers = join_all(clients(&inner).await.into_iter().map(create)).await;
    one_winner(&answers, ErrorKind::AlreadyExists);
    check(&open(inner).await.unwrap()).await;
}

#[tokio::test(start_paused = true)]
async fn a_table_created_at_once_has_the_winners_rows_only() {
    let inner = sample().await;
    let main = RefName::main();
    let create = async |(client, id): (Repository, i64)| {
        let mut transaction = client.begin(&main).await?;
        let schema = Schema::from_arrow(&fixtures::schema())?;
        transaction.create_table(&path("new"), schema).await?;
        append(
            &client,
            &mut transaction,
            &path("new"),
            fixtures::numbered([id]),
        )
        .await?;
        committed(transaction.commit().await).map(|_| id)
    };
    let answers = join_all(clients(&inner).await.into_iter().zip(0..).map(create)).await;
    one_winner(&answers, ErrorKind::Conflict);
    let winner = *answers.iter().flatten().next().unwrap();
    let repository = open(inner).await.unwrap();
    let rows = head_rows(&repository, &main, "new").await.unwrap();
    assert_eq!(rows, multiset([row(winner)]));
    check(&repository).await;
}

#[tokio::test(start_paused = true)]
async fn a_dropped_branch_takes_no_commit_and_a_new_one_of_its_name_neither() {
    let inner = sample().await;
    let (writer, other) = (client(&inner).await, client(&inner).await);
    let (main, dev) = (RefName::main(), named("dev"));
    for recreate in [false, true] {
        let head = other.head(&main).await.unwrap();
        other.create_branch(&dev, &head).await.unwrap();
        let mut transaction = writer.begin(&dev).await.unwrap();
        append(
            &writer,
            &mut transaction,
            &path("t"),
            fixtures::numbered([99]),
        )
        .await
        .unwrap();
        other.drop_branch(&dev).await.unwrap();
        if recreate {
            other.create_branch(&dev, &head).await.unwrap();
        }
        let error = committed(transaction.commit().await).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::NotFound, "{error:?}");
        if recreate {
            let rows = head_rows(&other, &dev, "t").await.unwrap();
            assert_eq!(rows, multiset((0..5).map(row)));
        }
    }
    check(&open(inner).await.unwrap()).await;
}

#[tokio::test(start_paused = true)]
async fn a_commit_and_a_merge_into_one_branch_at_once_lose_nothing() {
    let inner = sample().await;
    let (main, dev) = (RefName::main(), named("dev"));
    let setup = client(&inner).await;
    let head = setup.head(&main).await.unwrap();
    setup.create_branch(&dev, &head).await.unwrap();
    commit_rows(&setup, &dev, &["t"], 10..12).await.unwrap();
    let (a, b) = (client(&inner).await, client(&inner).await);
    let (merged, written) = futures::join!(
        a.fast_forward(&dev, &main, MergeMode::Publish),
        commit_rows(&b, &main, &["t"], 20..22),
    );
    written.unwrap();
    let expected: Vec<i64> = match merged {
        Ok(_) => (0..5).chain(10..12).chain(20..22).collect(),
        Err(e) => {
            assert_eq!(e.kind(), ErrorKind::Conflict, "{e:?}");
            (0..5).chain(20..22).collect()
        }
    };
    let repository = open(inner).await.unwrap();
    let rows = head_rows(&repository, &main, "t").await.unwrap();
    assert_eq!(rows, multiset(expected.into_iter().map(row)));
    check(&repository).await;
}

#[tokio::test(start_paused = true)]
async fn the_same_idempotency_key_at_once_commits_once() {
    let inner = sample().await;
    let main = RefName::main();
    let commit = async |client: Repository| {
        let mut transaction = client.begin(&main).await?;
        transaction.set_idempotency_key("load-7");
        append(
            &client,
            &mut transaction,
            &path("t"),
            fixtures::numbered([70]),
        )
        .await?;
        committed(transaction.commit().await)
    };
    let answers = join_all(clients(&inner).await.into_iter().map(commit)).await;
    let answers: Vec<_> = answers.into_iter().map(|a| a.unwrap()).collect();
    assert_eq!(
        answers.iter().filter(|a| !a.replayed).count(),
        1,
        "{answers:?}"
    );
    assert!(
        answers.iter().all(|a| a.commit_id == answers[0].commit_id),
        "{answers:?}"
    );
    assert!(
        answers.iter().all(|a| a.version == answers[0].version),
        "{answers:?}"
    );
    let repository = open(inner).await.unwrap();
    let rows = head_rows(&repository, &main, "t").await.unwrap();
    assert_eq!(rows, multiset((0..5).chain([70]).map(row)));
    check(&repository).await;
}
