//! ALTER TABLE and COMMENT ON, with columns at any depth and in every dialect's spelling.

use std::fmt;

use datafusion::sql::sqlparser::ast::{
    AlterTableOperation, DataType, Expr, Ident, ObjectName, ObjectNamePart,
};
use datafusion::sql::sqlparser::keywords::Keyword;
use datafusion::sql::sqlparser::parser::{Parser, ParserError};
use datafusion::sql::sqlparser::tokenizer::{Token, TokenWithSpan};

use super::clause::is_word;
use super::dialect::UdrDialect;
use super::layout::{PartitionTerm, SortTerm, filter_columns, partition_term, sort_terms};
use super::parser::ParseOptions;

type Parsed<T> = Result<T, ParserError>;

/// `ALTER TABLE [IF EXISTS] name operation, …`; `COMMENT ON` is one, too.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct AlterTable {
    pub(crate) name: ObjectName,
    pub(crate) if_exists: bool,
    pub(crate) operations: Vec<Operation>,
    /// The statement as written, without needless space.
    text: String,
}

/// One change of a table's definition, as written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Operation {
    /// `ADD [COLUMN] [IF NOT EXISTS] path type …`
    Add(NewColumn),
    /// `DROP [COLUMN] [IF EXISTS] path`
    Drop { path: Vec<Ident>, if_exists: bool },
    /// `RENAME [COLUMN] path TO name`
    Rename { path: Vec<Ident>, to: Ident },
    /// `ALTER [COLUMN] path …`
    Alter { path: Vec<Ident>, change: Change },
    /// `ADD PARTITION FIELD term`
    AddPartition(PartitionTerm),
    /// `DROP PARTITION FIELD term`
    DropPartition(PartitionTerm),
    /// `WRITE ORDERED BY column, …`, `WRITE UNORDERED`
    SortBy(Vec<SortTerm>),
    /// `WRITE BLOOM FILTERS ON (column, …)`, `WRITE NO BLOOM FILTERS`
    Filters(Vec<Ident>),
    /// What is not about a column.
    Other(AlterTableOperation),
}

/// A column to be added.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct NewColumn {
    pub(crate) path: Vec<Ident>,
    pub(crate) if_not_exists: bool,
    pub(crate) data_type: DataType,
    pub(crate) not_null: bool,
    pub(crate) default: Option<Expr>,
    pub(crate) comment: Option<String>,
    pub(crate) place: Option<Place>,
}

/// What becomes of a column.
#[derive(Debug, Clone, PartialEq, Eq)]
#[expect(
    clippy::large_enum_variant,
    reason = "a statement has few of them, and they are taken apart at once"
)]
pub(crate) enum Change {
    /// `[SET DATA] TYPE type`
    Type(DataType),
    /// `SET NOT NULL`, `DROP NOT NULL`
    NotNull { set: bool },
    /// `SET DEFAULT value`, `DROP DEFAULT`
    Default(Option<Expr>),
    /// `COMMENT 'text'`, `COMMENT NULL`
    Comment(Option<String>),
    /// `FIRST`, `AFTER column`
    Place(Place),
}

/// Where a column stands among its siblings.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Place {
    First,
    After(Ident),
}

impl fmt::Display for AlterTable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

/// The statement, if it is one of these; `None` also for what cannot be understood, which the
/// engine's parser then says.
///
/// # Errors
///
/// The parser's, for an operation on a column that is begun and wrong.
pub(super) fn alter_table(
    tokens: &[TokenWithSpan],
    options: ParseOptions,
) -> Parsed<Option<AlterTable>> {
    let mut parser = Parser::new(&UdrDialect)
        .with_recursion_limit(options.recursion_limit)
        .with_tokens_with_locations(tokens.to_vec());
    let found = if parser.parse_keywords(&[Keyword::ALTER, Keyword::TABLE]) {
        alter(&mut parser)?
    } else if parser.parse_keywords(&[Keyword::COMMENT, Keyword::ON, Keyword::COLUMN]) {
        comment(&mut parser)?
    } else {
        None
    };
    Ok(found.map(|(name, if_exists, operations)| AlterTable {
        name,
        if_exists,
        operations,
        text: text(tokens),
    }))
}

type Found = Option<(ObjectName, bool, Vec<Operation>)>;

