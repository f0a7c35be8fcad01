//! The contract of the store, over everything that a repository can be in.
//!
//! Memory, local disk, a wrapped store, and a real S3-compatible server: the one that
//! `tests/scripts/s3_up.sh` starts, if the environment says where it is.

use std::collections::BTreeSet;
use std::io::Write as _;
use std::sync::{Arc, Once};

use bytes::Bytes;
use futures::future::join_all;
use object_store::memory::InMemory;
use udr_core::ErrorKind;
use udr_core::Repository;
use udr_core::env::Env;
use udr_core::format::ObjectRef;
use udr_core::id::{Epoch, RecordNumber};
use udr_core::name::RefName;
use udr_core::store::{Created, Durability, RefKind, Store, StoreOptions};
use udr_testkit::fixtures::{self, row};
use udr_testkit::{FaultStore, LenientStore};

use crate::world::{check, commit_rows, create_tables, head_rows, named};

/// A store and what keeps it alive.
struct Place {
    store: Store,
    _folder: Option<tempfile::TempDir>,
}

fn memory() -> Option<Place> {
    Some(Place {
        store: Store::memory(),
        _folder: None,
    })
}

fn wrapped() -> Option<Place> {
    let inner = Arc::new(FaultStore::new(Arc::new(InMemory::new())));
    let store = Store::wrap(inner, "some/prefix", &StoreOptions::default()).unwrap();
    Some(Place {
        store,
        _folder: None,
    })
}

fn folder(durability: Durability) -> Option<Place> {
    let folder = tempfile::tempdir().unwrap();
    let location = folder.path().join("not/made/yet");
    let options = StoreOptions {
        durability,
        ..StoreOptions::default()
    };
    let store = Store::open(location.to_str().unwrap(), &options).unwrap();
    Some(Place {
        store,
        _folder: Some(folder),
    })
}

/// A fresh prefix on the S3 server of the environment; `None` and a remark if there is none.
fn s3() -> Option<Place> {
    let Ok(endpoint) = std::env::var("UDR_TEST_S3_ENDPOINT") else {
        static SAID: Once = Once::new();
        SAID.call_once(|| {
            // Written past the harness, which would keep it to itself as long as tests pass.
            let message = "NOT RUN: the tests over S3, for want of UDR_TEST_S3_ENDPOINT; \
                           `eval \"$(tests/scripts/s3_up.sh)\"` starts a server";
            writeln!(std::io::stderr(), "{message}").unwrap();
        });
        return None;
    };
    let or = |key: &str, default: &str| std::env::var(key).unwrap_or_else(|_| default.to_owned());
    let prefix = Env::system().transaction_id();
    let location = format!("s3://{}/{prefix}", or("UDR_TEST_S3_BUCKET", "udr-test"));
    let options = [
        ("aws_endpoint", endpoint),
        ("aws_allow_http", "true".to_owned()),
        ("aws_region", "us-east-1".to_owned()),
        ("aws_access_key_id", or("UDR_TEST_S3_KEY", "test")),
        (
            "aws_secret_access_key",
            or("UDR_TEST_S3_SECRET", "testtest"),
        ),
    ];
    let options = options.map(|(key, value)| (key.to_owned(), value)).to_vec();
    let options = StoreOptions {
        options,
        ..StoreOptions::default()
    };
    Some(Place {
        store: Store::open(&location, &options).unwrap(),
        _folder: None,
    })
}

macro_rules! conformance {
    ($($place:ident: $make:expr;)*) => {$(
        mod $place {
            use super::*;

            #[tokio::test]
            async fn is_accepted() {
                let Some(place) = $make else { return };
                place.store.probe().await.unwrap();
            }

            #[tokio::test]
            async fn keeps_objects_by_their_digest() {
                let Some(place) = $make else { return };
                objects(&place.store).await;
            }

            #[tokio::test]
            async fn gives_each_record_to_one_writer() {
                let Some(place) = $make else { return };
                records(&place.store).await;
            }

            #[tokio::test]
            async fn finds_refs_and_their_last_records() {
                let Some(place) = $make else { return };
                refs(&place.store).await;
            }

            #[tokio::test]
            async fn keeps_data_files() {
                let Some(place) = $make else { return };
                data_files(&place.store).await;
            }

            #[tokio::test]
            async fn holds_one_repository() {
                let Some(place) = $make else { return };
                repository(&place.store).await;
            }
        }
    )*};
}

conformance! {
    in_memory: memory();
    wrapped_store: wrapped();
    durable_folder: folder(Durability::Full);
    scratch_folder: folder(Durability::None);
    s3_server: s3();
}

