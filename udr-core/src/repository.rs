//! The door: create or open a repository, and go from there (layer L8).
//!
//! In: a store. Out: snapshots, transactions, branches, tags, logs. Called by users of the crate.
//! There is no logic here but putting the layers below together.

mod changes;
mod log;
mod moment;

use std::sync::Arc;

use futures::{StreamExt as _, TryStreamExt as _};

use crate::env::{Env, Micros};
use crate::error::{Error, ErrorKind, Result};
use crate::format::{
    BranchPoint, Commit, CommitRef, Namespace, ObjectRef, RefRecord, RepositoryFile, Root, Within,
    decode, encode,
};
use crate::history::{History, LogEntry, Segment};
use crate::id::{Epoch, RepositoryId, TransactionId, Version};
use crate::maintenance::{FsckOptions, FsckReport, fsck};
use crate::name::{NamespaceName, RefName};
use crate::refs::{Appended, Point, RefLog, Revision};
use crate::snapshot::{Loader, Snapshot};
use crate::store::{Created, RefKind, Store};
use crate::txn::{Context, Transaction, snapshot_at, snapshot_of};

pub use moment::Moment;

/// How many records and commits a log reads at once.
const CONCURRENCY: usize = 16;

/// A repository: one root in a store, and everything under it. Cheap to clone; clones share
/// caches.
///
/// ```
/// use udr_core::env::Env;
/// use udr_core::name::RefName;
/// use udr_core::store::Store;
/// use udr_core::Repository;
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> udr_core::Result<()> {
/// let repository = Repository::create(Store::memory(), Env::system()).await?;
/// let head = repository.head(&RefName::main()).await?;
/// assert_eq!(head.version().map(|v| v.0), Some(0));
/// # Ok(())
/// # }
/// ```
#[derive(Debug, Clone)]
pub struct Repository {
    id: RepositoryId,
    context: Context,
}

/// A branch or a tag, and what it points at.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RefHead {
    /// Its name, spelled as it was created.
    pub name: RefName,
    /// The version of its newest record.
    pub version: Version,
    /// The commit that it points at.
    pub commit: CommitRef,
    /// When it last moved.
    pub moved_at: Micros,
    /// Where it was created from.
    pub from: Option<BranchPoint>,
}

/// How a fast-forward ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum FastForward {
    /// The target had everything already.
    UpToDate {
        /// Its version.
        version: Version,
    },
    /// The target shows the state of the source.
    Moved {
        /// The new version of the target.
        version: Version,
        /// The commit that it points at.
        commit: CommitRef,
        /// How many commits it gained.
        commits: usize,
    },
}

/// What became of a transaction whose commit ended without an answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum TransactionOutcome {
    /// It is published.
    Committed {
        /// On a branch or a tag.
        kind: RefKind,
        /// Its name.
        name: RefName,
        /// The version that shows it.
        version: Version,
    },
    /// It is not, and never will be.
    NotPublished,
    /// No log has it, and a request that is still under way may yet publish it.
    Unknown,
}

impl TransactionOutcome {
    fn committed(kind: RefKind, record: &RefRecord) -> Self {
        Self::Committed {
            kind,
            name: record.name.clone(),
            version: record.version,
        }
    }
}

/// Whether a fast-forward moves the target.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[expect(missing_docs, reason = "the names say it")]
pub enum MergeMode {
    Publish,
    DryRun,
}

impl Repository {
    /// Makes a repository with the branch `main` and the namespace `public`.
    ///
    /// Two processes that create one at once end up with the same repository: one of them gets
    /// `AlreadyExists`.
    ///
    /// # Errors
    ///
    /// `AlreadyExists`; `Unsupported` if the store does not honour create-if-absent;
    /// `Unavailable`.
    pub async fn create(store: Store, env: Env) -> Result<Self> {
        store.probe().await?;
        let file = RepositoryFile {
            id: env.repository_id(),
            features: Vec::new(),
            created_at: env.now(),
        };
        // The first state is written before `udr.json`, so that a repository that exists has a
        // `main`, wherever its creation was interrupted.
        let repository = Self {
            id: file.id,
            context: Self::context(store, env),
        };
        repository.create_main().await?;
        match repository
            .context
            .store
            .create_repository(encode(&file)?)
            .await?
        {
            Created::Mine => Ok(repository),
            Created::Other(_) => Err(Error::already_exists("there is a repository already")
                .with("location", repository.context.store.location())),
        }
    }

