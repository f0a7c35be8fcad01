//! Aligned columns.
//!
//! Column widths are those of the first rows; a wider value further down is shown whole and its
//! line sticks out, so that a long result streams.

use std::io::{self, Write};

use arrow::array::RecordBatch;
use arrow::datatypes::SchemaRef;
use console::measure_text_width;

use super::cell::{Cells, headings, is_right_aligned, width};
use super::{Encode, EncodeError};

/// How many rows the widths are taken from.
const ROWS_MEASURED_MAX: usize = 1_000;

pub(super) struct Table {
    headings: Vec<String>,
    right: Vec<bool>,
    widths: Vec<usize>,
    /// Rows held back until the widths are known; `None` once they are.
    held: Option<Vec<Vec<String>>>,
}

impl Table {
    pub(super) fn new(schema: &SchemaRef) -> Self {
        let headings = headings(schema);
        let widths = headings.iter().map(|heading| width(heading)).collect();
        let right = schema
            .fields()
            .iter()
            .map(|f| is_right_aligned(f.data_type()))
            .collect();
        Self {
            headings,
            right,
            widths,
            held: Some(Vec::new()),
        }
    }

    fn rule(&self, out: &mut impl Write) -> io::Result<()> {
        for width in &self.widths {
            write!(out, "+{:-<1$}", "", width + 2)?;
        }
        writeln!(out, "+")
    }

    fn row(&self, cells: &[String], out: &mut impl Write) -> io::Result<()> {
        let height = cells
            .iter()
            .map(|cell| cell.lines().count())
            .max()
            .unwrap_or(0)
            .max(1);
        let mut columns = cells.iter().map(|cell| cell.lines()).collect::<Vec<_>>();
        for _ in 0..height {
            for ((lines, width), right) in columns.iter_mut().zip(&self.widths).zip(&self.right) {
                let line = lines.next().unwrap_or("");
                let padding = width.saturating_sub(measure_text_width(line));
                if *right {
                    write!(out, "| {:padding$}{line} ", "")?;
                } else {
                    write!(out, "| {line}{:padding$} ", "")?;
                }
            }
            writeln!(out, "|")?;
        }
        Ok(())
    }

    /// Fixes the widths and writes what was held back.
    fn start(&mut self, out: &mut impl Write) -> io::Result<()> {
        let Some(rows) = self.held.take() else {
            return Ok(());
        };
        for row in &rows {
            for (known, cell) in self.widths.iter_mut().zip(row) {
                *known = (*known).max(width(cell));
            }
        }
        self.rule(out)?;
        self.row(&self.headings, out)?;
        self.rule(out)?;
        rows.iter().try_for_each(|row| self.row(row, out))
    }
}

impl<W: Write> Encode<W> for Table {
    fn write(&mut self, batch: &RecordBatch, out: &mut W) -> Result<(), EncodeError> {
        let cells = Cells::new(batch)?;
        for row in 0..batch.num_rows() {
            let row = cells.shown(row).collect::<Vec<_>>();
            match &mut self.held {
                Some(held) => held.push(row),
                None => self.row(&row, out)?,
            }
            if self
                .held
                .as_ref()
                .is_some_and(|held| held.len() >= ROWS_MEASURED_MAX)
            {
                self.start(out)?;
            }
        }
        Ok(())
    }

    fn release(&mut self, out: &mut W) -> Result<(), EncodeError> {
        Ok(self.start(out)?)
    }

    fn finish(&mut self, out: &mut W) -> Result<(), EncodeError> {
        self.start(out)?;
        Ok(self.rule(out)?)
    }
}
