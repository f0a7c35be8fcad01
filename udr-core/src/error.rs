//! The one error type of the crate.
//!
//! In: whatever went wrong, with the names and values a person needs. Out: an [`Error`] whose
//! [`ErrorKind`] tells a caller what to do next. Called by every module.

use std::error::Error as StdError;
use std::fmt;

/// A result whose error is [`Error`].
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// What a caller can do about an error; a kind exists only where the answer differs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum ErrorKind {
    /// What was named does not exist.
    NotFound,
    /// What was to be made exists already.
    AlreadyExists,
    /// Somebody else's published change cannot be reconciled with this one; start again from the
    /// new head.
    Conflict,
    /// The request itself is wrong.
    Invalid,
    /// The request is meaningful, but this build cannot do it.
    Unsupported,
    /// Stored bytes are not what their reference says.
    Corrupt,
    /// The store could not be reached, or refused; nothing was published. Trying again can help.
    Unavailable,
    /// Whether the change was published is unknown; the message has the transaction id.
    Indeterminate,
    /// A bug in this crate.
    Internal,
}

impl ErrorKind {
    /// The stable code that documentation and scripts refer to.
    pub fn code(self) -> &'static str {
        match self {
            Self::NotFound => "UDR-0404",
            Self::AlreadyExists => "UDR-0409",
            Self::Conflict => "UDR-0412",
            Self::Invalid => "UDR-0400",
            Self::Unsupported => "UDR-0501",
            Self::Corrupt => "UDR-0422",
            Self::Unavailable => "UDR-0503",
            Self::Indeterminate => "UDR-0504",
            Self::Internal => "UDR-0500",
        }
    }
}

/// What went wrong, with its kind, the variables that matter, a hint and the cause.
///
/// `Display` shows the message, then the context as ``key=`value` ``, then the hint; the cause is
/// reached through [`StdError::source`].
pub struct Error {
    inner: Box<Inner>,
}

struct Inner {
    kind: ErrorKind,
    message: String,
    context: Vec<(&'static str, String)>,
    hint: Option<String>,
    source: Option<Box<dyn StdError + Send + Sync>>,
}

impl Error {
    /// Makes an error; `message` is lowercase, without a trailing period and without variables.
    pub fn new(kind: ErrorKind, message: impl Into<String>) -> Self {
        Self {
            inner: Box::new(Inner {
                kind,
                message: message.into(),
                context: Vec::new(),
                hint: None,
                source: None,
            }),
        }
    }

    /// Makes an error of kind [`ErrorKind::NotFound`].
    pub fn not_found(message: impl Into<String>) -> Self {
        Self::new(ErrorKind::NotFound, message)
    }

    /// Makes an error of kind [`ErrorKind::AlreadyExists`].
    pub fn already_exists(message: impl Into<String>) -> Self {
        Self::new(ErrorKind::AlreadyExists, message)
    }

    /// Makes an error of kind [`ErrorKind::Conflict`].
    pub fn conflict(message: impl Into<String>) -> Self {
        Self::new(ErrorKind::Conflict, message)
    }

    /// Makes an error of kind [`ErrorKind::Invalid`].
    pub fn invalid(message: impl Into<String>) -> Self {
        Self::new(ErrorKind::Invalid, message)
    }

    /// Makes an error of kind [`ErrorKind::Unsupported`].
    pub fn unsupported(message: impl Into<String>) -> Self {
        Self::new(ErrorKind::Unsupported, message)
    }

    /// Makes an error of kind [`ErrorKind::Corrupt`].
    pub fn corrupt(message: impl Into<String>) -> Self {
        Self::new(ErrorKind::Corrupt, message)
    }

    /// Makes an error of kind [`ErrorKind::Unavailable`].
    pub fn unavailable(message: impl Into<String>) -> Self {
        Self::new(ErrorKind::Unavailable, message)
    }

    /// Makes an error of kind [`ErrorKind::Indeterminate`].
    pub fn indeterminate(message: impl Into<String>) -> Self {
        Self::new(ErrorKind::Indeterminate, message)
    }

