//! A page: one buffer and the spans of its records.

use std::{ops::Range, time::Duration};

use bytes::Bytes;
use jiff::Timestamp;
use serde::Serialize;

use crate::error::Error;

/// The result of one fetch.
///
/// Records keep the bytes that the service sent: numbers keep their spelling, unknown fields survive. A record may
/// hold white space between its tokens, line breaks included.
#[derive(Debug)]
pub struct Page<Token, Bookmark> {
    /// The buffer that holds the records.
    pub body: Bytes,
    /// The span of each record, a JSON object, in `body`.
    pub records: Vec<Range<usize>>,
    /// Records in `body` of [secondary streams](crate::Stream::companions), by stream name.
    pub companions: Vec<(&'static str, Vec<Range<usize>>)>,
    /// The next token of this partition; `None` when the partition is finished. A page without records may have a next
    /// one.
    pub next: Option<Token>,
    /// Tokens of this partition that do not depend on each other: the remaining pages of a list whose first page states
    /// the total, or the details of listed records. The host fetches them concurrently, each with its following pages,
    /// and `next` after all of them.
    pub beside: Vec<Token>,
    /// The number of records still to come, where the service states it. For progress, so it need not be exact.
    pub total: Option<u64>,
    /// The start of the next pass, on the last page of the partition that determines it.
    pub bookmark: Option<Bookmark>,
    /// Notes for people about this page.
    pub notes: Vec<Note>,
    /// Records that may be missing, merged or repeated. The receipt flags them.
    pub gaps: Vec<Gap>,
    /// Why `next` has to wait. The host commits before it waits.
    pub wait: Option<Wait>,
}

/// The longest record, in bytes. Several copies of a record may be in memory on its way to a sink.
pub const LONGEST_RECORD: usize = 16 << 20;

/// Why a partition has to wait.
#[derive(Debug)]
pub enum Wait {
    /// The service is not ready: fetch the next page after this time, and read other partitions meanwhile.
    For {
        /// The time to wait.
        wait: Duration,
        /// The awaited event, for people: "export job 4711 to finish".
        reason: String,
    },
    /// The partition ends for this run, with this error; the next run continues at `next`.
    NextRun(Error),
}

impl<Token, Bookmark> Page<Token, Bookmark> {
    /// Makes a page of these records, the last of its partition unless `next` is set.
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

    /// Makes a page without records.
    pub fn empty() -> Self {
        Self::new(Bytes::new(), Vec::new())
    }

    /// Makes a page without records whose next page has to wait.
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

    /// Iterates over the raw bytes of the stream's own records.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = &[u8]> {
        self.spans(&self.records)
    }

    /// Iterates over the raw bytes of the records at these spans.
    pub fn spans<'a>(
        &'a self,
        spans: &'a [Range<usize>],
    ) -> impl ExactSizeIterator<Item = &'a [u8]> {
        spans.iter().map(|span| &self.body[span.clone()])
    }
}

/// A fact that is not an error but must be reported. The summary counts notes by `code`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Note {
    /// Stable, for machines: `missing`, `page_too_large`, …
    pub code: &'static str,
    /// One sentence for people, the same for all notes of this code in a stream.
    pub message: String,
}

/// Records that may be missing, merged or repeated. A run with a gap always ends with a flag that states the possible
/// loss, the maximum number of records and the command that repairs it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Gap {
    /// Stable, for machines: `list_changed`, `key_collision`, …
    pub code: &'static str,
    /// The possible loss and its reason: one sentence, lower case, no full stop, the same for all gaps of this code in
    /// a stream.
    pub message: String,
    /// The maximum number of records, where known.
    pub at_most: Option<u64>,
    /// How to repair it.
    pub mend: Mend,
}

/// The action that repairs a [`Gap`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Mend {
    /// The next run: it reads the whole stream again.
    Run,
    /// `state reset`, then a run: it reads the stream from the start.
    Reset,
    /// `state rewind`, then a run: it reads the stream again from this time on.
    Rewind(Timestamp),
    /// `state retry`, then a run: it reads the quarantined records.
    Retry,
}
