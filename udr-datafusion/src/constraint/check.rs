//! What the rows of one table at one state are checked for: each by itself, and its keys.

use std::collections::BTreeSet;
use std::sync::Arc;

use arrow::datatypes::DataType;
use datafusion::common::DFSchema;
use datafusion::logical_expr::{
    Expr, ExprSchemable as _, Operator, binary_expr, is_false, is_null,
};
use udr_core::format::{Constraint, DataFile};
use udr_core::id::FileId;
use udr_core::snapshot::{Snapshot, TableSnapshot};
use udr_core::{Error, Result};

use super::keys::KeyRows;
use super::query::{Query, column};
use super::row_rules::RuleBasis;
use crate::table::Files;

/// The checks of one table at one state.
pub(super) struct Check<'a> {
    pub(super) query: Query,
    pub(super) table: &'a TableSnapshot,
}

impl Check<'_> {
    /// NOT NULL, checks and generated columns: of rows in files that nobody checked when they were
    /// written, and of all rows where the rule is new.
    pub(super) async fn each_row(
        &self,
        before: Option<&TableSnapshot>,
        added: &[Arc<DataFile>],
        basis: &RuleBasis,
    ) -> Result<()> {
        let session = &self.query.session;
        let unknown = added.iter().filter(|file| !session.is_checked(file, basis));
        let unknown = ids(&unknown.cloned().collect::<Vec<_>>());
        // Which files have rows that a rule was not checked for; `None` if no file has.
        let files = |new: bool| match new {
            true => Some(Files::All),
            false => (!unknown.is_empty()).then(|| Files::Only(Arc::clone(&unknown))),
        };
        for field in self.table.schema().fields() {
            let new = before.is_some_and(|before| {
                let old = before.schema().field_by_id(field.id);
                // The rows that there were have the initial value of a column that is added.
                old.map_or(field.initial.is_none(), |old| old.nullable)
            });
            if let Some(files) = files(new).filter(|_| !field.nullable) {
                let broken = is_null(column(&field.name));
                let why = "a NULL in a column that is NOT NULL";
                self.refuse(why, ("column", &field.name), &files, broken)
                    .await?;
            }
            if let (Some(sql), Some(files)) = (&field.generated, files(false)) {
                let value = self.expression(sql, Some(field.ty.to_arrow()))?;
                let broken = binary_expr(column(&field.name), Operator::IsDistinctFrom, value);
                let why = "a generated column has another value";
                self.refuse(why, ("column", &field.name), &files, broken)
                    .await?;
            }
        }
        for constraint in self.table.constraints() {
            let Constraint::Check { name, sql } = constraint else {
                continue;
            };
            let new = before.is_some_and(|before| !before.constraints().contains(constraint));
            if let Some(files) = files(new) {
                let broken = is_false(self.expression(sql, None)?);
                self.refuse("a row breaks a check", ("constraint", name), &files, broken)
                    .await
                    .map_err(|error| error.with("check", sql))?;
            }
        }
        Ok(())
    }

    /// Refuses a row of some files for which `broken` is true.
    async fn refuse(
        &self,
        why: &str,
        rule: (&'static str, &str),
        files: &Files,
        broken: Expr,
    ) -> Result<()> {
        match self.query.row_where(self.table, files, broken).await? {
            Some(row) => Err(Error::invalid(why)
                .with(rule.0, rule.1)
                .with("table", self.table.path())
                .with("row", row)),
            None => Ok(()),
        }
    }

    /// No key twice among the rows added, nor among them and the others; among all if it is new.
    pub(super) async fn key(
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
    pub(super) async fn keys_again(&self, checked: &Snapshot) -> Result<()> {
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

    fn expression(&self, sql: &str, ty: Option<DataType>) -> Result<Expr> {
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

fn ids(files: &[Arc<DataFile>]) -> Arc<BTreeSet<FileId>> {
    Arc::new(files.iter().map(|file| file.id).collect())
}
