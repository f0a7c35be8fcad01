use datafusion::common::TableReference;

use udr_core::txn::Isolation;

use super::super::ast::{Access, Command, Effect, Existing, Missing, RefKind, StateName};
use super::*;

fn command(sql: &str) -> Command {
    match parse(sql, ParseOptions::default()) {
        Ok(Statement::Command(command)) => command,
        other => panic!("{sql}: {other:?}"),
    }
}

fn is_left_to_datafusion(sql: &str) -> bool {
    matches!(parse(sql, ParseOptions::default()), Ok(Statement::Sql(_)))
}

#[track_caller]
fn refused(sql: &str, sign: &str) {
    match parse(sql, ParseOptions::default()) {
        Ok(statement) => panic!("{sql}: accepted as {statement:?}"),
        Err(error) => assert!(error.to_string().contains(sign), "{sql}: {error}"),
    }
}

fn text(text: &str) -> Option<String> {
    Some(text.to_owned())
}

fn state(revision: &str) -> Option<StateName> {
    Some(StateName {
        kind: None,
        revision: revision.to_owned(),
    })
}

#[test]
fn transactions_start_in_every_spelling() {
    let plain = Command::Begin {
        access: Access::ReadWrite,
        isolation: Isolation::Snapshot,
        as_of: None,
    };
    for sql in [
        "BEGIN",
        "begin;",
        "BEGIN TRANSACTION",
        "BEGIN WORK",
        "START TRANSACTION",
        "START TRANSACTION READ WRITE",
        "BEGIN ISOLATION LEVEL SNAPSHOT, READ WRITE",
        "BEGIN ISOLATION LEVEL REPEATABLE READ",
        "/* now */ BEGIN -- a transaction",
    ] {
        assert_eq!(command(sql), plain, "{sql}");
    }
    let read_only = |as_of| Command::Begin {
        access: Access::ReadOnly,
        isolation: Isolation::Snapshot,
        as_of,
    };
    assert_eq!(command("BEGIN READ ONLY"), read_only(None));
    assert_eq!(
        command("BEGIN READ ONLY AS OF 'main~2'"),
        read_only(state("main~2"))
    );
    assert_eq!(
        command("START TRANSACTION READ ONLY AS OF 42"),
        read_only(state("42"))
    );
    assert_eq!(
        command("BEGIN READ ONLY AS OF TIMESTAMP '2026-01-31 14:00:00+02:00'"),
        read_only(state("2026-01-31T12:00:00Z"))
    );
    refused("BEGIN AS OF 'x'", "Expected: READ ONLY");
    refused("BEGIN READ ONLY READ WRITE", "Expected");
    refused("BEGIN ATOMIC", "Expected");
    let serializable = Command::Begin {
        access: Access::ReadWrite,
        isolation: Isolation::Serializable,
        as_of: None,
    };
    assert_eq!(
        command("BEGIN ISOLATION LEVEL SERIALIZABLE, READ WRITE"),
        serializable
    );
    refused(
        "BEGIN ISOLATION LEVEL SERIALIZABLE ISOLATION LEVEL SNAPSHOT",
        "Expected",
    );
    refused("BEGIN ISOLATION LEVEL CHAOS", "an isolation level");
    refused(
        "BEGIN READ ONLY AS OF TIMESTAMP 'soon'",
        "not a point in time",
    );
}

