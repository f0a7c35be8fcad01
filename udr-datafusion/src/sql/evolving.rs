//! `WITH SCHEMA EVOLUTION` in an INSERT or a MERGE.

use datafusion::sql::sqlparser::tokenizer::{Token, TokenWithSpan};

use super::clause::is_word;

const CLAUSE: [&str; 3] = ["WITH", "SCHEMA", "EVOLUTION"];

/// Takes the clause out, wherever it stands; says whether it was there.
///
/// The three words cannot follow each other in anything else: a common table expression has `AS`
/// or its columns behind its name.
pub(super) fn take(mut tokens: Vec<TokenWithSpan>) -> (Vec<TokenWithSpan>, bool) {
    let places = tokens.iter().enumerate();
    let places = places.filter(|(_, t)| !matches!(t.token, Token::Whitespace(_)));
    let places = places.map(|(place, _)| place).collect::<Vec<_>>();
    let is = |three: &&[usize]| {
        let mut words = three.iter().zip(CLAUSE);
        words.all(|(place, word)| is_word(&tokens[*place].token, word))
    };
    let found = places.windows(CLAUSE.len()).find(is);
    let Some(&[first, .., last]) = found else {
        return (tokens, false);
    };
    tokens.drain(first..=last);
    (tokens, true)
}
