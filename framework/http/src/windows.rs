//! Lists that are read by time: windows split until each fits under the service's cap. Each is read from its end to its
//! start, so that records that leave it during the read hide no others.
//!
//! # Why from the end
//!
//! A window has a fixed upper bound, so records only leave it: a record that changes now gets a newer time and will be
//! read by the next pass. When a record before the current offset leaves, all later ones move forward by one. A reader
//! that counts upward skips one of them. A reader that counts downward finds it in the next page; at worst it reads a
//! record twice. Records that *enter* a window would break this; they show as a larger total at the end, and the window
//! is read again.
//!
//! # Why pages are read concurrently
//!
//! Windows are independent, so the parts of a split window are read concurrently.
//!
//! A window that fits is cut into *chains* of pages, by the offsets of its records at the time of the count. Each chain
//! is responsible for the records of its offsets, `floor` up to `top`, at their current offsets, and is independent of
//! the others: chains are read concurrently, in any order, and each can be read again. A chain reads down from its top.
//! It is finished when none of its records can be below its floor. The total decides: a chain requests it with its last
//! page, and each record that left the window since the count lowers the floor by one. The records there also belong to
//! the next chain and are read twice, at least a page of them. If the total has grown, records may have moved above the
//! top, so the top rises by as many, and the chain is read again.
//!
//! A chain has at least two pages, if possible, since a service that ignores the offset reveals itself by a repeated
//! page. The token carries the fingerprints for the next pass, so the end of a pass, where records are remembered, is
//! one chain.

mod bounds;
mod reading;
mod records;
mod step;

use std::fmt;

use async_trait::async_trait;
use headwater_core::{
    Error, Kind, Page, Part, PartitionRange, Result, Scope, SignedDuration, Stream, StreamSpec,
    Timestamp, Wait, Watermark,
};
use serde::{Deserialize, Serialize};

use crate::{
    client::{Client, Request},
    clock::ServiceTime,
    envelope::{Records, places},
    fingerprints::FingerprintSet,
};

use bounds::{in_words, rfc3339, seams, split_window};
use records::WindowRecords;
use step::{NextStep, Offset, Step, is_default};

/// The maximum number of fingerprints of boundary records in a bookmark. Further records are read twice, not lost.
const MAX_REMEMBERED: usize = 10_000;
/// The maximum number of repeated readings of a window whose total grew.
const MAX_ROUNDS: u8 = 3;
/// The maximum number of chains of a window.
const CHAINS: u64 = 16;
/// The maximum number of windows in a survey. Further windows are read like the others, with an unknown size.
const MAX_SURVEYED: usize = 256;
/// The maximum lead of this machine's clock that does not move the start of the next pass.
const MAX_SLACK: SignedDuration = SignedDuration::from_mins(1);

/// Offset paging under a cap.
#[derive(Clone, Copy, Debug)]
pub struct OffsetPaging {
    /// The parameter of the offset.
    pub skip: &'static str,
    /// The parameter of the page size.
    pub limit: &'static str,
    /// Page sizes: the first is the normal one, the others are for pages that are too large for the service.
    pub sizes: &'static [u32],
    /// The largest offset; a window with more records than this is split.
    pub cap: u64,
    /// The pointer of the window's total in the body.
    pub total: &'static str,
    /// A parameter and value that turn the count off.
    pub without_total: Option<(&'static str, &'static str)>,
}

/// A list of records in a time window.
pub struct WindowedList {
    client: Client,
    spec: StreamSpec,
    path: &'static str,
    records: Records,
    after: &'static str,
    before: &'static str,
    paging: Option<OffsetPaging>,
    query: Vec<(&'static str, String)>,
    start: Timestamp,
    overlap: SignedDuration,
    one_partition: bool,
    chains: u64,
    scope: Scope,
    changed_at: Option<&'static str>,
    seen: WindowRecords,
}

impl fmt::Debug for WindowedList {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "WindowedList({} at {})", self.spec.name, self.path)
    }
}