    /// Opens a repository.
    ///
    /// # Errors
    ///
    /// `NotFound`; `Unsupported` if a newer version made it; `Corrupt`, `Unavailable`.
    pub async fn open(store: Store, env: Env) -> Result<Self> {
        let Some(bytes) = store.get_repository().await? else {
            return Err(
                Error::not_found("there is no repository").with("location", store.location())
            );
        };
        let file = decode::<RepositoryFile>(&bytes).map_err(|e| e.with("object", "udr.json"))?;
        Ok(Self {
            id: file.id,
            context: Self::context(store, env),
        })
    }

    /// Opens a repository, or makes it where there is none.
    ///
    /// # Errors
    ///
    /// As [`Repository::open`] and [`Repository::create`], without `NotFound` and
    /// `AlreadyExists`.
    pub async fn open_or_create(store: Store, env: Env) -> Result<Self> {
        match Self::open(store.clone(), env.clone()).await {
            Err(error) if error.kind() == ErrorKind::NotFound => {}
            other => return other,
        }
        match Self::create(store.clone(), env.clone()).await {
            Err(error) if error.kind() == ErrorKind::AlreadyExists => Self::open(store, env).await,
            other => other,
        }
    }

    fn context(store: Store, env: Env) -> Context {
        let refs = RefLog::new(store.clone(), env.clone());
        let history = History::new(store.clone(), refs.clone());
        let loader = Loader::new(store.clone());
        Context {
            store,
            env,
            refs,
            history,
            loader,
        }
    }

    async fn create_main(&self) -> Result<()> {
        let Context {
            store, env, refs, ..
        } = &self.context;
        if refs
            .newest(RefKind::Branch, &RefName::main())
            .await?
            .is_some()
        {
            return Ok(());
        }
        let at = env.now();
        let mut root = Root::default();
        root.namespaces
            .insert(NamespaceName::public(), Namespace::default());
        let root = encode(&root)?;
        let commit = Commit {
            parents: Vec::new(),
            root: ObjectRef {
                within: Some(Within::Here),
                ..ObjectRef::of(Epoch::default(), &root)
            },
            sequence: 0,
            author: "udr".to_owned(),
            message: "Create the repository".to_owned(),
            committed_at: at,
            metadata: std::collections::BTreeMap::new(),
            transaction: env.transaction_id(),
            idempotency_key: None,
            changes: Vec::new(),
            parts: Vec::new(),
        };
        let bytes = commit.encode(&[root])?;
        let object = store.put_object(Epoch::default(), bytes).await?;
        let commit = CommitRef {
            object,
            sequence: 0,
        };
        let point = Point {
            branch: None,
            version: None,
            commit,
            at,
            skipped: 0,
        };
        let main = RefName::main();
        let created = refs.create(RefKind::Branch, &main, &point, None, Epoch::default());
        match created.await {
            Err(error) if error.kind() == ErrorKind::AlreadyExists => Ok(()),
            other => other.map(|_| ()),
        }
    }

    /// Identifies the repository, wherever it is copied to.
    pub fn id(&self) -> RepositoryId {
        self.id
    }

    /// Where it is.
    pub fn store(&self) -> &Store {
        &self.context.store
    }

    /// Its source of time and ids.
    pub fn env(&self) -> &Env {
        &self.context.env
    }

    /// All branches, in order of name. Lists the store.
    ///
    /// # Errors
    ///
    /// `Unavailable`, `Corrupt`.
    pub async fn branches(&self) -> Result<Vec<RefHead>> {
        self.ref_heads(RefKind::Branch).await
    }

