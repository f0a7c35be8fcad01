//! What a session is doing, for people.

use udr_core::id::{TransactionId, Version};
use udr_core::name::RefName;
use udr_core::refs::Revision;

use super::UdrSession;

/// What a session is doing.
#[derive(Debug, Clone)]
pub struct SessionStatus {
    /// The branch it is on.
    pub branch: RefName,
    /// The revision it is pinned to.
    pub as_of: Option<Revision>,
    /// The transaction that is open.
    pub transaction: Option<TransactionStatus>,
}

/// What an open transaction holds.
#[derive(Debug, Clone)]
pub struct TransactionStatus {
    /// Identifies it.
    pub id: TransactionId,
    /// The version it started from, if that is one of a branch.
    pub base: Option<Version>,
    /// Whether it has changes that COMMIT would publish.
    pub changed: bool,
    /// Whether it refuses changes.
    pub read_only: bool,
}

impl UdrSession {
    /// What the session is doing.
    pub fn status(&self) -> SessionStatus {
        let state = self.state.lock();
        SessionStatus {
            branch: state.branch.clone(),
            as_of: state.as_of.as_ref().map(|(revision, _)| revision.clone()),
            transaction: state.transaction.status(),
        }
    }
}
