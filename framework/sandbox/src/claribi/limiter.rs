//! The rate limit, and its headers in answers.

use std::time::{Duration, Instant};

use hyper::header::{HeaderName, HeaderValue, RETRY_AFTER};

use super::credentials::Caller;
use super::options::{ClaribiOptions, ErrorBodies, RateHeaders, RateLimit};
use super::problem::{Problem, whole_seconds};
use crate::api::Admission;
use crate::sliding_window::SlidingWindow;

const HOUR: Duration = Duration::from_secs(3_600);

/// Counts the requests of every caller, over a rolling window.
#[derive(Debug)]
pub(crate) struct Limiter {
    /// The limit and its window; `None` for no limit.
    limit: Option<(u32, Duration)>,
    shown: RateHeaders,
    error_bodies: ErrorBodies,
    of_key: SlidingWindow,
    of_user: SlidingWindow,
}

impl Limiter {
    pub(crate) fn new(options: &ClaribiOptions) -> Self {
        let limit = match options.rate_limit {
            RateLimit::OfTier => Some((options.tier.plan().requests_per_hour, HOUR)),
            RateLimit::Of { requests, window } => Some((requests, window)),
            RateLimit::None => None,
        };
        let window = || match limit {
            Some((requests, window)) => SlidingWindow::new(Some(requests.into()), window),
            None => SlidingWindow::new(None, HOUR),
        };
        Self {
            limit,
            shown: options.rate_headers,
            error_bodies: options.error_bodies,
            of_key: window(),
            of_user: window(),
        }
    }

    pub(crate) fn admit(&mut self, caller: Caller, now: Instant, unix_seconds: i64) -> Admission {
        let counted = match caller {
            Caller::Key => &mut self.of_key,
            Caller::User => &mut self.of_user,
        };
        let admitted = counted.admit(now);
        let Some((limit, window)) = self.limit else {
            return Ok(Vec::new());
        };
        match admitted {
            // The full limit is available again after a window without requests.
            Ok(remaining) => {
                Ok(self.headers(limit, remaining.unwrap_or_default(), window, unix_seconds))
            }
            Err(wait) => {
                let reply = Problem::Throttled { wait }.reply(self.error_bodies);
                let mut reply = self
                    .headers(limit, 0, wait, unix_seconds)
                    .into_iter()
                    .fold(reply, |reply, (name, value)| reply.with_header(name, value));
                if self.shown == RateHeaders::Old {
                    reply.headers.retain(|(name, _)| *name != RETRY_AFTER);
                }
                Err(reply)
            }
        }
    }

    fn headers(
        &self,
        limit: u32,
        remaining: u64,
        until_reset: Duration,
        unix_seconds: i64,
    ) -> Vec<(HeaderName, HeaderValue)> {
        let until_reset = i64::try_from(whole_seconds(until_reset)).unwrap_or_default();
        let reset = unix_seconds.saturating_add(until_reset);
        let mut headers = Vec::new();
        let mut add = |name, value| headers.push((HeaderName::from_static(name), value));
        match self.shown {
            RateHeaders::Off => {}
            RateHeaders::Full => {
                add("x-ratelimit-limit", limit.into());
                add("x-ratelimit-remaining", remaining.into());
                add("x-ratelimit-reset", reset.into());
            }
            RateHeaders::Old => {
                add("x-ratelimit-remaining", remaining.into());
                add("x-ratelimit-reset", reset.into());
            }
        }
        headers
    }
}