/// A time window, from inclusive to exclusive.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Window {
    from: Timestamp,
    to: Timestamp,
    /// The time from which records are remembered for the bookmark.
    remember_from: Timestamp,
    /// The end of the last window of the pass, where the next pass starts.
    pass_end: Timestamp,
    /// The records of the overlap that the last pass delivered.
    #[serde(default, skip_serializing_if = "FingerprintSet::is_empty")]
    delivered: FingerprintSet,
    /// The end of the last pass, or the start: this pass does not end before it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    since: Option<Timestamp>,
}

/// A position inside a [`Window`].
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct WindowToken {
    /// Windows still to read, the next one last.
    todo: Vec<(Timestamp, Timestamp)>,
    /// The position in the next one, after its total is known.
    #[serde(skip_serializing_if = "Option::is_none")]
    at: Option<Offset>,
    #[serde(default, skip_serializing_if = "FingerprintSet::is_empty")]
    remembered: FingerprintSet,
    /// The start of the next pass, if it is before the end of the window, because the planning clock was ahead.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    until: Option<Timestamp>,
    /// Whether the windows are parts of a split one.
    #[serde(default, skip_serializing_if = "is_default")]
    is_part: bool,
}

/// The start of the next pass.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct WindowBookmark {
    to: Timestamp,
    #[serde(default, skip_serializing_if = "FingerprintSet::is_empty")]
    delivered: FingerprintSet,
}

impl OffsetPaging {
    /// Returns the number of requests for `records` records: the first page, and each page if there is more than one.
    fn requests(&self, records: u64) -> u64 {
        let size = u64::from(self.sizes.first().copied().unwrap_or(1)).max(1);
        if records < size {
            return 1;
        }
        // The last page requests one record more than expected.
        1 + (records + 1).div_ceil(size)
    }
}

impl WindowedList {
    /// Makes the list at a path. Its parameters `after` and `before` bound the time, exclusive or inclusive.
    ///
    /// The first pass begins at `start`; each later one `overlap` before the end of the last one, for records that
    /// became visible late. Delivered records are left out.
    pub fn new(
        client: &Client,
        spec: StreamSpec,
        path: &'static str,
        records: Records,
        (after, before): (&'static str, &'static str),
        start: Timestamp,
        overlap: SignedDuration,
    ) -> Self {
        Self {
            client: client.clone(),
            spec,
            path,
            records,
            after,
            before,
            paging: None,
            query: Vec::new(),
            start,
            overlap,
            one_partition: false,
            chains: CHAINS,
            scope: Scope::default(),
            changed_at: None,
            seen: WindowRecords::default(),
        }
    }

    /// Sets the paging of the list; without it, a window is one response.
    #[must_use]
    pub fn paging(mut self, paging: OffsetPaging) -> Self {
        self.paging = Some(paging);
        self
    }

    /// Adds a parameter to every request.
    #[must_use]
    pub fn query(mut self, name: &'static str, value: impl fmt::Display) -> Self {
        self.query.push((name, value.to_string()));
        self
    }

    /// States that the start is an option of the form, and which other options select records.
    #[must_use]
    pub fn scope(mut self, scope: Scope) -> Self {
        self.scope = scope;
        self
    }

    /// Keeps a pass in one partition, for readers that remember records across the whole pass.
    #[must_use]
    pub(crate) fn in_one_partition(mut self) -> Self {
        self.one_partition = true;
        self
    }

    /// Names the member with the time of a record's last change. A pass leaves out a delivered record only if that time
    /// precedes the last pass: a parent with the same bytes may have a child that changed.
    #[must_use]
    pub(crate) fn changed_at(mut self, member: &'static str) -> Self {
        self.changed_at = Some(member);
        self
    }

