//! What the table that a statement changes looks like.

use datafusion::common::{DataFusionError, Result};
use datafusion::execution::context::SessionState;
use datafusion::sql::planner::object_name_to_table_reference;
use datafusion::sql::sqlparser::ast::{Expr, ObjectName};
use datafusion::sql::sqlparser::parser::Parser;
use udr_core::Error;
use udr_core::format::{Constraint, Field};
use udr_core::id::FieldId;
use udr_core::snapshot::{Relation, TableSnapshot};

use super::super::target::path;
use crate::error::to_datafusion;
use crate::session::{Source, UdrSession};
use crate::sql::UdrDialect;
use crate::sql::dml::{Key, Target, TargetColumn};

/// The table called `name` on the session's branch, as it is `seen`.
///
/// # Errors
///
/// `NotFound`; `Invalid` if it is no table, or a version of one.
pub(super) async fn look_up(
    state: &SessionState,
    session: &UdrSession,
    name: &ObjectName,
    seen: &Source,
) -> Result<Target> {
    let fold = state.config_options().sql_parser.enable_ident_normalization;
    let table = table(state, session, name, seen).await?;
    of_table(&table, fold)
}

/// See [`look_up`].
pub(super) async fn table(
    state: &SessionState,
    session: &UdrSession,
    name: &ObjectName,
    seen: &Source,
) -> Result<TableSnapshot> {
    let fold = state.config_options().sql_parser.enable_ident_normalization;
    refuse_fixed(name, fold)?;
    let path = path(state, session, name)?;
    let found = async {
        let snapshot = session.pinned(seen).await?.snapshot;
        match snapshot.relation(&path).await? {
            Some(Relation::Table(table)) => Ok(*table),
            Some(Relation::View(_)) => Err(Error::invalid("a view's rows cannot be changed")
                .with("view", &path)
                .with_hint("change the tables that it reads")),
            None => snapshot.table(&path).await,
        }
    };
    found.await.map_err(to_datafusion)
}

/// Refuses names such as `"t@dev"` and `"t$files"`.
fn refuse_fixed(name: &ObjectName, fold: bool) -> Result<()> {
    let reference = object_name_to_table_reference(name.clone(), fold)?;
    if let Some((table, revision)) = reference.table().split_once('@') {
        return Err(to_datafusion(
            Error::invalid("only the session's own branch can be written")
                .with("table", table)
                .with("revision", revision)
                .with_hint("USE BRANCH switches to another branch"),
        ));
    }
    if reference.table().contains('$') {
        return Err(to_datafusion(
            Error::invalid("a metadata table cannot be written").with("table", reference.table()),
        ));
    }
    Ok(())
}

fn of_table(table: &TableSnapshot, fold: bool) -> Result<Target> {
    let fields = table.schema().fields().iter();
    let columns = fields.map(|field| {
        Ok(TargetColumn {
            name: field.name.clone(),
            ty: field.ty.to_arrow(),
            default: default(field)?,
            generated: field.generated.is_some(),
        })
    });
    Ok(Target {
        columns: columns.collect::<Result<_>>()?,
        keys: keys(table),
        fold,
    })
}

/// The table's keys, the primary one first.
fn keys(table: &TableSnapshot) -> Vec<Key> {
    let name = |id: &FieldId| table.schema().field_by_id(*id).map(|f| f.name.clone());
    let mut keys = table
        .constraints()
        .iter()
        .filter_map(|constraint| match constraint {
            Constraint::Unique {
                name: called,
                columns,
                primary,
            } => Some(Key {
                name: called.clone(),
                columns: columns.iter().map(name).collect::<Option<_>>()?,
                primary: *primary,
            }),
            _ => None,
        })
        .collect::<Vec<_>>();
    keys.sort_by_key(|key| !key.primary);
    keys
}

fn default(field: &Field) -> Result<Option<Expr>> {
    let Some(sql) = &field.default else {
        return Ok(None);
    };
    let parsed = Parser::new(&UdrDialect)
        .try_with_sql(sql)
        .and_then(|mut parser| parser.parse_expr());
    let parsed = parsed.map_err(|error| {
        let error = DataFusionError::SQL(Box::new(error), None);
        to_datafusion(
            Error::invalid("a column's default cannot be understood here")
                .with("column", &field.name)
                .with("default", sql)
                .with_source(error),
        )
    })?;
    Ok(Some(parsed))
}
