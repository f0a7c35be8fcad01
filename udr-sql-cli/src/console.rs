//! Everything that is said on standard error.
//!
//! In: notices, confirmations, errors. Out: lines, coloured on a terminal. Called by everything
//! that talks to the person; results never pass here.

use std::io::{self, Write as _};

use crate::environment::Environment;
use crate::exit::{Failure, printable_lines};

/// Standard error, with its manners.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Console {
    colors: bool,
    quiet: bool,
}

impl Console {
    /// Colours only on a terminal; `quiet` leaves errors only.
    pub(crate) fn new(environment: &Environment, quiet: bool) -> Self {
        Self {
            colors: environment.colors && environment.stderr_terminal,
            quiet,
        }
    }

    /// Says something that is no error.
    pub(crate) fn notice(&self, text: &str) {
        if !self.quiet {
            self.tell(text);
        }
    }

    /// Says what was asked for, or what must not go unnoticed.
    pub(crate) fn tell(&self, text: &str) {
        say(&printable_lines(text));
    }

    /// Whether nothing but errors is said.
    pub(crate) fn is_quiet(&self) -> bool {
        self.quiet
    }

    /// Shows an error with its code, its causes and what helps.
    pub(crate) fn failure(&self, failure: &Failure) {
        say(&self.render(failure));
    }

    fn render(&self, failure: &Failure) -> String {
        let (red, bold, end) = if self.colors {
            ("\x1b[1;31m", "\x1b[1m", "\x1b[0m")
        } else {
            ("", "", "")
        };
        let mut text = format!(
            "{red}error[{}]{end}{bold}: {}{end}",
            failure.code,
            printable_lines(&failure.message)
        );
        for line in failure.excerpt.iter().flat_map(|excerpt| excerpt.lines()) {
            text.push_str(&format!("\n    {line}"));
        }
        let mut add = |label: &str, value: &str| {
            text.push_str(&format!("\n  {label}: {}", printable_lines(value)));
        };
        if let Some(place) = &failure.place {
            add("at", place);
        }
        for cause in &failure.causes {
            add("because", cause);
        }
        if let Some(hint) = &failure.hint {
            add("help", hint);
        }
        text
    }
}

/// Writes a line; that standard error is closed is no reason to stop.
fn say(text: &str) {
    let mut stderr = io::stderr().lock();
    drop(writeln!(stderr, "{text}"));
}

#[cfg(test)]
mod tests {
    use udr_core::error::ErrorKind;

    use super::*;

    #[test]
    fn an_error_says_what_where_why_and_what_helps() {
        let mut failure = Failure::new(ErrorKind::NotFound, "no such branch: branch=`dve\x07`")
            .with_hint("did you mean `dev`?")
            .at("load.sql:3");
        failure.causes.push("a cause".into());
        let plain = Console {
            colors: false,
            quiet: false,
        }
        .render(&failure);
        assert_eq!(
            plain,
            "error[UDR-0404]: no such branch: branch=`dve\\u{7}`\n  at: load.sql:3\n  because: a \
             cause\n  help: did you mean `dev`?"
        );
        let colored = Console {
            colors: true,
            quiet: false,
        }
        .render(&failure);
        assert!(colored.starts_with("\x1b[1;31merror[UDR-0404]\x1b[0m"));
    }
}
