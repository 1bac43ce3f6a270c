//! What the client sends and what comes back: requests, whole responses, downloads.

use std::{borrow::Cow, fmt, future::poll_fn, time::Duration};

use bytes::Bytes;
use headwater_core::{Body, Error, Failure, Kind, Result, Timestamp, TransportError};
use http::{HeaderMap, Method, StatusCode, header};
use serde_json::Value;
use tokio::time::{Instant, timeout};

use crate::{
    buffers::BufferPool,
    room::{LARGE, Room},
};

/// The mark that some services put before their text.
pub(crate) const BYTE_ORDER_MARK: &[u8] = b"\xef\xbb\xbf";

/// Between two chunks of a body.
const IDLE_TIMEOUT: Duration = Duration::from_secs(30);
/// Bytes a second that a body has to bring, on average of so long a wait.
const MIN_SPEED: u64 = 1_000;
const SPAN: Duration = Duration::from_secs(60);
/// The decoded bytes of one download, and the time for which the client waits for them: no export has more, and a service
/// that never ends one must not keep the read for ever.
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
        // Neither query nor body: both may hold what nobody should read in a log.
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
    /// A GET of a path below the base URL.
    pub fn get(path: impl Into<Cow<'static, str>>) -> Self {
        Self::new(Method::GET, path, Bytes::new())
    }

    /// A POST of JSON. It changes something at the service, so it is not sent again when its outcome is unknown.
    pub fn post(path: impl Into<Cow<'static, str>>, body: &Value) -> Self {
        Self::new(Method::POST, path, body.to_string())
    }

    /// A PATCH with JSON; see [`Request::post`].
    pub fn patch(path: impl Into<Cow<'static, str>>, body: &Value) -> Self {
        Self::new(Method::PATCH, path, body.to_string())
    }

    /// A GET of a link that the service gave; refused when it leaves the base URL's origin.
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

    /// Says that a POST may be sent twice, as a login may.
    #[must_use]
    pub fn repeatable(mut self) -> Self {
        self.is_repeatable = true;
        self
    }

    /// Adds a query parameter; the value is encoded. A link has its own query, which stays as it is.
    #[must_use]
    pub fn query(mut self, name: &'static str, value: impl fmt::Display) -> Self {
        if let Target::Path { query, .. } = &mut self.target {
            query.push((name, value.to_string()));
        }
        self
    }

    /// Statuses that mean something to the caller: returned instead of failed, server errors once they come twice, or at
    /// once where the request is not repeatable.
    #[must_use]
    pub fn accept(mut self, statuses: &'static [u16]) -> Self {
        self.accepted = Cow::Borrowed(statuses);
        self
    }

    /// Whether the caller takes this status for an answer.
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
    /// The service's clock when it answered; ours where it does not tell.
    pub at: Timestamp,
}

impl Response {
    /// Returns the service's time as its `Date` header tells it; none where the header is absent or no date.
    pub fn date(&self) -> Option<Timestamp> {
        date(&self.headers)
    }
}

impl fmt::Debug for Response {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Neither headers nor body: a report of a probe holds answers, and may end up in a log.
        let (status, length) = (self.status, self.body.len());
        write!(f, "Response({status}, {length} bytes)")
    }
}

/// A response whose body arrives in pieces. It has a terabyte at most, and a day to arrive.
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

    /// The next piece; none at the end.
    pub async fn chunk(&mut self) -> Result<Option<Bytes>> {
        let service = self.service;
        let began = Instant::now();
        let next = self.speed.next_chunk(&mut self.body).await;
        self.waited += began.elapsed();
        if let Ok(Some(piece)) = &next {
            self.bytes += piece.len() as u64;
            // Opening it again would go on for as long.
            if self.bytes > LONGEST_DOWNLOAD || self.waited > LONGEST_WAIT {
                let text = format!(
                    "the download from {service} does not end: more than 1 TiB or a day of waiting for it"
                );
                return Err(Error::new(Kind::DataInvalid, text));
            }
        }
        next.map_err(|failed| match failed.failure {
            // Damaged for good: opening it again brings the same bytes.
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

/// The whole body, or none when it has more than `limit` decoded bytes.
pub(crate) async fn collect(
    mut body: Body,
    headers: &HeaderMap,
    limit: usize,
    (buffers, room): (&BufferPool, &Room),
) -> Result<Option<Bytes>, TransportError> {
    // Absent for compressed bodies, and for those whose length nobody knew beforehand.
    let announced = headers
        .get(header::CONTENT_LENGTH)
        .and_then(|value| value.to_str().ok()?.parse().ok());
    if announced.is_some_and(|announced| announced > limit) {
        return Ok(None);
    }
    let mut held = match announced {
        Some(announced) if announced > LARGE => Some(room.wait().await),
        _ => None,
    };
    let mut speed = Speed::default();
    let mut collected = buffers.take(announced.unwrap_or(16 << 10).min(limit).min(8 << 20));
    loop {
        let Some(chunk) = speed.next_chunk(&mut body).await? else {
            let body = without_mark(buffers.freeze(collected));
            return Ok(Some(match held {
                Some(held) => held.keep(body),
                None => body,
            }));
        };
        if collected.len() + chunk.len() > limit {
            return Ok(None);
        }
        if held.is_none() && collected.len() + chunk.len() > LARGE {
            held = Some(room.wait().await);
        }
        collected.extend_from_slice(&chunk);
    }
}

/// The text without the byte order mark that some services put before it.
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
    /// The next piece; an error where the last minute of waiting brought too little.
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
                detail: "the answer came more slowly than 1 kB a second for a minute".to_owned(),
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
        detail: "the answer stopped half way for too long".to_owned(),
    })?;
    chunk.transpose()
}

/// The `Date` of an answer: a clock of ours may be wrong, and what the service counts is its own.
pub(crate) fn date(headers: &HeaderMap) -> Option<Timestamp> {
    let told = headers.get(header::DATE)?.to_str().ok()?.trim();
    Timestamp::try_from(httpdate::parse_http_date(told).ok()?).ok()
}
