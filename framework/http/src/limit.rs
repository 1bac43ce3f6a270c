//! The service's limits: requests per second, and allowances that come back on a calendar day.

use std::{
    sync::{Mutex as SyncMutex, PoisonError},
    time::{Duration, SystemTime},
};

use headwater_core::{Error, Kind, Result, Status, Timestamp};
use http::HeaderMap;
use tokio::{
    sync::Mutex,
    time::{Instant, sleep_until},
};

use crate::client::Response;

/// How much further apart requests are sent than the limit asks for. The service counts arrivals, which the network
/// pushes together: eleven requests sent 100 ms apart can arrive within one second.
const MARGIN: f64 = 1.015;

/// How late a request may be sent without moving all later ones: a timer fires up to a millisecond late.
const CATCH_UP: Duration = Duration::from_millis(5);

/// At most so many requests per second, evenly spaced, in the order of asking.
#[derive(Debug)]
pub struct RateLimit {
    spacing: Duration,
    next: Mutex<Option<Instant>>,
}

impl RateLimit {
    /// The documented limit of the service, in requests per second.
    pub fn per_second(requests: u32) -> Self {
        let spacing = Duration::from_secs_f64(MARGIN / f64::from(requests.max(1)));
        Self {
            spacing,
            next: Mutex::new(None),
        }
    }

    /// Waits for a turn and says how long that took. Dropping the future gives the turn back.
    pub(crate) async fn turn(&self) -> Duration {
        let asked = Instant::now();
        // Held while waiting: those behind us wait for the lock, first come, first served.
        let mut next = self.next.lock().await;
        let slot = next.unwrap_or(asked);
        sleep_until(slot).await;
        let now = Instant::now();
        *next = Some(slot.max(now - CATCH_UP.min(now.duration_since(slot))) + self.spacing);
        now - asked
    }
}

/// The headers, lower case, in which a service tells where a client stands.
#[derive(Clone, Copy, Debug)]
pub struct LimitHeaders {
    /// How many requests are left until the reset.
    pub remaining: &'static str,
    /// When the count starts anew, in Unix seconds.
    pub reset: &'static str,
}

/// What the service's headers say: when nothing is left, nothing is sent before the reset.
#[derive(Debug)]
pub(crate) struct LearnedLimit {
    headers: LimitHeaders,
    /// Until when nothing is left.
    closed: SyncMutex<Option<Instant>>,
}

impl LearnedLimit {
    pub(crate) fn new(headers: LimitHeaders) -> Self {
        Self {
            headers,
            closed: SyncMutex::default(),
        }
    }

    /// Takes in what an answer says, whatever its status.
    pub(crate) fn observe(&self, headers: &HeaderMap, now: Timestamp) {
        let Some(remaining) = number(headers, self.headers.remaining) else {
            return;
        };
        let closed = (remaining <= 0)
            .then(|| self.reset(headers, now))
            .flatten()
            .map(|delay| Instant::now() + delay);
        *self.closed.lock().unwrap_or_else(PoisonError::into_inner) = closed;
    }

    /// How long until the reset that an answer names.
    pub(crate) fn until_reset(&self, response: &Response) -> Option<Duration> {
        self.reset(&response.headers, response.at)
    }

    /// Waits until something is left; an error with the delay where that is beyond the deadline.
    pub(crate) async fn turn(&self, deadline: Instant, service: &str) -> Result<Duration> {
        let asked = Instant::now();
        let closed = *self.closed.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(until) = closed.filter(|until| *until > asked) else {
            return Ok(Duration::ZERO);
        };
        if until > deadline {
            let text =
                format!("{service} allows no more requests for now; its count starts anew later");
            return Err(Error::new(Kind::RateLimited, text)
                .with_status(Status::Persistent)
                .retry_after(until - asked));
        }
        sleep_until(until).await;
        Ok(asked.elapsed())
    }

    /// By the service's clock, since the reset is by that.
    fn reset(&self, headers: &HeaderMap, now: Timestamp) -> Option<Duration> {
        let reset = number(headers, self.headers.reset)?;
        // A second more, since both are cut to whole ones. Beyond a day it is not a limit but a mistake.
        let seconds = reset.saturating_sub(now.as_second()).saturating_add(1);
        Some(Duration::from_secs(
            u64::try_from(seconds).unwrap_or(0).min(24 * 60 * 60),
        ))
    }
}

fn number(headers: &HeaderMap, name: &str) -> Option<i64> {
    headers.get(name)?.to_str().ok()?.trim().parse().ok()
}

/// An allowance that is counted by the service and comes back at a known time.
#[derive(Clone, Copy, Debug)]
pub enum Quota {
    /// So many requests per week; the week starts on Sunday at 00:00 GMT.
    WeeklyFromSunday(u32),
}

impl Quota {
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

    #[tokio::test(start_paused = true)]
    async fn eleven_requests_never_fit_into_one_second() {
        let limit = RateLimit::per_second(10);
        let mut sent = Vec::new();
        for _ in 0..50 {
            limit.turn().await;
            sent.push(Instant::now());
        }
        let closest = sent
            .windows(11)
            .map(|eleven| eleven[10] - eleven[0])
            .min()
            .unwrap();
        assert!(closest > Duration::from_millis(1005), "{closest:?}");
        let total = sent[49] - sent[0];
        assert!(total < Duration::from_millis(4900 * 103 / 100), "{total:?}");
    }

    #[tokio::test(start_paused = true)]
    async fn an_idle_limit_does_not_save_up_a_burst() {
        let limit = RateLimit::per_second(10);
        limit.turn().await;
        tokio::time::sleep(Duration::from_secs(60)).await;
        let start = Instant::now();
        for _ in 0..11 {
            limit.turn().await;
        }
        assert!(start.elapsed() > Duration::from_secs(1));
    }

    #[tokio::test(start_paused = true)]
    async fn a_dropped_wait_gives_its_turn_back() {
        let limit = RateLimit::per_second(1);
        limit.turn().await;
        let start = Instant::now();
        let _ = tokio::time::timeout(Duration::from_millis(10), limit.turn()).await;
        limit.turn().await;
        assert!(
            start.elapsed() < Duration::from_millis(1100),
            "{:?}",
            start.elapsed()
        );
    }

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
