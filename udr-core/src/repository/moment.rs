//! One look at the branches and tags of a repository.

use super::{RefHead, Repository};
use crate::error::Result;
use crate::history::History;
use crate::name::RefName;
use crate::refs::Revision;
use crate::snapshot::Snapshot;
use crate::txn::Context;

/// Looks each branch and each tag up once: whatever is read through it, by whichever name, is
/// relative to the same heads, however they move meanwhile.
///
/// It only reads: a transaction has to see where its branch has moved to.
#[derive(Debug, Clone)]
pub struct Moment {
    repository: Repository,
}

impl Repository {
    /// A look at the branches and tags that finds the head of each once, when it is first asked for.
    pub fn moment(&self) -> Moment {
        let Context {
            store, env, loader, ..
        } = &self.context;
        let refs = self.context.refs.at_one_moment();
        let context = Context {
            store: store.clone(),
            env: env.clone(),
            history: History::new(store.clone(), refs.clone()),
            refs,
            loader: loader.clone(),
        };
        Moment {
            repository: Self {
                id: self.id,
                context,
            },
        }
    }
}

impl Moment {
    /// As [`Repository::head`].
    ///
    /// # Errors
    ///
    /// Those of [`Repository::head`].
    pub async fn head(&self, branch: &RefName) -> Result<Snapshot> {
        self.repository.head(branch).await
    }

    /// As [`Repository::resolve`].
    ///
    /// # Errors
    ///
    /// Those of [`Repository::resolve`].
    pub async fn resolve(&self, current: &RefName, revision: &Revision) -> Result<Snapshot> {
        self.repository.resolve(current, revision).await
    }

    /// As [`Repository::before`].
    ///
    /// # Errors
    ///
    /// Those of [`Repository::before`].
    pub async fn before(
        &self,
        current: &RefName,
        revision: &Revision,
        last: &Snapshot,
    ) -> Result<Option<Snapshot>> {
        self.repository.before(current, revision, last).await
    }

    /// As [`Repository::branches`].
    ///
    /// # Errors
    ///
    /// Those of [`Repository::branches`].
    pub async fn branches(&self) -> Result<Vec<RefHead>> {
        self.repository.branches().await
    }

    /// As [`Repository::tags`].
    ///
    /// # Errors
    ///
    /// Those of [`Repository::tags`].
    pub async fn tags(&self) -> Result<Vec<RefHead>> {
        self.repository.tags().await
    }
}
