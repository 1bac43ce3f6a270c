//! The accept loop and the path of one request through a simulated API and the faults.

use std::fmt;
use std::io;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use bytes::Bytes;
use http_body_util::channel::Channel;
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt, Full, Limited};
use hyper::body::{Body, Frame, Incoming, SizeHint};
use hyper::header::{
    CONTENT_LENGTH, CONTENT_TYPE, DATE, HeaderMap, HeaderName, HeaderValue, LOCATION, RETRY_AFTER,
};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Request, Response, StatusCode};
use hyper_util::rt::TokioIo;
use jiff::Timestamp;
use serde_json::json;
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;

use crate::api::{Api, ApiRequest};
use crate::control;
use crate::faults::{DataFaults, Effect, Faults};
use crate::reply::{Content, Reply};
use crate::sliding_window::SlidingWindow;
use crate::stats::{Recorder, Stats};

/// The longest request body that is read, in bytes (proposed; the API's own limit is unknown).
const LONGEST_REQUEST_BODY: usize = 10 * 1024 * 1024;

/// How long a truncated answer stays open, so that its first part is on the wire before the close.
const TRUNCATION_PAUSE: Duration = Duration::from_millis(20);

const LOGIN_PAGE: &str = "<!DOCTYPE html>\n<html><head><title>Sign in</title></head>\
    <body><h1>Sign in</h1><form><input name=\"email\"></form></body></html>\n";

type ReplyBody = UnsyncBoxBody<Bytes, io::Error>;

/// Everything the connections share.
#[derive(Debug)]
pub(crate) struct Site {
    pub(crate) api: Arc<dyn Api>,
    faults: Mutex<Faults>,
    /// The limit that the faults name.
    throttle: Mutex<SlidingWindow>,
    recorder: Mutex<Recorder>,
}

impl Site {
    pub(crate) fn new(api: Arc<dyn Api>, faults: Faults) -> Self {
        Self {
            api,
            throttle: Mutex::new(throttle(&faults)),
            faults: Mutex::new(faults),
            recorder: Mutex::new(Recorder::default()),
        }
    }

    pub(crate) fn stats(&self) -> Stats {
        lock(&self.recorder).stats()
    }

    pub(crate) fn faults(&self) -> Faults {
        lock(&self.faults).clone()
    }

    pub(crate) fn set_faults(&self, faults: Faults) {
        *lock(&self.throttle) = throttle(&faults);
        *lock(&self.faults) = faults;
    }

    pub(crate) fn keys(&self, stream: &str) -> Option<Vec<String>> {
        let faults = lock(&self.faults).of_data();
        self.api.keys(stream, faults)
    }
}

fn throttle(faults: &Faults) -> SlidingWindow {
    SlidingWindow::new(faults.per_second.map(u64::from), Duration::from_secs(1))
}

/// The values behind these locks are counters and settings that stay usable whatever happened to a
/// thread that held the lock.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Accepts connections until the task is dropped, and then drops all of them.
pub(crate) async fn accept_connections(listener: TcpListener, site: Arc<Site>) {
    let mut connections = JoinSet::new();
    loop {
        tokio::select! {
            accepted = listener.accept() => match accepted {
                Ok((stream, _)) => {
                    connections.spawn(serve_connection(stream, Arc::clone(&site)));
                }
                // Out of file descriptors, or a client that left at once: both pass.
                Err(_) => tokio::time::sleep(Duration::from_millis(10)).await,
            },
            Some(_) = connections.join_next() => {}
        }
    }
}

async fn serve_connection(stream: TcpStream, site: Arc<Site>) {
    // Sends small answers at once. Without this they are only slower.
    let _ = stream.set_nodelay(true);
    let service = service_fn(|request| respond(Arc::clone(&site), request));
    let mut connection = http1::Builder::new().serve_connection(TokioIo::new(stream), service);
    let Err(error) = Pin::new(&mut connection).await else {
        return;
    };
    let is_reset = std::error::Error::source(&error).is_some_and(|source| source.is::<Reset>());
    if is_reset {
        // With a linger time of zero, closing the socket sends RST and not FIN.
        let stream = connection.into_parts().io.into_inner();
        let _ = stream.set_zero_linger();
    }
}

/// Makes the connection task close the connection with a TCP reset.
#[derive(Debug)]
struct Reset;

