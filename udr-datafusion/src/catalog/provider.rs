//! One branch or tag, or whatever the session reads, as a catalog.

use std::sync::Arc;

use datafusion::catalog::{CatalogProvider, SchemaProvider};
use datafusion::error::Result;
use udr_core::Error;
use udr_core::name::NamespaceName;

use super::Scope;
use super::schema::UdrSchema;
use super::system::{SYSTEM_SCHEMA, SystemSchema};
use crate::error::to_datafusion;
use crate::session::UdrSession;

/// One branch or tag, or whatever the session reads, as a catalog.
#[derive(Debug)]
pub(super) struct UdrCatalog {
    session: Arc<UdrSession>,
    name: String,
    scope: Scope,
}

impl UdrCatalog {
    pub(super) fn new(session: Arc<UdrSession>, name: String, scope: Scope) -> Self {
        Self {
            session,
            name,
            scope,
        }
    }
}

impl CatalogProvider for UdrCatalog {
    fn schema_names(&self) -> Vec<String> {
        let mut names = self.session.namespaces();
        names.push(SYSTEM_SCHEMA.to_owned());
        names
    }

    fn schema(&self, name: &str) -> Option<Arc<dyn SchemaProvider>> {
        if name == SYSTEM_SCHEMA {
            return Some(Arc::new(SystemSchema::new(
                Arc::clone(&self.session),
                self.name.clone(),
                self.scope.clone(),
            )));
        }
        // `CREATE SCHEMA IF NOT EXISTS` believes that a schema exists if it is found here, so the
        // session's own catalog has those that are known to exist. Nobody creates schemas through
        // another branch's catalog, whose names are not known: there, any name is looked up later.
        if self.scope.source.is_tip() && !self.session.knows_namespace(name) {
            // Somebody else may have made it since the session looked: it is found the next time.
            self.session.refresh_names_later();
            return None;
        }
        let namespace = NamespaceName::new(name).ok()?;
        Some(Arc::new(UdrSchema::new(
            Arc::clone(&self.session),
            self.name.clone(),
            namespace,
            self.scope.clone(),
        )))
    }

    fn register_schema(
        &self,
        name: &str,
        _schema: Arc<dyn SchemaProvider>,
    ) -> Result<Option<Arc<dyn SchemaProvider>>> {
        Err(to_datafusion(refuse_ddl("CREATE SCHEMA", name)))
    }

    fn deregister_schema(
        &self,
        name: &str,
        _cascade: bool,
    ) -> Result<Option<Arc<dyn SchemaProvider>>> {
        Err(to_datafusion(refuse_ddl("DROP SCHEMA", name)))
    }
}

/// DataFusion runs plain DDL synchronously, and a commit waits for the store.
pub(super) fn refuse_ddl(statement: &str, name: &str) -> Error {
    Error::unsupported(format!("{statement} cannot be run by this entry point"))
        .with("name", name)
        .with_hint(format!(
            "use udr_sql, or SELECT * FROM udr_call('{statement} …') where only plain SQL is possible"
        ))
}
