//! The pace of requests to a service that refuses some of them within its declared limit: another process uses the same
//! credential, or the limit is lower than documented.
//!
//! A refusal lowers the pace by a fraction, and every second raises it by a fixed amount, so that processes that share
//! a limit reach equal parts without communication.

use std::time::{Duration, SystemTime};

use headwater_core::{Error, Kind, Status};
use tokio::time::Instant;

use crate::limit::Quota;

/// The initial pace at a service without a declared limit, in requests per second.
const DEFAULT_PACE: f64 = 10.0;
/// The minimum pace: one request in five seconds.
const MIN_PACE: f64 = 0.2;
/// The factor of the pace after a refusal.
const SLOWDOWN: f64 = 0.7;
/// The part of the full pace regained per second.
const RECOVERY: f64 = 0.2;
/// The maximum part regained by one response.
const MAX_STEP: f64 = 0.1;

/// A service that refuses every request for this time has another reason than the rate.
const MIN_OUTAGE: Duration = Duration::from_secs(150);
/// The minimum number of refusals in a row for that conclusion: a few requests prove little about minutes.
const MIN_REFUSALS: u32 = 5;
/// The part of an allowance that counts as nearly used up.
const NEARLY_ALL: f64 = 0.9;

const WEEK: u64 = 7 * 24 * 60 * 60;

/// The pace that a service accepts, from its responses.
#[derive(Debug, Default)]
pub(crate) struct Pace {
    /// Requests per second; `None` for the declared limit.
    slowed: Option<f64>,
    /// The time of the last slowdown.
    since: Option<Instant>,
    /// The first refusal since the last served request, and the number of refusals.
    refused: Option<(Instant, u32)>,
    /// Requests served in the week with this number.
    served: (u64, u32),
}

impl Pace {
    /// Returns the minimum time between two requests.
    pub(crate) fn spacing(&self) -> Option<Duration> {
        self.slowed.map(|pace| Duration::from_secs_f64(1.0 / pace))
    }

    /// Counts a served request. Returns whether the pace changes.
    pub(crate) fn served(&mut self, declared: Option<usize>, today: SystemTime) -> bool {
        self.refused = None;
        let week = week(today);
        if self.served.0 != week {
            self.served = (week, 0);
        }
        self.served.1 = self.served.1.saturating_add(1);
        let Some(pace) = self.slowed else {
            return false;
        };
        let full = full(declared);
        let won = (full * RECOVERY / pace).min(full * MAX_STEP);
        self.slowed = Some(pace + won).filter(|pace| *pace < full);
        true
    }

    /// Counts the refusal of a request sent at a time.
    pub(crate) fn refused(&mut self, sent: Instant, now: Instant, declared: Option<usize>) {
        let (first, count) = self.refused.unwrap_or((now, 0));
        self.refused = Some((first, count + 1));
        // The request left before the last slowdown.
        if self.since.is_some_and(|since| sent < since) {
            return;
        }
        let pace = self.slowed.unwrap_or_else(|| full(declared));
        self.slowed = Some((pace * SLOWDOWN).max(MIN_PACE));
        self.since = Some(now);
    }

    /// Returns the error for a used-up allowance, if the refusals so far permit no other conclusion.
    pub(crate) fn used_up(
        &self,
        service: &str,
        quota: Quota,
        now: Instant,
        today: SystemTime,
    ) -> Option<Error> {
        let (first, refusals) = self.refused?;
        let requests = quota.requests();
        let served = match self.served {
            (of, served) if of == week(today) => served,
            _ => 0,
        };
        let is_near = f64::from(served) >= f64::from(requests) * NEARLY_ALL;
        let long = now.duration_since(first);
        if refusals < MIN_REFUSALS || !is_near && long < MIN_OUTAGE {
            return None;
        }
        let why = match is_near {
            true => format!("after {served} requests of this week"),
            false => format!("for {} seconds without an exception", long.as_secs()),
        };
        let text = format!(
            "{service} asks to slow down {why}; its {requests} requests a week are probably used up and come back on \
             Sunday at 00:00 GMT"
        );
        let error = Error::new(Kind::QuotaExhausted, text);
        Some(
            error
                .with_status(Status::Persistent)
                .retry_after(quota.until_reset(today)),
        )
    }
}

