use datafusion::prelude::SessionContext;

use super::super::ast;
use super::super::constant;
use super::super::parser::{ParseOptions, parse};
use super::*;

fn lifted(sql: &str) -> Result<(String, Vec<Claim>)> {
    let state = SessionContext::new().state();
    let ast::Statement::Sql(mut statement) = parse(sql, ParseOptions::default())? else {
        panic!("{sql} is a command");
    };
    let claims = lift(&mut statement, true, &|expr| {
        constant::evaluate(&state, expr)
    })?;
    Ok((statement.to_string(), claims))
}

#[track_caller]
fn becomes(sql: &str, expected: &str) {
    match lifted(sql) {
        Ok((text, _)) => assert_eq!(text, expected, "{sql}"),
        Err(error) => panic!("{sql}: {error}"),
    }
}

#[track_caller]
fn refused(sql: &str) {
    if let Ok((text, _)) = lifted(sql) {
        panic!("{sql}: accepted as {text}");
    }
}

/// Every spelling, with the revision it means.
const CLAUSES: &[(&str, &str)] = &[
    ("VERSION AS OF 42", "42"),
    ("version as of 42", "42"),
    ("VERSION AS OF '42'", "42"),
    ("VERSION AS OF 'dev'", "dev"),
    ("VERSION AS OF \"dev\"", "dev"),
    ("VERSION AS OF dev", "dev"),
    ("VERSION AS OF main~2", "main~2"),
    ("VERSION AS OF 'feature/x'", "feature/x"),
    ("FOR VERSION AS OF 42", "42"),
    ("FOR VERSION AS OF 'dev'", "dev"),
    ("SYSTEM_VERSION AS OF 42", "42"),
    ("FOR SYSTEM_VERSION AS OF 42", "42"),
    ("FOR SYSTEM_VERSION AS OF 'v1.2'", "v1.2"),
    ("TIMESTAMP AS OF '2026-01-31'", "2026-01-31T00:00:00Z"),
    (
        "TIMESTAMP AS OF '2026-01-31T12:00:00.013Z'",
        "2026-01-31T12:00:00.013Z",
    ),
    (
        "TIMESTAMP AS OF '2026-01-31 14:00:00+02:00'",
        "2026-01-31T12:00:00Z",
    ),
    (
        "TIMESTAMP AS OF TIMESTAMP '2026-01-31 12:00:00'",
        "2026-01-31T12:00:00Z",
    ),
    ("TIMESTAMP AS OF DATE '2026-01-31'", "2026-01-31T00:00:00Z"),
    (
        "TIMESTAMP AS OF CAST('2026-01-31' AS DATE)",
        "2026-01-31T00:00:00Z",
    ),
    (
        "TIMESTAMP AS OF '2026-01-31'::timestamp - interval '1 day'",
        "2026-01-30T00:00:00Z",
    ),
    (
        "TIMESTAMP AS OF to_timestamp('2026-01-31')",
        "2026-01-31T00:00:00Z",
    ),
    ("FOR TIMESTAMP AS OF '2026-01-31'", "2026-01-31T00:00:00Z"),
    ("FOR SYSTEM_TIME AS OF '2026-01-31'", "2026-01-31T00:00:00Z"),
    (
        "FOR SYSTEM_TIME AS OF TIMESTAMP '2026-01-31 12:00:00'",
        "2026-01-31T12:00:00Z",
    ),
    ("AS OF 'main~2'", "main~2"),
    ("AS OF \"dev\"", "dev"),
    ("AS OF '2026-01-31'", "2026-01-31"),
    ("AS OF TIMESTAMP '2026-01-31'", "2026-01-31T00:00:00Z"),
    ("AS OF TIMESTAMP('2026-01-31')", "2026-01-31T00:00:00Z"),
    ("AS OF SYSTEM TIME '2026-01-31'", "2026-01-31T00:00:00Z"),
    ("AS OF VERSION 42", "42"),
    ("AT (VERSION => 42)", "42"),
    ("AT(VERSION => 'dev')", "dev"),
    ("at (version => dev)", "dev"),
    ("AT (SNAPSHOT => 42)", "42"),
    ("AT (BRANCH => 'dev')", "dev"),
    ("AT (BRANCH => dev)", "dev"),
    ("AT (TAG => 'v1')", "v1"),
    ("AT (TIMESTAMP => '2026-01-31')", "2026-01-31T00:00:00Z"),
    (
        "AT (TIMESTAMP => TIMESTAMP '2026-01-31 12:00:00')",
        "2026-01-31T12:00:00Z",
    ),
];

