//! Names that users give, validated once.
//!
//! In: text from a user or from the store. Out: names whose spelling is safe in a path, a URL and
//! on a terminal. Called by every module that takes or stores a name.
//!
//! One grammar for every segment: ASCII letters, digits, `_`, `.` and `-`; 1 to 128 bytes; the
//! first is a letter, a digit or `_`; the last is no dot; no two dots in a row; not ending in
//! `.json` or `.lock`. ASCII only, so there are no look-alikes. Branch and tag names have up to 8
//! segments with `/` between them and 200 bytes in all, are no plain number (which would be a
//! version), not `head` in any case (which is the current branch) and are unique without regard to
//! case, since they reach paths.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::error::{Error, Result};

/// The most bytes a segment has.
const SEGMENT_BYTES_MAX: usize = 128;
/// The most bytes a ref name has in all: it becomes the name of one folder.
const REF_BYTES_MAX: usize = 200;
/// The most segments a ref name has.
const REF_SEGMENTS_MAX: usize = 8;

fn check_segment(what: &'static str, name: &str, segment: &str) -> Result<()> {
    let refuse =
        |why: &str| Err(Error::invalid(format!("invalid {what} name, {why}")).with("name", name));
    if segment.is_empty() {
        return refuse("it has an empty part");
    }
    if segment.len() > SEGMENT_BYTES_MAX {
        return refuse("a part of it is longer than 128 bytes");
    }
    let allowed = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'.' | b'-');
    if !segment.bytes().all(allowed) {
        return refuse("only ASCII letters, digits, `_`, `.` and `-` are allowed");
    }
    if segment.starts_with(['.', '-']) {
        return refuse("a part of it starts with `.` or `-`");
    }
    if segment.ends_with('.') || segment.contains("..") {
        return refuse("a part of it ends with a dot or has two in a row");
    }
    let lower = segment.to_ascii_lowercase();
    if lower.ends_with(".json") || lower.ends_with(".lock") {
        return refuse("the endings `.json` and `.lock` are reserved");
    }
    Ok(())
}

macro_rules! name_type {
    ($(#[$doc:meta])* $name:ident, $check:expr) => {
        $(#[$doc])*
        #[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[serde(try_from = "String", into = "String")]
        pub struct $name(String);

        impl $name {
            /// Checks `name` against the grammar.
            ///
            /// # Errors
            ///
            /// `Invalid`, saying which rule is broken.
            pub fn new(name: impl Into<String>) -> Result<Self> {
                let name = name.into();
                let check: fn(&str) -> Result<()> = $check;
                check(&name)?;
                Ok(Self(name))
            }

            /// The name as given.
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Debug::fmt(&self.0, f)
            }
        }

        impl FromStr for $name {
            type Err = Error;

            fn from_str(s: &str) -> Result<Self> {
                Self::new(s)
            }
        }

        impl TryFrom<String> for $name {
            type Error = Error;

            fn try_from(name: String) -> Result<Self> {
                Self::new(name)
            }
        }

        impl From<$name> for String {
            fn from(name: $name) -> Self {
                name.0
            }
        }

        impl std::borrow::Borrow<str> for $name {
            fn borrow(&self) -> &str {
                &self.0
            }
        }
    };
}

name_type! {
    /// The name of a branch or a tag, such as `main` or `feature/prices`.
    ///
    /// Two names that differ only in case are the same ref on disk; see [`RefName::folded`].
    RefName,
    |name| {
        let segments = name.split('/').collect::<Vec<_>>();
        if segments.len() > REF_SEGMENTS_MAX {
            return Err(Error::invalid("invalid ref name, it has more than 8 parts")
                .with("name", name));
        }
        for segment in &segments {
            check_segment("ref", name, segment)?;
        }
        if name.len() > REF_BYTES_MAX {
            return Err(Error::invalid("invalid ref name, it is longer than 200 bytes")
                .with("name", name));
        }
        if name.bytes().all(|b| b.is_ascii_digit()) {
            return Err(Error::invalid("invalid ref name, a plain number is a version")
                .with("name", name));
        }
        if name.eq_ignore_ascii_case("head") {
            return Err(Error::invalid("invalid ref name, `HEAD` is the current branch")
                .with("name", name));
        }
        Ok(())
    }
}

impl RefName {
    /// The name of the branch that every repository starts with.
    pub fn main() -> Self {
        Self("main".to_owned())
    }

    /// The spelling that reaches paths.
    pub fn folded(&self) -> String {
        self.0.to_ascii_lowercase()
    }
}

name_type! {
    /// The name of a namespace (a schema, in SQL).
    NamespaceName,
    |name| check_segment("namespace", name, name)
}

impl NamespaceName {
    /// The namespace that every repository starts with.
    pub fn public() -> Self {
        Self("public".to_owned())
    }
}

name_type! {
    /// The name of a table or a view inside its namespace.
    RelationName,
    |name| check_segment("table", name, name)
}

/// A table or view by namespace and name.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct RelationPath {
    /// The namespace.
    pub namespace: NamespaceName,
    /// The name inside it.
    pub name: RelationName,
}

impl RelationPath {
    /// Puts the two parts together.
    pub fn new(namespace: NamespaceName, name: RelationName) -> Self {
        Self { namespace, name }
    }

    /// Checks both parts.
    ///
    /// # Errors
    ///
    /// `Invalid` if one breaks the grammar.
    pub fn parse(namespace: &str, name: &str) -> Result<Self> {
        Ok(Self::new(
            NamespaceName::new(namespace)?,
            RelationName::new(name)?,
        ))
    }
}

impl fmt::Display for RelationPath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.namespace, self.name)
    }
}

impl fmt::Debug for RelationPath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "\"{self}\"")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hostile_names_are_refused() {
        let long = "x".repeat(129);
        for name in [
            "",
            ".",
            "..",
            "a/../b",
            "/a",
            "a/",
            "a//b",
            "a\0b",
            "a\nb",
            "a b",
            "\u{0430}bc",
            "e\u{301}",
            "a\u{202e}b",
            "C:\\x",
            "a%2Fb",
            ".hidden",
            "trailing.",
            "x.json",
            "x.LOCK",
            "-x",
            "42",
            "head",
            "HEAD",
            "a..b",
            "a/b/c/d/e/f/g/h/i",
            long.as_str(),
            "~",
            "a@b",
            "a$b",
        ] {
            assert!(RefName::new(name).is_err(), "{name:?} was accepted");
        }
        for name in [
            "",
            "..",
            "a/b",
            "a@b",
            "a$b",
            "a b",
            "\u{0430}",
            long.as_str(),
        ] {
            assert!(RelationName::new(name).is_err(), "{name:?} was accepted");
        }
    }

    #[test]
    fn ordinary_names_are_accepted() {
        for name in [
            "main",
            "feature/prices",
            "feature/head",
            "v1.2",
            "2026-01-01",
            "_x",
            "a-b",
        ] {
            assert_eq!(RefName::new(name).unwrap().as_str(), name);
        }
        assert_eq!(RelationName::new("42").unwrap().as_str(), "42");
    }

    #[test]
    fn names_are_checked_when_decoded() {
        assert!(serde_json::from_str::<RefName>("\"../x\"").is_err());
    }
}