#[test]
fn transactions_end_in_every_spelling() {
    for sql in [
        "COMMIT",
        "COMMIT WORK",
        "END",
        "END TRANSACTION",
        "COMMIT AND NO CHAIN",
    ] {
        assert_eq!(command(sql), Command::Commit { message: None }, "{sql}");
    }
    for (sql, message) in [
        ("COMMIT MESSAGE 'it''s done; really'", "it's done; really"),
        ("COMMIT WITH MESSAGE ''", ""),
        ("END MESSAGE E'two\\nlines'", "two\nlines"),
        ("COMMIT MESSAGE $$a 'b' c$$", "a 'b' c"),
    ] {
        assert_eq!(
            command(sql),
            Command::Commit {
                message: text(message)
            },
            "{sql}"
        );
    }
    refused("COMMIT MESSAGE done", "Expected: a message");
    refused("COMMIT AND CHAIN", "AND CHAIN");
    for sql in [
        "ROLLBACK",
        "ROLLBACK WORK",
        "ABORT",
        "ROLLBACK AND NO CHAIN",
    ] {
        assert_eq!(command(sql), Command::Rollback, "{sql}");
    }
    assert_eq!(command("SAVEPOINT Here"), Command::Savepoint("here".into()));
    assert_eq!(
        command("SAVEPOINT \"Here\""),
        Command::Savepoint("Here".into())
    );
    assert_eq!(
        command("ROLLBACK TO SAVEPOINT s"),
        Command::RollbackTo("s".into())
    );
    assert_eq!(command("ROLLBACK TO s"), Command::RollbackTo("s".into()));
    assert_eq!(command("RELEASE SAVEPOINT s"), Command::Release("s".into()));
    assert_eq!(command("RELEASE s"), Command::Release("s".into()));
    refused("SAVEPOINT", "found: EOF");
    refused("ROLLBACK TO", "found: EOF");
}

#[test]
fn refs_are_named_by_words_quoted_names_and_strings() {
    let branch = |name: &str, from: Option<&str>| Command::CreateRef {
        kind: RefKind::Branch,
        name: name.to_owned(),
        from: from.and_then(state),
        existing: Existing::Refuse,
    };
    for (sql, name, from) in [
        ("CREATE BRANCH dev", "dev", None),
        ("CREATE BRANCH Dev", "Dev", None),
        ("CREATE BRANCH 'dev'", "dev", None),
        ("CREATE BRANCH \"dev\"", "dev", None),
        ("CREATE BRANCH `dev`", "dev", None),
        (
            "CREATE BRANCH feature/prices-2 FROM main~2",
            "feature/prices-2",
            Some("main~2"),
        ),
        ("CREATE BRANCH v1.2 FROM HEAD", "v1.2", Some("HEAD")),
        ("CREATE BRANCH b FROM 'main'", "b", Some("main")),
        ("CREATE BRANCH b FROM \"main\"", "b", Some("main")),
        ("CREATE BRANCH b FROM 42", "b", Some("42")),
        ("CREATE BRANCH b FROM 42~1", "b", Some("42~1")),
        ("CREATE BRANCH b FROM 3f2a91", "b", Some("3f2a91")),
        ("CREATE BRANCH b FROM 3e10ab", "b", Some("3e10ab")),
        (
            "CREATE BRANCH b FROM 2026-01-31T12:00:00Z",
            "b",
            Some("2026-01-31T12:00:00Z"),
        ),
        ("CREATE BRANCH b FROM VERSION 42", "b", Some("42")),
        (
            "CREATE BRANCH b AS OF '2026-01-31'",
            "b",
            Some("2026-01-31"),
        ),
        ("CREATE BRANCH b AS OF VERSION 3", "b", Some("3")),
        ("CREATE BRANCH b FROM branch", "b", Some("branch")),
    ] {
        assert_eq!(command(sql), branch(name, from), "{sql}");
    }
}

#[test]
fn what_a_state_is_said_to_be_is_kept() {
    for (sql, kind) in [
        ("BEGIN READ ONLY AS OF TAG v1", Some(RefKind::Tag)),
        ("BEGIN READ ONLY AS OF BRANCH 'v1'", Some(RefKind::Branch)),
        ("BEGIN READ ONLY AS OF VERSION v1", None),
        ("BEGIN READ ONLY AS OF v1", None),
    ] {
        let expected = Command::Begin {
            access: Access::ReadOnly,
            isolation: Isolation::Snapshot,
            as_of: Some(StateName {
                kind,
                revision: "v1".to_owned(),
            }),
        };
        assert_eq!(command(sql), expected, "{sql}");
    }
}

