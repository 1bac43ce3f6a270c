//! The supported kinds of paging, and the guards against endless pages.

use headwater_core::{Error, Kind, Result};
use http::HeaderMap;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::{client::Request, progress::Progress};

/// The paging of a service. Parameter and header names are the service's, pointers are JSON Pointers into the body.
#[derive(Clone, Copy, Debug)]
pub enum Paging {
    /// All records in one response.
    Single,
    /// `?page=1`, `?page=2`, … until a page is empty: a service may return fewer records than requested.
    PageNumber {
        /// The parameter of the page.
        page: &'static str,
        /// The number of the first page.
        first: u64,
        /// The parameter of the size.
        size: &'static str,
        /// The requested number of records.
        per_page: u32,
    },
    /// `?skip=0`, `?skip=100`, … until a page is empty: a service may return fewer records than requested.
    Offset {
        /// The parameter of the offset.
        skip: &'static str,
        /// The parameter of the size.
        limit: &'static str,
        /// The requested number of records.
        per_page: u32,
    },
    /// A cursor in the body, sent back as a parameter; null, missing or empty ends.
    CursorInBody {
        /// The pointer of the cursor.
        pointer: &'static str,
        /// The parameter that returns the cursor.
        parameter: &'static str,
    },
    /// A cursor in a response header, sent back as a parameter.
    CursorInHeader {
        /// The header, lower case.
        header: &'static str,
        /// The parameter that returns the cursor.
        parameter: &'static str,
    },
    /// A link to the next page in the body; null, missing or empty ends.
    NextLinkInBody {
        /// The pointer of the link.
        pointer: &'static str,
    },
    /// A `Link` header with `rel="next"` (RFC 8288).
    LinkHeader,
}

/// A position in a paged list.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(crate) struct ListPosition {
    /// The next page.
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
    /// Returns the pointer to read from the body in addition to the records.
    pub(crate) fn wanted(&self) -> Option<&'static str> {
        match self {
            Self::CursorInBody { pointer, .. } | Self::NextLinkInBody { pointer } => Some(pointer),
            _ => None,
        }
    }

    /// Returns the request for a position.
    pub(crate) fn request(&self, first: Request, position: &ListPosition) -> Request {
        match (self, &position.at) {
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

    /// Returns the position after a page of `count` records, which are already part of the progress; `None` at the end
    /// of the list.
    pub(crate) fn next(
        &self,
        position: &mut ListPosition,
        count: usize,
        found: Option<&Value>,
        headers: &HeaderMap,
    ) -> Result<Option<ListPosition>> {
        let at = match self {
            Self::Single => None,
            Self::PageNumber { first, .. } => {
                let number = if let At::Number(number) = position.at {
                    number
                } else {
                    *first
                };
                (count > 0).then_some(At::Number(number.saturating_add(1)))
            }
            Self::Offset { .. } => {
                let offset = if let At::Number(offset) = position.at {
                    offset
                } else {
                    0
                };
                let step = position.progress.step(count);
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
        let continues = position.progress.goes_on(token)?;
        Ok(continues.then(|| ListPosition {
            at,
            progress: std::mem::take(&mut position.progress),
        }))
    }
}

impl ListPosition {
    /// Returns the start of the list, with its progress.
    pub(crate) fn start(progress: Progress) -> Self {
        Self {
            at: At::Start,
            progress,
        }
    }
}

/// Returns a cursor or link as text. Numbers are cursors too.
///
/// # Errors
///
/// Fails if the value is neither text nor a number.
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

/// Returns the target of `rel="next"` in the `Link` headers.
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
