//! A whole answer, before it becomes bytes on a connection.

use std::fmt;

use bytes::Bytes;
use hyper::StatusCode;
use hyper::header::{HeaderName, HeaderValue};
use serde_json::Value;

/// A status, a body and the headers that matter.
#[derive(Debug)]
pub(crate) struct Reply {
    pub(crate) status: StatusCode,
    pub(crate) content_type: &'static str,
    pub(crate) headers: Vec<(HeaderName, HeaderValue)>,
    pub(crate) body: Content,
}

/// The body of an answer.
pub(crate) enum Content {
    Whole(Bytes),
    /// Made while it is sent, so that its size does not matter.
    Chunks {
        chunks: Box<dyn Iterator<Item = Bytes> + Send>,
        /// The length to announce; without one the body is sent with chunked transfer coding.
        length: Option<u64>,
    },
}

impl Content {
    pub(crate) fn length(&self) -> Option<u64> {
        match self {
            Self::Whole(bytes) => Some(bytes.len() as u64),
            Self::Chunks { length, .. } => *length,
        }
    }

    /// A body made of small pieces. Its length is known when it is short.
    pub(crate) fn of_pieces(pieces: impl Iterator<Item = String> + Send + 'static) -> Self {
        let mut pieces = pieces.fuse();
        let first = gather(&mut pieces).unwrap_or_default();
        let Some(second) = gather(&mut pieces) else {
            return Self::Whole(first);
        };
        let rest = std::iter::from_fn(move || gather(&mut pieces));
        Self::Chunks {
            chunks: Box::new([first, second].into_iter().chain(rest)),
            length: None,
        }
    }

    pub(crate) fn without_length(self) -> Self {
        let chunks = match self {
            Self::Whole(bytes) => Box::new(std::iter::once(bytes)),
            Self::Chunks { chunks, .. } => chunks,
        };
        Self::Chunks {
            chunks,
            length: None,
        }
    }
}

/// The next pieces as one chunk.
fn gather(pieces: &mut impl Iterator<Item = String>) -> Option<Bytes> {
    const CHUNK: usize = 64 * 1024;
    let mut chunk = pieces.next()?;
    while chunk.len() < CHUNK
        && let Some(piece) = pieces.next()
    {
        chunk += &piece;
    }
    Some(chunk.into())
}

impl fmt::Debug for Content {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Whole(bytes) => formatter.debug_tuple("Whole").field(bytes).finish(),
            Self::Chunks { length, .. } => formatter
                .debug_struct("Chunks")
                .field("length", length)
                .finish_non_exhaustive(),
        }
    }
}

impl Reply {
    pub(crate) fn new(
        status: StatusCode,
        content_type: &'static str,
        body: impl Into<Bytes>,
    ) -> Self {
        Self {
            status,
            content_type,
            headers: Vec::new(),
            body: Content::Whole(body.into()),
        }
    }

    pub(crate) fn json(status: StatusCode, body: &Value) -> Self {
        Self::new(status, "application/json", body.to_string())
    }

    pub(crate) fn html(status: StatusCode, body: &'static str) -> Self {
        Self::new(status, "text/html; charset=utf-8", body)
    }

    pub(crate) fn with_body(mut self, body: Content) -> Self {
        self.body = body;
        self
    }

    /// Sets a header, in place of an earlier one of this name.
    pub(crate) fn with_header(mut self, name: HeaderName, value: HeaderValue) -> Self {
        self.headers.retain(|(present, _)| *present != name);
        self.headers.push((name, value));
        self
    }
}
