//! Tests of the stored types.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use arrow::datatypes::{DataType, Field as ArrowField, Schema as ArrowSchema, TimeUnit};

use super::*;
use crate::error::ErrorKind;
use crate::id::{Digest, Epoch, FieldId, FileId, RepositoryId};

fn schema() -> Schema {
    let point = DataType::Struct(
        vec![
            ArrowField::new("x", DataType::Float64, true),
            ArrowField::new("y", DataType::Int8, false),
        ]
        .into(),
    );
    Schema::from_arrow(&ArrowSchema::new(vec![
        ArrowField::new("id", DataType::Int64, false),
        ArrowField::new("name", DataType::LargeUtf8, true),
        ArrowField::new(
            "at",
            DataType::Timestamp(TimeUnit::Second, Some("UTC".into())),
            true,
        ),
        ArrowField::new("day", DataType::Date32, true),
        ArrowField::new("price", DataType::Decimal128(10, 2), true),
        ArrowField::new("ratio", DataType::Float32, true),
        ArrowField::new("point", point, true),
        ArrowField::new("raw", DataType::Binary, true),
        ArrowField::new("small", DataType::UInt8, true),
        ArrowField::new("flag", DataType::Boolean, true),
    ]))
    .unwrap()
}

fn id_of(schema: &Schema, name: &str) -> FieldId {
    schema.field(name).unwrap().id
}

fn stats(lower: Value, upper: Value) -> ColumnStats {
    ColumnStats {
        lower: Some(Bound {
            value: lower,
            exact: true,
        }),
        upper: Some(Bound {
            value: upper,
            exact: false,
        }),
        null_count: Some(1),
        sum: None,
    }
}

fn columns(n: u8, schema: &Schema) -> BTreeMap<FieldId, ColumnStats> {
    let n64 = i64::from(n);
    BTreeMap::from([
        (
            id_of(schema, "id"),
            ColumnStats {
                sum: Some(i128::from(n) * -7),
                ..stats(Value::Int(n64), Value::Int(n64 + 9))
            },
        ),
        (
            id_of(schema, "name"),
            stats(Value::String("a".into()), Value::String("é".into())),
        ),
        (id_of(schema, "at"), stats(Value::Int(0), Value::Int(n64))),
        (id_of(schema, "day"), stats(Value::Int(-1), Value::Int(n64))),
        (
            id_of(schema, "price"),
            ColumnStats {
                sum: n.is_multiple_of(2).then_some(6 * 10_i128.pow(37)),
                ..stats(Value::Decimal(-5), Value::Decimal(5))
            },
        ),
        (
            id_of(schema, "ratio"),
            stats(Value::Float(f64::NEG_INFINITY), Value::Float(0.5)),
        ),
        (
            id_of(schema, "point"),
            ColumnStats {
                null_count: Some(2),
                ..ColumnStats::default()
            },
        ),
        (
            id_of(schema, "raw"),
            stats(Value::Binary(vec![0]), Value::Binary(vec![255, 1])),
        ),
        (
            id_of(schema, "small"),
            stats(Value::UInt(0), Value::UInt(255)),
        ),
        (
            id_of(schema, "flag"),
            stats(Value::Bool(false), Value::Bool(true)),
        ),
    ])
}

fn file(n: u8) -> Arc<DataFile> {
    let schema = schema();
    Arc::new(DataFile {
        id: FileId::from_uuid(uuid::Uuid::from_u128(n.into())),
        object: ObjectRef {
            digest: Digest::of(&[n]),
            epoch: Epoch(0),
            bytes: 1000,
            within: None,
        },
        footer_bytes: 100,
        footer_digest: Digest::of(b"footer"),
        rows: 10,
        columns: columns(n, &schema),
        added_at: 3,
        deletes: None,
        carries_identity: false,
        sorted_by: match n % 2 {
            0 => Vec::new(),
            _ => vec![SortField {
                source: id_of(&schema, "name"),
                descending: true,
                nulls_first: false,
            }],
        },
        adopted: None,
    })
}

#[test]
fn a_schema_survives_json_and_numbers_nested_fields() {
    let schema = schema();
    let json = serde_json::to_string(&schema).unwrap();
    assert_eq!(serde_json::from_str::<Schema>(&json).unwrap(), schema);
    assert!(json.contains("\"timestamp(s,UTC)\""), "{json}");
    assert_eq!(id_of(&schema, "raw"), FieldId(10));
    assert_eq!(schema.to_arrow().field(1).data_type(), &DataType::Utf8View);
}

