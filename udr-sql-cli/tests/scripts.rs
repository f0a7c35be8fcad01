//! Several statements: their order, the first error, and what a transaction leaves behind.

use crate::udr::Udr;

#[test]
fn commands_and_files_run_in_the_order_given() {
    let udr = Udr::new();
    udr.file("two.sql", "-- the second\nSELECT\n  2 AS n;\n");
    let ran = udr
        .run(&[
            "--format",
            "csv",
            "-c",
            "SELECT 1 AS n",
            "-f",
            "two.sql",
            "-c",
            "SELECT 3 AS n",
        ])
        .ok();
    assert_eq!(ran.out, "n\n1\nn\n2\nn\n3\n");
}

#[test]
fn the_first_error_stops_everything_and_says_where() {
    let udr = Udr::new();
    udr.file(
        "bad.sql",
        "SELECT 1 AS n;\n\nSELECT\n nope;\nSELECT 2 AS n;\n",
    );
    let ran = udr
        .run(&["--format", "csv", "-f", "bad.sql", "-c", "SELECT 3 AS n"])
        .failed(1);
    assert_eq!(ran.out, "n\n1\n");
    assert!(ran.err.contains("at: bad.sql, line 3"), "{}", ran.err);
}

#[test]
fn standard_input_is_a_script() {
    let udr = Udr::new();
    let ran = udr
        .run_with(&["--format", "csv"], "SELECT ';' AS s; SELECT 2\n AS n")
        .ok();
    assert_eq!(ran.out, "s\n;\nn\n2\n");
    let ran = udr.run_with(&["-f", "-"], "SELECT nope").failed(1);
    assert!(
        ran.err.contains("at: standard input, line 1"),
        "{}",
        ran.err
    );
}

#[test]
fn backslash_commands_work_in_scripts() {
    let udr = Udr::new();
    udr.file("inner.sql", "SELECT 1 AS n;");
    let ran = udr
        .run_with(&[], "\\format csv\n\\i inner.sql\n\\q\nSELECT 2 AS n;\n")
        .ok();
    assert_eq!(ran.out, "n\n1\n");
    udr.file("loop.sql", "\\i loop.sql\n");
    udr.run(&["-f", "loop.sql"]).failed(2);
    let ran = udr.run(&["-c", "\\nope"]).failed(2);
    assert!(ran.err.contains("\\? lists the commands"), "{}", ran.err);
}

#[test]
fn an_open_transaction_is_rolled_back_and_said_so() {
    let udr = Udr::new();
    udr.lake(&["CREATE TABLE t (id BIGINT)"]).ok();
    let ran = udr
        .lake(&[
            "BEGIN",
            "INSERT INTO t VALUES (1)",
            "SELECT count(*) AS n FROM t",
        ])
        .failed(1);
    assert!(ran.out.contains("| 1 |"), "{}", ran.out);
    assert!(
        ran.err.contains("the open transaction was rolled back"),
        "{}",
        ran.err
    );
    let ran = udr.lake(&["SELECT count(*) AS n FROM t"]).ok();
    assert!(ran.out.contains("| 0 |"), "{}", ran.out);
    assert!(!ran.err.contains("rolled back"), "{}", ran.err);
    // Lost changes are told even to those who want to hear nothing.
    let ran = udr
        .run(&[
            "-q",
            "--repo",
            "lake",
            "-c",
            "BEGIN; INSERT INTO t VALUES (1)",
        ])
        .failed(1);
    assert!(ran.err.contains("its changes are gone"), "{}", ran.err);
    let ran = udr.run(&["-q", "--repo", "lake", "-c", "BEGIN"]).ok();
    assert_eq!(ran.err, "");
}

#[test]
fn an_error_inside_a_transaction_leaves_nothing() {
    let udr = Udr::new();
    udr.lake(&[
        "CREATE TABLE t (id BIGINT NOT NULL)",
        "CREATE TABLE u (id BIGINT NOT NULL)",
    ])
    .ok();
    let ran = udr
        .lake(&["BEGIN; INSERT INTO t VALUES (1); INSERT INTO u VALUES (NULL); COMMIT"])
        .failed(1);
    assert!(ran.err.contains("rolled back"), "{}", ran.err);
    let ran = udr.lake(&["SELECT count(*) AS n FROM t"]).ok();
    assert!(ran.out.contains("| 0 |"), "{}", ran.out);
}

