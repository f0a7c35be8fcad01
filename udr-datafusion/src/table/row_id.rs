//! The columns `_row_id` and `_commit_sequence` of `t$rows`, made from what is stored.

use std::sync::{Arc, LazyLock};

use arrow::array::{
    Array as _, ArrayRef, AsArray as _, FixedSizeBinaryArray, FixedSizeBinaryBuilder, Int64Array,
    UInt64Array,
};
use arrow::datatypes::{DataType, Int64Type, SchemaRef, UInt64Type};
use datafusion::common::config::ConfigOptions;
use datafusion::error::Result as DataFusionResult;
use datafusion::logical_expr::{
    ColumnarValue, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature, Volatility,
};
use datafusion::physical_expr::expressions::Column;
use datafusion::physical_expr::{PhysicalExpr, ScalarFunctionExpr};
use datafusion::physical_plan::ExecutionPlan;
use datafusion::physical_plan::projection::{ProjectionExec, ProjectionExpr};
use udr_core::{Error, Result};

use super::row_columns::{COMMIT_SEQUENCE, IDENTITY, ROW_ID, origin_fields};
use crate::error::to_datafusion;

/// Which columns of `t$rows` are wanted, and what is read for them.
pub(super) struct OriginColumns {
    /// How many columns the table has; `_row_id` and `_commit_sequence` follow.
    columns: usize,
    wanted: Vec<usize>,
    names: Vec<String>,
    read: Vec<usize>,
}

impl OriginColumns {
    /// `wanted` are columns of `t$rows` by position.
    pub(super) fn new(table: &SchemaRef, wanted: &[usize]) -> Self {
        let columns = table.fields().len();
        let fields = table.fields().iter().chain(origin_fields());
        let names = fields.map(|field| field.name().clone()).collect();
        let mut read = wanted
            .iter()
            .copied()
            .filter(|at| *at < columns)
            .collect::<Vec<_>>();
        let constants = columns + IDENTITY;
        if wanted.contains(&columns) {
            // The id that the row carries, and where it is if it carries none.
            read.extend([columns, columns + 1, constants, constants + 2]);
        }
        if wanted.contains(&(columns + 1)) {
            read.extend([columns + 2, constants + 1]);
        }
        Self {
            columns,
            wanted: wanted.to_vec(),
            names,
            read,
        }
    }

    /// Whether any of them is not the table's.
    pub(super) fn any(&self) -> bool {
        self.wanted.iter().any(|at| *at >= self.columns)
    }

    /// What the scan below reads.
    pub(super) fn read(&self) -> &Vec<usize> {
        &self.read
    }

    /// The wanted columns over a scan that reads [`OriginColumns::read`].
    pub(super) fn project(
        &self,
        scan: Arc<dyn ExecutionPlan>,
    ) -> DataFusionResult<Arc<dyn ExecutionPlan>> {
        let schema = scan.schema();
        let place = |column: usize| -> DataFusionResult<Arc<dyn PhysicalExpr>> {
            let at = self.read.iter().position(|read| *read == column);
            let found = at.and_then(|at| Some((at, schema.fields().get(at)?)));
            let (at, field) = found.ok_or_else(|| {
                to_datafusion(Error::internal("a column that was asked for is not read"))
            })?;
            Ok(Arc::new(Column::new(field.name(), at)))
        };
        let constants = self.columns + IDENTITY;
        let mut exprs = Vec::with_capacity(self.wanted.len());
        for (column, name) in self
            .wanted
            .iter()
            .filter_map(|at| Some((*at, self.names.get(*at)?)))
        {
            let expr = if column < self.columns {
                place(column)?
            } else if column == self.columns {
                let parts = [constants, constants + 2, self.columns, self.columns + 1];
                let parts = parts
                    .map(place)
                    .into_iter()
                    .collect::<DataFusionResult<_>>()?;
                call(&ROW_ID_OF, parts, 0)
            } else {
                let parts = [self.columns + 2, constants + 1].map(place);
                let parts = parts.into_iter().collect::<DataFusionResult<_>>()?;
                call(&VERSION_OF, parts, 1)
            };
            exprs.push(ProjectionExpr::new(expr, name));
        }
        Ok(Arc::new(ProjectionExec::try_new(exprs, scan)?))
    }
}

