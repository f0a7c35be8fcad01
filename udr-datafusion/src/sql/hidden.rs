//! The columns that every table has but `*` does not: `_row_id` and `_commit_sequence`.
//!
//! A table whose query names one of them becomes `"t$rows" AS t`, which has them, and the
//! wildcards of that query leave them out. Everything else stays what it was.

use std::collections::BTreeSet;
use std::ops::ControlFlow;

use datafusion::common::{DataFusionError, Result};
use datafusion::sql::parser::{CopyToSource, Statement as SqlStatement};
use datafusion::sql::sqlparser::ast::{
    ExcludeSelectItem, Expr, Ident, JoinConstraint, JoinOperator, ObjectName, ObjectNamePart,
    OrderBy, Query, Select, SelectItem, SelectItemQualifiedWildcardKind, SetExpr, TableAlias,
    TableFactor, TableWithJoins, Visit, VisitMut as _, Visitor, VisitorMut,
};
use udr_core::Error;

use super::external;
use super::scope::{CteScope, Scoped, enter, folded, leave};

/// The columns.
pub(crate) const HIDDEN: [&str; 2] = ["_row_id", "_commit_sequence"];

/// The names of relations that a statement reads in queries that name a hidden column.
pub(crate) fn candidates(statement: &mut SqlStatement, fold: bool) -> Result<Vec<ObjectName>> {
    let mut found = Vec::new();
    walk(statement, fold, &mut |name| {
        found.push(name.clone());
        false
    })?;
    Ok(found)
}

/// Lets the tables that `shows` says have hidden columns show those that are named.
///
/// # Errors
///
/// `Unsupported` if a NATURAL JOIN or a wildcard would see them.
pub(crate) fn show(
    statement: &mut SqlStatement,
    fold: bool,
    shows: &dyn Fn(&ObjectName) -> bool,
) -> Result<()> {
    walk(statement, fold, &mut |name| shows(name))
}

fn walk(
    statement: &mut SqlStatement,
    fold: bool,
    shows: &mut dyn FnMut(&ObjectName) -> bool,
) -> Result<()> {
    let mut walk = Walk {
        scope: CteScope::new(fold),
        fold,
        shows,
    };
    let flow = match statement {
        SqlStatement::Statement(statement) => statement.visit(&mut walk),
        SqlStatement::CopyTo(copy) => match &mut copy.source {
            CopyToSource::Relation(_) => ControlFlow::Continue(()),
            CopyToSource::Query(query) => query.visit(&mut walk),
        },
        SqlStatement::Explain(explain) => {
            return self::walk(&mut explain.statement, fold, shows);
        }
        SqlStatement::CreateExternalTable(_) | SqlStatement::Reset(_) => ControlFlow::Continue(()),
    };
    match flow {
        ControlFlow::Continue(()) => Ok(()),
        ControlFlow::Break(error) => Err(error),
    }
}

struct Walk<'a> {
    scope: CteScope,
    fold: bool,
    shows: &'a mut dyn FnMut(&ObjectName) -> bool,
}

impl Scoped for Walk<'_> {
    fn scope(&mut self) -> &mut CteScope {
        &mut self.scope
    }
}

impl VisitorMut for Walk<'_> {
    type Break = DataFusionError;

    fn pre_visit_query(&mut self, query: &mut Query) -> ControlFlow<Self::Break> {
        enter(self, query)?;
        let order = query.order_by.take();
        let done = self.set_expr(&mut query.body, order.as_ref());
        query.order_by = order;
        match done {
            Ok(()) => ControlFlow::Continue(()),
            Err(error) => ControlFlow::Break(error),
        }
    }

    fn post_visit_query(&mut self, query: &mut Query) -> ControlFlow<Self::Break> {
        leave(self, query)
    }
}

impl Walk<'_> {
    /// The blocks of a query itself; nested queries come to the visitor later.
    fn set_expr(&mut self, body: &mut SetExpr, order: Option<&OrderBy>) -> Result<()> {
        match body {
            SetExpr::Select(select) => self.select(select, order),
            SetExpr::SetOperation { left, right, .. } => {
                self.set_expr(left, None)?;
                self.set_expr(right, None)
            }
            _ => Ok(()),
        }
    }

    fn select(&mut self, select: &mut Select, order: Option<&OrderBy>) -> Result<()> {
        let mut named = Named::new(self.fold);
        named.look_at(&*select);
        if let Some(order) = order {
            named.look_at(order);
        }
        if named.is_empty() {
            return Ok(());
        }
        let mut shown = BTreeSet::new();
        let mut natural = false;
        for tables in &mut select.from {
            self.tables(tables, &named, &mut shown)?;
            natural |= is_natural(tables);
        }
        if shown.is_empty() {
            return Ok(());
        }
        if natural {
            return Err(external(
                Error::unsupported(
                    "a NATURAL JOIN cannot be in a query that names a hidden column",
                )
                .with("columns", HIDDEN.join(", "))
                .with_hint("use JOIN … USING (…)"),
            ));
        }
        hide(select, &shown, self.fold)
    }

    fn tables(
        &mut self,
        tables: &mut TableWithJoins,
        named: &Named,
        shown: &mut BTreeSet<String>,
    ) -> Result<()> {
        let joined = tables.joins.iter_mut().map(|join| &mut join.relation);
        for factor in std::iter::once(&mut tables.relation).chain(joined) {
            self.factor(factor, named, shown)?;
        }
        Ok(())
    }

    fn factor(
        &mut self,
        factor: &mut TableFactor,
        named: &Named,
        shown: &mut BTreeSet<String>,
    ) -> Result<()> {
        match factor {
            TableFactor::NestedJoin {
                table_with_joins, ..
            } => self.tables(table_with_joins, named, shown),
            TableFactor::Table {
                name,
                alias,
                args: None,
                ..
            } => {
                if self.scope.holds(name) {
                    return Ok(());
                }
                let Some(ObjectNamePart::Identifier(last)) = name.0.last() else {
                    return Ok(());
                };
                let text = folded(last, self.fold);
                let called = alias
                    .as_ref()
                    .map_or_else(|| text.clone(), |alias| folded(&alias.name, self.fold));
                if text.contains('$') || !named.of(&called) || !(self.shows)(name) {
                    return Ok(());
                }
                rename(name, alias, &text);
                shown.insert(called);
                Ok(())
            }
            _ => Ok(()),
        }
    }
}