#[test]
fn a_repository_is_made_once_and_stays() {
    let udr = Udr::new();
    let ran = udr.lake(&["CREATE TABLE t AS SELECT 7 AS id"]).ok();
    assert!(ran.err.contains("made a repository at"), "{}", ran.err);
    let ran = udr.lake(&["SELECT id FROM t"]).ok();
    assert!(ran.out.contains("|  7 |"), "{}", ran.out);
    assert_eq!(ran.err, "");
    let output = udr
        .command(&["-c", "SELECT id FROM t"])
        .env("UDR_REPO", udr.home().join("lake"))
        .output()
        .unwrap();
    assert!(output.status.success());
}

#[test]
fn branch_and_author_are_options() {
    let udr = Udr::new();
    udr.lake(&["CREATE TABLE t AS SELECT 1 AS id", "CREATE BRANCH dev"])
        .ok();
    udr.run(&[
        "--repo",
        "lake",
        "--branch",
        "dev",
        "--author",
        "Ada",
        "-c",
        "INSERT INTO t VALUES (2)",
    ])
    .ok();
    let ran = udr
        .lake(&[
            "SELECT count(*) AS n FROM t",
            "USE BRANCH dev",
            "SHOW LOG LIMIT 1",
        ])
        .ok();
    assert!(ran.out.contains("| 1 |"), "{}", ran.out);
    assert!(ran.out.contains("Ada"), "{}", ran.out);
}

#[test]
fn nothing_to_run_is_fine() {
    let udr = Udr::new();
    let ran = udr.run_with(&[], "  -- only a comment\n").ok();
    assert_eq!(ran.out, "");
}

#[test]
fn backslash_commands_are_short_for_sql() {
    let udr = Udr::new();
    udr.lake(&[
        "CREATE TABLE t (id BIGINT NOT NULL)",
        "CREATE BRANCH dev",
        "CREATE TAG v1",
    ])
    .ok();
    for (command, sql) in [
        (r"\d", "SHOW TABLES"),
        (r"\d t", "DESCRIBE t"),
        (r"\log", "SHOW LOG"),
        (r"\l", "SHOW BRANCHES; SHOW TAGS"),
        (r"\branch dev", "USE BRANCH dev"),
    ] {
        let short = udr.lake(&[command]).ok();
        let long = udr.lake(&[sql]).ok();
        assert_eq!((short.out, short.err), (long.out, long.err), "{command}");
    }
}

#[test]
fn an_error_shows_the_place_in_the_statement() {
    let udr = Udr::new();
    let ran = udr
        .run(&["-c", "CREATE TABLE t (id BIGINT); SELECT id, nope FROM t"])
        .failed(1);
    assert!(
        ran.err
            .contains("\n    SELECT id, nope FROM t\n               ^^^^\n"),
        "{}",
        ran.err
    );
}

#[test]
fn a_dry_run_is_a_result() {
    let udr = Udr::new();
    udr.lake(&[
        "CREATE BRANCH dev",
        "USE BRANCH dev",
        "CREATE TABLE t (id BIGINT)",
    ])
    .ok();
    let ran = udr.lake(&["MERGE BRANCH dev INTO main DRY RUN"]).ok();
    assert!(ran.out.contains("| result"), "{}", ran.out);
}

#[test]
fn commits_have_an_author_without_a_user() {
    let udr = Udr::new();
    let author = |set: &[(&str, &str)], arguments: &[&str]| {
        let sql = "CREATE OR REPLACE TABLE t AS SELECT 1 AS id";
        let log = "SELECT author FROM udr.log ORDER BY version DESC LIMIT 1";
        let all = [arguments, &["--format", "csv", "-q", "-c", sql, "-c", log]].concat();
        let mut command = udr.command(&all);
        command.env_remove("USER").env_remove("LOGNAME");
        command.envs(set.iter().copied());
        let output = command.output().unwrap();
        assert!(output.status.success(), "{output:?}");
        let text = String::from_utf8(output.stdout).unwrap();
        text.lines().last().unwrap().to_owned()
    };
    assert_ne!(author(&[], &[]), "unknown");
    let variables = [("USER", "login"), ("UDR_AUTHOR", "Ada")];
    assert_eq!(author(&variables[..1], &[]), "login");
    assert_eq!(author(&variables, &[]), "Ada");
    assert_eq!(author(&variables, &["--author", "Grace"]), "Grace");
}

