//! DELETE, UPDATE and MERGE become an INSERT into the mutation sink.
//!
//! In: the statement's plan as it was written, or as PREPARE optimized it. Out: an INSERT whose
//! input says where each changed row is and what it becomes; DataFusion plans that input as any
//! query, so that subqueries, LIMIT and joins mean what they say. A plan of another shape is
//! refused: a hook that guesses what it meant could change other rows. Called by the analyzer.

mod assign;
mod merge;
mod merge_clauses;
mod merge_join;
mod replace;
mod returning;
mod unknown;
mod volatile;
mod widen;

use std::sync::Arc;

use arrow::datatypes::SchemaRef;
use datafusion::catalog::TableProvider as _;
use datafusion::common::config::{ConfigOptions, Dialect};
use datafusion::common::{Column, DFSchema};
use datafusion::datasource::{provider_as_source, source_as_provider};
use datafusion::error::Result as DataFusionResult;
use datafusion::logical_expr::dml::InsertOp;
use datafusion::logical_expr::{
    DmlStatement, EmptyRelation, Expr, LogicalPlan, LogicalPlanBuilder, WriteOp,
};
use udr_core::Error;
use udr_core::txn::RowOperation;

pub(crate) use self::replace::replace_rows;
pub(crate) use self::returning::delete_returning;
use self::widen::{Widened, widen};
use crate::error::to_datafusion;
use crate::table::{RowSink, RowsTable, UdrTable, place_names, sink_schema};

/// How many columns say where a row is that is only deleted; for the others, all of
/// [`place_names`].
const PLACE: usize = 2;

/// The INSERT that a change of rows of one of our tables becomes; `None` for everything else.
///
/// # Errors
///
/// `Unsupported` for a plan that is not understood or a predicate that is not the same twice;
/// `Invalid` for a MERGE that refers to what is not there.
pub(super) fn rewrite(
    dml: &DmlStatement,
    config: &ConfigOptions,
) -> DataFusionResult<Option<LogicalPlan>> {
    let Ok(provider) = source_as_provider(&dml.target) else {
        return Ok(None);
    };
    let table = match (
        provider.downcast_ref::<UdrTable>(),
        provider.downcast_ref::<RowsTable>(),
    ) {
        (Some(table), _) => table,
        (None, Some(rows)) => match rows.shown() {
            Some(table) => table,
            None => return Ok(None),
        },
        (None, None) => return Ok(None),
    };
    let target = Target { dml, table };
    match &dml.op {
        WriteOp::Delete => {
            refuse_dropped_clauses(&target, config)?;
            target.delete().map(Some)
        }
        WriteOp::Update => target.update().map(Some),
        WriteOp::MergeInto(merge) => merge::rewrite(&target, merge, config).map(Some),
        _ => Ok(None),
    }
}

/// Refuses a DELETE that may have had a version clause: DataFusion's planner drops it together with
/// the rest of the target, so nothing of it is left to be seen here.
fn refuse_dropped_clauses(target: &Target<'_>, config: &ConfigOptions) -> DataFusionResult<()> {
    let parsed = matches!(
        config.sql_parser.dialect,
        Dialect::Databricks | Dialect::Snowflake | Dialect::BigQuery | Dialect::MsSQL
    );
    if !parsed || target.table.has_checked_clauses() {
        return Ok(());
    }
    Err(to_datafusion(
        Error::unsupported(
            "in this dialect a DELETE can have a version clause, which this entry point cannot see",
        )
        .with("table", target.table.path())
        .with("dialect", config.sql_parser.dialect)
        .with_hint("use udr_sql, which refuses the clause, or the generic dialect, which has none"),
    ))
}

/// The statement and the table whose rows it changes.
struct Target<'a> {
    dml: &'a DmlStatement,
    table: &'a UdrTable,
}

impl Target<'_> {
    /// The columns of the table.
    fn schema(&self) -> SchemaRef {
        self.table.schema()
    }

    fn delete(&self) -> DataFusionResult<LogicalPlan> {
        volatile::refuse(&self.dml.input, "DELETE")?;
        unknown::refuse(&self.dml.input, "DELETE")?;
        let Some(widened) = widen(&self.dml.input, self, PLACE)? else {
            return self.nothing(RowOperation::Delete);
        };
        let places = widened.places();
        let plan = LogicalPlanBuilder::from(widened.plan)
            .project(places)?
            .build()?;
        Ok(self.insert(RowOperation::Delete, Vec::new(), plan))
    }

    fn update(&self) -> DataFusionResult<LogicalPlan> {
        volatile::refuse(&self.dml.input, "UPDATE")?;
        unknown::refuse(&self.dml.input, "UPDATE")?;
        let table = self.schema();
        let names = table.fields().iter().map(|field| field.name());
        let given = self
            .dml
            .input
            .schema()
            .fields()
            .iter()
            .take(table.fields().len());
        if !given.map(|field| field.name()).eq(names) {
            return Err(self.not_understood(&self.dml.input));
        }
        let input = assign::name_columns(&self.dml.input, self)?;
        let values = input.schema().columns();
        let Some(widened) = widen(&input, self, place_names().len())? else {
            return self.nothing(RowOperation::Update);
        };
        let mut exprs = widened.places();
        for (value, field) in values.into_iter().zip(table.fields()) {
            exprs.push(Expr::Column(value).alias(field.name()));
        }
        let plan = LogicalPlanBuilder::from(widened.plan)
            .project(exprs)?
            .build()?;
        Ok(self.insert(RowOperation::Update, Vec::new(), plan))
    }

    /// The change of no row.
    fn nothing(&self, operation: RowOperation) -> DataFusionResult<LogicalPlan> {
        let schema = DFSchema::try_from(sink_schema(operation, &self.schema()))?;
        let plan = LogicalPlan::EmptyRelation(EmptyRelation {
            produce_one_row: false,
            schema: Arc::new(schema),
        });
        Ok(self.insert(operation, Vec::new(), plan))
    }

    fn insert(&self, operation: RowOperation, key: Vec<String>, plan: LogicalPlan) -> LogicalPlan {
        let sink = RowSink::new(self.table.clone(), operation, key);
        LogicalPlan::Dml(DmlStatement::new(
            self.dml.table_name.clone(),
            provider_as_source(Arc::new(sink)),
            WriteOp::Insert(InsertOp::Append),
            Arc::new(plan),
        ))
    }

    fn not_understood(&self, plan: &LogicalPlan) -> datafusion::error::DataFusionError {
        to_datafusion(
            Error::unsupported(
                "the plan of the statement is not understood, so nothing is changed",
            )
            .with("statement", self.dml.op.name())
            .with("table", self.table.path())
            .with("node", plan.display()),
        )
    }
}

impl Widened {
    /// Where each row is, under the names that the sink has for it.
    fn places(&self) -> Vec<Expr> {
        let names = place_names().iter();
        let columns = self.columns.iter().cloned().map(Expr::Column);
        names
            .zip(columns)
            .map(|(name, column): (&String, Expr)| column.alias(name))
            .collect()
    }
}

/// A column of a relation.
fn qualified(relation: &datafusion::common::TableReference, name: &str) -> Expr {
    Expr::Column(Column::new(Some(relation.clone()), name))
}
