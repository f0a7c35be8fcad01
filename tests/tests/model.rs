//! A repository does what the in-memory model does: DDL, DML, branches, tags, fast-forwards,
//! transactions with savepoints, two sessions at once.
//!
//! After each step the answers are compared and every open transaction is read. At the end every
//! version of every branch and every tag is read, from a cold handle, and `fsck` runs.

use std::collections::BTreeMap;
use std::rc::Rc;
use std::sync::Arc;

use object_store::memory::InMemory;
use proptest::prelude::*;
use proptest::sample::select;
use proptest_state_machine::{ReferenceStateMachine, StateMachineTest, prop_state_machine};
use udr_core::format::Schema;
use udr_core::id::Version;
use udr_core::name::NamespaceName;
use udr_core::refs::Revision;
use udr_core::snapshot::Snapshot;
use udr_core::txn::{CommitOutcome, Transaction};
use udr_core::{Error, ErrorKind, Result};
use udr_core::{FastForward, MergeMode, Repository};
use udr_testkit::fixtures::{self, Row, Rows, row};
use udr_testkit::model::{Answer, Catalog, Change, Done, Model, Refusal};
use udr_testkit::row_changes;

use crate::world::{check, create, named, open, path, rows, upload};

const SESSIONS: usize = 2;
const TABLES: [&str; 3] = ["a", "b", "c"];
const BRANCHES: [&str; 3] = ["main", "dev", "x"];
const TAGS: [&str; 2] = ["v1", "v2"];
const WORDS: [&str; 2] = ["new", "newer"];
const SAVEPOINTS: [&str; 2] = ["s", "t"];

#[derive(Debug, Clone)]
enum Step {
    Begin(usize, String),
    Change(usize, Change),
    Savepoint(usize, String),
    RollbackTo(usize, String),
    Release(usize, String),
    Commit(usize),
    Rollback(usize),
    /// A change by a third client, in a transaction of its own.
    Auto(String, Change),
    CreateBranch(String, String, u64),
    DropBranch(String),
    CreateTag(String, String, u64),
    DropTag(String),
    FastForward(String, String),
    /// Everything that was remembered is forgotten; open transactions go on.
    Reopen,
}

/// The session of [`Step::Auto`].
const THIRD: usize = SESSIONS;

impl Step {
    fn apply(&self, model: &mut Model) -> Answer {
        match self {
            Self::Begin(session, branch) => model.begin(*session, branch),
            Self::Change(session, change) => model.change(*session, change),
            Self::Savepoint(session, name) => model.savepoint(*session, name),
            Self::RollbackTo(session, name) => model.rollback_to(*session, name),
            Self::Release(session, name) => model.release(*session, name),
            Self::Commit(session) => model.commit(*session),
            Self::Rollback(session) => model.rollback(*session),
            Self::Auto(branch, change) => {
                model.begin(THIRD, branch)?;
                match model.change(THIRD, change) {
                    Ok(_) => model.commit(THIRD),
                    refused => {
                        model.rollback(THIRD)?;
                        refused
                    }
                }
            }
            Self::CreateBranch(name, from, version) => model.create_branch(name, from, *version),
            Self::DropBranch(name) => model.drop_branch(name),
            Self::CreateTag(name, from, version) => model.create_tag(name, from, *version),
            Self::DropTag(name) => model.drop_tag(name),
            Self::FastForward(source, target) => model.fast_forward(source, target),
            Self::Reopen => Ok(Done::Quietly),
        }
    }
}

fn one_of(names: &'static [&'static str]) -> impl Strategy<Value = String> {
    select(names).prop_map(str::to_owned)
}

fn some_rows() -> impl Strategy<Value = Vec<Row>> {
    prop::collection::vec((0i64..5).prop_map(row), 0..4)
}

