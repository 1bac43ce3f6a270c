//! Reads a window: opens it, cuts it into chains, and reads each down page by page.

use headwater_core::{Error, Gap, Kind, Mend, Note, Page, Result, Timestamp};
use serde_json::Value;

use super::{
    OffsetPaging, WindowPage, WindowedList,
    bounds::split_window,
    step::{NextStep, Offset, PageRequest, Step, again, distinct, halves},
};
use crate::{
    client::Response,
    envelope::taken_as_empty,
    progress::{read_again, total},
};

/// The minimum number of pages of a chain: a reader of two pages notices a repeated one.
const MIN_PAGES: u64 = 2;
/// The maximum number of rows that a service may add to a page of the requested size.
const MAX_ON_TOP: u64 = 10;
/// Statuses of a page that is too large for the service.
const TOO_LARGE: &[u16] = &[502, 504];

impl WindowedList {
    pub(super) async fn read_whole(&self, window: (Timestamp, Timestamp)) -> Result<Step> {
        let response = self.client.send(&self.request(window)).await?;
        let cut = self.client.cut(&response, self.records, &[], &[])?;
        let notes = cut.notes(self.spec.name);
        Ok(Step {
            page: Page {
                notes,
                ..Page::new(response.body, cut.records)
            },
            then: NextStep::NextWindow,
        })
    }

    /// Sends the first request of a window, for its first page and its total. This suffices if they are equal.
    pub(super) async fn open(
        &self,
        window: (Timestamp, Timestamp),
        paging: &OffsetPaging,
        offset: Offset,
        is_part: bool,
    ) -> Result<Step> {
        let Some((found, total)) = self
            .page(window, paging, &offset, 0, paging.sizes[offset.size], true)
            .await?
        else {
            return Ok(self.shrink(paging, offset));
        };
        let received = found.records.len() as u64;
        let size = u64::from(paging.sizes[offset.size]);
        let distinct = distinct(&found);
        // A page of the requested size does not show whether more follows, nor does a total that is too small; a much
        // larger page is the whole list.
        let is_all = match received > size + MAX_ON_TOP {
            true => total <= distinct,
            false => received < size && total == distinct,
        };
        if is_all {
            return Ok(Step {
                page: found,
                then: NextStep::NextWindow,
            });
        }
        // The total is too small, so the number of records is unknown: read until a page is empty.
        if received < size && total < distinct {
            let offset = Offset {
                total: distinct,
                opened: distinct,
                read: distinct,
                up: received,
                round: offset.round,
                ..Offset::of_size(offset.size)
            };
            self.seen
                .add(window, offset.floor, self.seen.prints(&found));
            self.seen.continue_at(window, &offset);
            return Ok(Step {
                page: found,
                then: NextStep::At(offset),
            });
        }
        if total > paging.cap {
            if is_part {
                self.require_sum(window, paging, total).await?;
            }
            return Ok(Step {
                page: Page {
                    total: (!is_part).then_some(total),
                    ..Page::empty()
                },
                then: NextStep::Split(split_window(window, total, paging.cap)?),
            });
        }
        let uncounted = distinct.saturating_sub(total);
        let total = total + uncounted;
        let offset = Offset {
            total,
            uncounted,
            end: total,
            opened: total,
            // A service that returns fewer records than requested may omit the one beyond its total.
            up: if received < size { total } else { 0 },
            round: offset.round,
            ..Offset::of_size(offset.size)
        };
        Ok(Step {
            page: Page {
                // The page of the split has the total of all parts: some parts would report theirs much later.
                total: (!is_part).then_some(total),
                ..Page::empty()
            },
            then: NextStep::Opened(offset),
        })
    }

