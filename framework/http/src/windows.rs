//! Lists that are read by time: windows that split until each fits under the service's cap, each read from its end to
//! its start so that records which leave it meanwhile push nothing out of sight.
//!
//! # Why from the end
//!
//! A window has a fixed upper bound, so records only leave it: a record that changes now gets a newer time and will be
//! read by the next pass. When a record before the current offset leaves, all later ones move one place forward. A
//! reader that counts upward steps over one of them. A reader that counts downward meets it in the page that it asks
//! for next; at worst it sees a record twice. What could break this, records that *enter* a window, shows as a total
//! that has grown at the end, and the window is read again.
//!
//! # Why not one page after the other
//!
//! Windows know nothing of each other, so the parts of a window that was split are read side by side.
//!
//! A window that fits is cut into *chains* of pages, by the offsets that its records had when it was counted. Each chain
//! answers for the records of its offsets, `floor` up to `top`, wherever they are by then, and so needs nothing of the
//! others: they are read side by side, at any time and in any order, and each can be read again. It reads down from its
//! top. Where none of its records can be below its floor when it gets there, it is done. The total tells: with its last
//! page a chain asks for it, and for every record that has left the window since it was counted, its floor is one lower.
//! What it meets there belongs to the next chain as well, and comes twice, a page of it at least. Where the total has grown instead, records may
//! have moved up beyond the top, so that is higher by as many, and the chain is read again.
//!
//! A chain has two pages at least, as far as there are, since a service that ignores the offset shows by giving a page
//! again. What is remembered for the next pass travels in the token, so the end of a pass, where records are
//! remembered, is one chain.

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

/// Fingerprints of boundary records kept in a bookmark. Beyond that they are read twice, not lost.
const MAX_REMEMBERED: usize = 10_000;
/// How often a window whose total grew is read again.
const MAX_ROUNDS: u8 = 3;
/// Chains of pages that a window is cut into.
const CHAINS: u64 = 16;
/// Windows that a survey asks for. What lies beyond is read like the rest, with its size unknown beforehand.
const MAX_SURVEYED: usize = 256;
/// The most that the clock of this machine may be ahead without moving the start of the next pass.
const MAX_SLACK: SignedDuration = SignedDuration::from_mins(1);

/// Offset paging under a cap.
#[derive(Clone, Copy, Debug)]
pub struct OffsetPaging {
    /// The parameter of the offset.
    pub skip: &'static str,
    /// The parameter of the page size.
    pub limit: &'static str,
    /// Page sizes: the first is asked for, the next ones where a page is too large for the service.
    pub sizes: &'static [u32],
    /// The largest offset; a window with more records than this is split.
    pub cap: u64,
    /// Where the body says how many records the window has.
    pub total: &'static str,
    /// A parameter and value that save the service from counting.
    pub without_total: Option<(&'static str, &'static str)>,
}

/// A list of records within a window of time.
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
    met: WindowRecords,
}

impl fmt::Debug for WindowedList {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "WindowedList({} at {})", self.spec.name, self.path)
    }
}

/// A window of time: from, inclusive, to, exclusive.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Window {
    from: Timestamp,
    to: Timestamp,
    /// From here on records are remembered for the bookmark.
    remember_from: Timestamp,
    /// The end of the last window of the pass, where the next pass starts.
    pass_end: Timestamp,
    /// Records of the overlap that the last pass delivered.
    #[serde(default, skip_serializing_if = "FingerprintSet::is_empty")]
    delivered: FingerprintSet,
    /// The end of the last pass, or the start: the end of this one does not lie before it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    since: Option<Timestamp>,
}

/// A place inside a [`Window`].
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct WindowToken {
    /// Windows still to read, the next one last.
    todo: Vec<(Timestamp, Timestamp)>,
    /// The place in the next one, once its total is known.
    #[serde(skip_serializing_if = "Option::is_none")]
    at: Option<Offset>,
    #[serde(default, skip_serializing_if = "FingerprintSet::is_empty")]
    remembered: FingerprintSet,
    /// Where the next pass starts, if that is before the end of the window: the clock that planned it was ahead.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    until: Option<Timestamp>,
    /// The windows are parts of one that was split.
    #[serde(default, skip_serializing_if = "is_default")]
    is_part: bool,
}

/// Where the next pass starts.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct WindowBookmark {
    to: Timestamp,
    #[serde(default, skip_serializing_if = "FingerprintSet::is_empty")]
    delivered: FingerprintSet,
}

impl OffsetPaging {
    /// Requests that reading so many records takes: the first page, and where that is not all, each page.
    fn requests(&self, records: u64) -> u64 {
        let size = u64::from(self.sizes.first().copied().unwrap_or(1)).max(1);
        if records < size {
            return 1;
        }
        // The last page asks for one more than there should be.
        1 + (records + 1).div_ceil(size)
    }
}

