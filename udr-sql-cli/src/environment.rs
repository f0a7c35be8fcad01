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
    /// Where what is read of remote stores is kept.
    pub(crate) cache: Option<PathBuf>,
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
        Self {
            repo: variable("UDR_REPO"),
            pager: std::env::var_os("PAGER").map(|v| v.to_string_lossy().into_owned()),
            cache: folder("XDG_CACHE_HOME", &[".cache"]).map(|cache| cache.join("udr")),
            history: folder("XDG_STATE_HOME", &[".local", "state"])
                .map(|state| state.join("udr").join("history")),
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

/// The folder that a variable names, or one of the home folder.
fn folder(name: &str, in_home: &[&str]) -> Option<PathBuf> {
    let named = variable(name).map(PathBuf::from);
    named.filter(|path| path.is_absolute()).or_else(|| {
        let mut folder = PathBuf::from(variable("HOME")?);
        folder.extend(in_home);
        Some(folder)
    })
}

/// The value of a variable that is set to something.
fn variable(name: &str) -> Option<String> {
    std::env::var_os(name)?
        .into_string()
        .ok()
        .filter(|value| !value.is_empty())
}
