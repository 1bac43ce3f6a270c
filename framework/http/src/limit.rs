//! The service's limits: requests per second, and allowances that reset on a calendar day.

use std::time::{Duration, SystemTime};

use crate::{client::Response, waits};

/// The factor by which requests are spaced wider than the limit requires, on average. The service counts arrivals,
/// which the network compresses: eleven requests sent 100 ms apart can arrive within one second.
const MARGIN: f64 = 1.015;

/// The period of a limit.
const SECOND: Duration = Duration::from_secs(1);

/// How much closer a second's worth of requests may arrive than they were sent.
const COMPRESSION: Duration = Duration::from_millis(10);

/// A maximum number of requests per second, evenly spaced, in the order of the calls.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct RateLimit {
    requests: u32,
}

impl RateLimit {
    /// Makes the documented limit of the service, in requests per second.
    pub fn per_second(requests: u32) -> Self {
        Self {
            requests: requests.max(1),
        }
    }

    /// Returns the maximum number of requests per second.
    pub(crate) const fn requests(self) -> usize {
        self.requests as usize
    }

    /// Returns the time between two requests.
    pub(crate) fn spacing(self) -> Duration {
        SECOND.mul_f64(MARGIN / f64::from(self.requests))
    }

    /// Returns the minimum time for one request more than the limit of a second.
    pub(crate) const fn window() -> Duration {
        SECOND.saturating_add(COMPRESSION)
    }
}

/// The headers, in lower case, with the remaining requests of a client.
#[derive(Clone, Copy, Debug)]
pub struct LimitHeaders {
    /// The number of requests left until the reset.
    pub remaining: &'static str,
    /// The time of the reset: a moment, or a time from now.
    pub reset: &'static str,
}

impl LimitHeaders {
    /// Returns the time until the reset if a response of any status states that no request is left; otherwise `None`.
    pub(crate) fn closed_for(&self, response: &Response) -> Option<Duration> {
        let left = waits::left_by(&response.headers, self.remaining)?;
        // By the service's clock, like the reset.
        (left <= 0.0)
            .then(|| waits::reset(&response.headers, self.reset, response.at))
            .flatten()
    }
}

/// An allowance that the service counts and resets at a known time.
#[derive(Clone, Copy, Debug)]
pub enum Quota {
    /// A number of requests per week; the week starts on Sunday at 00:00 GMT.
    WeeklyFromSunday(u32),
}

impl Quota {
    /// Returns the number of requests.
    pub(crate) const fn requests(self) -> u32 {
        let Self::WeeklyFromSunday(requests) = self;
        requests
    }

    /// Returns the time until the reset.
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
