//! The records of refs, the hints beside them, and `udr.json`.
//!
//! In: names, numbers, bytes. Out: whose record is there, and what is in it. Called by `refs` and
//! `repository`. Nothing here is cached: these are the only names whose bytes can appear later.

use bytes::Bytes;
use object_store::{ObjectStoreExt as _, PutMode};

use crate::error::{Error, ErrorKind, Result};
use crate::id::RecordNumber;
use crate::name::RefName;

use super::layout::Layout;
use super::readback::Created;
use super::{RefKind, Store, failure};

impl Store {
    /// Stores record `number` of a ref if there is none; durable when it returns.
    ///
    /// `bytes` must differ from those of any other attempt to make this record, which the
    /// transaction id in them sees to: equal bytes count as this attempt's own.
    ///
    /// # Errors
    ///
    /// `Indeterminate` if it cannot be found out whether the record is there, `Unavailable` only
    /// if nothing can have been stored, `Unsupported` if the store has no conditional writes or
    /// ignores them.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future leaves the outcome unknown; calling it again with the same bytes finds
    /// out.
    pub async fn create_record(
        &self,
        kind: RefKind,
        name: &RefName,
        number: RecordNumber,
        bytes: Bytes,
    ) -> Result<Created> {
        self.trust().await?;
        self.create(&self.inner.layout.record(kind, name, number), bytes)
            .await
    }

    /// Record `number` of a ref, if there is one.
    ///
    /// # Errors
    ///
    /// `Corrupt` if it is larger than a record may be; `Unavailable`.
    pub async fn get_record(
        &self,
        kind: RefKind,
        name: &RefName,
        number: RecordNumber,
    ) -> Result<Option<Bytes>> {
        self.read_small(&self.inner.layout.record(kind, name, number))
            .await
    }

    /// Notes that a ref has record `number`, for whoever looks for its head next. May be lost.
    ///
    /// # Errors
    ///
    /// `Unavailable`; nobody relies on a hint, so it can be ignored.
    pub async fn put_hint(
        &self,
        kind: RefKind,
        name: &RefName,
        number: RecordNumber,
    ) -> Result<()> {
        let path = self.inner.layout.hint(kind, name);
        let hint = Bytes::from(number.to_string());
        let put = match &self.inner.local {
            Some(local) => local.put_unsynced(&path, hint, PutMode::Overwrite).await,
            None => self.inner.backend.put(&path, hint.into()).await.map(drop),
        };
        put.map_err(|error| failure::explain_write(&error, &path))
    }

    /// Agrees on the number of the first record of a ref that was never used: notes `number` if
    /// nobody has noted one, and answers with what is noted.
    ///
    /// # Errors
    ///
    /// `Unavailable`; nothing can be seen of the ref then.
    pub async fn claim_hint(
        &self,
        kind: RefKind,
        name: &RefName,
        number: RecordNumber,
    ) -> Result<RecordNumber> {
        self.trust().await?;
        let path = self.inner.layout.hint(kind, name);
        let hint = Bytes::from(number.to_string());
        // On local disk a claim need not outlive the power: nor does anybody who has seen it, and
        // whoever comes later finds the record, or that there is none.
        if let Some(local) = &self.inner.local {
            let claim = local.put_unsynced(&path, hint.clone(), PutMode::Create);
            if claim.await.is_ok() {
                return Ok(number);
            }
        }
        match self.create(&path, hint).await {
            Ok(Created::Mine) => Ok(number),
            // What cannot be read is the same to everybody, and so is the answer to it.
            Ok(Created::Other(bytes)) => Ok(parse_hint(&bytes).unwrap_or(RecordNumber(0))),
            Err(error) if error.kind() == ErrorKind::Indeterminate => {
                Err(Error::unavailable("the name could not be claimed")
                    .with("name", name)
                    .with_source(error))
            }
            Err(error) => Err(error),
        }
    }

    /// A record that a ref has reached, if anybody noted one. A damaged hint is none.
    ///
    /// # Errors
    ///
    /// `Unavailable`.
    pub async fn get_hint(&self, kind: RefKind, name: &RefName) -> Result<Option<RecordNumber>> {
        let path = self.inner.layout.hint(kind, name);
        let read = || self.read_capped(&path, HINT_BYTES_MAX);
        match self.inner.retry.run(&self.inner.env, read).await {
            Ok(bytes) => Ok(bytes.and_then(|bytes| parse_hint(&bytes))),
            Err(object_store::Error::NotFound { .. }) => Ok(None),
            Err(error) => Err(failure::explain(&error, &path)),
        }
    }

    /// The last record of a ref, by listing all of them; for when there is no hint.
    ///
    /// # Errors
    ///
    /// `Unavailable`.
    pub async fn last_record(&self, kind: RefKind, name: &RefName) -> Result<Option<RecordNumber>> {
        Ok(self.list_records(kind, name).await?.pop())
    }

    /// The numbers of all records of a ref, in order.
    ///
    /// # Errors
    ///
    /// `Unavailable`.
    pub async fn list_records(&self, kind: RefKind, name: &RefName) -> Result<Vec<RecordNumber>> {
        let records = self
            .list_level(&self.inner.layout.ref_folder(kind, name))
            .await?
            .objects;
        let numbers = records
            .iter()
            .filter_map(|meta| Layout::number_of(&meta.location));
        let mut numbers = numbers.collect::<Vec<_>>();
        numbers.sort_unstable();
        Ok(numbers)
    }

    /// The refs that were ever created or are being created, by their folded names, in order.
    ///
    /// Costs one listing of as many names, however many records they have.
    ///
    /// # Errors
    ///
    /// `Unavailable`.
    pub async fn list_refs(&self, kind: RefKind) -> Result<Vec<RefName>> {
        let listed = self.list_level(&self.inner.layout.refs(kind)).await?;
        let mut names = listed
            .common_prefixes
            .iter()
            .filter_map(Layout::ref_of)
            .collect::<Vec<_>>();
        names.sort_unstable();
        Ok(names)
    }

    /// Stores `udr.json` if there is none; durable when it returns.
    ///
    /// # Errors
    ///
    /// As [`Store::create_record`].
    pub async fn create_repository(&self, bytes: Bytes) -> Result<Created> {
        self.create(&self.inner.layout.repository(), bytes).await
    }

    /// What is in `udr.json`, if there is one.
    ///
    /// # Errors
    ///
    /// `Corrupt` if it is larger than it may be; `Unavailable`.
    pub async fn get_repository(&self) -> Result<Option<Bytes>> {
        self.read_small(&self.inner.layout.repository()).await
    }
}

/// The most bytes of a hint.
const HINT_BYTES_MAX: u64 = 64;

fn parse_hint(bytes: &[u8]) -> Option<RecordNumber> {
    let digits = std::str::from_utf8(bytes).ok()?;
    // A sign, which a number may have elsewhere, is no digit.
    digits.bytes().all(|b| b.is_ascii_digit()).then_some(())?;
    digits
        .parse()
        .ok()
        .map(RecordNumber)
        .filter(|number| *number <= RecordNumber::MAX)
}
