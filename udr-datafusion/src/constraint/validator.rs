//! Checks what a statement staged, and what a commit is about to publish.
//!
//! NOT NULL, checks, generated columns and keys hold after every statement; foreign keys hold at
//! commit, so that both sides can come in one transaction. Of a state that is known to be right,
//! only what is new is looked at:
//!
//! 1. A statement is compared with the state before it, a commit with the base of its transaction.
//! 2. A commit whose rows were all checked after the last statement checks foreign keys only.
//! 3. A commit that others were faster than compares its rows with what they published since.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Weak};

use async_trait::async_trait;
use datafusion::common::DFSchema;
use datafusion::execution::context::SessionState;
use datafusion::logical_expr::{
    Expr, ExprSchemable as _, Operator, binary_expr, is_false, is_null,
};
use datafusion::prelude::SessionContext;
use parking_lot::{Mutex, RwLock};
use udr_core::format::{Constraint, DataFile};
use udr_core::id::TableId;
use udr_core::snapshot::{Snapshot, TableSnapshot};
use udr_core::txn::Validate;
use udr_core::{Error, Result};

use super::expression::for_rules;
use super::keys::KeyRows;
use super::query::{Query, column};
use super::row_rules::RuleBasis;
use crate::session::UdrSession;
use crate::table::Files;

/// Checks the constraints of the transactions of one session.
pub(crate) struct Validator {
    context: Weak<RwLock<SessionState>>,
    /// The state after the last statement that was checked.
    statement: Mutex<Option<Snapshot>>,
}

impl Validator {
    pub(crate) fn new(context: Weak<RwLock<SessionState>>) -> Self {
        Self {
            context,
            statement: Mutex::new(None),
        }
    }

    /// Checks what a statement of an open transaction staged.
    ///
    /// # Errors
    ///
    /// `Invalid` if a row breaks a constraint; those of reading.
    pub(crate) async fn statement(&self, before: &Snapshot, after: &Snapshot) -> Result<()> {
        for id in after.staged_tables() {
            let Some(table) = after.table_by_id(id).await? else {
                continue;
            };
            let before = before.table_by_id(id).await?;
            self.rows_of(before.as_ref(), &table).await?;
        }
        *self.statement.lock() = Some(after.clone());
        Ok(())
    }

    /// Checks all but foreign keys, given that they held before.
    async fn rows_of(&self, before: Option<&TableSnapshot>, table: &TableSnapshot) -> Result<()> {
        let added = added_since(before, table);
        let tightened = before.is_some_and(|before| {
            before.schema() != table.schema() || before.constraints() != table.constraints()
        });
        let basis = RuleBasis::of(table);
        if (added.is_empty() || (basis.is_trivial() && table.key_columns().is_empty()))
            && !tightened
        {
            return Ok(());
        }
        let check = Check {
            query: self.query()?,
            table,
        };
        check.each_row(before, &added, &basis).await?;
        for constraint in table.constraints() {
            if matches!(constraint, Constraint::Unique { .. }) {
                check.key(before, &added, constraint).await?;
            }
        }
        Ok(())
    }

    fn query(&self) -> Result<Query> {
        let state = self
            .context
            .upgrade()
            .ok_or_else(|| Error::internal("the session outlived its context"))?;
        let state = state.read().clone();
        let session = state
            .config()
            .get_extension::<UdrSession>()
            .ok_or_else(|| Error::internal("the context has no repository"))?;
        // A context of its own starts the clock of its statement.
        let state = SessionContext::new_with_state(for_rules(&state)).state();
        Ok(Query { session, state })
    }
}

#[async_trait]
impl Validate for Validator {
    async fn validate(
        &self,
        staged: &Snapshot,
        changed: &[TableId],
        checked: Option<&Snapshot>,
    ) -> Result<()> {
        let known = self.statement.lock().take();
        let known = known.is_some_and(|known| known.is_same(staged));
        for id in changed {
            let Some(table) = staged.table_by_id(*id).await? else {
                continue;
            };
            let base = table.base();
            match checked {
                None if known => {}
                None => self.rows_of(base.as_ref(), &table).await?,
                Some(checked) => {
                    let check = Check {
                        query: self.query()?,
                        table: &table,
                    };
                    check.keys_again(checked).await?;
                }
            }
            let foreign = ForeignKeys {
                validator: self,
                staged,
                checked,
                table: &table,
            };
            foreign.of_added(base.as_ref()).await?;
            foreign.of_removed(base.as_ref()).await?;
        }
        Ok(())
    }
}

impl std::fmt::Debug for Validator {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Validator").finish_non_exhaustive()
    }
}

/// The files of `table` that a transaction added since a state of it.
fn added_since(before: Option<&TableSnapshot>, table: &TableSnapshot) -> Vec<Arc<DataFile>> {
    let known = before.map_or(&[][..], TableSnapshot::added);
    let known = known.iter().map(|file| file.id).collect::<BTreeSet<_>>();
    let added = table.added().iter();
    added
        .filter(|file| !known.contains(&file.id))
        .cloned()
        .collect()
}

fn ids(files: &[Arc<DataFile>]) -> Arc<BTreeSet<udr_core::id::FileId>> {
    Arc::new(files.iter().map(|file| file.id).collect())
}

/// The checks of one table at one state.
struct Check<'a> {
    query: Query,
    table: &'a TableSnapshot,
}

