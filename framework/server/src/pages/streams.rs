//! The choice of streams of a connection, and previews of their records.

use std::collections::{BTreeMap, BTreeSet};

use axum::{Extension, response::Response};
use headwater_console::{
    Frequency, Preview, Schedule, ScheduleChange, StreamChoice, StreamRow, streams,
};
use headwater_core::{FieldError, Outcome, StreamSpec, Timestamp};
use headwater_host::{Action, Redaction, Redactor};
use headwater_store::{Scope, When};
use http::StatusCode;
use serde::Deserialize;
use serde_json::{Value, value::RawValue};

use super::{FormBody, Visit, see_other, with_query};
use crate::{
    api::{
        connections::{ConnectionWithForm, StreamView, actor, find, streams_of},
        preview::{PreviewRequest, look},
        schedules::{self, New},
    },
    body::{Path, Query},
    guard::Caller,
    problem::Problem,
    runs::{Order, start},
};

/// How many characters of a value a preview shows.
const LONGEST_VALUE: usize = 200;
/// How many columns a preview has at most.
const MAX_COLUMNS: usize = 60;

/// The stream of a preview.
#[derive(Deserialize)]
pub(super) struct StreamQuery {
    stream: Option<String>,
}

/// The last change of the schedule.
#[derive(Deserialize)]
pub(super) struct DoneQuery {
    done: Option<String>,
}

/// The choice of streams, as entered or saved.
struct StreamsInput {
    streams: BTreeSet<String>,
    destination: String,
    is_redacted: bool,
    is_same_account: bool,
    schedule: Schedule,
    version: String,
    done: Option<ScheduleChange>,
    errors: Vec<FieldError>,
}

pub(super) async fn choose(
    Extension(visit): Extension<Visit>,
    Path(name): Path<String>,
    Query(done): Query<DoneQuery>,
) -> Result<Response, Problem> {
    visit.may(Scope::Read)?;
    let found = find(&visit.app, name).await?;
    let chosen = StreamsInput {
        done: match done.done.as_deref() {
            Some("saved") => Some(ScheduleChange::Saved),
            Some("removed") => Some(ScheduleChange::Removed),
            _ => None,
        },
        ..saved(&visit, &found)
    };
    Ok(show(&visit, StatusCode::OK, &found, chosen))
}

/// The choice in the schedule of a connection; without one, all readable streams.
fn saved(visit: &Visit, found: &ConnectionWithForm) -> StreamsInput {
    let all = streams_of(found);
    let scheduled = found.connection.schedule.as_ref();
    let scheduled = scheduled.map(|scheduled| &scheduled.schedule);
    let named = scheduled.map_or(&[][..], |schedule| &schedule.streams);
    let is_chosen = |stream: &&StreamView| match scheduled {
        Some(_) if named.is_empty() => true,
        Some(_) => named.iter().any(|name| name == stream.spec.name),
        None => outcome(stream) != Some(Outcome::Failed),
    };
    let first = || visit.app.options.destinations.keys().next().cloned();
    let destination = scheduled.map(|schedule| schedule.destination.clone());
    let (frequency, cron, time_zone) = match scheduled.map(|schedule| schedule.when.clone()) {
        None => (Frequency::Manual, String::new(), String::new()),
        Some(When::Every(seconds)) => (Frequency::Every(seconds), String::new(), String::new()),
        Some(When::Cron { expression, zone }) => (Frequency::Cron, expression, zone),
    };
    StreamsInput {
        streams: all
            .iter()
            .filter(is_chosen)
            .map(|stream| stream.spec.name.to_owned())
            .collect(),
        destination: destination.or_else(first).unwrap_or_default(),
        is_redacted: scheduled.is_some_and(|schedule| schedule.is_redacted),
        is_same_account: false,
        schedule: Schedule {
            frequency,
            cron,
            time_zone,
            is_paused: scheduled.is_some_and(|schedule| schedule.is_paused),
            next: schedules::saved_times(found),
        },
        version: found.connection.revision.to_string(),
        done: None,
        errors: Vec::new(),
    }
}

/// Starts a sync of the chosen streams, or schedules it.
pub(super) async fn chosen(
    Extension(visit): Extension<Visit>,
    Path(name): Path<String>,
    posted: FormBody,
) -> Result<Response, Problem> {
    let caller = visit.may(Scope::Use)?;
    let found = find(&visit.app, name).await?;
    let mut chosen = StreamsInput {
        streams: posted.all("stream").map(str::to_owned).collect(),
        destination: posted.text("destination").trim().to_owned(),
        is_redacted: posted.text("redact") == "true",
        is_same_account: posted.text("same_account") == "true",
        schedule: Schedule {
            frequency: match posted.text("schedule") {
                "manual" | "" => Frequency::Manual,
                "cron" => Frequency::Cron,
                // An invalid number becomes an interval that is too short.
                seconds => Frequency::Every(seconds.parse().unwrap_or(0)),
            },
            cron: posted.text("cron").trim().to_owned(),
            time_zone: posted.text("time_zone").trim().to_owned(),
            is_paused: posted.text("paused") == "true",
            next: Vec::new(),
        },
        version: posted.text("version").to_owned(),
        done: None,
        errors: Vec::new(),
    };
    if chosen.streams.is_empty() {
        chosen.errors = vec![error("/streams", "choose at least one stream")];
        let status = StatusCode::UNPROCESSABLE_ENTITY;
        return Ok(show(&visit, status, &found, chosen));
    }
    let done = match posted.text("action") {
        "run" => run(&visit, caller, &found, &chosen).await.map(Some),
        "save" => save(&visit, &posted, &found, &chosen).await.map(Some),
        "times" => next_times(&visit, &found, &mut chosen).map(|()| None),
        _ => Err(Problem::bad_request(
            "unknown action; the chosen streams can be synced or scheduled",
        )),
    };
    match done {
        Ok(Some(path)) => Ok(see_other(&path)),
        Ok(None) => Ok(show(&visit, StatusCode::OK, &found, chosen)),
        Err(problem) => {
            chosen.errors = errors_of(&problem);
            Ok(show(&visit, problem.status(), &found, chosen))
        }
    }
}

