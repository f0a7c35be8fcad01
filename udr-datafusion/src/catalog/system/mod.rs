//! What a repository and its tables know of themselves, as tables.
//!
//! In: a state. Out: batches, made when they are scanned. `udr.log`, `udr.branches`, `udr.tags` and
//! `udr.cache_stats` are of the repository; `t$history`, `t$snapshots`, `t$files`, `t$manifests`,
//! `t$constraints`, `t$columns` and `t$partitions` are of a table.
//! Called by DataFusion, and by the SHOW statements, which use the same builders.

mod caches;
mod constraints;
mod files;
mod layout;
mod log;
mod provider;
mod refs;
mod table_history;

use std::sync::Arc;

use arrow::array::TimestampMicrosecondArray;
use arrow::datatypes::{DataType, Field, TimeUnit};
use udr_core::env::Micros;

pub(crate) use log::{log_batch, log_schema};
pub(crate) use provider::{MetadataTable, SystemSchema};
pub(crate) use refs::{branches_batch, refs_schema, tags_batch};
pub(crate) use table_history::{history_batch, history_schema};

/// The schema that holds the repository's own tables.
pub(crate) const SYSTEM_SCHEMA: &str = "udr";

/// A table of the repository itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum SystemTable {
    /// The commits of the branch, newest first.
    Log,
    /// The branches.
    Branches,
    /// The tags.
    Tags,
    /// How the caches of the process fared.
    CacheStats,
}

impl SystemTable {
    /// All of them.
    pub(crate) const ALL: [Self; 4] = [Self::Log, Self::Branches, Self::Tags, Self::CacheStats];

    /// Its name.
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::Log => "log",
            Self::Branches => "branches",
            Self::Tags => "tags",
            Self::CacheStats => "cache_stats",
        }
    }
}

/// A table about a table.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum TableMetadata {
    /// The versions that changed it, newest first.
    History,
    /// Its size after each of those versions.
    Snapshots,
    /// Its data files.
    Files,
    /// The top of its manifest tree.
    Manifests,
    /// What its rows must be.
    Constraints,
    /// What its rows are made of.
    Columns,
    /// What its rows are put apart by.
    Partitions,
}

impl TableMetadata {
    /// All of them.
    pub(crate) const ALL: [Self; 7] = [
        Self::History,
        Self::Snapshots,
        Self::Files,
        Self::Manifests,
        Self::Constraints,
        Self::Columns,
        Self::Partitions,
    ];

    /// Its name, after the `$`.
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::History => "history",
            Self::Snapshots => "snapshots",
            Self::Files => "files",
            Self::Manifests => "manifests",
            Self::Constraints => "constraints",
            Self::Columns => "columns",
            Self::Partitions => "partitions",
        }
    }
}

/// A column of times.
pub(crate) fn time_field(name: &str) -> Field {
    let zone = Some(Arc::from("UTC"));
    Field::new(
        name,
        DataType::Timestamp(TimeUnit::Microsecond, zone),
        false,
    )
}

/// The values of a [`time_field`].
pub(crate) fn times(values: impl IntoIterator<Item = Micros>) -> TimestampMicrosecondArray {
    TimestampMicrosecondArray::from_iter_values(values).with_timezone("UTC")
}
