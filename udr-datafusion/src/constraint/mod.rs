//! Constraints: what statements say of them, and that rows obey them.
//!
//! In: the constraints of a CREATE or ALTER TABLE; rows about to be written; a state about to be
//! published. Out: stored constraints; the rows, with generated columns filled in; or the error
//! that names constraint, table and row. Called by `statement` (definitions), by whatever writes
//! data files ([`RowRules`], one row at a time) and by every commit ([`Validator`], rows together).

mod definition;
mod expression;
mod keys;
mod query;
mod row_rules;
mod validator;

pub(crate) use definition::{Definition, TableDefinitions, check_generated, find_field};
pub(crate) use row_rules::{Given, RowRules, RuleBasis};
pub(crate) use validator::Validator;
