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
use headwater_core::{Check, ProbeReport};
use http::StatusCode;

use crate::{
    answer::json,
    app::App,
    events::{self, WantsEvents},
    operations::Operation,
    probing::{ResolvedInput, Tester, admit},
    problem::Problem,
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

/// Answers with a report, or with its checks as events. `keep` gets the report before the answer goes out.
async fn answer_probe<F: Future<Output = ()> + Send>(
    app: Arc<App>,
    ready: &ResolvedInput,
    wanted: WantsEvents,
    tester: Tester,
    keep: impl FnOnce(ProbeReport) -> F + Send + 'static,
) -> Result<Response, Problem> {
    let admitted = admit(&app, ready, tester)?;
    if !wanted.0 {
        let report = admitted.watched(&app, |_| {}).await;
        keep(report.clone()).await;
        return Ok(json(StatusCode::OK, &report));
    }
    Ok(events::stream(move |events| async move {
        let checks = events.clone();
        let watch = move |check: &Check| checks.try_send("check", check);
        let report = admitted.watched(&app, watch).await;
        keep(report.clone()).await;
        events.send(None, "done", &report).await;
    }))
}
