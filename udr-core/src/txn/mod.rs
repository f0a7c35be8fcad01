//! Transactions: changes to any number of tables that become visible together (layer L6).
//!
//! In: a base snapshot and changes. Out: one commit, or the typed reason why not. Called by the
//! repository's users. Everything is staged in memory; data files are uploaded by whoever writes
//! them, all other objects by [`Transaction::commit`], and one record makes it all visible.

mod action;
mod ahead;
mod alter;
mod conflict;
mod find_rows;
mod prepare;
mod publish;
mod reads;
mod rewrite;
mod root;
mod rows;
mod state;
mod tree;
mod validate;

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use self::action::Action;
pub use self::ahead::read_ahead;
pub use self::alter::Alteration;
pub use self::conflict::Conflict;
pub(crate) use self::publish::{snapshot_at, snapshot_of};
pub use self::reads::{Isolation, ReadLog};
use self::rows::RowEdit;
pub use self::rows::{RowChanges, RowOperation};
pub use self::validate::Validate;
use crate::env::Env;
use crate::error::{Error, Result};
use crate::format::{DataFile, RefRecord, Schema, View};
use crate::history::History;
use crate::id::{Digest, Epoch, TableId, TransactionId, Version};
use crate::name::{NamespaceName, RefName, RelationPath};
use crate::refs::RefLog;
use crate::snapshot::overlay::Overlay;
use crate::snapshot::{CatalogEntry, Loader, Snapshot};
use crate::store::Store;

/// The most savepoints that are open at once.
const SAVEPOINTS_MAX: usize = 1_000;

/// What transactions need of their repository.
#[derive(Debug, Clone)]
pub(crate) struct Context {
    pub(crate) store: Store,
    pub(crate) env: Env,
    pub(crate) refs: RefLog,
    pub(crate) history: History,
    pub(crate) loader: Loader,
}

/// A base snapshot and what was changed since; reads its own writes.
///
/// Dropping it leaves nothing behind but data files that nothing refers to. A method that returns
/// an error leaves the transaction as it was.
#[derive(Clone)]
#[must_use = "a transaction changes nothing until it is committed"]
pub struct Transaction {
    context: Context,
    id: TransactionId,
    /// The branch and the record that its base was published by.
    record: Arc<RefRecord>,
    base: Snapshot,
    actions: Vec<Action>,
    overlay: Arc<Overlay>,
    savepoints: Vec<Savepoint>,
    about: About,
    validator: Option<Arc<dyn Validate>>,
    isolation: Isolation,
    reads: ReadLog,
}

/// What is said of a commit.
#[derive(Debug, Clone)]
struct About {
    author: String,
    message: String,
    metadata: BTreeMap<String, String>,
    idempotency_key: Option<String>,
}

#[derive(Debug, Clone)]
struct Savepoint {
    name: String,
    actions: usize,
    overlay: Arc<Overlay>,
}

/// What to do where a name is taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[expect(missing_docs, reason = "the names say it")]
pub enum OnExisting {
    Refuse,
    Replace,
}

/// How a commit ended.
#[derive(Debug)]
#[must_use]
pub enum CommitOutcome {
    /// The changes are published and durable.
    Committed(Committed),
    /// Nothing was staged, so nothing was published.
    Unchanged(Snapshot),
    /// Somebody else published changes that these cannot be reconciled with; nothing was
    /// published.
    Conflicted(Box<Conflicted>),
}

/// A published commit.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Committed {
    /// The version of the branch that shows it.
    pub version: Version,
    /// The commit.
    pub commit_id: Digest,
    /// Whether an earlier commit with the same idempotency key had done it already.
    pub replayed: bool,
    /// How many times the transaction was put together: more than 1 if others were faster.
    pub attempts: u32,
}

/// A transaction that cannot be published on the new head, and why.
#[derive(Debug)]
pub struct Conflicted {
    /// The transaction, as it was.
    pub transaction: Transaction,
    /// The reasons; never empty.
    pub conflicts: Vec<Conflict>,
}

