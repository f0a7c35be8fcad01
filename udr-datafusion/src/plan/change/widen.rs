//! Brings the place of each row from the scan of the target to the top of a plan.

use std::sync::Arc;

use datafusion::catalog::TableProvider as _;
use datafusion::common::{Column, JoinType};
use datafusion::datasource::{provider_as_source, source_as_provider};
use datafusion::error::Result as DataFusionResult;
use datafusion::logical_expr::{
    Expr, Filter, Join, Limit, LogicalPlan, Projection, Sort, SubqueryAlias, TableScan,
    TableScanBuilder,
};

use super::Target;
use crate::table::{RowsTable, UdrTable, place_names};

/// A plan whose rows say where they are stored.
pub(super) struct Widened {
    pub(super) plan: LogicalPlan,
    /// The columns that say so, in the order of [`place_names`].
    pub(super) columns: Vec<Column>,
}

/// Adds the first `places` of [`place_names`] to the columns of a plan; its own keep their names.
/// `None` if the plan has no rows.
///
/// The rows of such a plan are rows of the target: the path down to its scan has only nodes that
/// keep or drop rows, or join others to them from the right.
///
/// # Errors
///
/// `Unsupported` if the path has any other node.
pub(super) fn widen(
    plan: &LogicalPlan,
    target: &Target<'_>,
    places: usize,
) -> DataFusionResult<Option<Widened>> {
    let below = |input: &LogicalPlan| widen(input, target, places);
    Ok(match plan {
        LogicalPlan::EmptyRelation(empty) if !empty.produce_one_row => None,
        LogicalPlan::TableScan(table) => Some(scan(plan, table, target, places)?),
        LogicalPlan::Filter(filter) => below(&filter.input)?
            .map(|input| {
                let Widened { plan, columns } = input;
                let filter = Filter::try_new(filter.predicate.clone(), Arc::new(plan))?;
                Widened::new(LogicalPlan::Filter(filter), columns)
            })
            .transpose()?,
        LogicalPlan::Limit(limit) => below(&limit.input)?
            .map(|input| {
                let limit = Limit {
                    skip: limit.skip.clone(),
                    fetch: limit.fetch.clone(),
                    input: Arc::new(input.plan),
                };
                Widened::new(LogicalPlan::Limit(limit), input.columns)
            })
            .transpose()?,
        LogicalPlan::Sort(sort) => below(&sort.input)?
            .map(|input| {
                let sort = Sort {
                    input: Arc::new(input.plan),
                    ..sort.clone()
                };
                Widened::new(LogicalPlan::Sort(sort), input.columns)
            })
            .transpose()?,
        LogicalPlan::Projection(projection) => below(&projection.input)?
            .map(|input| {
                let own = projection.expr.iter().cloned();
                let exprs = own.chain(input.columns.iter().cloned().map(Expr::Column));
                let plan = Projection::try_new(exprs.collect(), Arc::new(input.plan))?;
                Widened::new(LogicalPlan::Projection(plan), input.columns)
            })
            .transpose()?,
        LogicalPlan::SubqueryAlias(alias) => below(&alias.input)?
            .map(|input| {
                let name = alias.alias.clone();
                let columns = input.columns.into_iter();
                let columns = columns.map(|column| Column::new(Some(name.clone()), column.name));
                let columns = columns.collect();
                let plan = SubqueryAlias::try_new(Arc::new(input.plan), name)?;
                Widened::new(LogicalPlan::SubqueryAlias(plan), columns)
            })
            .transpose()?,
        LogicalPlan::Join(join) if keeps_left(join.join_type) => below(&join.left)?
            .map(|left| {
                let plan = Join::try_new(
                    Arc::new(left.plan),
                    Arc::clone(&join.right),
                    join.on.clone(),
                    join.filter.clone(),
                    join.join_type,
                    join.join_constraint,
                    join.null_equality,
                    join.null_aware,
                )?;
                Widened::new(LogicalPlan::Join(plan), left.columns)
            })
            .transpose()?,
        other => return Err(target.not_understood(other)),
    })
}

impl Widened {
    #[expect(
        clippy::unnecessary_wraps,
        reason = "it ends a chain of fallible steps"
    )]
    fn new(plan: LogicalPlan, columns: Vec<Column>) -> DataFusionResult<Self> {
        Ok(Self { plan, columns })
    }
}

/// Whether each row of such a join is a row from its left side.
fn keeps_left(join_type: JoinType) -> bool {
    matches!(
        join_type,
        JoinType::Inner
            | JoinType::Left
            | JoinType::LeftSemi
            | JoinType::LeftAnti
            | JoinType::LeftMark
    )
}

/// The scan of the target, with the places of its rows.
fn scan(
    node: &LogicalPlan,
    scan: &TableScan,
    target: &Target<'_>,
    places: usize,
) -> DataFusionResult<Widened> {
    let provider = source_as_provider(&scan.source)?;
    let same = match (
        provider.downcast_ref::<UdrTable>(),
        provider
            .downcast_ref::<RowsTable>()
            .and_then(RowsTable::shown),
    ) {
        (Some(table), _) => table.is_same(target.table),
        // Its columns are others, which the rows to change do not have.
        (None, Some(_) | None) => false,
    };
    if !same {
        return Err(target.not_understood(node));
    }
    let rows = RowsTable::to_change(target.table.clone());
    let schema = rows.schema();
    let own = target.schema().fields().len();
    let mut projection = scan
        .projection
        .clone()
        .unwrap_or_else(|| (0..own).collect());
    let mut columns = Vec::with_capacity(places);
    for name in place_names().iter().take(places) {
        projection.push(schema.index_of(name)?);
        columns.push(Column::new(Some(scan.table_name.clone()), name));
    }
    let scan = TableScanBuilder::new(scan.table_name.clone(), provider_as_source(Arc::new(rows)))
        .with_projection(Some(projection))
        .with_filters(scan.filters.clone())
        .with_fetch(scan.fetch)
        .build()?;
    Widened::new(LogicalPlan::TableScan(scan), columns)
}
