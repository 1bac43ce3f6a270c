//! Counts of requests and answers.

use std::collections::{BTreeMap, VecDeque};
use std::time::{Duration, Instant};

use hyper::StatusCode;
use serde::Serialize;

/// The requests and answers of a sandbox since it started. Requests to the control
/// endpoints are not counted.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Stats {
    /// All requests, answered or not.
    pub requests: u64,
    /// Requests by path, without parameters.
    pub by_path: BTreeMap<String, u64>,
    /// Answers by HTTP status.
    pub by_status: BTreeMap<u16, u64>,
    /// Answers with status 429.
    pub throttled: u64,
    /// Requests without a complete answer: connection reset, stalled, or given up by the client.
    pub unanswered: u64,
    /// The maximum number of requests within any one second.
    pub peak_per_second: u64,
}

/// Keeps the [`Stats`].
#[derive(Debug, Default)]
pub(crate) struct Recorder {
    stats: Stats,
    last_second: VecDeque<Instant>,
}

impl Recorder {
    /// Counts a request. It counts as unanswered until it is answered.
    pub(crate) fn arrived(&mut self, path: &str, now: Instant) {
        self.stats.requests += 1;
        self.stats.unanswered += 1;
        *self.stats.by_path.entry(path.to_owned()).or_default() += 1;
        while let Some(oldest) = self.last_second.front()
            && now.duration_since(*oldest) >= Duration::from_secs(1)
        {
            self.last_second.pop_front();
        }
        self.last_second.push_back(now);
        let current = self.last_second.len() as u64;
        self.stats.peak_per_second = self.stats.peak_per_second.max(current);
    }

    /// Counts an answer.
    pub(crate) fn answered(&mut self, status: StatusCode) {
        self.stats.unanswered = self.stats.unanswered.saturating_sub(1);
        *self.stats.by_status.entry(status.as_u16()).or_default() += 1;
        if status == StatusCode::TOO_MANY_REQUESTS {
            self.stats.throttled += 1;
        }
    }

    pub(crate) fn stats(&self) -> Stats {
        self.stats.clone()
    }
}
