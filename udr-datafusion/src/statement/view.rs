//! CREATE VIEW: the text of a query is stored, in a form that means the same in every session.

use std::collections::BTreeMap;
use std::ops::ControlFlow;
use std::sync::Arc;

use arrow::record_batch::RecordBatch;
use datafusion::error::Result;
use datafusion::execution::context::SessionState;
use datafusion::sql::parser::{DFParserBuilder, Statement as SqlStatement};
use datafusion::sql::sqlparser::ast::{
    CreateTableOptions, CreateView, Ident, ObjectName, ObjectNamePart, Query, Statement,
    TableFactor, VisitMut as _, VisitorMut,
};
use udr_core::format::View;
use udr_core::name::{NamespaceName, RefName, RelationPath};
use udr_core::refs::Revision;
use udr_core::txn::OnExisting;
use udr_core::{Error, ErrorKind, RefHead, Result as CoreResult};

use super::{change, result, target};
use crate::catalog::{Scope, is_feed, view_provider};
use crate::changes::INCLUDED;
use crate::error::to_datafusion;
use crate::session::{Source, UdrSession};
use crate::sql::scope::{CteScope, Scoped, enter, folded, leave};

pub(super) async fn create(
    state: &SessionState,
    session: &Arc<UdrSession>,
    statement: &CreateView,
) -> Result<RecordBatch> {
    let path = target::path(state, session, &statement.name)?;
    refuse_options(statement).map_err(to_datafusion)?;
    refuse_foreign(state, session, &statement.query)?;
    let view = stored(state, session, statement).await?;
    // Planned as every reader will plan it.
    let scope = Scope::new(Source::Tip);
    Box::pin(view_provider(session, &scope, &path, &view))
        .await
        .map_err(to_datafusion)?;
    put(session, path, view, statement).await
}

async fn put(
    session: &UdrSession,
    path: RelationPath,
    view: View,
    statement: &CreateView,
) -> Result<RecordBatch> {
    let on_existing = if statement.or_replace {
        OnExisting::Replace
    } else {
        OnExisting::Refuse
    };
    let keep = statement.if_not_exists;
    let message = format!("CREATE VIEW {path}");
    let text = path.to_string();
    let made = change(session, message, async move |transaction| {
        if keep && transaction.snapshot().relation(&path).await?.is_some() {
            return Ok(false);
        }
        transaction
            .create_view(&path, view, on_existing)
            .await
            .map(|()| true)
    })
    .await?;
    let text = match made {
        true => format!("view {text} created"),
        false => format!("unchanged: there is a view or table {text}"),
    };
    result::done(text).map_err(to_datafusion)
}

fn refuse_options(statement: &CreateView) -> CoreResult<()> {
    let refuse = |what: &str| Err(Error::unsupported(format!("views cannot be {what}")));
    if statement.materialized {
        return refuse("materialized by this version");
    }
    if statement.temporary {
        return refuse("temporary");
    }
    if statement.or_replace && statement.if_not_exists {
        return Err(Error::invalid(
            "a view is replaced or kept: OR REPLACE and IF NOT EXISTS exclude each other",
        ));
    }
    let plain = matches!(statement.options, CreateTableOptions::None)
        && !statement.or_alter
        && !statement.secure
        && statement.cluster_by.is_empty()
        && statement.comment.is_none()
        && !statement.with_no_schema_binding
        && !statement.copy_grants
        && statement.to.is_none()
        && statement.params.is_none()
        && statement
            .columns
            .iter()
            .all(|c| c.data_type.is_none() && c.options.is_none());
    if plain {
        Ok(())
    } else {
        refuse("given options")
    }
}

/// Refuses a view that only this context could read.
fn refuse_foreign(state: &SessionState, session: &UdrSession, query: &Query) -> Result<()> {
    let default = &state.config_options().catalog.default_catalog;
    let statement = Statement::Query(Box::new(query.clone()));
    let names = state.resolve_table_references(&SqlStatement::Statement(Box::new(statement)))?;
    let foreign = names.iter().find(|name| {
        let catalog = name.catalog().unwrap_or(default);
        let function = name.catalog().is_none() && session.is_table_function(name.table());
        !function
            && (session.host_catalogs().catalog(catalog).is_some()
                || name.schema() == Some("information_schema"))
    });
    match foreign {
        None => Ok(()),
        Some(name) => Err(to_datafusion(
            Error::invalid("a view can only read what is in the repository")
                .with("name", name.to_string()),
        )),
    }
}

/// The view as it is stored: without the name that this context gave to the repository, and with
/// commits for revisions that are relative to the session's branch.
async fn stored(
    state: &SessionState,
    session: &UdrSession,
    statement: &CreateView,
) -> Result<View> {
    let mut query = statement.query.clone();
    let fold = state.config_options().sql_parser.enable_ident_normalization;
    let mut names = Names {
        catalog: session.catalog(),
        scope: CteScope::new(fold),
        fold,
        revisions: BTreeMap::new(),
    };
    // Nothing breaks the walk. The first one collects the revisions, the second puts commits there.
    let _: ControlFlow<()> = query.visit(&mut names);
    for (revision, commit) in &mut names.revisions {
        *commit = fixed(session, revision).await.map_err(to_datafusion)?;
    }
    let _: ControlFlow<()> = query.visit(&mut names);
    let mut sql = query.to_string();
    if !statement.columns.is_empty() {
        let columns = statement
            .columns
            .iter()
            .map(|c| c.name.to_string())
            .collect::<Vec<_>>();
        sql = format!("SELECT * FROM ({sql}) AS \"view\" ({})", columns.join(", "));
    }
    check_text(&sql, statement.columns.is_empty().then_some(&query))?;
    let catalog = &state.config_options().catalog;
    let namespace = match catalog.default_catalog == session.catalog() {
        true => NamespaceName::new(catalog.default_schema.as_str()).map_err(to_datafusion)?,
        false => NamespaceName::public(),
    };
    Ok(View { sql, namespace })
}

