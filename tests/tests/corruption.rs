//! Damaged, missing, swapped and hostile objects are noticed, named, and never crash anything.

use std::sync::Arc;

use bytes::Bytes;
use futures::TryStreamExt as _;
use object_store::memory::InMemory;
use object_store::path::Path;
use object_store::{ObjectStore as _, ObjectStoreExt as _};
use udr_core::Repository;
use udr_core::format::{
    Commit, CommitRef, Entry, Namespace, ObjectRef, RefRecord, Root, Stored, TableState, decode,
    encode,
};
use udr_core::id::{Digest, Epoch};
use udr_core::maintenance::FsckOptions;
use udr_core::name::RefName;
use udr_core::refs::Revision;
use udr_core::{Error, ErrorKind, Result};
use udr_testkit::fixtures::Row;
use udr_testkit::row_changes;

use crate::world::{check, commit_rows, committed, create, create_tables, named, open, path, rows};

/// A small repository with everything in it: two tables, several commits, a branch, a tag, a
/// dropped branch.
async fn sample() -> InMemory {
    let inner = Arc::new(InMemory::new());
    let repository = create(inner.clone()).await;
    let main = RefName::main();
    create_tables(&repository, &["a", "b"]).await;
    commit_rows(&repository, &main, &["a", "b"], 0..20)
        .await
        .unwrap();
    let head = repository.head(&main).await.unwrap();
    repository
        .create_branch(&named("dev"), &head)
        .await
        .unwrap();
    repository
        .create_branch(&named("gone"), &head)
        .await
        .unwrap();
    repository.drop_branch(&named("gone")).await.unwrap();
    repository.create_tag(&named("v1"), &head).await.unwrap();
    commit_rows(&repository, &named("dev"), &["a"], 20..30)
        .await
        .unwrap();
    commit_rows(&repository, &main, &["b"], 30..33)
        .await
        .unwrap();
    let mut transaction = repository.begin(&main).await.unwrap();
    for (table, number) in [("a", 3), ("b", 1)] {
        let wanted = |row: &Row| row.0 % 10 == number;
        row_changes::delete(&mut transaction, &path(table), wanted)
            .await
            .unwrap();
    }
    let change = (|row: &Row| row.0 < 15, "changed");
    row_changes::change(&mut transaction, &path("b"), repository.env(), change, &[])
        .await
        .unwrap();
    committed(transaction.commit().await).unwrap();
    check(&repository).await;
    inner.fork()
}

async fn paths(store: &InMemory) -> Vec<Path> {
    let found = store
        .list(None)
        .map_ok(|meta| meta.location)
        .try_collect::<Vec<_>>()
        .await;
    let mut found = found.unwrap();
    found.sort();
    found
}

async fn read(store: &InMemory, path: &Path) -> Bytes {
    store.get(path).await.unwrap().bytes().await.unwrap()
}

/// Reads every row of every table at every version, as a user would.
async fn read_all(store: Arc<InMemory>) -> Result<Repository> {
    let repository = open(store).await?;
    for branch in repository.branches().await? {
        for entry in repository.log(&branch.name, None).await? {
            let revision = Revision::at_version(entry.version);
            let state = repository.resolve(&branch.name, &revision).await?;
            for namespace in state.namespaces().await? {
                for (name, _) in state.relations(&namespace).await? {
                    rows(&state, &path(name.as_str())).await?;
                }
            }
        }
    }
    for tag in repository.tags().await? {
        repository
            .resolve(&RefName::main(), &Revision::of_ref(tag.name))
            .await?;
    }
    Ok(repository)
}

