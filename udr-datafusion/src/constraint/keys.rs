//! Rules about rows together: keys and foreign keys, and rules for rows that are there already.

use std::collections::BTreeSet;
use std::sync::Arc;

use arrow::record_batch::RecordBatch;
use datafusion::common::ScalarValue;
use datafusion::error::Result as DataFusionResult;
use datafusion::functions_aggregate::expr_fn::count;
use datafusion::logical_expr::utils::conjunction;
use datafusion::logical_expr::{Expr, JoinType, LogicalPlanBuilder, lit};
use udr_core::format::{DataFile, Field};
use udr_core::id::FieldId;
use udr_core::snapshot::TableSnapshot;
use udr_core::{Error, Result};

use super::query::{Query, column};
use super::row_rules::show_row;
use crate::error::into_udr;
use crate::table::{Files, bounds};

/// The most rows whose keys are listed, so that files and row groups without them are left out.
const LISTED_MAX: u64 = 1_024;

/// Some rows of a table, and the columns of them that are compared.
#[derive(Clone)]
pub(super) struct KeyRows<'a> {
    pub(super) table: &'a TableSnapshot,
    pub(super) columns: Vec<&'a Field>,
    pub(super) files: Files,
    /// The files, if it is known which they are.
    pub(super) listed: Option<&'a [Arc<DataFile>]>,
}

impl<'a> KeyRows<'a> {
    /// All rows of a table.
    ///
    /// # Errors
    ///
    /// `Internal` if it lacks a column.
    pub(super) fn all(table: &'a TableSnapshot, columns: &[FieldId]) -> Result<Self> {
        Self::some(table, columns, Files::All)
    }

    /// The rows of a table in some files.
    ///
    /// # Errors
    ///
    /// `Internal` if it lacks a column.
    pub(super) fn some(
        table: &'a TableSnapshot,
        columns: &[FieldId],
        files: Files,
    ) -> Result<Self> {
        let field = |id: &FieldId| {
            let found = table.schema().field_by_id(*id);
            found.ok_or_else(|| {
                Error::internal("a key has no column")
                    .with("table", table.path())
                    .with("column", id)
            })
        };
        Ok(Self {
            columns: columns.iter().map(field).collect::<Result<_>>()?,
            table,
            files,
            listed: None,
        })
    }

    /// The rows of a table in these files of it.
    ///
    /// # Errors
    ///
    /// `Internal` if it lacks a column.
    pub(super) fn of_files(
        table: &'a TableSnapshot,
        columns: &[FieldId],
        files: &'a [Arc<DataFile>],
    ) -> Result<Self> {
        let ids = files.iter().map(|file| file.id).collect::<BTreeSet<_>>();
        let mut rows = Self::some(table, columns, Files::Only(Arc::new(ids)))?;
        rows.listed = Some(files);
        Ok(rows)
    }

    /// The keys of the rows, without those that have a NULL; columns are called `prefix0`, ….
    fn keys(
        &self,
        query: &Query,
        prefix: &str,
        filter: Option<Expr>,
    ) -> DataFusionResult<LogicalPlanBuilder> {
        let not_null = self
            .columns
            .iter()
            .map(|field| column(&field.name).is_not_null());
        let mut rows = query.rows(self.table, &self.files)?;
        if let Some(filter) = conjunction(not_null.chain(filter)) {
            rows = rows.filter(filter)?;
        }
        let named = self.columns.iter().enumerate();
        rows.project(named.map(|(i, field)| column(&field.name).alias(format!("{prefix}{i}"))))
    }

    fn names(&self, prefix: &str) -> Vec<String> {
        (0..self.columns.len())
            .map(|i| format!("{prefix}{i}"))
            .collect()
    }

    /// What columns of the same types, called as those of `other`, must be to be among these keys.
    async fn among(&self, query: &Query, other: &KeyRows<'_>) -> Result<Option<Expr>> {
        let Some(files) = self.listed else {
            return Ok(None);
        };
        let mut filters = Vec::new();
        for (field, theirs) in self.columns.iter().zip(&other.columns) {
            if let Some((low, high)) = bounds(field, files.iter().map(AsRef::as_ref))? {
                filters.push(column(&theirs.name).between(literal(low), literal(high)));
            }
        }
        if files.iter().map(|file| file.rows).sum::<u64>() <= LISTED_MAX {
            let keys = self
                .keys(query, "k", None)
                .and_then(LogicalPlanBuilder::build);
            let keys = query.all(keys.map_err(into_udr)?).await?;
            for (place, theirs) in other.columns.iter().enumerate() {
                let values = values(&keys, place).map_err(into_udr)?;
                // None of them has a key, so none is among them.
                if values.is_empty() {
                    return Ok(Some(lit(false)));
                }
                filters.push(column(&theirs.name).in_list(values, false));
            }
        }
        Ok(conjunction(filters))
    }

