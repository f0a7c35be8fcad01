//! How the columns of a table change. Ids stay, so that every data file can be read under every
//! later schema (invariant 7).

use arrow::datatypes::{Field as ArrowField, Schema as ArrowSchema};
use parquet::arrow::PARQUET_FIELD_ID_META_KEY;

use super::schema::from_arrow_field;
use super::{Bound, ColumnStats, Field, Schema, Type, Value};
use crate::error::{Error, Result};
use crate::id::FieldId;

/// A column to be added.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewColumn {
    /// The struct that it becomes a part of; none for a column of the table.
    pub parent: Option<FieldId>,
    /// Its name, its type, and whether it allows NULL.
    pub field: ArrowField,
    /// Where it stands.
    pub position: Position,
    /// The SQL expression that stands in where an INSERT leaves it out.
    pub default: Option<String>,
    /// What it is in the rows that are there already; NULL if there is none.
    pub initial: Option<Value>,
    /// What it means, for people.
    pub comment: Option<String>,
}

/// Where a column stands among its siblings.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Position {
    /// Before all others.
    First,
    /// Right after this one.
    After(FieldId),
    /// After all others.
    Last,
}

impl Schema {
    /// The columns of a data file as they were when it was written; the ids of nested parts are
    /// not to be relied on.
    ///
    /// # Errors
    ///
    /// `Unsupported` if a type cannot be stored.
    pub(crate) fn of_file(columns: &ArrowSchema) -> Result<Self> {
        let mut last = FieldId(0);
        let fields = columns.fields().iter().map(|column| {
            let mut field = from_arrow_field(column, &mut last, 0)?;
            let id = column.metadata().get(PARQUET_FIELD_ID_META_KEY);
            field.id = id
                .and_then(|id| id.parse().ok().map(FieldId))
                .ok_or_else(|| {
                    Error::corrupt("a column of a data file has no field id")
                        .with("column", column.name())
                })?;
            Ok(field)
        });
        Ok(Self {
            fields: fields.collect::<Result<_>>()?,
            last_field_id: last,
            partitioned_by: Vec::new(),
            sorted_by: Vec::new(),
            bloom_filters: Vec::new(),
        })
    }

