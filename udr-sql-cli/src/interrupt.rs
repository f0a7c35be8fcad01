//! Ctrl-C.
//!
//! In: the signal. Out: something to wait for while a statement runs. Called by `run` and `prompt`.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};

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
    /// Another program has the terminal.
    lent: Arc<AtomicBool>,
}

/// The terminal is another program's until this is dropped: Ctrl-C is meant for that, and does not
/// end this one by force, however often it comes.
#[derive(Debug)]
pub(crate) struct Lent {
    lent: Arc<AtomicBool>,
    pending: Arc<AtomicU32>,
}

impl Interrupts {
    /// Starts listening; must be called inside a runtime.
    pub(crate) fn listen() -> Self {
        let (sender, signals) = watch::channel(0);
        let pending = Arc::new(AtomicU32::new(0));
        let lent = Arc::new(AtomicBool::new(false));
        let (counter, elsewhere) = (Arc::clone(&pending), Arc::clone(&lent));
        tokio::spawn(async move {
            while tokio::signal::ctrl_c().await.is_ok() {
                if counter.fetch_add(1, Ordering::Relaxed) + 1 >= PENDING_MAX
                    && !elsewhere.load(Ordering::Relaxed)
                {
                    give_up();
                }
                sender.send_modify(|count| *count += 1);
            }
            // Without signals there is nothing to send, but those who wait must go on waiting.
            sender.closed().await;
        });
        Self {
            signals,
            pending,
            lent,
        }
    }

    /// Lends the terminal to another program.
    pub(crate) fn lend(&self) -> Lent {
        self.lent.store(true, Ordering::Relaxed);
        Lent {
            lent: Arc::clone(&self.lent),
            pending: Arc::clone(&self.pending),
        }
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

impl Drop for Lent {
    fn drop(&mut self) {
        self.pending.store(0, Ordering::Relaxed);
        self.lent.store(false, Ordering::Relaxed);
    }
}

#[expect(
    clippy::exit,
    reason = "the thread that should end the program is busy"
)]
fn give_up() {
    std::process::exit(i32::from(Exit::Interrupted.code()));
}
