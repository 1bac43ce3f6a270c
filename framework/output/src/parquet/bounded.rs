//! The HTTP client of object storage, with bounds on time and on the answers that are read whole.

use std::{
    fmt,
    pin::Pin,
    sync::{Mutex, PoisonError},
    task::{Context, Poll},
    time::Duration,
};

use async_trait::async_trait;
use bytes::Bytes;
use futures_core::stream::BoxStream;
use http::{Method, StatusCode};
use http_body::{Body, Frame};
use object_store::{
    ClientOptions,
    client::{
        HttpClient, HttpConnector, HttpError, HttpErrorKind, HttpRequest, HttpResponse,
        HttpResponseBody, HttpService,
    },
};

const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);
/// Enough for a piece at 30 KiB a second.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(300);
/// The largest answer other than an object, in bytes: a page of a thousand names of the largest size takes a quarter.
const LARGEST_ANSWER: usize = 16 << 20;

/// Makes a client like the one that connectors read with: rustls with ring, no redirects, no proxy from the environment.
#[derive(Debug)]
pub(super) struct Connector {
    pub is_plain: bool,
}

impl HttpConnector for Connector {
    fn connect(&self, _: &ClientOptions) -> object_store::Result<HttpClient> {
        // Fails only when a provider is there already, which is as good.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let client = reqwest::Client::builder()
            .redirect(reqwest::redirect::Policy::none())
            .retry(reqwest::retry::never())
            .no_proxy()
            .referer(false)
            .https_only(!self.is_plain)
            .connect_timeout(CONNECT_TIMEOUT)
            .timeout(REQUEST_TIMEOUT)
            .user_agent(concat!("headwater/", env!("CARGO_PKG_VERSION")))
            .build();
        let client = client.map_err(|error| object_store::Error::Generic {
            store: "S3",
            source: Box::new(error),
        })?;
        Ok(HttpClient::new(BoundedClient(client)))
    }
}

/// A client that gives up long answers. Objects have their own bound, since their length is known before they are read.
#[derive(Debug)]
struct BoundedClient(reqwest::Client);

#[async_trait]
impl HttpService for BoundedClient {
    async fn call(&self, request: HttpRequest) -> Result<HttpResponse, HttpError> {
        let is_list = request
            .uri()
            .query()
            .is_some_and(|query| query.contains("list-type="));
        let is_object = request.method() == Method::GET && !is_list;
        let (head, body) = self.0.call(request).await?.into_parts();
        if is_object && matches!(head.status, StatusCode::OK | StatusCode::PARTIAL_CONTENT) {
            return Ok(HttpResponse::from_parts(head, body));
        }
        let body = BoundedBody {
            chunks: Mutex::new(body.bytes_stream()),
            left: LARGEST_ANSWER,
        };
        Ok(HttpResponse::from_parts(head, HttpResponseBody::new(body)))
    }
}

/// A body with a bound on its bytes.
struct BoundedBody {
    /// Never locked: a body has to be `Sync`, which a stream need not be.
    chunks: Mutex<BoxStream<'static, Result<Bytes, HttpError>>>,
    left: usize,
}

impl Body for BoundedBody {
    type Data = Bytes;
    type Error = HttpError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, HttpError>>> {
        let chunks = self
            .chunks
            .get_mut()
            .unwrap_or_else(PoisonError::into_inner);
        let Some(chunk) = std::task::ready!(chunks.as_mut().poll_next(context)) else {
            return Poll::Ready(None);
        };
        let chunk = chunk?;
        let Some(left) = self.left.checked_sub(chunk.len()) else {
            return Poll::Ready(Some(Err(HttpError::new(HttpErrorKind::Decode, TooLong))));
        };
        self.left = left;
        Poll::Ready(Some(Ok(Frame::data(chunk))))
    }
}

#[derive(Debug)]
struct TooLong;

impl fmt::Display for TooLong {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "the answer has more than {LARGEST_ANSWER} bytes")
    }
}

impl std::error::Error for TooLong {}
