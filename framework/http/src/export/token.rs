//! The places on the way to the end of a document, as a state keeps them.

use std::time::Duration;

use serde::{Deserialize, Serialize};

/// Between the first two questions for a job; half as much again each time.
pub(super) const FIRST_POLL: Duration = Duration::from_secs(1);
const LONGEST_POLL: Duration = Duration::from_secs(30);
/// How long a service may take to show what it was asked to make. Long for a list that lags behind, short beside the quota
/// of a month, which a second order would cost.
const GRACE: u64 = 120;

/// The wait before the next question, after so many.
pub(super) fn poll(asked: u32) -> Duration {
    FIRST_POLL
        .mul_f64(1.5_f64.powi(asked.min(30).cast_signed()))
        .min(LONGEST_POLL)
}

/// How long something was asked for that a service does not show yet.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Grace {
    /// Questions.
    polls: u32,
    /// Seconds between all of them.
    waited: u64,
}

impl Grace {
    /// The next question and the wait before it; none where that was long enough.
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

/// A place on the way to the end of a document.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum ExportToken {
    /// About to order.
    Ordering {
        /// Every job that is ours is newer than this; none where that was not asked yet.
        mark: Option<i64>,
        /// Jobs of this order that failed.
        failed: u32,
        /// How often the service had no room, or did not answer.
        refused: u32,
    },
    /// Looking for the job of an order that may have been made, before another one is.
    Looking {
        /// Every job that is ours is newer than this.
        mark: i64,
        /// Jobs of this order that failed.
        failed: u32,
        /// How often the service had no room, or did not answer.
        refused: u32,
        /// How long it was looked for.
        grace: Grace,
    },
    /// Waiting for a job that was ordered and does not show yet.
    Unseen {
        /// Its id.
        job: String,
        /// Jobs of this order that failed before.
        failed: u32,
        /// How long it was asked for.
        grace: Grace,
    },
    /// Waiting for a job.
    Waiting {
        /// Its id.
        job: String,
        /// Jobs of this order that failed before.
        failed: u32,
        /// How often this run has asked.
        polls: u32,
        /// Seconds between all of those.
        waited: u64,
    },
    /// Waiting for the result of a job that is done.
    Unready {
        /// The job.
        job: String,
        /// Jobs of this order that failed before.
        failed: u32,
        /// What the result lacks.
        lacks: Option<String>,
        /// How long it was asked for.
        grace: Grace,
    },
    /// Reading a result.
    Reading {
        /// The job; none where the document came at once.
        job: Option<String>,
        /// Jobs of this order that failed before.
        failed: u32,
        /// Records that were handed over.
        records: u64,
        /// Fingerprint of the last one of them.
        last: u64,
        /// What the result lacks: the order ends with this sentence.
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
