//! The interface to the network: one method, which a host provides to a connector.

use std::{fmt, pin::Pin, sync::Arc};

use async_trait::async_trait;
use bytes::Bytes;

use crate::meter::Meter;

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
