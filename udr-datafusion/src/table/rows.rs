//! A table's rows together with where they are stored, or with what identifies them.

use std::sync::Arc;

use arrow::datatypes::{Schema, SchemaRef};
use async_trait::async_trait;
use datafusion::catalog::{Session, TableProvider};
use datafusion::error::Result as DataFusionResult;
use datafusion::logical_expr::{Expr, TableProviderFilterPushDown, TableType};
use datafusion::physical_plan::ExecutionPlan;
use udr_core::{Error, Result};

use super::UdrTable;
use super::row_columns::{RowColumns, origin_fields};
use super::row_id::OriginColumns;
use crate::session::StatementPin;

/// A table with further columns of its rows.
#[derive(Debug, Clone)]
pub(crate) struct RowsTable {
    table: UdrTable,
    rows: RowColumns,
    schema: SchemaRef,
}

impl RowsTable {
    /// The table with where each row is stored, for a statement that changes rows.
    pub(crate) fn to_change(table: UdrTable) -> Self {
        let rows = RowColumns::Place;
        let schema = Arc::clone(rows.schema(&table.schema()).table_schema());
        Self {
            table,
            rows,
            schema,
        }
    }

    /// The table `t$rows`: `t` with each row's id and the version that gave it its values.
    ///
    /// # Errors
    ///
    /// `Invalid` if the table has a column of one of these names itself.
    pub(crate) fn with_origin(table: UdrTable) -> Result<Self> {
        let columns = table.schema();
        let taken = |name: &str| columns.column_with_name(name).is_some();
        if let Some(field) = origin_fields().iter().find(|field| taken(field.name())) {
            return Err(Error::invalid(
                "the table has a column of this name itself, so $rows has no place for the row's",
            )
            .with("table", table.path())
            .with("column", field.name()));
        }
        let fields = columns.fields().iter().chain(origin_fields()).cloned();
        let schema = Arc::new(Schema::new(fields.collect::<Vec<_>>()));
        Ok(Self {
            table,
            rows: RowColumns::Origin,
            schema,
        })
    }

    /// The same rows, read at the state of a statement.
    pub(crate) fn pinned(&self, pin: Arc<StatementPin>) -> Self {
        Self {
            table: self.table.pinned(pin),
            ..self.clone()
        }
    }

    /// The table whose rows these are, if they are shown with their ids.
    pub(crate) fn shown(&self) -> Option<&UdrTable> {
        (self.rows == RowColumns::Origin).then_some(&self.table)
    }
}

#[async_trait]
impl TableProvider for RowsTable {
    fn schema(&self) -> SchemaRef {
        Arc::clone(&self.schema)
    }

    fn table_type(&self) -> TableType {
        match self.rows {
            RowColumns::Origin => TableType::View,
            RowColumns::None | RowColumns::Place => TableType::Temporary,
        }
    }

    fn supports_filters_pushdown(
        &self,
        filters: &[&Expr],
    ) -> DataFusionResult<Vec<TableProviderFilterPushDown>> {
        self.table.supports_filters_pushdown(filters)
    }

    async fn scan(
        &self,
        state: &dyn Session,
        projection: Option<&Vec<usize>>,
        filters: &[Expr],
        limit: Option<usize>,
    ) -> DataFusionResult<Arc<dyn ExecutionPlan>> {
        if self.rows != RowColumns::Origin {
            return self
                .table
                .read(state, self.rows, projection, filters, limit)
                .await;
        }
        let wanted = projection.cloned();
        let wanted = wanted.unwrap_or_else(|| (0..self.schema.fields().len()).collect());
        let columns = OriginColumns::new(&self.table.schema(), &wanted);
        if !columns.any() {
            let rows = RowColumns::None;
            return self
                .table
                .read(state, rows, Some(&wanted), filters, limit)
                .await;
        }
        let read = Some(columns.read());
        let scan = self
            .table
            .read(state, self.rows, read, filters, limit)
            .await?;
        columns.project(scan)
    }
}
