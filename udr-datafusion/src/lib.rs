//! UDR as a plug-in for Apache DataFusion.
//!
//! [`install()`] gives a live `SessionContext` a catalog whose tables are those of a repository: every
//! branch and tag is a catalog too, `"t@42"` is a table as it was, and `START TRANSACTION`,
//! `INSERT` and `INSERT OVERWRITE` commit to the repository. That is all through plain SQL;
//! [`udr_sql`] adds branches, tags, DDL and version clauses in every dialect's spelling, and the
//! table function `udr_call('…')` runs those statements through plain SQL, too.
//!
//! ```text
//! SQL ─► names resolved (catalog) ─► one state per statement (plan) ─► scan (table) or write (exec)
//! ```

pub mod error;
pub mod exec;
pub mod session;
pub mod sql;

mod catalog;
mod changes;
mod constraint;
mod functions;
mod install;
mod plan;
mod statement;
mod table;

pub use changes::is_unbounded;
pub use install::{DefaultCatalog, InstallOptions, install};
pub use session::{BeginOptions, SessionStatus, TransactionStatus, UdrSession};
pub use statement::udr_sql;
