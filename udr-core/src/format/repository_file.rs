//! `udr.json`: written once, when a repository is made.

use serde::{Deserialize, Serialize};

use super::Stored;
use crate::env::Micros;
use crate::error::{Error, Result};
use crate::id::RepositoryId;

/// Says that a root is a repository, and what a reader must know to open it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RepositoryFile {
    /// Which repository this is.
    pub id: RepositoryId,
    /// Features that every reader and writer must know; none are defined in this version.
    pub features: Vec<String>,
    /// When it was made.
    pub created_at: Micros,
}

impl Stored for RepositoryFile {
    const KIND: &'static str = "repository";

    fn validate(&self) -> Result<()> {
        match self.features.first() {
            None => Ok(()),
            Some(feature) => Err(
                Error::unsupported("the repository needs an unknown feature")
                    .with("feature", feature)
                    .with_hint("open it with a newer build"),
            ),
        }
    }
}
