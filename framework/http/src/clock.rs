//! Compares a service's clock, from the `Date` of its responses, with this machine's clock.
//!
//! This machine's clock plans a pass, and the bookmark states that every record before some moment was read. If this
//! clock is ahead, the moment is still in the future at the service, and later changes until then would never be read.
//! So the service's time limits a bookmark, and only this module decides how.

use std::sync::{Mutex, PoisonError};

use headwater_core::{Note, SignedDuration, Timestamp};

/// A `Date` counts whole seconds, and servers renew it once a second.
const RESOLUTION: SignedDuration = SignedDuration::from_secs(2);
/// A larger difference gives a note; an hour of difference delays records by an hour.
const WORTH_A_NOTE: SignedDuration = SignedDuration::from_secs(60);
/// A larger difference is more than a wrong time zone: either clock may be broken.
const BELIEVABLE: SignedDuration = SignedDuration::from_hours(36);

/// The latest comparison of the two clocks.
#[derive(Debug, Default)]
pub(crate) struct Clock(Mutex<Option<Reading>>);

/// The comparison of one response.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Reading {
    /// The service's time.
    date: Timestamp,
    /// The minimum and maximum lead of this machine's clock.
    ahead: (SignedDuration, SignedDuration),
}

impl Clock {
    /// Compares the clocks by a response, with the times of its request and arrival on this machine.
    pub(crate) fn compare(
        &self,
        requested: Timestamp,
        arrived: Timestamp,
        date: Option<Timestamp>,
    ) {
        let Some(date) = date else { return };
        let reading = Reading {
            date,
            ahead: (requested.duration_since(date), arrived.duration_since(date)),
        };
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Some(reading);
    }

    pub(crate) fn time(&self, service: &'static str) -> ServiceTime {
        let reading = *self.0.lock().unwrap_or_else(PoisonError::into_inner);
        ServiceTime { service, reading }
    }
}

/// The knowledge about a service's clock. Without a `Date` in its responses, this machine's clock counts.
#[derive(Clone, Copy, Debug)]
pub struct ServiceTime {
    service: &'static str,
    reading: Option<Reading>,
}

/// The limit of a bookmark.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BookmarkLimit {
    /// The time of the plan.
    Planned,
    /// This moment: the time of the plan by the service's clock.
    At(Timestamp),
    /// The planning clock was ahead and has been corrected: the start of the pass is unknown, so the next pass starts
    /// where this one did.
    Unknown,
}

impl BookmarkLimit {
    /// Returns the end of a pass that was planned up to `planned` and began at `since`.
    pub fn end(self, planned: Timestamp, since: Timestamp) -> Timestamp {
        match self {
            Self::Planned => planned,
            Self::At(at) => at.min(planned).max(since.min(planned)),
            Self::Unknown => since.min(planned),
        }
    }
}

impl ServiceTime {
    /// Returns the service's time of its last response, if it has a `Date`.
    pub fn date(&self) -> Option<Timestamp> {
        self.reading.map(|reading| reading.date)
    }

    /// Returns the limit of the bookmark of a pass planned at this machine's time. Called after the first response.
    /// `slack` is the overlap of the next pass: a smaller difference loses no record.
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

    /// Returns a note about the difference between the clocks.
    pub fn note(&self) -> Option<Note> {
        let service = self.service;
        let (at_least, at_most) = self.reading?.ahead;
        if at_least > BELIEVABLE || at_most < -BELIEVABLE {
            let text = format!(
                "the clocks of this machine and of {service} differ by more than a day; the earlier one counts, so no record \
                 is lost, but records may repeat. Correct the clock of this machine"
            );
            return Some(Note {
                code: "clock_doubtful",
                message: text,
            });
        }
        if at_least > WORTH_A_NOTE {
            let text = format!(
                "the clock of this machine is ahead of that of {service} by about {}; the next run continues at the time of \
                 {service} and may repeat the latest records. Correct the clock of this machine",
                in_words(at_most)
            );
            return Some(Note {
                code: "clock_ahead",
                message: text,
            });
        }
        if at_most < -WORTH_A_NOTE {
            let text = format!(
                "the clock of this machine is behind that of {service} by about {}; later runs read the changes of that \
                 time. Correct the clock of this machine",
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

/// Formats a difference in whole minutes or hours.
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

    /// Returns the clocks after a response with this `Date`, requested at `requested` and received a second later.
    fn after(date_header: &str, requested: &str) -> ServiceTime {
        let clock = Clock::default();
        let mut headers = HeaderMap::new();
        headers.insert(header::DATE, HeaderValue::from_str(date_header).unwrap());
        let requested = at(requested);
        let arrived = requested + SignedDuration::from_secs(1);
        clock.compare(requested, arrived, date(&headers));
        clock.time("Acme")
    }

    const NOON: &str = "Mon, 30 Nov 2026 12:00:00 GMT";

    #[test]
    fn a_clock_that_is_right_or_behind_leaves_the_plan() {
        for requested in [
            "2026-11-30T12:00:00.9Z",
            "2026-11-30T12:00:01.9Z",
            "2026-11-30T11:00:00Z",
            "2026-11-28T11:00:00Z",
        ] {
            let planned = at(requested) - SignedDuration::from_millis(300);
            assert_eq!(
                after(NOON, requested).bound(planned, NO_SLACK),
                BookmarkLimit::Planned,
                "{requested}"
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
        // Planned just before this response, the first one of this part of the pass, and ten minutes before it.
        for (planned, expected) in [
            ("2026-11-30T12:59:59Z", "2026-11-30T11:59:58Z"),
            ("2026-11-30T12:50:00Z", "2026-11-30T11:49:59Z"),
        ] {
            let bound = clock.bound(at(planned), NO_SLACK);
            assert_eq!(bound, BookmarkLimit::At(at(expected)));
        }
        // Never beyond the response, for any plan.
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
        let code = |requested: &str| after(NOON, requested).note().map(|note| note.code);
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
