//! Each fault does what its name says.

use futures::TryStreamExt as _;
use object_store::ObjectStoreExt as _;
use object_store::memory::InMemory;

use super::*;

fn store() -> FaultStore {
    FaultStore::new(Arc::new(InMemory::new()))
}

async fn create(store: &FaultStore, path: &str) -> Result<PutResult> {
    let options = PutOptions {
        mode: PutMode::Create,
        ..PutOptions::default()
    };
    store
        .put_opts(
            &Path::from(path),
            PutPayload::from_static(b"0123456789"),
            options,
        )
        .await
}

async fn stored(store: &FaultStore, path: &str) -> bool {
    store.inner.head(&Path::from(path)).await.is_ok()
}

#[tokio::test]
async fn a_fault_before_stores_nothing_and_happens_once() {
    let store = store();
    store.plan(Fault::Before, 2, Operations::of(Operation::Create));
    create(&store, "a").await.unwrap();
    assert!(stored(&store, "a").await);
    create(&store, "b").await.unwrap_err();
    assert!(!stored(&store, "b").await);
    assert_eq!(
        store.hit(),
        Some(Hit {
            operation: Operation::Create,
            path: "b".into()
        })
    );
    create(&store, "b").await.unwrap();
    assert_eq!(store.calls(), 3);
}

#[tokio::test]
async fn a_fault_after_stores_and_errs() {
    let store = store();
    store.plan(Fault::After, 1, Operations::ALL);
    assert!(matches!(
        create(&store, "a").await,
        Err(Error::Generic { .. })
    ));
    assert!(stored(&store, "a").await);
}

#[tokio::test]
async fn a_lost_create_reports_already_exists() {
    let store = store();
    store.plan(Fault::LostCreate, 1, Operations::ALL);
    assert!(matches!(
        create(&store, "a").await,
        Err(Error::AlreadyExists { .. })
    ));
    assert!(stored(&store, "a").await);
}

#[tokio::test]
async fn a_false_already_exists_stores_nothing() {
    let store = store();
    store.plan(Fault::FalseExists, 1, Operations::ALL);
    assert!(matches!(
        create(&store, "a").await,
        Err(Error::AlreadyExists { .. })
    ));
    assert!(!stored(&store, "a").await);
}

#[tokio::test]
async fn a_store_that_is_gone_stays_gone_until_it_is_healed() {
    let store = store();
    store.plan(Fault::GoneAfter, 1, Operations::of(Operation::Create));
    create(&store, "a").await.unwrap_err();
    store.get(&Path::from("a")).await.unwrap_err();
    store.list(None).try_collect::<Vec<_>>().await.unwrap_err();
    store.delete(&Path::from("a")).await.unwrap_err();
    store.heal().await.unwrap();
    assert_eq!(
        store
            .get(&Path::from("a"))
            .await
            .unwrap()
            .bytes()
            .await
            .unwrap()
            .len(),
        10
    );
}

#[tokio::test]
async fn a_delayed_write_lands_before_a_later_call() {
    let store = store();
    store.plan(Fault::Delayed(2), 1, Operations::of(Operation::Create));
    create(&store, "a").await.unwrap_err();
    let a = Path::from("a");
    assert!(
        store.head(&a).await.is_err(),
        "one call later it is still on its way"
    );
    assert!(
        store.head(&a).await.is_ok(),
        "two calls later it has landed"
    );
}

#[tokio::test]
async fn healing_lands_a_write_that_is_still_delayed() {
    let store = store();
    store.plan(Fault::Delayed(9), 1, Operations::of(Operation::Create));
    create(&store, "a").await.unwrap_err();
    assert!(!stored(&store, "a").await);
    store.heal().await.unwrap();
    assert!(stored(&store, "a").await);
}

#[tokio::test]
async fn reads_can_be_torn_short_or_flipped() {
    let store = store();
    create(&store, "a").await.unwrap();
    let a = Path::from("a");
    let read = async || store.get(&a).await.unwrap().bytes().await;
    store.plan(Fault::Torn, 1, Operations::READS);
    read().await.unwrap_err();
    store.plan(Fault::Short, 1, Operations::READS);
    assert_eq!(read().await.unwrap().as_ref(), b"01234");
    store.plan(Fault::Flipped, 1, Operations::READS);
    assert_eq!(read().await.unwrap().as_ref(), b"0123446789");
    assert_eq!(read().await.unwrap().as_ref(), b"0123456789");
}

#[tokio::test]
async fn a_hanging_call_can_be_noticed_and_dropped() {
    let store = store();
    store.plan(Fault::HangAfter, 1, Operations::ALL);
    tokio::select! {
        _ = create(&store, "a") => panic!("a hanging call answered"),
        () = store.met() => {}
    }
    assert!(store.hit().is_some());
}

#[tokio::test]
async fn parts_of_an_upload_are_counted_and_fail() {
    let store = store();
    store.plan(Fault::Before, 2, Operations::of(Operation::Multipart));
    let mut upload = store.put_multipart(&Path::from("a")).await.unwrap();
    upload
        .put_part(PutPayload::from_static(b"x"))
        .await
        .unwrap_err();
    upload.abort().await.unwrap();
    assert_eq!(store.calls(), 3);
}
