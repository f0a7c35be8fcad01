//! The contract of a store, over memory and local disk, and what it does when they misbehave.

use std::io::Write as _;
use std::ops::Range;
use std::path::Path as DiskPath;
use std::sync::atomic::{AtomicUsize, Ordering};

use async_trait::async_trait;
use bytes::Bytes;
use futures::future::join_all;
use futures::stream::BoxStream;
use object_store::{
    CopyOptions, GetOptions, GetResult, MultipartUpload, ObjectMeta, PutMode, PutMultipartOptions,
    PutOptions, PutPayload, PutResult, Result as StoreResult,
};
use tempfile::TempDir;

use super::*;
use crate::error::ErrorKind;
use crate::format::ObjectRef;
use crate::id::{Digest, Epoch, TableId, Version};
use crate::name::RefName;

const BRANCH: RefKind = RefKind::Branch;

fn quick() -> StoreOptions {
    StoreOptions {
        retry: RetryPolicy {
            attempts: 3,
            ..RetryPolicy::none()
        },
        env: Env::seeded(7, 0),
        ..StoreOptions::default()
    }
}

fn uncached() -> StoreOptions {
    StoreOptions {
        cache_bytes: 0,
        ..quick()
    }
}

fn on_disk(dir: &DiskPath, options: &StoreOptions) -> Store {
    Store::open(dir.to_str().unwrap(), options).unwrap()
}

fn name(name: &str) -> RefName {
    RefName::new(name).unwrap()
}

fn table() -> TableId {
    Env::seeded(1, 0).table_id()
}

fn text(text: &str) -> Bytes {
    Bytes::copy_from_slice(text.as_bytes())
}

/// Every kind of store that the contract is tested on.
fn stores() -> (TempDir, Vec<Store>) {
    let dir = TempDir::new().unwrap();
    let wrapped = local_object_store(dir.path().join("wrapped"), Durability::Full).unwrap();
    let stores = vec![
        Store::memory(),
        Store::open("memory://", &uncached()).unwrap(),
        on_disk(&dir.path().join("full/nested"), &uncached()),
        on_disk(
            &dir.path().join("none"),
            &StoreOptions {
                durability: Durability::None,
                ..quick()
            },
        ),
        Store::open(&format!("file://{}/url", dir.path().display()), &quick()).unwrap(),
        Store::wrap(wrapped, "some/prefix", &uncached()).unwrap(),
        Store::wrap(Arc::new(InMemory::new()), "p", &uncached()).unwrap(),
    ];
    (dir, stores)
}

fn write_data_file(store: &Store, bytes: &[u8]) -> StagedFile {
    let mut staged = store.stage_data_file(table(), Epoch(2)).unwrap();
    for piece in bytes.chunks(1 << 20) {
        staged.write_all(piece).unwrap();
    }
    staged.flush().unwrap();
    staged
}

#[tokio::test]
async fn objects_are_named_by_their_digest_and_read_back() {
    let (_dir, stores) = stores();
    for store in stores {
        for bytes in [Bytes::new(), text("a"), Bytes::from(vec![7; 3 << 20])] {
            let object = store.put_object(Epoch(1), bytes.clone()).await.unwrap();
            assert_eq!(object.digest, Digest::of(&bytes));
            assert_eq!(object.bytes, bytes.len() as u64);
            assert_eq!(
                store.put_object(Epoch(1), bytes.clone()).await.unwrap(),
                object
            );
            assert_eq!(store.get_object(&object).await.unwrap(), bytes);
            assert_eq!(store.get_object(&object).await.unwrap(), bytes);
        }
    }
}

#[tokio::test]
async fn a_missing_object_is_corruption_that_names_it() {
    let (_dir, stores) = stores();
    for store in stores {
        let object = ObjectRef {
            digest: Digest::of(b"gone"),
            epoch: Epoch(0),
            bytes: 4,
        };
        let error = store.get_object(&object).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Corrupt, "{store:?}: {error:?}");
        assert!(
            error.to_string().contains(&object.digest.to_hex()[2..]),
            "{error}"
        );
        let error = store
            .read_data_file(table(), &object, &[0..2, 2..4])
            .await
            .unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Corrupt, "{error:?}");
        let error = store.verify_data_file(table(), &object).await.unwrap_err();
        assert!(
            error.to_string().contains(&object.digest.to_hex()),
            "{error}"
        );
    }
}

