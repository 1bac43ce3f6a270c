//! Requests with an idempotency key, which are carried out once however often they are sent.

use std::sync::Arc;

use axum::extract::Request;
use bytes::Bytes;
use headwater_core::{Error, Kind, Result};
use headwater_store::{IdempotencyState, Reply};
use http::{HeaderMap, StatusCode};
use serde::{Serialize, de::DeserializeOwned};
use serde_json::{Value, json};
use tokio::runtime::Handle;

use crate::{
    app::App,
    body::{self, Json},
    guard::Caller,
    problem::Problem,
};

/// The header and its description in the document.
pub(crate) const HEADER: (&str, &str) = (
    "Idempotency-Key",
    "A key of your choice for this request. A request with the same key within a day is not carried out twice; its \
     answer is the result of the first one. Another request with the same key is refused (409 `key_used`), and so is \
     the same request while it is under way (409 `under_way`). A request that was refused, or left by its client, can \
     be sent again.",
);
const LONGEST_KEY: usize = 255;

/// Carries out a request with JSON, or finds its earlier result. Either one becomes the answer, since only the result
/// is kept, and no secret. A refused request can be sent again.
///
/// `carry_out` gets the key, for a store that saves it together with the result; otherwise this function saves it.
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
        let Json(request) = Json::of(&body)?;
        return answer(carry_out(request, None).await?).await;
    };
    let path = head.uri.path().to_owned();
    let under_way = match begin(app, key.clone(), path, body.bytes.clone()).await? {
        Ok(under_way) => under_way,
        Err(body) => return answer(made(body)?).await,
    };
    let done = match Json::of(&body) {
        Ok(Json(request)) => carry_out(request, Some(key)).await,
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

/// Carries out work to its end even if its client leaves.
pub(crate) async fn to_its_end<R: Send + 'static>(
    work: impl Future<Output = Result<R, Problem>> + Send + 'static,
) -> Result<R, Problem> {
    let broken = |_| {
        let text = "the request failed unexpectedly";
        Problem::new(StatusCode::INTERNAL_SERVER_ERROR, "unexpected", text)
    };
    tokio::spawn(work).await.map_err(broken)?
}

/// Begins a request with a key, or finds its earlier result.
async fn begin(
    app: &Arc<App>,
    key: String,
    path: String,
    body: Bytes,
) -> Result<Result<RequestGuard, Value>, Problem> {
    let own = Arc::clone(app);
    let conflict = |code, text| Err(Problem::new(StatusCode::CONFLICT, code, text));
    app.store(
        move |store| match store.begin_request(&key, &[path.as_bytes(), &body])? {
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
                let text = "this Idempotency-Key belongs to another request; use a new one";
                conflict("key_used", text)
            }
            IdempotencyState::Unknown => {
                let text = "a request with this Idempotency-Key was sent before the store got another key or version, \
                            so the two cannot be compared; check whether it was carried out, then use a new key";
                conflict("key_used", text)
            }
        },
    )
    .await
}

fn made<M: DeserializeOwned>(body: Value) -> Result<M> {
    serde_json::from_value(body)
        .map_err(|_| Error::new(Kind::DataInvalid, "the store contains an invalid answer"))
}

/// A request with a key that has begun. Dropping it because its client left forgets the request, unless the store has
/// saved it together with its result.
struct RequestGuard {
    app: Arc<App>,
    key: Option<String>,
}

impl RequestGuard {
    /// The request was carried out, so its answer goes out even if it cannot be saved. It is not carried out again in
    /// any case.
    async fn keep(mut self, reply: Reply) {
        if let Some(key) = self.key.take() {
            let saved = self.app.store(move |store| store.keep_reply(&key, &reply));
            let _: Result<()> = saved.await;
        }
    }

    /// The request was refused.
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

/// If this fails, the store forgets the request after a while.
async fn forget(app: &App, key: String) {
    let forgotten = app.store(move |store| store.forget_request(&key));
    let _: Result<()> = forgotten.await;
}

/// The key of a request, separate for each caller.
fn key(headers: &HeaderMap, caller: &Caller) -> Result<Option<String>, Problem> {
    let Some(value) = headers.get("idempotency-key") else {
        return Ok(None);
    };
    match value.to_str() {
        Ok(text) if !text.is_empty() && text.len() <= LONGEST_KEY => {
            Ok(Some(format!("{}/{text}", caller.name)))
        }
        _ => Err(Problem::bad_request(format!(
            "Idempotency-Key has to be one word of at most {LONGEST_KEY} characters"
        ))),
    }
}
