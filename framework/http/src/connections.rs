//! Distinguishes requests over reused connections from those over new ones.
//!
//! A service may close an idle connection while the next request is on its way. This says nothing about the service,
//! unlike the same failure on a new connection.

use std::{
    future::Future,
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering::Relaxed},
    },
    task::{self, Poll},
};

use tower_layer::Layer;
use tower_service::Service;

tokio::task_local! {
    /// Whether this task made a new connection for its request.
    static IS_NEW: Arc<AtomicBool>;
}

/// Sends a request and returns whether it used a new connection.
pub(crate) async fn watched<T>(sending: impl Future<Output = T>) -> (T, bool) {
    let is_new = Arc::new(AtomicBool::new(false));
    let sent = IS_NEW.scope(Arc::clone(&is_new), sending).await;
    (sent, is_new.load(Relaxed))
}

/// Marks each new connection in the task that waits for it.
#[derive(Clone)]
pub(crate) struct Watch;

impl<S> Layer<S> for Watch {
    type Service = WatchedConnector<S>;

    fn layer(&self, inner: S) -> WatchedConnector<S> {
        WatchedConnector(inner)
    }
}

/// A connector that marks its new connections.
#[derive(Clone)]
pub(crate) struct WatchedConnector<S>(S);

impl<S, R> Service<R> for WatchedConnector<S>
where
    S: Service<R>,
    S::Future: Send + 'static,
{
    type Response = S::Response;
    type Error = S::Error;
    type Future = Pin<Box<dyn Future<Output = Result<S::Response, S::Error>> + Send>>;

    fn poll_ready(&mut self, cx: &mut task::Context<'_>) -> Poll<Result<(), Self::Error>> {
        self.0.poll_ready(cx)
    }

    fn call(&mut self, request: R) -> Self::Future {
        let connecting = self.0.call(request);
        Box::pin(async move {
            let connected = connecting.await?;
            // A connection that a task of the pool finishes serves a later request.
            let _ = IS_NEW.try_with(|is_new| is_new.store(true, Relaxed));
            Ok(connected)
        })
    }
}
