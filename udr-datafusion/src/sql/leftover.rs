//! The last check: no version clause is left in a statement.

use std::ops::ControlFlow;

use datafusion::sql::parser::{CopyToSource, Statement as SqlStatement};
use datafusion::sql::sqlparser::ast::{Statement, TableFactor, Visit as _, Visitor};

/// A version clause that is still in the statement.
pub(super) fn leftover(statement: &SqlStatement) -> Option<String> {
    let mut found = Leftover(None);
    let flow = match statement {
        SqlStatement::Statement(statement) => statement.visit(&mut found),
        SqlStatement::CopyTo(copy) => match &copy.source {
            CopyToSource::Relation(_) => ControlFlow::Continue(()),
            CopyToSource::Query(query) => query.visit(&mut found),
        },
        SqlStatement::Explain(explain) => return leftover(&explain.statement),
        SqlStatement::CreateExternalTable(_) | SqlStatement::Reset(_) => ControlFlow::Continue(()),
    };
    match flow {
        ControlFlow::Continue(()) => None,
        ControlFlow::Break(()) => found.0,
    }
}

struct Leftover(Option<String>);

impl Visitor for Leftover {
    type Break = ();

    fn pre_visit_table_factor(&mut self, factor: &TableFactor) -> ControlFlow<()> {
        match factor {
            TableFactor::Table {
                version: Some(version),
                ..
            } => {
                self.0 = Some(version.to_string());
                ControlFlow::Break(())
            }
            _ => ControlFlow::Continue(()),
        }
    }

    fn pre_visit_statement(&mut self, statement: &Statement) -> ControlFlow<()> {
        match statement {
            Statement::CreateTable(table) if table.version.is_some() => {
                self.0 = table.version.as_ref().map(ToString::to_string);
                ControlFlow::Break(())
            }
            _ => ControlFlow::Continue(()),
        }
    }
}
