//! Care of a repository: checking everything that is reachable (layer L7).
//!
//! In: a repository. Out: what was found. Called by the repository. Nothing is changed.

mod fsck;

pub(crate) use fsck::fsck;
pub use fsck::{FsckOptions, FsckReport, Problem};