/// A change whose tables mostly are where it looks for them.
fn change(state: Option<&Catalog>) -> BoxedStrategy<Change> {
    let known = state.map_or_else(Vec::new, |state| {
        state.tables().into_keys().map(str::to_owned).collect()
    });
    let table = if known.is_empty() {
        one_of(&TABLES).boxed()
    } else {
        prop_oneof![9 => select(known), 1 => one_of(&TABLES)].boxed()
    };
    prop_oneof![
        2 => one_of(&TABLES).prop_map(Change::Create),
        8 => (table.clone(), some_rows()).prop_map(|(t, rows)| Change::Append(t, rows)),
        3 => (table.clone(), some_rows()).prop_map(|(t, rows)| Change::Overwrite(t, rows)),
        5 => (table.clone(), 0i64..5).prop_map(|(t, id)| Change::Delete(t, id)),
        3 => (table.clone(), 0i64..5, one_of(&WORDS))
            .prop_map(|(t, id, word)| Change::Update(t, id, word, Vec::new())),
        2 => (table.clone(), 0i64..5, one_of(&WORDS), some_rows())
            .prop_map(|(t, id, word, rows)| Change::Update(t, id, word, rows)),
        1 => table.clone().prop_map(Change::Truncate),
        3 => (table.clone(), one_of(&TABLES)).prop_map(|(a, b)| Change::Rename(a, b)),
        1 => table.prop_map(Change::Drop),
    ]
    .boxed()
}

/// Mostly a branch that exists, and mostly the same one, so that sessions meet.
fn branch(model: &Model) -> BoxedStrategy<String> {
    let known: Vec<_> = model.branches().into_keys().map(str::to_owned).collect();
    prop_oneof![
        6 => Just("main".to_owned()),
        3 => select(known),
        1 => one_of(&BRANCHES),
    ]
    .boxed()
}

/// What every history starts with, so that short ones get somewhere.
fn beginning() -> Vec<Step> {
    let main = || "main".to_owned();
    vec![
        Step::Auto(main(), Change::Create("a".to_owned())),
        Step::Auto(main(), Change::Create("b".to_owned())),
        Step::Auto(
            main(),
            Change::Append("a".to_owned(), (0..5).map(row).collect()),
        ),
    ]
}

/// The model and how its last operation ended.
#[derive(Debug, Clone)]
struct Expected {
    model: Model,
    answer: Answer,
}

struct Reference;

impl ReferenceStateMachine for Reference {
    type State = Expected;
    type Transition = Step;

    fn init_state() -> BoxedStrategy<Expected> {
        let mut model = Model::new();
        for step in beginning() {
            step.apply(&mut model).unwrap();
        }
        let answer = Ok(Done::Quietly);
        Just(Expected { model, answer }).boxed()
    }

