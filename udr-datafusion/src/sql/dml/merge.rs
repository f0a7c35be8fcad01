//! `MERGE`: what DataFusion's planner lacks is spelled out.
//!
//! | written | planned |
//! |---|---|
//! | `UPDATE SET *`, `INSERT *`, `INSERT ROW` | every column, by its name in the source |
//! | `UPDATE SET … WHERE p`, `INSERT … WHERE p` | `AND p` |
//! | `UPDATE SET … DELETE WHERE q` | a DELETE before it, where `q` holds for the new values |
//! | `DO NOTHING` | the later actions, where its condition does not hold |
//! | a column without its table in an action for unmatched rows | the column of the side that has a row |

use std::collections::BTreeSet;

use datafusion::common::Result;
use datafusion::sql::sqlparser::ast::helpers::attached_token::AttachedToken;
use datafusion::sql::sqlparser::ast::{
    AssignmentTarget, Expr, Ident, Merge, MergeAction, MergeClause, MergeInsertExpr,
    MergeInsertKind, MergeUpdateExpr, ObjectName, Parens, Query, Statement, Values,
};
use udr_core::Error;

use super::assignment::{self, is_default};
use super::build::{self, is_not_true, quoted};
use super::mark;
use super::sides::{Both, Sides};
use super::target::{Named, Target};
use super::{Form, SourceColumn};
use crate::sql::external;
use crate::sql::scope::folded;

/// The query whose columns [`merge`] has to know.
pub(super) fn source(merge: &Merge) -> Query {
    build::select(
        vec![build::everything()],
        vec![build::alone(merge.source.clone())],
        None,
    )
}

/// The columns of the target that a MERGE gives the values of the source's columns of their names,
/// by the place of those.
pub(super) fn written(merge: &Merge, source: &[SourceColumn], fold: bool) -> Vec<(String, usize)> {
    let mut named = BTreeSet::new();
    let mut all = false;
    let mut add = |name: &ObjectName| {
        let ident = name.0.last().and_then(|part| part.as_ident());
        named.extend(ident.map(|ident| folded(ident, fold)));
    };
    for MergeClause { action, .. } in &merge.clauses {
        if mark::is_star(action) {
            all = true;
            continue;
        }
        match action {
            MergeAction::Insert(insert) if insert.columns.is_empty() => {
                all |= insert.kind == MergeInsertKind::Row;
            }
            MergeAction::Insert(insert) => insert.columns.iter().for_each(&mut add),
            MergeAction::Update(update) => {
                for assignment in &update.assignments {
                    match &assignment.target {
                        AssignmentTarget::ColumnName(name) => add(name),
                        AssignmentTarget::Tuple(names) => names.iter().for_each(&mut add),
                    }
                }
            }
            MergeAction::Delete { .. } => {}
        }
    }
    let columns = source.iter().enumerate();
    let columns = columns.filter(|(_, column)| all || named.contains(&column.name));
    columns
        .map(|(at, column)| (column.name.clone(), at))
        .collect()
}

/// What a MERGE does, as DataFusion plans it. One that gives its target new columns leaves those
/// that the source lacks as they are.
///
/// # Errors
///
/// `Unsupported` for what cannot be done right; `Invalid` for columns that are missing, or are in
/// both tables where it is not said which is meant.
pub(super) fn merge(
    mut merge: Merge,
    target: &Target,
    found: &[SourceColumn],
    evolves: bool,
) -> Result<Form> {
    if merge.output.is_some() {
        return Err(external(
            Error::unsupported("MERGE returns no rows")
                .with_hint("leave OUTPUT or RETURNING out; the result is the count of rows"),
        ));
    }
    let named = Named::of(&merge.table, "MERGE")?;
    let mut both = Both::new(&named, target, evolves);
    both.name_source(&mut merge.source, found)?;
    both.resolve(&mut merge.on, Sides::Both)?;
    let clauses = std::mem::take(&mut merge.clauses);
    let mut rewritten = Vec::with_capacity(clauses.len());
    // Conditions under which nothing is done, by what rows they are about.
    let mut nothing: Vec<(Sides, Expr)> = Vec::new();
    let mut closed: Vec<Sides> = Vec::new();
    for (place, clause) in clauses.iter().enumerate() {
        let sides = Sides::of(clause.clause_kind);
        if closed.contains(&sides) {
            continue;
        }
        let mut clause = clause.clone();
        if let Some(predicate) = &mut clause.predicate {
            both.resolve(predicate, sides)?;
        }
        if mark::is_nothing(&clause.action) {
            match clause.predicate {
                Some(predicate) => nothing.push((sides, predicate)),
                None => closed.push(sides),
            }
            continue;
        }
        let skipped = nothing.iter().filter(|(of, _)| *of == sides);
        let skipped = skipped.map(|(_, predicate)| is_not_true(predicate.clone()));
        clause.predicate = build::all(skipped.chain(clause.predicate.take()));
        let last = clauses
            .iter()
            .skip(place + 1)
            .all(|later| Sides::of(later.clause_kind) != sides);
        both.clause(clause, last, &mut rewritten)?;
    }
    if rewritten.is_empty() && !clauses.is_empty() {
        return Err(external(Error::invalid(
            "the MERGE has no action that does something",
        )));
    }
    merge.clauses = rewritten;
    Ok(Form::Statement(Box::new(Statement::Merge(merge))))
}

