//! `/calls`: filters, order and paging over generated and created calls.

use std::cmp::Ordering;
use std::collections::BinaryHeap;

use serde_json::{Value, json};

use super::call::Call;
use super::media::MediaRequest;
use super::query::{Direction, Invalid, Paging, Window};
use super::words::{CALL_STATUSES, CALL_TYPES};
use super::workspace::Workspace;
use crate::query::Query;

/// The longest duration in a request, in seconds (vendor document).
const LONGEST_DURATION: u64 = 7_200;

/// The filters of a request. An empty list does not filter.
#[derive(Clone, Debug, Default)]
pub(crate) struct CallFilter {
    users: Vec<String>,
    attendees: Vec<String>,
    topics: Vec<String>,
    statuses: Vec<String>,
    types: Vec<String>,
    source_ids: Vec<String>,
    pub(crate) time: Window,
    pub(crate) modified: Window,
    duration: Window,
    include_private: bool,
}

impl CallFilter {
    fn parse(query: &Query) -> Result<Self, Invalid> {
        Ok(Self {
            users: query.all("filterUser"),
            attendees: query.all("filterAttendees"),
            topics: query.all("filterTopics"),
            statuses: query.all_of("filterStatus", CALL_STATUSES)?,
            types: query.all_of("filterType", CALL_TYPES)?,
            source_ids: query.all("filterSourceId"),
            time: query.time_window("filterTime")?,
            modified: query.time_window("filterModified")?,
            duration: query.integer_window("filterDuration", 0..=LONGEST_DURATION)?,
            include_private: query.boolean_or_digit("includePrivate")?,
        })
    }

    /// Whether a call passes every filter; the cheap facts are checked first.
    pub(crate) fn accepts(&self, call: &Call<'_>) -> bool {
        let allows = |wanted: &[String], value: &str| {
            wanted.is_empty() || wanted.iter().any(|entry| entry == value)
        };
        (self.include_private || !call.is_private())
            && (self.time.is_open() || self.time.contains(call.time()))
            && (self.modified.is_open() || self.modified.contains(call.modified()))
            && (self.statuses.is_empty() || allows(&self.statuses, call.status()))
            && (self.types.is_empty() || allows(&self.types, call.call_type()))
            && self.accepts_duration(call)
            && (self.source_ids.is_empty()
                || call
                    .source_id()
                    .is_some_and(|source_id| allows(&self.source_ids, &source_id)))
            && (self.users.is_empty() || call.has_user(&self.users))
            && (self.attendees.is_empty() || call.has_attendee(&self.attendees))
            && (self.topics.is_empty() || call.has_topic(&self.topics))
    }

    fn accepts_duration(&self, call: &Call<'_>) -> bool {
        self.duration.is_open()
            || call
                .duration()
                .is_some_and(|seconds| self.duration.contains(seconds))
    }
}

/// The sort key of a list.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum SortKey {
    /// The scheduled or start time.
    Time,
    /// The last processed time; proposed: the same as the last modified time.
    Processed,
}

/// The sort key and the direction of a list.
#[derive(Clone, Copy, Debug)]
pub(crate) struct CallOrder {
    pub(crate) key: SortKey,
    pub(crate) direction: Direction,
}

impl CallOrder {
    /// `sortTime` goes before `sortProcessed`; without either the newest call comes first (both
    /// proposed; the document leaves them open).
    fn parse(query: &Query) -> Result<Self, Invalid> {
        let by_time = query.direction("sortTime")?;
        let by_processed = query.direction("sortProcessed")?;
        Ok(match (by_time, by_processed) {
            (None, Some(direction)) => Self {
                key: SortKey::Processed,
                direction,
            },
            (direction, _) => Self {
                key: SortKey::Time,
                direction: direction.unwrap_or(Direction::Descending),
            },
        })
    }

    /// A number that is smaller for calls that come earlier in the list.
    fn rank(&self, call: &Call<'_>) -> i64 {
        let value = match self.key {
            SortKey::Time => call.time(),
            SortKey::Processed => call.modified(),
        };
        match self.direction {
            Direction::Ascending => value,
            Direction::Descending => -value,
        }
    }
}

/// A checked request for `/calls`.
#[derive(Clone, Debug)]
pub(crate) struct CallsRequest {
    paging: Paging,
    include_pagination: bool,
    pub(crate) include_audio: bool,
    pub(crate) include_video: bool,
    filter: CallFilter,
    order: CallOrder,
}

