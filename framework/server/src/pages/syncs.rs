//! Syncs: the list of all known ones, and the live page of one.

use axum::{Extension, response::Response};
use headwater_console::{RunList, RunRow, RunState, RunView, Sample, StreamProgress, run, runs};
use headwater_core::Timestamp;
use headwater_host::summaries::{ReceiptSummary, StreamStatus, StreamSummary};
use headwater_store::Scope;
use http::StatusCode;
use serde::Deserialize;

use super::{FormBody, Visit, see_other, with_query};
use crate::{
    api::syncs::{View, find, page, stop},
    body::{Path, Query},
    problem::Problem,
};

/// How many syncs a page of the list shows.
const SHOWN: usize = 50;

/// The position in the list.
#[derive(Deserialize)]
pub(super) struct Listing {
    after: Option<String>,
}

/// A sync as a row of a list.
pub(super) fn row(view: &View, streams: &[StreamSummary]) -> RunRow {
    let now = Timestamp::now();
    let so_far = (now.as_millisecond() - view.started.as_millisecond()) as f64 / 1000.0;
    let state = state_of(&view.status);
    let seconds = match state {
        RunState::Running => so_far,
        _ => summary(view).seconds,
    };
    RunRow {
        id: view.id.clone(),
        connection: view.connection.clone(),
        title: view.title.clone(),
        state,
        started: view.started,
        seconds,
        records: streams.iter().map(|stream| stream.records).sum(),
    }
}

fn summary(view: &View) -> ReceiptSummary {
    let receipt = view.receipt.as_ref();
    receipt.map(ReceiptSummary::of).unwrap_or_default()
}

/// The streams of a sync by its receipt, or by its events so far.
pub(super) fn streams_of(visit: &Visit, view: &View) -> Vec<StreamSummary> {
    if view.receipt.is_some() {
        return summary(view).streams;
    }
    let sync = visit.app.runs.find(&view.id);
    sync.map(|sync| sync.streams()).unwrap_or_default()
}

/// The growth of the records and waits of a sync of this process.
fn samples_of(visit: &Visit, view: &View) -> Vec<Sample> {
    let sync = visit.app.runs.find(&view.id);
    let samples = sync.map(|sync| sync.samples()).unwrap_or_default();
    let shown = samples.into_iter().map(|sample| Sample {
        second: sample.second,
        records: sample.records,
        wait_seconds: sample.wait_seconds,
    });
    shown.collect()
}

fn state_of(status: &str) -> RunState {
    match status {
        "running" => RunState::Running,
        "complete" => RunState::Complete,
        "partial" => RunState::Partial,
        "suspended" => RunState::Suspended,
        "stopped" => RunState::Stopped,
        // A run without an end was killed.
        _ => RunState::Failed,
    }
}

fn progress(stream: &StreamSummary) -> StreamProgress {
    StreamProgress {
        stream: stream.stream.clone(),
        state: match stream.status {
            StreamStatus::Running => RunState::Running,
            StreamStatus::Waiting => RunState::Waiting,
            StreamStatus::Complete | StreamStatus::ReadBefore | StreamStatus::Limited => {
                RunState::Complete
            }
            StreamStatus::Partial => RunState::Partial,
            StreamStatus::Suspended => RunState::Suspended,
            StreamStatus::Stopped | StreamStatus::NotRead => RunState::Stopped,
            StreamStatus::Failed => RunState::Failed,
        },
        records: stream.records,
        expected: stream.expected,
        bytes: stream.bytes,
        requests: stream.requests,
        retries: stream.retries,
        wait_seconds: stream.limit_wait_seconds,
        message: stream.message.clone(),
    }
}

pub(super) async fn list(
    Extension(visit): Extension<Visit>,
    Query(listing): Query<Listing>,
) -> Result<Response, Problem> {
    visit.may(Scope::Read)?;
    let (views, next) = page(&visit.app, listing.after.as_deref(), SHOWN, None).await?;
    let rows = views
        .iter()
        .map(|view| row(view, &streams_of(&visit, view)));
    let view = RunList {
        runs: rows.collect(),
        next: next.map(|next| with_query("/syncs", &[("after", &next)])),
    };
    Ok(visit.show(StatusCode::OK, runs(&view, &visit.app.texts)))
}

pub(super) async fn show(
    Extension(visit): Extension<Visit>,
    Path(id): Path<String>,
) -> Result<Response, Problem> {
    visit.may(Scope::Read)?;
    let view = find(&visit.app, &id).await?;
    let streams = streams_of(&visit, &view);
    let message = summary(&view).message;
    let view = RunView {
        row: row(&view, &streams),
        destination: view.destination.clone().unwrap_or_default(),
        streams: streams.iter().map(progress).collect(),
        samples: samples_of(&visit, &view),
        message,
    };
    Ok(visit.show(StatusCode::OK, run(&view, &visit.app.texts)))
}

/// Stops a sync, which saves its records and ends.
pub(super) async fn cancel(
    Extension(visit): Extension<Visit>,
    Path(id): Path<String>,
    posted: FormBody,
) -> Result<Response, Problem> {
    let caller = visit.may(Scope::Use)?;
    let view = find(&visit.app, &id).await?;
    if posted.text("action") != "cancel" {
        return Err(Problem::bad_request(
            "unknown action; a sync can only be stopped",
        ));
    }
    stop(&visit.app, caller, &view.id);
    Ok(see_other(&format!("/syncs/{}", view.id)))
}
