//! ALTER TABLE: another name, constraints, columns.

use std::sync::Arc;

use arrow::datatypes::{DataType, Field as ArrowField, Schema as ArrowSchema};
use arrow::record_batch::RecordBatch;
use datafusion::common::DFSchema;
use datafusion::error::Result;
use datafusion::execution::context::SessionState;
use datafusion::logical_expr::ExprSchemable as _;
use datafusion::sql::planner::IdentNormalizer;
use datafusion::sql::sqlparser::ast::{
    AlterTableOperation, CastKind, DataType as SqlType, DropBehavior, Expr, ExprWithAlias, Ident,
    RenameTableNameKind, Value as SqlValue,
};
use udr_core::error::nearest;
use udr_core::format::{Field, NewColumn, Position, Schema, SortField, Transform, Value};
use udr_core::id::FieldId;
use udr_core::name::RelationPath;
use udr_core::snapshot::TableSnapshot;
use udr_core::txn::{Alteration, Transaction};
use udr_core::{Error, Result as CoreResult};

use super::create_table::check_default;
use super::{change, refused, result, target};
use crate::constraint::{Definition, find_field};
use crate::error::to_datafusion;
use crate::session::UdrSession;
use crate::sql::alter::{self, AlterTable, Change, Operation};
use crate::sql::constant;
use crate::sql::layout::{Layout, PartitionTerm, SortTerm};

/// One operation, before the names of columns are looked up.
#[expect(clippy::large_enum_variant, reason = "there are a few for a statement")]
enum Step {
    AddConstraint(Definition),
    DropConstraint { name: String, if_exists: bool },
    Column(Operation),
}

pub(super) async fn run(
    state: &SessionState,
    session: &Arc<UdrSession>,
    alter: &AlterTable,
) -> Result<RecordBatch> {
    if let [
        Operation::Other(AlterTableOperation::RenameTable {
            table_name: RenameTableNameKind::To(new) | RenameTableNameKind::As(new),
        }),
    ] = alter.operations.as_slice()
    {
        let from = target::path(state, session, &alter.name)?;
        let to = target::path(state, session, new)?;
        // A bare new name stays in the table's schema.
        let to = match new.0.len() {
            1 => RelationPath::new(from.namespace.clone(), to.name),
            _ => to,
        };
        return rename(session, alter, from, to).await;
    }
    let path = target::path(state, session, &alter.name)?;
    let steps = alter.operations.iter();
    let steps = steps.map(|operation| step(state, session, operation));
    let steps = steps.collect::<Result<Vec<_>>>()?;
    let ignore = alter.if_exists;
    let altered = change(session, alter.to_string(), async |transaction| {
        if ignore && transaction.snapshot().relation(&path).await?.is_none() {
            return Ok(None);
        }
        let mut changed = false;
        for step in steps {
            changed |= step.make(state, transaction, &path).await?;
        }
        Ok(Some(changed))
    })
    .await?;
    let text = match altered {
        Some(true) => format!("table {path} altered"),
        Some(false) => "unchanged: there was nothing to do".to_owned(),
        None => format!("unchanged: there is no table {path}"),
    };
    result::done(text).map_err(to_datafusion)
}

async fn rename(
    session: &UdrSession,
    alter: &AlterTable,
    from: RelationPath,
    to: RelationPath,
) -> Result<RecordBatch> {
    let ignore = alter.if_exists;
    let renamed = change(session, alter.to_string(), async |transaction| {
        if ignore && transaction.snapshot().relation(&from).await?.is_none() {
            return Ok(false);
        }
        transaction.rename_table(&from, &to).await.map(|()| true)
    })
    .await?;
    let text = match renamed {
        true => format!("table {from} renamed to {to}"),
        false => format!("unchanged: there is no table {from}"),
    };
    result::done(text).map_err(to_datafusion)
}

