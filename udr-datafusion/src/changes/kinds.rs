//! Which commits, and which kinds of changes, can pass the filters of a scan.

use std::collections::BTreeSet;
use std::sync::Arc;

use arrow::array::{Array as _, ArrayRef, AsArray as _, RecordBatch};
use arrow::datatypes::Schema;
use datafusion::catalog::Session;
use datafusion::common::DFSchema;
use datafusion::logical_expr::Expr;
use datafusion::logical_expr::utils::conjunction;
use datafusion::physical_plan::PhysicalExpr;
use udr_core::changes::ChangeKind;
use udr_core::{Error, Result};

use super::columns::{CommitColumns, Layout, Shown, change_types, constant};

/// Filters that ask only for what is the same for all rows of one kind that a commit changed.
#[derive(Debug)]
pub(super) struct KindFilter {
    filter: Arc<dyn PhysicalExpr>,
    layout: Layout,
}

impl KindFilter {
    /// What of `filters` can be asked; `None` if nothing can.
    pub(super) fn new(state: &dyn Session, layout: &Layout, filters: &[Expr]) -> Option<Self> {
        let fields = layout.shown.iter().zip(layout.schema.fields());
        let (shown, fields): (Vec<_>, Vec<_>) = fields
            .filter(|(shown, _)| shown.is_constant())
            .map(|(shown, field)| (*shown, Arc::clone(field)))
            .unzip();
        let schema = Arc::new(Schema::new(fields));
        let df_schema = DFSchema::try_from(Arc::clone(&schema)).ok()?;
        let usable = |filter: &&Expr| {
            let filter = (*filter).clone();
            !filter.is_volatile() && state.create_physical_expr(filter, &df_schema).is_ok()
        };
        let filter = conjunction(filters.iter().filter(usable).cloned())?;
        let filter = state.create_physical_expr(filter, &df_schema).ok()?;
        Some(Self {
            filter,
            layout: Layout { schema, shown },
        })
    }

    /// The kinds of changes to a table, by a commit, of which rows can pass.
    ///
    /// # Errors
    ///
    /// `Internal` if the filters are no filters.
    pub(super) fn keep(&self, commit: &CommitColumns, table: &str) -> Result<BTreeSet<ChangeKind>> {
        let kinds = ChangeKind::ALL;
        let columns = self.layout.shown.iter().map(|shown| match shown {
            Shown::ChangeType => Some(change_types(&kinds)),
            other => constant(*other, commit, table, kinds.len()),
        });
        let columns = columns.collect::<Option<Vec<ArrayRef>>>();
        let columns = columns.ok_or_else(|| Error::internal("a column is not constant"))?;
        let batch = RecordBatch::try_new(Arc::clone(&self.layout.schema), columns)
            .map_err(|e| Error::internal("a commit does not fit its feed").with_source(e))?;
        let kept = self.filter.evaluate(&batch);
        let kept = kept.and_then(|kept| kept.into_array(kinds.len()));
        // What cannot be evaluated fails above, if there is a row that it is asked of.
        let Ok(kept) = kept else {
            return Ok(BTreeSet::from(kinds));
        };
        let Some(kept) = kept.as_boolean_opt() else {
            return Err(Error::internal("a filter is not true or false"));
        };
        let passes = |at: usize| kept.is_valid(at) && kept.value(at);
        let kinds = kinds.into_iter().enumerate();
        Ok(kinds
            .filter(|(at, _)| passes(*at))
            .map(|(_, k)| k)
            .collect())
    }
}
