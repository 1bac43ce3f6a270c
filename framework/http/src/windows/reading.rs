//! Reading a window: opened, cut into chains, and read down page by page.

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

/// Pages of a chain: one that comes twice shows only to who reads two.
const FEWEST_PAGES: u64 = 2;
/// Rows that a service may put on top of a page that is as large as was asked for.
const MAX_ON_TOP: u64 = 10;
/// Statuses by which a service says that a page is too large for it.
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

    /// The first request of a window: its first page and its total. Enough where they are the same.
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
        let given = found.records.len() as u64;
        let size = u64::from(paging.sizes[offset.size]);
        let distinct = distinct(&found);
        // A page as large as was asked for says nothing of what follows it, nor does a total that is too small; a page that
        // is much larger is all there is.
        let is_all = match given > size + MAX_ON_TOP {
            true => total <= distinct,
            false => given < size && total == distinct,
        };
        if is_all {
            return Ok(Step {
                page: found,
                then: NextStep::NextWindow,
            });
        }
        // The total is too small, so that nothing says how many there are: read on until nothing comes.
        if given < size && total < distinct {
            let offset = Offset {
                total: distinct,
                opened: distinct,
                read: distinct,
                up: given,
                round: offset.round,
                ..Offset::of_size(offset.size)
            };
            self.met.add(window, offset.floor, self.met.prints(&found));
            self.met.go_on(window, &offset);
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
                page: Page::empty(),
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
            // A service that gives fewer than it is asked for may leave the one out that is beyond its total.
            up: if given < size { total } else { 0 },
            round: offset.round,
            ..Offset::of_size(offset.size)
        };
        Ok(Step {
            page: Page {
                total: Some(total),
                ..Page::empty()
            },
            then: NextStep::Opened(offset),
        })
    }

    /// The page before `offset.end`. Where it is not what was expected it is asked for once more, with the total: one
    /// answer tells then whether records left the window or the service gives others than it was asked for. A count
    /// of its own would be outdated by the time that the page comes, and a busy list would never be read.
    pub(super) async fn step_down(
        &self,
        window: (Timestamp, Timestamp),
        paging: &OffsetPaging,
        offset: Offset,
    ) -> Result<Step> {
        let offset = self.met.place(window, offset);
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
            return Ok(self.kept(window, offset, self.shrink(paging, offset)));
        };
        let total = total.saturating_add(offset.uncounted);
        let given = page.records.len() as u64;
        let prints = self.met.prints(&page);
        let new = self.met.count_new(window, offset.floor, &prints);
        let is_beyond = is_last && new > 0 && given > offset.end - skip;
        // A second reading meets the same ones.
        let is_repeated = new == 0 && given > 0 && !offset.is_overlapping;
        if !with_total && (is_beyond || is_repeated || given < wanted) {
            let recount = NextStep::At(Offset {
                recount: true,
                ..offset
            });
            return Ok(self.kept(window, offset, recount.into()));
        }
        if with_total && given < wanted && skip + given < total {
            return Ok(self.kept(window, offset, distrust(paging, offset)?.into()));
        }
        if with_total && is_repeated && total >= offset.total && total > skip {
            return Ok(self.kept(window, offset, self.read_again(offset)));
        }
        // A list that has become so much shorter is looked at from its start, where its records show.
        if with_total && given == 0 && total < skip && offset.top == 0 {
            let anew = again(offset, total, paging.cap);
            return Ok(self.kept(window, offset, anew.into()));
        }
        self.met.add(window, offset.floor, prints);
        // A total that leaves records out says nothing of those that left.
        let have_left = match with_total && offset.uncounted == 0 {
            true => offset.total.saturating_sub(total),
            false => 0,
        };
        // A page of one record has no room for one more than there should be.
        let is_unproven = is_last && limit == 1 && given == 1;
        let is_untold = (is_beyond && total <= offset.total) || is_unproven;
        let next = Offset {
            total: offset.total - have_left,
            // Nothing is behind an empty page, or the records from `offset.end` on have been read.
            end: if given == 0 { skip.min(total) } else { skip },
            read: offset.read + new,
            repeated: offset.repeated + (given - new),
            left: offset.left.saturating_add(have_left),
            up: if is_untold { skip + given } else { offset.up },
            recount: false,
            is_restless: offset.is_restless || have_left > 0,
            ..offset
        };
        let step = self.after(window, paging, next, with_total.then_some(total))?;
        Ok(self.kept(window, next, step.with(page)))
    }

    /// Reads the next page behind the total. A page with known records is asked for once more.
    pub(super) async fn step_up(
        &self,
        window: (Timestamp, Timestamp),
        paging: &OffsetPaging,
        offset: Offset,
    ) -> Result<Step> {
        let offset = self.met.place(window, offset);
        if offset.up > paging.cap {
            let next = Offset {
                up: 0,
                is_open: true,
                ..offset
            };
            let step = self.after(window, paging, next, None)?;
            return Ok(self.kept(window, next, step));
        }
        let limit = paging.sizes[offset.size];
        let Some((page, _)) = self
            .page(window, paging, &offset, offset.up, limit, false)
            .await?
        else {
            return Ok(self.kept(window, offset, self.shrink(paging, offset)));
        };
        let given = page.records.len() as u64;
        let prints = self.met.prints(&page);
        let new = self.met.count_new(window, offset.floor, &prints);
        let has_known = new < given;
        if has_known && !offset.recount {
            let again = NextStep::At(Offset {
                recount: true,
                ..offset
            });
            return Ok(self.kept(window, offset, again.into()));
        }
        self.met.add(window, offset.floor, prints);
        let next = Offset {
            read: offset.read + new,
            recount: false,
            // Known records stand where new ones should: the end is not known.
            is_open: offset.is_open || has_known,
            ..offset
        };
        let next = match new {
            0 => {
                self.met
                    .grow(window, offset.up.saturating_sub(offset.begin()));
                next.ending_at(offset.up)
            }
            _ => Offset {
                up: offset.up + given,
                ..next
            },
        };
        let step = self.after(window, paging, next, None)?;
        Ok(self.kept(window, next, step.with(page)))
    }

    /// Where reading goes on: here, in the next window, or in this one once more; with a gap where that did not help.
    /// The total is that of the last answer.
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
        // A service that ignores the offset gives no more than one page.
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
            step.page.gaps.push(self.others(window, at_most));
        }
        Ok(step)
    }

    /// A window without some of its records.
    fn others(&self, (from, to): (Timestamp, Timestamp), at_most: Option<u64>) -> Gap {
        Gap {
            code: "count_differs",
            message: format!(
                "the list of {} from {from} to {to} gives others than it says that there are",
                self.spec.name
            ),
            at_most,
            mend: Mend::Rewind(from),
        }
    }

    /// The same from its end, in steps of half a page: a row in the place of others pushes none out of sight.
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

    /// Remembers what was met up to a place for the one where reading goes on.
    fn kept(&self, window: (Timestamp, Timestamp), at: Offset, mut step: Step) -> Step {
        match &step.then {
            NextStep::At(offset) => self.met.go_on(window, offset),
            NextStep::NextWindow => {
                let short = self.met.end(window, &at);
                if short > 0 && step.page.gaps.is_empty() {
                    step.page.gaps.push(self.others(window, Some(short)));
                }
            }
            NextStep::Split(_) | NextStep::Opened(_) | NextStep::AtNextRun(..) => {
                self.met.leave(window, at.floor);
            }
        }
        step
    }

    /// Refuses to split parts of a window for ever: the halves of one have no more records than the whole, unless the
    /// service does not go by the time, or its totals grow with every answer.
    async fn require_sum(
        &self,
        window: (Timestamp, Timestamp),
        paging: &OffsetPaging,
        total: u64,
    ) -> Result<()> {
        let mut sum: u64 = 0;
        for half in halves(window).into_iter().flatten() {
            let count = self.count(half, paging).await?;
            // A service that finds nothing in a half goes by the time, and its totals do not grow with every answer.
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
            "the halves of {} to {} have {sum} records, and both together {total}: the service does not go by the time, or \
             its totals grow with every answer; reading on would never end",
            window.0, window.1
        );
        Err(Error::new(Kind::DataInvalid, text))
    }

    /// Cuts a window that was just opened into chains; none where that saves nothing.
    pub(super) fn cut(&self, offset: Offset) -> Vec<Offset> {
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
            // The last page of the list asks for one record more than there should be.
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

    /// How many records a window has.
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

    /// One page and, where asked for, the total. None when the page is too large for the service but can be smaller.
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
        let mut told = 0;
        if with_total {
            let found = cut.found.into_iter().next().flatten();
            told = match total(found.as_ref(), name, &mut notes) {
                Some(total) => total,
                // Nothing is counted where nothing is.
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
                    let text = format!("the answer has no total at {}", paging.total);
                    return Err(Error::new(Kind::DataInvalid, text));
                }
            };
            if cut.taken_as_empty && told > skip {
                let text = format!("the answer has no list, though its total is {told}");
                return Err(Error::new(Kind::DataInvalid, text));
            }
        }
        let page = Page {
            notes,
            ..Page::new(response.body, cut.records)
        };
        Ok(Some((page, told)))
    }

    /// Whether the object that has the total is missing or null, rather than of another form.
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

    /// The same place with the next smaller page size.
    fn shrink(&self, paging: &OffsetPaging, offset: Offset) -> Step {
        let size = (offset.size + 1).min(paging.sizes.len() - 1);
        let mut step = Step::from(NextStep::At(Offset { size, ..offset }));
        step.page.notes.push(Note {
            code: "page_too_large",
            message: format!(
                "{} could not send a page this large; it was asked for a smaller one",
                self.client.service()
            ),
        });
        step
    }
}

/// The records are there, but the service gives fewer at a time than it was asked for, or others.
fn distrust(paging: &OffsetPaging, offset: Offset) -> Result<NextStep> {
    if offset.size + 1 == paging.sizes.len() {
        return Err(Error::new(
            Kind::DataInvalid,
            "the pages do not add up to the total of the list: one was too short, or came twice",
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
