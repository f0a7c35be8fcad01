//! Every store call of every operation fails once, in every way: all or nothing, and never a lie.
//!
//! After each failure the repository is opened again without faults. An `Ok` must be visible, a
//! definite error must not be, an `Indeterminate` may be either; `fsck` is clean; the operation can
//! be made again. Invariants 2, 4 and 8.

use std::sync::Arc;

use object_store::memory::InMemory;
use udr_core::env::Env;
use udr_core::name::RefName;
use udr_core::store::RetryPolicy;
use udr_core::{ErrorKind, Result};
use udr_core::{MergeMode, Repository, TransactionOutcome};
use udr_testkit::fixtures::{self, Row, row};
use udr_testkit::row_changes;
use udr_testkit::{Fault, FaultStore, Operations};

use crate::world::{
    append, check, commit_rows, committed, create, create_tables, head_rows, named, once, open,
    path, store, thrice,
};

/// More calls than any operation here makes; a sweep that gets this far would never end.
const CALLS_MAX: u64 = 400;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Act {
    CreateRepository,
    Commit,
    ChangeRows,
    CreateBranch,
    DropBranch,
    CreateTag,
    DropTag,
    FastForward,
}

impl Act {
    /// The state that the operation starts from: tables `a` and `b` with rows, branch `dev` one
    /// commit ahead of `main`, branch `old`, tag `v1`.
    async fn prepare(self) -> InMemory {
        let base = InMemory::new();
        if self == Self::CreateRepository {
            return base;
        }
        let base = Arc::new(base);
        let repository = create(base.clone()).await;
        create_tables(&repository, &["a", "b"]).await;
        let main = RefName::main();
        commit_rows(&repository, &main, &["a", "b"], 0..3)
            .await
            .unwrap();
        let head = repository.head(&main).await.unwrap();
        for branch in ["dev", "old"] {
            repository
                .create_branch(&named(branch), &head)
                .await
                .unwrap();
        }
        repository.create_tag(&named("v1"), &head).await.unwrap();
        commit_rows(&repository, &named("dev"), &["a"], 100..103)
            .await
            .unwrap();
        base.fork()
    }

    async fn run(self, repository: &Repository) -> Result<()> {
        let main = RefName::main();
        match self {
            Self::CreateRepository => {
                let (store, env) = (repository.store().clone(), repository.env().clone());
                Repository::create(store, env).await.map(drop)
            }
            Self::Commit => {
                let mut transaction = repository.begin(&main).await?;
                transaction.set_idempotency_key("the one change");
                for table in ["a", "b"] {
                    let batch = fixtures::numbered(10..13);
                    append(repository, &mut transaction, &path(table), batch).await?;
                }
                committed(transaction.commit().await).map(drop)
            }
            Self::ChangeRows => {
                let mut transaction = repository.begin(&main).await?;
                transaction.set_idempotency_key("the one change");
                // A vector in one table; in the other most of a file goes, which is written anew.
                let middle = |row: &Row| row.0 == 1;
                row_changes::delete(&mut transaction, &path("a"), middle).await?;
                row_changes::delete(&mut transaction, &path("b"), middle).await?;
                let first = (|row: &Row| row.0 == 0, "changed");
                let env = repository.env();
                row_changes::change(&mut transaction, &path("b"), env, first, &[]).await?;
                committed(transaction.commit().await).map(drop)
            }
            Self::CreateBranch => {
                let head = repository.head(&main).await?;
                repository
                    .create_branch(&named("new"), &head)
                    .await
                    .map(drop)
            }
            Self::DropBranch => repository.drop_branch(&named("old")).await,
            Self::CreateTag => {
                let head = repository.head(&main).await?;
                repository.create_tag(&named("v2"), &head).await.map(drop)
            }
            Self::DropTag => repository.drop_tag(&named("v1")).await,
            Self::FastForward => repository
                .fast_forward(&named("dev"), &main, MergeMode::Publish)
                .await
                .map(drop),
        }
    }

