//! A Markdown table, as GitHub reads it.

use std::io::{self, Write};

use arrow::array::RecordBatch;
use arrow::datatypes::SchemaRef;

use super::cell::{Cells, headings, is_right_aligned};
use super::{Encode, EncodeError};

pub(super) struct Markdown {
    headings: Vec<String>,
    right: Vec<bool>,
    started: bool,
}

impl Markdown {
    pub(super) fn new(schema: &SchemaRef) -> Self {
        let right = schema
            .fields()
            .iter()
            .map(|f| is_right_aligned(f.data_type()))
            .collect();
        Self {
            headings: headings(schema),
            right,
            started: false,
        }
    }

    fn start(&mut self, out: &mut impl Write) -> io::Result<()> {
        if std::mem::replace(&mut self.started, true) {
            return Ok(());
        }
        row(self.headings.iter().map(|heading| escape(heading)), out)?;
        row(
            self.right
                .iter()
                .map(|right| if *right { "---:" } else { "---" }.to_owned()),
            out,
        )
    }
}

fn row(cells: impl Iterator<Item = String>, out: &mut impl Write) -> io::Result<()> {
    for cell in cells {
        write!(out, "| {cell} ")?;
    }
    writeln!(out, "|")
}

/// Keeps a value inside its cell and its characters literal.
fn escape(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '\n' => escaped.push_str("<br>"),
            '<' => escaped.push_str("&lt;"),
            '&' => escaped.push_str("&amp;"),
            '|' | '\\' | '`' | '*' | '_' | '[' | ']' => {
                escaped.push('\\');
                escaped.push(c);
            }
            c => escaped.push(c),
        }
    }
    escaped
}

impl<W: Write> Encode<W> for Markdown {
    fn write(&mut self, batch: &RecordBatch, out: &mut W) -> Result<(), EncodeError> {
        self.start(out)?;
        let cells = Cells::new(batch)?;
        for i in 0..batch.num_rows() {
            row(cells.shown(i).map(|cell| escape(&cell)), out)?;
        }
        Ok(())
    }

    fn finish(&mut self, out: &mut W) -> Result<(), EncodeError> {
        Ok(self.start(out)?)
    }
}