#[test]
fn a_manifest_gives_back_its_files() {
    let files = (0..100).map(file).collect::<Vec<_>>();
    let (reference, bytes) = Manifest::encode_files(&schema(), Epoch(0), &files).unwrap();
    assert_eq!(
        (reference.files, reference.rows, reference.data_bytes),
        (100, 1000, 100_000)
    );
    let manifest = Manifest::decode(bytes.clone(), &reference).unwrap();
    let decoded = manifest.files(&schema(), 0..100).unwrap();
    assert!(decoded.iter().eq(files.iter().map(AsRef::as_ref)));
    let again = Manifest::encode_files(&schema(), Epoch(0), &files).unwrap();
    assert_eq!(
        again.1, bytes,
        "equal entries must have equal bytes (invariant 1)"
    );
}

#[test]
fn a_manifest_says_where_files_were_found() {
    let schema = schema();
    let adopted = Adopted {
        url: "s3://bucket/day=2024-01-01/x.parquet".to_owned(),
        columns: BTreeMap::from([("id".to_owned(), id_of(&schema, "id"))]),
        values: BTreeMap::from([
            (
                id_of(&schema, "small"),
                PathValue {
                    ty: Type::UInt8,
                    value: Some(Value::UInt(7)),
                },
            ),
            (
                id_of(&schema, "flag"),
                PathValue {
                    ty: Type::Boolean,
                    value: None,
                },
            ),
        ]),
    };
    let of = |adopted: Adopted| {
        let adopted = Some(Arc::new(adopted));
        let found = DataFile {
            adopted,
            ..DataFile::clone(&file(1))
        };
        let files = [file(0), Arc::new(found)];
        let (reference, bytes) = Manifest::encode_files(&schema, Epoch(0), &files)?;
        let manifest = Manifest::decode(bytes, &reference)?;
        manifest
            .files(&schema, 0..2)
            .map(|decoded| (decoded, files))
    };
    let (decoded, files) = of(adopted.clone()).unwrap();
    assert!(decoded.iter().eq(files.iter().map(AsRef::as_ref)));
    let mut twice = adopted.clone();
    twice.columns.insert("s".to_owned(), id_of(&schema, "flag"));
    let mut nowhere = adopted.clone();
    nowhere.url = "x.parquet".to_owned();
    let mut nothing = adopted.clone();
    (nothing.columns, nothing.values) = (BTreeMap::new(), BTreeMap::new());
    let mut mistyped = adopted;
    for value in mistyped.values.values_mut() {
        value.value = Some(Value::String("no".to_owned()));
    }
    for wrong in [twice, nowhere, nothing, mistyped] {
        let error = of(wrong.clone()).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Corrupt, "{wrong:?}: {error}");
    }
}

#[test]
fn an_inner_manifest_gives_back_its_manifests_with_aggregated_bounds() {
    let schema = schema();
    let (a, _) = Manifest::encode_files(&schema, Epoch(0), &[file(1), file(2)]).unwrap();
    let (b, _) = Manifest::encode_files(&schema, Epoch(0), &[file(7)]).unwrap();
    let children = [a, b];
    let (inner, bytes) = Manifest::encode_manifests(&schema, Epoch(0), &children).unwrap();
    let id = id_of(&schema, "id");
    assert_eq!(
        inner.columns[&id].lower.as_ref().unwrap().value,
        Value::Int(1)
    );
    assert_eq!(
        inner.columns[&id].upper.as_ref().unwrap().value,
        Value::Int(16)
    );
    assert_eq!(inner.columns[&id].null_count, Some(3));
    assert_eq!(inner.columns[&id].sum, Some(-70));
    let manifest = Manifest::decode(bytes, &inner).unwrap();
    assert_eq!(manifest.manifests(&schema, 0..2).unwrap(), children);
}

#[test]
fn a_sum_that_one_side_does_not_know_or_that_is_too_large_is_unknown() {
    let schema = schema();
    let price = id_of(&schema, "price");
    let sum = |files: &[Arc<DataFile>]| {
        let (reference, _) = Manifest::encode_files(&schema, Epoch(0), files).unwrap();
        reference.columns[&price].sum
    };
    assert_eq!(sum(&[file(2)]), Some(6 * 10_i128.pow(37)));
    assert_eq!(sum(&[file(1), file(2)]), None);
    assert_eq!(sum(&[file(2), file(4)]), None);
}

