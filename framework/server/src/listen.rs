//! Accepting connections, plain or over TLS, with limits on their number, their heads and their silence.

use std::{
    convert::Infallible,
    io,
    net::SocketAddr,
    path::Path,
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    task::{self, Poll},
    time::Duration,
};

use axum::{Router, body::Body, extract::Request, response::IntoResponse};
use bytes::Bytes;
use headwater_core::{Error, Kind, Result};
use headwater_files::read_regular;
use http::{HeaderValue, Response, StatusCode, header};
use hyper::{
    body::{Body as _, Frame, Incoming, SizeHint},
    server::conn::http1,
    service::service_fn,
};
use hyper_util::rt::{TokioIo, TokioTimer};
use rustls::{
    ServerConfig,
    pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject},
};
use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWrite},
    net::{TcpListener, TcpSocket, TcpStream},
    sync::watch,
    task::JoinSet,
    time::timeout,
};
use tokio_rustls::TlsAcceptor;

use crate::{
    guard::Peer,
    metrics::Metrics,
    problem::Problem,
    request_id::RequestId,
    slots::{Activity, Busy, ConnectionSlots},
    write_timeout::WriteTimeout,
};

/// How long a client may take for the head of a request, and for its part of the TLS handshake.
const LONGEST_HEAD: Duration = Duration::from_secs(10);
/// How long it may take when all slots are taken and the request will be refused.
const LONGEST_REFUSED: Duration = Duration::from_secs(1);
/// The largest head of a request, in bytes, and the most headers in it.
const LARGEST_HEAD: usize = 64 << 10;
const MAX_HEADERS: usize = 100;
/// How many connections may wait to be accepted, as far as the system allows. Further ones get no answer, and their
/// clients try again after a second.
const MAX_WAITING: u32 = 4096;
/// How long a connection may be silent while another one needs its slot.
const LONGEST_SILENCE: Duration = Duration::from_secs(1);
/// How many connections beyond the limit get a refusal, and may read the health of the service. The oldest silent one
/// makes room at once.
const MAX_REFUSED: usize = 64;
/// How long, and how many bytes, a client may continue to send after the answer.
const LONGEST_LINGER: Duration = Duration::from_secs(5);
const MAX_LINGERING: usize = 16 << 20;
/// The largest size of a certificate with its chain, or of a key, in bytes.
const LARGEST_PEM: u64 = 1 << 20;
/// How long a stop waits for open answers.
const LONGEST_STOP: Duration = Duration::from_secs(8);

/// Listens at an address.
pub(crate) fn listen(address: SocketAddr) -> io::Result<TcpListener> {
    let socket = match address {
        SocketAddr::V4(_) => TcpSocket::new_v4(),
        SocketAddr::V6(_) => TcpSocket::new_v6(),
    }?;
    // A restarted service gets its port back.
    #[cfg(unix)]
    socket.set_reuseaddr(true)?;
    socket.bind(address)?;
    socket.listen(MAX_WAITING)
}

