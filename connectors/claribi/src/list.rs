//! Lists in whichever envelope they come: the vendor's pages show several, so each answer says how to go on.

use std::ops::Range;

use headwater::{
    Gap, Note,
    http::{Client, Ending, Progress, Records, Request, Response, cursor, total},
    prelude::*,
};
use serde::{Deserialize, Serialize};
use serde_json::Value;

/// Where lists have their records: an array, `{count,next,previous,results}`, `{items,total,limit,offset}`,
/// `{data,next_cursor}`.
pub(crate) const RECORDS: Records = Records::Lists(&["", "/results", "/items", "/data"]);
/// What else is read of a page, in the order of [`Envelope`].
const WANTED: [&str; 5] = ["/next", "/next_cursor", "/count", "/total", "/offset"];
/// Documented as the most; the default of 20 would use up an hourly limit five times as fast.
const PAGE_SIZE: u32 = 100;

/// A list at a path.
#[derive(Clone, Debug)]
pub(crate) struct List {
    client: Client,
    path: &'static str,
}

/// A place in a list.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(crate) struct ListPosition {
    at: At,
    #[serde(flatten)]
    progress: Progress,
}

#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum At {
    /// At the first page.
    #[default]
    Start,
    /// The query of the link to the next page.
    Query(String),
    Offset(u64),
    /// The next offset and page of a list that has a total, and neither link nor cursor.
    Untold {
        offset: u64,
        page: u64,
    },
    Cursor(String),
}

/// A page cut up.
pub(crate) struct ListPage {
    pub records: Vec<Range<usize>>,
    pub next: Option<ListPosition>,
    pub notes: Vec<Note>,
    pub gaps: Vec<Gap>,
}

/// The values at [`WANTED`]; null is told from missing.
struct Envelope {
    next: Option<Value>,
    cursor: Option<Value>,
    total: Option<u64>,
    offset: Option<Value>,
}

impl ListPosition {
    /// Whether this is the first page of the list, be it for the second time.
    pub(crate) const fn is_start(&self) -> bool {
        matches!(self.at, At::Start)
    }
}

impl ListPage {
    fn end(&mut self, ending: Ending) {
        self.notes.extend(ending.notes);
        self.gaps = ending.gaps;
        self.next = ending.again.map(|progress| ListPosition {
            at: At::Start,
            progress,
        });
    }
}

impl List {
    pub(crate) fn new(client: &Client, path: &'static str) -> Self {
        Self {
            client: client.clone(),
            path,
        }
    }

    pub(crate) fn client(&self) -> &Client {
        &self.client
    }

    /// The smallest question that tells whether the list may be read.
    pub(crate) fn peek(&self) -> Request {
        Request::get(self.path).query("page_size", 1)
    }

    /// The question for one of its items.
    pub(crate) fn item(&self, id: &str) -> Request {
        Request::get(format!("{}{}/", self.path, escape(id)))
    }

    /// The question for a page.
    pub(crate) fn request(&self, place: &ListPosition) -> Request {
        let first = Request::get(self.path);
        match &place.at {
            At::Start => first.query("page_size", PAGE_SIZE),
            At::Query(query) => {
                // Only the link's query is used, on the path that is ours: behind a proxy the link may have another
                // scheme, host or prefix, and credentials go nowhere else.
                let prefix = self.client.base().as_url().path().trim_end_matches('/');
                Request::link(format!("{prefix}{}?{query}", self.path)).accept(&[404])
            }
            At::Offset(offset) => first.query("limit", PAGE_SIZE).query("offset", offset),
            At::Untold { offset, page } => first
                .query("limit", PAGE_SIZE)
                .query("offset", offset)
                .query("page_size", PAGE_SIZE)
                .query("page", page)
                .accept(&[404]),
            At::Cursor(cursor) => first
                .query("page_size", PAGE_SIZE)
                .query("limit", PAGE_SIZE)
                .query("cursor", cursor),
        }
    }

    /// Whether this answer says that a page is not there any more, because the list has become shorter.
    pub(crate) fn is_past_the_end(&self, response: &Response) -> bool {
        let said = self.client.said(&response.body).unwrap_or_default();
        response.status.as_u16() == 404 && said.to_ascii_lowercase().contains("invalid page")
    }

