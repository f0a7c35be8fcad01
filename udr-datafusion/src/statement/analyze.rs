//! `ANALYZE TABLE`: how many values columns have, for who orders joins.
//!
//! In: a table and perhaps some of its columns. Out: the counts, which are kept with the table, as
//! are the sketches that they come from. The next time, what was added since is counted and merged
//! into those.

mod sketch_values;

use std::collections::BTreeMap;
use std::sync::Arc;

use arrow::array::{Array as _, ArrayRef, AsArray as _, RecordBatch, StringArray, UInt64Array};
use datafusion::common::Column;
use datafusion::dataframe::DataFrame;
use datafusion::datasource::provider_as_source;
use datafusion::error::{DataFusionError, Result};
use datafusion::execution::context::SessionState;
use datafusion::logical_expr::{Expr, LogicalPlanBuilder};
use udr_core::format::{ColumnSketch, Field, Sketch, Sketches};
use udr_core::id::FieldId;
use udr_core::snapshot::TableSnapshot;
use udr_core::txn::Alteration;
use udr_core::{Error, Result as CoreResult};

use self::sketch_values::sketch_of;
use super::{change, result, target};
use crate::constraint::find_field;
use crate::error::to_datafusion;
use crate::session::UdrSession;
use crate::sql::ast::Analyze;
use crate::table::{FileRows, Files};

/// Of the rows that were counted, this part must be left for the count to be of use, in percent:
/// values that are gone cannot be taken out of a sketch.
const LEFT_PERCENT_MIN: u128 = 90;

/// Counts the values of columns, about, and keeps the counts with the table.
pub(super) async fn run(
    state: &SessionState,
    session: &Arc<UdrSession>,
    analyze: &Analyze,
) -> Result<RecordBatch> {
    let path = target::reference_path(state, session, &analyze.table).map_err(to_datafusion)?;
    let snapshot = session.snapshot().await.map_err(to_datafusion)?;
    let table = snapshot.table(&path).await.map_err(to_datafusion)?;
    let fields = fields(&table, analyze.columns.as_deref()).map_err(to_datafusion)?;
    // Files that a transaction added are of a commit whose sequence nobody knows yet: what they have
    // is counted, and the sketches that there are stay as they are, which is true.
    let known = match table.changes_rows() {
        true => None,
        false => Some(table.sketches().await.map_err(to_datafusion)?),
    };
    let counted = Counted {
        state,
        session,
        table: &table,
        sequence: snapshot.commit().sequence,
        known: known.clone().flatten().unwrap_or_default(),
    };
    let columns = counted.columns(&fields).await?;
    let mut counts = Vec::with_capacity(fields.len());
    for field in &fields {
        let column = columns.get(&field.id).ok_or_else(other_columns)?;
        counts.push(column.sketch().map_err(to_datafusion)?.count());
    }
    let alterations = fields.iter().zip(&counts);
    let alterations = alterations.map(|(field, count)| Alteration::SetDistinct(field.id, *count));
    let mut alterations = alterations.collect::<Vec<_>>();
    if known.is_some() {
        let columns = counted.with_others(columns);
        alterations.push(Alteration::SetSketches(Arc::new(Sketches { columns })));
    }
    let message = format!("ANALYZE TABLE {path}");
    change(session, message, async |transaction| {
        transaction.alter_table(&path, alterations).await
    })
    .await?;
    let names = fields.iter().map(|field| field.name.as_str());
    let columns = vec![
        Arc::new(StringArray::from_iter_values(names)) as ArrayRef,
        Arc::new(UInt64Array::from_iter_values(counts)),
    ];
    result::batch(result::analyze_schema(), columns).map_err(to_datafusion)
}

/// The columns that are meant: those that are named, or all whose values can be counted.
fn fields(table: &TableSnapshot, named: Option<&[String]>) -> CoreResult<Vec<Field>> {
    let Some(named) = named else {
        let all = table.schema().fields().iter();
        let all = all.filter(|field| field.ty.has_sketch());
        return Ok(all.cloned().collect());
    };
    let fields = named.iter().map(|name| {
        let field = find_field(table, name)?;
        match field.ty.has_sketch() {
            true => Ok(field.clone()),
            false => Err(
                Error::unsupported("the values of a column of this type are not counted")
                    .with("column", name)
                    .with("type", &field.ty),
            ),
        }
    });
    fields.collect()
}

/// Counts the values of a table at one state.
struct Counted<'a> {
    state: &'a SessionState,
    session: &'a Arc<UdrSession>,
    table: &'a TableSnapshot,
    /// That of the commit that the state is of.
    sequence: u64,
    /// What was counted before.
    known: Arc<Sketches>,
}

