//! Rules that keep DataFusion from giving wrong answers.
//!
//! In: a plan or a relation of a statement. Out: the same with one state for all its tables, with
//! changes of rows as INSERTs of what changes, with transaction statements made runnable, or a refusal. Called by DataFusion.

mod analyzer;
mod change;
mod checked;
pub(crate) mod guard;
mod in_lists;
mod relation;
mod sums;
mod values;

pub(crate) use analyzer::UdrAnalyzerRule;
pub(crate) use change::{delete_returning, replace_rows};
pub(crate) use checked::checked;
pub(crate) use in_lists::InLists;
pub(crate) use relation::VersionClauses;
