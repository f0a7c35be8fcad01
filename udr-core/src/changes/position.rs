//! Where a reader of changes is.

use std::fmt;
use std::str::FromStr;

use crate::error::{Error, Result};
use crate::history::LogEntry;
use crate::id::{Digest, Version};
use crate::name::RefName;

/// A commit that led to the head of a branch: a reader that was there has seen it and all before it.
///
/// Written as `branch@version/commit`, to be kept wherever the reader keeps what it made of the
/// changes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Position {
    branch: RefName,
    version: Version,
    commit: Digest,
}

impl Position {
    /// After a commit, for a reader of `branch`, which has it from another one perhaps.
    pub(crate) fn after(branch: &RefName, entry: &LogEntry) -> Self {
        Self {
            branch: branch.clone(),
            version: entry.version,
            commit: entry.reference.id(),
        }
    }

    /// The branch.
    pub fn branch(&self) -> &RefName {
        &self.branch
    }

    /// The version that published the commit, on the branch or on one that it came from.
    pub fn version(&self) -> Version {
        self.version
    }

    /// The commit id.
    pub fn commit(&self) -> Digest {
        self.commit
    }
}

impl fmt::Display for Position {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            branch,
            version,
            commit,
        } = self;
        write!(f, "{branch}@{version}/{commit}")
    }
}

impl FromStr for Position {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        let refuse = || {
            Error::invalid("not a position")
                .with("position", text)
                .with_hint("it is written as branch@version/commit")
        };
        let (branch, place) = text.rsplit_once('@').ok_or_else(refuse)?;
        let (version, commit) = place.split_once('/').ok_or_else(refuse)?;
        Ok(Self {
            branch: RefName::new(branch)?,
            version: Version(version.parse().map_err(|_| refuse())?),
            commit: commit.parse().map_err(|_| refuse())?,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_position_is_read_as_written() {
        let commit = Digest::of(b"x");
        let text = format!("feature/x@42/{commit}");
        let position = text.parse::<Position>().unwrap();
        assert_eq!(position.to_string(), text);
        assert_eq!(
            (position.version(), position.commit()),
            (Version(42), commit)
        );
        for text in ["", "main", "main@42", "main@x/ab", "main@42/ab", "@42/ab"] {
            assert!(text.parse::<Position>().is_err(), "{text}");
        }
    }
}
