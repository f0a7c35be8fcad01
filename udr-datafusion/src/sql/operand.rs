//! What stands behind `AS OF` and in `AT (…)`: literals and names.

use datafusion::common::Result;
use datafusion::sql::sqlparser::ast::{Expr, UnaryOperator, Value};
use udr_core::Error;

use super::external;

/// The longest revision.
const REVISION_BYTES_MAX: usize = 512;

/// The text of a string literal.
pub(super) fn string(value: &Value) -> Option<&str> {
    match value {
        Value::SingleQuotedString(text)
        | Value::EscapedStringLiteral(text)
        | Value::UnicodeStringLiteral(text)
        | Value::NationalStringLiteral(text)
        | Value::SingleQuotedRawStringLiteral(text) => Some(text),
        Value::DollarQuotedString(text) => Some(&text.value),
        _ => None,
    }
}

/// A literal, with a type or a sign perhaps.
pub(super) fn is_literal(expr: &Expr) -> bool {
    match expr {
        Expr::Value(_) | Expr::TypedString(_) => true,
        Expr::Nested(inner) | Expr::Cast { expr: inner, .. } => is_literal(inner),
        Expr::UnaryOp {
            op: UnaryOperator::Minus | UnaryOperator::Plus,
            expr,
        } => is_literal(expr),
        _ => false,
    }
}

/// A revision: a version number, a string, or a name.
pub(super) fn revision_text(expr: &Expr) -> Result<String> {
    let text = match expr {
        Expr::Value(value) => match &value.value {
            Value::Number(digits, _) => {
                let version = digits.to_string().parse::<u64>().map_err(|e| {
                    external(
                        Error::invalid("a version is a whole number")
                            .with("version", digits.to_string())
                            .with_source(e),
                    )
                })?;
                return Ok(version.to_string());
            }
            value => string(value),
        },
        Expr::Identifier(ident) => Some(ident.value.as_str()),
        _ => None,
    };
    let text = text.ok_or_else(|| {
        external(
            Error::invalid("a version is a number, a name or a string")
                .with("expression", expr.to_string()),
        )
    })?;
    check_revision(text).map_err(external)?;
    Ok(text.to_owned())
}

/// Refuses what could not be told apart from the rest of a name.
fn check_revision(text: &str) -> udr_core::Result<()> {
    let refused = |c: char| c.is_control() || matches!(c, '@' | '$' | '"' | '`');
    if text.trim().is_empty() || text.len() > REVISION_BYTES_MAX || text.contains(refused) {
        return Err(Error::invalid("not a revision").with("revision", text).with_hint(
            "a version number, a branch, a tag, a commit id, `main~2` or a time like '2026-01-31'",
        ));
    }
    Ok(())
}
