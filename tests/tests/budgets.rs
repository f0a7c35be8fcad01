//! What operations cost in requests, and in how many of them wait for each other.

use std::sync::Arc;
use std::time::Duration;

use arrow::array::AsArray as _;
use arrow::datatypes::UInt64Type;
use datafusion::prelude::SessionContext;
use futures::{StreamExt as _, TryStreamExt as _};
use object_store::ObjectStore as _;
use object_store::memory::InMemory;
use udr_core::Repository;
use udr_core::Result;
use udr_core::changes::{ChangeEvent, Poll, SubscribeOptions};
use udr_core::env::Env;
use udr_core::format::Schema;
use udr_core::id::Version;
use udr_core::name::{NamespaceName, RefName, RelationPath};
use udr_core::refs::Revision;
use udr_datafusion::{InstallOptions, install, udr_sql};
use udr_testkit::counting::Calls;
use udr_testkit::fixtures::Row;
use udr_testkit::{CountingStore, Operation, Operations, fixtures, row_changes};

use crate::world::{
    append, check, commit_rows, committed, create, create_tables, named, once, path, rows, store,
    upload,
};

const LATENCY: Duration = Duration::from_millis(10);

/// A repository with a table `t` of some commits, seen through a store that counts.
async fn counted(commits: i64) -> (Arc<InMemory>, CountingStore, Repository) {
    let inner = Arc::new(InMemory::new());
    let quiet = create(inner.clone()).await;
    create_tables(&quiet, &["t"]).await;
    for i in 0..commits {
        commit_rows(&quiet, &RefName::main(), &["t"], i * 10..(i + 1) * 10)
            .await
            .unwrap();
    }
    let counting = CountingStore::new(inner.clone(), LATENCY);
    let repository = cold(&counting).await.unwrap();
    (inner, counting, repository)
}

/// A repository that has seen nothing yet.
async fn cold(counting: &CountingStore) -> Result<Repository> {
    Repository::open(store(Arc::new(counting.clone()), once()), Env::system()).await
}

fn lists(calls: &Calls) -> usize {
    calls.count(Operations::LISTINGS)
}

#[tokio::test(start_paused = true)]
async fn a_commit_is_two_round_trips_after_its_data() {
    let (inner, counting, repository) = counted(3).await;
    // What a session does anyway: it has looked at the branch.
    repository.head(&RefName::main()).await.unwrap();
    for _ in 0..21 {
        let mut transaction = repository.begin(&RefName::main()).await.unwrap();
        let files = upload(
            &repository,
            &transaction,
            &path("t"),
            &[fixtures::numbered(0..10)],
        )
        .await
        .unwrap();
        transaction.append(&path("t"), files).await.unwrap();
        counting.take();
        committed(transaction.commit().await).unwrap();
        let calls = counting.take();
        assert!(
            calls.depth() <= 2,
            "{} round trips:\n{calls}",
            calls.depth()
        );
        assert_eq!(lists(&calls), 0, "{calls}");
        let records = calls.on("refs/").of(Operations::of(Operation::Create));
        assert_eq!(records.count(Operations::ALL), 1, "{calls}");
        let objects = calls.on("objects/").count(Operations::WRITES);
        assert_eq!(objects, 1, "a small commit is one object:\n{calls}");
    }
    check(&crate::world::open(inner).await.unwrap()).await;
}

#[tokio::test(start_paused = true)]
async fn a_cold_commit_is_two_round_trips_whatever_it_merges() {
    let (inner, counting, _) = counted(1).await;
    for i in 0..80 {
        let repository = cold(&counting).await.unwrap();
        let mut transaction = repository.begin(&RefName::main()).await.unwrap();
        append(
            &repository,
            &mut transaction,
            &path("t"),
            fixtures::numbered(i..i + 1),
        )
        .await
        .unwrap();
        counting.take();
        committed(transaction.commit().await).unwrap();
        let calls = counting.take();
        let depth = calls.depth();
        assert!(depth <= 2, "commit {i} is {depth} round trips:\n{calls}");
    }
    check(&crate::world::open(inner).await.unwrap()).await;
}

