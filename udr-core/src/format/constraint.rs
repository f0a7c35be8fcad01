//! What the rows of a table must be, beyond the types of its columns.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};

use super::{Field, Schema, Type};
use crate::error::{Error, Result};
use crate::id::{FieldId, TableId};

/// The most constraints a table has.
const CONSTRAINTS_MAX: usize = 1_000;
/// The most columns a key has.
const KEY_COLUMNS_MAX: usize = 32;
/// The most bytes the name of a constraint has.
const NAME_BYTES_MAX: usize = 256;

/// One rule that every row of a table obeys.
///
/// NOT NULL and generated columns are rules of a [`Field`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum Constraint {
    /// An expression over the columns of one row is true or NULL.
    Check {
        /// Unique within the table.
        name: String,
        /// The expression, as SQL.
        sql: String,
    },
    /// No two rows have the same values in these columns, rows with a NULL among them excepted.
    Unique {
        /// Unique within the table.
        name: String,
        /// Which columns, all at the top level.
        columns: Vec<FieldId>,
        /// Whether it is the primary key, whose columns are NOT NULL.
        primary: bool,
    },
    /// The values in these columns are those of a key of the parent, or one of them is NULL.
    ForeignKey {
        /// Unique within the table.
        name: String,
        /// Which columns, all at the top level.
        columns: Vec<FieldId>,
        /// The table that has the key.
        parent: TableId,
        /// The columns of a unique constraint of the parent, in the order of `columns`.
        parent_columns: Vec<FieldId>,
    },
}

/// A table with a foreign key, and the table that it leads to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Reference {
    /// The table with the key's values; the first part, so that references are in its order.
    pub child: TableId,
    /// The table with the key.
    pub parent: TableId,
}

impl Constraint {
    /// What users call it.
    pub fn name(&self) -> &str {
        match self {
            Self::Check { name, .. }
            | Self::Unique { name, .. }
            | Self::ForeignKey { name, .. } => name,
        }
    }

    /// What kind it is, in the words of SQL.
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Check { .. } => "CHECK",
            Self::Unique { primary: true, .. } => "PRIMARY KEY",
            Self::Unique { primary: false, .. } => "UNIQUE",
            Self::ForeignKey { .. } => "FOREIGN KEY",
        }
    }

    /// The columns that it names; of a check none, since it has an expression.
    pub fn columns(&self) -> &[FieldId] {
        match self {
            Self::Check { .. } => &[],
            Self::Unique { columns, .. } | Self::ForeignKey { columns, .. } => columns,
        }
    }

    /// The table that a foreign key leads to.
    pub fn parent(&self) -> Option<TableId> {
        match self {
            Self::ForeignKey { parent, .. } => Some(*parent),
            Self::Check { .. } | Self::Unique { .. } => None,
        }
    }

    /// Whether these columns, in any order, are the key that it makes unique.
    pub fn is_key_of(&self, wanted: &[FieldId]) -> bool {
        let set = |columns: &[FieldId]| columns.iter().copied().collect::<BTreeSet<_>>();
        matches!(self, Self::Unique { columns, .. } if set(columns) == set(wanted))
    }

    /// Checks the constraints of one table together.
    ///
    /// # Errors
    ///
    /// What `error` makes of the reason.
    pub(crate) fn check_all(
        constraints: &[Self],
        schema: &Schema,
        error: &dyn Fn(String) -> Error,
    ) -> Result<()> {
        if constraints.len() > CONSTRAINTS_MAX {
            return Err(error("a table has more than 1,000 constraints".to_owned()));
        }
        let mut names = BTreeSet::new();
        let mut primary = false;
        for constraint in constraints {
            let named = |why: &str| error(why.to_owned()).with("constraint", constraint.name());
            if !names.insert(constraint.name()) {
                return Err(named("two constraints have one name"));
            }
            constraint.check(schema, &named)?;
            if matches!(constraint, Self::Unique { primary: true, .. }) {
                if primary {
                    return Err(named("a table has two primary keys"));
                }
                primary = true;
            }
        }
        Ok(())
    }

    fn check(&self, schema: &Schema, error: &dyn Fn(&str) -> Error) -> Result<()> {
        let name = self.name();
        if name.is_empty() || name.len() > NAME_BYTES_MAX || name.chars().any(char::is_control) {
            return Err(error(
                "the name of a constraint is not 1 to 256 bytes of text",
            ));
        }
        match self {
            Self::Check { sql, .. } if sql.trim().is_empty() => {
                Err(error("a check has no expression"))
            }
            Self::Check { .. } => Ok(()),
            Self::Unique {
                columns, primary, ..
            } => {
                for field in key_fields(columns, schema, error)? {
                    if *primary && field.nullable {
                        return Err(error("a column of a primary key allows NULL")
                            .with("column", &field.name));
                    }
                }
                Ok(())
            }
            Self::ForeignKey {
                columns,
                parent_columns,
                ..
            } => {
                key_fields(columns, schema, error)?;
                let distinct = parent_columns.iter().collect::<BTreeSet<_>>();
                if parent_columns.len() != columns.len() || distinct.len() != columns.len() {
                    return Err(error(
                        "a foreign key and its parent's key differ in columns",
                    ));
                }
                Ok(())
            }
        }
    }
}

/// The fields of a key.
fn key_fields<'a>(
    columns: &[FieldId],
    schema: &'a Schema,
    error: &dyn Fn(&str) -> Error,
) -> Result<Vec<&'a Field>> {
    if columns.is_empty() || columns.len() > KEY_COLUMNS_MAX {
        return Err(error("a key has 1 to 32 columns"));
    }
    if columns.iter().collect::<BTreeSet<_>>().len() != columns.len() {
        return Err(error("a key names a column twice"));
    }
    let field = |id: &FieldId| {
        let found = schema.fields().iter().find(|field| field.id == *id);
        let field = found.ok_or_else(|| error("a key names a column that is not there"))?;
        if has_equality(&field.ty) {
            return Ok(field);
        }
        Err(error("values of this type cannot be a key")
            .with("column", &field.name)
            .with("type", field.ty.to_arrow()))
    };
    columns.iter().map(field).collect()
}

/// Whether equal values are the same bytes, everywhere: not so for floats, which have two zeros
/// and many NaNs.
fn has_equality(ty: &Type) -> bool {
    !matches!(
        ty,
        Type::Float16
            | Type::Float32
            | Type::Float64
            | Type::List(_)
            | Type::FixedList(..)
            | Type::Struct(_)
            | Type::Map { .. }
    )
}
