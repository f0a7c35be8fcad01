//! The only source of time, ids and randomness.
//!
//! In: nothing, or a seed. Out: timestamps, ids, jitter. Called by whoever needs one, so that a
//! test can replay everything.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use rand::rngs::StdRng;
use rand::{RngExt as _, SeedableRng as _};
use uuid::Uuid;

use crate::id::{FileId, RepositoryId, TableId, TransactionId};

/// Microseconds since 1970-01-01T00:00:00Z.
pub type Micros = i64;

/// Supplies time, ids and randomness; cloning shares the source.
#[derive(Clone)]
pub struct Env {
    clock: Clock,
    rng: Arc<Mutex<StdRng>>,
}

#[derive(Clone)]
enum Clock {
    System,
    Manual(Arc<Mutex<Micros>>),
}

impl Env {
    /// The system's clock and randomness.
    pub fn system() -> Self {
        Self {
            clock: Clock::System,
            rng: Arc::new(Mutex::new(rand::make_rng())),
        }
    }

    /// A clock that starts at `start` and moves one millisecond each time it is read, and
    /// randomness from `seed`.
    pub fn seeded(seed: u64, start: Micros) -> Self {
        Self {
            clock: Clock::Manual(Arc::new(Mutex::new(start))),
            rng: Arc::new(Mutex::new(StdRng::seed_from_u64(seed))),
        }
    }

    /// The time now.
    pub fn now(&self) -> Micros {
        match &self.clock {
            Clock::System => chrono::Utc::now().timestamp_micros(),
            Clock::Manual(time) => {
                let mut time = time.lock();
                *time += 1_000;
                *time
            }
        }
    }

    /// A new repository id.
    pub fn repository_id(&self) -> RepositoryId {
        RepositoryId::from_uuid(self.uuid())
    }

    /// A new table id.
    pub fn table_id(&self) -> TableId {
        TableId::from_uuid(self.uuid())
    }

    /// A new file id.
    pub fn file_id(&self) -> FileId {
        FileId::from_uuid(self.uuid())
    }

    /// A new transaction id.
    pub fn transaction_id(&self) -> TransactionId {
        TransactionId::from_uuid(self.uuid())
    }

    /// A duration between nothing and `most`.
    pub fn jitter(&self, most: Duration) -> Duration {
        most.mul_f64(self.rng.lock().random_range(0.0..1.0))
    }

    fn uuid(&self) -> Uuid {
        uuid::Builder::from_random_bytes(self.rng.lock().random()).into_uuid()
    }
}

impl fmt::Debug for Env {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let clock = match self.clock {
            Clock::System => "system",
            Clock::Manual(_) => "manual",
        };
        f.debug_struct("Env")
            .field("clock", &clock)
            .finish_non_exhaustive()
    }
}
