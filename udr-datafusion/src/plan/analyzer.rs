//! One statement, one state; and transactions through plain SQL.
//!
//! DataFusion analyses a plan each time it is about to run it, prepared or not. So the pin that
//! all scans of the plan get here belongs to one execution, and is filled by the first scan.

use std::sync::Arc;

use arrow::datatypes::Schema;
use arrow::record_batch::{RecordBatch, RecordBatchOptions};
use datafusion::catalog::TableProvider;
use datafusion::common::config::ConfigOptions;
use datafusion::common::tree_node::{Transformed, TreeNodeRecursion};
use datafusion::datasource::{provider_as_source, source_as_provider};
use datafusion::error::Result as DataFusionResult;
use datafusion::logical_expr::{
    LogicalPlan, LogicalPlanBuilder, Statement, TableSource, TransactionAccessMode,
    TransactionConclusion, TransactionEnd, TransactionStart, WriteOp,
};
use datafusion::optimizer::AnalyzerRule;
use udr_core::{Error, Result};

use super::values::nullable_values;
use crate::catalog::refused::Refused;
use crate::catalog::system::MetadataTable;
use crate::changes::ChangesTable;
use crate::error::to_datafusion;
use crate::exec::CommandTable;
use crate::session::{BeginOptions, StatementPin, UdrSession};
use crate::table::{RowSink, RowsTable, UdrTable};

use super::{change, sums};

/// Pins all tables of a plan to one state, and turns transaction statements into commands.
#[derive(Debug)]
pub(crate) struct UdrAnalyzerRule {
    session: Arc<UdrSession>,
}

impl UdrAnalyzerRule {
    pub(crate) fn new(session: Arc<UdrSession>) -> Self {
        Self { session }
    }

    fn rewrite(
        &self,
        plan: LogicalPlan,
        pin: &Arc<StatementPin>,
        config: &ConfigOptions,
    ) -> DataFusionResult<Transformed<LogicalPlan>> {
        let plan = match plan {
            // What the statement becomes is pinned below, as if it had been written so.
            LogicalPlan::Dml(dml) => match change::rewrite(&dml, config)? {
                Some(rewritten) => rewritten,
                None => LogicalPlan::Dml(dml),
            },
            other => other,
        };
        match plan {
            LogicalPlan::Aggregate(mut aggregate) => Ok(match sums::of_all_rows(&aggregate) {
                Some(input) => {
                    aggregate.input = Arc::new(input);
                    Transformed::yes(LogicalPlan::Aggregate(aggregate))
                }
                None => Transformed::no(LogicalPlan::Aggregate(aggregate)),
            }),
            LogicalPlan::TableScan(mut scan) => Ok(match pinned(&scan.source, pin) {
                Some(source) => {
                    scan.source = source;
                    Transformed::yes(LogicalPlan::TableScan(scan))
                }
                None => Transformed::no(LogicalPlan::TableScan(scan)),
            }),
            LogicalPlan::Dml(mut dml) => Ok(match pinned(&dml.target, pin) {
                Some(target) => {
                    dml.target = target;
                    if matches!(dml.op, WriteOp::Insert(_)) {
                        dml.input = nullable_values(dml.input)?;
                    }
                    Transformed::yes(LogicalPlan::Dml(dml))
                }
                None => Transformed::no(LogicalPlan::Dml(dml)),
            }),
            LogicalPlan::Statement(Statement::TransactionStart(start)) => {
                self.start(&start).map(Transformed::yes)
            }
            LogicalPlan::Statement(Statement::TransactionEnd(end)) => {
                self.end(&end).map(Transformed::yes)
            }
            other => Ok(Transformed::no(other)),
        }
    }

