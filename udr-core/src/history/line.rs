//! Where states come from, and what they have in common.

use std::cmp::Ordering;
use std::sync::Arc;

use super::History;
use crate::error::{Error, ErrorKind, Result};
use crate::format::{CommitRef, RecordKind, RefRecord};
use crate::id::Version;
use crate::name::RefName;
use crate::refs::revision::{Base, parse_time};
use crate::refs::{Point, Revision};

/// How far two states may be from the commit that led to both.
const APART_MAX: u64 = 4_096;

impl History {
    /// The commit before all that `revision` names: before the first commit of a version, before a
    /// commit, before what was published from a time on; `None` if nothing came before. And the
    /// commit that it names; `None` for a time.
    ///
    /// # Errors
    ///
    /// As [`History::resolve`]; a time before the first commit has nothing before it.
    pub async fn before(
        &self,
        current: &RefName,
        revision: &Revision,
    ) -> Result<(Option<CommitRef>, Option<CommitRef>)> {
        if let Some(time) = self.as_time(revision).await? {
            let before = Revision::at_time(time.saturating_sub(1));
            return match self.resolve(current, &before).await {
                Ok(point) => Ok((Some(point.commit), None)),
                Err(error) if error.kind() == ErrorKind::NotFound => Ok((None, None)),
                Err(error) => Err(error),
            };
        }
        let point = self.resolve(current, revision).await?;
        let mut first = point.commit;
        if let Base::Version(version) = &revision.base
            && revision.back == 0
        {
            let record = self.published_version(current, *version).await?;
            match (record.kind, record.commits.first()) {
                // A version may have published several.
                (_, Some(commit)) => first = *commit,
                (RecordKind::Create, None) => {}
                // A fence has published nothing.
                (_, None) => return Ok((Some(point.commit), Some(point.commit))),
            }
        }
        let commit = self.commit(&first).await?;
        Ok((commit.parents.first().copied(), Some(point.commit)))
    }

    /// The record that published what a version of a branch shows: that of the branch that it was made
    /// from, for the version that it begins with.
    ///
    /// # Errors
    ///
    /// `NotFound` if there is no such version; `Unavailable`, `Corrupt`.
    pub(crate) async fn published_version(
        &self,
        branch: &RefName,
        version: Version,
    ) -> Result<Arc<RefRecord>> {
        let point = self.resolve(branch, &Revision::at_version(version)).await?;
        let Some(published) = point.published() else {
            return Err(Error::internal("a version has no record"));
        };
        let mut record = self.published_as(&published).await?;
        while record.kind == RecordKind::Create
            && let Some(from) = &record.from
        {
            record = self.published_as(from).await?;
        }
        Ok(record)
    }

    /// The time that a revision is, if nothing has this name.
    async fn as_time(&self, revision: &Revision) -> Result<Option<i64>> {
        if revision.back > 0 {
            return Ok(None);
        }
        match &revision.base {
            Base::Time(time) => Ok(Some(*time)),
            Base::Word(word) => match RefName::new(word.as_str()) {
                Ok(name) if self.named(&name).await?.is_some() => Ok(None),
                _ => Ok(parse_time(word)),
            },
            Base::Head | Base::Version(_) | Base::Ref(_) => Ok(None),
        }
    }

    /// The newest commit that led to both states.
    ///
    /// # Errors
    ///
    /// `Unsupported` beyond 4,096 commits from where they parted; `Unavailable`, `Corrupt`.
    pub async fn common(&self, one: &Point, other: &Point) -> Result<CommitRef> {
        for (earlier, later) in [(one, other), (other, one)] {
            let commit = earlier.commit;
            if commit.id() == later.commit.id() {
                return Ok(commit);
            }
            // From the log, which can be searched; commits only know their parents.
            if let Some(published) = later.published() {
                let record: Arc<RefRecord> = self.published_as(&published).await?;
                let lineage = self.lineage_of(record).await?;
                let found = self.published_in(lineage, commit.id(), commit.sequence);
                if found.await?.is_some() && commit.sequence <= later.commit.sequence {
                    return Ok(commit);
                }
            }
        }
        let back = async |at: CommitRef| {
            let commit = self.commit(&at).await?;
            let parent = commit.parents.first().copied();
            parent.ok_or_else(|| Error::corrupt("two states have no commit in common"))
        };
        let (mut one, mut other) = (one.commit, other.commit);
        for _ in 0..APART_MAX {
            if one.id() == other.id() {
                return Ok(one);
            }
            (one, other) = match one.sequence.cmp(&other.sequence) {
                Ordering::Greater => (back(one).await?, other),
                Ordering::Less => (one, back(other).await?),
                Ordering::Equal => (back(one).await?, back(other).await?),
            };
        }
        Err(Error::unsupported(
            "the states are more than 4,096 commits apart",
        ))
    }
}
