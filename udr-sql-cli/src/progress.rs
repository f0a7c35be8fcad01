//! A sign of life while a statement runs.
//!
//! In: the running plan. Out: a line on standard error, on a terminal, after half a second.
//! Called by `run`.

use std::sync::Arc;
use std::time::Duration;

use datafusion::physical_plan::ExecutionPlan;
use indicatif::{HumanBytes, HumanCount, ProgressBar, ProgressDrawTarget, ProgressStyle};
use tokio::time::{Instant, Interval, MissedTickBehavior, interval};

const QUIET_TIME: Duration = Duration::from_millis(500);
const REDRAW_TIME: Duration = Duration::from_millis(100);

/// The sign of life of one statement; gone when dropped.
#[derive(Debug)]
pub(crate) struct Progress {
    started: Instant,
    ticks: Interval,
    enabled: bool,
    bar: Option<ProgressBar>,
    plan: Option<Arc<dyn ExecutionPlan>>,
}

impl Progress {
    /// Starts the clock; only an `enabled` one is ever seen.
    pub(crate) fn start(enabled: bool) -> Self {
        let mut ticks = interval(REDRAW_TIME);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        Self {
            started: Instant::now(),
            ticks,
            enabled,
            bar: None,
            plan: None,
        }
    }

    /// Since the statement started.
    pub(crate) fn elapsed(&self) -> Duration {
        self.started.elapsed()
    }

    /// From here on the counts of this plan are shown.
    pub(crate) fn follow(&mut self, plan: &Arc<dyn ExecutionPlan>) {
        self.plan = Some(Arc::clone(plan));
    }

    /// Waits for `work` and shows that something happens meanwhile.
    pub(crate) async fn during<F: Future>(&mut self, work: F) -> F::Output {
        if !self.enabled {
            return work.await;
        }
        let mut work = std::pin::pin!(work);
        loop {
            tokio::select! {
                // The clock first: work that uses up the task's budget leaves none for it.
                biased;
                _ = self.ticks.tick() => self.draw(),
                output = &mut work => return output,
            }
        }
    }

    /// Makes room for output on the same terminal, for good.
    pub(crate) fn hide(&mut self) {
        self.enabled = false;
        self.clear();
    }

    /// Writes with the line out of the way.
    pub(crate) fn suspend<T>(&self, write: impl FnOnce() -> T) -> T {
        match &self.bar {
            Some(bar) => bar.suspend(write),
            None => write(),
        }
    }

    fn draw(&mut self) {
        if self.elapsed() < QUIET_TIME {
            return;
        }
        let bar = self.bar.get_or_insert_with(|| {
            let bar = ProgressBar::with_draw_target(None, ProgressDrawTarget::stderr());
            if let Ok(style) = ProgressStyle::with_template("{spinner} {msg}") {
                bar.set_style(style);
            }
            bar
        });
        let mut message = format!("{:.1} s", self.started.elapsed().as_secs_f64());
        if let Some(plan) = &self.plan {
            let counts = Counts::of(plan.as_ref());
            if counts.rows > 0 {
                message.push_str(&format!(", {} rows read", HumanCount(counts.rows)));
            }
            if counts.bytes > 0 {
                message.push_str(&format!(", {} read", HumanBytes(counts.bytes)));
            }
        }
        message.push_str(", Ctrl-C cancels");
        bar.set_message(message);
        bar.tick();
    }

    fn clear(&mut self) {
        if let Some(bar) = self.bar.take() {
            bar.finish_and_clear();
        }
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        self.clear();
    }
}

/// What the leaves of a plan have read so far.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
struct Counts {
    rows: u64,
    bytes: u64,
}

impl Counts {
    fn of(plan: &dyn ExecutionPlan) -> Self {
        let children = plan.children();
        if !children.is_empty() {
            return children
                .into_iter()
                .map(|child| Self::of(child.as_ref()))
                .fold(Self::default(), |a, b| Self {
                    rows: a.rows + b.rows,
                    bytes: a.bytes + b.bytes,
                });
        }
        let Some(metrics) = plan.metrics() else {
            return Self::default();
        };
        let count = |n: Option<usize>| n.and_then(|n| u64::try_from(n).ok()).unwrap_or(0);
        Self {
            rows: count(metrics.output_rows()),
            bytes: count(
                metrics
                    .sum_by_name("bytes_scanned")
                    .map(|value| value.as_usize()),
            ),
        }
    }
}
