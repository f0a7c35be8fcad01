//! Plans an INSERT whose rows may meet rows of the same key, and one that replaces rows.

use std::sync::Arc;

use arrow::datatypes::{DataType, Field};
use datafusion::common::tree_node::{Transformed, TreeNode as _};
use datafusion::common::{Column, DFSchema, Result};
use datafusion::functions_window::expr_fn::row_number;
use datafusion::logical_expr::{
    Expr, ExprFunctionExt as _, Filter, LogicalPlan, LogicalPlanBuilder, Projection, Values,
    WriteOp, lit,
};
use datafusion::sql::sqlparser::ast::Statement;
use udr_core::Error;

use super::plan::{Planner, change, inside};
use crate::error::to_datafusion;
use crate::exec::Action;
use crate::plan::guard::{Refusal, guarded};
use crate::sql::dml::{EXCLUDED, Replace, Twice, Upsert, query_statement};

/// The place of a row in a list of values.
const LISTED: &str = "_udr_listed";
/// Which of the rows with the same key a row is.
const NTH: &str = "_udr_nth";

impl Planner<'_> {
    /// A MERGE of what an INSERT would insert.
    pub(super) async fn upsert(&self, upsert: Upsert) -> Result<LogicalPlan> {
        let table = upsert.insert.table.to_string();
        let (_, insert) = self.dml(Statement::Insert(upsert.insert)).await?;
        let (framed, merge) = self.dml(Statement::Merge(upsert.merge)).await?;
        let rows = once(insert.input.as_ref(), &upsert.key, upsert.twice, table)?;
        let source = LogicalPlanBuilder::from(rows).alias(EXCLUDED)?.build()?;
        let op = merge.op.clone();
        self.refill(framed, change(merge, op, source))
    }

    /// The rows of an INSERT in the place of those that a predicate holds for.
    pub(super) async fn replace(&self, replace: Replace) -> Result<LogicalPlan> {
        let table = replace.insert.table.to_string();
        let (_, insert) = self.dml(Statement::Insert(replace.insert)).await?;
        let framed = self.framed(query_statement(replace.old)).await?;
        let condition = condition(inside(&framed))?;
        let columns = insert.input.schema().fields().iter();
        let columns = columns
            .map(|field| field.name().clone())
            .collect::<Vec<_>>();
        let refusal = Refusal {
            message: "a new row is not among those that REPLACE WHERE replaces",
            table,
            hint: "the predicate must be true for every row of the query: give the query the same \
                   WHERE, or widen the predicate",
        };
        let new = LogicalPlan::clone(&insert.input);
        let action = lit(Action::Insert as u8);
        let action = guarded(condition.is_true(), action, &columns, refusal);
        let old = inside(&framed).clone();
        let target = change(insert, WriteOp::Delete, old);
        let LogicalPlan::Dml(target) = &target else {
            return Err(to_datafusion(Error::internal("a change is none")));
        };
        let inner = crate::plan::replace_rows(target, new, &action)?;
        self.refill(framed, inner)
    }
}

/// The rows, no two of which have the same key.
fn once(rows: &LogicalPlan, key: &[String], twice: Twice, table: String) -> Result<LogicalPlan> {
    let columns = rows.schema().columns();
    let all = columns
        .iter()
        .cloned()
        .map(Expr::Column)
        .collect::<Vec<_>>();
    let listed = listed(rows)?;
    let by = key.iter().map(|name| Expr::Column(Column::from_name(name)));
    let by = by.collect::<Vec<_>>();
    let mut nth = row_number().partition_by(by.clone());
    if listed.is_some() {
        let listed = Expr::Column(Column::from_name(LISTED));
        nth = nth.order_by(vec![listed.sort(true, false)]);
    }
    let nth = nth.build()?.alias(NTH);
    let rows = listed.unwrap_or_else(|| rows.clone());
    let plan = LogicalPlanBuilder::from(rows).window(vec![nth])?.build()?;
    // A key with a NULL is like no other.
    let unknown = by.into_iter().map(Expr::is_null);
    let first = Expr::Column(Column::from_name(NTH)).eq(lit(1_u64));
    let condition = unknown.fold(first, Expr::or);
    let plan = match twice {
        Twice::KeepFirst => LogicalPlanBuilder::from(plan).filter(condition)?.build()?,
        Twice::Refuse => {
            let refusal = Refusal {
                message: "a row would be inserted or updated twice: its key comes twice",
                table,
                hint: "make the new rows unique by the columns of the conflict",
            };
            // The number of a row keeps the filter above what numbers them.
            let guard = guarded(condition, lit(true), key, refusal);
            LogicalPlanBuilder::from(plan).filter(guard)?.build()?
        }
    };
    LogicalPlanBuilder::from(plan).project(all)?.build()
}

/// The rows with their places in the list of values that they are; `None` if they are none.
fn listed(rows: &LogicalPlan) -> Result<Option<LogicalPlan>> {
    let LogicalPlan::Projection(projection) = rows else {
        return Ok(None);
    };
    let LogicalPlan::Values(Values { schema, values }) = projection.input.as_ref() else {
        return Ok(None);
    };
    // Named as every column of VALUES, which are named anew when parameters get their values.
    let name = format!("column{}", schema.fields().len() + 1);
    let place = Field::new(&name, DataType::UInt64, false);
    let fields = schema
        .iter()
        .map(|(table, field)| (table.cloned(), Arc::clone(field)));
    let fields = fields.chain([(None, Arc::new(place))]).collect();
    let metadata = schema.metadata().clone();
    let schema = Arc::new(DFSchema::new_with_metadata(fields, metadata)?);
    let numbered = values.iter().zip(0_u64..).map(|(row, place)| {
        let mut row = row.clone();
        row.push(lit(place));
        row
    });
    let values = LogicalPlan::Values(Values {
        schema,
        values: numbered.collect(),
    });
    let mut columns = projection.expr.clone();
    columns.push(Expr::Column(Column::from_name(name)).alias(LISTED));
    let projection = Projection::try_new(columns, Arc::new(values))?;
    Ok(Some(LogicalPlan::Projection(projection)))
}

/// What holds for the rows that are replaced, said of the new rows.
fn condition(old: &LogicalPlan) -> Result<Expr> {
    let filter = match old {
        LogicalPlan::Projection(projection) => projection.input.as_ref(),
        other => other,
    };
    let LogicalPlan::Filter(Filter { predicate, .. }) = filter else {
        return Err(to_datafusion(Error::internal(
            "the predicate of REPLACE WHERE was planned as something else",
        )));
    };
    let plain = |expr| match expr {
        Expr::Column(column) => Ok(Transformed::yes(Expr::Column(Column::from_name(
            column.name,
        )))),
        other => Ok(Transformed::no(other)),
    };
    Ok(predicate.clone().transform(plain)?.data)
}