async fn objects(store: &Store) {
    let bytes = Bytes::from_static(b"{\"some\":\"object\"}");
    let object = store.put_object(Epoch(0), bytes.clone()).await.unwrap();
    assert_eq!(object, ObjectRef::of(Epoch(0), &bytes));
    assert_eq!(
        store.put_object(Epoch(0), bytes.clone()).await.unwrap(),
        object
    );
    assert_eq!(store.get_object(&object).await.unwrap(), bytes);
    let later = store.put_object(Epoch(1), bytes.clone()).await.unwrap();
    assert_eq!(later.digest, object.digest);
    let found = store
        .find_objects(&object.digest.to_hex()[..6])
        .await
        .unwrap();
    assert_eq!(
        found.into_iter().collect::<BTreeSet<_>>(),
        BTreeSet::from([object, later])
    );
    let missing = ObjectRef::of(Epoch(0), b"never stored");
    let error = store.get_object(&missing).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Corrupt, "{error:?}");
    assert!(
        error.to_string().contains(&missing.digest.to_hex()[2..]),
        "{error:?}"
    );
}

async fn records(store: &Store) {
    let (kind, name) = (RefKind::Branch, named("main"));
    assert_eq!(
        store
            .get_record(kind, &name, RecordNumber(7))
            .await
            .unwrap(),
        None
    );
    for version in [7, 8, 9] {
        let record = |writer: usize| Bytes::from(format!("record {version} of writer {writer}"));
        let writers =
            (0..20).map(|w| store.create_record(kind, &name, RecordNumber(version), record(w)));
        let answers = join_all(writers).await;
        let stored = store
            .get_record(kind, &name, RecordNumber(version))
            .await
            .unwrap()
            .unwrap();
        let mut winners = 0;
        for (writer, answer) in answers.into_iter().enumerate() {
            match answer.unwrap() {
                Created::Mine => {
                    winners += 1;
                    assert_eq!(stored, record(writer));
                }
                Created::Other(bytes) => assert_eq!(bytes, stored),
            }
        }
        assert_eq!(winners, 1);
        // Asking again with the same bytes is how a writer learns that its record is there.
        let again = store
            .create_record(kind, &name, RecordNumber(version), stored)
            .await
            .unwrap();
        assert_eq!(again, Created::Mine);
    }
}

async fn refs(store: &Store) {
    let (branch, tag) = (RefKind::Branch, RefKind::Tag);
    assert_eq!(store.list_refs(branch).await.unwrap(), []);
    assert_eq!(store.last_record(branch, &named("a")).await.unwrap(), None);
    let put = async |kind, name: &str, version| {
        let bytes = Bytes::from(format!("{name} {version}"));
        let created = store
            .create_record(kind, &named(name), RecordNumber(version), bytes)
            .await
            .unwrap();
        assert_eq!(created, Created::Mine);
    };
    for (name, version) in [
        ("a", 3),
        ("a", 4),
        ("A/b", 0),
        ("a/c", 12),
        ("z", 999_999_999_999),
    ] {
        put(branch, name, version).await;
    }
    put(tag, "v1.0", 0).await;
    let names = async |kind| -> BTreeSet<String> {
        store
            .list_refs(kind)
            .await
            .unwrap()
            .iter()
            .map(ToString::to_string)
            .collect()
    };
    let expected = ["a", "a/b", "a/c", "z"].map(str::to_owned);
    assert_eq!(names(branch).await, BTreeSet::from(expected));
    assert_eq!(names(tag).await, BTreeSet::from(["v1.0".to_owned()]));
    for (name, last) in [("a", 4), ("a/b", 0), ("a/c", 12), ("z", 999_999_999_999)] {
        let found = store.last_record(branch, &named(name)).await.unwrap();
        assert_eq!(found, Some(RecordNumber(last)), "{name}");
    }
    assert_eq!(store.get_hint(branch, &named("a")).await.unwrap(), None);
    for version in [3, 4] {
        store
            .put_hint(branch, &named("a"), RecordNumber(version))
            .await
            .unwrap();
        assert_eq!(
            store.get_hint(branch, &named("a")).await.unwrap(),
            Some(RecordNumber(version))
        );
    }
    assert_eq!(names(branch).await.len(), 4, "a hint is no ref");
}

