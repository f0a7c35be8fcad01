//! The columns of a table, identified by field ids that are never reused (invariant 7).

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;

use arrow::datatypes::{
    DataType, Field as ArrowField, Fields, Schema as ArrowSchema, SchemaRef, TimeUnit,
};
use parquet::arrow::PARQUET_FIELD_ID_META_KEY;
use serde::{Deserialize, Serialize};

use super::{PartitionField, SortField, Type, Value};
use crate::error::{Error, Result};
use crate::id::FieldId;

/// The most columns a table has, nested ones included.
const FIELDS_MAX: usize = 10_000;
/// How deep columns nest.
const DEPTH_MAX: usize = 32;
/// The most bytes a column name has.
const NAME_BYTES_MAX: usize = 1_024;

/// Names that begin so are the format's own.
const RESERVED_PREFIX: &str = "_udr_";
/// Field ids from here on are the format's own.
const RESERVED_IDS: i32 = 2_147_483_001;
/// How many columns carry the identity of rows.
pub(crate) const IDENTITY_LEN: usize = 3;

/// The columns of a table, in order, and how its rows are laid out.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Schema {
    pub(super) fields: Vec<Field>,
    /// The largest field id ever given out in this table.
    pub(super) last_field_id: FieldId,
    /// What rows are or were put apart by.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(super) partitioned_by: Vec<PartitionField>,
    /// What rows are sorted by before they are written.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(super) sorted_by: Vec<SortField>,
    /// The columns that data files have bloom filters for, beside those of keys.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(super) bloom_filters: Vec<FieldId>,
}

/// One column, or one part of a nested column.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Field {
    /// What identifies it in data files and statistics.
    pub id: FieldId,
    /// What users call it.
    pub name: String,
    /// Its type.
    #[serde(rename = "type")]
    pub ty: Type,
    /// Whether NULL is allowed.
    pub nullable: bool,
    /// The SQL expression that stands in where an INSERT leaves the column out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub default: Option<String>,
    /// What it is in rows that were written before it was added; NULL if there is none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub initial: Option<Value>,
    /// The SQL expression over other columns of the row that is the column's value, always.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub generated: Option<String>,
    /// What it means, for people.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub comment: Option<String>,
    /// About how many values it has, as of when they were counted; nothing is promised.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub distinct: Option<u64>,
}

impl Field {
    pub(super) fn new(id: FieldId, name: &str, ty: Type, nullable: bool) -> Self {
        Self {
            id,
            name: name.to_owned(),
            ty,
            nullable,
            default: None,
            initial: None,
            generated: None,
            comment: None,
            distinct: None,
        }
    }

    /// The arrow field that engines see, with the field id in its metadata.
    pub fn to_arrow(&self) -> ArrowField {
        ArrowField::new(&self.name, self.ty.to_arrow(), self.nullable)
            .with_metadata(self.metadata())
    }

    /// The arrow field in data files, with the field ids of all parts.
    pub(crate) fn to_file_arrow(&self) -> ArrowField {
        let ty = self.ty.to_file_arrow();
        ArrowField::new(&self.name, ty, self.nullable).with_metadata(self.metadata())
    }

    /// The same column with another initial value.
    pub(super) fn with_initial(&self, initial: Option<Value>) -> Self {
        Self {
            initial,
            ..self.clone()
        }
    }

    fn metadata(&self) -> HashMap<String, String> {
        HashMap::from([(PARQUET_FIELD_ID_META_KEY.to_owned(), self.id.to_string())])
    }
}