impl Conflicted {
    /// The conflicts as an error of kind `Conflict`.
    pub fn to_error(&self) -> Error {
        let reasons = self
            .conflicts
            .iter()
            .map(ToString::to_string)
            .collect::<Vec<_>>();
        Error::conflict("somebody else published a conflicting change")
            .with("branch", self.transaction.branch())
            .with("conflicts", reasons.join("; "))
            .with_hint("nothing was published; look at the new state and try again")
    }
}

impl Transaction {
    pub(crate) fn new(context: Context, record: Arc<RefRecord>, base: Snapshot) -> Self {
        let id = context.env.transaction_id();
        let about = About {
            author: "unknown".to_owned(),
            message: String::new(),
            metadata: BTreeMap::new(),
            idempotency_key: None,
        };
        let (actions, overlay) = (Vec::new(), Arc::default());
        Self {
            context,
            id,
            record,
            base,
            actions,
            overlay,
            savepoints: Vec::new(),
            about,
            validator: None,
            isolation: Isolation::default(),
            reads: ReadLog::default(),
        }
    }

    /// Identifies it over all attempts to publish.
    pub fn id(&self) -> TransactionId {
        self.id
    }

    /// The branch that it will be published on.
    pub fn branch(&self) -> &RefName {
        &self.record.name
    }

    /// What it started from.
    pub fn base(&self) -> &Snapshot {
        &self.base
    }

    /// The epoch that its data files are to be written under.
    pub fn epoch(&self) -> Epoch {
        self.record.epoch
    }

    /// Whether nothing is staged.
    pub fn is_empty(&self) -> bool {
        self.actions.is_empty()
    }

    /// The base with everything staged so far; later changes do not show in it.
    pub fn snapshot(&self) -> Snapshot {
        self.base
            .with_catalog(self.base.catalog().with_overlay(Arc::clone(&self.overlay)))
    }

    /// Creates a namespace.
    ///
    /// # Errors
    ///
    /// `AlreadyExists`.
    pub async fn create_namespace(&mut self, name: &NamespaceName) -> Result<()> {
        self.stage(Action::CreateNamespace(name.clone())).await
    }

    /// Drops a namespace.
    ///
    /// # Errors
    ///
    /// `NotFound`; `Invalid` if it is not empty; `Unavailable`, `Corrupt`.
    pub async fn drop_namespace(&mut self, name: &NamespaceName) -> Result<()> {
        self.stage(Action::DropNamespace(name.clone())).await
    }

    /// Creates a table without rows.
    ///
    /// # Errors
    ///
    /// `AlreadyExists`; `NotFound` if the namespace does not exist; `Unsupported` if no row of
    /// `schema` can be stored; `Unavailable`, `Corrupt`.
    pub async fn create_table(&mut self, path: &RelationPath, schema: Schema) -> Result<TableId> {
        schema.to_parquet()?;
        let id = self.context.env.table_id();
        let schema = Arc::new(schema);
        self.stage(Action::CreateTable {
            path: path.clone(),
            id,
            schema,
        })
        .await?;
        Ok(id)
    }

    /// Adds data files, written for this table, to it.
    ///
    /// Reads the manifests that the commit will merge, unless they are at hand; see [`read_ahead`].
    /// Files that another store wrote must be durable; see [`Store::flush`].
    ///
    /// # Errors
    ///
    /// `NotFound`; `Invalid` if it is a view; `Unavailable`, `Corrupt`.
    pub async fn append(&mut self, path: &RelationPath, files: Vec<DataFile>) -> Result<()> {
        let id = self.table_id(path).await?;
        let files = files.into_iter().map(Arc::new).collect::<Vec<_>>();
        if files.is_empty() {
            return Ok(());
        }
        self.stage(Action::Append {
            path: path.clone(),
            id,
            files,
        })
        .await?;
        // So that the commit does not wait for it; what cannot be read is for it to say.
        if let Some(table) = self.overlay.tables.get(&id)
            && let Some(kept) = table.kept()
        {
            let (loader, files) = (&self.context.loader, table.added.len());
            ahead::read(loader, &kept.manifests, files).await.ok();
        }
        Ok(())
    }