    /// Whether the operation happened; fails if it happened by half.
    async fn done(self, repository: &Repository) -> bool {
        let main = RefName::main();
        let mut expected = [
            fixtures::multiset((0..3).map(row)),
            fixtures::multiset((0..3).map(row)),
        ];
        let names = async |refs: Result<Vec<udr_core::RefHead>>| -> Vec<String> {
            refs.unwrap()
                .into_iter()
                .map(|r| r.name.to_string())
                .collect()
        };
        let branches = names(repository.branches().await).await;
        if self == Self::CreateRepository {
            return branches == ["main"];
        }
        let tags = names(repository.tags().await).await;
        let found = [
            head_rows(repository, &main, "a").await.unwrap(),
            head_rows(repository, &main, "b").await.unwrap(),
        ];
        let done = match self {
            Self::CreateRepository => true,
            Self::Commit | Self::ChangeRows | Self::FastForward => found != expected,
            Self::CreateBranch => branches == ["dev", "main", "new", "old"],
            Self::DropBranch => branches == ["dev", "main"],
            Self::CreateTag => tags == ["v1", "v2"],
            Self::DropTag => tags.is_empty(),
        };
        let more: &[_] = match self {
            Self::Commit if done => &[10, 11, 12],
            Self::FastForward if done => &[100, 101, 102],
            _ => &[],
        };
        expected[0].extend(more.iter().map(|id| (row(*id), 1)));
        if self == Self::Commit {
            expected[1].extend(more.iter().map(|id| (row(*id), 1)));
        }
        if self == Self::ChangeRows && done {
            let changed = (0, Some("changed".to_owned()));
            expected = [
                fixtures::multiset([row(0), row(2)]),
                fixtures::multiset([changed, row(2)]),
            ];
        }
        assert_eq!(found, expected, "a commit happened by half");
        if !done || !matches!(self, Self::CreateBranch | Self::DropBranch) {
            assert_eq!(branches, ["dev", "main", "old"]);
        }
        if !done || !matches!(self, Self::CreateTag | Self::DropTag) {
            assert_eq!(tags, ["v1"]);
        }
        if self == Self::CreateBranch && done {
            assert_eq!(
                head_rows(repository, &named("new"), "a").await.unwrap(),
                expected[0]
            );
        }
        done
    }

    /// The branch whose log tells whether it happened, if it had one before.
    fn branch(self) -> Option<&'static str> {
        match self {
            Self::Commit | Self::ChangeRows | Self::FastForward => Some("main"),
            Self::DropBranch => Some("old"),
            Self::CreateRepository | Self::CreateBranch | Self::CreateTag | Self::DropTag => None,
        }
    }

    /// What making it again answers, once it has happened.
    fn again(self) -> Option<ErrorKind> {
        match self {
            Self::CreateRepository | Self::CreateBranch | Self::CreateTag => {
                Some(ErrorKind::AlreadyExists)
            }
            Self::DropBranch | Self::DropTag => Some(ErrorKind::NotFound),
            Self::Commit | Self::ChangeRows | Self::FastForward => None,
        }
    }
}

/// A repository over a faulty store; for its own creation, the handle of another one at the store.
async fn faulty(act: Act, faults: &FaultStore, retry: RetryPolicy) -> Actor {
    let store = store(Arc::new(faults.clone()), retry);
    if act == Act::CreateRepository {
        return Actor::Creator(store);
    }
    Actor::User(Repository::open(store, Env::system()).await.unwrap())
}

enum Actor {
    Creator(udr_core::store::Store),
    User(Repository),
}

impl Actor {
    async fn run(&self, act: Act) -> Result<()> {
        match self {
            Self::Creator(store) => Repository::create(store.clone(), Env::system())
                .await
                .map(drop),
            Self::User(repository) => act.run(repository).await,
        }
    }
}

/// Opens what is stored, without faults, and says whether the operation happened.
async fn settled(act: Act, inner: &Arc<InMemory>) -> bool {
    match open(inner.clone()).await {
        Ok(repository) => {
            check(&repository).await;
            act.done(&repository).await
        }
        Err(e) if act == Act::CreateRepository && e.kind() == ErrorKind::NotFound => false,
        Err(e) => panic!("{act:?}: the repository does not open: {e:?}"),
    }
}

/// What somebody else finds out about a transaction whose outcome is unknown, while a write of it
/// may still be under way.
async fn told(act: Act, answer: &Result<()>, inner: &Arc<InMemory>) -> Option<bool> {
    let error = answer.as_ref().err()?;
    let branch = act.branch()?;
    if error.kind() != ErrorKind::Indeterminate {
        return None;
    }
    let id = error.context("transaction").unwrap().parse().unwrap();
    let repository = open(inner.clone()).await.unwrap();
    let outcome = repository.settle_transaction(&named(branch), id).await;
    match outcome.unwrap() {
        TransactionOutcome::Committed { name, .. } => {
            assert_eq!(name.as_str(), branch);
            Some(true)
        }
        TransactionOutcome::NotPublished => Some(false),
        TransactionOutcome::Unknown => panic!("a branch that is known tells"),
    }
}