#[tokio::test]
async fn objects_are_found_by_the_start_of_their_digest_in_every_epoch() {
    let (_dir, stores) = stores();
    for store in stores {
        let one = store.put_object(Epoch(0), text("one")).await.unwrap();
        let again = store.put_object(Epoch(12), text("one")).await.unwrap();
        store.put_object(Epoch(0), text("two")).await.unwrap();
        let hex = one.digest.to_hex();
        for digits in [4, 7, 64] {
            assert_eq!(
                store.find_objects(&hex[..digits]).await.unwrap(),
                [one, again]
            );
        }
        assert_eq!(store.find_objects("0000").await.unwrap(), []);
        for bad in ["abc", "ABCD", "xyzw", "../.."] {
            assert_eq!(
                store.find_objects(bad).await.unwrap_err().kind(),
                ErrorKind::Invalid
            );
        }
    }
}

#[tokio::test]
async fn data_files_are_read_in_ranges_and_verified() {
    let (_dir, stores) = stores();
    // Past the size from which remote stores get parts.
    let large = (0..17_u32 << 20)
        .map(|i| (i % 251) as u8)
        .collect::<Vec<_>>();
    for store in stores {
        for bytes in [b"PAR1-small".as_slice(), &large] {
            let staged = write_data_file(&store, bytes);
            assert_eq!(staged.bytes(), bytes.len() as u64);
            let file = store.put_data_file(staged).await.unwrap();
            assert_eq!((file.digest, file.epoch), (Digest::of(bytes), Epoch(2)));
            let read = store
                .read_data_file(table(), &file, &[4..6, 0..0, 1..10])
                .await
                .unwrap();
            assert_eq!(read, [&bytes[4..6], b"", &bytes[1..10]]);
            store.verify_data_file(table(), &file).await.unwrap();
            let reversed = Range { start: 5, end: 4 };
            for range in [0..file.bytes + 1, reversed] {
                let error = store
                    .read_data_file(table(), &file, &[range])
                    .await
                    .unwrap_err();
                assert_eq!(error.kind(), ErrorKind::Corrupt);
            }
        }
    }
}

#[tokio::test]
async fn records_are_created_once() {
    let (_dir, stores) = stores();
    for store in stores {
        let main = name("main");
        assert_eq!(
            store.get_record(BRANCH, &main, Version(0)).await.unwrap(),
            None
        );
        assert_eq!(store.last_record(BRANCH, &main).await.unwrap(), None);
        assert_eq!(store.list_refs(BRANCH).await.unwrap(), []);
        for version in [0, 1, 11] {
            let created = store
                .create_record(BRANCH, &main, Version(version), text("a"))
                .await;
            assert_eq!(created.unwrap(), Created::Mine);
        }
        let lost = store
            .create_record(BRANCH, &main, Version(1), text("b"))
            .await
            .unwrap();
        assert_eq!(lost, Created::Other(text("a")));
        let again = store
            .create_record(BRANCH, &main, Version(1), text("a"))
            .await
            .unwrap();
        assert_eq!(again, Created::Mine);
        assert_eq!(
            store.get_record(BRANCH, &main, Version(1)).await.unwrap(),
            Some(text("a"))
        );
        assert_eq!(
            store.last_record(BRANCH, &main).await.unwrap(),
            Some(Version(11))
        );
        let all = store.list_records(BRANCH, &main).await.unwrap();
        assert_eq!(all, [Version(0), Version(1), Version(11)]);
        assert_eq!(
            store
                .get_record(RefKind::Tag, &main, Version(1))
                .await
                .unwrap(),
            None
        );

        // A ref below another one, told apart without regard to case.
        let below = store
            .create_record(BRANCH, &name("Main/B"), Version(0), text("c"))
            .await;
        assert_eq!(below.unwrap(), Created::Mine);
        let same = store
            .create_record(BRANCH, &name("main/b"), Version(0), text("d"))
            .await;
        assert_eq!(same.unwrap(), Created::Other(text("c")));
        assert_eq!(
            store.list_refs(BRANCH).await.unwrap(),
            [main.clone(), name("main/b")]
        );
        assert_eq!(
            store.last_record(BRANCH, &main).await.unwrap(),
            Some(Version(11))
        );
    }
}

