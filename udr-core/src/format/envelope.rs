//! The frame around every JSON object: what it is, and which format version wrote it.

use std::cmp::Ordering;

use bytes::Bytes;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use super::Within;
use crate::error::{Error, Result};
use crate::id::Digest;

/// The format version that this build writes, and the newest it reads.
pub(super) const FORMAT_VERSION: u32 = 1;

/// A type that is stored as one JSON object of its own.
pub trait Stored: Serialize + DeserializeOwned {
    /// What the envelope calls it.
    const KIND: &'static str;

    /// Checks what the types alone cannot say; called after decoding and before encoding.
    ///
    /// # Errors
    ///
    /// `Corrupt`, saying which rule is broken.
    fn validate(&self) -> Result<()>;

    /// Says where its references lead, once what it was read from is known: a part of `home`, or
    /// an object of its own.
    ///
    /// # Errors
    ///
    /// `Corrupt` if one can lead nowhere.
    fn settle(&mut self, home: Option<Within>) -> Result<()> {
        let _ = home;
        Ok(())
    }
}

#[derive(Serialize)]
struct EnvelopeOut<'a> {
    udr: &'static str,
    format: u32,
    check: Digest,
    body: &'a RawValue,
}

#[derive(Deserialize)]
struct Header {
    udr: String,
    format: u32,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct EnvelopeIn<'a> {
    #[serde(rename = "udr")]
    _kind: String,
    #[serde(rename = "format")]
    _format: u32,
    check: Digest,
    #[serde(borrow)]
    body: &'a RawValue,
}

/// The bytes to store for `value`; equal values have equal bytes.
///
/// The digest of the body is part of them: ref records and `udr.json` are named by no digest that
/// their bytes could be held against.
///
/// # Errors
///
/// `Corrupt` if `value` does not validate, `Internal` if it cannot be written as JSON.
pub fn encode<T: Stored>(value: &T) -> Result<Bytes> {
    value.validate()?;
    let internal = |e: serde_json::Error| {
        Error::internal("cannot encode")
            .with("kind", T::KIND)
            .with_source(e)
    };
    let body = serde_json::value::to_raw_value(value).map_err(internal)?;
    let envelope = EnvelopeOut {
        udr: T::KIND,
        format: FORMAT_VERSION,
        check: Digest::of(body.get().as_bytes()),
        body: &body,
    };
    serde_json::to_vec(&envelope)
        .map(Bytes::from)
        .map_err(internal)
}

/// The validated value in `bytes`.
///
/// # Errors
///
/// `Unsupported` if a newer format version wrote it, `Corrupt` if it is anything but a valid
/// object of this kind.
pub fn decode<T: Stored>(bytes: &[u8]) -> Result<T> {
    let corrupt = |e: serde_json::Error| {
        Error::corrupt("not a valid object of its kind")
            .with("kind", T::KIND)
            .with_source(e)
    };
    // The header is read on its own first, so that an object of a newer version says so instead of
    // failing on what it has that this version does not know.
    let header: Header = serde_json::from_slice(bytes).map_err(corrupt)?;
    if header.udr != T::KIND {
        return Err(
            Error::corrupt("an object is of another kind than its reference says")
                .with("expected", T::KIND)
                .with("found", header.udr),
        );
    }
    match header.format.cmp(&FORMAT_VERSION) {
        Ordering::Greater => {
            return Err(Error::unsupported("written by a newer version of UDR")
                .with("kind", T::KIND)
                .with("format", header.format)
                .with("supported", FORMAT_VERSION)
                .with_hint("open it with a newer build"));
        }
        Ordering::Less => {
            return Err(Error::corrupt("there is no such format version")
                .with("kind", T::KIND)
                .with("format", header.format));
        }
        Ordering::Equal => {}
    }
    let envelope: EnvelopeIn<'_> = serde_json::from_slice(bytes).map_err(corrupt)?;
    let body = envelope.body.get();
    if Digest::of(body.as_bytes()) != envelope.check {
        return Err(Error::corrupt("an object has been altered").with("kind", T::KIND));
    }
    let body: T = serde_json::from_str(body).map_err(corrupt)?;
    body.validate()?;
    Ok(body)
}
