//! The names that a session has seen, for those who cannot wait.
//!
//! DataFusion lists schemas and tables synchronously. What it is told is what the state that was
//! last looked at has; whether a name can be read is decided when it is resolved, never here.

use std::collections::BTreeMap;
use std::sync::Arc;

use futures::{StreamExt as _, TryStreamExt as _};
use udr_core::Result;
use udr_core::id::{Digest, TransactionId};
use udr_core::name::NamespaceName;
use udr_core::snapshot::{RelationKind, Snapshot};

use super::{Pinned, Source, UdrSession};

/// The names of one state.
#[derive(Debug, Default)]
pub(super) struct Names {
    /// The state they are of; `None` if they may be stale.
    of: Option<Of>,
    /// Counts changes that the commit does not show.
    generation: u64,
    relations: BTreeMap<String, BTreeMap<String, RelationKind>>,
}

/// Tells states apart: a commit, and how many changes the open transaction on it has seen.
type Of = (Digest, Option<(TransactionId, u64)>);

/// How many namespaces are listed at once.
const CONCURRENCY: usize = 16;

impl UdrSession {
    /// Looks up the names of what the next statement reads.
    ///
    /// # Errors
    ///
    /// Those of [`UdrSession::snapshot`].
    pub async fn refresh_names(&self) -> Result<()> {
        let pinned = self.pinned(&Source::Tip).await?;
        self.see(&pinned).await
    }

    /// Starts to look up the names of what the next statement reads, if there is a runtime for it.
    pub(crate) fn refresh_names_later(self: &Arc<Self>) {
        let Ok(runtime) = tokio::runtime::Handle::try_current() else {
            return;
        };
        let session = Arc::clone(self);
        drop(runtime.spawn(async move { session.names_changed().await }));
    }

    /// The namespaces that were there when the session last looked.
    pub fn namespaces(&self) -> Vec<String> {
        self.names.lock().relations.keys().cloned().collect()
    }

    /// The tables and views that a namespace had when the session last looked.
    pub fn relations(&self, namespace: &str) -> Vec<String> {
        let names = self.names.lock();
        names
            .relations
            .get(namespace)
            .map_or_else(Vec::new, |r| r.keys().cloned().collect())
    }

    /// Whether the namespace was there when the session last looked.
    pub(crate) fn knows_namespace(&self, namespace: &str) -> bool {
        self.names.lock().relations.contains_key(namespace)
    }

    /// What a table or view was when the session last looked.
    pub(crate) fn known_kind(&self, namespace: &str, name: &str) -> Option<RelationKind> {
        self.names
            .lock()
            .relations
            .get(namespace)?
            .get(name)
            .copied()
    }

    /// Takes over the names of a state, unless they are those it has.
    pub(crate) async fn see(&self, pinned: &Pinned) -> Result<()> {
        let snapshot = &pinned.snapshot;
        let transaction = pinned.transaction.map(|id| (id, pinned.changes));
        let of = (snapshot.commit_id(), transaction);
        let generation = {
            let names = self.names.lock();
            if names.of == Some(of) {
                return Ok(());
            }
            names.generation
        };
        let looks = snapshot
            .namespaces()
            .await?
            .into_iter()
            .map(|namespace| relations_of(snapshot, namespace))
            .collect::<Vec<_>>();
        let relations = futures::stream::iter(looks)
            .buffered(CONCURRENCY)
            .try_collect()
            .await?;
        let mut names = self.names.lock();
        // A change since then made these stale; the next look takes its names.
        if names.generation == generation {
            names.of = Some(of);
            names.relations = relations;
        }
        Ok(())
    }

    /// Looks up the names again after a change. They only help: what was done is done.
    pub(crate) async fn names_changed(&self) {
        self.forget_names();
        if let Err(error) = self.refresh_names().await {
            tracing::debug!(%error, "the names of the state could not be read");
        }
    }

    /// Notes that the names may have changed.
    pub(super) fn forget_names(&self) {
        let mut names = self.names.lock();
        names.of = None;
        names.generation += 1;
    }
}

async fn relations_of(
    snapshot: &Snapshot,
    namespace: NamespaceName,
) -> Result<(String, BTreeMap<String, RelationKind>)> {
    let relations = snapshot.relations(&namespace).await?;
    let relations = relations
        .into_iter()
        .map(|(name, kind)| (name.as_str().to_owned(), kind))
        .collect();
    Ok((namespace.as_str().to_owned(), relations))
}
