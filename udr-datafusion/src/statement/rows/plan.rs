//! Plans what a statement became, and puts the plans together.

use std::sync::Arc;

use arrow::datatypes::{FieldRef, SchemaRef};
use datafusion::common::display::ToStringifiedPlan as _;
use datafusion::common::tree_node::{Transformed, TreeNode as _};
use datafusion::common::{DataFusionError, Result};
use datafusion::datasource::provider_as_source;
use datafusion::execution::context::SessionState;
use datafusion::logical_expr::{
    DmlStatement, Expr, ExprSchemable as _, LogicalPlan, LogicalPlanBuilder, PlanType, Projection,
    Statement, WriteOp,
};
use datafusion::sql::sqlparser::ast::{ObjectName, Query, Statement as AstStatement};
use udr_core::Error;

use super::super::see_namespaces;
use crate::error::to_datafusion;
use crate::plan::delete_returning;
use crate::session::UdrSession;
use crate::sql::dml::{Frame, Selected, SourceColumn, delete_all, query_statement};
use crate::table::ReturningTable;

/// Plans the parts of one statement.
pub(super) struct Planner<'a> {
    state: &'a SessionState,
    session: &'a Arc<UdrSession>,
    frame: Frame,
}

impl<'a> Planner<'a> {
    pub(super) fn new(state: &'a SessionState, session: &'a Arc<UdrSession>, frame: Frame) -> Self {
        Self {
            state,
            session,
            frame,
        }
    }

    /// The plan of `statement` with what stood around the original one.
    pub(super) async fn framed(&self, statement: AstStatement) -> Result<LogicalPlan> {
        let statement = self.frame.around(statement);
        Box::pin(see_namespaces(self.state, self.session, &statement)).await?;
        Box::pin(self.state.statement_to_plan(statement)).await
    }

    /// The plan of a query that rows come from.
    pub(super) async fn source(&self, query: Query) -> Result<LogicalPlan> {
        let framed = self.framed(query_statement(query)).await?;
        Ok(inside(&framed).clone())
    }

    /// A change of the table that changes nothing: what it is called, and what reads it.
    async fn target(&self, name: ObjectName) -> Result<DmlStatement> {
        self.dml(delete_all(name)).await.map(|(_, dml)| dml)
    }

    /// The plan of a statement, and the change in it.
    pub(super) async fn dml(&self, statement: AstStatement) -> Result<(LogicalPlan, DmlStatement)> {
        let framed = self.framed(statement).await?;
        match inside(&framed) {
            LogicalPlan::Dml(dml) => {
                let dml = dml.clone();
                Ok((framed, dml))
            }
            _ => Err(to_datafusion(Error::internal(
                "a change of rows was planned as something else",
            ))),
        }
    }

    /// Deletes the rows of a query.
    pub(super) async fn delete(&self, rows: Selected) -> Result<LogicalPlan> {
        if let Some(check) = rows.check {
            self.framed(query_statement(*check)).await?;
        }
        let target = self.target(rows.target).await?;
        let framed = self.framed(query_statement(*rows.rows)).await?;
        let input = inside(&framed).clone();
        self.refill(framed, change(target, WriteOp::Delete, input))
    }

    /// Gives the rows of a query the values that it has.
    pub(super) async fn update(&self, rows: Selected) -> Result<LogicalPlan> {
        let target = self.target(rows.target).await?;
        let framed = self.framed(query_statement(*rows.rows)).await?;
        let input = converted(inside(&framed), &target.target.schema())?;
        self.refill(framed, change(target, WriteOp::Update, input))
    }

    /// What `query` says of the rows that `change` changes.
    pub(super) async fn returning(&self, query: Query, change: LogicalPlan) -> Result<LogicalPlan> {
        let framed = self.framed(query_statement(query)).await?;
        let change = match change {
            LogicalPlan::Dml(dml) if dml.op == WriteOp::Delete => delete_returning(&dml)?,
            other => other,
        };
        let inner = inside(&framed).clone().transform(|node| {
            let LogicalPlan::TableScan(scan) = &node else {
                return Ok(Transformed::no(node));
            };
            let returning = ReturningTable::new(scan.source.schema(), change.clone());
            let returning = provider_as_source(Arc::new(returning));
            let scan = LogicalPlanBuilder::scan(scan.table_name.clone(), returning, None)?;
            Ok(Transformed::yes(scan.build()?))
        })?;
        self.refill(framed, inner.data)
    }

