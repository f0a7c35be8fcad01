//! A reader over the tokens of one statement.

use datafusion::common::TableReference;
use datafusion::common::{DataFusionError, Result};
use datafusion::sql::sqlparser::parser::ParserError;
use datafusion::sql::sqlparser::tokenizer::{Token, TokenWithSpan};

/// The longest name or revision that is read from unquoted tokens.
const REFERENCE_TOKENS_MAX: usize = 64;

/// Reads tokens that are neither whitespace nor comments.
#[derive(Debug)]
pub(super) struct Cursor<'a> {
    tokens: Vec<&'a TokenWithSpan>,
    next: usize,
    /// Whether unquoted identifiers are folded to lower case.
    fold: bool,
}

/// What makes up an unquoted branch, tag or revision, such as `feature/x-1`, `main~2`, `v1.2`.
fn belongs_to_reference(token: &Token) -> bool {
    match token {
        Token::Word(word) => word.quote_style.is_none(),
        Token::Number(..) | Token::Minus | Token::Div | Token::Period | Token::Tilde => true,
        Token::Colon => true,
        _ => false,
    }
}

/// The text of a string literal, whichever way it is quoted.
pub(super) fn string_literal(token: &Token) -> Option<&str> {
    match token {
        Token::SingleQuotedString(text)
        | Token::EscapedStringLiteral(text)
        | Token::NationalStringLiteral(text)
        | Token::UnicodeStringLiteral(text)
        | Token::SingleQuotedRawStringLiteral(text) => Some(text),
        Token::DollarQuotedString(text) => Some(&text.value),
        _ => None,
    }
}

/// Reads one branch, tag or revision from `tokens`: a string literal, a quoted identifier, or
/// unquoted tokens without whitespace between them. Returns the text and how many tokens it took.
pub(super) fn reference(tokens: &[&TokenWithSpan]) -> Option<(String, usize)> {
    let first = tokens.first()?;
    if let Some(text) = string_literal(&first.token) {
        return Some((text.to_owned(), 1));
    }
    if let Token::Word(word) = &first.token
        && word.quote_style.is_some()
    {
        return Some((word.value.clone(), 1));
    }
    if !matches!(first.token, Token::Word(_) | Token::Number(..)) {
        return None;
    }
    let mut text = first.token.to_string();
    let mut taken = 1;
    for pair in tokens.windows(2).take(REFERENCE_TOKENS_MAX) {
        let adjacent = pair[0].span.end == pair[1].span.start;
        if !adjacent || !belongs_to_reference(&pair[1].token) {
            break;
        }
        text.push_str(&pair[1].token.to_string());
        taken += 1;
    }
    Some((text, taken))
}

impl<'a> Cursor<'a> {
    /// Starts at the first of `tokens`, which are significant and hold no `;`.
    pub(super) fn new(tokens: Vec<&'a TokenWithSpan>, fold: bool) -> Self {
        Self {
            tokens,
            next: 0,
            fold,
        }
    }

    fn peek(&self, ahead: usize) -> Option<&'a Token> {
        self.tokens.get(self.next + ahead).map(|t| &t.token)
    }

    /// Whether the token `ahead` of the next one is this unquoted word.
    pub(super) fn is(&self, ahead: usize, expected: &str) -> bool {
        matches!(self.peek(ahead), Some(Token::Word(word))
            if word.quote_style.is_none() && word.value.eq_ignore_ascii_case(expected))
    }

    /// Whether the words come next.
    pub(super) fn starts_with(&self, words: &[&str]) -> bool {
        words.iter().enumerate().all(|(i, word)| self.is(i, word))
    }

    /// Takes the words if they come next, all of them or none.
    pub(super) fn take(&mut self, words: &[&str]) -> bool {
        let found = self.starts_with(words);
        if found {
            self.next += words.len();
        }
        found
    }

    /// Takes one of the words, if one of them comes next.
    pub(super) fn take_any(&mut self, words: &[&str]) -> bool {
        words.iter().any(|word| self.take(&[word]))
    }

    /// Skips tokens that were looked at.
    pub(super) fn skip(&mut self, tokens: usize) {
        self.next += tokens;
    }

    /// Takes the token if it comes next.
    pub(super) fn take_token(&mut self, token: &Token) -> bool {
        let found = self.peek(0) == Some(token);
        if found {
            self.next += 1;
        }
        found
    }

    /// Whether all tokens were read, or the one `ahead` is past the end.
    pub(super) fn ends_after(&self, ahead: usize) -> bool {
        self.peek(ahead).is_none()
    }

    /// Checks that nothing is left.
    pub(super) fn end(&self) -> Result<()> {
        if self.ends_after(0) {
            Ok(())
        } else {
            self.unexpected("end of statement")
        }
    }

    /// Reads a string literal.
    pub(super) fn string(&mut self, what: &str) -> Result<String> {
        match self.peek(0).and_then(string_literal) {
            Some(text) => {
                self.next += 1;
                Ok(text.to_owned())
            }
            None => self.unexpected(what),
        }
    }

    /// Reads a whole number.
    pub(super) fn number(&mut self, what: &str) -> Result<usize> {
        match self.peek(0) {
            Some(Token::Number(digits, false)) if let Ok(number) = digits.parse() => {
                self.next += 1;
                Ok(number)
            }
            _ => self.unexpected(what),
        }
    }

    /// Reads an identifier, folded unless quoted.
    pub(super) fn identifier(&mut self, what: &str) -> Result<String> {
        match self.peek(0) {
            Some(Token::Word(word)) => {
                self.next += 1;
                let fold = self.fold && word.quote_style.is_none();
                Ok(if fold {
                    word.value.to_ascii_lowercase()
                } else {
                    word.value.clone()
                })
            }
            _ => self.unexpected(what),
        }
    }

    /// Reads a table's name of one to three parts.
    pub(super) fn table(&mut self) -> Result<TableReference> {
        let mut parts = vec![self.identifier("a table's name")?];
        while self.take_token(&Token::Period) {
            parts.push(self.identifier("a table's name")?);
        }
        match <[String; 1]>::try_from(parts) {
            Ok([table]) => Ok(TableReference::bare(table)),
            Err(parts) => match <[String; 2]>::try_from(parts) {
                Ok([schema, table]) => Ok(TableReference::partial(schema, table)),
                Err(parts) => match <[String; 3]>::try_from(parts) {
                    Ok([catalog, schema, table]) => {
                        Ok(TableReference::full(catalog, schema, table))
                    }
                    Err(_) => self.unexpected("a table's name of at most three parts"),
                },
            },
        }
    }

    /// Reads a branch, a tag or a revision.
    pub(super) fn reference(&mut self, what: &str) -> Result<String> {
        match reference(self.tokens.get(self.next..).unwrap_or_default()) {
            Some((text, taken)) => {
                self.next += taken;
                Ok(text)
            }
            None => self.unexpected(what),
        }
    }

    /// The parser's usual error.
    pub(super) fn unexpected<T>(&self, expected: &str) -> Result<T> {
        let message = match self.tokens.get(self.next) {
            Some(found) => format!("Expected: {expected}, found: {found}{}", found.span.start),
            None => format!("Expected: {expected}, found: EOF"),
        };
        Err(DataFusionError::SQL(
            Box::new(ParserError::ParserError(message)),
            None,
        ))
    }
}