async fn run(
    visit: &Visit,
    caller: &Caller,
    found: &ConnectionWithForm,
    chosen: &StreamsInput,
) -> Result<String, Problem> {
    let order = Order {
        connection: found.connection.name.clone(),
        streams: chosen.streams.iter().cloned().collect(),
        destination: chosen.destination.clone(),
        redact: chosen.is_redacted,
        same_account: chosen.is_same_account,
        actor: actor(caller),
    };
    let sync = start(&visit.app, order).await?;
    Ok(format!("/syncs/{}", sync.id))
}

/// Sets, changes or removes the schedule.
async fn save(
    visit: &Visit,
    posted: &FormBody,
    found: &ConnectionWithForm,
    chosen: &StreamsInput,
) -> Result<String, Problem> {
    let caller = visit.may(Scope::Admin)?;
    let (app, name) = (&visit.app, found.connection.name.clone());
    let path = format!("/connections/{name}/streams?done=");
    let revision = posted.revision()?;
    if let Some(new) = new_schedule(found, chosen) {
        schedules::save(app, caller, found, revision, new).await?;
        return Ok(path + "saved");
    }
    if found.connection.schedule.is_some() {
        schedules::remove_schedule(app, caller, name, revision).await?;
    }
    Ok(path + "removed")
}

/// Shows the next runs of the entered schedule, and changes nothing.
fn next_times(
    visit: &Visit,
    found: &ConnectionWithForm,
    chosen: &mut StreamsInput,
) -> Result<(), Problem> {
    if let Some(new) = new_schedule(found, chosen) {
        chosen.schedule.next = schedules::next_times(&visit.app, found, new)?;
    }
    Ok(())
}

/// The entered schedule; `None` for manual runs.
fn new_schedule(found: &ConnectionWithForm, chosen: &StreamsInput) -> Option<New> {
    let schedule = &chosen.schedule;
    let given = |text: &String| Some(text.clone()).filter(|text| !text.is_empty());
    let (every_seconds, cron, time_zone) = match schedule.frequency {
        Frequency::Manual => return None,
        Frequency::Every(seconds) => (Some(seconds), None, None),
        Frequency::Cron => (
            None,
            Some(schedule.cron.clone()),
            given(&schedule.time_zone),
        ),
    };
    // Choosing all streams includes later ones.
    let is_all = chosen.streams.len() >= found.connector.catalog().len();
    Some(New {
        every_seconds,
        cron,
        time_zone,
        streams: match is_all {
            true => Vec::new(),
            false => chosen.streams.iter().cloned().collect(),
        },
        destination: chosen.destination.clone(),
        redact: chosen.is_redacted,
        paused: schedule.is_paused,
    })
}

/// The errors of a problem, each at its field.
fn errors_of(problem: &Problem) -> Vec<FieldError> {
    let member = problem
        .errors
        .first()
        .and_then(|error| error.member.as_deref());
    let pointer = match (member, problem.code) {
        (Some("every_seconds"), _) => "/schedule",
        (Some("cron"), _) => "/cron",
        (Some("time_zone"), _) => "/time_zone",
        (Some("destination"), _) | (None, "destination_unknown") => "/destination",
        (Some("streams"), _) | (None, "not_found") => "/streams",
        _ => "",
    };
    vec![error(pointer, &problem.detail)]
}

fn error(pointer: &str, message: &str) -> FieldError {
    FieldError {
        pointer: pointer.to_owned(),
        code: "not_usable".into(),
        message: message.to_owned(),
    }
}

fn show(
    visit: &Visit,
    status: StatusCode,
    found: &ConnectionWithForm,
    chosen: StreamsInput,
) -> Response {
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
        schedule: chosen.schedule,
        can_schedule: visit.app.options.schedules && visit.may(Scope::Admin).is_ok(),
        is_redacted: chosen.is_redacted,
        is_same_account: chosen.is_same_account,
        version: chosen.version,
        done: chosen.done,
        errors: chosen.errors,
    };
    visit.show(status, streams(&view, &visit.app.texts))
}

/// Whether redaction hides anything in the records of a stream.
fn is_personal(spec: &StreamSpec) -> bool {
    let redactor = Redactor::new(spec, &Redaction::default());
    redactor.is_ok_and(|redactor| {
        let fields = redactor.report().fields;
        fields.iter().any(|field| field.action != Action::Kept)
    })
}

fn outcome(stream: &StreamView) -> Option<Outcome> {
    stream.access.as_ref().map(|access| access.outcome)
}

pub(super) async fn preview(
    Extension(visit): Extension<Visit>,
    Path(name): Path<String>,
    Query(shown): Query<StreamQuery>,
) -> Result<Response, Problem> {
    first_records(&visit, name, shown.stream, false).await
}

/// Shows personal data unmasked, or masks it again.
pub(super) async fn reveal(
    Extension(visit): Extension<Visit>,
    Path(name): Path<String>,
    posted: FormBody,
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
    let request = PreviewRequest {
        stream: stream.clone(),
        limit: None,
        reveal,
    };
    let (records, status, problem) = match look(&visit.app, caller, name.clone(), request).await {
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
        // A problem shows no records, so it reveals nothing.
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
        .take(MAX_COLUMNS)
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

/// A text without quotes, any other value as JSON, cut if long.
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
