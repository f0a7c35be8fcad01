//! SHOW and DESCRIBE HISTORY.

use std::sync::Arc;

use arrow::array::{ArrayRef, BooleanArray, StringArray, UInt64Array};
use arrow::record_batch::RecordBatch;
use datafusion::common::TableReference;
use datafusion::execution::context::SessionState;
use udr_core::format::RecordKind;
use udr_core::name::{NamespaceName, RefName};
use udr_core::snapshot::{RelationKind, Snapshot};
use udr_core::{Error, Result};

use super::result::{
    batch, maybe_commit, maybe_text, maybe_version, one_text, reflog_schema, status_schema,
    tables_schema,
};
use super::{revision, target};
use crate::catalog::system::{branches_batch, history_batch, log_batch, tags_batch, times};
use crate::session::UdrSession;
use crate::sql::ast::{Command, RefKind, StateName};

pub(super) async fn run(
    state: &SessionState,
    session: &UdrSession,
    command: &Command,
) -> Result<RecordBatch> {
    match command {
        Command::ShowRefs(RefKind::Branch) => {
            branches_batch(session, &session.repository().moment()).await
        }
        Command::ShowRefs(RefKind::Tag) => tags_batch(&session.repository().moment()).await,
        Command::ShowLog { branch, limit } => log(session, branch.as_deref(), *limit).await,
        Command::ShowReflog { branch, limit } => reflog(session, branch.as_deref(), *limit).await,
        Command::ShowStatus => status(session).await,
        Command::ShowTables { namespace, as_of } => {
            tables(session, namespace.as_deref(), as_of.as_ref()).await
        }
        Command::DescribeHistory { table, limit } => history(state, session, table, *limit).await,
        _ => Err(Error::internal("not a statement that shows something")),
    }
}

/// The log of a branch; without one, of what the session reads.
async fn log(
    session: &UdrSession,
    branch: Option<&str>,
    limit: Option<usize>,
) -> Result<RecordBatch> {
    let newest = match branch {
        Some(branch) => session.repository().head(&RefName::new(branch)?).await?,
        None => session.snapshot().await?,
    };
    log_batch(session, &newest, limit).await
}

async fn reflog(
    session: &UdrSession,
    branch: Option<&str>,
    limit: Option<usize>,
) -> Result<RecordBatch> {
    let branch = match branch {
        Some(branch) => RefName::new(branch)?,
        None => session.branch(),
    };
    let records = session.repository().reflog(&branch, limit).await?;
    let operations = records.iter().map(|record| match record.kind {
        RecordKind::Create => "create",
        RecordKind::Commit => "commit",
        RecordKind::Merge => "merge",
        RecordKind::Delete => "delete",
        RecordKind::Fence => "fence",
    });
    let from = records.iter().map(|record| {
        record
            .from
            .as_ref()
            .map(|from| format!("{} at {}", from.branch, from.version))
    });
    let columns: Vec<ArrayRef> = vec![
        Arc::new(UInt64Array::from_iter_values(
            records.iter().map(|r| r.version.0),
        )),
        Arc::new(StringArray::from_iter_values(operations)),
        Arc::new(
            records
                .iter()
                .map(|r| r.head.map(|h| h.id().to_hex()))
                .collect::<StringArray>(),
        ),
        Arc::new(UInt64Array::from_iter_values(
            records.iter().map(|r| r.commits.len() as u64),
        )),
        Arc::new(times(records.iter().map(|r| r.at))),
        Arc::new(from.collect::<StringArray>()),
    ];
    batch(reflog_schema(), columns)
}

async fn status(session: &UdrSession) -> Result<RecordBatch> {
    let status = session.status();
    let snapshot = session.snapshot().await?;
    let transaction = status.transaction.as_ref();
    let truth = |value: bool| -> ArrayRef { Arc::new(BooleanArray::from(vec![value])) };
    batch(
        status_schema(),
        vec![
            one_text(status.branch.to_string()),
            maybe_version(snapshot.version()),
            maybe_commit(Some(snapshot.commit_id())),
            maybe_text(status.as_of.as_ref().map(ToString::to_string)),
            maybe_text(transaction.map(|t| t.id.to_string())),
            maybe_version(transaction.and_then(|t| t.base)),
            truth(transaction.is_some_and(|t| t.changed)),
            truth(transaction.is_some_and(|t| t.read_only) || status.as_of.is_some()),
        ],
    )
}

async fn tables(
    session: &UdrSession,
    namespace: Option<&str>,
    as_of: Option<&StateName>,
) -> Result<RecordBatch> {
    let snapshot = match as_of {
        Some(state) => {
            session
                .snapshot_at(&revision(session, state).await?)
                .await?
        }
        None => session.snapshot().await?,
    };
    let namespaces = match namespace {
        Some(namespace) => vec![NamespaceName::new(namespace)?],
        None => snapshot.namespaces().await?,
    };
    let (mut schemas, mut names, mut kinds) = (Vec::new(), Vec::new(), Vec::new());
    for namespace in namespaces {
        for (name, kind) in snapshot.relations(&namespace).await? {
            schemas.push(namespace.to_string());
            names.push(name.to_string());
            kinds.push(match kind {
                RelationKind::Table => "table",
                RelationKind::View => "view",
            });
        }
    }
    let columns: Vec<ArrayRef> = vec![
        Arc::new(StringArray::from(schemas)),
        Arc::new(StringArray::from(names)),
        Arc::new(StringArray::from(kinds)),
    ];
    batch(tables_schema(), columns)
}

async fn history(
    state: &SessionState,
    session: &UdrSession,
    table: &TableReference,
    limit: Option<usize>,
) -> Result<RecordBatch> {
    let path = target::reference_path(state, session, table)?;
    let snapshot: Snapshot = session.snapshot().await?;
    let table = snapshot.table(&path).await?;
    history_batch(session, &snapshot, table.id(), limit).await
}