/// Serves until `stop` turns true.
pub(crate) async fn serve(
    listener: TcpListener,
    tls: Option<TlsAcceptor>,
    router: Router,
    max_connections: usize,
    metrics: impl Fn() -> OpenGauge + Send + Sync + 'static,
    mut stop: watch::Receiver<bool>,
) -> io::Result<()> {
    let slots = ConnectionSlots::new(max_connections, LONGEST_SILENCE);
    let refusals = ConnectionSlots::new(MAX_REFUSED, Duration::ZERO);
    let mut connections = JoinSet::new();
    let stopped = stop.clone();
    loop {
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            _ = stop.wait_for(|stop| *stop) => break,
        };
        while connections.try_join_next().is_some() {}
        let (stream, peer) = match accepted {
            Ok(accepted) => accepted,
            // Out of file descriptors, or the client left: the next try may succeed.
            Err(_) => {
                tokio::time::sleep(Duration::from_millis(20)).await;
                continue;
            }
        };
        let client = peer.ip();
        let (slot, is_full) = match slots.take(client) {
            Some(slot) => (Some(slot), false),
            None => (refusals.take_soon(client).await, true),
        };
        let Some(mut slot) = slot else { continue };
        let (slots, router, tls) = (slots.clone(), router.clone(), tls.clone());
        let (stopped, metered) = (stopped.clone(), metrics());
        connections.spawn(async move {
            let _metered = metered;
            let mut is_full = is_full;
            if is_full && let Some(free) = slots.take_soon(client).await {
                (slot, is_full) = (free, false);
            }
            let _ = stream.set_nodelay(true);
            let state = ConnectionState {
                activity: Arc::clone(&slot.activity),
                is_full,
            };
            tokio::select! {
                () = connection(stream, peer, tls, router, state, stopped) => {}
                () = slot.activity.is_to_end() => {}
            }
        });
    }
    let end = async { while connections.join_next().await.is_some() {} };
    let _ = timeout(LONGEST_STOP, end).await;
    Ok(())
}

/// Counts a connection while it is open.
pub(crate) struct OpenGauge(prometheus_client::metrics::gauge::Gauge);

impl OpenGauge {
    pub(crate) fn new(metrics: &Metrics) -> Self {
        metrics.open.inc();
        Self(metrics.open.clone())
    }
}

impl Drop for OpenGauge {
    fn drop(&mut self) {
        self.0.dec();
    }
}

/// A connection in its slot.
struct ConnectionState {
    activity: Arc<Activity>,
    /// Whether all slots are taken, so that its request is refused.
    is_full: bool,
}

impl ConnectionState {
    /// How long the head of a request may take.
    const fn longest_head(&self) -> Duration {
        match self.is_full {
            true => LONGEST_REFUSED,
            false => LONGEST_HEAD,
        }
    }
}

async fn connection(
    stream: TcpStream,
    peer: SocketAddr,
    tls: Option<TlsAcceptor>,
    router: Router,
    state: ConnectionState,
    stopped: watch::Receiver<bool>,
) {
    let stream = WriteTimeout::new(stream);
    match tls {
        None => answer(stream, peer, router, state, stopped).await,
        // A TLS session is large; without the box, plain connections would reserve room for one.
        Some(tls) => {
            let session = async {
                if let Ok(Ok(stream)) = timeout(state.longest_head(), tls.accept(stream)).await {
                    answer(stream, peer, router, state, stopped).await;
                }
            };
            Box::pin(session).await;
        }
    }
}

async fn answer(
    stream: impl AsyncRead + AsyncWrite + Unpin,
    peer: SocketAddr,
    router: Router,
    state: ConnectionState,
    mut stopped: watch::Receiver<bool>,
) {
    let longest_head = state.longest_head();
    let ConnectionState { activity, is_full } = state;
    let service = service_fn(move |request: Request<Incoming>| {
        let (router, busy) = (router.clone(), activity.begin());
        async move {
            let answer = answered(request, peer, router, is_full).await;
            Ok::<_, Infallible>(answer.map(|body| Body::new(ResponseBody { body, _busy: busy })))
        }
    });
    let mut builder = http1::Builder::new();
    builder
        .timer(TokioTimer::new())
        .header_read_timeout(longest_head)
        .max_buf_size(LARGEST_HEAD)
        .max_headers(MAX_HEADERS)
        .keep_alive(!is_full);
    let mut connection = builder.serve_connection(TokioIo::new(stream), service);
    let ended = tokio::select! {
        ended = Pin::new(&mut connection) => Some(ended),
        _ = stopped.wait_for(|stop| *stop) => None,
    };
    match ended {
        Some(Err(error)) if error.is_timeout() => {}
        Some(_) => linger(connection.into_parts().io.into_inner()).await,
        None => {
            Pin::new(&mut connection).graceful_shutdown();
            let _ = connection.await;
        }
    }
}

