//! The rows of a feed that pass the filters of a scan, and the columns that it shows of them.

use std::collections::BTreeSet;
use std::sync::Arc;

use arrow::array::{AsArray as _, RecordBatch};
use arrow::compute::filter_record_batch;
use arrow::datatypes::SchemaRef;
use datafusion::catalog::Session;
use datafusion::common::DFSchema;
use datafusion::logical_expr::Expr;
use datafusion::logical_expr::utils::conjunction;
use datafusion::physical_expr::utils::{collect_columns, reassign_expr_columns};
use datafusion::physical_plan::PhysicalExpr;
use udr_core::{Error, Result};

use super::columns::Layout;
use crate::error::into_udr;

/// What is read of a feed, and what is shown of that.
#[derive(Debug)]
pub(super) struct RowFilter {
    /// The columns that are shown, and those that filters need.
    pub(super) read: Layout,
    filter: Option<Arc<dyn PhysicalExpr>>,
    /// Positions of the shown columns in what is read.
    shown: Vec<usize>,
    schema: SchemaRef,
}

impl RowFilter {
    /// Shows the columns `shown` of the rows that pass all of `filters`.
    ///
    /// # Errors
    ///
    /// Those of planning a filter.
    pub(super) fn new(
        state: &dyn Session,
        layout: &Layout,
        shown: &[usize],
        filters: &[Expr],
    ) -> Result<Self> {
        let schema = DFSchema::try_from(Arc::clone(&layout.schema)).map_err(into_udr)?;
        let filter = conjunction(filters.iter().cloned());
        let filter = filter.map(|filter| state.create_physical_expr(filter, &schema));
        let filter = filter.transpose().map_err(into_udr)?;
        let mut wanted = shown.iter().copied().collect::<BTreeSet<_>>();
        if let Some(filter) = &filter {
            wanted.extend(collect_columns(filter).iter().map(|column| column.index()));
        }
        let wanted = wanted.into_iter().collect::<Vec<_>>();
        let read = layout.project(&wanted)?;
        let filter = filter.map(|filter| reassign_expr_columns(filter, &read.schema));
        let places = shown.iter().filter_map(|at| wanted.binary_search(at).ok());
        Ok(Self {
            filter: filter.transpose().map_err(into_udr)?,
            shown: places.collect(),
            schema: layout.project(shown)?.schema,
            read,
        })
    }

    /// The columns that are shown.
    pub(super) fn schema(&self) -> SchemaRef {
        Arc::clone(&self.schema)
    }

    /// Which of the columns that are shown ascend from row to row.
    pub(super) fn ascending(&self) -> impl Iterator<Item = usize> + '_ {
        let shown = self.shown.iter().enumerate();
        let ascends = |at: &usize| {
            self.read
                .shown
                .get(*at)
                .is_some_and(|shown| shown.ascends())
        };
        shown.filter(move |(_, at)| ascends(at)).map(|(at, _)| at)
    }

    /// What is shown of a batch that was read.
    ///
    /// # Errors
    ///
    /// Those of evaluating the filters.
    pub(super) fn shown(&self, mut batch: RecordBatch) -> Result<RecordBatch> {
        if let Some(filter) = &self.filter {
            let kept = filter.evaluate(&batch);
            let kept = kept.and_then(|kept| kept.into_array(batch.num_rows()));
            let kept = kept.map_err(into_udr)?;
            let Some(kept) = kept.as_boolean_opt() else {
                return Err(Error::internal("a filter is not true or false"));
            };
            batch = filter_record_batch(&batch, kept)
                .map_err(|e| Error::internal("rows cannot be filtered").with_source(e))?;
        }
        batch
            .project(&self.shown)
            .map_err(|e| Error::internal("columns do not make a batch").with_source(e))
    }
}
