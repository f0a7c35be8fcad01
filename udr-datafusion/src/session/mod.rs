//! One client's state: its branch, its pin, its open transaction, and the names it has seen.
//!
//! In: what the client says. Out: the state that its next statement reads, and a transaction for
//! what it writes. Called by the catalog, by every provider and by every statement.

mod checked_files;
mod names;
mod pin;
mod slot;
mod source;
mod status;
mod transaction;

use std::fmt;
use std::sync::{Arc, Weak};

use datafusion::catalog::CatalogProviderList;
use datafusion::config::ConfigOptions;
use datafusion::execution::context::SessionState;
use datafusion::execution::object_store::ObjectStoreUrl;
use parking_lot::{Mutex, RwLock};
use udr_core::data::WriteOptions;
use udr_core::format::DataFile;
use udr_core::id::TransactionId;
use udr_core::name::RefName;
use udr_core::refs::Revision;
use udr_core::snapshot::Snapshot;
use udr_core::store::Verify;
use udr_core::txn::ReadLog;
use udr_core::{Error, Moment, Repository, Result};

use crate::constraint::{RuleBasis, Validator};

use checked_files::CheckedFiles;
use names::Names;
pub(crate) use pin::{Pinned, StatementPin};
use slot::Slot;
pub(crate) use source::{Evolution, Source};
pub use status::{SessionStatus, TransactionStatus};
pub use transaction::BeginOptions;
pub(crate) use transaction::{Rows, WriteTarget};

/// One client's state in a repository; shared by everything that one `SessionContext` runs.
///
/// A session runs one statement of a transaction at a time: a second one that meets a statement in
/// the middle of changing the transaction is refused, not queued.
pub struct UdrSession {
    repository: Repository,
    catalog: String,
    author: Option<String>,
    write: WriteOptions,
    store_url: ObjectStoreUrl,
    context: Weak<RwLock<SessionState>>,
    host: Arc<dyn CatalogProviderList>,
    state: Mutex<State>,
    names: Mutex<Names>,
    validator: Arc<Validator>,
    checked: Mutex<CheckedFiles>,
}

/// What a session is made from.
pub(crate) struct SessionParts {
    pub(crate) repository: Repository,
    pub(crate) branch: RefName,
    pub(crate) catalog: String,
    pub(crate) author: Option<String>,
    pub(crate) write: WriteOptions,
    pub(crate) store_url: ObjectStoreUrl,
    pub(crate) context: Weak<RwLock<SessionState>>,
    /// The catalogs that the context had before.
    pub(crate) host: Arc<dyn CatalogProviderList>,
}

struct State {
    branch: RefName,
    as_of: Option<(Revision, Snapshot)>,
    /// Who commits are by, where that is not who they were by at first.
    author: Option<String>,
    /// How much is verified, where that is not what the store's options say.
    verify: Option<Verify>,
    transaction: Slot,
    /// What the serializable transaction with this id read; it may be over.
    reads: Option<(TransactionId, ReadLog)>,
    /// Counts the changes that were made in transactions.
    changes: u64,
    /// How many there were when changes were last undone.
    undone: u64,
}

impl UdrSession {
    pub(crate) fn new(parts: SessionParts) -> Self {
        Self {
            validator: Arc::new(Validator::new(Weak::clone(&parts.context))),
            checked: Mutex::default(),
            repository: parts.repository,
            catalog: parts.catalog,
            author: parts.author,
            write: parts.write,
            store_url: parts.store_url,
            context: parts.context,
            host: parts.host,
            state: Mutex::new(State {
                branch: parts.branch,
                as_of: None,
                author: None,
                verify: None,
                transaction: Slot::Idle,
                reads: None,
                changes: 0,
                undone: 0,
            }),
            names: Mutex::new(Names::default()),
        }
    }

    /// The repository.
    pub fn repository(&self) -> &Repository {
        &self.repository
    }

    /// The name of the catalog under which the session's own branch is found.
    pub fn catalog(&self) -> &str {
        &self.catalog
    }

    /// How data files are written.
    pub fn write_options(&self) -> &WriteOptions {
        &self.write
    }

    /// The branch that the session is on.
    pub fn branch(&self) -> RefName {
        self.state.lock().branch.clone()
    }

    /// Moves the session to another branch, and lifts its pin.
    ///
    /// # Errors
    ///
    /// `Invalid` inside a transaction; `NotFound` if there is no such branch, with the nearest
    /// name.
    pub async fn use_branch(&self, branch: &RefName) -> Result<()> {
        self.refuse_in_transaction("the branch cannot be changed inside a transaction")?;
        let head = self.repository.head(branch).await?;
        let branch = head.branch().cloned().unwrap_or_else(|| branch.clone());
        {
            let mut state = self.state.lock();
            refuse_open(&state, "the branch cannot be changed inside a transaction")?;
            state.branch = branch;
            state.as_of = None;
        }
        self.names_changed().await;
        Ok(())
    }

    /// The revision that every statement reads, if the session is pinned to one.
    pub fn as_of(&self) -> Option<Revision> {
        self.state
            .lock()
            .as_of
            .as_ref()
            .map(|(revision, _)| revision.clone())
    }

