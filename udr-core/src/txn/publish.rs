//! Committing: prepare, publish, and rebase as often as others are faster.

use std::sync::Arc;
use std::time::Duration;

use futures::{StreamExt as _, TryStreamExt as _};

use super::conflict::Theirs;
use super::prepare::Draft;
use super::rewrite::Rewrites;
use super::rows::Refused;
use super::{
    Action, CommitOutcome, Committed, Conflict, Conflicted, Context, Isolation, Transaction,
};
use crate::error::{Error, ErrorKind, Result};
use crate::format::{Commit, CommitRef, RecordKind, RefRecord, Root};
use crate::id::Version;
use crate::refs::{Appended, Point};
use crate::snapshot::overlay::Overlay;
use crate::snapshot::{Catalog, Snapshot};
use crate::store::RefKind;

/// How often a transaction is put together before it gives up.
const ATTEMPTS_MAX: u32 = 200;
/// The longest pause between two attempts; the first ones are shorter.
const PAUSE_MAX: Duration = Duration::from_millis(64);
/// How many records and commits are read at once.
const CONCURRENCY: usize = 16;

/// The head that a transaction is to be published on.
struct Head {
    record: Arc<RefRecord>,
    base: Snapshot,
    overlay: Arc<Overlay>,
}

enum Rebased {
    Head(Box<Head>),
    Conflicts(Vec<Conflict>),
    Replayed(Committed),
}

impl Transaction {
    /// Publishes everything that is staged, or nothing.
    ///
    /// 0. What constraints say of the staged rows is checked, on the head that they are to be
    ///    published on; every time, as far as that head is new.
    /// 1. All objects are uploaded and durable before the record is created (invariant 8).
    /// 2. The record of the next version is created. If it is there already, somebody else was
    ///    faster: what they published is checked against what is staged, operation by operation.
    /// 3. Without a conflict the changes are replayed on the new head, under the same transaction
    ///    id, and published from step 0; with one, the transaction is given back.
    ///
    /// # Errors
    ///
    /// `Invalid` if a row breaks a constraint; `Unsupported` if nobody can tell, see
    /// [`Transaction::set_validator`]; `Unavailable` if nothing was published, `Indeterminate` if
    /// it is unknown whether it was, `Conflict` if others were faster too often, `NotFound` if the
    /// branch was dropped, `Corrupt`.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future leaves the changes either published or not; ask for the outcome of the
    /// transaction id to find out.
    pub async fn commit(self) -> Result<CommitOutcome> {
        if self.actions.is_empty() {
            return Ok(CommitOutcome::Unchanged(self.base));
        }
        if let Some(committed) = self.replay_of_key(&self.base).await? {
            return Ok(CommitOutcome::Committed(committed));
        }
        // In boxes, so that the future of a commit is small.
        let rewrites = Rewrites::of(&self.context, self.epoch(), &self.overlay);
        let rewrites = Box::pin(rewrites).await?;
        let mut head = Head {
            record: Arc::clone(&self.record),
            base: self.base.clone(),
            overlay: Arc::clone(&self.overlay),
        };
        let mut between = Vec::new();
        let mut checked = None;
        for attempt in 1..=ATTEMPTS_MAX {
            let staged = head
                .base
                .with_catalog(head.base.catalog().with_overlay(Arc::clone(&head.overlay)));
            if let Some(conflict) = self.validate(&staged, checked.as_ref()).await? {
                return Ok(self.conflicted(vec![conflict]));
            }
            checked = Some(staged);
            if let Some(committed) = Box::pin(self.attempt(&head, &rewrites, attempt)).await? {
                return Ok(CommitOutcome::Committed(committed));
            }
            self.pause(attempt).await;
            match Box::pin(self.rebase(&head, &mut between, attempt)).await? {
                Rebased::Head(newer) => head = *newer,
                Rebased::Replayed(committed) => return Ok(CommitOutcome::Committed(committed)),
                Rebased::Conflicts(conflicts) => return Ok(self.conflicted(conflicts)),
            }
        }
        Err(Error::conflict("others published first every time")
            .with("branch", self.branch())
            .with("attempts", ATTEMPTS_MAX)
            .with_hint("nothing was published; try again"))
    }

    fn conflicted(self, conflicts: Vec<Conflict>) -> CommitOutcome {
        CommitOutcome::Conflicted(Box::new(Conflicted {
            transaction: self,
            conflicts,
        }))
    }

    /// One attempt to publish on `head`; `None` if somebody else has the version.
    async fn attempt(
        &self,
        head: &Head,
        rewrites: &Rewrites,
        attempt: u32,
    ) -> Result<Option<Committed>> {
        let context = &self.context;
        let mut record = context.refs.following(&head.record, RecordKind::Commit)?;
        let draft = Draft {
            context,
            base: &head.base,
            overlay: &head.overlay,
            rewrites,
            about: &self.about,
            transaction: self.id,
            epoch: head.record.epoch,
            at: record.at,
        };
        let prepared = draft.prepare().await?;
        prepared.store(context).await?;
        record.head = Some(prepared.commit);
        record.commits = vec![prepared.commit];
        record.transactions = vec![self.id];
        let version = record.version;
        match context
            .refs
            .append(RefKind::Branch, Some(&head.record), record)
            .await?
        {
            Appended::Published(_) => {
                let commit_id = prepared.commit.id();
                prepared.keep(context);
                Ok(Some(Committed {
                    version,
                    commit_id,
                    replayed: false,
                    attempts: attempt,
                }))
            }
            Appended::Lost(_) => Ok(None),
        }
    }