    /// Whether a delivered record states that it did not change since the last pass.
    fn is_unchanged(&self, window: &Window, record: &[u8]) -> bool {
        let Some(member) = self.changed_at else {
            return true;
        };
        let (Some(since), Ok(found)) = (window.since, places(record, &[member])) else {
            return false;
        };
        let changed = found.first().map(|span| &record[span.clone()]);
        let changed =
            changed.and_then(|text| Some((text, serde_json::from_slice::<Timestamp>(text).ok()?)));
        let Some((text, at)) = changed else {
            return false;
        };
        // Of two changes within one unit of the service's times, the second one does not show.
        let unit = match text.contains(&b'.') {
            true => SignedDuration::from_millis(1),
            false => SignedDuration::from_secs(1),
        };
        at.saturating_add(unit).is_ok_and(|at| at <= since)
    }

    /// Sets the maximum number of chains of a window.
    #[must_use]
    pub(crate) fn chains(mut self, chains: u64) -> Self {
        self.chains = chains;
        self
    }

    pub(crate) fn client(&self) -> &Client {
        &self.client
    }

    /// Returns whether records have to be remembered from page to page.
    fn is_read_in_order(&self, window: &Window, from: Timestamp) -> bool {
        self.one_partition || from >= window.remember_from
    }

    fn request(&self, (from, to): (Timestamp, Timestamp)) -> Request {
        // Services do not document whether the bounds belong to the window: starting a millisecond earlier, the
        // resolution of their times, covers both cases. At worst a record on the seam is read twice.
        let after = from
            .saturating_sub(SignedDuration::from_millis(1))
            .unwrap_or(from);
        let request = Request::get(self.path)
            .query(self.after, rfc3339(after))
            .query(self.before, rfc3339(to));
        self.query
            .iter()
            .fold(request, |request, (name, value)| request.query(name, value))
    }
}

type WindowPage = Page<WindowToken, WindowBookmark>;

impl WindowToken {
    /// Makes an independent position: a window, and the offset in it.
    fn alone(window: (Timestamp, Timestamp), at: Option<Offset>) -> Self {
        Self {
            todo: vec![window],
            at,
            remembered: FingerprintSet::default(),
            until: None,
            is_part: false,
        }
    }
}

impl Window {
    /// Returns the start of the next pass, if the service's clock puts it before the end of this pass.
    fn bounded(&self, time: ServiceTime, overlap: SignedDuration) -> Option<Timestamp> {
        // Half of the overlap is left for records that become visible late.
        let slack = (overlap / 2).min(MAX_SLACK);
        let since = self.since.unwrap_or(self.from);
        let end = time.bound(self.pass_end, slack).end(self.pass_end, since);
        (end < self.pass_end).then_some(end)
    }
}

#[async_trait]
impl Stream for WindowedList {
    type Partition = Window;
    type Token = WindowToken;
    type Bookmark = WindowBookmark;

    fn spec(&self) -> &StreamSpec {
        &self.spec
    }

    fn plan(&self, bookmark: Option<WindowBookmark>, now: Timestamp) -> Result<Vec<Window>> {
        let since = bookmark.as_ref().map_or(self.start, |last| last.to);
        let (from, to, delivered) = match bookmark {
            Some(last) => {
                let from = last.to.saturating_sub(self.overlap).unwrap_or(self.start);
                // Changes between the true time of that pass and the bookmark would never be read.
                if now < from {
                    let text = format!(
                        "the clock of this machine shows {now}, but {} was already read up to {}; correct the clock, or, if it \
                         was ahead before, rewind the stream with `headwater state rewind`",
                        self.spec.name, last.to
                    );
                    return Err(Error::new(Kind::ConfigInvalid, text));
                }
                // A clock that moved back a little must not move the bookmark back.
                let to = now.max(last.to);
                // All passes left out records before the start and did not remember them.
                (from.max(self.start), to, last.delivered)
            }
            None => (self.start, now, FingerprintSet::default()),
        };
        if from >= to {
            return Ok(Vec::new());
        }
        let remember_from = to.saturating_sub(self.overlap).unwrap_or(to);
        let window = |part_from, part_to| Window {
            from: part_from,
            to: part_to,
            remember_from,
            pass_end: to,
            delivered: delivered.clone(),
            since: Some(since),
        };
        if self.one_partition || from >= remember_from {
            return Ok(vec![window(from, to)]);
        }
        // The part with remembered records is a separate, last partition.
        Ok(vec![window(from, remember_from), window(remember_from, to)])
    }

