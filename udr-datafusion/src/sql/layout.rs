//! What a statement says of how rows are laid out: `PARTITIONED BY (…)`, `WRITE ORDERED BY …`,
//! `WRITE BLOOM FILTERS ON (…)`.

use datafusion::sql::sqlparser::ast::{
    Expr, FunctionArg, FunctionArgExpr, FunctionArguments, Ident, OrderByExpr, Value,
};
use datafusion::sql::sqlparser::keywords::Keyword;
use datafusion::sql::sqlparser::parser::{Parser, ParserError};
use datafusion::sql::sqlparser::tokenizer::{Token, TokenWithSpan};
use udr_core::format::Transform;

use super::clause::{is_any, is_word};
use super::dialect::UdrDialect;
use super::parser::ParseOptions;

type Parsed<T> = Result<T, ParserError>;

/// How the rows of a new table are laid out.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Layout {
    pub(crate) partition: Vec<PartitionTerm>,
    pub(crate) sort: Vec<SortTerm>,
    /// The columns that files have bloom filters for.
    pub(crate) filters: Vec<Ident>,
}

/// `transform(column) [AS name]`
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct PartitionTerm {
    pub(crate) column: Ident,
    pub(crate) transform: Transform,
    pub(crate) name: Option<Ident>,
}

/// `column [ASC|DESC] [NULLS FIRST|LAST]`
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct SortTerm {
    pub(crate) column: Ident,
    pub(crate) descending: bool,
    pub(crate) nulls_first: bool,
}

/// Takes what a CREATE TABLE says of the layout out of it, so that the engine's parser
/// understands the rest; nothing if it says nothing.
///
/// # Errors
///
/// The parser's, for a clause that is begun and wrong.
pub(super) fn take(
    tokens: Vec<TokenWithSpan>,
    options: ParseOptions,
) -> Parsed<(Vec<TokenWithSpan>, Option<Layout>)> {
    let places = tokens.iter().enumerate();
    let places = places.filter(|(_, t)| !matches!(t.token, Token::Whitespace(_) | Token::EOF));
    let places = places.map(|(place, _)| place).collect::<Vec<_>>();
    let token = |at: usize| places.get(at).map(|place| &tokens[*place].token);
    let is = |at: usize, word: &str| token(at).is_some_and(|token| is_word(token, word));
    let table = if is(1, "OR") { 3 } else { 1 };
    if !is(0, "CREATE") || !is(table, "TABLE") {
        return Ok((tokens, None));
    }
    let mut layout = None;
    let mut removed = Vec::new();
    let (mut at, mut depth) = (table, 0_usize);
    while let Some(found) = token(at) {
        match found {
            Token::LParen => depth += 1,
            Token::RParen => depth = depth.saturating_sub(1),
            _ => {}
        }
        if depth > 0 {
            at += 1;
            continue;
        }
        if is_any(found, &["AS", "SELECT"]) {
            break;
        }
        let by = usize::from(is(at, "WRITE"));
        let ordered = ["ORDERED", "SORTED"].iter().any(|word| is(at + by, word));
        let filters = ["WRITE", "BLOOM", "FILTERS", "ON"];
        let begins = if is_any(found, &["PARTITIONED", "PARTITION"]) && is(at + 1, "BY") {
            Some((at + 2, Clause::Partition))
        } else if ordered && is(at + by + 1, "BY") {
            Some((at + by + 2, Clause::Order))
        } else if filters.iter().zip(at..).all(|(word, at)| is(at, word)) {
            Some((at + filters.len(), Clause::Filters))
        } else {
            None
        };
        let Some((start, clause)) = begins else {
            at += 1;
            continue;
        };
        let Some(from) = places.get(start) else {
            break;
        };
        let mut parser = Parser::new(&UdrDialect)
            .with_recursion_limit(options.recursion_limit)
            .with_tokens_with_locations(tokens[*from..].to_vec());
        let said = layout.get_or_insert_with(Layout::default);
        match clause {
            Clause::Partition => said.partition.extend(partition_terms(&mut parser)?),
            Clause::Order => said.sort.extend(sort_terms(&mut parser)?),
            Clause::Filters => said.filters.extend(filter_columns(&mut parser)?),
        }
        let end = from + parser.index();
        removed.push(places[at]..end);
        at = places.partition_point(|place| *place < end);
    }
    if removed.is_empty() {
        return Ok((tokens, None));
    }
    let kept = tokens.into_iter().enumerate();
    let kept = kept.filter(|(place, _)| !removed.iter().any(|range| range.contains(place)));
    Ok((kept.map(|(_, token)| token).collect(), layout))
}

