//! What UDR's tests are built from: stores that fail and count, generators, fixtures, a model.
//!
//! In: any object store, or a seed. Out: the same store with one fault at a chosen call, a record
//! of its calls, arbitrary batches, and an in-memory oracle to compare a repository with. Called by
//! tests only.

pub mod counting;
pub mod fault;
pub mod fixtures;
pub mod generators;
pub mod lenient;
pub mod model;
pub mod operation;
pub mod row_changes;

pub use counting::CountingStore;
pub use fault::{Fault, FaultStore};
pub use lenient::LenientStore;
pub use operation::{Operation, Operations};
