//! Repositories that were written once and must stay readable by every future build.
//!
//! `golden/v1` was written by [`write`] under a fixed clock and seed. It is written again only by
//! hand, when format version 1 itself changes before its release:
//! `UDR_TEST_WRITE_GOLDEN=1 cargo test -p udr-tests golden`.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use arrow::array::{
    ArrayRef, BooleanArray, Date32Array, Decimal128Array, Float64Array, Int32Array, ListArray,
    StringViewArray, StructArray, TimestampMicrosecondArray,
};
use arrow::datatypes::{DataType, Field, Int32Type, Schema as ArrowSchema, TimeUnit};
use arrow::record_batch::RecordBatch;
use arrow::util::pretty::pretty_format_batches;
use futures::TryStreamExt as _;
use udr_core::env::Env;
use udr_core::format::{
    Commit, KeyPage, NamespacePage, RefRecord, RepositoryFile, Root, Schema, Stored, TableState,
    View, decode, encode,
};
use udr_core::id::Version;
use udr_core::name::{NamespaceName, RefName};
use udr_core::refs::Revision;
use udr_core::snapshot::{Relation, RelationKind};
use udr_core::store::{Durability, Store, StoreOptions};
use udr_core::txn::OnExisting;
use udr_core::{MergeMode, Repository};
use udr_testkit::fixtures::{self, row};

use crate::world::{
    append, check, commit_rows, committed, create_tables, head_rows, named, path, rows,
};

/// 2026-01-01T00:00:00Z.
pub(crate) const START: i64 = 1_767_225_600_000_000;

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("golden/v1")
}

pub(crate) fn open_store(folder: &Path, env: &Env) -> Store {
    let options = StoreOptions {
        durability: Durability::None,
        env: env.clone(),
        ..StoreOptions::default()
    };
    Store::open(folder.to_str().unwrap(), &options).unwrap()
}

/// One column of each family of types, with NULLs and extremes.
fn mixed() -> RecordBatch {
    let lists = [Some(vec![Some(1), None]), None, Some(vec![])];
    let point: ArrayRef = Arc::new(Int32Array::from(vec![Some(1), None, Some(3)]));
    let columns: Vec<(&str, ArrayRef)> = vec![
        (
            "flag",
            Arc::new(BooleanArray::from(vec![Some(true), None, Some(false)])),
        ),
        (
            "small",
            Arc::new(Int32Array::from(vec![i32::MIN, 0, i32::MAX])),
        ),
        (
            "real",
            Arc::new(Float64Array::from(vec![
                Some(-0.5),
                Some(f64::INFINITY),
                None,
            ])),
        ),
        (
            "price",
            Arc::new(
                Decimal128Array::from(vec![Some(-12_345), Some(0), None])
                    .with_precision_and_scale(10, 2)
                    .unwrap(),
            ),
        ),
        (
            "day",
            Arc::new(Date32Array::from(vec![Some(0), Some(20_454), None])),
        ),
        (
            "moment",
            Arc::new(
                TimestampMicrosecondArray::from(vec![Some(START), None, Some(-1)])
                    .with_timezone("UTC"),
            ),
        ),
        (
            "text",
            Arc::new(StringViewArray::from(vec![
                Some("ä\u{1f600}"),
                Some(""),
                None,
            ])),
        ),
        (
            "list",
            Arc::new(ListArray::from_iter_primitive::<Int32Type, _, _>(lists)),
        ),
        (
            "point",
            Arc::new(StructArray::from(vec![(
                Arc::new(Field::new("x", DataType::Int32, true)),
                point,
            )])),
        ),
    ];
    RecordBatch::try_from_iter_with_nullable(columns.into_iter().map(|(n, c)| (n, c, true)))
        .unwrap()
}

