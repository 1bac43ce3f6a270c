//! Server-sent events of a task that ends when its client has left.

use std::{
    convert::Infallible,
    pin::Pin,
    task::{self, Poll},
    time::Duration,
};

use axum::{
    body::Body,
    extract::FromRequestParts,
    response::{IntoResponse, Response},
};
use bytes::Bytes;
use http::{HeaderValue, StatusCode, header, request::Parts};
use serde::Serialize;
use tokio::{
    sync::mpsc,
    task::JoinHandle,
    time::{Instant, Sleep, sleep},
};

use crate::problem::Problem;

/// The longest time without data: only a write shows that the client has left.
const SILENCE: Duration = Duration::from_secs(10);

/// How many events may wait for a slow reader.
const WAITING: usize = 64;

/// Whether a client wants events instead of one answer.
///
/// An extractor reads this early, since holding the headers of a request holds everything that was read with them.
pub(crate) struct WantsEvents(pub bool);

impl<S: Sync> FromRequestParts<S> for WantsEvents {
    type Rejection = Infallible;

    async fn from_request_parts(head: &mut Parts, _: &S) -> Result<Self, Infallible> {
        let accept = head.headers.get(header::ACCEPT);
        let accept = accept.and_then(|value| value.to_str().ok());
        Ok(Self(accept.is_some_and(|accept| {
            accept.contains("text/event-stream")
        })))
    }
}

/// The sender of the events of a task.
#[derive(Clone)]
pub(crate) struct Events(mpsc::Sender<Bytes>);

impl Events {
    /// Sends an event; false once the client has left.
    pub(crate) async fn send(&self, id: Option<u64>, name: &str, data: &impl Serialize) -> bool {
        let Some(text) = event(id, name, data) else {
            return true;
        };
        self.0.send(text).await.is_ok()
    }

    /// Sends an event without waiting. Drops it if a slow reader has no room.
    pub(crate) fn try_send(&self, name: &str, data: &impl Serialize) {
        if let Some(text) = event(None, name, data) {
            let _ = self.0.try_send(text);
        }
    }
}

fn event(id: Option<u64>, name: &str, data: &impl Serialize) -> Option<Bytes> {
    // Compact JSON has no line breaks, so one line of data is enough.
    let data = serde_json::to_string(data).ok()?;
    let id = id.map(|id| format!("id: {id}\n")).unwrap_or_default();
    Some(format!("{id}event: {name}\ndata: {data}\n\n").into())
}

/// Answers with the events of a task. The task ends with the connection.
pub(crate) fn stream<F>(task: impl FnOnce(Events) -> F) -> Response
where
    F: Future<Output = ()> + Send + 'static,
{
    let begin = |events| {
        let work = task(events);
        async {
            work.await;
            Ok(())
        }
    };
    EventBody::of(begin).into_response()
}

/// Answers with the events of a task that may be refused before its first event; the refusal is then the answer.
pub(crate) async fn stream_unless_refused<F>(
    task: impl FnOnce(Events) -> F,
) -> Result<Response, Problem>
where
    F: Future<Output = Result<(), Problem>> + Send + 'static,
{
    let mut body = EventBody::of(task);
    body.first = body.receiver.recv().await;
    if body.first.is_none() {
        let broken = |_| {
            let text = "the request failed unexpectedly before it was carried out";
            Problem::new(StatusCode::INTERNAL_SERVER_ERROR, "unexpected", text)
        };
        (&mut body.task).await.map_err(broken)??;
    }
    Ok(body.into_response())
}

struct EventBody {
    /// The event that was received before the answer began.
    first: Option<Bytes>,
    receiver: mpsc::Receiver<Bytes>,
    task: JoinHandle<Result<(), Problem>>,
    silence: Pin<Box<Sleep>>,
}

impl EventBody {
    fn of<F>(task: impl FnOnce(Events) -> F) -> Self
    where
        F: Future<Output = Result<(), Problem>> + Send + 'static,
    {
        let (sender, receiver) = mpsc::channel(WAITING);
        Self {
            first: None,
            receiver,
            task: tokio::spawn(task(Events(sender))),
            silence: Box::pin(sleep(SILENCE)),
        }
    }

    fn into_response(self) -> Response {
        let mut answer = Body::from_stream(self).into_response();
        let kind = HeaderValue::from_static("text/event-stream");
        answer.headers_mut().insert(header::CONTENT_TYPE, kind);
        answer
    }
}

impl futures_core::Stream for EventBody {
    type Item = Result<Bytes, Infallible>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut task::Context<'_>) -> Poll<Option<Self::Item>> {
        if let Some(first) = self.first.take() {
            return Poll::Ready(Some(Ok(first)));
        }
        let sent = match self.receiver.poll_recv(cx) {
            Poll::Ready(event) => event,
            Poll::Pending => match self.silence.as_mut().poll(cx) {
                Poll::Ready(()) => Some(Bytes::from_static(b": still here\n\n")),
                Poll::Pending => return Poll::Pending,
            },
        };
        self.silence.as_mut().reset(Instant::now() + SILENCE);
        Poll::Ready(sent.map(Ok))
    }
}

impl Drop for EventBody {
    fn drop(&mut self) {
        self.task.abort();
    }
}
