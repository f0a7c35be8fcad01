//! Records of the ref log: each publishes one state of a branch or a tag.

use serde::{Deserialize, Serialize};

use super::{CommitRef, Stored};
use crate::env::Micros;
use crate::error::{Error, Result};
use crate::id::{Epoch, RecordNumber, TransactionId, Version};
use crate::name::RefName;

/// One entry of a ref's log; its name in the store is its [`RecordNumber`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RefRecord {
    /// The ref, spelled as it was created.
    pub name: RefName,
    /// The state that it publishes, as users count (invariant 3).
    pub version: Version,
    /// How many versions the ref has skipped, so that they read on from a state that was further
    /// than the log of a name that is used again; the same for all records of a life.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub skipped: u64,
    /// What moved the ref.
    pub kind: RecordKind,
    /// The commit that the ref points at from here on; none once it is deleted.
    pub head: Option<CommitRef>,
    /// The commits that this record publishes, in order; the last is the head.
    pub commits: Vec<CommitRef>,
    /// The transactions that it publishes. Never empty: they make the bytes of a record unlike
    /// any other's, which is how a writer recognises its own record when an answer was lost.
    pub transactions: Vec<TransactionId>,
    /// When, never before the record below it (invariant 3).
    pub at: Micros,
    /// The garbage-collection epoch that writers on this ref are in.
    pub epoch: Epoch,
    /// The version at which the ref was last created.
    pub started_at: Version,
    /// Where it was created from; none for the first branch.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub from: Option<BranchPoint>,
}

/// What moves a ref.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RecordKind {
    /// It came to be.
    Create,
    /// One or more transactions committed.
    Commit,
    /// Another branch was merged into it.
    Merge,
    /// It was deleted; its name keeps counting from here.
    Delete,
    /// Nothing moved: the version is taken so that a stalled writer cannot take it.
    Fence,
}

impl RecordKind {
    /// The word for people.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Create => "create",
            Self::Commit => "commit",
            Self::Merge => "merge",
            Self::Delete => "delete",
            Self::Fence => "fence",
        }
    }
}

/// A published state of a branch.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct BranchPoint {
    /// The branch.
    pub branch: RefName,
    /// Its version.
    pub version: Version,
    /// What the branch had skipped there.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub skipped: u64,
}

impl BranchPoint {
    /// The record that published it.
    pub fn number(&self) -> RecordNumber {
        RecordNumber(self.version.0.saturating_sub(self.skipped))
    }
}

impl RefRecord {
    /// The most commits that one record publishes.
    pub(crate) const COMMITS_MAX: usize = 4_096;

    /// Its place in the log.
    pub fn number(&self) -> RecordNumber {
        self.number_of(self.version)
    }

    /// The place in the log of another version of the same life.
    pub(crate) fn number_of(&self, version: Version) -> RecordNumber {
        RecordNumber(version.0.saturating_sub(self.skipped))
    }
}

#[expect(
    clippy::trivially_copy_pass_by_ref,
    reason = "serde calls it with a reference"
)]
fn is_zero(skipped: &u64) -> bool {
    *skipped == 0
}

impl Stored for RefRecord {
    const KIND: &'static str = "ref_record";

    fn validate(&self) -> Result<()> {
        let refuse = |why: &str| {
            Err(Error::corrupt(why.to_owned())
                .with("ref", &self.name)
                .with("version", self.version))
        };
        if self.transactions.is_empty() {
            return refuse("a ref record has no transaction");
        }
        let from = self.from.as_ref();
        if self.skipped > self.started_at.0 || from.is_some_and(|f| f.skipped > f.version.0) {
            return refuse("a ref record has skipped more versions than there are");
        }
        if from.is_some_and(|from| from.version > self.started_at) {
            return refuse("a ref starts below the state that it was created from");
        }
        if self.version > Version::MAX {
            return refuse("a ref record has a version that nothing can follow");
        }
        if self.started_at > self.version {
            return refuse("a ref record is older than its ref");
        }
        if (self.kind == RecordKind::Create) != (self.started_at == self.version) {
            return refuse("a ref starts with another record than its creation");
        }
        if (self.kind == RecordKind::Delete) != self.head.is_none() {
            return refuse("a ref has no head although it was not deleted");
        }
        let publishes = matches!(self.kind, RecordKind::Commit | RecordKind::Merge);
        if publishes == self.commits.is_empty() {
            return refuse("a ref record publishes what its kind does not");
        }
        if self.kind == RecordKind::Commit && self.commits.len() != self.transactions.len() {
            return refuse("a ref record has another number of commits than of transactions");
        }
        if self.commits.len() > Self::COMMITS_MAX {
            return refuse("a ref record publishes too many commits");
        }
        if publishes && self.commits.last() != self.head.as_ref() {
            return refuse("the last commit of a ref record is not its head");
        }
        if !self.commits.is_sorted_by(|a, b| a.sequence < b.sequence) {
            return refuse("the commits of a ref record are out of order");
        }
        Ok(())
    }
}
