//! Batches to data files and back (layer L4).
//!
//! In: record batches, or the manifest entry of a data file. Out: Parquet files that are named by
//! their digest, with field ids, a page index and typed statistics; batches; or what is wrong with
//! a file. Called by the engine's write and scan nodes, and by `fsck`.

mod adopt;
mod batch;
mod chunks;
mod deletion_vector;
mod evolve;
mod footer;
mod live;
mod partition;
mod reader;
mod row_identity;
mod seen;
mod stats;
mod verify;
mod writer;

pub use adopt::{Adoption, FileShape, VALUES_KEY};
pub use deletion_vector::DeletionVector;
pub(crate) use evolve::becomes;
pub use evolve::{evolve, field_id, initial, is_current};
pub(crate) use live::{RewriteTarget, RowSet, read_identified, read_identities, rewrite_file};
pub use live::{read_live_batches, read_rows};
pub use reader::{DataFileReader, read_batches};
pub(crate) use row_identity::{Identities, Places};
pub use row_identity::{RowId, RowIdentity, identity_fields, replacing};
pub use verify::{verify_data_file, verify_footer};
pub use writer::{TableWriter, WriteOptions};

#[cfg(test)]
mod tests;