impl Schema {
    /// Takes the columns of an arrow schema and gives them field ids from 1 on, depth first.
    ///
    /// Arrow types that are layouts of one logical type become that type: all string layouts
    /// `String`, all binary layouts `Binary`, all list layouts `List`, dictionaries their values.
    ///
    /// # Errors
    ///
    /// `Unsupported` for types that cannot be stored or if there are no columns, `Invalid` for empty
    /// or repeated names.
    pub fn from_arrow(schema: &ArrowSchema) -> Result<Self> {
        let mut last = FieldId(0);
        let fields = schema
            .fields()
            .iter()
            .map(|field| from_arrow_field(field, &mut last, 0))
            .collect::<Result<Vec<_>>>()?;
        let schema = Self {
            fields,
            last_field_id: last,
            partitioned_by: Vec::new(),
            sorted_by: Vec::new(),
            bloom_filters: Vec::new(),
        };
        schema.check(&Error::invalid)?;
        schema.to_parquet()?;
        Ok(schema)
    }

    /// Sets the SQL text of defaults by column name.
    ///
    /// # Errors
    ///
    /// `NotFound` if a column does not exist.
    pub fn with_defaults(mut self, defaults: BTreeMap<String, String>) -> Result<Self> {
        for (name, sql) in defaults {
            match self.fields.iter_mut().find(|field| field.name == name) {
                Some(field) => field.default = Some(sql),
                None => return Err(Error::not_found("no such column").with("column", name)),
            }
        }
        Ok(self)
    }

    /// Sets the SQL text of generated columns by column name.
    ///
    /// # Errors
    ///
    /// `NotFound` if a column does not exist, `Invalid` if it has a default.
    pub fn with_generated(mut self, generated: BTreeMap<String, String>) -> Result<Self> {
        for (name, sql) in generated {
            match self.fields.iter_mut().find(|field| field.name == name) {
                Some(field) => field.generated = Some(sql),
                None => return Err(Error::not_found("no such column").with("column", name)),
            }
        }
        self.check(&Error::invalid)?;
        Ok(self)
    }

    /// The column with this id at the top level, to be changed.
    pub(crate) fn field_mut(&mut self, id: FieldId) -> Option<&mut Field> {
        self.fields.iter_mut().find(|field| field.id == id)
    }

    /// The same columns, each allowing NULL.
    pub(crate) fn relaxed(&self) -> Self {
        let mut schema = self.clone();
        schema.fields.iter_mut().for_each(|f| f.nullable = true);
        schema
    }

    /// The same columns, each allowing NULL if it does not here.
    pub(crate) fn opposite(&self) -> Self {
        let mut schema = self.clone();
        schema
            .fields
            .iter_mut()
            .for_each(|f| f.nullable = !f.nullable);
        schema
    }

    /// The columns, in order.
    pub fn fields(&self) -> &[Field] {
        &self.fields
    }

    /// The column called `name`.
    pub fn field(&self, name: &str) -> Option<&Field> {
        self.fields.iter().find(|field| field.name == name)
    }

    /// The column with this id.
    pub fn field_by_id(&self, id: FieldId) -> Option<&Field> {
        self.fields.iter().find(|field| field.id == id)
    }

    /// The arrow schema that engines see: field ids in the metadata of every column, strings and
    /// binaries as views.
    pub fn to_arrow(&self) -> SchemaRef {
        let fields = self.fields.iter().map(Field::to_arrow).collect::<Fields>();
        Arc::new(ArrowSchema::new(fields))
    }

    /// The arrow schema of data files, with the field ids of all parts.
    pub(crate) fn to_file_arrow(&self) -> SchemaRef {
        let fields = self.fields.iter().map(Field::to_file_arrow);
        Arc::new(ArrowSchema::new(fields.collect::<Fields>()))
    }

    /// The columns of data files that carry the identity of their rows: those of the table, then
    /// three of the format's own.
    pub(crate) fn with_identity(&self) -> Self {
        let mut schema = self.clone();
        schema.fields.extend(Self::identity_only().fields);
        schema
    }

    /// No columns.
    pub(crate) fn empty() -> Self {
        Self {
            fields: Vec::new(),
            ..Self::identity_only()
        }
    }

    /// Some of the columns, by position; where rows are laid out is left behind.
    pub(crate) fn only(&self, columns: &[usize]) -> Self {
        let fields = columns.iter().filter_map(|at| self.fields.get(*at));
        Self {
            fields: fields.cloned().collect(),
            ..Self::identity_only()
        }
    }

