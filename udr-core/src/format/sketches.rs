//! The sketches of a table's columns: what was counted, over which rows.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::value::hex_text;
use super::{Schema, Sketch, Stored, Type};
use crate::error::{Error, Result};
use crate::id::FieldId;

/// What is known of how many different values the columns of a table have.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Sketches {
    /// The columns whose values were counted. They may be gone since, or of another type.
    pub columns: BTreeMap<FieldId, ColumnSketch>,
}

/// The sketch of one column over the rows of a table at one commit.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ColumnSketch {
    /// The type of the column when its values were counted.
    #[serde(rename = "type")]
    pub ty: Type,
    /// The sequence of the commit whose files were counted. Files of the table that were added later
    /// were not.
    pub sequence: u64,
    /// How many rows they had. Some of them may be deleted since, and some were so before files that
    /// were added later were counted, too.
    pub rows: u64,
    #[serde(with = "hex_text")]
    sketch: Vec<u8>,
}

impl Sketches {
    /// Checks that its columns are, or were, in `schema`.
    pub(crate) fn check(&self, schema: &Schema, error: &dyn Fn(String) -> Error) -> Result<()> {
        match self.columns.keys().next_back() {
            Some(id) if *id >= schema.next_field_id() => {
                let why = "a sketch is of a column that the table never had";
                Err(error(why.to_owned()).with("column", id))
            }
            _ => Ok(()),
        }
    }
}

impl ColumnSketch {
    /// What was counted of a column of type `ty`.
    pub fn new(ty: Type, sequence: u64, rows: u64, sketch: &Sketch) -> Self {
        Self {
            ty,
            sequence,
            rows,
            sketch: sketch.to_bytes(),
        }
    }

    /// The values that were counted.
    ///
    /// # Errors
    ///
    /// `Corrupt` if they are no sketch, which is found before they are stored, and when they are read.
    pub fn sketch(&self) -> Result<Sketch> {
        Sketch::from_bytes(&self.sketch)
    }

    /// Whether values that were counted would be the same in a column of type `ty`.
    pub fn is_of(&self, ty: &Type) -> bool {
        // Timestamps count something else than days.
        self.ty == *ty || (self.ty != Type::Date32 && self.ty.widens_to(ty))
    }
}

impl Stored for Sketches {
    const KIND: &'static str = "sketches";

    fn validate(&self) -> Result<()> {
        for (id, column) in &self.columns {
            let found = |error: Error| error.with("column", id);
            if id.0 < 1 {
                return Err(found(Error::corrupt(
                    "a column has an id that none can have",
                )));
            }
            if !column.ty.has_sketch() {
                let why = Error::corrupt("there are no sketches of a column of this type");
                return Err(found(why.with("type", &column.ty)));
            }
            column.sketch().map_err(found)?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests;
