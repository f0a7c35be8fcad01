//! Installs UDR into a context that exists.

use std::sync::Arc;

use datafusion::execution::FunctionRegistry as _;
use datafusion::execution::context::SessionContext;
use datafusion::execution::object_store::ObjectStoreUrl;
use udr_core::Repository;
use udr_core::data::WriteOptions;
use udr_core::name::{NamespaceName, RefName};
use udr_core::{Error, Result};

use crate::catalog::Scope;
use crate::catalog::list::UdrCatalogList;
use crate::error::into_udr;
use crate::functions;
use crate::plan::{InLists, UdrAnalyzerRule, VersionClauses};
use crate::session::{Pinned, SessionParts, Source, UdrSession};
use crate::table::NoObjectStore;

/// Whether names without a catalog are looked up in the repository.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum DefaultCatalog {
    /// They are.
    #[default]
    Repository,
    /// They are looked up where they were before.
    Unchanged,
}

/// What is installed.
#[derive(Debug, Clone)]
pub struct InstallOptions {
    /// The repository.
    pub repository: Repository,
    /// The branch that the session starts on.
    pub branch: RefName,
    /// The catalog under which the session's branch is found.
    pub catalog: String,
    /// Whether names without a catalog are looked up in the repository.
    pub default: DefaultCatalog,
    /// Who makes the commits.
    pub author: Option<String>,
    /// How data files are written.
    pub write: WriteOptions,
}

impl InstallOptions {
    /// A repository's branch `main` as the catalog `udr`, which names are looked up in.
    pub fn new(repository: Repository) -> Self {
        Self {
            repository,
            branch: RefName::main(),
            catalog: "udr".to_owned(),
            default: DefaultCatalog::Repository,
            author: None,
            write: WriteOptions::default(),
        }
    }
}

/// Gives a context the tables of a repository, and what it needs to read and write them.
///
/// The context keeps what it had. The session is also found with
/// `SessionConfig::get_extension::<UdrSession>()`.
///
/// # Errors
///
/// `NotFound` if there is no such branch; `AlreadyExists` if the context has a repository already
/// or a catalog of that name.
pub async fn install(ctx: &SessionContext, options: InstallOptions) -> Result<Arc<UdrSession>> {
    let InstallOptions {
        repository,
        branch,
        catalog,
        default,
        author,
        write,
    } = options;
    let head = repository.head(&branch).await?;
    let branch = head.branch().cloned().unwrap_or(branch);
    let store_url =
        ObjectStoreUrl::parse(format!("udr://{}/", repository.id())).map_err(into_udr)?;
    let state = ctx.state_ref();
    let session = {
        let mut state = state.write();
        if state.config().get_extension::<UdrSession>().is_some() {
            return Err(Error::already_exists(
                "the context has a repository already",
            ));
        }
        let host = Arc::clone(state.catalog_list());
        if host.catalog(&catalog).is_some() {
            return Err(
                Error::already_exists("the context has a catalog of this name")
                    .with("catalog", catalog),
            );
        }
        let session = Arc::new(UdrSession::new(SessionParts {
            repository,
            branch,
            catalog,
            author,
            write,
            store_url,
            context: ctx.state_weak_ref(),
            host,
        }));
        let list = UdrCatalogList::new(Arc::clone(&session), Scope::new(Source::Tip));
        state.register_catalog_list(Arc::new(list));
        state.config_mut().set_extension(Arc::clone(&session));
        if default == DefaultCatalog::Repository {
            let options = state.config_mut().options_mut();
            session
                .catalog()
                .clone_into(&mut options.catalog.default_catalog);
            options.catalog.default_schema = NamespaceName::public().to_string();
        }
        state.add_analyzer_rule(Arc::new(UdrAnalyzerRule::new(Arc::clone(&session))));
        state
            .register_expr_planner(Arc::new(InLists))
            .map_err(into_udr)?;
        state
            .register_relation_planner(Arc::new(VersionClauses::new(Arc::clone(&session))))
            .map_err(into_udr)?;
        session
    };
    // Scans name a store that must be known; their files are read in another way.
    ctx.register_object_store(session.store_url().as_ref(), Arc::new(NoObjectStore));
    functions::register(ctx, &session);
    session.see(&Pinned::published(head)).await?;
    Ok(session)
}