    /// Makes an error of kind [`ErrorKind::Internal`].
    pub fn internal(message: impl Into<String>) -> Self {
        Self::new(ErrorKind::Internal, message)
    }

    /// Adds a variable that `Display` shows as ``key=`value` ``.
    #[must_use]
    pub fn with(mut self, key: &'static str, value: impl fmt::Display) -> Self {
        self.inner.context.push((key, value.to_string()));
        self
    }

    /// Adds what the person can do about it.
    #[must_use]
    pub fn with_hint(mut self, hint: impl Into<String>) -> Self {
        self.inner.hint = Some(hint.into());
        self
    }

    /// Adds the cause.
    #[must_use]
    pub fn with_source(mut self, source: impl Into<Box<dyn StdError + Send + Sync>>) -> Self {
        self.inner.source = Some(source.into());
        self
    }

    /// What a caller can do about it.
    pub fn kind(&self) -> ErrorKind {
        self.inner.kind
    }

    /// The message, without context, hint and cause.
    pub fn message(&self) -> &str {
        &self.inner.message
    }

    /// The value of a variable added by [`Error::with`].
    pub fn context(&self, key: &str) -> Option<&str> {
        self.inner
            .context
            .iter()
            .find(|(k, _)| *k == key)
            .map(|(_, v)| v.as_str())
    }

    /// What the person can do about it.
    pub fn hint(&self) -> Option<&str> {
        self.inner.hint.as_deref()
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.inner.message)?;
        for (i, (key, value)) in self.inner.context.iter().enumerate() {
            f.write_str(if i == 0 { ": " } else { ", " })?;
            // Values can come from users and from stored bytes: control and bidirectional
            // characters are escaped so that they cannot drive a terminal.
            write!(f, "{key}=`{}`", printable(value))?;
        }
        if let Some(hint) = &self.inner.hint {
            write!(f, "; {hint}")?;
        }
        Ok(())
    }
}

impl fmt::Debug for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}: {self}", self.inner.kind)?;
        if let Some(source) = &self.inner.source {
            write!(f, " (caused by: {source})")?;
        }
        Ok(())
    }
}

impl StdError for Error {
    fn source(&self) -> Option<&(dyn StdError + 'static)> {
        self.inner
            .source
            .as_deref()
            .map(|e| e as &(dyn StdError + 'static))
    }
}

/// Escapes what could change how a terminal shows the rest of a line.
pub fn printable(text: &str) -> String {
    let unsafe_char = |c: char| {
        c.is_control()
            || matches!(c, '\u{200b}'..='\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2060}'..='\u{2069}' | '\u{feff}')
    };
    if !text.chars().any(unsafe_char) {
        return text.to_owned();
    }
    text.chars()
        .flat_map(|c| {
            if unsafe_char(c) {
                c.escape_unicode().collect::<Vec<_>>()
            } else {
                vec![c]
            }
        })
        .collect()
}

/// The candidate closest to `name`, if one is close enough to be a slip of the finger.
pub fn nearest<'a>(name: &str, candidates: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let limit = (name.chars().count() / 3).max(1);
    candidates
        .into_iter()
        .map(|c| {
            (
                strsim::damerau_levenshtein(&name.to_lowercase(), &c.to_lowercase()),
                c,
            )
        })
        .filter(|(distance, _)| *distance <= limit)
        .min()
        .map(|(_, c)| c)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn display_shows_context_and_hint_but_not_the_source() {
        let error = Error::not_found("no such branch")
            .with("branch", "de\u{202e}v")
            .with_hint("did you mean `dev`?")
            .with_source(std::io::Error::other("boom"));
        assert_eq!(
            error.to_string(),
            "no such branch: branch=`de\\u{202e}v`; did you mean `dev`?"
        );
        assert_eq!(
            error.source().map(ToString::to_string).as_deref(),
            Some("boom")
        );
    }

    #[test]
    fn nearest_suggests_slips_only() {
        assert_eq!(nearest("flihgts", ["flights", "planes"]), Some("flights"));
        assert_eq!(nearest("orders", ["flights", "planes"]), None);
    }
}
