//! `table_changes` and `udr_changes` become names that the catalog resolves.

use datafusion::common::{Result, TableReference};
use datafusion::sql::sqlparser::ast::{
    Expr, FunctionArg, FunctionArgExpr, Ident, ObjectName, Value,
};
use udr_core::Error;
use udr_core::refs::{Revision, parse_time};

use super::external;
use super::operand::string;
use crate::catalog::system::SYSTEM_SCHEMA;
use crate::catalog::{CHANGES, NET_CHANGES};

/// A table function that reads what changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum ChangeFunction {
    /// `table_changes('t', first [, last] [, net_changes => true])`: both commits are part of it, as
    /// Delta Lake and `DuckLake` have it.
    Table,
    /// `udr_changes(from [, to [, 't', 'u', …]])`: the commits after one state, up to another.
    Udr,
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

    /// How it is called.
    pub(crate) fn usage(self) -> &'static str {
        match self {
            Self::Table => {
                "table_changes('t', 3, 7), or table_changes('t', 3, net_changes => true)"
            }
            Self::Udr => {
                "udr_changes(3, 7), or udr_changes('main~5', 'main', 'orders', 'customers')"
            }
        }
    }

    /// The function that a name is of.
    pub(super) fn of(name: &ObjectName) -> Option<Self> {
        let [part] = name.0.as_slice() else {
            return None;
        };
        let name = &part.as_ident()?.value;
        Self::ALL
            .into_iter()
            .find(|function| name.eq_ignore_ascii_case(function.as_str()))
    }

    /// The name that does what the call does; `revision` reads an argument as one.
    pub(super) fn name(
        self,
        args: &[FunctionArg],
        mut revision: impl FnMut(&Expr) -> Result<String>,
    ) -> Result<ObjectName> {
        let usage = || {
            external(
                Error::invalid(format!("{} was called wrongly", self.as_str()))
                    .with_hint(self.usage()),
            )
        };
        let mut positional = Vec::with_capacity(args.len());
        let mut net = false;
        for argument in args {
            match argument {
                FunctionArg::Unnamed(FunctionArgExpr::Expr(expr)) => positional.push(expr),
                FunctionArg::Named {
                    name,
                    arg: FunctionArgExpr::Expr(Expr::Value(value)),
                    ..
                } if self == Self::Table && name.value.eq_ignore_ascii_case(NET_CHANGES) => {
                    let Value::Boolean(value) = value.value else {
                        return Err(usage());
                    };
                    net = value;
                }
                _ => return Err(usage()),
            }
        }
        let text = |expr: &Expr| match expr {
            Expr::Value(value) => string(&value.value).map(str::to_owned).ok_or_else(usage),
            _ => Err(usage()),
        };
        let mut revision = |expr: Option<&&Expr>| match expr {
            Some(expr) => revision(expr).and_then(|text| match text.contains("..") {
                true => Err(external(
                    Error::invalid("a revision with two dots cannot be part of a range")
                        .with("revision", text),
                )),
                false => Ok(text),
            }),
            None => Ok(String::new()),
        };
        let quoted = |part: String| Ident::with_quote('"', part);
        match (self, positional.as_slice()) {
            (Self::Table, [table, from, to @ ..]) if to.len() <= 1 => {
                let from = before(&revision(Some(from))?);
                let range = format!("{from}..{}", revision(to.first())?);
                let mut parts = TableReference::parse_str(&text(table)?).to_vec();
                let word = if net { NET_CHANGES } else { CHANGES };
                let last = parts.pop().ok_or_else(usage)?;
                if last.contains(['@', '$']) {
                    return Err(external(
                        Error::invalid("a feed is of a table, whose name has no `@` and no `$`")
                            .with("name", last),
                    ));
                }
                parts.push(format!("{last}${word}@{range}"));
                Ok(ObjectName::from(
                    parts.into_iter().map(quoted).collect::<Vec<_>>(),
                ))
            }
            (Self::Udr, [from, rest @ ..]) => {
                let range = format!("{}..{}", revision(Some(from))?, revision(rest.first())?);
                let tables = rest.iter().skip(1).map(|table| text(table));
                let tables = tables.collect::<Result<Vec<_>>>()?;
                if let Some(wrong) = tables.iter().find(|t| t.contains(['@', '$', ',', '"'])) {
                    return Err(external(
                        Error::invalid("this is no table's name").with("name", wrong),
                    ));
                }
                let what = match tables.is_empty() {
                    true => CHANGES.to_owned(),
                    false => format!("{CHANGES}${}", tables.join(",")),
                };
                Ok(ObjectName::from(vec![
                    quoted(SYSTEM_SCHEMA.to_owned()),
                    quoted(format!("{what}@{range}")),
                ]))
            }
            _ => Err(usage()),
        }
    }
}

/// The state before the one that `revision` names, or before all that happened from a time on.
fn before(revision: &str) -> String {
    if let Ok(version) = revision.parse::<u64>() {
        let before = version.checked_sub(1);
        return before.map_or_else(String::new, |before| before.to_string());
    }
    match parse_time(revision) {
        Some(time) => Revision::at_time(time.saturating_sub(1)).to_string(),
        None => format!("{revision}~1"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_commit_is_part_of_the_range() {
        assert_eq!(before("3"), "2");
        assert_eq!(before("0"), "");
        assert_eq!(before("v1"), "v1~1");
        assert_eq!(before("main~2"), "main~2~1");
        assert_eq!(before("2026-01-01"), "2025-12-31T23:59:59.999999Z");
    }
}
