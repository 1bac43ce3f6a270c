//! The progress through a list: every read ends, and a list that changes during the read is read once more.
//!
//! The records decide, not the service's statements about its pages. A page is new if it has a record that no earlier
//! page of the same reading had: one row pinned to every page, or a hundred rows inserted in front, do not make two
//! pages equal. The number of pages without new records is bounded.
//!
//! A total that changes, or that exceeds the received records, means that records may be missing. The list is then read
//! a second time, without the delivered records, and a [`Gap`] reports the remaining doubt.

use std::{mem, ops::Range};

use headwater_core::{Error, Gap, Kind, Mend, Note, Result};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::{
    envelope::Split,
    fingerprints::{FingerprintSet, RecordPrint},
    spelling::plain,
};

/// The maximum number of consecutive empty pages with a next page.
const MAX_EMPTY: u32 = 10;
/// The maximum number of consecutive pages without new records: more than a burst of insertions repeats.
const MAX_REPEATED: u32 = 3;
/// The maximum number of records beyond twice the first total.
const MARGIN: u64 = 300;
/// The maximum number of pages of a list without a total.
const MAX_PAGES: u64 = 100_000;
/// The records of a list whose fingerprints are all stored.
const MAX_EXACT: usize = 8_192;
/// The maximum number of stored fingerprints of a longer list, an even sample. The token of each page holds them.
const MAX_SAMPLED: usize = 4_608;
/// The smallest sample is one in two to the power of this.
const MAX_SPARSE: u8 = 40;

/// The progress of one list. It travels in the token of the next page.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Progress {
    /// Used cursors and links: a repeated one is a loop of any length.
    #[serde(default)]
    used: FingerprintSet,
    /// The number of records of this reading, including repeated ones.
    #[serde(default)]
    read: u64,
    /// Repeated records of this reading.
    #[serde(default, skip_serializing_if = "is_default")]
    repeated: u64,
    #[serde(default, skip_serializing_if = "is_default")]
    pages: u64,
    #[serde(default, skip_serializing_if = "is_default")]
    empty_pages: u32,
    #[serde(default, skip_serializing_if = "is_default")]
    repeated_pages: u32,
    /// The last total; with the first total it bounds a list that grows with every response.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    total: Option<u64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    first_total: Option<u64>,
    /// The sum of the changes of the total in this reading.
    #[serde(default, skip_serializing_if = "is_default")]
    moved: u64,
    #[serde(default = "RecordPrint::earlier")]
    print: RecordPrint,
    #[serde(default, skip_serializing_if = "Sample::is_empty")]
    records: Sample,
    /// The records of the first reading, during the second one.
    #[serde(default, skip_serializing_if = "Sample::is_empty")]
    delivered: Sample,
    #[serde(default, skip_serializing_if = "is_default")]
    is_second: bool,
    /// Whether the last page had a next page that was not read.
    #[serde(default, skip_serializing_if = "is_default")]
    is_open: bool,
}

/// The end of a list.
#[derive(Debug, Default)]
pub struct Ending {
    /// The progress of a second reading from the start, if the list needs one.
    pub again: Option<Progress>,
    /// Harmless facts.
    pub notes: Vec<Note>,
    /// Records that may be missing.
    pub gaps: Vec<Gap>,
}

impl Progress {
    /// Continues from the used cursors and links of an older state.
    pub fn after(used: FingerprintSet) -> Self {
        Self {
            used,
            ..Self::default()
        }
    }

    /// Returns whether this is the second reading of the list.
    pub const fn is_second(&self) -> bool {
        self.is_second
    }

    /// Returns the number of records of this reading, including repeated ones.
    pub const fn read(&self) -> u64 {
        self.read
    }

    /// Returns the step of an offset after a page of `count` records. The second reading overlaps by half a page, so
    /// that a row pinned to each page hides no record.
    pub const fn step(&self, count: usize) -> u64 {
        match self.is_second && !self.is_stuck() {
            true => (count as u64).div_ceil(2),
            false => count as u64,
        }
    }

