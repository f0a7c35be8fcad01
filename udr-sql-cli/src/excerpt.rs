//! The line of a statement that an error is about, with the place marked.
//!
//! In: the statement and where the engine found the error. Out: two lines. Called by `run`.

use console::measure_text_width;
use datafusion::error::DataFusionError;
use udr_core::error::printable;

/// A longer line is not shown: it would not fit where it is read.
const LINE_CHARS_MAX: usize = 160;

/// The excerpt for an error, if the engine knows the place.
pub(crate) fn excerpt(sql: &str, error: &DataFusionError) -> Option<String> {
    let span = error.diagnostic()?.span?;
    let number = |n: u64| usize::try_from(n).ok()?.checked_sub(1);
    let line = sql.lines().nth(number(span.start.line)?)?;
    let chars = line.chars().count();
    let from = number(span.start.column)?;
    let to = if span.end.line == span.start.line {
        number(span.end.column)?
    } else {
        chars
    };
    if chars > LINE_CHARS_MAX || from >= chars {
        return None;
    }
    let part = |range: std::ops::Range<usize>| {
        printable(
            &line
                .chars()
                .skip(range.start)
                .take(range.len())
                .collect::<String>(),
        )
    };
    let before = measure_text_width(&part(0..from));
    let marked = measure_text_width(&part(from..to.clamp(from + 1, chars)));
    Some(format!(
        "{}\n{:before$}{:^<marked$}",
        printable(line),
        "",
        ""
    ))
}

#[cfg(test)]
mod tests {
    use datafusion::common::{Diagnostic, Location, Span};

    use super::*;

    fn error(start: (u64, u64), end: (u64, u64)) -> DataFusionError {
        let at = |(line, column)| Location { line, column };
        let span = Span::new(at(start), at(end));
        DataFusionError::Plan("no".into()).with_diagnostic(Diagnostic::new_error("no", Some(span)))
    }

    #[test]
    fn the_place_is_marked() {
        let sql = "SELECT 'ü',\n  nope FROM t";
        assert_eq!(
            excerpt(sql, &error((2, 3), (2, 7))).as_deref(),
            Some("  nope FROM t\n  ^^^^")
        );
        assert_eq!(
            excerpt(sql, &error((1, 8), (2, 7))).as_deref(),
            Some("SELECT 'ü',\n       ^^^^")
        );
    }

    #[test]
    fn a_place_outside_the_statement_is_not() {
        assert_eq!(excerpt("SELECT 1", &error((7, 1), (7, 2))), None);
        assert_eq!(excerpt("SELECT 1", &error((0, 0), (0, 0))), None);
        assert_eq!(excerpt("SELECT 1", &error((1, 50), (1, 51))), None);
        assert_eq!(
            excerpt("SELECT 1", &DataFusionError::Plan("no".into())),
            None
        );
    }
}