    /// The column or the part of a column with this id, at any depth.
    pub fn find(&self, id: FieldId) -> Option<&Field> {
        fn find<'a>(fields: &[&'a Field], id: FieldId) -> Option<&'a Field> {
            fields.iter().find_map(|field| match field.id == id {
                true => Some(*field),
                false => find(&field.ty.children(), id),
            })
        }
        find(&self.fields.iter().collect::<Vec<_>>(), id)
    }

    /// The column or the part of a column that `path` leads to, from the table down: the elements
    /// of lists are called `element`, those of maps `key` and `value`.
    pub fn find_path(&self, path: &[impl AsRef<str>]) -> Option<&Field> {
        let (first, rest) = path.split_first()?;
        let mut found = self.field(first.as_ref())?;
        for name in rest {
            found = found.ty.child(name.as_ref())?;
        }
        Some(found)
    }

    /// The id that the next column gets.
    pub fn next_field_id(&self) -> FieldId {
        FieldId(self.last_field_id.0 + 1)
    }

    /// Adds a column, and gives it the next field ids.
    ///
    /// # Errors
    ///
    /// `NotFound` if the parent or the sibling is not there, `Invalid` if the parent is no struct,
    /// the name is taken, or the rows that are there would have NULL where there can be none,
    /// `Unsupported` for types that cannot be stored.
    pub(crate) fn add_column(&mut self, column: &NewColumn) -> Result<()> {
        let mut last = self.last_field_id;
        let mut field = from_arrow_field(&column.field, &mut last, 0)?;
        field.default.clone_from(&column.default);
        field.initial.clone_from(&column.initial);
        field.comment.clone_from(&column.comment);
        let name = field.name.clone();
        let refuse = |why: &str| Error::invalid(why).with("column", &name);
        if !field.nullable && field.initial.is_none() {
            return Err(
                refuse("a column that is NOT NULL needs a default for the rows there are")
                    .with_hint("give it a DEFAULT, or add it as nullable and SET NOT NULL later"),
            );
        }
        let siblings = match column.parent {
            None => &mut self.fields,
            Some(parent) => parts_mut(self.find_mut(parent)?)?,
        };
        if siblings.iter().any(|sibling| sibling.name == name) {
            return Err(
                Error::already_exists("there is a column of this name").with("column", name)
            );
        }
        let at = place(siblings, column.position)?;
        siblings.insert(at, field);
        self.last_field_id = last;
        Ok(())
    }

    /// Takes a column away. Its id is not used again.
    ///
    /// # Errors
    ///
    /// `NotFound`; `Invalid` if it is the last of its siblings or no struct's part.
    pub(crate) fn drop_column(&mut self, id: FieldId) -> Result<()> {
        self.forget_partitions(id)?;
        let (siblings, at) = self.siblings_mut(id)?;
        if siblings.len() == 1 {
            return Err(Error::invalid("the last column cannot be dropped")
                .with("column", &siblings[at].name));
        }
        siblings.remove(at);
        self.bloom_filters.retain(|column| *column != id);
        Ok(())
    }

    /// Gives a column another name.
    ///
    /// # Errors
    ///
    /// `NotFound`; `AlreadyExists` if a sibling has the name.
    pub(crate) fn rename_column(&mut self, id: FieldId, name: &str) -> Result<()> {
        let (siblings, at) = self.siblings_mut(id)?;
        if siblings.iter().any(|f| f.name == name && f.id != id) {
            return Err(
                Error::already_exists("there is a column of this name").with("column", name)
            );
        }
        name.clone_into(&mut siblings[at].name);
        Ok(())
    }

    /// Moves a column among its siblings.
    ///
    /// # Errors
    ///
    /// `NotFound`, also for the sibling.
    pub(crate) fn move_column(&mut self, id: FieldId, position: Position) -> Result<()> {
        if position == Position::After(id) {
            return Ok(());
        }
        let (siblings, at) = self.siblings_mut(id)?;
        let field = siblings.remove(at);
        let to = place(siblings, position)?;
        siblings.insert(to, field);
        Ok(())
    }

    /// Makes a column of a wider type.
    ///
    /// # Errors
    ///
    /// `NotFound`; `Invalid` if not every value of the old type is one of the new.
    pub(crate) fn widen_column(&mut self, id: FieldId, to: &Type) -> Result<()> {
        if let Some(field) = self.field_by_id(id) {
            self.check_partitions(id, &field.ty, to)?;
        }
        let field = self.find_mut(id)?;
        if field.ty == *to {
            return Ok(());
        }
        if !field.ty.widens_to(to) {
            return Err(Error::invalid("a column cannot become of this type")
                .with("column", &field.name)
                .with("type", &field.ty)
                .with("to", to)
                .with_hint(widenings(&field.ty)));
        }
        if let Some(initial) = field.initial.take() {
            field.initial = Some(initial.widened(&field.ty, to)?);
        }
        field.ty = to.clone();
        Ok(())
    }

    /// Says what a column means; nothing with no comment.
    ///
    /// # Errors
    ///
    /// `NotFound`.
    pub(crate) fn comment_on(&mut self, id: FieldId, comment: Option<&str>) -> Result<()> {
        self.find_mut(id)?.comment = comment.map(str::to_owned);
        Ok(())
    }

    /// Says about how many values a column has.
    ///
    /// # Errors
    ///
    /// `NotFound`.
    pub(crate) fn count_distinct(&mut self, id: FieldId, count: u64) -> Result<()> {
        self.find_mut(id)?.distinct = Some(count);
        Ok(())
    }

    fn find_mut(&mut self, id: FieldId) -> Result<&mut Field> {
        fn find(fields: Vec<&mut Field>, id: FieldId) -> Option<&mut Field> {
            fields.into_iter().find_map(|field| match field.id == id {
                true => Some(field),
                false => find(field.ty.children_mut(), id),
            })
        }
        find(self.fields.iter_mut().collect(), id).ok_or_else(|| not_found(id))
    }

    /// The columns among which the one with this id is, and its place there.
    fn siblings_mut(&mut self, id: FieldId) -> Result<(&mut Vec<Field>, usize)> {
        fn find(fields: &mut Vec<Field>, id: FieldId) -> Option<(&mut Vec<Field>, usize)> {
            if let Some(at) = fields.iter().position(|field| field.id == id) {
                return Some((fields, at));
            }
            fields
                .iter_mut()
                .find_map(|field| within(&mut field.ty, id))
        }
        fn within(ty: &mut Type, id: FieldId) -> Option<(&mut Vec<Field>, usize)> {
            match ty {
                Type::Struct(fields) => find(fields, id),
                other => {
                    let mut children = other.children_mut().into_iter();
                    children.find_map(|child| within(&mut child.ty, id))
                }
            }
        }
        find(&mut self.fields, id).ok_or_else(|| not_found(id))
    }
}

