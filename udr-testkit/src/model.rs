//! What a repository must show, kept in maps.
//!
//! In: the same operations that a repository is given. Out: the state that it must have, and how
//! each operation must end. Called by the model test. No file, no object, no store: a table is a
//! multiset of rows, a commit is a copy of the catalog, a branch is a map from versions to commits.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use crate::fixtures::{Row, Rows, multiset};

/// Identifies a table, whatever its name; never used again.
type Id = u64;
/// Identifies a row, however often it is changed; never used again.
type RowNumber = u64;
/// Names a commit: its place in the list of all commits.
type CommitId = usize;

/// The tables of one state.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Catalog {
    names: BTreeMap<String, Id>,
    rows: BTreeMap<Id, BTreeMap<RowNumber, Row>>,
}

impl Catalog {
    /// Every table with its rows.
    pub fn tables(&self) -> BTreeMap<&str, Rows> {
        let rows = |id| Some(multiset(self.rows.get(id)?.values().cloned()));
        self.names
            .iter()
            .filter_map(|(n, id)| Some((n.as_str(), rows(id)?)))
            .collect()
    }

    /// The rows of a table with a number.
    fn numbered(&self, table: Id, number: i64) -> Vec<RowNumber> {
        let rows = self.rows.get(&table);
        let rows = rows.iter().flat_map(|rows| rows.iter());
        rows.filter(|(_, row)| row.0 == number)
            .map(|(row, _)| *row)
            .collect()
    }

    fn find(&self, name: &str) -> Result<Id, Refusal> {
        self.names.get(name).copied().ok_or(Refusal::NotFound)
    }

    fn free(&self, name: &str) -> Result<(), Refusal> {
        if self.names.contains_key(name) {
            Err(Refusal::AlreadyExists)
        } else {
            Ok(())
        }
    }

    fn name_of(&self, id: Id) -> Result<String, Refusal> {
        let found = self.names.iter().find(|(_, i)| **i == id);
        found.map(|(name, _)| name.clone()).ok_or(Refusal::NotFound)
    }

    fn apply(&mut self, step: &Step) -> Result<(), Refusal> {
        match step {
            Step::Create(id, name) => {
                self.free(name)?;
                self.names.insert(name.clone(), *id);
                self.rows.insert(*id, BTreeMap::new());
            }
            Step::Append(id, rows) => {
                let table = self.rows.get_mut(id).ok_or(Refusal::NotFound)?;
                table.extend(rows.iter().cloned());
            }
            Step::Overwrite(id, rows) => {
                let table = self.rows.get_mut(id).ok_or(Refusal::NotFound)?;
                *table = rows.iter().cloned().collect();
            }
            Step::Truncate(id) => {
                let table = self.rows.get_mut(id).ok_or(Refusal::NotFound)?;
                table.clear();
            }
            Step::Delete(id, rows) => {
                let table = self.rows.get_mut(id).ok_or(Refusal::NotFound)?;
                for row in rows {
                    table.remove(row).ok_or(Refusal::NotFound)?;
                }
            }
            Step::Change(id, changed, inserted) => {
                let table = self.rows.get_mut(id).ok_or(Refusal::NotFound)?;
                for (number, row) in changed {
                    *table.get_mut(number).ok_or(Refusal::NotFound)? = row.clone();
                }
                table.extend(inserted.iter().cloned());
            }
            Step::Rename(id, to) => {
                let from = self.name_of(*id)?;
                self.free(to)?;
                self.names.remove(&from);
                self.names.insert(to.clone(), *id);
            }
            Step::Drop(id) => {
                let name = self.name_of(*id)?;
                self.names.remove(&name);
                self.rows.remove(id);
            }
        }
        Ok(())
    }
}

/// A change of one table, by name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Change {
    /// Creates it.
    Create(String),
    /// Adds rows.
    Append(String, Vec<Row>),
    /// Replaces all rows.
    Overwrite(String, Vec<Row>),
    /// Removes all rows.
    Truncate(String),
    /// Deletes the rows with a number.
    Delete(String, i64),
    /// Gives the rows with a number another word, and adds rows.
    Update(String, i64, String, Vec<Row>),
    /// Gives it another name.
    Rename(String, String),
    /// Drops it.
    Drop(String),
}

