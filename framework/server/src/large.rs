//! Requests with a large body. Parsing, validating and showing one takes time that its sender chooses, so these requests
//! have a thread of their own, and each caller has few of them under way.

use std::{
    collections::HashMap,
    net::IpAddr,
    sync::{Arc, Mutex, PoisonError},
};

use axum::{
    extract::{Request, State},
    middleware::Next,
    response::{IntoResponse, Response},
};
use headwater_core::{Error, Kind, Result};
use http::StatusCode;
use hyper::body::Body as _;
use tokio::{
    runtime::{Builder, Runtime},
    task::JoinHandle,
};

use crate::{
    app::App,
    guard::{Caller, Client},
    problem::Problem,
};

/// A body of up to this many bytes takes no noticeable time.
const LARGEST_SMALL: u64 = 16 << 10;
/// How many large requests of one caller may be under way.
const MAX_OF_CALLER: usize = 2;

/// The thread for large requests, and their callers.
pub(crate) struct LargeRequests {
    /// `None` once it is dropped.
    runtime: Option<Runtime>,
    under_way: Arc<Mutex<HashMap<Sender, usize>>>,
}

/// Callers without a token have one name, so the address tells them apart.
#[derive(Clone, PartialEq, Eq, Hash)]
struct Sender {
    caller: Option<String>,
    client: Option<IpAddr>,
}

impl LargeRequests {
    pub(crate) fn new() -> Result<Self> {
        let runtime = Builder::new_multi_thread()
            .worker_threads(1)
            .thread_name("large-requests")
            .enable_all()
            .build()
            .map_err(|error| {
                let text = "the thread for large requests cannot be started";
                Error::new(Kind::Unexpected, text).caused_by(error)
            })?;
        Ok(Self {
            runtime: Some(runtime),
            under_way: Arc::default(),
        })
    }

    /// The turn of a sender; `None` if too many of its large requests are under way.
    fn turn(&self, sender: Sender) -> Option<Turn> {
        let mut all = self
            .under_way
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        let own = all.entry(sender.clone()).or_default();
        if *own >= MAX_OF_CALLER {
            return None;
        }
        *own += 1;
        drop(all);
        Some(Turn {
            under_way: Arc::clone(&self.under_way),
            sender,
        })
    }
}

impl Drop for LargeRequests {
    fn drop(&mut self) {
        // Dropping a runtime waits for its threads, which no async code may do.
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }
}

/// One large request under way, until the last copy is dropped.
struct Turn {
    under_way: Arc<Mutex<HashMap<Sender, usize>>>,
    sender: Sender,
}

impl Drop for Turn {
    fn drop(&mut self) {
        let mut all = self
            .under_way
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        if let Some(own) = all.get_mut(&self.sender) {
            *own -= 1;
            if *own == 0 {
                all.remove(&self.sender);
            }
        }
    }
}

/// A task that ends when its client leaves.
struct Task(JoinHandle<Response>);

impl Drop for Task {
    fn drop(&mut self) {
        self.0.abort();
    }
}

/// Answers a request with a large body on the thread for them, and any other request as usual.
pub(crate) async fn aside(
    State(app): State<Arc<App>>,
    mut request: Request,
    next: Next,
) -> Response {
    // A body without a length may be of any size.
    let is_small = |most| most <= LARGEST_SMALL;
    let length = request.body().size_hint().upper();
    let runtime = app.large.runtime.as_ref();
    let Some(runtime) = runtime.filter(|_| !length.is_some_and(is_small)) else {
        return next.run(request).await;
    };
    let about = request.extensions();
    let sender = Sender {
        caller: about.get::<Caller>().map(|caller| caller.name.clone()),
        client: about.get::<Client>().map(|client| client.0),
    };
    let Some(turn) = app.large.turn(sender) else {
        let text = format!(
            "{MAX_OF_CALLER} large requests of this caller are under way; send this one again after their answers"
        );
        let problem = Problem::new(StatusCode::SERVICE_UNAVAILABLE, "busy", text);
        return problem.retry_after(1).into_response();
    };
    // With the request, since work may go on after its client has left.
    request.extensions_mut().insert(Arc::new(turn));
    let mut task = Task(runtime.spawn(next.run(request)));
    (&mut task.0).await.unwrap_or_else(|_| {
        let text = "the request failed unexpectedly";
        Problem::new(StatusCode::INTERNAL_SERVER_ERROR, "unexpected", text).into_response()
    })
}
