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

use std::fmt;

use async_trait::async_trait;
use headwater_core::{
    Coverage, Error, Extent, Hold, Kind, Note, Page, Part, Result, Scope, SignedDuration, Stream,
    StreamSpec, Timestamp,
};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::{
    client::{Client, Request},
    clock::ServiceTime,
    envelope::Records,
    seen::Seen,
};

/// Fingerprints of boundary records kept in a bookmark. Beyond that they are read twice, not lost.
const MOST_REMEMBERED: usize = 10_000;
/// How often a window whose total grew is read again.
const MOST_ROUNDS: u8 = 3;
/// Chains of pages that a window is cut into.
const CHAINS: u64 = 16;
/// Pages of a chain: one that comes twice shows only to who reads two.
const FEWEST_PAGES: u64 = 2;
/// Windows that a survey asks for. What lies beyond is read like the rest, with its size unknown beforehand.
const MOST_SURVEYED: usize = 256;
/// The most that the clock of this machine may be ahead without moving the start of the next pass.
const MOST_SLACK: SignedDuration = SignedDuration::from_mins(1);
/// Statuses by which a service says that a page is too large for it.
const TOO_LARGE: &[u16] = &[502, 504];

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
    #[serde(default, skip_serializing_if = "Seen::is_empty")]
    delivered: Seen,
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
    #[serde(default, skip_serializing_if = "Seen::is_empty")]
    remembered: Seen,
    /// Where the next pass starts, if that is before the end of the window: the clock that planned it was ahead.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    until: Option<Timestamp>,
}

#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
struct Offset {
    /// Records in the window when it was opened, or the fewest since.
    total: u64,
    /// Records before this offset are still to be read.
    end: u64,
    /// Those before this one are another chain's.
    #[serde(default, skip_serializing_if = "is_default")]
    floor: u64,
    /// The offset where this chain began; 0 for a window that is read in one.
    #[serde(default, skip_serializing_if = "is_default")]
    top: u64,
    /// Index into the page sizes.
    size: usize,
    /// The first record of the last page.
    #[serde(default, skip_serializing_if = "is_default")]
    last: Option<u64>,
    /// The last page was shorter than asked for, or the one before once more: ask for it again, with the total.
    #[serde(default, skip_serializing_if = "is_default")]
    recount: bool,
    /// How often the window was read again.
    #[serde(default, skip_serializing_if = "is_default")]
    round: u8,
    /// Records were seen to leave.
    #[serde(default, skip_serializing_if = "is_default")]
    is_restless: bool,
}

/// Where the next pass starts.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct WindowBookmark {
    to: Timestamp,
    #[serde(default, skip_serializing_if = "Seen::is_empty")]
    delivered: Seen,
}

