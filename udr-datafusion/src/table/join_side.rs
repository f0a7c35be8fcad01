//! Which side of a MERGE's join is kept in memory whole.

use std::sync::Arc;

use datafusion::common::tree_node::{Transformed, TransformedResult as _, TreeNode as _};
use datafusion::error::Result;
use datafusion::physical_plan::ExecutionPlan;
use datafusion::physical_plan::joins::{HashJoinExec, PartitionMode};
use datafusion::physical_plan::statistics::{StatisticsArgs, StatisticsContext};

/// The most rows of a source that is not dealt out to partitions.
const SOURCE_ROWS_MAX: usize = 512 * 1_024;
/// How many times larger than such a source the target is.
const TARGET_FACTOR: usize = 8;

/// Keeps a source whole that is small beside its target, so that the target is read where it is,
/// and not dealt out to partitions by its keys first.
pub(super) fn collect_small_sources(
    plan: Arc<dyn ExecutionPlan>,
) -> Result<Arc<dyn ExecutionPlan>> {
    plan.transform_up(|node| {
        let Some(join) = node.downcast_ref::<HashJoinExec>() else {
            return Ok(Transformed::no(node));
        };
        let small = match (rows(join.left().as_ref()), rows(join.right().as_ref())) {
            (Some(source), Some(target)) => {
                source <= SOURCE_ROWS_MAX && source <= target / TARGET_FACTOR
            }
            _ => false,
        };
        if !small || *join.partition_mode() != PartitionMode::Auto {
            return Ok(Transformed::no(node));
        }
        let collected = join
            .builder()
            .with_partition_mode(PartitionMode::CollectLeft)
            .build()?;
        Ok(Transformed::yes(Arc::new(collected)))
    })
    .data()
}

/// About how many rows a plan gives, where that is known.
fn rows(plan: &dyn ExecutionPlan) -> Option<usize> {
    let statistics = StatisticsContext::new().compute(plan, &StatisticsArgs::new());
    statistics.ok()?.num_rows.get_value().copied()
}
