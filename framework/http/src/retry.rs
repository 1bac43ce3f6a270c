//! When to try again, how long to wait, and when to stop during an outage. Only this file decides about retries.

use std::{sync::Mutex, time::Duration};

/// Tokens of a full budget; an outage empties it after some 35 retries, then fourteen successes pay for one retry.
const FULL_BUDGET: u32 = 500;
const COST_OF_A_RETRY: u32 = 14;
const GAIN_OF_A_SUCCESS: u32 = 1;

/// The number and time limits of tries.
#[derive(Clone, Copy, Debug)]
pub struct RetryPolicy {
    /// The maximum number of tries, including the first.
    pub tries: u32,
    /// The first backoff. It doubles each time; the wait is a random time below it.
    pub base: Duration,
    /// The maximum backoff.
    pub cap: Duration,
    /// The maximum time of the whole call, including waits.
    pub deadline: Duration,
}

impl RetryPolicy {
    /// For reads: 5 tries within 5 minutes.
    pub const READ: Self = Self {
        tries: 5,
        base: Duration::from_millis(200),
        cap: Duration::from_secs(60),
        deadline: Duration::from_secs(300),
    };

    /// For a probe that a person waits for: 2 tries within 10 seconds.
    pub const PROBE: Self = Self {
        tries: 2,
        deadline: Duration::from_secs(10),
        ..Self::READ
    };

    /// Returns the wait after the given try, counted from 1, with full jitter. If the service asked to slow down, the
    /// wait exceeds a second, since limits count by the second, and grows to the cap for every random value.
    pub(crate) fn backoff(&self, failed_try: u32, throttled: bool) -> Duration {
        let ceiling = self
            .base
            .saturating_mul(1 << (failed_try - 1).min(16))
            .min(self.cap);
        if throttled {
            let grown = ceiling
                .saturating_mul(4)
                .mul_f64(0.5 + fastrand::f64() / 2.0);
            (Duration::from_secs(1) + grown).min(self.cap.max(Duration::from_secs(1)))
        } else {
            ceiling.mul_f64(fastrand::f64())
        }
    }
}

/// Limits retries to a tenth of the traffic of an outage, over all clients of a credential.
#[derive(Debug)]
pub(crate) struct RetryBudget(Mutex<u32>);

impl RetryBudget {
    pub(crate) fn full() -> Self {
        Self(Mutex::new(FULL_BUDGET))
    }

    /// Pays for one retry, if the budget suffices.
    pub(crate) fn spend(&self) -> bool {
        let mut left = self
            .0
            .lock()
            .unwrap_or_else(std::sync::PoisonError::into_inner);
        let Some(rest) = left.checked_sub(COST_OF_A_RETRY) else {
            return false;
        };
        *left = rest;
        true
    }

    pub(crate) fn earn(&self) {
        let mut left = self
            .0
            .lock()
            .unwrap_or_else(std::sync::PoisonError::into_inner);
        *left = (*left + GAIN_OF_A_SUCCESS).min(FULL_BUDGET);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_outage_soon_sees_no_retries() {
        let budget = RetryBudget::full();
        let retries = (0..10_000).filter(|_| budget.spend()).count();
        assert!(retries < 40, "{retries}");
        for _ in 0..14 {
            budget.earn();
        }
        assert!(budget.spend());
    }

    #[test]
    fn backoff_grows_but_stays_under_its_cap() {
        let policy = RetryPolicy::READ;
        for failed_try in 1..40 {
            assert!(policy.backoff(failed_try, false) <= policy.cap);
            let throttled = policy.backoff(failed_try, true);
            assert!((Duration::from_secs(1)..=policy.cap).contains(&throttled));
        }
    }
}