    /// Replaces all rows of a table by those of data files written for it.
    ///
    /// # Errors
    ///
    /// As [`Transaction::append`].
    pub async fn overwrite(&mut self, path: &RelationPath, files: Vec<DataFile>) -> Result<()> {
        let id = self.table_id(path).await?;
        let files = files.into_iter().map(Arc::new).collect();
        self.stage(Action::Overwrite {
            path: path.clone(),
            id,
            files,
        })
        .await
    }

    /// Changes the definition of a table: its constraints, and what its columns say of NULL and
    /// defaults.
    ///
    /// Whether the rows obey a new constraint is found out by the validator, not here.
    ///
    /// # Errors
    ///
    /// `NotFound`, also for a constraint or a parent; `AlreadyExists` if a constraint has the name;
    /// `Invalid` if it is a view, a constraint is not one of this table or of its parent, or a
    /// foreign key needs what is dropped; `Unavailable`, `Corrupt`.
    pub async fn alter_table(
        &mut self,
        path: &RelationPath,
        alterations: Vec<Alteration>,
    ) -> Result<()> {
        let id = self.table_id(path).await?;
        if alterations.is_empty() {
            return Ok(());
        }
        self.stage(Action::AlterTable {
            path: path.clone(),
            id,
            alterations,
        })
        .await
    }

    /// Removes all rows of a table.
    ///
    /// # Errors
    ///
    /// As [`Transaction::append`].
    pub async fn truncate(&mut self, path: &RelationPath) -> Result<()> {
        let id = self.table_id(path).await?;
        self.stage(Action::Truncate {
            path: path.clone(),
            id,
        })
        .await
    }

    /// Deletes rows of a table, and adds others that may take their place.
    ///
    /// Positions stay what they are until the transaction is published: what is deleted is kept
    /// beside the files.
    ///
    /// # Errors
    ///
    /// As [`Transaction::append`]; `Invalid` if a file is not in the table as the transaction sees
    /// it, or a position is out of range or was deleted before.
    pub async fn change_rows(&mut self, path: &RelationPath, changes: RowChanges) -> Result<()> {
        let id = self.table_id(path).await?;
        let edit = RowEdit::new(changes)?;
        if edit.is_empty() {
            return Ok(());
        }
        self.stage(Action::ChangeRows {
            path: path.clone(),
            id,
            edit: Arc::new(edit),
        })
        .await
    }

    /// Drops a table.
    ///
    /// # Errors
    ///
    /// `NotFound`; `Invalid` if it is a view or another table has a foreign key to it; `Unavailable`, `Corrupt`.
    pub async fn drop_table(&mut self, path: &RelationPath) -> Result<()> {
        let id = self.table_id(path).await?;
        self.stage(Action::DropTable {
            path: path.clone(),
            id,
        })
        .await
    }

    /// Gives a table another name, perhaps in another namespace.
    ///
    /// # Errors
    ///
    /// `NotFound`; `AlreadyExists`; `Invalid` if it is a view; `Unavailable`, `Corrupt`.
    pub async fn rename_table(&mut self, from: &RelationPath, to: &RelationPath) -> Result<()> {
        let id = self.table_id(from).await?;
        self.stage(Action::RenameTable {
            id,
            from: from.clone(),
            to: to.clone(),
        })
        .await
    }

    /// Stores a query under a name.
    ///
    /// # Errors
    ///
    /// `AlreadyExists`, also where the name is a table's; `NotFound` if the namespace does not
    /// exist; `Unavailable`, `Corrupt`.
    pub async fn create_view(
        &mut self,
        path: &RelationPath,
        view: View,
        on_existing: OnExisting,
    ) -> Result<()> {
        self.stage(Action::PutView {
            path: path.clone(),
            view,
            on_existing,
        })
        .await
    }