/// Columns whose values are counted over the same rows.
struct Part<'f> {
    rows: u64,
    fields: Vec<&'f Field>,
}

impl Counted<'_> {
    /// The values of columns: those that were counted before, if they are of use, and those of files
    /// that were added since.
    async fn columns(&self, fields: &[Field]) -> Result<BTreeMap<FieldId, ColumnSketch>> {
        let mut columns = BTreeMap::new();
        for (since, part) in self.parts(fields).await? {
            let sketches = match part.rows {
                0 => vec![Sketch::new(); part.fields.len()],
                _ => self.sketches(&part.fields, since).await?,
            };
            for (field, mut sketch) in part.fields.into_iter().zip(sketches) {
                let known = self.known_of(field).filter(|_| since.is_some());
                if let Some(known) = known {
                    sketch.merge(&known.sketch().map_err(to_datafusion)?);
                }
                let rows = known.map_or(0, |known| known.rows);
                let rows = rows.saturating_add(part.rows);
                let column = ColumnSketch::new(field.ty.clone(), self.sequence, rows, &sketch);
                columns.insert(field.id, column);
            }
        }
        Ok(columns)
    }

    /// Puts columns that were counted up to the same commit together, by its sequence. Those of which
    /// all rows are to be counted have none.
    async fn parts<'f>(&self, fields: &'f [Field]) -> Result<BTreeMap<Option<u64>, Part<'f>>> {
        let mut added = BTreeMap::<u64, u64>::new();
        let mut parts = BTreeMap::<_, Part<'f>>::new();
        for field in fields {
            let (mut since, mut rows) = (None, self.table.rows());
            if let Some(known) = self.known_of(field) {
                let place = known.sequence;
                let new = match added.get(&place) {
                    Some(new) => *new,
                    None => {
                        let new = self.table.rows_added_after(place).await;
                        new.map_err(to_datafusion)?
                    }
                };
                added.insert(place, new);
                if is_enough(rows.saturating_sub(new), known.rows) {
                    (since, rows) = (Some(place), new);
                }
            }
            let part = parts.entry(since).or_insert_with(|| Part {
                rows,
                fields: Vec::new(),
            });
            part.fields.push(field);
        }
        Ok(parts)
    }

    /// What was counted of a column before, if its values are still what they were.
    fn known_of(&self, field: &Field) -> Option<&ColumnSketch> {
        let known = self.known.columns.get(&field.id);
        known.filter(|known| known.is_of(&field.ty))
    }

    /// Adds what was counted before of columns that are there and were not counted again.
    fn with_others(
        &self,
        mut columns: BTreeMap<FieldId, ColumnSketch>,
    ) -> BTreeMap<FieldId, ColumnSketch> {
        for field in self.table.schema().fields() {
            if let Some(known) = self.known_of(field) {
                columns.entry(field.id).or_insert_with(|| known.clone());
            }
        }
        columns
    }

    /// The values of columns in files that commits after this one added; in all without one.
    async fn sketches(&self, fields: &[&Field], since: Option<u64>) -> Result<Vec<Sketch>> {
        let files = since.map_or(Files::All, Files::AddedAfter);
        let rows = FileRows::new(Arc::clone(self.session), self.table, files);
        let column = |field: &&Field| Expr::Column(Column::new_unqualified(&field.name));
        let sketches = fields.iter().map(column).map(sketch_of);
        let plan = LogicalPlanBuilder::scan("rows", provider_as_source(Arc::new(rows)), None)?
            .aggregate(Vec::<Expr>::new(), sketches)?
            .build()?;
        let batches = Box::pin(DataFrame::new(self.state.clone(), plan).collect()).await?;
        let counted = batches.iter().find(|batch| batch.num_rows() > 0);
        let counted = counted.map_or(&[][..], RecordBatch::columns);
        if counted.len() != fields.len() {
            return Err(other_columns());
        }
        let sketches = counted.iter().map(|sketch| {
            let sketch = sketch.as_binary_opt::<i32>().filter(|s| s.is_valid(0));
            let sketch = sketch.ok_or_else(other_columns)?;
            Sketch::from_bytes(sketch.value(0)).map_err(to_datafusion)
        });
        sketches.collect()
    }
}

/// Whether so many of the rows that were counted are left that their count is of use.
fn is_enough(left: u64, counted: u64) -> bool {
    u128::from(left) * 100 >= u128::from(counted) * LEFT_PERCENT_MIN
}

fn other_columns() -> DataFusionError {
    to_datafusion(Error::internal("the engine counted something else"))
}