#[test]
fn comments_stand_before_commands_and_after_statements() {
    let udr = Udr::new();
    let script = "-- as a table for machines\n\\format csv\nSELECT 1 AS n; -- first\n\\format ndjson\n/* and\n again */ SELECT 2 AS n; -- last\n";
    let ran = udr.run_with(&[], script).ok();
    assert_eq!(ran.out, "n\n1\n{\"n\":2}\n");
}

#[test]
fn line_breaks_inside_strings_are_kept_as_they_are() {
    let udr = Udr::new();
    let sql = "SELECT octet_length('a\r\nb\r\n') AS n;\r\n";
    udr.file("windows.sql", sql);
    for ran in [
        udr.run(&["--format", "csv", "-f", "windows.sql"]),
        udr.run(&["--format", "csv", "-c", sql]),
        udr.run_with(&["--format", "csv"], sql),
    ] {
        assert_eq!(ran.ok().out, "n\n6\n");
    }
}

#[test]
fn text_that_is_no_sql_says_in_which_file() {
    let udr = Udr::new();
    udr.file("bad.sql", "SELECT 1 AS n;\nSELECT U&'\\zzzz';\n");
    let ran = udr.run(&["-f", "bad.sql"]).failed(1);
    assert!(ran.err.contains("at: bad.sql, line 2"), "{}", ran.err);
}

#[test]
fn what_is_asked_for_is_answered_even_quietly() {
    let udr = Udr::new();
    for (command, answer) in [
        ("\\?", "this list"),
        ("\\branch", "main"),
        ("\\format", "table"),
        ("\\rows", "rows shown"),
    ] {
        let ran = udr.run(&["-q", "-c", command]).ok();
        assert!(ran.err.contains(answer), "{command}: {}", ran.err);
    }
}

#[test]
fn what_a_statement_returns_is_a_result_of_its_call() {
    let udr = Udr::new();
    let ran = udr
        .run(&[
            "--format",
            "csv",
            "-c",
            "BEGIN; CREATE TABLE t (id BIGINT)",
            "-c",
            "SELECT result, version, length(commit_id) AS digits FROM udr_call('COMMIT')",
        ])
        .ok();
    assert_eq!(ran.out, "result,version,digits\ncommitted,1,64\n");
}

#[test]
fn a_script_that_keeps_going_ends_with_its_first_failure() {
    let udr = Udr::new();
    let script = "SELECT nope;\nSELECT 1 AS one;\nSELECT * FROM missing;\nSELECT 2 AS two;\n";
    let ran = udr
        .run_with(&["--keep-going", "--format", "csv", "-q"], script)
        .failed(1);
    assert_eq!(ran.out, "one\n1\ntwo\n2\n");
    assert_eq!(ran.err.matches("error[UDR-").count(), 2, "{}", ran.err);
    let ran = udr.run_with(&["--format", "csv", "-q"], script).failed(1);
    assert_eq!(ran.out, "");
    let ran = udr.run_with(&["--keep-going", "-q"], "SELECT 1;").ok();
    assert!(ran.err.is_empty(), "{}", ran.err);
}

#[test]
fn rows_that_a_change_returns_are_its_result() {
    let udr = Udr::new();
    udr.lake(&["CREATE TABLE t (id BIGINT, name TEXT)"]).ok();
    let ran = udr
        .run(&[
            "--repo",
            "lake",
            "--format",
            "csv",
            "-c",
            "INSERT INTO t VALUES (1, 'a'), (2, 'b') RETURNING name, id",
        ])
        .ok();
    assert_eq!(ran.out, "name,id\na,1\nb,2\n");
}
