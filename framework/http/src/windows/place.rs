//! A place inside a window, and where reading goes on from it.

use headwater_core::{Error, Kind, Timestamp};
use serde::{Deserialize, Serialize};

use super::{Found, MOST_ROUNDS};
use crate::seen::Seen;

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
    /// Index into the page sizes.
    pub(super) size: usize,
    /// The first record of the last page.
    #[serde(default, skip_serializing_if = "is_default")]
    pub(super) last: Option<u64>,
    /// A digest of the last page.
    #[serde(default, skip_serializing_if = "is_default")]
    pub(super) page: Option<u64>,
    /// The first record of the window when it was opened.
    #[serde(default, skip_serializing_if = "is_default")]
    pub(super) head: Option<u64>,
    /// A digest of its first page then, of the largest size.
    #[serde(default, skip_serializing_if = "is_default")]
    pub(super) head_page: Option<u64>,
    /// Each page is half a page of steps from the next: a row that leads every page takes the place of others.
    #[serde(default, skip_serializing_if = "is_default")]
    pub(super) is_overlapping: bool,
    /// The last page was shorter than asked for, or the one before once more: ask for it again, with the total.
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
    pub(super) page: Found,
    pub(super) then: Then,
}

pub(super) enum Then {
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

/// What a page looks like beside the one before it.
#[derive(Clone, Copy)]
pub(super) struct Look {
    pub(super) first: Option<u64>,
    pub(super) page: Option<u64>,
}

impl Look {
    /// The first record, and the page by three of its records and their number: pages that differ behind a row that leads
    /// them all differ in the others.
    pub(super) fn of(page: &Found) -> Self {
        let print = |index: usize| {
            let record = page.records.get(index)?;
            Some(Seen::fingerprint(&page.body[record.clone()]))
        };
        let count = page.records.len();
        let first = print(0);
        let digest = first.map(|first| {
            let others = [print(count / 2), print(count - 1), Some(count as u64)];
            let parts = others.into_iter().flatten();
            parts.fold(first, |digest, part| {
                Seen::fingerprint(&[digest.to_le_bytes(), part.to_le_bytes()].concat())
            })
        });
        Self {
            first,
            page: digest,
        }
    }

    /// Whether this is the page before once more.
    pub(super) fn came_before(self, offset: &Offset) -> bool {
        // An older state knows the first record only.
        self.is_led_as_before(offset) && (offset.page.is_none() || self.page == offset.page)
    }

    /// Whether this is the page that the window was opened with.
    pub(super) fn is_head(self, offset: &Offset) -> bool {
        offset.size == 0 && self.page.is_some() && self.page == offset.head_page
    }

    /// Whether the same record leads this page and the one before.
    pub(super) fn is_led_as_before(self, offset: &Offset) -> bool {
        self.first.is_some() && self.first == offset.last
    }
}

impl Offset {
    /// Where the chain, or the window, begins.
    pub(super) const fn begin(&self) -> u64 {
        if self.top == 0 { self.total } else { self.top }
    }
}

pub(super) fn is_default<T: Default + PartialEq>(value: &T) -> bool {
    *value == T::default()
}

/// Reads a window, or a chain of it, again from its end; with the next run where that was done too often. By then the
/// list may hold still, whatever it did in this one. A chain stays within the offsets that the service has.
pub(super) fn again(offset: Offset, total: u64, cap: u64) -> Then {
    let is_beyond = offset.top > 0 && total > cap;
    let is_enough = is_beyond || offset.round.saturating_add(1) >= MOST_ROUNDS;
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
            head: offset.head,
            is_overlapping: offset.is_overlapping,
            ..anew
        },
    };
    if is_enough {
        let text = "the list does not hold still: records entered a closed window; the next run goes on there";
        return Then::AtNextRun(anew, Error::new(Kind::DataInvalid, text));
    }
    Then::At(anew)
}

/// A page has the record that leads it once more.
pub(super) fn repeats_first(page: &Found) -> bool {
    let mut records = page.iter();
    let first = records.next();
    first.is_some_and(|first| records.any(|record| record == first))
}

/// Different records of a page.
pub(super) fn distinct(page: &Found) -> u64 {
    let mut seen = Seen::default();
    let prints = page.iter().map(Seen::fingerprint);
    prints.filter(|print| seen.insert(*print)).count() as u64
}

type Window = (Timestamp, Timestamp);

/// The halves of a window, where it has any.
pub(super) fn halves((from, to): Window) -> Option<[Window; 2]> {
    let middle = from.as_second() + (to.as_second() - from.as_second()) / 2;
    let middle = Timestamp::from_second(middle).ok()?;
    (from < middle && middle < to).then_some([(from, middle), (middle, to)])
}
