//! `t$constraints`: what the rows of a table must be.

use std::sync::{Arc, LazyLock};

use arrow::array::{ArrayRef, StringArray};
use arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use arrow::record_batch::RecordBatch;
use udr_core::format::{Constraint, Schema as TableSchema};
use udr_core::id::FieldId;
use udr_core::snapshot::{Snapshot, TableSnapshot};
use udr_core::{Error, Result};

/// The columns of `t$constraints`.
pub(super) fn constraints_schema() -> SchemaRef {
    static SCHEMA: LazyLock<SchemaRef> = LazyLock::new(|| {
        Arc::new(Schema::new(vec![
            Field::new("name", DataType::Utf8, true),
            Field::new("kind", DataType::Utf8, false),
            Field::new("columns", DataType::Utf8, true),
            Field::new("definition", DataType::Utf8, false),
        ]))
    });
    Arc::clone(&SCHEMA)
}

/// One row of the table.
struct Row {
    name: Option<String>,
    kind: &'static str,
    columns: Option<String>,
    definition: String,
}

/// The constraints of a table, each as ALTER TABLE and CREATE TABLE say it: first those with a
/// name, then what its columns say.
pub(super) async fn constraints_batch(
    snapshot: &Snapshot,
    table: &TableSnapshot,
) -> Result<RecordBatch> {
    let mut rows = Vec::new();
    for constraint in table.constraints() {
        rows.push(named(snapshot, table, constraint).await?);
    }
    for field in table.schema().fields() {
        let mut of_column = |kind, definition| {
            rows.push(Row {
                name: None,
                kind,
                columns: Some(quoted(&field.name)),
                definition,
            });
        };
        if !field.nullable {
            of_column("NOT NULL", "NOT NULL".to_owned());
        }
        if let Some(sql) = &field.default {
            of_column("DEFAULT", format!("DEFAULT {sql}"));
        }
        if let Some(sql) = &field.generated {
            of_column("GENERATED", format!("GENERATED ALWAYS AS ({sql}) STORED"));
        }
    }
    let text = |of: fn(&Row) -> Option<&str>| -> ArrayRef {
        Arc::new(rows.iter().map(of).collect::<StringArray>())
    };
    let columns = vec![
        text(|row| row.name.as_deref()),
        text(|row| Some(row.kind)),
        text(|row| row.columns.as_deref()),
        text(|row| Some(row.definition.as_str())),
    ];
    RecordBatch::try_new(constraints_schema(), columns).map_err(|error| {
        Error::internal("the constraints do not fit their schema").with_source(error)
    })
}

async fn named(snapshot: &Snapshot, table: &TableSnapshot, constraint: &Constraint) -> Result<Row> {
    let columns = list(table.schema(), constraint.columns());
    let definition = match constraint {
        Constraint::Check { sql, .. } => format!("CHECK ({sql})"),
        Constraint::Unique { .. } => format!("{} ({columns})", constraint.kind()),
        Constraint::ForeignKey {
            parent,
            parent_columns,
            ..
        } => {
            let parent = snapshot.table_by_id(*parent).await?.ok_or_else(|| {
                Error::corrupt("a foreign key leads to a table that is not there")
                    .with("constraint", constraint.name())
            })?;
            let path = parent.path();
            format!(
                "FOREIGN KEY ({columns}) REFERENCES {}.{} ({})",
                quoted(path.namespace.as_str()),
                quoted(path.name.as_str()),
                list(parent.schema(), parent_columns)
            )
        }
    };
    Ok(Row {
        name: Some(constraint.name().to_owned()),
        kind: constraint.kind(),
        columns: Some(columns).filter(|columns| !columns.is_empty()),
        definition,
    })
}

fn list(schema: &TableSchema, columns: &[FieldId]) -> String {
    let names = columns.iter().filter_map(|id| schema.field_by_id(*id));
    let names = names.map(|field| quoted(&field.name));
    names.collect::<Vec<_>>().join(", ")
}

/// A name as SQL needs it.
fn quoted(name: &str) -> String {
    let plain = |c: char| c.is_ascii_lowercase() || c == '_';
    let starts = name.chars().next().is_some_and(plain);
    if starts && name.chars().all(|c| plain(c) || c.is_ascii_digit()) {
        return name.to_owned();
    }
    format!("\"{}\"", name.replace('"', "\"\""))
}