#[tokio::test(start_paused = true)]
async fn a_commit_that_changes_rows_is_two_round_trips_after_its_data() {
    let (inner, counting, repository) = counted(3).await;
    let env = repository.env().clone();
    for round in 0..4 {
        let mut transaction = repository.begin(&RefName::main()).await.unwrap();
        // One row in each of the files goes or changes: each has a vector of its own.
        let gone = |row: &Row| row.0 == round;
        row_changes::delete(&mut transaction, &path("t"), gone)
            .await
            .unwrap();
        let change = (|row: &Row| row.0 >= 10 && row.0 % 10 == round, "changed");
        row_changes::change(&mut transaction, &path("t"), &env, change, &[])
            .await
            .unwrap();
        counting.take();
        committed(transaction.commit().await).unwrap();
        let calls = counting.take();
        assert!(
            calls.depth() <= 2,
            "{} round trips:\n{calls}",
            calls.depth()
        );
        assert_eq!(calls.on(".dv").count(Operations::WRITES), 3, "{calls}");
        assert_eq!(lists(&calls), 0, "{calls}");
    }
    check(&crate::world::open(inner).await.unwrap()).await;
}

#[tokio::test(start_paused = true)]
async fn an_insert_reads_what_it_merges_while_it_writes() {
    let mut depths = Vec::new();
    // The next commit merges nothing, then three manifests, of which one is in the head itself.
    for commits in [2, 3] {
        let (_, counting, repository) = counted(commits).await;
        let context = SessionContext::new();
        install(&context, InstallOptions::new(repository))
            .await
            .unwrap();
        counting.take();
        udr_sql(&context, "INSERT INTO t VALUES (1, 'x')")
            .await
            .unwrap()
            .collect()
            .await
            .unwrap();
        let calls = counting.take();
        let merged = calls.on("objects/").of(Operations::READS);
        depths.push((calls.depth(), merged.count(Operations::ALL)));
    }
    assert_eq!(depths[0].0, depths[1].0, "{depths:?}");
    assert_eq!(depths[0].1 + 2, depths[1].1, "{depths:?}");
}

#[tokio::test(start_paused = true)]
async fn a_cold_head_is_three_round_trips_however_far_it_is_past_its_hint() {
    let (inner, counting, repository) = counted(40).await;
    let main = RefName::main();
    repository
        .create_tag(&named("v1"), &repository.head(&main).await.unwrap())
        .await
        .unwrap();
    let quiet = crate::world::open(inner).await.unwrap();
    for i in 0..18 {
        // Hint, records, commit with its root.
        let repository = cold(&counting).await.unwrap();
        counting.take();
        let head = repository.head(&main).await.unwrap();
        let calls = counting.take();
        let depth = calls.depth();
        assert!(
            depth <= 3,
            "version {:?}: {depth}:\n{calls}",
            head.version()
        );
        assert_eq!(lists(&calls), 0, "{calls}");
        // A tag that no branch is called like: the empty folder of the branch is looked into.
        let tag = Revision::of_ref(named("v1"));
        repository.resolve(&main, &tag).await.unwrap();
        assert!(lists(&counting.take()) <= 1);
        commit_rows(&quiet, &main, &["t"], i..i + 1).await.unwrap();
    }
}

#[tokio::test(start_paused = true)]
async fn a_cold_point_query_lists_nothing() {
    let (_, counting, _) = counted(40).await;
    for query in ["head", "version", "branch"] {
        let repository = cold(&counting).await.unwrap();
        let main = RefName::main();
        if query == "branch" {
            let head = repository.head(&main).await.unwrap();
            repository.create_branch(&named("b"), &head).await.unwrap();
        }
        let repository = cold(&counting).await.unwrap();
        counting.take();
        let snapshot = match query {
            "head" => repository.head(&main).await.unwrap(),
            "branch" => repository.head(&named("b")).await.unwrap(),
            _ => repository
                .resolve(&main, &Revision::at_version(Version(7)))
                .await
                .unwrap(),
        };
        let found = rows(&snapshot, &path("t")).await.unwrap();
        assert!(!found.is_empty());
        let calls = counting.take();
        assert_eq!(lists(&calls), 0, "{query}:\n{calls}");
        let metadata = calls.not_on("data/");
        // Hint, records, the commit with its root and table state, the commits with the manifests.
        assert!(
            metadata.depth() <= 5,
            "{query}: {} round trips:\n{calls}",
            metadata.depth()
        );
    }
}

