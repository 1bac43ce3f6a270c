//! Waits of a run that stays where the service asks to come back later.

use std::time::Duration;

use headwater_core::Error;
use tokio::time::Instant;

/// What one stop of all work waits for a service, at least.
const SHORTEST: Duration = Duration::from_secs(1);
/// The longest wait that a run stays for: a weekly allowance has come back by then.
const LONGEST: Duration = Duration::from_secs(8 * 24 * 60 * 60);
/// Waits in a row, without one answer between them, that a run stays for.
const MAX: u32 = 100;

/// The wait under way, and how many came without an answer between them.
#[derive(Default)]
pub(crate) struct WaitStreak {
    until: Option<Instant>,
    times: u32,
}

impl WaitStreak {
    /// Begins the wait that an error asks for; false where it asks for none, for too long a one, or once too often.
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

    /// When the wait under way is over; none where there is none any more.
    pub(crate) fn until(&mut self) -> Option<Instant> {
        self.until = self.until.filter(|until| *until > Instant::now());
        self.until
    }
}
