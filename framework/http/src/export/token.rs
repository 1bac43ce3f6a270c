//! The positions of an export in the state.

use std::time::Duration;

use serde::{Deserialize, Serialize};

/// The first wait between polls of a job; it grows by half each time.
pub(super) const FIRST_POLL: Duration = Duration::from_secs(1);
const LONGEST_POLL: Duration = Duration::from_secs(30);
/// The time for a service to show a new job or result, in seconds. Long for a lagging list, short compared with the
/// cost of a second order.
const GRACE: u64 = 120;

/// Returns the wait before the next poll, after `polls` polls.
pub(super) fn poll(polls: u32) -> Duration {
    FIRST_POLL
        .mul_f64(1.5_f64.powi(polls.min(30).cast_signed()))
        .min(LONGEST_POLL)
}

/// The polls for a job or result that the service does not show yet.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Grace {
    /// The number of polls.
    polls: u32,
    /// The sum of their waits, in seconds.
    waited: u64,
}

impl Grace {
    /// Returns the next poll and the wait before it; `None` after the grace period.
    pub(super) fn next(self) -> Option<(Self, Duration)> {
        if self.waited >= GRACE {
            return None;
        }
        let wait = poll(self.polls);
        let next = Self {
            polls: self.polls + 1,
            waited: self.waited + wait.as_secs().max(1),
        };
        Some((next, wait))
    }
}

/// A position on the way to the end of a document.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum ExportToken {
    /// Before the order.
    Ordering {
        /// A mark older than all our jobs; `None` before the mark is requested.
        mark: Option<i64>,
        /// Failed jobs of this order.
        failed: u32,
        /// How often the service had no free slot, or did not answer.
        refused: u32,
    },
    /// Searching for the job of an order that may have arrived, before a new order.
    Looking {
        /// A mark older than all our jobs.
        mark: i64,
        /// Failed jobs of this order.
        failed: u32,
        /// How often the service had no free slot, or did not answer.
        refused: u32,
        /// The polls so far.
        grace: Grace,
    },
    /// Waiting for an ordered job that the service does not show yet.
    Unseen {
        /// Its id.
        job: String,
        /// Failed earlier jobs of this order.
        failed: u32,
        /// The polls so far.
        grace: Grace,
    },
    /// Waiting for a job.
    Waiting {
        /// Its id.
        job: String,
        /// Failed earlier jobs of this order.
        failed: u32,
        /// The polls of this run.
        polls: u32,
        /// The sum of their waits, in seconds.
        waited: u64,
    },
    /// Waiting for the result of a finished job.
    Unready {
        /// The job.
        job: String,
        /// Failed earlier jobs of this order.
        failed: u32,
        /// Why the result is incomplete.
        lacks: Option<String>,
        /// The polls so far.
        grace: Grace,
    },
    /// Reading a result.
    Reading {
        /// The job; `None` for a document without a job.
        job: Option<String>,
        /// Failed earlier jobs of this order.
        failed: u32,
        /// The number of delivered records.
        records: u64,
        /// The fingerprint of the last delivered record.
        last: u64,
        /// Why the result is incomplete: the order ends with this sentence.
        lacks: Option<String>,
    },
}

impl ExportToken {
    pub(super) const BEGIN: Self = Self::Ordering {
        mark: None,
        failed: 0,
        refused: 0,
    };

    pub(super) const DIRECT: Self = Self::Reading {
        job: None,
        failed: 0,
        records: 0,
        last: 0,
        lacks: None,
    };

    pub(super) fn job(&self) -> Option<&str> {
        match self {
            Self::Ordering { .. } | Self::Looking { .. } => None,
            Self::Unseen { job, .. } | Self::Waiting { job, .. } | Self::Unready { job, .. } => {
                Some(job)
            }
            Self::Reading { job, .. } => job.as_deref(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn grace_is_two_minutes_of_questions_that_get_rarer() {
        let mut grace = Grace::default();
        let (mut waits, mut all) = (0, Duration::ZERO);
        while let Some((next, wait)) = grace.next() {
            (grace, waits, all) = (next, waits + 1, all + wait);
        }
        assert!((8..20).contains(&waits), "{waits}");
        assert!((110..160).contains(&all.as_secs()), "{all:?}");
    }
}
