//! Looking up revisions.

use std::sync::Arc;

use super::History;
use crate::error::{Error, Result};
use crate::format::{Commit, CommitRef, RecordKind, RefRecord};
use crate::id::{RecordNumber, Version};
use crate::name::RefName;
use crate::refs::revision::{Base, COMMIT_PREFIX_MIN, format_time, parse_time};
use crate::refs::{Point, Revision};
use crate::store::RefKind;

impl History {
    /// The state that `revision` names for a session on `current`.
    ///
    /// # Errors
    ///
    /// `NotFound`, with the nearest name if there is one; `Invalid` if a commit id is ambiguous;
    /// `Unavailable`, `Corrupt`.
    pub async fn resolve(&self, current: &RefName, revision: &Revision) -> Result<Point> {
        let point = match &revision.base {
            Base::Head => self.head(current).await?,
            Base::Version(version) => self.at_version(current, *version).await?,
            Base::Time(time) => self.at_time(current, *time).await?,
            Base::Ref(name) => match self.named(name).await? {
                Some(point) => point,
                None => return Err(self.unknown(name.as_str()).await),
            },
            Base::Word(word) => self.word(current, word).await?,
        };
        if revision.back == 0 {
            Ok(point)
        } else {
            self.back(point, revision).await
        }
    }

    /// The head of a branch.
    ///
    /// # Errors
    ///
    /// `NotFound`, `Unavailable`, `Corrupt`.
    pub async fn head(&self, branch: &RefName) -> Result<Point> {
        let record = self.refs.head(RefKind::Branch, branch).await?;
        branch_point(&record)
    }

    async fn word(&self, current: &RefName, word: &str) -> Result<Point> {
        if let Ok(name) = RefName::new(word)
            && let Some(point) = self.named(&name).await?
        {
            return Ok(point);
        }
        if let Some(time) = parse_time(word) {
            return self.at_time(current, time).await;
        }
        let hex = word.to_ascii_lowercase();
        if (COMMIT_PREFIX_MIN..=64).contains(&hex.len())
            && hex.bytes().all(|b| b.is_ascii_hexdigit())
            && let Some(point) = self.by_commit_prefix(current, &hex).await?
        {
            return Ok(point);
        }
        Err(self.unknown(word).await)
    }

    pub(super) async fn named(&self, name: &RefName) -> Result<Option<Point>> {
        let newest = self.refs.newest(RefKind::Branch, name).await?;
        if let Some(record) = newest.filter(|record| record.kind != RecordKind::Delete) {
            return branch_point(&record).map(Some);
        }
        let newest = self.refs.newest(RefKind::Tag, name).await?;
        match newest.filter(|record| record.kind != RecordKind::Delete) {
            Some(record) => Ok(Some(Point {
                branch: record.from.as_ref().map(|from| from.branch.clone()),
                version: record.from.as_ref().map(|from| from.version),
                commit: head_of(&record)?,
                at: record.at,
                skipped: record.from.as_ref().map_or(0, |from| from.skipped),
            })),
            None => Ok(None),
        }
    }

    /// One published version of a branch, or of the one it descends from.
    async fn at_version(&self, branch: &RefName, version: Version) -> Result<Point> {
        // `main` has had one life only, so its records need no look at the head.
        if branch.folded() == RefName::main().folded()
            && let number = RecordNumber(version.0)
            && let Some(record) = self.refs.record(RefKind::Branch, branch, number).await?
        {
            return branch_point(&record);
        }
        let mut newest = None;
        let mut below = None;
        for segment in self.lineage(branch).await? {
            newest.get_or_insert(segment.last.version);
            if version > segment.last.version {
                break;
            }
            if version >= segment.first {
                return branch_point(&self.sibling(&segment.last, version).await?);
            }
            below = Some(segment.first);
        }
        let error = Error::not_found("no such version")
            .with("version", version)
            .with("branch", branch);
        Err(match (below, newest) {
            (None, Some(newest)) => error.with_hint(format!("the newest version is {newest}")),
            _ => error.with_hint("it belongs to a branch that was dropped"),
        })
    }

    /// What was current on a branch at a time.
    async fn at_time(&self, branch: &RefName, time: i64) -> Result<Point> {
        let mut oldest = None;
        for segment in self.lineage(branch).await? {
            let later = |record: &RefRecord| record.at > time;
            let first_later = self.first_where(&segment, later).await?;
            match first_later {
                None => return branch_point(&segment.last),
                Some(record) if record.version > segment.first => {
                    let current = Version(record.version.0 - 1);
                    return branch_point(&self.sibling(&segment.last, current).await?);
                }
                Some(record) => oldest = Some(record.at),
            }
        }
        let error = Error::not_found("nothing was published at that time")
            .with("time", format_time(time))
            .with("branch", branch);
        Err(match oldest {
            Some(oldest) => error.with_hint(format!("history starts at {}", format_time(oldest))),
            None => error,
        })
    }