/// A change whose table has been found.
#[derive(Debug, Clone)]
enum Step {
    Create(Id, String),
    Append(Id, Vec<(RowNumber, Row)>),
    Overwrite(Id, Vec<(RowNumber, Row)>),
    Truncate(Id),
    Delete(Id, Vec<RowNumber>),
    Change(Id, Vec<(RowNumber, Row)>, Vec<(RowNumber, Row)>),
    Rename(Id, String),
    Drop(Id),
}

/// What was done to a table, for conflicts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Touch {
    Create,
    Append,
    Overwrite,
    Rows,
    Rename,
    Drop,
}

impl Step {
    /// The rows that it deletes or changes.
    fn rows(&self) -> Vec<RowNumber> {
        match self {
            Self::Delete(_, rows) => rows.clone(),
            Self::Change(_, rows, _) => rows.iter().map(|(row, _)| *row).collect(),
            _ => Vec::new(),
        }
    }

    /// Whether it does nothing.
    fn is_empty(&self) -> bool {
        match self {
            Self::Append(_, rows) => rows.is_empty(),
            Self::Delete(_, rows) => rows.is_empty(),
            Self::Change(_, changed, inserted) => changed.is_empty() && inserted.is_empty(),
            _ => false,
        }
    }

    fn touch(&self) -> (Id, Touch) {
        match self {
            Self::Create(id, _) => (*id, Touch::Create),
            Self::Append(id, _) => (*id, Touch::Append),
            Self::Overwrite(id, _) | Self::Truncate(id) => (*id, Touch::Overwrite),
            Self::Delete(id, _) | Self::Change(id, ..) => (*id, Touch::Rows),
            Self::Rename(id, _) => (*id, Touch::Rename),
            Self::Drop(id) => (*id, Touch::Drop),
        }
    }
}

/// Whether our change can follow theirs, which it did not see.
fn compatible(ours: Touch, theirs: Touch) -> bool {
    match ours {
        Touch::Create => true,
        Touch::Append => theirs != Touch::Drop,
        Touch::Overwrite => theirs == Touch::Rename,
        // Which rows is looked at one by one.
        Touch::Rows => matches!(theirs, Touch::Append | Touch::Rows | Touch::Rename),
        Touch::Rename => matches!(theirs, Touch::Append | Touch::Overwrite | Touch::Rows),
        Touch::Drop => false,
    }
}

/// How an operation ends that is refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Refusal {
    /// What was named is not there.
    NotFound,
    /// What was to be made is there already.
    AlreadyExists,
    /// Somebody else was faster, or histories have diverged.
    Conflict,
}

/// How an operation ends that is not refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Done {
    /// It was staged, or it needed nothing done.
    Quietly,
    /// It published this version.
    Published(u64),
}

/// How an operation ends.
pub type Answer = Result<Done, Refusal>;

#[derive(Debug, Clone)]
struct Commit {
    parent: Option<CommitId>,
    catalog: Arc<Catalog>,
    touched: BTreeSet<(Id, Touch)>,
    /// Rows that were deleted or changed.
    rows: BTreeSet<RowNumber>,
}

#[derive(Debug, Clone)]
struct Branch {
    exists: bool,
    /// The version it was last created at.
    started_at: u64,
    /// What each version shows, those before `started_at` included that it was created from.
    log: BTreeMap<u64, CommitId>,
}

impl Branch {
    fn head(&self) -> (u64, CommitId) {
        self.log
            .last_key_value()
            .map_or((0, 0), |(version, commit)| (*version, *commit))
    }
}

#[derive(Debug, Clone)]
struct Transaction {
    branch: String,
    started_at: u64,
    base: CommitId,
    steps: Vec<Step>,
    own: Catalog,
    savepoints: Vec<(String, usize, Catalog)>,
}