    /// Reads the page before `offset.end`. An unexpected page is requested once more, with the total: one response then
    /// shows whether records left the window or the service returns other records than requested. A separate count
    /// would be outdated when the page arrives, and a busy list would never be read.
    pub(super) async fn step_down(
        &self,
        window: (Timestamp, Timestamp),
        paging: &OffsetPaging,
        offset: Offset,
    ) -> Result<Step> {
        let offset = self.seen.position(window, offset);
        let PageRequest {
            skip,
            wanted,
            limit,
            is_last,
        } = offset.ask(u64::from(paging.sizes[offset.size]));
        let with_total = skip <= offset.floor() || offset.recount;
        let limit = u32::try_from(limit).unwrap_or(u32::MAX);
        let Some((page, total)) = self
            .page(window, paging, &offset, skip, limit, with_total)
            .await?
        else {
            return Ok(self.stored(window, offset, self.shrink(paging, offset)));
        };
        let total = total.saturating_add(offset.uncounted);
        let received = page.records.len() as u64;
        let prints = self.seen.prints(&page);
        let new = self.seen.count_new(window, offset.floor, &prints);
        let is_beyond = is_last && new > 0 && received > offset.end - skip;
        // A second reading finds the same records.
        let is_repeated = new == 0 && received > 0 && !offset.is_overlapping;
        if !with_total && (is_beyond || is_repeated || received < wanted) {
            let recount = NextStep::At(Offset {
                recount: true,
                ..offset
            });
            return Ok(self.stored(window, offset, recount.into()));
        }
        if with_total && received < wanted && skip + received < total {
            return Ok(self.stored(window, offset, distrust(paging, offset)?.into()));
        }
        if with_total && is_repeated && total >= offset.total && total > skip {
            return Ok(self.stored(window, offset, self.read_again(offset)));
        }
        // A list that became much shorter is read from its start, where its records are.
        if with_total && received == 0 && total < skip && offset.top == 0 {
            let anew = again(offset, total, paging.cap);
            return Ok(self.stored(window, offset, anew.into()));
        }
        self.seen.add(window, offset.floor, prints);
        // A total that leaves out records does not show how many left.
        let have_left = match with_total && offset.uncounted == 0 {
            true => offset.total.saturating_sub(total),
            false => 0,
        };
        // A page of one record has no room for an extra record.
        let is_unproven = is_last && limit == 1 && received == 1;
        let may_have_more = (is_beyond && total <= offset.total) || is_unproven;
        let next = Offset {
            total: offset.total - have_left,
            // No record follows an empty page, or the records from `offset.end` on have been read.
            end: if received == 0 { skip.min(total) } else { skip },
            read: offset.read + new,
            repeated: offset.repeated + (received - new),
            left: offset.left.saturating_add(have_left),
            up: if may_have_more {
                skip + received
            } else {
                offset.up
            },
            recount: false,
            is_restless: offset.is_restless || have_left > 0,
            ..offset
        };
        let step = self.after(window, paging, next, with_total.then_some(total))?;
        Ok(self.stored(window, next, step.with(page)))
    }

    /// Reads the next page beyond the total. A page with known records is requested once more.
    pub(super) async fn step_up(
        &self,
        window: (Timestamp, Timestamp),
        paging: &OffsetPaging,
        offset: Offset,
    ) -> Result<Step> {
        let offset = self.seen.position(window, offset);
        if offset.up > paging.cap {
            let next = Offset {
                up: 0,
                is_open: true,
                ..offset
            };
            let step = self.after(window, paging, next, None)?;
            return Ok(self.stored(window, next, step));
        }
        let limit = paging.sizes[offset.size];
        let Some((page, _)) = self
            .page(window, paging, &offset, offset.up, limit, false)
            .await?
        else {
            return Ok(self.stored(window, offset, self.shrink(paging, offset)));
        };
        let received = page.records.len() as u64;
        let prints = self.seen.prints(&page);
        let new = self.seen.count_new(window, offset.floor, &prints);
        let has_known = new < received;
        if has_known && !offset.recount {
            let again = NextStep::At(Offset {
                recount: true,
                ..offset
            });
            return Ok(self.stored(window, offset, again.into()));
        }
        self.seen.add(window, offset.floor, prints);
        let next = Offset {
            read: offset.read + new,
            recount: false,
            // Known records are at the offsets of new ones: the end is unknown.
            is_open: offset.is_open || has_known,
            ..offset
        };
        let next = match new {
            0 => {
                self.seen
                    .grow(window, offset.up.saturating_sub(offset.begin()));
                next.ending_at(offset.up)
            }
            _ => Offset {
                up: offset.up + received,
                ..next
            },
        };
        let step = self.after(window, paging, next, None)?;
        Ok(self.stored(window, next, step.with(page)))
    }

