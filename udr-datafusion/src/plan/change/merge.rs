//! MERGE: the source joined to the target, and for each pair the first clause that applies.

use std::collections::BTreeSet;

use arrow::datatypes::{DataType, SchemaRef};
use datafusion::common::config::ConfigOptions;
use datafusion::common::tree_node::{TreeNode as _, TreeNodeRecursion};
use datafusion::common::{Column, ScalarValue};
use datafusion::error::Result as DataFusionResult;
use datafusion::logical_expr::{Expr, LogicalPlan, LogicalPlanBuilder, MergeIntoOp, lit, when};
use datafusion::optimizer::AnalyzerRule as _;
use datafusion::optimizer::analyzer::type_coercion::TypeCoercion;
use udr_core::Error;
use udr_core::txn::RowOperation;

use super::merge_clauses::{Clause, clauses};
use super::merge_join::{Sides, join};
use super::{PLACE, Target, qualified, volatile};
use crate::error::to_datafusion;
use crate::exec::Action;
use crate::table::{ACTION, place_names};

/// Which clause applies to a pair, by its place in the statement.
const CLAUSE: &str = "_udr_clause";

/// The INSERT into the mutation sink that a MERGE becomes.
pub(super) fn rewrite(
    target: &Target<'_>,
    merge: &MergeIntoOp,
    config: &ConfigOptions,
) -> DataFusionResult<LogicalPlan> {
    for expr in
        std::iter::once(&merge.on).chain(merge.clauses.iter().filter_map(|c| c.predicate.as_ref()))
    {
        volatile::refuse_expr(expr, "MERGE")?;
    }
    merge
        .exprs()
        .into_iter()
        .try_for_each(|expr| refuse_subqueries(target, expr))?;
    let clauses = clauses(target, merge)?;
    let key = key(target, &merge.on)?;
    let sides = Sides::of(&clauses);
    let joined = join(target, &merge.on, sides)?;
    let plan = choose(joined, sides, &clauses)?;
    let plan = outcome(target, plan, &clauses)?;
    // What was put together here has not been through the rules that came before.
    let plan = TypeCoercion::new().analyze(plan, config)?;
    Ok(target.insert(RowOperation::Merge, key, plan))
}

/// A subquery cannot be planned inside the choice between clauses.
fn refuse_subqueries(target: &Target<'_>, expr: &Expr) -> DataFusionResult<()> {
    let found = expr.exists(|expr| {
        Ok(match expr {
            Expr::InSubquery(_) | Expr::Exists(_) | Expr::SetComparison(_) => true,
            Expr::ScalarSubquery(subquery) => !subquery.outer_ref_columns.is_empty(),
            _ => false,
        })
    })?;
    if !found {
        return Ok(());
    }
    Err(to_datafusion(
        Error::unsupported(
            "MERGE does not support IN, EXISTS and correlated subqueries in ON and WHEN",
        )
        .with("table", target.table.path())
        .with("expression", expr)
        .with_hint("join the subquery into the source: USING (SELECT … FROM … LEFT JOIN …) AS s"),
    ))
}

/// The target's columns in ON, to tell rows apart by for who reads an error.
fn key(target: &Target<'_>, on: &Expr) -> DataFusionResult<Vec<String>> {
    let mut names = BTreeSet::new();
    on.apply(|expr| {
        if let Expr::Column(column) = expr
            && column.relation.as_ref() == Some(&target.dml.table_name)
        {
            names.insert(column.name.clone());
        }
        Ok(TreeNodeRecursion::Continue)
    })?;
    Ok(names.into_iter().collect())
}

/// Adds which clause applies, and keeps the pairs that one applies to. Without a choice, nothing is
/// added.
fn choose(joined: LogicalPlan, sides: Sides, clauses: &[Clause]) -> DataFusionResult<LogicalPlan> {
    let mut conditions = Vec::with_capacity(clauses.len());
    for (at, clause) in clauses.iter().enumerate() {
        let presence = sides.presence(clause.kind, &clause.target);
        let condition = [presence, clause.predicate.clone()];
        let condition = condition.into_iter().flatten().reduce(Expr::and);
        conditions.push((number(at)?, condition));
    }
    if let [(_, None)] = conditions.as_slice() {
        return Ok(joined);
    }
    let mut conditions = conditions.into_iter();
    let Some((first, condition)) = conditions.next() else {
        return Ok(joined);
    };
    let always = || lit(true);
    let mut case = when(condition.unwrap_or_else(always), lit(first));
    for (number, condition) in conditions {
        case = case.when(condition.unwrap_or_else(always), lit(number));
    }
    let case = case.otherwise(lit(ScalarValue::UInt32(None)))?;
    let columns = joined.schema().columns().into_iter().map(Expr::Column);
    let columns = columns.chain([case.alias(CLAUSE)]).collect::<Vec<_>>();
    let plan = LogicalPlanBuilder::from(joined).project(columns)?;
    if sides.are_covered(clauses) {
        return plan.build();
    }
    plan.filter(Expr::Column(Column::from_name(CLAUSE)).is_not_null())?
        .build()
}

