//! The session's open transaction, and the changes that statements make in it.
//!
//! The transaction is taken out of the session for asynchronous work, so that no lock is held
//! across a wait, and comes back with a guard: a statement that fails or is dropped halfway leaves
//! the transaction as it was before the statement.

use std::sync::Arc;

use udr_core::id::{Epoch, TransactionId};
use udr_core::refs::Revision;
use udr_core::txn::{CommitOutcome, Committed, Isolation, ReadLog, Transaction, Validate};
use udr_core::{Error, ErrorKind, Result};

use super::slot::{Open, Slot, busy, no_transaction, read_only};
use super::{Evolution, Pinned, State, UdrSession};

/// How a transaction starts.
#[derive(Debug, Clone, Default)]
pub struct BeginOptions {
    /// What others may not change meanwhile.
    pub isolation: Isolation,
    /// Refuses changes.
    pub read_only: bool,
    /// Reads this state instead of the head of the branch; only together with `read_only`.
    pub as_of: Option<Revision>,
}

/// What a statement does to the rows of a table.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Rows {
    /// It adds some, whatever the others are.
    Add,
    /// It puts others in the place of those that it has seen.
    Replace,
}

/// Where a statement that was planned on a state writes to.
pub(crate) enum WriteTarget {
    /// The session's open transaction, if it is the one that was planned in; and if what the
    /// statement has seen is still there.
    Open {
        id: TransactionId,
        epoch: Epoch,
        /// How many changes the statement has seen.
        changes: u64,
        rows: Rows,
        /// The transaction with the columns that the statement gives its target.
        evolved: Option<Arc<Transaction>>,
    },
    /// A transaction of its own, which commits when the statement is done.
    Own(Box<Transaction>),
}

impl WriteTarget {
    /// The epoch that data files are written under.
    pub(crate) fn epoch(&self) -> Epoch {
        match self {
            Self::Open { epoch, .. } => *epoch,
            Self::Own(transaction) => transaction.epoch(),
        }
    }
}

impl UdrSession {
    /// Starts a transaction: until it ends, statements read its base and their own changes.
    ///
    /// A serializable one conflicts, when it commits, with whatever others did to rows that its
    /// statements can have read, to views that they went through and to names that they did not
    /// find. Which rows those are is told by the bounds of files, so it can conflict with a change
    /// of others. What lists names, branches or history is not looked at.
    ///
    /// # Errors
    ///
    /// `Invalid` if one is open, if the session is pinned and the transaction is to write, or if
    /// `as_of` is given without `read_only`.
    pub async fn begin(&self, options: BeginOptions) -> Result<()> {
        let nested = "a transaction is open already";
        self.refuse_in_transaction(nested)?;
        if options.as_of.is_some() && !options.read_only {
            return Err(
                Error::invalid("a transaction that reads an older state is read only")
                    .with_hint("BEGIN READ ONLY AS OF '…'"),
            );
        }
        let open = if options.read_only {
            let snapshot = match &options.as_of {
                Some(revision) => self.snapshot_at(revision).await?,
                None => self.snapshot().await?,
            };
            Open::Reading {
                id: self.repository.env().transaction_id(),
                snapshot,
            }
        } else {
            self.refuse_pinned()?;
            let branch = self.branch();
            let mut transaction = self.repository.begin(&branch).await?;
            transaction.set_isolation(options.isolation);
            Open::Writing(Box::new(transaction))
        };
        let mut state = self.state.lock();
        super::refuse_open(&state, nested)?;
        // A reader's state is one that was published, so it reads as if it had run then.
        state.reads = match &open {
            Open::Writing(transaction) if options.isolation == Isolation::Serializable => {
                Some((transaction.id(), transaction.reads().clone()))
            }
            _ => None,
        };
        state.transaction = Slot::Open(open);
        Ok(())
    }

