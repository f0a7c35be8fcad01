//! Versioned, transactional tables in an object store.
//!
//! One commit spans any number of tables, a branch is a log of commits, and time travel,
//! transactions and merges all read that log. A folder or a bucket is all there is.
//!
//! ```text
//! READ   snapshot at ONE commit ─► table state ─► matching manifests ─► ScanPlan{FileTask} ─► batches
//! WRITE  batches ─► DataFile ─► ChangeSet (in a Transaction) ─► objects durable ─► ref log append ─► CommitOutcome
//! ```

pub mod env;
pub mod error;
pub mod format;
pub mod id;
pub mod name;
pub mod store;

pub use error::{Error, ErrorKind, Result};
