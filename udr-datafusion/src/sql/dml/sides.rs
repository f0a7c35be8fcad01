//! The two tables of a MERGE, and whose columns an expression names.

use std::ops::ControlFlow;

use datafusion::common::{DataFusionError, Result};
use datafusion::sql::sqlparser::ast::{
    Expr, Ident, MergeClauseKind, ObjectName, Query, TableFactor, VisitMut as _, VisitorMut,
};
use udr_core::Error;

use super::SourceColumn;
use super::assignment::parts;
use super::build::{self, column, quoted};
use super::returning::has_subquery;
use super::target::{Named, Target};
use crate::sql::external;
use crate::sql::scope::folded;

/// The name of a source that has none.
const SOURCE: &str = "source";

/// Which tables have a row where an action applies.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Sides {
    Both,
    Source,
    Target,
}

impl Sides {
    pub(super) fn of(kind: MergeClauseKind) -> Self {
        match kind {
            MergeClauseKind::Matched => Self::Both,
            MergeClauseKind::NotMatched | MergeClauseKind::NotMatchedByTarget => Self::Source,
            MergeClauseKind::NotMatchedBySource => Self::Target,
        }
    }
}

/// The two tables of a MERGE.
pub(super) struct Both<'a> {
    pub(super) source: Vec<SourceColumn>,
    pub(super) named: &'a Named,
    pub(super) target: &'a Target,
    /// Whether the source went by the target's name and got another one.
    same: bool,
    /// Whether the target has been given the source's columns, and may have others.
    pub(super) evolves: bool,
}

impl<'a> Both<'a> {
    pub(super) fn new(named: &'a Named, target: &'a Target, evolves: bool) -> Self {
        Self {
            source: Vec::new(),
            named,
            target,
            same: false,
            evolves,
        }
    }

    /// Gives the source a name if it has none, or one that DataFusion takes for the target's.
    pub(super) fn name_source(
        &mut self,
        source: &mut TableFactor,
        found: &[SourceColumn],
    ) -> Result<()> {
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
    pub(super) fn by_name(&self, name: &str) -> Result<Expr> {
        self.in_source(name)?.ok_or_else(|| {
            external(
                Error::invalid("the source lacks a column of the target")
                    .with("column", name)
                    .with_hint("list the columns: UPDATE SET a = s.a, INSERT (a) VALUES (s.a)"),
            )
        })
    }

    /// Says which table the columns of an expression are of; subqueries are left as they are.
    pub(super) fn resolve(&self, expr: &mut Expr, sides: Sides) -> Result<()> {
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
    pub(super) fn after(&self, expr: &mut Expr, values: &[(String, Expr)]) -> Result<()> {
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