/// Writes the repository; every byte depends on nothing but this code and the format.
async fn write(folder: &Path) {
    let env = Env::seeded(1, START);
    let repository = Repository::create(open_store(folder, &env), env)
        .await
        .unwrap();
    let main = RefName::main();
    create_tables(&repository, &["numbers", "empty"]).await;
    for i in 0..6 {
        commit_rows(&repository, &main, &["numbers"], i * 10..(i + 1) * 10)
            .await
            .unwrap();
    }
    let base = repository.head(&main).await.unwrap();
    repository.create_tag(&named("v1.0"), &base).await.unwrap();
    repository
        .create_branch(&named("Feature/Prices"), &base)
        .await
        .unwrap();
    repository
        .create_branch(&named("gone"), &base)
        .await
        .unwrap();
    repository.drop_branch(&named("gone")).await.unwrap();

    let mut transaction = repository.begin(&named("Feature/Prices")).await.unwrap();
    transaction
        .create_namespace(&NamespaceName::new("sales").unwrap())
        .await
        .unwrap();
    let types = udr_core::name::RelationPath::parse("sales", "types").unwrap();
    let schema = Schema::from_arrow(&mixed().schema()).unwrap();
    let defaults = BTreeMap::from([("small".to_owned(), "1 + 1".to_owned())]);
    let schema = schema.with_defaults(defaults).unwrap();
    transaction.create_table(&types, schema).await.unwrap();
    append(&repository, &mut transaction, &types, mixed())
        .await
        .unwrap();
    transaction
        .rename_table(&path("empty"), &path("renamed"))
        .await
        .unwrap();
    let view = View {
        sql: "SELECT id FROM numbers WHERE id > 5".to_owned(),
        namespace: NamespaceName::public(),
    };
    transaction
        .create_view(&path("big"), view, OnExisting::Refuse)
        .await
        .unwrap();
    transaction.set_author("Ada");
    transaction.set_message("types, a view, \u{201c}quotes\u{201d} and\na second line");
    transaction.set_metadata("ticket", "42");
    transaction.set_idempotency_key("load-1");
    committed(transaction.commit().await).unwrap();

    let mut transaction = repository.begin(&named("Feature/Prices")).await.unwrap();
    let batch = fixtures::numbered(1000..1003);
    let files = crate::world::upload(&repository, &transaction, &path("numbers"), &[batch])
        .await
        .unwrap();
    transaction
        .overwrite(&path("numbers"), files)
        .await
        .unwrap();
    committed(transaction.commit().await).unwrap();
    repository
        .fast_forward(&named("Feature/Prices"), &main, MergeMode::Publish)
        .await
        .unwrap();
    // More names than fit into the root itself.
    let names: Vec<_> = (0..40).map(|i| format!("many_{i:02}")).collect();
    create_tables(
        &repository,
        &names.iter().map(String::as_str).collect::<Vec<_>>(),
    )
    .await;
    // A name that is used again, and whose log is shorter than the branch it comes from.
    let early = Revision::at_version(Version(2));
    let early = repository.resolve(&main, &early).await.unwrap();
    repository
        .create_branch(&named("again"), &early)
        .await
        .unwrap();
    repository.drop_branch(&named("again")).await.unwrap();
    let head = repository.head(&main).await.unwrap();
    repository
        .create_branch(&named("again"), &head)
        .await
        .unwrap();
    commit_rows(&repository, &named("again"), &["numbers"], 2000..2001)
        .await
        .unwrap();
}

/// Every file below a folder, with its content.
pub(crate) fn files(folder: &Path) -> BTreeMap<String, Vec<u8>> {
    let mut found = BTreeMap::new();
    let mut waiting = vec![folder.to_owned()];
    while let Some(next) = waiting.pop() {
        for entry in std::fs::read_dir(&next).unwrap() {
            let entry = entry.unwrap().path();
            if entry.is_dir() {
                waiting.push(entry);
            } else {
                let name = entry
                    .strip_prefix(folder)
                    .unwrap()
                    .to_str()
                    .unwrap()
                    .to_owned();
                found.insert(name, std::fs::read(&entry).unwrap());
            }
        }
    }
    found
}

#[tokio::test]
async fn writing_under_a_fixed_seed_gives_the_same_bytes() {
    let (first, second) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    write(first.path()).await;
    write(second.path()).await;
    let (first, second) = (files(first.path()), files(second.path()));
    assert_eq!(Vec::from_iter(first.keys()), Vec::from_iter(second.keys()));
    assert!(first == second, "the same names, and other bytes");
    if std::env::var_os("UDR_TEST_WRITE_GOLDEN").is_some() {
        if folder().exists() {
            std::fs::remove_dir_all(folder()).unwrap();
        }
        write(&folder()).await;
    }
}

