//! The transport over reqwest and rustls.

use std::{
    error::Error as _,
    io, iter,
    pin::Pin,
    sync::Arc,
    task::{self, Poll},
    time::Duration,
};

use async_trait::async_trait;
use bytes::Bytes;
use headwater_core::{
    Body, Context, Egress, Error, Failure, Kind, Result, Transport, TransportError,
};

use crate::resolver::{self, GuardedResolver, NotAllowed, Resolver, SystemResolver};

const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);

/// Sends requests with reqwest: rustls with ring, the system's certificates, HTTP/1.1, gzip.
///
/// Nothing happens behind the client's back: no redirect, no retry, no cookie, no referrer, no proxy from the
/// environment (a proxy would see what the egress rules never checked).
///
/// The [`Egress`] rules are asked for the URL of every request, and for every address that its name resolves to, before
/// any is dialled.
#[derive(Clone, Debug)]
pub struct ReqwestTransport {
    client: reqwest::Client,
    egress: Arc<Egress>,
}

impl ReqwestTransport {
    /// Builds the one client of the process; connections are pooled in it.
    pub fn new(egress: &Egress) -> Result<Self> {
        Self::with_resolver(egress, SystemResolver)
    }

    /// The same, with another way to find the addresses of a name.
    pub fn with_resolver(egress: &Egress, resolver: impl Resolver) -> Result<Self> {
        let egress = Arc::new(egress.clone());
        // Fails only when a provider is there already, which is as good.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let client = reqwest::Client::builder()
            .redirect(reqwest::redirect::Policy::none())
            .retry(reqwest::retry::never())
            .no_proxy()
            .dns_resolver(GuardedResolver::new(&egress, resolver))
            .referer(false)
            .connect_timeout(CONNECT_TIMEOUT)
            .user_agent(concat!("headwater/", env!("CARGO_PKG_VERSION")))
            .build()
            .map_err(|error| {
                Error::new(
                    Kind::Unexpected,
                    "the HTTP client cannot start; are the system's certificates installed?",
                )
                .caused_by(error)
            })?;
        Ok(Self { client, egress })
    }
}

/// The context that a host hands to connectors.
pub fn context(egress: &Egress) -> Result<Context> {
    Ok(Context::new(ReqwestTransport::new(egress)?))
}

#[async_trait]
impl Transport for ReqwestTransport {
    async fn send(
        &self,
        request: http::Request<Bytes>,
    ) -> Result<http::Response<Body>, TransportError> {
        let request = reqwest::Request::try_from(request).map_err(|error| classify(&error))?;
        // Addresses that stand in the URL itself never get to the resolver.
        if !self.egress.permits_url(request.url()) {
            return Err(not_allowed());
        }
        // The connection of an answer that was just read goes back to the pool in tasks of its own. They have their turn
        // first, or a busy runtime dials another one for the next request.
        tokio::task::yield_now().await;
        let port = request.url().port_or_known_default().unwrap_or_default();
        let sent = resolver::dialling(port, self.client.execute(request)).await;
        let response = sent.map_err(|error| classify(&error))?;
        let mut answer = http::Response::new(());
        *answer.status_mut() = response.status();
        *answer.headers_mut() = response.headers().clone();
        Ok(answer.map(|()| Box::pin(Chunks(response.bytes_stream())) as Body))
    }
}

/// The body's chunks with our error.
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

fn not_allowed() -> TransportError {
    TransportError {
        failure: Failure::NotAllowed,
        before_send: true,
        detail: NotAllowed.to_string(),
    }
}

fn classify(error: &reqwest::Error) -> TransportError {
    // The resolver's refusal lies below what says that the name did not resolve.
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

/// reqwest's own classes are coarse: the cause below them says what the user needs to know.
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
    if error.is_decode() && !is_cut_short(error) {
        return (
            Failure::Undecodable,
            "the compressed body does not decode".to_owned(),
        );
    }
    (Failure::Interrupted, "the connection broke off".to_owned())
}

fn tls_error<'a>(mut error: &'a (dyn std::error::Error + 'static)) -> Option<&'a rustls::Error> {
    // I/O errors come nested, and the source of one is not the error that it holds but that one's source.
    loop {
        if let Some(tls) = error.downcast_ref() {
            return Some(tls);
        }
        error = error.downcast_ref::<io::Error>()?.get_ref()?;
    }
}

/// A body that ends early is reported as a decoding problem too.
fn is_cut_short(error: &reqwest::Error) -> bool {
    let mut cause = error.source();
    while let Some(inner) = cause {
        let text = inner.to_string();
        let is_early_end = inner.downcast_ref::<io::Error>().is_some_and(|io| {
            matches!(
                io.kind(),
                io::ErrorKind::UnexpectedEof | io::ErrorKind::ConnectionReset
            )
        });
        if is_early_end || text.contains("end of file") || text.contains("connection") {
            return true;
        }
        cause = inner.source();
    }
    false
}