/// What noticed the damage, in words; nothing if nobody did.
async fn noticed(store: InMemory) -> Option<String> {
    let store = Arc::new(store);
    let reading = read_all(store.clone()).await.err();
    if let Some(error) = &reading {
        assert!(
            matches!(
                error.kind(),
                ErrorKind::Corrupt | ErrorKind::NotFound | ErrorKind::Unsupported
            ),
            "damage was answered with {error:?}"
        );
    }
    let repository = match open(store).await {
        Ok(repository) => repository,
        Err(e) => return Some(words(&e)),
    };
    match repository.fsck(FsckOptions::Data).await {
        Ok(report) if report.is_clean() => {
            assert!(
                reading.is_none(),
                "reading fails and fsck says all is well: {reading:?}"
            );
            None
        }
        Ok(report) => {
            let problems: Vec<_> = report.problems.iter().map(ToString::to_string).collect();
            Some(problems.join("\n"))
        }
        Err(e) => Some(words(&e)),
    }
}

fn words(error: &Error) -> String {
    format!("{error:?}")
}

/// What the report must show of the object at `path`: digits of its digest, or its place in a log.
fn name_of(path: &Path) -> String {
    let parts: Vec<_> = path.as_ref().split('/').collect();
    match parts.as_slice() {
        ["objects", _, shard, rest] => format!("{shard}{}", &rest[..8]),
        ["data", _, _, file] => file[..10].to_owned(),
        ["refs", _, .., file] => file.trim_start_matches('0').replace(".json", ""),
        _ => path.to_string(),
    }
}

async fn replaced(base: &InMemory, path: &Path, bytes: impl Into<Bytes>) -> InMemory {
    let store = base.fork();
    store.put(path, bytes.into().into()).await.unwrap();
    store
}

fn is_hint(path: &Path) -> bool {
    path.as_ref().ends_with("hint.json")
}

async fn each_is_noticed(what: &str, damage: impl Fn(&Bytes) -> Option<Bytes>) {
    let base = sample().await;
    let mut damaged = 0;
    for path in paths(&base).await {
        let Some(bytes) = damage(&read(&base, &path).await) else {
            continue;
        };
        damaged += 1;
        let report = noticed(replaced(&base, &path, bytes).await).await;
        if is_hint(&path) {
            assert_eq!(
                report, None,
                "{what}: a hint is an aid, and damage to it was reported"
            );
            continue;
        }
        let report = report.unwrap_or_else(|| panic!("{what}: nobody noticed it in {path}"));
        assert!(
            report.contains(&name_of(&path)),
            "{what}: {path} is not named in\n{report}"
        );
    }
    assert!(damaged > 15, "{what}: only {damaged} objects");
}

#[tokio::test]
async fn every_truncation_is_noticed() {
    each_is_noticed("cut by one byte", |b| Some(b.slice(..b.len() - 1))).await;
    each_is_noticed("cut in half", |b| Some(b.slice(..b.len() / 2))).await;
    each_is_noticed("emptied", |_| Some(Bytes::new())).await;
}

#[tokio::test]
async fn every_extension_is_noticed() {
    each_is_noticed("a byte more", |b| Some([b.as_ref(), b"x"].concat().into())).await;
    each_is_noticed("twice", |b| Some([b.as_ref(), b.as_ref()].concat().into())).await;
}

#[tokio::test]
async fn a_flipped_bit_is_noticed_wherever_it_is() {
    let base = sample().await;
    for path in paths(&base).await {
        let bytes = read(&base, &path).await;
        // A prime stride visits beginnings, middles and ends without trying every byte.
        for at in (0..bytes.len()).step_by(61).chain([bytes.len() - 1]) {
            if is_hint(&path) {
                continue;
            }
            let mut changed = bytes.to_vec();
            changed[at] ^= 1 << (at % 8);
            let report = noticed(replaced(&base, &path, changed).await).await;
            assert!(
                report.is_some(),
                "nobody noticed bit {} of byte {at} of {path}",
                at % 8
            );
        }
    }
}

#[tokio::test]
async fn every_loss_is_noticed() {
    let base = sample().await;
    for path in paths(&base).await {
        let store = base.fork();
        store.delete(&path).await.unwrap();
        let report = noticed(store).await;
        // The newest record of a log cannot be missed: without it the log is shorter, and right.
        let newest = path.as_ref().starts_with("refs/");
        assert!(
            report.is_some() || newest,
            "nobody noticed the loss of {path}"
        );
    }
}

