//! Which rows changed, and how (layer L7).
//!
//! In: a table before and after a commit, or at two states of one line of commits. Out: the rows
//! that went and those that came, as batches, or as a stream that goes on as commits are published.
//! Called by engines and by the repository.
//!
//! A row is known by its identity, wherever it is stored: one that went and came is an update, and
//! no change at all if the same commit gave it the values that it has on both sides. So files that
//! are written anew do not show, and no feed has to be switched on before it is needed.

mod commit;
mod pairs;
mod position;
mod read;
mod subscription;
mod table;
mod tail;

use arrow::array::RecordBatch;

pub(crate) use self::commit::{row_changes, state_of};
pub use self::position::Position;
pub use self::read::ChangeRequest;
pub use self::subscription::{ChangeEvent, SubscribeOptions, Subscription};
pub use self::table::TableChanges;
pub use self::tail::{Poll, Tail};
use crate::data::RowId;

/// What happened to a row.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum ChangeKind {
    /// It came.
    Insert,
    /// It went.
    Delete,
    /// It changed: what it was.
    UpdatePreimage,
    /// It changed: what it is.
    UpdatePostimage,
}

impl ChangeKind {
    /// All of them.
    pub const ALL: [Self; 4] = [
        Self::Insert,
        Self::Delete,
        Self::UpdatePreimage,
        Self::UpdatePostimage,
    ];

    /// The word in a change feed, as Delta Lake has it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Insert => "insert",
            Self::Delete => "delete",
            Self::UpdatePreimage => "update_preimage",
            Self::UpdatePostimage => "update_postimage",
        }
    }

    /// Whether the row is one of the later state.
    pub fn came(self) -> bool {
        matches!(self, Self::Insert | Self::UpdatePostimage)
    }
}

/// Rows of one table that changed.
#[derive(Debug, Clone)]
pub struct ChangeBatch {
    /// The rows, with the columns that were asked for; every column allows NULL.
    pub rows: RecordBatch,
    /// What happened to each of them.
    pub kinds: Vec<ChangeKind>,
    /// What identifies each of them.
    pub row_ids: Vec<RowId>,
}
