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
    #[expect(dead_code, reason = "the next simulated API is the first to use it")]
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

    /// Sets a header, in place of an earlier one of this name.
    pub(crate) fn with_header(mut self, name: HeaderName, value: HeaderValue) -> Self {
        self.headers.retain(|(present, _)| *present != name);
        self.headers.push((name, value));
        self
    }
}