    /// Drops a view.
    ///
    /// # Errors
    ///
    /// `NotFound`; `Invalid` if it is a table; `Unavailable`, `Corrupt`.
    pub async fn drop_view(&mut self, path: &RelationPath) -> Result<()> {
        self.stage(Action::DropView { path: path.clone() }).await
    }

    /// Marks what is staged so far. A name may be used again; the latest one counts.
    ///
    /// # Errors
    ///
    /// `Invalid` beyond 1,000 open savepoints.
    pub fn savepoint(&mut self, name: &str) -> Result<()> {
        if self.savepoints.len() >= SAVEPOINTS_MAX {
            return Err(Error::invalid("too many open savepoints").with("savepoint", name));
        }
        self.savepoints.push(Savepoint {
            name: name.to_owned(),
            actions: self.actions.len(),
            overlay: Arc::clone(&self.overlay),
        });
        Ok(())
    }

    /// Undoes what was staged since a savepoint, which stays.
    ///
    /// # Errors
    ///
    /// `NotFound`.
    pub fn rollback_to(&mut self, name: &str) -> Result<()> {
        let at = self.find_savepoint(name)?;
        self.savepoints.truncate(at + 1);
        let savepoint = &self.savepoints[at];
        self.actions.truncate(savepoint.actions);
        self.overlay = Arc::clone(&savepoint.overlay);
        Ok(())
    }

    /// Forgets a savepoint and those set since; what is staged stays.
    ///
    /// # Errors
    ///
    /// `NotFound`.
    pub fn release(&mut self, name: &str) -> Result<()> {
        let at = self.find_savepoint(name)?;
        self.savepoints.truncate(at);
        Ok(())
    }

    /// Says what others may not change meanwhile.
    pub fn set_isolation(&mut self, isolation: Isolation) {
        self.isolation = isolation;
    }

    /// What it read: whoever reads for a serializable transaction notes it there.
    pub fn reads(&self) -> &ReadLog {
        &self.reads
    }

    /// Says who makes the change.
    pub fn set_author(&mut self, author: impl Into<String>) {
        self.about.author = author.into();
    }

    /// Says why.
    pub fn set_message(&mut self, message: impl Into<String>) {
        self.about.message = message.into();
    }

    /// The message given so far.
    pub fn message(&self) -> &str {
        &self.about.message
    }

    /// Keeps a value with the commit.
    pub fn set_metadata(&mut self, key: impl Into<String>, value: impl Into<String>) {
        self.about.metadata.insert(key.into(), value.into());
    }

    /// Names the change, so that committing it again returns the first result.
    ///
    /// The keys of at least the latest 4,096 commits that had one are remembered.
    pub fn set_idempotency_key(&mut self, key: impl Into<String>) {
        self.about.idempotency_key = Some(key.into());
    }

    async fn table_id(&self, path: &RelationPath) -> Result<TableId> {
        let snapshot = self.snapshot();
        match snapshot.catalog().entry(path).await? {
            Some(CatalogEntry::Table { id, .. } | CatalogEntry::Staged(id)) => Ok(id),
            Some(CatalogEntry::View(_)) => {
                Err(Error::invalid("it is a view, not a table").with("name", path))
            }
            None => Err(snapshot.no_such_relation(path).await),
        }
    }

    async fn stage(&mut self, action: Action) -> Result<()> {
        let mut overlay = Overlay::clone(&self.overlay);
        let applied = action.apply(&self.snapshot(), &mut overlay, None).await;
        applied.map_err(rows::Refused::into_error)?;
        self.overlay = Arc::new(overlay);
        self.actions.push(action);
        Ok(())
    }

    fn find_savepoint(&self, name: &str) -> Result<usize> {
        self.savepoints
            .iter()
            .rposition(|savepoint| savepoint.name == name)
            .ok_or_else(|| Error::not_found("no such savepoint").with("savepoint", name))
    }
}

impl fmt::Debug for Transaction {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Transaction")
            .field("id", &self.id)
            .field("branch", self.branch())
            .field("base", &self.record.version)
            .field("actions", &self.actions.len())
            .finish_non_exhaustive()
    }
}
