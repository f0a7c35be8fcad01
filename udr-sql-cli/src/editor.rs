//! The line editor: history, completion, colours.
//!
//! In: a prompt. Out: a line. Called by `prompt`; the only file that knows rustyline.

use std::cell::RefCell;
use std::fs::{DirBuilder, OpenOptions};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use rustyline::completion::{Completer, FilenameCompleter, Pair};
use rustyline::error::ReadlineError;
use rustyline::highlight::Highlighter;
use rustyline::hint::Hinter;
use rustyline::history::FileHistory;
use rustyline::validate::Validator;
use rustyline::{
    Behavior, ColorMode, CompletionType, Config, Context, Editor as Rustyline, Helper,
};
use tokio::runtime::Handle;

use crate::complete::complete;
use crate::environment::Environment;
use crate::session::{Names, Session};

const HISTORY_ENTRIES_MAX: usize = 10_000;
/// How long a completion waits for the names in the repository.
const NAMES_WAIT_MAX: Duration = Duration::from_secs(2);

/// What came of asking for a line.
#[derive(Debug)]
pub(crate) enum Line {
    /// A line.
    Text(String),
    /// Ctrl-C, and whether something had been typed.
    Interrupted { typed: bool },
    /// Ctrl-D, or the terminal is gone.
    End,
}

/// Reads lines from the terminal.
pub(crate) struct Editor {
    rustyline: Rustyline<Assistant, FileHistory>,
    history: Option<PathBuf>,
    colors: bool,
}

impl Editor {
    /// An editor that completes names of `session`; the second value says why there is no history.
    ///
    /// # Errors
    ///
    /// What the terminal says.
    pub(crate) fn new(
        environment: &Environment,
        session: Arc<Session>,
        runtime: Handle,
    ) -> io::Result<(Self, Option<String>)> {
        let colors = environment.colors && environment.stdout_terminal;
        // With standard output redirected the prompt must not end up in the results.
        let behavior = if environment.stdout_terminal {
            Behavior::Stdio
        } else {
            Behavior::PreferTerm
        };
        let config = Config::builder()
            .completion_type(CompletionType::List)
            .color_mode(if colors {
                ColorMode::Enabled
            } else {
                ColorMode::Disabled
            })
            .behavior(behavior)
            .history_ignore_space(true);
        let config = config
            .max_history_size(HISTORY_ENTRIES_MAX)
            .map_err(io::Error::other)?
            .build();
        let mut rustyline = Rustyline::with_config(config).map_err(io::Error::other)?;
        rustyline.set_helper(Some(Assistant {
            session,
            runtime,
            names: RefCell::new(None),
            typed: RefCell::new(false),
            files: FilenameCompleter::new(),
        }));
        let mut editor = Self {
            rustyline,
            history: None,
            colors,
        };
        let trouble = match &environment.history {
            Some(path) => editor
                .remember_in(path)
                .err()
                .map(|error| format!("history is not kept: {}: {error}", path.display())),
            None => None,
        };
        Ok((editor, trouble))
    }

    fn remember_in(&mut self, path: &Path) -> io::Result<()> {
        if let Some(folder) = path.parent() {
            private_folder().recursive(true).create(folder)?;
        }
        drop(private_file().append(true).create(true).open(path)?);
        self.rustyline
            .load_history(path)
            .map_err(io::Error::other)?;
        self.history = Some(path.to_owned());
        Ok(())
    }

    /// Asks for a line.
    ///
    /// # Errors
    ///
    /// What the terminal says.
    pub(crate) fn line(&mut self, prompt: &str) -> io::Result<Line> {
        if let Some(assistant) = self.rustyline.helper() {
            assistant.typed.replace(false);
        }
        let styled = if self.colors {
            format!("\x1b[1;32m{prompt}\x1b[0m")
        } else {
            prompt.to_owned()
        };
        match self.rustyline.readline(&(prompt, styled.as_str())) {
            Ok(line) => Ok(Line::Text(line)),
            Err(ReadlineError::Interrupted) => {
                let typed = self.rustyline.helper().is_some_and(|a| *a.typed.borrow());
                Ok(Line::Interrupted { typed })
            }
            Err(ReadlineError::Eof) => Ok(Line::End),
            Err(ReadlineError::Io(error)) => Err(error),
            Err(error) => Err(io::Error::other(error)),
        }
    }

    /// Keeps a statement in the history, unless it seems to hold a secret.
    pub(crate) fn remember(&mut self, text: &str) {
        if text.trim().is_empty() || has_secret(text) {
            return;
        }
        // A history that cannot be written is not worth an error at every statement.
        let added = self
            .rustyline
            .add_history_entry(text.trim_end())
            .unwrap_or(false);
        if let (true, Some(path)) = (added, &self.history) {
            drop(self.rustyline.append_history(path));
        }
    }

    /// Looks names up again at the next completion.
    pub(crate) fn forget_names(&self) {
        if let Some(assistant) = self.rustyline.helper() {
            assistant.names.replace(None);
        }
    }
}

fn has_secret(text: &str) -> bool {
    let text = text.to_lowercase();
    ["secret", "password", "access_key", "token", "account_key"]
        .iter()
        .any(|s| text.contains(s))
}

#[cfg(unix)]
fn private_folder() -> DirBuilder {
    use std::os::unix::fs::DirBuilderExt as _;
    let mut builder = DirBuilder::new();
    builder.mode(0o700);
    builder
}

#[cfg(unix)]
fn private_file() -> OpenOptions {
    use std::os::unix::fs::OpenOptionsExt as _;
    let mut options = OpenOptions::new();
    options.mode(0o600);
    options
}

#[cfg(not(unix))]
fn private_folder() -> DirBuilder {
    DirBuilder::new()
}

#[cfg(not(unix))]
fn private_file() -> OpenOptions {
    OpenOptions::new()
}

/// What rustyline asks while a line is typed.
struct Assistant {
    session: Arc<Session>,
    runtime: Handle,
    names: RefCell<Option<Names>>,
    typed: RefCell<bool>,
    files: FilenameCompleter,
}

impl Assistant {
    /// The names in the repository, as of the last statement.
    fn names(&self) -> Names {
        let mut names = self.names.borrow_mut();
        names
            .get_or_insert_with(|| {
                let names =
                    async { tokio::time::timeout(NAMES_WAIT_MAX, self.session.names()).await };
                match self.runtime.block_on(names) {
                    Ok(Ok(names)) => names,
                    // Completion is a courtesy: without names there still are keywords.
                    _ => Names::default(),
                }
            })
            .clone()
    }
}

impl Completer for Assistant {
    type Candidate = Pair;

    fn complete(
        &self,
        line: &str,
        position: usize,
        context: &Context<'_>,
    ) -> rustyline::Result<(usize, Vec<Pair>)> {
        let found = complete(&line[..position], &self.names());
        if found.files {
            return self.files.complete(line, position, context);
        }
        let pair = |text: String| Pair {
            display: text.clone(),
            replacement: text,
        };
        Ok((
            found.start,
            found.candidates.into_iter().map(pair).collect(),
        ))
    }
}

impl Hinter for Assistant {
    type Hint = String;

    fn hint(&self, line: &str, _position: usize, _context: &Context<'_>) -> Option<String> {
        self.typed.replace(!line.trim().is_empty());
        None
    }
}

impl Highlighter for Assistant {}
impl Validator for Assistant {}
impl Helper for Assistant {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn secrets_stay_out_of_the_history() {
        assert!(has_secret("… OPTIONS ('aws.SECRET_access_key' 'x')"));
        assert!(!has_secret("SELECT carrier FROM flights"));
    }
}
