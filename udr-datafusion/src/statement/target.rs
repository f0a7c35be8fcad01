//! What a statement's names point at: the session's branch, or a catalog of the context.

use datafusion::common::TableReference;
use datafusion::error::Result;
use datafusion::execution::context::SessionState;
use datafusion::sql::planner::object_name_to_table_reference;
use datafusion::sql::sqlparser::ast::ObjectName;
use udr_core::Error;
use udr_core::name::{NamespaceName, RelationPath};

use crate::catalog::system::SYSTEM_SCHEMA;
use crate::error::to_datafusion;
use crate::session::UdrSession;

/// Schemas that cannot hold tables, since their names mean something else.
const RESERVED: [&str; 2] = [SYSTEM_SCHEMA, "information_schema"];

/// Where a name is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Place {
    /// On the session's branch.
    Repository,
    /// In a catalog that the context had.
    Host,
}

fn reference(state: &SessionState, name: &ObjectName) -> Result<TableReference> {
    let fold = state.config_options().sql_parser.enable_ident_normalization;
    object_name_to_table_reference(name.clone(), fold)
}

/// Where the table or view called `name` is, or would be.
///
/// # Errors
///
/// `Invalid` if it is on another branch, which cannot be changed from here.
pub(super) fn place(
    state: &SessionState,
    session: &UdrSession,
    name: &ObjectName,
) -> Result<Place> {
    let reference = reference(state, name)?;
    let catalog = reference
        .catalog()
        .unwrap_or(&state.config_options().catalog.default_catalog);
    catalog_place(session, catalog).map_err(to_datafusion)
}

fn catalog_place(session: &UdrSession, catalog: &str) -> udr_core::Result<Place> {
    if catalog == session.catalog() {
        return Ok(Place::Repository);
    }
    if session.host_catalogs().catalog(catalog).is_some() {
        return Ok(Place::Host);
    }
    Err(
        Error::invalid("only the session's own branch can be changed")
            .with("catalog", catalog)
            .with_hint("USE BRANCH switches to another branch"),
    )
}

/// The path of the table or view called `name` on the session's branch.
///
/// # Errors
///
/// `Invalid` if it is elsewhere or breaks the grammar of names.
pub(crate) fn path(
    state: &SessionState,
    session: &UdrSession,
    name: &ObjectName,
) -> Result<RelationPath> {
    let reference = reference(state, name)?;
    reference_path(state, session, &reference).map_err(to_datafusion)
}

/// As [`path`], for a name that is taken apart already.
///
/// # Errors
///
/// As [`path`].
pub(super) fn reference_path(
    state: &SessionState,
    session: &UdrSession,
    reference: &TableReference,
) -> udr_core::Result<RelationPath> {
    let options = &state.config_options().catalog;
    let catalog = reference.catalog().unwrap_or(&options.default_catalog);
    if catalog_place(session, catalog)? == Place::Host {
        return Err(Error::invalid("the name is not in the repository")
            .with("name", reference.to_string())
            .with("catalog", session.catalog()));
    }
    let schema = reference.schema().unwrap_or(&options.default_schema);
    let (name, rest) = match reference.table().split_once(['@', '$']) {
        Some((name, rest)) => (name, Some(rest)),
        None => (reference.table(), None),
    };
    if rest.is_some() {
        return Err(
            Error::invalid("only the newest version of a table can be named here")
                .with("name", reference.table())
                .with("table", name)
                .with_hint("USE BRANCH switches to another branch"),
        );
    }
    refuse_reserved(schema)?;
    RelationPath::parse(schema, name)
}

/// The namespace called `name` on the session's branch; `None` if it is in a catalog of the
/// context.
///
/// # Errors
///
/// `Invalid` if it is on another branch or breaks the grammar of names.
pub(super) fn namespace(
    state: &SessionState,
    session: &UdrSession,
    name: &ObjectName,
) -> Result<Option<NamespaceName>> {
    // A schema's name has the shape of a table's, one part shorter.
    let reference = reference(state, name)?;
    if reference.catalog().is_some() {
        return Err(to_datafusion(
            Error::invalid("a schema's name has at most two parts").with("name", name.to_string()),
        ));
    }
    let default = &state.config_options().catalog.default_catalog;
    let catalog = reference.schema().unwrap_or(default);
    if catalog_place(session, catalog).map_err(to_datafusion)? == Place::Host {
        return Ok(None);
    }
    refuse_reserved(reference.table()).map_err(to_datafusion)?;
    NamespaceName::new(reference.table())
        .map(Some)
        .map_err(to_datafusion)
}

fn refuse_reserved(schema: &str) -> udr_core::Result<()> {
    if !RESERVED.contains(&schema) {
        return Ok(());
    }
    Err(Error::invalid("the schema's name is reserved").with("schema", schema))
}
