//! Runs statements: what only UDR has, and the DDL that DataFusion cannot wait for.
//!
//! In: text, or a parsed statement. Out: a data frame; for statements of our own one batch whose
//! schema depends on nothing but the kind of statement. Effects of our own statements happen at
//! once; queries and INSERT are DataFusion's and happen when the frame is collected. Called by
//! users, and by `functions` for those who have only plain SQL.

mod alter_table;
mod analyze;
mod columns;
mod create_table;
mod ddl;
mod hidden;
mod import;
mod refs;
mod result;
mod rows;
mod show;
mod target;
mod transaction;
mod view;

use std::sync::Arc;

use arrow::compute::concat_batches;
use arrow::datatypes::SchemaRef;
use arrow::record_batch::RecordBatch;
use datafusion::common::TableReference;
use datafusion::config::ConfigOptions;
use datafusion::dataframe::DataFrame;
use datafusion::error::{DataFusionError, Result};
use datafusion::execution::context::{SessionContext, SessionState};
use datafusion::sql::parser::Statement as SqlStatement;
use udr_core::name::RefName;
use udr_core::refs::Revision;
use udr_core::txn::Transaction;
use udr_core::{Error, ErrorKind};

use crate::catalog::missing::in_udr_sql;
use crate::error::{into_udr, to_datafusion, udr_error};
use crate::plan::checked;
use crate::session::UdrSession;
use crate::sql::ast::{Command, RefKind, StateName, Statement};
use crate::sql::parser::{ParseOptions, parse};
use crate::sql::stack::Depth;
use crate::sql::version::Claim;
use crate::sql::{constant, version};

pub(crate) use self::target::path as relation_path;

use self::columns::ShowColumns;
use self::ddl::Ddl;
pub(crate) use self::result::command_schema;
use self::rows::RowStatement;
use self::target::Place;

/// Runs one statement of UDR's SQL: everything that DataFusion has, version clauses in every
/// dialect's spelling, branches, tags, transactions and DDL.
///
/// Branch, tag, transaction, SHOW and DDL statements are done when this returns, and the frame
/// has their result. Queries, INSERT and COPY run when the frame is collected, as with
/// [`SessionContext::sql`].
///
/// # Errors
///
/// DataFusion's own; [`udr_error`](crate::error::udr_error) finds UDR's in them.
///
/// # Cancel safety
///
/// Dropped while a statement with an effect runs, the effect may or may not have happened, but
/// not in part.
pub async fn udr_sql(ctx: &SessionContext, sql: &str) -> Result<DataFrame> {
    let state = ctx.state();
    let session = state
        .config()
        .get_extension::<UdrSession>()
        .ok_or_else(|| {
            to_datafusion(
                Error::invalid("the context has no repository")
                    .with_hint("udr_datafusion::install gives it one"),
            )
        })?;
    let statement = parse(sql, parse_options(state.config_options()))?;
    let run = run(ctx, &state, &session, statement);
    Depth::of(sql).run(run).await.map_err(in_udr_sql)
}

async fn run(
    ctx: &SessionContext,
    state: &SessionState,
    session: &Arc<UdrSession>,
    statement: Statement,
) -> Result<DataFrame> {
    match Box::pin(prepare(state, session, statement)).await? {
        Prepared::Own(own) => ctx.read_batch(Box::pin(own.run(state, session)).await?),
        Prepared::Rows(rows) => {
            let plan = Box::pin(rows.plan(state, session)).await?;
            Box::pin(ctx.execute_logical_plan(plan)).await
        }
        Prepared::Engine(statement) => {
            Box::pin(see_namespaces(state, session, &statement)).await?;
            let plan = Box::pin(state.statement_to_plan(statement)).await?;
            Box::pin(ctx.execute_logical_plan(checked(plan)?)).await
        }
    }
}

/// A statement whose version clauses are names.
enum Prepared {
    Own(Own),
    /// A change of rows, put together here and run by DataFusion.
    Rows(Box<RowStatement>),
    /// DataFusion's to run.
    Engine(SqlStatement),
}

/// A statement that is run here.
#[derive(Debug, Clone)]
enum Own {
    Command(Command),
    Ddl(Ddl),
    Columns(ShowColumns),
}

/// What of a context's settings the parser obeys.
pub(crate) fn parse_options(options: &ConfigOptions) -> ParseOptions {
    ParseOptions {
        recursion_limit: options.sql_parser.recursion_limit.get(),
        fold: options.sql_parser.enable_ident_normalization,
    }
}

