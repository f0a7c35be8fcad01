//! Several syncs at once.
//!
//! In: open files and folders. Out: how the sync of each went. Called by `pending`, on a thread
//! that may block.
//!
//! Whoever asks does the work, and idle threads of the runtime help. So it ends even where there is
//! no other thread: nobody waits for help that has not begun.

use std::fs::File;
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use parking_lot::{Condvar, Mutex};
use tokio::runtime::Handle;

/// How many threads share the syncs of a batch.
const THREADS_MAX: usize = 8;

/// Files that are being synced.
pub(super) struct Batch {
    jobs: Vec<Arc<File>>,
    next: AtomicUsize,
    results: Mutex<Results>,
    all_done: Condvar,
}

struct Results {
    by_job: Vec<Option<io::Result<()>>>,
    done: usize,
}

impl Batch {
    /// Syncs every file, and gives the results in the same order.
    pub(super) fn run(jobs: Vec<Arc<File>>) -> Vec<io::Result<()>> {
        let count = jobs.len();
        let by_job = jobs.iter().map(|_| None).collect();
        let batch = Arc::new(Self {
            jobs,
            next: AtomicUsize::new(0),
            results: Mutex::new(Results { by_job, done: 0 }),
            all_done: Condvar::new(),
        });
        if let Ok(runtime) = Handle::try_current() {
            for _ in 1..count.min(THREADS_MAX) {
                let batch = Arc::clone(&batch);
                runtime.spawn_blocking(move || batch.work());
            }
        }
        batch.work();
        let mut results = batch.results.lock();
        batch
            .all_done
            .wait_while(&mut results, |results| results.done < count);
        let lost = || Err(io::Error::other("a sync was given up"));
        results
            .by_job
            .drain(..)
            .map(|result| result.unwrap_or_else(lost))
            .collect()
    }

    /// Takes one job after the other until there is none left.
    fn work(&self) {
        loop {
            let index = self.next.fetch_add(1, Ordering::Relaxed);
            let Some(file) = self.jobs.get(index) else {
                return;
            };
            let result = file.sync_all();
            let mut results = self.results.lock();
            results.done += 1;
            if let Some(slot) = results.by_job.get_mut(index) {
                *slot = Some(result);
            }
            if results.done == self.jobs.len() {
                self.all_done.notify_all();
            }
        }
    }
}
