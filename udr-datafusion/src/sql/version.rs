//! Version clauses of a parsed statement become names: `t VERSION AS OF 42` is `"t@42" AS t`. So do
//! calls of functions that read other states.
//!
//! So the catalog, the only asynchronous place of planning, resolves them, and no planner can drop
//! them. A clause that cannot become a name is refused; after the walk none is left.

use std::ops::ControlFlow;

use datafusion::common::TableReference;
use datafusion::common::{DataFusionError, Result};
use datafusion::scalar::ScalarValue;
use datafusion::sql::parser::{CopyToSource, Statement as SqlStatement};
use datafusion::sql::sqlparser::ast::{
    Expr, FromTable, FunctionArg, FunctionArgExpr, FunctionArgOperator, FunctionArguments, Ident,
    ObjectName, ObjectNamePart, Query, Statement, TableAlias, TableFactor, TableVersion,
    TableWithJoins, VisitMut as _, VisitorMut,
};
use datafusion::sql::sqlparser::parser::Parser;
use udr_core::Error;

use super::ast::RefKind;
use super::changes::ChangeFunction;
use super::dialect::UdrDialect;
use super::leftover::leftover;
use super::operand::{is_literal, revision_text, string};
use super::scope::{CteScope, Scoped, enter, folded, leave};
use super::{external, instant};

/// The name of the table function that reads a table at a revision.
const AT_FUNCTION: &str = "udr_at";

/// Evaluates an expression without columns.
pub(crate) type Evaluate<'a> = dyn Fn(Expr) -> Result<ScalarValue> + 'a;

/// A name that a clause said is a branch, or a tag; the revision alone does not say which.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Claim {
    pub(crate) kind: RefKind,
    pub(crate) name: String,
}

/// Turns every version clause in `statement` into a name, and calls of `udr_at`,
/// `table_changes` and `udr_changes` too.
///
/// Returns what the caller has to check about branches and tags.
///
/// # Errors
///
/// `Invalid` or `Unsupported`, if a clause stands where there is no version to read, or says
/// nothing that is constant.
pub(crate) fn lift(
    statement: &mut SqlStatement,
    fold: bool,
    evaluate: &Evaluate<'_>,
) -> Result<Vec<Claim>> {
    let mut lift = Lift {
        scope: CteScope::new(fold),
        evaluate,
        fold,
        stored: false,
        claims: Vec::new(),
    };
    lift.statement(statement)?;
    match leftover(statement) {
        None => Ok(lift.claims),
        Some(version) => Err(external(
            Error::unsupported("a version clause cannot be used here").with("clause", version),
        )),
    }
}

struct Lift<'a> {
    scope: CteScope,
    evaluate: &'a Evaluate<'a>,
    fold: bool,
    /// Whether the statement is stored as text, to mean the same whenever it is used.
    stored: bool,
    claims: Vec<Claim>,
}

impl Scoped for Lift<'_> {
    fn scope(&mut self) -> &mut CteScope {
        &mut self.scope
    }
}

fn flow(result: Result<()>) -> ControlFlow<DataFusionError> {
    match result {
        Ok(()) => ControlFlow::Continue(()),
        Err(error) => ControlFlow::Break(error),
    }
}

fn result(flow: ControlFlow<DataFusionError>) -> Result<()> {
    match flow {
        ControlFlow::Continue(()) => Ok(()),
        ControlFlow::Break(error) => Err(error),
    }
}

fn invalid(message: &str) -> DataFusionError {
    external(Error::invalid(message))
}

impl VisitorMut for Lift<'_> {
    type Break = DataFusionError;

    fn pre_visit_query(&mut self, query: &mut Query) -> ControlFlow<Self::Break> {
        enter(self, query)
    }

    fn post_visit_query(&mut self, query: &mut Query) -> ControlFlow<Self::Break> {
        leave(self, query)
    }

    fn pre_visit_statement(&mut self, statement: &mut Statement) -> ControlFlow<Self::Break> {
        self.stored |= matches!(
            statement,
            Statement::CreateView(_) | Statement::Prepare { .. }
        );
        flow(check_targets(statement))
    }

    fn pre_visit_table_factor(&mut self, factor: &mut TableFactor) -> ControlFlow<Self::Break> {
        flow(self.table_factor(factor))
    }
}