#[test]
fn refs_are_kept_dropped_and_refused() {
    assert_eq!(
        command("CREATE TAG IF NOT EXISTS v1 FROM dev;"),
        Command::CreateRef {
            kind: RefKind::Tag,
            name: "v1".into(),
            from: state("dev"),
            existing: Existing::Keep,
        }
    );
    assert_eq!(
        command("DROP BRANCH IF EXISTS dev"),
        Command::DropRef {
            kind: RefKind::Branch,
            name: "dev".into(),
            missing: Missing::Ignore
        }
    );
    assert_eq!(
        command("DROP TAG v1"),
        Command::DropRef {
            kind: RefKind::Tag,
            name: "v1".into(),
            missing: Missing::Refuse
        }
    );
    refused("CREATE BRANCH", "a branch's name");
    refused("CREATE BRANCH a b", "end of statement");
    refused("CREATE BRANCH a RETAIN 7 DAYS", "end of statement");
    refused("CREATE BRANCH a FROM", "a revision");
    refused("CREATE OR REPLACE BRANCH a", "not replaced");
    refused("DROP TAG ;", "a tag's name");
    refused("DROP BRANCH a, b", "end of statement");
}

#[test]
fn branches_are_used_and_merged() {
    assert_eq!(command("USE BRANCH dev"), Command::UseBranch("dev".into()));
    assert_eq!(
        command("SET udr.branch = 'dev'"),
        Command::UseBranch("dev".into())
    );
    assert_eq!(
        command("SET udr.branch TO feature/x"),
        Command::UseBranch("feature/x".into())
    );
    refused("USE dev", "USE BRANCH");
    let merge = |target: Option<&str>, effect| Command::MergeBranch {
        source: "dev".into(),
        target: target.map(ToOwned::to_owned),
        effect,
    };
    assert_eq!(command("MERGE BRANCH dev"), merge(None, Effect::Apply));
    assert_eq!(
        command("MERGE BRANCH dev INTO main"),
        merge(Some("main"), Effect::Apply)
    );
    assert_eq!(
        command("MERGE BRANCH 'dev' INTO main DRY RUN"),
        merge(Some("main"), Effect::DryRun)
    );
    assert_eq!(
        command("MERGE BRANCH dev DRY RUN"),
        merge(None, Effect::DryRun)
    );
    refused("MERGE BRANCH dev INTO", "a branch's name");
    refused("MERGE BRANCH dev INTO main NOW", "end of statement");
    let merge_rows = "USING s ON branch.a = s.a WHEN MATCHED THEN DELETE";
    assert!(is_left_to_datafusion(&format!("MERGE branch {merge_rows}")));
    assert!(is_left_to_datafusion(&format!(
        "MERGE INTO branch {merge_rows}"
    )));
}

#[test]
fn what_there_is_is_shown() {
    assert_eq!(command("SHOW BRANCHES"), Command::ShowRefs(RefKind::Branch));
    assert_eq!(command("show tags;"), Command::ShowRefs(RefKind::Tag));
    assert_eq!(command("SHOW STATUS"), Command::ShowStatus);
    let log = |branch: Option<&str>, limit| Command::ShowLog {
        branch: branch.map(ToOwned::to_owned),
        limit,
    };
    assert_eq!(command("SHOW LOG"), log(None, None));
    assert_eq!(command("SHOW LOG LIMIT 3"), log(None, Some(3)));
    assert_eq!(
        command("SHOW LOG ON dev LIMIT 3"),
        log(Some("dev"), Some(3))
    );
    assert_eq!(
        command("SHOW LOG LIMIT 3 FOR BRANCH dev"),
        log(Some("dev"), Some(3))
    );
    assert_eq!(
        command("SHOW REFLOG ON 'dev'"),
        Command::ShowReflog {
            branch: text("dev"),
            limit: None
        }
    );
    let tables = |namespace: Option<&str>, as_of: Option<&str>| Command::ShowTables {
        namespace: namespace.map(ToOwned::to_owned),
        as_of: as_of.and_then(state),
    };
    assert_eq!(command("SHOW TABLES"), tables(None, None));
    assert_eq!(
        command("SHOW TABLES FROM Sales"),
        tables(Some("sales"), None)
    );
    assert_eq!(
        command("SHOW TABLES IN \"Sales\" AS OF main~2"),
        tables(Some("Sales"), Some("main~2"))
    );
    assert_eq!(
        command("DESCRIBE HISTORY a.T LIMIT 5"),
        Command::DescribeHistory {
            table: TableReference::partial("a", "t"),
            limit: Some(5)
        }
    );
    assert_eq!(
        command("DESC HISTORY \"T\""),
        Command::DescribeHistory {
            table: TableReference::bare("T"),
            limit: None
        }
    );
    refused("SHOW LOG LIMIT x", "a number");
    refused("SHOW LOG LIMIT -1", "a number");
    refused("SHOW LOG LIMIT 1 LIMIT 2", "end of statement");
    refused("DESCRIBE HISTORY a.b.c.d", "at most three parts");
    for sql in [
        "SHOW COLUMNS FROM t",
        "SHOW ALL",
        "DESCRIBE history",
        "DESCRIBE t",
    ] {
        assert!(is_left_to_datafusion(sql), "{sql}");
    }
}