    /// All tags, in order of name. Lists the store.
    ///
    /// # Errors
    ///
    /// `Unavailable`, `Corrupt`.
    pub async fn tags(&self) -> Result<Vec<RefHead>> {
        self.ref_heads(RefKind::Tag).await
    }

    /// Creates a branch at a published state: one record, whatever the size of the repository.
    ///
    /// # Errors
    ///
    /// `AlreadyExists`; `Invalid` if `from` has unpublished changes or is none of this repository;
    /// `Unavailable`, `Indeterminate`, `Corrupt`.
    pub async fn create_branch(&self, name: &RefName, from: &Snapshot) -> Result<RefHead> {
        self.create_ref(RefKind::Branch, name, from).await
    }

    /// Creates a tag at a published state.
    ///
    /// # Errors
    ///
    /// As [`Repository::create_branch`].
    pub async fn create_tag(&self, name: &RefName, from: &Snapshot) -> Result<RefHead> {
        self.create_ref(RefKind::Tag, name, from).await
    }

    /// Drops a branch. Its name can be used again and goes on counting versions.
    ///
    /// # Errors
    ///
    /// `NotFound`; `Invalid` for `main`; `Conflict` if it moved meanwhile; `Unavailable`,
    /// `Indeterminate`, `Corrupt`.
    pub async fn drop_branch(&self, name: &RefName) -> Result<()> {
        if name.folded() == RefName::main().folded() {
            return Err(Error::invalid("the branch `main` cannot be dropped"));
        }
        self.context.refs.delete(RefKind::Branch, name).await
    }

    /// Drops a tag.
    ///
    /// # Errors
    ///
    /// `NotFound`; `Conflict` if it was dropped meanwhile; `Unavailable`, `Indeterminate`,
    /// `Corrupt`.
    pub async fn drop_tag(&self, name: &RefName) -> Result<()> {
        self.context.refs.delete(RefKind::Tag, name).await
    }

    /// Moves `target` to the head of `source`, if that only adds commits to it.
    ///
    /// # Errors
    ///
    /// `NotFound`; `Conflict` if both have commits that the other lacks, or if `target` moved
    /// meanwhile; `Unsupported` beyond 4,096 commits; `Unavailable`, `Indeterminate`, `Corrupt`.
    pub async fn fast_forward(
        &self,
        source: &RefName,
        target: &RefName,
        mode: MergeMode,
    ) -> Result<FastForward> {
        let Context { refs, history, .. } = &self.context;
        let theirs = history.head(source).await?;
        let ours = refs.head(RefKind::Branch, target).await?;
        let head = ours
            .head
            .ok_or_else(|| Error::corrupt("a branch has no head").with("branch", target))?;
        let diverged = || {
            Error::conflict("the branches have diverged, so there is no fast-forward")
                .with("source", source)
                .with("target", target)
        };
        if theirs.commit.sequence <= head.sequence {
            let (id, sequence) = (theirs.commit.id(), theirs.commit.sequence);
            let has = history.published(target, id, sequence).await?.is_some()
                || history.line(&theirs.commit, &head).await?.is_some();
            return match has {
                true => Ok(FastForward::UpToDate {
                    version: ours.version,
                }),
                false => Err(diverged()),
            };
        }
        let Some(commits) = history.line(&head, &theirs.commit).await? else {
            return Err(diverged());
        };
        let count = commits.len();
        let record = refs.following(&ours, crate::format::RecordKind::Merge)?;
        let record = RefRecord {
            head: Some(theirs.commit),
            commits,
            // Not before its commits, whatever clock they were made by.
            at: record.at.max(theirs.at),
            ..record
        };
        let version = record.version;
        if mode == MergeMode::Publish
            && let Appended::Lost(_) = refs.append(RefKind::Branch, Some(&ours), record).await?
        {
            return Err(
                Error::conflict("the branch moved while it was being merged into")
                    .with("branch", target)
                    .with_hint("merge again"),
            );
        }
        Ok(FastForward::Moved {
            version,
            commit: theirs.commit,
            commits: count,
        })
    }