/// A repository, and the transactions that are open on it.
#[derive(Debug, Clone)]
pub struct Model {
    commits: Vec<Commit>,
    branches: BTreeMap<String, Branch>,
    tags: BTreeMap<String, CommitId>,
    transactions: BTreeMap<usize, Transaction>,
    next_id: Id,
    next_row: RowNumber,
}

impl Default for Model {
    fn default() -> Self {
        Self::new()
    }
}

impl Model {
    /// A new repository: branch `main` at version 0, without tables.
    pub fn new() -> Self {
        let first = Commit {
            parent: None,
            catalog: Arc::default(),
            touched: BTreeSet::new(),
            rows: BTreeSet::new(),
        };
        let main = Branch {
            exists: true,
            started_at: 0,
            log: BTreeMap::from([(0, 0)]),
        };
        Self {
            commits: vec![first],
            branches: BTreeMap::from([("main".to_owned(), main)]),
            tags: BTreeMap::new(),
            transactions: BTreeMap::new(),
            next_id: 0,
            next_row: 0,
        }
    }

    fn branch(&self, name: &str) -> Result<&Branch, Refusal> {
        self.branches
            .get(name)
            .filter(|b| b.exists)
            .ok_or(Refusal::NotFound)
    }

    /// The branches, each with all versions that can be read on it.
    pub fn branches(&self) -> BTreeMap<&str, BTreeMap<u64, &Catalog>> {
        let shown = |b: &Branch| {
            b.log
                .iter()
                .map(|(v, c)| (*v, self.commits[*c].catalog.as_ref()))
                .collect()
        };
        let existing = self.branches.iter().filter(|(_, b)| b.exists);
        existing
            .map(|(name, b)| (name.as_str(), shown(b)))
            .collect()
    }

    /// The tags.
    pub fn tags(&self) -> BTreeMap<&str, &Catalog> {
        let shown = |c: &CommitId| self.commits[*c].catalog.as_ref();
        self.tags
            .iter()
            .map(|(name, commit)| (name.as_str(), shown(commit)))
            .collect()
    }

    /// What an open transaction of a session sees.
    pub fn staged(&self, session: usize) -> Option<&Catalog> {
        self.transactions.get(&session).map(|t| &t.own)
    }

    /// The savepoints of an open transaction, oldest first.
    pub fn savepoints(&self, session: usize) -> Vec<&str> {
        let open = self.transactions.get(&session);
        open.iter()
            .flat_map(|t| &t.savepoints)
            .map(|(name, ..)| name.as_str())
            .collect()
    }

    /// Opens a transaction.
    ///
    /// # Errors
    ///
    /// There is no such branch.
    pub fn begin(&mut self, session: usize, branch: &str) -> Answer {
        let found = self.branch(branch)?;
        let base = found.head().1;
        let transaction = Transaction {
            branch: branch.to_owned(),
            started_at: found.started_at,
            base,
            steps: Vec::new(),
            own: self.commits[base].catalog.as_ref().clone(),
            savepoints: Vec::new(),
        };
        self.transactions.insert(session, transaction);
        Ok(Done::Quietly)
    }

    /// Stages a change in an open transaction.
    ///
    /// # Errors
    ///
    /// A name is missing or taken, as the transaction sees it; nothing is staged then.
    pub fn change(&mut self, session: usize, change: &Change) -> Answer {
        let transaction = self
            .transactions
            .get_mut(&session)
            .ok_or(Refusal::NotFound)?;
        let own = &transaction.own;
        let mut next_row = self.next_row;
        let mut new = |rows: &[Row]| -> Vec<(RowNumber, Row)> {
            let numbers = next_row..;
            next_row += rows.len() as u64;
            numbers.zip(rows.iter().cloned()).collect()
        };
        let step = match change {
            Change::Create(name) => Step::Create(self.next_id, name.clone()),
            Change::Append(name, rows) => Step::Append(own.find(name)?, new(rows)),
            Change::Overwrite(name, rows) => Step::Overwrite(own.find(name)?, new(rows)),
            Change::Truncate(name) => Step::Truncate(own.find(name)?),
            Change::Delete(name, number) => {
                let table = own.find(name)?;
                Step::Delete(table, own.numbered(table, *number))
            }
            Change::Update(name, number, word, inserted) => {
                let table = own.find(name)?;
                let row = || (*number, Some(word.clone()));
                let changed = own.numbered(table, *number).into_iter();
                let changed = changed.map(|n| (n, row())).collect();
                Step::Change(table, changed, new(inserted))
            }
            Change::Rename(from, to) => Step::Rename(own.find(from)?, to.clone()),
            Change::Drop(name) => Step::Drop(own.find(name)?),
        };
        self.next_row = next_row;
        if step.is_empty() {
            return Ok(Done::Quietly);
        }
        transaction.own.apply(&step)?;
        transaction.steps.push(step);
        self.next_id += 1;
        Ok(Done::Quietly)
    }

