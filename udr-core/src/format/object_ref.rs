//! How one object names another.

use serde::{Deserialize, Serialize};

use crate::error::{Error, Result};
use crate::id::{Digest, Epoch};

/// Names immutable bytes by their digest (invariant 1), never by a path.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ObjectRef {
    /// The digest of the bytes.
    pub digest: Digest,
    /// The garbage-collection epoch it was written under.
    pub epoch: Epoch,
    /// How many bytes it has.
    pub bytes: u64,
    /// The object that it is a part of; none if it is an object of its own.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub within: Option<Within>,
}

/// A commit object that has other objects as parts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum Within {
    /// The one that the reference itself is in, whose digest cannot be in it. It is stored and
    /// never seen: whoever reads a reference knows what it was read from.
    Here,
    /// This one, of the same epoch.
    Commit {
        /// The commit id.
        digest: Digest,
        /// How many bytes it has with all parts.
        bytes: u64,
    },
}

impl ObjectRef {
    /// The reference to `bytes` written under `epoch` as an object of their own.
    pub fn of(epoch: Epoch, bytes: &[u8]) -> Self {
        Self {
            digest: Digest::of(bytes),
            epoch,
            bytes: bytes.len() as u64,
            within: None,
        }
    }

    /// What its parts are within.
    pub(crate) fn as_home(&self) -> Within {
        Within::Commit {
            digest: self.digest,
            bytes: self.bytes,
        }
    }

    /// Says where it is, once what it was read from is known: a part of `home`, or an object of its
    /// own.
    ///
    /// # Errors
    ///
    /// `Corrupt` if it is said to be beside an object that is no part of anything.
    pub(crate) fn settle(&mut self, home: Option<Within>) -> Result<()> {
        if self.within == Some(Within::Here) {
            let nowhere = || {
                Error::corrupt("an object is said to be a part of the same commit as another, which is no part")
                    .with("object", self.digest)
            };
            self.within = Some(home.ok_or_else(nowhere)?);
        }
        Ok(())
    }
}