    async fn fetch(
        &self,
        window: Window,
        token: Option<WindowToken>,
    ) -> Result<Page<WindowToken, WindowBookmark>> {
        let is_first = token.is_none();
        let mut token = token.unwrap_or_else(|| WindowToken {
            todo: seams(&window),
            at: None,
            remembered: FingerprintSet::default(),
            until: None,
            is_part: false,
        });
        let Some(current) = token.todo.pop() else {
            return Ok(Page::empty());
        };
        // A damaged state may have an invalid size.
        let largest = self.paging.map_or(0, |paging| paging.sizes.len() - 1);
        let position = token.at.take().map(|position| Offset {
            size: position.size.min(largest),
            floor: position.floor.min(position.begin().saturating_sub(1)),
            end: position.end.min(position.begin()),
            ..position
        });
        let step = match (&self.paging, position) {
            (None, _) => self.read_whole(current).await?,
            (Some(paging), Some(offset)) if offset.up > 0 => {
                self.step_up(current, paging, offset).await?
            }
            (Some(paging), Some(offset)) if offset.end > 0 => {
                self.step_down(current, paging, offset).await?
            }
            (Some(paging), offset) => {
                self.open(current, paging, offset.unwrap_or_default(), token.is_part)
                    .await?
            }
        };
        let Step { mut page, then } = step;
        let ends_pass = window.to == window.pass_end;
        if is_first && ends_pass {
            let time = self.client.time();
            token.until = window.bounded(time, self.overlap);
            page.notes.extend(time.note());
        }
        self.remember(&window, current, &mut page, &mut token.remembered);
        let is_in_order = self.is_read_in_order(&window, current.0);
        let next_offset = match then {
            NextStep::NextWindow => None,
            NextStep::Split(parts) if is_in_order => {
                token.is_part = true;
                token.todo.extend(parts.into_iter().rev());
                None
            }
            NextStep::Split(parts) => {
                let parts = parts.into_iter();
                let part = |part| WindowToken {
                    is_part: true,
                    ..WindowToken::alone(part, None)
                };
                page.beside = parts.map(part).collect();
                None
            }
            NextStep::At(offset) => Some(offset),
            NextStep::AtNextRun(offset, error) => {
                page.wait = Some(Wait::NextRun(error));
                Some(offset)
            }
            NextStep::Opened(offset) if is_in_order => Some(offset),
            NextStep::Opened(offset) => {
                let chains = self.cut(offset);
                self.seen.begin(current, &chains);
                let chains = chains.into_iter();
                page.beside = chains
                    .map(|chain| WindowToken::alone(current, Some(chain)))
                    .collect();
                page.beside.is_empty().then_some(offset)
            }
        };
        if let Some(offset) = next_offset {
            token.todo.push(current);
            token.at = Some(offset);
        }
        if token.todo.is_empty() {
            if ends_pass {
                page.bookmark = Some(WindowBookmark {
                    to: token.until.unwrap_or(window.pass_end),
                    delivered: token.remembered,
                });
            }
        } else {
            page.next = Some(token);
        }
        Ok(page)
    }

    fn range(&self, window: &Window) -> PartitionRange {
        PartitionRange {
            title: String::new(),
            from: Some(window.from),
            to: Some(window.to),
        }
    }

