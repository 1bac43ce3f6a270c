//! The transport over reqwest and rustls.

use std::{
    error::Error as _,
    fmt, io, iter,
    pin::Pin,
    sync::{Arc, OnceLock},
    task::{self, Poll},
    time::Duration,
};

use async_trait::async_trait;
use bytes::Bytes;
use headwater_core::{
    Body, Context, Egress, Error, Failure, Kind, NewConnection, Result, Transport, TransportError,
};
use http::{HeaderValue, header};

use crate::{
    connections::{Watch, watched},
    encoding::{ACCEPTED, decoded},
    resolver::{self, GuardedResolver, NotAllowed, Resolver, SystemResolver},
};

const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);

/// Sends requests with reqwest: rustls with ring, the system's certificates, HTTP/1.1, gzip.
///
/// Nothing happens behind the client's back: no redirect, no retry, no cookie, no referrer, no proxy from the
/// environment (a proxy would see what the egress rules never checked).
///
/// The [`Egress`] rules check the URL of every request, and every address that its name resolves to, before any
/// connection.
#[derive(Clone)]
pub struct ReqwestTransport {
    client: reqwest::Client,
    /// A client without a pool, for requests that need a new connection. Made at the first one.
    alone: Arc<OnceLock<reqwest::Client>>,
    resolver: Arc<dyn reqwest::dns::Resolve>,
    egress: Arc<Egress>,
}

impl fmt::Debug for ReqwestTransport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ReqwestTransport")
            .field("egress", &self.egress)
            .finish_non_exhaustive()
    }
}

impl ReqwestTransport {
    /// Builds the one client of the process; connections are pooled in it.
    ///
    /// # Errors
    ///
    /// Fails if the HTTP client cannot start.
    pub fn new(egress: &Egress) -> Result<Self> {
        Self::with_resolver(egress, SystemResolver)
    }

    /// Builds the client with another resolver.
    ///
    /// # Errors
    ///
    /// Fails if the HTTP client cannot start.
    pub fn with_resolver(egress: &Egress, resolver: impl Resolver) -> Result<Self> {
        let egress = Arc::new(egress.clone());
        // Fails only if a provider is already installed, which works as well.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let resolver: Arc<dyn reqwest::dns::Resolve> =
            Arc::new(GuardedResolver::new(&egress, resolver));
        let client = builder(&resolver).build().map_err(|error| {
            Error::new(
                Kind::Unexpected,
                "the HTTP client cannot start; are the system's certificates installed?",
            )
            .caused_by(error)
        })?;
        Ok(Self {
            client,
            alone: Arc::default(),
            resolver,
            egress,
        })
    }

    /// Returns the client for a request: the pooled one, unless the request needs a new connection.
    fn client_for(&self, request: &http::Request<Bytes>) -> &reqwest::Client {
        if request.extensions().get::<NewConnection>().is_none() {
            return &self.client;
        }
        self.alone.get_or_init(|| {
            let alone = builder(&self.resolver).pool_max_idle_per_host(0).build();
            // The second build has the same settings, so it succeeds as well.
            alone.unwrap_or_else(|_| self.client.clone())
        })
    }
}

fn builder(resolver: &Arc<dyn reqwest::dns::Resolve>) -> reqwest::ClientBuilder {
    reqwest::Client::builder()
        .redirect(reqwest::redirect::Policy::none())
        .retry(reqwest::retry::never())
        .no_proxy()
        // This crate decodes bodies: reqwest knows one spelling of gzip, and only the first member of a body.
        .no_gzip()
        .dns_resolver(Arc::clone(resolver))
        .connector_layer(Watch)
        .referer(false)
        .connect_timeout(CONNECT_TIMEOUT)
        .user_agent(concat!("headwater/", env!("CARGO_PKG_VERSION")))
}

/// Makes the context that a host passes to connectors.
///
/// # Errors
///
/// Fails if the HTTP client cannot start.
pub fn context(egress: &Egress) -> Result<Context> {
    Ok(Context::new(ReqwestTransport::new(egress)?))
}

