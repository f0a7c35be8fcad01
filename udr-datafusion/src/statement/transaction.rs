//! BEGIN, COMMIT, ROLLBACK, savepoints, and the session's pin.

use arrow::record_batch::RecordBatch;
use udr_core::store::Verify;
use udr_core::{Error, Result};

use super::result::{batch, commit_schema, done, maybe_commit, maybe_version, one_text};
use super::revision;
use crate::session::{BeginOptions, UdrSession};
use crate::sql::ast::{Access, Command};

pub(super) async fn run(session: &UdrSession, command: &Command) -> Result<RecordBatch> {
    match command {
        Command::Begin {
            access,
            isolation,
            as_of,
        } => {
            let as_of = match as_of {
                Some(state) => Some(revision(session, state).await?),
                None => None,
            };
            let read_only = matches!(access, Access::ReadOnly);
            let options = BeginOptions {
                isolation: *isolation,
                read_only,
                as_of,
            };
            session.begin(options).await?;
            done("transaction started")
        }
        Command::Commit { message } => commit(session, message.clone()).await,
        Command::Rollback => {
            session.rollback().await?;
            done("transaction rolled back")
        }
        Command::Savepoint(name) => {
            session.savepoint(name)?;
            done(format!("savepoint {name} set"))
        }
        Command::RollbackTo(name) => {
            session.rollback_to(name)?;
            done(format!("rolled back to savepoint {name}"))
        }
        Command::Release(name) => {
            session.release(name)?;
            done(format!("savepoint {name} released"))
        }
        Command::SetAsOf(Some(text)) => {
            let revision = text.parse()?;
            session.set_as_of(Some(revision)).await?;
            done(format!("reading as of {text}"))
        }
        Command::SetAsOf(None) => {
            session.set_as_of(None).await?;
            done(format!("reading the head of branch {}", session.branch()))
        }
        Command::SetAuthor(author) => {
            session.set_author(author.clone())?;
            done(match author {
                Some(author) => format!("commits are by {author}"),
                None => "commits are by whom they were by at first".to_owned(),
            })
        }
        Command::SetVerify(text) => set_verify(session, text.as_deref()),
        _ => Err(Error::internal("not a statement about transactions")),
    }
}

fn set_verify(session: &UdrSession, text: Option<&str>) -> Result<RecordBatch> {
    let verify = match text.map(str::to_ascii_lowercase).as_deref() {
        None => None,
        Some("full") => Some(Verify::Full),
        Some("metadata") => Some(Verify::Metadata),
        Some(other) => {
            return Err(
                Error::invalid("udr.verify is full or metadata").with("value", other.to_owned())
            );
        }
    };
    session.set_verify(verify);
    done(match session.verify() {
        Verify::Full => "column chunks are verified when they are read",
        Verify::Metadata => "metadata and footers are verified when they are read",
    })
}

async fn commit(session: &UdrSession, message: Option<String>) -> Result<RecordBatch> {
    let committed = session.commit(message).await?;
    let result = if committed.is_some() {
        "committed"
    } else {
        "unchanged"
    };
    batch(
        commit_schema(),
        vec![
            one_text(result),
            maybe_version(committed.as_ref().map(|c| c.version)),
            maybe_commit(committed.as_ref().map(|c| c.commit_id)),
        ],
    )
}
