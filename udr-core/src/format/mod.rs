//! The stored types: pure and synchronous, without I/O (layer L1).
//!
//! In: values to store, or bytes whose digest has been checked. Out: bytes, or values that have
//! been validated. Called by every layer above; `docs/format.md` is the specification.

mod adopted;
mod column_stats;
mod commit;
mod constraint;
mod data_file;
mod envelope;
mod evolution;
mod manifest;
mod object_ref;
mod partition;
mod ref_record;
mod repository_file;
mod root;
mod schema;
mod sketch;
mod sketches;
mod storable;
mod table_state;
mod transform;
mod types;
mod value;

pub use adopted::{Adopted, PathValue};
pub(crate) use column_stats::evolved_stats;
pub use column_stats::{Bound, ColumnStats, live_column_stats, merge_column_stats};
pub use commit::{Change, Commit, CommitRef, Part, RelationOperation, TableChange, TableOperation};
pub use constraint::{Constraint, Reference};
pub use data_file::{DataFile, DeletionVectorRef};
pub use envelope::{Stored, decode, encode};
pub use evolution::{NewColumn, Position};
pub use manifest::{AddedRange, Bounds, Containers, Manifest, ManifestRef};
pub use object_ref::{ObjectRef, Within};
pub use partition::{PartitionField, SortField};
pub use ref_record::{BranchPoint, RecordKind, RefRecord};
pub use repository_file::RepositoryFile;
pub use root::{
    Entry, KeyEntry, KeyLog, KeyPage, Namespace, NamespacePage, PageRef, Relations, Root, View,
};
pub use schema::{Field, Schema};
pub(crate) use schema::{IDENTITY_LEN, identity_columns};
pub use sketch::Sketch;
pub use sketches::{ColumnSketch, Sketches};
pub use table_state::TableState;
pub use transform::Transform;
pub use types::{EXACT, Type};
pub use value::Value;

#[cfg(test)]
mod tests;
