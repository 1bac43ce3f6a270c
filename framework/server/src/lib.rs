//! The service: the API through which a platform drives connectors, and the handlers of the console.
//!
//! [`Service`] serves a versioned JSON API under `/api/v1`. The table in `api` is its only list of operations: it
//! defines the routes, their scopes and the OpenAPI document. Refusals are problem documents (RFC 9457) that name the
//! field.
//!
//! Safe by default: on a loopback address requests need no token, but the service checks the names that a browser
//! called (`Host`, `Origin`, `Sec-Fetch-Site`); everywhere else every request needs a token. Secrets come in and never
//! go out.

mod answer;
mod api;
mod app;
mod body;
mod embeds;
mod events;
mod frequency;
mod guard;
mod guesses;
mod large;
mod listen;
mod metrics;
mod notes;
mod once;
mod openapi;
mod operations;
mod origin;
mod pages;
mod probing;
mod problem;
mod request_id;
mod runs;
mod schedule;
mod sessions;
mod slots;
mod times;
mod write_timeout;

use std::{net::SocketAddr, sync::Arc, time::Duration};

use axum::{
    Router,
    extract::{MatchedPath, Request, State},
    middleware::{self, Next},
    response::{IntoResponse, Response},
};
use headwater_core::{Context, Error, Kind, Registry, Result};
use http::{HeaderName, HeaderValue, StatusCode, header};
use tokio::{net::TcpListener, sync::watch};

use crate::{
    app::App,
    body::BodyPermit,
    guard::is_loopback,
    listen::{OpenGauge, listen, serve, tls},
    problem::Problem,
};

pub use app::{OpenStore, Options};
pub use origin::Origin;

/// How long a stop waits for syncs to save their records.
const LONGEST_STOP: Duration = Duration::from_secs(8);

/// The OpenAPI 3.1 document of the API.
pub fn openapi() -> serde_json::Value {
    openapi::document(&api::operations())
}

/// A service that is listening.
pub struct Service {
    app: Arc<App>,
    listener: TcpListener,
    tls: Option<tokio_rustls::TlsAcceptor>,
}

impl Service {
    /// Listens at the address of the options; refused if requests from other machines would need no token. A foreign
    /// host name means a proxy, whose clients are anywhere.
    pub async fn bind(
        registry: Registry,
        open_store: OpenStore,
        context: Context,
        mut options: Options,
    ) -> Result<Self> {
        let is_own = options.bind.ip().is_loopback();
        let foreign = match is_own && options.is_open {
            true => None,
            false => options
                .hosts
                .iter()
                .find(|host| !is_loopback(host))
                .cloned(),
        };
        options.needs_token |= foreign.is_some();
        let has_tokens =
            || -> Result<bool> { Ok(options.needs_token && !open_store()?.tokens()?.is_empty()) };
        if (!is_own || foreign.is_some()) && !has_tokens()? {
            let text = match foreign.filter(|_| is_own) {
                Some(host) => format!(
                    "anyone who reaches the service as {host} could use its connections; add a token with `headwater \
                     token add`, or give --open if the proxy keeps others out"
                ),
                None => format!(
                    "anyone on the network could use the connections through {}; add a token with `headwater token \
                     add`, or listen on 127.0.0.1",
                    options.bind
                ),
            };
            return Err(Error::new(Kind::ConfigInvalid, text));
        }
        let tls = options
            .tls
            .as_ref()
            .map(|(certificate, key)| tls(certificate, key))
            .transpose()?;
        let listener = listen(options.bind).map_err(|error| {
            let text = format!("cannot listen on {}: {error}", options.bind);
            Error::new(Kind::ConfigInvalid, text)
        })?;
        let app = Arc::new(App::new(registry, open_store, context, options)?);
        Ok(Self { app, listener, tls })
    }

    /// The address that it listens at.
    pub fn address(&self) -> Result<SocketAddr> {
        self.listener.local_addr().map_err(|error| {
            Error::new(Kind::Unexpected, "the service is not listening").caused_by(error)
        })
    }

    /// Serves until `stop` turns true; then syncs save their records, and open answers are finished.
    pub async fn run(self, stop: watch::Receiver<bool>) -> Result<()> {
        let max_connections = self.app.options.max_connections;
        let metered = Arc::clone(&self.app);
        let router = router(Arc::clone(&self.app));
        let metrics = move || OpenGauge::new(&metered.metrics);
        // At once, since watchers of a sync stay until its end.
        let mut stopped = stop.clone();
        let end_syncs = async {
            let _ = stopped.wait_for(|stop| *stop).await;
            self.app.runs.stop_all(LONGEST_STOP).await;
        };
        let (served, (), (), ()) = tokio::join!(
            serve(
                self.listener,
                self.tls,
                router,
                max_connections,
                metrics,
                stop.clone()
            ),
            schedule::keep(Arc::clone(&self.app), stop.clone()),
            notes::keep(Arc::clone(&self.app), stop),
            end_syncs,
        );
        // The notes of the last requests.
        notes::write(&self.app).await;
        served.map_err(|error| {
            Error::new(Kind::Unexpected, "the service failed unexpectedly").caused_by(error)
        })
    }
}

fn router(app: Arc<App>) -> Router {
    operations::router(api::operations())
        .merge(pages::router(&app))
        .fallback(unknown)
        .layer(middleware::from_fn_with_state(
            Arc::clone(&app),
            large::aside,
        ))
        .layer(middleware::from_fn_with_state(
            Arc::clone(&app),
            guard::guard,
        ))
        .layer(middleware::from_fn_with_state(Arc::clone(&app), finish))
        .with_state(app)
}

async fn unknown(State(app): State<Arc<App>>, request: Request) -> Response {
    if pages::is_wanted(&request) {
        return pages::unknown(app, &request);
    }
    Problem::new(
        StatusCode::NOT_FOUND,
        "not_found",
        "no resource has this address; /api/v1/openapi.json lists all operations",
    )
    .into_response()
}

/// Adds the headers of every answer, and counts it.
async fn finish(State(app): State<Arc<App>>, mut request: Request, next: Next) -> Response {
    let method = request.method().clone();
    let route = request
        .extensions()
        .get::<MatchedPath>()
        .map_or("unknown", MatchedPath::as_str)
        .to_owned();
    // The body counts against the budget until the answer is made.
    let held = BodyPermit::new(&app.bodies);
    request.extensions_mut().insert(held.clone());
    let mut answer = next.run(request).await.into_response();
    drop(held);
    app.metrics
        .request(&method, &route, answer.status().as_u16());
    let headers = answer.headers_mut();
    let mut set = |name: HeaderName, value: &'static str| {
        headers
            .entry(name)
            .or_insert(HeaderValue::from_static(value));
    };
    set(header::X_CONTENT_TYPE_OPTIONS, "nosniff");
    if app.options.tls.is_some() {
        set(header::STRICT_TRANSPORT_SECURITY, "max-age=31536000");
    }
    set(header::REFERRER_POLICY, "no-referrer");
    set(header::CACHE_CONTROL, "no-store");
    set(
        header::CONTENT_SECURITY_POLICY,
        "default-src 'none'; frame-ancestors 'none'; base-uri 'none'; form-action 'none'",
    );
    answer
}
