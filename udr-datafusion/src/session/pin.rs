//! One statement, one state.
//!
//! DataFusion resolves each name by itself and scans later, so two tables of one statement could
//! see two commits. All scans of one plan share a [`StatementPin`]: the first that is asked finds
//! the state, and the others read the same one. States that are named in other ways, such as
//! `main~1` or `HEAD`, are found from the same heads of branches.

use std::collections::BTreeMap;
use std::sync::{Arc, OnceLock};

use parking_lot::Mutex;
use tokio::sync::OnceCell;
use udr_core::format::DataFile;
use udr_core::id::TransactionId;
use udr_core::snapshot::Snapshot;
use udr_core::txn::Transaction;
use udr_core::{Error, Moment, Result};

use super::{Source, UdrSession};

/// A state, and the open transaction it was taken from.
#[derive(Clone)]
pub(crate) struct Pinned {
    pub(crate) snapshot: Snapshot,
    pub(crate) transaction: Option<TransactionId>,
    /// How many changes the session had made in transactions.
    pub(super) changes: u64,
    /// The transaction with what the statement did to columns already, and nothing more.
    pub(super) evolved: Option<Arc<Transaction>>,
}

impl Pinned {
    /// A state that has nothing to do with an open transaction.
    pub(crate) fn published(snapshot: Snapshot) -> Self {
        Self {
            snapshot,
            transaction: None,
            changes: 0,
            evolved: None,
        }
    }
}

/// The states that one statement reads, one for each source, found when first asked for.
#[derive(Default)]
pub(crate) struct StatementPin {
    states: Mutex<BTreeMap<Option<String>, Arc<OnceCell<Pinned>>>>,
    /// The data files whose rows the statement changes, in the order in which they were found.
    scanned: Mutex<Vec<Arc<DataFile>>>,
    moment: OnceLock<Moment>,
}

impl StatementPin {
    /// The state of `source` for this statement.
    pub(crate) async fn state(&self, session: &UdrSession, source: &Source) -> Result<Pinned> {
        let cell = Arc::clone(self.states.lock().entry(source.key()).or_default());
        let moment = self.moment(session);
        cell.get_or_try_init(|| session.pinned_in(moment, source))
            .await
            .cloned()
    }

    /// Numbers data files so that a row can say in which it is; the first gets the number that is
    /// returned.
    ///
    /// # Errors
    ///
    /// `Unsupported` if there are more files than numbers.
    pub(crate) fn number(&self, files: impl Iterator<Item = Arc<DataFile>>) -> Result<u32> {
        let mut scanned = self.scanned.lock();
        let first = scanned.len();
        scanned.extend(files);
        if u32::try_from(scanned.len()).is_err() {
            return Err(Error::unsupported("a statement changes too many files"));
        }
        u32::try_from(first)
            .map_err(|e| Error::internal("files are numbered wrongly").with_source(e))
    }

    /// The data file with a number.
    ///
    /// # Errors
    ///
    /// `Internal` if no file has it.
    pub(crate) fn scanned(&self, number: u32) -> Result<Arc<DataFile>> {
        let scanned = self.scanned.lock();
        let file = usize::try_from(number).ok().and_then(|at| scanned.get(at));
        file.cloned().ok_or_else(|| {
            Error::internal("a row is in a file that was not scanned").with("number", number)
        })
    }

    /// The branches and tags as the statement finds them.
    pub(crate) fn moment(&self, session: &UdrSession) -> &Moment {
        self.moment.get_or_init(|| session.repository().moment())
    }
}

impl std::fmt::Debug for StatementPin {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("StatementPin").finish_non_exhaustive()
    }
}
