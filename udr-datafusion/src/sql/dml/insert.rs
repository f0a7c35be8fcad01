//! `INSERT`: defaults put in, columns by name, conflicts and replaced rows taken apart.

use datafusion::common::Result;
use datafusion::sql::sqlparser::ast::helpers::attached_token::AttachedToken;
use datafusion::sql::sqlparser::ast::{
    Expr, Insert, ObjectName, OnConflict, OnInsert, Parens, Query, SetExpr, SqliteOnConflict,
    Statement, TableObject, Values,
};
use udr_core::Error;

use super::assignment::is_default;
use super::build::{self, quoted};
use super::mark::Clauses;
use super::target::{Named, Target};
use super::upsert::{Conflict, upsert};
use super::{Form, SourceColumn, replace_where};
use crate::sql::external;
use crate::sql::scope::folded;

/// The query whose columns [`insert`] has to know, if it has to.
pub(super) fn source(insert: &Insert, evolves: bool) -> Option<Query> {
    let needed = evolves || Clauses::take(&mut insert.clone()).by_name;
    needed.then(|| insert.source.as_deref().cloned()).flatten()
}

/// Makes an INSERT that gives its target new columns one that names its columns.
///
/// # Errors
///
/// `Invalid` if nothing names them.
pub(super) fn take_by_name(insert: &mut Insert) -> Result<()> {
    let values = match insert.source.as_ref().map(|query| query.body.as_ref()) {
        Some(SetExpr::Values(_)) => true,
        Some(_) => false,
        None => true,
    };
    if insert.columns.is_empty() && values {
        return Err(external(
            Error::invalid("WITH SCHEMA EVOLUTION needs the names of the columns").with_hint(
                "INSERT INTO t WITH SCHEMA EVOLUTION (a, b) VALUES …, or a query whose columns \
                 have the names",
            ),
        ));
    }
    if insert.columns.is_empty() {
        Clauses::add_by_name(insert);
    }
    Ok(())
}

/// The columns that an INSERT gives values to, by the place of the source's column.
pub(super) fn written(
    insert: &Insert,
    source: &[SourceColumn],
    fold: bool,
) -> Vec<(String, usize)> {
    let listed = insert.columns.iter();
    let listed = listed.filter_map(|name| name.0.last().and_then(|part| part.as_ident()));
    let names: Vec<String> = match insert.columns.is_empty() {
        true => source.iter().map(|column| column.name.clone()).collect(),
        false => listed.map(|ident| folded(ident, fold)).collect(),
    };
    names.into_iter().zip(0..source.len()).collect()
}

/// Whether [`insert`] has to know what the target looks like.
pub(super) fn needs_target(insert: &Insert) -> bool {
    let values = insert.source.as_ref().map(|source| source.body.as_ref());
    let defaults = match values {
        None => true,
        Some(SetExpr::Values(values)) => {
            let mut cells = values.rows.iter().flat_map(|row| &row.content);
            cells.any(is_default)
        }
        Some(_) => false,
    };
    let conflict = insert.on.is_some() || insert.or.is_some();
    defaults || conflict || insert.replace_into || insert.ignore || insert.partitioned.is_some()
}

/// What an INSERT does, as DataFusion plans it.
///
/// # Errors
///
/// `Unsupported` for what cannot be done right; `NotFound` for columns that are not there.
pub(super) fn insert(
    mut insert: Insert,
    target: &Target,
    found: Option<&[SourceColumn]>,
) -> Result<Form> {
    let clauses = Clauses::take(&mut insert);
    refuse(&insert)?;
    let TableObject::TableName(name) = &insert.table else {
        return Err(external(Error::unsupported(
            "an INSERT's target is a table",
        )));
    };
    let named = Named {
        name: name.clone(),
        alias: clauses.alias,
    };
    if clauses.by_name {
        insert.columns = by_name(&insert, target, found.unwrap_or_default())?;
    }
    defaults(&mut insert, target)?;
    let conflict = conflict(&mut insert)?;
    if conflict.is_some() && insert.overwrite {
        return Err(external(Error::unsupported(
            "INSERT OVERWRITE replaces all rows, so that there is no conflict",
        )));
    }
    match (conflict, clauses.replace) {
        (None, None) => Ok(Form::Statement(Box::new(Statement::Insert(insert)))),
        (Some(conflict), None) => upsert(insert, conflict, named, target),
        (None, Some(predicate)) => replace_where::replace_where(insert, predicate, &named, target),
        (Some(_), Some(_)) => Err(external(Error::unsupported(
            "REPLACE WHERE and ON CONFLICT cannot be used together",
        ))),
    }
}

fn refuse(insert: &Insert) -> Result<()> {
    let refused = |what: &str, hint: &str| {
        Err(external(
            Error::unsupported(format!("{what} is not implemented")).with_hint(hint),
        ))
    };
    if insert.output.is_some() {
        return Err(super::returning::no_output());
    }
    if insert.partitioned.is_some() {
        return refused(
            "INSERT … PARTITION",
            "give the values as columns of the query",
        );
    }
    if insert.insert_alias.is_some() {
        return refused("an alias for the new row", "ON CONFLICT calls it excluded");
    }
    if let Some(OnInsert::DuplicateKeyUpdate(_)) = &insert.on {
        return refused(
            "ON DUPLICATE KEY UPDATE",
            "ON CONFLICT (columns) DO UPDATE SET a = excluded.a",
        );
    }
    Ok(())
}