#[tokio::test(start_paused = true)]
async fn a_branch_and_a_tag_are_one_small_record() {
    let (_, counting, repository) = counted(3).await;
    for i in 0..40 {
        create_tables(&repository, &[&format!("table_{i}")]).await;
    }
    let head = repository.head(&RefName::main()).await.unwrap();
    for create in ["branch", "tag"] {
        counting.take();
        if create == "branch" {
            repository
                .create_branch(&named("dev"), &head)
                .await
                .unwrap();
        } else {
            repository.create_tag(&named("v1"), &head).await.unwrap();
        }
        let writes = counting.take().of(Operations::WRITES);
        // Beside the record there is at most the hint, which is an aid and no state.
        assert_eq!(
            writes.not_on("hint").count(Operations::ALL),
            1,
            "{create}:\n{writes}"
        );
        assert!(writes.bytes(Operations::ALL) < 1024, "{create}:\n{writes}");
    }
}

#[tokio::test(start_paused = true)]
async fn listing_branches_lists_no_records() {
    let (_, counting, repository) = counted(40).await;
    let head = repository.head(&RefName::main()).await.unwrap();
    for name in ["dev", "dev/inner", "other"] {
        repository.create_branch(&named(name), &head).await.unwrap();
    }
    let repository = cold(&counting).await.unwrap();
    counting.take();
    let branches = repository.branches().await.unwrap();
    let names = branches.iter().map(|b| b.name.as_str()).collect::<Vec<_>>();
    assert_eq!(names, ["dev", "dev/inner", "main", "other"]);
    let calls = counting.take();
    assert_eq!(calls.count(Operations::of(Operation::Walk)), 0, "{calls}");
    assert_eq!(
        calls
            .on("refs/heads")
            .count(Operations::of(Operation::List)),
        1,
        "{calls}"
    );
}

#[tokio::test]
async fn an_insert_from_a_table_function_lists_nothing() {
    let (_, counting, repository) = counted(3).await;
    let context = SessionContext::new();
    install(&context, InstallOptions::new(repository))
        .await
        .unwrap();
    let insert = "INSERT INTO t SELECT value, 'x' FROM generate_series(1, 3)";
    for _ in 0..2 {
        counting.take();
        udr_sql(&context, insert)
            .await
            .unwrap()
            .collect()
            .await
            .unwrap();
        let calls = counting.take();
        assert_eq!(lists(&calls), 0, "{calls}");
    }
}

#[tokio::test]
async fn an_analyze_reads_what_was_added_since_the_last_one() {
    let (inner, counting, repository) = counted(3).await;
    let context = SessionContext::new();
    install(&context, InstallOptions::new(repository))
        .await
        .unwrap();
    analyze(&context).await;
    let old = data_files(&inner).await;
    // Nobody has to read them to publish.
    let calls = counting.take();
    assert_eq!(calls.on("data/").count(Operations::WRITES), 0, "{calls}");
    for path in &old {
        assert!(calls.on(path).count(Operations::READS) > 0, "{calls}");
    }
    let quiet = crate::world::open(inner.clone()).await.unwrap();
    commit_rows(&quiet, &RefName::main(), &["t"], 20..5_000)
        .await
        .unwrap();
    let context = SessionContext::new();
    let repository = cold(&counting).await.unwrap();
    install(&context, InstallOptions::new(repository))
        .await
        .unwrap();
    counting.take();
    let count = analyze(&context).await;
    assert!(count.abs_diff(5_000) < 250, "{count}");
    let calls = counting.take().on("data/").of(Operations::READS);
    assert!(calls.count(Operations::ALL) > 0);
    for path in &old {
        assert_eq!(calls.on(path).count(Operations::ALL), 0, "{calls}");
    }
    let counted_again = analyze(&context).await;
    assert_eq!(counted_again, count);
    let calls = counting.take().on("data/");
    assert_eq!(calls.count(Operations::ALL), 0, "{calls}");
    check(&quiet).await;
}

