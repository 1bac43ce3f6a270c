//! The service's limits: requests per second, and allowances that come back on a calendar day.

use std::time::{Duration, SystemTime};

use crate::{client::Response, waits};

/// How much further apart requests are sent than the limit asks for, on average. The service counts arrivals, which the
/// network pushes together: eleven requests sent 100 ms apart can arrive within one second.
const MARGIN: f64 = 1.015;

/// What a limit counts in.
const SECOND: Duration = Duration::from_secs(1);

/// How much closer together than they were sent so many requests as the limit allows in a second may arrive.
const PUSHED_TOGETHER: Duration = Duration::from_millis(10);

/// At most so many requests per second, evenly spaced, in the order of asking.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct RateLimit {
    requests: u32,
}

impl RateLimit {
    /// The documented limit of the service, in requests per second.
    pub fn per_second(requests: u32) -> Self {
        Self {
            requests: requests.max(1),
        }
    }

    /// How many requests the service allows in a second.
    pub(crate) const fn requests(self) -> usize {
        self.requests as usize
    }

    /// The time between two requests.
    pub(crate) fn spacing(self) -> Duration {
        SECOND.mul_f64(MARGIN / f64::from(self.requests))
    }

    /// The time between a request and the one that is so many later as the service allows in a second.
    pub(crate) const fn window() -> Duration {
        SECOND.saturating_add(PUSHED_TOGETHER)
    }
}

/// The headers, lower case, in which a service tells where a client stands.
#[derive(Clone, Copy, Debug)]
pub struct LimitHeaders {
    /// How many requests are left until the reset.
    pub remaining: &'static str,
    /// When the count starts anew: a moment, or a time from now.
    pub reset: &'static str,
}

impl LimitHeaders {
    /// How long nothing is left, as an answer says whatever its status; none where something is.
    pub(crate) fn closed_for(&self, response: &Response) -> Option<Duration> {
        let left = waits::left_by(&response.headers, self.remaining)?;
        // By the service's clock, since the reset is by that.
        (left <= 0.0)
            .then(|| waits::reset(&response.headers, self.reset, response.at))
            .flatten()
    }
}

/// An allowance that is counted by the service and comes back at a known time.
#[derive(Clone, Copy, Debug)]
pub enum Quota {
    /// So many requests per week; the week starts on Sunday at 00:00 GMT.
    WeeklyFromSunday(u32),
}

impl Quota {
    /// How many requests there are.
    pub(crate) const fn requests(self) -> u32 {
        let Self::WeeklyFromSunday(requests) = self;
        requests
    }

    /// How long until the allowance comes back.
    pub(crate) fn until_reset(self, now: SystemTime) -> Duration {
        const DAY: u64 = 24 * 60 * 60;
        const WEEK: u64 = 7 * DAY;
        // 1970-01-01 was a Thursday, so the first Sunday began three days later.
        const FIRST_SUNDAY: u64 = 3 * DAY;
        let Self::WeeklyFromSunday(_) = self;
        let since_epoch = now
            .duration_since(SystemTime::UNIX_EPOCH)
            .unwrap_or_default()
            .as_secs();
        let into_week = (since_epoch + WEEK - FIRST_SUNDAY) % WEEK;
        Duration::from_secs(WEEK - into_week)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_week_starts_on_sunday_at_midnight() {
        let quota = Quota::WeeklyFromSunday(100_000);
        // 2026-11-22 is a Sunday; 1795305600 is its midnight.
        let sunday = SystemTime::UNIX_EPOCH + Duration::from_secs(1_795_305_600);
        assert_eq!(quota.until_reset(sunday), Duration::from_secs(7 * 86_400));
        assert_eq!(
            quota.until_reset(sunday - Duration::from_secs(1)),
            Duration::from_secs(1)
        );
    }
}
