//! A table of a repository, as DataFusion reads and writes it.
//!
//! In: filters, a projection, rows. Out: a scan of the data files that can match, or a plan that
//! writes. Called by DataFusion's planner.

mod deletes;
mod evolution;
mod file_rows;
mod join_side;
mod live_rows;
mod object_store;
mod order;
mod predicate;
mod provider;
mod reader;
mod returning;
mod row_columns;
mod row_id;
mod rows;
mod scan;
mod sink;
mod statistics;

pub(crate) use file_rows::{FileRows, Files};
pub(crate) use object_store::NoObjectStore;
pub(crate) use predicate::table_predicate;
pub(crate) use provider::UdrTable;
pub(crate) use returning::ReturningTable;
pub(crate) use row_columns::{COMMIT_SEQUENCE, ROW, ROW_ID, place_names};
pub(crate) use rows::RowsTable;
pub(crate) use sink::{ACTION, RowSink, sink_schema};
pub(crate) use statistics::bounds;
