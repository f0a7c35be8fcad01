//! The SQL that only UDR has, and the version clauses of SQL that everybody has.
//!
//! In: text. Out: a [`ast::Statement`] whose version clauses have become names such as `"t@42"`,
//! which any engine resolves through its catalog. Pure but for constant expressions, which
//! DataFusion evaluates. Called by `statement` and `functions`; the prompt uses
//! [`split_statements`] and [`is_complete`].

pub(crate) mod alter;
pub(crate) mod ast;
pub(crate) mod changes;
mod clause;
mod command;
pub(crate) mod constant;
mod cursor;
mod dialect;
pub(crate) mod dml;
mod evolving;
pub(crate) mod hidden;
pub(crate) mod instant;
pub(crate) mod layout;
mod leftover;
mod operand;
pub(crate) mod parser;
pub(crate) mod scope;
mod split;
pub(crate) mod stack;
mod subscribe;
pub(crate) mod version;

pub use dialect::UdrDialect;
pub use split::{is_complete, split_statements};

use datafusion::common::DataFusionError;

/// Wraps an error so that it survives DataFusion.
pub(crate) fn external(error: udr_core::Error) -> DataFusionError {
    DataFusionError::External(Box::new(error))
}
