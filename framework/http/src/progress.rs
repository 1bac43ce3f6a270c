//! How far reading a list has come: every read ends, and a list that changes while it is read is read once more.
//!
//! What a service says of its own pages is not believed further than its records bear it out. A page counts as new where it
//! has a record that no earlier page of the same reading had, whatever leads it: one row that is pinned to every page, or
//! a hundred rows that came in front, do not make the same page of two. Pages without anything new are counted and bounded.
//!
//! A total that moves, or that is larger than the number of records that came, means that records may have been passed
//! over. The list is then read a second time, without what came already, and what is still in doubt is a [`Gap`].

use std::{mem, ops::Range};

use headwater_core::{Error, Gap, Kind, Mend, Note, Result};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::{envelope::Split, fingerprints::FingerprintSet, spelling::plain};

/// Empty pages in a row that name a next one.
const MAX_EMPTY: u32 = 10;
/// Pages in a row whose records all came before: more than a burst of new records pushes into view again.
const MAX_REPEATED: u32 = 3;
/// Records that a list may have beyond twice the total that it began with.
const MARGIN: u64 = 300;
/// Pages of a list that tells no total.
const MAX_PAGES: u64 = 100_000;
/// Fingerprints of records that are kept; of a longer list, an even part of them is.
const MAX_KEPT: usize = 8_192;
/// One in two to the power of this is the smallest part.
const MAX_SPARSE: u8 = 40;

/// What one list has shown so far. It travels in the token of the next page.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Progress {
    /// Cursors and links that were used: one that comes back is a loop, however long.
    #[serde(default)]
    used: FingerprintSet,
    /// Records of this reading, repeated ones included.
    #[serde(default)]
    read: u64,
    /// Records of this reading that came before in it.
    #[serde(default, skip_serializing_if = "is_default")]
    repeated: u64,
    #[serde(default, skip_serializing_if = "is_default")]
    pages: u64,
    #[serde(default, skip_serializing_if = "is_default")]
    empty_pages: u32,
    #[serde(default, skip_serializing_if = "is_default")]
    repeated_pages: u32,
    /// The last total and the first one: a list that grows with every answer is not followed for ever.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    total: Option<u64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    first_total: Option<u64>,
    /// What the totals of this reading differ by, added up.
    #[serde(default, skip_serializing_if = "is_default")]
    moved: u64,
    #[serde(default, skip_serializing_if = "Sample::is_empty")]
    records: Sample,
    /// Records of the first reading, in the second one.
    #[serde(default, skip_serializing_if = "Sample::is_empty")]
    delivered: Sample,
    #[serde(default, skip_serializing_if = "is_default")]
    is_second: bool,
    /// The last page named another one, which was not read.
    #[serde(default, skip_serializing_if = "is_default")]
    is_open: bool,
}

/// The end of a list.
#[derive(Debug, Default)]
pub struct Ending {
    /// Where the list has to be read once more, from its start: the progress to begin with.
    pub again: Option<Progress>,
    /// What is harmless but told.
    pub notes: Vec<Note>,
    /// What may be missing.
    pub gaps: Vec<Gap>,
}

impl Progress {
    /// Goes on from what an older state kept: the cursors and links that were used.
    pub fn after(used: FingerprintSet) -> Self {
        Self {
            used,
            ..Self::default()
        }
    }

    /// Whether this is the second reading of the list.
    pub const fn is_second(&self) -> bool {
        self.is_second
    }

    /// Records of this reading, repeated ones included.
    pub const fn read(&self) -> u64 {
        self.read
    }

    /// How far an offset moves on after a page of so many records. The second reading takes half a page over again, so that
    /// a row that is pinned to each page pushes none out of sight.
    pub const fn step(&self, count: usize) -> u64 {
        match self.is_second && !self.is_stuck() {
            true => (count as u64).div_ceil(2),
            false => count as u64,
        }
    }

    /// The last total that the list told.
    pub const fn total(&self) -> Option<u64> {
        self.total
    }

    /// Refuses an answer without a list where records are still to come.
    pub fn require_list(&self, split: &Split, total: Option<u64>) -> Result<()> {
        let total = total.or(self.total).unwrap_or(0);
        if !split.taken_as_empty || total <= self.distinct() {
            return Ok(());
        }
        let text = format!("the answer has no list, though the total of the list is {total}");
        Err(Error::new(Kind::DataInvalid, text).with("records", self.read))
    }

