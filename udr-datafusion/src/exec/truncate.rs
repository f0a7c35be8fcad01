//! Empties a table.

use std::sync::Arc;

use arrow::array::UInt64Array;
use arrow::record_batch::RecordBatch;
use datafusion::error::Result as DataFusionResult;
use datafusion::physical_plan::ExecutionPlan;
use parking_lot::Mutex;
use udr_core::{Error, Result};

use super::change::{RowTarget, count_schema};
use super::command::{CommandExec, Runs, ran_already};
use crate::session::WriteTarget;

/// A plan that empties a table when it runs, and gives the number of rows that it had.
pub(crate) fn truncate(target: RowTarget) -> DataFusionResult<Arc<dyn ExecutionPlan>> {
    let RowTarget {
        session,
        table,
        target,
        ..
    } = target;
    let name = format!("TRUNCATE TABLE {}", table.path());
    let target: Arc<Mutex<Option<WriteTarget>>> = Arc::new(Mutex::new(Some(target)));
    let message = name.clone();
    let run = move || {
        let (session, table) = (Arc::clone(&session), table.clone());
        let (target, message) = (Arc::clone(&target), message.clone());
        let done = async move {
            let target = target.lock().take().ok_or_else(ran_already)?;
            let (path, rows) = (table.path().clone(), table.rows());
            if rows > 0 {
                session
                    .write_to(target, message, async move |transaction| {
                        transaction.truncate(&path).await
                    })
                    .await?;
            }
            counted(rows)
        };
        Box::pin(done) as futures::future::BoxFuture<'static, Result<RecordBatch>>
    };
    let runs = Runs::once();
    let command = CommandExec::try_new(name, &count_schema(), None, Arc::new(run), runs)?;
    Ok(Arc::new(command))
}

fn counted(rows: u64) -> Result<RecordBatch> {
    let count = Arc::new(UInt64Array::from(vec![rows]));
    RecordBatch::try_new(count_schema(), vec![count])
        .map_err(|e| Error::internal("a count does not fit its schema").with_source(e))
}
