//! The ref log: what branches and tags point at, and the only way to move one (layer L3).
//!
//! In: a ref name and a record to append. Out: the newest record, or who was faster. Called by
//! history, transactions and the repository. A record is published by creating it; nothing is
//! ever overwritten.

mod log;
pub(crate) mod revision;

pub use log::{Appended, RefLog};
pub use revision::{Point, Revision, parse_time};