    /// Puts another plan into what stood around the original statement.
    pub(super) fn refill(&self, framed: LogicalPlan, inner: LogicalPlan) -> Result<LogicalPlan> {
        Ok(match framed {
            LogicalPlan::Explain(mut explain) => {
                let inside = Arc::unwrap_or_clone(explain.plan);
                let inner = self.refill(inside, inner)?;
                explain.stringified_plans =
                    vec![inner.to_stringified(PlanType::InitialLogicalPlan)];
                explain.plan = Arc::new(inner);
                LogicalPlan::Explain(explain)
            }
            LogicalPlan::Analyze(mut analyze) => {
                let inside = Arc::unwrap_or_clone(analyze.input);
                analyze.input = Arc::new(self.refill(inside, inner)?);
                LogicalPlan::Analyze(analyze)
            }
            LogicalPlan::Statement(Statement::Prepare(mut prepare)) => {
                if !self.frame.has_types() {
                    prepare.fields = parameters(&inner)?;
                }
                prepare.input = Arc::new(inner);
                LogicalPlan::Statement(Statement::Prepare(prepare))
            }
            _ => inner,
        })
    }
}

/// The columns of a plan that rows come from.
pub(super) fn columns(source: &LogicalPlan) -> Vec<SourceColumn> {
    let columns = source.schema().iter();
    columns
        .map(|(qualifier, field)| {
            let qualifier = qualifier.map_or_else(Vec::new, |table| table.to_vec());
            SourceColumn::new(&qualifier, field.name())
        })
        .collect()
}

/// The plan of what a statement's frame is around.
pub(super) fn inside(framed: &LogicalPlan) -> &LogicalPlan {
    match framed {
        LogicalPlan::Explain(explain) => inside(&explain.plan),
        LogicalPlan::Analyze(analyze) => inside(&analyze.input),
        LogicalPlan::Statement(Statement::Prepare(prepare)) => &prepare.input,
        other => other,
    }
}

/// The same change with another operation and other rows.
pub(super) fn change(target: DmlStatement, op: WriteOp, input: LogicalPlan) -> LogicalPlan {
    let input = Arc::new(input);
    LogicalPlan::Dml(DmlStatement::new(
        target.table_name,
        target.target,
        op,
        input,
    ))
}

/// The types of a plan's parameters, in order, as DataFusion finds them.
fn parameters(plan: &LogicalPlan) -> Result<Vec<FieldRef>> {
    let types = plan.get_parameter_fields()?;
    let types = (1..=types.len()).filter_map(|at| types.get(&format!("${at}")).cloned().flatten());
    Ok(types.collect())
}

/// The rows, each column of the type that the table has for it.
fn converted(rows: &LogicalPlan, table: &SchemaRef) -> Result<LogicalPlan> {
    let changed = || {
        to_datafusion(
            Error::conflict("the table changed while the statement was planned")
                .with_hint("run the statement again"),
        )
    };
    let LogicalPlan::Projection(projection) = rows else {
        return Err(to_datafusion(Error::internal(
            "new values were planned as something else",
        )));
    };
    if projection.expr.len() != table.fields().len() {
        return Err(changed());
    }
    let fields = table.fields().iter();
    let values = projection.expr.iter().zip(fields).map(|(expr, field)| {
        // An alias that says nothing new is left out.
        let (name, value) = match expr {
            Expr::Alias(alias) => (&alias.name, alias.expr.as_ref()),
            Expr::Column(column) => (&column.name, expr),
            _ => return Err(changed()),
        };
        if name != field.name() {
            return Err(changed());
        }
        let mut value = value.clone();
        if let Expr::Placeholder(placeholder) = &mut value {
            placeholder.field.get_or_insert_with(|| Arc::clone(field));
        }
        let value = value.cast_to(field.data_type(), projection.input.schema())?;
        Ok(value.alias(field.name()))
    });
    let values = values.collect::<Result<Vec<_>, DataFusionError>>()?;
    let input = Arc::clone(&projection.input);
    Ok(LogicalPlan::Projection(Projection::try_new(values, input)?))
}