/// The columns that the source has, all of which must be in the target.
fn by_name(insert: &Insert, target: &Target, found: &[SourceColumn]) -> Result<Vec<ObjectName>> {
    if !insert.columns.is_empty() {
        return Err(external(Error::invalid(
            "BY NAME takes the query's columns; leave the list of columns out",
        )));
    }
    if insert.source.is_none() {
        return Err(external(Error::invalid("BY NAME needs a query")));
    }
    let mut columns = Vec::with_capacity(found.len());
    for column in found {
        let name = quoted(&column.name);
        target.column(&name)?;
        let name = ObjectName::from(vec![name]);
        if columns.contains(&name) {
            return Err(external(
                Error::invalid("the query has two columns of this name")
                    .with("column", &column.name),
            ));
        }
        columns.push(name);
    }
    Ok(columns)
}

/// Puts the columns' defaults where `DEFAULT` stands.
fn defaults(insert: &mut Insert, target: &Target) -> Result<()> {
    if insert.source.is_none() {
        let row = target.stored().map(|column| column.default_value());
        let row = row.collect::<Vec<_>>();
        let columns = target.stored();
        insert.columns = columns
            .map(|column| ObjectName::from(vec![quoted(&column.name)]))
            .collect();
        insert.source = Some(Box::new(build::query(SetExpr::Values(one_row(row)))));
        return Ok(());
    }
    let names = if insert.columns.is_empty() {
        let all = target.columns.iter();
        all.map(|column| quoted(&column.name)).collect::<Vec<_>>()
    } else {
        let columns = insert.columns.iter();
        columns
            .filter_map(|name| name.0.last().and_then(|part| part.as_ident().cloned()))
            .collect()
    };
    let Some(SetExpr::Values(values)) = insert.source.as_mut().map(|q| q.body.as_mut()) else {
        return Ok(());
    };
    let mut generated = Vec::new();
    for (place, name) in names.iter().enumerate() {
        let cells = values.rows.iter().filter_map(|row| row.content.get(place));
        let said = cells.clone().filter(|cell| is_default(cell)).count();
        if said == 0 {
            continue;
        }
        let column = target.column(name)?;
        if column.generated {
            if said < values.rows.len() {
                return Err(external(
                    Error::invalid("a generated column cannot be given a value")
                        .with("column", &column.name),
                ));
            }
            generated.push(place);
            continue;
        }
        for row in &mut values.rows {
            if let Some(cell) = row.content.get_mut(place).filter(|cell| is_default(cell)) {
                *cell = column.default_value();
            }
        }
    }
    leave_out(insert, names, &generated);
    Ok(())
}

/// Takes columns out that are computed anyway.
fn leave_out(
    insert: &mut Insert,
    names: Vec<datafusion::sql::sqlparser::ast::Ident>,
    places: &[usize],
) {
    if places.is_empty() {
        return;
    }
    let names = names.into_iter().map(|name| ObjectName::from(vec![name]));
    insert.columns = without(names, places);
    if let Some(SetExpr::Values(values)) = insert.source.as_mut().map(|q| q.body.as_mut()) {
        for row in &mut values.rows {
            row.content = without(std::mem::take(&mut row.content), places);
        }
    }
}

fn without<T>(items: impl IntoIterator<Item = T>, places: &[usize]) -> Vec<T> {
    let items = items.into_iter().enumerate();
    items
        .filter(|(place, _)| !places.contains(place))
        .map(|(_, item)| item)
        .collect()
}

fn one_row(row: Vec<Expr>) -> Values {
    Values {
        explicit_row: false,
        value_keyword: false,
        rows: vec![Parens {
            opening_token: AttachedToken::empty(),
            content: row,
            closing_token: AttachedToken::empty(),
        }],
    }
}

/// What is to happen to rows that are there already.
fn conflict(insert: &mut Insert) -> Result<Option<Conflict>> {
    let on = insert.on.take();
    let replace = std::mem::take(&mut insert.replace_into);
    let ignore = std::mem::take(&mut insert.ignore);
    let or = match (insert.or.take(), replace, ignore) {
        (None, false, false) => None,
        (Some(SqliteOnConflict::Replace), false, false) | (None, true, false) => {
            Some(Conflict::Replace)
        }
        (Some(SqliteOnConflict::Ignore), false, false) | (None, false, true) => {
            Some(Conflict::Ignore)
        }
        (Some(or), ..) => {
            return Err(external(
                Error::unsupported("this INSERT OR … is not implemented")
                    .with("clause", or.to_string())
                    .with_hint("INSERT … ON CONFLICT (columns) DO UPDATE or DO NOTHING"),
            ));
        }
        (None, true, true) => {
            return Err(external(Error::invalid(
                "rows cannot be replaced and kept at the same time",
            )));
        }
    };
    match (on, or) {
        (
            Some(OnInsert::OnConflict(OnConflict {
                conflict_target,
                action,
            })),
            None,
        ) => Ok(Some(Conflict::On(conflict_target, action))),
        (None, or) => Ok(or),
        (Some(_), _) => Err(external(Error::unsupported(
            "two clauses say what happens on a conflict",
        ))),
    }
}
