//! The time during which at least one of several requests waits.

use std::{
    sync::{Mutex, PoisonError},
    time::{Duration, Instant},
};

/// Intervals that are stored one by one; older ones are only added up.
const MAX_RECENT: usize = 64;

/// The time during which at least one request waited: the union of the waits, not the sum.
#[derive(Debug, Default)]
pub(crate) struct Waits(Mutex<Intervals>);

#[derive(Debug, Default)]
struct Intervals {
    /// Intervals that do not touch each other, in the order of time.
    recent: Vec<(Instant, Instant)>,
    /// The sum of the older intervals.
    earlier: Duration,
}

impl Waits {
    /// Adds one wait.
    pub(crate) fn add(&self, mut from: Instant, mut to: Instant) {
        if to <= from {
            return;
        }
        let mut known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let recent = &mut known.recent;
        let first = recent.partition_point(|one| one.1 < from);
        let after = recent.partition_point(|one| one.0 <= to);
        for (start, end) in &recent[first..after] {
            from = from.min(*start);
            to = to.max(*end);
        }
        recent.splice(first..after, [(from, to)]);
        if recent.len() > MAX_RECENT {
            let (start, end) = recent.remove(0);
            known.earlier += end - start;
        }
    }

    /// Returns the total time.
    pub(crate) fn total(&self) -> Duration {
        let known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let recent = known.recent.iter().map(|(from, to)| *to - *from);
        known.earlier + recent.sum::<Duration>()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_side_by_side_are_no_sum() {
        let start = Instant::now();
        let at = |second: u64| start + Duration::from_secs(second);
        for (waits, seconds) in [
            (&[][..], 0),
            (&[(0, 10), (0, 10), (3, 7)][..], 10),
            (&[(5, 6), (0, 10)], 10),
            (&[(0, 2), (4, 6), (8, 9)], 5),
            (&[(0, 2), (4, 6), (1, 5)], 6),
            (&[(0, 2), (2, 4)], 4),
            (&[(4, 4), (5, 3)], 0),
        ] {
            let known = Waits::default();
            for (from, to) in waits {
                known.add(at(*from), at(*to));
            }
            assert_eq!(known.total().as_secs(), seconds, "{waits:?}");
        }
    }

    #[test]
    fn any_number_of_them_is_kept_in_little_memory() {
        let start = Instant::now();
        let known = Waits::default();
        for nth in 0..1000 {
            let from = start + Duration::from_secs(2 * nth);
            known.add(from, from + Duration::from_secs(1));
        }
        assert_eq!(known.total().as_secs(), 1000);
        assert_eq!(known.0.lock().unwrap().recent.len(), MAX_RECENT);
    }
}
