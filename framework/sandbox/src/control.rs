//! The control endpoints under `/_sandbox/`, for tests in other languages and for manual use. They
//! are the sandbox's own; the simulated API has no such endpoints.

use hyper::header::{HOST, HeaderMap};
use hyper::{Method, StatusCode};
use serde_json::json;

use crate::api::bad_request;
use crate::faults::{Faults, is_possible_status};
use crate::reply::Reply;
use crate::server::Site;

/// The beginning of every control endpoint's path.
pub(crate) const PREFIX: &str = "/_sandbox/";

/// Answers a request to a control endpoint. It needs no credentials; instead the request must be
/// addressed to a loopback name, so that no web page can reach the endpoints through a name of its
/// own that resolves to this machine.
pub(crate) fn answer(
    site: &Site,
    method: &Method,
    path: &str,
    query: &str,
    headers: &HeaderMap,
    body: &[u8],
) -> Reply {
    if !is_addressed_to_loopback(headers) {
        let message = "the control endpoints answer requests to a loopback host name only";
        return Reply::json(StatusCode::FORBIDDEN, &json!({"message": message}));
    }
    let endpoint = path.strip_prefix(PREFIX).unwrap_or_default();
    match (method.as_str(), endpoint) {
        ("GET", "stats") => Reply::json(StatusCode::OK, &json!(site.stats())),
        ("GET", "keys") => keys(site, query),
        ("POST", "faults") => set_faults(site, body),
        ("POST", "change") => site.api.change(body),
        ("GET", endpoint) => site.api.inspect(endpoint).unwrap_or_else(not_found),
        _ => not_found(),
    }
}

fn not_found() -> Reply {
    Reply::json(StatusCode::NOT_FOUND, &json!({"message": "Not Found"}))
}

fn keys(site: &Site, query: &str) -> Reply {
    let stream = form_urlencoded::parse(query.as_bytes())
        .find(|(name, _)| name == "stream")
        .map(|(_, value)| value.into_owned())
        .unwrap_or_default();
    match site.keys(&stream) {
        Some(keys) => Reply::json(StatusCode::OK, &json!({"stream": stream, "keys": keys})),
        None => bad_request(&format!("there is no stream {stream:?}")),
    }
}

fn set_faults(site: &Site, body: &[u8]) -> Reply {
    let faults: Faults = match serde_json::from_slice(body) {
        Ok(faults) => faults,
        Err(error) => return bad_request(&error.to_string()),
    };
    if let Some(status) = &faults.status
        && !is_possible_status(status.code)
    {
        return bad_request("status.code is not an HTTP status from 200 to 599");
    }
    let answer = Reply::json(StatusCode::OK, &json!(faults));
    site.set_faults(faults);
    answer
}

fn is_addressed_to_loopback(headers: &HeaderMap) -> bool {
    let Some(host) = headers.get(HOST).and_then(|host| host.to_str().ok()) else {
        return false;
    };
    // The port follows the last colon, except in a bare IPv6 address, which ends in a bracket.
    let name = match host.rsplit_once(':') {
        Some((name, _)) if !host.ends_with(']') => name,
        _ => host,
    };
    matches!(name, "127.0.0.1" | "localhost" | "[::1]")
}

#[cfg(test)]
mod tests {
    use hyper::header::HeaderValue;

    use super::*;

    #[test]
    fn only_loopback_names_are_answered() {
        let is_local = |host: &'static str| {
            let mut headers = HeaderMap::new();
            headers.insert(HOST, HeaderValue::from_static(host));
            is_addressed_to_loopback(&headers)
        };
        assert!(is_local("127.0.0.1:8080"));
        assert!(is_local("localhost"));
        assert!(is_local("[::1]:8080"));
        assert!(is_local("[::1]"));
        assert!(!is_local("example.com:8080"));
        assert!(!is_local("127.0.0.1.example.com"));
        assert!(!is_addressed_to_loopback(&HeaderMap::new()));
    }
}