    /// Marks a point to come back to.
    ///
    /// # Errors
    ///
    /// As [`Answer`] says.
    pub fn savepoint(&mut self, session: usize, name: &str) -> Answer {
        let transaction = self
            .transactions
            .get_mut(&session)
            .ok_or(Refusal::NotFound)?;
        let point = (
            name.to_owned(),
            transaction.steps.len(),
            transaction.own.clone(),
        );
        transaction.savepoints.push(point);
        Ok(Done::Quietly)
    }

    /// Undoes what was staged since a savepoint, which stays.
    ///
    /// # Errors
    ///
    /// There is none of that name.
    pub fn rollback_to(&mut self, session: usize, name: &str) -> Answer {
        let transaction = self
            .transactions
            .get_mut(&session)
            .ok_or(Refusal::NotFound)?;
        let at = transaction.savepoints.iter().rposition(|(n, ..)| n == name);
        let at = at.ok_or(Refusal::NotFound)?;
        transaction.savepoints.truncate(at + 1);
        let (_, steps, own) = &transaction.savepoints[at];
        transaction.steps.truncate(*steps);
        transaction.own = own.clone();
        Ok(Done::Quietly)
    }

    /// Forgets a savepoint and those set since.
    ///
    /// # Errors
    ///
    /// There is none of that name.
    pub fn release(&mut self, session: usize, name: &str) -> Answer {
        let transaction = self
            .transactions
            .get_mut(&session)
            .ok_or(Refusal::NotFound)?;
        let at = transaction.savepoints.iter().rposition(|(n, ..)| n == name);
        transaction
            .savepoints
            .truncate(at.ok_or(Refusal::NotFound)?);
        Ok(Done::Quietly)
    }

    /// Gives up an open transaction.
    ///
    /// # Errors
    ///
    /// As [`Answer`] says.
    pub fn rollback(&mut self, session: usize) -> Answer {
        self.transactions
            .remove(&session)
            .ok_or(Refusal::NotFound)?;
        Ok(Done::Quietly)
    }

    /// Publishes an open transaction, or gives it up.
    ///
    /// # Errors
    ///
    /// A conflict with what was published since it was opened; its branch is gone.
    pub fn commit(&mut self, session: usize) -> Answer {
        let transaction = self
            .transactions
            .remove(&session)
            .ok_or(Refusal::NotFound)?;
        if transaction.steps.is_empty() {
            return Ok(Done::Quietly);
        }
        let branch = self.branch(&transaction.branch)?;
        if branch.started_at != transaction.started_at {
            return Err(Refusal::NotFound);
        }
        let (version, head) = branch.head();
        let ours: Vec<_> = transaction.steps.iter().map(Step::touch).collect();
        let theirs = self.touched_since(transaction.base, head);
        let clash = |(id, ours): &(Id, Touch)| {
            theirs
                .iter()
                .any(|(other, theirs)| id == other && !compatible(*ours, *theirs))
        };
        if ours.iter().any(clash) {
            return Err(Refusal::Conflict);
        }
        let rows: BTreeSet<_> = transaction.steps.iter().flat_map(Step::rows).collect();
        let theirs = self.rows_since(transaction.base, head);
        if rows.intersection(&theirs).next().is_some() {
            return Err(Refusal::Conflict);
        }
        let before = Arc::clone(&self.commits[head].catalog);
        let mut catalog = before.as_ref().clone();
        for step in &transaction.steps {
            catalog.apply(step).map_err(|_| Refusal::Conflict)?;
        }
        let touched = net(&transaction.steps, &before);
        let commit = self.commits.len();
        self.commits.push(Commit {
            parent: Some(head),
            catalog: Arc::new(catalog),
            touched,
            rows,
        });
        Ok(self.publish(&transaction.branch, version + 1, commit))
    }

