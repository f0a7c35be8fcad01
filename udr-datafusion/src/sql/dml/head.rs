//! Clauses that the parser does not know, as tokens that it knows.
//!
//! | written | handed to the parser |
//! |---|---|
//! | `INSERT INTO t [AS a] [(columns)] [BY NAME] [REPLACE WHERE p] query` | `INSERT INTO t [(columns)] PARTITION (marks) query` |
//! | `UPDATE SET *`, `INSERT *` in MERGE | `UPDATE SET "mark" = "mark"`, `INSERT ("mark") ROW` |
//! | `DO NOTHING` in MERGE | the same with another mark |

use datafusion::common::{DataFusionError, Result};
use datafusion::sql::sqlparser::keywords::Keyword;
use datafusion::sql::sqlparser::parser::Parser;
use datafusion::sql::sqlparser::tokenizer::{Token, TokenWithSpan, Word};
use udr_core::Error;

use super::mark;
use crate::sql::clause::{apply, is_any, is_word};
use crate::sql::dialect::UdrDialect;
use crate::sql::external;
use crate::sql::parser::ParseOptions;

/// Raw tokens from..to become others.
type Edit = (usize, usize, Vec<Token>);

/// The tokens that mean something, and where each is among all.
struct Tokens<'a> {
    raw: &'a [TokenWithSpan],
    places: Vec<usize>,
}

impl Tokens<'_> {
    fn at(&self, place: usize) -> Option<&Token> {
        self.places.get(place).map(|raw| &self.raw[*raw].token)
    }

    fn is(&self, place: usize, word: &str) -> bool {
        self.at(place).is_some_and(|token| is_word(token, word))
    }

    fn are(&self, place: usize, words: &[&str]) -> bool {
        words
            .iter()
            .enumerate()
            .all(|(ahead, word)| self.is(place + ahead, word))
    }

    /// The place among all tokens, also just behind the last.
    fn raw(&self, place: usize) -> usize {
        self.places.get(place).copied().unwrap_or(self.raw.len())
    }

    fn copy(&self, from: usize, to: usize) -> Vec<Token> {
        self.raw[self.raw(from)..self.raw(to)]
            .iter()
            .map(|token| token.token.clone())
            .collect()
    }
}

fn name(value: &str) -> Token {
    Token::Word(Word {
        value: value.to_owned(),
        quote_style: Some('"'),
        keyword: Keyword::NoKeyword,
    })
}

fn word(value: &str) -> Token {
    Token::make_keyword(value)
}

/// Turns what the parser does not know into what it knows.
///
/// # Errors
///
/// `Invalid` if an INSERT's target has a version, `Unsupported` for `REPLACE USING` and its like.
pub(in crate::sql) fn normalize(
    tokens: Vec<TokenWithSpan>,
    options: ParseOptions,
) -> Result<Vec<TokenWithSpan>> {
    let places = tokens
        .iter()
        .enumerate()
        .filter(|(_, t)| !matches!(t.token, Token::Whitespace(_) | Token::EOF))
        .map(|(place, _)| place)
        .collect::<Vec<_>>();
    let significant = Tokens {
        raw: &tokens,
        places,
    };
    let mut edits: Vec<Edit> = Vec::new();
    let mut at = 0;
    while at < significant.places.len() {
        if let Some((from, to, with)) = action(&significant, at) {
            edits.push((significant.raw(from), significant.raw(to), with));
            at = to;
        } else if let Some(head) = insert(&significant, at, options)? {
            for (from, to, with) in head.edits {
                edits.push((significant.raw(from), significant.raw(to), with));
            }
            at = head.end;
        } else {
            at += 1;
        }
    }
    Ok(apply(tokens, edits))
}

