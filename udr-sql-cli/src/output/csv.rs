//! Comma-separated values (RFC 4180 with `\n`): NULL is empty, an empty string is `""`, and lists,
//! structs and maps are JSON.

use std::io::{self, Write};
use std::sync::Arc;

use arrow::array::{Array as _, RecordBatch};
use arrow::datatypes::SchemaRef;
use arrow::error::ArrowError;
use arrow::json::writer::{EncoderOptions, NullableEncoder, make_encoder};

use super::cell::Cells;
use super::temporal::Times;
use super::{Encode, EncodeError};

pub(super) struct Csv {
    names: Vec<String>,
    started: bool,
}

impl Csv {
    pub(super) fn new(schema: &SchemaRef) -> Self {
        let names = schema
            .fields()
            .iter()
            .map(|field| field.name().clone())
            .collect();
        Self {
            names,
            started: false,
        }
    }

    fn start(&mut self, out: &mut impl Write) -> io::Result<()> {
        if std::mem::replace(&mut self.started, true) {
            return Ok(());
        }
        for (i, name) in self.names.iter().enumerate() {
            separate(i, out)?;
            value(name, out)?;
        }
        out.write_all(b"\n")
    }
}

fn separate(column: usize, out: &mut impl Write) -> io::Result<()> {
    if column > 0 {
        out.write_all(b",")
    } else {
        Ok(())
    }
}

fn value(text: &str, out: &mut impl Write) -> io::Result<()> {
    let quoted = text.is_empty()
        || text.starts_with(' ')
        || text.ends_with(' ')
        || text.contains([',', '"', '\n', '\r']);
    if quoted {
        write!(out, "\"{}\"", text.replace('"', "\"\""))
    } else {
        out.write_all(text.as_bytes())
    }
}

impl<W: Write> Encode<W> for Csv {
    fn write(&mut self, batch: &RecordBatch, out: &mut W) -> Result<(), EncodeError> {
        self.start(out)?;
        let times = Arc::new(Times::default());
        let factory = Arc::<Times>::clone(&times);
        let options = EncoderOptions::default()
            .with_explicit_nulls(true)
            .with_encoder_factory(factory);
        let cells = Cells::new(batch)?;
        let nulls = batch
            .columns()
            .iter()
            .map(|c| c.logical_nulls())
            .collect::<Vec<_>>();
        let mut nested = nested(batch, &options)?;
        let mut json = Vec::new();
        for row in 0..batch.num_rows() {
            for column in 0..batch.num_columns() {
                separate(column, out)?;
                if nulls[column]
                    .as_ref()
                    .is_some_and(|nulls| nulls.is_null(row))
                {
                    continue;
                }
                match &mut nested[column] {
                    Some(encoder) => {
                        json.clear();
                        encoder.encode(row, &mut json);
                        times.check()?;
                        value(&String::from_utf8_lossy(&json), out)?;
                    }
                    None => value(&cells.exact(row, column)?, out)?,
                }
            }
            out.write_all(b"\n")?;
        }
        Ok(())
    }

    fn finish(&mut self, out: &mut W) -> Result<(), EncodeError> {
        Ok(self.start(out)?)
    }
}

/// What writes the columns that are lists, structs or maps.
fn nested<'a>(
    batch: &'a RecordBatch,
    options: &'a EncoderOptions,
) -> Result<Vec<Option<NullableEncoder<'a>>>, ArrowError> {
    batch
        .schema_ref()
        .fields()
        .iter()
        .zip(batch.columns())
        .map(|(field, array)| {
            let nested = field.data_type().is_nested();
            nested
                .then(|| make_encoder(field, array.as_ref(), options))
                .transpose()
        })
        .collect()
}