impl Field {
    /// What is known of `rows` rows of files that lack the column, which is one of the table; nothing
    /// of nested ones.
    pub(crate) fn absent_stats(&self, rows: u64) -> Option<ColumnStats> {
        if !self.ty.children().is_empty() {
            return None;
        }
        let Some(initial) = &self.initial else {
            return self.nullable.then(|| ColumnStats {
                null_count: Some(rows),
                sum: self.ty.has_sum().then_some(0),
                ..ColumnStats::default()
            });
        };
        // Bounds are short, and there are two zeros.
        let bounded = match initial {
            Value::String(text) => text.len() <= Type::BOUND_BYTES_MAX,
            Value::Binary(bytes) => bytes.len() <= Type::BOUND_BYTES_MAX,
            Value::Float(value) => *value != 0.0,
            _ => true,
        };
        let bound = bounded.then(|| Bound {
            value: initial.clone(),
            exact: true,
        });
        let addend = match initial {
            Value::Int(value) => Some((*value).into()),
            Value::UInt(value) => Some((*value).into()),
            Value::Decimal(value) => Some(*value),
            _ => None,
        };
        let addend = addend.filter(|_| self.ty.has_sum());
        let sum = addend.and_then(|addend: i128| addend.checked_mul(rows.into()));
        Some(ColumnStats {
            lower: bound.clone(),
            upper: bound,
            null_count: Some(0),
            sum: sum.and_then(ColumnStats::storable_sum),
        })
    }
}

impl Type {
    /// The part of a nested type that is called `name`.
    fn child(&self, name: &str) -> Option<&Field> {
        match (self, name) {
            (Self::List(element) | Self::FixedList(element, _), "element") => Some(element),
            (Self::Map { key, .. }, "key") => Some(key),
            (Self::Map { value, .. }, "value") => Some(value),
            (Self::Struct(fields), name) => fields.iter().find(|field| field.name == name),
            _ => None,
        }
    }

    fn children_mut(&mut self) -> Vec<&mut Field> {
        match self {
            Self::List(element) | Self::FixedList(element, _) => vec![element.as_mut()],
            Self::Struct(fields) => fields.iter_mut().collect(),
            Self::Map { key, value } => vec![key.as_mut(), value.as_mut()],
            _ => Vec::new(),
        }
    }
}

fn parts_mut(parent: &mut Field) -> Result<&mut Vec<Field>> {
    let name = parent.name.clone();
    match &mut parent.ty {
        Type::Struct(fields) => Ok(fields),
        other => Err(Error::invalid("only a struct has parts that have names")
            .with("column", name)
            .with("type", &*other)),
    }
}

fn place(siblings: &[Field], position: Position) -> Result<usize> {
    match position {
        Position::First => Ok(0),
        Position::Last => Ok(siblings.len()),
        Position::After(id) => {
            let at = siblings.iter().position(|sibling| sibling.id == id);
            at.map(|at| at + 1).ok_or_else(|| not_found(id))
        }
    }
}

fn not_found(id: FieldId) -> Error {
    Error::not_found("no such column here").with("id", id)
}

fn widenings(ty: &Type) -> &'static str {
    match ty {
        Type::Int8 | Type::Int16 | Type::Int32 => "integers become longer ones, as INT to BIGINT",
        Type::UInt8 | Type::UInt16 | Type::UInt32 => "unsigned integers become longer ones",
        Type::Float32 => "FLOAT becomes DOUBLE",
        Type::Decimal128 { .. } => "a decimal gets more digits, up to 38, and keeps its scale",
        Type::Date32 => "DATE becomes TIMESTAMP",
        _ => "add a column of that type, UPDATE it, and drop this one",
    }
}
