//! The id of a request: on its answer, in the problem that it met, and in the audit rows of what it changed.

use axum::{body::Body, response::Response};
use http::{HeaderMap, HeaderName, HeaderValue, header};

use crate::problem::{Problem, ProblemBody};

/// Where it stands, in requests and in answers.
const HEADER: HeaderName = HeaderName::from_static("x-request-id");
const LONGEST: usize = 64;

/// The id of a request.
#[derive(Clone, Debug)]
pub(crate) struct RequestId(pub String);

impl RequestId {
    /// The id that whoever asks has given, if it is plain; else one of our own.
    pub(crate) fn of(headers: &HeaderMap) -> Self {
        let given = headers.get(HEADER).and_then(|value| value.to_str().ok());
        match given.filter(|given| is_plain(given)) {
            Some(given) => Self(given.to_owned()),
            None => Self::random(),
        }
    }

    fn random() -> Self {
        let mut random = [0_u8; 12];
        // Without random numbers all ids are the same, which harms nobody.
        let _ = getrandom::fill(&mut random);
        Self(random.iter().map(|byte| format!("{byte:02x}")).collect())
    }

    /// Puts the id on an answer, and into the problem that it is.
    pub(crate) fn mark(self, answer: &mut Response) {
        if let Ok(value) = HeaderValue::from_str(&self.0) {
            answer.headers_mut().insert(HEADER, value);
        }
        if let Some(problem) = answer.extensions_mut().remove::<Problem>() {
            let told = ProblemBody {
                problem: &problem,
                request_id: &self.0,
            };
            // It has become longer.
            answer.headers_mut().remove(header::CONTENT_LENGTH);
            *answer.body_mut() = Body::from(serde_json::to_vec(&told).unwrap_or_default());
        }
    }
}

/// Whether an id can stand in logs, pages and rows as it is.
fn is_plain(id: &str) -> bool {
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.:".contains(&byte);
    (1..=LONGEST).contains(&id.len()) && id.bytes().all(is_plain)
}