    /// Replays the changes on the newest head. `between` has what was published since the base of
    /// the transaction, and is brought up to date.
    async fn rebase(
        &self,
        old: &Head,
        between: &mut Vec<Published>,
        attempt: u32,
    ) -> Result<Rebased> {
        let context = &self.context;
        let record = context.refs.head(RefKind::Branch, self.branch()).await?;
        if record.started_at != self.record.started_at {
            return Err(Error::not_found("the branch was dropped")
                .with("branch", self.branch())
                .with_hint("nothing was published"));
        }
        between.extend(published_between(context, &old.record, &record).await?);
        for published in between.iter() {
            let ours = published.commit.transaction == self.id;
            let same_key = self.about.idempotency_key.is_some()
                && published.commit.idempotency_key == self.about.idempotency_key;
            if ours || same_key {
                return Ok(Rebased::Replayed(Committed {
                    version: published.version,
                    commit_id: published.reference.id(),
                    replayed: !ours,
                    attempts: attempt,
                }));
            }
        }
        let theirs = Theirs::of(between.iter().map(|published| published.commit.as_ref()));
        let conflicts = theirs.conflicts(&self.actions);
        if !conflicts.is_empty() {
            return Ok(Rebased::Conflicts(conflicts));
        }
        let base = snapshot_of(context, &record).await?;
        if self.isolation == Isolation::Serializable {
            let conflicts = self
                .reads
                .so_far()
                .conflicts(&self.base, &base, &theirs)
                .await?;
            if !conflicts.is_empty() {
                return Ok(Rebased::Conflicts(conflicts));
            }
        }
        Ok(match self.replay(&base, &theirs).await? {
            Ok(overlay) => Rebased::Head(Box::new(Head {
                record,
                base,
                overlay: Arc::new(overlay),
            })),
            Err(conflict) => Rebased::Conflicts(vec![conflict]),
        })
    }

    /// Stages the changes anew over `base`.
    async fn replay(&self, base: &Snapshot, theirs: &Theirs) -> Result<Result<Overlay, Conflict>> {
        let since = Some(self.base.point().commit.sequence);
        let mut overlay = Overlay::default();
        for action in &self.actions {
            let action = action.moved(theirs);
            let so_far = base.catalog().with_overlay(Arc::new(overlay.clone()));
            let so_far = base.with_catalog(so_far);
            let conflict = match action.apply(&so_far, &mut overlay, since).await {
                Ok(()) => continue,
                Err(Refused::Rows(rows)) => Conflict {
                    subject: action.subject(),
                    ours: action.operation().to_owned(),
                    theirs: action.words_of(theirs),
                    rows,
                },
                Err(Refused::Error(error)) if is_conflict(&error) => Conflict {
                    subject: action.subject(),
                    ours: action.operation().to_owned(),
                    theirs: error.message().to_owned(),
                    rows: Vec::new(),
                },
                Err(Refused::Error(error)) => return Err(error),
            };
            return Ok(Err(conflict));
        }
        Ok(Ok(overlay))
    }

    /// The earlier commit with the same idempotency key, if there is one.
    async fn replay_of_key(&self, base: &Snapshot) -> Result<Option<Committed>> {
        let Some(key) = &self.about.idempotency_key else {
            return Ok(None);
        };
        let context = &self.context;
        let Some(sequence) = find_key(context, base.catalog().root(), key).await? else {
            return Ok(None);
        };
        let history = &context.history;
        let found = match history.at_sequence(self.branch(), sequence).await? {
            Some((record, commit)) => (record.version, commit),
            // A branch that starts in the middle of a merge shows what led there from its start on.
            None => {
                let mut commit = base.point().commit;
                while commit.sequence > sequence {
                    match history.commit(&commit).await?.parents.first() {
                        Some(parent) => commit = *parent,
                        None => break,
                    }
                }
                (self.record.started_at, commit)
            }
        };
        let (version, commit) = found;
        if history.commit(&commit).await?.idempotency_key.as_ref() != Some(key) {
            return Err(Error::corrupt("an idempotency key leads to another commit")
                .with("key", key)
                .with("sequence", sequence));
        }
        Ok(Some(Committed {
            version,
            commit_id: commit.id(),
            replayed: true,
            attempts: 0,
        }))
    }

    /// Waits a random time that grows with the number of attempts.
    async fn pause(&self, attempt: u32) {
        let most = Duration::from_millis(1 << attempt.min(6)).min(PAUSE_MAX);
        tokio::time::sleep(self.context.env.jitter(most)).await;
    }
}

