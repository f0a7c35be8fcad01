//! Change feeds as tables: what commits did to rows, in the order of commits.
//!
//! In: `"t$changes@A..B"`, `"t$net_changes@A..B"`, `udr."changes$t,u@A..B"`, filters, a projection.
//! Out: a scan that reads what changed and nothing else. Called by the catalog.

mod columns;
mod kinds;
mod provider;
mod range;
mod rows;
mod scan;

pub use provider::is_unbounded;
pub(crate) use provider::{ChangesTable, Feed};
pub(crate) use range::{ChangeRange, FeedSource, INCLUDED};
pub(crate) use scan::FeedScan;
