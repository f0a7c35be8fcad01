//! CREATE SCHEMA, DROP; and which DDL there is.

use std::sync::Arc;

use arrow::datatypes::SchemaRef;
use arrow::record_batch::RecordBatch;
use datafusion::error::{DataFusionError, Result};
use datafusion::execution::context::SessionState;
use datafusion::sql::parser::Statement as SqlStatement;
use datafusion::sql::sqlparser::ast::{
    CreateTable, CreateView, ObjectName, ObjectType, SchemaName, Statement,
};
use udr_core::name::{NamespaceName, RelationPath};
use udr_core::snapshot::RelationKind;
use udr_core::txn::Transaction;
use udr_core::{Error, ErrorKind, Result as CoreResult};

use super::target::{self, Place};
use super::{alter_table, change, create_table, result, view};
use crate::error::{to_datafusion, udr_error};
use crate::session::UdrSession;
use crate::sql::alter::AlterTable;
use crate::sql::layout::Layout;

/// A statement that changes what tables, views and schemas there are.
#[derive(Debug, Clone)]
pub(crate) enum Ddl {
    CreateTable(Box<CreateTable>, Layout),
    CreateView(Box<CreateView>),
    AlterTable(Box<AlterTable>),
    /// CREATE SCHEMA, DROP.
    Other(Box<Statement>),
}

impl Ddl {
    /// The statement, if it is DDL; wherever its names are.
    pub(super) fn of(statement: &SqlStatement) -> Option<Self> {
        let SqlStatement::Statement(statement) = statement else {
            return None;
        };
        match statement.as_ref() {
            Statement::CreateTable(table) => {
                let layout = Layout::default();
                Some(Self::CreateTable(Box::new(table.clone()), layout))
            }
            Statement::CreateView(view) => Some(Self::CreateView(Box::new(view.clone()))),
            Statement::CreateSchema {
                schema_name: SchemaName::Simple(_),
                ..
            }
            | Statement::Drop {
                object_type: ObjectType::Table | ObjectType::View | ObjectType::Schema,
                ..
            } => Some(Self::Other(statement.clone())),
            _ => None,
        }
    }

    /// The same, with what it says of the layout of rows.
    pub(super) fn laid_out(self, layout: Option<Layout>) -> Self {
        match (self, layout) {
            (Self::CreateTable(table, _), Some(layout)) => Self::CreateTable(table, layout),
            (other, _) => other,
        }
    }

    /// Where its names are.
    ///
    /// # Errors
    ///
    /// `Invalid` if they are on another branch, or some here and some there.
    pub(super) fn place(&self, state: &SessionState, session: &UdrSession) -> Result<Place> {
        let relation = |name: &ObjectName| target::place(state, session, name);
        let schema = |name: &ObjectName| match target::namespace(state, session, name)? {
            Some(_) => Ok(Place::Repository),
            None => Ok(Place::Host),
        };
        match self {
            Self::CreateTable(table, _) => relation(&table.name),
            Self::CreateView(view) => relation(&view.name),
            Self::AlterTable(alter) => relation(&alter.name),
            Self::Other(statement) => match statement.as_ref() {
                Statement::CreateSchema {
                    schema_name: SchemaName::Simple(name),
                    ..
                } => schema(name),
                Statement::Drop {
                    object_type: ObjectType::Schema,
                    names,
                    ..
                } => together(names, schema),
                Statement::Drop { names, .. } => together(names, relation),
                _ => Err(not_ddl()),
            },
        }
    }

    /// What it returns.
    pub(super) fn schema(&self) -> SchemaRef {
        match self {
            Self::CreateTable(table, _) if table.query.is_some() => result::count_schema(),
            _ => result::done_schema(),
        }
    }

    /// Does what it says, in the open transaction or in one commit.
    ///
    /// With an IF it is no conflict that somebody else did the same meanwhile: what is there then
    /// decides.
    pub(super) async fn run(
        &self,
        state: &SessionState,
        session: &Arc<UdrSession>,
    ) -> Result<RecordBatch> {
        let first = Box::pin(self.run_once(state, session)).await;
        match &first {
            Err(error) if self.is_conditional() && is_conflict(error) => {
                Box::pin(self.run_once(state, session)).await
            }
            _ => first,
        }
    }

    /// Whether what it finds decides what it does.
    fn is_conditional(&self) -> bool {
        match self {
            Self::CreateTable(table, _) => table.if_not_exists,
            Self::CreateView(view) => view.if_not_exists,
            Self::AlterTable(alter) => alter.if_exists,
            Self::Other(statement) => match statement.as_ref() {
                Statement::CreateSchema { if_not_exists, .. } => *if_not_exists,
                Statement::Drop { if_exists, .. } => *if_exists,
                _ => false,
            },
        }
    }

    async fn run_once(
        &self,
        state: &SessionState,
        session: &Arc<UdrSession>,
    ) -> Result<RecordBatch> {
        match self {
            Self::CreateTable(table, layout) => {
                Box::pin(create_table::run(state, session, table, layout)).await
            }
            Self::CreateView(create) => view::create(state, session, create).await,
            Self::AlterTable(alter) => alter_table::run(state, session, alter).await,
            Self::Other(statement) => match statement.as_ref() {
                Statement::Drop { .. } => drop(state, session, statement).await,
                statement => create_schema(state, session, statement).await,
            },
        }
    }
}

fn is_conflict(error: &DataFusionError) -> bool {
    udr_error(error).is_some_and(|error| error.kind() == ErrorKind::Conflict)
}