/// The commit that a revision names, unless a branch or a tag says which. For one that is part of a
/// range itself, the commit before it; none is the beginning.
async fn fixed(session: &UdrSession, text: &str) -> CoreResult<Option<String>> {
    let (text, included) = match text.strip_prefix(INCLUDED) {
        Some(text) => (text, true),
        None => (text, false),
    };
    let base = text.split('~').next().unwrap_or(text);
    if base.eq_ignore_ascii_case("head") {
        return Err(Error::invalid(
            "a view cannot read HEAD, which is another branch for everybody",
        )
        .with("revision", text)
        .with_hint("name the branch"));
    }
    if let Ok(name) = RefName::new(base) {
        let repository = session.repository();
        let named = |head: &RefHead| head.name.folded() == name.folded();
        if repository.branches().await?.iter().any(named)
            || repository.tags().await?.iter().any(named)
        {
            return Ok(None);
        }
    }
    let revision = text.parse::<Revision>()?;
    if included {
        let (repository, branch) = (session.repository(), session.branch());
        let head = repository.head(&branch).await?;
        let before = repository.before(&branch, &revision, &head).await?;
        return Ok(Some(
            before.map_or_else(String::new, |s| s.commit_id().to_hex()),
        ));
    }
    match session.snapshot_at(&revision).await {
        Ok(snapshot) => Ok(Some(snapshot.commit_id().to_hex())),
        // A time before everything stays one.
        Err(e) if e.kind() == ErrorKind::NotFound && revision.time().is_some() => Ok(None),
        Err(error) => Err(error),
    }
}

/// Checks that the text is read back as what it was written from.
fn check_text(sql: &str, query: Option<&Query>) -> Result<()> {
    let statements = DFParserBuilder::new(sql).build()?.parse_statements()?;
    let same = match statements.front() {
        Some(SqlStatement::Statement(statement)) if statements.len() == 1 => {
            match (statement.as_ref(), query) {
                (Statement::Query(read), Some(query)) => read.as_ref() == query,
                (Statement::Query(_), None) => true,
                _ => false,
            }
        }
        _ => false,
    };
    if same {
        return Ok(());
    }
    Err(to_datafusion(
        Error::unsupported("the query cannot be stored as text").with("query", sql),
    ))
}

/// Makes the names of a query mean the same in another context and on another branch.
struct Names<'a> {
    /// What this context calls the repository; another one may call it something else.
    catalog: &'a str,
    scope: CteScope,
    fold: bool,
    /// The revisions in names, and the commits to put in their places.
    revisions: BTreeMap<String, Option<String>>,
}

impl Names<'_> {
    fn settle(&mut self, name: &mut ObjectName) {
        if name.0.len() == 3 {
            if !self.is_own_catalog(name) {
                // The catalog is a branch, and the revision is relative to it.
                return;
            }
            name.0.remove(0);
        }
        let Some(ObjectNamePart::Identifier(last)) = name.0.last_mut() else {
            return;
        };
        let Some((table, revision)) = last.value.split_once('@') else {
            return;
        };
        let ends = match revision.split_once("..").filter(|_| is_feed(table)) {
            Some((from, to)) => vec![from, to],
            None => vec![revision],
        };
        let settled = ends.iter().map(|revision| {
            let known = self.revisions.get(*revision).and_then(Option::as_deref);
            known.unwrap_or(revision)
        });
        let settled = settled.collect::<Vec<_>>();
        if settled != ends {
            let table = Ident {
                value: table.to_owned(),
                ..last.clone()
            };
            let table = folded(&table, self.fold);
            *last = Ident::with_quote('"', format!("{table}@{}", settled.join("..")));
            return;
        }
        for revision in ends.into_iter().filter(|revision| !revision.is_empty()) {
            self.revisions.entry(revision.to_owned()).or_default();
        }
    }

    fn is_own_catalog(&self, name: &ObjectName) -> bool {
        let first = name.0.first().and_then(|part| part.as_ident());
        first.is_some_and(|ident| folded(ident, self.fold) == self.catalog)
    }
}

impl Scoped for Names<'_> {
    fn scope(&mut self) -> &mut CteScope {
        &mut self.scope
    }
}

impl VisitorMut for Names<'_> {
    type Break = ();

    fn pre_visit_query(&mut self, query: &mut Query) -> ControlFlow<()> {
        enter(self, query)
    }

    fn post_visit_query(&mut self, query: &mut Query) -> ControlFlow<()> {
        leave(self, query)
    }

    fn pre_visit_table_factor(&mut self, factor: &mut TableFactor) -> ControlFlow<()> {
        if let TableFactor::Table {
            name, args: None, ..
        } = factor
            && !self.scope.holds(name)
        {
            self.settle(name);
        }
        ControlFlow::Continue(())
    }
}
