//! Constraints as statements say them, before names are looked up.

use std::collections::{BTreeMap, BTreeSet};

use datafusion::error::Result as DataFusionResult;
use datafusion::execution::context::SessionState;
use datafusion::sql::planner::IdentNormalizer;
use datafusion::sql::sqlparser::ast::{
    CheckConstraint, ColumnDef, ColumnOption, ColumnOptionDef, ConstraintCharacteristics,
    ConstraintReferenceMatchKind, CreateTable, Expr, ForeignKeyConstraint, GeneratedAs,
    GeneratedExpressionMode, Ident, IndexColumn, NullsDistinctOption, ReferentialAction,
    TableConstraint,
};
use udr_core::error::nearest;
use udr_core::format::{Constraint, Field};
use udr_core::id::{FieldId, TableId};
use udr_core::name::RelationPath;
use udr_core::snapshot::{Snapshot, TableSnapshot};
use udr_core::{Error, Result};

use super::expression::{Wanted, check_expression};
use crate::error::to_datafusion;
use crate::session::UdrSession;
use crate::statement::relation_path;

/// A constraint that is to be added to a table.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Definition {
    name: Option<String>,
    rule: Rule,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Rule {
    Check {
        sql: String,
        /// The column that it was written behind.
        column: Option<String>,
    },
    Unique {
        columns: Vec<String>,
        primary: bool,
    },
    ForeignKey {
        columns: Vec<String>,
        parent: RelationPath,
        /// Those of the parent's primary key if there are none.
        parent_columns: Vec<String>,
    },
}

/// What a CREATE TABLE says beyond its columns' names, types, NULL and defaults.
#[derive(Debug, Default)]
pub(crate) struct TableDefinitions {
    /// Keys first, so that a foreign key of the table to itself finds them.
    pub(crate) constraints: Vec<Definition>,
    /// The expressions of generated columns, by name.
    pub(crate) generated: BTreeMap<String, String>,
}

impl TableDefinitions {
    /// Takes constraints and generated columns out of a statement, so that what is left is what
    /// the engine plans.
    ///
    /// # Errors
    ///
    /// `Unsupported` for whatever would not be enforced.
    pub(crate) fn take(
        state: &SessionState,
        session: &UdrSession,
        statement: &mut CreateTable,
    ) -> DataFusionResult<Self> {
        let reader = Reader { state, session };
        let mut found = Self::default();
        for constraint in std::mem::take(&mut statement.constraints) {
            found.constraints.push(reader.constraint(constraint)?);
        }
        for column in &mut statement.columns {
            let options = std::mem::take(&mut column.options);
            for option in options {
                if let Some(kept) = reader.option(column, option, &mut found)? {
                    column.options.push(kept);
                }
            }
        }
        found
            .constraints
            .sort_by_key(|d| matches!(d.rule, Rule::ForeignKey { .. }));
        Ok(found)
    }
}

impl Definition {
    /// What `ALTER TABLE … ADD` says.
    ///
    /// # Errors
    ///
    /// `Unsupported` for whatever would not be enforced.
    pub(crate) fn of(
        state: &SessionState,
        session: &UdrSession,
        constraint: &TableConstraint,
    ) -> DataFusionResult<Self> {
        Reader { state, session }.constraint(constraint.clone())
    }

    /// The constraint, with names looked up in a state that has the table.
    ///
    /// # Errors
    ///
    /// `NotFound` if it names what is not there; `Invalid` if an expression cannot be a check.
    pub(crate) async fn resolve(
        self,
        state: &SessionState,
        snapshot: &Snapshot,
        table: &TableSnapshot,
    ) -> Result<Constraint> {
        let name = self.name.clone();
        let name = name.unwrap_or_else(|| self.rule.free_name(table));
        Ok(match self.rule {
            Rule::Check { sql, .. } => {
                check_expression(state, &sql, &table.arrow_schema(), &Wanted::Boolean)
                    .map_err(|error| error.with("constraint", &name))?;
                Constraint::Check { name, sql }
            }
            Rule::Unique { columns, primary } => Constraint::Unique {
                name,
                columns: field_ids(table, &columns)?,
                primary,
            },
            Rule::ForeignKey {
                columns,
                parent,
                parent_columns,
            } => {
                let columns = field_ids(table, &columns)?;
                let (parent, parent_columns) =
                    resolve_parent(snapshot, &parent, &parent_columns).await?;
                if columns.len() != parent_columns.len() {
                    return Err(Error::invalid(
                        "a foreign key and its parent's key differ in columns",
                    )
                    .with("constraint", name));
                }
                Constraint::ForeignKey {
                    name,
                    columns,
                    parent,
                    parent_columns,
                }
            }
        })
    }
}

