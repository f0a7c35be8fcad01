//! Finding out whether a store keeps its promises.
//!
//! In: a store. Out: nothing, or a refusal. Called when a repository is made, and before the first
//! record of a process.
//! Some servers accept a conditional write and ignore its condition; on those, two writers would
//! both be told that they published. Others check it without a lock, which only a race shows.

use std::collections::BTreeSet;

use bytes::Bytes;
use futures::future::join_all;
use object_store::path::Path;
use object_store::{ObjectStoreExt as _, PutMode, PutOptions};

use crate::error::{Error, ErrorKind, Result};

use super::readback::Created;
use super::{Probe, Store, failure};

/// How many creates race for one name.
const RACERS: usize = 8;

impl Store {
    /// Checks that the store creates an object only if it is absent, and removes what interrupted
    /// writes left on local disk.
    ///
    /// # Errors
    ///
    /// `Unsupported` if it does not, `Unavailable` if it cannot be written.
    pub async fn probe(&self) -> Result<()> {
        if let Some(local) = &self.inner.local {
            // Links see to it on local disk, whatever else is true; only writing is tried.
            if let Err(error) = local.sweep().await {
                tracing::debug!(%error, "what interrupted writes left could not be swept");
            }
        }
        let id = self.inner.env.file_id().to_string();
        let path = self.inner.layout.probe(&id);
        let result = self.race(&path).await;
        // Nobody looks at it again; if it stays, it is small.
        drop(self.inner.backend.delete(&path).await);
        if result.is_ok() {
            self.inner.trusted.set(()).ok();
        }
        result
    }

    /// Probes the store, once, before anything is published through it, unless
    /// [`StoreOptions::probe`](super::StoreOptions::probe) says otherwise: a repository may have
    /// been made on another store than the one that it is reached through.
    ///
    /// # Errors
    ///
    /// As [`Store::probe`].
    pub async fn trust(&self) -> Result<()> {
        let inner = &self.inner;
        if inner.probe == Probe::Never {
            return Ok(());
        }
        inner.trusted.get_or_try_init(|| self.probe()).await?;
        Ok(())
    }

    async fn race(&self, path: &Path) -> Result<()> {
        let racers = if self.inner.local.is_some() {
            2
        } else {
            RACERS
        };
        let create = |racer: usize| async move {
            let options = PutOptions::from(PutMode::Create);
            let put = self
                .inner
                .backend
                .put_opts(path, body(racer).into(), options)
                .await;
            put.map_err(|error| failure::explain_write(&error, path))
        };
        let answers = join_all((0..racers).map(create)).await;
        let mut winners = BTreeSet::new();
        for (racer, answer) in answers.into_iter().enumerate() {
            match answer {
                Ok(_) => drop(winners.insert(racer)),
                Err(e) if e.kind() == ErrorKind::Unsupported => {
                    return Err(refuse(self).with_source(e));
                }
                // A lost race, or a lost answer; what is stored tells.
                Err(_) => {}
            }
        }
        // Whatever happened, one more must find the name taken.
        let mut late = self.create(path, body(racers)).await;
        if winners.is_empty() && matches!(late, Ok(Created::Mine)) {
            // None of the racers got through, so this one was the first.
            winners.insert(racers);
            late = self.create(path, body(racers + 1)).await;
        }
        match late {
            Ok(Created::Mine) => Err(refuse(self)),
            Ok(Created::Other(found)) => {
                let winner = (0..=racers).find(|racer| body(*racer) == found);
                let alone = winners.len() <= 1;
                let honest = winner.is_some_and(|w| winners.is_empty() || winners.contains(&w));
                if alone && honest {
                    Ok(())
                } else {
                    Err(refuse(self))
                }
            }
            Err(error) if error.kind() == ErrorKind::Indeterminate => {
                Err(Error::unavailable("the store could not be probed").with_source(error))
            }
            Err(error) => Err(error),
        }
    }
}

fn body(racer: usize) -> Bytes {
    format!("{{\"probe\":{racer}}}").into()
}

fn refuse(store: &Store) -> Error {
    Error::unsupported("the store does not create objects only if they are absent")
        .with("location", store.location())
        .with_hint("two writers could overwrite each other; use another store")
}