    /// The same columns for rows of `earlier`, which is the table as it was: what had been dropped by
    /// then is NULL, and not the initial value that it had.
    pub(crate) fn without_initials_of(&self, earlier: &Self) -> Self {
        let mut schema = self.clone();
        for field in &mut schema.fields {
            if field.id <= earlier.last_field_id && earlier.field_by_id(field.id).is_none() {
                field.initial = None;
            }
        }
        schema
    }

    /// The columns that carry the identity of rows, without those of a table.
    pub(crate) fn identity_only() -> Self {
        Self {
            fields: identity_columns().into(),
            last_field_id: FieldId(RESERVED_IDS + 2),
            partitioned_by: Vec::new(),
            sorted_by: Vec::new(),
            bloom_filters: Vec::new(),
        }
    }

    /// Checks ids, names and depth.
    ///
    /// # Errors
    ///
    /// `Corrupt`, saying what is wrong.
    pub(crate) fn validate(&self) -> Result<()> {
        self.check(&Error::corrupt)
    }

    pub(crate) fn check(&self, error: &dyn Fn(String) -> Error) -> Result<()> {
        let mut ids = BTreeSet::new();
        check_fields(&self.fields.iter().collect::<Vec<_>>(), &mut ids, 0, error)?;
        if ids.len() > FIELDS_MAX {
            return Err(error("a table has more than 10,000 columns".to_owned()));
        }
        if let Some(reserved) = self
            .fields
            .iter()
            .find(|field| field.name.starts_with(RESERVED_PREFIX))
        {
            return Err(
                error(format!("column names cannot begin with {RESERVED_PREFIX}"))
                    .with("column", &reserved.name),
            );
        }
        if self.last_field_id.0 >= RESERVED_IDS {
            return Err(error("a field id is reserved".to_owned()));
        }
        if ids.first().is_some_and(|id| id.0 < 1)
            || ids.last().is_some_and(|id| *id > self.last_field_id)
        {
            return Err(error("a field id is out of range".to_owned()));
        }
        self.check_layout(error)
    }
}

/// Where a row was first written, and when it was last changed: the columns that a data file can
/// have after those of its table. NULL stands for the row's own place and its file's `added_at`.
pub(crate) fn identity_columns() -> [Field; IDENTITY_LEN] {
    let columns = [
        ("_udr_file_id", Type::FixedBinary(16)),
        ("_udr_position", Type::Int64),
        ("_udr_added_at", Type::Int64),
    ];
    let mut id = RESERVED_IDS;
    columns.map(|(name, ty)| {
        let field = Field::new(FieldId(id), name, ty, true);
        id += 1;
        field
    })
}

fn check_fields(
    fields: &[&Field],
    ids: &mut BTreeSet<FieldId>,
    depth: usize,
    error: &dyn Fn(String) -> Error,
) -> Result<()> {
    if depth > DEPTH_MAX {
        return Err(error("columns nest too deep".to_owned()));
    }
    let mut names = BTreeSet::new();
    for field in fields {
        if field.name.is_empty() || field.name.len() > NAME_BYTES_MAX {
            return Err(error(
                "a column name is empty or longer than 1,024 bytes".to_owned(),
            ));
        }
        if !names.insert(field.name.as_str()) {
            return Err(error("two columns have one name".to_owned()).with("column", &field.name));
        }
        if !ids.insert(field.id) {
            return Err(error("two columns have one field id".to_owned()).with("id", field.id));
        }
        let has_value =
            field.default.is_some() || field.generated.is_some() || field.initial.is_some();
        if (depth > 0 && has_value) || (field.default.is_some() && field.generated.is_some()) {
            return Err(error(
                "a column has a default or is generated where it cannot be".to_owned(),
            )
            .with("column", &field.name));
        }
        if !field.ty.is_in_range() {
            return Err(error("a column type is out of range".to_owned())
                .with("column", &field.name)
                .with("type", &field.ty));
        }
        if let Some(initial) = &field.initial
            && !field.ty.has_value(initial)
        {
            return Err(
                error("a column has an initial value of another type".to_owned())
                    .with("column", &field.name),
            );
        }
        check_fields(&field.ty.children(), ids, depth + 1, error)?;
    }
    Ok(())
}