    /// Pins the session to a state, or lifts the pin; while it is pinned it cannot write.
    ///
    /// The revision is looked up here, once, so that all later reads see the same state.
    ///
    /// # Errors
    ///
    /// `Invalid` inside a transaction; `NotFound` if there is no such state.
    pub async fn set_as_of(&self, revision: Option<Revision>) -> Result<()> {
        self.refuse_in_transaction("the session cannot be pinned inside a transaction")?;
        let pin = match revision {
            Some(revision) => {
                let snapshot = self.snapshot_at(&revision).await?;
                Some((revision, snapshot))
            }
            None => None,
        };
        {
            let mut state = self.state.lock();
            refuse_open(&state, "the session cannot be pinned inside a transaction")?;
            state.as_of = pin;
        }
        self.names_changed().await;
        Ok(())
    }

    /// Says who the following commits are by, that of an open transaction included; `None` is whom
    /// they were by when the session began.
    ///
    /// # Errors
    ///
    /// `Invalid` if the name is empty.
    pub fn set_author(&self, author: Option<String>) -> Result<()> {
        if author.as_deref().is_some_and(|name| name.trim().is_empty()) {
            return Err(Error::invalid("the author's name is empty"));
        }
        self.state.lock().author = author;
        Ok(())
    }

    /// How much of data files the statements of the session verify.
    pub fn verify(&self) -> Verify {
        let own = self.state.lock().verify;
        own.unwrap_or_else(|| self.repository.store().verify())
    }

    /// Says how much of data files the following statements verify; `None` is what the options of
    /// the store say.
    pub fn set_verify(&self, verify: Option<Verify>) {
        self.state.lock().verify = verify;
    }

    /// What the next statement reads: the open transaction with its own writes, the state that the
    /// session is pinned to, or the head of its branch.
    ///
    /// # Errors
    ///
    /// `Invalid` while another statement is changing the transaction; those of reading the store.
    pub async fn snapshot(&self) -> Result<Snapshot> {
        Ok(self.pinned(&Source::Tip).await?.snapshot)
    }

    /// The state that a revision names; one that is relative to a branch is relative to the
    /// session's.
    ///
    /// # Errors
    ///
    /// `NotFound` if there is none.
    pub async fn snapshot_at(&self, revision: &Revision) -> Result<Snapshot> {
        let branch = self.branch();
        self.repository.resolve(&branch, revision).await
    }

    /// The state that `source` names at this moment, and the transaction it belongs to.
    pub(crate) async fn pinned(&self, source: &Source) -> Result<Pinned> {
        self.pinned_in(&self.repository.moment(), source).await
    }

    /// As [`UdrSession::pinned`], with the heads of branches as a statement has found them.
    pub(crate) async fn pinned_in(&self, moment: &Moment, source: &Source) -> Result<Pinned> {
        let fixed = match source {
            Source::Tip => None,
            Source::Evolving(evolution) => {
                let pinned = Box::pin(self.pinned_in(moment, &Source::Tip)).await?;
                return self.evolved(pinned, evolution).await;
            }
            Source::At(revision) => Some(moment.resolve(&self.branch(), revision).await?),
            Source::On(branch, revision) => Some(moment.resolve(branch, revision).await?),
        };
        if let Some(snapshot) = fixed {
            return Ok(Pinned::published(snapshot));
        }
        let branch = {
            let state = self.state.lock();
            if let Some(pinned) = state.transaction.pinned(state.changes)? {
                return Ok(pinned);
            }
            if let Some((_, snapshot)) = &state.as_of {
                return Ok(Pinned::published(snapshot.clone()));
            }
            state.branch.clone()
        };
        let snapshot = moment.head(&branch).await?;
        Ok(Pinned::published(snapshot))
    }

    /// Notes that every row of these files obeys rules, so that nobody need look again.
    pub(crate) fn remember_checked(&self, files: &[DataFile], rules: &Arc<RuleBasis>) {
        self.checked.lock().remember(files, rules);
    }

    /// Whether it is known that every row of a file obeys the rules of `table`.
    pub(crate) fn is_checked(&self, file: &DataFile, table: &RuleBasis) -> bool {
        self.checked.lock().is_checked(file, table)
    }

    pub(crate) fn store_url(&self) -> &ObjectStoreUrl {
        &self.store_url
    }

    pub(crate) fn host_catalogs(&self) -> &Arc<dyn CatalogProviderList> {
        &self.host
    }

    /// A copy of the state of the context that the session belongs to.
    ///
    /// # Errors
    ///
    /// `Internal` if the context is gone.
    pub(crate) fn context_state(&self) -> Result<SessionState> {
        let state = self
            .context
            .upgrade()
            .ok_or_else(|| Error::internal("the session outlived its context"))?;
        let state = state.read().clone();
        Ok(state)
    }

    /// Changes the settings of the context, unless somebody is reading them.
    pub(crate) fn change_options(&self, change: impl FnOnce(&mut ConfigOptions)) {
        if let Some(state) = self.context.upgrade()
            && let Some(mut state) = state.try_write()
        {
            change(state.config_mut().options_mut());
        }
    }

    /// Whether the context has a table function of this name.
    pub(crate) fn is_table_function(&self, name: &str) -> bool {
        self.context.upgrade().is_some_and(|state| {
            state
                .read()
                .table_functions()
                .keys()
                .any(|known| known.eq_ignore_ascii_case(name))
        })
    }

    fn refuse_in_transaction(&self, why: &str) -> Result<()> {
        refuse_open(&self.state.lock(), why)
    }
}

fn refuse_open(state: &State, why: &str) -> Result<()> {
    if state.transaction.is_idle() {
        return Ok(());
    }
    Err(Error::invalid(why).with_hint("COMMIT or ROLLBACK first"))
}

impl fmt::Debug for UdrSession {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("UdrSession")
            .field("catalog", &self.catalog)
            .finish_non_exhaustive()
    }
}