fn alter(parser: &mut Parser<'_>) -> Parsed<Found> {
    let if_exists = parser.parse_keywords(&[Keyword::IF, Keyword::EXISTS]);
    let Ok(name) = parser.parse_object_name(false) else {
        return Ok(None);
    };
    let mut operations = Vec::new();
    loop {
        match column_operations(parser)? {
            Some(found) => operations.extend(found),
            None => match parser.parse_alter_table_operation() {
                Ok(operation) => operations.push(Operation::Other(operation)),
                Err(_) => return Ok(None),
            },
        }
        if !parser.consume_token(&Token::Comma) {
            break;
        }
    }
    if parser.peek_token().token == Token::EOF {
        return Ok(Some((name, if_exists, operations)));
    }
    let columns = |operation: &Operation| !matches!(operation, Operation::Other(_));
    match operations.last().is_some_and(columns) {
        true => parser.expected("end of statement", parser.peek_token()),
        false => Ok(None),
    }
}

/// `COMMENT ON COLUMN table.column IS 'text'`.
fn comment(parser: &mut Parser<'_>) -> Parsed<Found> {
    let mut name = parser.parse_object_name(false)?;
    let column = name.0.pop();
    let Some(ObjectNamePart::Identifier(column)) = column.filter(|_| !name.0.is_empty()) else {
        return parser.expected("a table and its column", parser.peek_token());
    };
    parser.expect_keyword_is(Keyword::IS)?;
    let change = Change::Comment(comment_text(parser)?);
    let path = vec![column];
    Ok(Some((name, false, vec![Operation::Alter { path, change }])))
}

fn comment_text(parser: &mut Parser<'_>) -> Parsed<Option<String>> {
    if parser.parse_keyword(Keyword::NULL) {
        return Ok(None);
    }
    parser.parse_literal_string().map(Some)
}

/// The operation on columns that comes next, if one does.
fn column_operations(parser: &mut Parser<'_>) -> Parsed<Option<Vec<Operation>>> {
    if let Some(layout) = layout_operations(parser)? {
        return Ok(Some(layout));
    }
    let verbs = [Keyword::ADD, Keyword::DROP, Keyword::RENAME, Keyword::ALTER];
    let Some(verb) = parser.parse_one_of_keywords(&verbs) else {
        return Ok(None);
    };
    let columns = parser.parse_one_of_keywords(&[Keyword::COLUMN, Keyword::COLUMNS]);
    if columns.is_none() && begins_other(parser, verb) {
        // The engine's parser reads the verb again.
        parser.prev_token();
        return Ok(None);
    }
    let found = match verb {
        Keyword::ADD => {
            let if_not_exists =
                parser.parse_keywords(&[Keyword::IF, Keyword::NOT, Keyword::EXISTS]);
            let one = |parser: &mut Parser<'_>| new_column(parser, if_not_exists);
            let added = if parser.consume_token(&Token::LParen) {
                let added = parser.parse_comma_separated(one)?;
                parser.expect_token(&Token::RParen)?;
                added
            } else {
                vec![one(parser)?]
            };
            added.into_iter().map(Operation::Add).collect()
        }
        Keyword::DROP => {
            let if_exists = parser.parse_keywords(&[Keyword::IF, Keyword::EXISTS]);
            let dropped = if parser.consume_token(&Token::LParen) {
                let dropped = parser.parse_comma_separated(path)?;
                parser.expect_token(&Token::RParen)?;
                dropped
            } else {
                vec![path(parser)?]
            };
            let _restrict = parser.parse_keyword(Keyword::RESTRICT);
            let drop = |path| Operation::Drop { path, if_exists };
            dropped.into_iter().map(drop).collect()
        }
        Keyword::RENAME => {
            let path = path(parser)?;
            parser.expect_keyword_is(Keyword::TO)?;
            let to = parser.parse_identifier()?;
            vec![Operation::Rename { path, to }]
        }
        _ => {
            let path = path(parser)?;
            let change = change(parser)?;
            vec![Operation::Alter { path, change }]
        }
    };
    Ok(Some(found))
}

/// The operation on the layout of rows that comes next, if one does.
fn layout_operations(parser: &mut Parser<'_>) -> Parsed<Option<Vec<Operation>>> {
    if take_words(parser, &["WRITE", "UNORDERED"]) {
        return Ok(Some(vec![Operation::SortBy(Vec::new())]));
    }
    if take_words(parser, &["WRITE", "NO", "BLOOM", "FILTERS"]) {
        return Ok(Some(vec![Operation::Filters(Vec::new())]));
    }
    if take_words(parser, &["WRITE", "BLOOM", "FILTERS", "ON"]) {
        return Ok(Some(vec![Operation::Filters(filter_columns(parser)?)]));
    }
    if take_words(parser, &["WRITE", "ORDERED", "BY"]) {
        return Ok(Some(vec![Operation::SortBy(sort_terms(parser)?)]));
    }
    if take_words(parser, &["ADD", "PARTITION", "FIELD"]) {
        return Ok(Some(vec![Operation::AddPartition(partition_term(parser)?)]));
    }
    if take_words(parser, &["DROP", "PARTITION", "FIELD"]) {
        return Ok(Some(vec![Operation::DropPartition(partition_term(
            parser,
        )?)]));
    }
    if take_words(parser, &["REPLACE", "PARTITION", "FIELD"]) {
        let old = Operation::DropPartition(partition_term(parser)?);
        parser.expect_keyword_is(Keyword::WITH)?;
        let new = Operation::AddPartition(partition_term(parser)?);
        return Ok(Some(vec![old, new]));
    }
    Ok(None)
}

