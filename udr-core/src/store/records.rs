//! The records of refs, the hints beside them, and `udr.json`.
//!
//! In: names, versions, bytes. Out: whose record is there, and what is in it. Called by `refs` and
//! `repository`. Nothing here is cached: these are the only names whose bytes can appear later.

use bytes::Bytes;
use object_store::{ObjectStoreExt as _, PutMode};

use crate::error::{Error, ErrorKind, Result};
use crate::id::Version;
use crate::name::RefName;

use super::layout::Layout;
use super::readback::Created;
use super::{RefKind, Store, failure};

impl Store {
    /// Stores record `version` of a ref if there is none; durable when it returns.
    ///
    /// `bytes` must differ from those of any other attempt to make this record, which the
    /// transaction id in them sees to: equal bytes count as this attempt's own.
    ///
    /// # Errors
    ///
    /// `Indeterminate` if it cannot be found out whether the record is there, `Unavailable` only
    /// if nothing can have been stored, `Unsupported` if the store has no conditional writes.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future leaves the outcome unknown; calling it again with the same bytes finds
    /// out.
    pub async fn create_record(
        &self,
        kind: RefKind,
        name: &RefName,
        version: Version,
        bytes: Bytes,
    ) -> Result<Created> {
        self.create(&self.inner.layout.record(kind, name, version), bytes)
            .await
    }

    /// Record `version` of a ref, if there is one.
    ///
    /// # Errors
    ///
    /// `Corrupt` if it is larger than a record may be; `Unavailable`.
    pub async fn get_record(
        &self,
        kind: RefKind,
        name: &RefName,
        version: Version,
    ) -> Result<Option<Bytes>> {
        self.read_small(&self.inner.layout.record(kind, name, version))
            .await
    }

    /// Notes that a ref has record `version`, for whoever looks for its head next. May be lost.
    ///
    /// # Errors
    ///
    /// `Unavailable`; nobody relies on a hint, so it can be ignored.
    pub async fn put_hint(&self, kind: RefKind, name: &RefName, version: Version) -> Result<()> {
        let path = self.inner.layout.hint(kind, name);
        let hint = Bytes::from(version.to_string());
        let put = match &self.inner.local {
            Some(local) => local.put_unsynced(&path, hint, PutMode::Overwrite).await,
            None => self.inner.backend.put(&path, hint.into()).await.map(drop),
        };
        put.map_err(|error| failure::explain_write(&error, &path))
    }

    /// Agrees on the version of the first record of a ref that was never used: notes `version` if
    /// nobody has noted one, and answers with what is noted.
    ///
    /// # Errors
    ///
    /// `Unavailable`; nothing can be seen of the ref then.
    pub async fn claim_hint(
        &self,
        kind: RefKind,
        name: &RefName,
        version: Version,
    ) -> Result<Version> {
        let path = self.inner.layout.hint(kind, name);
        let hint = Bytes::from(version.to_string());
        // On local disk a claim need not outlive the power: nor does anybody who has seen it, and
        // whoever comes later finds the record, or that there is none.
        if let Some(local) = &self.inner.local {
            let claim = local.put_unsynced(&path, hint.clone(), PutMode::Create);
            if claim.await.is_ok() {
                return Ok(version);
            }
        }
        match self.create(&path, hint).await {
            Ok(Created::Mine) => Ok(version),
            // What cannot be read is the same to everybody, and so is the answer to it.
            Ok(Created::Other(bytes)) => Ok(parse_hint(&bytes).unwrap_or(Version(0))),
            Err(error) if error.kind() == ErrorKind::Indeterminate => {
                Err(Error::unavailable("the name could not be claimed")
                    .with("name", name)
                    .with_source(error))
            }
            Err(error) => Err(error),
        }
    }

    /// A version that a ref has reached, if anybody noted one. A damaged hint is none.
    ///
    /// # Errors
    ///
    /// `Unavailable`.
    pub async fn get_hint(&self, kind: RefKind, name: &RefName) -> Result<Option<Version>> {
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
    pub async fn last_record(&self, kind: RefKind, name: &RefName) -> Result<Option<Version>> {
        Ok(self.list_records(kind, name).await?.pop())
    }

    /// The versions of all records of a ref, in order.
    ///
    /// # Errors
    ///
    /// `Unavailable`.
    pub async fn list_records(&self, kind: RefKind, name: &RefName) -> Result<Vec<Version>> {
        let records = self
            .list_level(&self.inner.layout.ref_folder(kind, name))
            .await?
            .objects;
        let versions = records
            .iter()
            .filter_map(|meta| Layout::version_of(&meta.location));
        let mut versions = versions.collect::<Vec<_>>();
        versions.sort_unstable();
        Ok(versions)
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

fn parse_hint(bytes: &[u8]) -> Option<Version> {
    std::str::from_utf8(bytes)
        .ok()?
        .parse()
        .ok()
        .map(Version)
        .filter(|v| *v <= Version::MAX)
}