impl Rule {
    /// The name of a constraint that the statement gives none: table, columns and kind, and a
    /// number where that is taken.
    fn free_name(&self, table: &TableSnapshot) -> String {
        let (columns, kind) = match self {
            Self::Check { column, .. } => (column.iter().cloned().collect::<Vec<_>>(), "check"),
            Self::Unique { primary: true, .. } => (Vec::new(), "pkey"),
            Self::Unique { columns, .. } => (columns.clone(), "key"),
            Self::ForeignKey { columns, .. } => (columns.clone(), "fkey"),
        };
        let mut parts = vec![table.path().name.to_string()];
        parts.extend(columns);
        parts.push(kind.to_owned());
        let name = parts.join("_");
        let taken = |name: &str| table.constraints().iter().any(|c| c.name() == name);
        let mut free = name.clone();
        let mut number = 0_usize;
        while taken(&free) {
            number += 1;
            free = format!("{name}{number}");
        }
        free
    }
}

/// The parent of a foreign key and the columns of its key.
async fn resolve_parent(
    snapshot: &Snapshot,
    parent: &RelationPath,
    columns: &[String],
) -> Result<(TableId, Vec<FieldId>)> {
    let parent = snapshot.table(parent).await?;
    if !columns.is_empty() {
        return Ok((parent.id(), field_ids(&parent, columns)?));
    }
    let primary = parent.constraints().iter().find_map(|key| match key {
        Constraint::Unique {
            columns,
            primary: true,
            ..
        } => Some(columns.clone()),
        _ => None,
    });
    let columns = primary.ok_or_else(|| {
        Error::invalid("the parent of a foreign key has no primary key")
            .with("parent", parent.path())
            .with_hint("name the columns of one of its keys: REFERENCES parent (columns)")
    })?;
    Ok((parent.id(), columns))
}

/// The columns of a table called so.
///
/// # Errors
///
/// `NotFound`, with the nearest name.
fn field_ids(table: &TableSnapshot, names: &[String]) -> Result<Vec<FieldId>> {
    names
        .iter()
        .map(|name| find_field(table, name).map(|f| f.id))
        .collect()
}

/// The column of a table called so.
///
/// # Errors
///
/// `NotFound`, with the nearest name.
pub(crate) fn find_field<'a>(table: &'a TableSnapshot, name: &str) -> Result<&'a Field> {
    table.schema().field(name).ok_or_else(|| {
        let names = table.schema().fields().iter().map(|f| f.name.as_str());
        let near = nearest(name, names).map(|near| format!("did you mean `{near}`?"));
        let error = Error::not_found("no such column")
            .with("column", name)
            .with("table", table.path());
        match near {
            Some(near) => error.with_hint(near),
            None => error,
        }
    })
}

/// Turns what the parser found into definitions.
struct Reader<'a> {
    state: &'a SessionState,
    session: &'a UdrSession,
}

