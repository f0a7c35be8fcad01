//! Which commits a feed is of.

use std::fmt;
use std::str::FromStr;

use udr_core::name::RefName;
use udr_core::refs::Revision;
use udr_core::snapshot::Snapshot;
use udr_core::{Error, ErrorKind, Result};

use crate::session::{Source, StatementPin, UdrSession};

/// The commits after one state, up to another: `A..B`, as git has it. `[A..B` has those of `A`, too.
/// Without the first they begin with the first of all, without the last they end with what the
/// session reads.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct ChangeRange {
    start: Start,
    to: Option<Revision>,
}

/// Where a range begins.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
enum Start {
    /// With the first of all commits.
    #[default]
    Beginning,
    /// After a state.
    After(Revision),
    /// With what a revision names.
    With(Revision),
    /// With what comes after the end.
    Now,
}

/// What stands before a revision that is part of the range itself.
pub(crate) const INCLUDED: char = '[';

impl ChangeRange {
    /// What comes after what the session reads.
    pub(crate) fn from_now() -> Self {
        Self {
            start: Start::Now,
            to: None,
        }
    }

    /// The states on both ends; no first state is that before the first commit.
    ///
    /// What a transaction has staged is not part of the last.
    ///
    /// # Errors
    ///
    /// `NotFound` if there is no such state.
    pub(crate) async fn resolve(
        &self,
        session: &UdrSession,
        pin: &StatementPin,
        source: &FeedSource,
    ) -> Result<(Option<Snapshot>, Snapshot)> {
        let to = match &self.to {
            None => pin.state(session, &source.tip).await?,
            Some(to) => pin.state(session, &source.at(to)).await?,
        };
        let to = to.snapshot.published();
        let from = match &self.start {
            Start::Beginning => None,
            Start::Now => Some(to.clone()),
            Start::With(first) => {
                let branch = source.branch.clone();
                let branch = branch.unwrap_or_else(|| session.branch());
                pin.moment(session).before(&branch, first, &to).await?
            }
            Start::After(from) => match pin.state(session, &source.at(from)).await {
                Ok(from) => Some(from.snapshot.published()),
                // All that happened since a time is all that happened, if it is before the first.
                Err(e) if e.kind() == ErrorKind::NotFound && from.time().is_some() => None,
                Err(error) => return Err(error),
            },
        };
        Ok((from, to))
    }

    /// Whether it ends with what the session reads.
    pub(crate) fn is_open(&self) -> bool {
        self.to.is_none()
    }
}

impl FromStr for ChangeRange {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        let Some((from, to)) = text.split_once("..") else {
            return Err(Error::invalid("not a range of revisions")
                .with("range", text)
                .with_hint("write `3..7`, `main~5..`, `..v1`: after the first, up to the last"));
        };
        let start = match (from.trim(), from.trim().strip_prefix(INCLUDED)) {
            ("", _) => Start::Beginning,
            (_, Some(first)) => Start::With(first.parse()?),
            (from, None) => Start::After(from.parse()?),
        };
        let to = match to.trim() {
            "" => None,
            to => Some(to.parse()?),
        };
        Ok(Self { start, to })
    }
}

impl fmt::Display for ChangeRange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.start {
            Start::Beginning | Start::Now => f.write_str("..")?,
            Start::After(from) => write!(f, "{from}..")?,
            Start::With(first) => write!(f, "{INCLUDED}{first}..")?,
        }
        match &self.to {
            Some(to) => write!(f, "{to}"),
            None => Ok(()),
        }
    }
}

/// What revisions of a feed are relative to.
#[derive(Debug, Clone)]
pub(crate) struct FeedSource {
    /// What is read without a revision.
    pub(crate) tip: Source,
    /// The branch of the catalog that the feed was looked up in, if it is not the session's.
    pub(crate) branch: Option<RefName>,
}

impl FeedSource {
    fn at(&self, revision: &Revision) -> Source {
        match &self.branch {
            Some(branch) => Source::On(branch.clone(), revision.clone()),
            None => Source::At(revision.clone()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_are_read_as_written() {
        for text in [
            "3..7",
            "[3..7",
            "main~2..",
            "..v1.2",
            "..",
            "2026-01-01T00:00:00Z..dev",
        ] {
            assert_eq!(text.parse::<ChangeRange>().unwrap().to_string(), text);
        }
        for text in ["", "3", "main", "~..3", "[..3", "1..99999999999999999999"] {
            assert!(text.parse::<ChangeRange>().is_err(), "{text}");
        }
    }
}
