//! The SQL files of the workspace's tests, run through the program: a `connection` is a process.
//!
//! Rows are read from CSV, so there are no types to compare, and what a statement that acts returns
//! is not there: such a query is run as a statement. What cannot hold for a script is marked
//! `skipif command` in the files.

use std::fmt;
use std::io::{BufRead as _, BufReader, PipeReader, Write as _};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin};

use sqllogictest::{
    DB, DBOutput, DefaultColumnType, QueryExpect, Record, Runner, StatementExpect, parse_file,
};

use crate::udr::Udr;

/// One session: a process that goes on after errors.
struct Session {
    child: Child,
    input: Option<ChildStdin>,
    output: BufReader<PipeReader>,
    statements: usize,
}

/// What the program says of a statement, on one line.
#[derive(Debug)]
struct Said(String);

impl fmt::Display for Said {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for Said {}

impl Session {
    fn new(udr: &Udr) -> Self {
        // Errors and results through one pipe, so that they stay in order.
        let (output, both) = std::io::pipe().unwrap();
        let arguments = ["--repo", "lake", "--durability", "none", "--format", "csv"];
        let mut child = udr
            .command(&arguments)
            .args(["--quiet", "--keep-going"])
            .stdin(std::process::Stdio::piped())
            .stdout(both.try_clone().unwrap())
            .stderr(both)
            .spawn()
            .unwrap();
        Self {
            input: child.stdin.take(),
            child,
            output: BufReader::new(output),
            statements: 0,
        }
    }

    /// Everything that a statement writes.
    fn answer(&mut self, sql: &str) -> String {
        self.statements += 1;
        let mark = format!("mark {}", self.statements);
        let input = self.input.as_mut().unwrap();
        // The mark comes last.
        write!(input, "{sql}\n;\nSELECT '{mark}' AS \"the mark\";\n").unwrap();
        input.flush().unwrap();
        let end = format!("the mark\n{mark}\n");
        let mut text = String::new();
        while !text.ends_with(&end) {
            let read = self.output.read_line(&mut text).unwrap();
            assert!(read > 0, "the program ended after `{sql}`: {text}");
        }
        text.truncate(text.len() - end.len());
        text
    }
}

impl DB for Session {
    type Error = Said;
    type ColumnType = DefaultColumnType;

    fn run(&mut self, sql: &str) -> Result<DBOutput<DefaultColumnType>, Said> {
        let answer = self.answer(sql);
        if answer.starts_with("error[UDR-") {
            return Err(Said(answer.lines().collect::<Vec<_>>().join("; ")));
        }
        if answer.is_empty() {
            return Ok(DBOutput::StatementComplete(0));
        }
        let mut rows = csv(&answer);
        let header = rows.remove(0);
        Ok(DBOutput::Rows {
            types: vec![DefaultColumnType::Any; header.len()],
            rows,
        })
    }

    fn engine_name(&self) -> &'static str {
        "command"
    }
}

impl Drop for Session {
    fn drop(&mut self) {
        drop(self.input.take());
        drop(self.child.wait());
    }
}

/// The rows of a CSV text; NULL is `NULL`, an empty string `(empty)`.
fn csv(text: &str) -> Vec<Vec<String>> {
    let mut rows = vec![Vec::new()];
    let mut rest = text;
    while !rest.is_empty() {
        let (value, after) = value(rest);
        rows.last_mut().unwrap().push(value);
        rest = after.get(1..).unwrap_or("");
        if after.starts_with('\n') && !rest.is_empty() {
            rows.push(Vec::new());
        }
    }
    rows
}

/// The first value, and what follows from its separator on.
fn value(text: &str) -> (String, &str) {
    let Some(quoted) = text.strip_prefix('"') else {
        let (value, rest) = text.split_at(text.find([',', '\n']).unwrap_or(text.len()));
        let value = if value.is_empty() { "NULL" } else { value };
        return (value.to_owned(), rest);
    };
    let mut value = String::new();
    let mut rest = quoted;
    loop {
        let (part, after) = rest.split_once('"').unwrap();
        value.push_str(part);
        match after.strip_prefix('"') {
            Some(more) => {
                value.push('"');
                rest = more;
            }
            None if value.is_empty() => return ("(empty)".to_owned(), after),
            None => return (value, after),
        }
    }
}

/// Statements whose answer goes to standard error.
const ACTING: &[&str] = &[
    "ALTER", "COMMIT", "COPY", "CREATE", "DELETE", "DROP", "INSERT", "MERGE", "RESET", "ROLLBACK",
    "SET", "TRUNCATE", "UPDATE", "USE",
];

fn as_it_is_answered(record: Record<DefaultColumnType>) -> Record<DefaultColumnType> {
    let words = |sql: &str| -> Vec<String> {
        let words = sql.split(|c: char| !c.is_ascii_alphanumeric() && c != '_');
        words.map(str::to_ascii_uppercase).collect()
    };
    match record {
        Record::Query {
            loc,
            conditions,
            connection,
            sql,
            expected,
            retry,
        } if ACTING.contains(&words(&sql)[0].as_str())
            && !words(&sql).iter().any(|word| word == "RETURNING")
            && !words(&sql).windows(2).any(|two| two == ["DRY", "RUN"]) =>
        {
            Record::Statement {
                loc,
                conditions,
                connection,
                sql,
                expected: match expected {
                    QueryExpect::Error(error) => StatementExpect::Error(error),
                    QueryExpect::Results { .. } => StatementExpect::Ok,
                },
                retry,
            }
        }
        other => other,
    }
}

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/sql")
}

fn run(file: &str) {
    let udr = Udr::new();
    let records = parse_file::<DefaultColumnType>(folder().join(file)).unwrap();
    let mut runner = Runner::new(|| async { Ok(Session::new(&udr)) });
    let records = records.into_iter().map(as_it_is_answered);
    let ran = runner.run_multi(records);
    let failure = ran.err().map(|error| error.display(false).to_string());
    assert!(failure.is_none(), "{}", failure.unwrap_or_default());
    drop(runner);
    udr.run(&["fsck", "--data", "--repo", "lake"]).ok();
}

macro_rules! files {
    ($($name:ident)*) => {
        $(
            #[test]
            fn $name() {
                run(concat!(stringify!($name), ".slt"));
            }
        )*

        #[test]
        fn every_file_is_run() {
            let listed = [$(concat!(stringify!($name), ".slt")),*];
            let mut found: Vec<_> = std::fs::read_dir(folder())
                .unwrap()
                .map(|entry| entry.unwrap().file_name().into_string().unwrap())
                .collect();
            found.sort();
            assert_eq!(found, listed);
        }
    };
}

files! {
    branches
    changes
    conflicts
    constraints
    delete
    errors
    merge
    metadata
    replace_where
    returning
    show
    tables
    time_travel
    transactions
    truncate
    update
    update_from
    upsert
    version_clauses
    views
    writes
}

#[test]
fn values_of_a_csv_text_are_told_apart() {
    let text = "a,b\n,\"\"\n\"x \"\"y\"\",\nz\",1\n";
    let expected = [["a", "b"], ["NULL", "(empty)"], ["x \"y\",\nz", "1"]];
    assert_eq!(csv(text), expected);
}
