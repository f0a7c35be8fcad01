//! A view that cannot be read, for who lists all there is.

use std::sync::Arc;

use arrow::datatypes::{Schema, SchemaRef};
use async_trait::async_trait;
use datafusion::catalog::{Session, TableProvider};
use datafusion::error::Result;
use datafusion::logical_expr::{Expr, TableType};
use datafusion::physical_plan::ExecutionPlan;
use udr_core::Error;

use crate::error::to_datafusion;

/// A view whose columns are not known; reading it says why.
#[derive(Debug)]
pub(super) struct BrokenView {
    error: Error,
}

impl BrokenView {
    /// `error` is why it cannot be read.
    pub(super) fn new(error: Error) -> Self {
        Self { error }
    }
}

#[async_trait]
impl TableProvider for BrokenView {
    fn schema(&self) -> SchemaRef {
        Arc::new(Schema::empty())
    }

    fn table_type(&self) -> TableType {
        TableType::View
    }

    async fn scan(
        &self,
        _state: &dyn Session,
        _projection: Option<&Vec<usize>>,
        _filters: &[Expr],
        _limit: Option<usize>,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        let error = Error::new(self.error.kind(), self.error.message());
        Err(to_datafusion(error))
    }
}
