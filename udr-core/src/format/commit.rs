//! Commits: one published state each, of all tables together.

use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use super::{ObjectRef, Stored, Within, decode, encode};
use crate::env::Micros;
use crate::error::{Error, Result};
use crate::id::{Digest, TableId, TransactionId};
use crate::name::{NamespaceName, RelationPath};

/// Names a commit, with its place in the order of its branch.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CommitRef {
    /// The commit object; its digest is the commit id.
    pub object: ObjectRef,
    /// One more than the largest sequence of its parents; 0 for the first commit.
    pub sequence: u64,
}

impl CommitRef {
    /// The commit id.
    pub fn id(&self) -> Digest {
        self.object.digest
    }
}

/// A state of all tables, where it came from, and what it changed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Commit {
    /// The commits it was made from; the first is the one it followed on its branch.
    pub parents: Vec<CommitRef>,
    /// The catalog at this commit.
    pub root: ObjectRef,
    /// One more than the largest sequence of its parents.
    pub sequence: u64,
    /// Who made it.
    pub author: String,
    /// Why.
    pub message: String,
    /// When, by the writer's clock, never before its parents.
    pub committed_at: Micros,
    /// What the writer wanted kept.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub metadata: BTreeMap<String, String>,
    /// The transaction that made it.
    pub transaction: TransactionId,
    /// The writer's own name for the change; a replay returns the first result.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub idempotency_key: Option<String>,
    /// What it changed: namespaces by name, tables by id, views by name.
    pub changes: Vec<Change>,
    /// The objects that are stored with it, in order.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub parts: Vec<Part>,
}

/// An object that is stored with the commit that made it, behind it in the same object.
///
/// So a small commit is one object to write, and one to read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Part {
    /// The digest of its bytes.
    pub digest: Digest,
    /// How many bytes it has.
    pub bytes: u64,
}

/// What stands between a commit and its parts; JSON has none outside of white space.
const PARTS_FOLLOW: u8 = b'\n';

/// What a commit did to one thing.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum Change {
    /// To a namespace.
    Namespace {
        /// Which.
        name: NamespaceName,
        /// What.
        operation: RelationOperation,
    },
    /// To a table.
    Table(TableChange),
    /// To a view.
    View {
        /// Which.
        path: RelationPath,
        /// What.
        operation: RelationOperation,
    },
}

/// What can happen to a namespace or a view.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[expect(missing_docs, reason = "the names say it")]
pub enum RelationOperation {
    Create,
    Replace,
    Drop,
}

/// What can happen to a table.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum TableOperation {
    /// It came to be.
    Create,
    /// Data files were added.
    Append,
    /// All rows were replaced.
    Overwrite,
    /// All rows were removed.
    Truncate,
    /// Rows were deleted.
    Delete,
    /// Rows were changed.
    Update,
    /// Rows were changed, deleted and added as another table said.
    Merge,
    /// It got another name.
    Rename,
    /// Its definition changed, but for what every row has to be.
    Alter,
    /// A column became of another type: rows written under the old one do not fit any more.
    Evolve,
    /// Every row has to be something more than before.
    Constrain,
    /// It went.
    Drop,
}

impl TableOperation {
    /// The word for people, in capitals as SQL has it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Create => "CREATE TABLE",
            Self::Append => "INSERT",
            Self::Overwrite => "INSERT OVERWRITE",
            Self::Truncate => "TRUNCATE",
            Self::Delete => "DELETE",
            Self::Update => "UPDATE",
            Self::Merge => "MERGE",
            Self::Rename => "RENAME TABLE",
            Self::Alter | Self::Constrain | Self::Evolve => "ALTER TABLE",
            Self::Drop => "DROP TABLE",
        }
    }
}

/// What a commit did to one table, with sizes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TableChange {
    /// Which table.
    pub table: TableId,
    /// Its name after the commit; before it, if it was dropped.
    pub path: RelationPath,
    /// Its name before, if it was renamed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub renamed_from: Option<RelationPath>,
    /// What was done, each kind once, in the order of [`TableOperation`].
    pub operations: Vec<TableOperation>,
    /// Rows that came.
    pub rows_added: u64,
    /// Rows that went.
    pub rows_removed: u64,
    /// Data files that came.
    pub files_added: u64,
    /// Data files that went.
    pub files_removed: u64,
}

impl Commit {
    /// The most bytes of the parts of a commit. Whoever reads a history reads them, too.
    pub const PARTS_BYTES_MAX: u64 = 64 << 10;

    /// Whether it changed any of these tables.
    pub fn changes_any(&self, tables: &BTreeSet<TableId>) -> bool {
        self.changes.iter().any(|change| match change {
            Change::Table(change) => tables.contains(&change.table),
            Change::Namespace { .. } | Change::View { .. } => false,
        })
    }