impl fmt::Display for Reset {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("the connection is reset on demand")
    }
}

impl std::error::Error for Reset {}

async fn respond(
    site: Arc<Site>,
    request: Request<Incoming>,
) -> Result<Response<ReplyBody>, Reset> {
    let (head, body) = request.into_parts();
    let path = head.uri.path().to_owned();
    let query = head.uri.query().unwrap_or_default().to_owned();
    let is_control = path.starts_with(control::PREFIX);
    if !is_control {
        lock(&site.recorder).arrived(&path, Instant::now());
    }

    let body = Limited::new(body, LONGEST_REQUEST_BODY).collect().await;
    let Ok(body) = body.map(|body| body.to_bytes()) else {
        let reply = Reply::json(
            StatusCode::PAYLOAD_TOO_LARGE,
            &json!({"message": "Request Too Long"}),
        );
        return Ok(finish(&site, is_control, reply));
    };
    if is_control {
        let reply = control::answer(&site, &head.method, &path, &query, &head.headers, &body);
        return Ok(finish(&site, is_control, reply));
    }
    let request = ApiRequest {
        method: head.method,
        path,
        query,
        headers: head.headers,
        body: body.into(),
    };
    if let Some(reply) = site.api.unguarded(&request) {
        return Ok(finish(&site, is_control, reply));
    }
    if let Some(refusal) = site.api.refuse(&request) {
        return Ok(finish(&site, is_control, refusal));
    }
    let unix_seconds = Timestamp::now().as_second();
    let extra_headers = match site.api.admit(&request, Instant::now(), unix_seconds) {
        Ok(headers) => headers,
        Err(throttle) => {
            let retry_after = lock(&site.faults).retry_after;
            let throttle = with_retry_after(throttle, retry_after);
            return Ok(finish(&site, is_control, throttle));
        }
    };

    let (effect, latency, data_faults) = {
        let mut faults = lock(&site.faults);
        let latency = Duration::from_millis(faults.latency_ms);
        let effect = match lock(&site.throttle).admit(Instant::now()) {
            Ok(_) => faults.take(&request.path, &request.query),
            Err(_) => Effect::Status {
                code: 429,
                retry_after: faults.retry_after,
            },
        };
        (effect, latency, faults.of_data())
    };
    tokio::time::sleep(latency).await;

    let reply = match effect {
        Effect::Reset => return Err(Reset),
        Effect::Stall => std::future::pending().await,
        Effect::Truncate => {
            let reply = call_api(&site, request, data_faults).await;
            return Ok(truncated(reply));
        }
        Effect::None => call_api(&site, request, data_faults).await,
        Effect::Deny => Reply::json(StatusCode::FORBIDDEN, &json!({"message": "Forbidden"})),
        Effect::Status { code, retry_after } => status_reply(code, retry_after),
        Effect::Html => Reply::html(StatusCode::OK, LOGIN_PAGE),
        Effect::OtherJson => Reply::json(StatusCode::OK, &json!({"hello": "world"})),
        Effect::ErrorBody => Reply::json(
            StatusCode::OK,
            &json!({"errorMessage": "Internal server error"}),
        ),
        Effect::Redirect { origin } => redirect(&origin, &request),
    };
    let reply = extra_headers
        .into_iter()
        .fold(reply, |reply, (name, value)| reply.with_header(name, value));
    Ok(finish(&site, is_control, reply))
}

/// Asks the API itself, away from the threads that serve connections: counting the matches of an
/// open filter over a large workspace takes a while.
async fn call_api(site: &Arc<Site>, request: ApiRequest, data_faults: DataFaults) -> Reply {
    let worker_site = Arc::clone(site);
    let work = move || worker_site.api.answer(&request, data_faults);
    tokio::task::spawn_blocking(work).await.unwrap_or_else(|_| {
        Reply::json(
            StatusCode::INTERNAL_SERVER_ERROR,
            &json!({"errorMessage": "Internal server error"}),
        )
    })
}

fn status_reply(code: u16, retry_after: Option<u64>) -> Reply {
    let status = StatusCode::from_u16(code).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    let message = status.canonical_reason().unwrap_or("Error");
    with_retry_after(
        Reply::json(status, &json!({"message": message})),
        retry_after,
    )
}