/// What a clause is about.
#[derive(Clone, Copy)]
enum Clause {
    Partition,
    Order,
    Filters,
}

/// `(column, …)`
pub(super) fn filter_columns(parser: &mut Parser<'_>) -> Parsed<Vec<Ident>> {
    parser.expect_token(&Token::LParen)?;
    let columns = parser.parse_comma_separated(Parser::parse_identifier)?;
    parser.expect_token(&Token::RParen)?;
    Ok(columns)
}

/// `(term, …)`
fn partition_terms(parser: &mut Parser<'_>) -> Parsed<Vec<PartitionTerm>> {
    parser.expect_token(&Token::LParen)?;
    let terms = parser.parse_comma_separated(partition_term)?;
    parser.expect_token(&Token::RParen)?;
    Ok(terms)
}

/// `column`, `transform(column)`, `bucket(n, column)`, each with `AS name` perhaps.
pub(super) fn partition_term(parser: &mut Parser<'_>) -> Parsed<PartitionTerm> {
    let expr = parser.parse_expr()?;
    let unknown = || {
        ParserError::ParserError(format!(
            "{expr} is not what a table can be partitioned by: a column, or year, month, day, hour, \
             bucket(n, column), truncate(n, column) of one"
        ))
    };
    let (column, transform) = term(&expr).ok_or_else(unknown)?;
    let name = match parser.parse_keyword(Keyword::AS) {
        true => Some(parser.parse_identifier()?),
        false => None,
    };
    Ok(PartitionTerm {
        column,
        transform,
        name,
    })
}

fn term(expr: &Expr) -> Option<(Ident, Transform)> {
    let function = match expr {
        Expr::Identifier(column) => return Some((column.clone(), Transform::Identity)),
        Expr::Function(function) => function,
        _ => return None,
    };
    let FunctionArguments::List(list) = &function.args else {
        return None;
    };
    let arguments = list.args.iter().map(|argument| match argument {
        FunctionArg::Unnamed(FunctionArgExpr::Expr(expr)) => Some(expr),
        _ => None,
    });
    let arguments = arguments.collect::<Option<Vec<_>>>()?;
    let number = |expr: &Expr| match expr {
        Expr::Value(value) => match &value.value {
            Value::Number(number, _) => number.to_string().parse::<u32>().ok(),
            _ => None,
        },
        _ => None,
    };
    let name = function.name.to_string().to_lowercase();
    let (column, number) = match arguments.as_slice() {
        [Expr::Identifier(column)] => (column, None),
        [first, Expr::Identifier(column)] => (column, Some(number(first)?)),
        [Expr::Identifier(column), second] => (column, Some(number(second)?)),
        _ => return None,
    };
    let transform = match (name.as_str(), number) {
        ("identity", None) => Transform::Identity,
        ("year" | "years", None) => Transform::Year,
        ("month" | "months", None) => Transform::Month,
        ("day" | "days" | "date", None) => Transform::Day,
        ("hour" | "hours" | "date_hour", None) => Transform::Hour,
        ("bucket", Some(count)) => Transform::Bucket(count),
        ("truncate", Some(width)) => Transform::Truncate(width),
        _ => return None,
    };
    Some((column.clone(), transform))
}

/// `column, …`, in parentheses or not.
pub(super) fn sort_terms(parser: &mut Parser<'_>) -> Parsed<Vec<SortTerm>> {
    let parentheses = parser.consume_token(&Token::LParen);
    let terms = parser.parse_comma_separated(|parser| {
        let term = parser.parse_order_by_expr()?;
        sort_term(&term).ok_or_else(|| {
            ParserError::ParserError(format!("a table is sorted by columns, and not by {term}"))
        })
    })?;
    if parentheses {
        parser.expect_token(&Token::RParen)?;
    }
    Ok(terms)
}

fn sort_term(term: &OrderByExpr) -> Option<SortTerm> {
    let Expr::Identifier(column) = &term.expr else {
        return None;
    };
    let descending = term.options.asc == Some(false);
    Some(SortTerm {
        column: column.clone(),
        descending,
        // As where an ORDER BY says nothing of it.
        nulls_first: term.options.nulls_first.unwrap_or(descending),
    })
}