#[tokio::test]
async fn every_swap_of_valid_objects_is_noticed() {
    let base = sample().await;
    let all = paths(&base).await;
    let kind = |p: &Path| p.as_ref().split('/').next().map(str::to_owned);
    for (i, path) in all.iter().enumerate() {
        let others = all.iter().cycle().skip(i + 1).take(all.len() - 1);
        let Some(other) = others
            .clone()
            .find(|o| kind(o) == kind(path) && !is_hint(o))
        else {
            continue;
        };
        if is_hint(path) {
            continue;
        }
        let bytes = read(&base, other).await;
        if bytes == read(&base, path).await {
            continue;
        }
        let report = noticed(replaced(&base, path, bytes).await).await;
        assert!(
            report.is_some(),
            "nobody noticed that {path} holds what belongs to {other}"
        );
    }
}

#[tokio::test]
async fn a_deletion_vector_that_is_damaged_missing_or_another_is_corrupt_and_named() {
    let base = sample().await;
    let all = paths(&base).await;
    let vectors = all.iter().filter(|p| p.as_ref().ends_with(".dv"));
    let vectors = vectors.collect::<Vec<_>>();
    assert_eq!(vectors.len(), 2);
    for (path, other) in [(vectors[0], vectors[1]), (vectors[1], vectors[0])] {
        let bytes = read(&base, path).await;
        let mut flipped = bytes.to_vec();
        flipped[20] ^= 1;
        let lost = base.fork();
        lost.delete(path).await.unwrap();
        for store in [
            lost,
            replaced(&base, path, flipped).await,
            replaced(&base, path, read(&base, other).await).await,
        ] {
            let error = read_all(Arc::new(store.fork())).await.unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Corrupt, "{error:?}");
            assert!(words(&error).contains(&name_of(path)), "{error:?}");
            let report = noticed(store).await.unwrap();
            assert!(report.contains("invariant 6"), "{report}");
        }
    }
}

#[tokio::test]
async fn an_object_of_a_newer_format_is_unsupported_and_not_corrupt() {
    let base = sample().await;
    let newer = |bytes: &Bytes| {
        // Of a commit, without its parts, which a newer version may keep elsewhere.
        let head = bytes.split(|byte| *byte == b'\n').next().unwrap();
        let text = String::from_utf8(head.to_vec()).unwrap();
        assert!(text.contains("\"format\":1"), "{text}");
        text.replacen("\"format\":1", "\"format\":2", 1)
    };
    let file = Path::from("udr.json");
    let store = replaced(&base, &file, newer(&read(&base, &file).await)).await;
    let error = open(Arc::new(store)).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unsupported, "{error:?}");
    for path in paths(&base).await {
        if path.as_ref().starts_with("refs/heads/main/0") {
            let store = replaced(&base, &path, newer(&read(&base, &path).await)).await;
            let error = read_all(Arc::new(store)).await.unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Unsupported, "{path}: {error:?}");
        }
    }
    // An object named by its digest: the commit of `main`, as a newer build would have written it.
    let head = head_record(&base).await;
    let commit = head.1.head.unwrap();
    let object = object_path(&commit.object);
    let newer = Bytes::from(newer(&read(&base, &object).await));
    let error = read_all(Arc::new(with_head(&base, head, newer).await))
        .await
        .unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unsupported, "{error:?}");
}

#[tokio::test]
async fn an_unknown_feature_is_unsupported() {
    let base = sample().await;
    let file = Path::from("udr.json");
    let text = String::from_utf8(read(&base, &file).await.to_vec()).unwrap();
    let text = text.replace("\"features\":[]", "\"features\":[\"time machine\"]");
    let error = open(Arc::new(replaced(&base, &file, text).await))
        .await
        .unwrap_err();
    assert!(
        matches!(error.kind(), ErrorKind::Unsupported | ErrorKind::Corrupt),
        "{error:?}"
    );
}

