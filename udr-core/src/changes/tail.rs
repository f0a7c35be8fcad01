//! The commits of a branch as they are published.

use std::collections::VecDeque;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use futures::{StreamExt as _, TryStreamExt as _};

use crate::error::{Error, Result};
use crate::format::{RecordKind, RefRecord};
use crate::history::LogEntry;
use crate::id::RecordNumber;
use crate::name::RefName;
use crate::store::RefKind;
use crate::txn::Context;

/// How many commits are read at once.
const CONCURRENCY: usize = 16;

/// How often to look whether something is new.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Poll {
    /// The first pause; each further one is twice as long.
    pub first: Duration,
    /// The longest pause.
    pub most: Duration,
}

impl Default for Poll {
    fn default() -> Self {
        Self {
            first: Duration::from_millis(20),
            most: Duration::from_secs(1),
        }
    }
}

/// Follows a branch, commit by commit.
pub struct Tail {
    context: Context,
    /// The newest record that was seen.
    seen: Arc<RefRecord>,
    /// Commits that are known and were not given yet.
    waiting: VecDeque<LogEntry>,
    poll: Poll,
    pause: Duration,
}

impl Tail {
    /// Gives `waiting`, then what follows `seen`.
    pub(crate) fn new(
        context: Context,
        seen: Arc<RefRecord>,
        waiting: Vec<LogEntry>,
        poll: Poll,
    ) -> Self {
        Self {
            context,
            seen,
            waiting: waiting.into(),
            poll,
            pause: poll.first,
        }
    }

    /// The branch.
    pub fn branch(&self) -> &RefName {
        &self.seen.name
    }

    /// The next commit; waits until there is one.
    ///
    /// # Errors
    ///
    /// `NotFound` if the branch was dropped; `Unavailable`, `Corrupt`. It can be asked again.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future loses nothing.
    pub async fn next(&mut self) -> Result<LogEntry> {
        loop {
            if let Some(entry) = self.ready().await? {
                self.pause = self.poll.first;
                return Ok(entry);
            }
            tokio::time::sleep(self.pause).await;
            self.pause = self.pause.saturating_mul(2).min(self.poll.most);
        }
    }

    /// The next commit if there is one: one request if there is not.
    ///
    /// # Errors
    ///
    /// As [`Tail::next`].
    ///
    /// # Cancel safety
    ///
    /// Dropping the future loses nothing.
    pub async fn ready(&mut self) -> Result<Option<LogEntry>> {
        while self.waiting.is_empty() {
            let (refs, name) = (&self.context.refs, &self.seen.name);
            let next = RecordNumber(self.seen.number().0.saturating_add(1));
            let Some(record) = refs.record(RefKind::Branch, name, next).await? else {
                return Ok(None);
            };
            let waiting = self.published_by(&record).await?;
            self.seen = record;
            self.waiting.extend(waiting);
        }
        Ok(self.waiting.pop_front())
    }

    async fn published_by(&self, record: &Arc<RefRecord>) -> Result<Vec<LogEntry>> {
        match record.kind {
            RecordKind::Commit | RecordKind::Merge | RecordKind::Fence => {}
            // A branch of the same name that came after is another one.
            RecordKind::Delete | RecordKind::Create => {
                return Err(Error::not_found("the branch was dropped")
                    .with("branch", &record.name)
                    .with_hint(format!("its last version was {}", self.seen.version)));
            }
        }
        let history = &self.context.history;
        futures::stream::iter(record.commits.clone())
            .map(|reference| {
                let record = Arc::clone(record);
                async move {
                    let commit = history.commit(&reference).await?;
                    let branch = record.name.clone();
                    Ok(LogEntry::new(branch, &record, reference, commit))
                }
            })
            .buffered(CONCURRENCY)
            .try_collect()
            .await
    }
}

impl fmt::Debug for Tail {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Tail")
            .field("branch", &self.seen.name)
            .field("version", &self.seen.version)
            .finish_non_exhaustive()
    }
}