#[test]
fn an_inner_manifest_tells_where_its_manifests_are() {
    let schema = schema();
    let (mut apart, _) = Manifest::encode_files(&schema, Epoch(0), &[file(1)]).unwrap();
    let elsewhere = Within::Commit {
        digest: Digest::of(b"another commit"),
        bytes: 7,
    };
    let home = Within::Commit {
        digest: Digest::of(b"this commit"),
        bytes: 9,
    };
    let children = [None, Some(elsewhere), Some(Within::Here)].map(|within| {
        apart.object.within = within;
        apart.clone()
    });
    let (mut inner, bytes) = Manifest::encode_manifests(&schema, Epoch(0), &children).unwrap();
    inner.object.within = Some(home);
    let manifest = Manifest::decode(bytes.clone(), &inner).unwrap();
    let found = manifest.manifests(&schema, 0..3).unwrap();
    let within = found.iter().map(|child| child.object.within);
    let expected = [None, Some(elsewhere), Some(home)];
    assert_eq!(within.collect::<Vec<_>>(), expected);
    // One that is no part of a commit has no parts beside it.
    inner.object.within = None;
    let manifest = Manifest::decode(bytes, &inner).unwrap();
    let error = manifest.manifests(&schema, 0..3).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Corrupt, "{error}");
}

#[test]
fn containers_have_bounds_in_the_column_type() {
    let schema = schema();
    let (reference, bytes) =
        Manifest::encode_files(&schema, Epoch(0), &[file(1), file(2)]).unwrap();
    let manifest = Manifest::decode(bytes, &reference).unwrap();
    let all = schema
        .fields()
        .iter()
        .map(|f| f.id)
        .collect::<BTreeSet<_>>();
    let containers = manifest.containers(&schema, &all).unwrap();
    for field in schema.fields().iter().filter(|f| f.ty.has_bounds()) {
        let bounds = containers.bounds(field.id).unwrap();
        assert_eq!(bounds.lower.data_type(), &field.ty.to_arrow());
        assert_eq!(bounds.upper.null_count(), 0);
    }
}

#[test]
fn an_all_null_part_does_not_take_bounds_away() {
    let known = stats(Value::Int(1), Value::Int(2));
    let nulls = ColumnStats {
        null_count: Some(4),
        ..ColumnStats::default()
    };
    let unknown = ColumnStats::default();
    assert_eq!(nulls.union(4, &known, 3).lower, known.lower);
    assert_eq!(known.union(3, &nulls, 4).null_count, Some(5));
    assert_eq!(known.union(3, &unknown, 4), ColumnStats::default());
}

#[test]
fn a_newer_format_is_unsupported_and_anything_else_corrupt() {
    let file = RepositoryFile {
        id: RepositoryId::from_uuid(uuid::Uuid::nil()),
        features: Vec::new(),
        created_at: 0,
    };
    let bytes = encode(&file).unwrap();
    assert_eq!(decode::<RepositoryFile>(&bytes).unwrap(), file);
    let text = String::from_utf8(bytes.to_vec()).unwrap();
    let newer = text.replace("\"format\":1", "\"format\":2");
    let kind = |bytes: &[u8]| decode::<RepositoryFile>(bytes).unwrap_err().kind();
    assert_eq!(kind(newer.as_bytes()), ErrorKind::Unsupported);
    assert_eq!(kind(&bytes[..bytes.len() - 1]), ErrorKind::Corrupt);
    assert_eq!(
        kind(text.replace("created_at", "created").as_bytes()),
        ErrorKind::Corrupt
    );
    assert_eq!(kind("[".repeat(100_000).as_bytes()), ErrorKind::Corrupt);
    assert_eq!(
        kind(text.replace("\"format\":1", "\"format\":0").as_bytes()),
        ErrorKind::Corrupt
    );
    for at in 0..bytes.len() {
        for bit in 0..8 {
            let mut flipped = bytes.to_vec();
            flipped[at] ^= 1 << bit;
            assert!(
                decode::<RepositoryFile>(&flipped).is_err(),
                "bit {bit} of byte {at}"
            );
        }
    }
    let body = serde_json::to_string(&RepositoryFile {
        features: vec!["x".to_owned()],
        ..file
    });
    let body = body.unwrap();
    let check = Digest::of(body.as_bytes());
    let feature =
        format!("{{\"udr\":\"repository\",\"format\":1,\"check\":\"{check}\",\"body\":{body}}}");
    assert_eq!(kind(feature.as_bytes()), ErrorKind::Unsupported);
}

