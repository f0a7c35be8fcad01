//! Results as text.
//!
//! In: record batches, one after the other. Out: bytes on the writer given. Called by `run` and
//! `fsck`.
//!
//! Every format streams: none keeps more than the rows that it needs to align its columns.

mod cell;
mod csv;
mod json;
mod markdown;
mod table;
mod temporal;
mod vertical;

use std::fmt;
use std::io::{self, Write};

use arrow::array::RecordBatch;
use arrow::datatypes::SchemaRef;
use arrow::error::ArrowError;
use clap::ValueEnum;

use crate::exit::{Stop, output_stop};

/// The value of `--format`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, ValueEnum)]
pub(crate) enum Format {
    /// Aligned columns
    #[default]
    Table,
    /// Comma-separated values with a header; NULL is empty, an empty string is ""
    Csv,
    /// One JSON array of objects
    Json,
    /// One JSON object per line
    Ndjson,
    /// A Markdown table
    Markdown,
    /// One line per column, for wide rows
    Vertical,
}

impl fmt::Display for Format {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Table => "table",
            Self::Csv => "csv",
            Self::Json => "json",
            Self::Ndjson => "ndjson",
            Self::Markdown => "markdown",
            Self::Vertical => "vertical",
        })
    }
}

impl Format {
    /// For programs to read: every row, whatever the limit of the prompt.
    pub(crate) fn is_for_machines(self) -> bool {
        matches!(self, Self::Csv | Self::Json | Self::Ndjson)
    }

    /// A writer of one result.
    pub(crate) fn rows<W: Write>(self, schema: &SchemaRef, out: W) -> Rows<W> {
        let encoder: Box<dyn Encode<W>> = match self {
            Self::Table => Box::new(table::Table::new(schema)),
            Self::Csv => Box::new(csv::Csv::new(schema)),
            Self::Json => Box::new(json::Json::array()),
            Self::Ndjson => Box::new(json::Json::lines()),
            Self::Markdown => Box::new(markdown::Markdown::new(schema)),
            Self::Vertical => Box::new(vertical::Vertical::new(schema)),
        };
        Rows { encoder, out }
    }
}

/// One result on its way out.
#[must_use = "the end of a result has to be written with `finish`"]
pub(crate) struct Rows<W> {
    encoder: Box<dyn Encode<W>>,
    out: W,
}

impl<W: Write> Rows<W> {
    /// Writes some rows.
    ///
    /// # Errors
    ///
    /// `OutputClosed` if nobody reads any more, else what went wrong.
    pub(crate) fn write(&mut self, batch: &RecordBatch) -> Result<(), Stop> {
        self.encoder.write(batch, &mut self.out)?;
        self.out.flush().map_err(|error| output_stop(&error))
    }

    /// Writes what was held back to align columns, since nobody knows when more will come.
    ///
    /// # Errors
    ///
    /// As [`Rows::write`].
    pub(crate) fn release(&mut self) -> Result<(), Stop> {
        self.encoder.release(&mut self.out)?;
        self.out.flush().map_err(|error| output_stop(&error))
    }

    /// Writes the end and gives the writer back.
    ///
    /// # Errors
    ///
    /// As [`Rows::write`].
    pub(crate) fn finish(mut self) -> Result<W, Stop> {
        self.encoder.finish(&mut self.out)?;
        self.out.flush().map_err(|error| output_stop(&error))?;
        Ok(self.out)
    }
}

/// How one format puts rows on a writer.
trait Encode<W: Write> {
    fn write(&mut self, batch: &RecordBatch, out: &mut W) -> Result<(), EncodeError>;
    /// Holds nothing back any more.
    fn release(&mut self, _out: &mut W) -> Result<(), EncodeError> {
        Ok(())
    }
    fn finish(&mut self, out: &mut W) -> Result<(), EncodeError>;
}

/// The writer failed, or a value has no text.
enum EncodeError {
    Output(io::Error),
    Value(ArrowError),
}

impl From<io::Error> for EncodeError {
    fn from(error: io::Error) -> Self {
        Self::Output(error)
    }
}

impl From<ArrowError> for EncodeError {
    fn from(error: ArrowError) -> Self {
        match error {
            ArrowError::IoError(_, error) => Self::Output(error),
            error => Self::Value(error),
        }
    }
}

impl From<EncodeError> for Stop {
    fn from(error: EncodeError) -> Self {
        match error {
            EncodeError::Output(error) => output_stop(&error),
            EncodeError::Value(error) => Self::from(error),
        }
    }
}

#[cfg(test)]
mod tests;
