//! How the program ends.
//!
//! In: errors of UDR and of DataFusion. Out: a [`Failure`] to show and an [`Exit`] code. Called by
//! everything that can fail.

use std::io;
use std::process::ExitCode;

use arrow::error::ArrowError;
use datafusion::error::DataFusionError;
use datafusion::sql::sqlparser::parser::ParserError;
use udr_core::error::{ErrorKind, printable};
use udr_datafusion::error::udr_error;

/// The exit codes, part of the interface.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Exit {
    /// Everything was done.
    Done,
    /// A statement failed.
    Failed,
    /// The command line is wrong.
    Usage,
    /// Somebody else's change cannot be reconciled with this one.
    Conflict,
    /// The store could not be reached, or gave no answer.
    Unreachable,
    /// What is stored is damaged.
    Corrupt,
    /// Ctrl-C.
    Interrupted,
}

impl Exit {
    /// The number.
    pub(crate) fn code(self) -> u8 {
        match self {
            Self::Done => 0,
            Self::Failed => 1,
            Self::Usage => 2,
            Self::Conflict => 3,
            Self::Unreachable => 4,
            Self::Corrupt => 5,
            Self::Interrupted => 130,
        }
    }

    fn of(kind: ErrorKind) -> Self {
        match kind {
            ErrorKind::Conflict => Self::Conflict,
            ErrorKind::Unavailable | ErrorKind::Indeterminate => Self::Unreachable,
            ErrorKind::Corrupt => Self::Corrupt,
            _ => Self::Failed,
        }
    }
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(exit.code())
    }
}

/// An error as a person sees it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Failure {
    /// The exit code it leads to.
    pub(crate) exit: Exit,
    /// The stable code, `UDR-nnnn`.
    pub(crate) code: &'static str,
    /// What happened.
    pub(crate) message: String,
    /// The line it is about, with the place marked below.
    pub(crate) excerpt: Option<Box<str>>,
    /// Why, from the outermost cause inwards.
    pub(crate) causes: Vec<String>,
    /// What helps.
    pub(crate) hint: Option<Box<str>>,
    /// The file and line it happened at.
    pub(crate) place: Option<Box<str>>,
}

impl Failure {
    /// A failure of a kind.
    pub(crate) fn new(kind: ErrorKind, message: impl Into<String>) -> Self {
        Self {
            exit: Exit::of(kind),
            code: kind.code(),
            message: message.into(),
            excerpt: None,
            causes: Vec::new(),
            hint: None,
            place: None,
        }
    }

    /// A wrong command line.
    pub(crate) fn usage(message: impl Into<String>) -> Self {
        Self::new(ErrorKind::Invalid, message).exiting(Exit::Usage)
    }

    /// Sets the exit code.
    pub(crate) fn exiting(self, exit: Exit) -> Self {
        Self { exit, ..self }
    }

    /// Sets what helps.
    pub(crate) fn with_hint(self, hint: impl Into<Box<str>>) -> Self {
        Self {
            hint: Some(hint.into()),
            ..self
        }
    }

    /// Sets where it happened.
    pub(crate) fn at(self, place: impl Into<Box<str>>) -> Self {
        Self {
            place: Some(place.into()),
            ..self
        }
    }

    fn with_causes_of(mut self, error: &dyn std::error::Error) -> Self {
        let mut cause = error.source();
        while let Some(error) = cause {
            let text = error.to_string();
            if !self.message.contains(&text) && !self.causes.iter().any(|c| c.contains(&text)) {
                self.causes.push(text);
            }
            cause = error.source();
        }
        self
    }
}

impl From<&udr_core::Error> for Failure {
    fn from(error: &udr_core::Error) -> Self {
        let mut message = error.to_string();
        if let Some(hint) = error.hint() {
            let end = message.len().saturating_sub(hint.len() + 2);
            if message.ends_with(hint) && message.is_char_boundary(end) {
                message.truncate(end);
            }
        }
        let failure = Self::new(error.kind(), message).with_causes_of(error);
        match error.hint() {
            Some(hint) => failure.with_hint(hint),
            None => failure,
        }
    }
}

impl From<udr_core::Error> for Failure {
    fn from(error: udr_core::Error) -> Self {
        Self::from(&error)
    }
}

impl From<DataFusionError> for Failure {
    fn from(error: DataFusionError) -> Self {
        if let Some(error) = udr_error(&error) {
            return Self::from(error);
        }
        let kind = match error.find_root() {
            DataFusionError::NotImplemented(_) => ErrorKind::Unsupported,
            DataFusionError::Internal(_) => ErrorKind::Internal,
            DataFusionError::ObjectStore(_) => ErrorKind::NotFound,
            _ => ErrorKind::Invalid,
        };
        let failure = Self::new(kind, message(&error));
        let helps = error
            .diagnostic()
            .map(|d| {
                d.helps
                    .iter()
                    .map(|help| help.message.clone())
                    .collect::<Vec<_>>()
            })
            .unwrap_or_default();
        match error.find_root() {
            DataFusionError::ResourcesExhausted(_) => failure
                .with_hint("give it more with --memory-limit, or select fewer columns or rows"),
            _ if !helps.is_empty() => failure.with_hint(helps.join("; ")),
            _ => failure,
        }
    }
}