    /// The newest state of a branch.
    ///
    /// # Errors
    ///
    /// `NotFound`, `Unavailable`, `Corrupt`.
    pub async fn head(&self, branch: &RefName) -> Result<Snapshot> {
        let record = self.context.refs.head(RefKind::Branch, branch).await?;
        snapshot_of(&self.context, &record).await
    }

    /// The state that `revision` names for somebody on `current`.
    ///
    /// # Errors
    ///
    /// `NotFound`, with the nearest name if there is one; `Invalid` if a commit id is ambiguous;
    /// `Unavailable`, `Corrupt`.
    pub async fn resolve(&self, current: &RefName, revision: &Revision) -> Result<Snapshot> {
        let point = self.context.history.resolve(current, revision).await?;
        snapshot_at(&self.context, point).await
    }

    /// The commits of a branch, newest first; those of the branch that it came from follow.
    ///
    /// Reads as many records and commits as it returns.
    ///
    /// # Errors
    ///
    /// `NotFound`, `Unavailable`, `Corrupt`.
    pub async fn log(&self, branch: &RefName, limit: Option<usize>) -> Result<Vec<LogEntry>> {
        let record = self.context.refs.head(RefKind::Branch, branch).await?;
        let newest = record
            .head
            .ok_or_else(|| Error::corrupt("a branch has no head").with("branch", &record.name))?;
        self.led_to(record, &newest, limit).await
    }

    /// What moved a branch, newest first, back to its creation.
    ///
    /// # Errors
    ///
    /// `NotFound`, `Unavailable`, `Corrupt`.
    pub async fn reflog(
        &self,
        branch: &RefName,
        limit: Option<usize>,
    ) -> Result<Vec<Arc<RefRecord>>> {
        let record = self.context.refs.head(RefKind::Branch, branch).await?;
        let segment = Segment {
            branch: record.name.clone(),
            first: record.started_at,
            last: record,
        };
        self.records(&segment)
            .take(limit.unwrap_or(usize::MAX))
            .try_collect()
            .await
    }

    /// Starts a transaction on the newest state of a branch.
    ///
    /// # Errors
    ///
    /// `NotFound`, `Unavailable`, `Corrupt`.
    pub async fn begin(&self, branch: &RefName) -> Result<Transaction> {
        // Whoever begins is about to write.
        let (trusted, record) = futures::join!(
            self.context.store.trust(),
            self.context.refs.head(RefKind::Branch, branch)
        );
        let record = record?;
        trusted?;
        let base = snapshot_of(&self.context, &record).await?;
        Ok(Transaction::new(self.context.clone(), record, base))
    }

    /// Starts a transaction on a published state of a branch; it is published on the head.
    ///
    /// # Errors
    ///
    /// `Invalid` if `base` is not a version of `branch` itself; `NotFound`, `Unavailable`,
    /// `Corrupt`.
    pub async fn begin_at(&self, branch: &RefName, base: &Snapshot) -> Result<Transaction> {
        let refuse = || {
            Error::invalid("a transaction starts from a published version of its branch")
                .with("branch", branch)
        };
        let point = base.point().published().ok_or_else(refuse)?;
        let same_branch = base.branch().is_some_and(|b| b.folded() == branch.folded());
        if base.is_staged() || !same_branch {
            return Err(refuse());
        }
        let (trusted, record) = futures::join!(
            self.context.store.trust(),
            self.context.history.published_as(&point)
        );
        let record = record?;
        trusted?;
        if record.head.is_none_or(|head| head.id() != base.commit_id()) {
            return Err(refuse());
        }
        Ok(Transaction::new(self.context.clone(), record, base.clone()))
    }

