//! What a failed store call means, in the crate's own terms.
//!
//! In: errors of `object_store` and of the local backend. Out: an [`Error`] without secrets, and
//! the two questions that retries and read-back ask. Called by the rest of `store`.

use std::error::Error as StdError;
use std::{fmt, io};

use object_store::Error as StoreError;
use object_store::path::Path;

use crate::error::{Error, ErrorKind};

/// What is known to be stored after a local write failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Stored {
    /// Nothing is visible under the name.
    Nothing,
    /// The bytes may be visible, but are not known to be durable.
    Unknown,
}

/// A failure of the local backend.
#[derive(Debug)]
pub(super) struct LocalError {
    pub(super) stored: Stored,
    pub(super) cause: io::Error,
}

impl LocalError {
    pub(super) fn nothing(cause: io::Error) -> Self {
        Self {
            stored: Stored::Nothing,
            cause,
        }
    }

    pub(super) fn unknown(cause: io::Error) -> Self {
        Self {
            stored: Stored::Unknown,
            cause,
        }
    }

    /// As the error that the trait's contract asks for.
    pub(super) fn at(self, path: &str) -> StoreError {
        let path = path.to_owned();
        let kind = self.cause.kind();
        let source = Box::new(self);
        match kind {
            io::ErrorKind::NotFound => StoreError::NotFound { path, source },
            io::ErrorKind::AlreadyExists => StoreError::AlreadyExists { path, source },
            io::ErrorKind::PermissionDenied => StoreError::PermissionDenied { path, source },
            _ => StoreError::Generic {
                store: "local",
                source,
            },
        }
    }
}

impl fmt::Display for LocalError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.cause, f)
    }
}

impl StdError for LocalError {}

fn local(error: &StoreError) -> Option<&LocalError> {
    let mut next: Option<&(dyn StdError + 'static)> = Some(error);
    while let Some(error) = next {
        if let Some(local) = error.downcast_ref() {
            return Some(local);
        }
        next = error.source();
    }
    None
}

/// Whether making the same call again can help. Disks do not get better by asking twice.
pub(super) fn is_passing(error: &StoreError) -> bool {
    matches!(error, StoreError::Generic { .. }) && local(error).is_none()
}

/// Whether a failed write is known to have stored nothing.
pub(super) fn stored_nothing(error: &StoreError) -> bool {
    // A place that does not exist cannot hold anything.
    let refused = matches!(
        error,
        StoreError::NotImplemented { .. }
            | StoreError::NotSupported { .. }
            | StoreError::NotFound { .. }
    ) && !may_be_undurable(error);
    let exists = matches!(error, StoreError::AlreadyExists { .. });
    refused || (!exists && local(error).is_some_and(|e| e.stored == Stored::Nothing))
}

/// Whether a failed write may be visible without being durable, so that seeing it proves nothing.
pub(super) fn may_be_undurable(error: &StoreError) -> bool {
    local(error).is_some_and(|e| e.stored == Stored::Unknown)
}

/// The error for a failed call on `path`.
pub(super) fn explain(error: &StoreError, path: &Path) -> Error {
    let (kind, message) = match error {
        StoreError::NotFound { .. } => (ErrorKind::NotFound, "no such object"),
        StoreError::AlreadyExists { .. } | StoreError::Precondition { .. } => {
            (ErrorKind::AlreadyExists, "object exists already")
        }
        StoreError::NotSupported { .. } | StoreError::NotImplemented { .. } => {
            (ErrorKind::Unsupported, "the store cannot do this")
        }
        StoreError::InvalidPath { .. } => (ErrorKind::Invalid, "not a path"),
        StoreError::UnknownConfigurationKey { .. } => (ErrorKind::Invalid, "unknown store option"),
        StoreError::PermissionDenied { .. } | StoreError::Unauthenticated { .. } => {
            (ErrorKind::Unavailable, "the store refused access")
        }
        _ => (ErrorKind::Unavailable, "the store could not be used"),
    };
    Error::new(kind, message)
        .with("path", path)
        .with_source(Redacted(redact(&error.to_string())))
}

/// The error for a failed write to `path`, for which a missing place is one that cannot be used.
pub(super) fn explain_write(error: &StoreError, path: &Path) -> Error {
    if matches!(error, StoreError::NotFound { .. }) {
        return Error::unavailable("the place to write to does not exist")
            .with("path", path)
            .with_source(Redacted(redact(&error.to_string())));
    }
    explain(error, path)
}

/// The text of an error of a library, without what may be secret.
#[derive(Debug)]
struct Redacted(String);

impl fmt::Display for Redacted {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&crate::error::printable(&self.0))
    }
}

impl StdError for Redacted {}

/// Removes user info and queries from the URLs in `text`: passwords and signatures travel there.
pub(super) fn redact(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find("://") {
        let (before, after) = rest.split_at(at + 3);
        out.push_str(before);
        let ends = |c: char| c.is_whitespace() || matches!(c, ')' | '"' | '\'' | '<' | '>' | '`');
        let (url, tail) = after.split_at(after.find(ends).unwrap_or(after.len()));
        let (url, query) = url.split_at(url.find(['?', '#']).unwrap_or(url.len()));
        let (host, path) = url.split_at(url.find('/').unwrap_or(url.len()));
        out.push_str(host.rsplit_once('@').map_or(host, |(_, host)| host));
        out.push_str(path);
        if !query.is_empty() {
            out.push_str("?[redacted]");
        }
        rest = tail;
    }
    out.push_str(rest);
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn urls_in_messages_lose_their_secrets() {
        assert_eq!(
            redact("error for url (https://user:pw@host/a/b?sig=abc&x=1): timed out, s3://b/c"),
            "error for url (https://host/a/b?[redacted]): timed out, s3://b/c"
        );
        assert_eq!(redact("no url: //"), "no url: //");
    }

    #[test]
    fn a_full_disk_is_unavailable_with_its_cause_and_not_retried() {
        let full = LocalError::nothing(io::Error::from(io::ErrorKind::StorageFull)).at("x");
        assert!(!is_passing(&full));
        assert!(stored_nothing(&full));
        let error = explain(&full, &Path::from("x"));
        assert_eq!(error.kind(), ErrorKind::Unavailable);
        assert!(
            error.source().unwrap().to_string().contains("storage"),
            "{error:?}"
        );
    }
}
