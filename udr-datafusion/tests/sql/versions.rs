//! Version clauses: every one that is accepted gives the rows of its version.

use udr_core::ErrorKind;

use crate::fixture::{Fixture, id_and_name};

/// Version 1 has no rows, version 2 one, version 3 two; `one` is a tag and `dev` a branch at 2.
async fn fixture() -> Fixture {
    let f = Fixture::with_table().await;
    f.udr("INSERT INTO t VALUES (1, 'a')").await;
    f.udr("CREATE TAG one").await;
    f.udr("CREATE BRANCH dev").await;
    f.udr("INSERT INTO t VALUES (2, 'b')").await;
    f
}

#[tokio::test]
async fn every_clause_gives_the_rows_of_its_version() {
    let f = fixture().await;
    let time = f
        .udr("SELECT moved_at FROM udr.branches WHERE name = 'dev'")
        .await
        .remove(0);
    let commit = f
        .udr("SELECT commit_id FROM udr.branches WHERE name = 'dev'")
        .await
        .remove(0);
    for clause in [
        "VERSION AS OF 2".to_owned(),
        "VERSION AS OF '2'".to_owned(),
        "VERSION AS OF one".to_owned(),
        "VERSION AS OF 'dev'".to_owned(),
        "VERSION AS OF main~1".to_owned(),
        "FOR VERSION AS OF 2".to_owned(),
        "FOR SYSTEM_VERSION AS OF 2".to_owned(),
        format!("TIMESTAMP AS OF '{time}'"),
        format!("TIMESTAMP AS OF TIMESTAMP '{time}'"),
        format!("FOR SYSTEM_TIME AS OF '{time}'"),
        format!("FOR TIMESTAMP AS OF '{time}'"),
        "AS OF 'main~1'".to_owned(),
        "AS OF 'HEAD~1'".to_owned(),
        format!("AS OF '{time}'"),
        format!("AS OF '{}'", &commit[..12]),
        "AT (VERSION => 2)".to_owned(),
        "AT (SNAPSHOT => 2)".to_owned(),
        format!("AT (TIMESTAMP => '{time}')"),
        "AT (BRANCH => 'dev')".to_owned(),
        "AT (TAG => one)".to_owned(),
    ] {
        assert_eq!(
            f.udr(&format!("SELECT t.id FROM t {clause}")).await,
            ["1"],
            "{clause}"
        );
        let joined = format!("SELECT count(*) FROM t a JOIN t {clause} b ON a.id = b.id");
        assert_eq!(f.udr(&joined).await, ["1"], "{clause}");
    }
    assert_eq!(
        f.udr("SELECT count(*) FROM udr_at('t', 'main~2')").await,
        ["0"]
    );
    assert_eq!(f.udr("SELECT t.id FROM udr_at('public.t', 2)").await, ["1"]);
    assert_eq!(
        f.udr("SELECT count(*) FROM t$history VERSION AS OF 2")
            .await,
        ["2"]
    );
    assert_eq!(
        f.udr("SELECT id FROM t EXCEPT SELECT id FROM t AS OF 'one'")
            .await,
        ["2"]
    );
}

#[tokio::test]
async fn a_version_that_is_not_there_is_an_error() {
    let f = fixture().await;
    for clause in [
        "VERSION AS OF 4",
        "VERSION AS OF missing",
        "TIMESTAMP AS OF '1970-01-01'",
        "AS OF 'main~9'",
        "AS OF 'oen'",
        "AT (BRANCH => one)",
        "AT (TAG => dev)",
        "AT (TAG => missing)",
    ] {
        let (kind, text) = f.udr_refused(&format!("SELECT * FROM t {clause}")).await;
        assert!(
            matches!(kind, ErrorKind::NotFound | ErrorKind::Unsupported),
            "{clause}: {text}"
        );
    }
    let (_, text) = f.udr_refused("SELECT * FROM t AS OF 'oen'").await;
    assert!(text.contains("did you mean `one`"), "{text}");
    // A table of the context has no versions.
    f.run("SET datafusion.catalog.default_catalog = 'datafusion'")
        .await;
    f.run("CREATE TABLE m (id INT)").await;
    f.udr_fails("SELECT * FROM m VERSION AS OF 1").await;
}

#[tokio::test]
async fn a_version_in_another_branchs_catalog_is_one_of_that_branch() {
    let f = fixture().await;
    f.udr("USE BRANCH dev").await;
    f.udr("INSERT INTO t VALUES (5, 'dev')").await;
    f.udr("USE BRANCH main").await;
    assert_eq!(
        f.udr("SELECT id FROM t VERSION AS OF 3 ORDER BY id").await,
        ["1", "2"]
    );
    assert_eq!(
        f.udr("SELECT id FROM dev.public.t VERSION AS OF 3 ORDER BY id")
            .await,
        ["1", "5"]
    );
    assert_eq!(f.udr("SELECT id FROM dev.public.\"t@HEAD~1\"").await, ["1"]);
    assert_eq!(
        f.udr_refused("SELECT * FROM dev.public.t VERSION AS OF 4")
            .await
            .0,
        ErrorKind::NotFound
    );
    assert_eq!(
        f.udr_refused("SELECT * FROM dve.public.t VERSION AS OF 3")
            .await
            .0,
        ErrorKind::NotFound
    );
}

