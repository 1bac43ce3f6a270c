//! A place inside a window, and where reading goes on from it.

use headwater_core::{Error, Kind, Timestamp};
use serde::{Deserialize, Serialize};

use super::{MAX_ROUNDS, WindowPage};
use crate::{fingerprints::FingerprintSet, spelling::plain};

#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(super) struct Offset {
    /// Records in the window when it was opened, or the fewest since.
    pub(super) total: u64,
    /// Records before this offset are still to be read.
    pub(super) end: u64,
    /// Those before this one are another chain's.
    #[serde(default, skip_serializing_if = "is_default")]
    pub(super) floor: u64,
    /// The offset where this chain began; 0 for a window that is read in one.
    #[serde(default, skip_serializing_if = "is_default")]
    pub(super) top: u64,
    /// Records in the window when it was opened, for one that is read in one.
    #[serde(default, skip_serializing_if = "is_default")]
    pub(super) opened: u64,
    /// Index into the page sizes.
    pub(super) size: usize,
    /// Different records that were read.
    #[serde(default, skip_serializing_if = "is_default")]
    pub(super) read: u64,
    /// Records of this reading that came before.
    #[serde(default, skip_serializing_if = "is_default")]
    pub(super) repeated: u64,
    /// Records that the totals of the window leave out.
    #[serde(default, skip_serializing_if = "is_default")]
    pub(super) uncounted: u64,
    /// Records that have left the window since it was opened.
    #[serde(default, skip_serializing_if = "is_default")]
    pub(super) left: u64,
    /// The offset of the next page behind the total, which turned out to be too small; 0 where there is none.
    #[serde(default, skip_serializing_if = "is_default")]
    pub(super) up: u64,
    /// More records are behind the largest offset of the service.
    #[serde(default, skip_serializing_if = "is_default")]
    pub(super) is_open: bool,
    /// Each page is half a page of steps from the next: a row that leads every page takes the place of others.
    #[serde(default, skip_serializing_if = "is_default")]
    pub(super) is_overlapping: bool,
    /// The last page was not what was expected: ask for it again, with the total.
    #[serde(default, skip_serializing_if = "is_default")]
    pub(super) recount: bool,
    /// How often the window was read again.
    #[serde(default, skip_serializing_if = "is_default")]
    pub(super) round: u8,
    /// Records were seen to leave.
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
    /// The same with the records of a page.
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
    /// This window is done.
    NextWindow,
    /// This window is too full: read these instead.
    Split(Vec<(Timestamp, Timestamp)>),
    /// Go on here.
    At(Offset),
    /// The same with the next run, for this reason.
    AtNextRun(Offset, Error),
    /// Go on here, or in chains of it: the service has just told the total.
    Opened(Offset),
}

/// The next request.
pub(super) struct PageRequest {
    pub(super) skip: u64,
    /// Records that it gives where nothing has changed.
    pub(super) wanted: u64,
    pub(super) limit: u64,
    /// Nothing is behind it, as far as the total says.
    pub(super) is_last: bool,
}

impl Offset {
    pub(super) fn of_size(size: usize) -> Self {
        Self {
            size,
            ..Self::default()
        }
    }

    /// Where the chain, or the window, begins.
    pub(super) const fn begin(&self) -> u64 {
        match (self.top, self.opened) {
            (0, 0) => self.total,
            (0, opened) => opened,
            (top, _) => top,
        }
    }

    /// The offset that it is read down to: records that left have moved the others.
    pub(super) const fn floor(&self) -> u64 {
        self.floor.saturating_sub(self.left)
    }

    /// Whether no other chain reads what is behind this one.
    pub(super) const fn is_last_chain(&self) -> bool {
        self.top == 0 || self.top >= self.total
    }

    /// The same of a list that turned out to end there.
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

    /// The page before `end`.
    pub(super) fn ask(&self, size: u64) -> PageRequest {
        // A list that goes on changing would be followed down in ever smaller steps, so it is not asked for less then.
        let left = match self.is_restless {
            true => self.end,
            false => self.end - self.floor().min(self.end),
        };
        let is_last = self.end >= self.total;
        let step = match (self.is_overlapping, is_last) {
            (true, _) => size.div_ceil(2),
            // One more than there should be is asked for: totals have been seen to be too small.
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

    /// How many records are missing that have not left.
    pub(super) const fn short(&self) -> u64 {
        let expected = self.begin().saturating_sub(self.floor);
        expected.saturating_sub(self.left).saturating_sub(self.read)
    }
}

pub(super) fn is_default<T: Default + PartialEq>(value: &T) -> bool {
    *value == T::default()
}

/// Reads a window, or a chain of it, again from its end; with the next run where that was done too often. By then the
/// list may hold still, whatever it did in this one. A chain stays within the offsets that the service has.
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
        let text = "the list does not hold still: records entered or left a closed window; the next run goes on there";
        return NextStep::AtNextRun(anew, Error::new(Kind::DataInvalid, text));
    }
    NextStep::At(anew)
}

/// Different records of a page.
pub(super) fn distinct(page: &WindowPage) -> u64 {
    let mut seen = FingerprintSet::default();
    let prints = page
        .iter()
        .map(|record| FingerprintSet::fingerprint(&plain(record)));
    prints.filter(|print| seen.insert(*print)).count() as u64
}

type Window = (Timestamp, Timestamp);

/// The halves of a window, where it has any.
pub(super) fn halves((from, to): Window) -> Option<[Window; 2]> {
    let middle = from.as_second() + (to.as_second() - from.as_second()) / 2;
    let middle = Timestamp::from_second(middle).ok()?;
    (from < middle && middle < to).then_some([(from, middle), (middle, to)])
}
