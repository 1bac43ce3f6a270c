//! Requests, whole responses and downloads.

use std::{borrow::Cow, fmt, future::poll_fn, time::Duration};

use bytes::Bytes;
use headwater_core::{Body, Error, Failure, Kind, Result, Timestamp, TransportError};
use headwater_json::BYTE_ORDER_MARK;
use http::{HeaderMap, Method, StatusCode, header};
use serde_json::Value;
use tokio::time::{Instant, timeout};

use crate::{
    buffers::BufferPool,
    room::{LARGE, Room},
};

/// The maximum time between two chunks of a body.
const IDLE_TIMEOUT: Duration = Duration::from_secs(30);
/// The minimum speed of a body in bytes per second, averaged over `SPAN` of waiting.
const MIN_SPEED: u64 = 1_000;
const SPAN: Duration = Duration::from_secs(60);
/// The maximum decoded size of one download, and the maximum wait for it: no export is larger, and a service that never
/// ends one must not block the read forever.
const LONGEST_DOWNLOAD: u64 = 1 << 40;
const LONGEST_WAIT: Duration = Duration::from_secs(24 * 60 * 60);

/// One request: a method, a path below the base URL, a query, perhaps a JSON body.
#[derive(Clone)]
pub struct Request {
    pub(crate) method: Method,
    pub(crate) target: Target,
    pub(crate) body: Bytes,
    accepted: Cow<'static, [u16]>,
    pub(crate) is_repeatable: bool,
}

impl fmt::Debug for Request {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Neither query nor body: both may hold data that does not belong in a log.
        write!(f, "Request({} {})", self.method, self.path())
    }
}

#[derive(Clone, Debug)]
pub(crate) enum Target {
    Path {
        path: Cow<'static, str>,
        query: Vec<(&'static str, String)>,
    },
    Link(String),
}

impl Request {
    /// Makes a GET of a path below the base URL.
    pub fn get(path: impl Into<Cow<'static, str>>) -> Self {
        Self::new(Method::GET, path, Bytes::new())
    }

    /// Makes a POST of JSON. It changes data at the service, so it is not sent again if its outcome is unknown.
    pub fn post(path: impl Into<Cow<'static, str>>, body: &Value) -> Self {
        Self::new(Method::POST, path, body.to_string())
    }

    /// Makes a PATCH with JSON; see [`Request::post`].
    pub fn patch(path: impl Into<Cow<'static, str>>, body: &Value) -> Self {
        Self::new(Method::PATCH, path, body.to_string())
    }

    /// Makes a GET of a service's link; sending fails if the link leaves the base URL's origin.
    pub fn link(link: impl Into<String>) -> Self {
        Self {
            target: Target::Link(link.into()),
            ..Self::get("")
        }
    }

    fn new(method: Method, path: impl Into<Cow<'static, str>>, body: impl Into<Bytes>) -> Self {
        let is_repeatable = method == Method::GET;
        Self {
            method,
            target: Target::Path {
                path: path.into(),
                query: Vec::new(),
            },
            body: body.into(),
            accepted: Cow::Borrowed(&[]),
            is_repeatable,
        }
    }

    /// States that a POST may be sent twice, such as a login.
    #[must_use]
    pub fn repeatable(mut self) -> Self {
        self.is_repeatable = true;
        self
    }

    /// Adds a query parameter; the value is encoded. A link keeps its own query.
    #[must_use]
    pub fn query(mut self, name: &'static str, value: impl fmt::Display) -> Self {
        if let Target::Path { query, .. } = &mut self.target {
            query.push((name, value.to_string()));
        }
        self
    }

    /// Sets statuses that the caller handles: they are returned instead of failing; server errors only at the second
    /// try, or at once if the request is not repeatable.
    #[must_use]
    pub fn accept(mut self, statuses: &'static [u16]) -> Self {
        self.accepted = Cow::Borrowed(statuses);
        self
    }

    /// Returns whether the caller handles this status.
    pub(crate) fn accepts(&self, status: StatusCode) -> bool {
        self.accepted.contains(&status.as_u16())
    }

    pub(crate) fn path(&self) -> &str {
        match &self.target {
            Target::Path { path, .. } => path,
            Target::Link(_) => "the next link",
        }
    }
}

/// A response whose body is complete and within its limit.
#[derive(Clone)]
pub struct Response {
    /// The status: success, or one that the request accepts.
    pub status: StatusCode,
    /// The headers.
    pub headers: HeaderMap,
    /// The decoded body, without a byte order mark.
    pub body: Bytes,
    /// The time of the response by the service's clock; by ours without a `Date`.
    pub at: Timestamp,
}

impl Response {
    /// Returns the service's time from its `Date` header; `None` if the header is absent or not a date.
    pub fn date(&self) -> Option<Timestamp> {
        date(&self.headers)
    }
}

impl fmt::Debug for Response {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Neither headers nor body: the report of a probe holds responses and may end up in a log.
        let (status, length) = (self.status, self.body.len());
        write!(f, "Response({status}, {length} bytes)")
    }
}

