//! What each row must be by itself: NOT NULL, checks, and the values of generated columns.

use std::fmt;
use std::sync::Arc;

use arrow::array::{Array as _, ArrayRef, AsArray as _, BooleanArray};
use arrow::compute::{CastOptions, cast_with_options};
use arrow::datatypes::{Field, Fields, Schema as ArrowSchema, SchemaRef};
use arrow::record_batch::RecordBatch;
use arrow::util::display::{ArrayFormatter, FormatOptions};
use datafusion::error::DataFusionError;
use datafusion::physical_plan::PhysicalExpr;
use udr_core::format::{Constraint, Schema};
use udr_core::name::RelationPath;
use udr_core::snapshot::TableSnapshot;
use udr_core::{Error, Result};

use super::expression::{Wanted, compile, for_rules};
use crate::session::UdrSession;

/// The most characters of a row that an error shows.
const SHOWN_MAX: usize = 400;

/// What to do with values that rows have in generated columns.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Given {
    /// Refuse them, but for NULL, which an INSERT has where it leaves the column out.
    Refused,
    /// Put the generated ones in their place, since they are those of the row before a change.
    Replaced,
}

/// The rules of one table that are checked row by row.
///
/// Whatever writes data files passes every batch through [`RowRules::apply`] and then has the
/// session remember the files, so that a commit need not check them again.
pub(crate) struct RowRules {
    table: RelationPath,
    basis: Arc<RuleBasis>,
    /// The columns as they are stored, each allowing NULL.
    columns: SchemaRef,
    generated: Vec<(usize, Arc<dyn PhysicalExpr>)>,
    checks: Vec<Check>,
    not_null: Vec<usize>,
    given: Given,
}

/// What rules are made from.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct RuleBasis {
    schema: Schema,
    checks: Vec<Constraint>,
}

impl RuleBasis {
    pub(crate) fn of(table: &TableSnapshot) -> Self {
        let checks = table.constraints().iter();
        Self {
            schema: table.schema().clone(),
            checks: checks
                .filter(|constraint| matches!(constraint, Constraint::Check { .. }))
                .cloned()
                .collect(),
        }
    }

    /// Whether every row obeys them.
    pub(super) fn is_trivial(&self) -> bool {
        let fields = self.schema.fields();
        self.checks.is_empty() && fields.iter().all(|f| f.generated.is_none() && f.nullable)
    }
}

struct Check {
    name: String,
    sql: String,
    expr: Arc<dyn PhysicalExpr>,
}

impl RowRules {
    /// The rules of a table.
    ///
    /// # Errors
    ///
    /// `Unsupported` if the context cannot understand one of them, such as a function that it does
    /// not have.
    pub(crate) fn new(session: &UdrSession, table: &TableSnapshot, given: Given) -> Result<Self> {
        let fields = table.schema().fields();
        let not_null = (0..fields.len()).filter(|i| !fields[*i].nullable).collect();
        let basis = Arc::new(RuleBasis::of(table));
        let mut rules = Self {
            table: table.path().clone(),
            columns: table.relaxed().arrow_schema(),
            generated: Vec::new(),
            checks: Vec::new(),
            not_null,
            given,
            basis: Arc::clone(&basis),
        };
        if basis.checks.is_empty() && fields.iter().all(|f| f.generated.is_none()) {
            return Ok(rules);
        }
        let state = for_rules(&session.context_state()?);
        let strange = |what: &str, sql: &str, error: DataFusionError| {
            Error::unsupported("a rule for rows cannot be understood here")
                .with("table", table.path())
                .with("rule", what)
                .with("expression", sql)
                .with_source(error)
        };
        for (place, field) in fields.iter().enumerate() {
            if let Some(sql) = &field.generated {
                let wanted = Wanted::Of(field.ty.to_arrow());
                let expr = compile(&state, sql, &rules.columns, &wanted)
                    .map_err(|error| strange(&field.name, sql, error))?;
                rules.generated.push((place, expr));
            }
        }
        for constraint in &basis.checks {
            if let Constraint::Check { name, sql } = constraint {
                let expr = compile(&state, sql, &rules.columns, &Wanted::Boolean)
                    .map_err(|error| strange(name, sql, error))?;
                let (name, sql) = (name.clone(), sql.clone());
                rules.checks.push(Check { name, sql, expr });
            }
        }
        Ok(rules)
    }

    /// What the rules are made from.
    pub(crate) fn basis(&self) -> &Arc<RuleBasis> {
        &self.basis
    }

    /// The names of what is more than NOT NULL.
    pub(crate) fn names(&self) -> Vec<&str> {
        let fields = self.columns.fields();
        let generated = self
            .generated
            .iter()
            .map(|(i, _)| fields[*i].name().as_str());
        generated
            .chain(self.checks.iter().map(|check| check.name.as_str()))
            .collect()
    }

