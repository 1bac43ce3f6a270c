//! What is to be read of a connection, and the first records of it.

use std::collections::{BTreeMap, BTreeSet};

use axum::{Extension, response::Response};
use headwater_console::{Preview, Schedule, StreamChoice, StreamRow, streams};
use headwater_core::{FieldError, Outcome, StreamSpec, Timestamp};
use headwater_host::{Action, Redaction, Redactor};
use headwater_store::Scope;
use http::StatusCode;
use serde::Deserialize;
use serde_json::{Value, value::RawValue};

use super::{Posted, Visit, see_other, with_query};
use crate::{
    api::{
        connections::{Found, StreamView, actor, find, streams_of},
        preview::{Wanted, look},
    },
    body::{Path, Query},
    problem::Problem,
    runs::{Order, start},
};

/// How many characters of a value a preview shows.
const LONGEST_VALUE: usize = 200;
/// How many columns it has.
const MOST_COLUMNS: usize = 60;

/// The stream to look at.
#[derive(Deserialize)]
pub(super) struct Shown {
    stream: Option<String>,
}

/// What was entered of the choice.
struct Chosen {
    streams: BTreeSet<String>,
    destination: String,
    is_redacted: bool,
    errors: Vec<FieldError>,
}

pub(super) async fn choose(
    Extension(visit): Extension<Visit>,
    Path(name): Path<String>,
) -> Result<Response, Problem> {
    visit.may(Scope::Read)?;
    let found = find(&visit.app, name).await?;
    let all = streams_of(&found);
    let can_be_read = all
        .iter()
        .filter(|stream| outcome(stream) != Some(Outcome::Failed));
    let mut destinations = visit.app.options.destinations.keys();
    let chosen = Chosen {
        streams: can_be_read
            .map(|stream| stream.spec.name.to_owned())
            .collect(),
        destination: destinations.next().cloned().unwrap_or_default(),
        is_redacted: false,
        errors: Vec::new(),
    };
    Ok(show(&visit, StatusCode::OK, &found, chosen))
}

/// Starts a sync of what was chosen.
pub(super) async fn chosen(
    Extension(visit): Extension<Visit>,
    Path(name): Path<String>,
    posted: Posted,
) -> Result<Response, Problem> {
    let caller = visit.may(Scope::Use)?;
    let found = find(&visit.app, name.clone()).await?;
    let mut chosen = Chosen {
        streams: posted.all("stream").map(str::to_owned).collect(),
        destination: posted.text("destination").trim().to_owned(),
        is_redacted: posted.text("redact") == "true",
        errors: Vec::new(),
    };
    if posted.text("action") != "run" {
        return Err(Problem::bad_request(
            "what was chosen can be run, and nothing else",
        ));
    }
    if chosen.streams.is_empty() {
        chosen.errors = vec![error("/streams", "choose at least one stream")];
        let status = StatusCode::UNPROCESSABLE_ENTITY;
        return Ok(show(&visit, status, &found, chosen));
    }
    let order = Order {
        connection: name,
        streams: chosen.streams.iter().cloned().collect(),
        destination: chosen.destination.clone(),
        redact: chosen.is_redacted,
        actor: actor(caller),
    };
    match start(&visit.app, order).await {
        Ok(sync) => Ok(see_other(&format!("/syncs/{}", sync.id))),
        Err(problem) => {
            let place = match problem.status() {
                StatusCode::NOT_FOUND => "/streams",
                _ => "/destination",
            };
            chosen.errors = vec![error(place, &problem.detail)];
            Ok(show(&visit, problem.status(), &found, chosen))
        }
    }
}

fn error(pointer: &str, message: &str) -> FieldError {
    FieldError {
        pointer: pointer.to_owned(),
        code: "not_usable",
        message: message.to_owned(),
    }
}

fn show(visit: &Visit, status: StatusCode, found: &Found, chosen: Chosen) -> Response {
    let row = |stream: StreamView| StreamRow {
        name: stream.spec.name.to_owned(),
        description: stream.spec.description.to_owned(),
        is_incremental: stream.spec.incremental,
        is_personal: is_personal(&stream.spec),
        access: outcome(&stream),
        is_chosen: chosen.streams.contains(stream.spec.name),
        message: stream
            .access
            .map(|access| access.message)
            .unwrap_or_default(),
    };
    let view = StreamChoice {
        connection: found.connection.name.clone(),
        title: found.connection.title.clone(),
        streams: streams_of(found).into_iter().map(row).collect(),
        destination: chosen.destination,
        schedule: Schedule::Manual,
        can_schedule: false,
        is_redacted: chosen.is_redacted,
        errors: chosen.errors,
    };
    visit.show(status, streams(&view, &visit.app.texts))
}

