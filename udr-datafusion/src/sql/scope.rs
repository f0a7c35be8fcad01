//! Which names are common table expressions while a query is walked.

use std::ops::ControlFlow;

use datafusion::sql::sqlparser::ast::{Ident, ObjectName, Query, VisitMut as _, VisitorMut, With};

/// The names of the common table expressions in scope, and the `WITH` clauses that were walked.
#[derive(Debug, Default)]
pub(crate) struct CteScope {
    names: Vec<String>,
    walked: Vec<Option<With>>,
    fold: bool,
}

/// An identifier as DataFusion understands it.
pub(crate) fn folded(ident: &Ident, fold: bool) -> String {
    if fold && ident.quote_style.is_none() {
        ident.value.to_ascii_lowercase()
    } else {
        ident.value.clone()
    }
}

impl CteScope {
    pub(crate) fn new(fold: bool) -> Self {
        Self {
            fold,
            ..Self::default()
        }
    }

    /// Whether `name` is that of a common table expression here.
    pub(crate) fn holds(&self, name: &ObjectName) -> bool {
        let [part] = name.0.as_slice() else {
            return false;
        };
        part.as_ident()
            .is_some_and(|ident| self.names.contains(&folded(ident, self.fold)))
    }
}

/// A visitor that has to know what a name means; it calls [`enter`] and [`leave`] around queries.
pub(crate) trait Scoped: VisitorMut {
    fn scope(&mut self) -> &mut CteScope;
}

/// Walks the query's `WITH` clause first: each expression sees the ones before it, and itself only
/// if the clause is recursive. The clause is taken out of the query, so that it is walked once.
pub(crate) fn enter<V: Scoped>(visitor: &mut V, query: &mut Query) -> ControlFlow<V::Break> {
    let mut with = query.with.take();
    if let Some(with) = &mut with {
        for cte in &mut with.cte_tables {
            let name = folded(&cte.alias.name, visitor.scope().fold);
            if with.recursive {
                visitor.scope().names.push(name);
                cte.visit(visitor)?;
            } else {
                cte.visit(visitor)?;
                visitor.scope().names.push(name);
            }
        }
    }
    visitor.scope().walked.push(with);
    ControlFlow::Continue(())
}

/// Puts the `WITH` clause back and forgets its names.
pub(crate) fn leave<V: Scoped>(visitor: &mut V, query: &mut Query) -> ControlFlow<V::Break> {
    let scope = visitor.scope();
    query.with = scope.walked.pop().flatten();
    let count = query.with.as_ref().map_or(0, |with| with.cte_tables.len());
    scope
        .names
        .truncate(scope.names.len().saturating_sub(count));
    ControlFlow::Continue(())
}
