//! `MERGE`: what DataFusion's planner lacks is spelled out.
//!
//! | written | planned |
//! |---|---|
//! | `UPDATE SET *`, `INSERT *`, `INSERT ROW` | every column, by its name in the source |
//! | `UPDATE SET … WHERE p`, `INSERT … WHERE p` | `AND p` |
//! | `UPDATE SET … DELETE WHERE q` | a DELETE before it, where `q` holds for the new values |
//! | `DO NOTHING` | the later actions, where its condition does not hold |
//! | a column without its table in an action for unmatched rows | the column of the side that has a row |

use std::ops::ControlFlow;

use datafusion::common::{DataFusionError, Result};
use datafusion::sql::sqlparser::ast::helpers::attached_token::AttachedToken;
use datafusion::sql::sqlparser::ast::{
    Expr, Ident, Merge, MergeAction, MergeClause, MergeClauseKind, MergeInsertExpr,
    MergeInsertKind, MergeUpdateExpr, ObjectName, Parens, Query, Statement, TableFactor, Values,
    VisitMut as _, VisitorMut,
};
use udr_core::Error;

use super::assignment::{self, is_default, parts};
use super::build::{self, column, is_not_true, quoted};
use super::mark;
use super::returning::has_subquery;
use super::target::{Named, Target};
use super::{Form, SourceColumn};
use crate::sql::external;
use crate::sql::scope::folded;

/// The name of a source that has none.
const SOURCE: &str = "source";

/// The query whose columns [`merge`] has to know.
pub(super) fn source(merge: &Merge) -> Query {
    build::select(
        vec![build::everything()],
        vec![build::alone(merge.source.clone())],
        None,
    )
}

/// What a MERGE does, as DataFusion plans it.
///
/// # Errors
///
/// `Unsupported` for what cannot be done right; `Invalid` for columns that are missing, or are in
/// both tables where it is not said which is meant.
pub(super) fn merge(mut merge: Merge, target: &Target, found: &[SourceColumn]) -> Result<Form> {
    if merge.output.is_some() {
        return Err(external(
            Error::unsupported("MERGE returns no rows")
                .with_hint("leave OUTPUT or RETURNING out; the result is the count of rows"),
        ));
    }
    let named = Named::of(&merge.table, "MERGE")?;
    let mut both = Both {
        source: Vec::new(),
        named: &named,
        target,
        same: false,
    };
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

/// Which tables have a row where an action applies.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Sides {
    Both,
    Source,
    Target,
}

impl Sides {
    fn of(kind: MergeClauseKind) -> Self {
        match kind {
            MergeClauseKind::Matched => Self::Both,
            MergeClauseKind::NotMatched | MergeClauseKind::NotMatchedByTarget => Self::Source,
            MergeClauseKind::NotMatchedBySource => Self::Target,
        }
    }
}

/// The two tables of a MERGE.
struct Both<'a> {
    source: Vec<SourceColumn>,
    named: &'a Named,
    target: &'a Target,
    /// Whether the source went by the target's name and got another one.
    same: bool,
}

