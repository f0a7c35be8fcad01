//! A repository whose values were counted, that was written once and must stay readable by every
//! future build: few values, which a sketch keeps, and many, which are in its registers.
//!
//! `golden/v1-sketches` is written again as `golden/v1` is.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use arrow::array::{Array, Int64Array, StringArray};
use udr_core::Repository;
use udr_core::env::Env;
use udr_core::format::{ColumnSketch, Sketch, Sketches, Type};
use udr_core::id::FieldId;
use udr_core::name::RefName;
use udr_core::txn::Alteration;

use crate::golden::{START, copy_of, files, open_store};
use crate::world::{check, commit_rows, committed, create_tables, path};

const ID: FieldId = FieldId(1);
const WORD: FieldId = FieldId(2);
const ROWS: i64 = 5_000;

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("golden/v1-sketches")
}

fn ids() -> Sketch {
    of(&Int64Array::from_iter_values(0..ROWS))
}

fn words() -> Sketch {
    of(&StringArray::from(vec!["", "a", "grüße"]))
}

fn of(array: &dyn Array) -> Sketch {
    let mut sketch = Sketch::new();
    sketch.add(array).unwrap();
    sketch
}

/// Writes the repository; every byte depends on nothing but this code and the format.
async fn write(folder: &Path) {
    let env = Env::seeded(5, START);
    let repository = Repository::create(open_store(folder, &env), env.clone())
        .await
        .unwrap();
    create_tables(&repository, &["t"]).await;
    commit_rows(&repository, &RefName::main(), &["t"], 0..20)
        .await
        .unwrap();
    let column = |ty, sketch: &Sketch| ColumnSketch::new(ty, 2, 20, sketch);
    let columns = BTreeMap::from([
        (ID, column(Type::Int64, &ids())),
        (WORD, column(Type::String, &words())),
    ]);
    let mut transaction = repository.begin(&RefName::main()).await.unwrap();
    let sketches = vec![Alteration::SetSketches(Arc::new(Sketches { columns }))];
    let altered = transaction.alter_table(&path("t"), sketches).await;
    altered.unwrap();
    committed(transaction.commit().await).unwrap();
}

#[tokio::test]
async fn writing_under_a_fixed_seed_gives_the_same_bytes() {
    let (first, second) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    write(first.path()).await;
    write(second.path()).await;
    let (first, second) = (files(first.path()), files(second.path()));
    assert!(first == second, "other names, or other bytes");
    if std::env::var_os("UDR_TEST_WRITE_GOLDEN").is_some() {
        if folder().exists() {
            std::fs::remove_dir_all(folder()).unwrap();
        }
        write(&folder()).await;
    }
}

#[tokio::test]
async fn sketches_of_version_1_count_what_was_counted() {
    let (_folder, store) = copy_of(&folder());
    let repository = Repository::open(store, Env::system()).await.unwrap();
    check(&repository).await;
    let head = repository.head(&RefName::main()).await.unwrap();
    let table = head.table(&path("t")).await.unwrap();
    let stored = table.sketches().await.unwrap().unwrap();
    assert_eq!(stored.columns.len(), 2);
    for (id, ty, values) in [(ID, Type::Int64, ids()), (WORD, Type::String, words())] {
        let column = &stored.columns[&id];
        assert_eq!((&column.ty, column.sequence, column.rows), (&ty, 2, 20));
        let mut sketch = column.sketch().unwrap();
        assert_eq!(sketch.count(), values.count());
        // The same values have the same hashes still.
        sketch.merge(&values);
        assert_eq!(sketch.count(), values.count());
    }
}