    fn publish(&mut self, branch: &str, version: u64, commit: CommitId) -> Done {
        if let Some(branch) = self.branches.get_mut(branch) {
            branch.log.insert(version, commit);
        }
        Done::Published(version)
    }

    /// What the commits after `base` up to `head` did.
    fn touched_since(&self, base: CommitId, head: CommitId) -> BTreeSet<(Id, Touch)> {
        let mut touched = BTreeSet::new();
        let mut at = head;
        while at != base {
            touched.extend(&self.commits[at].touched);
            match self.commits[at].parent {
                Some(parent) => at = parent,
                None => break,
            }
        }
        touched
    }

    /// The rows that the commits after `base` up to `head` deleted or changed.
    fn rows_since(&self, base: CommitId, head: CommitId) -> BTreeSet<RowNumber> {
        let mut rows = BTreeSet::new();
        let mut at = Some(head);
        while let Some(commit) = at.filter(|at| *at != base) {
            rows.extend(&self.commits[commit].rows);
            at = self.commits[commit].parent;
        }
        rows
    }

    fn descends(&self, from: CommitId, ancestor: CommitId) -> bool {
        let mut at = Some(from);
        while let Some(commit) = at {
            if commit == ancestor {
                return true;
            }
            at = self.commits[commit].parent;
        }
        false
    }

    /// Creates a branch at a version of another.
    ///
    /// # Errors
    ///
    /// The name is taken; there is no such version.
    pub fn create_branch(&mut self, name: &str, from: &str, version: u64) -> Answer {
        let origin = self.branch(from)?;
        let commit = *origin.log.get(&version).ok_or(Refusal::NotFound)?;
        let old = self.branches.get(name);
        if old.is_some_and(|b| b.exists) {
            return Err(Refusal::AlreadyExists);
        }
        // A name that was used before goes on counting after its last record, which deleted it,
        // and not below what it comes from.
        let started_at = old.map_or(version, |b| version.max(b.head().0 + 2));
        // Below that it shows what it came from.
        let inherited = origin
            .log
            .range(..=version)
            .filter(|(v, _)| **v < started_at);
        let mut log: BTreeMap<u64, CommitId> = inherited.map(|(v, c)| (*v, *c)).collect();
        log.insert(started_at, commit);
        let branch = Branch {
            exists: true,
            started_at,
            log,
        };
        self.branches.insert(name.to_owned(), branch);
        Ok(Done::Published(started_at))
    }

    /// Deletes a branch; its name goes on counting.
    ///
    /// # Errors
    ///
    /// There is no such branch.
    pub fn drop_branch(&mut self, name: &str) -> Answer {
        self.branch(name)?;
        if let Some(branch) = self.branches.get_mut(name) {
            branch.exists = false;
        }
        Ok(Done::Quietly)
    }

    /// Creates a tag at a version of a branch.
    ///
    /// # Errors
    ///
    /// The name is taken; there is no such version.
    pub fn create_tag(&mut self, name: &str, from: &str, version: u64) -> Answer {
        let commit = *self
            .branch(from)?
            .log
            .get(&version)
            .ok_or(Refusal::NotFound)?;
        if self.tags.contains_key(name) {
            return Err(Refusal::AlreadyExists);
        }
        self.tags.insert(name.to_owned(), commit);
        Ok(Done::Quietly)
    }

    /// Deletes a tag.
    ///
    /// # Errors
    ///
    /// There is no such tag.
    pub fn drop_tag(&mut self, name: &str) -> Answer {
        self.tags.remove(name).ok_or(Refusal::NotFound)?;
        Ok(Done::Quietly)
    }