/// Every place where a table is read: before and after the clause, and the same as it comes out,
/// where `{}` stands for the table.
const PLACES: &[(&str, &str, &str)] = &[
    ("SELECT * FROM t ", "", "SELECT * FROM {} AS t"),
    ("SELECT * FROM t ", " AS x", "SELECT * FROM {} AS x"),
    ("SELECT * FROM t ", " x", "SELECT * FROM {} x"),
    ("SELECT * FROM T ", "", "SELECT * FROM {} AS T"),
    ("SELECT * FROM \"t\" ", "", "SELECT * FROM {} AS \"t\""),
    (
        "SELECT * FROM u, t ",
        " WHERE a = 1",
        "SELECT * FROM u, {} AS t WHERE a = 1",
    ),
    (
        "SELECT * FROM u JOIN t ",
        " ON u.a = t.a",
        "SELECT * FROM u JOIN {} AS t ON u.a = t.a",
    ),
    (
        "SELECT * FROM t ",
        " JOIN u USING (a)",
        "SELECT * FROM {} AS t JOIN u USING(a)",
    ),
    (
        "SELECT * FROM (SELECT * FROM t ",
        ") AS s",
        "SELECT * FROM (SELECT * FROM {} AS t) AS s",
    ),
    (
        "SELECT * FROM (t ",
        " JOIN u USING (a))",
        "SELECT * FROM ({} AS t JOIN u USING(a))",
    ),
    (
        "SELECT (SELECT max(a) FROM t ",
        ")",
        "SELECT (SELECT max(a) FROM {} AS t)",
    ),
    (
        "SELECT 1 WHERE EXISTS (SELECT 1 FROM t ",
        ")",
        "SELECT 1 WHERE EXISTS (SELECT 1 FROM {} AS t)",
    ),
    (
        "SELECT 1 WHERE a IN (SELECT a FROM t ",
        ")",
        "SELECT 1 WHERE a IN (SELECT a FROM {} AS t)",
    ),
    (
        "SELECT 1 UNION ALL SELECT a FROM t ",
        "",
        "SELECT 1 UNION ALL SELECT a FROM {} AS t",
    ),
    (
        "WITH c AS (SELECT * FROM t ",
        ") SELECT * FROM c",
        "WITH c AS (SELECT * FROM {} AS t) SELECT * FROM c",
    ),
    (
        "WITH t AS (SELECT * FROM t ",
        ") SELECT * FROM t",
        "WITH t AS (SELECT * FROM {} AS t) SELECT * FROM t",
    ),
    (
        "INSERT INTO u SELECT * FROM t ",
        "",
        "INSERT INTO u SELECT * FROM {} AS t",
    ),
    (
        "INSERT OVERWRITE TABLE u SELECT * FROM t ",
        "",
        "INSERT OVERWRITE TABLE u SELECT * FROM {} AS t",
    ),
    (
        "DELETE FROM u WHERE a IN (SELECT a FROM t ",
        ")",
        "DELETE FROM u WHERE a IN (SELECT a FROM {} AS t)",
    ),
    (
        "DELETE FROM u USING t ",
        " WHERE u.a = t.a",
        "DELETE FROM u USING {} AS t WHERE u.a = t.a",
    ),
    (
        "UPDATE u SET a = t.a FROM t ",
        " WHERE u.a = t.a",
        "UPDATE u SET a = t.a FROM {} AS t WHERE u.a = t.a",
    ),
    (
        "MERGE INTO u USING t ",
        " AS s ON u.a = s.a WHEN MATCHED THEN DELETE",
        "MERGE INTO u USING {} AS s ON u.a = s.a WHEN MATCHED THEN DELETE",
    ),
    (
        "CREATE TABLE u AS SELECT * FROM t ",
        "",
        "CREATE TABLE u AS SELECT * FROM {} AS t",
    ),
    (
        "EXPLAIN SELECT * FROM t ",
        "",
        "EXPLAIN SELECT * FROM {} AS t",
    ),
    (
        "EXPLAIN ANALYZE SELECT * FROM t ",
        "",
        "EXPLAIN ANALYZE SELECT * FROM {} AS t",
    ),
    (
        "PREPARE p AS SELECT * FROM t ",
        "",
        "PREPARE p AS SELECT * FROM {} AS t",
    ),
    (
        "COPY (SELECT * FROM t ",
        ") TO 'x'",
        "COPY (SELECT * FROM {} AS t) TO x",
    ),
];