/// How many ids ANALYZE finds in `t`.
async fn analyze(context: &SessionContext) -> u64 {
    let counted = udr_sql(context, "ANALYZE TABLE t (id)").await.unwrap();
    let batches = counted.collect().await.unwrap();
    batches[0].column(1).as_primitive::<UInt64Type>().value(0)
}

async fn data_files(inner: &InMemory) -> Vec<String> {
    let listed = inner.list(None).try_collect::<Vec<_>>().await.unwrap();
    let paths = listed.into_iter().map(|meta| meta.location.to_string());
    paths.filter(|path| path.ends_with(".parquet")).collect()
}

#[tokio::test(start_paused = true)]
async fn a_commit_costs_the_same_however_many_came_before() {
    let (inner, counting, repository) = counted(0).await;
    let mut costs = Vec::new();
    for i in 0..300 {
        let mut transaction = repository.begin(&RefName::main()).await.unwrap();
        append(
            &repository,
            &mut transaction,
            &path("t"),
            fixtures::numbered(i..i + 1),
        )
        .await
        .unwrap();
        counting.take();
        committed(transaction.commit().await).unwrap();
        let calls = counting.take();
        costs.push((
            calls.count(Operations::ALL),
            calls.bytes(Operations::WRITES),
        ));
    }
    // Averages over the same number of commits, so that merges of manifests are in both.
    let sum = |part: &[(usize, u64)]| {
        part.iter()
            .fold((0, 0), |(calls, bytes), c| (calls + c.0, bytes + c.1))
    };
    let (early, late) = (sum(&costs[100..200]), sum(&costs[200..300]));
    assert!(
        late.0 * 10 <= early.0 * 12,
        "requests grew from {} to {}",
        early.0,
        late.0
    );
    assert!(
        late.1 * 10 <= early.1 * 14,
        "bytes grew from {} to {}",
        early.1,
        late.1
    );
    check(&crate::world::open(inner).await.unwrap()).await;
}

#[tokio::test]
async fn what_a_large_commit_makes_is_apart_from_it_and_what_small_ones_make_is_not() {
    let inner = Arc::new(InMemory::new());
    let repository = create(inner.clone()).await;
    let main = RefName::main();
    let names = (0..300).map(|i| format!("t{i}")).collect::<Vec<_>>();
    let names = names.iter().map(String::as_str).collect::<Vec<_>>();
    create_tables(&repository, &names).await;
    let head = repository.head(&main).await.unwrap();
    assert!(head.commit().parts.is_empty(), "300 tables are large");
    for i in 0..40 {
        // Merges, whose manifests are parts of several commits, and now and then a large commit.
        let tables = if i % 13 == 12 {
            &names[..]
        } else {
            &names[..2]
        };
        commit_rows(&repository, &main, tables, i..i + 1)
            .await
            .unwrap();
        let head = repository.head(&main).await.unwrap();
        assert_eq!(head.commit().parts.is_empty(), tables.len() > 2);
    }
    let repository = crate::world::open(inner).await.unwrap();
    check(&repository).await;
    let head = repository.head(&main).await.unwrap();
    for (name, count) in [("t0", 40), ("t1", 40), ("t2", 3), ("t299", 3)] {
        let found = rows(&head, &path(name)).await.unwrap();
        assert_eq!(found.values().sum::<u64>(), count, "{name}");
    }
}