pub(super) fn from_arrow_field(
    field: &ArrowField,
    last: &mut FieldId,
    depth: usize,
) -> Result<Field> {
    if depth > DEPTH_MAX {
        return Err(Error::unsupported("columns nest too deep").with("column", field.name()));
    }
    *last = FieldId(last.0 + 1);
    let id = *last;
    let ty = from_arrow_type(field.name(), field.data_type(), last, depth)?;
    Ok(Field::new(id, field.name(), ty, field.is_nullable()))
}

fn from_arrow_type(
    name: &str,
    data_type: &DataType,
    last: &mut FieldId,
    depth: usize,
) -> Result<Type> {
    let mut nested = |field: &ArrowField| from_arrow_field(field, last, depth + 1).map(Box::new);
    Ok(match data_type {
        DataType::Boolean => Type::Boolean,
        DataType::Int8 => Type::Int8,
        DataType::Int16 => Type::Int16,
        DataType::Int32 => Type::Int32,
        DataType::Int64 => Type::Int64,
        DataType::UInt8 => Type::UInt8,
        DataType::UInt16 => Type::UInt16,
        DataType::UInt32 => Type::UInt32,
        DataType::UInt64 => Type::UInt64,
        DataType::Float16 => Type::Float16,
        DataType::Float32 => Type::Float32,
        DataType::Float64 => Type::Float64,
        DataType::Decimal32(precision, scale)
        | DataType::Decimal64(precision, scale)
        | DataType::Decimal128(precision, scale) => Type::Decimal128 {
            precision: *precision,
            scale: *scale,
        },
        DataType::Decimal256(precision, scale) => Type::Decimal256 {
            precision: *precision,
            scale: *scale,
        },
        DataType::Date32 => Type::Date32,
        DataType::Date64 => Type::Date64,
        DataType::Time32(unit @ (TimeUnit::Second | TimeUnit::Millisecond)) => Type::Time32(*unit),
        DataType::Time64(unit @ (TimeUnit::Microsecond | TimeUnit::Nanosecond)) => {
            Type::Time64(*unit)
        }
        DataType::Timestamp(unit, zone) => Type::Timestamp(*unit, zone.clone()),
        DataType::Utf8 | DataType::LargeUtf8 | DataType::Utf8View => Type::String,
        DataType::Binary | DataType::LargeBinary | DataType::BinaryView => Type::Binary,
        DataType::FixedSizeBinary(size) => Type::FixedBinary(*size),
        DataType::List(element)
        | DataType::LargeList(element)
        | DataType::ListView(element)
        | DataType::LargeListView(element) => Type::List(nested(element)?),
        DataType::FixedSizeList(element, size) => Type::FixedList(nested(element)?, *size),
        DataType::Struct(fields) if !fields.is_empty() => Type::Struct(
            fields
                .iter()
                .map(|field| nested(field).map(|f| *f))
                .collect::<Result<_>>()?,
        ),
        DataType::Map(entries, _) => match entries.data_type() {
            DataType::Struct(fields) if fields.len() == 2 => Type::Map {
                key: nested(&fields[0])?,
                value: nested(&fields[1])?,
            },
            _ => return Err(unsupported(name, data_type)),
        },
        DataType::Dictionary(_, values) => from_arrow_type(name, values, last, depth)?,
        _ => return Err(unsupported(name, data_type)),
    })
}

fn unsupported(name: &str, data_type: &DataType) -> Error {
    Error::unsupported("a column type cannot be stored")
        .with("column", name)
        .with("type", data_type)
        .with_hint("cast the column to a type that can")
}