    /// What became of a transaction, by the logs of all branches and tags as they are.
    ///
    /// Reads every record, unless one of them has it.
    ///
    /// # Errors
    ///
    /// `Unavailable`, `Corrupt`.
    pub async fn transaction_outcome(
        &self,
        transaction: TransactionId,
    ) -> Result<TransactionOutcome> {
        let Context { store, refs, .. } = &self.context;
        for kind in [RefKind::Branch, RefKind::Tag] {
            for name in store.list_refs(kind).await? {
                if let Some(record) = refs.find_transaction(kind, &name, transaction).await? {
                    return Ok(TransactionOutcome::committed(kind, &record));
                }
            }
        }
        Ok(TransactionOutcome::Unknown)
    }

    /// What became of a transaction on a branch, for certain; the process that ran it must have
    /// given up.
    ///
    /// If no record has it, a fence is published, so that no request that is still under way
    /// somewhere can publish it later.
    ///
    /// # Errors
    ///
    /// `NotFound` if no record has it and the branch does not exist; `Unavailable`,
    /// `Indeterminate`, `Corrupt`.
    pub async fn settle_transaction(
        &self,
        branch: &RefName,
        transaction: TransactionId,
    ) -> Result<TransactionOutcome> {
        let refs = &self.context.refs;
        Ok(match refs.settle_transaction(branch, transaction).await? {
            Some(record) => TransactionOutcome::committed(RefKind::Branch, &record),
            None => TransactionOutcome::NotPublished,
        })
    }

    /// Checks everything that is reachable (invariants 1 to 8).
    ///
    /// # Errors
    ///
    /// `Unavailable`; what is wrong with the repository is in the report.
    pub async fn fsck(&self, options: FsckOptions) -> Result<FsckReport> {
        fsck(&self.context, options).await
    }

    async fn ref_heads(&self, kind: RefKind) -> Result<Vec<RefHead>> {
        let records = self.context.refs.list(kind).await?;
        Ok(records
            .iter()
            .filter_map(|record| ref_head(record))
            .collect())
    }

    async fn create_ref(&self, kind: RefKind, name: &RefName, from: &Snapshot) -> Result<RefHead> {
        if from.is_staged() {
            return Err(Error::invalid("unpublished changes cannot be named")
                .with("name", name)
                .with_hint("commit first"));
        }
        // A version names the state only if it is the head of its record: a commit in the middle
        // of a merge has none of its own.
        let point = from.point();
        let from = match point.published() {
            Some(published) => {
                let record = self.context.history.published_as(&published).await?;
                let head = record.head.filter(|head| head.id() == point.commit.id());
                head.map(|_| published)
            }
            None => None,
        };
        if from.is_none() {
            // A state of another repository could look like one in the middle of a merge.
            let found = self.context.history.commit(&point.commit).await;
            found.map_err(|error| match error.kind() {
                ErrorKind::Corrupt => Error::invalid("the state is none of this repository")
                    .with("commit", point.commit.id())
                    .with_source(error),
                _ => error,
            })?;
        }
        let epoch = Epoch::default();
        let record = self
            .context
            .refs
            .create(kind, name, point, from, epoch)
            .await?;
        ref_head(&record).ok_or_else(|| Error::internal("a new ref has no head"))
    }

    /// The records of a segment, newest first.
    fn records<'a>(
        &'a self,
        segment: &'a Segment,
    ) -> impl futures::Stream<Item = Result<Arc<RefRecord>>> + Unpin + 'a {
        let versions = (segment.first.0..=segment.last.version.0).rev();
        Box::pin(
            futures::stream::iter(versions)
                .map(|version| {
                    self.context
                        .history
                        .sibling(&segment.last, Version(version))
                })
                .buffered(CONCURRENCY),
        )
    }
}

fn ref_head(record: &RefRecord) -> Option<RefHead> {
    Some(RefHead {
        name: record.name.clone(),
        version: record.version,
        commit: record.head?,
        moved_at: record.at,
        from: record.from.clone(),
    })
}
