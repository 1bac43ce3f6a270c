//! Requests with a key of their own, which are carried out once however often they are sent.

use std::sync::Arc;

use axum::extract::Request;
use headwater_core::{Error, Kind, Result};
use headwater_store::{IdempotencyState, Reply};
use http::{HeaderMap, StatusCode};
use serde::{Serialize, de::DeserializeOwned};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use tokio::runtime::Handle;

use crate::{
    app::App,
    body::{self, Json},
    guard::Caller,
    problem::Problem,
};

/// The header, and what the document says of it.
pub(crate) const HEADER: (&str, &str) = (
    "Idempotency-Key",
    "A word of your own for this request. Sent again with the same word within a day, it is not carried out twice, but \
     answered with what it has made. With the same word, another request is refused (409 `key_used`), and so is the same one \
     while it is under way (409 `under_way`). What was refused, or given up by its client, can be sent again.",
);
const LONGEST_KEY: usize = 255;

/// Carries out a request with JSON, or finds what it has made before. Either way that becomes the answer, since only what
/// was made is remembered, and no secret. A refusal can be sent again.
///
/// `carry_out` is told the key, for a store that keeps it with what it saves; for all others it is kept here.
pub(crate) async fn once<T, M, R>(
    app: &Arc<App>,
    caller: &Caller,
    request: Request,
    status: StatusCode,
    carry_out: impl AsyncFnOnce(T, Option<String>) -> Result<M, Problem>,
    answer: impl AsyncFnOnce(M) -> Result<R, Problem>,
) -> Result<R, Problem>
where
    T: DeserializeOwned,
    M: Serialize + DeserializeOwned,
{
    let (head, body) = request.into_parts();
    body::expect(&head.headers, "application/json")?;
    let body = body::read(&head, body).await?;
    let Some(key) = key(&head.headers, caller)? else {
        let Json(wanted) = Json::of(&body)?;
        return answer(carry_out(wanted, None).await?).await;
    };
    // The key goes in as well, so that the same body has another hash each time.
    let mut hash = Sha256::new_with_prefix(&key);
    hash.update(head.uri.path());
    hash.update(&body.bytes);
    let hash: String = hash
        .finalize()
        .iter()
        .map(|byte| format!("{byte:02x}"))
        .collect();
    let under_way = match begin(app, key.clone(), hash).await? {
        Ok(under_way) => under_way,
        Err(body) => return answer(made(body)?).await,
    };
    let done = match Json::of(&body) {
        Ok(Json(wanted)) => carry_out(wanted, Some(key)).await,
        Err(problem) => Err(problem),
    };
    match done {
        Ok(made) => {
            let reply = Reply {
                status: status.as_u16(),
                body: json!(made),
            };
            under_way.keep(reply).await;
            answer(made).await
        }
        Err(problem) => {
            under_way.forget().await;
            Err(problem)
        }
    }
}

/// Carries something out to its end although its client has gone.
pub(crate) async fn to_its_end<R: Send + 'static>(
    work: impl Future<Output = Result<R, Problem>> + Send + 'static,
) -> Result<R, Problem> {
    let broken = |_| {
        let text = "the request broke down while it was carried out";
        Problem::new(StatusCode::INTERNAL_SERVER_ERROR, "unexpected", text)
    };
    tokio::spawn(work).await.map_err(broken)?
}

/// Begins a request with a key, or finds what it has made before.
async fn begin(
    app: &Arc<App>,
    key: String,
    hash: String,
) -> Result<Result<RequestGuard, Value>, Problem> {
    let own = Arc::clone(app);
    let conflict = |code, text| Err(Problem::new(StatusCode::CONFLICT, code, text));
    app.store(move |store| match store.begin_request(&key, &hash)? {
        IdempotencyState::New => Ok(Ok(RequestGuard {
            app: own,
            key: Some(key),
        })),
        IdempotencyState::Answered(reply) => Ok(Err(reply.body)),
        IdempotencyState::UnderWay => {
            let text = "a request with this Idempotency-Key is under way; wait for its answer";
            conflict("under_way", text)
        }
        IdempotencyState::Another => {
            let text = "this Idempotency-Key was used for another request; take a new one";
            conflict("key_used", text)
        }
    })
    .await
}

fn made<M: DeserializeOwned>(body: Value) -> Result<M> {
    serde_json::from_value(body)
        .map_err(|_| Error::new(Kind::DataInvalid, "the store holds an answer that is none"))
}

/// A request with a key that was begun here. Dropped because its client has left, it is forgotten, unless the store has
/// kept it with what it has saved.
struct RequestGuard {
    app: Arc<App>,
    key: Option<String>,
}

impl RequestGuard {
    /// It was carried out, which is worth telling even where it cannot be kept. It is not carried out again in any case.
    async fn keep(mut self, reply: Reply) {
        if let Some(key) = self.key.take() {
            let kept = self.app.store(move |store| store.keep_reply(&key, &reply));
            let _: Result<()> = kept.await;
        }
    }

    /// It was refused.
    async fn forget(mut self) {
        if let Some(key) = self.key.take() {
            forget(&self.app, key).await;
        }
    }
}

impl Drop for RequestGuard {
    fn drop(&mut self) {
        let (Some(key), Ok(runtime)) = (self.key.take(), Handle::try_current()) else {
            return;
        };
        let app = Arc::clone(&self.app);
        runtime.spawn(async move { forget(&app, key).await });
    }
}

/// Where this fails, the store does it by itself after a while.
async fn forget(app: &App, key: String) {
    let forgotten = app.store(move |store| store.forget_request(&key));
    let _: Result<()> = forgotten.await;
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