impl Lift<'_> {
    fn statement(&mut self, statement: &mut SqlStatement) -> Result<()> {
        match statement {
            SqlStatement::Statement(statement) => result(statement.visit(self)),
            SqlStatement::CopyTo(copy) => match &mut copy.source {
                CopyToSource::Relation(_) => Ok(()),
                CopyToSource::Query(query) => result(query.visit(self)),
            },
            SqlStatement::Explain(explain) => self.statement(&mut explain.statement),
            SqlStatement::CreateExternalTable(_) | SqlStatement::Reset(_) => Ok(()),
        }
    }

    fn table_factor(&mut self, factor: &mut TableFactor) -> Result<()> {
        let TableFactor::Table {
            name,
            alias,
            args,
            version,
            ..
        } = factor
        else {
            return Ok(());
        };
        match (version.take(), &args) {
            (Some(_), Some(_)) => Err(external(
                Error::unsupported("a table function has no versions")
                    .with("function", name.to_string()),
            )),
            (Some(version), None) => {
                if self.scope.holds(name) {
                    return Err(external(
                        Error::invalid("a common table expression has no versions")
                            .with("name", name.to_string())
                            .with_hint("put the version clause inside it"),
                    ));
                }
                let revision = self.revision(version)?;
                self.rename(name, alias, &revision)
            }
            (None, Some(call)) if is_at_function(name) => {
                let (table, revision) = self.at_function(&call.args)?;
                *name = table;
                *args = None;
                self.rename(name, alias, &revision)
            }
            (None, Some(call)) => {
                let Some(function) = ChangeFunction::of(name) else {
                    return Ok(());
                };
                let feed = function.name(&call.args, |expr| match expr {
                    Expr::Value(_) | Expr::Identifier(_) => revision_text(expr),
                    expr => self.instant(expr.clone()),
                })?;
                *name = feed;
                *args = None;
                alias.get_or_insert_with(|| TableAlias {
                    explicit: true,
                    name: Ident::new(function.as_str()),
                    columns: Vec::new(),
                    at: None,
                });
                Ok(())
            }
            (None, None) => Ok(()),
        }
    }

    /// Appends the revision to the name, and keeps the name as alias so that `t.column` works.
    fn rename(
        &self,
        name: &mut ObjectName,
        alias: &mut Option<TableAlias>,
        revision: &str,
    ) -> Result<()> {
        let Some(ObjectNamePart::Identifier(last)) = name.0.last_mut() else {
            return Err(invalid(
                "a version clause needs a table's plain name before it",
            ));
        };
        if last.value.contains('@') {
            return Err(external(
                Error::invalid("the name has a version, and a version clause gives another")
                    .with("name", last.value.clone()),
            ));
        }
        let versioned = format!("{}@{revision}", folded(last, self.fold));
        let original = std::mem::replace(last, Ident::with_quote('"', versioned));
        alias.get_or_insert_with(|| TableAlias {
            explicit: true,
            name: original,
            columns: Vec::new(),
            at: None,
        });
        Ok(())
    }

    fn revision(&mut self, version: TableVersion) -> Result<String> {
        match version {
            TableVersion::VersionAsOf(expr) => revision_text(&expr),
            TableVersion::TimestampAsOf(expr) | TableVersion::ForSystemTimeAsOf(expr) => {
                self.instant(expr)
            }
            TableVersion::Function(Expr::Function(function)) => {
                let name = function.name.to_string().to_ascii_uppercase();
                if name != "AT" {
                    return Err(external(
                        Error::unsupported("this version clause is not implemented")
                            .with("clause", name)
                            .with_hint("AT (VERSION => …), AT (TIMESTAMP => …) and others are"),
                    ));
                }
                let FunctionArguments::List(list) = function.args else {
                    return Err(invalid("AT needs one named argument"));
                };
                match <[FunctionArg; 1]>::try_from(list.args) {
                    Ok([argument]) if list.clauses.is_empty() => self.at_argument(argument),
                    _ => Err(invalid(
                        "AT needs one named argument, such as AT (VERSION => 42)",
                    )),
                }
            }
            TableVersion::Function(_) => Err(invalid("AT needs one named argument")),
            TableVersion::Changes { .. } => Err(external(Error::unsupported(
                "reading changes with CHANGES (…) is not implemented",
            ))),
        }
    }

    /// `VERSION => 42` and its siblings.
    fn at_argument(&mut self, argument: FunctionArg) -> Result<String> {
        let FunctionArg::Named {
            name,
            arg: FunctionArgExpr::Expr(expr),
            operator: FunctionArgOperator::RightArrow,
        } = argument
        else {
            return Err(invalid(
                "AT needs one named argument, such as AT (VERSION => 42)",
            ));
        };
        match name.value.to_ascii_uppercase().as_str() {
            "VERSION" | "SNAPSHOT" | "REVISION" => revision_text(&expr),
            "TIMESTAMP" => self.instant(expr),
            "OFFSET" => self.offset(expr),
            "BRANCH" => self.claim(RefKind::Branch, &expr),
            "TAG" => self.claim(RefKind::Tag, &expr),
            other => Err(external(
                Error::unsupported("AT does not know this argument")
                    .with("argument", other)
                    .with_hint("VERSION, TIMESTAMP, OFFSET, BRANCH, TAG or SNAPSHOT"),
            )),
        }
    }

    fn claim(&mut self, kind: RefKind, expr: &Expr) -> Result<String> {
        let name = revision_text(expr)?;
        self.claims.push(Claim {
            kind,
            name: name.clone(),
        });
        Ok(name)
    }

    fn instant(&self, expr: Expr) -> Result<String> {
        let micros = self.micros(expr)?;
        instant::render(micros).map_err(external)
    }

    /// Seconds before now, as a negative number.
    fn offset(&self, expr: Expr) -> Result<String> {
        self.check_stored(&expr, false)?;
        let seconds = match (self.evaluate)(expr)? {
            ScalarValue::Int64(Some(seconds)) if seconds <= 0 => seconds,
            ScalarValue::UInt64(Some(0)) => 0,
            _ => {
                return Err(invalid(
                    "OFFSET is a whole number of seconds, zero or negative",
                ));
            }
        };
        let now = Parser::new(&UdrDialect)
            .try_with_sql("now()")
            .and_then(|mut p| p.parse_expr());
        let now = now.map_err(|e| DataFusionError::SQL(Box::new(e), None))?;
        let now = instant::micros(&(self.evaluate)(now)?).map_err(external)?;
        let micros = seconds
            .checked_mul(1_000_000)
            .and_then(|offset| now.checked_add(offset));
        let micros = micros.ok_or_else(|| invalid("OFFSET reaches too far back"))?;
        instant::render(micros).map_err(external)
    }

    fn micros(&self, expr: Expr) -> Result<i64> {
        if let Expr::Value(value) = &expr
            && let Some(text) = string(&value.value)
        {
            return instant::parse(text).map_err(external);
        }
        self.check_stored(&expr, is_literal(&expr))?;
        instant::micros(&(self.evaluate)(expr)?).map_err(external)
    }

    /// A stored statement must not freeze what was computed when it was stored.
    fn check_stored(&self, expr: &Expr, literal: bool) -> Result<()> {
        if literal || !self.stored {
            return Ok(());
        }
        Err(external(
            Error::unsupported("a time in a view or a prepared statement must be a literal")
                .with("expression", expr.to_string()),
        ))
    }

    /// The table and the revision of `udr_at('table', 'revision')`.
    fn at_function(&self, args: &[FunctionArg]) -> Result<(ObjectName, String)> {
        let usage = || invalid("udr_at takes a table's name and a revision: udr_at('t', 'main~2')");
        let [table, revision] = args else {
            return Err(usage());
        };
        let (Some(Expr::Value(table)), Some(revision)) = (unnamed(table), unnamed(revision)) else {
            return Err(usage());
        };
        let table = string(&table.value).ok_or_else(usage)?;
        let parts = TableReference::parse_str(table).to_vec();
        let name = parts
            .into_iter()
            .map(|part| Ident::with_quote('"', part))
            .collect::<Vec<_>>();
        let revision = match revision {
            Expr::Value(_) => revision_text(revision)?,
            expr => self.instant(expr.clone())?,
        };
        Ok((ObjectName::from(name), revision))
    }
}

