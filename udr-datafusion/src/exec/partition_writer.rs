//! Writes one partition's rows into data files, within the memory that it is given.

use std::sync::Arc;

use arrow::record_batch::RecordBatch;
use datafusion::error::{DataFusionError, Result as DataFusionResult};
use datafusion::execution::TaskContext;
use datafusion::execution::memory_pool::{MemoryConsumer, MemoryReservation};
use udr_core::Result;
use udr_core::data::{RowIdentity, TableWriter, WriteOptions};
use udr_core::format::DataFile;
use udr_core::id::Epoch;
use udr_core::snapshot::TableSnapshot;

use super::returned::Returned;
use crate::constraint::{Given, RowRules};
use crate::error::to_datafusion;
use crate::session::UdrSession;

/// What data files are written for.
#[derive(Clone)]
pub(crate) struct FileSpec {
    pub(super) session: Arc<UdrSession>,
    pub(super) table: TableSnapshot,
    epoch: Epoch,
    identity: RowIdentity,
    /// Keeps the rows that are written, if they are to be returned.
    pub(super) returned: Option<Arc<Returned>>,
    /// What every row must be.
    pub(super) rules: Arc<RowRules>,
}

impl FileSpec {
    /// Files of new rows.
    ///
    /// # Errors
    ///
    /// `Unsupported` if a rule of the table cannot be understood here.
    pub(crate) fn new(
        session: Arc<UdrSession>,
        table: TableSnapshot,
        epoch: Epoch,
    ) -> Result<Self> {
        Ok(Self {
            rules: Arc::new(RowRules::new(&session, &table, Given::Refused)?),
            session,
            table,
            epoch,
            identity: RowIdentity::Own,
            returned: None,
        })
    }

    /// Files of rows that say themselves what they were, whose generated columns have the values
    /// from before the change.
    ///
    /// # Errors
    ///
    /// As [`FileSpec::new`].
    pub(super) fn carrying(
        session: Arc<UdrSession>,
        table: TableSnapshot,
        epoch: Epoch,
    ) -> Result<Self> {
        Ok(Self {
            rules: Arc::new(RowRules::new(&session, &table, Given::Replaced)?),
            session,
            table,
            epoch,
            identity: RowIdentity::Carried,
            returned: None,
        })
    }

    /// Files of rows that are returned, too.
    pub(super) fn keeping(&self, returned: &Arc<Returned>) -> Self {
        Self {
            returned: Some(Arc::clone(returned)),
            ..self.clone()
        }
    }

    fn writer(&self) -> Result<TableWriter> {
        let repository = self.session.repository();
        let options = WriteOptions {
            identity: self.identity,
            ..*self.session.write_options()
        };
        let writer = TableWriter::new(
            repository.store(),
            repository.env(),
            self.table.id(),
            self.epoch,
            self.table.schema(),
            options,
        )?;
        Ok(writer.with_bloom_filters(&self.table.key_columns()))
    }
}

/// Writes one partition's rows into data files.
pub(super) struct PartitionWriter {
    spec: FileSpec,
    /// None before the first row.
    writer: Option<TableWriter>,
    done: Vec<DataFile>,
    reservation: MemoryReservation,
    context: Arc<TaskContext>,
}

impl PartitionWriter {
    /// A writer whose buffers are called `consumer`.
    pub(super) fn new(spec: &FileSpec, consumer: &str, context: &Arc<TaskContext>) -> Self {
        let reservation = MemoryConsumer::new(consumer)
            .with_can_spill(true)
            .register(context.memory_pool());
        Self {
            spec: spec.clone(),
            writer: None,
            done: Vec::new(),
            reservation,
            context: Arc::clone(context),
        }
    }

    /// Adds rows.
    ///
    /// # Errors
    ///
    /// `Invalid` if a row breaks a rule of the table; those of [`TableWriter::write`], with the table
    /// named; `ResourcesExhausted`.
    pub(super) async fn write(&mut self, batch: &RecordBatch) -> DataFusionResult<()> {
        let named = |error: udr_core::Error| {
            let error = match error.kind() {
                udr_core::ErrorKind::Invalid => error.with("table", self.spec.table.path()),
                _ => error,
            };
            to_datafusion(error)
        };
        let batch = self.spec.rules.apply(batch).map_err(to_datafusion)?;
        let writer = match &mut self.writer {
            Some(writer) => writer,
            none => none.insert(self.spec.writer().map_err(named)?),
        };
        writer.write(&batch).await.map_err(named)?;
        if let Some(returned) = &self.spec.returned {
            returned.keep(&batch, 0, &self.context)?;
        }
        match self.reservation.try_resize(writer.memory_bytes()) {
            Ok(()) => Ok(()),
            // Short of memory, what is buffered becomes a file early.
            Err(DataFusionError::ResourcesExhausted(_)) => {
                if let Some(full) = self.writer.take() {
                    self.done.extend(full.finish().await.map_err(named)?);
                }
                self.reservation.free();
                Ok(())
            }
            Err(error) => Err(error),
        }
    }

    /// Waits until all files are durable.
    ///
    /// # Errors
    ///
    /// Those of [`TableWriter::finish`].
    pub(super) async fn finish(mut self) -> DataFusionResult<Vec<DataFile>> {
        if let Some(writer) = self.writer.take() {
            self.done
                .extend(writer.finish().await.map_err(to_datafusion)?);
        }
        self.reservation.free();
        let rules = self.spec.rules.basis();
        self.spec.session.remember_checked(&self.done, rules);
        Ok(self.done)
    }
}