async fn data_files(store: &Store) {
    let table = Env::system().table_id();
    // Short, and longer than what is kept in memory or sent at once.
    for size in [11usize, 1 << 20, (17 << 20) + 5] {
        let content: Vec<u8> = (0..size).map(|i| (i * 31 % 251) as u8).collect();
        let put = async || {
            let mut staged = store.stage_data_file(table, Epoch(0)).unwrap();
            for piece in content.chunks(70_001) {
                staged.write_all(piece).unwrap();
            }
            store.put_data_file(staged).await.unwrap()
        };
        let file = put().await;
        assert_eq!(file, ObjectRef::of(Epoch(0), &content));
        assert_eq!(put().await, file, "the same bytes are the same file");
        store.verify_data_file(table, &file).await.unwrap();
        let end = size as u64;
        let ranges = [0..4, end / 2..end / 2 + 3, end - 8..end, 0..end, 2..9];
        let parts = store.read_data_file(table, &file, &ranges).await.unwrap();
        for (range, part) in ranges.iter().zip(parts) {
            let range = usize::try_from(range.start).unwrap()..usize::try_from(range.end).unwrap();
            assert_eq!(part, content[range]);
        }
        let beyond = store
            .read_data_file(table, &file, &[end - 1..end + 1])
            .await;
        assert!(beyond.is_err(), "a range past the end was answered");
    }
    drop(store.stage_data_file(table, Epoch(0)).unwrap());
    let missing = ObjectRef::of(Epoch(0), b"never stored");
    let error = store
        .read_data_file(table, &missing, &[0..3])
        .await
        .unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Corrupt, "{error:?}");
}

async fn repository(store: &Store) {
    let env = Env::system();
    let error = Repository::open(store.clone(), env.clone())
        .await
        .unwrap_err();
    assert_eq!(error.kind(), ErrorKind::NotFound, "{error:?}");
    let made = Repository::create(store.clone(), env.clone())
        .await
        .unwrap();
    let error = Repository::create(store.clone(), env.clone())
        .await
        .unwrap_err();
    assert_eq!(error.kind(), ErrorKind::AlreadyExists, "{error:?}");
    let opened = Repository::open(store.clone(), env.clone()).await.unwrap();
    assert_eq!(opened.id(), made.id());
    create_tables(&opened, &["t"]).await;
    let main = RefName::main();
    // Two writers at once, from the same state.
    let writers = [0..5, 5..10].map(|ids| commit_rows(&made, &main, &["t"], ids));
    for answer in join_all(writers).await {
        answer.unwrap();
    }
    let rows = head_rows(&opened, &main, "t").await.unwrap();
    assert_eq!(rows, fixtures::multiset((0..10).map(row)));
    check(&opened).await;
}

#[tokio::test]
async fn a_store_that_ignores_conditions_is_refused() {
    let lenient = Arc::new(LenientStore::new(Arc::new(InMemory::new())));
    let store = Store::wrap(lenient, "", &StoreOptions::default()).unwrap();
    let error = store.probe().await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unsupported, "{error:?}");
    let error = Repository::create(store, Env::system()).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unsupported, "{error:?}");
}

#[tokio::test]
async fn a_repository_that_is_reached_through_a_store_that_ignores_conditions_is_not_written() {
    let honest = Arc::new(InMemory::new());
    let made = Store::wrap(honest.clone(), "", &StoreOptions::default()).unwrap();
    let made = Repository::create(made, Env::system()).await.unwrap();
    create_tables(&made, &["t"]).await;
    let lenient = Arc::new(LenientStore::new(honest));
    let store = Store::wrap(lenient, "", &StoreOptions::default()).unwrap();
    let opened = Repository::open(store, Env::system()).await.unwrap();
    let main = RefName::main();
    let head = opened.head(&main).await.unwrap();
    for refused in [
        opened.begin(&main).await.map(drop),
        opened.begin_at(&main, &head).await.map(drop),
        opened.create_branch(&named("dev"), &head).await.map(drop),
        opened.create_tag(&named("v1"), &head).await.map(drop),
    ] {
        let error = refused.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Unsupported, "{error:?}");
    }
    assert_eq!(made.branches().await.unwrap().len(), 1);
    check(&made).await;
}

#[tokio::test]
async fn a_long_upload_whose_last_answer_is_lost_is_found_to_be_there() {
    use udr_testkit::{Fault, Operation, Operations};
    let table = Env::system().table_id();
    let content = vec![7u8; (17 << 20) + 5];
    // The start, three parts, the end.
    for (at, stored) in [(1, false), (5, true)] {
        let inner = Arc::new(InMemory::new());
        let faults = FaultStore::new(inner);
        let store = crate::world::store(Arc::new(faults.clone()), crate::world::once());
        let mut staged = store.stage_data_file(table, Epoch(0)).unwrap();
        staged.write_all(&content).unwrap();
        faults.plan(Fault::After, at, Operations::of(Operation::Multipart));
        let answer = store.put_data_file(staged).await;
        assert!(faults.hit().is_some());
        assert_eq!(answer.is_ok(), stored, "{answer:?}");
    }
}
