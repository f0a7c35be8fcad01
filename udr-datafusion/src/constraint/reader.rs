//! From what the parser found to definitions.

use datafusion::error::{DataFusionError, Result as DataFusionResult};
use datafusion::execution::context::SessionState;
use datafusion::sql::planner::IdentNormalizer;
use datafusion::sql::sqlparser::ast::{
    CheckConstraint, ColumnDef, ColumnOption, ColumnOptionDef, ConstraintCharacteristics,
    ConstraintReferenceMatchKind, Expr, ForeignKeyConstraint, GeneratedAs, GeneratedExpressionMode,
    Ident, IndexColumn, NullsDistinctOption, ReferentialAction, TableConstraint,
};
use udr_core::Error;

use super::definition::{Definition, Rule, TableDefinitions};
use crate::error::to_datafusion;
use crate::session::UdrSession;
use crate::statement::relation_path;

/// Turns what the parser found into definitions.
pub(super) struct Reader<'a> {
    pub(super) state: &'a SessionState,
    pub(super) session: &'a UdrSession,
}

impl Reader<'_> {
    pub(super) fn constraint(&self, constraint: TableConstraint) -> DataFusionResult<Definition> {
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
    pub(super) fn option(
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

fn not_enforced(what: &str) -> DataFusionError {
    to_datafusion(
        Error::unsupported("what is not enforced is not accepted").with("constraint", what),
    )
}
