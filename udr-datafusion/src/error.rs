//! The way of UDR's errors through DataFusion's, and back.
//!
//! In: a [`udr_core::Error`] on its way into DataFusion, or whatever came out of it. Out: the other
//! one; the kind survives the trip, however deep it was wrapped. Called wherever the two meet.

use std::error::Error as StdError;
use std::sync::Arc;

use arrow::error::ArrowError;
use datafusion::error::DataFusionError;
use parquet::errors::ParquetError;
use udr_core::{Error, ErrorKind};

/// How deep a chain of causes is followed; a chain that refers to itself would never end.
const DEPTH_MAX: usize = 64;

/// Wraps a UDR error so that [`udr_error`] finds it again.
pub fn to_datafusion(error: Error) -> DataFusionError {
    DataFusionError::External(Box::new(error))
}

/// The UDR error inside `error`, wherever DataFusion, Arrow or Parquet put it.
pub fn udr_error(error: &DataFusionError) -> Option<&Error> {
    in_datafusion(error, 0)
}

/// Takes the UDR error out of `error`, or wraps what is no UDR error as an internal one.
///
/// An error that is wrapped too deep to be taken out keeps its kind, with the whole as its cause.
pub(crate) fn into_udr(error: DataFusionError) -> Error {
    let error = match error {
        DataFusionError::External(source) => match source.downcast::<Error>() {
            Ok(error) => return *error,
            Err(source) => DataFusionError::External(source),
        },
        other => other,
    };
    let (kind, message) = match udr_error(&error) {
        Some(inner) => (inner.kind(), inner.message().to_owned()),
        None => (ErrorKind::Internal, "the query engine failed".to_owned()),
    };
    Error::new(kind, message).with_source(error)
}

fn in_datafusion(error: &DataFusionError, depth: usize) -> Option<&Error> {
    if depth > DEPTH_MAX {
        return None;
    }
    match error {
        // The chain of causes follows only the first error of a collection.
        DataFusionError::Collection(errors) => errors
            .iter()
            .find_map(|error| in_datafusion(error, depth + 1)),
        error => error.source().and_then(|source| in_any(source, depth + 1)),
    }
}

fn in_any<'a>(error: &'a (dyn StdError + 'static), depth: usize) -> Option<&'a Error> {
    if depth > DEPTH_MAX {
        return None;
    }
    if let Some(error) = error.downcast_ref::<Error>() {
        return Some(error);
    }
    if let Some(error) = error.downcast_ref::<DataFusionError>() {
        return in_datafusion(error, depth + 1);
    }
    if let Some(error) = error.downcast_ref::<Arc<DataFusionError>>() {
        return in_datafusion(error, depth + 1);
    }
    // These say what they wrap in a variant, and not all of them as their cause.
    let wrapped: Option<&'a (dyn StdError + 'static)> = match (
        error.downcast_ref::<ArrowError>(),
        error.downcast_ref::<ParquetError>(),
    ) {
        (Some(ArrowError::ExternalError(inner)), _) => Some(inner.as_ref()),
        (Some(ArrowError::IoError(_, inner)), _) => Some(inner),
        (_, Some(ParquetError::External(inner))) => Some(inner.as_ref()),
        _ => match error.downcast_ref::<std::io::Error>() {
            Some(io) => io.get_ref().map(|inner| inner as &(dyn StdError + 'static)),
            None => None,
        },
    };
    wrapped
        .or_else(|| error.source())
        .and_then(|inner| in_any(inner, depth + 1))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn conflict() -> DataFusionError {
        to_datafusion(Error::conflict("both changed it"))
    }

    #[track_caller]
    fn assert_kept(error: &DataFusionError) {
        assert_eq!(
            udr_error(error).map(Error::kind),
            Some(ErrorKind::Conflict),
            "{error:?}"
        );
    }

    #[test]
    fn the_kind_survives_every_wrapping() {
        assert_kept(&conflict());
        assert_kept(&conflict().context("while committing").context("outer"));
        assert_kept(&DataFusionError::Shared(Arc::new(conflict())));
        assert_kept(&DataFusionError::Collection(vec![
            DataFusionError::Execution("first".to_owned()),
            conflict(),
        ]));
        let arrow = ArrowError::ExternalError(Box::new(conflict()));
        assert_kept(&DataFusionError::ArrowError(Box::new(arrow), None));
        let parquet = ParquetError::External(Box::new(Error::conflict("both changed it")));
        assert_kept(&DataFusionError::ParquetError(Box::new(parquet)));
        assert_kept(&DataFusionError::External(Box::new(std::io::Error::other(
            Error::conflict("both changed it"),
        ))));
        let nested = DataFusionError::External(Box::new(Arc::new(conflict().context("shared"))));
        assert_kept(&nested);
    }

    #[test]
    fn taking_it_out_keeps_the_kind_and_the_cause() {
        assert_eq!(into_udr(conflict()).message(), "both changed it");
        let deep = into_udr(conflict().context("while committing"));
        assert_eq!(deep.kind(), ErrorKind::Conflict);
        assert!(deep.source().is_some());
        let foreign = into_udr(DataFusionError::Execution("division by zero".to_owned()));
        assert_eq!(foreign.kind(), ErrorKind::Internal);
    }

    #[test]
    fn foreign_errors_are_not_taken_for_ours() {
        assert!(udr_error(&DataFusionError::Execution("other".to_owned())).is_none());
    }
}