fn together(names: &[ObjectName], place: impl Fn(&ObjectName) -> Result<Place>) -> Result<Place> {
    let mut found = None;
    for name in names {
        let place = place(name)?;
        if found.is_some_and(|found| found != place) {
            return Err(to_datafusion(Error::invalid(
                "the names are in the repository and elsewhere; drop them one by one",
            )));
        }
        found = Some(place);
    }
    found.ok_or_else(not_ddl)
}

fn not_ddl() -> DataFusionError {
    to_datafusion(Error::internal("the statement is no DDL"))
}

fn unsupported(what: &str) -> DataFusionError {
    to_datafusion(Error::unsupported(format!(
        "{what} is not supported by this version"
    )))
}

async fn create_schema(
    state: &SessionState,
    session: &UdrSession,
    statement: &Statement,
) -> Result<RecordBatch> {
    let Statement::CreateSchema {
        schema_name: SchemaName::Simple(name),
        if_not_exists,
        with: None,
        options: None,
        default_collate_spec: None,
        clone: None,
    } = statement
    else {
        return Err(unsupported("CREATE SCHEMA with options"));
    };
    let Some(name) = target::namespace(state, session, name)? else {
        return Err(not_ddl());
    };
    let keep = *if_not_exists;
    let made = change(
        session,
        format!("CREATE SCHEMA {name}"),
        async |transaction| {
            if keep && transaction.snapshot().namespaces().await?.contains(&name) {
                return Ok(false);
            }
            transaction.create_namespace(&name).await.map(|()| true)
        },
    )
    .await?;
    let text = match made {
        true => format!("schema {name} created"),
        false => format!("unchanged: there is a schema {name}"),
    };
    result::done(text).map_err(to_datafusion)
}

async fn drop(
    state: &SessionState,
    session: &UdrSession,
    statement: &Statement,
) -> Result<RecordBatch> {
    let Statement::Drop {
        object_type,
        if_exists,
        names,
        cascade,
        restrict: _,
        purge: false,
        temporary: false,
        table: None,
    } = statement
    else {
        return Err(unsupported("DROP with PURGE or TEMPORARY"));
    };
    let (ignore, cascade) = (*if_exists, *cascade);
    let message = statement.to_string();
    let dropped = match object_type {
        ObjectType::Schema => {
            let mut schemas = Vec::new();
            for name in names {
                schemas.push(target::namespace(state, session, name)?.ok_or_else(not_ddl)?);
            }
            change(session, message, async |transaction| {
                let mut dropped = Vec::new();
                for name in &schemas {
                    if drop_schema(transaction, name, ignore, cascade).await? {
                        dropped.push(name.to_string());
                    }
                }
                Ok(dropped)
            })
            .await?
        }
        _ if cascade => return Err(unsupported("DROP … CASCADE for tables and views")),
        kind => {
            let mut paths = Vec::new();
            for name in names {
                paths.push(target::path(state, session, name)?);
            }
            let view = matches!(kind, ObjectType::View);
            change(session, message, async |transaction| {
                let mut dropped = Vec::new();
                for path in &paths {
                    if drop_relation(transaction, path, view, ignore).await? {
                        dropped.push(path.to_string());
                    }
                }
                Ok(dropped)
            })
            .await?
        }
    };
    let text = match dropped.is_empty() {
        true => "unchanged: there was nothing to drop".to_owned(),
        false => format!("{} dropped", dropped.join(", ")),
    };
    result::done(text).map_err(to_datafusion)
}

/// Drops a table or a view; says whether there was one.
async fn drop_relation(
    transaction: &mut Transaction,
    path: &RelationPath,
    view: bool,
    ignore: bool,
) -> CoreResult<bool> {
    if ignore && transaction.snapshot().relation(path).await?.is_none() {
        return Ok(false);
    }
    if view {
        transaction.drop_view(path).await?;
    } else {
        transaction.drop_table(path).await?;
    }
    Ok(true)
}

/// Drops a schema, with what is in it if `cascade`; says whether there was one.
async fn drop_schema(
    transaction: &mut Transaction,
    name: &NamespaceName,
    ignore: bool,
    cascade: bool,
) -> CoreResult<bool> {
    let snapshot = transaction.snapshot();
    if ignore && !snapshot.namespaces().await?.contains(name) {
        return Ok(false);
    }
    if cascade {
        drop_all(transaction, name).await?;
    }
    transaction.drop_namespace(name).await.map(|()| true)
}

/// Drops everything in a schema: tables that others have foreign keys to after those.
async fn drop_all(transaction: &mut Transaction, name: &NamespaceName) -> CoreResult<()> {
    let mut waiting = Vec::new();
    for (relation, kind) in transaction.snapshot().relations(name).await? {
        let path = RelationPath::new(name.clone(), relation);
        match kind {
            RelationKind::Table => waiting.push(path),
            RelationKind::View => transaction.drop_view(&path).await?,
        }
    }
    while !waiting.is_empty() {
        let mut later = Vec::new();
        let before = waiting.len();
        for path in waiting {
            let snapshot = transaction.snapshot();
            let table = snapshot.table(&path).await?.id();
            if snapshot.children(table).iter().any(|child| *child != table) {
                later.push(path);
            } else {
                transaction.drop_table(&path).await?;
            }
        }
        // Those that are left are needed from elsewhere, or by each other: this says so.
        if later.len() == before
            && let Some(path) = later.first()
        {
            transaction.drop_table(path).await?;
        }
        waiting = later;
    }
    Ok(())
}