fn step(state: &SessionState, session: &UdrSession, operation: &Operation) -> Result<Step> {
    Ok(match operation {
        Operation::Other(AlterTableOperation::AddConstraint {
            constraint,
            not_valid: false,
        }) => Step::AddConstraint(Definition::of(state, session, constraint)?),
        Operation::Other(AlterTableOperation::DropConstraint {
            if_exists,
            name: dropped,
            drop_behavior: None | Some(DropBehavior::Restrict),
        }) => Step::DropConstraint {
            name: name(state, dropped),
            if_exists: *if_exists,
        },
        Operation::Other(other) => {
            return Err(to_datafusion(
                Error::unsupported("ALTER TABLE cannot do this in this version")
                    .with("operation", other.to_string()),
            ));
        }
        column => Step::Column(column.clone()),
    })
}

/// An identifier as the context folds it.
fn name(state: &SessionState, name: &Ident) -> String {
    let fold = state.config_options().sql_parser.enable_ident_normalization;
    IdentNormalizer::new(fold).normalize(name.clone())
}

impl Step {
    /// Stages the step; says whether there was anything to do.
    async fn make(
        self,
        state: &SessionState,
        transaction: &mut Transaction,
        path: &RelationPath,
    ) -> CoreResult<bool> {
        let snapshot = transaction.snapshot();
        let table = snapshot.table(path).await?;
        let alterations = match self {
            Self::AddConstraint(definition) => {
                let constraint = definition.resolve(state, &snapshot, &table).await?;
                vec![Alteration::AddConstraint(constraint)]
            }
            Self::DropConstraint { name, if_exists } => {
                let mut constraints = table.constraints().iter();
                if if_exists && !constraints.any(|constraint| constraint.name() == name) {
                    return Ok(false);
                }
                vec![Alteration::DropConstraint(name)]
            }
            Self::Column(operation) => {
                let columns = Columns {
                    state,
                    table: &table,
                };
                columns.alterations(operation)?
            }
        };
        if alterations.is_empty() {
            return Ok(false);
        }
        transaction.alter_table(path, alterations).await?;
        Ok(true)
    }
}

/// Stages how the rows of a new table are laid out.
pub(super) async fn layout(
    state: &SessionState,
    transaction: &mut Transaction,
    path: &RelationPath,
    layout: &Layout,
) -> CoreResult<()> {
    let snapshot = transaction.snapshot();
    let table = snapshot.table(path).await?;
    let columns = Columns {
        state,
        table: &table,
    };
    let partition = layout.partition.iter();
    let partition = partition.map(|term| columns.add_partition(term));
    let mut alterations = partition.collect::<CoreResult<Vec<_>>>()?;
    if !layout.sort.is_empty() {
        alterations.push(columns.sort_by(&layout.sort)?);
    }
    if !layout.filters.is_empty() {
        alterations.push(columns.filters(&layout.filters)?);
    }
    transaction.alter_table(path, alterations).await
}

/// The columns of a table that is altered.
struct Columns<'a> {
    state: &'a SessionState,
    table: &'a TableSnapshot,
}

