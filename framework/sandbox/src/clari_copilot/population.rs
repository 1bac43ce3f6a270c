//! The generated workspace: how many records it has, and the light facts of each call.
//!
//! Everything here is computed from the seed and the index on access, so that a list over a million
//! calls holds none of them in memory. The facts that filters read are separate functions, so that a
//! filter never builds a whole call.

use std::ops::Range;

use super::crm::CrmReference;
use super::people::{self, Guest, User};
use super::query::Window;
use super::topics::Topic;
use super::words::{
    API_CALL_TYPES, CALL_TYPES, COMMON_CALL_TYPES, FINISHED_STATUSES, UNFINISHED_STATUSES,
};
use crate::ids;
use crate::random::{Purpose, draw, draw_below, pick_at, scale};

/// 2025-01-01T00:00:00Z in milliseconds since the Unix epoch: no call starts earlier.
pub(crate) const FIRST_TIME: i64 = 1_735_689_600_000;

/// One year in milliseconds: all calls start within it, however many they are.
const SPAN: u64 = 365 * 24 * 3_600_000;

/// Three days in milliseconds: a generated call is last modified less than this after its time.
const MAXIMUM_DELAY: i64 = 3 * 24 * 3_600_000;

const HOUR: u64 = 3_600_000;
const MINUTE: u64 = 60_000;

/// The immutable part of a workspace.
#[derive(Debug)]
pub(crate) struct Population {
    pub(crate) seed: u64,
    pub(crate) calls: u64,
    pub(crate) users: Vec<User>,
    pub(crate) topics: Vec<Topic>,
    /// Accounts and deals are numbered `0..accounts`, contacts `0..2 * accounts`.
    pub(crate) accounts: u64,
}

impl Population {
    pub(crate) fn new(seed: u64, calls: u64) -> Self {
        Self {
            seed,
            calls,
            users: people::users(seed, people::user_count(calls)),
            topics: super::topics::topics(seed),
            accounts: (calls / 4).clamp(1, 20_000),
        }
    }

    pub(crate) fn call_id(&self, index: u64) -> String {
        ids::uuid(self.seed, Purpose::CallId, index)
    }

    pub(crate) fn call_index(&self, id: &str) -> Option<u64> {
        ids::uuid_index(self.seed, Purpose::CallId, id).filter(|index| *index < self.calls)
    }

    /// Where the part of the year that belongs to call `index` begins.
    fn slot_start(&self, index: u64) -> u64 {
        let offset = u128::from(index) * u128::from(SPAN) / u128::from(self.calls.max(1));
        u64::try_from(offset).unwrap_or(SPAN)
    }

    /// The scheduled or start time of a call in milliseconds since the Unix epoch. Strictly
    /// increasing with the index, because every call has a slot of the year to itself.
    pub(crate) fn time(&self, index: u64) -> i64 {
        let start = self.slot_start(index);
        let width = self.slot_start(index + 1) - start;
        let offset = start + draw_below(self.seed, Purpose::CallTime, index, width);
        FIRST_TIME + i64::try_from(offset).unwrap_or_default()
    }

    /// When the status of a call last changed by itself, in milliseconds since the Unix epoch.
    pub(crate) fn modified(&self, index: u64) -> i64 {
        let number = draw(self.seed, Purpose::CallDelay, index);
        let after_the_end = 1_000 * self.duration(index) + MINUTE + scale(number, 20 * MINUTE);
        let delay = match number % 10 {
            0 => HOUR + scale(number, 70 * HOUR),
            _ => after_the_end,
        };
        self.time(index) + i64::try_from(delay).unwrap_or_default()
    }

    /// The indexes of the calls whose time lies within a window.
    pub(crate) fn calls_at(&self, window: Window) -> Range<u64> {
        let start = match window.after {
            Some(after) => self.first_call_where(|time| time > after),
            None => 0,
        };
        let end = match window.before {
            Some(before) => self.first_call_where(|time| time >= before),
            None => self.calls,
        };
        start..end.max(start)
    }

    /// The indexes that hold every call whose generated modified time lies within a window (and
    /// calls of up to three days more).
    pub(crate) fn calls_modified_about(&self, window: Window) -> Range<u64> {
        self.calls_at(Window {
            after: window
                .after
                .map(|after| after.saturating_sub(MAXIMUM_DELAY)),
            before: window.before,
        })
    }

    /// Binary search over the call times; `is_late` must be false, then true.
    fn first_call_where(&self, is_late: impl Fn(i64) -> bool) -> u64 {
        let (mut low, mut high) = (0, self.calls);
        while low < high {
            let middle = low + (high - low) / 2;
            if is_late(self.time(middle)) {
                high = middle;
            } else {
                low = middle + 1;
            }
        }
        low
    }

