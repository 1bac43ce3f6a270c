//! The accept loop and the way of one request through credentials, limits, faults and routes.

use std::fmt;
use std::io;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use bytes::Bytes;
use http_body_util::channel::Channel;
use http_body_util::combinators::BoxBody;
use http_body_util::{BodyExt, Full, Limited};
use hyper::body::Incoming;
use hyper::header::{CONTENT_LENGTH, CONTENT_TYPE, HeaderValue, LOCATION, RETRY_AFTER};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Request, Response, StatusCode};
use hyper_util::rt::TokioIo;
use jiff::Timestamp;
use serde_json::json;
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;

use crate::clari_copilot::{ApiRequest, ClariCopilot, DataFaults};
use crate::faults::{Effect, Faults};
use crate::gate::{RateGate, refuse_credentials};
use crate::reply::Reply;
use crate::stats::{Recorder, Stats};
use crate::{Options, control};

/// The longest request body that is read, in bytes (proposed; the API's own limit is unknown).
const LONGEST_REQUEST_BODY: usize = 10 * 1024 * 1024;

/// How long a truncated answer stays open, so that its first part is on the wire before the close.
const TRUNCATION_PAUSE: Duration = Duration::from_millis(20);

const LOGIN_PAGE: &str = "<!DOCTYPE html>\n<html><head><title>Sign in</title></head>\
    <body><h1>Sign in</h1><form><input name=\"email\"></form></body></html>\n";

type ReplyBody = BoxBody<Bytes, io::Error>;

/// Everything the connections share.
#[derive(Debug)]
pub(crate) struct Site {
    pub(crate) api: ClariCopilot,
    options: Options,
    faults: Mutex<Faults>,
    gate: Mutex<RateGate>,
    recorder: Mutex<Recorder>,
}

impl Site {
    pub(crate) fn new(options: Options, base_url: String) -> Self {
        Self {
            api: ClariCopilot::new(options.seed, options.calls, options.template_key, base_url),
            faults: Mutex::new(options.faults.clone()),
            gate: Mutex::new(RateGate::new(options.limits)),
            recorder: Mutex::new(Recorder::default()),
            options,
        }
    }

    pub(crate) fn stats(&self) -> Stats {
        lock(&self.recorder).stats()
    }

    pub(crate) fn faults(&self) -> Faults {
        lock(&self.faults).clone()
    }

    pub(crate) fn set_faults(&self, faults: Faults) {
        *lock(&self.faults) = faults;
    }

    pub(crate) fn keys(&self, stream: &str) -> Option<Vec<String>> {
        let missing_details = lock(&self.faults).missing_details;
        self.api.keys(stream, missing_details)
    }
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
    // Small answers shall not wait for more to come. Without this they are only slower.
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
    // A real media link points to a file store, which knows nothing of the API's credentials.
    if let Some(file) = path.strip_prefix("/media/") {
        let reply = site.api.media_file(file, &query);
        return Ok(finish(&site, is_control, reply));
    }
    // The API checks the credentials before it looks at the path (observed live).
    if let Some(refusal) = refuse_credentials(&head.headers, site.options.wrong_credentials) {
        return Ok(finish(&site, is_control, refusal));
    }
    let admitted = lock(&site.gate).admit(Instant::now(), Timestamp::now().as_second());
    if let Err(throttle) = admitted {
        let retry_after = lock(&site.faults).retry_after;
        return Ok(finish(&site, is_control, throttle.reply(retry_after)));
    }

    let (effect, latency, data_faults) = {
        let mut faults = lock(&site.faults);
        let data_faults = DataFaults {
            changing: faults.changing,
            missing_details: faults.missing_details,
        };
        let latency = Duration::from_millis(faults.latency_ms);
        (faults.take(&path), latency, data_faults)
    };
    tokio::time::sleep(latency).await;

    let request = ApiRequest {
        method: head.method,
        path,
        query,
        body: body.into(),
    };
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
    Ok(finish(&site, is_control, reply))
}

/// Asks the API itself, away from the threads that serve connections: counting the matches of an
/// open filter over a large workspace takes a while.
async fn call_api(site: &Arc<Site>, request: ApiRequest, data_faults: DataFaults) -> Reply {
    let worker_site = Arc::clone(site);
    let work = move || worker_site.api.answer(&request, data_faults);
    let Ok(reply) = tokio::task::spawn_blocking(work).await else {
        return Reply::json(
            StatusCode::INTERNAL_SERVER_ERROR,
            &json!({"errorMessage": "Internal server error"}),
        );
    };
    // Answers above the cap fail however often they are asked for (vendor's reply to users; the
    // body is proposed).
    if reply.body.len() as u64 > site.options.limits.response_cap_bytes {
        return Reply::json(
            StatusCode::BAD_GATEWAY,
            &json!({"message": "Internal server error"}),
        );
    }
    reply
}

fn status_reply(code: u16, retry_after: Option<u64>) -> Reply {
    let status = StatusCode::from_u16(code).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    let message = status.canonical_reason().unwrap_or("Error");
    let reply = Reply::json(status, &json!({"message": message}));
    match retry_after {
        Some(seconds) => reply.with_header(RETRY_AFTER, seconds.into()),
        None => reply,
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
    let body = Full::new(reply.body.clone()).map_err(|never| match never {});
    response(&reply, body.boxed())
}

/// Announces the whole body, sends the first half of it and closes the connection.
fn truncated(reply: Reply) -> Response<ReplyBody> {
    let (mut sender, body) = Channel::<Bytes, io::Error>::new(1);
    let length = HeaderValue::from(reply.body.len());
    let first_half = reply.body.slice(..reply.body.len() / 2);
    tokio::spawn(async move {
        // Sending fails when the client left already; then there is nothing to cut short.
        let _ = sender.send_data(first_half).await;
        tokio::time::sleep(TRUNCATION_PAUSE).await;
        sender.abort(io::Error::other("the answer is cut short on demand"));
    });
    let mut response = response(&reply, body.boxed());
    response.headers_mut().insert(CONTENT_LENGTH, length);
    response
}

fn response(reply: &Reply, body: ReplyBody) -> Response<ReplyBody> {
    let mut response = Response::new(body);
    *response.status_mut() = reply.status;
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static(reply.content_type));
    headers.extend(reply.headers.iter().cloned());
    response
}
