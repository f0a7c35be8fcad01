//! What an engine knows of a query that lets a scan skip files.

use std::collections::BTreeSet;
use std::fmt::Debug;

use crate::error::Result;
use crate::format::Containers;
use crate::id::FieldId;

/// Decides from bounds which containers can hold matching rows.
///
/// Implemented by the engine over its own predicates. It is asked about manifests first, then
/// about the files of those that stay.
pub trait Prune: Debug + Send + Sync {
    /// The columns whose bounds it looks at.
    fn fields(&self) -> &BTreeSet<FieldId>;

    /// One answer for each container: false only if no row of it can match.
    ///
    /// # Errors
    ///
    /// `Internal` if the predicate cannot be evaluated.
    fn keep(&self, containers: &Containers) -> Result<Vec<bool>>;
}