async fn prepare(
    state: &SessionState,
    session: &Arc<UdrSession>,
    statement: Statement,
) -> Result<Prepared> {
    let (mut layout, mut evolving) = (None, false);
    let mut statement = match statement {
        Statement::Command(command) => return Ok(Prepared::Own(Own::Command(command))),
        Statement::Alter(alter) => {
            let alter = Ddl::AlterTable(alter);
            return match alter.place(state, session)? {
                Place::Repository => Ok(Prepared::Own(Own::Ddl(alter))),
                Place::Host => Err(to_datafusion(Error::unsupported(
                    "ALTER TABLE is for tables of the repository",
                ))),
            };
        }
        Statement::LaidOut(statement, said) => {
            layout = Some(said);
            *statement
        }
        Statement::Evolving(statement) => {
            evolving = true;
            if !rows::changes(&statement) {
                return Err(no_evolution());
            }
            *statement
        }
        Statement::Sql(statement) => *statement,
    };
    lift(state, session, &mut statement).await?;
    hidden::show_hidden(state, &mut statement).await?;
    if let Some(ddl) = Ddl::of(&statement).map(|ddl| ddl.laid_out(layout.clone()))
        && ddl.place(state, session)? == Place::Repository
    {
        return Ok(Prepared::Own(Own::Ddl(ddl)));
    }
    if let Some(rows) = RowStatement::of(state, session, &statement)? {
        let rows = match evolving {
            true => rows.evolving()?,
            false => rows,
        };
        return Ok(Prepared::Rows(Box::new(rows)));
    }
    if evolving {
        return Err(no_evolution());
    }
    if let Some(columns) = ShowColumns::of(&statement)
        && columns.is_ours(state, session)?
    {
        return Ok(Prepared::Own(Own::Columns(columns)));
    }
    if let SqlStatement::CreateExternalTable(table) = &statement
        && target::place(state, session, &table.name)? == Place::Repository
    {
        return Err(to_datafusion(
            Error::unsupported("an external table is not part of a repository")
                .with("name", table.name.to_string())
                .with_hint("give it a catalog of the context: `datafusion.public.name`"),
        ));
    }
    if layout.is_some() {
        return Err(to_datafusion(Error::unsupported(
            "only tables of the repository can be PARTITIONED BY or ORDERED BY",
        )));
    }
    Ok(Prepared::Engine(statement))
}

fn no_evolution() -> DataFusionError {
    to_datafusion(Error::unsupported(
        "WITH SCHEMA EVOLUTION is for INSERT and MERGE into tables of the repository",
    ))
}

/// Turns version clauses into names, and checks what they say of branches and tags.
async fn lift(
    state: &SessionState,
    session: &UdrSession,
    statement: &mut SqlStatement,
) -> Result<()> {
    let fold = state.config_options().sql_parser.enable_ident_normalization;
    let claims = version::lift(statement, fold, &|expr| constant::evaluate(state, expr))?;
    for claim in claims {
        check_claim(session, &claim).await.map_err(to_datafusion)?;
    }
    Ok(())
}

async fn check_claim(session: &UdrSession, claim: &Claim) -> udr_core::Result<()> {
    let name = RefName::new(claim.name.as_str())?;
    let branch = session.repository().head(&name).await;
    match (claim.kind, branch) {
        (RefKind::Branch, branch) => branch.map(|_| ()),
        (RefKind::Tag, Ok(_)) => Err(Error::unsupported("a branch has the name of this tag")
            .with("name", &name)
            .with_hint("name the tag's commit by its id, which SHOW TAGS has")),
        (RefKind::Tag, Err(error)) => {
            if error.kind() != ErrorKind::NotFound {
                return Err(error);
            }
            refs::tag(session, &name).await.map(|_| ())
        }
    }
}

/// The revision that a statement names; what it says of branches and tags is so.
async fn revision(session: &UdrSession, state: &StateName) -> udr_core::Result<Revision> {
    if let Some(kind) = state.kind {
        let name = state.revision.clone();
        check_claim(session, &Claim { kind, name }).await?;
    }
    state.revision.parse()
}

/// DataFusion asks for schemas synchronously, so the session must have seen those that others made.
async fn see_namespaces(
    state: &SessionState,
    session: &UdrSession,
    statement: &SqlStatement,
) -> Result<()> {
    let options = &state.config_options().catalog;
    let known = session.namespaces();
    let unknown = |reference: &TableReference| {
        let schema = reference.schema().unwrap_or(&options.default_schema);
        let catalog = reference.catalog().unwrap_or(&options.default_catalog);
        catalog == session.catalog() && !known.iter().any(|name| name == schema)
    };
    if state
        .resolve_table_references(statement)?
        .iter()
        .any(unknown)
    {
        session.refresh_names().await.map_err(to_datafusion)?;
    }
    Ok(())
}

