//! What to say when a name is not there: what there is instead.

use datafusion::error::DataFusionError;
use udr_core::error::nearest;
use udr_core::name::{RefName, RelationPath};
use udr_core::snapshot::Snapshot;
use udr_core::{Error, ErrorKind};

use super::Scope;
use crate::error::to_datafusion;
use crate::session::UdrSession;

/// How many branches are searched for a name.
const BRANCHES_MAX: usize = 32;

/// What helps somebody who has plain SQL only: it also answers a `CREATE TABLE`, since DataFusion
/// looks the name up first.
const PORTABLE_HINT: &str =
    "tables are created through udr_sql, or SELECT * FROM udr_call('CREATE TABLE …')";

/// The error of [`relation`] for somebody who has all of UDR's SQL.
pub(crate) fn in_udr_sql(error: DataFusionError) -> DataFusionError {
    match error {
        DataFusionError::External(source) => match source.downcast::<Error>() {
            Ok(error) if error.hint() == Some(PORTABLE_HINT) => to_datafusion(
                error.with_hint("CREATE TABLE makes one, and SHOW TABLES lists what there is"),
            ),
            Ok(error) => DataFusionError::External(error),
            Err(source) => DataFusionError::External(source),
        },
        other => other,
    }
}

/// The error for a table or view that a state does not have.
pub(super) async fn relation(
    session: &UdrSession,
    snapshot: &Snapshot,
    path: &RelationPath,
    scope: &Scope,
) -> Error {
    let mut error = Error::not_found("no such table or view").with("name", path);
    match scope.source.key() {
        Some(revision) => error = error.with("revision", revision),
        None => error = error.with("branch", session.branch()),
    }
    // Looking for help must not hide what happened.
    let namespaces = snapshot.namespaces().await.unwrap_or_default();
    if !namespaces.contains(&path.namespace) {
        let error = Error::not_found("no such schema").with("schema", &path.namespace);
        return match nearest(
            path.namespace.as_str(),
            namespaces.iter().map(|n| n.as_str()),
        ) {
            Some(near) => error.with_hint(format!("did you mean `{near}`?")),
            None => error,
        };
    }
    let relations = snapshot
        .relations(&path.namespace)
        .await
        .unwrap_or_default();
    if let Some(near) = nearest(
        path.name.as_str(),
        relations.iter().map(|(name, _)| name.as_str()),
    ) {
        return error.with_hint(format!("did you mean `{near}`?"));
    }
    match elsewhere(session, path).await {
        Some(branch) => error.with_hint(format!(
            "it exists on branch `{branch}`: read it as \"{}@{branch}\", or switch with USE BRANCH",
            path.name
        )),
        None => error.with_hint(PORTABLE_HINT),
    }
}

/// The error for a catalog that is no branch and no tag; `error` is why it could not be read.
pub(super) async fn catalog(session: &UdrSession, name: &str, error: Error) -> Error {
    if error.kind() != ErrorKind::NotFound {
        return error;
    }
    let mut names = vec![session.catalog().to_owned()];
    for refs in [
        session.repository().branches().await,
        session.repository().tags().await,
    ] {
        names.extend(
            refs.unwrap_or_default()
                .into_iter()
                .map(|head| head.name.to_string()),
        );
    }
    let error = Error::not_found("no such catalog, branch or tag").with("name", name);
    match nearest(name, names.iter().map(String::as_str)) {
        Some(near) => error.with_hint(format!("did you mean `{near}`?")),
        None => error,
    }
}

/// The error for `view$files` and the like.
pub(super) fn no_metadata(path: &RelationPath) -> Error {
    Error::invalid("a view has no metadata tables").with("view", path)
}

/// A branch that has the table or view.
async fn elsewhere(session: &UdrSession, path: &RelationPath) -> Option<RefName> {
    let current = session.branch();
    let branches = session.repository().branches().await.ok()?;
    for branch in branches
        .into_iter()
        .filter(|b| b.name != current)
        .take(BRANCHES_MAX)
    {
        if let Ok(head) = session.repository().head(&branch.name).await
            && let Ok(Some(_)) = head.relation(path).await
        {
            return Some(branch.name);
        }
    }
    None
}
