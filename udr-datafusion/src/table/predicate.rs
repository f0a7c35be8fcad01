//! Which files can hold rows that a filter keeps.

use std::collections::{BTreeSet, HashMap, HashSet};
use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};

use arrow::array::{ArrayRef, AsArray as _, BooleanArray};
use arrow::datatypes::{DataType, Int32Type, SchemaRef};
use datafusion::catalog::Session;
use datafusion::common::pruning::PruningStatistics;
use datafusion::common::{Column, DFSchema, ScalarValue};
use datafusion::logical_expr::Expr;
use datafusion::logical_expr::utils::conjunction;
use datafusion::physical_expr::utils::collect_columns;
use datafusion::physical_optimizer::pruning::{PruningPredicate, PruningPredicateBuilder};
use std::sync::Arc;
use udr_core::Result;
use udr_core::format::{Containers, Schema, Transform, Type};
use udr_core::id::FieldId;
use udr_core::snapshot::Prune;

use crate::error::into_udr;

/// Filters of a scan, as a question to the bounds of files and of manifests.
pub(super) struct TablePredicate {
    predicate: PruningPredicate,
    fields: BTreeSet<FieldId>,
    by_name: HashMap<String, FieldId>,
    /// By column, the buckets that its values are in.
    buckets: HashMap<String, Vec<Buckets>>,
    /// How many containers were left out for their buckets.
    pruned_by_buckets: AtomicU64,
}

/// A partition field that bounds of its column say nothing of.
struct Buckets {
    field: FieldId,
    transform: Transform,
    source: Type,
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
        let mut buckets = HashMap::<String, Vec<Buckets>>::new();
        for field in schema.partition_fields() {
            let column = by_name.iter().find(|(_, id)| **id == field.source);
            let source = schema.field_by_id(field.source);
            let hashed = !field.transform.is_monotone();
            if let Some(((name, _), source)) = column.zip(source).filter(|_| hashed) {
                buckets.entry(name.clone()).or_default().push(Buckets {
                    field: field.id,
                    transform: field.transform,
                    source: source.ty.clone(),
                });
            }
        }
        let hashed = buckets.values().flatten().map(|buckets| buckets.field);
        Some(Self {
            predicate,
            fields: by_name.values().copied().chain(hashed).collect(),
            by_name,
            buckets,
            pruned_by_buckets: AtomicU64::new(0),
        })
    }

    /// How many manifests and files were left out so far for their buckets, and not for their bounds.
    pub(super) fn pruned_by_buckets(&self) -> u64 {
        self.pruned_by_buckets.load(Ordering::Relaxed)
    }

    fn ask(
        &self,
        containers: &Containers,
        buckets: &HashMap<String, Vec<Buckets>>,
    ) -> Result<Vec<bool>> {
        let statistics = ContainerStatistics {
            containers,
            by_name: &self.by_name,
            buckets,
        };
        self.predicate.prune(&statistics).map_err(into_udr)
    }
}

/// The question that filters ask of the files of a table, for a scan of more than its columns.
pub(crate) fn table_predicate(
    state: &dyn Session,
    schema: &Schema,
    arrow_schema: &SchemaRef,
    filters: &[Expr],
) -> Option<Arc<dyn Prune>> {
    let predicate = TablePredicate::new(state, schema, arrow_schema, filters)?;
    Some(Arc::new(predicate))
}

impl Buckets {
    /// The buckets that values of the column are in; `None` if that is not known of all.
    fn of(&self, values: &HashSet<ScalarValue>) -> Option<BTreeSet<i32>> {
        let to = self.source.to_arrow();
        let mut found = BTreeSet::new();
        for value in values {
            let text = matches!(to, DataType::Utf8View | DataType::BinaryView);
            if value.is_null() || (value.data_type() != to && !text) {
                return None;
            }
            let value = value.cast_to(&to).ok()?.to_array().ok()?;
            let bucket = self.transform.apply(&self.source, &value).ok()?;
            let bucket = bucket.as_primitive_opt::<Int32Type>()?;
            found.extend(bucket.iter().flatten());
        }
        Some(found)
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
        let keep = self.ask(containers, &self.buckets)?;
        if !self.buckets.is_empty() {
            let count = |keep: &[bool]| keep.iter().filter(|keep| **keep).count();
            let by_bounds = count(&self.ask(containers, &HashMap::new())?);
            let pruned = by_bounds.saturating_sub(count(&keep)) as u64;
            self.pruned_by_buckets.fetch_add(pruned, Ordering::Relaxed);
        }
        Ok(keep)
    }
}

/// The bounds of containers, as DataFusion asks for them.
struct ContainerStatistics<'a> {
    containers: &'a Containers,
    by_name: &'a HashMap<String, FieldId>,
    buckets: &'a HashMap<String, Vec<Buckets>>,
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

    /// False where none of `values` can be in a container, for it has other buckets.
    fn contained(&self, column: &Column, values: &HashSet<ScalarValue>) -> Option<BooleanArray> {
        let mut lacks = vec![false; self.containers.len()];
        for buckets in self.buckets.get(column.name())? {
            let Some(wanted) = buckets.of(values) else {
                continue;
            };
            let Some(bounds) = self.containers.bounds(buckets.field) else {
                continue;
            };
            let lower = bounds.lower.as_primitive_opt::<Int32Type>()?;
            let upper = bounds.upper.as_primitive_opt::<Int32Type>()?;
            for (lacks, (lower, upper)) in lacks.iter_mut().zip(lower.iter().zip(upper)) {
                if let Some((lower, upper)) = lower.zip(upper) {
                    *lacks |= wanted.range(lower..=upper.max(lower)).next().is_none();
                }
            }
        }
        Some(
            lacks
                .into_iter()
                .map(|lacks| lacks.then_some(false))
                .collect(),
        )
    }
}
