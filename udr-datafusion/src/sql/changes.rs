//! `table_changes` and `udr_changes` become names that the catalog resolves.

use datafusion::common::{Result, TableReference};
use datafusion::error::DataFusionError;
use datafusion::sql::sqlparser::ast::{
    Expr, FunctionArg, FunctionArgExpr, Ident, ObjectName, Value,
};
use udr_core::Error;

use super::external;
use super::operand::string;
use crate::catalog::system::SYSTEM_SCHEMA;
use crate::catalog::{CHANGES, NET_CHANGES};
use crate::changes::INCLUDED;

/// A table function that reads what changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum ChangeFunction {
    /// `table_changes('t', first [, last] [, net_changes => true])`: both commits are part of it, as
    /// Delta Lake and `DuckLake` have it.
    Table,
    /// `udr_changes(from [, to [, 't', 'u', …]])`: the commits after one state, up to another.
    Udr,
}

/// The arguments of a call.
struct Call<'a> {
    positional: Vec<&'a Expr>,
    net: bool,
}

impl ChangeFunction {
    pub(crate) const ALL: [Self; 2] = [Self::Table, Self::Udr];

    /// Its name.
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::Table => "table_changes",
            Self::Udr => "udr_changes",
        }
    }

    /// The function that a name is of.
    pub(super) fn of(name: &ObjectName) -> Option<Self> {
        let [part] = name.0.as_slice() else {
            return None;
        };
        let name = &part.as_ident()?.value;
        let is_called = |function: &Self| name.eq_ignore_ascii_case(function.as_str());
        Self::ALL.into_iter().find(is_called)
    }

    /// The name that does what the call does; `revision` reads an argument as one.
    ///
    /// # Errors
    ///
    /// `Invalid`, with how it is called.
    pub(super) fn name(
        self,
        args: &[FunctionArg],
        revision: impl Fn(&Expr) -> Result<String>,
    ) -> Result<ObjectName> {
        let Call { positional, net } = self.call(args)?;
        let end = |expr: Option<&&Expr>| match expr {
            Some(expr) => revision(expr).and_then(range_end),
            None => Ok(String::new()),
        };
        let parts = match (self, positional.as_slice()) {
            (Self::Table, [table, first, last @ ..]) if last.len() <= 1 => {
                let range = format!("{INCLUDED}{}..{}", end(Some(first))?, end(last.first())?);
                let mut parts = self.table(table)?.to_vec();
                let word = if net { NET_CHANGES } else { CHANGES };
                if let Some(table) = parts.last_mut() {
                    *table = format!("{table}${word}@{range}");
                }
                parts
            }
            (Self::Udr, [from, rest @ ..]) => {
                let range = format!("{}..{}", end(Some(from))?, end(rest.first())?);
                let tables = rest.iter().skip(1).map(|expr| self.listed(expr));
                let tables = tables.collect::<Result<Vec<_>>>()?;
                let what = match tables.is_empty() {
                    true => CHANGES.to_owned(),
                    false => format!("{CHANGES}${}", tables.join(",")),
                };
                vec![SYSTEM_SCHEMA.to_owned(), format!("{what}@{range}")]
            }
            _ => return Err(self.usage()),
        };
        let parts = parts.into_iter().map(|part| Ident::with_quote('"', part));
        Ok(ObjectName::from(parts.collect::<Vec<_>>()))
    }

    fn call(self, args: &[FunctionArg]) -> Result<Call<'_>> {
        let mut call = Call {
            positional: Vec::with_capacity(args.len()),
            net: false,
        };
        for argument in args {
            match argument {
                FunctionArg::Unnamed(FunctionArgExpr::Expr(expr)) => call.positional.push(expr),
                FunctionArg::Named {
                    name,
                    arg: FunctionArgExpr::Expr(Expr::Value(value)),
                    ..
                } if self == Self::Table && name.value.eq_ignore_ascii_case(NET_CHANGES) => {
                    let Value::Boolean(value) = value.value else {
                        return Err(self.usage());
                    };
                    call.net = value;
                }
                _ => return Err(self.usage()),
            }
        }
        Ok(call)
    }

    /// The table that a string names, as it is named in SQL.
    fn table(self, expr: &Expr) -> Result<TableReference> {
        let Expr::Value(value) = expr else {
            return Err(self.usage());
        };
        let text = string(&value.value).ok_or_else(|| self.usage())?;
        let table = TableReference::parse_str(text);
        if table.table().contains(['@', '$', ',']) {
            return Err(external(
                Error::invalid("a feed is of a table, whose name has no `@`, `$` or `,`")
                    .with("name", text),
            ));
        }
        Ok(table)
    }

    /// A table of a list of several.
    fn listed(self, expr: &Expr) -> Result<String> {
        match self.table(expr)? {
            TableReference::Bare { table } => Ok(table.to_string()),
            TableReference::Partial { schema, table } => Ok(format!("{schema}.{table}")),
            TableReference::Full { catalog, .. } => Err(external(
                Error::invalid("a feed of several tables is of one branch")
                    .with("branch", catalog)
                    .with_hint("read dev.udr.\"changes$orders,lines@3..7\""),
            )),
        }
    }

    fn usage(self) -> DataFusionError {
        let usage = match self {
            Self::Table => {
                "table_changes('t', 3, 7), or table_changes('t', 3, net_changes => true)"
            }
            Self::Udr => "udr_changes(3, 7), or udr_changes('main~5', 'main', 'orders', 'lines')",
        };
        let error = Error::invalid(format!("{} was called wrongly", self.as_str()));
        external(error.with_hint(usage))
    }
}

/// A revision that can stand in a range.
pub(super) fn range_end(text: String) -> Result<String> {
    if text.contains("..") || text.starts_with(INCLUDED) {
        return Err(external(
            Error::invalid("a revision with two dots cannot be part of a range")
                .with("revision", text),
        ));
    }
    Ok(text)
}