#[test]
fn every_clause_travels_in_every_place() {
    for (clause, revision) in CLAUSES {
        for (before, after, expected) in PLACES {
            let name = format!("\"t@{revision}\"");
            let computed = clause.contains(" - ") || clause.contains("to_timestamp");
            if computed && before.starts_with("PREPARE") {
                refused(&format!("{before}{clause}{after}"));
                continue;
            }
            becomes(
                &format!("{before}{clause}{after}"),
                &expected.replace("{}", &name),
            );
        }
    }
}

#[test]
fn longer_names_keep_their_parts() {
    becomes(
        "SELECT * FROM s.t VERSION AS OF 1",
        "SELECT * FROM s.\"t@1\" AS t",
    );
    becomes(
        "SELECT * FROM c.S.T AS OF 'x'",
        "SELECT * FROM c.S.\"t@x\" AS T",
    );
    becomes(
        "SELECT * FROM \"My T\" VERSION AS OF 1",
        "SELECT * FROM \"My T@1\" AS \"My T\"",
    );
    becomes(
        "SELECT * FROM t$history VERSION AS OF 1",
        "SELECT * FROM \"t$history@1\" AS t$history",
    );
    becomes(
        "SELECT * FROM t VERSION AS OF 1 a JOIN t FOR SYSTEM_TIME AS OF '2026-01-31' b USING (a)",
        "SELECT * FROM \"t@1\" a JOIN \"t@2026-01-31T00:00:00Z\" b USING(a)",
    );
    becomes(
        "SELECT * FROM udr_at('t', 'main~2')",
        "SELECT * FROM \"t@main~2\" AS \"t\"",
    );
    becomes(
        "SELECT * FROM udr_at('s.t', 42) AS x",
        "SELECT * FROM \"s\".\"t@42\" AS x",
    );
}

#[test]
fn now_is_a_moment_of_the_statement() {
    let (text, _) = lifted("SELECT * FROM t TIMESTAMP AS OF now() - interval '1 day'").unwrap();
    let moment = text.split('@').nth(1).unwrap().split('"').next().unwrap();
    let age = instant::parse(moment).unwrap() - chrono::Utc::now().timestamp_micros();
    assert!((age + 86_400_000_000).abs() < 60_000_000, "{text}");
    let (text, _) = lifted("SELECT * FROM t AT (OFFSET => -60*60)").unwrap();
    let moment = text.split('@').nth(1).unwrap().split('"').next().unwrap();
    let age = instant::parse(moment).unwrap() - chrono::Utc::now().timestamp_micros();
    assert!((age + 3_600_000_000).abs() < 60_000_000, "{text}");
}

#[test]
fn branches_and_tags_are_claimed() {
    let claim = |kind, name: &str| Claim {
        kind,
        name: name.to_owned(),
    };
    let (_, claims) =
        lifted("SELECT * FROM t AT (BRANCH => dev), u AT (TAG => 'v1'), w VERSION AS OF 1")
            .unwrap();
    assert_eq!(
        claims,
        [claim(RefKind::Branch, "dev"), claim(RefKind::Tag, "v1")]
    );
}

