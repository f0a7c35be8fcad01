//! Which concurrent changes can be reconciled: the conflict matrix. Pure.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use super::rows::row_list;
use super::{Action, alter};
use crate::data::RowId;
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
    /// The first of the rows that both changed, where it comes down to rows.
    pub rows: Vec<RowId>,
}

impl fmt::Display for Conflict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{}: {} here, {} meanwhile",
            self.subject, self.ours, self.theirs
        )?;
        if self.rows.is_empty() {
            return Ok(());
        }
        write!(f, " (rows {})", row_list(&self.rows))
    }
}

/// What two changes of one table, ours being applied after theirs, are to each other.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Verdict {
    /// Both are kept.
    Compatible,
    /// Both are kept unless they change the same row.
    ByRow,
    /// Only one can be kept.
    Conflict,
}

/// Whether two changes of one table can both be kept.
///
/// The table in `docs/format.md` is this function.
pub(super) fn verdict(ours: TableOperation, theirs: TableOperation) -> Verdict {
    use TableOperation::{
        Alter, Append, Constrain, Create, Delete, Drop, Evolve, Merge, Overwrite, Rename, Truncate,
        Update,
    };
    use Verdict::{ByRow, Compatible, Conflict};
    match (ours, theirs) {
        // A table id is new to whoever creates it: nobody else can have changed it.
        (Create, _) | (_, Create) => Compatible,
        // Added rows stand beside whatever else happened to the rows.
        (Append, Append | Overwrite | Truncate | Delete | Update | Merge | Rename | Alter) => {
            Compatible
        }
        // Rows are checked by the constraints and are of the types that their writer knew.
        (Append, Constrain | Evolve | Drop) => Conflict,
        // Rows are changed where they are, beside others.
        (Delete | Update | Merge, Append | Rename | Alter) => Compatible,
        (Delete | Update | Merge, Delete | Update | Merge) => ByRow,
        (Delete | Update | Merge, Overwrite | Truncate | Constrain | Evolve | Drop) => Conflict,
        // An overwrite replaces the rows it saw, and no others.
        (Overwrite | Truncate, Rename | Alter) => Compatible,
        (
            Overwrite | Truncate,
            Append | Overwrite | Truncate | Delete | Update | Merge | Constrain | Evolve | Drop,
        ) => Conflict,
        // A name does not depend on rows.
        (
            Rename,
            Append | Overwrite | Truncate | Delete | Update | Merge | Alter | Constrain | Evolve,
        ) => Compatible,
        (Rename, Rename | Drop) => Conflict,
        // Of two new definitions one would be lost.
        (Alter, Append | Overwrite | Truncate | Delete | Update | Merge | Rename) => Compatible,
        (Alter, Alter | Constrain | Evolve | Drop) => Conflict,
        // What is there becomes of the new type, whoever wrote it.
        (Evolve, Append | Overwrite | Truncate | Delete | Update | Merge | Rename) => Compatible,
        (Evolve, Alter | Constrain | Evolve | Drop) => Conflict,
        // A constraint is of the rows that it was checked for.
        (Constrain, Rename) => Compatible,
        (
            Constrain,
            Append | Overwrite | Truncate | Delete | Update | Merge | Alter | Constrain | Evolve
            | Drop,
        ) => Conflict,
        // A drop is of the table as it was seen.
        (
            Drop,
            Append | Overwrite | Truncate | Delete | Update | Merge | Rename | Alter | Constrain
            | Evolve | Drop,
        ) => Conflict,
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

    /// What others did to a table, and its name after that.
    pub(super) fn table(&self, table: TableId) -> Option<(&RelationPath, &[TableOperation])> {
        let (path, operations) = self.tables.get(&table)?;
        Some((path, operations))
    }

    /// What others did to rows of a table, for people.
    pub(super) fn row_words(&self, table: TableId) -> String {
        let operations = self
            .table(table)
            .map_or(&[][..], |(_, operations)| operations);
        let rows = |operation: &&TableOperation| {
            verdict(TableOperation::Delete, **operation) == Verdict::ByRow
        };
        let words = operations.iter().filter(rows).map(|o| o.as_str());
        let words = words.collect::<BTreeSet<_>>();
        words.into_iter().collect::<Vec<_>>().join(", ")
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
                            rows: Vec::new(),
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
                Action::Truncate { path, id } => (path, id, TableOperation::Truncate),
                Action::ChangeRows { path, id, edit } => {
                    (path, id, edit.operation.table_operation())
                }
                Action::RenameTable { id, from, .. } => (from, id, TableOperation::Rename),
                Action::DropTable { path, id } => (path, id, TableOperation::Drop),
            };
            let Some((_, theirs)) = self.tables.get(table) else {
                continue;
            };
            let conflicting =
                |theirs: &&TableOperation| verdict(ours, **theirs) == Verdict::Conflict;
            for theirs in theirs.iter().filter(conflicting) {
                let conflict = Conflict {
                    subject: format!("table {path}"),
                    ours: ours.as_str().to_owned(),
                    theirs: theirs.as_str().to_owned(),
                    rows: Vec::new(),
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
    use TableOperation::{
        Alter, Append, Constrain, Create, Delete, Drop, Evolve, Merge, Overwrite, Rename, Truncate,
        Update,
    };

    #[test]
    fn every_cell_of_the_matrix_is_as_specified() {
        let all = [
            Create, Append, Overwrite, Truncate, Delete, Update, Merge, Rename, Alter, Evolve,
            Constrain, Drop,
        ];
        // Rows: ours; columns: theirs, in that order. `=` both, `r` by row, `x` one of them.
        let matrix = [
            (Create, "============"),
            (Append, "=========xxx"),
            (Overwrite, "=xxxxxx==xxx"),
            (Truncate, "=xxxxxx==xxx"),
            (Delete, "==xxrrr==xxx"),
            (Update, "==xxrrr==xxx"),
            (Merge, "==xxrrr==xxx"),
            (Rename, "=======x===x"),
            (Alter, "========xxxx"),
            (Evolve, "========xxxx"),
            (Constrain, "=xxxxxx=xxxx"),
            (Drop, "=xxxxxxxxxxx"),
        ];
        for (ours, row) in matrix {
            for (theirs, expected) in all.into_iter().zip(row.chars()) {
                let expected = match expected {
                    '=' => Verdict::Compatible,
                    'r' => Verdict::ByRow,
                    _ => Verdict::Conflict,
                };
                assert_eq!(verdict(ours, theirs), expected, "{ours:?} after {theirs:?}");
            }
        }
    }
}
