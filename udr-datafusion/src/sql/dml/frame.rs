//! What stands around a change of rows: `EXPLAIN`, `PREPARE … AS`, `WITH`.

use datafusion::sql::parser::{ExplainStatement, Statement as SqlStatement};
use datafusion::sql::sqlparser::ast::{Query, SetExpr, Statement, With};

/// A statement with a place in it for another one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Frame(Option<SqlStatement>);

impl Frame {
    /// Takes a statement that changes rows out of what stands around it; `None` if there is none.
    pub(crate) fn split(statement: &SqlStatement) -> Option<(Self, Statement, Option<With>)> {
        let (inner, with) = change(innermost(statement)?)?;
        Some((Self(Some(statement.clone())), inner.clone(), with.cloned()))
    }

    /// Nothing around a statement.
    pub(crate) fn none() -> Self {
        Self(None)
    }

    /// Whether nothing but `WITH` stood around the statement.
    pub(crate) fn is_empty(&self) -> bool {
        match &self.0 {
            None => true,
            Some(SqlStatement::Statement(statement)) => {
                !matches!(statement.as_ref(), Statement::Prepare { .. })
            }
            Some(_) => false,
        }
    }

    /// Whether the statement is stored, to be executed later.
    pub(crate) fn prepares(&self) -> bool {
        fn is(statement: &SqlStatement) -> bool {
            match statement {
                SqlStatement::Explain(explain) => is(&explain.statement),
                SqlStatement::Statement(statement) => {
                    matches!(statement.as_ref(), Statement::Prepare { .. })
                }
                _ => false,
            }
        }
        self.0.as_ref().is_some_and(is)
    }

    /// Whether the types of a stored statement's parameters are given.
    pub(crate) fn has_types(&self) -> bool {
        fn has(statement: &SqlStatement) -> bool {
            match statement {
                SqlStatement::Explain(explain) => has(&explain.statement),
                SqlStatement::Statement(statement) => matches!(
                    statement.as_ref(),
                    Statement::Prepare { data_types, .. } if !data_types.is_empty()
                ),
                _ => false,
            }
        }
        self.0.as_ref().is_some_and(has)
    }

    /// The frame around another statement.
    pub(crate) fn around(&self, inner: Statement) -> SqlStatement {
        match &self.0 {
            Some(outer) => fill(outer, inner),
            None => SqlStatement::Statement(Box::new(inner)),
        }
    }
}

fn innermost(statement: &SqlStatement) -> Option<&Statement> {
    match statement {
        SqlStatement::Explain(explain) => innermost(&explain.statement),
        SqlStatement::Statement(statement) => match statement.as_ref() {
            Statement::Prepare { statement, .. } => Some(statement),
            statement => Some(statement),
        },
        _ => None,
    }
}

fn change(statement: &Statement) -> Option<(&Statement, Option<&With>)> {
    match statement {
        Statement::Insert(_)
        | Statement::Update(_)
        | Statement::Delete(_)
        | Statement::Merge(_) => Some((statement, None)),
        Statement::Query(query) => match query.body.as_ref() {
            SetExpr::Insert(statement)
            | SetExpr::Update(statement)
            | SetExpr::Delete(statement)
            | SetExpr::Merge(statement) => {
                let (statement, _) = change(statement)?;
                Some((statement, query.with.as_ref()))
            }
            _ => None,
        },
        _ => None,
    }
}

fn fill(outer: &SqlStatement, inner: Statement) -> SqlStatement {
    match outer {
        SqlStatement::Explain(explain) => SqlStatement::Explain(ExplainStatement {
            options: explain.options.clone(),
            statement: Box::new(fill(&explain.statement, inner)),
        }),
        SqlStatement::Statement(statement) => match statement.as_ref() {
            Statement::Prepare {
                name, data_types, ..
            } => SqlStatement::Statement(Box::new(Statement::Prepare {
                name: name.clone(),
                data_types: data_types.clone(),
                statement: Box::new(inner),
            })),
            _ => SqlStatement::Statement(Box::new(inner)),
        },
        _ => SqlStatement::Statement(Box::new(inner)),
    }
}

/// The query as a statement.
pub(crate) fn query_statement(query: Query) -> Statement {
    Statement::Query(Box::new(query))
}