    /// The published commit whose id starts with `hex`.
    async fn by_commit_prefix(&self, current: &RefName, hex: &str) -> Result<Option<Point>> {
        let mut found: Option<Point> = None;
        for object in self.store.find_objects(hex).await? {
            let bytes = self.store.get_object(&object).await?;
            // Objects of other kinds live in the same folders.
            let Ok(commit) = Commit::decode(&object, &bytes) else {
                continue;
            };
            let reference = CommitRef {
                object,
                sequence: commit.sequence,
            };
            // A commit that lost its race is stored, but nothing that anybody ever saw.
            let Some(point) = self.published_anywhere(current, &reference).await? else {
                continue;
            };
            if found.replace(point).is_some() {
                return Err(Error::invalid("several commits start with these digits")
                    .with("commit", hex)
                    .with_hint("write more of the commit id"));
            }
        }
        Ok(found)
    }

    /// Where a commit was published, on `current` if it can be; a tag tells only that it was.
    pub(crate) async fn published_anywhere(
        &self,
        current: &RefName,
        commit: &CommitRef,
    ) -> Result<Option<Point>> {
        let (id, sequence) = (commit.id(), commit.sequence);
        if let Some((branch, record)) = self.published(current, id, sequence).await? {
            return Ok(Some(published_point(branch, *commit, &record)));
        }
        for other in self.refs.list(RefKind::Branch).await? {
            let found = self.published(&other.name, id, sequence).await?;
            if let Some((branch, record)) = found {
                return Ok(Some(published_point(branch, *commit, &record)));
            }
        }
        for tag in self.refs.list(RefKind::Tag).await? {
            if tag.head.is_some_and(|head| head.id() == commit.id()) {
                return Ok(Some(Point {
                    branch: None,
                    version: None,
                    commit: *commit,
                    at: tag.at,
                    skipped: 0,
                }));
            }
        }
        Ok(None)
    }

    /// Goes back along first parents.
    async fn back(&self, point: Point, revision: &Revision) -> Result<Point> {
        let mut commit = point.commit;
        for step in 0..revision.back {
            let decoded = self.commit(&commit).await?;
            match decoded.parents.first() {
                Some(parent) => commit = *parent,
                None => {
                    return Err(Error::not_found("history does not go back that far")
                        .with("revision", revision)
                        .with_hint(format!("it goes back {step} commits")));
                }
            }
        }
        let published = match point.published() {
            // From the record that the state was found by: the branch may be gone, or another one.
            Some(at) => {
                let lineage = self.lineage_of(self.published_as(&at).await?).await?;
                self.published_in(lineage, commit.id(), commit.sequence)
                    .await?
            }
            None => None,
        };
        Ok(match published {
            Some((branch, record)) => published_point(branch, commit, &record),
            None => Point {
                branch: None,
                version: None,
                commit,
                at: self.commit(&commit).await?.committed_at,
                skipped: 0,
            },
        })
    }

    async fn unknown(&self, word: &str) -> Error {
        let error =
            Error::not_found("no such branch, tag, version, time or commit").with("revision", word);
        let mut names = Vec::new();
        for kind in [RefKind::Branch, RefKind::Tag] {
            match self.store.list_refs(kind).await {
                Ok(found) => names.extend(found),
                Err(_) => return error,
            }
        }
        match crate::error::nearest(word, names.iter().map(RefName::as_str)) {
            Some(nearest) => error.with_hint(format!("did you mean `{nearest}`?")),
            None => error,
        }
    }
}

fn head_of(record: &Arc<RefRecord>) -> Result<CommitRef> {
    record.head.ok_or_else(|| {
        Error::corrupt("a ref record has no head")
            .with("ref", &record.name)
            .with("version", record.version)
    })
}

fn branch_point(record: &Arc<RefRecord>) -> Result<Point> {
    Ok(published_point(
        record.name.clone(),
        head_of(record)?,
        record,
    ))
}

/// A commit where `record` of `branch` published it.
fn published_point(branch: RefName, commit: CommitRef, record: &RefRecord) -> Point {
    Point {
        branch: Some(branch),
        version: Some(record.version),
        commit,
        at: record.at,
        skipped: record.skipped,
    }
}
