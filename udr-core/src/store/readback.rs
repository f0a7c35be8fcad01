//! Creating what must not exist yet, without believing the answer.
//!
//! In: a path and bytes that no other attempt has. Out: whose bytes are there. Called by `mod` for
//! ref records and for `udr.json`.
//!
//! The answer to a conditional write cannot be trusted (measured): a client library retries by
//! itself, so a create that landed is answered with "exists already" when the retry meets its own
//! object; a timeout says nothing; and some servers answer "exists already" although nothing is
//! stored. So after anything but a plain success:
//!
//! 1. Read the object back. Our bytes: the create landed. Others: somebody was first.
//! 2. Absent: create it again, with the same bytes. A first request that is still on its way may
//!    land at any time; then step 1 finds it.
//! 3. The attempts are used up: the outcome is unknown, unless every failure is known to have
//!    stored nothing.
//!
//! The local backend can fail after the bytes became visible and before they are durable. Then
//! seeing them proves nothing, and the outcome is unknown, too.

use bytes::Bytes;
use object_store::path::Path;
use object_store::{PutMode, PutOptions};

use crate::error::{Error, Result};

use super::{Store, failure};

/// The most bytes of a record or of `udr.json`.
pub(super) const RECORD_BYTES_MAX: u64 = 1 << 20;

/// Whose bytes a create found under the name.
#[derive(Debug, Clone, PartialEq, Eq)]
#[must_use]
pub enum Created {
    /// Ours: written by this call, or by an earlier attempt with the same bytes.
    Mine,
    /// Somebody else's.
    Other(Bytes),
}

impl Store {
    /// Stores `bytes` at `path` if nothing is there, and finds out what is.
    ///
    /// # Errors
    ///
    /// `Indeterminate` if it cannot be found out; `Unavailable` only if nothing can have been
    /// stored; `Unsupported` if the store has no conditional writes.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future leaves the outcome unknown; calling it again with the same bytes finds
    /// out.
    pub(super) async fn create(&self, path: &Path, bytes: Bytes) -> Result<Created> {
        if bytes.len() as u64 > RECORD_BYTES_MAX {
            return Err(Error::invalid("record is too large").with("bytes", bytes.len()));
        }
        let retry = self.inner.retry;
        let mut attempt = 1;
        let mut certain = true;
        loop {
            let options = PutOptions::from(PutMode::Create);
            let Err(error) = self
                .inner
                .backend
                .put_opts(path, bytes.clone().into(), options)
                .await
            else {
                return Ok(Created::Mine);
            };
            certain &= failure::stored_nothing(&error);
            if failure::may_be_undurable(&error) {
                return Err(unknown(path, &failure::explain(&error, path)));
            }
            let failed = failure::explain_write(&error, path);
            if certain && !failure::is_passing(&error) {
                return Err(failed);
            }
            match self.read_small(path).await {
                Ok(Some(found)) if found == bytes => return Ok(Created::Mine),
                Ok(Some(found)) => return Ok(Created::Other(found)),
                Ok(None) if retry.again(&self.inner.env, attempt).await => attempt += 1,
                Ok(None) if certain => return Err(failed),
                Ok(None) => return Err(unknown(path, &failed)),
                Err(error) => return Err(unknown(path, &error)),
            }
        }
    }

    /// The whole of a small object that may be absent.
    pub(super) async fn read_small(&self, path: &Path) -> Result<Option<Bytes>> {
        let read = || self.read_capped(path, RECORD_BYTES_MAX);
        match self.inner.retry.run(&self.inner.env, read).await {
            Ok(Some(bytes)) => Ok(Some(bytes)),
            Ok(None) => Err(Error::corrupt("object is larger than its kind may be")
                .with("object", path)
                .with("bytes_max", RECORD_BYTES_MAX)),
            Err(object_store::Error::NotFound { .. }) => Ok(None),
            Err(error) => Err(failure::explain(&error, path)),
        }
    }
}

fn unknown(path: &Path, cause: &Error) -> Error {
    Error::indeterminate("whether the record was stored is unknown")
        .with("path", path)
        .with("cause", cause)
}