impl Both<'_> {
    /// Gives the source a name if it has none, or one that DataFusion takes for the target's.
    fn name_source(&mut self, source: &mut TableFactor, found: &[SourceColumn]) -> Result<()> {
        self.source = found.to_vec();
        if self.named.alias.is_none() && *source == self.named.factor() {
            return Err(external(
                Error::invalid("the target and the source have the same name")
                    .with("name", self.named.name.to_string())
                    .with_hint("MERGE INTO t USING t AS s"),
            ));
        }
        let named = match source {
            TableFactor::Table { name, alias, .. } if alias.is_none() => {
                let short = |name: &ObjectName| {
                    let last = name.0.last().and_then(|part| part.as_ident());
                    last.map(|ident| folded(ident, self.target.fold))
                };
                self.same = self.named.alias.is_some() && short(name) == short(&self.named.name);
                if !self.same {
                    return Ok(());
                }
                alias
            }
            TableFactor::Derived { alias, .. }
                if alias.is_none() && found.iter().any(|c| c.qualifier.is_empty()) =>
            {
                alias
            }
            _ => return Ok(()),
        };
        *named = Some(build::alias(quoted(SOURCE)));
        for column in &mut self.source {
            column.qualifier = vec![quoted(SOURCE)];
        }
        Ok(())
    }

    fn in_source(&self, name: &str) -> Result<Option<Expr>> {
        let mut found = self.source.iter().filter(|column| column.name == name);
        match (found.next(), found.next()) {
            (None, _) => Ok(None),
            (Some(one), None) => Ok(Some(column(&one.qualifier, &one.name))),
            (Some(_), Some(_)) => Err(external(
                Error::invalid("the source has two columns of this name")
                    .with("column", name)
                    .with_hint("use a subquery that names its columns as the source"),
            )),
        }
    }

    /// The source's column for one of the target's.
    fn by_name(&self, name: &str) -> Result<Expr> {
        self.in_source(name)?.ok_or_else(|| {
            external(
                Error::invalid("the source lacks a column of the target")
                    .with("column", name)
                    .with_hint("list the columns: UPDATE SET a = s.a, INSERT (a) VALUES (s.a)"),
            )
        })
    }

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
        let columns = self.target.stored();
        columns
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

    /// Says which table the columns of an expression are of; subqueries are left as they are.
    fn resolve(&self, expr: &mut Expr, sides: Sides) -> Result<()> {
        let mut resolve = Resolve {
            both: self,
            sides,
            depth: 0,
        };
        match expr.visit(&mut resolve) {
            ControlFlow::Continue(()) => Ok(()),
            ControlFlow::Break(error) => Err(error),
        }
    }

    fn resolved(&self, ident: &Ident, sides: Sides) -> Result<Option<Expr>> {
        let name = folded(ident, self.target.fold);
        let target = self.target.columns.iter().any(|column| column.name == name);
        let target = target.then(|| column(&self.named.qualifier(), &name));
        let source = match sides {
            Sides::Target if target.is_some() => None,
            _ => self.in_source(&name)?,
        };
        match (sides, source, target) {
            (Sides::Both, Some(source), Some(target)) => Err(external(
                Error::invalid("the column is in the target and in the source")
                    .with("column", name)
                    .with_hint(format!("write {target} or {source}")),
            )),
            (Sides::Source, Some(source), _) => Ok(Some(source)),
            (Sides::Target, _, Some(target)) => Ok(Some(target)),
            (_, source, target) => Ok(source.or(target)),
        }
    }

    /// Puts new values in the place of the target's columns.
    fn after(&self, expr: &mut Expr, values: &[(String, Expr)]) -> Result<()> {
        if has_subquery(expr) {
            return Err(external(
                Error::unsupported("DELETE WHERE takes no subquery")
                    .with_hint("WHEN MATCHED AND … THEN DELETE"),
            ));
        }
        let mut after = After { both: self, values };
        match expr.visit(&mut after) {
            ControlFlow::Continue(()) => Ok(()),
            ControlFlow::Break(error) => Err(error),
        }
    }

    /// A value as the column holds it.
    fn stored(&self, name: &str, value: &Expr) -> Result<Expr> {
        let column = self.target.column(&quoted(name))?;
        build::cast(value.clone(), &column.ty).ok_or_else(|| {
            external(
                Error::unsupported("DELETE WHERE cannot look at a new value of this type")
                    .with("column", name)
                    .with("type", column.ty.to_string())
                    .with_hint("WHEN MATCHED AND … THEN DELETE"),
            )
        })
    }
}

/// See [`Both::resolve`].
struct Resolve<'a> {
    both: &'a Both<'a>,
    sides: Sides,
    depth: usize,
}

impl VisitorMut for Resolve<'_> {
    type Break = DataFusionError;

    fn pre_visit_query(&mut self, _query: &mut Query) -> ControlFlow<Self::Break> {
        self.depth += 1;
        ControlFlow::Continue(())
    }

    fn post_visit_query(&mut self, _query: &mut Query) -> ControlFlow<Self::Break> {
        self.depth = self.depth.saturating_sub(1);
        ControlFlow::Continue(())
    }

    fn post_visit_expr(&mut self, expr: &mut Expr) -> ControlFlow<Self::Break> {
        if self.depth > 0 {
            return ControlFlow::Continue(());
        }
        let resolved = match &*expr {
            Expr::Identifier(ident) => match self.both.resolved(ident, self.sides) {
                Ok(resolved) => resolved,
                Err(error) => return ControlFlow::Break(error),
            },
            Expr::CompoundIdentifier(parts) if self.both.same => self.both.renamed(parts),
            _ => None,
        };
        if let Some(resolved) = resolved {
            *expr = resolved;
        }
        ControlFlow::Continue(())
    }
}

impl Both<'_> {
    /// A column of the source under the source's new name.
    fn renamed(&self, parts: &[Ident]) -> Option<Expr> {
        let (name, qualifier) = parts.split_last()?;
        let unnamed = Named {
            name: self.named.name.clone(),
            alias: None,
        };
        let (fold, name) = (self.target.fold, folded(name, self.target.fold));
        let known = self.source.iter().any(|column| column.name == name);
        let meant = known
            && unnamed.is_meant_by(qualifier, fold)
            && !self.named.is_meant_by(qualifier, fold);
        meant.then(|| column(&[quoted(SOURCE)], &name))
    }
}

/// See [`Both::after`].
struct After<'a> {
    both: &'a Both<'a>,
    values: &'a [(String, Expr)],
}

impl VisitorMut for After<'_> {
    type Break = DataFusionError;

    fn post_visit_expr(&mut self, expr: &mut Expr) -> ControlFlow<Self::Break> {
        let Some((name, qualifier)) = parts(expr).and_then(|parts| parts.split_last()) else {
            return ControlFlow::Continue(());
        };
        let fold = self.both.target.fold;
        if !qualifier.is_empty() && self.both.named.is_meant_by(qualifier, fold) {
            let name = folded(name, fold);
            let set = self.values.iter().find(|(set, _)| *set == name);
            if let Some((_, value)) = set {
                match self.both.stored(&name, value) {
                    Ok(value) => *expr = value,
                    Err(error) => return ControlFlow::Break(error),
                }
            }
        }
        ControlFlow::Continue(())
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