#[tokio::test]
async fn clauses_stay_where_they_are_written() {
    let f = fixture().await;
    f.create("u", &id_and_name()).await;
    f.udr("INSERT INTO u SELECT * FROM t VERSION AS OF 2").await;
    assert_eq!(f.udr("SELECT id FROM u").await, ["1"]);
    f.udr("INSERT OVERWRITE t SELECT * FROM t VERSION AS OF 2")
        .await;
    assert_eq!(f.udr("SELECT id FROM t").await, ["1"]);
    f.udr("CREATE TABLE w AS SELECT * FROM t VERSION AS OF 3")
        .await;
    assert_eq!(f.udr("SELECT count(*) FROM w").await, ["2"]);
    assert_eq!(
        f.udr("WITH t AS (SELECT * FROM t VERSION AS OF 3) SELECT count(*) FROM t")
            .await,
        ["2"]
    );
    f.udr("PREPARE q AS SELECT count(*) FROM t VERSION AS OF 3")
        .await;
    assert_eq!(f.udr("EXECUTE q").await, ["2"]);
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("t.csv");
    let copy = format!(
        "COPY (SELECT * FROM t VERSION AS OF 3 ORDER BY id) TO '{}'",
        file.display()
    );
    assert_eq!(f.udr(&copy).await, ["2"]);
    assert_eq!(
        std::fs::read_to_string(&file).unwrap(),
        "id,name\n1,a\n2,b\n"
    );
    for sql in [
        "DELETE FROM t VERSION AS OF 2",
        "UPDATE t VERSION AS OF 2 SET name = 'x'",
        "INSERT INTO t VERSION AS OF 2 SELECT 1, 'x'",
        "INSERT INTO \"t@2\" SELECT 1, 'x'",
        "MERGE INTO t VERSION AS OF 2 USING u ON t.id = u.id WHEN MATCHED THEN DELETE",
        "WITH c AS (SELECT 1) SELECT * FROM c VERSION AS OF 2",
        "SELECT * FROM generate_series(1, 3) VERSION AS OF 2",
        "DROP TABLE \"t@2\"",
        "CREATE TABLE \"t@2\" (id INT)",
        "ALTER TABLE \"t@2\" RENAME TO x",
        "DROP TABLE dev.public.t",
        "CREATE TABLE dev.public.x (id INT)",
    ] {
        assert_eq!(f.udr_refused(sql).await.0, ErrorKind::Invalid, "{sql}");
    }
    f.check().await;
}

#[tokio::test]
async fn a_prepared_statement_freezes_no_computed_time() {
    let f = fixture().await;
    for clause in [
        "TIMESTAMP AS OF now() - INTERVAL '1 hour'",
        "FOR SYSTEM_TIME AS OF now()",
        "AT (OFFSET => -3600)",
    ] {
        let sql = format!("PREPARE q AS SELECT * FROM t {clause}");
        let (kind, text) = f.udr_refused(&sql).await;
        assert_eq!(kind, ErrorKind::Unsupported, "{clause}: {text}");
    }
    f.udr("PREPARE q AS SELECT id FROM t VERSION AS OF 2").await;
    assert_eq!(f.udr("EXECUTE q").await, ["1"]);
}

#[tokio::test]
async fn a_prepared_statement_of_another_shape_says_to_prepare_it_again() {
    let f = fixture().await;
    f.udr("PREPARE q AS SELECT id FROM t").await;
    f.udr("CREATE OR REPLACE TABLE t (id VARCHAR)").await;
    let (kind, text) = f.udr_refused("EXECUTE q").await;
    assert_eq!(kind, ErrorKind::Conflict);
    assert!(text.contains("prepare it again"), "{text}");
}

#[tokio::test]
async fn every_spelling_of_a_version_takes_what_the_others_take() {
    let f = fixture().await;
    let before = f
        .udr("SELECT moved_at + INTERVAL '1 minute' FROM udr.branches WHERE name = 'main'")
        .await
        .remove(0);
    let minute = before[..16].replace('T', " ");
    for (clause, rows) in [
        ("AS OF VERSION dev".to_owned(), "1"),
        ("AS OF VERSION main~2 AS x".to_owned(), "0"),
        ("AS OF VERSION 'one'".to_owned(), "1"),
        ("AS OF TIMESTAMP now()".to_owned(), "2"),
        (
            "AS OF SYSTEM TIME now() + INTERVAL '1 hour'".to_owned(),
            "2",
        ),
        (format!("TIMESTAMP AS OF '{minute}'"), "2"),
        (format!("VERSION AS OF '{minute}'"), "2"),
        (format!("AT (TIMESTAMP => '{minute}')"), "2"),
    ] {
        let sql = format!("SELECT count(*) FROM t {clause}");
        assert_eq!(f.udr(&sql).await, [rows], "{clause}");
    }
    // An alias stays one.
    assert_eq!(
        f.udr("SELECT of.id FROM t AS of ORDER BY 1").await,
        ["1", "2"]
    );
}
