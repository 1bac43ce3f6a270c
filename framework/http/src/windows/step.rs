//! A position inside a window, and the next step from it.

use headwater_core::{Error, Kind, Timestamp};
use serde::{Deserialize, Serialize};

use super::{MAX_ROUNDS, WindowPage};
use crate::{
    fingerprints::{FingerprintSet, RecordPrint},
    spelling::plain,
};

#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(super) struct Offset {
    /// The number of records in the window when it was opened, or the lowest since.
    pub(super) total: u64,
    /// Records before this offset are still to be read.
    pub(super) end: u64,
    /// Records before this offset belong to another chain.
    #[serde(default, skip_serializing_if = "is_default")]
    pub(super) floor: u64,
    /// The offset where this chain began; 0 for a window in one chain.
    #[serde(default, skip_serializing_if = "is_default")]
    pub(super) top: u64,
    /// The number of records when the window was opened, for a window in one chain.
    #[serde(default, skip_serializing_if = "is_default")]
    pub(super) opened: u64,
    /// Index into the page sizes.
    pub(super) size: usize,
    /// The number of distinct records read.
    #[serde(default, skip_serializing_if = "is_default")]
    pub(super) read: u64,
    /// The number of repeated records in this reading.
    #[serde(default, skip_serializing_if = "is_default")]
    pub(super) repeated: u64,
    /// The number of records that the totals leave out.
    #[serde(default, skip_serializing_if = "is_default")]
    pub(super) uncounted: u64,
    /// The number of records that left the window since it was opened.
    #[serde(default, skip_serializing_if = "is_default")]
    pub(super) left: u64,
    /// The offset of the next page beyond the total, which was too small; 0 for none.
    #[serde(default, skip_serializing_if = "is_default")]
    pub(super) up: u64,
    /// Whether more records exist beyond the service's largest offset.
    #[serde(default, skip_serializing_if = "is_default")]
    pub(super) is_open: bool,
    /// Whether pages overlap by half: a row at the start of every page hides other records.
    #[serde(default, skip_serializing_if = "is_default")]
    pub(super) is_overlapping: bool,
    /// Whether the last page was unexpected and is requested again, with the total.
    #[serde(default, skip_serializing_if = "is_default")]
    pub(super) recount: bool,
    /// The number of repeated readings of the window.
    #[serde(default, skip_serializing_if = "is_default")]
    pub(super) round: u8,
    /// Whether records left during the read.
    #[serde(default, skip_serializing_if = "is_default")]
    pub(super) is_restless: bool,
}

pub(super) struct Step {
    pub(super) page: WindowPage,
    pub(super) then: NextStep,
}

impl From<NextStep> for Step {
    fn from(then: NextStep) -> Self {
        let page = WindowPage::empty();
        Self { page, then }
    }
}

impl Step {
    /// Returns the step with the records of a page.
    pub(super) fn with(self, page: WindowPage) -> Self {
        let notes = [page.notes, self.page.notes].concat();
        let gaps = self.page.gaps;
        Self {
            page: WindowPage {
                notes,
                gaps,
                ..page
            },
            ..self
        }
    }
}

pub(super) enum NextStep {
    /// This window is finished.
    NextWindow,
    /// This window is too large: read these instead.
    Split(Vec<(Timestamp, Timestamp)>),
    /// Continue here.
    At(Offset),
    /// Continue here in the next run, for this reason.
    AtNextRun(Offset, Error),
    /// Continue here or in chains: the service has just returned the total.
    Opened(Offset),
}

/// The next request.
pub(super) struct PageRequest {
    pub(super) skip: u64,
    /// The expected number of records in an unchanged list.
    pub(super) wanted: u64,
    pub(super) limit: u64,
    /// Whether it is the last page according to the total.
    pub(super) is_last: bool,
}

impl Offset {
    pub(super) fn of_size(size: usize) -> Self {
        Self {
            size,
            ..Self::default()
        }
    }

    /// Returns the start of the chain or the window.
    pub(super) const fn begin(&self) -> u64 {
        match (self.top, self.opened) {
            (0, 0) => self.total,
            (0, opened) => opened,
            (top, _) => top,
        }
    }