    /// Returns the next step: continue here, in the next window, or read this one once more; with a gap if that did not
    /// help. The total is that of the last response.
    fn after(
        &self,
        window: (Timestamp, Timestamp),
        paging: &OffsetPaging,
        offset: Offset,
        total: Option<u64>,
    ) -> Result<Step> {
        if offset.end > offset.floor() || offset.up > 0 {
            return Ok(NextStep::At(offset).into());
        }
        if let Some(total) = total.filter(|total| *total > offset.total) {
            return Ok(again(offset, total, paging.cap).into());
        }
        let short = offset.short();
        if !offset.is_overlapping && (short > 0 || offset.repeated > offset.left) {
            return Ok(self.read_again(offset));
        }
        // A service that ignores the offset returns at most one page.
        let [size, largest] = [offset.size, 0].map(|size| u64::from(paging.sizes[size]));
        if short > 0 && (short >= size || offset.read <= largest) {
            let anew = Offset {
                end: offset.begin(),
                ..offset
            };
            return Ok(distrust(paging, anew)?.into());
        }
        let mut step = Step::from(NextStep::NextWindow);
        if short > 0 || offset.is_open {
            let at_most = (!offset.is_open).then_some(short);
            step.page.gaps.push(self.count_gap(window, at_most));
        }
        Ok(step)
    }

    /// Returns the gap of a window without some of its records.
    fn count_gap(&self, (from, to): (Timestamp, Timestamp), at_most: Option<u64>) -> Gap {
        Gap {
            code: "count_differs",
            message: format!(
                "the list of {} from {from} to {to} returns another number of records than its total",
                self.spec.name
            ),
            at_most,
            mend: Mend::Rewind(from),
        }
    }

    /// Reads the window again from its end, in steps of half a page, so that a pinned row hides no record.
    fn read_again(&self, offset: Offset) -> Step {
        let mut step = Step::from(NextStep::At(Offset {
            end: offset.begin(),
            is_overlapping: true,
            recount: false,
            repeated: 0,
            ..offset
        }));
        step.page.notes.push(read_again(self.spec.name));
        step
    }

    /// Stores the records up to a position, for the position where the read continues.
    fn stored(&self, window: (Timestamp, Timestamp), at: Offset, mut step: Step) -> Step {
        match &step.then {
            NextStep::At(offset) => self.seen.continue_at(window, offset),
            NextStep::NextWindow => {
                let short = self.seen.end(window, &at);
                if short > 0 && step.page.gaps.is_empty() {
                    step.page.gaps.push(self.count_gap(window, Some(short)));
                }
            }
            NextStep::Split(_) | NextStep::Opened(_) | NextStep::AtNextRun(..) => {
                self.seen.leave(window, at.floor);
            }
        }
        step
    }

    /// Refuses to split parts of a window without end: the halves have no more records than the whole, unless the
    /// service ignores the time, or its totals grow with every response.
    async fn require_sum(
        &self,
        window: (Timestamp, Timestamp),
        paging: &OffsetPaging,
        total: u64,
    ) -> Result<()> {
        let mut sum: u64 = 0;
        for half in halves(window).into_iter().flatten() {
            let count = self.count(half, paging).await?;
            // A service with an empty half uses the time, and its totals do not grow with every response.
            if count == 0 {
                return Ok(());
            }
            sum = sum.saturating_add(count);
        }
        // Records on the seam count twice.
        if sum <= total.saturating_add(total / 4) {
            return Ok(());
        }
        let text = format!(
            "the halves of {} to {} have {sum} records, but the whole has {total}: the service ignores the time, or its \
             totals grow with every response; the read would never end",
            window.0, window.1
        );
        Err(Error::new(Kind::DataInvalid, text))
    }

