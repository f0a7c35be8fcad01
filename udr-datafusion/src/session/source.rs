//! Which state a name is read at.

use std::sync::Arc;

use udr_core::name::{RefName, RelationPath};
use udr_core::refs::Revision;
use udr_core::txn::Alteration;

/// Which state a name is read at.
#[derive(Debug, Clone)]
pub(crate) enum Source {
    /// Whatever the session reads: its transaction, its pin or the head of its branch.
    Tip,
    /// The state that a revision names, relative to the session's branch.
    At(Revision),
    /// The state that a revision names, relative to this branch.
    On(RefName, Revision),
    /// As the tip, with the columns that the statement gives its target.
    Evolving(Arc<Evolution>),
}

/// What a statement does to its target's columns before it changes its rows.
#[derive(Debug)]
pub(crate) struct Evolution {
    pub(crate) path: RelationPath,
    pub(crate) alterations: Vec<Alteration>,
}

impl Source {
    /// What tells two sources apart; equal keys name one state within a statement.
    pub(crate) fn key(&self) -> Option<String> {
        match self {
            Self::Tip | Self::Evolving(_) => None,
            Self::At(revision) => Some(revision.to_string()),
            // No revision has an `@` in it.
            Self::On(branch, revision) => Some(format!("{branch}@{revision}")),
        }
    }

    /// Whether it is the session's own state.
    pub(crate) fn is_tip(&self) -> bool {
        matches!(self, Self::Tip | Self::Evolving(_))
    }
}
