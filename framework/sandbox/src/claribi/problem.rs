//! Errors and their bodies.

use std::time::Duration;

use hyper::header::{ALLOW, HeaderValue, RETRY_AFTER, WWW_AUTHENTICATE};
use hyper::{Method, StatusCode};
use serde_json::{Value, json};

use super::options::ErrorBodies;
use crate::reply::Reply;

/// Why a request gets no data. The bodies of Django REST Framework and of its JSON web tokens were
/// taken down from these libraries; that clariBI keeps them is proposed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Problem {
    NoCredentials,
    WrongKey,
    /// An invalid access token, and the error in it.
    BadAccessToken(&'static str),
    /// An invalid refresh token, and the error in it.
    BadRefreshToken(&'static str),
    WrongPassword,
    NoPermission,
    Throttled {
        wait: Duration,
    },
    /// A record that does not exist: its kind and the requested id.
    NoSuchRecord {
        kind: &'static str,
        id: String,
    },
    InvalidPage,
    InvalidCursor,
    MethodNotAllowed {
        method: Method,
        allowed: &'static str,
    },
    /// A parameter or field with an impossible value, and the reason.
    Invalid {
        field: &'static str,
        reason: String,
    },
    NotJson,
}

impl Problem {
    pub(crate) fn reply(&self, bodies: ErrorBodies) -> Reply {
        let status = self.status();
        let is_custom = match bodies {
            ErrorBodies::Mixed => matches!(self, Self::NoSuchRecord { .. }),
            ErrorBodies::Custom => true,
            ErrorBodies::Drf => false,
        };
        let body = match is_custom {
            true => json!({
                "error": self.code(),
                "message": self.message(),
                "status": status.as_u16(),
            }),
            false => self.framework_body(),
        };
        let reply = Reply::json(status, &body);
        match self {
            Self::NoCredentials | Self::WrongKey | Self::BadAccessToken(_) => {
                reply.with_header(WWW_AUTHENTICATE, HeaderValue::from_static("Api-Key"))
            }
            Self::BadRefreshToken(_) | Self::WrongPassword => {
                let challenge = HeaderValue::from_static("Bearer realm=\"api\"");
                reply.with_header(WWW_AUTHENTICATE, challenge)
            }
            Self::Throttled { wait } => reply.with_header(RETRY_AFTER, whole_seconds(*wait).into()),
            Self::MethodNotAllowed { allowed, .. } => {
                let allowed = match *allowed {
                    "GET" => "GET, HEAD",
                    other => other,
                };
                reply.with_header(ALLOW, HeaderValue::from_static(allowed))
            }
            _ => reply,
        }
    }

    fn status(&self) -> StatusCode {
        match self {
            Self::NoCredentials
            | Self::WrongKey
            | Self::BadAccessToken(_)
            | Self::BadRefreshToken(_)
            | Self::WrongPassword => StatusCode::UNAUTHORIZED,
            Self::NoPermission => StatusCode::FORBIDDEN,
            Self::Throttled { .. } => StatusCode::TOO_MANY_REQUESTS,
            Self::NoSuchRecord { .. } | Self::InvalidPage | Self::InvalidCursor => {
                StatusCode::NOT_FOUND
            }
            Self::MethodNotAllowed { .. } => StatusCode::METHOD_NOT_ALLOWED,
            Self::Invalid { .. } | Self::NotJson => StatusCode::BAD_REQUEST,
        }
    }

    /// The `error` of the custom body. Only `not_found` is in the vendor's pages.
    fn code(&self) -> &'static str {
        match self {
            Self::NoCredentials => "not_authenticated",
            Self::WrongKey | Self::WrongPassword => "authentication_failed",
            Self::BadAccessToken(_) | Self::BadRefreshToken(_) => "token_not_valid",
            Self::NoPermission => "permission_denied",
            Self::Throttled { .. } => "throttled",
            Self::NoSuchRecord { .. } | Self::InvalidPage | Self::InvalidCursor => "not_found",
            Self::MethodNotAllowed { .. } => "method_not_allowed",
            Self::Invalid { .. } => "invalid",
            Self::NotJson => "parse_error",
        }
    }

    fn message(&self) -> String {
        match self {
            Self::NoCredentials => "Authentication credentials were not provided.".to_owned(),
            Self::WrongKey => "Invalid API key.".to_owned(),
            Self::BadAccessToken(_) => "Given token not valid for any token type".to_owned(),
            Self::BadRefreshToken(message) => (*message).to_owned(),
            Self::WrongPassword => "No active account found with the given credentials".to_owned(),
            Self::NoPermission => "You do not have permission to perform this action.".to_owned(),
            Self::Throttled { wait } => {
                let seconds = whole_seconds(*wait);
                let plural = if seconds == 1 { "" } else { "s" };
                format!("Request was throttled. Expected available in {seconds} second{plural}.")
            }
            Self::NoSuchRecord { kind, id } => format!("{kind} with ID {id} not found"),
            Self::InvalidPage => "Invalid page.".to_owned(),
            Self::InvalidCursor => "Invalid cursor".to_owned(),
            Self::MethodNotAllowed { method, .. } => format!("Method \"{method}\" not allowed."),
            Self::Invalid { field, reason } => format!("{field}: {reason}"),
            Self::NotJson => "JSON parse error".to_owned(),
        }
    }

    fn framework_body(&self) -> Value {
        match self {
            Self::NoSuchRecord { .. } => json!({"detail": "Not found."}),
            Self::Invalid { field, reason } => json!({*field: [reason]}),
            Self::BadAccessToken(message) => json!({
                "detail": self.message(),
                "code": self.code(),
                "messages": [{
                    "token_class": "AccessToken",
                    "token_type": "access",
                    "message": message,
                }],
            }),
            Self::BadRefreshToken(_) => json!({"detail": self.message(), "code": self.code()}),
            _ => json!({"detail": self.message()}),
        }
    }
}

/// A time to wait in seconds, rounded up, so that a client that waits for it is not too early.
pub(crate) fn whole_seconds(wait: Duration) -> u64 {
    wait.as_secs() + u64::from(wait.subsec_nanos() > 0)
}
