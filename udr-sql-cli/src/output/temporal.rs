//! Times in JSON, and whether all of them have a text.
//!
//! The engine writes a message in the place of a time that is out of every calendar's range, which
//! a program cannot tell from a value.

use std::sync::{Arc, OnceLock};

use arrow::array::Array;
use arrow::datatypes::FieldRef;
use arrow::error::ArrowError;
use arrow::json::writer::{Encoder, EncoderFactory, EncoderOptions, NullableEncoder};
use arrow::util::display::{ArrayFormatter, FormatOptions};

/// Writes times as the engine does, and remembers the first that has no text.
#[derive(Debug, Default)]
pub(super) struct Times {
    failed: Arc<OnceLock<String>>,
}

impl Times {
    /// Checks what was written so far.
    ///
    /// # Errors
    ///
    /// Why a value has no text.
    pub(super) fn check(&self) -> Result<(), ArrowError> {
        match self.failed.get() {
            Some(why) => Err(ArrowError::CastError(why.clone())),
            None => Ok(()),
        }
    }
}

impl EncoderFactory for Times {
    fn make_default_encoder<'a>(
        &self,
        _field: &'a FieldRef,
        array: &'a dyn Array,
        _options: &'a EncoderOptions,
    ) -> Result<Option<NullableEncoder<'a>>, ArrowError> {
        if !array.data_type().is_temporal() {
            return Ok(None);
        }
        let encoder = Time {
            formatter: ArrayFormatter::try_new(array, &FormatOptions::new())?,
            failed: Arc::clone(&self.failed),
        };
        let nulls = array.nulls().cloned();
        Ok(Some(NullableEncoder::new(Box::new(encoder), nulls)))
    }
}

struct Time<'a> {
    formatter: ArrayFormatter<'a>,
    failed: Arc<OnceLock<String>>,
}

impl Encoder for Time<'_> {
    fn encode(&mut self, row: usize, out: &mut Vec<u8>) {
        match self.formatter.value(row).try_to_string() {
            Ok(text) => {
                out.push(b'"');
                out.extend_from_slice(text.as_bytes());
                out.push(b'"');
            }
            Err(error) => {
                out.extend_from_slice(b"null");
                // The first one counts.
                self.failed.get_or_init(|| error.to_string());
            }
        }
    }
}
