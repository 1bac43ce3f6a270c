//! Which requests went over a connection that was used before.
//!
//! A service closes a connection that nobody used for a while just when the next request is on its way. That says
//! nothing about the service, unlike the same on a connection that was made for the request.

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
    /// Whether a connection was made for the request that this task is sending.
    static IS_NEW: Arc<AtomicBool>;
}

/// Sends a request and says whether a connection was made for it.
pub(crate) async fn watched<T>(sending: impl Future<Output = T>) -> (T, bool) {
    let is_new = Arc::new(AtomicBool::new(false));
    let sent = IS_NEW.scope(Arc::clone(&is_new), sending).await;
    (sent, is_new.load(Relaxed))
}

/// Tells the task that waits for it of each connection that it makes.
#[derive(Clone)]
pub(crate) struct Watch;

impl<S> Layer<S> for Watch {
    type Service = WatchedConnector<S>;

    fn layer(&self, inner: S) -> WatchedConnector<S> {
        WatchedConnector(inner)
    }
}

/// A connector whose connections are told.
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
            // One that is finished in a task of the pool is for whoever comes next.
            let _ = IS_NEW.try_with(|is_new| is_new.store(true, Relaxed));
            Ok(connected)
        })
    }
}
