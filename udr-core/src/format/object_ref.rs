//! How one object names another.

use serde::{Deserialize, Serialize};

use crate::id::{Digest, Epoch};

/// Names an immutable object by the digest of its bytes (invariant 1), never by a path.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ObjectRef {
    /// The digest of the bytes.
    pub digest: Digest,
    /// The garbage-collection epoch it was written under.
    pub epoch: Epoch,
    /// How many bytes it has.
    pub bytes: u64,
}

impl ObjectRef {
    /// The reference to `bytes` written under `epoch`.
    pub fn of(epoch: Epoch, bytes: &[u8]) -> Self {
        Self {
            digest: Digest::of(bytes),
            epoch,
            bytes: bytes.len() as u64,
        }
    }
}