    /// Takes a page in, with the total that it tells, and leaves out the records that came before. Of a list whose records
    /// have no key, only a page that came before as a whole is left out: two of its records may well be the same.
    pub fn take(
        &mut self,
        body: &[u8],
        records: &mut Vec<Range<usize>>,
        total: Option<u64>,
        has_key: bool,
    ) {
        if let Some(total) = total {
            let last = self.total.replace(total);
            let moved = last.map_or(0, |last| last.abs_diff(total));
            self.moved = self.moved.saturating_add(moved);
            self.first_total.get_or_insert(total);
        }
        self.pages = self.pages.saturating_add(1);
        self.read = self.read.saturating_add(records.len() as u64);
        if records.is_empty() {
            self.empty_pages = self.empty_pages.saturating_add(1);
            return;
        }
        self.empty_pages = 0;
        let prints = records
            .iter()
            .map(|place| FingerprintSet::fingerprint(&plain(&body[place.clone()])));
        let prints: Vec<u64> = prints.collect();
        let came_before: Vec<Option<bool>> = prints
            .iter()
            .map(|print| self.records.has(*print))
            .collect();
        let mut is_repeated = Vec::with_capacity(prints.len());
        for (print, came_before) in prints.iter().zip(&came_before) {
            let is_new = self.records.insert(*print);
            is_repeated.push(match has_key {
                true => is_new == Some(false),
                false => *came_before == Some(true),
            });
        }
        let repeated = is_repeated.iter().filter(|is| **is).count() as u64;
        let stands_for = 1_u64 << self.records.level.min(MAX_SPARSE);
        self.repeated = self
            .repeated
            .saturating_add(repeated.saturating_mul(stands_for));
        if came_before.contains(&Some(false)) {
            self.repeated_pages = 0;
        } else if came_before.contains(&Some(true)) {
            self.repeated_pages = self.repeated_pages.saturating_add(1);
        }
        let is_whole = came_before.iter().all(|before| *before == Some(true));
        let was_delivered = |print: &u64| has_key && self.delivered.has(*print) == Some(true);
        let mut index = 0;
        records.retain(|_| {
            let is_left_out =
                (has_key || is_whole) && is_repeated[index] || was_delivered(&prints[index]);
            index += 1;
            !is_left_out
        });
    }

    /// Whether reading goes on at the next page that the service names, by a cursor or link where it uses these. A list
    /// that gave as many records as its total is over where a page brings nothing new; its end tells whether these were
    /// all of them.
    pub fn goes_on(&mut self, token: Option<&str>) -> Result<bool> {
        let is_idle = self.empty_pages > 0 || self.repeated_pages > 0;
        if is_idle && self.total.is_some_and(|total| self.read >= total) {
            self.is_open = token.is_some();
            return Ok(false);
        }
        let endless = |what: &str| {
            let text = format!("{what}; reading on would never end");
            Err(Error::new(Kind::DataInvalid, text).with("records", self.read))
        };
        if self.repeated_pages >= MAX_REPEATED {
            return endless(&format!(
                "the same page came {MAX_REPEATED} times again: the service seems to ignore the paging parameters, or its \
                 list grows as fast as it is read"
            ));
        }
        if self.empty_pages > MAX_EMPTY {
            return endless(&format!(
                "{MAX_EMPTY} pages in a row were empty, and the service names one more"
            ));
        }
        if let Some(total) = self.first_total
            && self.read > total.saturating_mul(2).saturating_add(MARGIN)
        {
            return endless(&format!(
                "the list had a total of {total} when it was begun, and gave {} records",
                self.read
            ));
        }
        if self.pages >= MAX_PAGES {
            return endless(&format!(
                "the list has {MAX_PAGES} pages, and the service names one more"
            ));
        }
        if token.is_some_and(|token| {
            !self
                .used
                .insert(FingerprintSet::fingerprint(token.as_bytes()))
        }) {
            return endless(match self.is_stuck() {
                true => "the same page came twice in a row, with the same way on",
                false => "the service gave a page that it gave before as the next one",
            });
        }
        Ok(true)
    }

