//! `WITH` in front of a change of rows, which DataFusion knows only in front of queries.
//!
//! Each outermost query of the statement that names one of the expressions gets the clause.

use std::ops::ControlFlow;

use datafusion::common::{DataFusionError, Result};
use datafusion::sql::sqlparser::ast::{
    Ident, ObjectName, Query, SetExpr, Statement, TableFactor, Visit as _, VisitMut as _, Visitor,
    VisitorMut, With,
};
use udr_core::Error;

use super::build;
use super::target::target_name;
use crate::sql::external;
use crate::sql::scope::folded;

/// Moves `with` into the queries of `statement`.
///
/// # Errors
///
/// `Unsupported` if an expression changes rows; `Invalid` if the target is one of the expressions.
pub(super) fn push(with: &With, statement: &mut Statement, fold: bool) -> Result<()> {
    if changes_rows(with) {
        return Err(external(
            Error::unsupported("an expression in WITH cannot change rows")
                .with_hint("run it as a statement of its own, both inside BEGIN … COMMIT"),
        ));
    }
    let names = with
        .cte_tables
        .iter()
        .map(|cte| folded(&cte.alias.name, fold))
        .collect::<Vec<_>>();
    let mut push = Push {
        with,
        names,
        fold,
        depth: 0,
    };
    if let Some(target) = target_name(statement)
        && push.named(target).is_some()
    {
        return Err(external(
            Error::invalid("a common table expression cannot be changed")
                .with("name", target.to_string())
                .with_hint("give the expression another name than the table"),
        ));
    }
    match statement.visit(&mut push) {
        ControlFlow::Continue(()) => Ok(()),
        ControlFlow::Break(error) => Err(error),
    }
}

struct Push<'a> {
    with: &'a With,
    names: Vec<String>,
    fold: bool,
    depth: usize,
}

impl Push<'_> {
    /// The expression that `name` names.
    fn named<'n>(&self, name: &'n ObjectName) -> Option<&'n Ident> {
        let [part] = name.0.as_slice() else {
            return None;
        };
        let ident = part.as_ident()?;
        self.names
            .contains(&folded(ident, self.fold))
            .then_some(ident)
    }

    fn is_used_in(&self, query: &Query) -> bool {
        struct Find<'p, 'a>(&'p Push<'a>);
        impl Visitor for Find<'_, '_> {
            type Break = ();
            fn pre_visit_relation(&mut self, name: &ObjectName) -> ControlFlow<()> {
                match self.0.named(name) {
                    Some(_) => ControlFlow::Break(()),
                    None => ControlFlow::Continue(()),
                }
            }
        }
        query.visit(&mut Find(self)).is_break()
    }
}

impl VisitorMut for Push<'_> {
    type Break = DataFusionError;

    fn pre_visit_query(&mut self, query: &mut Query) -> ControlFlow<Self::Break> {
        if self.depth == 0 && self.is_used_in(query) {
            if query.with.is_some() {
                // The inner clause sees the outer one.
                let inner = std::mem::replace(query, build::query(SetExpr::Values(no_rows())));
                *query = build::query(SetExpr::Query(Box::new(inner)));
            }
            query.with = Some(self.with.clone());
        }
        self.depth += 1;
        ControlFlow::Continue(())
    }

    fn post_visit_query(&mut self, _query: &mut Query) -> ControlFlow<Self::Break> {
        self.depth = self.depth.saturating_sub(1);
        ControlFlow::Continue(())
    }

    fn pre_visit_table_factor(&mut self, factor: &mut TableFactor) -> ControlFlow<Self::Break> {
        if self.depth > 0 {
            return ControlFlow::Continue(());
        }
        if let TableFactor::Table {
            name,
            alias,
            args: None,
            ..
        } = factor
            && let Some(ident) = self.named(name)
        {
            let alias = alias.take();
            let alias = alias.unwrap_or_else(|| build::alias(ident.clone()));
            let all = build::select(
                vec![build::everything()],
                vec![build::alone(build::table(name.clone(), None))],
                None,
            );
            *factor = build::derived(all, Some(alias));
        }
        ControlFlow::Continue(())
    }
}

fn no_rows() -> datafusion::sql::sqlparser::ast::Values {
    datafusion::sql::sqlparser::ast::Values {
        explicit_row: false,
        value_keyword: false,
        rows: Vec::new(),
    }
}

/// Whether a statement that changes rows is inside.
fn changes_rows(with: &With) -> bool {
    struct Find;
    impl Visitor for Find {
        type Break = ();
        fn pre_visit_statement(&mut self, _statement: &Statement) -> ControlFlow<()> {
            ControlFlow::Break(())
        }
    }
    with.visit(&mut Find).is_break()
}
