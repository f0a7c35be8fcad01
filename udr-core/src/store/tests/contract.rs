//! What every store does.

use std::ops::Range;

use futures::future::join_all;

use super::*;

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
            within: None,
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
            store
                .get_record(BRANCH, &main, RecordNumber(0))
                .await
                .unwrap(),
            None
        );
        assert_eq!(store.last_record(BRANCH, &main).await.unwrap(), None);
        assert_eq!(store.list_refs(BRANCH).await.unwrap(), []);
        for version in [0, 1, 11] {
            let created = store
                .create_record(BRANCH, &main, RecordNumber(version), text("a"))
                .await;
            assert_eq!(created.unwrap(), Created::Mine);
        }
        let lost = store
            .create_record(BRANCH, &main, RecordNumber(1), text("b"))
            .await
            .unwrap();
        assert_eq!(lost, Created::Other(text("a")));
        let again = store
            .create_record(BRANCH, &main, RecordNumber(1), text("a"))
            .await
            .unwrap();
        assert_eq!(again, Created::Mine);
        assert_eq!(
            store
                .get_record(BRANCH, &main, RecordNumber(1))
                .await
                .unwrap(),
            Some(text("a"))
        );
        assert_eq!(
            store.last_record(BRANCH, &main).await.unwrap(),
            Some(RecordNumber(11))
        );
        let all = store.list_records(BRANCH, &main).await.unwrap();
        assert_eq!(all, [RecordNumber(0), RecordNumber(1), RecordNumber(11)]);
        assert_eq!(
            store
                .get_record(RefKind::Tag, &main, RecordNumber(1))
                .await
                .unwrap(),
            None
        );

        // A ref below another one, told apart without regard to case.
        let below = store
            .create_record(BRANCH, &name("Main/B"), RecordNumber(0), text("c"))
            .await;
        assert_eq!(below.unwrap(), Created::Mine);
        let same = store
            .create_record(BRANCH, &name("main/b"), RecordNumber(0), text("d"))
            .await;
        assert_eq!(same.unwrap(), Created::Other(text("c")));
        assert_eq!(
            store.list_refs(BRANCH).await.unwrap(),
            [main.clone(), name("main/b")]
        );
        assert_eq!(
            store.last_record(BRANCH, &main).await.unwrap(),
            Some(RecordNumber(11))
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
                .put_hint(BRANCH, &main, RecordNumber(version))
                .await
                .unwrap();
            assert_eq!(
                store.get_hint(BRANCH, &main).await.unwrap(),
                Some(RecordNumber(version))
            );
        }
        assert_eq!(
            store.list_refs(BRANCH).await.unwrap(),
            std::slice::from_ref(&main),
            "a name that has a hint is at least being created"
        );
        assert_eq!(store.last_record(BRANCH, &main).await.unwrap(), None);
    }
    let store = on_disk(&dir.path().join("none"), &quick());
    let hint = dir.path().join("none/refs/heads/main/hint.json");
    for damage in [
        "",
        "x",
        "-1",
        "+5",
        "99999999999999999999999",
        &"1".repeat(100),
    ] {
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
                        .create_record(BRANCH, &name("main"), RecordNumber(round), bytes)
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
                .get_record(BRANCH, &name("main"), RecordNumber(round))
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
async fn a_remote_file_is_read_from_disk_the_second_time() {
    let folder = TempDir::new().unwrap();
    let options = StoreOptions {
        disk_cache: Some(DiskCacheOptions {
            folder: folder.path().to_owned(),
            bytes: 64 << 20,
        }),
        ..uncached()
    };
    let backend = Arc::new(InMemory::new());
    let store = Store::wrap(Arc::<InMemory>::clone(&backend), "p", &options).unwrap();
    let bytes = (0..2_000_000_u32).map(|n| n.to_le_bytes()[1]);
    let bytes = bytes.collect::<Vec<_>>();
    let file = store
        .put_data_file(write_data_file(&store, &bytes))
        .await
        .unwrap();
    let ranges = [0..10, 300_000..900_000, 10..10, 1_999_990..2_000_000];
    for round in 0..2 {
        let read = store.read_data_file(table(), &file, &ranges).await.unwrap();
        for (range, read) in ranges.iter().zip(read) {
            let place = |at: u64| usize::try_from(at).unwrap();
            let expected = &bytes[place(range.start)..place(range.end)];
            assert_eq!(read, expected, "{round}: {range:?}");
        }
        while store.disk_cache_stats().unwrap().0.entries < 5 {
            tokio::task::yield_now().await;
        }
    }
    let (stats, limit) = store.disk_cache_stats().unwrap();
    assert_eq!((stats.hits, stats.misses, limit), (5, 5, 64 << 20));
    // Stores on local disk need none.
    let local = on_disk(folder.path(), &options);
    assert_eq!(local.disk_cache_stats(), None);
}

#[tokio::test]
async fn files_are_found_by_paths_folders_and_patterns() {
    let folder = TempDir::new().unwrap();
    for file in [
        "a.parquet",
        "b 1%.parquet",
        "c.csv",
        ".hidden.parquet",
        "_temporary/d.parquet",
        "day=1/e.parquet",
        "day=1/_f=2/g.pq",
        "deep/er/h.parq",
    ] {
        let path = folder.path().join(file);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, file).unwrap();
    }
    std::fs::write(folder.path().join("empty.parquet"), "").unwrap();
    let store = Store::memory();
    let root = folder.path().display();
    for (pattern, expected) in [
        (format!("{root}/a.parquet"), "a.parquet"),
        (format!("{root}/b 1%.parquet"), "b 1%.parquet"),
        (format!("file://{root}/c.csv"), "c.csv"),
        (format!("{root}/deep/../a.parquet"), "a.parquet"),
        (
            format!("{root}/"),
            "a.parquet, b 1%.parquet, day=1/_f=2/g.pq, day=1/e.parquet, deep/er/h.parq",
        ),
        (format!("{root}/*.parquet"), "a.parquet, b 1%.parquet"),
        (format!("{root}/?.csv"), "c.csv"),
        (format!("{root}/[ab]*"), "a.parquet, b 1%.parquet"),
        (format!("{root}/day=*/*.parquet"), "day=1/e.parquet"),
        (
            format!("{root}/d*/**/*.par*"),
            "day=1/e.parquet, deep/er/h.parq",
        ),
    ] {
        let found = store.find_files(&pattern).await.unwrap();
        let mut names = Vec::new();
        for file in &found {
            // Each is what its URL leads to.
            let bytes = store.read_found(&file.url, 0..file.bytes).await.unwrap();
            names.push(String::from_utf8(bytes.to_vec()).unwrap());
        }
        assert_eq!(names.join(", "), expected, "{pattern}");
    }
    for (pattern, kind) in [
        (format!("{root}/nothing"), ErrorKind::NotFound),
        (format!("{root}/*.orc"), ErrorKind::NotFound),
        (format!("{root}/[a"), ErrorKind::Invalid),
        ("memory://x/y.parquet".to_owned(), ErrorKind::Unsupported),
    ] {
        let error = store.find_files(&pattern).await.unwrap_err();
        assert_eq!(error.kind(), kind, "{pattern}: {error}");
    }
}
