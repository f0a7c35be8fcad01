//! The local backend as a plain object store, and its leftovers.

use std::collections::BTreeSet;
use std::time::Duration;

use futures::TryStreamExt as _;
use object_store::{GetRange, ObjectStoreExt as _, WriteMultipart};
use tempfile::TempDir;

use super::*;

fn open_store(dir: &TempDir) -> LocalStore {
    LocalStore::new(dir.path(), Durability::Full).unwrap()
}

async fn listed(store: &LocalStore, prefix: Option<&str>) -> BTreeSet<String> {
    let prefix = prefix.map(Path::from);
    let found = store
        .list(prefix.as_ref())
        .try_collect::<Vec<_>>()
        .await
        .unwrap();
    found
        .into_iter()
        .map(|meta| meta.location.to_string())
        .collect()
}

fn set(names: &[&str]) -> BTreeSet<String> {
    names.iter().map(|name| (*name).to_owned()).collect()
}

#[tokio::test]
async fn an_empty_or_missing_root_has_nothing() {
    let dir = TempDir::new().unwrap();
    let store = LocalStore::new(&dir.path().join("absent"), Durability::Full).unwrap();
    assert_eq!(listed(&store, None).await, set(&[]));
    assert!(
        store
            .list_with_delimiter(None)
            .await
            .unwrap()
            .common_prefixes
            .is_empty()
    );
    let missing = store.get(&Path::from("a")).await.unwrap_err();
    assert!(
        matches!(missing, StoreError::NotFound { .. }),
        "{missing:?}"
    );
    assert!(
        !dir.path().join("absent").exists(),
        "reading made the folder"
    );
}

#[tokio::test]
async fn ranges_are_read_as_the_trait_says() {
    let dir = TempDir::new().unwrap();
    let store = open_store(&dir);
    let path = Path::from("a/b");
    let bytes = (0..5_u32 << 20)
        .map(|i| (i % 253) as u8)
        .collect::<Vec<_>>();
    store.put(&path, bytes.clone().into()).await.unwrap();
    assert_eq!(
        store.get(&path).await.unwrap().bytes().await.unwrap(),
        bytes
    );
    assert_eq!(store.head(&path).await.unwrap().size, bytes.len() as u64);
    let get = async |range: GetRange| {
        let options = GetOptions {
            range: Some(range),
            ..GetOptions::default()
        };
        store.get_opts(&path, options).await?.bytes().await
    };
    assert_eq!(get(GetRange::Bounded(1..3)).await.unwrap(), bytes[1..3]);
    assert_eq!(get(GetRange::Offset(100)).await.unwrap(), bytes[100..]);
    assert_eq!(
        get(GetRange::Suffix(9)).await.unwrap(),
        bytes[bytes.len() - 9..]
    );
    assert!(get(GetRange::Bounded((6 << 20)..(7 << 20))).await.is_err());
    let past = (5 << 20) - 1..(5 << 20) + 1;
    assert!(store.get_ranges(&path, &[0..1, past]).await.is_err());
}

#[tokio::test]
async fn listings_agree_with_what_is_stored() {
    let dir = TempDir::new().unwrap();
    let store = open_store(&dir);
    for path in ["x", "a/1", "a/2", "a/b/3", "ab/4"] {
        store.put(&Path::from(path), "x".into()).await.unwrap();
    }
    assert_eq!(
        listed(&store, None).await,
        set(&["a/1", "a/2", "a/b/3", "ab/4", "x"])
    );
    assert_eq!(
        listed(&store, Some("a")).await,
        set(&["a/1", "a/2", "a/b/3"])
    );
    assert_eq!(listed(&store, Some("x")).await, set(&[]));
    let level = store
        .list_with_delimiter(Some(&Path::from("a")))
        .await
        .unwrap();
    assert_eq!(level.common_prefixes, [Path::from("a/b")]);
    let names = level
        .objects
        .iter()
        .map(|meta| meta.location.as_ref())
        .collect::<Vec<_>>();
    assert_eq!(names, ["a/1", "a/2"]);
    store.delete(&Path::from("a/1")).await.unwrap();
    let again = store.delete(&Path::from("a/1")).await.unwrap_err();
    assert!(matches!(again, StoreError::NotFound { .. }));
    assert_eq!(listed(&store, Some("a")).await, set(&["a/2", "a/b/3"]));
}

