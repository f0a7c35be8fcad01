//! Which tables of a statement have hidden columns to show.

use std::collections::HashSet;

use datafusion::error::Result;
use datafusion::execution::context::SessionState;
use datafusion::sql::parser::Statement as SqlStatement;
use datafusion::sql::planner::object_name_to_table_reference;
use datafusion::sql::sqlparser::ast::ObjectName;

use crate::sql::hidden::{HIDDEN, candidates, show};
use crate::table::UdrTable;

/// Lets the repository's tables show the hidden columns that the statement names.
///
/// # Errors
///
/// `Unsupported` where they cannot be shown without being seen where they are not named.
pub(super) async fn show_hidden(state: &SessionState, statement: &mut SqlStatement) -> Result<()> {
    let fold = state.config_options().sql_parser.enable_ident_normalization;
    let mut tables = HashSet::new();
    for name in candidates(statement, fold)? {
        if !tables.contains(&name) && has_hidden(state, &name, fold).await? {
            tables.insert(name);
        }
    }
    if tables.is_empty() {
        return Ok(());
    }
    show(statement, fold, &|name| tables.contains(name))
}

/// Whether a name is that of a table of the repository that has no such columns itself. What cannot
/// be looked up is left to be refused where it is read.
async fn has_hidden(state: &SessionState, name: &ObjectName, fold: bool) -> Result<bool> {
    let reference = object_name_to_table_reference(name.clone(), fold)?;
    let Ok(schema) = state.schema_for_ref(reference.clone()) else {
        return Ok(false);
    };
    let Ok(Some(provider)) = schema.table(reference.table()).await else {
        return Ok(false);
    };
    let columns = provider.schema();
    let own = |column: &&str| columns.column_with_name(column).is_some();
    Ok(provider.is::<UdrTable>() && !HIDDEN.iter().any(own))
}
