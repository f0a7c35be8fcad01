//! `INSERT INTO t REPLACE WHERE predicate query`.
//!
//! Rows of the table for which the predicate holds give way to the rows of the query, for all of
//! which it must hold too.

use datafusion::common::Result;
use datafusion::sql::sqlparser::ast::{Expr, Insert, Query};
use udr_core::Error;

use super::returning::has_subquery;
use super::target::{Named, Target};
use super::{Form, build};
use crate::sql::external;

/// Rows in the place of those that a predicate holds for.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Replace {
    /// What gives the new rows.
    pub(crate) insert: Insert,
    /// The rows that give way: all of the target's columns, and the predicate as its only filter.
    pub(crate) old: Query,
}

/// What a REPLACE WHERE does, as it is planned.
///
/// # Errors
///
/// `Unsupported` with OVERWRITE, or if the predicate looks at other rows.
pub(super) fn replace_where(
    insert: Insert,
    predicate: Expr,
    named: &Named,
    target: &Target,
) -> Result<Form> {
    if insert.overwrite {
        return Err(external(
            Error::unsupported("INSERT OVERWRITE replaces all rows")
                .with_hint("INSERT INTO t REPLACE WHERE …"),
        ));
    }
    if has_subquery(&predicate) {
        return Err(external(
            Error::unsupported(
                "REPLACE WHERE takes no subquery, since it must hold for each new row",
            )
            .with_hint("use MERGE, or DELETE and INSERT inside BEGIN … COMMIT"),
        ));
    }
    target.refuse_generated(&predicate, None)?;
    let old = build::select(
        vec![build::everything()],
        vec![build::alone(named.factor())],
        Some(predicate),
    );
    Ok(Form::Replace(Box::new(Replace { insert, old })))
}