impl WindowedList {
    /// The list at a path, whose parameters `after` and `before` bound the time, exclusive or inclusive.
    ///
    /// The first pass begins at `start`; each later one `overlap` before the last one's end, for records that became
    /// visible late. Those delivered already are left out.
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
            met: WindowRecords::default(),
        }
    }

    /// How the list pages; without it, a window comes in one answer.
    #[must_use]
    pub fn paging(mut self, paging: OffsetPaging) -> Self {
        self.paging = Some(paging);
        self
    }

    /// A parameter sent with every request.
    #[must_use]
    pub fn query(mut self, name: &'static str, value: impl fmt::Display) -> Self {
        self.query.push((name, value.to_string()));
        self
    }

    /// Says that the start is an option of the form, and which other options decide what is read.
    #[must_use]
    pub fn scope(mut self, scope: Scope) -> Self {
        self.scope = scope;
        self
    }

    /// Keeps a pass in one partition, for readers that must remember what they saw across all of it.
    #[must_use]
    pub(crate) fn in_one_partition(mut self) -> Self {
        self.one_partition = true;
        self
    }

    /// Leaves out a delivered record only where its member of this name says that it changed before the last pass began:
    /// records that look the same may name children that changed.
    #[must_use]
    pub(crate) fn changed_at(mut self, member: &'static str) -> Self {
        self.changed_at = Some(member);
        self
    }

    /// Whether a delivered record, read again, says that nothing changed since the last pass.
    fn is_unchanged(&self, window: &Window, record: &[u8]) -> bool {
        let Some(member) = self.changed_at else {
            return true;
        };
        let (Some(since), Ok(found)) = (window.since, places(record, &[member])) else {
            return false;
        };
        let changed = found.first().map(|span| &record[span.clone()]);
        let changed = changed.and_then(|text| serde_json::from_slice::<Timestamp>(text).ok());
        // Some services count whole seconds: of two changes in one second, the second one may not show.
        changed.is_some_and(|at| {
            at.saturating_add(SignedDuration::from_secs(1))
                .is_ok_and(|at| at <= since)
        })
    }

    /// Cuts a window into so many chains at most.
    #[must_use]
    pub(crate) fn chains(mut self, chains: u64) -> Self {
        self.chains = chains;
        self
    }

    pub(crate) fn client(&self) -> &Client {
        &self.client
    }

    /// Whether something has to be remembered from page to page.
    fn is_read_in_order(&self, window: &Window, from: Timestamp) -> bool {
        self.one_partition || from >= window.remember_from
    }

    fn request(&self, (from, to): (Timestamp, Timestamp)) -> Request {
        // Whether the bounds belong to the window is not documented anywhere: a millisecond before, the resolution of
        // the service's times, makes both readings right. At worst a record on the seam comes twice.
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
    /// A place of its own: a window, and how far it was read.
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
    /// Where the next pass starts, if the service's clock says that it is before the end of this one.
    fn bounded(&self, time: ServiceTime, overlap: SignedDuration) -> Option<Timestamp> {
        // Half of what is read again is left for records that show up late.
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
                // What changed between the true time of that pass and the bookmark would never be read.
                if now < from {
                    let text = format!(
                        "the clock of this machine stands at {now}, and {} was read up to {} by then; set the clock \
                         right, or, if it was ahead before, take the stream back with `headwater state rewind`",
                        self.spec.name, last.to
                    );
                    return Err(Error::new(Kind::ConfigInvalid, text));
                }
                // A clock that went back a little must not move the bookmark back.
                let to = now.max(last.to);
                // What lies before the start was left out by all passes and was not remembered.
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
        // The part whose records are remembered is a partition of its own, and the last.
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
        // A damaged state may name a size that there is not.
        let largest = self.paging.map_or(0, |paging| paging.sizes.len() - 1);
        let place = token.at.take().map(|place| Offset {
            size: place.size.min(largest),
            floor: place.floor.min(place.begin().saturating_sub(1)),
            end: place.end.min(place.begin()),
            ..place
        });
        let step = match (&self.paging, place) {
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
        let go_on = match then {
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
                self.met.begin(current, &chains);
                let chains = chains.into_iter();
                page.beside = chains
                    .map(|chain| WindowToken::alone(current, Some(chain)))
                    .collect();
                page.beside.is_empty().then_some(offset)
            }
        };
        if let Some(offset) = go_on {
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
                "the last {} are read again for {} that show up late; what was read already is left out",
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

    /// One request, with the smallest page.
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

    /// One request for each window, with the smallest page.
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
        let mut asked = 0;
        while let Some(bounds) = todo.pop() {
            let total = if asked < MAX_SURVEYED {
                asked += 1;
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
        // One partition, whatever it takes: a request for each window that is split, and all of its parts.
        let splits = asked.saturating_sub(parts.len()) as u64;
        let requests: Option<u64> = parts.iter().map(|part| part.requests).sum();
        Ok(vec![Part {
            partition: window,
            records: parts.iter().map(|part| part.records).sum(),
            requests: requests.map(|requests| requests + splits),
        }])
    }
}

/// 2000-01-01T00:00:00Z: before everything that these services have. Not all of them understand what lies before 1970.
fn long_ago() -> Timestamp {
    Timestamp::from_second(946_684_800).unwrap_or(Timestamp::UNIX_EPOCH)
}

impl WindowedList {
    /// Leaves out records that the last pass delivered, and notes those that the next one may meet again.
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