    /// Cuts a newly opened window into chains; returns none if that saves nothing.
    pub(super) fn cut(&self, offset: Offset) -> Vec<Offset> {
        let size = self
            .paging
            .map_or(1, |paging| u64::from(paging.sizes[offset.size]).max(1));
        let pages = offset.total.div_ceil(size);
        let chains = self.chains.min(pages / MIN_PAGES);
        if chains < 2 {
            return Vec::new();
        }
        let length = pages.div_ceil(chains) * size;
        let mut cut = Vec::new();
        let mut top = offset.total;
        while top > 0 {
            // The last page of the list requests one record more than expected.
            let is_last = u64::from(top == offset.total);
            let floor = top.saturating_sub(length - is_last);
            let floor = if floor <= size { 0 } else { floor };
            cut.push(Offset {
                end: top,
                floor,
                top,
                opened: 0,
                up: if is_last > 0 { offset.up } else { 0 },
                ..offset
            });
            top = floor;
        }
        cut
    }

    /// Counts the records of a window.
    pub(super) async fn count(
        &self,
        window: (Timestamp, Timestamp),
        paging: &OffsetPaging,
    ) -> Result<u64> {
        let size = paging.sizes.len() - 1;
        let offset = Offset::of_size(size);
        let counted = self
            .page(window, paging, &offset, 0, paging.sizes[size], true)
            .await?;
        Ok(counted.map_or(0, |(_, total)| total))
    }

    /// Requests one page, optionally with the total. `None` if the page is too large for the service but can be
    /// smaller.
    async fn page(
        &self,
        window: (Timestamp, Timestamp),
        paging: &OffsetPaging,
        offset: &Offset,
        skip: u64,
        limit: u32,
        with_total: bool,
    ) -> Result<Option<(WindowPage, u64)>> {
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
        let wanted: &[&str] = if with_total { &wanted } else { &[] };
        let cut = self.client.cut(&response, self.records, &[], wanted)?;
        let name = self.spec.name;
        let mut notes = cut.notes(name);
        let mut stated = 0;
        if with_total {
            let found = cut.found.into_iter().next().flatten();
            stated = match total(found.as_ref(), name, &mut notes) {
                Some(total) => total,
                // An empty list may have no count.
                None if offset.total == 0
                    && cut.records.is_empty()
                    && self.is_uncounted(&response, paging)? =>
                {
                    if !cut.taken_as_empty {
                        notes.push(taken_as_empty(name));
                    }
                    0
                }
                None => {
                    let text = format!("the response has no total at {}", paging.total);
                    return Err(Error::new(Kind::DataInvalid, text));
                }
            };
            if cut.taken_as_empty && stated > skip {
                let text = format!("the response has no list, though its total is {stated}");
                return Err(Error::new(Kind::DataInvalid, text));
            }
        }
        let page = Page {
            notes,
            ..Page::new(response.body, cut.records)
        };
        Ok(Some((page, stated)))
    }

    /// Returns whether the object of the total is missing or null, and not of another form.
    fn is_uncounted(&self, response: &Response, paging: &OffsetPaging) -> Result<bool> {
        let (object, _) = paging.total.rsplit_once('/').unwrap_or_default();
        let pointer = if object.is_empty() {
            paging.total
        } else {
            object
        };
        let cut = self.client.cut(response, self.records, &[], &[pointer])?;
        let found = cut.found.first().and_then(Option::as_ref);
        Ok(found.is_none_or(Value::is_null))
    }

    /// Returns the same position with the next smaller page size.
    fn shrink(&self, paging: &OffsetPaging, offset: Offset) -> Step {
        let size = (offset.size + 1).min(paging.sizes.len() - 1);
        let mut step = Step::from(NextStep::At(Offset { size, ..offset }));
        step.page.notes.push(Note {
            code: "page_too_large",
            message: format!(
                "{} could not send a page of this size; a smaller page was requested",
                self.client.service()
            ),
        });
        step
    }
}

/// Returns the next step for a service that returns fewer records than requested, or other ones.
fn distrust(paging: &OffsetPaging, offset: Offset) -> Result<NextStep> {
    if offset.size + 1 == paging.sizes.len() {
        return Err(Error::new(
            Kind::DataInvalid,
            "the pages do not add up to the total of the list: one was too short or repeated",
        ));
    }
    Ok(NextStep::At(Offset {
        size: offset.size + 1,
        // The last page may have had no room for records beyond the total.
        up: if offset.is_last_chain() {
            offset.begin()
        } else {
            0
        },
        recount: false,
        ..offset
    }))
}
