//! The kinds of calls that an object store answers.
//!
//! In: nothing. Out: a kind per call and sets of kinds, so that a test says which calls it means.

use std::ops::BitOr;

/// One kind of call to an object store.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Operation {
    /// A put that must find nothing there.
    Create,
    /// A put that replaces, or a conditional update.
    Put,
    /// Starting, filling, finishing or abandoning a multipart upload.
    Multipart,
    /// A get of a whole object or of a range.
    Get,
    /// A request for an object's metadata.
    Head,
    /// A listing of one folder.
    List,
    /// A listing of everything below a folder, however deep.
    Walk,
    /// A delete, counted for each path.
    Delete,
    /// A copy or a rename.
    Copy,
}

impl Operation {
    const fn bit(self) -> u16 {
        1 << self as u16
    }

    /// Whether the call can change what is stored.
    pub const fn writes(self) -> bool {
        Operations::WRITES.contains(self)
    }
}

/// A set of [`Operation`]s.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Operations(u16);

impl Operations {
    /// Every kind.
    pub const ALL: Self = Self(u16::MAX);
    /// What can change the store.
    pub const WRITES: Self = Self(
        Operation::Create.bit()
            | Operation::Put.bit()
            | Operation::Multipart.bit()
            | Operation::Delete.bit()
            | Operation::Copy.bit(),
    );
    /// What only looks.
    pub const READS: Self = Self(Operation::Get.bit() | Operation::Head.bit() | Self::LISTINGS.0);
    /// Listings of both forms.
    pub const LISTINGS: Self = Self(Operation::List.bit() | Operation::Walk.bit());

    /// The set of one kind.
    pub const fn of(operation: Operation) -> Self {
        Self(operation.bit())
    }

    /// Whether `operation` is in the set.
    pub const fn contains(self, operation: Operation) -> bool {
        self.0 & operation.bit() != 0
    }
}

impl BitOr for Operations {
    type Output = Self;

    fn bitor(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }
}
