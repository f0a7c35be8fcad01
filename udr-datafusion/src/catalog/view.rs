//! Views: stored queries, planned anew each time they are read.
//!
//! In: a view's text and the state it is read at. Out: a provider that DataFusion puts in place of
//! the name. A stored plan would go stale; the text is looked up in the same state as the view,
//! so `"v@dev"` reads `dev` throughout. Called by [`super::schema`].

use std::sync::Arc;

use datafusion::catalog::TableProvider;
use datafusion::catalog::view::ViewTable;
use datafusion::common::config::SqlParserOptions;
use datafusion::common::tree_node::{TreeNode as _, TreeNodeRecursion};
use datafusion::execution::context::{SQLOptions, SessionState};
use datafusion::logical_expr::LogicalPlan;
use datafusion::optimizer::Analyzer;
use datafusion::optimizer::analyzer::type_coercion::TypeCoercion;
use udr_core::format::View;
use udr_core::name::RelationPath;
use udr_core::snapshot::Relation;
use udr_core::{Error, ErrorKind, Result};

use super::list::UdrCatalogList;
use super::{Scope, ViewStep};
use crate::error::{into_udr, udr_error};
use crate::exec::CommandTable;
use crate::functions::has_effects;
use crate::session::{StatementPin, UdrSession};

/// How deep views may refer to views.
const DEPTH_MAX: usize = 16;

/// The provider of a view.
///
/// # Errors
///
/// `Invalid` if the view is defined by itself, nests too deep, or is not a query; those of
/// planning it.
pub(crate) async fn provider(
    session: &Arc<UdrSession>,
    scope: &Scope,
    path: &RelationPath,
    view: &View,
) -> Result<Arc<dyn TableProvider>> {
    let seen = |step: &ViewStep| step.path == *path && step.source.key() == scope.source.key();
    if scope.views.iter().any(seen) {
        return Err(Error::invalid("a view is defined by itself").with("view", path));
    }
    if scope.views.len() >= DEPTH_MAX {
        return Err(Error::invalid("views nest too deep").with("view", path));
    }
    let step = ViewStep {
        source: scope.source.clone(),
        path: path.clone(),
        namespace: view.namespace.clone(),
        sql: Arc::from(view.sql.as_str()),
    };
    let views = scope.views.iter().cloned().chain([step]).collect();
    let inner = Scope {
        source: scope.source.clone(),
        views,
    };
    let state = state_for(session, inner, view)?;
    let plan = state
        .create_logical_plan(&view.sql)
        .await
        .map_err(|error| {
            let (kind, reason) = match udr_error(&error) {
                Some(error) => (error.kind(), error.to_string()),
                None => (ErrorKind::Invalid, error.strip_backtrace()),
            };
            Error::new(kind, "a view cannot be read")
                .with("view", path)
                .with("reason", reason)
                .with_source(error)
        })?;
    check_query(&plan, path)?;
    // DataFusion coerces a view's query when the view is made, so that its schema is that of its
    // rows; here that is each time it is read.
    let analyzer = Analyzer::with_rules(vec![Arc::new(TypeCoercion::new())]);
    let plan = analyzer
        .execute_and_check(plan, state.config_options(), |_, _| {})
        .map_err(into_udr)?;
    Ok(Arc::new(ViewTable::new(plan, Some(view.sql.clone()))))
}

/// The state of a context in which a view's names mean what they meant to its author.
fn state_for(session: &Arc<UdrSession>, scope: Scope, view: &View) -> Result<SessionState> {
    let mut state = session.context_state()?;
    let list = UdrCatalogList::new(Arc::clone(session), scope);
    state.register_catalog_list(Arc::new(list));
    let options = state.config_mut().options_mut();
    options.catalog.default_catalog = session.catalog().to_owned();
    options.catalog.default_schema = view.namespace.as_str().to_owned();
    // Neither the reader's dialect nor its other settings change what a view says.
    options.sql_parser = SqlParserOptions::default();
    Ok(state)
}

/// Refuses a view that would do more than read.
fn check_query(plan: &LogicalPlan, path: &RelationPath) -> Result<()> {
    let refuse = || Error::invalid("a view is not a query").with("view", path);
    SQLOptions::new()
        .with_allow_ddl(false)
        .with_allow_dml(false)
        .with_allow_statements(false)
        .verify_plan(plan)
        .map_err(|error| refuse().with_source(error))?;
    let mut commands = false;
    plan.apply_with_subqueries(|node| {
        commands |= CommandTable::is_scanned_by(node);
        node.apply_expressions(|expr| {
            commands |= expr.exists(|expr| Ok(has_effects(expr)))?;
            Ok(TreeNodeRecursion::Continue)
        })?;
        Ok(if commands {
            TreeNodeRecursion::Stop
        } else {
            TreeNodeRecursion::Continue
        })
    })
    .map_err(into_udr)?;
    if commands {
        Err(refuse().with_hint("a view cannot run commands"))
    } else {
        Ok(())
    }
}

/// Checks that the views a scan was reached through are still what was planned.
///
/// # Errors
///
/// `Conflict` if one has changed or gone.
pub(crate) async fn views_unchanged(
    session: &UdrSession,
    views: &[ViewStep],
    pin: &StatementPin,
) -> Result<()> {
    for step in views {
        let state = pin.state(session, &step.source).await?;
        if let Some(reads) = session.reads(&state) {
            reads.name(&step.path);
        }
        let same = matches!(
            state.snapshot.relation(&step.path).await?,
            Some(Relation::View(view)) if *view.sql == *step.sql
        );
        if !same {
            return Err(
                Error::conflict("a view changed while the statement was being planned")
                    .with("view", &step.path)
                    .with_hint("run the statement again, or prepare it again"),
            );
        }
    }
    Ok(())
}