    /// The end of the list of `name`. `is_cut` where the service said that a page of it is not there any more.
    pub fn end(self, name: &str, is_cut: bool) -> Ending {
        let distinct = self.distinct();
        let missing = self.total.unwrap_or(0).saturating_sub(distinct);
        let has_changed = self.moved > 0 || is_cut;
        let is_more = self.total.is_some_and(|total| total < distinct);
        // Neither the total nor the last page tells the end.
        let is_doubtful = is_more && self.is_stuck();
        if !has_changed && missing == 0 && !is_doubtful {
            let note = is_more.then(|| Note {
                code: "count_differs",
                message: format!(
                    "{name} were listed in another number than the list says; it was read to its end"
                ),
            });
            return Ending {
                notes: note.into_iter().collect(),
                ..Ending::default()
            };
        }
        if !self.is_second {
            return Ending {
                again: Some(Self {
                    is_second: true,
                    delivered: self.records,
                    ..Self::default()
                }),
                notes: vec![read_again(name)],
                ..Ending::default()
            };
        }
        let (code, message) = match (has_changed, is_doubtful) {
            (true, _) => (
                "list_changed",
                format!(
                    "the list of {name} changed each time while it was read, so some of them may be missing"
                ),
            ),
            (false, true) => (
                "count_differs",
                format!(
                    "the list of {name} has more of them than its total, and ends with a page that came \
                     before"
                ),
            ),
            (false, false) => (
                "count_differs",
                format!("the list of {name} gives fewer of them than it says that there are"),
            ),
        };
        // The rest of the list may hide behind a page that came again.
        let is_known = has_changed || !(is_doubtful || self.is_open && self.is_stuck());
        let at_most = self.moved.saturating_add(missing);
        Ending {
            gaps: vec![Gap {
                code,
                message,
                at_most: (is_known && at_most > 0).then_some(at_most),
                mend: Mend::Run,
            }],
            ..Ending::default()
        }
    }

    /// Whether the last page had records, and all of them had come before.
    pub const fn is_stuck(&self) -> bool {
        self.repeated_pages > 0
    }

    /// Different records of this reading.
    pub const fn distinct(&self) -> u64 {
        self.read.saturating_sub(self.repeated)
    }
}

/// Says that a list was read a second time.
pub fn read_again(name: &str) -> Note {
    Note {
        code: "read_again",
        message: format!(
            "{name} changed while they were listed, or came in another number than the list says; the list was read once \
             more"
        ),
    }
}

/// The total at hand, as a number or as text, which is noted. Anything else is none.
pub fn total(found: Option<&Value>, name: &str, notes: &mut Vec<Note>) -> Option<u64> {
    match found? {
        Value::String(text) => {
            let total = text.trim().parse().ok()?;
            notes.push(Note {
                code: "total_as_text",
                message: format!("the total of {name} is text; it was taken as a number"),
            });
            Some(total)
        }
        Value::Number(number) => whole(number),
        _ => None,
    }
}

/// A number without a fraction, `250` or `250.0`.
fn whole(number: &serde_json::Number) -> Option<u64> {
    const LARGEST: f64 = 9_007_199_254_740_992.0;
    number.as_u64().or_else(|| {
        let number = number.as_f64()?;
        let is_whole = number.fract() == 0.0 && (0.0..=LARGEST).contains(&number);
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "a whole number within the bounds"
        )]
        is_whole.then_some(number as u64)
    })
}

/// Fingerprints of records in bounded memory: all of them, and of many an even part that is chosen by the fingerprint
/// itself, so that a list that goes round in circles of any length has no new ones among them.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
struct Sample {
    /// One in two to the power of this is kept.
    level: u8,
    kept: FingerprintSet,
}

impl Sample {
    fn is_empty(&self) -> bool {
        self.kept.is_empty()
    }

    const fn is_chosen(level: u8, print: u64) -> bool {
        let mixed = print.wrapping_mul(0x9e37_79b9_7f4a_7c15);
        level == 0 || mixed.leading_zeros() >= level as u32
    }

    /// Whether it is there; none where it is not among those that are kept.
    fn has(&self, print: u64) -> Option<bool> {
        Self::is_chosen(self.level, print).then(|| self.kept.contains(print))
    }

    /// Whether it is new; none where it is not among those that are kept.
    fn insert(&mut self, print: u64) -> Option<bool> {
        let is_new = Self::is_chosen(self.level, print).then(|| self.kept.insert(print));
        while self.kept.len() > MAX_KEPT && self.level < MAX_SPARSE {
            self.level += 1;
            let level = self.level;
            let mut kept = mem::take(&mut self.kept);
            kept.retain(|print| Self::is_chosen(level, print));
            self.kept = kept;
        }
        is_new
    }
}

fn is_default<T: Default + PartialEq>(value: &T) -> bool {
    *value == T::default()
}

#[cfg(test)]
mod tests;
