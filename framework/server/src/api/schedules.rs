//! Schedules: when a connection runs by itself.

use std::{collections::BTreeSet, sync::Arc};

use axum::{Extension, extract::State, response::Response};
use headwater_core::Timestamp;
use headwater_store::{Schedule, ScheduledRun, Scope, When};
use http::{HeaderMap, Method, StatusCode};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{
    connections::{self, ConnectionWithForm, IF_MATCH, actor, find, shown},
    syncs::default_destination,
};
use crate::{
    answer::{changed, if_match},
    app::App,
    body::{Json, Path},
    guard::Caller,
    operations::Operation,
    problem::Problem,
    times::{LONGEST, SHORTEST, ScheduleError, Times},
};

/// How many of its next times a schedule shows.
const SHOWN_TIMES: usize = 3;

pub(super) fn operations() -> Vec<Operation> {
    let path = "/api/v1/connections/{connection}/schedule";
    vec![
        Operation::new(Method::PUT, path, "setSchedule", Some(Scope::Admin), set)
            .summary("Says when a connection runs by itself")
            .header(IF_MATCH.0, IF_MATCH.1, true)
            .body::<New>()
            .answer::<connections::View>(200, "The connection as it is now.")
            .tagged()
            .problems([409, 412, 422, 428]),
        Operation::new(
            Method::DELETE,
            path,
            "removeSchedule",
            Some(Scope::Admin),
            remove,
        )
        .summary("Takes the schedule of a connection away; a run that is under way goes on")
        .header(IF_MATCH.0, IF_MATCH.1, true)
        .answer::<connections::View>(200, "The connection as it is now.")
        .tagged()
        .problems([409, 412, 428]),
    ]
}

/// When a connection is to run, and what. Either `every_seconds` or `cron`.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(rename = "NewSchedule")]
pub(crate) struct New {
    /// The interval. It counts from when it is set; to change other members leaves its beat as it is.
    #[schemars(range(min = SHORTEST, max = LONGEST))]
    pub every_seconds: Option<u32>,
    /// A cron expression of five fields, or a word such as `@daily`.
    #[schemars(length(max = 200))]
    pub cron: Option<String>,
    /// The time zone of the expression; UTC without it.
    pub time_zone: Option<String>,
    /// The streams; all of them without it.
    #[serde(default)]
    pub streams: Vec<String>,
    /// Where the records go: the name of a destination of this service.
    #[serde(default = "default_destination")]
    pub destination: String,
    /// Whether personal data is replaced before it is written.
    #[serde(default)]
    pub redact: bool,
    /// Whether nothing is due for now.
    #[serde(default)]
    pub paused: bool,
}

/// When a connection runs by itself, and what.
#[derive(Serialize, JsonSchema)]
#[schemars(rename = "Schedule")]
pub(crate) struct View {
    /// The interval; null where there is an expression.
    pub every_seconds: Option<u32>,
    /// The cron expression; null where there is an interval.
    pub cron: Option<String>,
    /// The time zone of the expression.
    pub time_zone: Option<String>,
    /// The streams; all where there are none.
    pub streams: Vec<String>,
    /// The name of the destination.
    pub destination: String,
    /// Whether personal data is replaced before it is written.
    pub redact: bool,
    /// Whether nothing is due for now.
    pub paused: bool,
    /// When the next run is due; null while it is paused. Connections of one schedule are a little late, each by a share
    /// of its own.
    pub due: Option<Timestamp>,
    /// When the last run that was due was started.
    pub started: Option<Timestamp>,
}

impl View {
    pub(crate) fn of(scheduled: &ScheduledRun) -> Self {
        let schedule = &scheduled.schedule;
        let (every_seconds, cron, time_zone) = match schedule.when.clone() {
            When::Every(seconds) => (Some(seconds), None, None),
            When::Cron { expression, zone } => (None, Some(expression), Some(zone)),
        };
        Self {
            every_seconds,
            cron,
            time_zone,
            streams: schedule.streams.clone(),
            destination: schedule.destination.clone(),
            redact: schedule.is_redacted,
            paused: schedule.is_paused,
            due: (!schedule.is_paused).then_some(scheduled.due),
            started: scheduled.started,
        }
    }
}

impl New {
    fn when(&self) -> Result<When, Problem> {
        match (self.every_seconds, &self.cron) {
            (Some(_), None) if self.time_zone.is_some() => Err(Problem::parameter(
                "time_zone",
                "an interval has no time zone; leave it out, or give a cron expression",
            )),
            (Some(seconds), None) => Ok(When::Every(seconds)),
            (None, Some(expression)) => Ok(When::Cron {
                expression: expression.split_whitespace().collect::<Vec<_>>().join(" "),
                zone: self.time_zone.clone().unwrap_or_else(|| "UTC".to_owned()),
            }),
            _ => Err(Problem::parameter(
                "every_seconds",
                "give either every_seconds, as 3600 for every hour, or cron, as 0 6 * * * for six o'clock every day",
            )),
        }
    }
}