#[test]
fn the_same_words_elsewhere_stay_what_they_are() {
    for sql in [
        "SELECT version AS OF FROM t",
        "SELECT timestamp AS OF FROM t",
        "SELECT a AS OF, version AS OF FROM t",
        "SELECT version, timestamp FROM t",
        "SELECT * FROM t AS OF",
        "SELECT * FROM t AS OF WHERE OF.a = 1",
        "SELECT * FROM version AS OF",
        "SELECT * FROM t version",
        "SELECT * FROM t AS at",
        "SELECT * FROM at AS changes",
        "SELECT at, before, changes FROM t",
        "SELECT ts AT TIME ZONE 'UTC' FROM t",
        "SELECT a, ts AT TIME ZONE 'UTC' FROM t",
        "SELECT max(ts AT TIME ZONE 'UTC') FROM t",
        "SELECT 'FROM t VERSION AS OF 1' -- FROM t AS OF 'x'",
        "SELECT \"FROM t VERSION AS OF 1\" FROM t",
    ] {
        let plain = datafusion::sql::parser::DFParser::parse_sql(sql).unwrap();
        becomes(sql, &plain[0].to_string());
    }
    becomes("SELECT at.a FROM t at", "SELECT at.a FROM t \"at\"");
    becomes(
        "SELECT * FROM t Before JOIN u changes",
        "SELECT * FROM t \"before\" JOIN u \"changes\"",
    );
    becomes(
        "SELECT * FROM u, t at WHERE a",
        "SELECT * FROM u, t \"at\" WHERE a",
    );
}

/// Each clause on each of these errs.
#[test]
fn no_clause_is_ignored_where_there_is_no_version() {
    for (clause, _) in CLAUSES {
        for (before, after) in [
            // Targets.
            ("INSERT INTO t ", " VALUES (1)"),
            ("INSERT INTO t ", " SELECT 1"),
            ("INSERT OVERWRITE t ", " SELECT 1"),
            ("UPDATE t ", " SET a = 1"),
            ("DELETE FROM t ", ""),
            ("DELETE FROM t ", " WHERE a = 1"),
            (
                "MERGE INTO t ",
                " USING s ON t.a = s.a WHEN MATCHED THEN DELETE",
            ),
            ("CREATE TABLE t ", " (a INT)"),
            ("CREATE TABLE t ", " AS SELECT 1"),
            ("CREATE VIEW t ", " AS SELECT 1"),
            ("DROP TABLE t ", ""),
            ("TRUNCATE TABLE t ", ""),
            ("ALTER TABLE t ", " RENAME TO u"),
            ("COPY t ", " TO 'x'"),
            ("DESCRIBE t ", ""),
            ("EXPLAIN DELETE FROM t ", ""),
            ("PREPARE p AS DELETE FROM t ", ""),
            // Relations that are no tables.
            ("SELECT * FROM f(1) ", ""),
            ("SELECT * FROM f(1) ", " AS x"),
            ("SELECT * FROM udr_at('t', 'x') ", ""),
            ("SELECT * FROM LATERAL f(1) ", ""),
            ("SELECT * FROM (SELECT 1) ", ""),
            ("SELECT * FROM (SELECT 1) AS s ", ""),
            ("SELECT * FROM (t JOIN u USING (a)) ", ""),
            ("SELECT * FROM (VALUES (1)) ", ""),
            ("SELECT * FROM VALUES (1) ", ""),
            ("SELECT * FROM UNNEST([1]) ", ""),
            ("WITH c AS (SELECT 1) SELECT * FROM c ", ""),
            ("WITH c AS (SELECT 1) SELECT * FROM C ", " AS x"),
            ("WITH \"c\" AS (SELECT 1) SELECT * FROM c ", ""),
            (
                "WITH c AS (SELECT 1), d AS (SELECT * FROM c ",
                ") SELECT * FROM d",
            ),
            (
                "WITH c AS (SELECT 1) SELECT * FROM (SELECT * FROM c ",
                ") AS s",
            ),
            (
                "WITH RECURSIVE c AS (SELECT 1 UNION ALL SELECT * FROM c ",
                ") SELECT * FROM c",
            ),
            // Not where a relation is.
            ("SELECT * FROM t AS x ", ""),
            ("SELECT * FROM t WHERE a = 1 ", ""),
            ("SELECT * ", " FROM t"),
        ] {
            refused(&format!("{before}{clause}{after}"));
        }
    }
}