impl Own {
    /// Does what the statement says.
    ///
    /// # Errors
    ///
    /// Those of the statement.
    async fn run(&self, state: &SessionState, session: &Arc<UdrSession>) -> Result<RecordBatch> {
        match self {
            Self::Command(command) => run_command(state, session, command)
                .await
                .map_err(to_datafusion),
            Self::Ddl(ddl) => Box::pin(ddl.run(state, session)).await,
            Self::Columns(columns) => Box::pin(columns.run(state, session)).await,
        }
    }
}

async fn run_command(
    state: &SessionState,
    session: &Arc<UdrSession>,
    command: &Command,
) -> udr_core::Result<RecordBatch> {
    match command {
        Command::Begin { .. }
        | Command::Commit { .. }
        | Command::Rollback
        | Command::Savepoint(_)
        | Command::RollbackTo(_)
        | Command::Release(_)
        | Command::SetAsOf(_)
        | Command::SetAuthor(_)
        | Command::SetVerify(_) => Box::pin(transaction::run(session, command)).await,
        Command::CreateRef { .. }
        | Command::DropRef { .. }
        | Command::UseBranch(_)
        | Command::MergeBranch { .. } => Box::pin(refs::run(session, command)).await,
        Command::Analyze(analyze) => Box::pin(analyze::run(state, session, analyze))
            .await
            .map_err(into_udr),
        Command::Import(import) => Box::pin(import::run(state, session, import))
            .await
            .map_err(into_udr),
        Command::ShowRefs(_)
        | Command::ShowLog { .. }
        | Command::ShowReflog { .. }
        | Command::ShowStatus
        | Command::ShowTables { .. }
        | Command::DescribeHistory { .. } => Box::pin(show::run(state, session, command)).await,
    }
}

/// What [`run_parsed`] returns for a statement, known before it runs; nothing for those that it
/// does not run, such as queries.
pub(crate) fn result_schema(statement: &Statement) -> Option<SchemaRef> {
    match statement {
        Statement::Command(command) => Some(command_schema(command)),
        Statement::Alter(_) => Some(result::done_schema()),
        Statement::Sql(statement)
        | Statement::Evolving(statement)
        | Statement::LaidOut(statement, _) => match Ddl::of(statement) {
            Some(ddl) => Some(ddl.schema()),
            None if ShowColumns::of(statement).is_some() => Some(result::columns_schema()),
            None => rows::counts(statement).then(result::count_schema),
        },
    }
}

/// Runs a statement that was parsed but not prepared, for those who have only plain SQL.
///
/// # Errors
///
/// Those of the statement; `Unsupported` if it is not about the repository.
pub(crate) async fn run_parsed(
    session: &Arc<UdrSession>,
    statement: Statement,
) -> udr_core::Result<RecordBatch> {
    // A context of its own starts the statement's clock.
    let state = SessionContext::new_with_state(session.context_state()?).state();
    run_in(&state, session, statement).await
}

/// Runs a statement to its end, with the names that `state` has.
async fn run_in(
    state: &SessionState,
    session: &Arc<UdrSession>,
    statement: Statement,
) -> udr_core::Result<RecordBatch> {
    let run = async {
        match Box::pin(prepare(state, session, statement)).await? {
            Prepared::Own(own) => Box::pin(own.run(state, session)).await,
            Prepared::Rows(rows) => {
                let plan = Box::pin(rows.plan(state, session)).await?;
                let batches = DataFrame::new(state.clone(), plan).collect().await?;
                Ok(concat_batches(&result::count_schema(), &batches)?)
            }
            Prepared::Engine(_) => Err(to_datafusion(
                Error::unsupported("the statement is not about the repository")
                    .with_hint("run it as plain SQL"),
            )),
        }
    };
    Depth::Deep.run(run).await.map_err(refused)
}

/// Makes a change in the open transaction, or in one of its own with a message that says what.
async fn change<T>(
    session: &UdrSession,
    message: String,
    change: impl AsyncFnOnce(&mut Transaction) -> udr_core::Result<T>,
) -> Result<T> {
    let own = session.status().transaction.is_none();
    let changed = session.write(async move |transaction| {
        if own {
            transaction.set_message(message);
        }
        change(transaction).await
    });
    Box::pin(changed).await.map_err(to_datafusion)
}

/// An error of the engine while a statement was planned or run, for where only ours can be said.
pub(crate) fn refused(error: DataFusionError) -> Error {
    if udr_error(&error).is_some() || matches!(error, DataFusionError::ResourcesExhausted(_)) {
        return into_udr(error);
    }
    Error::invalid(error.strip_backtrace()).with_source(error)
}
