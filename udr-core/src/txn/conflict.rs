//! Which concurrent changes can be reconciled: the conflict matrix. Pure.

use std::collections::BTreeMap;
use std::fmt;

use super::{Action, alter};
use crate::format::{Change, Commit, TableOperation};
use crate::id::TableId;
use crate::name::RelationPath;

/// Why a transaction cannot be published on the new head.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Conflict {
    /// What both changed: a table, a view or a namespace.
    pub subject: String,
    /// What this transaction does.
    pub ours: String,
    /// What was published meanwhile.
    pub theirs: String,
}

impl fmt::Display for Conflict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{}: {} here, {} meanwhile",
            self.subject, self.ours, self.theirs
        )
    }
}

/// Whether two changes of one table can both be kept, ours being applied after theirs.
///
/// The table in `docs/format.md` is this function.
pub(super) fn compatible(ours: TableOperation, theirs: TableOperation) -> bool {
    use TableOperation::{Alter, Append, Constrain, Create, Drop, Overwrite, Rename};
    match (ours, theirs) {
        // A table id is new to whoever creates it: nobody else can have changed it.
        (Create, _) | (_, Create) => true,
        // Added rows stand beside whatever else happened to the rows.
        (Append, Append | Overwrite | Rename | Alter) => true,
        // Rows are checked by the constraints that their writer knew.
        (Append, Constrain | Drop) => false,
        // An overwrite replaces the rows it saw, and no others.
        (Overwrite, Rename | Alter) => true,
        (Overwrite, Append | Overwrite | Constrain | Drop) => false,
        // A name does not depend on rows.
        (Rename, Append | Overwrite | Alter | Constrain) => true,
        (Rename, Rename | Drop) => false,
        // Of two new definitions one would be lost.
        (Alter, Append | Overwrite | Rename) => true,
        (Alter, Alter | Constrain | Drop) => false,
        // A constraint is of the rows that it was checked for.
        (Constrain, Rename) => true,
        (Constrain, Append | Overwrite | Alter | Constrain | Drop) => false,
        // A drop is of the table as it was seen.
        (Drop, Append | Overwrite | Rename | Alter | Constrain | Drop) => false,
    }
}

/// What was published between the base of a transaction and the new head.
#[derive(Debug, Default)]
pub(super) struct Theirs {
    tables: BTreeMap<TableId, (RelationPath, Vec<TableOperation>)>,
    views: BTreeMap<RelationPath, &'static str>,
}

impl Theirs {
    pub(super) fn of<'a>(commits: impl IntoIterator<Item = &'a Commit>) -> Self {
        let mut theirs = Self::default();
        for change in commits.into_iter().flat_map(|commit| &commit.changes) {
            match change {
                // Whether a namespace is there is found by replaying on the new head.
                Change::Namespace { .. } => {}
                Change::View { path, .. } => {
                    theirs.views.insert(path.clone(), "the view was changed");
                }
                Change::Table(change) => {
                    let entry = theirs
                        .tables
                        .entry(change.table)
                        .or_insert_with(|| (change.path.clone(), Vec::new()));
                    entry.0 = change.path.clone();
                    entry.1.extend(&change.operations);
                }
            }
        }
        theirs
    }

    /// Where a table that others renamed is to be found.
    pub(super) fn renamed(&self, table: TableId) -> Option<&RelationPath> {
        let (path, operations) = self.tables.get(&table)?;
        operations.contains(&TableOperation::Rename).then_some(path)
    }

    /// The conflicts of `actions` with what was published, each pair once.
    pub(super) fn conflicts(&self, actions: &[Action]) -> Vec<Conflict> {
        let mut found = Vec::new();
        for action in actions {
            let (path, table, ours) = match action {
                Action::CreateNamespace(_) | Action::DropNamespace(_) => continue,
                Action::CreateTable { .. } => continue,
                Action::PutView { path, .. } | Action::DropView { path } => {
                    if let Some(theirs) = self.views.get(path) {
                        found.push(Conflict {
                            subject: format!("view {path}"),
                            ours: "the view is changed".to_owned(),
                            theirs: (*theirs).to_owned(),
                        });
                    }
                    continue;
                }
                Action::Append { path, id, .. } => (path, id, TableOperation::Append),
                Action::Overwrite { path, id, .. } => (path, id, TableOperation::Overwrite),
                Action::AlterTable {
                    path,
                    id,
                    alterations,
                } => (path, id, alter::operation(alterations)),
                Action::RenameTable { id, from, .. } => (from, id, TableOperation::Rename),
                Action::DropTable { path, id } => (path, id, TableOperation::Drop),
            };
            let Some((_, theirs)) = self.tables.get(table) else {
                continue;
            };
            for theirs in theirs.iter().filter(|theirs| !compatible(ours, **theirs)) {
                let conflict = Conflict {
                    subject: format!("table {path}"),
                    ours: ours.as_str().to_owned(),
                    theirs: theirs.as_str().to_owned(),
                };
                if !found.contains(&conflict) {
                    found.push(conflict);
                }
            }
        }
        found
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use TableOperation::{Alter, Append, Constrain, Create, Drop, Overwrite, Rename};

    #[test]
    fn every_cell_of_the_matrix_is_as_specified() {
        // Rows: ours; columns: theirs, in this order.
        let all = [Create, Append, Overwrite, Rename, Alter, Constrain, Drop];
        let matrix = [
            (Create, [true, true, true, true, true, true, true]),
            (Append, [true, true, true, true, true, false, false]),
            (Overwrite, [true, false, false, true, true, false, false]),
            (Rename, [true, true, true, false, true, true, false]),
            (Alter, [true, true, true, true, false, false, false]),
            (Constrain, [true, false, false, true, false, false, false]),
            (Drop, [true, false, false, false, false, false, false]),
        ];
        for (ours, row) in matrix {
            for (theirs, expected) in all.into_iter().zip(row) {
                assert_eq!(
                    compatible(ours, theirs),
                    expected,
                    "{ours:?} after {theirs:?}"
                );
            }
        }
    }
}
