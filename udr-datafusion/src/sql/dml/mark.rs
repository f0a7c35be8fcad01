//! What the parser does not know, as names that nobody writes.
//!
//! The [`head`](super::head) puts them where the parser lets a name or an expression stand; the
//! rewriter takes them out. They begin with a control character.

use datafusion::sql::sqlparser::ast::{
    Assignment, AssignmentTarget, Expr, Ident, Insert, MergeAction, MergeInsertKind, ObjectName,
    Statement,
};

/// First in the `PARTITION (…)` of an INSERT that has clauses of ours.
pub(super) const CLAUSES: &str = "\u{1}clauses";
/// `BY NAME`
pub(super) const BY_NAME: &str = "\u{1}by name";
/// `AS alias`; the alias follows.
pub(super) const ALIAS: &str = "\u{1}as";
/// `REPLACE WHERE predicate`; the predicate follows.
pub(super) const REPLACE: &str = "\u{1}replace where";
/// `*` in `UPDATE SET *` and `INSERT *`.
pub(super) const STAR: &str = "\u{1}*";
/// `DO NOTHING` in MERGE.
pub(super) const NOTHING: &str = "\u{1}nothing";

fn is(expr: &Expr, mark: &str) -> bool {
    matches!(expr, Expr::Identifier(ident) if ident.value == mark)
}

fn names(name: &ObjectName, mark: &str) -> bool {
    let [part] = name.0.as_slice() else {
        return false;
    };
    part.as_ident().is_some_and(|ident| ident.value == mark)
}

/// The clauses of an INSERT that only UDR has.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Clauses {
    pub(super) by_name: bool,
    pub(super) alias: Option<Ident>,
    pub(super) replace: Option<Expr>,
}

impl Clauses {
    /// Takes them out of `insert`.
    pub(super) fn take(insert: &mut Insert) -> Self {
        let mut clauses = Self::default();
        if !has_clauses(insert) {
            return clauses;
        }
        let mut items = insert.partitioned.take().unwrap_or_default().into_iter();
        while let Some(item) = items.next() {
            if is(&item, BY_NAME) {
                clauses.by_name = true;
            } else if is(&item, ALIAS) {
                if let Some(Expr::Identifier(alias)) = items.next() {
                    clauses.alias = Some(alias);
                }
            } else if is(&item, REPLACE) {
                clauses.replace = items.next();
            }
        }
        clauses
    }

    /// Puts `BY NAME` into `insert`, if it is not there.
    pub(super) fn add_by_name(insert: &mut Insert) {
        let mark = |mark: &str| Expr::Identifier(Ident::with_quote('"', mark));
        if !has_clauses(insert) {
            let others = insert.partitioned.take().unwrap_or_default();
            insert.partitioned = Some(std::iter::once(mark(CLAUSES)).chain(others).collect());
        }
        let clauses = insert.partitioned.get_or_insert_default();
        if !clauses.iter().any(|clause| is(clause, BY_NAME)) {
            clauses.push(mark(BY_NAME));
        }
    }
}

fn has_clauses(insert: &Insert) -> bool {
    let first = insert.partitioned.as_ref().and_then(|items| items.first());
    first.is_some_and(|first| is(first, CLAUSES))
}

fn assigns(assignments: &[Assignment], mark: &str) -> bool {
    let [assignment] = assignments else {
        return false;
    };
    matches!(&assignment.target, AssignmentTarget::ColumnName(name) if names(name, mark))
}

fn acts(action: &MergeAction, mark: &str) -> bool {
    match action {
        MergeAction::Update(update) => assigns(&update.assignments, mark),
        MergeAction::Insert(insert) => {
            insert.kind == MergeInsertKind::Row
                && insert.columns.len() == 1
                && insert.columns.iter().all(|name| names(name, mark))
        }
        MergeAction::Delete { .. } => false,
    }
}

/// Whether a MERGE's action is `UPDATE SET *` or `INSERT *`.
pub(super) fn is_star(action: &MergeAction) -> bool {
    acts(action, STAR)
}

/// Whether a MERGE's action is `DO NOTHING`.
pub(super) fn is_nothing(action: &MergeAction) -> bool {
    acts(action, NOTHING)
}

/// Whether the statement has something that only UDR knows.
pub(crate) fn is_marked(statement: &Statement) -> bool {
    match statement {
        Statement::Insert(insert) => has_clauses(insert),
        Statement::Merge(merge) => merge
            .clauses
            .iter()
            .any(|clause| is_star(&clause.action) || is_nothing(&clause.action)),
        _ => false,
    }
}