/// Takes these words if they all come next.
fn take_words(parser: &mut Parser<'_>, words: &[&str]) -> bool {
    let come = |(ahead, word): (usize, &&str)| is_word(&parser.peek_nth_token(ahead).token, word);
    let all = words.iter().enumerate().all(come);
    for _ in words.iter().filter(|_| all) {
        parser.advance_token();
    }
    all
}

/// Whether what follows the verb is not a column.
fn begins_other(parser: &Parser<'_>, verb: Keyword) -> bool {
    let Token::Word(word) = parser.peek_token().token else {
        return verb != Keyword::ADD;
    };
    let constraint = matches!(
        word.keyword,
        Keyword::CONSTRAINT
            | Keyword::PRIMARY
            | Keyword::UNIQUE
            | Keyword::CHECK
            | Keyword::FOREIGN
            | Keyword::INDEX
            | Keyword::KEY
            | Keyword::PARTITION
            | Keyword::PROJECTION
    );
    constraint || (verb == Keyword::RENAME && matches!(word.keyword, Keyword::TO | Keyword::AS))
}

fn path(parser: &mut Parser<'_>) -> Parsed<Vec<Ident>> {
    let mut path = vec![parser.parse_identifier()?];
    while parser.consume_token(&Token::Period) {
        path.push(parser.parse_identifier()?);
    }
    Ok(path)
}

fn new_column(parser: &mut Parser<'_>, if_not_exists: bool) -> Parsed<NewColumn> {
    let mut column = NewColumn {
        path: path(parser)?,
        if_not_exists,
        data_type: parser.parse_data_type()?,
        not_null: false,
        default: None,
        comment: None,
        place: None,
    };
    loop {
        if parser.parse_keywords(&[Keyword::NOT, Keyword::NULL]) {
            column.not_null = true;
        } else if parser.parse_keyword(Keyword::NULL) {
            column.not_null = false;
        } else if parser.parse_keyword(Keyword::DEFAULT) {
            column.default = Some(parser.parse_expr()?);
        } else if parser.parse_keyword(Keyword::COMMENT) {
            column.comment = comment_text(parser)?;
        } else if let Some(place) = place(parser)? {
            column.place = Some(place);
        } else {
            return Ok(column);
        }
    }
}

fn place(parser: &mut Parser<'_>) -> Parsed<Option<Place>> {
    if parser.parse_keyword(Keyword::FIRST) {
        return Ok(Some(Place::First));
    }
    if parser.parse_keyword(Keyword::AFTER) {
        return Ok(Some(Place::After(parser.parse_identifier()?)));
    }
    Ok(None)
}

fn change(parser: &mut Parser<'_>) -> Parsed<Change> {
    if parser.parse_keywords(&[Keyword::SET, Keyword::DATA, Keyword::TYPE])
        || parser.parse_keyword(Keyword::TYPE)
    {
        return parser.parse_data_type().map(Change::Type);
    }
    for set in [true, false] {
        let verb = if set { Keyword::SET } else { Keyword::DROP };
        if parser.parse_keywords(&[verb, Keyword::NOT, Keyword::NULL]) {
            return Ok(Change::NotNull { set });
        }
    }
    if parser.parse_keywords(&[Keyword::SET, Keyword::DEFAULT]) {
        return parser
            .parse_expr()
            .map(|value| Change::Default(Some(value)));
    }
    if parser.parse_keywords(&[Keyword::DROP, Keyword::DEFAULT]) {
        return Ok(Change::Default(None));
    }
    if parser.parse_keyword(Keyword::COMMENT) {
        return comment_text(parser).map(Change::Comment);
    }
    match place(parser)? {
        Some(place) => Ok(Change::Place(place)),
        None => parser.expected(
            "TYPE, SET or DROP NOT NULL or DEFAULT, COMMENT, FIRST or AFTER",
            parser.peek_token(),
        ),
    }
}

/// The statement in one line.
fn text(tokens: &[TokenWithSpan]) -> String {
    let mut text = String::new();
    for token in tokens {
        match &token.token {
            Token::Whitespace(_) if text.ends_with(' ') => {}
            Token::Whitespace(_) => text.push(' '),
            Token::EOF | Token::SemiColon => {}
            token => text.push_str(&token.to_string()),
        }
    }
    text.trim().to_owned()
}
