//! A data file on local disk while it is written.
//!
//! In: bytes. Out: them, if they are few, else a temporary file in the folder where it will stay,
//! so that publishing copies nothing. Called by `StagedFile`.

use std::io::{self, Write};
use std::sync::Arc;

use object_store::Result;
use object_store::path::Path;

use super::folder::Root;
use super::put::{self, ADDED_BYTES_MAX};
use super::temp::{Existing, TempFile};
use super::{blocking, place_of};

/// A file that is being written.
#[derive(Debug)]
pub(crate) struct LocalStage {
    root: Arc<Root>,
    folder: Path,
    body: Body,
}

#[derive(Debug)]
enum Body {
    Few(Vec<u8>),
    Many(TempFile),
}

/// What is to be published.
pub(crate) enum Staged {
    /// Few bytes, to be put like any others.
    Few(Vec<u8>),
    /// A file.
    Many(StagedTemp),
}

/// A whole file without its name.
pub(crate) struct StagedTemp {
    root: Arc<Root>,
    temp: TempFile,
}

impl LocalStage {
    pub(super) fn new(root: Arc<Root>, folder: Path) -> Self {
        Self {
            root,
            folder,
            body: Body::Few(Vec::new()),
        }
    }

    pub(crate) fn finish(self) -> Staged {
        match self.body {
            Body::Few(bytes) => Staged::Few(bytes),
            Body::Many(temp) => Staged::Many(StagedTemp {
                root: self.root,
                temp,
            }),
        }
    }
}

impl StagedTemp {
    /// Gives the file its name in the folder where it was staged, durably.
    pub(crate) async fn publish(self, path: &Path) -> Result<()> {
        let place = place_of(path)?;
        blocking(path, move || {
            put::finish(&self.root, self.temp, &place.name, Existing::Replace).map_err(Into::into)
        })
        .await
    }
}

impl Write for LocalStage {
    fn write(&mut self, buf: &[u8]) -> io::Result<usize> {
        if let Body::Few(bytes) = &mut self.body {
            if bytes.len() + buf.len() <= ADDED_BYTES_MAX {
                bytes.extend_from_slice(buf);
                return Ok(buf.len());
            }
            let temp = TempFile::create(&self.root, self.folder.as_ref())?;
            (&**temp.file()).write_all(bytes)?;
            self.body = Body::Many(temp);
        }
        match &self.body {
            Body::Many(temp) => (&**temp.file()).write(buf),
            Body::Few(_) => Ok(0),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