#[tokio::test]
async fn a_commit_writes_the_page_of_its_namespace_and_no_other_tables() {
    let (inner, counting, repository) = counted(0).await;
    let main = RefName::main();
    let mut transaction = repository.begin(&main).await.unwrap();
    let schema = Schema::from_arrow(&fixtures::schema()).unwrap();
    for n in 0..12 {
        let name = format!("n{n}");
        transaction
            .create_namespace(&NamespaceName::new(&name).unwrap())
            .await
            .unwrap();
        for t in 0..30 {
            let path = RelationPath::parse(&name, &format!("t{t}")).unwrap();
            let created = transaction.create_table(&path, schema.clone()).await;
            created.unwrap();
        }
    }
    committed(transaction.commit().await).unwrap();
    let path = RelationPath::parse("n7", "t7").unwrap();
    counting.take();
    for i in 0..3 {
        let mut transaction = repository.begin(&main).await.unwrap();
        let rows = fixtures::numbered(i..i + 1);
        append(&repository, &mut transaction, &path, rows)
            .await
            .unwrap();
        committed(transaction.commit().await).unwrap();
    }
    let written = counting.take().on("objects/").bytes(Operations::WRITES);
    // 360 tables are some 90 KB for each commit.
    assert!(written < 3 * 30_000, "{written}");
    let repository = crate::world::open(inner).await.unwrap();
    check(&repository).await;
    let head = repository.head(&main).await.unwrap();
    let found = head.relations(&NamespaceName::new("n7").unwrap()).await;
    assert_eq!(found.unwrap().len(), 30);
    assert_eq!(rows(&head, &path).await.unwrap().len(), 3);
    // Those that shrink are in the root again, as far as there is room.
    let mut transaction = repository.begin(&main).await.unwrap();
    for t in 2..30 {
        let path = RelationPath::parse("n7", &format!("t{t}")).unwrap();
        transaction.drop_table(&path).await.unwrap();
    }
    committed(transaction.commit().await).unwrap();
    check(&repository).await;
}

#[tokio::test(start_paused = true)]
async fn an_idle_subscriber_asks_once_for_each_look() {
    let (_, counting, repository) = counted(5).await;
    let main = RefName::main();
    let head = repository.head(&main).await.unwrap();
    let options = SubscribeOptions {
        tables: vec![path("t")],
        poll: Poll {
            first: Duration::from_millis(100),
            most: Duration::from_secs(1),
        },
    };
    let subscription = repository.subscribe(&main, &head, options);
    let mut subscription = subscription.await.unwrap();
    counting.take();
    // Looks at 0, .1, .3, .7, 1.5, 2.5 … seconds, and a request each.
    let nothing = tokio::time::timeout(Duration::from_millis(3_200), subscription.next());
    assert!(nothing.await.is_err(), "something was new");
    let calls = counting.take();
    assert_eq!(calls.count(Operations::ALL), 6, "{calls}");
    commit_rows(&repository, &main, &["t"], 900..901)
        .await
        .unwrap();
    counting.take();
    let event = subscription.next().await.unwrap().unwrap();
    assert!(matches!(event, ChangeEvent::Rows { .. }), "{event:?}");
    let calls = counting.take();
    assert!(calls.count(Operations::ALL) <= 8, "{calls}");
    assert_eq!(lists(&calls), 0, "{calls}");
}

#[tokio::test(start_paused = true)]
async fn changes_of_a_commit_cost_the_same_in_a_large_table() {
    let mut costs = Vec::new();
    for commits in [8, 300] {
        let (inner, counting, _) = counted(commits).await;
        let quiet = crate::world::open(inner).await.unwrap();
        let mut transaction = quiet.begin(&RefName::main()).await.unwrap();
        let one = |row: &Row| row.0 == 42;
        row_changes::change(
            &mut transaction,
            &path("t"),
            quiet.env(),
            (one, "changed"),
            &[],
        )
        .await
        .unwrap();
        committed(transaction.commit().await).unwrap();
        let repository = cold(&counting).await.unwrap();
        let ctx = SessionContext::new();
        install(&ctx, InstallOptions::new(repository))
            .await
            .unwrap();
        counting.take();
        // By its number a version is found at once; `HEAD~1` would be searched for.
        let feed = format!("SELECT * FROM \"t$changes@{}..\"", commits + 1);
        let rows = ctx.sql(&feed).await.unwrap();
        let rows = rows.collect().await.unwrap();
        assert_eq!(rows.iter().map(|batch| batch.num_rows()).sum::<usize>(), 2);
        let calls = counting.take();
        assert_eq!(lists(&calls), 0, "{calls}");
        let data = calls.on("data/").count(Operations::ALL);
        costs.push((calls.count(Operations::ALL), data, calls));
    }
    let [(small, few, _), (large, many, calls)] = costs.as_slice() else {
        panic!("two sizes");
    };
    assert_eq!(few, many, "{calls}");
    // A manifest more on each side, if the tree is deeper.
    assert!(large <= &(small + 4), "{small} and {large}: {calls}");
}