    /// `START TRANSACTION`. DataFusion says `SERIALIZABLE` where no level is named, so nothing tells
    /// whether it was: the level is that of a transaction that names none.
    fn start(&self, start: &TransactionStart) -> DataFusionResult<LogicalPlan> {
        let read_only = matches!(start.access_mode, TransactionAccessMode::ReadOnly);
        let session = Arc::clone(&self.session);
        command(CommandTable::new(Arc::new(Schema::empty()), move || {
            let session = Arc::clone(&session);
            Box::pin(async move {
                session
                    .begin(BeginOptions {
                        read_only,
                        ..BeginOptions::default()
                    })
                    .await?;
                nothing()
            })
        }))
    }

    fn end(&self, end: &TransactionEnd) -> DataFusionResult<LogicalPlan> {
        if end.chain {
            return Err(to_datafusion(
                Error::unsupported("AND CHAIN is not supported by this version")
                    .with_hint("use START TRANSACTION"),
            ));
        }
        let commit = matches!(end.conclusion, TransactionConclusion::Commit);
        let session = Arc::clone(&self.session);
        command(CommandTable::new(Arc::new(Schema::empty()), move || {
            let session = Arc::clone(&session);
            Box::pin(async move {
                if commit {
                    session.commit(None).await?;
                } else {
                    session.rollback().await?;
                }
                nothing()
            })
        }))
    }
}

impl AnalyzerRule for UdrAnalyzerRule {
    fn analyze(&self, plan: LogicalPlan, config: &ConfigOptions) -> DataFusionResult<LogicalPlan> {
        if let Some(error) = Refused::hidden(&plan, config) {
            return Err(to_datafusion(error));
        }
        refuse_twice(&plan)?;
        let pin = Arc::new(StatementPin::default());
        plan.transform_down_with_subqueries(|node| self.rewrite(node, &pin, config))
            .map(|transformed| transformed.data)
    }

    fn name(&self) -> &'static str {
        "udr_statement"
    }
}

/// Refuses a plan that reads what a command returns in two places, such as a common table
/// expression that is used twice: the command would run twice.
fn refuse_twice(plan: &LogicalPlan) -> DataFusionResult<()> {
    let mut commands = Vec::new();
    let mut twice = false;
    plan.apply_with_subqueries(|node| {
        if let Some(command) = CommandTable::scanned_by(node) {
            twice |= commands.iter().any(|known| Arc::ptr_eq(known, &command));
            commands.push(command);
        }
        Ok(TreeNodeRecursion::Continue)
    })?;
    if !twice {
        return Ok(());
    }
    Err(to_datafusion(
        Error::invalid("what a command returns is read twice, and it would run twice")
            .with_hint("call it in a statement of its own"),
    ))
}

/// The source, pinned, if it is one of ours.
fn pinned(source: &Arc<dyn TableSource>, pin: &Arc<StatementPin>) -> Option<Arc<dyn TableSource>> {
    let provider = source_as_provider(source).ok()?;
    let pin = Arc::clone(pin);
    let pinned: Arc<dyn TableProvider> = if let Some(table) = provider.downcast_ref::<UdrTable>() {
        Arc::new(table.pinned(pin))
    } else if let Some(rows) = provider.downcast_ref::<RowsTable>() {
        Arc::new(rows.pinned(pin))
    } else if let Some(sink) = provider.downcast_ref::<RowSink>() {
        Arc::new(sink.pinned(pin))
    } else if let Some(changes) = provider.downcast_ref::<ChangesTable>() {
        Arc::new(changes.pinned(pin))
    } else {
        Arc::new(provider.downcast_ref::<MetadataTable>()?.pinned(pin))
    };
    Some(provider_as_source(pinned))
}

fn command(table: CommandTable) -> DataFusionResult<LogicalPlan> {
    LogicalPlanBuilder::scan("udr_transaction", provider_as_source(Arc::new(table)), None)?.build()
}

/// A batch without columns and rows.
fn nothing() -> Result<RecordBatch> {
    let options = RecordBatchOptions::new().with_row_count(Some(0));
    RecordBatch::try_new_with_options(Arc::new(Schema::empty()), Vec::new(), &options)
        .map_err(|error| Error::internal("an empty batch cannot be made").with_source(error))
}
