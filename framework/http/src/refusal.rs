//! The meaning of an unsuccessful response. Only this module decides it, for reads, probes and tokens.

use headwater_core::Kind;
use http::{HeaderMap, StatusCode};
use serde_json::Value;

use crate::{
    client::Response,
    error_message::message_in,
    limit::LimitHeaders,
    waits::{self, RequestedWait},
};

/// The maximum depth of the search for a code: `{"error":{"errors":[{"reason":…}]}}`.
const DEPTH: u32 = 5;
/// Fields that hold a code.
const CODES: &[&str] = &[
    "code",
    "error",
    "errorcode",
    "error_code",
    "errorCode",
    "reason",
    "status",
    "type",
    "__type",
];
/// Fields that hold an object, or a list of objects, with details of an error.
const NESTED: &[&str] = &["error", "errors", "fault", "detail", "details"];

/// Codes of an expired token, letters and digits only.
const EXPIRED_TOKEN: &[&str] = &[
    "accesstokenexpired",
    "autherrorexpiredtoken",
    "expiredaccesstoken",
    "expiredtoken",
    "invalidaccesstoken",
    "invalidtoken",
    "jwtexpired",
    "tokenexpired",
    "tokenhasexpired",
    "tokeninvalid",
    "tokenisexpired",
    "tokennotvalid",
];
/// Parts of codes of a rate limit, letters and digits only.
const RATE_LIMIT: &[&str] = &[
    "ratelimit",
    "requestlimitexceeded",
    "throttl",
    "toomanyrequests",
];

/// The reason of an unsuccessful response, and the time to wait.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Refusal {
    /// The kind of its error.
    pub(crate) kind: Kind,
    /// The requested wait.
    pub(crate) requested: RequestedWait,
}

impl Refusal {
    /// Classifies an unsuccessful response.
    pub(crate) fn of(response: &Response, own: Option<LimitHeaders>) -> Self {
        let Response {
            status,
            headers,
            body,
            ..
        } = response;
        let status = status.as_u16();
        let own = own.map(|own| [own.remaining, own.reset]);
        let kind = match status {
            400 | 403 => {
                let body = serde_json::from_slice(body).unwrap_or_default();
                let codes = codes(&body);
                if limits_the_rate(status, headers, &body, &codes, own) {
                    Kind::RateLimited
                } else if has_expired_token(&codes) {
                    Kind::Unauthenticated
                } else {
                    Kind::of_status(status)
                }
            }
            _ => Kind::of_status(status),
        };
        let requested = match kind {
            Kind::RateLimited => waits::throttled(headers, own, response.at),
            Kind::Unavailable => waits::retry_after(headers, response.at),
            _ => RequestedWait::default(),
        };
        Self { kind, requested }
    }

    /// Returns whether the status alone gives the same kind.
    pub(crate) fn is_by_status(&self, status: StatusCode) -> bool {
        self.kind == Kind::of_status(status.as_u16())
    }
}

/// Returns whether a status is a redirect. Other statuses from 300 to 399 are not: 304 refers to an earlier request
/// that the client did not make.
pub(crate) const fn leads_elsewhere(status: u16) -> bool {
    matches!(status, 301 | 302 | 303 | 307 | 308)
}