/// Discards the rest of a request that was answered before it was read completely. Closing a socket with unread data
/// resets it, and a client that is reset while it sends may never see the answer.
async fn linger(mut stream: impl AsyncRead + Unpin) {
    let rest = async {
        let mut unread = vec![0; 8 << 10];
        let mut left = MAX_LINGERING;
        while let Ok(length @ 1..) = stream.read(&mut unread).await {
            left = left.saturating_sub(length);
            if left == 0 {
                return;
            }
        }
    };
    let _ = timeout(LONGEST_LINGER, rest).await;
}

async fn answered(
    request: Request<Incoming>,
    peer: SocketAddr,
    router: Router,
    is_full: bool,
) -> Response<Body> {
    let id = RequestId::of(request.headers());
    let is_read = Arc::new(AtomicBool::new(request.body().is_end_stream()));
    let mut answer = if is_full && request.uri().path() != "/healthz" {
        let text = "too many connections are open; try again in a moment";
        let problem = Problem::new(StatusCode::SERVICE_UNAVAILABLE, "busy", text);
        problem.retry_after(1).into_response()
    } else {
        let mut request = request.map(|body| {
            let is_read = Arc::clone(&is_read);
            Body::new(TrackedBody { body, is_read })
        });
        request.extensions_mut().insert(Peer(peer));
        request.extensions_mut().insert(id.clone());
        let mut router = router;
        match tower_service::Service::call(&mut router, request).await {
            Ok(answer) => answer,
            Err(never) => match never {},
        }
    };
    id.mark(&mut answer);
    // The connection closes afterwards; a client without this header may send its next request into it.
    if !is_read.load(Ordering::Relaxed) {
        let close = HeaderValue::from_static("close");
        answer.headers_mut().insert(header::CONNECTION, close);
    }
    answer
}

/// The body of an answer, which keeps its connection busy until it is sent.
struct ResponseBody {
    body: Body,
    _busy: Busy,
}

impl hyper::body::Body for ResponseBody {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut task::Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        Pin::new(&mut self.body).poll_frame(context)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

/// The body of a request, and whether all of it was read.
struct TrackedBody {
    body: Incoming,
    is_read: Arc<AtomicBool>,
}

impl hyper::body::Body for TrackedBody {
    type Data = Bytes;
    type Error = hyper::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut task::Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, hyper::Error>>> {
        let frame = task::ready!(Pin::new(&mut self.body).poll_frame(context));
        if frame.is_none() || self.body.is_end_stream() {
            self.is_read.store(true, Ordering::Relaxed);
        }
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

/// Reads a certificate with its chain, and its key.
pub(crate) fn tls(certificate: &Path, key: &Path) -> Result<TlsAcceptor> {
    let unusable = |path: &Path, what: &str| {
        Error::new(Kind::ConfigInvalid, format!("{} {what}", path.display()))
    };
    let read = |path: &Path| {
        read_regular(path, LARGEST_PEM)
            .map_err(|error| unusable(path, &format!("cannot be read: {error}")))
    };
    let chain: Vec<CertificateDer<'static>> = CertificateDer::pem_slice_iter(&read(certificate)?)
        .collect::<Result<_, _>>()
        .ok()
        .filter(|chain: &Vec<_>| !chain.is_empty())
        .ok_or_else(|| unusable(certificate, "is not a certificate in PEM"))?;
    let private = PrivateKeyDer::from_pem_slice(&read(key)?)
        .map_err(|_| unusable(key, "is not a private key in PEM"))?;
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(|error| Error::new(Kind::Unexpected, "TLS cannot be set up").caused_by(error))?
        .with_no_client_auth()
        .with_single_cert(chain, private)
        .map_err(|error| unusable(certificate, &format!("does not match its key: {error}")))?;
    Ok(TlsAcceptor::from(Arc::new(config)))
}