    /// The generated status: 70 % and 15 % finished in one way or the other, 1 % each of the rest.
    pub(crate) fn status(&self, index: u64) -> &'static str {
        let percent = draw_below(self.seed, Purpose::CallStatus, index, 100);
        match percent {
            0..70 => pick_at(FINISHED_STATUSES, 0),
            70..85 => pick_at(FINISHED_STATUSES, 1),
            _ => pick_at(UNFINISHED_STATUSES, percent - 85),
        }
    }

    /// Three of a hundred calls are private; every workspace of ten calls or more has one.
    pub(crate) fn is_private(&self, index: u64) -> bool {
        index % 33 == 5
    }

    /// A `CallType`, or for one call in fifty an `APICallType` (both observed live).
    pub(crate) fn call_type(&self, index: u64) -> &'static str {
        let number = draw(self.seed, Purpose::CallType, index);
        match number % 50 {
            0..25 => pick_at(COMMON_CALL_TYPES, number >> 32),
            25..49 => pick_at(CALL_TYPES, number >> 32),
            _ => pick_at(API_CALL_TYPES, number >> 32),
        }
    }

    /// The length of the recording in seconds, 60 to 7,200.
    pub(crate) fn duration(&self, index: u64) -> u64 {
        let number = draw(self.seed, Purpose::CallDuration, index);
        match number % 10 {
            0 => 60 + scale(number, 240),
            1 => 3_600 + scale(number, 3_601),
            _ => 600 + scale(number, 3_000),
        }
    }

    /// The id of the call in the system it came from; two calls in five have one.
    pub(crate) fn source_id(&self, index: u64) -> Option<String> {
        let number = draw(self.seed, Purpose::CallSource, index);
        match number % 10 {
            0 => Some("REQUESTED_POST".to_owned()),
            1..4 => Some(format!("{}", 80_000_000_000 + number % 10_000_000_000)),
            _ => None,
        }
    }

    /// The users of the call, the organizer first.
    pub(crate) fn call_users(&self, index: u64) -> impl Iterator<Item = &User> {
        let count = self.users.len() as u64;
        people::call_user_positions(self.seed, index, count)
            .into_iter()
            .filter_map(|position| self.users.get(usize::try_from(position).ok()?))
    }

    /// The people from outside: contacts of the account, or a stranger when no account is known.
    pub(crate) fn guests(&self, index: u64) -> Vec<Guest> {
        match self.crm_reference(index) {
            Some(reference) => reference
                .contacts()
                .map(|contact| super::crm::contact_guest(self.seed, contact))
                .collect(),
            None => vec![people::stranger(self.seed, index)],
        }
    }

    /// The CRM records a call belongs to. One call in five has none; one in fifty names records
    /// that the CRM endpoints do not know.
    pub(crate) fn crm_reference(&self, index: u64) -> Option<CrmReference> {
        let number = draw(self.seed, Purpose::CallAccount, index);
        if index % 50 == 7 {
            let account = self.accounts + (index / 50) % (self.accounts / 20 + 1);
            return Some(CrmReference { account, number });
        }
        if number.is_multiple_of(5) {
            return None;
        }
        let account = scale(number, self.accounts);
        Some(CrmReference { account, number })
    }

    /// The topics that came up in the call (none, up to three), each once.
    pub(crate) fn call_topics(&self, index: u64) -> impl Iterator<Item = &Topic> {
        let number = draw(self.seed, Purpose::CallTopics, index);
        let count = match number % 10 {
            0..4 => 0,
            4..7 => 1,
            7..9 => 2,
            _ => 3,
        };
        let first = usize::try_from((number >> 8) % self.topics.len().max(1) as u64);
        self.topics
            .iter()
            .cycle()
            .skip(first.unwrap_or_default())
            .step_by(3)
            .take(count)
    }

    /// Whether the call was scored: one in six of those that were processed and are not private.
    pub(crate) fn has_scorecard(&self, index: u64) -> bool {
        draw_below(self.seed, Purpose::Scorecard, index, 5) == 0
            && !self.is_private(index)
            && is_finished(self.status(index))
    }
}

/// Whether a call of this status has a recording, metrics and a transcript.
pub(crate) fn is_finished(status: &str) -> bool {
    FINISHED_STATUSES.contains(&status)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_increase_within_the_year_whatever_the_size() {
        for calls in [10, 120, 5_000, 1_000_000] {
            let population = Population::new(1, calls);
            let mut previous = FIRST_TIME - 1;
            for index in 0..calls.min(20_000) {
                let time = population.time(index);
                assert!(time > previous);
                let delay = population.modified(index) - time;
                assert!((1..MAXIMUM_DELAY).contains(&delay));
                previous = time;
            }
            let end = FIRST_TIME + i64::try_from(SPAN).unwrap();
            assert!(population.time(calls - 1) < end);
        }
    }

    #[test]
    fn windows_hold_exactly_the_calls_between_the_bounds() {
        let population = Population::new(9, 500);
        let window = Window {
            after: Some(population.time(17)),
            before: Some(population.time(90)),
        };
        assert_eq!(population.calls_at(window), 18..90);
        let reversed = Window {
            after: window.before,
            before: window.after,
        };
        assert!(population.calls_at(reversed).is_empty());
        assert_eq!(population.calls_at(Window::default()), 0..500);
    }

    #[test]
    fn topics_of_a_call_are_distinct() {
        let population = Population::new(9, 2_000);
        for index in 0..2_000 {
            let names: Vec<&str> = population
                .call_topics(index)
                .map(|topic| topic.name)
                .collect();
            let distinct: std::collections::BTreeSet<&&str> = names.iter().collect();
            assert_eq!(distinct.len(), names.len());
        }
    }
}