#[tokio::test]
async fn hints_are_overwritten_and_damaged_ones_are_none() {
    let (dir, stores) = stores();
    let main = name("main");
    for store in stores {
        assert_eq!(store.get_hint(BRANCH, &main).await.unwrap(), None);
        for version in [3, 5, 4] {
            store
                .put_hint(BRANCH, &main, Version(version))
                .await
                .unwrap();
            assert_eq!(
                store.get_hint(BRANCH, &main).await.unwrap(),
                Some(Version(version))
            );
        }
        assert_eq!(
            store.list_refs(BRANCH).await.unwrap(),
            [],
            "a hint is no record"
        );
        assert_eq!(store.last_record(BRANCH, &main).await.unwrap(), None);
    }
    let store = on_disk(&dir.path().join("none"), &quick());
    let hint = dir.path().join("none/refs/heads/main/hint.json");
    for damage in ["", "x", "-1", "99999999999999999999999", &"1".repeat(100)] {
        std::fs::write(&hint, damage).unwrap();
        assert_eq!(
            store.get_hint(BRANCH, &main).await.unwrap(),
            None,
            "{damage:?}"
        );
    }
}

#[tokio::test]
async fn a_repository_is_created_once_and_a_good_store_passes_the_probe() {
    let (_dir, stores) = stores();
    for store in stores {
        store.probe().await.unwrap();
        assert_eq!(store.get_repository().await.unwrap(), None);
        assert_eq!(
            store.create_repository(text("x")).await.unwrap(),
            Created::Mine
        );
        let other = store.create_repository(text("y")).await.unwrap();
        assert_eq!(other, Created::Other(text("x")));
        assert_eq!(store.get_repository().await.unwrap(), Some(text("x")));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn of_twenty_racing_creates_exactly_one_wins() {
    let (_dir, stores) = stores();
    for store in stores {
        for round in 0..5 {
            let racers = (0..20).map(|racer| {
                let store = store.clone();
                tokio::spawn(async move {
                    let bytes = Bytes::from(format!("racer {racer}"));
                    store
                        .create_record(BRANCH, &name("main"), Version(round), bytes)
                        .await
                        .unwrap()
                })
            });
            let answers = join_all(racers)
                .await
                .into_iter()
                .map(Result::unwrap)
                .collect::<Vec<_>>();
            let mine = answers.iter().filter(|a| **a == Created::Mine).count();
            assert_eq!(mine, 1, "{store:?}");
            let stored = store
                .get_record(BRANCH, &name("main"), Version(round))
                .await
                .unwrap();
            let others = answers.iter().filter(|a| **a != Created::Mine);
            for other in others {
                assert_eq!(*other, Created::Other(stored.clone().unwrap()));
            }
        }
    }
}

#[tokio::test]
async fn damaged_objects_are_corrupt_and_named() {
    let dir = TempDir::new().unwrap();
    let store = on_disk(dir.path(), &uncached());
    let object = store
        .put_object(Epoch(0), text("some metadata"))
        .await
        .unwrap();
    let file = store
        .put_data_file(write_data_file(&store, b"some data file"))
        .await
        .unwrap();
    let hex = object.digest.to_hex();
    let object_path = dir
        .path()
        .join(format!("objects/0/{}/{}", &hex[..2], &hex[2..]));
    let file_path = dir
        .path()
        .join(format!("data/{}/2/{}.parquet", table(), file.digest));

    for (path, data) in [(&object_path, false), (&file_path, true)] {
        let good = std::fs::read(path).unwrap();
        let mut flipped = good.clone();
        flipped[5] ^= 4;
        let longer = [good.as_slice(), b"x"].concat();
        for damaged in [flipped, good[..good.len() - 1].to_vec(), Vec::new(), longer] {
            std::fs::write(path, &damaged).unwrap();
            let error = match data {
                true => store.verify_data_file(table(), &file).await.unwrap_err(),
                false => store.get_object(&object).await.unwrap_err(),
            };
            assert_eq!(error.kind(), ErrorKind::Corrupt, "{error:?}");
            let named = path.file_name().unwrap().to_str().unwrap();
            assert!(error.to_string().contains(named), "{error}");
        }
        std::fs::write(path, &good[..2]).unwrap();
        if data {
            let whole = store
                .read_data_file(table(), &file, &[0..1, 2..file.bytes])
                .await;
            assert_eq!(whole.unwrap_err().kind(), ErrorKind::Corrupt);
        }
    }
    // Writing the same bytes again repairs them.
    assert_eq!(
        store
            .put_object(Epoch(0), text("some metadata"))
            .await
            .unwrap(),
        object
    );
    store.get_object(&object).await.unwrap();
    store
        .put_data_file(write_data_file(&store, b"some data file"))
        .await
        .unwrap();
    store.verify_data_file(table(), &file).await.unwrap();
}

#[tokio::test]
async fn oversized_records_and_references_are_refused() {
    let dir = TempDir::new().unwrap();
    let store = on_disk(dir.path(), &quick());
    let large = Bytes::from(vec![b'x'; (1 << 20) + 1]);
    let refused = store
        .create_record(BRANCH, &name("main"), Version(0), large.clone())
        .await;
    assert_eq!(refused.unwrap_err().kind(), ErrorKind::Invalid);
    std::fs::create_dir_all(dir.path().join("refs/heads/main")).unwrap();
    std::fs::write(
        dir.path().join(format!("refs/heads/main/{:020}.json", 0)),
        &large,
    )
    .unwrap();
    let error = store
        .get_record(BRANCH, &name("main"), Version(0))
        .await
        .unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Corrupt);
    let object = ObjectRef {
        digest: Digest::of(b""),
        epoch: Epoch(0),
        bytes: u64::MAX,
    };
    assert_eq!(
        store.get_object(&object).await.unwrap_err().kind(),
        ErrorKind::Corrupt
    );
}

#[tokio::test]
async fn symbolic_links_out_of_the_root_are_refused_at_every_level() {
    let levels = [
        "objects",
        "objects/0",
        "objects/0/SHARD",
        "objects/0/SHARD/REST",
    ];
    for level in levels {
        let dir = TempDir::new().unwrap();
        let (root, outside) = (dir.path().join("root"), dir.path().join("outside"));
        let honest = on_disk(&outside, &uncached());
        let object = honest.put_object(Epoch(0), text("outside")).await.unwrap();
        let hex = object.digest.to_hex();
        let level = level.replace("SHARD", &hex[..2]).replace("REST", &hex[2..]);
        let link = root.join(&level);
        std::fs::create_dir_all(link.parent().unwrap()).unwrap();
        std::os::unix::fs::symlink(outside.join(&level), &link).unwrap();

        let store = on_disk(&root, &uncached());
        let error = store.get_object(&object).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Unavailable, "{level}: {error:?}");
        let listed = store.find_objects(&hex[..8]).await;
        assert!(listed.map_or(true, |found| found.is_empty()), "{level}");
        let before = std::fs::read(outside.join(format!("objects/0/{}/{}", &hex[..2], &hex[2..])));
        // A write is refused, or it replaces the link itself.
        let written = store.put_object(Epoch(0), text("outside")).await;
        assert_eq!(written.is_ok(), level.ends_with(&hex[2..]), "{level}");
        let after = std::fs::read(outside.join(format!("objects/0/{}/{}", &hex[..2], &hex[2..])));
        assert_eq!(before.unwrap(), after.unwrap());
        let entries = std::fs::read_dir(outside.join(format!("objects/0/{}", &hex[..2])));
        assert_eq!(
            entries.unwrap().count(),
            1,
            "{level}: something was written outside"
        );
    }
}

