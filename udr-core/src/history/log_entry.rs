//! A commit as a branch published it.

use std::sync::Arc;

use crate::env::Micros;
use crate::format::{Commit, CommitRef, RefRecord};
use crate::id::Version;
use crate::name::RefName;
use crate::refs::Point;

/// One commit of a branch.
#[derive(Debug, Clone)]
pub struct LogEntry {
    /// The branch that published it: the one asked for, or one that it descends from.
    pub branch: RefName,
    /// The version that shows it.
    pub version: Version,
    /// The commit's reference; its id is [`CommitRef::id`].
    pub reference: CommitRef,
    /// When it was published.
    pub published_at: Micros,
    /// The commit.
    pub commit: Arc<Commit>,
    /// What the branch had skipped there.
    skipped: u64,
}

impl LogEntry {
    /// A commit that `record` of a branch published.
    pub(crate) fn new(
        branch: RefName,
        record: &RefRecord,
        reference: CommitRef,
        commit: Arc<Commit>,
    ) -> Self {
        Self {
            branch,
            version: record.version,
            reference,
            published_at: record.at,
            commit,
            skipped: record.skipped,
        }
    }

    /// The state that it made, as a point in history.
    pub(crate) fn point(&self) -> Point {
        Point {
            branch: Some(self.branch.clone()),
            version: Some(self.version),
            commit: self.reference,
            at: self.published_at,
            skipped: self.skipped,
        }
    }
}