#[test]
fn a_clause_that_says_nothing_constant_is_refused() {
    for clause in [
        "VERSION AS OF",
        "VERSION AS OF -1",
        "VERSION AS OF 1.5",
        "VERSION AS OF 99999999999999999999999",
        "VERSION AS OF (SELECT 1)",
        "VERSION AS OF $1",
        "VERSION AS OF ?",
        "VERSION AS OF ''",
        "VERSION AS OF 'a@b'",
        "VERSION AS OF 'a\"b'",
        "VERSION AS OF 'a$b'",
        "VERSION AS OF 'a\nb'",
        "TIMESTAMP AS OF 'main'",
        "TIMESTAMP AS OF ''",
        "TIMESTAMP AS OF 5",
        "TIMESTAMP AS OF NULL",
        "TIMESTAMP AS OF $1",
        "TIMESTAMP AS OF a",
        "TIMESTAMP AS OF t.a",
        "TIMESTAMP AS OF random()",
        "TIMESTAMP AS OF (SELECT max(ts) FROM u)",
        "TIMESTAMP AS OF interval '1 day'",
        "FOR SYSTEM_TIME AS OF 'main'",
        "FOR SYSTEM_TIME BETWEEN '2025-01-01' AND '2026-01-01'",
        "FOR SYSTEM_TIME ALL",
        "AS OF ''",
        "AT ()",
        "AT (42)",
        "AT ('dev')",
        "AT (VERSION => 1, VERSION => 2)",
        "AT (VERSION = 1)",
        "AT (VERSION := 1)",
        "AT (OFFSET => 60)",
        "AT (OFFSET => 'x')",
        "AT (STREAM => 's')",
        "AT (STATEMENT => 'q')",
        "AT (TAG => 1 + 1)",
        "BEFORE (STATEMENT => 'q')",
        "BEFORE (VERSION => 1)",
        "CHANGES (INFORMATION => DEFAULT) AT (VERSION => 1)",
        "VERSION AS OF 1 VERSION AS OF 2",
    ] {
        refused(&format!("SELECT * FROM t {clause}"));
    }
    refused("SELECT * FROM \"t@dev\" VERSION AS OF 1");
    refused("SELECT * FROM t@dev VERSION AS OF 1");
    refused("SELECT * FROM udr_at('t')");
    refused("SELECT * FROM udr_at(t, 'x')");
    refused("SELECT * FROM udr_at('t@dev', 'x')");
    refused("SELECT * FROM udr_at('t', 'a@b')");
}

#[test]
fn a_view_keeps_no_moment_that_was_computed() {
    refused("CREATE VIEW v AS SELECT * FROM t TIMESTAMP AS OF now()");
    refused("CREATE VIEW v AS SELECT * FROM t AT (OFFSET => -5)");
    refused("PREPARE p AS SELECT * FROM t TIMESTAMP AS OF now()");
    becomes(
        "CREATE VIEW v AS SELECT * FROM t TIMESTAMP AS OF '2026-01-31'",
        "CREATE VIEW v AS SELECT * FROM \"t@2026-01-31T00:00:00Z\" AS t",
    );
}

#[test]
fn errors_say_where_a_clause_belongs() {
    let error = lifted("SELECT * FROM (SELECT 1) VERSION AS OF 3")
        .unwrap_err()
        .to_string();
    assert!(
        error.contains("directly after the name of a table"),
        "{error}"
    );
    let error = lifted("DELETE FROM t VERSION AS OF 3")
        .unwrap_err()
        .to_string();
    assert!(error.contains("newest version"), "{error}");
    let error = lifted("SELECT version AS OF FROM t WHERE")
        .unwrap_err()
        .to_string();
    assert!(!error.contains("version clause"), "{error}");
}

#[test]
fn long_chains_are_walked() {
    let sum = vec!["1"; 3_000].join(" + ");
    assert!(lifted(&format!("SELECT {sum} FROM t VERSION AS OF 1")).is_ok());
}
