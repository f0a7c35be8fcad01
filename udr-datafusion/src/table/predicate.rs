//! Which files can hold rows that a filter keeps.

use std::collections::{BTreeSet, HashMap, HashSet};
use std::fmt;

use arrow::array::{ArrayRef, BooleanArray};
use arrow::datatypes::SchemaRef;
use datafusion::catalog::Session;
use datafusion::common::pruning::PruningStatistics;
use datafusion::common::{Column, DFSchema, ScalarValue};
use datafusion::logical_expr::Expr;
use datafusion::logical_expr::utils::conjunction;
use datafusion::physical_expr::utils::collect_columns;
use datafusion::physical_optimizer::pruning::{PruningPredicate, PruningPredicateBuilder};
use std::sync::Arc;
use udr_core::Result;
use udr_core::format::{Containers, Schema};
use udr_core::id::FieldId;
use udr_core::snapshot::Prune;

use crate::error::into_udr;

/// Filters of a scan, as a question to the bounds of files and of manifests.
pub(super) struct TablePredicate {
    predicate: PruningPredicate,
    fields: BTreeSet<FieldId>,
    by_name: HashMap<String, FieldId>,
}

impl TablePredicate {
    /// The question that `filters` together ask; `None` if bounds cannot answer any part of it.
    ///
    /// A filter that cannot be asked this way is left out, which keeps more files.
    pub(super) fn new(
        state: &dyn Session,
        schema: &Schema,
        arrow_schema: &SchemaRef,
        filters: &[Expr],
    ) -> Option<Self> {
        let df_schema = DFSchema::try_from(Arc::clone(arrow_schema)).ok()?;
        let usable = |filter: &&Expr| {
            state
                .create_physical_expr((*filter).clone(), &df_schema)
                .is_ok()
        };
        let filter = conjunction(filters.iter().filter(usable).cloned())?;
        let filter = state.create_physical_expr(filter, &df_schema).ok()?;
        let columns = collect_columns(&filter);
        let predicate = PruningPredicateBuilder::new()
            .with_file_schema(Arc::clone(arrow_schema))
            .with_max_in_list_size(state.config_options().execution.parquet.max_in_list_size)
            .try_build(filter)
            .ok()?;
        if predicate.always_true() {
            return None;
        }
        let by_name = columns
            .iter()
            .filter_map(|column| schema.field(column.name()))
            .filter(|field| field.ty.has_bounds())
            .map(|field| (field.name.clone(), field.id))
            .collect::<HashMap<_, _>>();
        Some(Self {
            predicate,
            fields: by_name.values().copied().collect(),
            by_name,
        })
    }
}

impl fmt::Debug for TablePredicate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "TablePredicate({})", self.predicate.predicate_expr())
    }
}

impl Prune for TablePredicate {
    fn fields(&self) -> &BTreeSet<FieldId> {
        &self.fields
    }

    fn keep(&self, containers: &Containers) -> Result<Vec<bool>> {
        self.predicate
            .prune(&ContainerStatistics {
                containers,
                by_name: &self.by_name,
            })
            .map_err(into_udr)
    }
}

/// The bounds of containers, as DataFusion asks for them.
struct ContainerStatistics<'a> {
    containers: &'a Containers,
    by_name: &'a HashMap<String, FieldId>,
}

impl ContainerStatistics<'_> {
    fn of(
        &self,
        column: &Column,
        part: fn(&udr_core::format::Bounds) -> ArrayRef,
    ) -> Option<ArrayRef> {
        let field = self.by_name.get(column.name())?;
        self.containers.bounds(*field).map(part)
    }
}

impl PruningStatistics for ContainerStatistics<'_> {
    fn min_values(&self, column: &Column) -> Option<ArrayRef> {
        self.of(column, |bounds| Arc::clone(&bounds.lower))
    }

    fn max_values(&self, column: &Column) -> Option<ArrayRef> {
        self.of(column, |bounds| Arc::clone(&bounds.upper))
    }

    fn num_containers(&self) -> usize {
        self.containers.len()
    }

    fn null_counts(&self, column: &Column) -> Option<ArrayRef> {
        self.of(column, |bounds| Arc::new(bounds.null_count.clone()))
    }

    fn row_counts(&self) -> Option<ArrayRef> {
        Some(Arc::new(self.containers.rows().clone()))
    }

    fn contained(&self, _column: &Column, _values: &HashSet<ScalarValue>) -> Option<BooleanArray> {
        None
    }
}
