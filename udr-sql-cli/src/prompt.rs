//! The prompt: ask, run, tell, ask again.
//!
//! In: a runner and a terminal. Out: the exit code. Called by `main`.

use std::sync::Arc;

use tokio::runtime::Runtime;
use udr_core::ErrorKind;
use udr_core::error::printable;

use crate::editor::{Editor, Line};
use crate::exit::{Exit, Failure, Stop};
use crate::run::Runner;
use crate::script::{Item, Script, Step, lines};
use crate::session::State;
use crate::tag::tag;

/// Runs until the person leaves.
///
/// # Errors
///
/// What the terminal says.
pub(crate) fn prompt(runtime: &Runtime, runner: &mut Runner) -> Result<Exit, Failure> {
    let terminal = |error: std::io::Error| {
        Failure::new(
            ErrorKind::Internal,
            format!("the terminal gives no line: {error}"),
        )
    };
    let session = Arc::clone(&runner.session);
    let (mut editor, trouble) =
        Editor::new(&runner.environment, session, runtime.handle().clone()).map_err(terminal)?;
    runner.console.notice(&format!(
        "udr {}: {}, branch {}; \\? helps, Ctrl-D leaves",
        env!("CARGO_PKG_VERSION"),
        runner.session.location(),
        runner.session.state().branch
    ));
    if let Some(trouble) = trouble {
        runner.console.notice(&trouble);
    }
    let mut script = Script::default();
    let mut text = String::new();
    loop {
        let first = label(runner.session.label(), &runner.session.state());
        let prompt = if script.is_empty() {
            first
        } else {
            continuation(&first)
        };
        match editor.line(&prompt).map_err(terminal)? {
            Line::End => return Ok(Exit::Done),
            Line::Interrupted { typed } => {
                if !typed && script.is_empty() {
                    runner.console.notice("\\q or Ctrl-D leaves");
                }
                script = Script::default();
                text.clear();
            }
            Line::Text(line) => {
                text.push_str(&line);
                text.push('\n');
                let (items, failure) = push(&mut script, &line);
                if script.is_empty() {
                    editor.remember(&text);
                    text.clear();
                }
                let stop = run(runtime, runner, &items);
                if let Some(failure) = failure {
                    runner.console.failure(&failure);
                }
                editor.forget_names();
                if let Err(Stop::Quit) = stop {
                    return Ok(Exit::Done);
                }
            }
        }
    }
}

/// Gives a typed or pasted text to the script, line by line, up to what cannot be cut.
fn push(script: &mut Script, text: &str) -> (Vec<Item>, Option<Box<Failure>>) {
    let mut items = Vec::new();
    for line in lines(text) {
        match script.push(line) {
            Ok(complete) => items.extend(complete),
            Err(uncut) => return (items, Some(uncut.failure)),
        }
    }
    (items, None)
}

/// Runs what a line completed, up to the first error, which is shown.
fn run(runtime: &Runtime, runner: &mut Runner, items: &[Item]) -> Result<(), Stop> {
    for item in items {
        runner.interrupts.answer();
        let result = runtime.block_on(runner.step(&item.step));
        match result {
            Ok(()) => {}
            Err(Stop::Failed(failure)) => {
                runner.console.failure(&failure);
                return Ok(());
            }
            Err(Stop::Interrupted) => {
                runner.console.notice(&interrupted(item));
                return Ok(());
            }
            // The pager was left before the end.
            Err(Stop::OutputClosed) => {}
            Err(Stop::Quit) => return Err(Stop::Quit),
        }
    }
    Ok(())
}

/// A statement that writes may have been cut off after it had committed.
fn interrupted(item: &Item) -> String {
    match &item.step {
        Step::Sql(sql) if tag(sql) != "done" => {
            "interrupted; SHOW LOG tells whether it had committed".to_owned()
        }
        _ => "interrupted".to_owned(),
    }
}

/// `lake/main*> `: repository, branch, `@…` for a pin, `+` for an open transaction, `*` if it has
/// changes.
fn label(repository: &str, state: &State) -> String {
    let pin = state
        .pin
        .as_ref()
        .map(|pin| format!("@{pin}"))
        .unwrap_or_default();
    let mark = match (state.transaction, state.changed) {
        (_, true) => "*",
        (true, false) => "+",
        (false, false) => "",
    };
    printable(&format!("{repository}/{}{pin}{mark}> ", state.branch))
}

/// As wide as the first prompt, so that the statement lines up.
fn continuation(first: &str) -> String {
    format!("{:>1$}", "-> ", console::measure_text_width(first))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_prompt_shows_branch_transaction_and_pin() {
        let state = |pin: Option<&str>, transaction, changed| State {
            branch: "main".into(),
            pin: pin.map(str::to_owned),
            transaction,
            changed,
        };
        for (pin, transaction, changed, expected) in [
            (None, false, false, "lake/main> "),
            (None, true, false, "lake/main+> "),
            (None, true, true, "lake/main*> "),
            (Some("v42"), false, false, "lake/main@v42> "),
            (Some("v42"), true, false, "lake/main@v42+> "),
        ] {
            assert_eq!(label("lake", &state(pin, transaction, changed)), expected);
        }
        assert_eq!(continuation("lake/main*> "), "         -> ");
    }

    #[test]
    fn a_pasted_text_is_run_up_to_what_cannot_be_cut() {
        let mut script = Script::default();
        let (items, failure) = push(&mut script, "SELECT 1;\nSELECT U&'\\zzzz';\nSELECT 2;");
        assert_eq!(items.len(), 1);
        assert!(failure.is_some());
        assert!(script.is_empty());
    }

    #[test]
    fn a_cut_off_write_says_where_to_look() {
        let item = |sql: &str| Item {
            line: 1,
            step: Step::Sql(sql.into()),
        };
        assert!(interrupted(&item("COMMIT")).contains("SHOW LOG"));
        assert_eq!(interrupted(&item("SELECT 1")), "interrupted");
    }
}
