//! The prompt, on a terminal of its own.
#![cfg(unix)]

use std::os::unix::fs::PermissionsExt as _;

use rexpect::session::{PtySession, spawn_command};

use crate::udr::Udr;

const WAIT_MILLIS: u64 = 30_000;

fn start(udr: &Udr, arguments: &[&str]) -> PtySession {
    start_with(udr, arguments, &[("NO_COLOR", "1"), ("PAGER", "cat")])
}

/// A new terminal has no size, so it is given one before the program looks.
fn start_with(udr: &Udr, arguments: &[&str], environment: &[(&str, &str)]) -> PtySession {
    let program = udr.command(arguments);
    let mut command = std::process::Command::new("sh");
    command
        .args(["-c", "stty rows 24 cols 100; exec \"$0\" \"$@\""])
        .arg(program.get_program())
        .args(program.get_args())
        .current_dir(udr.home());
    for (name, value) in program.get_envs() {
        match value {
            Some(value) => command.env(name, value),
            None => command.env_remove(name),
        };
    }
    command
        .env("TERM", "xterm")
        .envs(environment.iter().copied());
    spawn_command(command, Some(WAIT_MILLIS)).unwrap()
}

#[test]
fn statements_span_lines_and_stay_in_the_history() {
    let udr = Udr::new();
    let mut session = start(&udr, &[]);
    session.exp_string("memory/main> ").unwrap();
    session.send_line("SELECT 40 +").unwrap();
    session.exp_string("         -> ").unwrap();
    session.send_line("2 AS answer;").unwrap();
    session.exp_string("|     42 |").unwrap();
    session.exp_string("(1 row, ").unwrap();
    session.exp_string("memory/main> ").unwrap();
    session.send_line("\\q").unwrap();
    session.exp_eof().unwrap();
    let history = udr.home().join(".local/state/udr/history");
    assert!(
        std::fs::read_to_string(&history)
            .unwrap()
            .contains("SELECT 40 +")
    );
    let mode = |path: &std::path::Path| path.metadata().unwrap().permissions().mode() & 0o777;
    assert_eq!(mode(&history), 0o600);
    assert_eq!(mode(history.parent().unwrap()), 0o700);
}

#[test]
fn the_prompt_shows_transactions_and_branches() {
    let udr = Udr::new();
    let mut session = start(&udr, &["--repo", "lake", "--durability", "none"]);
    session.exp_string("lake/main> ").unwrap();
    session.send_line("BEGIN;").unwrap();
    session.exp_string("lake/main+> ").unwrap();
    session.send_line("CREATE TABLE t (id BIGINT);").unwrap();
    session.exp_string("lake/main*> ").unwrap();
    session.send_line("COMMIT;").unwrap();
    session.exp_string("lake/main> ").unwrap();
    session.send_line("CREATE BRANCH dev;").unwrap();
    session.exp_string("lake/main> ").unwrap();
    session.send_line("\\branch dev").unwrap();
    session.exp_string("lake/dev> ").unwrap();
    session.send_line("SET udr.as_of = '1';").unwrap();
    session.exp_string("lake/dev@v1> ").unwrap();
    session.send_control('d').unwrap();
    session.exp_eof().unwrap();
}

#[test]
fn leaving_with_an_open_transaction_says_what_is_lost() {
    let udr = Udr::new();
    let mut session = start(&udr, &[]);
    session.exp_string("memory/main> ").unwrap();
    session
        .send_line("BEGIN; CREATE TABLE t (id BIGINT);")
        .unwrap();
    session.exp_string("memory/main*> ").unwrap();
    session.send_control('d').unwrap();
    session
        .exp_string("the open transaction was rolled back")
        .unwrap();
    session.exp_eof().unwrap();
}

#[test]
fn ctrl_c_cancels_the_statement_and_not_the_program() {
    let udr = Udr::new();
    // The sign of life is not drawn under `NO_COLOR`, so prompts are coloured here.
    let mut session = start_with(&udr, &[], &[("PAGER", "cat")]);
    session.exp_string("memory/main").unwrap();
    session.send_control('c').unwrap();
    session.exp_string("\\q or Ctrl-D leaves").unwrap();
    session.exp_string("memory/main").unwrap();
    session
        .send_line(
            "SELECT count(*) FROM generate_series(1, 1000000000000) AS s (v) WHERE v % 3 = 7;",
        )
        .unwrap();
    // The sign of life tells that it is running.
    session.exp_string("Ctrl-C cancels").unwrap();
    session.send_control('c').unwrap();
    session.exp_string("interrupted").unwrap();
    session.exp_string("memory/main").unwrap();
    session.send_line("SELECT 6 * 7 AS answer;").unwrap();
    session.exp_string("|     42 |").unwrap();
    session.send_line("\\q").unwrap();
    session.exp_eof().unwrap();
}

#[test]
fn an_error_does_not_end_the_prompt() {
    let udr = Udr::new();
    let mut session = start(&udr, &[]);
    session.exp_string("memory/main> ").unwrap();
    session.send_line("SELECT nope;").unwrap();
    session.exp_string("error[UDR-0400]").unwrap();
    session.exp_string("memory/main> ").unwrap();
    session.send_line("\\q").unwrap();
    session.exp_eof().unwrap();
}

