//! Lists in any documented envelope: the vendor's pages show several, so each response determines the next request.

use std::ops::Range;

use headwater::{
    Gap, Note,
    http::{Client, Ending, Progress, Records, Request, Response, cursor, total},
    prelude::*,
};
use serde::{Deserialize, Serialize};
use serde_json::Value;

/// The records of a list: an array, `{count,next,previous,results}`, `{items,total,limit,offset}`,
/// `{data,next_cursor}`.
pub(crate) const RECORDS: Records = Records::Lists(&["", "/results", "/items", "/data"]);
/// The other values read from a page, in the order of [`Envelope`].
const WANTED: [&str; 5] = ["/next", "/next_cursor", "/count", "/total", "/offset"];
/// The documented maximum; the default of 20 would use up an hourly limit five times as fast.
const PAGE_SIZE: u32 = 100;

/// A list at a path.
#[derive(Clone, Debug)]
pub(crate) struct List {
    client: Client,
    path: &'static str,
}

/// A position in a list.
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
    /// The next offset and page of a list with a total but without link, cursor or offset.
    #[serde(rename = "untold")]
    ByTotal {
        offset: u64,
        page: u64,
    },
    Cursor(String),
}

/// A page, cut into records.
pub(crate) struct ListPage {
    pub records: Vec<Range<usize>>,
    pub next: Option<ListPosition>,
    pub notes: Vec<Note>,
    pub gaps: Vec<Gap>,
}

/// The values at [`WANTED`]; null differs from missing.
struct Envelope {
    next: Option<Value>,
    cursor: Option<Value>,
    total: Option<u64>,
    offset: Option<Value>,
}

impl ListPosition {
    /// Returns whether this is the first page of the list, also in a second pass.
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

    /// Returns the smallest request that tests the access to the list.
    pub(crate) fn peek(&self) -> Request {
        Request::get(self.path).query("page_size", 1)
    }

    /// Returns the request for one of its items.
    pub(crate) fn item(&self, id: &str) -> Request {
        Request::get(format!("{}{}/", self.path, escape(id)))
    }

    /// Returns the request for a page.
    pub(crate) fn request(&self, position: &ListPosition) -> Request {
        let first = Request::get(self.path);
        match &position.at {
            At::Start => first.query("page_size", PAGE_SIZE),
            At::Query(query) => {
                // Only the link's query is used, on our own path: behind a proxy the link may have another scheme, host
                // or prefix, and credentials never leave our address.
                let prefix = self.client.base().as_url().path().trim_end_matches('/');
                Request::link(format!("{prefix}{}?{query}", self.path)).accept(&[404])
            }
            At::Offset(offset) => first.query("limit", PAGE_SIZE).query("offset", offset),
            At::ByTotal { offset, page } => first
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

    /// Returns whether this response reports a page past the end, because the list became shorter.
    pub(crate) fn is_past_the_end(&self, response: &Response) -> bool {
        let message = self.client.said(&response.body).unwrap_or_default();
        response.status.as_u16() == 404 && message.to_ascii_lowercase().contains("invalid page")
    }

    /// Cuts a page of the list of `name`, and determines the next one.
    pub(crate) fn cut(
        &self,
        position: ListPosition,
        response: &Response,
        name: &str,
    ) -> Result<ListPage> {
        let mut split = self.client.cut(response, RECORDS, &[], &WANTED)?;
        let mut notes = split.notes(name);
        let [next, cursor, count, whole, offset] =
            <[_; 5]>::try_from(std::mem::take(&mut split.found))
                .map_err(|_| Error::new(Kind::Unexpected, "a page was not cut as requested"))?;
        let found = Envelope {
            next,
            cursor,
            total: total(count.or(whole).as_ref(), name, &mut notes),
            offset,
        };
        let ListPosition { at, mut progress } = position;
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

    /// Returns only the records of a page.
    pub(crate) fn records(&self, response: &Response) -> Result<Vec<Range<usize>>> {
        Ok(self.client.cut(response, RECORDS, &[], &[])?.records)
    }

    /// Ends the list of `name` at a missing page, because the list became shorter.
    pub(crate) fn cut_short(&self, position: ListPosition, name: &str) -> ListPage {
        let mut cut = ListPage {
            records: Vec::new(),
            next: None,
            notes: Vec::new(),
            gaps: Vec::new(),
        };
        // A page that the list did not name need not exist.
        let was_named = !matches!(position.at, At::ByTotal { .. });
        cut.end(position.progress.end(name, was_named));
        cut
    }

    fn next(
        &self,
        at: &At,
        progress: &mut Progress,
        count: usize,
        found: &Envelope,
    ) -> Result<Option<At>> {
        let Some(next) = self.next_at(at, progress, count, found)? else {
            return Ok(None);
        };
        let continues = match &next {
            At::Query(token) | At::Cursor(token) => progress.goes_on(Some(token))?,
            // A service without offsets returns the same page again.
            At::ByTotal { .. } => !progress.is_stuck() && progress.goes_on(None)?,
            At::Start | At::Offset(_) => progress.goes_on(None)?,
        };
        Ok(continues.then_some(next))
    }

    /// Follows a link or a cursor. With only an offset in the response, the list continues until a page is empty: a
    /// total may be wrong, and a service may return fewer records than requested. With only a total, it continues until
    /// the total is reached.
    fn next_at(
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
            At::ByTotal { offset, page } => (*offset, *page),
            _ => (0, 1),
        };
        let offset = offset.saturating_add(progress.step(count));
        if found.offset.is_some() {
            return Ok(Some(At::Offset(offset)));
        }
        let has_more = progress
            .total()
            .is_some_and(|total| total > progress.distinct());
        Ok(has_more.then_some(At::ByTotal {
            offset,
            page: page.saturating_add(1),
        }))
    }

    /// Returns the query of a link to another page of this list.
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
            return bad("points to another list; it was not followed");
        }
        if query.is_empty() {
            return bad("names no page");
        }
        Ok(query.to_owned())
    }
}

/// Returns an id as one path segment, for any content.
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
