//! One line per column, for wide rows.

use std::io::Write;

use arrow::array::RecordBatch;
use arrow::datatypes::SchemaRef;
use console::measure_text_width;

use super::cell::{Cells, headings, width};
use super::{Encode, EncodeError};

pub(super) struct Vertical {
    headings: Vec<String>,
    width: usize,
    rows: u64,
}

impl Vertical {
    pub(super) fn new(schema: &SchemaRef) -> Self {
        let headings = headings(schema);
        let width = headings
            .iter()
            .map(|heading| width(heading))
            .max()
            .unwrap_or(0);
        Self {
            headings,
            width,
            rows: 0,
        }
    }
}

impl<W: Write> Encode<W> for Vertical {
    fn write(&mut self, batch: &RecordBatch, out: &mut W) -> Result<(), EncodeError> {
        let cells = Cells::new(batch)?;
        for row in 0..batch.num_rows() {
            self.rows += 1;
            let title = format!("-[ {} ]", self.rows);
            writeln!(
                out,
                "{title:-<rule$}",
                rule = (self.width + 12).max(title.len())
            )?;
            for (heading, cell) in self.headings.iter().zip(cells.shown(row)) {
                let padding = self.width.saturating_sub(measure_text_width(heading));
                write!(out, "{heading}{:padding$} | ", "")?;
                for (i, line) in cell.split('\n').enumerate() {
                    if i > 0 {
                        write!(out, "{:1$} | ", "", self.width)?;
                    }
                    writeln!(out, "{line}")?;
                }
            }
        }
        Ok(())
    }

    fn finish(&mut self, _out: &mut W) -> Result<(), EncodeError> {
        Ok(())
    }
}
