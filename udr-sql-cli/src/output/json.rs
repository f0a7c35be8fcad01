//! JSON: one array, or one object per line. NULL is `null`.

use std::io::Write;
use std::sync::Arc;

use arrow::array::RecordBatch;
use arrow::error::ArrowError;
use arrow::json::writer::{JsonFormat, LineDelimited, WriterBuilder};

use super::temporal::Times;
use super::{Encode, EncodeError};

pub(super) struct Json {
    array: bool,
    rows: bool,
}

impl Json {
    pub(super) fn array() -> Self {
        Self {
            array: true,
            rows: false,
        }
    }

    pub(super) fn lines() -> Self {
        Self {
            array: false,
            rows: false,
        }
    }
}

/// Rows with a comma and a line break between them; the brackets are ours, since a result comes in
/// many batches.
#[derive(Debug, Default)]
struct Separated;

impl JsonFormat for Separated {
    fn start_row<W: Write>(&self, out: &mut W, is_first_row: bool) -> Result<(), ArrowError> {
        out.write_all(if is_first_row { b"" } else { b",\n" })?;
        Ok(())
    }
}

impl<W: Write> Encode<W> for Json {
    fn write(&mut self, batch: &RecordBatch, out: &mut W) -> Result<(), EncodeError> {
        if batch.num_rows() == 0 {
            return Ok(());
        }
        let times = Arc::new(Times::default());
        let factory = Arc::<Times>::clone(&times);
        let builder = WriterBuilder::new()
            .with_explicit_nulls(true)
            .with_encoder_factory(factory);
        // Whole, so that nothing of a batch is written that has a value without a text.
        let mut text = Vec::new();
        if self.array {
            builder.build::<_, Separated>(&mut text).write(batch)?;
        } else {
            builder.build::<_, LineDelimited>(&mut text).write(batch)?;
        }
        times.check()?;
        if !self.array {
            return Ok(out.write_all(&text)?);
        }
        out.write_all(if std::mem::replace(&mut self.rows, true) {
            b",\n"
        } else {
            b"[\n"
        })?;
        Ok(out.write_all(&text)?)
    }

    fn finish(&mut self, out: &mut W) -> Result<(), EncodeError> {
        if self.array {
            out.write_all(if self.rows { b"\n]\n" } else { b"[]\n" })?;
        }
        Ok(())
    }
}