fn unnamed(argument: &FunctionArg) -> Option<&Expr> {
    match argument {
        FunctionArg::Unnamed(FunctionArgExpr::Expr(expr)) => Some(expr),
        _ => None,
    }
}

fn is_at_function(name: &ObjectName) -> bool {
    let [part] = name.0.as_slice() else {
        return false;
    };
    part.as_ident()
        .is_some_and(|ident| ident.value.eq_ignore_ascii_case(AT_FUNCTION))
}

/// A statement changes the head; it cannot change another version.
fn check_targets(statement: &Statement) -> Result<()> {
    let first = |tables: &[TableWithJoins]| tables.first().map(|t| t.relation.clone());
    let (what, target) = match statement {
        Statement::Update(update) => ("UPDATE", Some(update.table.relation.clone())),
        Statement::Delete(delete) => (
            "DELETE",
            match &delete.from {
                FromTable::WithFromKeyword(tables) | FromTable::WithoutKeyword(tables) => {
                    first(tables)
                }
            },
        ),
        Statement::Merge(merge) => ("MERGE", Some(merge.table.clone())),
        _ => return Ok(()),
    };
    match target {
        Some(TableFactor::Table {
            name,
            version: Some(_),
            ..
        }) => Err(external(
            Error::invalid("only the newest version of a table can be changed")
                .with("statement", what)
                .with("table", name.to_string())
                .with_hint("read the old version in a subquery, or create a branch from it"),
        )),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests;
