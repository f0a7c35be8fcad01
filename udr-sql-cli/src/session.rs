//! The repository, opened, with a DataFusion context on it.
//!
//! In: where and how to open. Out: a [`Session`] that plans statements and knows its state. Called
//! by everything that needs the repository. The only file that knows how one is opened.

use std::sync::Arc;

use datafusion::dataframe::DataFrame;
use datafusion::error::Result as DataFusionResult;
use datafusion::prelude::{SessionConfig, SessionContext};
use udr_core::env::Env;
use udr_core::name::{NamespaceName, RefName, RelationPath};
use udr_core::refs::Revision;
use udr_core::snapshot::{Relation, Snapshot};
use udr_core::store::{DiskCacheOptions, Durability as StoreDurability, Store, StoreOptions};
use udr_core::{Error, ErrorKind, Repository, Result};
use udr_datafusion::session::SessionStatus;
pub(crate) use udr_datafusion::sql::{is_complete, split_statements};
use udr_datafusion::{InstallOptions, UdrSession, install, udr_sql};

use crate::args::{Connection, Durability};
use crate::console::Console;
use crate::environment::Environment;
use crate::exit::{Exit, Failure};

/// How much of remote data files is kept on local disk.
const DISK_CACHE_BYTES: u64 = 8 << 30;
/// For how many tables completion knows the columns: each costs a read.
const TABLES_DESCRIBED_MAX: usize = 200;

/// One client of one repository.
pub(crate) struct Session {
    context: SessionContext,
    udr: Arc<UdrSession>,
}

/// What the prompt shows.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct State {
    /// The current branch.
    pub(crate) branch: String,
    /// The state that reads are pinned to.
    pub(crate) pin: Option<String>,
    /// A transaction is open.
    pub(crate) transaction: bool,
    /// The open transaction has changes.
    pub(crate) changed: bool,
}

/// What names can be completed to.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Names {
    /// Tables and views; those outside the namespace `public` with it.
    pub(crate) tables: Vec<String>,
    /// Columns, by table.
    pub(crate) columns: Vec<(String, Vec<String>)>,
    /// Branches.
    pub(crate) branches: Vec<String>,
    /// Tags.
    pub(crate) tags: Vec<String>,
}

/// What to do where there is no repository.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Absent {
    /// Make one.
    Create,
    /// Refuse.
    Refuse,
}

/// Opens the repository that the command line or the environment names.
///
/// # Errors
///
/// Usage, if the location or an option makes no sense; else what the store says.
pub(crate) async fn open_repository(
    connection: &Connection,
    environment: &Environment,
    console: &Console,
    absent: Absent,
) -> std::result::Result<Repository, Failure> {
    let store = match connection.repo.as_ref().or(environment.repo.as_ref()) {
        Some(location) => {
            let options = StoreOptions {
                durability: match connection.durability {
                    Durability::Full => StoreDurability::Full,
                    Durability::None => StoreDurability::None,
                },
                options: connection.store_options.clone(),
                disk_cache: environment.cache.clone().map(|folder| DiskCacheOptions {
                    folder,
                    bytes: DISK_CACHE_BYTES,
                }),
                ..StoreOptions::default()
            };
            Store::open(location, &options).map_err(|e| usage_if_invalid(&e))?
        }
        None if absent == Absent::Refuse => {
            return Err(Failure::usage("no repository is named")
                .with_hint("name it with --repo, or in the variable UDR_REPO"));
        }
        None => {
            console.notice(
                "notice: no --repo is given: this repository is in memory and ends with the program",
            );
            Store::memory()
        }
    };
    let location = store.location().to_owned();
    let in_memory = location.starts_with("memory:");
    match Repository::open(store.clone(), Env::system()).await {
        Err(error) if error.kind() == ErrorKind::NotFound && absent == Absent::Create => {
            let repository = create(store).await?;
            if !in_memory {
                console.notice(&format!("notice: made a repository at {location}"));
            }
            Ok(repository)
        }
        opened => Ok(opened?),
    }
}

/// Two that make one at once end up with the same.
async fn create(store: Store) -> Result<Repository> {
    match Repository::create(store.clone(), Env::system()).await {
        Err(error) if error.kind() == ErrorKind::AlreadyExists => {
            Repository::open(store, Env::system()).await
        }
        created => created,
    }
}

fn usage_if_invalid(error: &Error) -> Failure {
    let failure = Failure::from(error);
    match error.kind() {
        ErrorKind::Invalid | ErrorKind::Unsupported => failure.exiting(Exit::Usage),
        _ => failure,
    }
}

