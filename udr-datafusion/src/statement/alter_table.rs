//! ALTER TABLE: another name, constraints, what columns say of NULL and defaults.

use std::sync::Arc;

use arrow::datatypes::Schema as ArrowSchema;
use arrow::record_batch::RecordBatch;
use datafusion::common::DFSchema;
use datafusion::error::Result;
use datafusion::execution::context::SessionState;
use datafusion::sql::planner::IdentNormalizer;
use datafusion::sql::sqlparser::ast::{
    AlterColumnOperation, AlterTable, AlterTableOperation, DropBehavior, Expr, Ident,
    RenameTableNameKind,
};
use udr_core::name::RelationPath;
use udr_core::txn::{Alteration, Transaction};
use udr_core::{Error, Result as CoreResult};

use super::create_table::check_default;
use super::{change, refused, result, target};
use crate::constraint::{Definition, find_field};
use crate::error::to_datafusion;
use crate::session::UdrSession;

/// One operation, before its names are looked up.
#[expect(clippy::large_enum_variant, reason = "there are a few for a statement")]
enum Step {
    Add(Definition),
    Drop { name: String, if_exists: bool },
    NotNull { column: String, set: bool },
    Default { column: String, value: Option<Expr> },
}

pub(super) async fn run(
    state: &SessionState,
    session: &Arc<UdrSession>,
    alter: &AlterTable,
) -> Result<RecordBatch> {
    if let [
        AlterTableOperation::RenameTable {
            table_name: RenameTableNameKind::To(new) | RenameTableNameKind::As(new),
        },
    ] = alter.operations.as_slice()
    {
        let from = target::path(state, session, &alter.name)?;
        let to = target::path(state, session, new)?;
        // A bare new name stays in the table's schema.
        let to = match new.0.len() {
            1 => RelationPath::new(from.namespace.clone(), to.name),
            _ => to,
        };
        return rename(session, alter, from, to).await;
    }
    let path = target::path(state, session, &alter.name)?;
    let steps = alter.operations.iter().map(|operation| {
        step(state, session, operation).and_then(|step| {
            step.ok_or_else(|| {
                to_datafusion(
                    Error::unsupported("ALTER TABLE cannot do this in this version")
                        .with("operation", operation.to_string()),
                )
            })
        })
    });
    let steps = steps.collect::<Result<Vec<_>>>()?;
    let ignore = alter.if_exists;
    let altered = change(session, alter.to_string(), async |transaction| {
        if ignore && transaction.snapshot().relation(&path).await?.is_none() {
            return Ok(None);
        }
        let mut changed = false;
        for step in steps {
            changed |= step.make(state, transaction, &path).await?;
        }
        Ok(Some(changed))
    })
    .await?;
    let text = match altered {
        Some(true) => format!("table {path} altered"),
        Some(false) => "unchanged: there was nothing to drop".to_owned(),
        None => format!("unchanged: there is no table {path}"),
    };
    result::done(text).map_err(to_datafusion)
}

async fn rename(
    session: &UdrSession,
    alter: &AlterTable,
    from: RelationPath,
    to: RelationPath,
) -> Result<RecordBatch> {
    let ignore = alter.if_exists;
    let renamed = change(session, alter.to_string(), async |transaction| {
        if ignore && transaction.snapshot().relation(&from).await?.is_none() {
            return Ok(false);
        }
        transaction.rename_table(&from, &to).await.map(|()| true)
    })
    .await?;
    let text = match renamed {
        true => format!("table {from} renamed to {to}"),
        false => format!("unchanged: there is no table {from}"),
    };
    result::done(text).map_err(to_datafusion)
}

/// The operation as a step; `None` if there is none for it.
fn step(
    state: &SessionState,
    session: &UdrSession,
    operation: &AlterTableOperation,
) -> Result<Option<Step>> {
    let fold = state.config_options().sql_parser.enable_ident_normalization;
    let name = |name: &Ident| IdentNormalizer::new(fold).normalize(name.clone());
    Ok(Some(match operation {
        AlterTableOperation::AddConstraint {
            constraint,
            not_valid: false,
        } => Step::Add(Definition::of(state, session, constraint)?),
        AlterTableOperation::DropConstraint {
            if_exists,
            name: dropped,
            drop_behavior: None | Some(DropBehavior::Restrict),
        } => Step::Drop {
            name: name(dropped),
            if_exists: *if_exists,
        },
        AlterTableOperation::AlterColumn { column_name, op } => {
            let column = name(column_name);
            match op {
                AlterColumnOperation::SetNotNull => Step::NotNull { column, set: true },
                AlterColumnOperation::DropNotNull => Step::NotNull { column, set: false },
                AlterColumnOperation::SetDefault { value } => Step::Default {
                    column,
                    value: Some(value.clone()),
                },
                AlterColumnOperation::DropDefault => Step::Default {
                    column,
                    value: None,
                },
                _ => return Ok(None),
            }
        }
        _ => return Ok(None),
    }))
}

impl Step {
    /// Stages the step; says whether there was anything to do.
    async fn make(
        self,
        state: &SessionState,
        transaction: &mut Transaction,
        path: &RelationPath,
    ) -> CoreResult<bool> {
        let snapshot = transaction.snapshot();
        let table = snapshot.table(path).await?;
        let alteration = match self {
            Self::Add(definition) => {
                Alteration::AddConstraint(definition.resolve(state, &snapshot, &table).await?)
            }
            Self::Drop { name, if_exists } => {
                let mut constraints = table.constraints().iter();
                if if_exists && !constraints.any(|constraint| constraint.name() == name) {
                    return Ok(false);
                }
                Alteration::DropConstraint(name)
            }
            Self::NotNull { column, set } => match set {
                true => Alteration::SetNotNull(find_field(&table, &column)?.id),
                false => Alteration::DropNotNull(find_field(&table, &column)?.id),
            },
            Self::Default { column, value } => {
                let field = find_field(&table, &column)?;
                match value {
                    Some(value) => {
                        let arrow = ArrowSchema::new(vec![field.to_arrow()]);
                        let sql = value.to_string();
                        let expr = state
                            .create_logical_expr(&sql, &DFSchema::empty())
                            .map_err(refused)?;
                        check_default(state, &arrow, &column, &expr, &value).map_err(refused)?;
                        Alteration::SetDefault(field.id, sql)
                    }
                    None => Alteration::DropDefault(field.id),
                }
            }
        };
        transaction.alter_table(path, vec![alteration]).await?;
        Ok(true)
    }
}
