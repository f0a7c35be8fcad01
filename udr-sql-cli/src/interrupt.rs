//! Ctrl-C.
//!
//! In: the signal. Out: something to wait for while a statement runs. Called by `run` and `prompt`.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use tokio::sync::watch;

use crate::exit::Exit;

/// How many unanswered signals end the program by force: a statement that does not give way must
/// not hold the terminal.
const PENDING_MAX: u32 = 3;

/// Waits for Ctrl-C; every clone sees every signal.
#[derive(Debug, Clone)]
pub(crate) struct Interrupts {
    signals: watch::Receiver<u32>,
    pending: Arc<AtomicU32>,
}

impl Interrupts {
    /// Starts listening; must be called inside a runtime.
    pub(crate) fn listen() -> Self {
        let (sender, signals) = watch::channel(0);
        let pending = Arc::new(AtomicU32::new(0));
        let counter = Arc::clone(&pending);
        tokio::spawn(async move {
            while tokio::signal::ctrl_c().await.is_ok() {
                if counter.fetch_add(1, Ordering::Relaxed) + 1 >= PENDING_MAX {
                    give_up();
                }
                sender.send_modify(|count| *count += 1);
            }
            // Without signals there is nothing to send, but those who wait must go on waiting.
            sender.closed().await;
        });
        Self { signals, pending }
    }

    /// Completes at the first signal that came since the last one answered.
    pub(crate) async fn next(&mut self) {
        if self.signals.changed().await.is_err() {
            std::future::pending::<()>().await;
        }
    }

    /// Treats the signals so far as answered.
    pub(crate) fn answer(&mut self) {
        self.signals.mark_unchanged();
        self.pending.store(0, Ordering::Relaxed);
    }
}

#[expect(
    clippy::exit,
    reason = "the thread that should end the program is busy"
)]
fn give_up() {
    std::process::exit(i32::from(Exit::Interrupted.code()));
}