fn constrained(constraints: Vec<Constraint>) -> TableState {
    TableState {
        constraints,
        ..TableState::empty(crate::env::Env::seeded(1, 0).table_id(), schema())
    }
}

fn unique(name: &str, column: &str) -> Constraint {
    Constraint::Unique {
        name: name.to_owned(),
        columns: vec![id_of(&schema(), column)],
        primary: false,
    }
}

#[test]
fn constraints_survive_encoding_and_are_left_out_where_there_are_none() {
    let parent = crate::env::Env::seeded(2, 0).table_id();
    let state = constrained(vec![
        Constraint::Check {
            name: "old".to_owned(),
            sql: "small > 3".to_owned(),
        },
        unique("names", "name"),
        Constraint::ForeignKey {
            name: "to".to_owned(),
            columns: vec![id_of(&schema(), "id")],
            parent,
            parent_columns: vec![FieldId(4)],
        },
    ]);
    let bytes = encode(&state).unwrap();
    assert_eq!(decode::<TableState>(&bytes).unwrap(), state);
    let none = encode(&constrained(Vec::new())).unwrap();
    assert!(!String::from_utf8_lossy(&none).contains("constraints"));
}

#[test]
fn constraints_that_break_a_rule_are_neither_written_nor_read() {
    let with_columns = |columns: Vec<FieldId>, primary| Constraint::Unique {
        name: "k".to_owned(),
        columns,
        primary,
    };
    let id = id_of(&schema(), "id");
    for constraints in [
        vec![unique("a", "name"), unique("a", "id")],
        vec![unique("", "name")],
        vec![unique("a\n", "name")],
        vec![unique("a", "point")],
        vec![unique("a", "ratio")],
        vec![with_columns(vec![id_of(&schema(), "name")], true)],
        vec![with_columns(vec![FieldId(99)], false)],
        vec![with_columns(vec![id, id], false)],
        vec![with_columns(Vec::new(), false)],
        vec![
            with_columns(vec![id], true),
            Constraint::Unique {
                name: "other".to_owned(),
                columns: vec![id],
                primary: true,
            },
        ],
        vec![Constraint::Check {
            name: "a".to_owned(),
            sql: " ".to_owned(),
        }],
    ] {
        let error = constrained(constraints.clone()).validate().unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Corrupt, "{constraints:?}");
    }
}

#[test]
fn types_that_no_value_can_be_made_of_are_corrupt() {
    for ty in [
        r#""fixed_binary(2147483647)""#,
        r#""decimal128(0,0)""#,
        r#""decimal128(39,2)""#,
        r#""decimal256(77,2)""#,
        r#"{"fixed_list":{"element":{"id":2,"name":"e","type":"int8","nullable":true},"size":-1}}"#,
    ] {
        let field = format!(r#"{{"id":1,"name":"a","type":{ty},"nullable":true}}"#);
        let schema = format!(r#"{{"fields":[{field}],"last_field_id":2}}"#);
        let schema = serde_json::from_str::<Schema>(&schema).unwrap();
        let error = schema.validate().unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Corrupt, "{ty}");
    }
}

#[test]
fn a_column_has_a_default_or_is_generated() {
    let text = |sql: &str| BTreeMap::from([("small".to_owned(), sql.to_owned())]);
    let generated = schema().with_generated(text("id + 1")).unwrap();
    assert_eq!(
        generated.field("small").unwrap().generated.as_deref(),
        Some("id + 1")
    );
    let both = schema().with_defaults(text("1")).unwrap();
    assert_eq!(
        both.with_generated(text("id + 1")).unwrap_err().kind(),
        ErrorKind::Invalid
    );
}

#[test]
fn a_record_that_none_can_follow_is_corrupt() {
    let record = |version: u64| RefRecord {
        name: crate::name::RefName::main(),
        version: crate::id::Version(version),
        skipped: 0,
        kind: RecordKind::Create,
        head: Some(CommitRef {
            object: ObjectRef::of(Epoch(0), b"x"),
            sequence: 0,
        }),
        commits: Vec::new(),
        transactions: vec![crate::env::Env::seeded(1, 0).transaction_id()],
        at: 0,
        epoch: Epoch(0),
        started_at: crate::id::Version(version),
        from: None,
    };
    record(u64::MAX - 1).validate().unwrap();
    let error = record(u64::MAX).validate().unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Corrupt);
}

