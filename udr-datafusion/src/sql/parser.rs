//! Text to a [`Statement`]: what only UDR has is parsed here, all else by DataFusion.

use datafusion::common::{DataFusionError, Result, not_impl_err, plan_err};
use datafusion::sql::parser::DFParserBuilder;
use datafusion::sql::sqlparser::keywords::Keyword;
use datafusion::sql::sqlparser::parser::ParserError;
use datafusion::sql::sqlparser::tokenizer::{Token, TokenWithSpan, Tokenizer};
use udr_core::Error;

use super::alter::alter_table;
use super::ast::Statement;
use super::clause;
use super::command::command;
use super::cursor::Cursor;
use super::dialect::UdrDialect;
use super::dml::head;
use super::evolving;
use super::external;
use super::layout;
use super::stack::Depth;
use super::subscribe::subscribe;

/// What of a session's settings the parser obeys.
#[derive(Debug, Clone, Copy)]
pub(crate) struct ParseOptions {
    /// How deeply expressions and queries may nest.
    pub(crate) recursion_limit: usize,
    /// Whether unquoted identifiers are folded to lower case.
    pub(crate) fold: bool,
}

impl Default for ParseOptions {
    fn default() -> Self {
        Self {
            recursion_limit: 50,
            fold: true,
        }
    }
}

/// Parses exactly one statement; a `;` may end it.
///
/// # Errors
///
/// The parser's, and `Invalid` if a version clause stands where none can be.
pub(crate) fn parse(sql: &str, options: ParseOptions) -> Result<Statement> {
    Depth::of(sql).call(|| parse_here(sql, options))
}

fn parse_here(sql: &str, options: ParseOptions) -> Result<Statement> {
    let tokens = Tokenizer::new(&UdrDialect, sql)
        .tokenize_with_location()
        .map_err(|e| DataFusionError::SQL(Box::new(ParserError::from(e)), None))?;
    let tokens = only_statement(tokens)?;
    let significant = tokens
        .iter()
        .filter(|t| !matches!(t.token, Token::Whitespace(_) | Token::EOF))
        .collect::<Vec<_>>();
    let mut cursor = Cursor::new(significant, options.fold);
    if let Some(query) = subscribe(&mut cursor)? {
        cursor.end()?;
        return parse_here(&query, options);
    }
    if let Some(command) = command(&mut cursor)? {
        cursor.end()?;
        return Ok(Statement::Command(command));
    }
    check_nesting(&tokens, options)?;
    let altered = alter_table(&tokens, options);
    if let Some(altered) = altered.map_err(|e| DataFusionError::SQL(Box::new(e), None))? {
        return Ok(Statement::Alter(Box::new(altered)));
    }
    let laid_out = layout::take(tokens, options);
    let (tokens, layout) = laid_out.map_err(|e| DataFusionError::SQL(Box::new(e), None))?;
    let (tokens, evolving) = evolving::take(tokens);
    let (tokens, found) = clause::normalize(tokens, options.fold);
    let tokens = head::normalize(tokens, options)?;
    let parsed = DFParserBuilder::new(tokens)
        .with_dialect(&UdrDialect)
        .with_recursion_limit(options.recursion_limit)
        .build()
        .and_then(|mut parser| parser.parse_statements());
    match parsed.map(|mut statements| (statements.pop_front(), statements.pop_front())) {
        Ok((Some(statement), None)) => Ok(match layout {
            _ if evolving => Statement::Evolving(Box::new(statement)),
            Some(layout) => Statement::LaidOut(Box::new(statement), layout),
            None => Statement::Sql(Box::new(statement)),
        }),
        Ok(_) => not_impl_err!("exactly one SQL statement is needed"),
        Err(parser) if found.misplaced || found.clauses => Err(external(
            Error::invalid("a version clause cannot stand here, or the statement is incomplete")
                .with("parser", parser.to_string())
                .with_hint(
                    "put it directly after the name of a table that is read, before the alias: \
                     `FROM t VERSION AS OF 42 AS x`",
                ),
        )),
        Err(parser) => Err(parser),
    }
}

/// The tokens of the only statement, without the `;` around it.
fn only_statement(tokens: Vec<TokenWithSpan>) -> Result<Vec<TokenWithSpan>> {
    let mut statement = Vec::with_capacity(tokens.len());
    let mut started = false;
    let mut ended = false;
    for token in tokens {
        match token.token {
            Token::SemiColon => ended |= started,
            Token::Whitespace(_) if !ended => statement.push(token),
            Token::Whitespace(_) | Token::EOF => {}
            _ if ended => {
                return not_impl_err!("The context currently only supports a single SQL statement");
            }
            _ => {
                started = true;
                statement.push(token);
            }
        }
    }
    if started {
        Ok(statement)
    } else {
        plan_err!("No SQL statements were provided in the query string")
    }
}

/// DataFusion's parser descends without a limit into `EXPLAIN EXPLAIN …`.
fn check_nesting(tokens: &[TokenWithSpan], options: ParseOptions) -> Result<()> {
    let explains = tokens
        .iter()
        .filter(|t| matches!(&t.token, Token::Word(word) if word.keyword == Keyword::EXPLAIN));
    if explains.count() > options.recursion_limit {
        return Err(DataFusionError::SQL(
            Box::new(ParserError::RecursionLimitExceeded),
            None,
        ));
    }
    Ok(())
}

#[cfg(test)]
mod tests;