    /// Returns the offset where the chain ends: records that left moved the others.
    pub(super) const fn floor(&self) -> u64 {
        self.floor.saturating_sub(self.left)
    }

    /// Returns whether no other chain reads the records after this one.
    pub(super) const fn is_last_chain(&self) -> bool {
        self.top == 0 || self.top >= self.total
    }

    /// Returns the offset for a list that ends there.
    pub(super) fn ending_at(self, end: u64) -> Self {
        let uncounted = end.saturating_sub(self.begin());
        let end = self.begin() + uncounted;
        let (top, opened) = match self.top {
            0 => (0, end),
            _ => (end, 0),
        };
        Self {
            total: self.total + uncounted,
            uncounted: self.uncounted + uncounted,
            top,
            opened,
            up: 0,
            ..self
        }
    }

    /// Returns the request for the page before `end`.
    pub(super) fn ask(&self, size: u64) -> PageRequest {
        // A list that keeps changing would shrink the steps without end, so their size stays.
        let left = match self.is_restless {
            true => self.end,
            false => self.end - self.floor().min(self.end),
        };
        let is_last = self.end >= self.total;
        let step = match (self.is_overlapping, is_last) {
            (true, _) => size.div_ceil(2),
            // Requests one record more than expected: some totals are too small.
            (false, true) if size > 1 => size - 1,
            (false, _) => size,
        };
        let step = step.min(left);
        let skip = self.end - step;
        match self.is_overlapping {
            true => PageRequest {
                skip,
                wanted: size.min(self.total.saturating_sub(skip)).max(step),
                limit: size,
                is_last,
            },
            false => PageRequest {
                skip,
                wanted: step,
                limit: (step + u64::from(is_last)).min(size),
                is_last,
            },
        }
    }

    /// Returns the number of missing records that have not left.
    pub(super) const fn short(&self) -> u64 {
        let expected = self.begin().saturating_sub(self.floor);
        expected.saturating_sub(self.left).saturating_sub(self.read)
    }
}

pub(super) fn is_default<T: Default + PartialEq>(value: &T) -> bool {
    *value == T::default()
}

/// Reads a window or a chain again from its end; after too many rounds, in the next run, when the list may be stable. A
/// chain stays within the service's offsets.
pub(super) fn again(offset: Offset, total: u64, cap: u64) -> NextStep {
    let is_beyond = offset.top > 0 && total > cap;
    let is_enough = is_beyond || offset.round.saturating_add(1) >= MAX_ROUNDS;
    let anew = Offset {
        round: if is_enough { 0 } else { offset.round + 1 },
        size: offset.size,
        ..Offset::default()
    };
    let have_entered = total.saturating_sub(offset.total);
    let top = offset.top.saturating_add(have_entered).min(total).min(cap);
    let anew = match offset.top {
        0 => anew,
        _ => Offset {
            total: total.min(cap),
            end: top,
            top,
            floor: offset.floor.min(top.saturating_sub(1)),
            read: if is_enough { 0 } else { offset.read },
            left: offset.left,
            uncounted: offset.uncounted,
            is_overlapping: offset.is_overlapping,
            ..anew
        },
    };
    if is_enough {
        let text = "the list keeps changing: records entered or left a closed window; the next run continues there";
        return NextStep::AtNextRun(anew, Error::new(Kind::DataInvalid, text));
    }
    NextStep::At(anew)
}

/// Counts the distinct records of a page.
pub(super) fn distinct(page: &WindowPage) -> u64 {
    let mut seen = FingerprintSet::default();
    let prints = page
        .iter()
        .map(|record| RecordPrint::default().of(&plain(record)));
    prints.filter(|print| seen.insert(*print)).count() as u64
}

type Window = (Timestamp, Timestamp);

/// Returns the halves of a window, if it can be halved.
pub(super) fn halves((from, to): Window) -> Option<[Window; 2]> {
    let middle = from.as_second() + (to.as_second() - from.as_second()) / 2;
    let middle = Timestamp::from_second(middle).ok()?;
    (from < middle && middle < to).then_some([(from, middle), (middle, to)])
}
