//! A data file while it is written.
//!
//! In: bytes, through [`io::Write`]. Out: a file that [`Store::put_data_file`] gives its name.
//! Called by whoever writes Parquet. On local disk the bytes go to a temporary file in the folder
//! where they will stay, so that publishing copies nothing; for other stores they are spooled.
//!
//! [`Store::put_data_file`]: super::Store::put_data_file

use std::fmt;
use std::io::{self, Write};

use tempfile::SpooledTempFile;

use crate::id::{Digest, Epoch, TableId};

use super::local::LocalStage;

/// A data file that is being written; hashed on the way, removed if dropped.
#[must_use]
pub struct StagedFile {
    pub(super) table: TableId,
    pub(super) epoch: Epoch,
    pub(super) body: Body,
    hasher: Box<blake3::Hasher>,
    bytes: u64,
}

pub(super) enum Body {
    /// In the folder where it will stay.
    Local(LocalStage),
    /// In memory, then in the system's folder for temporary files.
    Spooled(SpooledTempFile),
}

impl StagedFile {
    pub(super) fn new(table: TableId, epoch: Epoch, body: Body) -> Self {
        Self {
            table,
            epoch,
            body,
            hasher: Box::default(),
            bytes: 0,
        }
    }

    /// How many bytes have been written.
    pub fn bytes(&self) -> u64 {
        self.bytes
    }

    /// The digest of what has been written.
    pub fn digest(&self) -> Digest {
        Digest::from(self.hasher.finalize())
    }
}

impl Write for StagedFile {
    fn write(&mut self, buf: &[u8]) -> io::Result<usize> {
        let written = match &mut self.body {
            Body::Local(file) => file.write(buf)?,
            Body::Spooled(file) => file.write(buf)?,
        };
        // `written` is at most the length of `buf`.
        self.hasher.update(buf.get(..written).unwrap_or(buf));
        self.bytes += written as u64;
        Ok(written)
    }

    fn flush(&mut self) -> io::Result<()> {
        match &mut self.body {
            Body::Local(file) => file.flush(),
            Body::Spooled(file) => file.flush(),
        }
    }
}

impl fmt::Debug for StagedFile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("StagedFile")
            .field("table", &self.table)
            .field("bytes", &self.bytes)
            .finish_non_exhaustive()
    }
}
