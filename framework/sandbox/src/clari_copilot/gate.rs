//! The first checks of a request: credentials and rate limits.

use std::time::{Duration, Instant};

use hyper::StatusCode;
use hyper::header::HeaderMap;
use serde_json::json;

use super::options::CopilotLimits;
use crate::reply::Reply;
use crate::sliding_window::SlidingWindow;
use crate::{API_KEY, API_PASSWORD};

const ONE_SECOND: Duration = Duration::from_secs(1);

/// Checks the two credential headers; returns the answer to bad ones.
///
/// A missing header is answered as observed live. The answer to a wrong pair is proposed.
pub(crate) fn refuse_credentials(headers: &HeaderMap, wrong_credentials: u16) -> Option<Reply> {
    let key = headers.get("x-api-key");
    let password = headers.get("x-api-password");
    let (Some(key), Some(password)) = (key, password) else {
        let message =
            "Credentials not provided!, see documentation: https://api-doc.copilot.clari.com";
        return Some(Reply::json(
            StatusCode::UNAUTHORIZED,
            &json!({"errorMessage": message}),
        ));
    };
    if key == API_KEY && password == API_PASSWORD {
        return None;
    }
    if wrong_credentials == 403 {
        return Some(Reply::json(
            StatusCode::FORBIDDEN,
            &json!({"message": "Forbidden"}),
        ));
    }
    Some(Reply::json(
        StatusCode::UNAUTHORIZED,
        &json!({"errorMessage": "Invalid credentials"}),
    ))
}

/// The limit that a request exceeds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Throttle {
    PerSecond,
    PerWeek,
}

impl Throttle {
    /// The 429 answer (proposed: neither body nor headers were seen live).
    pub(crate) fn reply(self) -> Reply {
        let body = match self {
            Self::PerSecond => json!({"message": "Too Many Requests"}),
            Self::PerWeek => json!({"errorMessage": "Rate limit exceeded"}),
        };
        Reply::json(StatusCode::TOO_MANY_REQUESTS, &body)
    }
}

/// Counts the accepted requests, within the last second and within the week.
#[derive(Debug)]
pub(crate) struct RateGate {
    per_week: Option<u64>,
    last_second: SlidingWindow,
    week: i64,
    this_week: u64,
}

impl RateGate {
    pub(crate) fn new(limits: CopilotLimits) -> Self {
        Self {
            per_week: limits.per_week,
            last_second: SlidingWindow::new(limits.per_second.map(u64::from), ONE_SECOND),
            week: 0,
            this_week: 0,
        }
    }

    /// Accepts a request, or names the limit that it exceeds. Refused requests do not count.
    pub(crate) fn admit(&mut self, now: Instant, unix_seconds: i64) -> Result<(), Throttle> {
        let week = week_number(unix_seconds);
        if week != self.week {
            self.week = week;
            self.this_week = 0;
        }
        if let Some(per_week) = self.per_week
            && self.this_week >= per_week
        {
            return Err(Throttle::PerWeek);
        }
        if self.last_second.admit(now).is_err() {
            return Err(Throttle::PerSecond);
        }
        self.this_week += 1;
        Ok(())
    }
}

/// Counts the weeks since the Unix epoch; a week begins on Sunday at 00:00 GMT (vendor document).
fn week_number(unix_seconds: i64) -> i64 {
    const DAY: i64 = 24 * 3_600;
    // The Unix epoch was a Thursday, three days before the first Sunday.
    (unix_seconds - 3 * DAY).div_euclid(7 * DAY)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_week_begins_on_sunday_at_midnight() {
        let sunday: jiff::Timestamp = "2025-06-15T00:00:00Z".parse().unwrap();
        let sunday = sunday.as_second();
        assert_eq!(week_number(sunday - 1) + 1, week_number(sunday));
        assert_eq!(week_number(sunday), week_number(sunday + 7 * 86_400 - 1));
    }

    #[test]
    fn a_new_week_brings_a_new_quota() {
        let limits = CopilotLimits {
            per_second: None,
            per_week: Some(2),
            ..CopilotLimits::default()
        };
        let mut gate = RateGate::new(limits);
        let now = Instant::now();
        let week = 7 * 86_400;
        assert_eq!(gate.admit(now, week), Ok(()));
        assert_eq!(gate.admit(now, week), Ok(()));
        assert_eq!(gate.admit(now, week), Err(Throttle::PerWeek));
        assert_eq!(gate.admit(now, 2 * week), Ok(()));
    }
}
