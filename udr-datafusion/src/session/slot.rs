//! Where a session's transaction is at a moment: nowhere, waiting, or with a statement.

use udr_core::id::TransactionId;
use udr_core::snapshot::Snapshot;
use udr_core::txn::Transaction;
use udr_core::{Error, Result};

use super::{Pinned, TransactionStatus};

/// Where the session's transaction is.
pub(super) enum Slot {
    /// There is none: each statement commits by itself.
    Idle,
    /// A statement has it.
    Busy(TransactionStatus),
    /// It waits for the next statement.
    Open(Open),
}

/// An open transaction.
pub(super) enum Open {
    Writing(Box<Transaction>),
    Reading {
        id: TransactionId,
        snapshot: Snapshot,
    },
}

impl Slot {
    pub(super) fn is_idle(&self) -> bool {
        matches!(self, Self::Idle)
    }

    /// The state that the transaction reads; `None` if there is no transaction.
    pub(super) fn pinned(&self, changes: u64) -> Result<Option<Pinned>> {
        match self {
            Self::Idle => Ok(None),
            Self::Busy(_) => Err(busy()),
            Self::Open(open) => Ok(Some(match open {
                Open::Writing(transaction) => Pinned {
                    snapshot: transaction.snapshot(),
                    transaction: Some(transaction.id()),
                    changes,
                    evolved: None,
                },
                Open::Reading { id, snapshot } => Pinned {
                    snapshot: snapshot.clone(),
                    transaction: Some(*id),
                    changes,
                    evolved: None,
                },
            })),
        }
    }

    pub(super) fn status(&self) -> Option<TransactionStatus> {
        match self {
            Self::Idle => None,
            Self::Busy(status) => Some(status.clone()),
            Self::Open(open) => Some(open.status()),
        }
    }

    /// The open transaction, to change it without waiting for anything.
    pub(super) fn writing(&mut self) -> Result<&mut Transaction> {
        match self {
            Self::Idle => Err(no_transaction()),
            Self::Busy(_) => Err(busy()),
            Self::Open(open) => match open {
                Open::Writing(transaction) => Ok(transaction),
                Open::Reading { .. } => Err(read_only()),
            },
        }
    }
}

impl Open {
    fn status(&self) -> TransactionStatus {
        match self {
            Self::Writing(transaction) => TransactionStatus {
                id: transaction.id(),
                base: transaction.base().version(),
                changed: !transaction.is_empty(),
                read_only: false,
            },
            Self::Reading { id, snapshot } => TransactionStatus {
                id: *id,
                base: snapshot.version(),
                changed: false,
                read_only: true,
            },
        }
    }
}

pub(super) fn no_transaction() -> Error {
    Error::invalid("no transaction is open").with_hint("start one with BEGIN")
}

pub(super) fn read_only() -> Error {
    Error::invalid("the transaction is read only").with_hint("COMMIT or ROLLBACK it first")
}

pub(super) fn busy() -> Error {
    Error::invalid("another statement of this session is changing the transaction")
        .with_hint("run the statements of a transaction one after the other")
}
