//! Waits of a run with `stay`, where the service asks to come back later.

use std::time::Duration;

use headwater_core::Error;
use tokio::time::Instant;

/// Minimum wait.
const SHORTEST: Duration = Duration::from_secs(1);
/// Maximum wait: a weekly allowance is back by then.
const LONGEST: Duration = Duration::from_secs(8 * 24 * 60 * 60);
/// Maximum number of waits in a row without an answer between them.
const MAX: u32 = 100;

/// The wait under way, and the number of waits without an answer between them.
#[derive(Default)]
pub(crate) struct WaitStreak {
    until: Option<Instant>,
    times: u32,
}

impl WaitStreak {
    /// Begins the wait of an error; returns false where the error has none, or it is too long, or it exceeds the
    /// maximum number.
    pub(crate) fn waits_for(&mut self, error: &Error) -> bool {
        let now = Instant::now();
        // Requests that were under way together ask for one wait.
        let is_another = self.until.is_none_or(|until| until <= now);
        let Some(delay) = error.delay().filter(|delay| *delay <= LONGEST) else {
            return false;
        };
        if is_another && self.times == MAX {
            return false;
        }
        self.times += u32::from(is_another);
        self.until = Some(now + delay.max(SHORTEST));
        true
    }

    /// The service has answered: the next wait is the first one again.
    pub(crate) const fn answered(&mut self) {
        self.times = 0;
    }

    /// The end of the wait under way, if there is one.
    pub(crate) fn until(&mut self) -> Option<Instant> {
        self.until = self.until.filter(|until| *until > Instant::now());
        self.until
    }
}