impl OffsetPaging {
    /// Requests that reading so many records takes: the first page, and where that is not all, each page.
    fn requests(&self, records: u64) -> u64 {
        let size = u64::from(self.sizes.first().copied().unwrap_or(1)).max(1);
        if records <= size {
            return 1;
        }
        1 + records.div_ceil(size)
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

    async fn read_whole(&self, window: (Timestamp, Timestamp)) -> Result<Step> {
        let response = self.client.send(&self.request(window)).await?;
        let cut = self.client.split(&response.body, self.records, &[])?;
        Ok(Step {
            page: Page::new(response.body, cut.records),
            then: Then::NextWindow,
        })
    }

    /// The first request of a window: its first page and its total. Enough where they are the same.
    async fn open(
        &self,
        window: (Timestamp, Timestamp),
        paging: &OffsetPaging,
        offset: Offset,
    ) -> Result<Step> {
        let Some((found, total)) = self
            .page(window, paging, &offset, 0, paging.sizes[offset.size], true)
            .await?
        else {
            return self.shrink(paging, offset);
        };
        if total <= found.records.len() as u64 {
            return Ok(Step {
                page: found,
                then: Then::NextWindow,
            });
        }
        if total > paging.cap {
            return Ok(Step {
                page: Page::empty(),
                then: Then::Split(split_window(window, total, paging.cap)?),
            });
        }
        let offset = Offset {
            total,
            end: total,
            last: None,
            recount: false,
            ..offset
        };
        Ok(Step {
            page: Page {
                total: Some(total),
                ..Page::empty()
            },
            then: Then::Opened(offset),
        })
    }

    /// The page before `offset.end`. Where it is not what was expected it is asked for once more, with the total: one
    /// answer tells then whether records left the window or the service gives others than it was asked for. A count
    /// of its own would be outdated by the time that the page comes, and a busy list would never be read.
    async fn step_down(
        &self,
        window: (Timestamp, Timestamp),
        paging: &OffsetPaging,
        offset: Offset,
    ) -> Result<Step> {
        // A list that goes on changing would be followed down in ever smaller steps, so it is not asked for less then.
        let left = match offset.is_restless {
            true => offset.end,
            false => offset.end - offset.floor,
        };
        let wanted = u64::from(paging.sizes[offset.size]).min(left);
        let skip = offset.end - wanted;
        let limit = u32::try_from(wanted).unwrap_or(u32::MAX);
        let with_total = skip <= offset.floor || offset.recount;
        let Some((page, total)) = self
            .page(window, paging, &offset, skip, limit, with_total)
            .await?
        else {
            return self.shrink(paging, offset);
        };
        let given = page.records.len() as u64;
        let first = page.iter().next().map(Seen::fingerprint);
        let came_twice = first.is_some() && first == offset.last;
        if !with_total {
            let as_expected = given == wanted && !came_twice;
            return Ok(if as_expected {
                Step {
                    page,
                    then: Then::At(Offset {
                        end: skip,
                        last: first,
                        ..offset
                    }),
                }
            } else {
                Step {
                    page: Page::empty(),
                    then: Then::At(Offset {
                        recount: true,
                        ..offset
                    }),
                }
            });
        }
        let is_cut = given < wanted && skip + given < total;
        if is_cut || (came_twice && total >= offset.total) {
            return self.distrust(paging, offset);
        }
        // Nothing is behind this page, or the records from `offset.end` on have been read.
        let end = skip.min(total);
        let have_left = offset.total.saturating_sub(total);
        let floor = offset.floor.saturating_sub(have_left);
        let then = if end > floor {
            Then::At(Offset {
                total: total.min(offset.total),
                end,
                floor,
                last: first,
                recount: false,
                is_restless: offset.is_restless || have_left > 0,
                ..offset
            })
        } else if total > offset.total {
            again(offset, total)
        } else {
            Then::NextWindow
        };
        Ok(Step { page, then })
    }

    /// Cuts a window that was just opened into chains; none where that saves nothing.
    fn cut(&self, offset: Offset) -> Vec<Offset> {
        let size = self
            .paging
            .map_or(1, |paging| u64::from(paging.sizes[offset.size]).max(1));
        let pages = offset.total.div_ceil(size);
        let chains = self.chains.min(pages / FEWEST_PAGES);
        if chains < 2 {
            return Vec::new();
        }
        let length = pages.div_ceil(chains) * size;
        let mut cut = Vec::new();
        let mut top = offset.total;
        while top > 0 {
            let floor = top.saturating_sub(length);
            cut.push(Offset {
                end: top,
                floor,
                top,
                ..offset
            });
            top = floor;
        }
        cut
    }

    /// The records are there, but the service gives fewer at a time than it was asked for, or others.
    fn distrust(&self, paging: &OffsetPaging, offset: Offset) -> Result<Step> {
        if offset.size + 1 == paging.sizes.len() {
            return Err(Error::new(
                Kind::DataInvalid,
                "the pages do not add up to the total of the list: one was too short, or came twice",
            ));
        }
        Ok(Step {
            page: Page::empty(),
            then: Then::At(Offset {
                size: offset.size + 1,
                recount: false,
                ..offset
            }),
        })
    }

    /// How many records a window has.
    async fn count(&self, window: (Timestamp, Timestamp), paging: &OffsetPaging) -> Result<u64> {
        let size = paging.sizes.len() - 1;
        let offset = Offset {
            size,
            ..Offset::unopened()
        };
        let counted = self
            .page(window, paging, &offset, 0, paging.sizes[size], true)
            .await?;
        Ok(counted.map_or(0, |(_, total)| total))
    }

    /// One page and, where asked for, the total. None when the page is too large for the service but can be smaller.
    async fn page(
        &self,
        window: (Timestamp, Timestamp),
        paging: &OffsetPaging,
        offset: &Offset,
        skip: u64,
        limit: u32,
        with_total: bool,
    ) -> Result<Option<(Found, u64)>> {
        let mut request = self
            .request(window)
            .query(paging.skip, skip)
            .query(paging.limit, limit);
        if let (false, Some((name, value))) = (with_total, paging.without_total) {
            request = request.query(name, value);
        }
        if offset.size + 1 < paging.sizes.len() {
            request = request.accept(TOO_LARGE);
        }
        let response = self.client.send(&request).await?;
        if !response.status.is_success() {
            return Ok(None);
        }
        let wanted = [paging.total];
        let cut = self.client.split(
            &response.body,
            self.records,
            if with_total { &wanted } else { &[] },
        )?;
        let total = match cut.found.first() {
            Some(found) => found.as_ref().and_then(Value::as_u64).ok_or_else(|| {
                Error::new(
                    Kind::DataInvalid,
                    format!("the answer has no total at {}", paging.total),
                )
            })?,
            None => 0,
        };
        Ok(Some((Page::new(response.body, cut.records), total)))
    }

    /// The same place with the next smaller page size.
    fn shrink(&self, paging: &OffsetPaging, offset: Offset) -> Result<Step> {
        let size = (offset.size + 1).min(paging.sizes.len() - 1);
        let mut page = Page::empty();
        page.notes.push(Note {
            code: "page_too_large",
            message: format!(
                "{} could not send a page this large; it was asked for a smaller one",
                self.client.service()
            ),
        });
        Ok(Step {
            page,
            then: Then::At(Offset { size, ..offset }),
        })
    }
}

type Found = Page<WindowToken, WindowBookmark>;

struct Step {
    page: Found,
    then: Then,
}

enum Then {
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

impl Offset {
    const fn unopened() -> Self {
        Self {
            total: 0,
            end: 0,
            floor: 0,
            top: 0,
            size: 0,
            last: None,
            recount: false,
            round: 0,
            is_restless: false,
        }
    }
}

fn is_default<T: Default + PartialEq>(value: &T) -> bool {
    *value == T::default()
}

impl WindowToken {
    /// A place of its own: a window, and how far it was read.
    fn alone(window: (Timestamp, Timestamp), at: Option<Offset>) -> Self {
        Self {
            todo: vec![window],
            at,
            remembered: Seen::default(),
            until: None,
        }
    }
}

impl Window {
    /// Where the next pass starts, if the service's clock says that it is before the end of this one.
    fn bounded(&self, time: ServiceTime, overlap: SignedDuration) -> Option<Timestamp> {
        // Half of what is read again is left for records that show up late.
        let slack = (overlap / 2).min(MOST_SLACK);
        let since = self.since.unwrap_or(self.from);
        let end = time.bound(self.pass_end, slack).end(self.pass_end, since);
        (end < self.pass_end).then_some(end)
    }
}

/// Reads a window, or a chain of it, again from its end; with the next run where that was done too often. By then the
/// list may hold still, whatever it did in this one.
fn again(offset: Offset, total: u64) -> Then {
    let is_enough = offset.round + 1 >= MOST_ROUNDS;
    let anew = Offset {
        round: if is_enough { 0 } else { offset.round + 1 },
        size: offset.size,
        ..Offset::unopened()
    };
    let have_entered = total - offset.total.min(total);
    let top = offset.top.saturating_add(have_entered).min(total);
    let anew = match offset.top {
        0 => anew,
        _ => Offset {
            total,
            end: top,
            top,
            floor: offset.floor,
            ..anew
        },
    };
    if is_enough {
        let text = "the list does not hold still: records entered a closed window; the next run goes on there";
        return Then::AtNextRun(anew, Error::new(Kind::DataInvalid, text));
    }
    Then::At(anew)
}

/// Equal parts that should each fit, on whole seconds: services have been seen to drop the fraction of a bound.
fn split_window(
    (from, to): (Timestamp, Timestamp),
    total: u64,
    cap: u64,
) -> Result<Vec<(Timestamp, Timestamp)>> {
    let (first, last) = (from.as_second(), to.as_second());
    let seconds = last.saturating_sub(first);
    if seconds < 2 {
        return Err(Error::new(
            Kind::DataInvalid,
            format!(
                "{total} records share the second {from}; the service pages no further than {cap}"
            ),
        ));
    }
    // Four fifths of the cap leave room for an uneven spread.
    let parts = i64::try_from(total.div_ceil((cap * 4 / 5).max(1)))
        .unwrap_or(64)
        .clamp(2, 64)
        .min(seconds);
    let mut bounds = vec![from];
    for part in 1..parts {
        let second = first + seconds * part / parts;
        bounds.push(Timestamp::from_second(second).unwrap_or(to));
    }
    bounds.push(to);
    bounds.dedup();
    Ok(bounds.windows(2).map(|pair| (pair[0], pair[1])).collect())
}

fn rfc3339(at: Timestamp) -> String {
    format!("{at:.3}")
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
            None => (self.start, now, Seen::default()),
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
            remembered: Seen::default(),
            until: None,
        });
        let Some(current) = token.todo.pop() else {
            return Ok(Page::empty());
        };
        // A damaged state may name a size that there is not.
        let largest = self.paging.map_or(0, |paging| paging.sizes.len() - 1);
        let place = token.at.take().map(|place| Offset {
            size: place.size.min(largest),
            floor: place.floor.min(place.end.saturating_sub(1)),
            ..place
        });
        let step = match (&self.paging, place) {
            (None, _) => self.read_whole(current).await?,
            (Some(paging), Some(offset)) if offset.end > 0 => {
                self.step_down(current, paging, offset).await?
            }
            (Some(paging), offset) => {
                self.open(current, paging, offset.unwrap_or(Offset::unopened()))
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
        remember(&window, current, &mut page, &mut token.remembered);
        let is_in_order = self.is_read_in_order(&window, current.0);
        let go_on = match then {
            Then::NextWindow => None,
            Then::Split(parts) if is_in_order => {
                token.todo.extend(parts.into_iter().rev());
                None
            }
            Then::Split(parts) => {
                let parts = parts.into_iter();
                page.beside = parts.map(|part| WindowToken::alone(part, None)).collect();
                None
            }
            Then::At(offset) => Some(offset),
            Then::AtNextRun(offset, error) => {
                page.hold = Some(Hold::NextRun(error));
                Some(offset)
            }
            Then::Opened(offset) if is_in_order => Some(offset),
            Then::Opened(offset) => {
                let chains = self.cut(offset).into_iter();
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

    fn extent(&self, window: &Window) -> Extent {
        Extent {
            title: String::new(),
            from: Some(window.from),
            to: Some(window.to),
        }
    }

    fn coverage(&self, bookmark: &WindowBookmark) -> Coverage {
        let overlap_from = bookmark.to.saturating_sub(self.overlap);
        let again_from = overlap_from.unwrap_or(self.start).max(self.start);
        if again_from >= bookmark.to {
            return Coverage {
                until: Some(bookmark.to),
                ..Coverage::default()
            };
        }
        Coverage {
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
            delivered: Seen::default(),
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
            let total = if asked < MOST_SURVEYED {
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

/// A length of time in its largest whole unit.
fn in_words(length: SignedDuration) -> String {
    const UNITS: [(i64, &str); 3] = [(24 * 60 * 60, "days"), (60 * 60, "hours"), (60, "minutes")];
    let seconds = length.as_secs();
    let unit = UNITS
        .into_iter()
        .find(|(unit, _)| seconds % unit == 0 && seconds / unit > 1);
    let (unit, name) = unit.unwrap_or((1, "seconds"));
    format!("{} {name}", seconds / unit)
}

/// A window cut where remembering begins, the part to read first last.
fn seams(window: &Window) -> Vec<(Timestamp, Timestamp)> {
    let seam = window.remember_from;
    if window.from < seam && seam < window.to {
        vec![(seam, window.to), (window.from, seam)]
    } else {
        vec![(window.from, window.to)]
    }
}

/// Leaves out what the last pass delivered, and notes what the next one may meet again.
fn remember(
    window: &Window,
    (from, _): (Timestamp, Timestamp),
    page: &mut Found,
    remembered: &mut Seen,
) {
    let is_tail = from >= window.remember_from;
    if !is_tail && window.delivered.is_empty() {
        return;
    }
    let body = page.body.clone();
    page.records.retain(|span| {
        let fingerprint = Seen::fingerprint(&body[span.clone()]);
        if is_tail && remembered.len() < MOST_REMEMBERED {
            remembered.insert(fingerprint);
        }
        !window.delivered.contains(fingerprint)
    });
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(text: &str) -> Timestamp {
        text.parse().unwrap()
    }

    #[test]
    fn parts_touch_and_cover_the_window() {
        let window = (at("2025-01-01T00:00:00.5Z"), at("2026-01-01T00:00:00.25Z"));
        let parts = split_window(window, 200_000, 10_000).unwrap();
        assert_eq!(parts.len(), 25);
        assert_eq!((parts[0].0, parts[24].1), window);
        assert!(parts.windows(2).all(|pair| pair[0].1 == pair[1].0));
        assert!(parts.iter().all(|(from, to)| from < to));
    }

    #[test]
    fn a_full_second_is_an_error_and_not_a_loop() {
        let window = (at("2025-01-01T00:00:00Z"), at("2025-01-01T00:00:01Z"));
        let error = split_window(window, 10_001, 10_000).unwrap_err();
        assert!(
            error
                .message()
                .contains("share the second 2025-01-01T00:00:00Z"),
            "{error}"
        );
        let two = split_window((window.0, at("2025-01-01T00:00:02Z")), 1_000_000, 10_000).unwrap();
        assert_eq!(two.len(), 2);
    }
}