fn full(declared: Option<usize>) -> f64 {
    declared.map_or(DEFAULT_PACE, |requests| requests as f64)
}

/// Returns the number of weeks since the first Sunday, as allowances count them.
fn week(today: SystemTime) -> u64 {
    let since_epoch = today.duration_since(SystemTime::UNIX_EPOCH);
    // 1970-01-01 was a Thursday.
    (since_epoch.unwrap_or_default().as_secs() + 4 * 24 * 60 * 60) / WEEK
}

#[cfg(test)]
mod tests {
    use super::*;

    const QUOTA: Quota = Quota::WeeklyFromSunday(100);

    fn used_up(pace: &Pace, now: Instant) -> bool {
        pace.used_up("Sample", QUOTA, now, SystemTime::UNIX_EPOCH)
            .is_some()
    }

    #[test]
    fn a_few_refusals_use_up_no_week() {
        let start = Instant::now();
        let mut pace = Pace::default();
        for _ in 0..1000 {
            pace.refused(start, start + Duration::from_secs(20), Some(10));
        }
        assert!(!used_up(&pace, start + Duration::from_secs(60)));
        assert!(used_up(&pace, start + Duration::from_secs(20) + MIN_OUTAGE));
        pace.served(Some(10), SystemTime::UNIX_EPOCH);
        assert!(!used_up(&pace, start + MIN_OUTAGE * 2));
    }

    #[test]
    fn refusals_near_the_allowance_use_it_up_at_once() {
        let start = Instant::now();
        let mut pace = Pace::default();
        for _ in 0..89 {
            pace.served(Some(10), SystemTime::UNIX_EPOCH);
        }
        (0..MIN_REFUSALS).for_each(|_| pace.refused(start, start, Some(10)));
        assert!(!used_up(&pace, start));
        pace.served(Some(10), SystemTime::UNIX_EPOCH);
        (1..MIN_REFUSALS).for_each(|_| pace.refused(start, start, Some(10)));
        assert!(!used_up(&pace, start), "too few refusals");
        pace.refused(start, start, Some(10));
        assert!(used_up(&pace, start));
        // Of another week.
        let later = SystemTime::UNIX_EPOCH + Duration::from_secs(WEEK);
        assert!(pace.used_up("Sample", QUOTA, start, later).is_none());
    }

    /// Returns the requests served per process in a minute, at a service with a limit of ten per second.
    fn shared(processes: usize) -> Vec<usize> {
        let start = Instant::now();
        let step = Duration::from_millis(1);
        let mut paces: Vec<(Pace, Instant, usize)> = (0..processes)
            .map(|number| {
                (
                    Pace::default(),
                    start + step * u32::try_from(number).unwrap() * 7,
                    0,
                )
            })
            .collect();
        let mut window = std::collections::VecDeque::new();
        let mut now = start;
        while now < start + Duration::from_secs(120) {
            now += step;
            while window
                .front()
                .is_some_and(|at| now - *at >= Duration::from_secs(1))
            {
                window.pop_front();
            }
            for (pace, next, served) in &mut paces {
                if *next > now {
                    continue;
                }
                if window.len() < 10 {
                    window.push_back(now);
                    pace.served(Some(10), SystemTime::UNIX_EPOCH);
                    // After the first minute, in which they find their parts.
                    *served += usize::from(now > start + Duration::from_secs(60));
                } else {
                    pace.refused(now, now, Some(10));
                }
                *next = now + pace.spacing().unwrap_or(Duration::from_millis(101));
            }
        }
        paces.into_iter().map(|(.., served)| served).collect()
    }

    #[test]
    fn processes_that_know_nothing_of_each_other_share_a_limit() {
        assert!(shared(1)[0] > 580, "alone nothing is lost");
        for processes in [2, 3, 5] {
            let served = shared(processes);
            let all: usize = served.iter().sum();
            assert!(all > 400, "{served:?}");
            let fair = all / processes;
            let lowest = served.iter().min().unwrap();
            assert!(*lowest > fair / 3, "{served:?}");
        }
    }
}