#[tokio::test]
async fn a_symbolic_link_in_place_of_refs_is_refused() {
    let dir = TempDir::new().unwrap();
    let outside = on_disk(&dir.path().join("outside"), &quick());
    let created = outside
        .create_record(BRANCH, &name("main"), Version(0), text("x"))
        .await
        .unwrap();
    assert_eq!(created, Created::Mine);
    let root = dir.path().join("root");
    std::fs::create_dir_all(&root).unwrap();
    std::os::unix::fs::symlink("../outside/refs", root.join("refs")).unwrap();
    let store = on_disk(&root, &quick());
    let read = store
        .get_record(BRANCH, &name("main"), Version(0))
        .await
        .unwrap_err();
    assert_eq!(read.kind(), ErrorKind::Unavailable);
    assert!(store.list_refs(BRANCH).await.is_err());
    let created = store
        .create_record(BRANCH, &name("main"), Version(1), text("y"))
        .await;
    assert_eq!(created.unwrap_err().kind(), ErrorKind::Unavailable);
    assert_eq!(
        outside.last_record(BRANCH, &name("main")).await.unwrap(),
        Some(Version(0))
    );
}

#[tokio::test]
async fn a_file_in_place_of_a_folder_is_unavailable_and_stores_nothing() {
    let dir = TempDir::new().unwrap();
    for (blocked, location) in [("file", "file"), ("refs", "")] {
        std::fs::write(dir.path().join(blocked), "in the way").unwrap();
        let store = on_disk(&dir.path().join(location), &quick());
        let created = store
            .create_record(BRANCH, &name("main"), Version(0), text("x"))
            .await;
        assert_eq!(created.unwrap_err().kind(), ErrorKind::Unavailable);
        let read = store.get_record(BRANCH, &name("main"), Version(0)).await;
        assert_eq!(read.unwrap_err().kind(), ErrorKind::Unavailable);
        std::fs::remove_file(dir.path().join(blocked)).unwrap();
        assert_eq!(
            store.last_record(BRANCH, &name("main")).await.unwrap(),
            None
        );
    }
}