impl Both<'_> {
    fn clause(&self, clause: MergeClause, last: bool, out: &mut Vec<MergeClause>) -> Result<()> {
        let sides = Sides::of(clause.clause_kind);
        let (kind, predicate) = (clause.clause_kind, clause.predicate);
        let make = |predicate, action| MergeClause {
            when_token: AttachedToken::empty(),
            clause_kind: kind,
            predicate,
            action,
        };
        let conditional = |condition: &Option<Expr>| match condition {
            Some(_) if !last => Err(external(
                Error::unsupported("WHERE in an action is only for the last WHEN of its kind")
                    .with_hint("put the condition behind WHEN: WHEN MATCHED AND … THEN"),
            )),
            _ => Ok(()),
        };
        match clause.action {
            MergeAction::Update(mut update) => {
                conditional(&update.update_predicate)?;
                conditional(&update.delete_predicate)?;
                let mut values = if mark::is_star(&MergeAction::Update(update.clone())) {
                    self.star(sides)?
                } else {
                    let list = std::mem::take(&mut update.assignments);
                    assignment::values(list, self.named, self.target)?
                };
                for (_, value) in &mut values {
                    self.resolve(value, sides)?;
                }
                if let Some(predicate) = &mut update.update_predicate {
                    self.resolve(predicate, sides)?;
                }
                let predicate = build::all(predicate.into_iter().chain(update.update_predicate));
                if let Some(mut delete) = update.delete_predicate {
                    self.resolve(&mut delete, sides)?;
                    self.after(&mut delete, &values)?;
                    let both = build::all(predicate.clone().into_iter().chain([delete]));
                    let delete_token = AttachedToken::empty();
                    out.push(make(both, MergeAction::Delete { delete_token }));
                }
                let action = MergeAction::Update(MergeUpdateExpr {
                    update_token: AttachedToken::empty(),
                    assignments: assignment::list(values),
                    update_predicate: None,
                    delete_predicate: None,
                });
                out.push(make(predicate, action));
            }
            MergeAction::Insert(mut insert) => {
                conditional(&insert.insert_predicate)?;
                let mut condition = insert.insert_predicate.take();
                if let Some(condition) = &mut condition {
                    self.resolve(condition, sides)?;
                }
                let predicate = build::all(predicate.into_iter().chain(condition));
                out.push(make(predicate, MergeAction::Insert(self.insert(insert)?)));
            }
            delete @ MergeAction::Delete { .. } => out.push(make(predicate, delete)),
        }
        Ok(())
    }

    /// All columns of the target that can be set, from the source.
    fn star(&self, sides: Sides) -> Result<Vec<(String, Expr)>> {
        if sides == Sides::Target {
            return Err(external(Error::invalid(
                "UPDATE SET * needs a source row; WHEN NOT MATCHED BY SOURCE has none",
            )));
        }
        let known = |name: &str| self.source.iter().any(|column| column.name == name);
        let columns = self.target.stored();
        columns
            .filter(|column| !self.evolves || known(&column.name))
            .map(|column| Ok((column.name.clone(), self.by_name(&column.name)?)))
            .collect()
    }

    fn insert(&self, insert: MergeInsertExpr) -> Result<MergeInsertExpr> {
        let star = mark::is_star(&MergeAction::Insert(insert.clone()));
        let (columns, values) = match insert.kind {
            MergeInsertKind::Row if star || insert.columns.is_empty() => {
                if !star {
                    self.check_row()?;
                }
                self.star(Sides::Source)?.into_iter().unzip()
            }
            MergeInsertKind::Row => {
                return Err(external(
                    Error::unsupported("INSERT (columns) ROW is not implemented")
                        .with_hint("INSERT (a, b) VALUES (s.a, s.b), or INSERT ROW"),
                ));
            }
            MergeInsertKind::Values(values) => self.values(insert.columns, values)?,
        };
        Ok(insert_of(columns, values))
    }

    /// `INSERT ROW` is for a source that has the target's columns and no others.
    fn check_row(&self) -> Result<()> {
        let known = |name: &str| self.target.columns.iter().any(|column| column.name == name);
        match self.source.iter().find(|column| !known(&column.name)) {
            None => Ok(()),
            Some(column) => Err(external(
                Error::invalid("INSERT ROW: the source has a column that the target lacks")
                    .with("column", &column.name)
                    .with_hint("INSERT * takes the target's columns by name and leaves the rest"),
            )),
        }
    }

    #[expect(
        clippy::needless_pass_by_value,
        reason = "what the parser gives is taken apart"
    )]
    fn values(&self, columns: Vec<ObjectName>, values: Values) -> Result<(Vec<String>, Vec<Expr>)> {
        let Ok([row]) = <[_; 1]>::try_from(values.rows) else {
            return Err(external(Error::invalid("an INSERT of a MERGE has one row")));
        };
        let row: Vec<Expr> = row.content;
        let names = if columns.is_empty() {
            let all = self.target.columns.iter();
            all.map(|column| column.name.clone()).collect()
        } else {
            let mut names = Vec::with_capacity(columns.len());
            for name in &columns {
                names.push(self.insert_column(name)?);
            }
            names
        };
        if names.len() != row.len() {
            return Err(external(
                Error::invalid("the lists of columns and of values have different lengths")
                    .with("columns", names.len())
                    .with("values", row.len()),
            ));
        }
        let mut pairs = Vec::with_capacity(names.len());
        for (name, mut value) in names.into_iter().zip(row) {
            let column = self.target.column(&quoted(&name))?;
            match (is_default(&value), column.generated) {
                // Left out, it is computed.
                (true, true) => continue,
                (true, false) => value = column.default_value(),
                (false, true) => {
                    return Err(external(
                        Error::invalid("a generated column cannot be given a value")
                            .with("column", name),
                    ));
                }
                (false, false) => self.resolve(&mut value, Sides::Source)?,
            }
            pairs.push((name, value));
        }
        Ok(pairs.into_iter().unzip())
    }

    fn insert_column(&self, name: &ObjectName) -> Result<String> {
        let idents = name.0.iter().filter_map(|part| part.as_ident().cloned());
        let idents = idents.collect::<Vec<Ident>>();
        let Some((last, qualifier)) = idents.split_last() else {
            return Err(external(Error::invalid("a column's name is missing")));
        };
        if !qualifier.is_empty() && !self.named.is_meant_by(qualifier, self.target.fold) {
            return Err(external(
                Error::invalid("only columns of the target can be inserted")
                    .with("column", name.to_string()),
            ));
        }
        Ok(self.target.column(last)?.name.clone())
    }
}

/// `INSERT (columns) VALUES (values)`
#[expect(
    clippy::needless_pass_by_value,
    reason = "the caller has no other use of it"
)]
pub(super) fn insert_of(columns: Vec<String>, values: Vec<Expr>) -> MergeInsertExpr {
    let columns = columns
        .iter()
        .map(|name| ObjectName::from(vec![quoted(name)]))
        .collect();
    MergeInsertExpr {
        insert_token: AttachedToken::empty(),
        columns,
        kind_token: AttachedToken::empty(),
        kind: MergeInsertKind::Values(Values {
            explicit_row: false,
            value_keyword: false,
            rows: vec![Parens {
                opening_token: AttachedToken::empty(),
                content: values,
                closing_token: AttachedToken::empty(),
            }],
        }),
        insert_predicate: None,
    }
}
