//! Where results go: standard output, or a pager if they are bigger than the screen.
//!
//! In: the bytes of one result. Out: the same, on the terminal or through `$PAGER`. Called by `run`.

use std::io::{self, Stdout, Write};
use std::process::{Child, Command, Stdio};

use console::{Term, measure_text_width};

use crate::environment::Environment;

/// `-F` leaves at once if it fits after all, `-R` keeps colours, `-S` scrolls sideways, `-X` leaves
/// the result on the screen.
const PAGER: &str = "less -FRSX";

/// The lines that the prompt and the timing take.
const LINES_RESERVED: usize = 3;

/// Rows and columns of a terminal that does not know its size.
const SIZE_FALLBACK: (u16, u16) = (24, 80);

/// A writer for one result.
#[derive(Debug)]
pub(crate) struct Screen {
    to: To,
}

#[derive(Debug)]
enum To {
    Stdout(io::BufWriter<Stdout>),
    /// Not known yet whether it fits.
    Held {
        bytes: Vec<u8>,
        line_start: usize,
        lines: usize,
        size: Size,
        pager: String,
    },
    Pager(Child),
    Closed,
}

#[derive(Debug, Clone, Copy)]
struct Size {
    rows: usize,
    columns: usize,
}

impl Screen {
    /// Writes to standard output as it comes.
    pub(crate) fn plain() -> Self {
        Self {
            to: To::Stdout(io::BufWriter::with_capacity(64 << 10, io::stdout())),
        }
    }

    /// Writes to the terminal what fits on it, and anything bigger to the pager.
    pub(crate) fn paged(environment: &Environment) -> Self {
        let pager = environment.pager.as_deref().unwrap_or(PAGER).trim();
        if pager.is_empty() || pager == "cat" {
            return Self::plain();
        }
        let (rows, columns) = Term::stdout().size_checked().unwrap_or(SIZE_FALLBACK);
        let size = Size {
            rows: usize::from(rows),
            columns: usize::from(columns),
        };
        let pager = pager.to_owned();
        Self {
            to: To::Held {
                bytes: Vec::new(),
                line_start: 0,
                lines: 0,
                size,
                pager,
            },
        }
    }

    /// Shows what is left and waits until the person has left the pager.
    ///
    /// # Errors
    ///
    /// What standard output says.
    pub(crate) fn close(mut self) -> io::Result<()> {
        self.end()
    }

    fn end(&mut self) -> io::Result<()> {
        match std::mem::replace(&mut self.to, To::Closed) {
            To::Stdout(mut out) => out.flush(),
            To::Held { bytes, .. } => {
                let mut out = io::stdout();
                out.write_all(&bytes)?;
                out.flush()
            }
            To::Pager(mut child) => {
                drop(child.stdin.take());
                child.wait().map(drop)
            }
            To::Closed => Ok(()),
        }
    }

    /// Starts the pager if what is held is bigger than the screen.
    fn page_if_needed(&mut self) -> io::Result<()> {
        let To::Held {
            bytes,
            line_start,
            lines,
            size,
            pager,
        } = &mut self.to
        else {
            return Ok(());
        };
        let mut too_wide = false;
        while let Some(end) = bytes[*line_start..].iter().position(|b| *b == b'\n') {
            let line = String::from_utf8_lossy(&bytes[*line_start..*line_start + end]);
            too_wide |= measure_text_width(&line) > size.columns;
            *lines += 1;
            *line_start += end + 1;
        }
        if !too_wide && *lines + LINES_RESERVED <= size.rows {
            return Ok(());
        }
        let bytes = std::mem::take(bytes);
        self.to = start_pager(pager).map_or_else(
            |_| To::Stdout(io::BufWriter::with_capacity(64 << 10, io::stdout())),
            To::Pager,
        );
        self.write_all(&bytes)
    }
}

fn start_pager(command: &str) -> io::Result<Child> {
    let mut shell = Command::new("sh");
    shell
        .args(["-c", &format!("exec {command}")])
        .stdin(Stdio::piped())
        .spawn()
}

impl Write for Screen {
    fn write(&mut self, buffer: &[u8]) -> io::Result<usize> {
        match &mut self.to {
            To::Stdout(out) => out.write(buffer),
            To::Held { bytes, .. } => {
                bytes.extend_from_slice(buffer);
                Ok(buffer.len())
            }
            To::Pager(child) => match &mut child.stdin {
                Some(stdin) => stdin.write(buffer),
                None => Err(io::ErrorKind::BrokenPipe.into()),
            },
            To::Closed => Err(io::ErrorKind::BrokenPipe.into()),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        match &mut self.to {
            To::Stdout(out) => out.flush(),
            To::Held { .. } => self.page_if_needed(),
            To::Pager(_) | To::Closed => Ok(()),
        }
    }
}

impl Drop for Screen {
    fn drop(&mut self) {
        // Reached without `close` when a statement was interrupted or failed half-way; that error
        // is the one to tell.
        drop(self.end());
    }
}
