//! The id of a request: in its answer, in its problem document, and in the audit rows of its changes.

use axum::{body::Body, response::Response};
use http::{HeaderMap, HeaderName, HeaderValue, header};

use crate::problem::{Problem, ProblemBody};

/// The header of requests and answers.
const HEADER: HeaderName = HeaderName::from_static("x-request-id");
const LONGEST: usize = 64;

/// The id of a request.
#[derive(Clone, Debug)]
pub(crate) struct RequestId(pub String);

impl RequestId {
    /// The id that the client sent, if it is plain; otherwise a new one.
    pub(crate) fn of(headers: &HeaderMap) -> Self {
        let sent = headers.get(HEADER).and_then(|value| value.to_str().ok());
        match sent.filter(|sent| is_plain(sent)) {
            Some(sent) => Self(sent.to_owned()),
            None => Self::random(),
        }
    }

    fn random() -> Self {
        let mut random = [0_u8; 12];
        // Without random numbers all ids are the same, which does no harm.
        let _ = getrandom::fill(&mut random);
        Self(random.iter().map(|byte| format!("{byte:02x}")).collect())
    }

    /// Adds the id to an answer, and to its problem document.
    pub(crate) fn mark(self, answer: &mut Response) {
        if let Ok(value) = HeaderValue::from_str(&self.0) {
            answer.headers_mut().insert(HEADER, value);
        }
        if let Some(problem) = answer.extensions_mut().remove::<Problem>() {
            let body = ProblemBody {
                problem: &problem,
                request_id: &self.0,
            };
            // The body has become longer.
            answer.headers_mut().remove(header::CONTENT_LENGTH);
            *answer.body_mut() = Body::from(serde_json::to_vec(&body).unwrap_or_default());
        }
    }
}

/// Whether an id is safe in logs, pages and rows.
fn is_plain(id: &str) -> bool {
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.:".contains(&byte);
    (1..=LONGEST).contains(&id.len()) && id.bytes().all(is_plain)
}
