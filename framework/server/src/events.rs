//! Server-sent events of a task that ends when its client has left.

use std::{
    convert::Infallible,
    pin::Pin,
    task::{self, Poll},
    time::Duration,
};

use axum::{
    extract::FromRequestParts,
    response::{
        IntoResponse, Response, Sse,
        sse::{Event, KeepAlive},
    },
};
use http::{StatusCode, header, request::Parts};
use serde::Serialize;
use tokio::{sync::mpsc, task::JoinHandle};

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
pub(crate) struct Events(mpsc::Sender<Event>);

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

fn event(id: Option<u64>, name: &str, data: &impl Serialize) -> Option<Event> {
    let event = id.map_or_else(Event::default, |id| Event::default().id(id.to_string()));
    Some(event.event(name).data(serde_json::to_string(data).ok()?))
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
    first: Option<Event>,
    receiver: mpsc::Receiver<Event>,
    task: JoinHandle<Result<(), Problem>>,
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
        }
    }

    fn into_response(self) -> Response {
        let keep_alive = KeepAlive::new().interval(SILENCE).text("still here");
        let mut answer = Sse::new(self).keep_alive(keep_alive).into_response();
        // `no-cache` lets a cache store the events; the default of this service does not.
        answer.headers_mut().remove(header::CACHE_CONTROL);
        answer
    }
}

impl futures_core::Stream for EventBody {
    type Item = Result<Event, Infallible>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut task::Context<'_>) -> Poll<Option<Self::Item>> {
        match self.first.take() {
            Some(first) => Poll::Ready(Some(Ok(first))),
            None => self.receiver.poll_recv(cx).map(|sent| sent.map(Ok)),
        }
    }
}

impl Drop for EventBody {
    fn drop(&mut self) {
        self.task.abort();
    }
}

#[cfg(test)]
mod tests {
    use std::future::pending;

    use http_body_util::BodyExt;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn silence_ends_with_a_comment_and_no_cache_stores_the_events() {
        let answer = stream(|events| async move {
            events.send(Some(7), "check", &"a\nb").await;
            pending::<()>().await;
        });
        assert_eq!(answer.headers()[header::CONTENT_TYPE], "text/event-stream");
        assert_eq!(answer.headers().get(header::CACHE_CONTROL), None);
        let mut body = answer.into_body();
        for expected in [
            "id: 7\nevent: check\ndata: \"a\\nb\"\n\n",
            ": still here\n\n",
            ": still here\n\n",
        ] {
            let frame = body.frame().await.unwrap().unwrap();
            assert_eq!(frame.into_data().unwrap(), expected);
        }
    }
}
