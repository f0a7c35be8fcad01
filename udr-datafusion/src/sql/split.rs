//! Cutting a script into statements, and knowing when one is complete.

use datafusion::sql::sqlparser::tokenizer::{Location, Token, TokenWithSpan, Tokenizer};
use udr_core::{Error, Result};

use super::dialect::UdrDialect;

/// Cuts `sql` at the semicolons that end statements.
///
/// Semicolons in strings, quoted names, comments and dollar quotes end nothing. Statements come
/// without their semicolon and without whitespace around them; what holds no token, such as a
/// comment alone, is no statement.
///
/// # Errors
///
/// `Invalid` if a string, a quoted name or a comment is not closed, or a character is not known.
pub fn split_statements(sql: &str) -> Result<Vec<String>> {
    let mut tokens = Vec::new();
    Tokenizer::new(&UdrDialect, sql)
        .tokenize_with_location_into_buf(&mut tokens)
        .map_err(|e| Error::invalid("the text is no SQL").with_source(e))?;
    let mut offsets = Offsets::new(sql);
    let mut statements = Vec::new();
    let mut start = 0;
    let mut significant = false;
    for token in &tokens {
        match token.token {
            Token::SemiColon => {
                let end = offsets.at(token.span.start);
                if significant {
                    statements.push(sql[start..end].trim().to_owned());
                }
                start = offsets.at(token.span.end);
                significant = false;
            }
            Token::Whitespace(_) | Token::EOF => {}
            _ => significant = true,
        }
    }
    if significant {
        statements.push(sql[start..].trim().to_owned());
    }
    Ok(statements)
}

/// Whether `sql` can be run as it is: its last statement ends with a `;`, or there is none.
///
/// For a prompt that reads until this is true. Text that no further line can mend is complete too,
/// so that its error is shown.
pub fn is_complete(sql: &str) -> bool {
    let mut tokens = Vec::<TokenWithSpan>::new();
    match Tokenizer::new(&UdrDialect, sql).tokenize_with_location_into_buf(&mut tokens) {
        Ok(()) => {}
        Err(error) => {
            let open = ["Unterminated", "EOF", "Expected close delimiter"];
            return !open.iter().any(|sign| error.message.contains(sign));
        }
    }
    let last = tokens
        .iter()
        .rev()
        .find(|t| !matches!(t.token, Token::Whitespace(_)));
    last.is_none_or(|t| t.token == Token::SemiColon)
}

/// Turns the tokenizer's lines and columns, which only grow, into byte offsets.
struct Offsets<'a> {
    rest: std::str::CharIndices<'a>,
    bytes: usize,
    location: Location,
}

impl<'a> Offsets<'a> {
    fn new(sql: &'a str) -> Self {
        Self {
            rest: sql.char_indices(),
            bytes: sql.len(),
            location: Location::new(1, 1),
        }
    }

    /// The offset of `location`, which must not be before one asked for earlier.
    fn at(&mut self, location: Location) -> usize {
        while (self.location.line, self.location.column) < (location.line, location.column) {
            match self.rest.next() {
                Some((_, '\n')) => self.location = Location::new(self.location.line + 1, 1),
                Some(_) => self.location.column += 1,
                None => return self.bytes,
            }
        }
        self.rest
            .clone()
            .next()
            .map_or(self.bytes, |(offset, _)| offset)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn semicolons_cut_only_between_statements() {
        let cases: &[(&str, &[&str])] = &[
            ("", &[]),
            ("  \n", &[]),
            (";;", &[]),
            ("-- nothing", &[]),
            ("/* a; b */ ; -- c;\n", &[]),
            ("SELECT 1", &["SELECT 1"]),
            ("SELECT 1; SELECT 2;", &["SELECT 1", "SELECT 2"]),
            ("SELECT ';', 'it''s;'; x", &["SELECT ';', 'it''s;'", "x"]),
            ("SELECT \"a;b\", `c;d`; x", &["SELECT \"a;b\", `c;d`", "x"]),
            (
                "SELECT $$a;b$$, $t$;$t$; x",
                &["SELECT $$a;b$$, $t$;$t$", "x"],
            ),
            ("SELECT E'\\';'; x", &["SELECT E'\\';'", "x"]),
            ("SELECT 1 -- a; b\n; x", &["SELECT 1 -- a; b", "x"]),
            (
                "SELECT /* ; /* ; */ ; */ 1; x",
                &["SELECT /* ; /* ; */ ; */ 1", "x"],
            ),
            (
                "BEGIN; INSERT INTO t VALUES ('ä€😀;');\r\nCOMMIT MESSAGE 'a;b';",
                &[
                    "BEGIN",
                    "INSERT INTO t VALUES ('ä€😀;')",
                    "COMMIT MESSAGE 'a;b'",
                ],
            ),
        ];
        for (sql, expected) in cases {
            assert_eq!(split_statements(sql).unwrap(), *expected, "{sql:?}");
        }
    }

    #[test]
    fn open_quotes_and_comments_are_refused() {
        for sql in [
            "SELECT 'a; b",
            "SELECT \"a",
            "SELECT 1 /* ;",
            "SELECT $$a;",
            "SELECT `a",
        ] {
            assert!(split_statements(sql).is_err(), "{sql:?}");
            assert!(!is_complete(sql), "{sql:?}");
        }
    }

    #[test]
    fn a_statement_is_complete_when_a_semicolon_ends_it() {
        for sql in [
            "",
            " -- c",
            "SELECT 1;",
            "SELECT 1; -- done",
            "SELECT ';';\n",
        ] {
            assert!(is_complete(sql), "{sql:?}");
        }
        for sql in [
            "SELECT 1",
            "SELECT 1; x",
            "SELECT ';'",
            "SELECT 1 -- ;",
            "SELECT 1 /* ; */",
        ] {
            assert!(!is_complete(sql), "{sql:?}");
        }
    }
}
