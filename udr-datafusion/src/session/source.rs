//! Which state a name is read at.

use udr_core::name::RefName;
use udr_core::refs::Revision;

/// Which state a name is read at.
#[derive(Debug, Clone)]
pub(crate) enum Source {
    /// Whatever the session reads: its transaction, its pin or the head of its branch.
    Tip,
    /// The state that a revision names, relative to the session's branch.
    At(Revision),
    /// The state that a revision names, relative to this branch.
    On(RefName, Revision),
}

impl Source {
    /// What tells two sources apart; equal keys name one state within a statement.
    pub(crate) fn key(&self) -> Option<String> {
        match self {
            Self::Tip => None,
            Self::At(revision) => Some(revision.to_string()),
            // No revision has an `@` in it.
            Self::On(branch, revision) => Some(format!("{branch}@{revision}")),
        }
    }

    /// Whether it is a fixed name and not the session's own state.
    pub(crate) fn is_tip(&self) -> bool {
        matches!(self, Self::Tip)
    }
}
