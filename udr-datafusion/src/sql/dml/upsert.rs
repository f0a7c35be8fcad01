//! `INSERT … ON CONFLICT`, `INSERT OR REPLACE`, `REPLACE INTO`, `INSERT OR IGNORE`.
//!
//! They become a MERGE whose source, called `excluded`, is what the INSERT would insert: every
//! column of the target, of its type, defaults put in. A key that the source has twice is an error,
//! or, with `DO NOTHING`, inserted once.

use datafusion::common::Result;
use datafusion::sql::sqlparser::ast::helpers::attached_token::AttachedToken;
use datafusion::sql::sqlparser::ast::{
    ConflictTarget, DoUpdate, Expr, Ident, Insert, Merge, MergeAction, MergeClause,
    MergeClauseKind, OnConflictAction, Statement, TableFactor,
};
use udr_core::Error;

use super::build::{self, column, equal, quoted};
use super::target::{Key, Named, Target};
use super::{Form, SourceColumn};
use crate::sql::external;
use crate::sql::scope::folded;

/// What the rows that were to be inserted are called.
pub(crate) const EXCLUDED: &str = "excluded";

/// What happens to a row whose key is in the table already.
#[expect(clippy::large_enum_variant, reason = "there is one for a statement")]
pub(super) enum Conflict {
    /// All its columns are replaced.
    Replace,
    /// The new row is left out.
    Ignore,
    /// As the clause says.
    On(Option<ConflictTarget>, OnConflictAction),
}

/// What happens to a key that the source has twice.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Twice {
    Refuse,
    /// The first is taken; which that is, only a list of values says.
    KeepFirst,
}

/// An INSERT whose rows may meet rows of the same key.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Upsert {
    /// What gives the source's rows.
    pub(crate) insert: Insert,
    /// The MERGE, with another source that has the same columns: the target.
    pub(crate) merge: Merge,
    pub(crate) key: Vec<String>,
    pub(crate) twice: Twice,
}

/// The MERGE that an INSERT with a conflict clause is.
///
/// # Errors
///
/// `Invalid` if there is no key to tell a conflict by; those of MERGE.
#[expect(
    clippy::needless_pass_by_value,
    reason = "what was parsed is taken apart"
)]
pub(super) fn upsert(
    insert: Insert,
    conflict: Conflict,
    named: Named,
    target: &Target,
) -> Result<Form> {
    if folded(&named.short(), target.fold) == EXCLUDED {
        return Err(external(
            Error::invalid("the new rows are called excluded, as the target is")
                .with_hint("give the target an alias: INSERT INTO excluded AS t …"),
        ));
    }
    let key = key(&conflict, target)?;
    let matched = matched(conflict, &key, &named, target)?;
    let all = target.stored().map(|column| column.name.clone());
    let all = all.collect::<Vec<_>>();
    let twice = match matched {
        None => Twice::KeepFirst,
        Some(_) => Twice::Refuse,
    };
    let mut clauses = Vec::new();
    // Where the key is all there is, the row is there already.
    if let Some((values, selection)) = matched.filter(|(values, _)| !values.is_empty()) {
        clauses.push(update(values, selection));
    }
    let values = all.iter().map(|name| excluded(name)).collect();
    clauses.push(clause(
        MergeClauseKind::NotMatched,
        None,
        MergeAction::Insert(super::merge::insert_of(all, values)),
    ));
    let merge = Merge {
        merge_token: AttachedToken::empty(),
        optimizer_hints: Vec::new(),
        into: true,
        table: named.factor(),
        source: stand_in(&named),
        on: Box::new(on(&named, &key)),
        clauses,
        output: None,
    };
    let columns = target.stored().map(|column| SourceColumn {
        qualifier: vec![quoted(EXCLUDED)],
        name: column.name.clone(),
    });
    let columns = columns.collect::<Vec<_>>();
    let Form::Statement(merge) = super::merge::merge(merge, target, &columns, false)? else {
        return Err(external(Error::internal("a MERGE became something else")));
    };
    let Statement::Merge(merge) = *merge else {
        return Err(external(Error::internal("a MERGE became something else")));
    };
    Ok(Form::Upsert(Box::new(Upsert {
        insert,
        merge,
        key,
        twice,
    })))
}

/// The columns that tell a conflict.
fn key(conflict: &Conflict, target: &Target) -> Result<Vec<String>> {
    let key = match conflict {
        Conflict::On(Some(of), _) => key_of(of, target)?,
        Conflict::On(None, OnConflictAction::DoUpdate(_)) => {
            return Err(external(
                Error::invalid("DO UPDATE needs to know the conflict's columns")
                    .with_hint("ON CONFLICT (id) DO UPDATE SET …"),
            ));
        }
        Conflict::On(None, OnConflictAction::DoNothing) | Conflict::Replace | Conflict::Ignore => {
            only_key(conflict, target)?
        }
    };
    for name in &key {
        target.refuse_generated(&Expr::Identifier(quoted(name)), None)?;
    }
    Ok(key)
}

