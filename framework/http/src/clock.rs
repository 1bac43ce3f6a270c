//! A service's clock beside this machine's, by the `Date` of its answers.
//!
//! A pass is planned by this machine's clock, and its bookmark says that everything before some moment was read. Where
//! this clock runs ahead, that moment has not come yet at the service, and what happens until then would never be read.
//! So a bookmark is bounded by the service's own time, and this is the one place that says how.

use std::sync::{Mutex, PoisonError};

use headwater_core::{Note, SignedDuration, Timestamp};

/// A `Date` counts whole seconds, and servers renew it once a second.
const RESOLUTION: SignedDuration = SignedDuration::from_secs(2);
/// A difference beyond this is told, and an hour of it is an hour of records that come late.
const WORTH_A_NOTE: SignedDuration = SignedDuration::from_secs(60);
/// Clocks that differ by more than this are more than set to the wrong zone: either may be broken.
const BELIEVABLE: SignedDuration = SignedDuration::from_hours(36);

/// The latest comparison of the two clocks.
#[derive(Debug, Default)]
pub(crate) struct Clock(Mutex<Option<Reading>>);

/// What one answer tells.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Reading {
    /// The service's time.
    date: Timestamp,
    /// This machine's is ahead by at least this much, and by at most that.
    ahead: (SignedDuration, SignedDuration),
}

impl Clock {
    /// Compares the clocks by an answer that was asked for and arrived at these times of this machine.
    pub(crate) fn compare(&self, asked: Timestamp, arrived: Timestamp, date: Option<Timestamp>) {
        let Some(date) = date else { return };
        let reading = Reading {
            date,
            ahead: (asked.duration_since(date), arrived.duration_since(date)),
        };
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Some(reading);
    }

    pub(crate) fn time(&self, service: &'static str) -> ServiceTime {
        let reading = *self.0.lock().unwrap_or_else(PoisonError::into_inner);
        ServiceTime { service, reading }
    }
}

/// What is known of a service's clock. Nothing, where its answers have no `Date`: then this machine's counts.
#[derive(Clone, Copy, Debug)]
pub struct ServiceTime {
    service: &'static str,
    reading: Option<Reading>,
}

/// How far a bookmark may reach.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BookmarkLimit {
    /// To the time of the plan.
    Planned,
    /// Not beyond this moment, at which the pass was planned by the service's clock.
    At(Timestamp),
    /// The clock that planned the pass was ahead, and is not any more: when the pass began is not known, so that the next
    /// one begins where this one did.
    Unknown,
}

impl BookmarkLimit {
    /// The end of a pass that was planned up to `planned`, and began at `since`.
    pub fn end(self, planned: Timestamp, since: Timestamp) -> Timestamp {
        match self {
            Self::Planned => planned,
            Self::At(at) => at.min(planned).max(since.min(planned)),
            Self::Unknown => since.min(planned),
        }
    }
}

impl ServiceTime {
    /// The service's time when it answered last, where it tells.
    pub fn date(&self) -> Option<Timestamp> {
        self.reading.map(|reading| reading.date)
    }

    /// How far the bookmark of a pass may reach that was planned at a time of this machine. Asked after the first answer.
    /// `slack` is what the next pass reads again anyway: a difference within it loses nothing.
    pub fn bound(&self, planned: Timestamp, slack: SignedDuration) -> BookmarkLimit {
        let Some(Reading { date, ahead }) = self.reading else {
            return BookmarkLimit::Planned;
        };
        let slack = slack.max(RESOLUTION);
        if ahead.0 > slack {
            return match planned.checked_sub(ahead.1) {
                Ok(at) => BookmarkLimit::At(at.min(date)),
                Err(_) => BookmarkLimit::At(date),
            };
        }
        match planned.duration_since(date) > slack {
            true => BookmarkLimit::Unknown,
            false => BookmarkLimit::Planned,
        }
    }

    /// What to tell of the difference between the clocks.
    pub fn note(&self) -> Option<Note> {
        let service = self.service;
        let (at_least, at_most) = self.reading?.ahead;
        if at_least > BELIEVABLE || at_most < -BELIEVABLE {
            let text = format!(
                "the clock of this machine and that of {service} differ by more than a day; the earlier one counted, so \
                 that nothing is missed, and records may come again. Set the clock of this machine right"
            );
            return Some(Note {
                code: "clock_doubtful",
                message: text,
            });
        }
        if at_least > WORTH_A_NOTE {
            let text = format!(
                "the clock of this machine is ahead of that of {service} by about {}; the next run goes on at the time of \
                 {service}, and may bring again what changed shortly before. Set the clock of this machine right",
                in_words(at_most)
            );
            return Some(Note {
                code: "clock_ahead",
                message: text,
            });
        }
        if at_most < -WORTH_A_NOTE {
            let text = format!(
                "the clock of this machine is behind that of {service} by about {}; what changed in that time comes with \
                 later runs. Set the clock of this machine right",
                in_words(-at_most)
            );
            return Some(Note {
                code: "clock_behind",
                message: text,
            });
        }
        None
    }
}

/// A difference in whole minutes or hours.
fn in_words(difference: SignedDuration) -> String {
    let minutes = (difference.as_secs() + 30) / 60;
    match minutes {
        ..=1 => "a minute".to_owned(),
        2..120 => format!("{minutes} minutes"),
        _ => format!("{} hours", (minutes + 30) / 60),
    }
}