#[tokio::test]
async fn copies_and_uploads_in_parts_are_whole() {
    let dir = TempDir::new().unwrap();
    let store = open_store(&dir);
    let (from, to) = (Path::from("from"), Path::from("some/where/to"));
    let bytes = (0..3_u32 << 20)
        .map(|i| (i % 249) as u8)
        .collect::<Vec<_>>();
    let upload = store.put_multipart(&from).await.unwrap();
    let mut writer = WriteMultipart::new_with_chunk_size(upload, 1 << 20);
    writer.write(&bytes);
    assert_eq!(
        listed(&store, None).await,
        set(&[]),
        "an unfinished upload is visible"
    );
    writer.finish().await.unwrap();
    store.copy_if_not_exists(&from, &to).await.unwrap();
    assert_eq!(store.get(&to).await.unwrap().bytes().await.unwrap(), bytes);
    let taken = store.copy_if_not_exists(&from, &to).await.unwrap_err();
    assert!(
        matches!(taken, StoreError::AlreadyExists { .. }),
        "{taken:?}"
    );
    let missing = store.copy(&Path::from("absent"), &to).await.unwrap_err();
    assert!(
        matches!(missing, StoreError::NotFound { .. }),
        "{missing:?}"
    );

    let mut aborted = store.put_multipart(&Path::from("aborted")).await.unwrap();
    aborted.put_part("x".into()).await.unwrap();
    aborted.abort().await.unwrap();
    drop(aborted);
    let names = std::fs::read_dir(dir.path())
        .unwrap()
        .map(|entry| entry.unwrap().file_name());
    assert_eq!(
        names.collect::<BTreeSet<_>>(),
        ["from".into(), "some".into()].into()
    );
}

#[tokio::test]
async fn leftovers_are_hidden_and_swept_once_they_are_old() {
    let dir = TempDir::new().unwrap();
    let store = open_store(&dir);
    store
        .put(&Path::from("a/b/good"), "x".into())
        .await
        .unwrap();
    let leftover = |folder: &str, name: &str| {
        let path = dir.path().join(folder).join(format!("{TEMP_PREFIX}{name}"));
        std::fs::write(&path, "x").unwrap();
        path
    };
    let (young, old) = (leftover("a", "young"), leftover("a/b", "old"));
    let long_ago = std::fs::metadata(&old).unwrap().modified().unwrap() - Duration::from_secs(7200);
    File::options()
        .write(true)
        .open(&old)
        .unwrap()
        .set_modified(long_ago)
        .unwrap();
    assert_eq!(listed(&store, None).await, set(&["a/b/good"]));
    assert!(
        store
            .list_with_delimiter(Some(&Path::from("a")))
            .await
            .unwrap()
            .objects
            .is_empty()
    );
    let name = young.file_name().unwrap().to_str().unwrap();
    assert!(
        store.get(&Path::from(format!("a/{name}"))).await.is_err(),
        "a leftover is readable"
    );
    assert_eq!(store.sweep().await.unwrap(), 1);
    assert!(young.exists() && !old.exists());
    assert_eq!(store.sweep().await.unwrap(), 0);
    assert_eq!(listed(&store, None).await, set(&["a/b/good"]));
}

#[tokio::test]
async fn a_removed_root_is_made_again() {
    let dir = TempDir::new().unwrap();
    let root = dir.path().join("root");
    let store = LocalStore::new(&root, Durability::Full).unwrap();
    store.put(&Path::from("a/b/c"), "1".into()).await.unwrap();
    std::fs::remove_dir_all(&root).unwrap();
    store.put(&Path::from("a/b/c"), "2".into()).await.unwrap();
    assert_eq!(std::fs::read(root.join("a/b/c")).unwrap(), b"2");
}

#[tokio::test]
async fn what_a_store_on_disk_cannot_do_is_refused() {
    let dir = TempDir::new().unwrap();
    let store = open_store(&dir);
    let path = Path::from("a");
    let update = PutMode::Update(object_store::UpdateVersion {
        e_tag: None,
        version: None,
    });
    let refused = store
        .put_opts(&path, "x".into(), PutOptions::from(update))
        .await
        .unwrap_err();
    assert!(
        matches!(refused, StoreError::NotImplemented { .. }),
        "{refused:?}"
    );
    assert!(store.put(&Path::default(), "x".into()).await.is_err());
    assert_eq!(listed(&store, None).await, set(&[]));
}

/// How many added files are not known to be durable.
fn waiting(store: &LocalStore) -> usize {
    store.root.pending.len()
}

