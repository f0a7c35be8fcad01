//! Which columns Parquet can hold: what no row can be written of is refused before there is a table.

use parquet::arrow::ArrowSchemaConverter;
use parquet::schema::types::SchemaDescriptor;

use super::{Field, Schema, Type};
use crate::error::{Error, Result};

impl Schema {
    /// The columns as Parquet has them.
    ///
    /// # Errors
    ///
    /// `Unsupported` if no row of them can be stored.
    pub(crate) fn to_parquet(&self) -> Result<SchemaDescriptor> {
        if self.fields().is_empty() {
            return Err(Error::unsupported(
                "a table without columns cannot hold rows",
            ));
        }
        self.fields().iter().try_for_each(check)?;
        ArrowSchemaConverter::new()
            .convert(&self.to_file_arrow())
            .map_err(|e| {
                Error::unsupported("the columns cannot be stored as Parquet").with_source(e)
            })
    }
}

fn check(field: &Field) -> Result<()> {
    let why = match &field.ty {
        Type::FixedBinary(..=0) => "binaries of no bytes cannot be stored",
        Type::FixedList(_, ..=0) => "lists of no elements cannot be stored",
        Type::Map { key, .. } if key.nullable => "maps with NULL keys cannot be stored",
        Type::Decimal128 { scale, .. } | Type::Decimal256 { scale, .. } if *scale < 0 => {
            "decimals with a negative scale cannot be stored"
        }
        Type::Decimal128 { precision, scale } | Type::Decimal256 { precision, scale }
            if i16::from(*scale) > i16::from(*precision) =>
        {
            "decimals with a scale larger than their precision cannot be stored"
        }
        _ => return field.ty.children().into_iter().try_for_each(check),
    };
    Err(Error::unsupported(why)
        .with("column", &field.name)
        .with("type", &field.ty))
}
