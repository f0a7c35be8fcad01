//! How a MERGE joins its source to its target.

use std::sync::Arc;

use datafusion::catalog::TableProvider as _;
use datafusion::common::{Column, JoinType, TableReference};
use datafusion::datasource::provider_as_source;
use datafusion::error::Result as DataFusionResult;
use datafusion::logical_expr::dml::MergeIntoClauseKind;
use datafusion::logical_expr::{Expr, LogicalPlan, LogicalPlanBuilder, TableScanBuilder, lit};

use super::merge_clauses::Clause;
use super::{Target, qualified};
use crate::table::{ROW, RowsTable, place_names};

/// Is true for rows that come from the source.
const SOURCE: &str = "_udr_source";

/// Which pairs of rows the clauses ask for: matched ones, and rows of one side alone.
#[derive(Debug, Clone, Copy)]
pub(super) struct Sides {
    matched: bool,
    source_alone: bool,
    target_alone: bool,
}

impl Sides {
    pub(super) fn of(clauses: &[Clause]) -> Self {
        let any = |kind| clauses.iter().any(|clause| clause.kind == kind);
        Self {
            matched: any(MergeIntoClauseKind::Matched),
            source_alone: any(MergeIntoClauseKind::NotMatchedByTarget),
            target_alone: any(MergeIntoClauseKind::NotMatchedBySource),
        }
    }

    /// Whether any clause asks for rows of the target.
    pub(super) fn has_target(self) -> bool {
        self.matched || self.target_alone
    }

    /// Whether a clause applies to each pair: one without a condition for each kind of pairs.
    pub(super) fn are_covered(self, clauses: &[Clause]) -> bool {
        let always = |kind| {
            let mut clauses = clauses.iter();
            clauses.any(|clause| clause.kind == kind && clause.predicate.is_none())
        };
        let kinds = match self.join_type() {
            JoinType::Left => vec![
                MergeIntoClauseKind::Matched,
                MergeIntoClauseKind::NotMatchedByTarget,
            ],
            JoinType::Right => vec![
                MergeIntoClauseKind::Matched,
                MergeIntoClauseKind::NotMatchedBySource,
            ],
            JoinType::Full => vec![
                MergeIntoClauseKind::Matched,
                MergeIntoClauseKind::NotMatchedByTarget,
                MergeIntoClauseKind::NotMatchedBySource,
            ],
            JoinType::Inner => vec![MergeIntoClauseKind::Matched],
            JoinType::LeftAnti => vec![MergeIntoClauseKind::NotMatchedByTarget],
            _ => vec![MergeIntoClauseKind::NotMatchedBySource],
        };
        kinds.into_iter().all(always)
    }

    /// The join that has just these pairs, with the source on the left: it is usually the smaller
    /// side, which is kept in memory, and what it has in its keys prunes the scan of the target.
    fn join_type(self) -> JoinType {
        match (self.matched, self.source_alone, self.target_alone) {
            (_, true, true) => JoinType::Full,
            (true, true, false) => JoinType::Left,
            (true, false, true) => JoinType::Right,
            (true, false, false) => JoinType::Inner,
            (false, true, false) => JoinType::LeftAnti,
            (false, false, _) => JoinType::RightAnti,
        }
    }

    /// What is true of just the pairs of a kind; `None` if that is all pairs.
    pub(super) fn presence(
        self,
        kind: MergeIntoClauseKind,
        target: &TableReference,
    ) -> Option<Expr> {
        let in_target = || qualified(target, ROW);
        let in_source = || Expr::Column(Column::from_name(SOURCE));
        match (self.join_type(), kind.canonical()) {
            (JoinType::Left, MergeIntoClauseKind::Matched) => Some(in_target().is_not_null()),
            (JoinType::Right, MergeIntoClauseKind::Matched) => Some(in_source().is_not_null()),
            (JoinType::Full, MergeIntoClauseKind::Matched) => {
                Some(in_target().is_not_null().and(in_source().is_not_null()))
            }
            (JoinType::Left | JoinType::Full, MergeIntoClauseKind::NotMatchedByTarget) => {
                Some(in_target().is_null())
            }
            (JoinType::Right | JoinType::Full, MergeIntoClauseKind::NotMatchedBySource) => {
                Some(in_source().is_null())
            }
            _ => None,
        }
    }
}

/// The pairs that the clauses ask for.
pub(super) fn join(target: &Target<'_>, on: &Expr, sides: Sides) -> DataFusionResult<LogicalPlan> {
    let join_type = sides.join_type();
    let mut source = LogicalPlanBuilder::from(LogicalPlan::clone(&target.dml.input));
    if matches!(join_type, JoinType::Right | JoinType::Full) {
        let columns = source.schema().columns().into_iter().map(Expr::Column);
        let columns = columns.chain([lit(true).alias(SOURCE)]).collect::<Vec<_>>();
        source = source.project(columns)?;
    }
    source
        .join_on(rows(target)?, join_type, [on.clone()])?
        .build()
}

/// The target's rows and where they are.
fn rows(target: &Target<'_>) -> DataFusionResult<LogicalPlan> {
    let rows = RowsTable::to_change(target.table.clone());
    let schema = rows.schema();
    let mut projection = (0..target.schema().fields().len()).collect::<Vec<_>>();
    for name in place_names() {
        projection.push(schema.index_of(name)?);
    }
    let name = target.dml.table_name.clone();
    let scan = TableScanBuilder::new(name, provider_as_source(Arc::new(rows)))
        .with_projection(Some(projection))
        .build()?;
    Ok(LogicalPlan::TableScan(scan))
}