async fn sweep(act: Act, retry: RetryPolicy) {
    let base = act.prepare().await;
    let reads = [Fault::Torn, Fault::Short, Fault::Flipped];
    for fault in Fault::SWEEP.into_iter().chain(reads) {
        let mut met = 0;
        for n in 1.. {
            assert!(n < CALLS_MAX, "{act:?} makes calls without end");
            let inner = Arc::new(base.fork());
            let faults = FaultStore::new(inner.clone());
            let actor = faulty(act, &faults, retry).await;
            faults.plan(fault, n, Operations::ALL);
            let answer = actor.run(act).await;
            let Some(hit) = faults.hit() else {
                answer.unwrap();
                break;
            };
            met += 1;
            let what = format!("{act:?}, {fault:?} at call {n}: {hit:?}, answered {answer:?}");
            let told = told(act, &answer, &inner).await;
            // A delayed write that finds its place taken errs, which is nobody's concern.
            drop(faults.heal().await);
            let done = settled(act, &inner).await;
            match &answer {
                Ok(()) => assert!(done, "a success is not visible: {what}"),
                Err(e) if e.kind() == ErrorKind::Indeterminate => match told {
                    Some(told) => assert_eq!(told, done, "it was found out wrongly: {what}"),
                    None => assert_eq!(act.branch(), None, "it was not found out: {what}"),
                },
                Err(_) => assert!(!done, "a definite error was published: {what}"),
            }
            again(act, done, &actor, &inner, &what).await;
        }
        assert!(
            met > 0 || reads.contains(&fault),
            "{act:?} met no {fault:?}"
        );
    }
}

/// Makes the operation again, with the handle that saw the fault.
async fn again(act: Act, done: bool, actor: &Actor, inner: &Arc<InMemory>, what: &str) {
    let answer = actor.run(act).await;
    match act.again() {
        Some(kind) if done => {
            assert_eq!(
                answer.map_err(|e| e.kind()),
                Err(kind),
                "the second time, {what}"
            );
        }
        _ => answer.unwrap_or_else(|e| panic!("the second time: {e:?}, after {what}")),
    }
    assert!(
        settled(act, inner).await,
        "made again, it is not visible: {what}"
    );
}

/// Drops the operation's future at every call, before and after the call was done.
async fn cancel(act: Act) {
    let base = act.prepare().await;
    for fault in [Fault::HangBefore, Fault::HangAfter] {
        for n in 1.. {
            assert!(n < CALLS_MAX, "{act:?} makes calls without end");
            let inner = Arc::new(base.fork());
            let faults = FaultStore::new(inner.clone());
            let actor = faulty(act, &faults, once()).await;
            faults.plan(fault, n, Operations::ALL);
            let finished = tokio::select! {
                biased;
                answer = actor.run(act) => Some(answer),
                () = faults.met() => None,
            };
            if let Some(answer) = finished {
                answer.unwrap();
                if faults.hit().is_none() {
                    break;
                }
            }
            faults.heal().await.unwrap();
            let done = settled(act, &inner).await;
            let what = format!(
                "{act:?} dropped at call {n} ({fault:?}, {:?})",
                faults.hit()
            );
            again(act, done, &actor, &inner, &what).await;
        }
    }
}

macro_rules! sweeps {
    ($($module:ident: $act:expr;)*) => {$(
        mod $module {
            use super::*;

            #[tokio::test]
            async fn every_call_fails_once() {
                sweep($act, once()).await;
            }

            #[tokio::test]
            async fn every_call_fails_once_with_retries() {
                sweep($act, thrice()).await;
            }

            #[tokio::test]
            async fn the_caller_is_dropped_at_every_call() {
                cancel($act).await;
            }
        }
    )*};
}

sweeps! {
    create_repository: Act::CreateRepository;
    commit: Act::Commit;
    change_rows: Act::ChangeRows;
    create_branch: Act::CreateBranch;
    drop_branch: Act::DropBranch;
    create_tag: Act::CreateTag;
    drop_tag: Act::DropTag;
    fast_forward: Act::FastForward;
}