async fn set(
    State(app): State<Arc<App>>,
    Extension(caller): Extension<Caller>,
    Path(name): Path<String>,
    headers: HeaderMap,
    Json(new): Json<New>,
) -> Result<Response, Problem> {
    let revision = if_match(&headers)?;
    let found = find(&app, name.clone()).await?;
    save(&app, &caller, &found, revision, new).await?;
    shown(&app, name, StatusCode::OK).await
}

/// Gives a connection that is still as it was seen a schedule, or another one.
pub(crate) async fn save(
    app: &App,
    caller: &Caller,
    found: &ConnectionWithForm,
    revision: i64,
    new: New,
) -> Result<(), Problem> {
    if found.connection.revision != revision {
        return Err(changed());
    }
    let schedule = schedule(app, found, new)?;
    let due = due(found, &schedule)?;
    let (actor, name) = (actor(caller), found.connection.name.clone());
    app.store(move |store| {
        store
            .set_schedule(&name, &schedule, due, Some(revision), &actor)
            .map_err(Problem::of_store)
    })
    .await
}

/// The next times of what is to be kept, the first one as it would be due now.
pub(crate) fn next_times(
    app: &App,
    found: &ConnectionWithForm,
    new: New,
) -> Result<Vec<Timestamp>, Problem> {
    let schedule = schedule(app, found, new)?;
    let first = due(found, &schedule)?;
    if schedule.is_paused {
        return Ok(Vec::new());
    }
    Ok(times_from(found, &schedule, first))
}

/// The next times of a schedule that is kept, if there are any.
pub(crate) fn kept_times(found: &ConnectionWithForm) -> Vec<Timestamp> {
    let scheduled = found.connection.schedule.iter();
    let mut running = scheduled.filter(|scheduled| !scheduled.schedule.is_paused);
    running.next().map_or_else(Vec::new, |scheduled| {
        times_from(found, &scheduled.schedule, scheduled.due)
    })
}

fn times_from(found: &ConnectionWithForm, schedule: &Schedule, first: Timestamp) -> Vec<Timestamp> {
    let Ok(times) = Times::of(&schedule.when, first) else {
        return vec![first];
    };
    let name = &found.connection.name;
    let following = |due: &Timestamp| times.after(name, *due, *due);
    std::iter::successors(Some(first), following)
        .take(SHOWN_TIMES)
        .collect()
}

/// What is to be kept, if it can be carried out as things are.
fn schedule(app: &App, found: &ConnectionWithForm, new: New) -> Result<Schedule, Problem> {
    let when = new.when()?;
    let catalog = found.connector.catalog();
    let is_known = |name: &String| catalog.iter().any(|stream| stream.name == name);
    if !new.streams.iter().all(is_known) {
        let known: Vec<&str> = catalog.iter().map(|stream| stream.name).collect();
        let text = format!(
            "one of the streams is not there; there are {}",
            known.join(", ")
        );
        return Err(Problem::parameter("streams", &text));
    }
    let distinct: BTreeSet<&String> = new.streams.iter().collect();
    if distinct.len() < new.streams.len() {
        let text = "one of the streams stands there twice; name each once";
        return Err(Problem::parameter("streams", text));
    }
    let destinations = &app.options.destinations;
    if !destinations.contains_key(&new.destination) {
        let known: Vec<&str> = destinations.keys().map(String::as_str).collect();
        let text = format!(
            "there is no such destination; there are {}",
            known.join(", ")
        );
        return Err(Problem::parameter("destination", &text));
    }
    Ok(Schedule {
        when,
        streams: new.streams,
        destination: new.destination,
        is_redacted: new.redact,
        is_paused: new.paused,
    })
}

/// When the next run is due. An interval that is set again as it is keeps its beat.
fn due(found: &ConnectionWithForm, schedule: &Schedule) -> Result<Timestamp, Problem> {
    let (name, now) = (&found.connection.name, Timestamp::now());
    let refused = |ScheduleError { member, message }| Problem::parameter(member, &message);
    let times = Times::of(&schedule.when, now).map_err(refused)?;
    let before = found.connection.schedule.as_ref();
    let before = before.filter(|before| before.schedule.when == schedule.when);
    let due = match before {
        Some(before) => times.after(name, before.due, now),
        None => times.first(name, now),
    };
    due.ok_or_else(|| Problem::parameter("cron", "its next time is too far away to be kept"))
}

async fn remove(
    State(app): State<Arc<App>>,
    Extension(caller): Extension<Caller>,
    Path(name): Path<String>,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    let revision = if_match(&headers)?;
    take_away(&app, &caller, name.clone(), revision).await?;
    shown(&app, name, StatusCode::OK).await
}

/// Takes the schedule away of a connection that is still as it was seen.
pub(crate) async fn take_away(
    app: &App,
    caller: &Caller,
    name: String,
    revision: i64,
) -> Result<(), Problem> {
    let actor = actor(caller);
    app.store(move |store| {
        store
            .remove_schedule(&name, Some(revision), &actor)
            .map_err(Problem::of_store)
    })
    .await
}
