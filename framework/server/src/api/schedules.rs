//! The schedules of connections.

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
    answer::if_match,
    app::App,
    body::{Json, Path},
    guard::Caller,
    operations::Operation,
    problem::Problem,
    times::{LONGEST, SHORTEST, ScheduleError, Times},
};

/// How many of its next runs a schedule shows.
const SHOWN_TIMES: usize = 3;

pub(super) fn operations() -> Vec<Operation> {
    let path = "/api/v1/connections/{connection}/schedule";
    vec![
        Operation::new(Method::PUT, path, "setSchedule", Some(Scope::Admin), set)
            .summary("Sets the schedule of a connection")
            .header(IF_MATCH.0, IF_MATCH.1, true)
            .body::<New>()
            .answer::<connections::View>(200, "The connection after the change.")
            .tagged()
            .problems([409, 412, 422, 428]),
        Operation::new(
            Method::DELETE,
            path,
            "removeSchedule",
            Some(Scope::Admin),
            remove,
        )
        .summary("Removes the schedule of a connection; a run under way continues")
        .header(IF_MATCH.0, IF_MATCH.1, true)
        .answer::<connections::View>(200, "The connection after the change.")
        .tagged()
        .problems([409, 412, 428]),
    ]
}

/// The schedule of a connection, with either `every_seconds` or `cron`.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(rename = "NewSchedule")]
pub(crate) struct New {
    /// The interval. It starts when it is set; changes of other members do not restart it.
    #[schemars(range(min = SHORTEST, max = LONGEST))]
    pub every_seconds: Option<u32>,
    /// A cron expression of five fields, or a word such as `@daily`.
    #[schemars(length(max = 200))]
    pub cron: Option<String>,
    /// The time zone of the expression; UTC by default.
    pub time_zone: Option<String>,
    /// The streams; all by default.
    #[serde(default)]
    pub streams: Vec<String>,
    /// The name of a destination of this service.
    #[serde(default = "default_destination")]
    pub destination: String,
    /// Whether personal data is replaced before it is written.
    #[serde(default)]
    pub redact: bool,
    /// Whether the schedule is paused.
    #[serde(default)]
    pub paused: bool,
}

/// The schedule of a connection.
#[derive(Serialize, JsonSchema)]
#[schemars(rename = "Schedule")]
pub(crate) struct View {
    /// The interval; null with an expression.
    pub every_seconds: Option<u32>,
    /// The cron expression; null with an interval.
    pub cron: Option<String>,
    /// The time zone of the expression.
    pub time_zone: Option<String>,
    /// The streams; empty means all.
    pub streams: Vec<String>,
    /// The name of the destination.
    pub destination: String,
    /// Whether personal data is replaced before it is written.
    pub redact: bool,
    /// Whether the schedule is paused.
    pub paused: bool,
    /// When the next run is due; null while paused. Connections with the same schedule start a little later, each with
    /// its own delay.
    pub due: Option<Timestamp>,
    /// When the last due run started.
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
                "an interval has no time zone; omit it, or give a cron expression",
            )),
            (Some(seconds), None) => Ok(When::Every(seconds)),
            (None, Some(expression)) => Ok(When::Cron {
                expression: expression.split_whitespace().collect::<Vec<_>>().join(" "),
                zone: self.time_zone.clone().unwrap_or_else(|| "UTC".to_owned()),
            }),
            _ => Err(Problem::parameter(
                "every_seconds",
                "give either every_seconds (3600 is every hour) or cron (0 6 * * * is 6:00 every day)",
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

/// Sets the schedule of a connection, if it is unchanged since it was read.
pub(crate) async fn save(
    app: &App,
    caller: &Caller,
    found: &ConnectionWithForm,
    revision: i64,
    new: New,
) -> Result<(), Problem> {
    if found.connection.revision != revision {
        return Err(Problem::changed());
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

/// The next times of a new schedule, the first one as it would be due now.
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

/// The next times of the saved schedule, if there is one.
pub(crate) fn saved_times(found: &ConnectionWithForm) -> Vec<Timestamp> {
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

/// The schedule to save, if its streams and its destination exist.
fn schedule(app: &App, found: &ConnectionWithForm, new: New) -> Result<Schedule, Problem> {
    let when = new.when()?;
    let catalog = found.connector.catalog();
    let is_known = |name: &String| catalog.iter().any(|stream| stream.name == name);
    if !new.streams.iter().all(is_known) {
        let known: Vec<&str> = catalog.iter().map(|stream| stream.name).collect();
        let text = format!("unknown stream; choose from {}", known.join(", "));
        return Err(Problem::parameter("streams", &text));
    }
    let distinct: BTreeSet<&String> = new.streams.iter().collect();
    if distinct.len() < new.streams.len() {
        let text = "a stream is listed twice; list each one once";
        return Err(Problem::parameter("streams", text));
    }
    let destinations = &app.options.destinations;
    if !destinations.contains_key(&new.destination) {
        let known: Vec<&str> = destinations.keys().map(String::as_str).collect();
        let text = format!("unknown destination; choose {}", known.join(", "));
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

/// When the next run is due. Setting the same interval again does not restart it.
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
    due.ok_or_else(|| Problem::parameter("cron", "its next run is too far in the future"))
}

async fn remove(
    State(app): State<Arc<App>>,
    Extension(caller): Extension<Caller>,
    Path(name): Path<String>,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    let revision = if_match(&headers)?;
    remove_schedule(&app, &caller, name.clone(), revision).await?;
    shown(&app, name, StatusCode::OK).await
}

/// Removes the schedule of a connection, if it is unchanged since it was read.
pub(crate) async fn remove_schedule(
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