fn with_retry_after(reply: Reply, retry_after: Option<u64>) -> Reply {
    match retry_after {
        Some(seconds) => reply.with_header(RETRY_AFTER, seconds.into()),
        None => reply,
    }
}

/// Adds a `Date` header where the service's time differs from ours, which the server sends by itself.
fn with_date(reply: Reply, faults: &Faults) -> Reply {
    if faults.clock == 0 {
        return reply;
    }
    let date = faults
        .now()
        .strftime("%a, %d %b %Y %H:%M:%S GMT")
        .to_string();
    match HeaderValue::from_str(&date) {
        Ok(date) => reply.with_header(DATE, date),
        Err(_) => reply,
    }
}

fn redirect(origin: &str, request: &ApiRequest) -> Reply {
    let separator = if request.query.is_empty() { "" } else { "?" };
    let location = format!("{origin}{}{separator}{}", request.path, request.query);
    match HeaderValue::from_str(&location) {
        Ok(location) => {
            Reply::new(StatusCode::FOUND, "text/plain", "").with_header(LOCATION, location)
        }
        Err(_) => status_reply(500, None),
    }
}

/// Counts an answer and turns it into bytes.
fn finish(site: &Site, is_control: bool, reply: Reply) -> Response<ReplyBody> {
    if !is_control {
        lock(&site.recorder).answered(reply.status);
    }
    let reply = with_date(reply, &lock(&site.faults));
    let body = match reply.body {
        Content::Whole(bytes) => Full::new(bytes)
            .map_err(|never| match never {})
            .boxed_unsync(),
        Content::Chunks { chunks, length } => ChunkBody { chunks, length }.boxed_unsync(),
    };
    response(reply.status, reply.content_type, reply.headers, body)
}

/// A body that is made while it is sent.
struct ChunkBody {
    chunks: Box<dyn Iterator<Item = Bytes> + Send>,
    length: Option<u64>,
}

impl Body for ChunkBody {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, io::Error>>> {
        Poll::Ready(self.chunks.next().map(|chunk| Ok(Frame::data(chunk))))
    }

    fn size_hint(&self) -> SizeHint {
        self.length.map(SizeHint::with_exact).unwrap_or_default()
    }
}

/// Announces the whole body as far as its length is known, sends a part of it and closes the
/// connection.
fn truncated(reply: Reply) -> Response<ReplyBody> {
    let length = reply.body.length();
    let mut first_part = first_part(reply.body);
    let (mut sender, body) = Channel::<Bytes, io::Error>::new(1);
    tokio::spawn(async move {
        for chunk in &mut first_part {
            // Sending fails when the client left already; then there is nothing to cut short.
            if sender.send_data(chunk).await.is_err() {
                return;
            }
        }
        tokio::time::sleep(TRUNCATION_PAUSE).await;
        sender.abort(io::Error::other("the answer is cut short on demand"));
    });
    let body = body.boxed_unsync();
    let mut response = response(reply.status, reply.content_type, reply.headers, body);
    if let Some(length) = length {
        let headers = response.headers_mut();
        headers.insert(CONTENT_LENGTH, HeaderValue::from(length));
    }
    response
}

/// The first half of a body, or the first chunk of one whose length is unknown.
fn first_part(body: Content) -> Box<dyn Iterator<Item = Bytes> + Send> {
    match body {
        Content::Whole(bytes) => {
            let half = bytes.len() / 2;
            Box::new(std::iter::once(bytes.slice(..half)))
        }
        Content::Chunks {
            chunks,
            length: None,
        } => Box::new(chunks.take(1)),
        Content::Chunks {
            chunks,
            length: Some(length),
        } => {
            let mut left = usize::try_from(length / 2).unwrap_or(usize::MAX);
            Box::new(chunks.map_while(move |chunk| {
                let part = chunk.slice(..chunk.len().min(left));
                left -= part.len();
                (!part.is_empty()).then_some(part)
            }))
        }
    }
}

fn response(
    status: StatusCode,
    content_type: &'static str,
    headers: Vec<(HeaderName, HeaderValue)>,
    body: ReplyBody,
) -> Response<ReplyBody> {
    let mut response = Response::new(body);
    *response.status_mut() = status;
    let present: &mut HeaderMap = response.headers_mut();
    present.insert(CONTENT_TYPE, HeaderValue::from_static(content_type));
    present.extend(headers);
    response
}