#[test]
fn the_session_is_pinned_and_released() {
    assert_eq!(
        command("SET udr.as_of = 'main~2'"),
        Command::SetAsOf(text("main~2"))
    );
    assert_eq!(command("SET UDR.AS_OF TO 42"), Command::SetAsOf(text("42")));
    assert_eq!(command("SET udr.as_of = DEFAULT"), Command::SetAsOf(None));
    assert_eq!(command("RESET udr.as_of"), Command::SetAsOf(None));
    let ada = Command::SetAuthor(text("Ada Lovelace <ada@example.org>"));
    assert_eq!(
        command("SET udr.author = 'Ada Lovelace <ada@example.org>'"),
        ada
    );
    assert_eq!(command("RESET udr.author"), Command::SetAuthor(None));
    assert_eq!(
        command("SET udr.author TO DEFAULT"),
        Command::SetAuthor(None)
    );
    refused("SET udr.author = ada", "as text");
    refused("SET udr.as_of", "= or TO");
    refused("RESET udr.branch", "always has a branch");
    assert!(is_left_to_datafusion(
        "SET datafusion.execution.batch_size = 10"
    ));
    assert!(is_left_to_datafusion(
        "RESET datafusion.execution.batch_size"
    ));
    assert!(is_left_to_datafusion("SET udr.other = 1"));
}

#[test]
fn all_else_is_datafusions() {
    for sql in [
        "SELECT 1",
        "CREATE TABLE branch (tag INT)",
        "CREATE SCHEMA tag",
        "DROP TABLE IF EXISTS branch",
        "INSERT OVERWRITE t SELECT 1",
        "COPY t TO 'x.parquet'",
        "EXPLAIN ANALYZE SELECT 1",
        "CREATE OR REPLACE VIEW v AS SELECT 1",
        "CREATE EXTERNAL TABLE t STORED AS CSV LOCATION 'x'",
    ] {
        assert!(is_left_to_datafusion(sql), "{sql}");
    }
    refused("", "No SQL statements");
    refused(" ;; -- nothing", "No SQL statements");
    refused("SELECT 1; SELECT 2", "single SQL statement");
    refused("BEGIN; COMMIT", "single SQL statement");
    refused("FROBNICATE t", "SQL error");
    refused("SELECT 'open", "Unterminated");
}

/// The stack is what a thread of the runtime has.
#[test]
fn nesting_is_refused_before_the_stack_ends() {
    let deep = |open: &str, inner: &str, close: &str| {
        format!(
            "SELECT {}{inner}{}",
            open.repeat(5_000),
            close.repeat(5_000)
        )
    };
    for sql in [
        deep("(", "1", ")"),
        deep("[", "1", "]"),
        deep("f(", "1", ")"),
        deep("(SELECT ", "1", ")"),
        deep("CASE WHEN true THEN ", "1", " END"),
        deep("NOT ", "true", ""),
        deep("- ", "1", ""),
        format!("SELECT * FROM {}t{}", "(".repeat(5_000), ")".repeat(5_000)),
        format!(
            "SELECT * FROM {}t{}",
            "(SELECT * FROM ".repeat(5_000),
            ") x".repeat(5_000)
        ),
        format!("{}SELECT 1", "EXPLAIN ".repeat(5_000)),
        format!("{}SELECT 1", "EXPLAIN VERBOSE ".repeat(5_000)),
        format!("{}SELECT 1", "PREPARE p AS ".repeat(5_000)),
        format!(
            "{}SELECT 1{}",
            "WITH a AS (".repeat(5_000),
            ") SELECT 1".repeat(5_000)
        ),
    ] {
        let head = sql.chars().take(60).collect::<String>();
        assert!(parse(&sql, ParseOptions::default()).is_err(), "{head}");
    }
}
