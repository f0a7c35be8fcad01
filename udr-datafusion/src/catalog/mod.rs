//! Names to tables: catalogs are branches and tags, schemas are namespaces.
//!
//! In: what DataFusion found in a statement. Out: providers, or an error that says what there is
//! instead. DataFusion's synchronous methods are answered from the names that the session has
//! seen; whatever waits for the store happens in [`schema::UdrSchema`]'s `table`. Called by DataFusion.

mod broken_view;
pub(crate) mod list;
pub(crate) mod missing;
mod provider;
pub(crate) mod refused;
mod relation_name;
pub(crate) mod schema;
pub(crate) mod system;
mod view;

use std::sync::Arc;

use udr_core::Result;
use udr_core::name::{NamespaceName, RefName, RelationPath};

use crate::changes::FeedSource;
use crate::session::{Source, UdrSession};

pub(crate) use relation_name::{CHANGES, NET_CHANGES, TAIL, is_feed};
pub(crate) use view::{provider as view_provider, views_unchanged};

/// What a name is looked up in.
#[derive(Debug, Clone)]
pub(crate) struct Scope {
    /// Which state.
    pub(crate) source: Source,
    /// The views whose definitions are being read, outermost first.
    pub(crate) views: Arc<[ViewStep]>,
}

/// A view that a scan was reached through.
#[derive(Debug, Clone)]
pub(crate) struct ViewStep {
    pub(crate) source: Source,
    pub(crate) path: RelationPath,
    /// Where its plain names are looked up.
    pub(crate) namespace: NamespaceName,
    /// Its definition when the statement was planned.
    pub(crate) sql: Arc<str>,
}

impl Scope {
    /// Names that a statement uses itself.
    pub(crate) fn new(source: Source) -> Self {
        Self {
            source,
            views: Arc::from([]),
        }
    }

    /// What the ranges of change feeds are relative to, for names in this catalog.
    fn feed_source(&self, session: &UdrSession, catalog: &str) -> Result<FeedSource> {
        let own = catalog == session.catalog();
        Ok(FeedSource {
            tip: self.source.clone(),
            branch: (!own).then(|| RefName::new(catalog)).transpose()?,
        })
    }

    /// The same views, at another state.
    pub(crate) fn at(&self, source: Source) -> Self {
        Self {
            source,
            views: Arc::clone(&self.views),
        }
    }
}