    fn show(&self, found: &RecordBatch) -> String {
        let names = self.columns.iter().map(|field| field.name.as_str());
        show_row(names.zip(found.columns()), 0)
    }
}

fn literal(value: ScalarValue) -> Expr {
    Expr::Literal(value, None)
}

/// The distinct values of a column, as literals.
fn values(batches: &[RecordBatch], place: usize) -> DataFusionResult<Vec<Expr>> {
    let mut found = std::collections::HashSet::new();
    let mut values = Vec::new();
    for batch in batches {
        for row in 0..batch.num_rows() {
            let value = ScalarValue::try_from_array(batch.column(place), row)?;
            if found.insert(value.clone()) {
                values.push(literal(value));
            }
        }
    }
    Ok(values)
}

impl Query {
    /// A key that two of the rows have.
    pub(super) async fn twice(&self, rows: &KeyRows<'_>) -> Result<Option<String>> {
        let plan = rows.keys(self, "k", None).and_then(|keys| {
            let names = rows.names("k");
            let group = names.iter().map(|name| column(name));
            keys.aggregate(group, [count(lit(1)).alias("times")])?
                .filter(column("times").gt(lit(1_i64)))
        });
        let found = self.first(plan.map_err(into_udr)?).await?;
        Ok(found.map(|found| rows.show(&found)))
    }

    /// A key that a row of each has.
    pub(super) async fn in_both(
        &self,
        ours: &KeyRows<'_>,
        theirs: &KeyRows<'_>,
    ) -> Result<Option<String>> {
        let among = ours.among(self, theirs).await?;
        let plan = theirs.keys(self, "t", among).and_then(|theirs_keys| {
            let ours_keys = ours.keys(self, "o", None)?.build()?;
            let on = (theirs.names("t"), ours.names("o"));
            theirs_keys.join(ours_keys, JoinType::LeftSemi, on, None)
        });
        let found = self.first(plan.map_err(into_udr)?).await?;
        Ok(found.map(|found| ours.show(&found)))
    }

    /// A key of `children` that is among those of `removed`, if given, and that no row of
    /// `parents` has.
    pub(super) async fn orphan(
        &self,
        children: &KeyRows<'_>,
        removed: Option<&KeyRows<'_>>,
        parents: &KeyRows<'_>,
    ) -> Result<Option<String>> {
        let (among_children, among_parents) = match removed {
            Some(removed) => (
                removed.among(self, children).await?,
                removed.among(self, parents).await?,
            ),
            None => (None, children.among(self, parents).await?),
        };
        let plan = children
            .keys(self, "c", among_children)
            .and_then(|mut keys| {
                if let Some(removed) = removed {
                    let gone = removed.keys(self, "r", None)?.build()?;
                    let on = (children.names("c"), removed.names("r"));
                    keys = keys.join(gone, JoinType::LeftSemi, on, None)?;
                }
                let there = parents.keys(self, "p", among_parents)?.build()?;
                let on = (children.names("c"), parents.names("p"));
                keys.join(there, JoinType::LeftAnti, on, None)
            });
        let found = self.first(plan.map_err(into_udr)?).await?;
        Ok(found.map(|found| children.show(&found)))
    }

    /// A row, in some of a table's files, for which `broken` is true.
    pub(super) async fn row_where(
        &self,
        table: &TableSnapshot,
        files: &Files,
        broken: Expr,
    ) -> Result<Option<String>> {
        let plan = self
            .rows(table, files)
            .and_then(|rows| rows.filter(broken))
            .map_err(into_udr)?;
        let found = self.first(plan).await?;
        Ok(found.map(|found| {
            let schema = found.schema();
            let names = schema.fields().iter().map(|f| f.name().as_str());
            show_row(names.zip(found.columns()), 0)
        }))
    }
}
