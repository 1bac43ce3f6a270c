//! Lists in whichever envelope they come: the vendor's pages show several, so each answer says how to go on.

use std::ops::Range;

use headwater::{
    http::{Client, Records, Request, Response, Seen},
    prelude::*,
};
use serde::{Deserialize, Serialize};
use serde_json::Value;

/// Where lists have their records: an array, `{count,next,previous,results}`, `{items,total,limit,offset}`,
/// `{data,next_cursor}`.
pub(crate) const RECORDS: Records = Records::Lists(&["", "/results", "/items", "/data"]);
/// What else is read of a page, in the order of [`Found`].
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
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Place {
    at: At,
    /// Cursors and links that were used: one that comes back is a loop, however long.
    used: Seen,
    /// The last page's first record: a service that ignores where to go on sends it again.
    first: Option<u64>,
    /// Records before this place.
    read: u64,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum At {
    /// The query of the link to the next page.
    Query(String),
    Offset(u64),
    Cursor(String),
}

/// A page cut up.
pub(crate) struct Cut {
    pub records: Vec<Range<usize>>,
    pub next: Option<Place>,
    /// Whether the list has another number of records than it says.
    pub is_miscounted: bool,
}

/// The values at [`WANTED`]; null is told from missing.
struct Found {
    next: Option<Value>,
    cursor: Option<Value>,
    count: Option<Value>,
    offset: Option<Value>,
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

    /// The question for a page; for the first one without a place.
    pub(crate) fn request(&self, place: Option<&Place>) -> Request {
        let first = Request::get(self.path);
        match place.map(|place| &place.at) {
            None => first.query("page_size", PAGE_SIZE),
            Some(At::Query(query)) => {
                // Only the link's query is used, on the path that is ours: behind a proxy the link may have another
                // scheme, host or prefix, and credentials go nowhere else.
                let prefix = self.client.base().as_url().path().trim_end_matches('/');
                Request::link(format!("{prefix}{}?{query}", self.path)).accept(&[404])
            }
            Some(At::Offset(offset)) => first.query("limit", PAGE_SIZE).query("offset", offset),
            Some(At::Cursor(cursor)) => first
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

    /// Cuts a page, and finds the next one.
    pub(crate) fn cut(&self, place: Option<Place>, body: &[u8]) -> Result<Cut> {
        let split = self.client.split(body, RECORDS, &WANTED)?;
        let [next, cursor, count, total, offset] = <[_; 5]>::try_from(split.found)
            .map_err(|_| Error::new(Kind::Unexpected, "a page was not cut as asked"))?;
        let found = Found {
            next,
            cursor,
            count: count.or(total),
            offset,
        };
        let first = split
            .records
            .first()
            .map(|span| Seen::fingerprint(&body[span.clone()]));
        let read = place.as_ref().map_or(0, |place| place.read) + split.records.len() as u64;
        let next = self.next(place, split.records.len(), first, &found, read)?;
        let counted = found.count.as_ref().and_then(Value::as_u64);
        Ok(Cut {
            is_miscounted: next.is_none() && counted.is_some_and(|counted| counted != read),
            records: split.records,
            next,
        })
    }

    fn next(
        &self,
        place: Option<Place>,
        count: usize,
        first: Option<u64>,
        found: &Found,
        read: u64,
    ) -> Result<Option<Place>> {
        if first.is_some() && first == place.as_ref().and_then(|place| place.first) {
            return Err(Error::new(
                Kind::DataInvalid,
                "the same page came twice in a row; the service seems to ignore where to go on",
            ));
        }
        let Some(at) = self.goes_on_at(place.as_ref(), count, found)? else {
            return Ok(None);
        };
        let mut used = place.map(|place| place.used).unwrap_or_default();
        if let At::Query(token) | At::Cursor(token) = &at
            && !used.insert(Seen::fingerprint(token.as_bytes()))
        {
            return Err(Error::new(
                Kind::DataInvalid,
                "the service gave a page that it gave before as the next one; reading on would never end",
            ));
        }
        Ok(Some(Place {
            at,
            used,
            first,
            read,
        }))
    }

    /// A link or a cursor leads on. Where neither is spoken of but an offset is, the list goes on until a page is empty:
    /// a total may lie, and a short page may come from a service that gives fewer than asked for.
    fn goes_on_at(&self, place: Option<&Place>, count: usize, found: &Found) -> Result<Option<At>> {
        if let Some(cursor) = text(found.cursor.as_ref(), "cursor")? {
            return Ok(Some(At::Cursor(cursor)));
        }
        if let Some(link) = text(found.next.as_ref(), "link to the next page")? {
            return Ok(Some(At::Query(self.query_of(&link)?)));
        }
        let is_by_offset = found.next.is_none() && found.cursor.is_none() && found.offset.is_some();
        if !is_by_offset || count == 0 {
            return Ok(None);
        }
        let offset = match place.map(|place| &place.at) {
            Some(At::Offset(offset)) => *offset,
            _ => 0,
        };
        Ok(Some(At::Offset(offset + count as u64)))
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

/// A cursor or link as text. Numbers are cursors too; anything else is not.
fn text(found: Option<&Value>, what: &str) -> Result<Option<String>> {
    match found {
        None | Some(Value::Null) => Ok(None),
        Some(Value::String(text)) if text.is_empty() => Ok(None),
        Some(Value::String(text)) => Ok(Some(text.clone())),
        Some(Value::Number(number)) => Ok(Some(number.to_string())),
        Some(_) => Err(Error::new(
            Kind::DataInvalid,
            format!("the {what} is neither text nor a number"),
        )),
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
