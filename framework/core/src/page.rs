//! A page: one buffer and the places of its records.

use std::ops::Range;

use bytes::Bytes;
use serde::Serialize;

/// The answer of one fetch.
///
/// Records stay the bytes that the service sent: numbers keep their spelling, unknown fields survive. A record may
/// hold white space between its tokens, line breaks included.
#[derive(Clone, Debug)]
pub struct Page<Token, Bookmark> {
    /// The buffer that the records stand in.
    pub body: Bytes,
    /// Where each record, a JSON object, stands in `body`.
    pub records: Vec<Range<usize>>,
    /// Where this partition goes on; none when it is finished. A page without records may well have a next one.
    pub next: Option<Token>,
    /// Where the next pass starts, on the last page of the partition that knows it.
    pub bookmark: Option<Bookmark>,
    /// What the host should tell people about this page.
    pub notes: Vec<Note>,
}

impl<Token, Bookmark> Page<Token, Bookmark> {
    /// A page of these records, the last of its partition unless `next` is set.
    pub fn new(body: Bytes, records: Vec<Range<usize>>) -> Self {
        Self {
            body,
            records,
            next: None,
            bookmark: None,
            notes: Vec::new(),
        }
    }

    /// A page that only moves on.
    pub fn empty() -> Self {
        Self::new(Bytes::new(), Vec::new())
    }

    /// The raw bytes of each record.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = &[u8]> {
        self.records.iter().map(|span| &self.body[span.clone()])
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