    /// Publishes the open transaction's changes; `None` if it had none.
    ///
    /// # Errors
    ///
    /// `Invalid` if none is open. `Conflict` if somebody else published something that cannot be
    /// reconciled with it; the transaction is given up then, and the message has the conflicts.
    /// `Unavailable` if the store failed and nothing was published: the transaction stays open.
    /// `Indeterminate` if it is unknown whether it was published; the transaction is over.
    ///
    /// # Cancel safety
    ///
    /// Dropped halfway, the transaction is over and may or may not have been published.
    pub async fn commit(&self, message: Option<String>) -> Result<Option<Committed>> {
        let (mut ending, open) = {
            let mut state = self.state.lock();
            let Some(status) = state.transaction.status() else {
                return Err(no_transaction());
            };
            match std::mem::replace(&mut state.transaction, Slot::Busy(status)) {
                Slot::Open(open) => (Ending::of(self), open),
                other => {
                    state.transaction = other;
                    return Err(busy());
                }
            }
        };
        let Open::Writing(mut transaction) = open else {
            return Ok(None);
        };
        if let Some(message) = message {
            transaction.set_message(message);
        }
        self.sign(&mut transaction);
        let outcome = transaction.clone().commit().await;
        if let Err(error) = &outcome
            && error.kind() == ErrorKind::Unavailable
        {
            ending.open_again = Some(transaction);
        }
        drop(ending);
        let committed = published(outcome.map_err(|error| match error.kind() {
            ErrorKind::Unavailable => error.with_hint(
                "nothing was published and the transaction is open: COMMIT again, or ROLLBACK",
            ),
            _ => error,
        })?);
        self.names_changed().await;
        committed
    }

    /// Gives the open transaction up.
    ///
    /// # Errors
    ///
    /// `Invalid` if none is open, or while a statement is changing it.
    pub async fn rollback(&self) -> Result<()> {
        {
            let mut state = self.state.lock();
            match state.transaction {
                Slot::Idle => return Err(no_transaction()),
                Slot::Busy(_) => return Err(busy()),
                Slot::Open(_) => state.transaction = Slot::Idle,
            }
        }
        self.names_changed().await;
        Ok(())
    }

    /// Marks the changes so far.
    ///
    /// # Errors
    ///
    /// `Invalid` without an open transaction, or if there are too many marks.
    pub fn savepoint(&self, name: &str) -> Result<()> {
        self.state.lock().transaction.writing()?.savepoint(name)
    }

    /// Undoes the changes since a mark.
    ///
    /// # Errors
    ///
    /// `Invalid` without an open transaction, `NotFound` without the mark.
    pub fn rollback_to(&self, name: &str) -> Result<()> {
        {
            let mut state = self.state.lock();
            state.transaction.writing()?.rollback_to(name)?;
            state.changes += 1;
            state.undone = state.changes;
        }
        self.forget_names();
        Ok(())
    }

    /// Forgets a mark, and keeps the changes.
    ///
    /// # Errors
    ///
    /// `Invalid` without an open transaction, `NotFound` without the mark.
    pub fn release(&self, name: &str) -> Result<()> {
        self.state.lock().transaction.writing()?.release(name)
    }

    /// Makes a change: in the open transaction, which is as before if the change fails, or in a
    /// transaction of its own that commits at once.
    ///
    /// # Errors
    ///
    /// Those of `change`; `Invalid` if the session cannot write, or while another statement is
    /// changing the transaction; those of committing.
    ///
    /// # Cancel safety
    ///
    /// Dropped before it commits, nothing has changed; see [`UdrSession::commit`] for the rest.
    pub async fn write<T>(
        &self,
        change: impl AsyncFnOnce(&mut Transaction) -> Result<T>,
    ) -> Result<T> {
        self.refuse_pinned()?;
        if let Some(mut taken) = self.take(Planned::Now)? {
            let done = change(taken.transaction()?).await?;
            taken.check().await?;
            taken.keep();
            self.names_changed().await;
            return Ok(done);
        }
        let branch = self.branch();
        let mut transaction = self.repository.begin(&branch).await?;
        self.sign(&mut transaction);
        let done = change(&mut transaction).await?;
        published(transaction.commit().await?)?;
        self.names_changed().await;
        Ok(done)
    }

