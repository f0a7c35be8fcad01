//! A repository whose rows are laid out, and whose columns changed, that was written once and must
//! stay readable by every future build: partitions, orders, sums, bloom filters, initial values,
//! widened columns, numbers beyond a dictionary.
//!
//! `golden/v1-layout` is written again as `golden/v1` is.

use std::path::{Path, PathBuf};

use arrow::datatypes::{DataType, Field};
use udr_core::Repository;
use udr_core::env::Env;
use udr_core::format::{NewColumn, Position, SortField, Transform, Type, Value};
use udr_core::id::{FieldId, Version};
use udr_core::name::RefName;
use udr_core::refs::Revision;
use udr_core::txn::Alteration;
use udr_testkit::fixtures::{multiset, row};

use crate::golden::{START, copy_of, files, open_store};
use crate::world::{check, commit_rows, committed, create_tables, path, rows};

const ID: FieldId = FieldId(1);
const WORD: FieldId = FieldId(2);
/// More numbers than a dictionary of one partition takes.
const ROWS: i64 = 36_000;

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("golden/v1-layout")
}

async fn alter(repository: &Repository, alterations: Vec<Alteration>) {
    let mut transaction = repository.begin(&RefName::main()).await.unwrap();
    let altered = transaction.alter_table(&path("t"), alterations).await;
    altered.unwrap();
    committed(transaction.commit().await).unwrap();
}

fn by_id() -> SortField {
    SortField {
        source: ID,
        descending: false,
        nulls_first: false,
    }
}

/// Writes the repository; every byte depends on nothing but this code and the format.
async fn write(folder: &Path) {
    let env = Env::seeded(4, START);
    let repository = Repository::create(open_store(folder, &env), env.clone())
        .await
        .unwrap();
    create_tables(&repository, &["t"]).await;
    // Version 2.
    let partition = Alteration::AddPartitionField {
        source: ID,
        transform: Transform::Bucket(2),
        name: None,
    };
    let layout = vec![
        partition,
        Alteration::SortBy(vec![by_id()]),
        Alteration::BloomFilters(vec![WORD]),
    ];
    alter(&repository, layout).await;
    // Versions 3 and 4.
    for ids in [0..20, 20..ROWS] {
        commit_rows(&repository, &RefName::main(), &["t"], ids)
            .await
            .unwrap();
    }
    // Version 5.
    let column = NewColumn {
        parent: None,
        field: Field::new("n", DataType::Int32, true),
        position: Position::Last,
        default: None,
        initial: Some(Value::Int(7)),
        comment: None,
    };
    alter(&repository, vec![Alteration::AddColumn(column)]).await;
    // Version 6.
    let head = repository.head(&RefName::main()).await.unwrap();
    let table = head.table(&path("t")).await.unwrap();
    let n = table.schema().field("n").unwrap().id;
    alter(&repository, vec![Alteration::WidenColumn(n, Type::Int64)]).await;
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
async fn laid_out_rows_of_version_1_show_what_was_written() {
    let (_folder, store) = copy_of(&folder());
    let repository = Repository::open(store, Env::system()).await.unwrap();
    check(&repository).await;
    for (version, count) in [(2, 0), (3, 20), (4, ROWS), (6, ROWS)] {
        let revision = Revision::at_version(Version(version));
        let then = repository.resolve(&RefName::main(), &revision).await;
        let then = then.unwrap();
        let found = rows(&then, &path("t")).await.unwrap();
        assert_eq!(found, multiset((0..count).map(row)), "version {version}");
    }
    let head = repository.head(&RefName::main()).await.unwrap();
    let table = head.table(&path("t")).await.unwrap();
    let schema = table.schema();
    let (n, bucket) = (schema.field("n").unwrap(), &schema.partition_fields()[0]);
    assert_eq!((&n.ty, schema.bloom_filters()), (&Type::Int64, &[WORD][..]));
    let known = table.column_stats();
    assert_eq!(known[&ID].sum, Some(i128::from(ROWS * (ROWS - 1) / 2)));
    assert_eq!(known[&n.id].sum, Some(i128::from(7 * ROWS)));
    let files = table.plan(None).await.unwrap().files;
    assert_eq!(files.len(), 4);
    for task in files {
        assert_eq!(task.file.sorted_by, [by_id()]);
        let stats = &task.file.columns[&bucket.id];
        assert_eq!(stats.lower, stats.upper);
    }
}
