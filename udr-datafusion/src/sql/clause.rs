//! Version clauses as tokens: every spelling becomes one that the parser knows.
//!
//! | written after a table's name | handed to the parser |
//! |---|---|
//! | `[FOR] VERSION AS OF x`, `[FOR] SYSTEM_VERSION AS OF x`, `AS OF VERSION x` | `AT (VERSION => x)` |
//! | `AS OF 'revision'` | `AT (REVISION => 'revision')` |
//! | `[FOR] TIMESTAMP AS OF e`, `AS OF TIMESTAMP e`, `AS OF SYSTEM TIME e` | `TIMESTAMP AS OF e` |
//! | `FOR SYSTEM_TIME AS OF e`, `AT (…)`, `BEFORE (…)`, `CHANGES (…)` | as written |
//!
//! Elsewhere the same words stay what they are (`SELECT version AS of FROM t` names a column
//! `of`), and `at`, `before` and `changes` stay usable as aliases.

use datafusion::sql::sqlparser::keywords::Keyword;
use datafusion::sql::sqlparser::tokenizer::{Token, TokenWithSpan, Word};

use super::cursor::{reference, string_literal};

/// Words after which a table's name comes.
const INTRODUCERS: &[&str] = &["FROM", "JOIN", "INTO", "UPDATE", "TABLE", "USING", "ONLY"];
/// Words that are no table's name where one could stand.
const NO_NAMES: &[&str] = &[
    "FROM", "JOIN", "INTO", "UPDATE", "TABLE", "USING", "ONLY", "SELECT", "DISTINCT", "LATERAL",
];
/// The most parts of a name that are looked back over.
const NAME_PARTS_MAX: usize = 8;
/// Words that start a version clause in the parser's eyes, and are good aliases in everybody's.
const ALIASES: &[&str] = &["AT", "BEFORE", "CHANGES"];

/// What was found in a statement's tokens.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub(super) struct Found {
    /// Something is there that is a version clause but for its place.
    pub(super) misplaced: bool,
    /// A version clause is there.
    pub(super) clauses: bool,
}

#[derive(Clone, Copy)]
enum Noun {
    Version,
    Time,
    /// `AS OF` and nothing more.
    Revision,
}

/// A clause from one significant token up to (without) its operand.
struct Clause {
    noun: Noun,
    operand: usize,
    /// `FOR SYSTEM_TIME AS OF`, which the parser knows.
    known: bool,
}

pub(super) fn is_word(token: &Token, expected: &str) -> bool {
    matches!(token, Token::Word(word)
        if word.quote_style.is_none() && word.value.eq_ignore_ascii_case(expected))
}

pub(super) fn is_any(token: &Token, expected: &[&str]) -> bool {
    expected.iter().any(|word| is_word(token, word))
}

/// Turns every spelling of a version clause in `tokens` into one that the parser knows.
pub(super) fn normalize(tokens: Vec<TokenWithSpan>, fold: bool) -> (Vec<TokenWithSpan>, Found) {
    let places = tokens
        .iter()
        .enumerate()
        .filter(|(_, t)| !matches!(t.token, Token::Whitespace(_) | Token::EOF))
        .map(|(place, _)| place)
        .collect::<Vec<_>>();
    let significant = places
        .iter()
        .map(|place| &tokens[*place])
        .collect::<Vec<_>>();
    let mut found = Found::default();
    // Edits in order: raw tokens from..to are replaced.
    let mut edits: Vec<(usize, usize, Vec<Token>)> = Vec::new();
    let mut at = 0;
    while at < significant.len() {
        let edit = match clause(&significant, at) {
            Some(clause) if follows_table_name(&significant, at) => {
                found.clauses = true;
                replacement(&significant, &clause)
            }
            Some(clause) => {
                found.misplaced |= has_literal(&significant, &clause);
                None
            }
            None => alias(&significant, at, fold).filter(|_| follows_table_name(&significant, at)),
        };
        match edit {
            Some((end, with)) => {
                edits.push((places[at], places[end - 1] + 1, with));
                at = end;
            }
            None => at += 1,
        }
    }
    (apply(tokens, edits), found)
}

/// Replaces ranges of tokens by others, which get the place of the first that they replace.
pub(super) fn apply(
    tokens: Vec<TokenWithSpan>,
    edits: Vec<(usize, usize, Vec<Token>)>,
) -> Vec<TokenWithSpan> {
    if edits.is_empty() {
        return tokens;
    }
    let mut edits = edits.into_iter().peekable();
    let mut result = Vec::with_capacity(tokens.len() + 8);
    let mut skip_to = 0;
    for (place, token) in tokens.into_iter().enumerate() {
        if let Some((_, to, with)) = edits.next_if(|(from, ..)| *from == place) {
            result.extend(
                with.into_iter()
                    .map(|new| TokenWithSpan::new(new, token.span)),
            );
            skip_to = to;
        }
        if place >= skip_to {
            result.push(token);
        }
    }
    result
}

