//! What a statement says, before anything is looked up.

use datafusion::common::TableReference;
use datafusion::sql::parser::Statement as SqlStatement;
use udr_core::txn::Isolation;

use super::alter::AlterTable;
use super::layout::Layout;

/// One parsed statement.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Statement {
    /// A statement that only UDR has.
    Command(Command),
    /// `ALTER TABLE`, `COMMENT ON`
    Alter(Box<AlterTable>),
    /// A `CREATE TABLE` that says how rows are laid out.
    LaidOut(Box<SqlStatement>, Layout),
    /// An INSERT or MERGE that gives its target the columns that it lacks.
    Evolving(Box<SqlStatement>),
    /// Anything that DataFusion parses, its version clauses not resolved yet.
    Sql(Box<SqlStatement>),
}

/// A state as a statement names it, and what it says it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct StateName {
    /// `BRANCH` or `TAG`, if that was said.
    pub(crate) kind: Option<RefKind>,
    pub(crate) revision: String,
}

/// A statement that only UDR has. Revisions and names are as written, without quotes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Command {
    /// `BEGIN …`, `START TRANSACTION …`
    Begin {
        access: Access,
        isolation: Isolation,
        as_of: Option<StateName>,
    },
    /// `COMMIT [MESSAGE '…']`, `END …`
    Commit { message: Option<String> },
    /// `ROLLBACK`, `ABORT`
    Rollback,
    /// `SAVEPOINT s`
    Savepoint(String),
    /// `ROLLBACK TO [SAVEPOINT] s`
    RollbackTo(String),
    /// `RELEASE [SAVEPOINT] s`
    Release(String),
    /// `CREATE BRANCH|TAG [IF NOT EXISTS] name [FROM revision]`
    CreateRef {
        kind: RefKind,
        name: String,
        from: Option<StateName>,
        existing: Existing,
    },
    /// `DROP BRANCH|TAG [IF EXISTS] name`
    DropRef {
        kind: RefKind,
        name: String,
        missing: Missing,
    },
    /// `USE BRANCH name`, `SET udr.branch = …`
    UseBranch(String),
    /// `MERGE BRANCH source [INTO target] [DRY RUN]`
    MergeBranch {
        source: String,
        target: Option<String>,
        effect: Effect,
    },
    /// `SHOW BRANCHES`, `SHOW TAGS`
    ShowRefs(RefKind),
    /// `SHOW LOG [ON branch] [LIMIT n]`
    ShowLog {
        branch: Option<String>,
        limit: Option<usize>,
    },
    /// `SHOW REFLOG [ON branch] [LIMIT n]`
    ShowReflog {
        branch: Option<String>,
        limit: Option<usize>,
    },
    /// `SHOW STATUS`
    ShowStatus,
    /// `SHOW TABLES [FROM namespace] [AS OF revision]`
    ShowTables {
        namespace: Option<String>,
        as_of: Option<StateName>,
    },
    /// `DESCRIBE HISTORY table [LIMIT n]`
    DescribeHistory {
        table: TableReference,
        limit: Option<usize>,
    },
    /// `ANALYZE TABLE table`
    Analyze(Analyze),
    /// `IMPORT PARQUET 'path' INTO table [COPY]`
    Import(Import),
    /// `SET udr.as_of = '…'`, `RESET udr.as_of`
    SetAsOf(Option<String>),
    /// `SET udr.author = '…'`, `RESET udr.author`
    SetAuthor(Option<String>),
    /// `SET udr.verify = full|metadata`, `RESET udr.verify`
    SetVerify(Option<String>),
}

/// A table whose values are counted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Analyze {
    pub(crate) table: TableReference,
    /// The columns; all without them.
    pub(crate) columns: Option<Vec<String>>,
}

/// Files that become rows of a table, where they are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Import {
    /// Paths, URLs, or patterns of them.
    pub(crate) patterns: Vec<String>,
    pub(crate) table: TableReference,
    /// Whether rows are written anew instead.
    pub(crate) copy: bool,
}

/// What a transaction may do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Access {
    ReadOnly,
    ReadWrite,
}

/// A kind of named pointer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum RefKind {
    Branch,
    Tag,
}

/// What to do when the thing to create is there already.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Existing {
    Refuse,
    Keep,
}

/// What to do when the thing to drop is not there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Missing {
    Refuse,
    Ignore,
}

/// Whether a statement does what it says or only tells what it would do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Effect {
    Apply,
    DryRun,
}
