//! Single values as text.

use arrow::array::RecordBatch;
use arrow::datatypes::{DataType, SchemaRef};
use arrow::error::ArrowError;
use arrow::util::display::{ArrayFormatter, FormatOptions};
use console::measure_text_width;

use crate::exit::printable_lines;

/// The values of a batch, column by column.
pub(super) struct Cells<'a> {
    columns: Vec<ArrayFormatter<'a>>,
}

impl<'a> Cells<'a> {
    pub(super) fn new(batch: &'a RecordBatch) -> Result<Self, ArrowError> {
        const OPTIONS: FormatOptions<'_> = FormatOptions::new()
            .with_null("NULL")
            .with_display_error(true);
        let columns = batch
            .columns()
            .iter()
            .map(|column| ArrayFormatter::try_new(column.as_ref(), &OPTIONS))
            .collect::<Result<_, _>>()?;
        Ok(Self { columns })
    }

    /// The text of a value, as the engine gives it; a message if it has none.
    fn raw(&self, row: usize, column: usize) -> String {
        self.columns[column].value(row).to_string()
    }

    /// The text of a value, for who cannot tell a message from a value.
    pub(super) fn exact(&self, row: usize, column: usize) -> Result<String, ArrowError> {
        self.columns[column].value(row).try_to_string()
    }

    /// The texts of a row, with line breaks kept and other control characters escaped.
    pub(super) fn shown(&self, row: usize) -> impl Iterator<Item = String> {
        (0..self.columns.len()).map(move |column| printable_lines(&self.raw(row, column)))
    }
}

/// The names of the columns, safe to show.
pub(super) fn headings(schema: &SchemaRef) -> Vec<String> {
    schema
        .fields()
        .iter()
        .map(|field| printable_lines(field.name()).replace('\n', " "))
        .collect()
}

/// Whether a column reads best with its digits below each other.
pub(super) fn is_right_aligned(data_type: &DataType) -> bool {
    match data_type {
        DataType::Dictionary(_, value) => is_right_aligned(value),
        other => other.is_numeric(),
    }
}

/// How many columns of a terminal the widest line takes.
pub(super) fn width(text: &str) -> usize {
    text.lines().map(measure_text_width).max().unwrap_or(0)
}