/// What a row that is there already is set to, and on what condition.
type Matched = (Vec<(String, Expr)>, Option<Expr>);

/// What happens to a row that is there already; nothing if the new one is left out.
fn matched(
    conflict: Conflict,
    key: &[String],
    named: &Named,
    target: &Target,
) -> Result<Option<Matched>> {
    match conflict {
        Conflict::Ignore | Conflict::On(_, OnConflictAction::DoNothing) => Ok(None),
        Conflict::Replace => {
            let rest = target.stored().filter(|column| !key.contains(&column.name));
            let values = rest.map(|column| (column.name.clone(), excluded(&column.name)));
            Ok(Some((values.collect(), None)))
        }
        Conflict::On(
            _,
            OnConflictAction::DoUpdate(DoUpdate {
                assignments,
                selection,
            }),
        ) => {
            target.refuse_generated(&assignments, Some(EXCLUDED))?;
            target.refuse_generated(&selection, Some(EXCLUDED))?;
            let values = super::assignment::values(assignments, named, target)?;
            Ok(Some((values, selection)))
        }
    }
}

fn excluded(name: &str) -> Expr {
    column(&[quoted(EXCLUDED)], name)
}

fn clause(kind: MergeClauseKind, predicate: Option<Expr>, action: MergeAction) -> MergeClause {
    MergeClause {
        when_token: AttachedToken::empty(),
        clause_kind: kind,
        predicate,
        action,
    }
}

fn update(values: Vec<(String, Expr)>, selection: Option<Expr>) -> MergeClause {
    let update = datafusion::sql::sqlparser::ast::MergeUpdateExpr {
        update_token: AttachedToken::empty(),
        assignments: super::assignment::list(values),
        update_predicate: None,
        delete_predicate: None,
    };
    clause(
        MergeClauseKind::Matched,
        selection,
        MergeAction::Update(update),
    )
}

/// `(SELECT * FROM target) AS excluded`: it has the columns that the source will have.
fn stand_in(named: &Named) -> TableFactor {
    let all = build::select(
        vec![build::everything()],
        vec![build::alone(build::table(named.name.clone(), None))],
        None,
    );
    build::derived(all, Some(build::alias(quoted(EXCLUDED))))
}

fn on(named: &Named, key: &[String]) -> Expr {
    let qualifier = named.qualifier();
    let pairs = key
        .iter()
        .map(|name| equal(column(&qualifier, name), column(&[quoted(EXCLUDED)], name)));
    build::all(pairs).unwrap_or_else(build::null)
}

/// The columns that a conflict is about.
fn key_of(of: &ConflictTarget, target: &Target) -> Result<Vec<String>> {
    match of {
        ConflictTarget::Columns(columns) => columns_of(columns, target),
        ConflictTarget::OnConstraint(name) => {
            let [part] = name.0.as_slice() else {
                return Err(no_constraint(&name.to_string(), target));
            };
            let name = part.as_ident().map(|ident| folded(ident, target.fold));
            let name = name.unwrap_or_default();
            let key = target.keys.iter().find(|key| key.name == name);
            key.map(|key| key.columns.clone())
                .ok_or_else(|| no_constraint(&name, target))
        }
    }
}

fn columns_of(columns: &[Ident], target: &Target) -> Result<Vec<String>> {
    let mut key: Vec<String> = Vec::with_capacity(columns.len());
    for ident in columns {
        let name = target.column(ident)?.name.clone();
        if key.contains(&name) {
            return Err(external(
                Error::invalid("a column is named twice").with("column", name),
            ));
        }
        key.push(name);
    }
    Ok(key)
}

fn no_constraint(name: &str, target: &Target) -> datafusion::common::DataFusionError {
    let keys = target.keys.iter().map(|key| key.name.as_str());
    external(
        Error::not_found("the table has no such key")
            .with("constraint", name)
            .with("keys", keys.collect::<Vec<_>>().join(", "))
            .with_hint("name the columns: ON CONFLICT (id)"),
    )
}

/// The key to take where none is named.
fn only_key(conflict: &Conflict, target: &Target) -> Result<Vec<String>> {
    let (what, hint) = match conflict {
        Conflict::Replace => (
            "rows are replaced by a key",
            "INSERT … ON CONFLICT (id) DO UPDATE SET a = excluded.a, or MERGE",
        ),
        Conflict::Ignore | Conflict::On(..) => (
            "a conflict is told by a key",
            "name the columns: INSERT … ON CONFLICT (id) DO NOTHING",
        ),
    };
    match target.keys.as_slice() {
        [Key { columns, .. }] => Ok(columns.clone()),
        [] => Err(external(
            Error::invalid(format!("{what}, and the table has none")).with_hint(hint),
        )),
        keys => Err(external(
            Error::invalid(format!("{what}, and the table has several"))
                .with(
                    "keys",
                    keys.iter()
                        .map(|key| key.name.as_str())
                        .collect::<Vec<_>>()
                        .join(", "),
                )
                .with_hint(hint),
        )),
    }
}
