//! The closed list of ways in which services page, and the guards against pages without end.

use headwater_core::{Error, Kind, Result};
use http::HeaderMap;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::{client::Request, seen::Seen};

/// How a service pages. Parameter and header names are the service's, pointers are JSON Pointers into the body.
#[derive(Clone, Copy, Debug)]
pub enum Paging {
    /// Everything in one answer.
    Single,
    /// `?page=1`, `?page=2`, … until a page is empty: a shorter one may come from a service that gives fewer.
    PageNumber {
        /// The parameter of the page.
        page: &'static str,
        /// The number of the first page.
        first: u64,
        /// The parameter of the size.
        size: &'static str,
        /// Records asked for.
        per_page: u32,
    },
    /// `?skip=0`, `?skip=100`, … until a page is empty: a shorter one may come from a service that gives fewer.
    Offset {
        /// The parameter of the offset.
        skip: &'static str,
        /// The parameter of the size.
        limit: &'static str,
        /// Records asked for.
        per_page: u32,
    },
    /// A cursor in the body, sent back as a parameter; null, missing or empty ends.
    CursorInBody {
        /// Where the cursor is.
        pointer: &'static str,
        /// The parameter it is sent back in.
        parameter: &'static str,
    },
    /// A cursor in a response header, sent back as a parameter.
    CursorInHeader {
        /// The header, lower case.
        header: &'static str,
        /// The parameter it is sent back in.
        parameter: &'static str,
    },
    /// A link to the next page in the body; null, missing or empty ends.
    NextLinkInBody {
        /// Where the link is.
        pointer: &'static str,
    },
    /// A `Link` header with `rel="next"` (RFC 8288).
    LinkHeader,
}

/// A place in a paged list.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Place {
    /// Where the next page is.
    at: At,
    /// Cursors and links that were used in this pass: one that comes back is a loop, however long.
    used: Seen,
    /// The last page's first record: a service that ignores its paging parameters sends it again.
    last: Option<u64>,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum At {
    Number(u64),
    Cursor(String),
    Link(String),
}

impl Paging {
    /// The pointer to read from the body besides the records.
    pub(crate) fn wanted(&self) -> Option<&'static str> {
        match self {
            Self::CursorInBody { pointer, .. } | Self::NextLinkInBody { pointer } => Some(pointer),
            _ => None,
        }
    }

    /// The request for a place; the first without one.
    pub(crate) fn request(&self, first: Request, place: Option<&Place>) -> Request {
        match (self, place.map(|place| &place.at)) {
            (
                Self::PageNumber {
                    page,
                    first: number,
                    size,
                    per_page,
                },
                at,
            ) => {
                let number = if let Some(At::Number(number)) = at {
                    *number
                } else {
                    *number
                };
                first.query(page, number).query(size, per_page)
            }
            (
                Self::Offset {
                    skip,
                    limit,
                    per_page,
                },
                at,
            ) => {
                let offset = if let Some(At::Number(offset)) = at {
                    *offset
                } else {
                    0
                };
                first.query(skip, offset).query(limit, per_page)
            }
            (
                Self::CursorInBody { parameter, .. } | Self::CursorInHeader { parameter, .. },
                Some(At::Cursor(cursor)),
            ) => first.query(parameter, cursor),
            (_, Some(At::Link(link))) => Request::link(link),
            _ => first,
        }
    }

    /// The place after a page of `count` records, the first of which has the given fingerprint.
    pub(crate) fn next(
        &self,
        place: Option<Place>,
        count: usize,
        first_record: Option<u64>,
        found: Option<&Value>,
        headers: &HeaderMap,
    ) -> Result<Option<Place>> {
        let (mut used, last) = place
            .as_ref()
            .map_or_else(Default::default, |place| (place.used.clone(), place.last));
        if first_record.is_some() && first_record == last {
            return Err(Error::new(
                Kind::DataInvalid,
                "the same page came twice in a row; the service seems to ignore the paging parameters",
            ));
        }
        let at = match self {
            Self::Single => None,
            Self::PageNumber { first, .. } => {
                let number = if let Some(At::Number(number)) = place.map(|place| place.at) {
                    number
                } else {
                    *first
                };
                (count > 0).then_some(At::Number(number + 1))
            }
            Self::Offset { .. } => {
                let offset = if let Some(At::Number(offset)) = place.map(|place| place.at) {
                    offset
                } else {
                    0
                };
                (count > 0).then_some(At::Number(offset + count as u64))
            }
            Self::CursorInBody { .. } => text(found, "cursor")?.map(At::Cursor),
            Self::CursorInHeader { header, .. } => {
                let cursor = headers.get(*header).and_then(|value| value.to_str().ok());
                cursor
                    .filter(|cursor| !cursor.is_empty())
                    .map(|cursor| At::Cursor(cursor.to_owned()))
            }
            Self::NextLinkInBody { .. } => text(found, "link to the next page")?.map(At::Link),
            Self::LinkHeader => next_link(headers).map(At::Link),
        };
        let Some(at) = at else { return Ok(None) };
        if let At::Cursor(token) | At::Link(token) = &at
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
            last: first_record,
        }))
    }
}

/// A cursor as text. Numbers are cursors too; anything else is not.
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

/// The target of `rel="next"` in the `Link` headers.
fn next_link(headers: &HeaderMap) -> Option<String> {
    headers
        .get_all(http::header::LINK)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(",<").flat_map(|part| part.split(", <")))
        .find_map(|part| {
            let (target, parameters) = part.trim_start().trim_start_matches('<').split_once('>')?;
            let is_next = parameters.split(';').any(|parameter| {
                let Some((name, value)) = parameter.split_once('=') else {
                    return false;
                };
                name.trim().eq_ignore_ascii_case("rel")
                    && value
                        .trim()
                        .trim_matches('"')
                        .split_ascii_whitespace()
                        .any(|rel| rel.eq_ignore_ascii_case("next"))
            });
            is_next.then(|| target.to_owned())
        })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn link_headers_name_their_next_page() {
        let next = |text: &'static str| {
            let mut headers = HeaderMap::new();
            headers.insert(http::header::LINK, http::HeaderValue::from_static(text));
            next_link(&headers)
        };
        assert_eq!(next(r#"</a?p=2>; rel="next""#).as_deref(), Some("/a?p=2"));
        assert_eq!(
            next(r#"</a?p=1>; rel=prev, </a?p=3>; rel=next"#).as_deref(),
            Some("/a?p=3")
        );
        assert_eq!(
            next(r#"</a?ids=1,2>; title="x"; rel="last next""#).as_deref(),
            Some("/a?ids=1,2")
        );
        assert_eq!(next(r#"</a>; rel="prev""#), None);
        assert_eq!(next("nonsense"), None);
    }
}