/// Whether redaction finds something to hide in the records of a stream.
fn is_personal(spec: &StreamSpec) -> bool {
    let redactor = Redactor::new(spec, &Redaction::default());
    redactor.is_ok_and(|redactor| {
        let fields = redactor.report().fields;
        fields.iter().any(|field| field.action != Action::Kept)
    })
}

fn outcome(stream: &StreamView) -> Option<Outcome> {
    stream
        .access
        .as_ref()
        .and_then(|access| outcome_named(&access.outcome))
}

/// An outcome as the store keeps it.
pub(super) fn outcome_named(name: &str) -> Option<Outcome> {
    match name {
        "passed" => Some(Outcome::Passed),
        "warned" => Some(Outcome::Warned),
        "failed" => Some(Outcome::Failed),
        "skipped" => Some(Outcome::Skipped),
        _ => None,
    }
}

pub(super) async fn preview(
    Extension(visit): Extension<Visit>,
    Path(name): Path<String>,
    Query(shown): Query<Shown>,
) -> Result<Response, Problem> {
    first_records(&visit, name, shown.stream, false).await
}

/// Shows personal data as it is, or masks it again.
pub(super) async fn reveal(
    Extension(visit): Extension<Visit>,
    Path(name): Path<String>,
    posted: Posted,
) -> Result<Response, Problem> {
    let stream = posted.text("stream");
    match posted.text("action") {
        "reveal" => first_records(&visit, name, Some(stream.to_owned()), true).await,
        _ => {
            visit.may(Scope::Use)?;
            let path = format!("/connections/{name}/preview");
            Ok(see_other(&with_query(&path, &[("stream", stream)])))
        }
    }
}

async fn first_records(
    visit: &Visit,
    name: String,
    stream: Option<String>,
    reveal: bool,
) -> Result<Response, Problem> {
    let caller = visit.may(Scope::Use)?;
    let found = find(&visit.app, name.clone()).await?;
    let catalog = found.connector.catalog();
    let first = || catalog.first().map(|spec| spec.name.to_owned());
    let stream = stream.or_else(first).unwrap_or_default();
    let wanted = Wanted {
        stream: stream.clone(),
        limit: None,
        reveal,
    };
    let (records, status, problem) = match look(&visit.app, caller, name.clone(), wanted).await {
        Ok(seen) => (seen.records, StatusCode::OK, None),
        Err(problem) => (Vec::new(), problem.status(), Some(problem.detail)),
    };
    let key = catalog
        .iter()
        .find(|spec| spec.name == stream)
        .map_or(&[][..], |spec| spec.key);
    let (columns, rows) = table(&records, key);
    let view = Preview {
        connection: name,
        title: found.connection.title,
        stream,
        streams: catalog.iter().map(|spec| spec.name.to_owned()).collect(),
        columns,
        rows,
        // Nothing is shown where there was a problem, so nothing is revealed.
        is_masked: !reveal || problem.is_some(),
        at: Timestamp::now(),
        problem,
    };
    let page = headwater_console::preview(&view, &visit.app.texts);
    Ok(visit.show(status, page))
}

/// The records as a table: the key first, then all other fields by name.
fn table(records: &[Box<RawValue>], key: &[&str]) -> (Vec<String>, Vec<Vec<String>>) {
    let records: Vec<BTreeMap<String, &RawValue>> = records
        .iter()
        .filter_map(|record| serde_json::from_str(record.get()).ok())
        .collect();
    let names: BTreeSet<&str> = records
        .iter()
        .flat_map(BTreeMap::keys)
        .map(String::as_str)
        .collect();
    let others = names.iter().copied().filter(|name| !key.contains(name));
    let own = key.iter().copied().filter(|name| names.contains(name));
    let columns: Vec<String> = own
        .chain(others)
        .take(MOST_COLUMNS)
        .map(str::to_owned)
        .collect();
    let rows = records.iter().map(|record| {
        let values = columns.iter();
        values
            .map(|name| {
                record
                    .get(name)
                    .map_or_else(String::new, |value| in_short(value))
            })
            .collect()
    });
    (columns.clone(), rows.collect())
}

/// A text as it is, anything else as it was written, cut where it is long.
fn in_short(value: &RawValue) -> String {
    let text = match serde_json::from_str(value.get()) {
        Ok(Value::String(text)) => text,
        Ok(Value::Null) => String::new(),
        _ => value.get().to_owned(),
    };
    match text.char_indices().nth(LONGEST_VALUE) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text,
    }
}