fn commit(root: ObjectRef) -> Commit {
    Commit {
        parents: Vec::new(),
        root,
        sequence: 0,
        author: "somebody".to_owned(),
        message: "two\nlines".to_owned(),
        committed_at: 0,
        metadata: BTreeMap::new(),
        transaction: crate::id::TransactionId::from_uuid(uuid::Uuid::from_u128(1)),
        idempotency_key: None,
        changes: Vec::new(),
        parts: Vec::new(),
    }
}

/// A part of the commit that it is stored with.
fn here(bytes: &[u8]) -> ObjectRef {
    ObjectRef {
        within: Some(Within::Here),
        ..ObjectRef::of(Epoch(3), bytes)
    }
}

#[test]
fn a_commit_gives_back_its_parts_and_says_where_they_are() {
    let parts = ["", "one\ntwo", "\n", "root"].map(|text| bytes::Bytes::from(text.to_owned()));
    let bytes = commit(here(b"root")).encode(&parts).unwrap();
    let object = ObjectRef::of(Epoch(3), &bytes);
    let decoded = Commit::decode(&object, &bytes).unwrap();
    assert_eq!(decoded.root.within, Some(object.as_home()));
    assert_eq!(decoded.parts.len(), 4);
    for part in &parts {
        let found = Commit::part(&bytes, &ObjectRef::of(Epoch(3), part)).unwrap();
        assert_eq!(found, *part);
    }
    let missing = Commit::part(&bytes, &ObjectRef::of(Epoch(3), b"none")).unwrap_err();
    assert_eq!(missing.kind(), ErrorKind::Corrupt);
    let longer = ObjectRef {
        bytes: 5,
        ..ObjectRef::of(Epoch(3), b"root")
    };
    let error = Commit::part(&bytes, &longer).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Corrupt);
}

#[test]
fn a_commit_with_other_parts_than_it_says_is_corrupt() {
    let parts = ["a part", "root"].map(bytes::Bytes::from);
    let bytes = commit(here(b"root")).encode(&parts).unwrap();
    let kind = |bytes: &[u8]| {
        let object = ObjectRef::of(Epoch(3), bytes);
        Commit::decode(&object, bytes).unwrap_err().kind()
    };
    let cut = bytes.iter().position(|byte| *byte == b'\n').unwrap();
    assert_eq!(kind(&bytes[..bytes.len() - 1]), ErrorKind::Corrupt);
    assert_eq!(kind(&bytes[..cut]), ErrorKind::Corrupt);
    assert_eq!(kind(&[&bytes[..], b"x"].concat()), ErrorKind::Corrupt);
    let alone = commit(ObjectRef::of(Epoch(3), b"root"))
        .encode(&[])
        .unwrap();
    assert_eq!(kind(&[&alone[..], b"\nx"].concat()), ErrorKind::Corrupt);
    // Bytes that are not those of the list.
    let mut swapped = bytes.to_vec();
    *swapped.last_mut().unwrap() ^= 1;
    let error = Commit::part(&swapped.into(), &ObjectRef::of(Epoch(3), b"root")).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Corrupt);
    let large = vec![0; usize::try_from(Commit::PARTS_BYTES_MAX).unwrap() + 1];
    let error = commit(here(b"root")).encode(&[large.into()]).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Corrupt);
}

#[test]
fn statistics_are_decoded_as_they_are_asked_for() {
    let schema = schema();
    let files = [file(1), file(2), file(3)];
    let (reference, bytes) = Manifest::encode_files(&schema, Epoch(0), &files).unwrap();
    let manifest = Manifest::decode(bytes, &reference).unwrap();
    assert!(manifest.decoded().is_empty());
    assert!(manifest.files(&schema, []).unwrap().is_empty());
    assert!(manifest.decoded().is_empty());
    let wanted = id_of(&schema, "ratio");
    let fields = BTreeSet::from([wanted]);
    let bounds = manifest.containers(&schema, &fields).unwrap();
    assert_eq!(bounds.bounds(wanted).unwrap().lower.len(), 3);
    let decoded = manifest.decoded();
    let own = format!("c{wanted}.");
    assert!(!decoded.is_empty() && decoded.iter().all(|name| name.starts_with(&own)));
    // What was asked for first is the same as when all is.
    let found = manifest.files(&schema, 0..3).unwrap();
    let files = files.iter().map(|file| DataFile::clone(file));
    assert_eq!(found, files.collect::<Vec<_>>());
    assert!(manifest.decoded().len() > decoded.len());
}