fn copy() -> (tempfile::TempDir, Store) {
    copy_of(&folder())
}

/// A copy that the test may write to.
pub(crate) fn copy_of(folder: &Path) -> (tempfile::TempDir, Store) {
    let copy = tempfile::tempdir().unwrap();
    for (name, bytes) in files(folder) {
        let to = copy.path().join(name);
        std::fs::create_dir_all(to.parent().unwrap()).unwrap();
        std::fs::write(to, bytes).unwrap();
    }
    let store = open_store(copy.path(), &Env::system());
    (copy, store)
}

#[tokio::test]
async fn version_1_shows_what_was_written() {
    let (_folder, store) = copy();
    let repository = Repository::open(store, Env::system()).await.unwrap();
    check(&repository).await;
    let names = |heads: Vec<udr_core::RefHead>| -> Vec<String> {
        heads
            .iter()
            .map(|h| format!("{} {}", h.name, h.version))
            .collect()
    };
    assert_eq!(
        names(repository.branches().await.unwrap()),
        ["Feature/Prices 9", "again 10", "main 9"]
    );
    assert_eq!(names(repository.tags().await.unwrap()), ["v1.0 7"]);
    let main = RefName::main();
    let head = repository.head(&main).await.unwrap();
    let numbers = rows(&head, &path("numbers")).await.unwrap();
    assert_eq!(numbers, fixtures::multiset((1000..1003).map(row)));
    for (branch, version) in ["main", "again"]
        .into_iter()
        .flat_map(|b| (2..=7).map(move |v| (b, v)))
    {
        let revision = Revision::at_version(Version(version));
        let then = repository.resolve(&named(branch), &revision).await.unwrap();
        let expected = fixtures::multiset((0..10 * (i64::try_from(version).unwrap() - 1)).map(row));
        assert_eq!(rows(&then, &path("numbers")).await.unwrap(), expected);
    }
    let again = head_rows(&repository, &named("again"), "numbers")
        .await
        .unwrap();
    let expected = (1000..1003).chain(2000..2001).map(row);
    assert_eq!(again, fixtures::multiset(expected));
    assert_eq!(
        head.relations(&NamespaceName::public())
            .await
            .unwrap()
            .len(),
        43
    );
    let Some(Relation::View(view)) = head.relation(&path("big")).await.unwrap() else {
        panic!("the view is gone");
    };
    assert_eq!(view.sql, "SELECT id FROM numbers WHERE id > 5");
    assert!(head.relation(&path("empty")).await.unwrap().is_none());
    assert_eq!(head.table(&path("renamed")).await.unwrap().rows(), 0);
}

#[tokio::test]
async fn version_1_keeps_types_values_and_what_was_said_of_commits() {
    let (_folder, store) = copy();
    let repository = Repository::open(store, Env::system()).await.unwrap();
    let main = RefName::main();
    let head = repository.head(&main).await.unwrap();
    let sales = NamespaceName::new("sales").unwrap();
    let relations = head.relations(&sales).await.unwrap();
    assert_eq!(
        relations.iter().map(|(_, kind)| *kind).collect::<Vec<_>>(),
        [RelationKind::Table]
    );
    let types = udr_core::name::RelationPath::parse("sales", "types").unwrap();
    let table = head.table(&types).await.unwrap();
    assert_eq!(
        table.schema().field("small").unwrap().default.as_deref(),
        Some("1 + 1")
    );
    let moment = DataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into()));
    assert_eq!(
        table
            .arrow_schema()
            .field_with_name("moment")
            .unwrap()
            .data_type(),
        &moment
    );
    let mut found = Vec::new();
    for file in table.plan(None).await.unwrap().files {
        let stream = table.read(&file).await.unwrap();
        found.extend(stream.try_collect::<Vec<RecordBatch>>().await.unwrap());
    }
    let plain = |batches: &[RecordBatch]| {
        let schema: &ArrowSchema = &batches[0].schema();
        let names: Vec<_> = schema.fields().iter().map(|f| f.name().clone()).collect();
        (names, pretty_format_batches(batches).unwrap().to_string())
    };
    assert_eq!(plain(&found), plain(&[mixed()]));
    let log = repository.log(&main, None).await.unwrap();
    let loaded = log.iter().find(|e| e.commit.author == "Ada").unwrap();
    assert_eq!(loaded.commit.metadata["ticket"], "42");
    assert_eq!(loaded.commit.idempotency_key.as_deref(), Some("load-1"));
    assert!(loaded.commit.message.ends_with("and\na second line"));
    // Dropped in version 1, and not to be used from zero again.
    let again = repository
        .create_branch(&named("gone"), &head)
        .await
        .unwrap();
    assert_eq!(again.version, Version(9));
}