#[tokio::test]
async fn dropped_data_files_leave_nothing_behind() {
    let dir = TempDir::new().unwrap();
    let store = on_disk(dir.path(), &quick());
    let folder = dir.path().join(format!("data/{}/2", table()));
    let large = vec![7; 3 << 20];
    drop(write_data_file(&store, b"a few bytes"));
    assert!(!folder.exists());
    let staged = write_data_file(&store, &large);
    assert_eq!(std::fs::read_dir(&folder).unwrap().count(), 1);
    drop(staged);
    assert_eq!(std::fs::read_dir(&folder).unwrap().count(), 0);
    store
        .put_data_file(write_data_file(&store, &large))
        .await
        .unwrap();
    assert_eq!(std::fs::read_dir(&folder).unwrap().count(), 1);
}

#[test]
fn credentials_in_a_url_are_refused_and_not_repeated() {
    for location in [
        "s3://AKIA:canary@bucket/x",
        "s3://canary@bucket/x",
        "az://container:canary@account/x",
        "https://account.blob.core.windows.net/c?sig=canary",
        "s3://bucket/x#canary",
    ] {
        let error = Store::open(location, &quick()).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Invalid, "{location}");
        assert!(!format!("{error:?}").contains("canary"), "{error:?}");
    }
    for location in ["http://host/x", "https://host/x", "ftp://host/x"] {
        let error = Store::open(location, &quick()).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Unsupported, "{location}");
    }
}

#[test]
fn options_reach_the_remote_store_and_stay_secret() {
    let option = |key: &str, value: &str| (key.to_owned(), value.to_owned());
    let mut options = quick();
    options.options = vec![
        option("aws_access_key_id", "id"),
        option("AWS_SECRET_ACCESS_KEY", "canary"),
        option("region", "eu-1"),
    ];
    let store = Store::open("s3://bucket/some/repo", &options).unwrap();
    assert_eq!(store.location(), "s3://bucket/some/repo");
    assert!(!format!("{store:?} {options:?} {:?}", store.inner.backend).contains("canary"));
    options.options.push(option("no_such_option", "canary"));
    let error = Store::open("s3://bucket/x", &options).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Invalid);
    assert_eq!(error.context("option"), Some("no_such_option"));
    assert!(!format!("{error:?}").contains("canary"));
}

/// What goes wrong with a put.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Fault {
    /// It is not stored, and the answer is a failure.
    Lost,
    /// It is stored, and the answer is a failure.
    AnswerLost,
    /// It is stored, and the answer is that it exists.
    AnswerExists,
    /// It is not stored, and the answer is that it exists.
    NothingExists,
    /// Its condition is ignored.
    Unconditional,
}

/// A store whose first `times` puts go wrong.
#[derive(Debug)]
struct Faulty {
    inner: InMemory,
    fault: Fault,
    times: AtomicUsize,
}

fn faulty(fault: Fault, times: usize) -> Store {
    let backend = Faulty {
        inner: InMemory::new(),
        fault,
        times: AtomicUsize::new(times),
    };
    Store::wrap(Arc::new(backend), "", &uncached()).unwrap()
}

impl fmt::Display for Faulty {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("faulty")
    }
}