/// The action of a MERGE behind `THEN` at `at`.
fn action(tokens: &Tokens<'_>, at: usize) -> Option<Edit> {
    if !tokens.is(at, "THEN") {
        return None;
    }
    let update = |mark| vec![name(mark), Token::Eq, name(mark)];
    let insert = |mark| vec![Token::LParen, name(mark), Token::RParen, word("ROW")];
    if tokens.are(at + 1, &["UPDATE", "SET"]) && tokens.at(at + 3) == Some(&Token::Mul) {
        return Some((at + 3, at + 4, update(mark::STAR)));
    }
    if tokens.is(at + 1, "INSERT") && tokens.at(at + 2) == Some(&Token::Mul) {
        return Some((at + 2, at + 3, insert(mark::STAR)));
    }
    if !tokens.are(at + 1, &["DO", "NOTHING"]) {
        return None;
    }
    let when = (0..at).rev().find(|place| tokens.is(*place, "WHEN"))?;
    let inserts =
        tokens.are(when + 1, &["NOT", "MATCHED"]) && !tokens.are(when + 3, &["BY", "SOURCE"]);
    let with = if inserts {
        [vec![word("INSERT")], insert(mark::NOTHING)].concat()
    } else {
        [vec![word("UPDATE"), word("SET")], update(mark::NOTHING)].concat()
    };
    Some((at + 1, at + 3, with))
}

/// The place behind `INSERT … INTO` or `REPLACE INTO` at `at`, where the target's name starts.
fn target(tokens: &Tokens<'_>, at: usize) -> Option<usize> {
    let mut place = at + 1;
    if tokens.is(at, "INSERT") {
        if tokens.is(place, "OR") {
            place += 2;
        }
        if tokens.is(place, "IGNORE") {
            place += 1;
        }
    } else if !tokens.is(at, "REPLACE") {
        return None;
    }
    let overwrite = tokens.is(place, "OVERWRITE");
    place += usize::from(overwrite);
    let into = tokens.is(place, "INTO");
    place += usize::from(into);
    if !overwrite && !into {
        return None;
    }
    Some(place + usize::from(tokens.is(place, "TABLE")))
}

/// What an INSERT begins with, up to its query.
struct Head {
    edits: Vec<Edit>,
    end: usize,
}

/// The edits of an INSERT, if one starts at `at`.
fn insert(tokens: &Tokens<'_>, at: usize, options: ParseOptions) -> Result<Option<Head>> {
    let Some(mut place) = target(tokens, at) else {
        return Ok(None);
    };
    if !matches!(tokens.at(place), Some(Token::Word(_))) {
        return Ok(None);
    }
    let first = place;
    place += 1;
    while tokens.at(place) == Some(&Token::Period) {
        place += 2;
    }
    refuse_version(tokens, first, place)?;
    let from = place;
    let mut columns = Vec::new();
    let mut marks = vec![name(mark::CLAUSES)];
    let mut add = |tokens: Vec<Token>| {
        marks.push(Token::Comma);
        marks.extend(tokens);
    };
    if tokens.is(place, "AS")
        && let Some(alias @ Token::Word(_)) = tokens.at(place + 1)
    {
        add(vec![name(mark::ALIAS), Token::Comma, alias.clone()]);
        place += 2;
    }
    loop {
        if tokens.are(place, &["BY", "NAME"]) {
            add(vec![name(mark::BY_NAME)]);
            place += 2;
        } else if tokens.are(place, &["REPLACE", "WHERE"]) {
            let end = expression(tokens, place + 2, options)?;
            let predicate = tokens.copy(place + 2, end);
            add([vec![name(mark::REPLACE), Token::Comma], predicate].concat());
            place = end;
        } else if tokens.are(place, &["REPLACE", "USING"]) || tokens.are(place, &["REPLACE", "ON"])
        {
            return Err(external(
                Error::unsupported("INSERT … REPLACE USING and REPLACE ON are not implemented")
                    .with_hint("use MERGE, or INSERT INTO t REPLACE WHERE predicate query"),
            ));
        } else if columns.is_empty()
            && let Some(end) = column_list(tokens, place)
        {
            columns = tokens.copy(place, end);
            place = end;
        } else {
            break;
        }
    }
    let mut edits = Vec::new();
    if marks.len() > 1 {
        let mut with = vec![space()];
        with.append(&mut columns);
        with.extend([space(), word("PARTITION"), Token::LParen]);
        with.append(&mut marks);
        with.extend([Token::RParen, space()]);
        edits.push((from, place, with));
    }
    edits.extend(closed(tokens, place));
    Ok(Some(Head { edits, end: place }))
}