impl Columns<'_> {
    /// What an operation on a column does; nothing if there is nothing to do.
    fn alterations(&self, operation: Operation) -> CoreResult<Vec<Alteration>> {
        Ok(match operation {
            Operation::Add(column) => self.add(&column)?,
            Operation::Drop { path, if_exists } => match self.find(&path) {
                Ok(field) => vec![Alteration::DropColumn(field.id)],
                Err(error) => {
                    let missing = error.kind() == udr_core::ErrorKind::NotFound;
                    if if_exists && missing {
                        return Ok(Vec::new());
                    }
                    return Err(error);
                }
            },
            Operation::Rename { path, to } => {
                let id = self.find(&path)?.id;
                vec![Alteration::RenameColumn(id, name(self.state, &to))]
            }
            Operation::Alter { path, change } => vec![self.change(&path, change)?],
            Operation::AddPartition(term) => vec![self.add_partition(&term)?],
            Operation::DropPartition(term) => vec![self.drop_partition(&term)?],
            Operation::SortBy(terms) => vec![self.sort_by(&terms)?],
            Operation::Filters(columns) => vec![self.filters(&columns)?],
            Operation::Other(_) => {
                return Err(Error::internal("an operation is not about a column"));
            }
        })
    }

    fn add_partition(&self, term: &PartitionTerm) -> CoreResult<Alteration> {
        let source = self.find(std::slice::from_ref(&term.column))?;
        Ok(Alteration::AddPartitionField {
            source: source.id,
            transform: term.transform,
            name: term.name.as_ref().map(|given| name(self.state, given)),
        })
    }

    /// A field is named by what it is made of, or by its name.
    fn drop_partition(&self, term: &PartitionTerm) -> CoreResult<Alteration> {
        let schema = self.table.schema();
        let named = name(self.state, &term.column);
        let source = schema.field(&named).map(|field| field.id);
        let made = schema
            .partitioned_by()
            .find(|field| source == Some(field.source) && field.transform == term.transform);
        let by_name = || {
            let plain = term.transform == Transform::Identity;
            schema
                .partitioned_by()
                .find(|field| plain && field.name == named)
        };
        let field = made.or_else(by_name).ok_or_else(|| {
            let names = schema.partitioned_by().map(|field| field.name.as_str());
            Error::not_found("rows are not put apart by this")
                .with("table", self.table.path())
                .with("column", named)
                .with("partition_fields", names.collect::<Vec<_>>().join(", "))
        })?;
        Ok(Alteration::DropPartitionField(field.id))
    }

    fn sort_by(&self, terms: &[SortTerm]) -> CoreResult<Alteration> {
        let fields = terms.iter().map(|term| {
            Ok(SortField {
                source: self.find(std::slice::from_ref(&term.column))?.id,
                descending: term.descending,
                nulls_first: term.nulls_first,
            })
        });
        Ok(Alteration::SortBy(fields.collect::<CoreResult<_>>()?))
    }

    fn filters(&self, columns: &[Ident]) -> CoreResult<Alteration> {
        let ids = columns.iter();
        let ids = ids.map(|column| Ok(self.find(std::slice::from_ref(column))?.id));
        Ok(Alteration::BloomFilters(ids.collect::<CoreResult<_>>()?))
    }

    fn change(&self, path: &[Ident], change: Change) -> CoreResult<Alteration> {
        let field = self.find(path)?;
        let nested =
            path.len() > 1 && matches!(change, Change::NotNull { .. } | Change::Default(_));
        if nested {
            return Err(Error::unsupported(
                "the parts of a column have no DEFAULT or NOT NULL of their own",
            )
            .with("column", &field.name));
        }
        Ok(match change {
            Change::NotNull { set: true } => Alteration::SetNotNull(field.id),
            Change::NotNull { set: false } => Alteration::DropNotNull(field.id),
            Change::Default(None) => Alteration::DropDefault(field.id),
            Change::Default(Some(value)) => {
                let sql = self.default(&field.to_arrow(), &value)?;
                Alteration::SetDefault(field.id, sql)
            }
            Change::Type(ty) => {
                let arrow = ArrowField::new(&field.name, self.arrow_type(&ty)?, true);
                let schema = Schema::from_arrow(&ArrowSchema::new(vec![arrow]))?;
                let ty = schema.fields().first().map(|field| field.ty.clone());
                let ty = ty.ok_or_else(|| Error::internal("a type is none"))?;
                Alteration::WidenColumn(field.id, ty)
            }
            Change::Comment(comment) => Alteration::SetComment(field.id, comment),
            Change::Place(place) => {
                let (_, parents) = path.split_last().unwrap_or((&path[0], &[]));
                let place = self.position(parents, Some(&place))?;
                Alteration::MoveColumn(field.id, place)
            }
        })
    }

    fn add(&self, column: &alter::NewColumn) -> CoreResult<Vec<Alteration>> {
        let Some((last, parents)) = column.path.split_last() else {
            return Err(Error::internal("a column has no name"));
        };
        if self.find(&column.path).is_ok() && column.if_not_exists {
            return Ok(Vec::new());
        }
        let parent = match parents {
            [] => None,
            parents => Some(self.find(parents)?.id),
        };
        let field = ArrowField::new(
            name(self.state, last),
            self.arrow_type(&column.data_type)?,
            true,
        );
        let mut initial = None;
        let mut default = None;
        if let Some(value) = &column.default {
            default = Some(self.default(&field, value)?);
            initial = self.initial(&field, value)?;
        }
        let new = NewColumn {
            parent,
            field: field.with_nullable(!column.not_null || initial.is_none()),
            position: self.position(parents, column.place.as_ref())?,
            default,
            initial,
            comment: column.comment.clone(),
        };
        let mut alterations = Vec::new();
        if new.field.is_nullable() && column.not_null {
            // Holds if there are no rows, which is found out as for every constraint.
            if parent.is_some() {
                return Err(Error::unsupported("a part of a column cannot be NOT NULL")
                    .with("column", new.field.name()));
            }
            alterations.push(Alteration::SetNotNull(self.next_id()));
        }
        alterations.insert(0, Alteration::AddColumn(new));
        Ok(alterations)
    }

    /// The id that the next column gets.
    fn next_id(&self) -> FieldId {
        self.table.schema().next_field_id()
    }

    /// The value that the rows there are have in a new column; `None` is NULL.
    fn initial(&self, field: &ArrowField, value: &Expr) -> CoreResult<Option<Value>> {
        let constant = constant::evaluate(self.state, value.clone());
        let constant = match constant {
            Ok(constant) => constant.cast_to(field.data_type()).map_err(refused)?,
            Err(_) if self.table.rows() == 0 => return Ok(None),
            Err(error) => {
                return Err(Error::invalid("the rows there are need a constant default")
                    .with("column", field.name())
                    .with("default", value)
                    .with_source(error)
                    .with_hint("add the column without one, UPDATE it, and SET DEFAULT then"));
            }
        };
        if constant.is_null() {
            return Ok(None);
        }
        let array = constant.to_array().map_err(refused)?;
        Value::from_array(&array, 0).map(Some).ok_or_else(|| {
            Error::unsupported("a column of this type cannot be added with a default")
                .with("column", field.name())
                .with("type", field.data_type())
                .with_hint("add it without one, UPDATE it, and SET DEFAULT then")
        })
    }

    /// A default as it is stored.
    fn default(&self, field: &ArrowField, value: &Expr) -> CoreResult<String> {
        let schema = ArrowSchema::new(vec![field.clone()]);
        let sql = value.to_string();
        let expr = self
            .state
            .create_logical_expr(&sql, &DFSchema::empty())
            .map_err(refused)?;
        check_default(self.state, &schema, field.name(), &expr, value).map_err(refused)?;
        Ok(sql)
    }

    /// The engine's type for a type in SQL.
    fn arrow_type(&self, ty: &SqlType) -> CoreResult<DataType> {
        let cast = Expr::Cast {
            kind: CastKind::Cast,
            expr: Box::new(Expr::Value(SqlValue::Null.into())),
            data_type: ty.clone(),
            array: false,
            format: None,
        };
        let (expr, alias) = (cast, None);
        let schema = DFSchema::empty();
        let expr = self
            .state
            .create_logical_expr_from_sql_expr(ExprWithAlias { expr, alias }, &schema)
            .map_err(refused)?;
        expr.get_type(&schema).map_err(refused)
    }

    fn position(&self, parents: &[Ident], place: Option<&alter::Place>) -> CoreResult<Position> {
        Ok(match place {
            None => Position::Last,
            Some(alter::Place::First) => Position::First,
            Some(alter::Place::After(sibling)) => {
                let mut path = parents.to_vec();
                path.push(sibling.clone());
                Position::After(self.find(&path)?.id)
            }
        })
    }

    /// The column, or the part of one, that a path leads to.
    fn find(&self, path: &[Ident]) -> CoreResult<&Field> {
        let names = path.iter().map(|part| name(self.state, part));
        let names = names.collect::<Vec<_>>();
        if let [name] = names.as_slice() {
            return find_field(self.table, name);
        }
        self.table.schema().find_path(&names).ok_or_else(|| {
            let (last, parents) = names.split_last().unwrap_or((&names[0], &[]));
            let parent = self.table.schema().find_path(parents);
            let siblings = parent.map_or_else(Vec::new, |parent| parent.ty.children());
            let near = nearest(last, siblings.iter().map(|field| field.name.as_str()));
            let error = Error::not_found("no such column")
                .with("column", names.join("."))
                .with("table", self.table.path());
            match near {
                Some(near) => error.with_hint(format!("did you mean `{near}`?")),
                None => error,
            }
        })
    }
}