/// Texts that are made to hurt a parser.
fn bombs() -> Vec<(&'static str, String)> {
    let nested = |open: &str, close: &str, n: usize| open.repeat(n) + &close.repeat(n);
    let record = |body: String| {
        let check = Digest::of(body.as_bytes());
        format!("{{\"udr\":\"ref_record\",\"format\":1,\"check\":\"{check}\",\"body\":{body}}}")
    };
    vec![
        ("deep arrays", nested("[", "]", 100_000)),
        (
            "deep objects",
            nested("{\"a\":", "}", 100_000).replace(":}", ":1}"),
        ),
        ("deep body", record(nested("[", "]", 100_000))),
        ("long array", record(format!("[{}0]", "0,".repeat(400_000)))),
        (
            "long commits",
            record(format!("{{\"commits\":[{}{{}}]}}", "{},".repeat(200_000))),
        ),
        (
            "huge number",
            record(format!("{{\"version\":{}}}", "9".repeat(500_000))),
        ),
        (
            "huge exponent",
            record("{\"version\":1e999999999}".to_owned()),
        ),
        ("negative", record("{\"version\":-1}".to_owned())),
        (
            "huge format",
            "{\"udr\":\"ref_record\",\"format\":99999999999999999999}".to_owned(),
        ),
        (
            "duplicates",
            "{\"udr\":\"ref_record\",\"udr\":\"x\",\"format\":1,\"body\":{}}".to_owned(),
        ),
        ("not UTF-8", "\u{fffd}\u{0}\u{7f}".repeat(100_000)),
        ("white space", " ".repeat(1_000_000)),
        ("too long", " ".repeat(3_000_000)),
        ("a string", format!("\"{}\"", "\\u0000".repeat(150_000))),
    ]
}

#[tokio::test]
async fn hostile_json_is_corrupt_and_crashes_nothing() {
    let base = sample().await;
    let (record, head) = head_record(&base).await;
    let first = Path::from("refs/heads/main/00000000000000000001.json");
    for (what, text) in bombs() {
        for place in [&record, &first, &Path::from("udr.json")] {
            let store = Arc::new(replaced(&base, place, text.clone()).await);
            let error = read_all(store.clone()).await.unwrap_err();
            let fine = matches!(error.kind(), ErrorKind::Corrupt | ErrorKind::Unsupported);
            assert!(fine, "{what} at {place}: {error:?}");
            assert!(
                error.to_string().len() < 2_000,
                "{what}: the error repeats the bomb"
            );
        }
        // As the commit of a valid record: the digest agrees, so it is parsed.
        let bomb = with_head(&base, (record.clone(), head.clone()), text.into()).await;
        let error = read_all(Arc::new(bomb)).await.unwrap_err();
        let fine = matches!(error.kind(), ErrorKind::Corrupt | ErrorKind::Unsupported);
        assert!(fine, "{what} as a commit: {error:?}");
        // In a hint it is as good as no hint.
        let hint = Path::from("refs/heads/main/hint.json");
        let store = replaced(&base, &hint, bombs()[0].1.clone()).await;
        assert_eq!(noticed(store).await, None);
    }
}

#[tokio::test]
async fn a_commit_that_is_its_own_ancestor_or_lies_about_its_place_is_corrupt() {
    let base = sample().await;
    let (record, head) = head_record(&base).await;
    let commit = head.head.unwrap();
    // The record says that the commit comes later than the commit itself says.
    let lying = CommitRef {
        sequence: commit.sequence + 7,
        ..commit
    };
    let forged = RefRecord {
        head: Some(lying),
        commits: vec![lying],
        ..head.clone()
    };
    let store = replaced(&base, &record, encode(&forged).unwrap()).await;
    assert_eq!(
        read_all(Arc::new(store)).await.unwrap_err().kind(),
        ErrorKind::Corrupt
    );
    // The record points at an object of another kind: the root, which is a part of a commit.
    let bytes = read(&base, &object_path(&commit.object)).await;
    let root = Commit::decode(&commit.object, &bytes).unwrap().root;
    let wrong = CommitRef {
        object: root,
        sequence: commit.sequence,
    };
    assert!(root.within.is_some());
    let forged = RefRecord {
        head: Some(wrong),
        commits: vec![wrong],
        ..head
    };
    let store = replaced(&base, &record, encode(&forged).unwrap()).await;
    assert_eq!(
        read_all(Arc::new(store)).await.unwrap_err().kind(),
        ErrorKind::Corrupt
    );
}

