//! Reads files as their table is by now, whatever it was when they were written.
//!
//! In: expressions over the columns of a table, and the columns of one file. Out: the same
//! expressions over the file's columns, found by field id: not by name, which can have been another
//! column's. Called for each file that a scan opens.

use std::collections::{BTreeMap, HashMap};
use std::fmt;
use std::hash::{Hash, Hasher};
use std::sync::Arc;

use arrow::datatypes::{DataType, Field as ArrowField, FieldRef, Fields, Schema as ArrowSchema};
use arrow::record_batch::RecordBatch;
use datafusion::common::ScalarValue;
use datafusion::common::tree_node::{
    Transformed, TransformedResult as _, TreeNode as _, TreeNodeRecursion,
};
use datafusion::error::{DataFusionError, Result};
use datafusion::functions::core::getfield::GetFieldFunc;
use datafusion::logical_expr::ColumnarValue;
use datafusion::physical_expr::expressions::{CastExpr, Column, Literal, lit};
use datafusion::physical_expr::{PhysicalExpr, ScalarFunctionExpr};
use datafusion::physical_expr_adapter::{PhysicalExprAdapter, PhysicalExprAdapterFactory};
use udr_core::Error;
use udr_core::data::{VALUES_KEY, evolve, field_id, initial, is_current};
use udr_core::format::{EXACT, Field, PathValue, Schema, Type};
use udr_core::id::FieldId;

use crate::error::to_datafusion;

/// Finds columns by field id.
#[derive(Debug)]
pub(super) struct ByFieldId {
    schema: Arc<Schema>,
}

impl ByFieldId {
    pub(super) fn new(schema: &Schema) -> Self {
        Self {
            schema: Arc::new(schema.clone()),
        }
    }
}

impl PhysicalExprAdapterFactory for ByFieldId {
    fn create(
        &self,
        table: Arc<ArrowSchema>,
        file: Arc<ArrowSchema>,
    ) -> Result<Arc<dyn PhysicalExprAdapter>> {
        let values = values(&file)?;
        let columns = table.fields().iter().map(|field| {
            let own = field_id(field).and_then(|id| self.schema.field_by_id(id));
            let own = own.map(|own| match values.get(&own.id) {
                Some(value) => value.column(own).map_err(to_datafusion),
                None => Ok(own.clone()),
            });
            let own = own.transpose()?;
            Ok((
                field.name().clone(),
                Evolved::new(field, own.as_ref(), &file)?,
            ))
        });
        Ok(Arc::new(FileAdapter {
            columns: columns.collect::<Result<_>>()?,
        }))
    }
}

/// The values of columns that are in the path of a file and not in the file.
fn values(file: &ArrowSchema) -> Result<BTreeMap<FieldId, PathValue>> {
    let Some(text) = file.metadata().get(VALUES_KEY) else {
        return Ok(BTreeMap::new());
    };
    serde_json::from_str(text).map_err(|e| {
        to_datafusion(Error::internal("the values of a file cannot be read").with_source(e))
    })
}

/// Rewrites expressions for one file.
#[derive(Debug)]
struct FileAdapter {
    columns: HashMap<String, Evolved>,
}

/// A column of a table, in one file.
#[derive(Debug)]
struct Evolved {
    /// Over the file's columns.
    expr: Arc<dyn PhysicalExpr>,
    /// The column in the file and in the table, if it is a struct that differs.
    parts: Option<(Column, FieldRef, Field)>,
}

impl Evolved {
    fn new(field: &FieldRef, own: Option<&Field>, file: &ArrowSchema) -> Result<Self> {
        let source = match field_id(field) {
            Some(id) => find(file.fields(), id),
            // What the reader makes has no id.
            None => file.fields().find(field.name()),
        };
        let Some((at, source)) = source else {
            let missing = match own {
                Some(own) => {
                    ScalarValue::try_from_array(&initial(own, 1).map_err(to_datafusion)?, 0)?
                }
                None => ScalarValue::try_new_null(field.data_type())?,
            };
            return Ok(Self {
                expr: lit(missing),
                parts: None,
            });
        };
        let column = Column::new(source.name(), at);
        let as_it_is = |column: &Column| Self {
            expr: Arc::new(column.clone()),
            parts: None,
        };
        let Some(own) = own else {
            return Ok(as_it_is(&column));
        };
        // Nested types have the ids of their parts in files only.
        if is_current(source, own) && !source.data_type().is_nested() {
            return Ok(as_it_is(&column));
        }
        let inner: Arc<dyn PhysicalExpr> = Arc::new(column.clone());
        if !source.data_type().is_nested() {
            let cast = CastExpr::new(inner, own.ty.to_arrow(), Some(EXACT));
            return Ok(Self {
                expr: Arc::new(cast),
                parts: None,
            });
        }
        let is_struct = matches!(source.data_type(), DataType::Struct(_));
        Ok(Self {
            expr: Arc::new(EvolveExpr {
                column: inner,
                file: Arc::clone(source),
                field: own.clone(),
            }),
            parts: is_struct.then(|| (column, Arc::clone(source), own.clone())),
        })
    }
}

fn find(fields: &Fields, id: FieldId) -> Option<(usize, &FieldRef)> {
    let mut places = fields.iter().enumerate();
    places.find(|(_, field)| field_id(field) == Some(id))
}

