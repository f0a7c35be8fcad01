//! Branches and tags: create, drop, use, merge.

use arrow::record_batch::RecordBatch;
use udr_core::error::nearest;
use udr_core::name::RefName;
use udr_core::snapshot::Snapshot;
use udr_core::{Error, ErrorKind, FastForward, MergeMode, RefHead, Result};

use super::result::{batch, done, maybe_commit, merge_schema, one_count, one_text, ref_schema};
use super::revision;
use crate::session::UdrSession;
use crate::sql::ast::{Command, Effect, Existing, Missing, RefKind, StateName};

pub(super) async fn run(session: &UdrSession, command: &Command) -> Result<RecordBatch> {
    match command {
        Command::CreateRef {
            kind,
            name,
            from,
            existing,
        } => create(session, *kind, name, from.as_ref(), *existing).await,
        Command::DropRef {
            kind,
            name,
            missing,
        } => drop(session, *kind, name, *missing).await,
        Command::UseBranch(name) => {
            session.use_branch(&RefName::new(name.as_str())?).await?;
            done(format!("on branch {}", session.branch()))
        }
        Command::MergeBranch {
            source,
            target,
            effect,
        } => merge(session, source, target.as_deref(), *effect).await,
        _ => Err(Error::internal("not a statement about branches and tags")),
    }
}

fn word(kind: RefKind) -> &'static str {
    match kind {
        RefKind::Branch => "branch",
        RefKind::Tag => "tag",
    }
}

/// The effect is published at once and cannot be rolled back.
fn refuse_in_transaction(session: &UdrSession) -> Result<()> {
    let why = match session.status().transaction {
        None => return Ok(()),
        Some(transaction) if transaction.read_only => "the transaction is read only",
        Some(_) => "branches and tags are not part of a transaction",
    };
    Err(Error::invalid(why).with_hint("COMMIT or ROLLBACK first"))
}

async fn create(
    session: &UdrSession,
    kind: RefKind,
    name: &str,
    from: Option<&StateName>,
    existing: Existing,
) -> Result<RecordBatch> {
    let name = RefName::new(name)?;
    refuse_in_transaction(session)?;
    let from = match from {
        Some(state) => {
            session
                .snapshot_at(&revision(session, state).await?)
                .await?
        }
        None => session.snapshot().await?,
    };
    let repository = session.repository();
    let created = match kind {
        RefKind::Branch => repository.create_branch(&name, &from).await,
        RefKind::Tag => repository.create_tag(&name, &from).await,
    };
    let head = match created {
        Err(error) if error.kind() == ErrorKind::AlreadyExists && existing == Existing::Keep => {
            find(session, kind, &name).await?
        }
        created => created?,
    };
    batch(
        ref_schema(),
        vec![
            one_text(head.name.to_string()),
            one_count(head.version.0),
            maybe_commit(Some(head.commit.id())),
        ],
    )
}

async fn find(session: &UdrSession, kind: RefKind, name: &RefName) -> Result<RefHead> {
    let heads = match kind {
        RefKind::Branch => session.repository().branches().await?,
        RefKind::Tag => session.repository().tags().await?,
    };
    if let Some(head) = heads
        .iter()
        .find(|head| head.name.folded() == name.folded())
    {
        return Ok(head.clone());
    }
    let error = Error::not_found(format!("no such {}", word(kind))).with("name", name);
    Err(
        match nearest(name.as_str(), heads.iter().map(|head| head.name.as_str())) {
            Some(near) => error.with_hint(format!("did you mean `{near}`?")),
            None => error,
        },
    )
}

/// The tag called `name`.
///
/// # Errors
///
/// `NotFound`, with the nearest name if there is one.
pub(super) async fn tag(session: &UdrSession, name: &RefName) -> Result<RefHead> {
    find(session, RefKind::Tag, name).await
}

async fn drop(
    session: &UdrSession,
    kind: RefKind,
    name: &str,
    missing: Missing,
) -> Result<RecordBatch> {
    let name = RefName::new(name)?;
    refuse_in_transaction(session)?;
    if kind == RefKind::Branch && session.branch().folded() == name.folded() {
        return Err(Error::invalid("the session is on this branch")
            .with("branch", &name)
            .with_hint("USE BRANCH switches to another one"));
    }
    let dropped = match kind {
        RefKind::Branch => session.repository().drop_branch(&name).await,
        RefKind::Tag => session.repository().drop_tag(&name).await,
    };
    match dropped {
        Err(error) if error.kind() == ErrorKind::NotFound && missing == Missing::Ignore => {
            done(format!("unchanged: there is no {} {name}", word(kind)))
        }
        Ok(()) => done(format!("{} {name} dropped", word(kind))),
        Err(error) => Err(error),
    }
}

async fn merge(
    session: &UdrSession,
    source: &str,
    target: Option<&str>,
    effect: Effect,
) -> Result<RecordBatch> {
    let source = RefName::new(source)?;
    let target = match target {
        Some(target) => RefName::new(target)?,
        None => session.branch(),
    };
    let mode = match effect {
        Effect::Apply => MergeMode::Publish,
        Effect::DryRun => MergeMode::DryRun,
    };
    if mode == MergeMode::Publish {
        refuse_in_transaction(session)?;
    }
    if source.folded() == target.folded() {
        return Err(Error::invalid("a branch is merged into another one").with("branch", source));
    }
    let outcome = session
        .repository()
        .fast_forward(&source, &target, mode)
        .await?;
    let (result, version, commit, commits) = match outcome {
        FastForward::UpToDate { version } => (
            "up to date",
            version,
            head_commit(session, &target).await?,
            0,
        ),
        FastForward::Moved {
            version,
            commit,
            commits,
        } => {
            let result = match effect {
                Effect::Apply => "merged",
                Effect::DryRun => "can be merged",
            };
            (result, version, commit.id(), commits)
        }
    };
    if session.branch().folded() == target.folded() {
        session.names_changed().await;
    }
    let commits = u64::try_from(commits).unwrap_or(u64::MAX);
    batch(
        merge_schema(),
        vec![
            one_text(result),
            one_count(version.0),
            maybe_commit(Some(commit)),
            one_count(commits),
        ],
    )
}

async fn head_commit(session: &UdrSession, branch: &RefName) -> Result<udr_core::id::Digest> {
    session
        .repository()
        .head(branch)
        .await
        .map(|head: Snapshot| head.commit_id())
}
