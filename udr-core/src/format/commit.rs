//! Commits: one published state each, of all tables together.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::{ObjectRef, Stored};
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
}

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
            Self::Alter | Self::Constrain => "ALTER TABLE",
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
}