impl Check<'_> {
    /// NOT NULL, checks and generated columns: of rows in files that nobody checked when they were
    /// written, and of all rows where the rule is new.
    async fn each_row(
        &self,
        before: Option<&TableSnapshot>,
        added: &[Arc<DataFile>],
        basis: &RuleBasis,
    ) -> Result<()> {
        let session = &self.query.session;
        let unknown = added.iter().filter(|file| !session.is_checked(file, basis));
        let unknown = Files::Only(ids(&unknown.cloned().collect::<Vec<_>>()));
        let none = matches!(&unknown, Files::Only(files) if files.is_empty());
        for field in self.table.schema().fields() {
            let old = before.and_then(|before| before.schema().field_by_id(field.id));
            let new = old.is_some_and(|old| old.nullable);
            let files = if new { &Files::All } else { &unknown };
            if !field.nullable && (new || !none) {
                let broken = is_null(column(&field.name));
                if let Some(row) = self.query.row_where(self.table, files, broken).await? {
                    return Err(self.broken(
                        "a NULL in a column that is NOT NULL",
                        ("column", &field.name),
                        &row,
                    ));
                }
            }
            if let Some(sql) = field.generated.as_ref().filter(|_| !none) {
                let value = self.expression(sql, Some(field.ty.to_arrow()))?;
                let broken = binary_expr(column(&field.name), Operator::IsDistinctFrom, value);
                if let Some(row) = self.query.row_where(self.table, &unknown, broken).await? {
                    return Err(self.broken(
                        "a generated column has another value",
                        ("column", &field.name),
                        &row,
                    ));
                }
            }
        }
        for constraint in self.table.constraints() {
            let Constraint::Check { name, sql } = constraint else {
                continue;
            };
            let new = before.is_some_and(|before| !before.constraints().contains(constraint));
            let files = if new { &Files::All } else { &unknown };
            if !new && none {
                continue;
            }
            let broken = is_false(self.expression(sql, None)?);
            if let Some(row) = self.query.row_where(self.table, files, broken).await? {
                return Err(self
                    .broken("a row breaks a check", ("constraint", name), &row)
                    .with("check", sql));
            }
        }
        Ok(())
    }

    /// No key twice among the rows added, nor among them and the others; among all if it is new.
    async fn key(
        &self,
        before: Option<&TableSnapshot>,
        added: &[Arc<DataFile>],
        key: &Constraint,
    ) -> Result<()> {
        let columns = key.columns();
        let is_known = |before: &TableSnapshot| {
            let mut keys = before.constraints().iter();
            keys.any(|known| known.is_key_of(columns))
        };
        if !before.is_some_and(is_known) {
            let rows = KeyRows::all(self.table, columns)?;
            return self.refuse_twice(key, self.query.twice(&rows).await?);
        }
        if added.is_empty() {
            return Ok(());
        }
        let ours = KeyRows::of_files(self.table, columns, added)?;
        self.refuse_twice(key, self.query.twice(&ours).await?)?;
        let others = KeyRows::some(self.table, columns, Files::Except(ids(added)))?;
        self.refuse_twice(key, self.query.in_both(&ours, &others).await?)
    }

    /// No key of the rows that the transaction added is that of a row which others published since
    /// `checked`.
    async fn keys_again(&self, checked: &Snapshot) -> Result<()> {
        if self.table.added().is_empty() {
            return Ok(());
        }
        let after = checked.point().commit.sequence;
        for key in self.table.constraints() {
            if !matches!(key, Constraint::Unique { .. }) {
                continue;
            }
            let ours = KeyRows::of_files(self.table, key.columns(), self.table.added())?;
            let theirs = KeyRows::some(self.table, key.columns(), Files::AddedAfter(after))?;
            self.refuse_twice(key, self.query.in_both(&ours, &theirs).await?)?;
        }
        Ok(())
    }

    fn refuse_twice(&self, key: &Constraint, found: Option<String>) -> Result<()> {
        let Some(found) = found else { return Ok(()) };
        Err(Error::invalid("two rows have the same key")
            .with("constraint", key.name())
            .with("table", self.table.path())
            .with("key", found))
    }

    fn broken(&self, why: &str, rule: (&'static str, &str), row: &str) -> Error {
        Error::invalid(why)
            .with(rule.0, rule.1)
            .with("table", self.table.path())
            .with("row", row)
    }

    fn expression(&self, sql: &str, ty: Option<arrow::datatypes::DataType>) -> Result<Expr> {
        let schema = DFSchema::try_from(self.table.relaxed().arrow_schema());
        let expr = schema.and_then(|schema| {
            let expr = self.query.state.create_logical_expr(sql, &schema)?;
            match ty {
                Some(ty) => expr.cast_to(&ty, &schema),
                None => Ok(expr),
            }
        });
        expr.map_err(|error| {
            Error::unsupported("a rule for rows cannot be understood here")
                .with("table", self.table.path())
                .with("expression", sql)
                .with_source(error)
        })
    }
}

/// The foreign keys from and to one table that a commit changes.
struct ForeignKeys<'a> {
    validator: &'a Validator,
    staged: &'a Snapshot,
    checked: Option<&'a Snapshot>,
    table: &'a TableSnapshot,
}

impl ForeignKeys<'_> {
    /// Rows that came have a parent; all rows, where the foreign key is new.
    async fn of_added(&self, base: Option<&TableSnapshot>) -> Result<()> {
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
    async fn of_removed(&self, base: Option<&TableSnapshot>) -> Result<()> {
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