    /// Returns the last total of the list.
    pub const fn total(&self) -> Option<u64> {
        self.total
    }

    /// Refuses a response without a list while records are still to come.
    ///
    /// # Errors
    ///
    /// Fails if the response has no list and the total promises more records.
    pub fn require_list(&self, split: &Split, total: Option<u64>) -> Result<()> {
        let total = total.or(self.total).unwrap_or(0);
        if !split.taken_as_empty || total <= self.distinct() {
            return Ok(());
        }
        let text = format!("the response has no list, though the total of the list is {total}");
        Err(Error::new(Kind::DataInvalid, text).with("records", self.read))
    }

    /// Adds a page with its total, and removes repeated records. For records without a key it removes only a page that
    /// is repeated as a whole: two such records may be equal.
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
            .map(|span| self.print.of(&plain(&body[span.clone()])));
        let prints: Vec<u64> = prints.collect();
        let seen_before: Vec<Option<bool>> = prints
            .iter()
            .map(|print| self.records.has(*print))
            .collect();
        let mut is_repeated = Vec::with_capacity(prints.len());
        for (print, seen_before) in prints.iter().zip(&seen_before) {
            // The sample may become sparser within the page.
            let weight = 1_u64 << self.records.level.min(MAX_SPARSE);
            let is_new = self.records.insert(*print);
            let is_again = match has_key {
                true => is_new == Some(false),
                false => *seen_before == Some(true),
            };
            if is_again {
                self.repeated = self.repeated.saturating_add(weight);
            }
            is_repeated.push(is_again);
        }
        if seen_before.contains(&Some(false)) {
            self.repeated_pages = 0;
        } else if seen_before.contains(&Some(true)) {
            self.repeated_pages = self.repeated_pages.saturating_add(1);
        }
        let is_whole = seen_before.iter().all(|before| *before == Some(true));
        let was_delivered = |print: &u64| has_key && self.delivered.has(*print) == Some(true);
        let mut index = 0;
        records.retain(|_| {
            let is_left_out =
                (has_key || is_whole) && is_repeated[index] || was_delivered(&prints[index]);
            index += 1;
            !is_left_out
        });
    }

    /// Returns whether to read the service's next page, identified by a cursor or link if it uses these. A list that
    /// has delivered its total ends at a page without new records; its end reports missing records.
    ///
    /// # Errors
    ///
    /// Fails if the read would never end: too many pages in a row are repeated or empty, a cursor comes again, or the
    /// list exceeds its bounds.
    pub fn goes_on(&mut self, token: Option<&str>) -> Result<bool> {
        let is_idle = self.empty_pages > 0 || self.repeated_pages > 0;
        if is_idle && self.total.is_some_and(|total| self.read >= total) {
            self.is_open = token.is_some();
            return Ok(false);
        }
        let endless = |what: &str| {
            let text = format!("{what}; the read would never end");
            Err(Error::new(Kind::DataInvalid, text).with("records", self.read))
        };
        if self.repeated_pages >= MAX_REPEATED {
            return endless(&format!(
                "the same page came {MAX_REPEATED} more times: the service seems to ignore the paging parameters, or its list \
                 grows as fast as it is read"
            ));
        }
        if self.empty_pages > MAX_EMPTY {
            return endless(&format!(
                "{MAX_EMPTY} consecutive pages were empty, and the service has one more"
            ));
        }
        if let Some(total) = self.first_total
            && self.read > total.saturating_mul(2).saturating_add(MARGIN)
        {
            return endless(&format!(
                "the list began with a total of {total} and returned {} records",
                self.read
            ));
        }
        if self.pages >= MAX_PAGES {
            return endless(&format!(
                "the list has {MAX_PAGES} pages, and the service has one more"
            ));
        }
        if token.is_some_and(|token| {
            !self
                .used
                .insert(FingerprintSet::fingerprint(token.as_bytes()))
        }) {
            return endless(match self.is_stuck() {
                true => "the same page came twice in a row, with the same next page",
                false => "the service returned an earlier page as the next one",
            });
        }
        Ok(true)
    }

    /// Returns the end of the list of `name`. `is_cut` is true if a page no longer exists.
    pub fn end(self, name: &str, is_cut: bool) -> Ending {
        let distinct = self.distinct();
        let missing = self.total.unwrap_or(0).saturating_sub(distinct);
        let has_changed = self.moved > 0 || is_cut;
        let is_more = self.total.is_some_and(|total| total < distinct);
        // Neither the total nor the last page proves the end.
        let is_doubtful = is_more && self.is_stuck();
        if !has_changed && missing == 0 && !is_doubtful {
            let note = is_more.then(|| Note {
                code: "count_differs",
                message: format!(
                    "the number of {name} differs from the total of the list; the list was read to its end"
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
                    print: self.print,
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
                    "the list of {name} changed during both reads, so some of them may be missing"
                ),
            ),
            (false, true) => (
                "count_differs",
                format!(
                    "the list of {name} has more records than its total, and ends with a repeated page"
                ),
            ),
            (false, false) => (
                "count_differs",
                format!("the list of {name} has fewer records than its total"),
            ),
        };
        // The rest of the list may follow a repeated page.
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

    /// Returns whether all records of the last page were repeated.
    pub const fn is_stuck(&self) -> bool {
        self.repeated_pages > 0
    }

    /// Returns the number of distinct records of this reading.
    pub const fn distinct(&self) -> u64 {
        self.read.saturating_sub(self.repeated)
    }
}

/// Returns the note that a list was read a second time.
pub fn read_again(name: &str) -> Note {
    Note {
        code: "read_again",
        message: format!(
            "{name} changed during the read, or their number differs from the total of the list; the list was read once \
             more"
        ),
    }
}

/// Returns the total from a number, or from text with a note; `None` for other values.
pub fn total(found: Option<&Value>, name: &str, notes: &mut Vec<Note>) -> Option<u64> {
    match found? {
        Value::String(text) => {
            let total = text.trim().parse().ok()?;
            notes.push(Note {
                code: "total_as_text",
                message: format!("the total of {name} is text; it was read as a number"),
            });
            Some(total)
        }
        Value::Number(number) => whole(number),
        _ => None,
    }
}

/// Reads a number without a fraction, `250` or `250.0`.
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

/// Fingerprints of records in bounded memory: all of a short list, an even sample of a long one. The fingerprint itself
/// decides about the sample, so that a list with a loop of any length adds no new ones.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
struct Sample {
    /// One in two to the power of this is stored.
    level: u8,
    #[serde(rename = "kept")]
    prints: FingerprintSet,
}

impl Sample {
    fn is_empty(&self) -> bool {
        self.prints.is_empty()
    }

    const fn is_chosen(level: u8, print: u64) -> bool {
        let mixed = print.wrapping_mul(0x9e37_79b9_7f4a_7c15);
        level == 0 || mixed.leading_zeros() >= level as u32
    }

    /// Returns whether the sample has a fingerprint; `None` if the fingerprint is outside the sample.
    fn has(&self, print: u64) -> Option<bool> {
        Self::is_chosen(self.level, print).then(|| self.prints.contains(print))
    }

    /// Adds a fingerprint. Returns whether it is new; `None` if it is outside the sample.
    fn insert(&mut self, print: u64) -> Option<bool> {
        let is_new = Self::is_chosen(self.level, print).then(|| self.prints.insert(print));
        let is_full = |sample: &Self| {
            let max = if sample.level == 0 {
                MAX_EXACT
            } else {
                MAX_SAMPLED
            };
            sample.prints.len() > max && sample.level < MAX_SPARSE
        };
        // Once for each overflow: half of it may be a few more than half.
        if is_full(self) {
            self.level += 1;
            let level = self.level;
            let mut prints = mem::take(&mut self.prints);
            prints.retain(|print| Self::is_chosen(level, print));
            self.prints = prints;
        }
        is_new
    }
}

fn is_default<T: Default + PartialEq>(value: &T) -> bool {
    *value == T::default()
}

#[cfg(test)]
mod tests;