/// A response whose body arrives in pieces, at most a terabyte and within a day of waiting.
pub struct Download {
    service: &'static str,
    body: Body,
    speed: Speed,
    waited: Duration,
    bytes: u64,
}

impl fmt::Debug for Download {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Download(from {})", self.service)
    }
}

impl Download {
    pub(crate) fn new(service: &'static str, body: Body) -> Self {
        Self {
            service,
            body,
            speed: Speed::default(),
            waited: Duration::ZERO,
            bytes: 0,
        }
    }

    /// Returns the next piece; `None` at the end.
    ///
    /// # Errors
    ///
    /// Fails if the connection breaks, the body cannot be decoded, or the download exceeds its bounds.
    pub async fn chunk(&mut self) -> Result<Option<Bytes>> {
        let service = self.service;
        let began = Instant::now();
        let next = self.speed.next_chunk(&mut self.body).await;
        self.waited += began.elapsed();
        if let Ok(Some(piece)) = &next {
            self.bytes += piece.len() as u64;
            // A second download would last as long.
            if self.bytes > LONGEST_DOWNLOAD || self.waited > LONGEST_WAIT {
                let text = format!(
                    "the download from {service} does not end: more than 1 TiB or a day of waiting for it"
                );
                return Err(Error::new(Kind::DataInvalid, text));
            }
        }
        next.map_err(|failed| match failed.failure {
            // Permanently damaged: a second download has the same bytes.
            Failure::Undecodable => {
                let text = format!("the download from {service} cannot be decompressed: {failed}");
                Error::new(Kind::DataInvalid, text)
            }
            _ => {
                let text = format!("the download from {service} broke off: {failed}");
                Error::new(Kind::Unavailable, text)
            }
        })
    }
}

/// Collects the whole body; `None` if it has more than `limit` decoded bytes.
pub(crate) async fn collect(
    mut body: Body,
    headers: &HeaderMap,
    limit: usize,
    (buffers, room): (&BufferPool, &Room),
) -> Result<Option<Bytes>, TransportError> {
    // Absent for compressed bodies and for bodies of unknown length.
    let announced = headers
        .get(header::CONTENT_LENGTH)
        .and_then(|value| value.to_str().ok()?.parse().ok());
    if announced.is_some_and(|announced| announced > limit) {
        return Ok(None);
    }
    let mut permit = match announced {
        Some(announced) if announced > LARGE => Some(room.wait().await),
        _ => None,
    };
    let mut speed = Speed::default();
    let mut collected = buffers.take(announced.unwrap_or(16 << 10).min(limit).min(8 << 20));
    loop {
        let Some(chunk) = speed.next_chunk(&mut body).await? else {
            let body = without_mark(buffers.freeze(collected));
            return Ok(Some(match permit {
                Some(permit) => permit.keep(body),
                None => body,
            }));
        };
        if collected.len() + chunk.len() > limit {
            return Ok(None);
        }
        if permit.is_none() && collected.len() + chunk.len() > LARGE {
            permit = Some(room.wait().await);
        }
        collected.extend_from_slice(&chunk);
    }
}

/// Removes the byte order mark that some services put before their text.
fn without_mark(body: Bytes) -> Bytes {
    match body.starts_with(BYTE_ORDER_MARK) {
        true => body.slice(BYTE_ORDER_MARK.len()..),
        false => body,
    }
}

/// The speed of a body, measured while the client waits for it. A body that drips is an error.
#[derive(Default)]
pub(crate) struct Speed {
    waited: Duration,
    bytes: usize,
}

impl Speed {
    /// Returns the next piece; an error if the last minute of waiting brought too little.
    async fn next_chunk(&mut self, body: &mut Body) -> Result<Option<Bytes>, TransportError> {
        let began = Instant::now();
        let chunk = next_chunk(body).await?;
        self.waited += began.elapsed();
        self.bytes += chunk.as_ref().map_or(0, Bytes::len);
        if self.waited < SPAN {
            return Ok(chunk);
        }
        let is_slow = (self.bytes as u64) < MIN_SPEED * SPAN.as_secs();
        *self = Self::default();
        match is_slow && chunk.is_some() {
            false => Ok(chunk),
            true => Err(TransportError {
                failure: Failure::Timeout,
                before_send: false,
                detail: "the response was slower than 1 kB per second for a minute".to_owned(),
            }),
        }
    }
}

async fn next_chunk(body: &mut Body) -> Result<Option<Bytes>, TransportError> {
    let next = poll_fn(|cx| body.as_mut().poll_next(cx));
    let chunk = timeout(IDLE_TIMEOUT, next).await;
    let chunk = chunk.map_err(|_| TransportError {
        failure: Failure::Timeout,
        before_send: false,
        detail: "the response stopped halfway for too long".to_owned(),
    })?;
    chunk.transpose()
}

/// Returns the `Date` of a response: our clock may be wrong, and the service counts by its own.
pub(crate) fn date(headers: &HeaderMap) -> Option<Timestamp> {
    let text = headers.get(header::DATE)?.to_str().ok()?.trim();
    Timestamp::try_from(httpdate::parse_http_date(text).ok()?).ok()
}
