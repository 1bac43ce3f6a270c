//! A limit on the number of events within any window of time.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

/// Counts the accepted events within the last window of time.
#[derive(Debug)]
pub(crate) struct SlidingWindow {
    limit: Option<u64>,
    window: Duration,
    admitted: VecDeque<Instant>,
}

impl SlidingWindow {
    /// At most `limit` within any `window`; `None` for no limit.
    pub(crate) fn new(limit: Option<u64>, window: Duration) -> Self {
        Self {
            limit,
            window,
            admitted: VecDeque::new(),
        }
    }

    /// Accepts one more and returns how many more could follow at once; `None` without a limit. A
    /// refusal does not count, and returns the time until the next one is accepted.
    pub(crate) fn admit(&mut self, now: Instant) -> Result<Option<u64>, Duration> {
        let Some(limit) = self.limit else {
            return Ok(None);
        };
        while let Some(oldest) = self.admitted.front()
            && now.duration_since(*oldest) >= self.window
        {
            self.admitted.pop_front();
        }
        let admitted = self.admitted.len() as u64;
        if admitted >= limit {
            let oldest = self.admitted.front().copied().unwrap_or(now);
            return Err(self.window.saturating_sub(now.duration_since(oldest)));
        }
        self.admitted.push_back(now);
        Ok(Some(limit - admitted - 1))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_window_slides() {
        let mut window = SlidingWindow::new(Some(2), Duration::from_secs(1));
        let start = Instant::now();
        let at = |milliseconds| start + Duration::from_millis(milliseconds);
        assert_eq!(window.admit(at(0)), Ok(Some(1)));
        assert_eq!(window.admit(at(900)), Ok(Some(0)));
        assert_eq!(window.admit(at(999)), Err(Duration::from_millis(1)));
        assert_eq!(window.admit(at(1_000)), Ok(Some(0)));
        assert_eq!(window.admit(at(1_500)), Err(Duration::from_millis(400)));
        assert_eq!(window.admit(at(1_900)), Ok(Some(0)));
    }

    #[test]
    fn without_a_limit_everything_is_let_through() {
        let mut window = SlidingWindow::new(None, Duration::from_secs(1));
        assert_eq!(window.admit(Instant::now()), Ok(None));
    }
}