    /// What a statement reads that first does something to its target's columns.
    ///
    /// # Errors
    ///
    /// `Invalid` if the session cannot write; those of altering the table.
    pub(super) async fn evolved(&self, pinned: Pinned, evolution: &Evolution) -> Result<Pinned> {
        self.refuse_pinned()?;
        let mut transaction = match pinned.transaction {
            Some(id) => {
                let mut state = self.state.lock();
                let same = state.changes == pinned.changes;
                let open = state.transaction.writing()?;
                if open.id() != id || !same {
                    return Err(changed_meanwhile());
                }
                open.clone()
            }
            None => self.begin_for(&pinned).await?,
        };
        let alterations = evolution.alterations.clone();
        transaction
            .alter_table(&evolution.path, alterations)
            .await?;
        Ok(Pinned {
            snapshot: transaction.snapshot(),
            evolved: Some(Arc::new(transaction)),
            ..pinned
        })
    }

    /// A transaction of a statement's own.
    async fn begin_for(&self, pinned: &Pinned) -> Result<Transaction> {
        let branch = pinned.snapshot.branch().cloned();
        let branch = branch.unwrap_or_else(|| self.branch());
        self.repository.begin_at(&branch, &pinned.snapshot).await
    }

    /// Where a statement that reads `pinned` writes to.
    ///
    /// # Errors
    ///
    /// `Invalid` if the session cannot write.
    pub(crate) async fn write_target(&self, pinned: &Pinned, rows: Rows) -> Result<WriteTarget> {
        self.refuse_pinned()?;
        if let Some(id) = pinned.transaction {
            let mut state = self.state.lock();
            let transaction = state.transaction.writing()?;
            if transaction.id() != id {
                return Err(other_transaction());
            }
            return Ok(WriteTarget::Open {
                id,
                epoch: transaction.epoch(),
                changes: pinned.changes,
                rows: match &pinned.evolved {
                    Some(_) => Rows::Replace,
                    None => rows,
                },
                evolved: pinned.evolved.clone(),
            });
        }
        let mut transaction = match &pinned.evolved {
            Some(evolved) => Transaction::clone(evolved),
            None => self.begin_for(pinned).await?,
        };
        self.sign(&mut transaction);
        Ok(WriteTarget::Own(Box::new(transaction)))
    }

    /// Makes a change where [`UdrSession::write_target`] said; `message` is that of the commit, if
    /// the change has one of its own.
    ///
    /// # Errors
    ///
    /// `Conflict` if the session is in another transaction than the statement was planned in;
    /// those of [`UdrSession::write`].
    pub(crate) async fn write_to<T>(
        &self,
        target: WriteTarget,
        message: String,
        change: impl AsyncFnOnce(&mut Transaction) -> Result<T>,
    ) -> Result<T> {
        let (planned, evolved, own) = match target {
            WriteTarget::Open {
                id,
                changes,
                rows,
                evolved,
                ..
            } => (Planned::In { id, changes, rows }, evolved, None),
            WriteTarget::Own(transaction) => (Planned::Outside, None, Some(transaction)),
        };
        let taken = self.take(planned)?;
        let done = match (taken, own) {
            (Some(mut taken), None) => {
                if let Some(evolved) = evolved {
                    // Nothing has changed since it was made from the one that is open.
                    *taken.transaction()? = Transaction::clone(&evolved);
                }
                let done = change(taken.transaction()?).await?;
                taken.check().await?;
                taken.keep();
                done
            }
            (None, Some(mut transaction)) => {
                transaction.set_message(message);
                let done = change(&mut transaction).await?;
                published(transaction.commit().await?)?;
                done
            }
            _ => return Err(other_transaction()),
        };
        self.forget_names();
        Ok(done)
    }

    /// Where to note what a statement reads at `pinned`, if that matters to anybody.
    pub(crate) fn reads(&self, pinned: &Pinned) -> Option<ReadLog> {
        let state = self.state.lock();
        let (id, log) = state.reads.as_ref()?;
        (pinned.transaction == Some(*id)).then(|| log.clone())
    }

    fn refuse_pinned(&self) -> Result<()> {
        match &self.state.lock().as_of {
            Some((revision, _)) => Err(Error::invalid("the session is pinned and cannot write")
                .with("as_of", revision)
                .with_hint("lift the pin first")),
            None => Ok(()),
        }
    }

    fn sign(&self, transaction: &mut Transaction) {
        let changed = self.state.lock().author.clone();
        if let Some(author) = changed.or_else(|| self.author.clone()) {
            transaction.set_author(author);
        }
        transaction.set_validator(Arc::clone(&self.validator) as Arc<dyn Validate>);
    }

