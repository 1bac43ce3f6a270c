//! Records that happened one after the other, at even distances up to a moment.
//!
//! The slots are counted from the Unix epoch, so that two tenants that start at different moments
//! have the same records as far as both go back.

use std::ops::RangeInclusive;

use super::calendar::DAY_MILLISECONDS;

/// Slots of equal length that reach back some days from a moment.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Slots {
    length: i64,
    /// The last slot that is over, and the first one in the log.
    newest: i64,
    oldest: i64,
}

impl Slots {
    pub(crate) fn new(count: u64, days: i64, now: i64) -> Self {
        let count = i64::try_from(count).unwrap_or(i64::MAX).max(1);
        let length = (days * DAY_MILLISECONDS / count).max(1);
        let newest = now.div_euclid(length) - 1;
        Self {
            length,
            newest,
            oldest: (now - days * DAY_MILLISECONDS).div_euclid(length) + 1,
        }
    }

    /// Without those that begin before a moment.
    pub(crate) fn since(self, moment: i64) -> Self {
        let first = (moment + self.length - 1).div_euclid(self.length);
        Self {
            oldest: self.oldest.max(first),
            ..self
        }
    }

    pub(crate) fn count(self) -> u64 {
        u64::try_from(self.newest - self.oldest + 1).unwrap_or_default()
    }

    pub(crate) fn contains(self, slot: i64) -> bool {
        (self.oldest..=self.newest).contains(&slot)
    }

    /// The slot at this distance before the newest one.
    pub(crate) fn back(self, age: u64) -> i64 {
        self.newest - i64::try_from(age).unwrap_or_default()
    }

    /// The beginning of a slot, in milliseconds.
    pub(crate) fn moment(self, slot: i64) -> i64 {
        slot * self.length
    }

    /// The slots that begin within a span of time.
    pub(crate) fn within(self, from: i64, to: i64) -> RangeInclusive<i64> {
        let first = (from + self.length - 1).div_euclid(self.length);
        let last = to.div_euclid(self.length);
        first.max(self.oldest)..=last.min(self.newest)
    }
}
