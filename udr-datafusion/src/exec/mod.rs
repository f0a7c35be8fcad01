//! Plan nodes of our own: what writes, and what is no scan of data files.
//!
//! In: batches, or nothing. Out: counts, or the batch of a command. Effects happen when a node is
//! executed, once, and never while planning. Called by DataFusion.

mod change;
mod changes;
mod command;
mod layout;
mod mutate;
mod mutation;
mod partition_writer;
mod returned;
mod row_key;
mod stage;
mod truncate;
mod write;

pub(crate) use change::{RowChange, RowTarget, UdrChangeExec};
pub(crate) use changes::ChangesExec;
pub(crate) use command::Runs;
pub use command::{CommandExec, CommandTable};
pub(crate) use layout::sort_exprs;
pub(crate) use mutation::Action;
pub(crate) use partition_writer::FileSpec;
pub(crate) use returned::{Returned, UdrReturningExec, keeping};
pub(crate) use stage::UdrStageExec;
pub(crate) use truncate::truncate;
pub(crate) use write::write_files;

use std::sync::Arc;

use arrow::datatypes::SchemaRef;
use datafusion::physical_expr::EquivalenceProperties;
use datafusion::physical_plan::execution_plan::{Boundedness, EmissionType, SchedulingType};
use datafusion::physical_plan::{ExecutionPlan, Partitioning, PlanProperties};
use udr_core::{Error, Result};

/// Refuses rows that do not end, for what has to see the last of them.
///
/// # Errors
///
/// `Invalid`.
pub(crate) fn check_ends(input: &dyn ExecutionPlan) -> Result<()> {
    match input.properties().boundedness.is_unbounded() {
        true => Err(
            Error::invalid("a statement cannot change rows by what does not end")
                .with_hint("read `t$changes`, or as much as a LIMIT lets through"),
        ),
        false => Ok(()),
    }
}

/// The properties of a node whose partitions each give their rows when they are done.
fn properties(schema: SchemaRef, partitions: usize) -> Arc<PlanProperties> {
    let properties = PlanProperties::new(
        EquivalenceProperties::new(schema),
        Partitioning::UnknownPartitioning(partitions),
        EmissionType::Final,
        Boundedness::Bounded,
    );
    Arc::new(properties.with_scheduling_type(SchedulingType::Cooperative))
}
