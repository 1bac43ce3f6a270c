//! The operations of the API: one table for the routes, their scopes and the OpenAPI document.

pub(crate) mod connections;
mod connectors;
mod embeds;
pub(crate) mod preview;
pub(crate) mod schedules;
pub(crate) mod syncs;
mod system;

use std::sync::Arc;

use axum::response::Response;
use headwater_core::{AnyConnector, Check, ProbeReport, Source};
use http::{HeaderMap, StatusCode};

use crate::{
    answer::json, app::App, events, operations::Operation, probing::probe, problem::Problem,
};

/// All operations, in the order of the document.
pub(crate) fn operations() -> Vec<Operation> {
    let mut all = Vec::new();
    all.extend(connectors::operations());
    all.extend(connections::operations());
    all.extend(embeds::operations());
    all.extend(preview::operations());
    all.extend(schedules::operations());
    all.extend(syncs::operations());
    all.extend(system::operations());
    all
}

/// Answers with a report, or with its checks as they are made. `keep` gets the report before it is told.
async fn answer_probe<F: Future<Output = ()> + Send>(
    app: Arc<App>,
    connector: Arc<dyn AnyConnector>,
    source: Arc<dyn Source>,
    headers: &HeaderMap,
    keep: impl FnOnce(ProbeReport) -> F + Send + 'static,
) -> Result<Response, Problem> {
    if !events::are_wanted(headers) {
        let report = probe(&app, &*connector, &*source, |_| {}).await?;
        keep(report.clone()).await;
        return Ok(json(StatusCode::OK, &report));
    }
    Ok(events::stream(move |events| async move {
        let checks = events.clone();
        let watch = move |check: &Check| checks.try_send("check", check);
        match probe(&app, &*connector, &*source, watch).await {
            Ok(report) => {
                keep(report.clone()).await;
                events.send(None, "done", &report).await;
            }
            Err(problem) => {
                events.send(None, "problem", &problem).await;
            }
        }
    }))
}
