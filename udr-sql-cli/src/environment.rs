//! What the process was given besides its command line.
//!
//! In: environment variables and file descriptors, read once. Out: [`Environment`]. Called by
//! `main`, which hands it down.

use std::io::{self, IsTerminal as _};
use std::path::PathBuf;

use crate::account::account;

/// The variables and terminals that matter.
#[derive(Debug, Clone)]
pub(crate) struct Environment {
    /// `UDR_REPO`.
    pub(crate) repo: Option<String>,
    /// `PAGER`; `None` if it is not set.
    pub(crate) pager: Option<String>,
    /// Where the history of the prompt is kept.
    pub(crate) history: Option<PathBuf>,
    /// Who commits are by: `UDR_AUTHOR`, who is logged in, or the account of the process.
    pub(crate) author: Option<String>,
    /// Standard input is a terminal.
    pub(crate) stdin_terminal: bool,
    /// Standard output is a terminal.
    pub(crate) stdout_terminal: bool,
    /// Standard error is a terminal.
    pub(crate) stderr_terminal: bool,
    /// Colours are not unwelcome.
    pub(crate) colors: bool,
}

impl Environment {
    /// Reads everything.
    pub(crate) fn read() -> Self {
        let state = variable("XDG_STATE_HOME")
            .map(PathBuf::from)
            .filter(|path| path.is_absolute())
            .or_else(|| {
                Some(
                    PathBuf::from(variable("HOME")?)
                        .join(".local")
                        .join("state"),
                )
            });
        Self {
            repo: variable("UDR_REPO"),
            pager: std::env::var_os("PAGER").map(|v| v.to_string_lossy().into_owned()),
            history: state.map(|state| state.join("udr").join("history")),
            author: ["UDR_AUTHOR", "USER", "LOGNAME"]
                .into_iter()
                .find_map(variable)
                .or_else(account),
            stdin_terminal: io::stdin().is_terminal(),
            stdout_terminal: io::stdout().is_terminal(),
            stderr_terminal: io::stderr().is_terminal(),
            colors: variable("NO_COLOR").is_none() && variable("TERM").as_deref() != Some("dumb"),
        }
    }
}

/// The value of a variable that is set to something.
fn variable(name: &str) -> Option<String> {
    std::env::var_os(name)?
        .into_string()
        .ok()
        .filter(|value| !value.is_empty())
}
