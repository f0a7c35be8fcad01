//! The context's list of catalogs, with the repository's in it.

use std::sync::Arc;

use datafusion::catalog::{CatalogProvider, CatalogProviderList};
use udr_core::name::RefName;
use udr_core::refs::Revision;

use super::Scope;
use super::provider::UdrCatalog;
use crate::session::{Source, UdrSession};

/// Puts the repository's catalogs beside those that the context had.
///
/// A catalog that the context has keeps its name. Any other name that a branch or tag can have is
/// a catalog; whether there is such a ref is found out when a table is looked up in it, since
/// that takes a look at the store.
#[derive(Debug)]
pub(crate) struct UdrCatalogList {
    session: Arc<UdrSession>,
    scope: Scope,
}

impl UdrCatalogList {
    /// `scope` is what the session's own catalog stands for.
    pub(crate) fn new(session: Arc<UdrSession>, scope: Scope) -> Self {
        Self { session, scope }
    }
}

impl CatalogProviderList for UdrCatalogList {
    fn register_catalog(
        &self,
        name: String,
        catalog: Arc<dyn CatalogProvider>,
    ) -> Option<Arc<dyn CatalogProvider>> {
        self.session.host_catalogs().register_catalog(name, catalog)
    }

    fn catalog_names(&self) -> Vec<String> {
        let mut names = self.session.host_catalogs().catalog_names();
        names.push(self.session.catalog().to_owned());
        names.sort_unstable();
        names.dedup();
        names
    }

    fn catalog(&self, name: &str) -> Option<Arc<dyn CatalogProvider>> {
        let scope = if name == self.session.catalog() {
            self.scope.clone()
        } else if let Some(catalog) = self.session.host_catalogs().catalog(name) {
            return Some(catalog);
        } else {
            let branch = RefName::new(name).ok()?;
            self.scope.at(Source::At(Revision::of_ref(branch)))
        };
        Some(Arc::new(UdrCatalog::new(
            Arc::clone(&self.session),
            name.to_owned(),
            scope,
        )))
    }
}
