//! The frame around every JSON object: what it is, and which format version wrote it.

use bytes::Bytes;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use crate::error::{Error, Result};

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
}

#[derive(Serialize)]
struct EnvelopeOut<'a, T> {
    udr: &'static str,
    format: u32,
    body: &'a T,
}

#[derive(Deserialize)]
struct Header {
    udr: String,
    format: u32,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct EnvelopeIn<T> {
    #[serde(rename = "udr")]
    _kind: String,
    #[serde(rename = "format")]
    _format: u32,
    body: T,
}

/// The bytes to store for `value`; equal values have equal bytes.
///
/// # Errors
///
/// `Corrupt` if `value` does not validate, `Internal` if it cannot be written as JSON.
pub fn encode<T: Stored>(value: &T) -> Result<Bytes> {
    value.validate()?;
    let envelope = EnvelopeOut {
        udr: T::KIND,
        format: FORMAT_VERSION,
        body: value,
    };
    let bytes = serde_json::to_vec(&envelope).map_err(|e| {
        Error::internal("cannot encode")
            .with("kind", T::KIND)
            .with_source(e)
    })?;
    Ok(Bytes::from(bytes))
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
    if header.format > FORMAT_VERSION {
        return Err(Error::unsupported("written by a newer version of UDR")
            .with("kind", T::KIND)
            .with("format", header.format)
            .with("supported", FORMAT_VERSION)
            .with_hint("open it with a newer build"));
    }
    let envelope: EnvelopeIn<T> = serde_json::from_slice(bytes).map_err(corrupt)?;
    envelope.body.validate()?;
    Ok(envelope.body)
}