/// What went wrong, without the names of the layers that it came through.
fn message(error: &DataFusionError) -> String {
    const LAYERS: [&str; 7] = [
        "Error during planning: ",
        "Schema error: ",
        "Execution error: ",
        "Arrow error: ",
        "Invalid argument error: ",
        "External error: ",
        "This feature is not implemented: ",
    ];
    if let DataFusionError::SQL(parser, _) = error.find_root() {
        return match parser.as_ref() {
            ParserError::ParserError(text) | ParserError::TokenizerError(text) => text.clone(),
            ParserError::RecursionLimitExceeded => "the statement is nested too deeply".to_owned(),
        };
    }
    let text = error.strip_backtrace();
    let mut rest = text.as_str();
    while let Some(inner) = LAYERS.iter().find_map(|layer| rest.strip_prefix(layer)) {
        rest = inner;
    }
    rest.to_owned()
}

impl From<ArrowError> for Failure {
    fn from(error: ArrowError) -> Self {
        Self::from(DataFusionError::from(error))
    }
}

/// Why statements are no longer run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Stop {
    /// Something went wrong.
    Failed(Box<Failure>),
    /// Nobody reads standard output any more.
    OutputClosed,
    /// Ctrl-C.
    Interrupted,
    /// `\q`.
    Quit,
}

impl Stop {
    /// Adds where it happened, unless that is known.
    pub(crate) fn at(self, place: impl FnOnce() -> String) -> Self {
        match self {
            Self::Failed(failure) if failure.place.is_none() => {
                Self::Failed(Box::new(failure.at(place())))
            }
            other => other,
        }
    }
}

impl<E: Into<Failure>> From<E> for Stop {
    fn from(error: E) -> Self {
        Self::Failed(Box::new(error.into()))
    }
}

/// A failure to write to standard output.
pub(crate) fn output_stop(error: &io::Error) -> Stop {
    if error.kind() == io::ErrorKind::BrokenPipe {
        return Stop::OutputClosed;
    }
    Stop::from(Failure::new(
        ErrorKind::Invalid,
        format!("cannot write the result: {error}"),
    ))
}

/// Text with line breaks kept and everything else that could drive a terminal escaped.
pub(crate) fn printable_lines(text: &str) -> String {
    text.split('\n')
        .map(|line| printable(&line.replace('\t', "    ")))
        .collect::<Vec<_>>()
        .join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn kinds_lead_to_their_exit_codes() {
        for (kind, code) in [
            (ErrorKind::NotFound, 1),
            (ErrorKind::Invalid, 1),
            (ErrorKind::Internal, 1),
            (ErrorKind::Conflict, 3),
            (ErrorKind::Unavailable, 4),
            (ErrorKind::Indeterminate, 4),
            (ErrorKind::Corrupt, 5),
        ] {
            assert_eq!(Exit::of(kind).code(), code, "{kind:?}");
        }
    }

    #[test]
    fn kind_and_hint_survive_datafusion() {
        let error = udr_core::Error::conflict("two writers")
            .with("table", "t")
            .with_hint("retry");
        let error = DataFusionError::External(Box::new(error)).context("while committing");
        let failure = Failure::from(error);
        assert_eq!(failure.exit, Exit::Conflict);
        assert_eq!(failure.code, "UDR-0412");
        assert_eq!(failure.message, "two writers: table=`t`");
        assert_eq!(failure.hint.as_deref(), Some("retry"));
    }

    #[test]
    fn names_of_layers_are_left_out() {
        let text = |error: DataFusionError| Failure::from(error).message;
        assert_eq!(
            text(DataFusionError::Plan("no such column".into())),
            "no such column"
        );
        let parser = ParserError::ParserError("Expected: a word".into());
        assert_eq!(
            text(DataFusionError::SQL(Box::new(parser), None)),
            "Expected: a word"
        );
        assert_eq!(
            text(ArrowError::DivideByZero.into()),
            "Divide by zero error"
        );
    }

    #[test]
    fn causes_are_shown_once() {
        let error = udr_core::Error::unavailable("no answer")
            .with_source(io::Error::other("connection refused"));
        assert_eq!(Failure::from(error).causes, ["connection refused"]);
    }

    #[test]
    fn a_closed_pipe_is_no_failure() {
        assert_eq!(
            output_stop(&io::ErrorKind::BrokenPipe.into()),
            Stop::OutputClosed
        );
        assert!(matches!(
            output_stop(&io::ErrorKind::StorageFull.into()),
            Stop::Failed(_)
        ));
    }

    #[test]
    fn lines_survive_and_escapes_do_not() {
        assert_eq!(printable_lines("a\n\tb\x1b[2J"), "a\n    b\\u{1b}[2J");
    }
}