    /// Cuts a page of the list of `name`, and finds the next one.
    pub(crate) fn cut(
        &self,
        place: ListPosition,
        response: &Response,
        name: &str,
    ) -> Result<ListPage> {
        let mut split = self.client.cut(response, RECORDS, &[], &WANTED)?;
        let mut notes = split.notes(name);
        let [next, cursor, count, whole, offset] =
            <[_; 5]>::try_from(std::mem::take(&mut split.found))
                .map_err(|_| Error::new(Kind::Unexpected, "a page was not cut as asked"))?;
        let found = Envelope {
            next,
            cursor,
            total: total(count.or(whole).as_ref(), name, &mut notes),
            offset,
        };
        let ListPosition { at, mut progress } = place;
        progress.require_list(&split, found.total)?;
        let count = split.records.len();
        progress.take(&response.body, &mut split.records, found.total, true);
        let next = self.next(&at, &mut progress, count, &found)?;
        let mut cut = ListPage {
            records: split.records,
            next: None,
            notes,
            gaps: Vec::new(),
        };
        match next {
            Some(at) => cut.next = Some(ListPosition { at, progress }),
            None => cut.end(progress.end(name, false)),
        }
        Ok(cut)
    }

    /// The records of a page alone.
    pub(crate) fn records(&self, response: &Response) -> Result<Vec<Range<usize>>> {
        Ok(self.client.cut(response, RECORDS, &[], &[])?.records)
    }

    /// The end of the list of `name` at a page that is not there any more, because the list has become shorter.
    pub(crate) fn cut_short(&self, place: ListPosition, name: &str) -> ListPage {
        let mut cut = ListPage {
            records: Vec::new(),
            next: None,
            notes: Vec::new(),
            gaps: Vec::new(),
        };
        // Where the list did not name the page, it need not be there.
        let was_named = !matches!(place.at, At::Untold { .. });
        cut.end(place.progress.end(name, was_named));
        cut
    }

    fn next(
        &self,
        at: &At,
        progress: &mut Progress,
        count: usize,
        found: &Envelope,
    ) -> Result<Option<At>> {
        let Some(next) = self.goes_on_at(at, progress, count, found)? else {
            return Ok(None);
        };
        let goes_on = match &next {
            At::Query(token) | At::Cursor(token) => progress.goes_on(Some(token))?,
            // A service that knows no offset gives the same page again.
            At::Untold { .. } => !progress.is_stuck() && progress.goes_on(None)?,
            At::Start | At::Offset(_) => progress.goes_on(None)?,
        };
        Ok(goes_on.then_some(next))
    }

    /// A link or a cursor leads on. Where neither is spoken of but an offset is, the list goes on until a page is empty:
    /// a total may lie, and a short page may come from a service that gives fewer than asked for. Where nothing is
    /// spoken of but a total, it goes on until that is reached.
    fn goes_on_at(
        &self,
        at: &At,
        progress: &Progress,
        count: usize,
        found: &Envelope,
    ) -> Result<Option<At>> {
        if let Some(cursor) = cursor(found.cursor.as_ref(), "cursor")? {
            return Ok(Some(At::Cursor(cursor)));
        }
        if let Some(link) = cursor(found.next.as_ref(), "link to the next page")? {
            return Ok(Some(At::Query(self.query_of(&link)?)));
        }
        if found.next.is_some() || found.cursor.is_some() || count == 0 {
            return Ok(None);
        }
        let (offset, page) = match at {
            At::Offset(offset) => (*offset, 1),
            At::Untold { offset, page } => (*offset, *page),
            _ => (0, 1),
        };
        let offset = offset.saturating_add(progress.step(count));
        if found.offset.is_some() {
            return Ok(Some(At::Offset(offset)));
        }
        let has_more = progress
            .total()
            .is_some_and(|total| total > progress.distinct());
        Ok(has_more.then_some(At::Untold {
            offset,
            page: page.saturating_add(1),
        }))
    }

    /// The query of a link to another page of this list.
    fn query_of(&self, link: &str) -> Result<String> {
        let bad = |why: &str| {
            let text = format!("the link to the next page {why}");
            Err(Error::new(Kind::DataInvalid, text))
        };
        let link = link.split('#').next().unwrap_or_default();
        let (target, query) = link.split_once('?').unwrap_or((link, ""));
        let path = match target.split_once("://") {
            Some((_, rest)) => rest.find('/').map_or("", |at| &rest[at..]),
            None => target,
        };
        if !path.is_empty() && !path.ends_with(self.path) {
            return bad("leads to another list; it was not followed");
        }
        if query.is_empty() {
            return bad("names no page");
        }
        Ok(query.to_owned())
    }
}

/// An id as one segment of a path, whatever it holds.
fn escape(id: &str) -> String {
    let mut segment = String::with_capacity(id.len());
    for byte in id.bytes() {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'_' => segment.push(byte.into()),
            _ => segment.push_str(&format!("%{byte:02X}")),
        }
    }
    segment
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_stays_one_segment() {
        assert_eq!(escape("42"), "42");
        assert_eq!(escape("0f8b-77aa_Z"), "0f8b-77aa_Z");
        assert_eq!(escape("a/b?c#d é"), "a%2Fb%3Fc%23d%20%C3%A9");
    }
}
