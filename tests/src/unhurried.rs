//! Reading at full speed: the client's clock is virtual, the wire's is real.
//!
//! In a test with `start_paused = true` the client's waits (its rate limit, its backoff) pass at once, and their
//! lengths still count. Requests run on another runtime, and the virtual clock stands still until they are answered,
//! so that no timeout fires on a busy machine. Servers belong there, too: start them with [`on_the_wire`].

use std::{
    collections::VecDeque,
    future::{Future, poll_fn},
    pin::Pin,
    sync::{Arc, LazyLock},
    task::{self, Poll},
};

use async_trait::async_trait;
use bytes::Bytes;
use headwater_core::{Body, Context, Egress, Transport, TransportError};
use tokio::runtime::Runtime;

static WIRE: LazyLock<Runtime> = LazyLock::new(|| {
    tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .expect("a runtime")
});

/// Runs something in real time, a server or a request.
pub async fn on_the_wire<T: Send + 'static>(work: impl Future<Output = T> + Send + 'static) -> T {
    WIRE.spawn(work).await.expect("no panic on the wire")
}

/// What a host hands to connectors, for a test with a paused clock.
pub fn context() -> Context {
    let real = headwater_http::context(&Egress::Anywhere).expect("a client");
    Context::new(Unhurried(real.transport))
}

struct Unhurried(Arc<dyn Transport>);

#[async_trait]
impl Transport for Unhurried {
    async fn send(
        &self,
        request: http::Request<Bytes>,
    ) -> Result<http::Response<Body>, TransportError> {
        let exchange = exchange(Arc::clone(&self.0), request);
        // A paused clock stands still as long as a blocking task is under way.
        tokio::task::spawn_blocking(|| WIRE.block_on(exchange))
            .await
            .expect("no panic on the wire")
    }
}

/// Sends a request and waits for the end of its body, good or bad.
async fn exchange(
    transport: Arc<dyn Transport>,
    request: http::Request<Bytes>,
) -> Result<http::Response<Body>, TransportError> {
    let (head, mut body) = transport.send(request).await?.into_parts();
    let mut chunks = VecDeque::new();
    while let Some(chunk) = poll_fn(|cx| body.as_mut().poll_next(cx)).await {
        let is_last = chunk.is_err();
        chunks.push_back(chunk);
        if is_last {
            break;
        }
    }
    Ok(http::Response::from_parts(head, Box::pin(Received(chunks))))
}

struct Received(VecDeque<Result<Bytes, TransportError>>);

impl futures_core::Stream for Received {
    type Item = Result<Bytes, TransportError>;

    fn poll_next(mut self: Pin<&mut Self>, _: &mut task::Context<'_>) -> Poll<Option<Self::Item>> {
        Poll::Ready(self.0.pop_front())
    }
}