impl Reader<'_> {
    fn constraint(&self, constraint: TableConstraint) -> DataFusionResult<Definition> {
        match constraint {
            TableConstraint::Check(check) => self.check(check, None),
            TableConstraint::PrimaryKey(key)
                if key.index_name.is_none()
                    && key.index_type.is_none()
                    && key.index_options.is_empty() =>
            {
                enforced(key.characteristics, false)?;
                self.key(key.name, key.columns, true)
            }
            TableConstraint::Unique(key)
                if key.index_name.is_none()
                    && key.index_type.is_none()
                    && key.index_options.is_empty()
                    && key.nulls_distinct != NullsDistinctOption::NotDistinct =>
            {
                enforced(key.characteristics, false)?;
                self.key(key.name, key.columns, false)
            }
            TableConstraint::ForeignKey(key) => self.foreign_key(key, None),
            other => Err(not_enforced(&other.to_string())),
        }
    }

    /// Takes an option of a column over, or gives it back if it is the engine's.
    fn option(
        &self,
        column: &ColumnDef,
        option: ColumnOptionDef,
        found: &mut TableDefinitions,
    ) -> DataFusionResult<Option<ColumnOptionDef>> {
        let text = format!("{} {}", column.name, option.option);
        let here = || vec![IndexColumn::from(column.name.clone())];
        let name = option.name.clone();
        let definition = match option.option {
            ColumnOption::Null | ColumnOption::NotNull | ColumnOption::Default(_) => {
                return Ok(Some(option));
            }
            ColumnOption::PrimaryKey(key) => {
                enforced(key.characteristics, false)?;
                self.key(name.or(key.name), here(), true)?
            }
            ColumnOption::Unique(key) if key.nulls_distinct != NullsDistinctOption::NotDistinct => {
                enforced(key.characteristics, false)?;
                self.key(name.or(key.name), here(), false)?
            }
            ColumnOption::Check(mut check) => {
                check.name = name.or(check.name);
                self.check(check, Some(&column.name))?
            }
            ColumnOption::ForeignKey(mut key) => {
                key.name = name.or(key.name);
                self.foreign_key(key, Some(&column.name))?
            }
            ColumnOption::Generated {
                generated_as: GeneratedAs::Always | GeneratedAs::ExpStored,
                sequence_options: None,
                generation_expr: Some(expr),
                generation_expr_mode: None | Some(GeneratedExpressionMode::Stored),
                ..
            } => {
                let name = self.name(column.name.clone());
                if found
                    .generated
                    .insert(name.clone(), expr.to_string())
                    .is_some()
                {
                    return Err(to_datafusion(
                        Error::invalid("a column is generated twice").with("column", name),
                    ));
                }
                return Ok(None);
            }
            _ => return Err(not_enforced(&text)),
        };
        found.constraints.push(definition);
        Ok(None)
    }

    fn check(
        &self,
        check: CheckConstraint,
        column: Option<&Ident>,
    ) -> DataFusionResult<Definition> {
        if check.enforced == Some(false) {
            return Err(not_enforced(&check.to_string()));
        }
        Ok(Definition {
            name: check.name.map(|name| self.name(name)),
            rule: Rule::Check {
                sql: check.expr.to_string(),
                column: column.map(|column| self.name(column.clone())),
            },
        })
    }

    fn key(
        &self,
        name: Option<Ident>,
        columns: Vec<IndexColumn>,
        primary: bool,
    ) -> DataFusionResult<Definition> {
        let columns = columns.into_iter().map(|column| {
            let text = column.to_string();
            match (column.column.expr, column.operator_class) {
                (Expr::Identifier(name), None) => Ok(self.name(name)),
                _ => Err(to_datafusion(
                    Error::unsupported("a key is made of columns, not of expressions")
                        .with("part", text),
                )),
            }
        });
        Ok(Definition {
            name: name.map(|name| self.name(name)),
            rule: Rule::Unique {
                columns: columns.collect::<DataFusionResult<_>>()?,
                primary,
            },
        })
    }

    fn foreign_key(
        &self,
        key: ForeignKeyConstraint,
        column: Option<&Ident>,
    ) -> DataFusionResult<Definition> {
        let text = key.to_string();
        let refuses = |action: Option<ReferentialAction>| {
            matches!(
                action,
                None | Some(ReferentialAction::NoAction | ReferentialAction::Restrict)
            )
        };
        let simple = matches!(
            key.match_kind,
            None | Some(ConstraintReferenceMatchKind::Simple)
        );
        if !refuses(key.on_delete) || !refuses(key.on_update) || !simple || key.index_name.is_some()
        {
            return Err(not_enforced(&text));
        }
        enforced(key.characteristics, true)?;
        let columns = match column {
            Some(column) => vec![column.clone()],
            None => key.columns,
        };
        let names = |names: Vec<Ident>| names.into_iter().map(|name| self.name(name)).collect();
        Ok(Definition {
            name: key.name.map(|name| self.name(name)),
            rule: Rule::ForeignKey {
                columns: names(columns),
                parent: relation_path(self.state, self.session, &key.foreign_table)?,
                parent_columns: names(key.referred_columns),
            },
        })
    }

    fn name(&self, name: Ident) -> String {
        let fold = self
            .state
            .config_options()
            .sql_parser
            .enable_ident_normalization;
        IdentNormalizer::new(fold).normalize(name)
    }
}

/// Refuses what a constraint says of when it holds, if that is not when it does.
fn enforced(
    characteristics: Option<ConstraintCharacteristics>,
    at_commit: bool,
) -> DataFusionResult<()> {
    let Some(given) = characteristics else {
        return Ok(());
    };
    if given.enforced != Some(false) && (at_commit || given.deferrable != Some(true)) {
        return Ok(());
    }
    Err(not_enforced(&given.to_string()))
}

fn not_enforced(what: &str) -> datafusion::error::DataFusionError {
    to_datafusion(
        Error::unsupported("what is not enforced is not accepted").with("constraint", what),
    )
}

/// Refuses generated columns that depend on each other or have a default.
///
/// # Errors
///
/// `Invalid`, with the column.
pub(crate) fn check_generated(
    state: &SessionState,
    schema: &udr_core::format::Schema,
) -> Result<()> {
    let generated = schema.fields().iter().filter(|f| f.generated.is_some());
    let names = generated.map(|f| f.name.as_str()).collect::<BTreeSet<_>>();
    let arrow = schema.to_arrow();
    let places =
        (0..arrow.fields().len()).filter(|i| !names.contains(arrow.field(*i).name().as_str()));
    let others = arrow.project(&places.collect::<Vec<_>>());
    let others = std::sync::Arc::new(
        others
            .map_err(|error| Error::internal("a schema cannot be projected").with_source(error))?,
    );
    for field in schema.fields() {
        if let Some(sql) = &field.generated {
            check_expression(state, sql, &others, &Wanted::Of(field.ty.to_arrow()))
                .map_err(|error| error.with("column", &field.name))?;
        }
    }
    Ok(())
}
