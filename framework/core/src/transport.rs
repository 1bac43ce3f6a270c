//! The interface to the network: one method, which a host provides to a connector.

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

/// Sends one request once, without retries, redirects or limits. The client adds those.
#[async_trait]
pub trait Transport: Send + Sync + 'static {
    /// Sends a request and returns as soon as the head of the response arrives.
    async fn send(
        &self,
        request: http::Request<Bytes>,
    ) -> Result<http::Response<Body>, TransportError>;
}

/// A request extension that forces a new connection.
#[derive(Clone, Copy, Debug)]
pub struct NewConnection;

/// Why no complete response arrived.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Failure {
    /// The host's [`Egress`](crate::Egress) rules do not permit the address; nothing was dialled.
    NotAllowed,
    /// The host name does not resolve.
    NameUnknown,
    /// The host refuses connections, or nothing listens.
    Refused,
    /// The TLS handshake or the certificate check failed.
    Tls,
    /// The time without a connection or a byte was too long.
    Timeout,
    /// The connection broke off.
    Interrupted,
    /// A reused connection broke off before the first byte of the response.
    Stale,
    /// The body does not decode (as gzip, for example).
    Undecodable,
}

/// A failure of the transport. Its text never holds the URL, which may have a query.
#[derive(Clone, Debug)]
pub struct TransportError {
    /// The class of the failure.
    pub failure: Failure,
    /// Whether the request certainly never reached the service.
    pub before_send: bool,
    /// The message of the underlying library, without the URL.
    pub detail: String,
}

impl fmt::Display for TransportError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.detail)
    }
}

impl std::error::Error for TransportError {}

/// The services that a host passes to [`Connector::open`](crate::Connector::open).
#[derive(Clone)]
pub struct Context {
    /// The access to the network.
    pub transport: Arc<dyn Transport>,
    /// The counters of the client.
    pub meter: Arc<Meter>,
}

impl Context {
    /// Makes a context with a new meter.
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

/// Counters of a client's requests and waits, readable while it works.
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
    /// Counts one sent request; `is_retry` when it repeats an earlier one.
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

    /// Returns the number of requests sent, retries included.
    pub fn requests(&self) -> u64 {
        self.requests.load(Relaxed)
    }

    /// Returns the number of retries.
    pub fn retries(&self) -> u64 {
        self.retries.load(Relaxed)
    }

    /// Returns the time waited for the service's documented limit, summed over concurrent requests.
    pub fn limit_wait(&self) -> Duration {
        Duration::from_micros(self.limit_wait_micros.load(Relaxed))
    }

    /// Returns the time waited before retries, summed over concurrent requests.
    pub fn backoff_wait(&self) -> Duration {
        Duration::from_micros(self.backoff_wait_micros.load(Relaxed))
    }

    /// Returns the time during which at least one request waited for the service's documented limit.
    pub fn limit_pause(&self) -> Duration {
        self.limit_waits.total()
    }

    /// Returns the time during which at least one request waited before a retry.
    pub fn backoff_pause(&self) -> Duration {
        self.backoff_waits.total()
    }
}

fn micros(duration: Duration) -> u64 {
    u64::try_from(duration.as_micros()).unwrap_or(u64::MAX)
}