#[async_trait]
impl ObjectStore for Faulty {
    async fn put_opts(
        &self,
        location: &Path,
        payload: PutPayload,
        mut opts: PutOptions,
    ) -> StoreResult<PutResult> {
        let due = |left: usize| left.checked_sub(1);
        if self
            .times
            .fetch_update(Ordering::SeqCst, Ordering::SeqCst, due)
            .is_err()
        {
            return self.inner.put_opts(location, payload, opts).await;
        }
        let lost = || object_store::Error::Generic {
            store: "faulty",
            source: "timeout".into(),
        };
        let exists = || object_store::Error::AlreadyExists {
            path: location.to_string(),
            source: "409".into(),
        };
        match self.fault {
            Fault::Lost => Err(lost()),
            Fault::NothingExists => Err(exists()),
            Fault::AnswerLost => self
                .inner
                .put_opts(location, payload, opts)
                .await
                .and(Err(lost())),
            Fault::AnswerExists => self
                .inner
                .put_opts(location, payload, opts)
                .await
                .and(Err(exists())),
            Fault::Unconditional => {
                opts.mode = PutMode::Overwrite;
                self.inner.put_opts(location, payload, opts).await
            }
        }
    }

    async fn put_multipart_opts(
        &self,
        location: &Path,
        opts: PutMultipartOptions,
    ) -> StoreResult<Box<dyn MultipartUpload>> {
        self.inner.put_multipart_opts(location, opts).await
    }

    async fn get_opts(&self, location: &Path, options: GetOptions) -> StoreResult<GetResult> {
        self.inner.get_opts(location, options).await
    }

    fn delete_stream(
        &self,
        locations: BoxStream<'static, StoreResult<Path>>,
    ) -> BoxStream<'static, StoreResult<Path>> {
        self.inner.delete_stream(locations)
    }

    fn list(&self, prefix: Option<&Path>) -> BoxStream<'static, StoreResult<ObjectMeta>> {
        self.inner.list(prefix)
    }

    async fn list_with_delimiter(&self, prefix: Option<&Path>) -> StoreResult<ListResult> {
        self.inner.list_with_delimiter(prefix).await
    }

    async fn copy_opts(&self, from: &Path, to: &Path, options: CopyOptions) -> StoreResult<()> {
        self.inner.copy_opts(from, to, options).await
    }
}

#[tokio::test]
async fn a_lost_answer_to_a_create_is_found_out() {
    for fault in [
        Fault::Lost,
        Fault::AnswerLost,
        Fault::AnswerExists,
        Fault::NothingExists,
    ] {
        let store = faulty(fault, 1);
        let main = name("main");
        let created = store
            .create_record(BRANCH, &main, Version(0), text("mine"))
            .await
            .unwrap();
        assert_eq!(created, Created::Mine, "{fault:?}");
        assert_eq!(
            store.get_record(BRANCH, &main, Version(0)).await.unwrap(),
            Some(text("mine"))
        );
        let other = store
            .create_record(BRANCH, &main, Version(0), text("other"))
            .await
            .unwrap();
        assert_eq!(other, Created::Other(text("mine")), "{fault:?}");
    }
}

#[tokio::test]
async fn a_create_that_nobody_can_tell_about_is_indeterminate() {
    for fault in [Fault::Lost, Fault::NothingExists] {
        let store = faulty(fault, usize::MAX);
        let created = store
            .create_record(BRANCH, &name("main"), Version(0), text("mine"))
            .await;
        assert_eq!(
            created.unwrap_err().kind(),
            ErrorKind::Indeterminate,
            "{fault:?}"
        );
    }
}

#[tokio::test]
async fn passing_failures_of_idempotent_writes_are_retried_and_lasting_ones_are_unavailable() {
    for fault in [Fault::Lost, Fault::AnswerLost] {
        let store = faulty(fault, 2);
        let object = store.put_object(Epoch(0), text("x")).await.unwrap();
        assert_eq!(store.get_object(&object).await.unwrap(), text("x"));
        let error = faulty(fault, usize::MAX)
            .put_object(Epoch(0), text("x"))
            .await
            .unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Unavailable);
    }
}

#[tokio::test]
async fn the_probe_refuses_a_store_that_ignores_conditions_and_bears_lost_answers() {
    let error = faulty(Fault::Unconditional, usize::MAX)
        .probe()
        .await
        .unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unsupported, "{error:?}");
    for fault in [Fault::Lost, Fault::AnswerLost, Fault::AnswerExists] {
        for times in [1, 8, 9] {
            faulty(fault, times).probe().await.unwrap();
        }
    }
    let error = faulty(Fault::Lost, usize::MAX).probe().await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unavailable, "{error:?}");
}