/// Turns `t` or `t@42` into `t$rows` or `t$rows@42`, called as before.
fn rename(name: &mut ObjectName, alias: &mut Option<TableAlias>, text: &str) {
    let renamed = match text.split_once('@') {
        Some((table, revision)) => format!("{table}$rows@{revision}"),
        None => format!("{text}$rows"),
    };
    if let Some(ObjectNamePart::Identifier(last)) = name.0.last_mut() {
        let original = std::mem::replace(last, Ident::with_quote('"', renamed));
        alias.get_or_insert_with(|| TableAlias {
            explicit: true,
            name: original,
            columns: Vec::new(),
            at: None,
        });
    }
}

fn is_natural(tables: &TableWithJoins) -> bool {
    tables.joins.iter().any(|join| {
        matches!(
            &join.join_operator,
            JoinOperator::Join(JoinConstraint::Natural)
                | JoinOperator::Inner(JoinConstraint::Natural)
                | JoinOperator::Left(JoinConstraint::Natural)
                | JoinOperator::LeftOuter(JoinConstraint::Natural)
                | JoinOperator::Right(JoinConstraint::Natural)
                | JoinOperator::RightOuter(JoinConstraint::Natural)
                | JoinOperator::FullOuter(JoinConstraint::Natural)
        )
    })
}

/// Leaves the columns out of the wildcards that would have them.
fn hide(select: &mut Select, shown: &BTreeSet<String>, fold: bool) -> Result<()> {
    for item in &mut select.projection {
        let options = match item {
            SelectItem::Wildcard(_) if shown.len() > 1 => {
                return Err(external(
                    Error::unsupported("`*` cannot stand beside hidden columns of several tables")
                        .with("columns", HIDDEN.join(", "))
                        .with_hint("write `t.*` for each table"),
                ));
            }
            SelectItem::Wildcard(options) => options,
            SelectItem::QualifiedWildcard(
                SelectItemQualifiedWildcardKind::ObjectName(name),
                options,
            ) => {
                let last = name.0.last().and_then(ObjectNamePart::as_ident);
                if !last.is_some_and(|ident| shown.contains(&folded(ident, fold))) {
                    continue;
                }
                options
            }
            _ => continue,
        };
        let mut names = match options.opt_exclude.take() {
            None => Vec::new(),
            Some(ExcludeSelectItem::Single(name)) => vec![name],
            Some(ExcludeSelectItem::Multiple(names)) => names,
        };
        let hidden = HIDDEN.map(|name| ObjectName::from(Ident::with_quote('"', name)));
        names.extend(hidden);
        options.opt_exclude = Some(ExcludeSelectItem::Multiple(names));
    }
    Ok(())
}

/// Which hidden columns a query block names.
struct Named {
    fold: bool,
    /// How many queries deep it looks.
    depth: usize,
    /// By themselves, in the block and not in a query inside it.
    alone: bool,
    /// After a table's name, which may be in a query inside.
    tables: BTreeSet<String>,
}

impl Named {
    fn new(fold: bool) -> Self {
        Self {
            fold,
            depth: 0,
            alone: false,
            tables: BTreeSet::new(),
        }
    }

    fn look_at(&mut self, part: &impl Visit) {
        let ControlFlow::Continue(()) = part.visit(self);
    }

    fn is_empty(&self) -> bool {
        !self.alone && self.tables.is_empty()
    }

    /// Whether a table with this name may be meant.
    fn of(&self, table: &str) -> bool {
        self.alone || self.tables.contains(table)
    }

    fn is_hidden(&self, ident: &Ident) -> bool {
        HIDDEN.contains(&folded(ident, self.fold).as_str())
    }
}

impl Visitor for Named {
    type Break = std::convert::Infallible;

    fn pre_visit_query(&mut self, _query: &Query) -> ControlFlow<Self::Break> {
        self.depth += 1;
        ControlFlow::Continue(())
    }

    fn post_visit_query(&mut self, _query: &Query) -> ControlFlow<Self::Break> {
        self.depth -= 1;
        ControlFlow::Continue(())
    }

    fn pre_visit_expr(&mut self, expr: &Expr) -> ControlFlow<Self::Break> {
        match expr {
            Expr::Identifier(ident) if self.depth == 0 => self.alone |= self.is_hidden(ident),
            Expr::CompoundIdentifier(parts) => {
                if let [.., table, column] = parts.as_slice()
                    && self.is_hidden(column)
                {
                    self.tables.insert(folded(table, self.fold));
                }
            }
            _ => {}
        }
        ControlFlow::Continue(())
    }
}
