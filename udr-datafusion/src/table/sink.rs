//! Where the rows that a statement changes go.

use std::sync::{Arc, LazyLock};

use arrow::datatypes::{DataType, Field, FieldRef, Schema, SchemaRef};
use async_trait::async_trait;
use datafusion::catalog::{Session, TableProvider};
use datafusion::error::Result as DataFusionResult;
use datafusion::logical_expr::dml::InsertOp;
use datafusion::logical_expr::{Expr, TableType};
use datafusion::physical_plan::ExecutionPlan;
use udr_core::Error;
use udr_core::data::identity_fields;
use udr_core::txn::RowOperation;

use super::UdrTable;
use super::join_side::collect_small_sources;
use super::row_columns::{FILE, ROW};
use crate::error::to_datafusion;
use crate::exec::{RowChange, UdrChangeExec};
use crate::session::StatementPin;

/// What a `MERGE` does with a row.
pub(crate) const ACTION: &str = "_udr_action";

/// A table as the target of an INSERT that says which of its rows to delete and what to write
/// instead.
///
/// DELETE, UPDATE and MERGE are rewritten to such an INSERT: DataFusion plans its input as any
/// query, and effects happen when the plan runs.
#[derive(Debug, Clone)]
pub(crate) struct RowSink {
    table: UdrTable,
    operation: RowOperation,
    /// Columns that tell rows apart for who reads an error; all if it is empty.
    key: Arc<[String]>,
    schema: SchemaRef,
}

impl RowSink {
    /// `key` names columns that tell rows apart for who reads an error.
    pub(crate) fn new(table: UdrTable, operation: RowOperation, key: Vec<String>) -> Self {
        let schema = sink_schema(operation, &table.schema());
        Self {
            table,
            operation,
            key: key.into(),
            schema,
        }
    }

    /// The target of a DELETE whose rows are returned: their values follow their places.
    pub(crate) fn returning(table: UdrTable) -> Self {
        let sink = Self::new(table, RowOperation::Delete, Vec::new());
        let values = sink.table.schema();
        let fields = sink.schema.fields().iter().chain(values.fields()).cloned();
        Self {
            schema: Arc::new(Schema::new(fields.collect::<Vec<_>>())),
            ..sink
        }
    }

    /// The same target, at the state of a statement.
    pub(crate) fn pinned(&self, pin: Arc<StatementPin>) -> Self {
        Self {
            table: self.table.pinned(pin),
            ..self.clone()
        }
    }
}

/// What a change of rows comes as: where each row is and what identifies it, what is done to it,
/// and the values it gets.
pub(crate) fn sink_schema(operation: RowOperation, table: &SchemaRef) -> SchemaRef {
    static PLACE: LazyLock<[FieldRef; 4]> = LazyLock::new(|| {
        let [file, position, _] = identity_fields();
        [
            Arc::new(Field::new(FILE, DataType::UInt32, true)),
            Arc::new(Field::new(ROW, DataType::Int64, true)),
            Arc::new(file),
            Arc::new(position),
        ]
    });
    let [file, row, carried_file, carried_position] = &*PLACE;
    let mut fields = vec![Arc::clone(file), Arc::clone(row)];
    if operation != RowOperation::Delete {
        fields.extend([Arc::clone(carried_file), Arc::clone(carried_position)]);
        if operation == RowOperation::Merge {
            fields.push(Arc::new(Field::new(ACTION, DataType::UInt8, false)));
        }
        let columns = table.fields().iter();
        fields.extend(columns.map(|f| Arc::new(f.as_ref().clone().with_nullable(true))));
    }
    Arc::new(Schema::new(fields))
}

#[async_trait]
impl TableProvider for RowSink {
    fn schema(&self) -> SchemaRef {
        Arc::clone(&self.schema)
    }

    fn table_type(&self) -> TableType {
        TableType::Temporary
    }

    async fn scan(
        &self,
        _state: &dyn Session,
        _projection: Option<&Vec<usize>>,
        _filters: &[Expr],
        _limit: Option<usize>,
    ) -> DataFusionResult<Arc<dyn ExecutionPlan>> {
        Err(to_datafusion(Error::internal(
            "the target of a change was read",
        )))
    }

    async fn insert_into(
        &self,
        _state: &dyn Session,
        input: Arc<dyn ExecutionPlan>,
        _insert_op: InsertOp,
    ) -> DataFusionResult<Arc<dyn ExecutionPlan>> {
        if input.schema().fields().len() != self.schema.fields().len() {
            return Err(to_datafusion(
                Error::internal("a change of rows was planned with other columns")
                    .with("table", self.table.path()),
            ));
        }
        let input = match self.operation {
            RowOperation::Merge => collect_small_sources(input)?,
            RowOperation::Delete | RowOperation::Update => input,
        };
        let target = self.table.to_change().await.map_err(to_datafusion)?;
        let change = RowChange {
            operation: self.operation,
            key: Arc::clone(&self.key),
        };
        UdrChangeExec::plan(input, target, change).map_err(to_datafusion)
    }
}
