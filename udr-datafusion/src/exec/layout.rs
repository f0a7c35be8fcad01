//! The order in which rows are written: by partition, then as the table is sorted.
//!
//! In: the columns of a table. Out: what a plan has to bring to the node that writes. Rows of one
//! partition come to one writer, one after the other, so that it has one file open at a time;
//! sorting is the engine's, within its memory.

use std::fmt;
use std::hash::{Hash, Hasher};
use std::sync::Arc;

use arrow::compute::SortOptions;
use arrow::datatypes::{DataType, Schema as ArrowSchema};
use arrow::record_batch::RecordBatch;
use datafusion::error::{DataFusionError, Result};
use datafusion::logical_expr::ColumnarValue;
use datafusion::physical_expr::expressions::Column;
use datafusion::physical_expr::{LexOrdering, PhysicalExpr, PhysicalSortExpr};
use datafusion::physical_plan::repartition::RepartitionExec;
use datafusion::physical_plan::sorts::sort::SortExec;
use datafusion::physical_plan::{ExecutionPlan, ExecutionPlanProperties as _, Partitioning};
use udr_core::format::{Schema, SortField, Transform, Type};

use crate::error::to_datafusion;

/// What rows are put apart and sorted by before they are written.
#[derive(Debug, Clone, Default)]
pub(super) struct RowLayout {
    partition: Vec<Arc<dyn PhysicalExpr>>,
    sort: Vec<PhysicalSortExpr>,
}

impl RowLayout {
    /// The layout of a table, over its columns in order.
    pub(super) fn new(schema: &Schema) -> Self {
        let column = |id| {
            let mut columns = schema.fields().iter().enumerate();
            columns
                .find(|(_, field)| field.id == id)
                .map(|(at, field)| {
                    let column: Arc<dyn PhysicalExpr> = Arc::new(Column::new(&field.name, at));
                    (column, field)
                })
        };
        let partition = schema.partitioned_by().filter_map(|field| {
            let (column, source) = column(field.source)?;
            Some(match field.transform {
                Transform::Identity => column,
                transform => Arc::new(TransformExpr {
                    transform,
                    source: source.ty.clone(),
                    column,
                }),
            })
        });
        Self {
            partition: partition.collect(),
            sort: sort_exprs(schema, schema.sorted_by()),
        }
    }

    /// What rows are put apart by.
    pub(super) fn partition(&self) -> &[Arc<dyn PhysicalExpr>] {
        &self.partition
    }

    /// The order that rows are wanted in; if the table has none, the order they have within a
    /// partition is kept.
    pub(super) fn ordering(&self, input: &dyn ExecutionPlan) -> Option<LexOrdering> {
        let partition = self.partition.iter();
        let partition = partition.map(|expr| PhysicalSortExpr::new_default(Arc::clone(expr)));
        let mut ordering = partition.collect::<Vec<_>>();
        if ordering.is_empty() && self.sort.is_empty() {
            return None;
        }
        match input.output_ordering() {
            Some(given) if self.sort.is_empty() => ordering.extend(given.iter().cloned()),
            _ => ordering.extend(self.sort.iter().cloned()),
        }
        LexOrdering::new(ordering)
    }

    /// The rows of a plan that is not optimised any more, as they are wanted.
    pub(super) fn of(
        &self,
        input: Arc<dyn ExecutionPlan>,
        partitions: usize,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        let Some(ordering) = self.ordering(input.as_ref()) else {
            return Ok(input);
        };
        let mut input = input;
        if !self.partition.is_empty() && partitions > 1 {
            let by = Partitioning::Hash(self.partition.clone(), partitions);
            input = Arc::new(RepartitionExec::try_new(input, by)?);
        }
        let sorted = SortExec::new(ordering, input).with_preserve_partitioning(true);
        Ok(Arc::new(sorted))
    }
}

/// An order over the columns of a table; it ends at one that the table does not have.
pub(crate) fn sort_exprs(schema: &Schema, order: &[SortField]) -> Vec<PhysicalSortExpr> {
    let terms = order.iter().map_while(|field| {
        let mut columns = schema.fields().iter().enumerate();
        let (at, column) = columns.find(|(_, column)| column.id == field.source)?;
        let options = SortOptions {
            descending: field.descending,
            nulls_first: field.nulls_first,
        };
        let column = Arc::new(Column::new(&column.name, at));
        Some(PhysicalSortExpr::new(column, options))
    });
    terms.collect()
}

/// What a transform makes of a column.
#[derive(Debug, Clone)]
struct TransformExpr {
    transform: Transform,
    source: Type,
    column: Arc<dyn PhysicalExpr>,
}

impl PartialEq for TransformExpr {
    fn eq(&self, other: &Self) -> bool {
        self.transform == other.transform
            && self.source == other.source
            && self.column.eq(&other.column)
    }
}

impl Eq for TransformExpr {}

impl Hash for TransformExpr {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.transform.to_string().hash(state);
        self.column.hash(state);
    }
}

impl fmt::Display for TransformExpr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}[{}]", self.transform, self.column)
    }
}

impl PhysicalExpr for TransformExpr {
    fn data_type(&self, _input: &ArrowSchema) -> Result<DataType> {
        let result = self.transform.result_type(&self.source);
        Ok(result.map_err(to_datafusion)?.to_arrow())
    }

    fn nullable(&self, _input: &ArrowSchema) -> Result<bool> {
        Ok(true)
    }

    fn evaluate(&self, batch: &RecordBatch) -> Result<ColumnarValue> {
        let values = self.column.evaluate(batch)?.into_array(batch.num_rows())?;
        let made = self.transform.apply(&self.source, &values);
        Ok(ColumnarValue::Array(made.map_err(to_datafusion)?))
    }

    fn children(&self) -> Vec<&Arc<dyn PhysicalExpr>> {
        vec![&self.column]
    }

    fn with_new_children(
        self: Arc<Self>,
        mut children: Vec<Arc<dyn PhysicalExpr>>,
    ) -> Result<Arc<dyn PhysicalExpr>> {
        let (Some(column), true) = (children.pop(), children.is_empty()) else {
            return Err(DataFusionError::Internal(
                "a transform has one column below".to_owned(),
            ));
        };
        Ok(Arc::new(Self {
            column,
            ..Self::clone(&self)
        }))
    }

    fn fmt_sql(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}
