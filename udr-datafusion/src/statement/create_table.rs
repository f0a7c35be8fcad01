//! CREATE TABLE, with and without a query.
//!
//! DataFusion plans the statement, so that types, casts and defaults are its own; the table and
//! its first rows are one commit.

use std::collections::BTreeMap;
use std::sync::Arc;

use arrow::compute::can_cast_types;
use arrow::datatypes::{Field, Schema as ArrowSchema};
use arrow::record_batch::RecordBatch;
use datafusion::common::DFSchema;
use datafusion::common::tree_node::{TreeNode as _, TreeNodeRecursion};
use datafusion::error::Result;
use datafusion::execution::TaskContext;
use datafusion::execution::context::SessionState;
use datafusion::logical_expr::{
    CreateMemoryTable, DdlStatement, Expr, ExprSchemable as _, LogicalPlan,
};
use datafusion::physical_plan::ExecutionPlan;
use datafusion::sql::parser::Statement as SqlStatement;
use datafusion::sql::sqlparser::ast::{ColumnOption, CreateTable, Ident, ObjectName, Statement};
use udr_core::format::Schema;
use udr_core::name::RelationPath;
use udr_core::snapshot::Relation;
use udr_core::txn::{Alteration, Transaction};
use udr_core::{Error, Result as CoreResult};

use super::{alter_table, refused, result, target};
use crate::constraint::{Definition, TableDefinitions, check_generated};
use crate::error::to_datafusion;
use crate::exec::{FileSpec, write_files};
use crate::functions::has_effects;
use crate::session::{Pinned, Rows, Source, UdrSession};
use crate::sql::constant;
use crate::sql::layout::Layout;

/// A name that nothing can have, since planning looks the new table's name up.
const NOWHERE: &str = "~";

pub(super) async fn run(
    state: &SessionState,
    session: &Arc<UdrSession>,
    statement: &CreateTable,
    layout: &Layout,
) -> Result<RecordBatch> {
    let path = target::path(state, session, &statement.name)?;
    let mut statement = statement.clone();
    let definitions = TableDefinitions::take(state, session, &mut statement)?;
    let statement = &statement;
    if statement.or_replace && statement.if_not_exists {
        return Err(to_datafusion(Error::invalid(
            "a table is replaced or kept: OR REPLACE and IF NOT EXISTS exclude each other",
        )));
    }
    // Before the query is planned: what others publish to a table that is replaced after the query
    // has read it, or meanwhile, is a conflict and is not lost.
    let base = session.pinned(&Source::Tip).await.map_err(to_datafusion)?;
    let planned = plan(state, statement).await?;
    let schema = schema(state, statement, &planned, &definitions)?;
    let rows = match &statement.query {
        Some(_) => Some(state.create_physical_plan(&planned.input).await?),
        None => None,
    };
    let queried = rows.is_some();
    let new = NewTable {
        session: Arc::clone(session),
        path: path.clone(),
        schema,
        constraints: definitions.constraints,
        layout: layout.clone(),
        state: state.clone(),
        rows,
        keep: statement.if_not_exists,
        replace: statement.or_replace,
        task: Arc::new(TaskContext::from(state)),
    };
    let verb = if statement.or_replace {
        "CREATE OR REPLACE TABLE"
    } else {
        "CREATE TABLE"
    };
    let message = match queried {
        true => format!("{verb} {path} AS SELECT"),
        false => format!("{verb} {path}"),
    };
    let written = new.write(&base, message).await.map_err(to_datafusion)?;
    let batch = match (queried, written) {
        (true, written) => result::counted(written.unwrap_or(0)),
        (false, Some(_)) => result::done(format!("table {path} created")),
        (false, None) => result::done(format!("unchanged: there is a table {path}")),
    };
    batch.map_err(to_datafusion)
}

/// DataFusion's plan of the statement, for a table of another name.
async fn plan(state: &SessionState, statement: &CreateTable) -> Result<CreateMemoryTable> {
    let nowhere = || Ident::with_quote('"', NOWHERE);
    let mut statement = statement.clone();
    statement.name = ObjectName::from(vec![nowhere(), nowhere(), nowhere()]);
    let statement = Statement::CreateTable(statement);
    match state
        .statement_to_plan(SqlStatement::Statement(Box::new(statement)))
        .await?
    {
        LogicalPlan::Ddl(DdlStatement::CreateMemoryTable(planned)) => Ok(planned),
        _ => Err(to_datafusion(Error::internal(
            "CREATE TABLE became another plan",
        ))),
    }
}

