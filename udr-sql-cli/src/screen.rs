//! Where results go: standard output, or a pager if they are bigger than the screen.
//!
//! In: the bytes of one result. Out: the same, on the terminal or through `$PAGER`. Called by `run`.

use std::io::{self, Stdout, Write};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use console::{Term, measure_text_width};

use crate::environment::Environment;
use crate::interrupt::{Interrupts, Lent};

/// `-F` leaves at once if it fits after all, `-R` keeps colours, `-S` scrolls sideways, `-X` leaves
/// the result on the screen.
const PAGER: &str = "less -FRSX";

/// What a shell ends with if it cannot run the command.
const CANNOT_RUN: [i32; 2] = [126, 127];

/// How much a pipe takes before somebody has to read: after more than that the pager is running.
const PIPE_BYTES_MAX: usize = 1 << 20;

/// The lines that the prompt and the timing take.
const LINES_RESERVED: usize = 3;

/// Rows and columns of a terminal that does not know its size.
const SIZE_FALLBACK: (u16, u16) = (24, 80);

/// The program that shows big results.
#[derive(Debug, Clone)]
pub(crate) struct Pager {
    command: String,
    /// Whether it can be run, as far as is known.
    works: Arc<AtomicBool>,
    interrupts: Interrupts,
}

impl Pager {
    /// The one that the environment names; `None` if it names none.
    pub(crate) fn of(environment: &Environment, interrupts: &Interrupts) -> Option<Self> {
        let command = environment.pager.as_deref().unwrap_or(PAGER).trim();
        (!command.is_empty() && command != "cat").then(|| Self {
            command: command.to_owned(),
            works: Arc::new(AtomicBool::new(true)),
            interrupts: interrupts.clone(),
        })
    }

    fn start(&self) -> io::Result<Paging> {
        let child = Command::new("sh")
            .args(["-c", &format!("exec {}", self.command)])
            .stdin(Stdio::piped())
            .spawn()?;
        Ok(Paging {
            child,
            written: Some(Vec::new()),
            works: Arc::clone(&self.works),
            _lent: self.interrupts.lend(),
        })
    }
}

/// The pager, running.
#[derive(Debug)]
struct Paging {
    child: Child,
    /// What was written, as long as it is not known whether anybody reads.
    written: Option<Vec<u8>>,
    works: Arc<AtomicBool>,
    _lent: Lent,
}

impl Paging {
    fn write(&mut self, buffer: &[u8]) -> io::Result<usize> {
        let Some(stdin) = &mut self.child.stdin else {
            return Err(io::ErrorKind::BrokenPipe.into());
        };
        let taken = stdin.write(buffer)?;
        let written = self.written.take();
        self.written = written
            .filter(|written| written.len() + taken <= PIPE_BYTES_MAX)
            .map(|mut written| {
                written.extend_from_slice(&buffer[..taken]);
                written
            });
        Ok(taken)
    }

    /// Waits until the person has left; what was written, if there was no pager to read it.
    fn end(&mut self) -> io::Result<Option<Vec<u8>>> {
        drop(self.child.stdin.take());
        let code = self.child.wait()?.code();
        if !code.is_some_and(|code| CANNOT_RUN.contains(&code)) {
            return Ok(None);
        }
        self.works.store(false, Ordering::Relaxed);
        Ok(self.written.take())
    }
}

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
        pager: Pager,
    },
    Pager(Paging),
    Closed,
}

#[derive(Debug, Clone, Copy)]
struct Size {
    rows: usize,
    columns: usize,
}

fn stdout() -> To {
    To::Stdout(io::BufWriter::with_capacity(64 << 10, io::stdout()))
}

impl Screen {
    /// Writes to standard output as it comes.
    pub(crate) fn plain() -> Self {
        Self { to: stdout() }
    }

    /// Writes to the terminal what fits on it, and anything bigger to the pager.
    pub(crate) fn paged(pager: &Pager) -> Self {
        if !pager.works.load(Ordering::Relaxed) {
            return Self::plain();
        }
        let (rows, columns) = Term::stdout().size_checked().unwrap_or(SIZE_FALLBACK);
        let size = Size {
            rows: usize::from(rows),
            columns: usize::from(columns),
        };
        Self {
            to: To::Held {
                bytes: Vec::new(),
                line_start: 0,
                lines: 0,
                size,
                pager: pager.clone(),
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
        let rest = match std::mem::replace(&mut self.to, To::Closed) {
            To::Stdout(mut out) => return out.flush(),
            To::Held { bytes, .. } => Some(bytes),
            To::Pager(mut paging) => paging.end()?,
            To::Closed => None,
        };
        let Some(bytes) = rest else { return Ok(()) };
        let mut out = io::stdout();
        out.write_all(&bytes)?;
        out.flush()
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
        self.to = pager.start().map_or_else(|_| stdout(), To::Pager);
        self.write_all(&bytes)
    }
}

impl Write for Screen {
    fn write(&mut self, buffer: &[u8]) -> io::Result<usize> {
        match &mut self.to {
            To::Stdout(out) => out.write(buffer),
            To::Held { bytes, .. } => {
                bytes.extend_from_slice(buffer);
                Ok(buffer.len())
            }
            To::Pager(paging) => {
                let written = paging.write(buffer);
                let Err(error) = &written else {
                    return written;
                };
                if error.kind() != io::ErrorKind::BrokenPipe {
                    return written;
                }
                let Some(unread) = paging.end()? else {
                    return written;
                };
                // There is no such pager.
                self.to = stdout();
                self.write_all(&unread)?;
                self.write(buffer)
            }
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
