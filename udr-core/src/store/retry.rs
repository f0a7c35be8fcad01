//! Bounded retries of calls that may be made twice.
//!
//! In: a call that reads, or writes bytes under a name that only they can have. Out: its first
//! answer that is not a passing failure. Called by the rest of `store`; never for a create, whose
//! answers `readback` weighs.

use std::time::Duration;

use object_store::Result;

use crate::env::Env;

use super::failure;

/// How often, and after what pause, a call is made again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RetryPolicy {
    /// How often a call is made at most; at least once.
    pub attempts: u32,
    /// The longest pause after the first attempt; doubled after each further one.
    pub backoff: Duration,
    /// The longest pause ever.
    pub backoff_max: Duration,
}

impl RetryPolicy {
    /// One attempt.
    pub const fn none() -> Self {
        Self {
            attempts: 1,
            backoff: Duration::ZERO,
            backoff_max: Duration::ZERO,
        }
    }

    /// The pause after attempt number `attempt` (from 1): full jitter under a doubling limit.
    fn pause(&self, env: &Env, attempt: u32) -> Duration {
        let factor = 2_u32.saturating_pow(attempt.saturating_sub(1));
        env.jitter(self.backoff.saturating_mul(factor).min(self.backoff_max))
    }

    /// Waits out the pause after attempt number `attempt`; false if there is none left.
    pub(super) async fn again(&self, env: &Env, attempt: u32) -> bool {
        if attempt >= self.attempts {
            return false;
        }
        let pause = self.pause(env, attempt);
        if !pause.is_zero() {
            tokio::time::sleep(pause).await;
        }
        true
    }

    /// Makes a repeatable call until it succeeds, fails for good or the attempts are used up.
    pub(super) async fn run<T, F>(&self, env: &Env, call: impl Fn() -> F) -> Result<T>
    where
        F: Future<Output = Result<T>>,
    {
        let mut attempt = 1;
        loop {
            match call().await {
                Err(error) if failure::is_passing(&error) && self.again(env, attempt).await => {
                    tracing::debug!(attempt, "a store call failed and is made again");
                    attempt += 1;
                }
                answer => return answer,
            }
        }
    }
}

impl Default for RetryPolicy {
    fn default() -> Self {
        Self {
            attempts: 4,
            backoff: Duration::from_millis(100),
            backoff_max: Duration::from_secs(5),
        }
    }
}