/// Whether the token before `at` ends a table's name: words with dots between them, after a word
/// or a sign that a table's name follows.
fn follows_table_name(tokens: &[&TokenWithSpan], at: usize) -> bool {
    let mut start = at;
    for _ in 0..NAME_PARTS_MAX {
        let Some(name) = start.checked_sub(1).and_then(|place| tokens.get(place)) else {
            return false;
        };
        if !matches!(name.token, Token::Word(_)) || is_any(&name.token, NO_NAMES) {
            return false;
        }
        start -= 1;
        let Some(before) = start.checked_sub(1).and_then(|place| tokens.get(place)) else {
            return false;
        };
        match &before.token {
            Token::Period => start -= 1,
            Token::Comma | Token::LParen => return true,
            word => return is_any(word, INTRODUCERS),
        }
    }
    false
}

fn clause(tokens: &[&TokenWithSpan], at: usize) -> Option<Clause> {
    let is = |place: usize, word: &str| tokens.get(place).is_some_and(|t| is_word(&t.token, word));
    let as_of = |place: usize| is(place, "AS") && is(place + 1, "OF");
    let noun_at = if is(at, "FOR") { at + 1 } else { at };
    let noun = |place: usize| {
        if is(place, "VERSION") || is(place, "SYSTEM_VERSION") {
            Some(Noun::Version)
        } else if is(place, "TIMESTAMP") || (is(place, "SYSTEM_TIME") && place > at) {
            Some(Noun::Time)
        } else {
            None
        }
    };
    if let Some(noun) = noun(noun_at)
        && as_of(noun_at + 1)
    {
        return Some(Clause {
            noun,
            operand: noun_at + 3,
            known: is(noun_at, "SYSTEM_TIME"),
        });
    }
    if !as_of(at) {
        return None;
    }
    let operand = at + 2;
    if is(operand, "SYSTEM") && is(operand + 1, "TIME") {
        return Some(Clause {
            noun: Noun::Time,
            operand: operand + 2,
            known: false,
        });
    }
    // `AS of VERSION AS OF 1` names the table `of`, if anything.
    let starts = |place: usize| {
        tokens.get(place).is_some_and(|t| {
            starts_literal(&t.token)
                || (matches!(t.token, Token::Word(_)) && !is_word(&t.token, "AS"))
        })
    };
    match noun(operand) {
        Some(noun) if starts(operand + 1) => Some(Clause {
            noun,
            operand: operand + 1,
            known: false,
        }),
        _ if tokens.get(operand).is_some_and(|t| is_quoted(&t.token)) => Some(Clause {
            noun: Noun::Revision,
            operand,
            known: false,
        }),
        _ => None,
    }
}

/// A string or a quoted name, which cannot follow an alias.
fn is_quoted(token: &Token) -> bool {
    string_literal(token).is_some()
        || matches!(token, Token::Word(word) if word.quote_style.is_some())
}

fn starts_literal(token: &Token) -> bool {
    is_quoted(token) || matches!(token, Token::Number(..) | Token::LParen)
}

fn has_literal(tokens: &[&TokenWithSpan], clause: &Clause) -> bool {
    tokens
        .get(clause.operand)
        .is_some_and(|t| starts_literal(&t.token))
}

/// The end of what is replaced (a significant token's place) and the tokens to put there.
fn replacement(tokens: &[&TokenWithSpan], clause: &Clause) -> Option<(usize, Vec<Token>)> {
    if clause.known {
        return None;
    }
    let word = |value: &str| Token::make_keyword(value);
    let kind = match clause.noun {
        Noun::Time => {
            return Some((
                clause.operand,
                vec![word("TIMESTAMP"), word("AS"), word("OF")],
            ));
        }
        Noun::Version => "VERSION",
        Noun::Revision => "REVISION",
    };
    let Some((text, taken)) = reference(tokens.get(clause.operand..).unwrap_or_default()) else {
        // A placeholder or an expression: the parser or the rewriter refuses it.
        return Some((
            clause.operand,
            vec![word("VERSION"), word("AS"), word("OF")],
        ));
    };
    let operand = match &tokens[clause.operand].token {
        number @ Token::Number(..) if taken == 1 => number.clone(),
        _ => Token::SingleQuotedString(text),
    };
    let at = vec![
        word("AT"),
        Token::LParen,
        word(kind),
        Token::RArrow,
        operand,
        Token::RParen,
    ];
    Some((clause.operand + taken, at))
}

/// Quotes an alias that the parser would take for the start of a version clause.
fn alias(tokens: &[&TokenWithSpan], at: usize, fold: bool) -> Option<(usize, Vec<Token>)> {
    let Token::Word(word) = &tokens[at].token else {
        return None;
    };
    if !is_any(&tokens[at].token, ALIASES) {
        return None;
    }
    if let Some(next) = tokens.get(at + 1)
        && (next.token == Token::LParen || is_word(&next.token, "TIME"))
    {
        return None;
    }
    let value = if fold {
        word.value.to_ascii_lowercase()
    } else {
        word.value.clone()
    };
    let quoted = Word {
        value,
        quote_style: Some('"'),
        keyword: Keyword::NoKeyword,
    };
    Some((at + 1, vec![Token::Word(quoted)]))
}