fn number(at: usize) -> DataFusionResult<u32> {
    u32::try_from(at)
        .map_err(|e| to_datafusion(Error::invalid("MERGE has too many clauses").with_source(e)))
}

/// Where each pair's row is, what is done to it, and the values it gets.
fn outcome(
    target: &Target<'_>,
    plan: LogicalPlan,
    clauses: &[Clause],
) -> DataFusionResult<LogicalPlan> {
    let table = target.schema();
    let name = &target.dml.table_name;
    let mut exprs = Vec::with_capacity(table.fields().len() + 5);
    let stored = if Sides::of(clauses).has_target() {
        PLACE
    } else {
        0
    };
    // What identifies a row is only needed where it is written anew.
    let updates = clauses.iter().any(|clause| clause.action == Action::Update);
    let known = if updates { place_names().len() } else { stored };
    for (at, (place, ty)) in place_names().iter().zip(place_types()).enumerate() {
        let expr = if at < known {
            qualified(name, place)
        } else {
            lit(ScalarValue::try_from(&ty)?)
        };
        exprs.push(expr.alias(place));
    }
    let actions = clauses.iter().map(|clause| Some(lit(clause.action as u8)));
    exprs.push(
        by_clause(actions.collect())?
            .unwrap_or_else(|| lit(Action::Delete as u8))
            .alias(ACTION),
    );
    exprs.extend(values(&table, clauses)?);
    LogicalPlanBuilder::from(plan).project(exprs)?.build()
}

/// What each column of the table gets.
fn values(table: &SchemaRef, clauses: &[Clause]) -> DataFusionResult<Vec<Expr>> {
    let mut values = Vec::with_capacity(table.fields().len());
    for (at, field) in table.fields().iter().enumerate() {
        let choices = clauses.iter().map(|clause| clause.values.get(at).cloned());
        let value = match by_clause(choices.collect())? {
            Some(value) => value,
            // All clauses delete.
            None => lit(ScalarValue::try_from(field.data_type())?),
        };
        values.push(value.alias(field.name()));
    }
    Ok(values)
}

/// The value of the clause that applies; of those that have none it does not matter which.
fn by_clause(choices: Vec<Option<Expr>>) -> DataFusionResult<Option<Expr>> {
    let mut distinct: Vec<(Expr, Vec<u32>)> = Vec::new();
    for (at, choice) in choices.into_iter().enumerate() {
        let Some(choice) = choice else { continue };
        let at = number(at)?;
        // Two calls of one function can be two values.
        let same = (!choice.is_volatile()).then(|| distinct.iter_mut().find(|(e, _)| *e == choice));
        match same.flatten() {
            Some((_, clauses)) => clauses.push(at),
            None => distinct.push((choice, vec![at])),
        }
    }
    let Some((last, _)) = distinct.pop() else {
        return Ok(None);
    };
    let mut others = distinct.into_iter();
    let Some((value, clauses)) = others.next() else {
        return Ok(Some(last));
    };
    let applies = |clauses: Vec<u32>| {
        let clause = Expr::Column(Column::from_name(CLAUSE));
        match clauses.as_slice() {
            [only] => clause.eq(lit(*only)),
            _ => clause.in_list(clauses.into_iter().map(lit).collect(), false),
        }
    };
    let mut case = when(applies(clauses), value);
    for (value, clauses) in others {
        case = case.when(applies(clauses), value);
    }
    case.otherwise(last).map(Some)
}

fn place_types() -> [DataType; 4] {
    [
        DataType::UInt32,
        DataType::Int64,
        DataType::FixedSizeBinary(16),
        DataType::Int64,
    ]
}