impl Action {
    /// The action with its table where others have moved it.
    fn moved(&self, theirs: &Theirs) -> Self {
        let mut action = self.clone();
        match &mut action {
            Self::Append { path, id, .. }
            | Self::Overwrite { path, id, .. }
            | Self::Truncate { path, id }
            | Self::ChangeRows { path, id, .. }
            | Self::DropTable { path, id }
            | Self::AlterTable { path, id, .. }
            | Self::RenameTable { id, from: path, .. } => {
                if let Some(moved) = theirs.renamed(*id) {
                    path.clone_from(moved);
                }
            }
            Self::CreateNamespace(_)
            | Self::DropNamespace(_)
            | Self::CreateTable { .. }
            | Self::PutView { .. }
            | Self::DropView { .. } => {}
        }
        action
    }

    fn subject(&self) -> String {
        match self {
            Self::CreateNamespace(name) | Self::DropNamespace(name) => format!("namespace {name}"),
            Self::CreateTable { path, .. }
            | Self::Append { path, .. }
            | Self::Overwrite { path, .. }
            | Self::AlterTable { path, .. }
            | Self::Truncate { path, .. }
            | Self::ChangeRows { path, .. }
            | Self::DropTable { path, .. } => format!("table {path}"),
            Self::RenameTable { to, .. } => format!("table {to}"),
            Self::PutView { path, .. } | Self::DropView { path } => format!("view {path}"),
        }
    }

    /// What others did to the rows of its table.
    fn words_of(&self, theirs: &Theirs) -> String {
        match self {
            Self::ChangeRows { id, .. } => format!("{} of the same rows", theirs.row_words(*id)),
            _ => String::new(),
        }
    }

    fn operation(&self) -> &'static str {
        match self {
            Self::CreateNamespace(_) => "CREATE SCHEMA",
            Self::DropNamespace(_) => "DROP SCHEMA",
            Self::CreateTable { .. } => "CREATE TABLE",
            Self::Append { .. } => "INSERT",
            Self::Overwrite { .. } => "INSERT OVERWRITE",
            Self::AlterTable { .. } => "ALTER TABLE",
            Self::Truncate { .. } => "TRUNCATE",
            Self::ChangeRows { edit, .. } => edit.operation.table_operation().as_str(),
            Self::RenameTable { .. } => "RENAME TABLE",
            Self::DropTable { .. } => "DROP TABLE",
            Self::PutView { .. } => "CREATE VIEW",
            Self::DropView { .. } => "DROP VIEW",
        }
    }
}

/// Whether replaying an action failed because of what others published.
fn is_conflict(error: &Error) -> bool {
    matches!(
        error.kind(),
        ErrorKind::AlreadyExists | ErrorKind::NotFound | ErrorKind::Invalid
    )
}

/// A commit that others published.
struct Published {
    version: Version,
    reference: CommitRef,
    commit: Arc<Commit>,
}

/// The commits published after `from` up to `to`, oldest first.
async fn published_between(
    context: &Context,
    from: &RefRecord,
    to: &RefRecord,
) -> Result<Vec<Published>> {
    let versions = from.version.0 + 1..=to.version.0;
    let records = futures::stream::iter(versions)
        .map(|version| context.history.sibling(from, Version(version)))
        .buffered(CONCURRENCY)
        .try_collect::<Vec<_>>()
        .await?;
    let commits = records
        .iter()
        .flat_map(|record| {
            record
                .commits
                .iter()
                .map(|commit| (record.version, *commit))
        })
        .collect::<Vec<_>>();
    futures::stream::iter(commits)
        .map(|(version, reference)| async move {
            let commit = context.history.commit(&reference).await?;
            Ok(Published {
                version,
                reference,
                commit,
            })
        })
        .buffered(CONCURRENCY)
        .try_collect()
        .await
}

/// The state that a record of a branch published.
pub(crate) async fn snapshot_of(context: &Context, record: &RefRecord) -> Result<Snapshot> {
    let Some(commit) = record.head else {
        return Err(Error::corrupt("a branch has no head").with("branch", &record.name));
    };
    let point = Point {
        branch: Some(record.name.clone()),
        version: Some(record.version),
        commit,
        at: record.at,
        skipped: record.skipped,
    };
    snapshot_at(context, point).await
}

/// The state at a point.
pub(crate) async fn snapshot_at(context: &Context, point: Point) -> Result<Snapshot> {
    let commit = context.history.commit(&point.commit).await?;
    let root = context.loader.root(&commit.root).await?;
    Ok(Snapshot::new(
        point,
        commit,
        Catalog::new(context.loader.clone(), root),
    ))
}

/// The sequence of the commit that had `key`.
async fn find_key(context: &Context, root: &Root, key: &str) -> Result<Option<u64>> {
    if let Some(entry) = root.keys.recent.iter().find(|entry| entry.key == key) {
        return Ok(Some(entry.sequence));
    }
    let mut pages = futures::stream::iter(root.keys.pages.iter().rev().copied())
        .map(|page| async move { context.loader.key_page(&page).await })
        .buffered(CONCURRENCY);
    while let Some(page) = pages.try_next().await? {
        if let Some(entry) = page.keys.iter().find(|entry| entry.key == key) {
            return Ok(Some(entry.sequence));
        }
    }
    Ok(None)
}
