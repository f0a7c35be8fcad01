//! A table of a repository, as DataFusion reads and writes it.
//!
//! In: filters, a projection, rows. Out: a scan of the data files that can match, or a plan that
//! writes. Called by DataFusion's planner.

mod file_rows;
mod object_store;
mod predicate;
mod provider;
mod reader;
mod scan;
mod statistics;

pub(crate) use file_rows::{FileRows, Files};
pub(crate) use object_store::NoObjectStore;
pub(crate) use provider::UdrTable;
pub(crate) use statistics::bounds;
