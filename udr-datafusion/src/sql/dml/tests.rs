//! Statements to what is planned, both as text.

mod deletes;
mod inserts;
mod merges;
mod refusals;
mod updates;

use arrow::datatypes::{DataType, TimeUnit};
use datafusion::sql::sqlparser::parser::Parser;

use super::*;
use crate::sql::ast::Statement as Parsed;
use crate::sql::dialect::UdrDialect;
use crate::sql::parser::{ParseOptions, parse};

fn column(name: &str, ty: DataType, default: Option<&str>) -> TargetColumn {
    let default = default.map(|sql| {
        let parser = Parser::new(&UdrDialect).try_with_sql(sql);
        parser.and_then(|mut parser| parser.parse_expr()).unwrap()
    });
    TargetColumn {
        name: name.to_owned(),
        ty,
        default,
        generated: false,
    }
}

/// `t (id, n DEFAULT 1 + 1, "Name", at DEFAULT now())`
fn target() -> Target {
    let time = DataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into()));
    Target {
        columns: vec![
            column("id", DataType::Int64, None),
            column("n", DataType::Int32, Some("1 + 1")),
            column("Name", DataType::Utf8View, None),
            column("at", time, Some("now()")),
        ],
        keys: Vec::new(),
        fold: true,
    }
}

/// The same with a key, and a column that is computed.
fn keyed() -> Target {
    let mut target = target();
    target.columns.push(TargetColumn {
        generated: true,
        ..column("twice", DataType::Int64, None)
    });
    target.keys.push(Key {
        name: "t_pkey".to_owned(),
        columns: vec!["id".to_owned()],
        primary: true,
    });
    target
}

fn source(names: &[&str]) -> Vec<SourceColumn> {
    let table = ["s".to_owned()];
    names
        .iter()
        .map(|name| SourceColumn::new(&table, name))
        .collect()
}

fn rewrite(sql: &str, target: &Target, source: &[SourceColumn]) -> Result<(Frame, Form)> {
    let Parsed::Sql(parsed) = parse(sql, ParseOptions::default())? else {
        panic!("{sql}: no SQL");
    };
    let (frame, statement, with) = Frame::split(&parsed).unwrap();
    let change = Change::new(statement, with.as_ref(), target.fold)?;
    Ok((frame, change.form(target, Some(source))?))
}

fn text(form: &Form) -> String {
    match form {
        Form::Statement(statement) => statement.to_string(),
        Form::Delete(rows) => format!("delete: {}", rows.rows),
        Form::Update(rows) => format!("update: {}", rows.rows),
        Form::Upsert(upsert) => format!(
            "{:?} by ({}): {} <- {}",
            upsert.twice,
            upsert.key.join(", "),
            upsert.merge,
            upsert.insert,
        ),
        Form::Replace(replace) => format!("replace: {} <- {}", replace.old, replace.insert),
    }
}

fn squeezed(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

#[track_caller]
fn becomes_for(target: &Target, columns: &[&str], sql: &str, expected: &str) {
    match rewrite(sql, target, &source(columns)) {
        Ok((_, form)) => assert_eq!(squeezed(&text(&form)), squeezed(expected), "{sql}"),
        Err(error) => panic!("{sql}: {error}"),
    }
}

#[track_caller]
fn becomes(sql: &str, expected: &str) {
    becomes_for(&target(), &["id", "n", "Name", "at"], sql, expected);
}

#[track_caller]
fn unchanged(sql: &str) {
    becomes(sql, sql);
}

#[track_caller]
fn refused_for(target: &Target, columns: &[&str], sql: &str, signs: &[&str]) {
    match rewrite(sql, target, &source(columns)) {
        Ok((_, form)) => panic!("{sql}: accepted as {}", text(&form)),
        Err(error) => {
            let text = match crate::error::udr_error(&error) {
                Some(error) => format!("{error} {}", error.hint().unwrap_or_default()),
                None => error.to_string(),
            };
            for sign in signs {
                assert!(text.contains(sign), "{sql}: {sign:?} is not in: {text}");
            }
        }
    }
}

#[track_caller]
fn refused(sql: &str, signs: &[&str]) {
    refused_for(&target(), &["id", "n", "Name", "at"], sql, signs);
}
