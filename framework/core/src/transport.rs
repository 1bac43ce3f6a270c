//! The seam to the network: one method, given to a connector by its host.

use std::{
    fmt,
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    time::{Duration, Instant},
};

use async_trait::async_trait;
use bytes::Bytes;

use crate::{counted_future::record_for_current_stream, waits::Waits};

/// The decoded body of a response, as it arrives.
pub type Body = Pin<Box<dyn futures_core::Stream<Item = Result<Bytes, TransportError>> + Send>>;

/// Sends one request, once: no retry, no redirect, no limit. Those are the client's.
#[async_trait]
pub trait Transport: Send + Sync + 'static {
    /// Sends and returns as soon as the head of the response is there.
    async fn send(
        &self,
        request: http::Request<Bytes>,
    ) -> Result<http::Response<Body>, TransportError>;
}

/// An extension of a request that has to go over a connection that is made for it.
#[derive(Clone, Copy, Debug)]
pub struct NewConnection;

/// Why no response, or no complete one, arrived.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Failure {
    /// The host's [`Egress`](crate::Egress) rules do not permit the address; nothing was dialled.
    NotAllowed,
    /// The host name does not resolve.
    NameUnknown,
    /// Nothing listens there, or something refuses us.
    Refused,
    /// The TLS handshake or the certificate check failed.
    Tls,
    /// No connection, or no byte, for too long.
    Timeout,
    /// The connection broke off.
    Interrupted,
    /// A connection that earlier requests had used broke off before any byte of the answer.
    Stale,
    /// The body does not decode (as gzip, for example).
    Undecodable,
}

/// A failure of the transport. Its text never holds the URL, which may have a query.
#[derive(Clone, Debug)]
pub struct TransportError {
    /// The class.
    pub failure: Failure,
    /// Whether the request certainly never reached the service.
    pub before_send: bool,
    /// What the library below said, without URL.
    pub detail: String,
}

impl fmt::Display for TransportError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.detail)
    }
}

impl std::error::Error for TransportError {}

/// What a host hands to [`Connector::open`](crate::Connector::open).
#[derive(Clone)]
pub struct Context {
    /// The way to the network.
    pub transport: Arc<dyn Transport>,
    /// Where the client counts what it does.
    pub meter: Arc<Meter>,
}

impl Context {
    /// A context with a fresh meter.
    pub fn new(transport: impl Transport) -> Self {
        Self {
            transport: Arc::new(transport),
            meter: Arc::default(),
        }
    }
}

impl fmt::Debug for Context {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Context")
            .field("meter", &self.meter)
            .finish_non_exhaustive()
    }
}

/// Counts of what a client did, readable while it works.
#[derive(Debug, Default)]
pub struct Meter {
    requests: AtomicU64,
    retries: AtomicU64,
    limit_wait_micros: AtomicU64,
    backoff_wait_micros: AtomicU64,
    limit_waits: Waits,
    backoff_waits: Waits,
}

impl Meter {
    /// Counts one request put on the wire; `is_retry` when it repeats an earlier one.
    pub fn count_request(&self, is_retry: bool) {
        let count = |meter: &Self| {
            meter.requests.fetch_add(1, Relaxed);
            meter.retries.fetch_add(u64::from(is_retry), Relaxed);
        };
        count(self);
        record_for_current_stream(self, count);
    }

    /// Adds time spent waiting for the service's documented limit, until this moment.
    pub fn count_limit_wait(&self, waited: Duration, until: Instant) {
        if waited.is_zero() {
            return;
        }
        let count = |meter: &Self| {
            meter.limit_wait_micros.fetch_add(micros(waited), Relaxed);
            if let Some(from) = until.checked_sub(waited) {
                meter.limit_waits.add(from, until);
            }
        };
        count(self);
        record_for_current_stream(self, count);
    }

    /// Adds time spent waiting before a retry, from this moment on.
    pub fn count_backoff_wait(&self, waits: Duration, from: Instant) {
        let count = |meter: &Self| {
            meter.backoff_wait_micros.fetch_add(micros(waits), Relaxed);
            if let Some(until) = from.checked_add(waits) {
                meter.backoff_waits.add(from, until);
            }
        };
        count(self);
        record_for_current_stream(self, count);
    }

    /// Requests put on the wire, retries included.
    pub fn requests(&self) -> u64 {
        self.requests.load(Relaxed)
    }

    /// How many of them were retries.
    pub fn retries(&self) -> u64 {
        self.retries.load(Relaxed)
    }

    /// Time waited for the service's documented limit, added up over requests that waited side by side.
    pub fn limit_wait(&self) -> Duration {
        Duration::from_micros(self.limit_wait_micros.load(Relaxed))
    }

    /// Time waited before retries, added up over requests that waited side by side.
    pub fn backoff_wait(&self) -> Duration {
        Duration::from_micros(self.backoff_wait_micros.load(Relaxed))
    }

    /// Time during which at least one request waited for the service's documented limit.
    pub fn limit_pause(&self) -> Duration {
        self.limit_waits.total()
    }

    /// Time during which at least one request waited before a retry.
    pub fn backoff_pause(&self) -> Duration {
        self.backoff_waits.total()
    }
}

fn micros(duration: Duration) -> u64 {
    u64::try_from(duration.as_micros()).unwrap_or(u64::MAX)
}