    fn watermark(&self, bookmark: &WindowBookmark) -> Watermark {
        let overlap_from = bookmark.to.saturating_sub(self.overlap);
        let again_from = overlap_from.unwrap_or(self.start).max(self.start);
        if again_from >= bookmark.to {
            return Watermark {
                until: Some(bookmark.to),
                ..Watermark::default()
            };
        }
        Watermark {
            until: Some(bookmark.to),
            again_from: Some(again_from),
            reason: format!(
                "the last {} are read again for {} that become visible late; known records are left out",
                in_words(self.overlap),
                self.spec.name.replace('_', " "),
            ),
        }
    }

    fn rewind(&self, to: Timestamp) -> Result<WindowBookmark> {
        Ok(WindowBookmark {
            to,
            delivered: FingerprintSet::default(),
        })
    }

    fn scope(&self, _: Timestamp) -> Scope {
        self.scope.clone()
    }

    /// Sends one request, with the smallest page.
    async fn has_earlier(&self) -> Result<Option<bool>> {
        let Some(start) = self.scope.since else {
            return Ok(None);
        };
        let window = (long_ago(), start);
        let Some(paging) = &self.paging else {
            let response = self.client.send(&self.request(window)).await?;
            let cut = self.client.split(&response.body, self.records, &[])?;
            return Ok(Some(!cut.records.is_empty()));
        };
        Ok(Some(self.count(window, paging).await? > 0))
    }

    /// Sends one request per window, with the smallest page.
    async fn survey(&self, window: Window) -> Result<Vec<Part<Window>>> {
        let Some(paging) = &self.paging else {
            return Ok(vec![Part {
                partition: window,
                records: None,
                requests: Some(1),
            }]);
        };
        let mut todo = seams(&window);
        let mut parts = Vec::new();
        let mut counted = 0;
        while let Some(bounds) = todo.pop() {
            let total = if counted < MAX_SURVEYED {
                counted += 1;
                Some(self.count(bounds, paging).await?)
            } else {
                None
            };
            match total {
                Some(total) if total > paging.cap => {
                    todo.extend(split_window(bounds, total, paging.cap)?.into_iter().rev());
                }
                _ => parts.push(Part {
                    partition: Window {
                        from: bounds.0,
                        to: bounds.1,
                        ..window.clone()
                    },
                    records: total,
                    requests: total.map(|total| paging.requests(total)),
                }),
            }
        }
        if !self.is_read_in_order(&window, window.from) {
            return Ok(parts);
        }
        // One partition: a request for each split window, and all of its parts.
        let splits = counted.saturating_sub(parts.len()) as u64;
        let requests: Option<u64> = parts.iter().map(|part| part.requests).sum();
        Ok(vec![Part {
            partition: window,
            records: parts.iter().map(|part| part.records).sum(),
            requests: requests.map(|requests| requests + splits),
        }])
    }
}

/// Returns 2000-01-01T00:00:00Z, before all records of these services. Some of them do not support times before 1970.
fn long_ago() -> Timestamp {
    Timestamp::from_second(946_684_800).unwrap_or(Timestamp::UNIX_EPOCH)
}

impl WindowedList {
    /// Removes records that the last pass delivered, and remembers records that the next pass may read again.
    fn remember(
        &self,
        window: &Window,
        (from, _): (Timestamp, Timestamp),
        page: &mut WindowPage,
        remembered: &mut FingerprintSet,
    ) {
        let is_tail = from >= window.remember_from;
        if !is_tail && window.delivered.is_empty() {
            return;
        }
        let body = page.body.clone();
        page.records.retain(|span| {
            let record = &body[span.clone()];
            let fingerprint = FingerprintSet::fingerprint(record);
            if is_tail && remembered.len() < MAX_REMEMBERED {
                remembered.insert(fingerprint);
            }
            !(window.delivered.contains(fingerprint) && self.is_unchanged(window, record))
        });
    }
}
