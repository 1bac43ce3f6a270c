//! The closed list of ways in which services page, and the guards against pages without end.

use headwater_core::{Error, Kind, Result};
use http::HeaderMap;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::{client::Request, progress::Progress};

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
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(crate) struct ListPosition {
    /// Where the next page is.
    #[serde(default)]
    at: At,
    #[serde(flatten)]
    pub(crate) progress: Progress,
}

#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum At {
    /// At the first page.
    #[default]
    Start,
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

    /// The request for a place.
    pub(crate) fn request(&self, first: Request, place: &ListPosition) -> Request {
        match (self, &place.at) {
            (
                Self::PageNumber {
                    page,
                    first: number,
                    size,
                    per_page,
                },
                at,
            ) => {
                let number = if let At::Number(number) = at {
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
                let offset = if let At::Number(offset) = at {
                    *offset
                } else {
                    0
                };
                first.query(skip, offset).query(limit, per_page)
            }
            (
                Self::CursorInBody { parameter, .. } | Self::CursorInHeader { parameter, .. },
                At::Cursor(cursor),
            ) => first.query(parameter, cursor),
            (_, At::Link(link)) => Request::link(link),
            _ => first,
        }
    }

    /// The place after a page of `count` records, which the progress of this one has taken in; none where the list is
    /// over.
    pub(crate) fn next(
        &self,
        place: &mut ListPosition,
        count: usize,
        found: Option<&Value>,
        headers: &HeaderMap,
    ) -> Result<Option<ListPosition>> {
        let at = match self {
            Self::Single => None,
            Self::PageNumber { first, .. } => {
                let number = if let At::Number(number) = place.at {
                    number
                } else {
                    *first
                };
                (count > 0).then_some(At::Number(number.saturating_add(1)))
            }
            Self::Offset { .. } => {
                let offset = if let At::Number(offset) = place.at {
                    offset
                } else {
                    0
                };
                let step = place.progress.step(count);
                (count > 0).then_some(At::Number(offset.saturating_add(step)))
            }
            Self::CursorInBody { .. } => cursor(found, "cursor")?.map(At::Cursor),
            Self::CursorInHeader { header, .. } => {
                let cursor = headers.get(*header).and_then(|value| value.to_str().ok());
                cursor
                    .filter(|cursor| !cursor.is_empty())
                    .map(|cursor| At::Cursor(cursor.to_owned()))
            }
            Self::NextLinkInBody { .. } => cursor(found, "link to the next page")?.map(At::Link),
            Self::LinkHeader => next_link(headers).map(At::Link),
        };
        let Some(at) = at else { return Ok(None) };
        let token = match &at {
            At::Cursor(token) | At::Link(token) => Some(token.as_str()),
            At::Start | At::Number(_) => None,
        };
        let goes_on = place.progress.goes_on(token)?;
        Ok(goes_on.then(|| ListPosition {
            at,
            progress: std::mem::take(&mut place.progress),
        }))
    }
}

impl ListPosition {
    /// The start of the list, with what is known of it.
    pub(crate) fn start(progress: Progress) -> Self {
        Self {
            at: At::Start,
            progress,
        }
    }
}

/// A cursor or link as text. Numbers are cursors too; anything else is not.
pub fn cursor(found: Option<&Value>, what: &str) -> Result<Option<String>> {
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
