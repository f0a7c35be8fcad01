//! What is made of damaged and hostile folders.

use super::*;

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
        .create_record(BRANCH, &name("main"), RecordNumber(0), large.clone())
        .await;
    assert_eq!(refused.unwrap_err().kind(), ErrorKind::Invalid);
    std::fs::create_dir_all(dir.path().join("refs/heads/main")).unwrap();
    std::fs::write(
        dir.path().join(format!("refs/heads/main/{:020}.json", 0)),
        &large,
    )
    .unwrap();
    let error = store
        .get_record(BRANCH, &name("main"), RecordNumber(0))
        .await
        .unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Corrupt);
    let object = ObjectRef {
        digest: Digest::of(b""),
        epoch: Epoch(0),
        bytes: u64::MAX,
        within: None,
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
        .create_record(BRANCH, &name("main"), RecordNumber(0), text("x"))
        .await
        .unwrap();
    assert_eq!(created, Created::Mine);
    let root = dir.path().join("root");
    std::fs::create_dir_all(&root).unwrap();
    std::os::unix::fs::symlink("../outside/refs", root.join("refs")).unwrap();
    let store = on_disk(&root, &quick());
    let read = store
        .get_record(BRANCH, &name("main"), RecordNumber(0))
        .await
        .unwrap_err();
    assert_eq!(read.kind(), ErrorKind::Unavailable);
    assert!(store.list_refs(BRANCH).await.is_err());
    let created = store
        .create_record(BRANCH, &name("main"), RecordNumber(1), text("y"))
        .await;
    assert_eq!(created.unwrap_err().kind(), ErrorKind::Unavailable);
    assert_eq!(
        outside.last_record(BRANCH, &name("main")).await.unwrap(),
        Some(RecordNumber(0))
    );
}

#[tokio::test]
async fn a_file_in_place_of_a_folder_is_unavailable_and_stores_nothing() {
    let dir = TempDir::new().unwrap();
    for (blocked, location) in [("file", "file"), ("refs", "")] {
        std::fs::write(dir.path().join(blocked), "in the way").unwrap();
        let store = on_disk(&dir.path().join(location), &quick());
        let created = store
            .create_record(BRANCH, &name("main"), RecordNumber(0), text("x"))
            .await;
        assert_eq!(created.unwrap_err().kind(), ErrorKind::Unavailable);
        let read = store
            .get_record(BRANCH, &name("main"), RecordNumber(0))
            .await;
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