    fn transitions(state: &Expected) -> BoxedStrategy<Step> {
        let versions: Vec<(String, u64)> = state
            .model
            .branches()
            .iter()
            .flat_map(|(name, log)| log.keys().map(|v| ((*name).to_owned(), *v)))
            .collect();
        let version = select(versions);
        let session = 0..SESSIONS;
        let branches = state.model.branches();
        let main = branches["main"].values().next_back().copied();
        let in_session = |session: usize| state.model.staged(session).is_some();
        let mut options: Vec<(u32, BoxedStrategy<Step>)> = vec![
            (
                6,
                (branch(&state.model), change(main))
                    .prop_map(|(b, c)| Step::Auto(b, c))
                    .boxed(),
            ),
            (
                2,
                (one_of(&BRANCHES), version.clone())
                    .prop_map(|(name, (from, version))| Step::CreateBranch(name, from, version))
                    .boxed(),
            ),
            (
                1,
                select(&BRANCHES[1..])
                    .prop_map(|b| Step::DropBranch(b.to_owned()))
                    .boxed(),
            ),
            (
                1,
                (one_of(&TAGS), version)
                    .prop_map(|(name, (from, version))| Step::CreateTag(name, from, version))
                    .boxed(),
            ),
            (1, one_of(&TAGS).prop_map(Step::DropTag).boxed()),
            (
                2,
                (branch(&state.model), branch(&state.model))
                    .prop_map(|(a, b)| Step::FastForward(a, b))
                    .boxed(),
            ),
            (1, Just(Step::Reopen).boxed()),
        ];
        for session in session {
            if in_session(session) {
                options.extend([
                    (
                        6,
                        change(state.model.staged(session))
                            .prop_map(move |c| Step::Change(session, c))
                            .boxed(),
                    ),
                    (
                        1,
                        one_of(&SAVEPOINTS)
                            .prop_map(move |s| Step::Savepoint(session, s))
                            .boxed(),
                    ),
                    (
                        1,
                        one_of(&SAVEPOINTS)
                            .prop_map(move |s| Step::RollbackTo(session, s))
                            .boxed(),
                    ),
                    (
                        1,
                        one_of(&SAVEPOINTS)
                            .prop_map(move |s| Step::Release(session, s))
                            .boxed(),
                    ),
                    (3, Just(Step::Commit(session)).boxed()),
                    (1, Just(Step::Rollback(session)).boxed()),
                ]);
            } else {
                let begin = branch(&state.model).prop_map(move |b| Step::Begin(session, b));
                options.push((4, begin.boxed()));
            }
        }
        prop::strategy::Union::new_weighted(options).boxed()
    }

    fn apply(mut state: Expected, step: &Step) -> Expected {
        state.answer = step.apply(&mut state.model);
        state
    }

    fn preconditions(state: &Expected, step: &Step) -> bool {
        match step {
            Step::Begin(session, _) => state.model.staged(*session).is_none(),
            Step::Change(session, _)
            | Step::Savepoint(session, _)
            | Step::RollbackTo(session, _)
            | Step::Release(session, _)
            | Step::Commit(session)
            | Step::Rollback(session) => state.model.staged(*session).is_some(),
            Step::CreateBranch(_, from, version) | Step::CreateTag(_, from, version) => {
                let branches = state.model.branches();
                branches
                    .get(from.as_str())
                    .is_some_and(|log| log.contains_key(version))
            }
            _ => true,
        }
    }
}

/// The real repository.
struct Real {
    runtime: Rc<tokio::runtime::Runtime>,
    inner: Arc<InMemory>,
    repository: Repository,
    transactions: BTreeMap<usize, Transaction>,
}

impl Real {
    async fn begin(&mut self, session: usize, branch: &str) -> Result<Done> {
        let transaction = self.repository.begin(&named(branch)).await?;
        self.transactions.insert(session, transaction);
        Ok(Done::Quietly)
    }

    async fn change(&mut self, session: usize, change: &Change) -> Result<Done> {
        let transaction = self.transactions.get_mut(&session).unwrap();
        match change {
            Change::Create(name) => {
                let schema = Schema::from_arrow(&fixtures::schema())?;
                transaction.create_table(&path(name), schema).await?;
            }
            Change::Append(name, rows) => {
                let (path, batch) = (path(name), fixtures::batch(rows));
                let files = upload(&self.repository, transaction, &path, &[batch]).await?;
                transaction.append(&path, files).await?;
            }
            Change::Overwrite(name, rows) => {
                let (path, batch) = (path(name), fixtures::batch(rows));
                let files = upload(&self.repository, transaction, &path, &[batch]).await?;
                transaction.overwrite(&path, files).await?;
            }
            Change::Truncate(name) => transaction.truncate(&path(name)).await?,
            Change::Delete(name, number) => {
                row_changes::delete(transaction, &path(name), |row| row.0 == *number).await?;
            }
            Change::Update(name, number, word, inserted) => {
                let env = self.repository.env();
                let change = (|row: &Row| row.0 == *number, word.as_str());
                row_changes::change(transaction, &path(name), env, change, inserted).await?;
            }
            Change::Rename(from, to) => transaction.rename_table(&path(from), &path(to)).await?,
            Change::Drop(name) => transaction.drop_table(&path(name)).await?,
        }
        Ok(Done::Quietly)
    }

