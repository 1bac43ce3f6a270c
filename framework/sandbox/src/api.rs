//! The interface between the server and a simulated API.

use std::fmt;
use std::time::Instant;

use hyper::header::{HeaderMap, HeaderName, HeaderValue};
use hyper::{Method, StatusCode};
use serde_json::json;

use crate::faults::DataFaults;
use crate::reply::Reply;

/// A request, read to its end.
#[derive(Clone, Debug)]
pub(crate) struct ApiRequest {
    pub(crate) method: Method,
    pub(crate) path: String,
    /// The raw query string, empty when there is none.
    pub(crate) query: String,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Vec<u8>,
}

/// The headers to add to the answer of an accepted request, or the answer to a refused one.
pub(crate) type Admission = Result<Vec<(HeaderName, HeaderValue)>, Reply>;

/// A simulated API. A request passes the methods in their order, and meets the faults before
/// [`Api::answer`].
pub(crate) trait Api: fmt::Debug + Send + Sync + 'static {
    /// Answers public paths, which need no credentials and have no limits and no faults.
    fn unguarded(&self, request: &ApiRequest) -> Option<Reply>;

    /// Refuses a request before it counts, mostly for its credentials.
    fn refuse(&self, request: &ApiRequest) -> Option<Reply>;

    /// Counts a request against the rate limits.
    fn admit(&self, request: &ApiRequest, now: Instant, unix_seconds: i64) -> Admission;

    /// Answers a request. This may take a while: it is called where blocking is allowed.
    fn answer(&self, request: &ApiRequest, faults: DataFaults) -> Reply;

    /// The sorted keys of a stream; `None` for an unknown stream.
    fn keys(&self, stream: &str, faults: DataFaults) -> Option<Vec<String>>;

    /// Answers `POST /_sandbox/change`.
    fn change(&self, body: &[u8]) -> Reply;

    /// Answers `GET /_sandbox/<endpoint>` for endpoints that only this API has.
    fn inspect(&self, _endpoint: &str) -> Option<Reply> {
        None
    }
}

/// The answer of a control endpoint to an impossible request.
pub(crate) fn bad_request(message: &str) -> Reply {
    Reply::json(StatusCode::BAD_REQUEST, &json!({"message": message}))
}
