//! A page: one buffer and the places of its records.

use std::{ops::Range, time::Duration};

use bytes::Bytes;
use jiff::Timestamp;
use serde::Serialize;

use crate::error::Error;

/// The answer of one fetch.
///
/// Records stay the bytes that the service sent: numbers keep their spelling, unknown fields survive. A record may
/// hold white space between its tokens, line breaks included.
#[derive(Debug)]
pub struct Page<Token, Bookmark> {
    /// The buffer that the records stand in.
    pub body: Bytes,
    /// Where each record, a JSON object, stands in `body`.
    pub records: Vec<Range<usize>>,
    /// Records in `body` of [companion](crate::Stream::companions) streams, by their names.
    pub companions: Vec<(&'static str, Vec<Range<usize>>)>,
    /// Where this partition goes on; none when it is finished. A page without records may well have a next one.
    pub next: Option<Token>,
    /// Places of this partition that do not depend on each other: the other pages of a list whose first one tells the
    /// total, the details of the records of a list. The host fetches them side by side, each with what comes after
    /// it, and `next` once all of them have arrived.
    pub beside: Vec<Token>,
    /// Records that reading on from here will bring, where the answer tells: for progress, so it need not be exact.
    pub total: Option<u64>,
    /// Where the next pass starts, on the last page of the partition that knows it.
    pub bookmark: Option<Bookmark>,
    /// What the host should tell people about this page.
    pub notes: Vec<Note>,
    /// Records that this page cannot vouch for: missing, merged or repeated ones. The receipt flags them.
    pub gaps: Vec<Gap>,
    /// Why `next` must not be fetched at once. The host commits before it lets the time pass.
    pub wait: Option<Wait>,
}

/// The longest record, in bytes: several copies of a record may be in memory on its way to a sink.
pub const LONGEST_RECORD: usize = 16 << 20;

/// What keeps a partition from going on at once.
#[derive(Debug)]
pub enum Wait {
    /// The service is not ready: fetch the next page after this time, and read something else meanwhile.
    For {
        /// How long.
        wait: Duration,
        /// What is waited for, for people: "export job 4711 to finish".
        reason: String,
    },
    /// The partition is over for this run, with this error; the next run goes on at `next`.
    NextRun(Error),
}

impl<Token, Bookmark> Page<Token, Bookmark> {
    /// A page of these records, the last of its partition unless `next` is set.
    pub fn new(body: Bytes, records: Vec<Range<usize>>) -> Self {
        Self {
            body,
            records,
            companions: Vec::new(),
            next: None,
            beside: Vec::new(),
            total: None,
            bookmark: None,
            notes: Vec::new(),
            gaps: Vec::new(),
            wait: None,
        }
    }

    /// A page that only moves on.
    pub fn empty() -> Self {
        Self::new(Bytes::new(), Vec::new())
    }

    /// A page without records whose next one is not there yet.
    pub fn wait(next: Token, wait: Duration, reason: impl Into<String>) -> Self {
        Self {
            next: Some(next),
            wait: Some(Wait::For {
                wait,
                reason: reason.into(),
            }),
            ..Self::empty()
        }
    }

    /// The raw bytes of each record of the stream itself.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = &[u8]> {
        self.spans(&self.records)
    }

    /// The raw bytes of the records in these places.
    pub fn spans<'a>(
        &'a self,
        places: &'a [Range<usize>],
    ) -> impl ExactSizeIterator<Item = &'a [u8]> {
        places.iter().map(|span| &self.body[span.clone()])
    }
}

/// Something that is not an error but must not be silent, counted by `code` in the summary.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Note {
    /// Stable, for machines: `missing`, `page_too_large`, …
    pub code: &'static str,
    /// One sentence for people, the same for all notes of this code in a stream.
    pub message: String,
}

/// Records that a stream cannot vouch for. A run with a gap never ends without a flag that says what may be missing, how
/// many records at most, and the command that mends it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Gap {
    /// Stable, for machines: `list_changed`, `key_collision`, …
    pub code: &'static str,
    /// What may be missing, merged or repeated, and why: one sentence, lower case, no full stop, the same for all gaps of
    /// this code in a stream.
    pub message: String,
    /// How many records at most, where that is known.
    pub at_most: Option<u64>,
    /// How to mend it.
    pub mend: Mend,
}

/// What brings the records of a [`Gap`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Mend {
    /// The next run: it reads the whole stream again.
    Run,
    /// `state reset`, then a run: it reads the stream from the start.
    Reset,
    /// `state rewind`, then a run: it reads the stream again from this time on.
    Rewind(Timestamp),
    /// `state retry`, then a run: it reads what was set aside.
    Retry,
}
