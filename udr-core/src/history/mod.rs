//! What led to a state: commits, versions, and the branches they were published on (layer L3).
//!
//! In: a revision, or two commits. Out: the point it names, or how the commits are related.
//! Called by snapshots, transactions and the repository. Versions are found by binary search:
//! times and sequences never decrease along a branch (invariants 2 and 3).

mod line;
mod log_entry;
mod resolve;

use std::sync::Arc;

pub use self::log_entry::LogEntry;
use crate::error::{Error, Result};
use crate::format::{BranchPoint, Commit, CommitRef, RefRecord};
use crate::id::{Digest, Version};
use crate::name::RefName;
use crate::refs::RefLog;
use crate::store::{RefKind, Store};

/// The most commits that a fast-forward publishes at once: as many as fit into a ref record.
const FAST_FORWARD_MAX: usize = RefRecord::COMMITS_MAX;
/// How many branches a branch may descend from.
const LINEAGE_MAX: usize = 1_024;

/// Reads commits and the logs that published them.
#[derive(Debug, Clone)]
pub struct History {
    store: Store,
    refs: RefLog,
}

/// A run of versions that a branch, or one that it descends from, published.
#[derive(Debug, Clone)]
pub(crate) struct Segment {
    pub(crate) branch: RefName,
    pub(crate) first: Version,
    pub(crate) last: Arc<RefRecord>,
}

impl History {
    /// Reads from `store`.
    pub fn new(store: Store, refs: RefLog) -> Self {
        Self { store, refs }
    }

    /// A commit.
    ///
    /// # Errors
    ///
    /// `Unavailable`, or `Corrupt` if it does not validate.
    pub async fn commit(&self, commit: &CommitRef) -> Result<Arc<Commit>> {
        if commit.object.within.is_some() {
            return Err(Error::corrupt("a commit is said to be a part of another")
                .with("commit", commit.id()));
        }
        let bytes = self.store.get_object(&commit.object).await?;
        let decoded = Commit::decode(&commit.object, &bytes)
            .map_err(|e| e.with("object", commit.object.digest))?;
        if decoded.sequence != commit.sequence {
            return Err(
                Error::corrupt("a commit has another sequence than its reference says")
                    .with("commit", commit.id()),
            );
        }
        Ok(Arc::new(decoded))
    }

    /// The runs of versions that lead to the head of a branch, newest first.
    ///
    /// # Errors
    ///
    /// `NotFound` if the branch does not exist; `Unavailable`, `Corrupt`.
    pub(crate) async fn lineage(&self, branch: &RefName) -> Result<Vec<Segment>> {
        let head = self.refs.head(RefKind::Branch, branch).await?;
        self.lineage_of(head).await
    }

    /// The runs of versions that lead to a record of a branch, newest first; whatever has become
    /// of the branch since.
    ///
    /// # Errors
    ///
    /// `Unavailable`, `Corrupt`.
    pub(crate) async fn lineage_of(&self, mut last: Arc<RefRecord>) -> Result<Vec<Segment>> {
        let mut segments = Vec::new();
        loop {
            segments.push(Segment {
                branch: last.name.clone(),
                first: last.started_at,
                last: Arc::clone(&last),
            });
            let from = match &last.from {
                None => return Ok(segments),
                Some(_) if segments.len() == LINEAGE_MAX => {
                    return Err(
                        Error::unsupported("a branch descends from too many branches")
                            .with("branch", &last.name),
                    );
                }
                Some(from) => from.clone(),
            };
            last = self.published_as(&from).await?;
        }
    }

    /// The record of a state that another record says was published.
    pub(crate) async fn published_as(&self, point: &BranchPoint) -> Result<Arc<RefRecord>> {
        let found = self
            .refs
            .record(RefKind::Branch, &point.branch, point.number())
            .await?;
        found
            .filter(|record| record.version == point.version)
            .ok_or_else(|| {
                Error::corrupt("a ref log lacks a record")
                    .with("branch", &point.branch)
                    .with("version", point.version)
            })
    }

    /// The record of another version of the life that `record` is of.
    pub(crate) async fn sibling(
        &self,
        record: &RefRecord,
        version: Version,
    ) -> Result<Arc<RefRecord>> {
        self.published_as(&BranchPoint {
            branch: record.name.clone(),
            version,
            skipped: record.skipped,
        })
        .await
    }

