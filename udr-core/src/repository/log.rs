//! What led to a state.

use std::sync::Arc;

use futures::{StreamExt as _, TryStreamExt as _};

use super::{CONCURRENCY, Repository};
use crate::error::{Error, Result};
use crate::format::{CommitRef, RefRecord};
use crate::history::LogEntry;
use crate::name::RefName;
use crate::snapshot::Snapshot;
use crate::txn::snapshot_at;

impl Repository {
    /// The commits that led to a state, newest first: its own, those below it on its branch, and
    /// those of the branch that this came from.
    ///
    /// What the branch has become since makes no difference, not even that it was dropped.
    /// `current` is searched first for a commit that is the head of no record.
    ///
    /// # Errors
    ///
    /// `NotFound` if no branch leads to the commit any more; `Unavailable`, `Corrupt`.
    pub async fn log_of(
        &self,
        current: &RefName,
        snapshot: &Snapshot,
        limit: Option<usize>,
    ) -> Result<Vec<LogEntry>> {
        let history = &self.context.history;
        let point = snapshot.point();
        let published = match point.published() {
            Some(published) => Some(published),
            None => {
                let found = history.published_anywhere(current, &point.commit).await?;
                found.and_then(|found| found.published())
            }
        };
        let Some(published) = published else {
            return Err(Error::not_found("no branch leads to the commit any more")
                .with("commit", point.commit.id()));
        };
        let record = history.published_as(&published).await?;
        self.led_to(record, &point.commit, limit).await
    }

    /// The state that a commit of a log made.
    ///
    /// # Errors
    ///
    /// `Unavailable`, `Corrupt`.
    pub async fn at(&self, entry: &LogEntry) -> Result<Snapshot> {
        snapshot_at(&self.context, entry.point()).await
    }

    /// The commits up to `newest`, which `record` published; its head or one in the middle of it.
    pub(super) async fn led_to(
        &self,
        record: Arc<RefRecord>,
        newest: &CommitRef,
        limit: Option<usize>,
    ) -> Result<Vec<LogEntry>> {
        let limit = limit.unwrap_or(usize::MAX);
        let history = &self.context.history;
        let segments = history.lineage_of(record).await?;
        let mut found = Vec::new();
        'whole: for segment in &segments {
            let mut records = self.records(segment);
            while let Some(record) = records.try_next().await? {
                // The creation of a branch repeats a commit of the one it came from.
                let first = record.from.is_none().then_some(record.head).flatten();
                let first = first.filter(|_| record.version == segment.first);
                let commits = record.commits.iter().rev().copied().chain(first);
                for reference in commits.filter(|c| c.sequence <= newest.sequence) {
                    if found.len() >= limit {
                        break 'whole;
                    }
                    found.push((segment.branch.clone(), Arc::clone(&record), reference));
                }
            }
        }
        futures::stream::iter(found)
            .map(|(branch, record, reference)| async move {
                let commit = history.commit(&reference).await?;
                Ok(LogEntry::new(branch, &record, reference, commit))
            })
            .buffered(CONCURRENCY)
            .try_collect()
            .await
    }
}
