//! Foreign keys from and to a table that a commit changes.

use std::collections::BTreeMap;
use std::sync::Arc;

use udr_core::format::{Constraint, DataFile};
use udr_core::id::TableId;
use udr_core::snapshot::{Snapshot, TableSnapshot};
use udr_core::{Error, Result};

use super::keys::KeyRows;
use super::validator::Validator;

/// The foreign keys from and to one table that a commit changes.
pub(super) struct ForeignKeys<'a> {
    pub(super) validator: &'a Validator,
    pub(super) staged: &'a Snapshot,
    pub(super) checked: Option<&'a Snapshot>,
    pub(super) table: &'a TableSnapshot,
}

impl ForeignKeys<'_> {
    /// Rows that came have a parent; all rows, where the foreign key is new.
    pub(super) async fn of_added(&self, base: Option<&TableSnapshot>) -> Result<()> {
        for constraint in self.table.constraints() {
            let Constraint::ForeignKey {
                columns,
                parent,
                parent_columns,
                ..
            } = constraint
            else {
                continue;
            };
            let new = base.is_some_and(|base| !base.constraints().contains(constraint));
            let children = if new {
                KeyRows::all(self.table, columns)?
            } else if self.table.added().is_empty() {
                continue;
            } else {
                KeyRows::of_files(self.table, columns, self.table.added())?
            };
            let parent = self.other(*parent).await?;
            if self.is_as_checked(&parent).await? {
                continue;
            }
            let parents = KeyRows::all(&parent, parent_columns)?;
            let query = self.validator.query()?;
            if let Some(key) = query.orphan(&children, None, &parents).await? {
                return Err(orphaned(constraint, self.table, &parent, &key));
            }
        }
        Ok(())
    }

    /// Rows that went leave no children behind.
    pub(super) async fn of_removed(&self, base: Option<&TableSnapshot>) -> Result<()> {
        let Some(base) = base.filter(|_| self.table.removes_rows()) else {
            return Ok(());
        };
        let children = self.staged.children(self.table.id());
        if children.is_empty() {
            return Ok(());
        }
        let removed = files_with_removed(base, self.table).await?;
        if removed.is_empty() {
            return Ok(());
        }
        for child in children {
            let child = self.other(child).await?;
            if self.is_as_checked(&child).await? {
                continue;
            }
            for constraint in child.constraints() {
                let Constraint::ForeignKey {
                    columns,
                    parent,
                    parent_columns,
                    ..
                } = constraint
                else {
                    continue;
                };
                if *parent != self.table.id() {
                    continue;
                }
                let children = KeyRows::all(&child, columns)?;
                let gone = KeyRows::of_files(base, parent_columns, &removed)?;
                let parents = KeyRows::all(self.table, parent_columns)?;
                let query = self.validator.query()?;
                let key = query.orphan(&children, Some(&gone), &parents).await?;
                if let Some(key) = key {
                    return Err(orphaned(constraint, &child, self.table, &key));
                }
            }
        }
        Ok(())
    }

    /// A table at the other end.
    async fn other(&self, id: TableId) -> Result<TableSnapshot> {
        let found = self.staged.table_by_id(id).await?;
        found.ok_or_else(|| {
            Error::corrupt("a foreign key leads to a table that is not there").with("table_id", id)
        })
    }

    /// Whether nobody changed the other table since the attempt before.
    async fn is_as_checked(&self, other: &TableSnapshot) -> Result<bool> {
        let Some(checked) = self.checked else {
            return Ok(false);
        };
        let known = checked.table_by_id(other.id()).await?;
        Ok(known.is_some_and(|known| {
            known.has_rows_of(other) && known.constraints() == other.constraints()
        }))
    }
}

/// The files of `base` that have rows which `table` does not have.
async fn files_with_removed(
    base: &TableSnapshot,
    table: &TableSnapshot,
) -> Result<Vec<Arc<DataFile>>> {
    let kept = table.plan(None).await?;
    let kept = kept.files.iter();
    let kept = kept
        .map(|task| (task.file.id, task.live_rows()))
        .collect::<BTreeMap<_, _>>();
    let files = base.plan(None).await?.files.into_iter();
    Ok(files
        .filter(|task| kept.get(&task.file.id) != Some(&task.live_rows()))
        .map(|task| task.file)
        .collect())
}

fn orphaned(
    constraint: &Constraint,
    child: &TableSnapshot,
    parent: &TableSnapshot,
    key: &str,
) -> Error {
    Error::invalid("a row's foreign key leads to no row")
        .with("constraint", constraint.name())
        .with("table", child.path())
        .with("parent", parent.path())
        .with("key", key)
}
