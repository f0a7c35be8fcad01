//! Points in time: from literals and evaluated expressions to the one spelling that names hold.

use arrow::compute::kernels::cast_utils::string_to_datetime;
use chrono::{DateTime, SecondsFormat, Utc};
use datafusion::scalar::ScalarValue;
use udr_core::{Error, Result};

/// A point in time as RFC 3339 in UTC, which no branch or tag can be named like.
pub(crate) fn render(micros: i64) -> Result<String> {
    DateTime::<Utc>::from_timestamp_micros(micros)
        .map(|time| time.to_rfc3339_opts(SecondsFormat::AutoSi, true))
        .ok_or_else(|| {
            Error::invalid("the time is out of range").with("micros", micros.to_string())
        })
}

/// Reads a date or a time; without an offset it is UTC.
///
/// # Errors
///
/// `Invalid` if it is neither.
pub(crate) fn parse(text: &str) -> Result<i64> {
    // As a revision reads it; then whatever else the engine takes for a time.
    if let Some(micros) = udr_core::refs::parse_time(text.trim()) {
        return Ok(micros);
    }
    string_to_datetime(&Utc, text)
        .map(|time| time.timestamp_micros())
        .map_err(|e| {
            Error::invalid("not a point in time")
                .with("text", text)
                .with_hint("write it like '2026-01-31', '2026-01-31T12:00:00Z' or with an offset")
                .with_source(e)
        })
}

/// Microseconds since 1970, rounded down.
///
/// # Errors
///
/// `Invalid` if the value is no point in time.
pub(crate) fn micros(value: &ScalarValue) -> Result<i64> {
    let micros = match value {
        ScalarValue::Utf8(Some(text))
        | ScalarValue::Utf8View(Some(text))
        | ScalarValue::LargeUtf8(Some(text)) => Some(parse(text)?),
        ScalarValue::TimestampSecond(Some(time), _) => time.checked_mul(1_000_000),
        ScalarValue::TimestampMillisecond(Some(time), _) | ScalarValue::Date64(Some(time)) => {
            time.checked_mul(1_000)
        }
        ScalarValue::TimestampMicrosecond(Some(time), _) => Some(*time),
        ScalarValue::TimestampNanosecond(Some(time), _) => Some(time.div_euclid(1_000)),
        ScalarValue::Date32(Some(days)) => i64::from(*days).checked_mul(86_400_000_000),
        _ => None,
    };
    micros.ok_or_else(|| {
        Error::invalid("a version's time is no point in time")
            .with("value", value.to_string())
            .with("type", value.data_type().to_string())
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_spelling_of_one_moment_is_rendered_alike() {
        for text in [
            "2026-01-31T12:00:00Z",
            "2026-01-31 12:00:00",
            "2026-01-31T14:00:00+02:00",
            "2026-01-31 12:00:00.000",
            "2026-01-31 12:00",
            "2026-01-31 14:00:00 +02:00",
            "2026-01-31T14:00:00+0200",
        ] {
            assert_eq!(
                render(parse(text).unwrap()).unwrap(),
                "2026-01-31T12:00:00Z",
                "{text}"
            );
        }
        assert_eq!(
            render(parse("2026-01-31").unwrap()).unwrap(),
            "2026-01-31T00:00:00Z"
        );
        let fine = ScalarValue::TimestampNanosecond(Some(1_500), None);
        assert_eq!(
            render(micros(&fine).unwrap()).unwrap(),
            "1970-01-01T00:00:00.000001Z"
        );
        let before = ScalarValue::TimestampNanosecond(Some(-1), None);
        assert_eq!(micros(&before).unwrap(), -1);
        assert_eq!(
            micros(&ScalarValue::Date32(Some(1))).unwrap(),
            86_400_000_000
        );
    }

    #[test]
    fn what_is_no_moment_is_refused() {
        for value in [
            ScalarValue::Utf8(Some("main".into())),
            ScalarValue::Utf8(Some(String::new())),
            ScalarValue::Utf8(None),
            ScalarValue::Int64(Some(5)),
            ScalarValue::Null,
            ScalarValue::TimestampNanosecond(None, None),
            ScalarValue::TimestampSecond(Some(i64::MAX), None),
        ] {
            assert!(micros(&value).is_err(), "{value:?}");
        }
        assert!(render(i64::MAX).is_err());
    }
}