#[tokio::test]
async fn version_1_can_be_written_to() {
    let (_folder, store) = copy();
    let repository = Repository::open(store, Env::system()).await.unwrap();
    let main = RefName::main();
    commit_rows(&repository, &main, &["numbers", "many_07"], 5..8)
        .await
        .unwrap();
    let expected = fixtures::multiset((1000..1003).chain(5..8).map(row));
    assert_eq!(
        head_rows(&repository, &main, "numbers").await.unwrap(),
        expected
    );
    check(&repository).await;
}

fn same_again<T: Stored>(bytes: &[u8]) -> bool {
    encode(&decode::<T>(bytes).unwrap()).unwrap() == bytes
}

/// A file, or a commit and its parts.
fn pieces(bytes: &[u8]) -> Vec<&[u8]> {
    if !bytes.starts_with(b"{\"udr\":\"commit\"") {
        return vec![bytes];
    }
    let end = bytes.iter().position(|byte| *byte == b'\n');
    let (commit, mut rest) = bytes.split_at(end.unwrap_or(bytes.len()));
    rest = rest.strip_prefix(b"\n").unwrap_or(rest);
    let mut pieces = vec![commit];
    for part in decode::<Commit>(commit).unwrap().parts {
        let (part, others) = rest.split_at(usize::try_from(part.bytes).unwrap());
        pieces.push(part);
        rest = others;
    }
    assert!(rest.is_empty());
    pieces
}

#[test]
fn version_1_is_encoded_to_the_same_bytes_again() {
    let mut kinds = BTreeMap::<&str, usize>::new();
    let files = files(&folder());
    let metadata = files
        .iter()
        .filter(|(name, _)| !name.starts_with("data/") && !name.ends_with("hint.json"));
    let pieces = metadata.flat_map(|(name, bytes)| {
        let pieces = pieces(bytes).into_iter();
        pieces.map(move |piece| (name, piece))
    });
    for (name, bytes) in pieces.filter(|(_, bytes)| !bytes.starts_with(b"PAR1")) {
        let text = str::from_utf8(bytes).unwrap();
        let kind = text
            .strip_prefix("{\"udr\":\"")
            .and_then(|t| t.split_once('"'))
            .unwrap()
            .0;
        let (kind, same) = match kind {
            "commit" => ("commit", same_again::<Commit>(bytes)),
            "root" => ("root", same_again::<Root>(bytes)),
            "table_state" => ("table state", same_again::<TableState>(bytes)),
            "namespace_page" => ("namespace page", same_again::<NamespacePage>(bytes)),
            "key_page" => ("key page", same_again::<KeyPage>(bytes)),
            "ref_record" => ("ref record", same_again::<RefRecord>(bytes)),
            "repository" => ("repository", same_again::<RepositoryFile>(bytes)),
            other => panic!("{name} is of the unknown kind {other}"),
        };
        assert!(
            same,
            "{name}, a {kind}, has other bytes when it is encoded again"
        );
        *kinds.entry(kind).or_default() += 1;
    }
    let found: Vec<_> = kinds.into_keys().collect();
    let expected = [
        "commit",
        "namespace page",
        "ref record",
        "repository",
        "root",
        "table state",
    ];
    assert_eq!(found, expected);
}
