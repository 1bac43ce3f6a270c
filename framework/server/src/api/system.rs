//! The service itself: its health, its metrics, its destinations and its audit.

use std::sync::Arc;

use axum::{
    extract::State,
    response::{IntoResponse, Response},
};
use headwater_core::Timestamp;
use headwater_store::Scope;
use http::{HeaderValue, Method, StatusCode, header};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use tokio::time::timeout;

use crate::{
    answer::json,
    app::{App, LONGEST_TURN, unanswered},
    body::Query,
    operations::Operation,
    problem::Problem,
};

const LARGEST_PAGE: usize = 1_000;
const PAGE: usize = 100;

pub(super) fn operations() -> Vec<Operation> {
    vec![
        Operation::new(
            Method::GET,
            "/api/v1/audit",
            "listAudit",
            Some(Scope::Admin),
            audit,
        )
        .summary("The audit, the newest row first; it contains no values")
        .query::<Listing>()
        .answer::<Page>(200, "A page of the audit."),
        Operation::new(
            Method::GET,
            "/api/v1/destinations",
            "listDestinations",
            Some(Scope::Read),
            destinations,
        )
        .summary("Where syncs may put their records")
        .answer::<Destinations>(200, "Their names, as the operator set them."),
        Operation::new(
            Method::GET,
            "/api/v1/openapi.json",
            "getOpenApi",
            None,
            openapi,
        )
        .summary("This document")
        .answer::<serde_json::Value>(200, "OpenAPI 3.1."),
        Operation::new(Method::GET, "/healthz", "getHealth", None, health)
            .summary("Whether the service answers and reaches its store")
            .answer::<Health>(200, "The service answers and reaches its store."),
        Operation::new(
            Method::GET,
            "/metrics",
            "getMetrics",
            Some(Scope::Read),
            metrics,
        )
        .summary("Metrics in the text format of Prometheus")
        .plain(200, "The metrics.", Some(METRICS)),
    ]
}

const METRICS: &str = "application/openmetrics-text";

/// The filter of the audit.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct Listing {
    /// Only rows before this one: `next` of the page before.
    before: Option<i64>,
    /// The maximum number.
    #[schemars(range(min = 1, max = 1000))]
    limit: Option<usize>,
    /// Only rows about this connection.
    connection: Option<String>,
}

/// A page of the audit.
#[derive(Serialize, JsonSchema)]
#[schemars(rename = "Audit")]
struct Page {
    items: Vec<Entry>,
    /// The value of `before` for the next page; null at the end.
    next: Option<i64>,
}

/// A row of the audit.
#[derive(Serialize, JsonSchema)]
#[schemars(rename = "AuditEntry")]
struct Entry {
    id: i64,
    at: Timestamp,
    /// The token, or `local`.
    who: String,
    what: String,
    connection: Option<String>,
    /// The version of the connection's config.
    version: Option<i64>,
    outcome: String,
    /// The id of the request behind it.
    request_id: Option<String>,
}

async fn audit(
    State(app): State<Arc<App>>,
    Query(wanted): Query<Listing>,
) -> Result<Response, Problem> {
    let limit = wanted.limit.unwrap_or(PAGE);
    if !(1..=LARGEST_PAGE).contains(&limit) {
        let text = format!("limit is from 1 to {LARGEST_PAGE}");
        return Err(Problem::bad_request(text));
    }
    let rows = app
        .store(move |store| {
            let name = wanted.connection.as_deref();
            store
                .audit(wanted.before, limit, name)
                .map_err(Problem::of_store)
        })
        .await?;
    let next = (rows.len() == limit)
        .then(|| rows.last().map(|last| last.id))
        .flatten();
    let entry = |row: headwater_store::AuditRow| Entry {
        id: row.id,
        at: row.time,
        who: row.who,
        what: row.what,
        connection: row.name,
        version: row.version,
        outcome: row.outcome,
        request_id: row.request_id,
    };
    let items = rows.into_iter().map(entry).collect();
    Ok(json(StatusCode::OK, &Page { items, next }))
}

/// The destinations of syncs.
#[derive(Serialize, JsonSchema)]
struct Destinations {
    items: Vec<String>,
}

async fn destinations(State(app): State<Arc<App>>) -> Response {
    let items = app.options.destinations.keys().cloned().collect();
    json(StatusCode::OK, &Destinations { items })
}

async fn openapi() -> Response {
    json(StatusCode::OK, &crate::openapi())
}

/// The health of the service.
#[derive(Serialize, JsonSchema)]
#[schemars(rename = "ServiceHealth")]
struct Health {
    /// `ok`.
    status: &'static str,
    version: &'static str,
}

async fn health(State(app): State<Arc<App>>) -> Result<Response, Problem> {
    let reached = app.store(|store| store.list(None, 1, None).map(drop));
    // A monitor gets an answer even if its own query of the store hangs.
    timeout(LONGEST_TURN, reached)
        .await
        .map_err(|_| unanswered())??;
    let health = Health {
        status: "ok",
        version: env!("CARGO_PKG_VERSION"),
    };
    Ok(json(StatusCode::OK, &health))
}

async fn metrics(State(app): State<Arc<App>>) -> Response {
    let mut answer = app.metrics.text().into_response();
    let kind =
        HeaderValue::from_static("application/openmetrics-text; version=1.0.0; charset=utf-8");
    answer.headers_mut().insert(header::CONTENT_TYPE, kind);
    answer
}