/// The stored schema: the plan's columns, nullable unless the statement says NOT NULL.
fn schema(
    state: &SessionState,
    statement: &CreateTable,
    planned: &CreateMemoryTable,
    definitions: &TableDefinitions,
) -> Result<Schema> {
    let columns = planned.input.schema();
    let not_null = |place: usize| {
        statement.columns.get(place).is_some_and(|column| {
            column
                .options
                .iter()
                .any(|option| matches!(option.option, ColumnOption::NotNull))
        })
    };
    let fields = columns
        .fields()
        .iter()
        .enumerate()
        .map(|(place, field)| Field::new(field.name(), field.data_type().clone(), !not_null(place)))
        .collect::<Vec<_>>();
    let arrow = ArrowSchema::new(fields);
    let mut defaults = BTreeMap::new();
    for (column, (name, expr)) in default_columns(statement).zip(&planned.column_defaults) {
        check_default(state, &arrow, name, expr, &column)?;
        defaults.insert(name.clone(), column.to_string());
    }
    let schema = Schema::from_arrow(&arrow).map_err(to_datafusion)?;
    let schema = schema.with_defaults(defaults).map_err(to_datafusion)?;
    if definitions.generated.is_empty() {
        return Ok(schema);
    }
    if statement.query.is_some() {
        return Err(to_datafusion(Error::unsupported(
            "a table made from a query has no generated columns",
        )));
    }
    let schema = schema
        .with_generated(definitions.generated.clone())
        .map_err(to_datafusion)?;
    check_generated(state, &schema).map_err(to_datafusion)?;
    Ok(schema)
}

/// The defaults as written, in the order in which the plan has them.
fn default_columns(
    statement: &CreateTable,
) -> impl Iterator<Item = datafusion::sql::sqlparser::ast::Expr> + '_ {
    statement.columns.iter().filter_map(|column| {
        column
            .options
            .iter()
            .find_map(|option| match &option.option {
                ColumnOption::Default(expr) => Some(expr.clone()),
                _ => None,
            })
    })
}

/// Refuses a default that every INSERT would stumble over.
pub(super) fn check_default(
    state: &SessionState,
    schema: &ArrowSchema,
    name: &str,
    expr: &Expr,
    written: &datafusion::sql::sqlparser::ast::Expr,
) -> Result<()> {
    let refuse = |why: &str| {
        to_datafusion(
            Error::invalid(format!("the default cannot be used, {why}"))
                .with("column", name)
                .with("default", written.to_string()),
        )
    };
    let mut scalar = true;
    expr.apply(|expr| {
        let aggregate = matches!(
            expr,
            Expr::AggregateFunction(_)
                | Expr::WindowFunction(_)
                | Expr::ScalarSubquery(_)
                | Expr::Exists(_)
                | Expr::InSubquery(_)
                | Expr::Placeholder(_)
        );
        scalar &= !aggregate && !has_effects(expr);
        Ok(TreeNodeRecursion::Continue)
    })?;
    if !scalar {
        return Err(refuse("it is not a value of its own"));
    }
    let ty = schema.field_with_name(name)?.data_type();
    if !can_cast_types(&expr.get_type(&DFSchema::empty())?, ty) {
        return Err(refuse("its type is not the column's"));
    }
    // What is constant is tried; what depends on the time is not.
    if let Ok(value) = constant::evaluate(state, written.clone())
        && value.cast_to(ty).is_err()
    {
        return Err(refuse("its value is not one of the column's type"));
    }
    Ok(())
}

/// What is made inside a transaction.
struct NewTable {
    session: Arc<UdrSession>,
    path: RelationPath,
    schema: Schema,
    constraints: Vec<Definition>,
    layout: Layout,
    state: SessionState,
    rows: Option<Arc<dyn ExecutionPlan>>,
    keep: bool,
    replace: bool,
    task: Arc<TaskContext>,
}

impl NewTable {
    /// Creates and fills it in the open transaction, or in one that starts at `base`.
    async fn write(self, base: &Pinned, message: String) -> CoreResult<Option<u64>> {
        let session = Arc::clone(&self.session);
        let target = session.write_target(base, Rows::Replace).await?;
        let make = async move |transaction: &mut Transaction| self.make(transaction).await;
        let written = Box::pin(session.write_to(target, message, make)).await?;
        session.names_changed().await;
        Ok(written)
    }

    /// Creates the table and fills it; `None` if there is one and it is kept.
    async fn make(self, transaction: &mut Transaction) -> CoreResult<Option<u64>> {
        match transaction.snapshot().relation(&self.path).await? {
            Some(_) if self.keep => return Ok(None),
            Some(Relation::Table(_)) if self.replace => {
                transaction.drop_table(&self.path).await?;
            }
            Some(Relation::View(_)) if self.replace => {
                return Err(Error::invalid("it is a view, not a table").with("name", &self.path));
            }
            _ => {}
        }
        transaction.create_table(&self.path, self.schema).await?;
        for definition in self.constraints {
            let snapshot = transaction.snapshot();
            let table = snapshot.table(&self.path).await?;
            let constraint = definition.resolve(&self.state, &snapshot, &table).await?;
            let added = vec![Alteration::AddConstraint(constraint)];
            transaction.alter_table(&self.path, added).await?;
        }
        let laid_out = alter_table::layout(&self.state, transaction, &self.path, &self.layout);
        laid_out.await?;
        let Some(rows) = self.rows else {
            return Ok(Some(0));
        };
        let table = transaction.snapshot().table(&self.path).await?;
        let spec = FileSpec::new(self.session, table, transaction.epoch())?;
        let files = write_files(rows, spec, self.task).await.map_err(refused)?;
        let count = files.iter().map(|file| file.rows).sum();
        transaction.append(&self.path, files).await?;
        Ok(Some(count))
    }
}
