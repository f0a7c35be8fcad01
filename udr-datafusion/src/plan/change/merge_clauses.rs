//! The clauses of a MERGE, checked and completed.

use std::collections::BTreeSet;

use datafusion::catalog::TableProvider as _;
use datafusion::common::tree_node::{TreeNode as _, TreeNodeRecursion};
use datafusion::common::{Column, DFSchema, ScalarValue, TableReference};
use datafusion::error::Result as DataFusionResult;
use datafusion::logical_expr::dml::{MergeIntoAction, MergeIntoClause, MergeIntoClauseKind};
use datafusion::logical_expr::{Expr, ExprSchemable as _, MergeIntoOp, lit};
use udr_core::Error;

use super::assign::{assigned, refuse_generated};
use super::{Target, qualified};
use crate::error::to_datafusion;
use crate::exec::Action;

/// A clause, with a value for every column that it writes.
pub(super) struct Clause {
    /// Which pairs it is for, in its canonical spelling.
    pub(super) kind: MergeIntoClauseKind,
    pub(super) predicate: Option<Expr>,
    pub(super) action: Action,
    /// What each column of the table gets; empty if the clause deletes.
    pub(super) values: Vec<Expr>,
    /// The target, as the clause's expressions call it.
    pub(super) target: TableReference,
}

/// The clauses, in order.
///
/// # Errors
///
/// `Invalid` if one refers to a side that its rows do not have, or does with them what cannot be
/// done.
pub(super) fn clauses(target: &Target<'_>, merge: &MergeIntoOp) -> DataFusionResult<Vec<Clause>> {
    merge
        .clauses
        .iter()
        .map(|clause| self::clause(target, clause))
        .collect()
}

fn clause(target: &Target<'_>, clause: &MergeIntoClause) -> DataFusionResult<Clause> {
    let kind = clause.kind.canonical();
    check_references(target, kind, clause)?;
    let fits = match (kind, &clause.action) {
        (MergeIntoClauseKind::NotMatchedByTarget, action) => {
            matches!(action, MergeIntoAction::Insert { .. })
        }
        (_, action) => !matches!(action, MergeIntoAction::Insert { .. }),
    };
    if !fits {
        return Err(invalid(
            target,
            "WHEN NOT MATCHED inserts, the other clauses of MERGE update and delete",
        ));
    }
    let (action, values) = match &clause.action {
        MergeIntoAction::Delete => (Action::Delete, Vec::new()),
        MergeIntoAction::Update(assignments) => (Action::Update, updated(target, assignments)?),
        MergeIntoAction::Insert { columns, values } => {
            (Action::Insert, inserted(target, columns, values)?)
        }
    };
    Ok(Clause {
        kind,
        predicate: clause.predicate.clone(),
        action,
        values,
        target: target.dml.table_name.clone(),
    })
}

fn updated(target: &Target<'_>, assignments: &[(String, Expr)]) -> DataFusionResult<Vec<Expr>> {
    for (name, value) in assignments {
        refuse_generated(target, name, value)?;
    }
    let schema = target.schema();
    let fields = schema.fields().iter();
    let values = fields.map(|field| {
        let set = assignments.iter().find(|(name, _)| name == field.name());
        match set {
            Some((name, value)) => assigned(target, name, value),
            None => qualified(&target.dml.table_name, field.name()),
        }
    });
    Ok(values.collect())
}

fn inserted(
    target: &Target<'_>,
    columns: &[String],
    values: &[Expr],
) -> DataFusionResult<Vec<Expr>> {
    let schema = target.schema();
    let mut complete = Vec::with_capacity(schema.fields().len());
    for (at, field) in schema.fields().iter().enumerate() {
        let given = if columns.is_empty() {
            values.get(at)
        } else {
            let place = columns.iter().position(|name| name == field.name());
            place.and_then(|place| values.get(place))
        };
        complete.push(match given {
            Some(value) => {
                refuse_generated(target, field.name(), value)?;
                assigned(target, field.name(), value)
            }
            None => match target.table.get_column_default(field.name()) {
                Some(default) => {
                    let default = default.clone();
                    let cast = default.cast_to(field.data_type(), &DFSchema::empty())?;
                    assigned(target, field.name(), &cast)
                }
                None => lit(ScalarValue::try_from(field.data_type())?),
            },
        });
    }
    Ok(complete)
}

/// Refuses references to the side that the clause's rows do not have.
fn check_references(
    target: &Target<'_>,
    kind: MergeIntoClauseKind,
    clause: &MergeIntoClause,
) -> DataFusionResult<()> {
    let mut used = BTreeSet::new();
    let values: Vec<&Expr> = match &clause.action {
        MergeIntoAction::Update(assignments) => assignments.iter().map(|(_, v)| v).collect(),
        MergeIntoAction::Insert { values, .. } => values.iter().collect(),
        MergeIntoAction::Delete => Vec::new(),
    };
    for expr in clause.predicate.iter().chain(values) {
        expr.apply(|expr| {
            if let Expr::Column(column) = expr {
                used.insert(column.clone());
            }
            Ok(TreeNodeRecursion::Continue)
        })?;
    }
    let of_target = |column: &Column| column.relation.as_ref() == Some(&target.dml.table_name);
    let wrong = match kind {
        MergeIntoClauseKind::NotMatchedByTarget => used.iter().find(|column| of_target(column)),
        MergeIntoClauseKind::NotMatchedBySource => used.iter().find(|column| !of_target(column)),
        _ => None,
    };
    match wrong {
        None => Ok(()),
        Some(column) => Err(to_datafusion(
            Error::invalid(match kind {
                MergeIntoClauseKind::NotMatchedByTarget => {
                    "WHEN NOT MATCHED has rows of the source only"
                }
                _ => "WHEN NOT MATCHED BY SOURCE has rows of the target only",
            })
            .with("table", target.table.path())
            .with("column", column.flat_name()),
        )),
    }
}

fn invalid(target: &Target<'_>, message: &str) -> datafusion::error::DataFusionError {
    to_datafusion(Error::invalid(message).with("table", target.table.path()))
}