#[test]
fn tab_completes_tables_and_keywords() {
    let udr = Udr::new();
    let mut session = start(&udr, &[]);
    session.exp_string("memory/main> ").unwrap();
    session
        .send_line("CREATE TABLE departures AS SELECT 5 AS delay_minutes;")
        .unwrap();
    session.exp_string("CREATE TABLE, 1 row (").unwrap();
    session.exp_string("memory/main> ").unwrap();
    session.send("SEL\t dela\t FROM depa\t;\n").unwrap();
    session.exp_string("| delay_minutes |").unwrap();
    session.send_line("\\q").unwrap();
    session.exp_eof().unwrap();
}

#[test]
fn long_results_are_cut_and_counted() {
    let udr = Udr::new();
    let mut session = start(&udr, &[]);
    session.exp_string("memory/main> ").unwrap();
    session.send_line("\\rows 2").unwrap();
    session.exp_string("rows shown: 2").unwrap();
    session
        .send_line("SELECT value FROM generate_series(1, 5000);")
        .unwrap();
    session
        .exp_string("2 of more than 2 rows are shown")
        .unwrap();
    session.exp_string("(more than 2 rows, ").unwrap();
    session.send_line("\\rows all").unwrap();
    session.exp_string("rows shown: all").unwrap();
    session
        .send_line("SELECT value FROM generate_series(1, 5000);")
        .unwrap();
    session.exp_string("(5,000 rows, ").unwrap();
    session.send_line("\\q").unwrap();
    session.exp_eof().unwrap();
}

#[test]
fn no_more_is_read_than_is_shown() {
    let udr = Udr::new();
    let mut session = start(&udr, &[]);
    session.exp_string("memory/main> ").unwrap();
    session.send_line("\\rows 2").unwrap();
    session.exp_string("rows shown: 2").unwrap();
    // Read to its end, this would take years.
    session
        .send_line("SELECT value FROM generate_series(1, 1000000000000000);")
        .unwrap();
    session.exp_string("(more than 2 rows, ").unwrap();
    session
        .send_line("SELECT value FROM generate_series(1, 2);")
        .unwrap();
    session.exp_string("(2 rows, ").unwrap();
    session.send_line("\\q").unwrap();
    session.exp_eof().unwrap();
}

#[test]
fn text_that_is_no_sql_is_an_error_and_not_forgotten() {
    let udr = Udr::new();
    let mut session = start(&udr, &[]);
    session.exp_string("memory/main> ").unwrap();
    session.send_line("SELECT U&'\\zzzz';").unwrap();
    session.exp_string("error[UDR-0400]").unwrap();
    session.exp_string("memory/main> ").unwrap();
    session.send_line("SELECT 42 AS answer; -- done").unwrap();
    session.exp_string("|     42 |").unwrap();
    session.send_line("\\q").unwrap();
    session.exp_eof().unwrap();
}

#[test]
fn without_its_pager_a_result_is_shown_all_the_same() {
    let udr = Udr::new();
    let pager = [("NO_COLOR", "1"), ("PAGER", "no-such-pager --at-all")];
    let mut session = start_with(&udr, &[], &pager);
    session.exp_string("memory/main> ").unwrap();
    for _ in 0..2 {
        session
            .send_line("SELECT 'row ' || value AS text FROM generate_series(1, 500);")
            .unwrap();
        session.exp_string("row 500").unwrap();
        session.exp_string("(500 rows, ").unwrap();
    }
    session.send_line("\\q").unwrap();
    session.exp_eof().unwrap();
}

#[test]
fn ctrl_c_in_the_pager_is_for_the_pager() {
    let udr = Udr::new();
    let waits = "sh -c 'trap \"echo caught\" INT; cat > /dev/null; echo shown; \
                 for i in 1 2 3 4 5; do sleep 2; done; echo left'";
    let mut session = start_with(&udr, &[], &[("NO_COLOR", "1"), ("PAGER", waits)]);
    session.exp_string("memory/main> ").unwrap();
    session
        .send_line("BEGIN; CREATE TABLE t (id BIGINT);")
        .unwrap();
    session.exp_string("memory/main*> ").unwrap();
    session
        .send_line("SELECT value FROM generate_series(1, 500);")
        .unwrap();
    session.exp_string("shown").unwrap();
    for _ in 0..4 {
        session.send_control('c').unwrap();
        session.exp_string("caught").unwrap();
    }
    session.exp_string("left").unwrap();
    session.exp_string("memory/main*> ").unwrap();
    session.send_line("COMMIT;").unwrap();
    session.exp_string("committed").unwrap();
    session.send_line("\\q").unwrap();
    session.exp_eof().unwrap();
}

#[test]
fn a_result_wider_than_the_screen_goes_through_the_pager() {
    let udr = Udr::new();
    let pager = [("NO_COLOR", "1"), ("PAGER", "sed s/x/paged-/")];
    let mut session = start_with(&udr, &[], &pager);
    session.exp_string("memory/main> ").unwrap();
    session
        .send_line("SELECT repeat('x', 300) AS wide;")
        .unwrap();
    session.exp_string("paged-").unwrap();
    session.send_line("\\q").unwrap();
    session.exp_eof().unwrap();
}