    /// The rows with the values of generated columns, all of which obey the rules.
    ///
    /// The first columns of `batch` are those of the table, in order; others may follow, which are
    /// left as they are.
    ///
    /// # Errors
    ///
    /// `Invalid` if a row does not, with the rule, the table and the row.
    pub(crate) fn apply(&self, batch: &RecordBatch) -> Result<RecordBatch> {
        let width = self.columns.fields().len();
        // Columns that are missing are found when the batch is written.
        if batch.num_columns() < width || batch.num_rows() == 0 {
            return Ok(batch.clone());
        }
        if self.generated.is_empty() && self.checks.is_empty() {
            self.refuse_nulls(batch)?;
            return Ok(batch.clone());
        }
        let mut rows = self.stored(batch)?;
        let mut columns = rows.columns().to_vec();
        for (place, expr) in &self.generated {
            self.refuse_given(&rows, *place)?;
            columns[*place] = self.evaluate(expr, &rows)?;
        }
        if !self.generated.is_empty() {
            rows = self.batch(columns)?;
        }
        self.refuse_nulls(&rows)?;
        for check in &self.checks {
            let value = self.evaluate(&check.expr, &rows)?;
            let Some(value) = value.as_boolean_opt() else {
                continue;
            };
            if let Some(row) = first_false(value) {
                return Err(Error::invalid("a row breaks a check")
                    .with("constraint", &check.name)
                    .with("table", &self.table)
                    .with("check", &check.sql)
                    .with("row", self.show(&rows, row)));
            }
        }
        with_rest(&rows, batch, width)
    }

    /// The table's columns in the types that they are stored in.
    fn stored(&self, batch: &RecordBatch) -> Result<RecordBatch> {
        let options = CastOptions {
            safe: false,
            ..CastOptions::default()
        };
        let fields = self.columns.fields().iter();
        let columns = fields.zip(batch.columns()).map(|(field, column)| {
            if column.data_type() == field.data_type() {
                return Ok(Arc::clone(column));
            }
            cast_with_options(column, field.data_type(), &options).map_err(|error| {
                Error::invalid("a value is not one of the column's type")
                    .with("table", &self.table)
                    .with("column", field.name())
                    .with_source(error)
            })
        });
        self.batch(columns.collect::<Result<_>>()?)
    }

    fn batch(&self, columns: Vec<ArrayRef>) -> Result<RecordBatch> {
        RecordBatch::try_new(Arc::clone(&self.columns), columns)
            .map_err(|error| Error::internal("columns do not make a batch").with_source(error))
    }

    fn evaluate(&self, expr: &Arc<dyn PhysicalExpr>, rows: &RecordBatch) -> Result<ArrayRef> {
        let value = expr.evaluate(rows);
        value
            .and_then(|value| value.into_array(rows.num_rows()))
            .map_err(|error| {
                Error::invalid("a rule cannot be evaluated for a row")
                    .with("table", &self.table)
                    .with("reason", error.strip_backtrace())
                    .with_source(error)
            })
    }

    fn refuse_given(&self, rows: &RecordBatch, place: usize) -> Result<()> {
        let column = rows.column(place);
        if self.given == Given::Replaced || column.logical_null_count() == rows.num_rows() {
            return Ok(());
        }
        let row = (0..rows.num_rows()).find(|row| !is_null(column, *row));
        Err(Error::invalid("a generated column is given a value")
            .with("column", self.columns.field(place).name())
            .with("table", &self.table)
            .with("row", self.show(rows, row.unwrap_or(0)))
            .with_hint("leave the column out, or say DEFAULT"))
    }

    fn refuse_nulls(&self, rows: &RecordBatch) -> Result<()> {
        for place in &self.not_null {
            let column = rows.column(*place);
            if column.logical_null_count() == 0 {
                continue;
            }
            let row = (0..rows.num_rows()).find(|row| is_null(column, *row));
            return Err(Error::invalid("a NULL in a column that is NOT NULL")
                .with("column", self.columns.field(*place).name())
                .with("table", &self.table)
                .with("row", self.show(rows, row.unwrap_or(0))));
        }
        Ok(())
    }

    fn show(&self, rows: &RecordBatch, row: usize) -> String {
        let names = self.columns.fields().iter().map(|f| f.name().as_str());
        show_row(names.zip(rows.columns()), row)
    }
}

impl fmt::Debug for RowRules {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RowRules")
            .field("table", &self.table)
            .field("names", &self.names())
            .finish_non_exhaustive()
    }
}

/// A row as a person sees it: `id=1, name=NULL`.
pub(super) fn show_row<'a>(
    columns: impl Iterator<Item = (&'a str, &'a ArrayRef)>,
    row: usize,
) -> String {
    let options = FormatOptions::default().with_null("NULL");
    let values = columns.map(|(name, column)| {
        let value = ArrayFormatter::try_new(column, &options)
            .and_then(|formatter| formatter.value(row).try_to_string());
        format!("{name}={}", value.unwrap_or_else(|_| "?".to_owned()))
    });
    let text = values.collect::<Vec<_>>().join(", ");
    match text.char_indices().nth(SHOWN_MAX) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text,
    }
}

fn is_null(column: &ArrayRef, row: usize) -> bool {
    column
        .logical_nulls()
        .is_some_and(|nulls| nulls.is_null(row))
}

/// The first row for which a check is false; one that is NULL is not.
fn first_false(value: &BooleanArray) -> Option<usize> {
    if value.false_count() == 0 {
        return None;
    }
    value.iter().position(|value| value == Some(false))
}

/// The rows with the columns of `batch` from `width` on.
fn with_rest(rows: &RecordBatch, batch: &RecordBatch, width: usize) -> Result<RecordBatch> {
    if batch.num_columns() == width {
        return Ok(rows.clone());
    }
    let schema = batch.schema();
    let rest = schema.fields().iter().skip(width).cloned();
    let stored = rows.schema();
    let fields = stored.fields().iter().cloned().chain(rest);
    let fields = fields.collect::<Vec<Arc<Field>>>();
    let columns = rows.columns().iter().chain(&batch.columns()[width..]);
    RecordBatch::try_new(
        Arc::new(ArrowSchema::new(Fields::from(fields))),
        columns.cloned().collect(),
    )
    .map_err(|error| Error::internal("columns do not make a batch").with_source(error))
}
