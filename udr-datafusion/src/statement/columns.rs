//! SHOW COLUMNS of a table or view of the repository, at any state.
//!
//! DataFusion's own asks `information_schema`, which has the current names only and would answer
//! that `"t@42"` has no columns.

use std::sync::Arc;

use arrow::array::{ArrayRef, StringArray};
use arrow::record_batch::RecordBatch;
use datafusion::catalog::SchemaProvider;
use datafusion::common::ResolvedTableReference;
use datafusion::error::Result;
use datafusion::execution::context::SessionState;
use datafusion::sql::parser::Statement as SqlStatement;
use datafusion::sql::planner::object_name_to_table_reference;
use datafusion::sql::sqlparser::ast::{
    ObjectName, ShowStatementIn, ShowStatementOptions, Statement,
};
use udr_core::Error;

use super::result;
use crate::error::to_datafusion;
use crate::session::UdrSession;

/// `SHOW COLUMNS FROM name`.
#[derive(Debug, Clone)]
pub(crate) struct ShowColumns {
    name: ObjectName,
    /// `FULL` or `EXTENDED`, which only `information_schema` has an answer to.
    more: bool,
}

impl ShowColumns {
    /// The statement, if it is one without a filter; wherever its name is.
    pub(super) fn of(statement: &SqlStatement) -> Option<Self> {
        let SqlStatement::Statement(statement) = statement else {
            return None;
        };
        match statement.as_ref() {
            Statement::ShowColumns {
                extended,
                full,
                show_options:
                    ShowStatementOptions {
                        show_in:
                            Some(ShowStatementIn {
                                parent_name: Some(name),
                                parent_type: None,
                                ..
                            }),
                        limit: None,
                        limit_from: None,
                        starts_with: None,
                        filter_position: None,
                    },
            } => Some(Self {
                name: name.clone(),
                more: *extended || *full,
            }),
            _ => None,
        }
    }

    fn resolved(&self, state: &SessionState) -> Result<ResolvedTableReference> {
        let fold = state.config_options().sql_parser.enable_ident_normalization;
        let options = &state.config_options().catalog;
        let reference = object_name_to_table_reference(self.name.clone(), fold)?;
        Ok(reference.resolve(&options.default_catalog, &options.default_schema))
    }

    /// Whether it is answered here: the engine has its own tables, and the current ones in full.
    ///
    /// # Errors
    ///
    /// `Unsupported` if more is asked of another state than is known.
    pub(super) fn is_ours(&self, state: &SessionState, session: &UdrSession) -> Result<bool> {
        let name = self.resolved(state)?;
        if session.host_catalogs().catalog(&name.catalog).is_some()
            || &*name.schema == "information_schema"
        {
            return Ok(false);
        }
        if !self.more {
            return Ok(true);
        }
        if *name.catalog == *session.catalog() && !name.table.contains(['@', '$']) {
            return Ok(false);
        }
        Err(to_datafusion(
            Error::unsupported("FULL and EXTENDED are known of current tables only")
                .with("name", name.to_string())
                .with_hint("SHOW COLUMNS FROM, or DESCRIBE"),
        ))
    }

    /// The columns, as `information_schema.columns` has them.
    pub(super) async fn run(
        &self,
        state: &SessionState,
        session: &UdrSession,
    ) -> Result<RecordBatch> {
        let name = self.resolved(state)?;
        let not_found = || {
            to_datafusion(Error::not_found("no such table or view").with("name", name.to_string()))
        };
        let mut schema = schema(state, &name);
        if schema.is_none() {
            // Somebody else may have made it since the session looked.
            session.refresh_names().await.map_err(to_datafusion)?;
            schema = self::schema(state, &name);
        }
        let schema = schema.ok_or_else(not_found)?;
        let table = schema.table(&name.table).await?.ok_or_else(not_found)?;
        let columns = table.schema();
        let same = |text: &str| -> ArrayRef {
            Arc::new(
                columns
                    .fields()
                    .iter()
                    .map(|_| Some(text))
                    .collect::<StringArray>(),
            )
        };
        let each = |of: fn(&arrow::datatypes::Field) -> String| -> ArrayRef {
            Arc::new(StringArray::from_iter_values(
                columns.fields().iter().map(|field| of(field)),
            ))
        };
        let nullable = |field: &arrow::datatypes::Field| match field.is_nullable() {
            true => "YES".to_owned(),
            false => "NO".to_owned(),
        };
        let batch = result::batch(
            result::columns_schema(),
            vec![
                same(&name.catalog),
                same(&name.schema),
                same(&name.table),
                each(|field| field.name().clone()),
                each(|field| field.data_type().to_string()),
                each(nullable),
            ],
        );
        batch.map_err(to_datafusion)
    }
}

fn schema(state: &SessionState, name: &ResolvedTableReference) -> Option<Arc<dyn SchemaProvider>> {
    let catalog = state.catalog_list().catalog(&name.catalog)?;
    catalog.schema(&name.schema)
}