    /// Moves `target` to the head of `source`.
    ///
    /// # Errors
    ///
    /// One of them does not exist; `target` has commits that `source` has not.
    pub fn fast_forward(&mut self, source: &str, target: &str) -> Answer {
        let (_, new) = self.branch(source)?.head();
        let (version, old) = self.branch(target)?.head();
        if self.descends(old, new) {
            return Ok(Done::Quietly);
        }
        if !self.descends(new, old) {
            return Err(Refusal::Conflict);
        }
        Ok(self.publish(target, version + 1, new))
    }
}

/// What remains of what was done to each table, once it is all done.
fn net(steps: &[Step], before: &Catalog) -> BTreeSet<(Id, Touch)> {
    let all: BTreeSet<_> = steps.iter().map(Step::touch).collect();
    let gone: BTreeSet<_> = all
        .iter()
        .filter(|(_, t)| *t == Touch::Drop)
        .map(|(id, _)| *id)
        .collect();
    all.into_iter()
        .filter(|(id, touch)| match touch {
            // A table that came and went was never there.
            Touch::Drop => before.rows.contains_key(id),
            _ => !gone.contains(id),
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fixtures::row;

    fn staged(model: &mut Model, session: usize, changes: &[Change]) {
        model.begin(session, "main").unwrap();
        for change in changes {
            model.change(session, change).unwrap();
        }
    }

    #[test]
    fn appends_of_two_transactions_add_up_and_overwrites_conflict() {
        let t = || "t".to_owned();
        let mut model = Model::new();
        staged(&mut model, 0, &[Change::Create(t())]);
        assert_eq!(model.commit(0), Ok(Done::Published(1)));
        staged(&mut model, 0, &[Change::Append(t(), vec![row(1)])]);
        staged(&mut model, 1, &[Change::Append(t(), vec![row(1)])]);
        assert_eq!(model.commit(0), Ok(Done::Published(2)));
        assert_eq!(model.commit(1), Ok(Done::Published(3)));
        assert_eq!(
            model.branches()["main"][&3].tables()["t"],
            Rows::from([(row(1), 2)])
        );
        staged(&mut model, 0, &[Change::Overwrite(t(), vec![])]);
        staged(&mut model, 1, &[Change::Append(t(), vec![row(2)])]);
        assert_eq!(model.commit(1), Ok(Done::Published(4)));
        assert_eq!(model.commit(0), Err(Refusal::Conflict));
    }

    #[test]
    fn changes_of_one_row_conflict_and_of_different_rows_add_up() {
        let t = || "t".to_owned();
        let mut model = Model::new();
        let rows = vec![row(1), row(2), row(2)];
        staged(
            &mut model,
            0,
            &[Change::Create(t()), Change::Append(t(), rows)],
        );
        model.commit(0).unwrap();
        staged(&mut model, 0, &[Change::Delete(t(), 2)]);
        let update = Change::Update(t(), 1, "new".to_owned(), vec![row(3)]);
        staged(&mut model, 1, &[update]);
        staged(&mut model, 2, &[Change::Delete(t(), 1)]);
        assert_eq!(model.commit(0), Ok(Done::Published(2)));
        assert_eq!(model.commit(1), Ok(Done::Published(3)));
        assert_eq!(model.commit(2), Err(Refusal::Conflict));
        assert_eq!(
            model.branches()["main"][&3].tables()["t"],
            multiset([(1, Some("new".to_owned())), row(3)])
        );
    }

    #[test]
    fn a_branch_moves_forward_only_if_it_has_nothing_of_its_own() {
        let mut model = Model::new();
        model.create_branch("dev", "main", 0).unwrap();
        staged(&mut model, 0, &[Change::Create("a".to_owned())]);
        model.commit(0).unwrap();
        assert_eq!(model.fast_forward("dev", "main"), Ok(Done::Quietly));
        assert_eq!(model.fast_forward("main", "dev"), Ok(Done::Published(1)));
        model.drop_branch("dev").unwrap();
        assert_eq!(
            model.create_branch("dev", "main", 1),
            Ok(Done::Published(3))
        );
    }
}
