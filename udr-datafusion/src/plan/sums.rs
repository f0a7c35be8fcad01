//! Which scans may tell the engine the sums of their columns.
//!
//! The engine answers `sum(a.x)` with the sum that a scan of `a` knows, also over a join of `a`
//! (apache/datafusion#22761). So a scan says it only where it is right below an aggregate over all of
//! its rows: the optimizer puts nothing between the two.
//!
//! In: an aggregate. Out: what is below it, with the table told so. Called by the analyzer.

use std::sync::Arc;

use datafusion::datasource::{provider_as_source, source_as_provider};
use datafusion::logical_expr::expr::AggregateFunctionParams;
use datafusion::logical_expr::{Aggregate, Expr, LogicalPlan};

use crate::table::UdrTable;

/// What is below an aggregate of all rows of one of our tables; `None` if it is another.
pub(super) fn of_all_rows(aggregate: &Aggregate) -> Option<LogicalPlan> {
    let plain = aggregate.group_expr.is_empty() && aggregate.aggr_expr.iter().all(is_plain);
    below(&aggregate.input).filter(|_| plain)
}

/// Whether it is an aggregate of every value.
fn is_plain(expr: &Expr) -> bool {
    let Expr::AggregateFunction(function) = expr.clone().unalias() else {
        return false;
    };
    let AggregateFunctionParams {
        distinct, filter, ..
    } = function.params;
    !distinct && filter.is_none()
}

fn below(plan: &LogicalPlan) -> Option<LogicalPlan> {
    match plan {
        LogicalPlan::SubqueryAlias(alias) => {
            let mut alias = alias.clone();
            alias.input = Arc::new(below(&alias.input)?);
            Some(LogicalPlan::SubqueryAlias(alias))
        }
        LogicalPlan::TableScan(scan) if scan.filters.is_empty() && scan.fetch.is_none() => {
            let provider = source_as_provider(&scan.source).ok()?;
            let table = provider.downcast_ref::<UdrTable>()?;
            let mut scan = scan.clone();
            scan.source = provider_as_source(Arc::new(table.aggregated()));
            Some(LogicalPlan::TableScan(scan))
        }
        _ => None,
    }
}