impl PhysicalExprAdapter for FileAdapter {
    fn rewrite(&self, expr: Arc<dyn PhysicalExpr>) -> Result<Arc<dyn PhysicalExpr>> {
        expr.transform_down(|expr| {
            if let Some(part) = self.part(&expr)? {
                return Ok(Transformed::new(part, true, TreeNodeRecursion::Jump));
            }
            let Some(column) = expr.downcast_ref::<Column>() else {
                return Ok(Transformed::no(expr));
            };
            let evolved = self.columns.get(column.name()).ok_or_else(|| {
                to_datafusion(
                    Error::internal("a scan names a column that its table does not have")
                        .with("column", column.name()),
                )
            })?;
            let evolved = Arc::clone(&evolved.expr);
            Ok(Transformed::new(evolved, true, TreeNodeRecursion::Jump))
        })
        .data()
    }
}

impl FileAdapter {
    /// A part of a struct that differs, taken from the file's struct itself: filters that the
    /// reader was seen to be able to evaluate must stay such.
    fn part(&self, expr: &Arc<dyn PhysicalExpr>) -> Result<Option<Arc<dyn PhysicalExpr>>> {
        let Some(access) = ScalarFunctionExpr::try_downcast_func::<GetFieldFunc>(expr.as_ref())
        else {
            return Ok(None);
        };
        let Some((base, names)) = access.args().split_first() else {
            return Ok(None);
        };
        let column = base.downcast_ref::<Column>();
        let evolved = column.and_then(|column| self.columns.get(column.name()));
        let Some((column, file, field)) = evolved.and_then(|evolved| evolved.parts.as_ref()) else {
            return Ok(None);
        };
        let names = names.iter().map(|name| {
            let name = name.downcast_ref::<Literal>()?;
            name.value().try_as_str().flatten()
        });
        let Some(names) = names.collect::<Option<Vec<_>>>() else {
            return Ok(None);
        };
        let Some(path) = Path::new(file, field, &names) else {
            return Ok(None);
        };
        let Some((names, part)) = path.in_file else {
            let missing = ScalarValue::try_new_null(&path.field.ty.to_arrow())?;
            return Ok(Some(lit(missing)));
        };
        let arguments = std::iter::once(Arc::new(column.clone()) as Arc<dyn PhysicalExpr>);
        let arguments = arguments.chain(names.into_iter().map(lit));
        let taken: Arc<dyn PhysicalExpr> = Arc::new(ScalarFunctionExpr::new(
            access.name(),
            Arc::new(access.fun().clone()),
            arguments.collect(),
            Arc::new(part.as_ref().clone().with_nullable(true)),
            Arc::new(access.config_options().clone()),
        ));
        if is_current(&part, &path.field) && !part.data_type().is_nested() {
            return Ok(Some(taken));
        }
        if part.data_type().is_nested() {
            return Ok(Some(Arc::new(EvolveExpr {
                column: taken,
                file: part,
                field: path.field,
            })));
        }
        let to = path.field.ty.to_arrow();
        Ok(Some(Arc::new(CastExpr::new(taken, to, Some(EXACT)))))
    }
}

/// Where a part of a struct is.
struct Path {
    /// The part, as the table has it.
    field: Field,
    /// The names that lead to it in the file, and what is there; none if the file does not have it.
    in_file: Option<(Vec<String>, FieldRef)>,
}

impl Path {
    /// Follows names of the table; nothing if they lead through more than structs.
    fn new(file: &FieldRef, field: &Field, names: &[&str]) -> Option<Self> {
        let mut field = field;
        let mut in_file = Some((Vec::new(), Arc::clone(file)));
        for name in names {
            let Type::Struct(parts) = &field.ty else {
                return None;
            };
            field = parts.iter().find(|part| part.name == *name)?;
            in_file = match in_file {
                None => None,
                Some((mut names, file)) => {
                    let DataType::Struct(parts) = file.data_type() else {
                        return None;
                    };
                    find(parts, field.id).map(|(_, part)| {
                        names.push(part.name().clone());
                        (names, Arc::clone(part))
                    })
                }
            };
        }
        Some(Self {
            field: field.clone(),
            in_file,
        })
    }
}

/// A nested column of a file as the table has it.
#[derive(Debug, Clone)]
struct EvolveExpr {
    column: Arc<dyn PhysicalExpr>,
    file: FieldRef,
    field: Field,
}

impl PartialEq for EvolveExpr {
    fn eq(&self, other: &Self) -> bool {
        self.column.eq(&other.column) && self.file == other.file && self.field == other.field
    }
}

impl Eq for EvolveExpr {}

impl Hash for EvolveExpr {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.column.hash(state);
        self.file.hash(state);
        self.field.id.hash(state);
    }
}

impl fmt::Display for EvolveExpr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "evolve({})", self.column)
    }
}

impl PhysicalExpr for EvolveExpr {
    fn data_type(&self, _input: &ArrowSchema) -> Result<DataType> {
        Ok(self.field.ty.to_arrow())
    }

    fn nullable(&self, _input: &ArrowSchema) -> Result<bool> {
        Ok(true)
    }

    fn return_field(&self, _input: &ArrowSchema) -> Result<FieldRef> {
        let data_type = self.field.ty.to_arrow();
        Ok(Arc::new(ArrowField::new(&self.field.name, data_type, true)))
    }

    fn evaluate(&self, batch: &RecordBatch) -> Result<ColumnarValue> {
        let array = self.column.evaluate(batch)?.into_array(batch.num_rows())?;
        let evolved = evolve(&array, &self.file, &self.field).map_err(to_datafusion)?;
        Ok(ColumnarValue::Array(evolved))
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
                "an evolved column has one column below".to_owned(),
            ));
        };
        Ok(Arc::new(Self {
            column,
            ..Self::clone(&self)
        }))
    }

    fn fmt_sql(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.column.fmt_sql(f)
    }
}
