//! The families of error bodies. Their shapes and codes are the vendor document's; messages are
//! written anew.

use std::sync::atomic::{AtomicU64, Ordering};

use hyper::StatusCode;
use hyper::header::{HeaderValue, RETRY_AFTER};
use serde_json::{Value, json};

use crate::ids;
use crate::random::{Purpose, draw};
use crate::reply::Reply;

/// The organization of the tenant and the user behind the key.
pub(crate) const ORG_ID: u64 = 101;
pub(crate) const USER_ID: u64 = 1;

/// Makes error answers, each of which has an id of its own.
#[derive(Debug)]
pub(crate) struct Errors {
    seed: u64,
    made: AtomicU64,
}

impl Errors {
    pub(crate) fn new(seed: u64) -> Self {
        Self {
            seed,
            made: AtomicU64::new(0),
        }
    }

    fn next(&self) -> u64 {
        self.made.fetch_add(1, Ordering::Relaxed)
    }

    /// The form of the export endpoints.
    pub(crate) fn application(
        &self,
        status: StatusCode,
        namespace: &str,
        code: &str,
        message: &str,
    ) -> Reply {
        Reply::json(status, &self.body(namespace, code, message))
    }

    fn body(&self, namespace: &str, code: &str, message: &str) -> Value {
        let error_id = ids::uuid(self.seed, Purpose::ExportError, self.next());
        json!({
            "code": code,
            "namespace": namespace,
            "errorId": error_id,
            "message": message,
            "orgId": ORG_ID,
        })
    }

    /// One code for the quota of the month and for too many jobs at a time.
    pub(crate) fn quota(&self, monthly: u64, concurrent: u64) -> Reply {
        let message = format!(
            "Either the monthly quota of {monthly} or the concurrent limit of {concurrent} is used up."
        );
        let mut body = self.body("exports", "export_monthly_quota_reached", &message);
        body["source"] = "Export".into();
        Reply::json(StatusCode::BAD_REQUEST, &body)
    }

    /// The form of the activity export; its ids are texts.
    pub(crate) fn activity(&self, message: &str) -> Reply {
        let error_id = draw(self.seed, Purpose::ExportError, self.next());
        let body = json!({
            "code": "Bad request",
            "namespace": "activity",
            "errorId": format!("{error_id:032x}"),
            "message": message,
            "userId": USER_ID.to_string(),
            "orgId": ORG_ID.to_string(),
        });
        Reply::json(StatusCode::BAD_REQUEST, &body)
    }
}

/// The form of the audit log.
pub(crate) fn audit(target: &str, details: &str) -> Reply {
    let body = json!({"errors": [{
        "status": "400",
        "code": "bad_request",
        "message": "Invalid parameter",
        "target": target,
        "details": details,
    }]});
    Reply::json(StatusCode::BAD_REQUEST, &body)
}

/// The form of the opportunities, with the document's misspelt member.
pub(crate) fn opportunity(details: &str) -> Reply {
    let body = json!([{
        "statusCode": 400,
        "reaspnPhrase": "Bad Request",
        "description": "The request cannot be answered",
        "details": details,
    }]);
    Reply::json(StatusCode::BAD_REQUEST, &body)
}

/// The form of the ingestion endpoints.
pub(crate) fn ingestion(status: StatusCode, code: &str, summary: &str) -> Reply {
    Reply::json(
        status,
        &json!([{"errorCode": code, "errorSummary": summary}]),
    )
}

/// The gateway's answer to an unknown path (observed live).
pub(crate) fn no_route(seed: u64, path: &str) -> Reply {
    let request = path.bytes().fold(seed, |digest, byte| {
        crate::random::mix(digest ^ u64::from(byte))
    });
    let body = json!({
        "message": "no Route matched with those values",
        "request_id": format!("{request:032x}"),
    });
    Reply::json(StatusCode::NOT_FOUND, &body)
}

/// The gateway's answer to a key that is missing or wrong. The bulk upload status is documented
/// with another member than all the others.
pub(crate) fn unauthorized(path: &str, message: &str) -> Reply {
    let member = if path.contains("/ingest/job/") {
        "error"
    } else {
        "message"
    };
    Reply::json(StatusCode::UNAUTHORIZED, &json!({member: message}))
}

/// The gateway's answer to too many requests.
pub(crate) fn too_many(path: &str) -> Reply {
    let member = if path.contains("/ingest/") {
        "error"
    } else {
        "message"
    };
    let body = json!({member: "API rate limit exceeded"});
    Reply::json(StatusCode::TOO_MANY_REQUESTS, &body)
        .with_header(RETRY_AFTER, HeaderValue::from_static("1"))
}