fn call(
    function: &LazyLock<Arc<ScalarUDF>>,
    arguments: Vec<Arc<dyn PhysicalExpr>>,
    field: usize,
) -> Arc<dyn PhysicalExpr> {
    let field = Arc::clone(&origin_fields()[field.min(1)]);
    Arc::new(ScalarFunctionExpr::new(
        function.name(),
        Arc::clone(function),
        arguments,
        field,
        Arc::new(ConfigOptions::new()),
    ))
}

static ROW_ID_OF: LazyLock<Arc<ScalarUDF>> = LazyLock::new(|| {
    let types = vec![
        DataType::FixedSizeBinary(16),
        DataType::Int64,
        DataType::FixedSizeBinary(16),
        DataType::Int64,
    ];
    Arc::new(ScalarUDF::new_from_impl(Made {
        name: ROW_ID,
        signature: Signature::exact(types, Volatility::Immutable),
        made: DataType::FixedSizeBinary(24),
    }))
});

static VERSION_OF: LazyLock<Arc<ScalarUDF>> = LazyLock::new(|| {
    let types = vec![DataType::Int64, DataType::UInt64];
    Arc::new(ScalarUDF::new_from_impl(Made {
        name: COMMIT_SEQUENCE,
        signature: Signature::exact(types, Volatility::Immutable),
        made: DataType::UInt64,
    }))
});

/// A column that is made from stored ones.
#[derive(Debug, PartialEq, Eq, Hash)]
struct Made {
    name: &'static str,
    signature: Signature,
    made: DataType,
}

impl ScalarUDFImpl for Made {
    fn name(&self) -> &str {
        self.name
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, _arg_types: &[DataType]) -> DataFusionResult<DataType> {
        Ok(self.made.clone())
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> DataFusionResult<ColumnarValue> {
        let arrays = args
            .args
            .iter()
            .map(|value| value.to_array(args.number_rows))
            .collect::<DataFusionResult<Vec<_>>>()?;
        let made = if self.name == ROW_ID {
            row_ids(&arrays)
        } else {
            versions(&arrays)
        };
        made.map(ColumnarValue::Array).map_err(to_datafusion)
    }
}

fn broken() -> Error {
    Error::internal("a row's identity was read as something else")
}

/// The ids that rows carry, or those of the places where they are.
fn row_ids(arrays: &[ArrayRef]) -> Result<ArrayRef> {
    let [file, row, carried_file, carried_position] = arrays else {
        return Err(broken());
    };
    let files: &FixedSizeBinaryArray = file.as_fixed_size_binary_opt().ok_or_else(broken)?;
    let rows: &Int64Array = row.as_primitive_opt().ok_or_else(broken)?;
    let carried: &FixedSizeBinaryArray =
        carried_file.as_fixed_size_binary_opt().ok_or_else(broken)?;
    let positions: &Int64Array = carried_position.as_primitive_opt().ok_or_else(broken)?;
    let mut ids = FixedSizeBinaryBuilder::with_capacity(files.len(), 24);
    for at in 0..files.len() {
        let (file, position) = if carried.is_valid(at) {
            (carried.value(at), positions.value(at))
        } else {
            (files.value(at), rows.value(at))
        };
        // A position is not negative, so this is the encoding of a `RowId`.
        #[expect(
            clippy::big_endian_bytes,
            reason = "the order of bytes is the order of positions"
        )]
        let id = [file, position.to_be_bytes().as_slice()].concat();
        ids.append_value(id).map_err(|e| broken().with_source(e))?;
    }
    Ok(Arc::new(ids.finish()))
}

/// The versions that rows carry, or those of their files.
fn versions(arrays: &[ArrayRef]) -> Result<ArrayRef> {
    let [carried, file] = arrays else {
        return Err(broken());
    };
    let carried = carried.as_primitive_opt::<Int64Type>().ok_or_else(broken)?;
    let file = file.as_primitive_opt::<UInt64Type>().ok_or_else(broken)?;
    if carried.null_count() == carried.len() {
        return Ok(Arc::new(file.clone()));
    }
    let versions = carried
        .iter()
        .zip(file)
        .map(|(carried, file)| match carried {
            Some(version) => u64::try_from(version).map(Some),
            None => Ok(file),
        });
    let versions = versions
        .collect::<std::result::Result<UInt64Array, _>>()
        .map_err(|e| broken().with_source(e))?;
    Ok(Arc::new(versions))
}
