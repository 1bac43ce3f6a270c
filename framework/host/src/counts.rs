//! Counts the records of an output while they are written.

use std::ops::Range;

use headwater_core::LONGEST_RECORD;

/// The records of one output, by what happened to them.
#[derive(Clone, Copy, Default)]
pub(crate) struct Counts {
    pub records: u64,
    pub bytes: u64,
    pub deduplicated: u64,
    pub overflowed: u64,
    pub rejected: u64,
    pub oversized: u64,
    /// The length of the longest oversized record.
    pub longest: u64,
    pub collisions: u64,
    pub merged: u64,
}

impl Counts {
    /// Counts a record that is too long for every sink, and returns whether it is.
    pub fn is_oversized(&mut self, record: &Range<usize>) -> bool {
        let is_oversized = record.len() > LONGEST_RECORD;
        if is_oversized {
            self.oversized += 1;
            self.longest = self.longest.max(record.len() as u64);
        }
        is_oversized
    }
}
