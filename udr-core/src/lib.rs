//! Versioned, transactional tables in an object store.
//!
//! One commit spans any number of tables, a branch is a log of commits, and time travel,
//! transactions and merges all read that log. A folder or a bucket is all there is.
//!
//! ```text
//! READ   snapshot at ONE commit ─► table state ─► matching manifests ─► ScanPlan{FileTask} ─► batches
//! WRITE  batches ─► DataFile ─► ChangeSet (in a Transaction) ─► objects durable ─► ref log append ─► CommitOutcome
//! ```

pub mod changes;
pub mod data;
pub mod diff;
pub mod env;
pub mod error;
pub mod format;
pub mod history;
pub mod id;
pub mod maintenance;
pub mod name;
pub mod refs;
mod repository;
pub mod snapshot;
pub mod store;
pub mod txn;

pub use error::{Error, ErrorKind, Result};
pub use history::LogEntry;
pub use repository::{FastForward, MergeMode, Moment, RefHead, Repository, TransactionOutcome};