#[tokio::test]
async fn added_files_are_durable_before_the_next_created_one() {
    let dir = TempDir::new().unwrap();
    let store = open_store(&dir);
    let create = PutOptions::from(PutMode::Create);
    for number in 0..5 {
        store
            .put(&Path::from(format!("a/{number}")), "x".into())
            .await
            .unwrap();
    }
    // Found, not written, but perhaps written a moment ago by somebody else.
    store.put(&Path::from("a/0"), "x".into()).await.unwrap();
    assert_eq!(waiting(&store), 6);
    store
        .put_opts(&Path::from("record"), "x".into(), create.clone())
        .await
        .unwrap();
    assert_eq!(waiting(&store), 0);

    let large = vec![7; ADDED_BYTES_MAX + 1];
    store
        .put(&Path::from("a/large"), large.into())
        .await
        .unwrap();
    assert_eq!(waiting(&store), 0, "a large file is synced at once");
    for number in 0..500 {
        store
            .put(&Path::from(format!("b/{number}")), "x".into())
            .await
            .unwrap();
        assert!(waiting(&store) <= 64);
    }
}

#[tokio::test]
async fn what_was_added_is_durable_once_it_was_flushed() {
    let dir = TempDir::new().unwrap();
    let store = open_store(&dir);
    store.put(&Path::from("a/1"), "x".into()).await.unwrap();
    assert_eq!(waiting(&store), 1);
    store.flush().await.unwrap();
    assert_eq!(waiting(&store), 0);
}

#[tokio::test]
async fn a_file_that_cannot_be_synced_is_written_anew_before_a_record_is_seen() {
    let dir = TempDir::new().unwrap();
    let store = open_store(&dir);
    let added = |folder: &str| {
        let place = Place {
            folder: folder.to_owned(),
            name: "object".to_owned(),
        };
        // Syncing this one fails.
        let file = Some(Arc::new(File::open("/dev/null").unwrap()));
        assert!(file.as_ref().unwrap().sync_all().is_err());
        pending::Added {
            place,
            payload: "bytes".into(),
            unsettled: Vec::new(),
            file,
        }
    };
    let record = async |name: &str| {
        let create = PutOptions::from(PutMode::Create);
        store.put_opts(&Path::from(name), "x".into(), create).await
    };
    std::fs::create_dir(dir.path().join("good")).unwrap();
    store.root.pending.push(added("good"));
    record("first").await.unwrap();
    assert_eq!(
        std::fs::read(dir.path().join("good/object")).unwrap(),
        b"bytes"
    );

    std::fs::write(dir.path().join("bad"), "a file in place of the folder").unwrap();
    for attempt in 0..2 {
        if attempt == 0 {
            store.root.pending.push(added("bad"));
        }
        assert!(record("second").await.is_err());
        assert_eq!(waiting(&store), 1);
        assert_eq!(
            listed(&store, None).await,
            set(&["bad", "first", "good/object"])
        );
    }
    std::fs::remove_file(dir.path().join("bad")).unwrap();
    record("second").await.unwrap();
    assert_eq!(
        std::fs::read(dir.path().join("bad/object")).unwrap(),
        b"bytes"
    );
}

#[tokio::test]
async fn while_syncing_fails_what_waits_does_not_grow() {
    let dir = TempDir::new().unwrap();
    let store = open_store(&dir);
    // A file in place of the folder: what is in it can neither be synced nor written anew.
    std::fs::write(dir.path().join("bad"), "").unwrap();
    for number in 0..70 {
        let place = Place {
            folder: "bad".to_owned(),
            name: format!("{number}"),
        };
        store.root.pending.push(pending::Added {
            place,
            payload: "bytes".into(),
            unsettled: Vec::new(),
            file: None,
        });
    }
    let before = waiting(&store);
    for number in 0..10 {
        let path = Path::from(format!("good/{number}"));
        assert!(store.put(&path, "x".into()).await.is_err());
    }
    assert_eq!(waiting(&store), before);
    assert_eq!(listed(&store, None).await, set(&["bad"]));
}

#[test]
fn one_blocking_thread_is_enough() {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .max_blocking_threads(1)
        .build();
    runtime.unwrap().block_on(async {
        let dir = TempDir::new().unwrap();
        let store = open_store(&dir);
        let paths = (0..20)
            .map(|number| Path::from(format!("{number}/x")))
            .collect::<Vec<_>>();
        let puts = paths.iter().map(|path| store.put(path, "x".into()));
        futures::future::try_join_all(puts).await.unwrap();
        let creates = (0..5).map(|number| {
            let path = Path::from(format!("record-{number}"));
            let store = store.clone();
            async move {
                store
                    .put_opts(&path, "x".into(), PutMode::Create.into())
                    .await
            }
        });
        futures::future::try_join_all(creates).await.unwrap();
        assert_eq!(waiting(&store), 0);
    });
}