#[async_trait]
impl Transport for ReqwestTransport {
    async fn send(
        &self,
        mut request: http::Request<Bytes>,
    ) -> Result<http::Response<Body>, TransportError> {
        let client = self.client_for(&request);
        let accepted = HeaderValue::from_static(ACCEPTED);
        request
            .headers_mut()
            .insert(header::ACCEPT_ENCODING, accepted);
        let request = reqwest::Request::try_from(request).map_err(|error| classify(&error))?;
        // Addresses in the URL itself never reach the resolver.
        if !self.egress.permits_url(request.url()) {
            return Err(not_allowed());
        }
        // Separate tasks return the connection of a finished response to the pool. They run first; otherwise a busy
        // runtime opens another connection for the next request.
        tokio::task::yield_now().await;
        let port = request.url().port_or_known_default().unwrap_or_default();
        let sending = resolver::dialling(port, client.execute(request));
        let (sent, is_new) = watched(sending).await;
        let response = sent.map_err(|error| stale(classify(&error), is_new))?;
        let mut answer = http::Response::new(());
        *answer.status_mut() = response.status();
        *answer.headers_mut() = response.headers().clone();
        let body = Box::pin(Chunks(response.bytes_stream())) as Body;
        let body = decoded(answer.headers_mut(), body);
        Ok(answer.map(|()| body))
    }
}

/// The chunks of a body, with our error type.
struct Chunks<S>(S);

impl<S> futures_core::Stream for Chunks<S>
where
    S: futures_core::Stream<Item = reqwest::Result<Bytes>> + Unpin,
{
    type Item = Result<Bytes, TransportError>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut task::Context<'_>) -> Poll<Option<Self::Item>> {
        Pin::new(&mut self.0)
            .poll_next(cx)
            .map(|chunk| chunk.map(|chunk| chunk.map_err(|error| classify(&error))))
    }
}

/// Classifies the failure of a request without a response by its connection.
fn stale(failed: TransportError, is_new: bool) -> TransportError {
    match failed.failure {
        Failure::Interrupted if !is_new && !failed.before_send => TransportError {
            failure: Failure::Stale,
            ..failed
        },
        _ => failed,
    }
}

fn not_allowed() -> TransportError {
    TransportError {
        failure: Failure::NotAllowed,
        before_send: true,
        detail: NotAllowed.to_string(),
    }
}

fn classify(error: &reqwest::Error) -> TransportError {
    // The resolver's refusal is below the error about the name.
    let mut causes = iter::successors(error.source(), |&cause| cause.source());
    if causes.any(|cause| cause.is::<NotAllowed>()) {
        return not_allowed();
    }
    let before_send = error.is_connect() || error.is_builder();
    let (failure, detail) = find_cause(error);
    TransportError {
        failure,
        before_send,
        detail,
    }
}

/// Finds the cause below reqwest's own coarse classes, for the user.
fn find_cause(error: &reqwest::Error) -> (Failure, String) {
    let mut cause = error.source();
    while let Some(inner) = cause {
        if let Some(tls) = tls_error(inner) {
            return (Failure::Tls, tls.to_string());
        }
        if let Some(io) = inner.downcast_ref::<io::Error>() {
            match io.kind() {
                io::ErrorKind::ConnectionRefused => {
                    return (Failure::Refused, "connection refused".to_owned());
                }
                io::ErrorKind::TimedOut => return (Failure::Timeout, "timed out".to_owned()),
                io::ErrorKind::NetworkUnreachable | io::ErrorKind::HostUnreachable => {
                    return (Failure::Refused, "no route to the host".to_owned());
                }
                _ => {}
            }
        }
        if inner.to_string().contains("dns error") {
            return (
                Failure::NameUnknown,
                "the host name does not resolve".to_owned(),
            );
        }
        cause = inner.source();
    }
    if error.is_timeout() {
        return (Failure::Timeout, "timed out".to_owned());
    }
    if error.is_connect() {
        return (Failure::Refused, "no connection".to_owned());
    }
    (Failure::Interrupted, "the connection broke off".to_owned())
}

fn tls_error<'a>(mut error: &'a (dyn std::error::Error + 'static)) -> Option<&'a rustls::Error> {
    // I/O errors are nested: the source of one is the source of its inner error, not the inner error.
    loop {
        if let Some(tls) = error.downcast_ref() {
            return Some(tls);
        }
        error = error.downcast_ref::<io::Error>()?.get_ref()?;
    }
}