/// The newest record of `main`, and where it is.
async fn head_record(base: &InMemory) -> (Path, RefRecord) {
    let all = paths(base).await;
    let newest = all
        .iter()
        .rfind(|p| p.as_ref().starts_with("refs/heads/main/0"))
        .unwrap();
    let bytes = read(base, newest).await;
    (newest.clone(), decode::<RefRecord>(&bytes).unwrap())
}

fn object_path(object: &ObjectRef) -> Path {
    let hex = object.digest.to_hex();
    Path::from(format!(
        "objects/{}/{}/{}",
        object.epoch,
        &hex[..2],
        &hex[2..]
    ))
}

/// A repository whose `main` ends with an object of somebody's choice, correctly named.
async fn with_head(base: &InMemory, (path, record): (Path, RefRecord), bytes: Bytes) -> InMemory {
    let object = ObjectRef::of(Epoch(0), &bytes);
    let sequence = record.head.unwrap().sequence;
    let commit = CommitRef { object, sequence };
    let forged = RefRecord {
        head: Some(commit),
        commits: vec![commit],
        ..record
    };
    let store = replaced(base, &path, encode(&forged).unwrap()).await;
    store
        .put(&object_path(&object), bytes.into())
        .await
        .unwrap();
    store
}

async fn stored<T: Stored>(repository: &Repository, object: &ObjectRef) -> T {
    let bytes = repository.store().get_object(object).await.unwrap();
    let mut value = decode::<T>(&bytes).unwrap();
    value.settle(object.within).unwrap();
    value
}

/// A repository whose `main` ends with a table state of somebody's choice.
async fn with_state(base: &InMemory, change: impl FnOnce(&mut TableState)) -> InMemory {
    let newest = head_record(base).await;
    let repository = open(Arc::new(base.fork())).await.unwrap();
    let object = newest.1.head.unwrap().object;
    let bytes = repository.store().get_object(&object).await.unwrap();
    let mut commit = Commit::decode(&object, &bytes).unwrap();
    let mut root = stored::<Root>(&repository, &commit.root).await;
    let public = udr_core::name::NamespaceName::public();
    let Some(Namespace::Inline(entries)) = root.namespaces.get_mut(&public) else {
        panic!("the sample is small");
    };
    let Some(Entry::Table { state, .. }) = entries.values_mut().next() else {
        panic!("the sample has tables");
    };
    let mut changed = stored::<TableState>(&repository, state).await;
    change(&mut changed);
    let mut objects = Vec::new();
    let mut add = |bytes: Bytes| {
        objects.push(bytes.clone());
        ObjectRef::of(Epoch(0), &bytes)
    };
    *state = add(encode(&changed).unwrap());
    commit.root = add(encode(&root).unwrap());
    let store = with_head(base, newest, commit.encode(&[]).unwrap()).await;
    for bytes in objects {
        let at = object_path(&ObjectRef::of(Epoch(0), &bytes));
        store.put(&at, bytes.into()).await.unwrap();
    }
    store
}

#[tokio::test]
async fn statistics_at_the_top_that_are_not_those_of_the_files_are_found_by_fsck() {
    let base = sample().await;
    let untouched = with_state(&base, |_| {}).await;
    check(&open(Arc::new(untouched)).await.unwrap()).await;
    let spoiled = with_state(&base, |state| {
        for column in state.manifests[0].columns.values_mut() {
            column.lower.clone_from(&column.upper);
        }
    })
    .await;
    let repository = open(Arc::new(spoiled)).await.unwrap();
    let report = repository.fsck(FsckOptions::Metadata).await.unwrap();
    let found: Vec<_> = report.problems.iter().map(|p| p.invariant).collect();
    assert_eq!(found, [5], "{:#?}", report.problems);
}