/// Puts a SELECT in parentheses that has another clause of the INSERT behind it: the parser takes
/// the clause's first word for an alias.
fn closed(tokens: &Tokens<'_>, at: usize) -> Vec<Edit> {
    if !tokens.is(at, "SELECT") {
        return Vec::new();
    }
    let mut depth = 0_usize;
    let end = (at..tokens.places.len()).find(|place| {
        match tokens.at(*place) {
            Some(Token::LParen) => depth += 1,
            Some(Token::RParen) => depth = depth.saturating_sub(1),
            _ => {}
        }
        let conflict = tokens.is(*place, "ON")
            && (tokens.is(place + 1, "CONFLICT") || tokens.is(place + 1, "DUPLICATE"));
        depth == 0 && (conflict || tokens.is(*place, "RETURNING"))
    });
    match end {
        Some(end) => vec![
            (at, at, vec![Token::LParen]),
            (end, end, vec![Token::RParen, space()]),
        ],
        None => Vec::new(),
    }
}

fn space() -> Token {
    Token::Whitespace(datafusion::sql::sqlparser::tokenizer::Whitespace::Space)
}

/// The place behind a list of columns that starts at `at`; a query in parentheses is none.
fn column_list(tokens: &Tokens<'_>, at: usize) -> Option<usize> {
    const QUERIES: &[&str] = &["SELECT", "WITH", "VALUES", "FROM", "TABLE"];
    if tokens.at(at) != Some(&Token::LParen) {
        return None;
    }
    let inside = tokens.at(at + 1)?;
    let query = is_any(inside, QUERIES) && tokens.at(at + 2) != Some(&Token::RParen);
    if query || !matches!(inside, Token::Word(_)) {
        return None;
    }
    let end = (at..tokens.places.len()).find(|p| tokens.at(*p) == Some(&Token::RParen))?;
    Some(end + 1)
}

/// The place behind the expression that starts at `at`.
fn expression(tokens: &Tokens<'_>, at: usize, options: ParseOptions) -> Result<usize> {
    let start = tokens.raw(at);
    let mut parser = Parser::new(&UdrDialect)
        .with_recursion_limit(options.recursion_limit)
        .with_tokens_with_locations(tokens.raw[start..].to_vec());
    parser
        .parse_expr()
        .map_err(|error| DataFusionError::SQL(Box::new(error), None))?;
    let end = start + parser.index();
    Ok(tokens.places.partition_point(|raw| *raw < end))
}

/// A statement changes the head of the session's branch, and no other version.
fn refuse_version(tokens: &Tokens<'_>, first: usize, behind: usize) -> Result<()> {
    const NOUNS: &[&str] = &["VERSION", "SYSTEM_VERSION", "TIMESTAMP", "SYSTEM_TIME"];
    let noun = behind + usize::from(tokens.is(behind, "FOR"));
    let said = tokens.at(noun).is_some_and(|t| is_any(t, NOUNS)) && tokens.is(noun + 1, "AS");
    let at = tokens.is(behind, "AT") && tokens.at(behind + 1) == Some(&Token::LParen);
    if !said && !at {
        return Ok(());
    }
    let table = tokens.copy(first, behind);
    let table = table.iter().map(ToString::to_string).collect::<String>();
    Err(external(
        Error::invalid("only the session's own branch can be written, at its newest version")
            .with("table", table.trim())
            .with_hint("USE BRANCH switches to another branch; leave the version clause out"),
    ))
}
