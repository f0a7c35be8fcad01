//! The rows that commits change, as they are published.

use std::collections::BTreeSet;
use std::fmt;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{self, Poll as TaskPoll};

use futures::stream::BoxStream;
use futures::{Stream, StreamExt as _, TryStreamExt as _};

use super::commit::row_changes;
use super::{ChangeBatch, ChangeRequest, Poll, Position, Tail};
use crate::error::Result;
use crate::history::LogEntry;
use crate::id::TableId;
use crate::name::RelationPath;
use crate::txn::Context;

/// What is subscribed to.
#[derive(Debug, Clone, Default)]
pub struct SubscribeOptions {
    /// The tables, which are followed through renames; without any, all that there are and will be.
    pub tables: Vec<RelationPath>,
    /// How often to look whether something is new.
    pub poll: Poll,
}

/// What a subscription gives.
#[derive(Debug, Clone)]
pub enum ChangeEvent {
    /// Rows of a table that a commit changed, with the columns that the table has at that commit, or
    /// had before it if the commit dropped it.
    Rows {
        /// The commit.
        commit: Arc<LogEntry>,
        /// The table, as it is called at the commit.
        table: RelationPath,
        /// The rows.
        batch: ChangeBatch,
    },
    /// All rows of a commit were given, if it had any.
    Commit {
        /// The commit.
        commit: Arc<LogEntry>,
        /// Where to go on from, once what was given is kept.
        position: Position,
    },
}

/// A stream of changes that never ends by itself; see
/// [`Repository::subscribe`](crate::Repository::subscribe).
pub struct Subscription {
    events: BoxStream<'static, Result<ChangeEvent>>,
    /// What comes after an error could be taken for what follows the last commit that was whole.
    failed: bool,
}

impl Subscription {
    pub(crate) fn new(context: Context, tail: Tail, tables: Option<BTreeSet<TableId>>) -> Self {
        let branch = tail.branch().clone();
        let commits = futures::stream::try_unfold(tail, |mut tail| async move {
            let entry = tail.next().await?;
            Ok(Some((entry, tail)))
        });
        let (context, tables) = (Arc::new(context), tables.map(Arc::new));
        let branch = Arc::new(branch);
        let events = commits.and_then(move |entry| {
            let (context, tables) = (Arc::clone(&context), tables.clone());
            let position = Position::after(&branch, &entry);
            async move { events(&context, Arc::new(entry), position, tables.as_deref()).await }
        });
        Self {
            events: events.try_flatten().boxed(),
            failed: false,
        }
    }
}

/// What one commit did, then the commit itself.
async fn events(
    context: &Context,
    commit: Arc<LogEntry>,
    position: Position,
    tables: Option<&BTreeSet<TableId>>,
) -> Result<BoxStream<'static, Result<ChangeEvent>>> {
    let mut parts = Vec::new();
    for (table, changes) in row_changes(context, &commit, tables).await? {
        let batches = changes.read(&ChangeRequest::all(changes.schema()))?;
        let commit = Arc::clone(&commit);
        parts.push(batches.map_ok(move |batch| ChangeEvent::Rows {
            commit: Arc::clone(&commit),
            table: table.clone(),
            batch,
        }));
    }
    let end = futures::stream::iter([Ok(ChangeEvent::Commit { commit, position })]);
    Ok(futures::stream::iter(parts).flatten().chain(end).boxed())
}

impl Stream for Subscription {
    type Item = Result<ChangeEvent>;

    fn poll_next(
        mut self: Pin<&mut Self>,
        context: &mut task::Context<'_>,
    ) -> TaskPoll<Option<Self::Item>> {
        if self.failed {
            return TaskPoll::Ready(None);
        }
        let next = self.events.poll_next_unpin(context);
        self.failed = matches!(next, TaskPoll::Ready(Some(Err(_))));
        next
    }
}

impl fmt::Debug for Subscription {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Subscription").finish_non_exhaustive()
    }
}