    async fn commit(&mut self, session: usize) -> Result<Done> {
        match self.transactions.remove(&session).unwrap().commit().await? {
            CommitOutcome::Committed(committed) => Ok(Done::Published(committed.version.0)),
            CommitOutcome::Unchanged(_) => Ok(Done::Quietly),
            CommitOutcome::Conflicted(conflicted) => Err(conflicted.to_error()),
        }
    }

    async fn state_at(&self, branch: &str, version: u64) -> Result<Snapshot> {
        let revision = Revision::at_version(Version(version));
        self.repository.resolve(&named(branch), &revision).await
    }

    async fn step(&mut self, step: &Step) -> Result<Done> {
        match step {
            Step::Begin(session, branch) => self.begin(*session, branch).await,
            Step::Change(session, change) => self.change(*session, change).await,
            Step::Savepoint(session, name) => {
                self.transactions
                    .get_mut(session)
                    .unwrap()
                    .savepoint(name)?;
                Ok(Done::Quietly)
            }
            Step::RollbackTo(session, name) => {
                self.transactions
                    .get_mut(session)
                    .unwrap()
                    .rollback_to(name)?;
                Ok(Done::Quietly)
            }
            Step::Release(session, name) => {
                self.transactions.get_mut(session).unwrap().release(name)?;
                Ok(Done::Quietly)
            }
            Step::Commit(session) => self.commit(*session).await,
            Step::Rollback(session) => {
                drop(self.transactions.remove(session));
                Ok(Done::Quietly)
            }
            Step::Auto(branch, change) => {
                self.begin(THIRD, branch).await?;
                self.change(THIRD, change).await?;
                self.commit(THIRD).await
            }
            Step::CreateBranch(name, from, version) => {
                let from = self.state_at(from, *version).await?;
                let head = self.repository.create_branch(&named(name), &from).await?;
                Ok(Done::Published(head.version.0))
            }
            Step::DropBranch(name) => {
                self.repository.drop_branch(&named(name)).await?;
                Ok(Done::Quietly)
            }
            Step::CreateTag(name, from, version) => {
                let from = self.state_at(from, *version).await?;
                self.repository.create_tag(&named(name), &from).await?;
                Ok(Done::Quietly)
            }
            Step::DropTag(name) => {
                self.repository.drop_tag(&named(name)).await?;
                Ok(Done::Quietly)
            }
            Step::FastForward(source, target) => {
                let (source, target) = (named(source), named(target));
                match self
                    .repository
                    .fast_forward(&source, &target, MergeMode::Publish)
                    .await?
                {
                    FastForward::UpToDate { .. } => Ok(Done::Quietly),
                    FastForward::Moved { version, .. } => Ok(Done::Published(version.0)),
                }
            }
            Step::Reopen => {
                self.repository = open(self.inner.clone()).await?;
                Ok(Done::Quietly)
            }
        }
    }
}

/// What an error says, in the model's words.
fn refusal(error: &Error) -> Refusal {
    match error.kind() {
        ErrorKind::NotFound => Refusal::NotFound,
        ErrorKind::AlreadyExists => Refusal::AlreadyExists,
        ErrorKind::Conflict => Refusal::Conflict,
        other => panic!("{other:?} where the model knows no such end: {error:?}"),
    }
}

/// A state has exactly the tables and rows that the model says.
async fn same(snapshot: &Snapshot, expected: &Catalog, what: &str) {
    let expected = expected.tables();
    let relations = snapshot.relations(&NamespaceName::public()).await.unwrap();
    let names: Vec<_> = relations.iter().map(|(name, _)| name.as_str()).collect();
    assert_eq!(
        names,
        expected.keys().copied().collect::<Vec<_>>(),
        "tables of {what}"
    );
    for (name, rows_expected) in expected {
        let found: Rows = rows(snapshot, &path(name)).await.unwrap();
        assert_eq!(found, rows_expected, "rows of {name} in {what}");
        let table = snapshot.table(&path(name)).await.unwrap();
        assert_eq!(
            table.rows(),
            rows_expected.values().sum::<u64>(),
            "count of {name} in {what}"
        );
    }
}