    /// Takes the open transaction out for one statement; `None` if there is none.
    fn take(&self, planned: Planned) -> Result<Option<Taken<'_>>> {
        let mut guard = self.state.lock();
        let state: &mut State = &mut guard;
        let id = match &mut state.transaction {
            Slot::Idle => None,
            slot => Some(slot.writing()?.id()),
        };
        match planned {
            Planned::Now => {}
            Planned::Outside if id.is_none() => {}
            Planned::In { id: expected, .. } if id != Some(expected) => {
                return Err(other_transaction());
            }
            // Rows that are only added may come after others, but not from some that were undone.
            Planned::In {
                changes,
                rows: Rows::Add,
                ..
            } if changes >= state.undone => {}
            Planned::In { changes, .. } if changes == state.changes => {}
            Planned::In { .. } => {
                return Err(changed_meanwhile());
            }
            Planned::Outside => return Err(other_transaction()),
        }
        let Some(status) = state.transaction.status() else {
            return Ok(None);
        };
        match std::mem::replace(&mut state.transaction, Slot::Busy(status)) {
            Slot::Open(open) => match open {
                Open::Writing(transaction) => Ok(Some(Taken {
                    session: self,
                    before: Some(transaction.clone()),
                    transaction: Some(transaction),
                })),
                reading @ Open::Reading { .. } => {
                    state.transaction = Slot::Open(reading);
                    Err(read_only())
                }
            },
            other => {
                state.transaction = other;
                Err(busy())
            }
        }
    }
}

/// A transaction that is being committed: when this is dropped there is none any more, unless it is
/// to be open again.
struct Ending<'a> {
    session: &'a UdrSession,
    open_again: Option<Box<Transaction>>,
}

impl<'a> Ending<'a> {
    fn of(session: &'a UdrSession) -> Self {
        Self {
            session,
            open_again: None,
        }
    }
}

impl Drop for Ending<'_> {
    fn drop(&mut self) {
        self.session.state.lock().transaction = match self.open_again.take() {
            Some(transaction) => Slot::Open(Open::Writing(transaction)),
            None => Slot::Idle,
        };
    }
}

/// When a statement that changes something was planned.
#[derive(Clone, Copy)]
enum Planned {
    /// It was not: it is a change made directly.
    Now,
    /// Outside of a transaction.
    Outside,
    /// In this transaction, after so many changes.
    In {
        id: TransactionId,
        changes: u64,
        rows: Rows,
    },
}

/// A transaction that a statement has taken out of its session.
struct Taken<'a> {
    session: &'a UdrSession,
    before: Option<Box<Transaction>>,
    transaction: Option<Box<Transaction>>,
}

impl Taken<'_> {
    fn transaction(&mut self) -> Result<&mut Transaction> {
        self.transaction
            .as_deref_mut()
            .ok_or_else(|| Error::internal("a transaction was lost"))
    }

    /// Checks what the statement did against the constraints that hold after every statement.
    async fn check(&self) -> Result<()> {
        let (Some(before), Some(after)) = (&self.before, &self.transaction) else {
            return Err(Error::internal("a transaction was lost"));
        };
        let (before, after) = (before.snapshot(), after.snapshot());
        Box::pin(self.session.validator.statement(&before, &after)).await
    }

    /// Ends the statement with its changes kept.
    fn keep(mut self) {
        self.before = self.transaction.take();
        self.session.state.lock().changes += 1;
    }
}

impl Drop for Taken<'_> {
    fn drop(&mut self) {
        if let Some(transaction) = self.before.take() {
            self.session.state.lock().transaction = Slot::Open(Open::Writing(transaction));
        }
    }
}

fn published(outcome: CommitOutcome) -> Result<Option<Committed>> {
    match outcome {
        CommitOutcome::Committed(committed) => Ok(Some(committed)),
        CommitOutcome::Unchanged(_) => Ok(None),
        CommitOutcome::Conflicted(conflicted) => Err(conflicted.to_error()),
    }
}

fn changed_meanwhile() -> Error {
    Error::conflict("another statement of this session changed the transaction meanwhile")
        .with_hint("run the statements of a transaction one after the other")
}

fn other_transaction() -> Error {
    Error::conflict("the session is in another transaction than when the statement was planned")
        .with_hint("run the statement again")
}