    /// The bytes to store for a commit with `parts`.
    ///
    /// # Errors
    ///
    /// `Corrupt` if it does not validate, or its parts are too large.
    pub fn encode(mut self, parts: &[Bytes]) -> Result<Bytes> {
        self.parts = parts
            .iter()
            .map(|part| Part {
                digest: Digest::of(part),
                bytes: part.len() as u64,
            })
            .collect();
        let commit = encode(&self)?;
        if parts.is_empty() {
            return Ok(commit);
        }
        let mut bytes = Vec::from(commit);
        bytes.push(PARTS_FOLLOW);
        parts.iter().for_each(|part| bytes.extend_from_slice(part));
        Ok(bytes.into())
    }

    /// The commit in `bytes`, which are those of `object`.
    ///
    /// # Errors
    ///
    /// As [`decode`]; `Corrupt` if its parts are not what it says.
    pub fn decode(object: &ObjectRef, bytes: &[u8]) -> Result<Self> {
        let (commit, parts) = split(bytes);
        let mut commit = decode::<Self>(commit)?;
        let listed = commit.parts.iter().map(|part| part.bytes).sum::<u64>();
        if listed != parts.len() as u64 {
            return Err(Error::corrupt("a commit has other parts than it says"));
        }
        commit.settle(Some(object.as_home()))?;
        Ok(commit)
    }

    /// The bytes of a part in those of the commit object that `object` is within, verified.
    ///
    /// # Errors
    ///
    /// `Corrupt` if there is no such part or it has another digest.
    pub(crate) fn part(commit: &Bytes, object: &ObjectRef) -> Result<Bytes> {
        let missing = || Error::corrupt("a commit lacks a part").with("object", object.digest);
        let (head, parts) = split(commit);
        let mut start = commit.len() - parts.len();
        for part in decode::<Self>(head)?.parts {
            let end = usize::try_from(part.bytes)
                .ok()
                .and_then(|n| start.checked_add(n));
            let end = end.filter(|end| *end <= commit.len()).ok_or_else(missing)?;
            if part.digest == object.digest {
                let bytes = commit.slice(start..end);
                if bytes.len() as u64 != object.bytes || Digest::of(&bytes) != object.digest {
                    return Err(Error::corrupt("a part of a commit is not what it says")
                        .with("object", object.digest));
                }
                return Ok(bytes);
            }
            start = end;
        }
        Err(missing())
    }

    /// What the commit did, for people: each kind of operation once.
    pub fn operation(&self) -> String {
        let mut words = Vec::new();
        for change in &self.changes {
            let found = match change {
                Change::Namespace {
                    operation: RelationOperation::Drop,
                    ..
                } => vec!["DROP SCHEMA"],
                Change::Namespace { .. } => vec!["CREATE SCHEMA"],
                Change::View {
                    operation: RelationOperation::Drop,
                    ..
                } => vec!["DROP VIEW"],
                Change::View { .. } => vec!["CREATE VIEW"],
                Change::Table(change) => change.operations.iter().map(|o| o.as_str()).collect(),
            };
            for word in found {
                if !words.contains(&word) {
                    words.push(word);
                }
            }
        }
        match (words.is_empty(), self.parents.is_empty()) {
            (true, true) => "CREATE REPOSITORY".to_owned(),
            (true, false) => "NO CHANGE".to_owned(),
            (false, _) => words.join(", "),
        }
    }
}

/// The bytes of a commit, and those of its parts.
fn split(bytes: &[u8]) -> (&[u8], &[u8]) {
    let mut halves = bytes.splitn(2, |byte| *byte == PARTS_FOLLOW);
    let commit = halves.next().unwrap_or_default();
    (commit, halves.next().unwrap_or_default())
}

impl Stored for Commit {
    const KIND: &'static str = "commit";

    fn validate(&self) -> Result<()> {
        let expected = self
            .parents
            .iter()
            .map(|p| p.sequence.saturating_add(1))
            .max()
            .unwrap_or(0);
        if self.sequence != expected {
            return Err(
                Error::corrupt("the sequence of a commit does not follow its parents'")
                    .with("sequence", self.sequence),
            );
        }
        let sizes = self
            .parts
            .iter()
            .try_fold(0u64, |sum, part| sum.checked_add(part.bytes));
        if sizes.is_none_or(|sum| sum > Self::PARTS_BYTES_MAX) {
            return Err(Error::corrupt("the parts of a commit are too large"));
        }
        for change in &self.changes {
            let Change::Table(change) = change else {
                continue;
            };
            let operations = &change.operations;
            let alone = operations.len() == 1 || !operations.contains(&TableOperation::Drop);
            if !alone || !operations.is_sorted_by(|a, b| a < b) {
                return Err(Error::corrupt(
                    "what a commit did to a table is out of order or impossible",
                )
                .with("table", change.table));
            }
        }
        Ok(())
    }

    fn settle(&mut self, home: Option<Within>) -> Result<()> {
        self.root.settle(home)
    }
}