impl CallsRequest {
    pub(crate) fn parse(query: &Query) -> Result<Self, Invalid> {
        Ok(Self {
            paging: query.paging(25)?,
            include_pagination: query.boolean("includePagination", true)?,
            include_audio: query.boolean("includeAudio", false)?,
            include_video: query.boolean("includeVideo", false)?,
            filter: CallFilter::parse(query)?,
            order: CallOrder::parse(query)?,
        })
    }

    /// The answer to the request.
    pub(crate) fn answer(&self, workspace: &Workspace, media: &MediaRequest<'_>) -> Value {
        let selection = self.select(workspace);
        let calls: Vec<Value> = selection
            .page
            .iter()
            .map(|call| Value::Object(call.record(media)))
            .collect();
        if !self.include_pagination {
            return json!({"calls": calls});
        }
        let pagination = self.paging.summary(selection.matched, calls.len());
        json!({"calls": calls, "pagination": pagination})
    }

    /// Walks the calls that can match, counts those that do and keeps the first
    /// `skip + limit` of them: memory is bounded by the page's position, not by the workspace.
    fn select<'a>(&self, workspace: &'a Workspace) -> Selection<'a> {
        let wanted = self.paging.skip + self.paging.limit;
        let mut matched = 0_usize;
        let mut first = FirstRanked::new(wanted);
        for call in workspace.calls_out_of_order(&self.filter) {
            if self.filter.accepts(&call) {
                matched += 1;
                first.offer(self.order.rank(&call), call);
            }
        }
        let in_order = workspace.calls_in_order(&self.filter);
        let walk: Box<dyn Iterator<Item = u64>> = match self.order.direction {
            Direction::Ascending => Box::new(in_order),
            Direction::Descending => Box::new(in_order.rev()),
        };
        // Without a total to count, a walk in the order of the list may end with the page.
        let may_stop_early = !self.include_pagination && self.order.key == SortKey::Time;
        let mut walked = 0_usize;
        for index in walk {
            let call = workspace.generated_call(index);
            if !self.filter.accepts(&call) {
                continue;
            }
            matched += 1;
            walked += 1;
            first.offer(self.order.rank(&call), call);
            if may_stop_early && walked == wanted {
                break;
            }
        }
        Selection {
            matched,
            page: first.into_page(self.paging.skip),
        }
    }
}

struct Selection<'a> {
    matched: usize,
    page: Vec<Call<'a>>,
}

/// Keeps the `capacity` entries of lowest rank that it was offered.
struct FirstRanked<'a> {
    capacity: usize,
    heap: BinaryHeap<Ranked<'a>>,
}

impl<'a> FirstRanked<'a> {
    fn new(capacity: usize) -> Self {
        Self {
            capacity,
            heap: BinaryHeap::new(),
        }
    }

    fn offer(&mut self, rank: i64, call: Call<'a>) {
        let ranked = Ranked { rank, call };
        if self.heap.len() < self.capacity {
            self.heap.push(ranked);
            return;
        }
        if let Some(mut last) = self.heap.peek_mut()
            && ranked < *last
        {
            *last = ranked;
        }
    }

    fn into_page(self, skip: usize) -> Vec<Call<'a>> {
        self.heap
            .into_sorted_vec()
            .into_iter()
            .skip(skip)
            .map(|ranked| ranked.call)
            .collect()
    }
}

/// A call and its position in the list; the number orders calls of equal rank.
struct Ranked<'a> {
    rank: i64,
    call: Call<'a>,
}

impl Ranked<'_> {
    fn position(&self) -> (i64, u64) {
        (self.rank, self.call.number())
    }
}

impl PartialEq for Ranked<'_> {
    fn eq(&self, other: &Self) -> bool {
        self.position() == other.position()
    }
}

impl Eq for Ranked<'_> {}

impl PartialOrd for Ranked<'_> {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Ranked<'_> {
    fn cmp(&self, other: &Self) -> Ordering {
        self.position().cmp(&other.position())
    }
}

#[cfg(test)]
mod tests {
    use super::super::population::Population;
    use super::*;

    #[test]
    fn the_first_ranked_are_kept_in_order() {
        let workspace = Workspace::new(Population::new(1, 10));
        let mut first = FirstRanked::new(3);
        for rank in [5, 1, 4, 2, 3] {
            first.offer(rank, workspace.generated_call(rank.unsigned_abs()));
        }
        let numbers: Vec<u64> = first.into_page(1).iter().map(Call::number).collect();
        assert_eq!(numbers, [2, 3]);
    }
}
