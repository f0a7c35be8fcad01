//! Backslash commands: short forms of SQL, and the settings of the program itself.
//!
//! In: a line that starts with a backslash. Out: what it stands for, done. Called by `run`.

use std::path::PathBuf;

use clap::ValueEnum as _;

use crate::exit::{Failure, Stop};
use crate::output::Format;
use crate::run::Runner;

const HELP: &str = "\
Statements end with a semicolon and may span lines.
  \\d [TABLE]       tables, or the columns of one
  \\l               branches and tags
  \\log             commits of the current branch, newest first
  \\branch [NAME]   show or change the current branch
  \\format [NAME]   table, csv, json, ndjson, markdown or vertical
  \\rows [N|all]    how many rows a result shows at most
  \\timing          say, or do not say, how long a statement took
  \\i FILE          run the statements of a file
  \\?               this list
  \\q               leave (Ctrl-D, too)";

/// The commands, for completion.
pub(crate) const NAMES: &[&str] = &[
    "\\d", "\\l", "\\log", "\\branch", "\\format", "\\rows", "\\timing", "\\i", "\\?", "\\q",
];

/// Runs one backslash command.
///
/// # Errors
///
/// `Quit` for `\q`; else what went wrong.
pub(crate) async fn run(runner: &mut Runner, text: &str) -> Result<(), Stop> {
    let text = text.trim().trim_end_matches(';').trim_end();
    let (name, argument) = match text.split_once(char::is_whitespace) {
        Some((name, argument)) => (name, Some(argument.trim()).filter(|a| !a.is_empty())),
        None => (text, None),
    };
    match (name, argument) {
        ("\\q", None) => Err(Stop::Quit),
        ("\\?" | "\\h", None) => {
            runner.console.tell(HELP);
            Ok(())
        }
        ("\\d", None) => Box::pin(runner.statement("SHOW TABLES")).await,
        ("\\d", Some(table)) => Box::pin(runner.statement(&format!("DESCRIBE {table}"))).await,
        ("\\l", None) => {
            Box::pin(runner.statement("SHOW BRANCHES")).await?;
            Box::pin(runner.statement("SHOW TAGS")).await
        }
        ("\\log", None) => Box::pin(runner.statement("SHOW LOG")).await,
        ("\\branch", None) => {
            runner.console.tell(&runner.session.state().branch);
            Ok(())
        }
        ("\\branch", Some(branch)) => {
            let branch = branch.trim_matches('"').replace('"', "\"\"");
            Box::pin(runner.statement(&format!("USE BRANCH \"{branch}\""))).await
        }
        ("\\timing", None) => {
            runner.settings.timing = !runner.settings.timing;
            let state = if runner.settings.timing { "on" } else { "off" };
            runner.console.notice(&format!("timing is {state}"));
            Ok(())
        }
        ("\\format", None) => {
            runner.console.tell(&runner.settings.format.to_string());
            Ok(())
        }
        ("\\format", Some(format)) => {
            runner.settings.format = Format::from_str(format, true).map_err(|_| {
                Failure::usage(format!("there is no format `{format}`"))
                    .with_hint("the formats are table, csv, json, ndjson, markdown and vertical")
            })?;
            Ok(())
        }
        ("\\rows", argument) => rows(runner, argument),
        ("\\i", Some(file)) => runner.nested(&PathBuf::from(file.trim_matches('\''))).await,
        ("\\i", None) => Err(Stop::from(Failure::usage("\\i needs the name of a file"))),
        (name, _) if NAMES.contains(&name) => Err(Stop::from(Failure::usage(format!(
            "{name} takes nothing after it"
        )))),
        (name, _) => Err(Stop::from(
            Failure::usage(format!("there is no command {name}"))
                .with_hint("\\? lists the commands"),
        )),
    }
}

fn rows(runner: &mut Runner, argument: Option<&str>) -> Result<(), Stop> {
    match argument {
        None => {}
        Some("all") => runner.settings.rows_shown_max = None,
        Some(number) => match number.parse() {
            Ok(number) => runner.settings.rows_shown_max = Some(number),
            Err(_) => {
                return Err(Stop::from(Failure::usage(
                    "\\rows takes a number, or `all`",
                )));
            }
        },
    }
    let asked = argument.is_none();
    let shown = match runner.settings.rows_shown_max {
        Some(number) => number.to_string(),
        None => "all".to_owned(),
    };
    let answer = format!("rows shown: {shown}");
    if asked {
        runner.console.tell(&answer);
    } else {
        runner.console.notice(&answer);
    }
    Ok(())
}