impl Session {
    /// Opens the repository and a context on it.
    ///
    /// # Errors
    ///
    /// Those of [`open_repository`]; usage, if there is no such branch.
    pub(crate) async fn open(
        connection: &Connection,
        environment: &Environment,
        console: &Console,
    ) -> std::result::Result<Self, Failure> {
        let runtime = connection.memory_limit.runtime()?;
        let config = SessionConfig::new()
            .with_information_schema(true)
            .set_bool("datafusion.sql_parser.collect_spans", true);
        let context = SessionContext::new_with_config_rt(config, runtime);
        let repository = open_repository(connection, environment, console, Absent::Create).await?;
        let mut options = InstallOptions::new(repository);
        options.author = connection
            .author
            .clone()
            .or_else(|| environment.author.clone());
        let branch = match &connection.branch {
            Some(branch) => Some(RefName::new(branch.as_str()).map_err(|e| usage_if_invalid(&e))?),
            None => None,
        };
        let asked = branch.is_some();
        options.branch = branch.unwrap_or_else(RefName::main);
        let udr = install(&context, options).await.map_err(|error| {
            let failure = Failure::from(&error);
            if asked && error.kind() == ErrorKind::NotFound {
                failure.exiting(Exit::Usage)
            } else {
                failure
            }
        })?;
        Ok(Self { context, udr })
    }

    /// Plans one statement.
    ///
    /// # Errors
    ///
    /// What is wrong with it.
    pub(crate) async fn sql(&self, sql: &str) -> DataFusionResult<DataFrame> {
        udr_sql(&self.context, sql).await
    }

    /// Where the repository is.
    pub(crate) fn location(&self) -> &str {
        self.udr.repository().store().location()
    }

    /// The repository's name in the prompt: the last part of where it is.
    pub(crate) fn label(&self) -> &str {
        label(self.location())
    }

    /// What the prompt shows.
    pub(crate) fn state(&self) -> State {
        State::of(&self.udr.status())
    }

    /// Gives the open transaction up.
    ///
    /// # Errors
    ///
    /// What the session says.
    pub(crate) async fn rollback(&self) -> std::result::Result<(), Failure> {
        Ok(self.udr.rollback().await?)
    }

    /// The names in the state that the next statement reads.
    ///
    /// # Errors
    ///
    /// What reading it says.
    pub(crate) async fn names(&self) -> Result<Names> {
        let repository = self.udr.repository();
        let text = |name: &RefName| name.to_string();
        let mut names = Names {
            branches: repository
                .branches()
                .await?
                .iter()
                .map(|head| text(&head.name))
                .collect(),
            tags: repository
                .tags()
                .await?
                .iter()
                .map(|head| text(&head.name))
                .collect(),
            ..Names::default()
        };
        let snapshot = self.udr.snapshot().await?;
        for namespace in snapshot.namespaces().await? {
            for (relation, _) in snapshot.relations(&namespace).await? {
                let path = RelationPath::new(namespace.clone(), relation);
                let name = if namespace == NamespaceName::public() {
                    path.name.to_string()
                } else {
                    path.to_string()
                };
                if names.columns.len() < TABLES_DESCRIBED_MAX
                    && let Some(columns) = columns(&snapshot, &path).await?
                {
                    names.columns.push((name.clone(), columns));
                }
                names.tables.push(name);
            }
        }
        Ok(names)
    }
}

async fn columns(snapshot: &Snapshot, path: &RelationPath) -> Result<Option<Vec<String>>> {
    Ok(match snapshot.relation(path).await? {
        Some(Relation::Table(table)) => Some(
            table
                .schema()
                .fields()
                .iter()
                .map(|field| field.name.clone())
                .collect(),
        ),
        _ => None,
    })
}

impl State {
    fn of(status: &SessionStatus) -> Self {
        let transaction = status.transaction.as_ref();
        let read_only = transaction.filter(|transaction| transaction.read_only);
        let pin = match (
            &status.as_of,
            read_only.and_then(|transaction| transaction.base),
        ) {
            (Some(revision), _) => Some(pin(revision)),
            (None, Some(version)) => Some(format!("v{version}")),
            (None, None) => None,
        };
        Self {
            branch: status.branch.to_string(),
            pin,
            transaction: transaction.is_some(),
            changed: transaction.is_some_and(|transaction| transaction.changed),
        }
    }
}

fn pin(revision: &Revision) -> String {
    let text = revision.to_string();
    if text.bytes().all(|b| b.is_ascii_digit()) {
        format!("v{text}")
    } else {
        text
    }
}

fn label(location: &str) -> &str {
    let path = location.trim_end_matches('/');
    let last = path.rsplit('/').next().unwrap_or(path);
    match last {
        _ if location.starts_with("memory:") => "memory",
        "" | "." | ".." => "udr",
        last => last,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_repository_is_called_by_the_last_part_of_its_location() {
        for (location, name) in [
            ("/data/lake", "lake"),
            ("./lake/", "lake"),
            ("s3://bucket/team/lake", "lake"),
            ("memory://", "memory"),
            (".", "udr"),
        ] {
            assert_eq!(label(location), name, "{location}");
        }
    }
}