/// Returns whether a 403 or a 400 means a rate limit. Only a 403 counts by its headers alone: services send the
/// counters with every response.
fn limits_the_rate(
    status: u16,
    headers: &HeaderMap,
    body: &Value,
    codes: &[String],
    own: Option<[&'static str; 2]>,
) -> bool {
    let by_headers = || {
        waits::is_requested(headers)
            || waits::remaining(headers, own.map(|[remaining, _]| remaining))
                .is_some_and(|left| left <= 0.0)
    };
    let by_code = || {
        codes
            .iter()
            .any(|code| RATE_LIMIT.iter().any(|part| code.contains(part)))
    };
    let by_sentence = || message_in(body).is_some_and(|text| mentions_a_rate_limit(&text));
    (status == 403 && (by_headers() || by_sentence())) || by_code()
}

fn mentions_a_rate_limit(sentence: &str) -> bool {
    let sentence = sentence.to_ascii_lowercase();
    let has = |words: &[&str]| words.iter().any(|word| sentence.contains(word));
    has(&[
        "too many requests",
        "abuse detection",
        "request was throttled",
    ]) || has(&["rate limit", "rate-limit", "request limit"])
        && has(&["exceed", "reached", "hit", "wait", "slow down", "try again"])
}

fn has_expired_token(codes: &[String]) -> bool {
    codes
        .iter()
        .any(|code| EXPIRED_TOKEN.contains(&code.as_str()))
}

/// Returns the codes in a body, in lower case and without separators.
fn codes(body: &Value) -> Vec<String> {
    let mut codes = Vec::new();
    collect(body, DEPTH, &mut codes);
    codes
}

fn collect(value: &Value, depth: u32, codes: &mut Vec<String>) {
    let Some(depth) = depth.checked_sub(1) else {
        return;
    };
    match value {
        Value::Array(list) => {
            if let Some(first) = list.first() {
                collect(first, depth, codes);
            }
        }
        Value::Object(fields) => {
            for (name, value) in fields {
                if CODES.contains(&name.as_str())
                    && let Some(text) = value.as_str()
                    && !text.contains(' ')
                {
                    let letters = text.chars().filter(char::is_ascii_alphanumeric);
                    codes.push(letters.map(|c| c.to_ascii_lowercase()).collect());
                }
                if NESTED.contains(&name.as_str()) {
                    collect(value, depth, codes);
                }
            }
        }
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use headwater_core::Timestamp;

    use super::*;

    fn refusal(status: u16, headers: &[(&'static str, &str)], body: &str) -> Kind {
        let mut map = HeaderMap::new();
        for (name, value) in headers {
            map.append(*name, value.parse().unwrap());
        }
        let response = Response {
            status: status.try_into().unwrap(),
            headers: map,
            body: body.to_owned().into(),
            at: Timestamp::UNIX_EPOCH,
        };
        Refusal::of(&response, None).kind
    }

    #[test]
    fn a_rate_limit_is_told_from_a_missing_permission() {
        for (headers, body) in [
            (&[("retry-after", "60")][..], "{}"),
            (&[("retry-after", "soon")], "{}"),
            (&[("retry-after-ms", "60")], "{}"),
            (&[("x-ratelimit-remaining", "0")], "{}"),
            (&[("ratelimit-remaining", "0")], "<html>"),
            (&[("x-rate-limit-remaining", " 0 ")], "{}"),
            (&[("ratelimit", "\"default\";r=0;t=5")], "{}"),
            (&[("ratelimit", "limit=5, remaining=0, reset=5")], "{}"),
            (
                &[("x-ratelimit-remaining", "17")],
                r#"{"message":"You have exceeded a secondary rate limit. Please wait a few minutes before you try again."}"#,
            ),
            (
                &[],
                r#"{"message":"API rate limit exceeded for user ID 1."}"#,
            ),
            (
                &[],
                r#"{"error":{"errors":[{"reason":"userRateLimitExceeded"}],"code":403,"message":"Quota"}}"#,
            ),
            (
                &[],
                r#"[{"errorCode":"REQUEST_LIMIT_EXCEEDED","message":"x"}]"#,
            ),
            (&[], r#"{"error":"too_many_requests"}"#),
            (&[], r#"{"code":"throttled","detail":"x"}"#),
        ] {
            assert_eq!(
                refusal(403, headers, body),
                Kind::RateLimited,
                "{headers:?} {body}"
            );
        }
        for (headers, body) in [
            (&[][..], "{}"),
            (&[("x-ratelimit-remaining", "17")], "{}"),
            (&[("x-ratelimit-reset", "5")], "{}"),
            (
                &[],
                r#"{"message":"no permission to change the rate limit"}"#,
            ),
            (&[], r#"{"code":"permission_denied"}"#),
            (&[], "<html>rate limit exceeded</html>"),
        ] {
            assert_eq!(
                refusal(403, headers, body),
                Kind::PermissionDenied,
                "{headers:?} {body}"
            );
        }
        let by_code = r#"{"__type":"ThrottlingException"}"#;
        assert_eq!(refusal(400, &[], by_code), Kind::RateLimited);
        assert_eq!(
            refusal(400, &[("x-ratelimit-remaining", "0")], "{}"),
            Kind::DataInvalid
        );
        assert_eq!(refusal(429, &[], "{}"), Kind::RateLimited);
        assert_eq!(refusal(404, &[("retry-after", "5")], "{}"), Kind::NotFound);
    }

    #[test]
    fn a_token_that_has_ended_is_told_from_a_missing_permission() {
        for body in [
            r#"{"detail":"Given token not valid for any token type","code":"token_not_valid","messages":[]}"#,
            r#"{"error":"token_not_valid","message":"x","status":403}"#,
            r#"{"error":{"code":"token_expired"}}"#,
            r#"{"errors":[{"code":"InvalidToken"}]}"#,
            r#"{"error":"invalid_token","error_description":"x"}"#,
            r#"{"detail":{"code":"TOKEN-EXPIRED"}}"#,
        ] {
            assert_eq!(refusal(403, &[], body), Kind::Unauthenticated, "{body}");
            assert_eq!(refusal(400, &[], body), Kind::Unauthenticated, "{body}");
        }
        for body in [r#"{"message":"token_not_valid"}"#, r#"{"code":7}"#, "null"] {
            assert_eq!(refusal(403, &[], body), Kind::PermissionDenied, "{body}");
        }
    }
}
