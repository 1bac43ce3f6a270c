//! Requests with a key of their own, which are carried out once however often they are sent.

use axum::{extract::Request, response::Response};
use headwater_store::{Begun, Reply};
use http::{HeaderMap, StatusCode};
use serde::de::DeserializeOwned;
use serde_json::Value;
use sha2::{Digest, Sha256};

use crate::{
    answer::{json, tagged},
    app::App,
    body::{self, Json},
    guard::Caller,
    problem::Problem,
};

/// The header, and what the document says of it.
pub(crate) const HEADER: (&str, &str) = (
    "Idempotency-Key",
    "A word of your own for this request; sent again with the same word, it is not carried out twice.",
);
const LONGEST_KEY: usize = 255;

/// Carries out a request with JSON, or repeats the answer that it had before. Only what was done is remembered: a refusal
/// can be sent again.
pub(crate) async fn once<T, F>(
    app: &App,
    caller: &Caller,
    request: Request,
    carry_out: impl FnOnce(T) -> F,
) -> Result<Response, Problem>
where
    T: DeserializeOwned,
    F: Future<Output = Result<(StatusCode, Value), Problem>>,
{
    let (head, body) = request.into_parts();
    body::expect(&head.headers, "application/json")?;
    let bytes = body::read(body).await?;
    let Some(key) = key(&head.headers, caller)? else {
        let Json(wanted) = Json::of(&bytes)?;
        let (status, body) = carry_out(wanted).await?;
        return Ok(shown(status, &body));
    };
    // The key goes in as well, so that the same body has another hash each time.
    let mut hash = Sha256::new_with_prefix(&key);
    hash.update(head.uri.path());
    hash.update(&bytes);
    let hash: String = hash
        .finalize()
        .iter()
        .map(|byte| format!("{byte:02x}"))
        .collect();
    let begun = {
        let key = key.clone();
        app.store(move |store| store.begin_request(&key, &hash))
            .await?
    };
    let conflict = |code, text| Problem::new(StatusCode::CONFLICT, code, text);
    match begun {
        Begun::New => {}
        Begun::Answered(reply) => {
            let status = StatusCode::from_u16(reply.status).unwrap_or(StatusCode::OK);
            return Ok(shown(status, &reply.body));
        }
        Begun::UnderWay => {
            let text = "a request with this Idempotency-Key is under way; wait for its answer";
            return Err(conflict("under_way", text));
        }
        Begun::Another => {
            let text = "this Idempotency-Key was used for another request; take a new one";
            return Err(conflict("key_used", text));
        }
    }
    let done = match Json::of(&bytes) {
        Ok(Json(wanted)) => carry_out(wanted).await,
        Err(problem) => Err(problem),
    };
    match done {
        Ok((status, body)) => {
            let reply = Reply {
                status: status.as_u16(),
                body: body.clone(),
            };
            app.store(move |store| store.keep_reply(&key, &reply))
                .await?;
            Ok(shown(status, &body))
        }
        Err(problem) => {
            app.store(move |store| store.forget_request(&key)).await?;
            Err(problem)
        }
    }
}

fn shown(status: StatusCode, body: &Value) -> Response {
    match body["revision"].as_i64() {
        Some(revision) => tagged(status, revision, body),
        None => json(status, body),
    }
}

/// The key of a request, among those of its caller.
fn key(headers: &HeaderMap, caller: &Caller) -> Result<Option<String>, Problem> {
    let Some(value) = headers.get("idempotency-key") else {
        return Ok(None);
    };
    match value.to_str() {
        Ok(text) if !text.is_empty() && text.len() <= LONGEST_KEY => {
            Ok(Some(format!("{}/{text}", caller.name)))
        }
        _ => Err(Problem::bad_request(format!(
            "Idempotency-Key is a word of at most {LONGEST_KEY} characters"
        ))),
    }
}
