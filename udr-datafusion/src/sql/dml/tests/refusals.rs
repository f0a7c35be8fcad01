use super::*;

#[test]
fn with_goes_into_every_query_that_uses_it() {
    becomes(
        "WITH w AS (SELECT 1 AS id), v AS (SELECT 2) DELETE FROM t WHERE id IN (SELECT id FROM w)
         AND n IN (SELECT 3)",
        "DELETE FROM t WHERE id IN (WITH w AS (SELECT 1 AS id), v AS (SELECT 2) SELECT id FROM w)
         AND n IN (SELECT 3)",
    );
    becomes(
        "WITH w AS (SELECT 1 AS id) INSERT INTO t (id) SELECT id FROM w",
        "INSERT INTO t (id) WITH w AS (SELECT 1 AS id) SELECT id FROM w",
    );
    becomes(
        "WITH w AS (SELECT 1 AS id) UPDATE t SET n = w.id FROM w WHERE w.id = t.id",
        r#"update: SELECT t."id" AS "id", w.id AS "n", t."Name" AS "Name", t."at" AS "at"
           FROM t, (WITH w AS (SELECT 1 AS id) SELECT * FROM w) AS w WHERE w.id = t.id"#,
    );
    becomes_for(
        &target(),
        &["id"],
        "WITH W AS (SELECT 1 AS id) MERGE INTO t USING w AS s ON t.id = s.id
         WHEN MATCHED THEN DELETE",
        "MERGE INTO t USING (WITH W AS (SELECT 1 AS id) SELECT * FROM w) AS s ON t.id = s.id
         WHEN MATCHED THEN DELETE",
    );
    becomes(
        "WITH w AS (SELECT 1 AS id) INSERT INTO t (id) WITH x AS (SELECT id FROM w) SELECT * FROM x",
        "INSERT INTO t (id)
         WITH w AS (SELECT 1 AS id) (WITH x AS (SELECT id FROM w) SELECT * FROM x)",
    );
}

#[test]
fn what_with_cannot_be_is_refused() {
    refused(
        "WITH t AS (SELECT 1 AS id) DELETE FROM t",
        &["common table expression cannot be changed"],
    );
    refused(
        "WITH d AS (DELETE FROM u RETURNING id) INSERT INTO t (id) SELECT id FROM d",
        &["cannot change rows"],
    );
}

#[test]
fn an_inserts_target_has_no_version() {
    for sql in [
        "INSERT INTO t VERSION AS OF 42 SELECT 1",
        "INSERT INTO t FOR VERSION AS OF 42 (id) VALUES (1)",
        "INSERT INTO public.t AT (BRANCH => 'dev') SELECT 1",
        "INSERT INTO t TIMESTAMP AS OF '2026-01-01' SELECT 1",
        "INSERT OVERWRITE t FOR SYSTEM_TIME AS OF '2026-01-01' SELECT 1",
        "INSERT INTO t AS OF 'dev' SELECT 1",
    ] {
        refused(sql, &["only the session's own branch can be written"]);
    }
}

#[test]
fn other_dialects_get_the_word_to_use() {
    refused(
        "INSERT INTO t VALUES (1) ON DUPLICATE KEY UPDATE n = 1",
        &["ON DUPLICATE KEY", "ON CONFLICT"],
    );
    refused("INSERT INTO t PARTITION (id = 1) SELECT 1", &["PARTITION"]);
    refused("INSERT OR ABORT INTO t VALUES (1)", &["OR ABORT"]);
    refused(
        "INSERT INTO t OUTPUT inserted.id VALUES (1)",
        &["RETURNING"],
    );
}

#[test]
fn returned_columns_are_a_query_over_the_target() {
    let returning = |sql: &str| {
        let Parsed::Sql(parsed) = parse(sql, ParseOptions::default()).unwrap() else {
            panic!("{sql}: no SQL");
        };
        let (_, statement, with) = Frame::split(&parsed).unwrap();
        let change = Change::new(statement, with.as_ref(), true)?;
        Ok::<_, datafusion::error::DataFusionError>(change.returning().map(ToString::to_string))
    };
    let text = |sql: &str| returning(sql).unwrap().unwrap();
    assert_eq!(
        text("INSERT INTO x.t AS a VALUES (1) RETURNING *, a.id + 1 AS more"),
        "SELECT *, a.id + 1 AS more FROM x.t AS a"
    );
    assert_eq!(
        text("DELETE FROM t AS x RETURNING x.id"),
        "SELECT x.id FROM t AS x"
    );
    assert_eq!(
        text("UPDATE t SET n = 1 RETURNING t.*"),
        "SELECT t.* FROM t"
    );
    assert_eq!(returning("DELETE FROM t").unwrap(), None);
    assert!(returning("DELETE FROM t RETURNING (SELECT 1)").is_err());
}

#[test]
fn explain_and_prepare_stay_around_the_statement() {
    for (sql, expected) in [
        ("EXPLAIN DELETE FROM t AS x", "EXPLAIN SELECT 1"),
        (
            "PREPARE p AS DELETE FROM t AS x WHERE x.id = $1",
            "PREPARE p AS SELECT 1",
        ),
        (
            "PREPARE p (INT) AS DELETE FROM t",
            "PREPARE p (INT) AS SELECT 1",
        ),
        ("WITH w AS (SELECT 1) DELETE FROM t", "SELECT 1"),
    ] {
        let (frame, _) = rewrite(sql, &target(), &[]).unwrap();
        let Parsed::Sql(one) = parse("SELECT 1", ParseOptions::default()).unwrap() else {
            panic!("no SQL");
        };
        let datafusion::sql::parser::Statement::Statement(one) = *one else {
            panic!("no statement");
        };
        assert_eq!(frame.around(*one).to_string(), expected, "{sql}");
    }
}

#[test]
fn marks_are_only_where_the_parser_knows_no_other_way() {
    let marked = |sql: &str| {
        let Parsed::Sql(parsed) = parse(sql, ParseOptions::default()).unwrap() else {
            panic!("{sql}: no SQL");
        };
        let (_, statement, _) = Frame::split(&parsed).unwrap();
        is_marked(&statement)
    };
    assert!(marked("INSERT INTO t BY NAME SELECT 1"));
    assert!(marked("EXPLAIN INSERT INTO t AS x SELECT 1"));
    assert!(marked(
        "PREPARE p AS INSERT INTO t REPLACE WHERE a = $1 SELECT 1"
    ));
    assert!(marked(
        "MERGE INTO t USING s ON true WHEN MATCHED THEN UPDATE SET *"
    ));
    assert!(marked(
        "MERGE INTO t USING s ON true WHEN NOT MATCHED THEN DO NOTHING"
    ));
    assert!(!marked("INSERT INTO t (\"by\", name) SELECT 1"));
    assert!(!marked(
        "INSERT INTO t SELECT CASE WHEN a THEN b * c END FROM s"
    ));
    assert!(!marked(
        "MERGE INTO t USING s ON true WHEN MATCHED THEN DELETE"
    ));
}
