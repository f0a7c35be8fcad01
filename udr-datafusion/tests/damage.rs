//! Damage is found, and said to be damage, on whatever way through the engine.

use std::sync::Arc;

use datafusion::prelude::SessionConfig;
use futures::TryStreamExt as _;
use object_store::memory::InMemory;
use object_store::path::Path;
use object_store::{ObjectStore as _, ObjectStoreExt as _};
use udr_core::env::Env;
use udr_core::store::{Store, StoreOptions};
use udr_core::{ErrorKind, Repository};
use udr_datafusion::InstallOptions;

use crate::fixture::{Fixture, id_and_name};

async fn data_files(backend: &InMemory) -> Vec<Path> {
    below(backend, "lake/data").await
}

/// The metadata objects of the repository that [`session`] opens.
pub(crate) async fn objects(backend: &InMemory) -> Vec<Path> {
    below(backend, "lake/objects").await
}

async fn below(backend: &InMemory, folder: &str) -> Vec<Path> {
    let folder = Path::from(folder);
    let listed = backend
        .list(Some(&folder))
        .try_collect::<Vec<_>>()
        .await
        .unwrap();
    listed.into_iter().map(|meta| meta.location).collect()
}

/// A session on the repository in a store, which is made if there is none.
pub(crate) async fn session(backend: &Arc<InMemory>) -> Fixture {
    let store = Store::wrap(
        Arc::<InMemory>::clone(backend),
        "lake",
        &StoreOptions::default(),
    )
    .unwrap();
    let repository = Repository::open_or_create(store, Env::seeded(3, 0))
        .await
        .unwrap();
    Fixture::with(InstallOptions::new(repository), SessionConfig::new()).await
}

#[tokio::test]
async fn a_damaged_footer_is_an_error_of_kind_corrupt() {
    let backend = Arc::new(InMemory::new());
    let f = session(&backend).await;
    f.create("t", &id_and_name()).await;
    f.run("INSERT INTO t VALUES (1, 'a'), (2, 'b')").await;
    for path in data_files(&backend).await {
        let bytes = backend.get(&path).await.unwrap().bytes().await.unwrap();
        let mut bytes = bytes.to_vec();
        let at = bytes.len() - 20;
        bytes[at] ^= 1;
        backend.put(&path, bytes.into()).await.unwrap();
    }
    let f = session(&backend).await;
    assert_eq!(
        f.refused("SELECT sum(id * 2) FROM t").await.0,
        ErrorKind::Corrupt
    );
    assert_eq!(
        f.refused("SELECT * FROM t ORDER BY name").await.0,
        ErrorKind::Corrupt
    );
    let copy = "INSERT OVERWRITE t SELECT id + 1, name FROM t";
    assert_eq!(f.refused(copy).await.0, ErrorKind::Corrupt);
    assert_eq!(f.value("SELECT count(*) FROM t").await, "2");
}

#[tokio::test]
async fn a_data_file_that_is_gone_is_an_error() {
    let backend = Arc::new(InMemory::new());
    let f = session(&backend).await;
    f.create("t", &id_and_name()).await;
    f.run("INSERT INTO t VALUES (1, 'a'), (2, 'b')").await;
    for path in data_files(&backend).await {
        backend.delete(&path).await.unwrap();
    }
    let f = session(&backend).await;
    let (kind, text) = f.refused("SELECT sum(id * 2) FROM t").await;
    assert!(
        matches!(kind, ErrorKind::NotFound | ErrorKind::Corrupt),
        "{text}"
    );
}

#[tokio::test]
async fn wrong_rows_are_noticed_by_a_session_that_verifies_data() {
    let backend = Arc::new(InMemory::new());
    let f = session(&backend).await;
    f.create("t", &id_and_name()).await;
    f.run("INSERT INTO t SELECT value * 7919 % 1000003, 'x' FROM generate_series(1, 500)")
        .await;
    let sum = f.value("SELECT sum(id) FROM t WHERE id >= 0").await;
    let path = data_files(&backend).await.remove(0);
    let whole = backend.get(&path).await.unwrap().bytes().await.unwrap();
    let mut wrong = 0;
    for at in (4..whole.len() / 2).step_by(11) {
        let mut bytes = whole.to_vec();
        bytes[at] ^= 4;
        backend.put(&path, bytes.into()).await.unwrap();
        let query = "SELECT sum(id) FROM t WHERE id >= 0";
        let plain = f.try_run(query).await;
        let plain = plain.map(|batches| {
            arrow::util::display::array_value_to_string(batches[0].column(0), 0).unwrap()
        });
        wrong += usize::from(plain.is_ok_and(|found| found != sum));
        udr_datafusion::udr_sql(&f.ctx, "SET udr.verify = 'full'")
            .await
            .unwrap();
        if let Ok(batches) = f.try_run(query).await {
            // The column that is read is not the damaged one.
            let found = arrow::util::display::array_value_to_string(batches[0].column(0), 0);
            assert_eq!(found.unwrap(), sum, "byte {at}");
        }
        udr_datafusion::udr_sql(&f.ctx, "RESET udr.verify")
            .await
            .unwrap();
    }
    assert!(wrong > 0, "no damage gave a wrong answer");
    let refused = udr_datafusion::udr_sql(&f.ctx, "SET udr.verify = 'sometimes'").await;
    assert!(refused.is_err());
}