    /// The record of the first version in a segment for which `reached` holds; `reached` holds for
    /// all versions after it.
    pub(crate) async fn first_where(
        &self,
        segment: &Segment,
        reached: impl Fn(&RefRecord) -> bool + Send,
    ) -> Result<Option<Arc<RefRecord>>> {
        if !reached(&segment.last) {
            return Ok(None);
        }
        let mut found = Arc::clone(&segment.last);
        let mut low = segment.first.0;
        while low < found.version.0 {
            let middle = low + (found.version.0 - low) / 2;
            let record = self.sibling(&segment.last, Version(middle)).await?;
            if reached(&record) {
                found = record;
            } else {
                low = middle + 1;
            }
        }
        Ok(Some(found))
    }

    /// The record that published a commit on a branch or on one that it descends from.
    ///
    /// # Errors
    ///
    /// `Unavailable`, `Corrupt`.
    pub async fn published(
        &self,
        branch: &RefName,
        id: Digest,
        sequence: u64,
    ) -> Result<Option<(RefName, Arc<RefRecord>)>> {
        let lineage = self.lineage(branch).await?;
        self.published_in(lineage, id, sequence).await
    }

    /// The record that published a commit in the given runs of versions.
    pub(crate) async fn published_in(
        &self,
        lineage: Vec<Segment>,
        id: Digest,
        sequence: u64,
    ) -> Result<Option<(RefName, Arc<RefRecord>)>> {
        for segment in lineage {
            let past =
                |record: &RefRecord| record.head.is_some_and(|head| head.sequence >= sequence);
            let Some(record) = self.first_where(&segment, past).await? else {
                return Ok(None);
            };
            let holds = record
                .head
                .iter()
                .chain(&record.commits)
                .any(|c| c.id() == id);
            // The record that created a branch repeats a commit of the one it came from.
            if holds && (record.version > segment.first || record.from.is_none()) {
                return Ok(Some((segment.branch, record)));
            }
            if record.version > segment.first {
                return Ok(None);
            }
        }
        Ok(None)
    }

    /// The commit of a sequence that led to the head of a branch, and the record that published it;
    /// `None` if no record of the branch or of those that it descends from has it.
    ///
    /// # Errors
    ///
    /// `NotFound` if the branch does not exist; `Unavailable`, `Corrupt`.
    pub async fn at_sequence(
        &self,
        branch: &RefName,
        sequence: u64,
    ) -> Result<Option<(Arc<RefRecord>, CommitRef)>> {
        for segment in self.lineage(branch).await? {
            let past =
                |record: &RefRecord| record.head.is_some_and(|head| head.sequence >= sequence);
            let Some(record) = self.first_where(&segment, past).await? else {
                return Ok(None);
            };
            // The record that created a branch repeats a commit of the one it came from.
            if record.version > segment.first || record.from.is_none() {
                let mut commits = record.head.iter().chain(&record.commits);
                let commit = commits.find(|c| c.sequence == sequence).copied();
                return Ok(commit.map(|commit| (record, commit)));
            }
        }
        Ok(None)
    }

    /// The commits that lead from `ancestor` (left out) to `descendant`, oldest first, along first
    /// parents; `None` if `ancestor` is not on that line.
    ///
    /// # Errors
    ///
    /// `Unsupported` beyond 4,096 commits; `Unavailable`, `Corrupt`.
    pub async fn line(
        &self,
        ancestor: &CommitRef,
        descendant: &CommitRef,
    ) -> Result<Option<Vec<CommitRef>>> {
        let mut commits = Vec::new();
        let mut at = *descendant;
        while at.sequence > ancestor.sequence {
            if commits.len() == FAST_FORWARD_MAX {
                return Err(
                    Error::unsupported("the branches are more than 4,096 commits apart")
                        .with_hint("merge an earlier state of the branch first"),
                );
            }
            commits.push(at);
            match self.commit(&at).await?.parents.first() {
                Some(parent) => at = *parent,
                None => return Ok(None),
            }
        }
        commits.reverse();
        Ok((at.id() == ancestor.id()).then_some(commits))
    }
}