struct Repositories;

impl StateMachineTest for Repositories {
    type SystemUnderTest = Real;
    type Reference = Reference;

    fn init_test(_: &Expected) -> Real {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .unwrap();
        let inner = Arc::new(InMemory::new());
        let repository = runtime.block_on(create(inner.clone()));
        let mut real = Real {
            runtime: Rc::new(runtime),
            inner,
            repository,
            transactions: BTreeMap::new(),
        };
        let runtime = Rc::clone(&real.runtime);
        for step in beginning() {
            runtime.block_on(real.step(&step)).unwrap();
        }
        real
    }

    fn apply(mut real: Real, expected: &Expected, step: Step) -> Real {
        let runtime = Rc::clone(&real.runtime);
        let answer = runtime.block_on(real.step(&step));
        if let Err(e) = &answer {
            drop(real.transactions.remove(&THIRD));
            assert_eq!(Err(refusal(e)), expected.answer, "{step:?}: {e:?}");
        } else {
            assert_eq!(answer.map_err(|e| refusal(&e)), expected.answer, "{step:?}");
        }
        real
    }

    fn check_invariants(real: &Real, expected: &Expected) {
        real.runtime.block_on(async {
            for (session, transaction) in &real.transactions {
                let staged = expected.model.staged(*session).unwrap();
                let what = format!("the transaction of session {session}");
                same(&transaction.snapshot(), staged, &what).await;
            }
            for (name, log) in expected.model.branches() {
                let head = real.repository.head(&named(name)).await.unwrap();
                let (version, catalog) = log.last_key_value().unwrap();
                assert_eq!(head.version(), Some(Version(*version)), "{name}");
                same(&head, catalog, &format!("the head of {name}")).await;
            }
        });
    }

    fn teardown(real: Real, expected: Expected) {
        real.runtime.block_on(async {
            let repository = open(real.inner.clone()).await.unwrap();
            let names = async |heads: Result<Vec<udr_core::RefHead>>| -> Vec<String> {
                heads.unwrap().iter().map(|h| h.name.to_string()).collect()
            };
            let (branches, tags) = (expected.model.branches(), expected.model.tags());
            assert_eq!(
                names(repository.branches().await).await,
                Vec::from_iter(branches.keys().map(ToString::to_string))
            );
            assert_eq!(
                names(repository.tags().await).await,
                Vec::from_iter(tags.keys().map(ToString::to_string))
            );
            for (name, log) in branches {
                for (version, catalog) in log {
                    let revision = Revision::at_version(Version(version));
                    let found = repository.resolve(&named(name), &revision).await.unwrap();
                    same(&found, catalog, &format!("{name} at version {version}")).await;
                }
            }
            for (name, catalog) in tags {
                let revision = Revision::of_ref(named(name));
                let found = repository.resolve(&named("main"), &revision).await.unwrap();
                same(&found, catalog, &format!("tag {name}")).await;
            }
            check(&repository).await;
        });
    }
}

/// How many histories are tried: enough for every run, or as many as `UDR_TEST_CASES` says.
fn cases() -> u32 {
    std::env::var("UDR_TEST_CASES").map_or(100, |cases| cases.parse().unwrap())
}

prop_state_machine! {
    #![proptest_config(ProptestConfig {
        cases: cases(),
        max_shrink_time: 20_000,
        failure_persistence: None,
        ..ProptestConfig::default()
    })]

    #[test]
    fn a_repository_is_what_the_model_says(sequential 1..50 => Repositories);
}
