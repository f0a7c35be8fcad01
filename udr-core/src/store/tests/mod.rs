//! The contract of a store, over memory and local disk, and what it does when they misbehave.

mod contract;
mod damage;
mod faults;
mod open;

use std::io::Write as _;
use std::path::Path as DiskPath;

use bytes::Bytes;
use tempfile::TempDir;

use super::*;
use crate::error::ErrorKind;
use crate::format::ObjectRef;
use crate::id::{Digest, Epoch, RecordNumber, TableId};
use crate::name::RefName;

const BRANCH: RefKind = RefKind::Branch;

fn quick() -> StoreOptions {
    StoreOptions {
        retry: RetryPolicy {
            attempts: 3,
            ..RetryPolicy::none()
        },
        probe: Probe::Never,
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