#[cfg(test)]
mod tests {
    use http::{HeaderMap, HeaderValue, header};

    use super::*;
    use crate::message::date;

    const NO_SLACK: SignedDuration = SignedDuration::ZERO;

    fn at(text: &str) -> Timestamp {
        text.parse().unwrap()
    }

    /// The clocks after an answer with this `Date`, asked for at `asked` and there a second later.
    fn after(told: &str, asked: &str) -> ServiceTime {
        let clock = Clock::default();
        let mut headers = HeaderMap::new();
        headers.insert(header::DATE, HeaderValue::from_str(told).unwrap());
        let asked = at(asked);
        let arrived = asked + SignedDuration::from_secs(1);
        clock.compare(asked, arrived, date(&headers));
        clock.time("Acme")
    }

    const NOON: &str = "Mon, 30 Nov 2026 12:00:00 GMT";

    #[test]
    fn a_clock_that_is_right_or_behind_leaves_the_plan() {
        for asked in [
            "2026-11-30T12:00:00.9Z",
            "2026-11-30T12:00:01.9Z",
            "2026-11-30T11:00:00Z",
            "2026-11-28T11:00:00Z",
        ] {
            let planned = at(asked) - SignedDuration::from_millis(300);
            assert_eq!(
                after(NOON, asked).bound(planned, NO_SLACK),
                BookmarkLimit::Planned,
                "{asked}"
            );
        }
        let silent = Clock::default().time("Acme");
        assert_eq!(
            silent.bound(at("2999-01-01T00:00:00Z"), NO_SLACK),
            BookmarkLimit::Planned
        );
        for unread in ["", "yesterday", "2026-11-30T12:00:00Z"] {
            let silent = after(unread, "2026-11-30T13:00:00Z");
            assert_eq!(silent.date(), None, "{unread:?}");
        }
    }

    #[test]
    fn a_clock_that_is_ahead_bounds_the_bookmark_by_the_time_of_the_plan_at_the_service() {
        let clock = after(NOON, "2026-11-30T13:00:00Z");
        // Planned just before, and ten minutes before this answer: the first answer of this part of the pass.
        for (planned, expected) in [
            ("2026-11-30T12:59:59Z", "2026-11-30T11:59:58Z"),
            ("2026-11-30T12:50:00Z", "2026-11-30T11:49:59Z"),
        ] {
            let bound = clock.bound(at(planned), NO_SLACK);
            assert_eq!(bound, BookmarkLimit::At(at(expected)));
        }
        // Never beyond the answer, whatever was planned.
        let bound = clock.bound(at("2999-01-01T00:00:00Z"), NO_SLACK);
        assert_eq!(bound, BookmarkLimit::At(at("2026-11-30T12:00:00Z")));
    }

    #[test]
    fn what_is_read_again_anyway_needs_no_bound() {
        let clock = after(NOON, "2026-11-30T12:00:40Z");
        let planned = at("2026-11-30T12:00:40Z");
        let slack = SignedDuration::from_secs(60);
        assert_eq!(clock.bound(planned, slack), BookmarkLimit::Planned);
        assert!(matches!(
            clock.bound(planned, NO_SLACK),
            BookmarkLimit::At(_)
        ));
    }

    #[test]
    fn a_pass_that_a_clock_planned_before_it_was_set_right_begins_anew() {
        let clock = after(NOON, "2026-11-30T12:00:00Z");
        let planned = at("2026-11-30T13:00:00Z");
        let bound = clock.bound(planned, NO_SLACK);
        assert_eq!(bound, BookmarkLimit::Unknown);
        let since = at("2026-11-01T00:00:00Z");
        assert_eq!(bound.end(planned, since), since);
    }

    #[test]
    fn a_bookmark_never_goes_back_and_never_beyond_the_plan() {
        let (planned, since) = (at("2026-11-30T12:00:00Z"), at("2026-11-29T12:00:00Z"));
        let end = |bound: BookmarkLimit| bound.end(planned, since);
        assert_eq!(end(BookmarkLimit::Planned), planned);
        assert_eq!(end(BookmarkLimit::At(at("1970-01-01T00:00:00Z"))), since);
        assert_eq!(end(BookmarkLimit::At(at("2999-01-01T00:00:00Z"))), planned);
        assert_eq!(BookmarkLimit::Unknown.end(since, planned), since);
    }

    #[test]
    fn a_difference_is_told_by_its_size_and_direction() {
        let code = |asked: &str| after(NOON, asked).note().map(|note| note.code);
        assert_eq!(code("2026-11-30T12:00:30Z"), None);
        assert_eq!(code("2026-11-30T11:59:30Z"), None);
        assert_eq!(code("2026-11-30T13:00:00Z"), Some("clock_ahead"));
        assert_eq!(code("2026-11-30T11:00:00Z"), Some("clock_behind"));
        assert_eq!(code("2026-12-03T12:00:00Z"), Some("clock_doubtful"));
        assert_eq!(code("2025-11-30T12:00:00Z"), Some("clock_doubtful"));
        let note = after(NOON, "2026-11-30T13:00:00Z").note().unwrap();
        assert!(note.message.contains("by about 60 minutes"), "{note:?}");
        let note = after(NOON, "2026-11-30T17:29:00Z").note().unwrap();
        assert!(note.message.contains("by about 5 hours"), "{note:?}");
    }
}
