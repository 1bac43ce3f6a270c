//! Syncs: starting, watching and stopping them, and their receipts.

use std::sync::Arc;

use axum::{
    Extension,
    extract::{Request, State},
    response::Response,
};
use headwater_core::Timestamp;
use headwater_host::summaries::ReceiptSummary;
use headwater_store::{AuditNote, ListedRun, RunsAfter, Scope, Store};
use http::{HeaderMap, Method, StatusCode};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::connections::actor;
use crate::{
    answer::json,
    app::App,
    body::{Path, Query},
    events,
    guard::Caller,
    once::{self, once},
    operations::Operation,
    problem::Problem,
    runs::{self, Order, Sync},
};

/// How many syncs a page of the list has at most, and by default. No connection keeps more.
const LARGEST_PAGE: usize = 100;

pub(super) fn operations() -> Vec<Operation> {
    vec![
        Operation::new(
            Method::POST,
            "/api/v1/connections/{connection}/syncs",
            "startSync",
            Some(Scope::Use),
            start,
        )
        .summary("Starts a sync")
        .header(once::HEADER.0, once::HEADER.1, false)
        .body::<New>()
        .answer::<View>(202, "The running sync.")
        .problems([409, 422]),
        Operation::new(
            Method::GET,
            "/api/v1/syncs",
            "listSyncs",
            Some(Scope::Read),
            list,
        )
        .summary(
            "Syncs of all connections or of one, the newest first, also those of other processes",
        )
        .query::<Listing>()
        .answer::<Page>(200, "The syncs.")
        .problems([404]),
        Operation::new(
            Method::GET,
            "/api/v1/syncs/{sync}",
            "getSync",
            Some(Scope::Read),
            get,
        )
        .summary("One sync, with its receipt after its end")
        .answer::<View>(200, "The sync."),
        Operation::new(
            Method::GET,
            "/api/v1/syncs/{sync}/events",
            "watchSync",
            Some(Scope::Read),
            watch,
        )
        .summary("The progress of a sync as events; the last one is `done` with the receipt")
        .header("Last-Event-ID", "Continue after this event.", false)
        .plain(
            200,
            "The events, as they happen.",
            Some("text/event-stream"),
        ),
        Operation::new(
            Method::POST,
            "/api/v1/syncs/{sync}/cancel",
            "cancelSync",
            Some(Scope::Use),
            cancel,
        )
        .summary("Stops a sync, which saves its records and ends")
        .answer::<View>(202, "The sync, which is ending."),
    ]
}

/// A sync to start.
#[derive(Deserialize, JsonSchema)]
#[schemars(rename = "NewSync")]
#[serde(deny_unknown_fields)]
struct New {
    /// The streams; all by default.
    #[serde(default)]
    streams: Vec<String>,
    /// The name of a destination of this service.
    #[serde(default = "default_destination")]
    destination: String,
    /// Whether personal data is replaced before it is written.
    #[serde(default)]
    redact: bool,
    /// Continue although the saved position seems to belong to another account: for an account that has moved to
    /// another address or has changed beyond recognition.
    #[serde(default)]
    same_account: bool,
}

pub(super) fn default_destination() -> String {
    "default".to_owned()
}

/// The filter of a list of syncs.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct Listing {
    /// Only syncs of this connection.
    connection: Option<String>,
    /// Only syncs after this position: `next` of the page before.
    after: Option<String>,
    /// The maximum number.
    #[schemars(range(min = 1, max = 100))]
    limit: Option<usize>,
}

/// Syncs, the newest first.
#[derive(Serialize, JsonSchema)]
#[schemars(rename = "Syncs")]
struct Page {
    items: Vec<View>,
    /// The value of `after` for the next page; null at the end.
    next: Option<String>,
}

/// A sync.
#[derive(Serialize, Deserialize, JsonSchema)]
#[schemars(rename = "Sync")]
pub(crate) struct View {
    pub id: String,
    pub connection: String,
    /// The title of the connection.
    pub title: String,
    /// The name of the destination; null for runs of other processes.
    pub destination: Option<String>,
    /// Who started it.
    pub by: String,
    pub started: Timestamp,
    /// `running`, `complete`, `partial`, `failed`, `suspended` or `stopped`; `unknown` if it was killed.
    pub status: String,
    /// The receipt, after its end.
    pub receipt: Option<Value>,
}

impl View {
    pub(crate) fn of(sync: &Sync) -> Self {
        let receipt = sync.receipt();
        Self {
            id: sync.id.clone(),
            connection: sync.connection.clone(),
            title: sync.title.clone(),
            destination: Some(sync.destination.clone()),
            by: sync.by.clone(),
            started: sync.started,
            status: status(receipt.as_ref(), "running"),
            receipt,
        }
    }

    /// A sync of the history; a sync of this process, if it still knows it.
    fn listed(app: &App, listed: ListedRun) -> Self {
        let id = format!("{}.{}", listed.connection, listed.run.epoch);
        if let Some(sync) = app.runs.find(&id) {
            return Self {
                title: listed.title,
                ..Self::of(&sync)
            };
        }
        let otherwise = match listed.is_running {
            true => "running",
            false => "unknown",
        };
        let run = listed.run;
        Self {
            id,
            connection: listed.connection,
            title: listed.title,
            destination: None,
            by: run.holder,
            started: run.started,
            status: status(run.receipt.as_ref(), otherwise),
            receipt: run.receipt,
        }
    }
}

fn status(receipt: Option<&Value>, otherwise: &str) -> String {
    let outcome = receipt.and_then(|receipt| ReceiptSummary::of(receipt).outcome);
    outcome.unwrap_or_else(|| otherwise.to_owned())
}

async fn start(
    State(app): State<Arc<App>>,
    Extension(caller): Extension<Caller>,
    Path(connection): Path<String>,
    request: Request,
) -> Result<Response, Problem> {
    let started = once::to_its_end(async move {
        let carry_out = async |new: New, _| {
            let order = Order {
                connection,
                streams: new.streams,
                destination: new.destination,
                redact: new.redact,
                same_account: new.same_account,
                actor: actor(&caller),
            };
            Ok(View::of(&*runs::start(&app, order).await?))
        };
        let answer = async |started: View| Ok(started);
        once(
            &app,
            &caller,
            request,
            StatusCode::ACCEPTED,
            carry_out,
            answer,
        )
        .await
    });
    Ok(json(StatusCode::ACCEPTED, &started.await?))
}

async fn list(
    State(app): State<Arc<App>>,
    Query(wanted): Query<Listing>,
) -> Result<Response, Problem> {
    let limit = wanted.limit.unwrap_or(LARGEST_PAGE);
    if !(1..=LARGEST_PAGE).contains(&limit) {
        let text = format!("limit is from 1 to {LARGEST_PAGE}");
        return Err(Problem::bad_request(text));
    }
    let connection = wanted.connection;
    let is_name = |name: &String| Store::check_name(name).is_ok();
    if !connection.as_ref().is_none_or(is_name) {
        return Err(missing("no connection can have this name"));
    }
    let (items, next) = page(&app, wanted.after.as_deref(), limit, connection).await?;
    Ok(json(StatusCode::OK, &Page { items, next }))
}

/// Syncs of all connections or of one, of this process and of others, and the position of the next page.
pub(crate) async fn page(
    app: &App,
    after: Option<&str>,
    limit: usize,
    connection: Option<String>,
) -> Result<(Vec<View>, Option<String>), Problem> {
    let after = after.map(cursor).transpose()?;
    let mut listed = app
        .store(move |store| {
            store
                .runs(after.as_ref(), limit + 1, connection.as_deref())
                .map_err(Problem::of_store)
        })
        .await?;
    let has_more = listed.len() > limit;
    listed.truncate(limit);
    let next = listed.last().filter(|_| has_more).map(|last| {
        let started = last.run.started.as_millisecond();
        format!("{started}.{}.{}", last.connection, last.run.epoch)
    });
    let views = listed.into_iter().map(|listed| View::listed(app, listed));
    Ok((views.collect(), next))
}

/// Parses the position of a next page.
fn cursor(text: &str) -> Result<RunsAfter, Problem> {
    let read = |text: &str| {
        let (started, id) = text.split_once('.')?;
        let (connection, epoch) = id.split_once('.')?;
        Store::check_name(connection).ok()?;
        Some(RunsAfter {
            started: Timestamp::from_millisecond(started.parse().ok()?).ok()?,
            connection: connection.to_owned(),
            epoch: epoch.parse().ok()?,
        })
    };
    let refused = || Problem::bad_request("after has to be the value of next of the page before");
    read(text).ok_or_else(refused)
}

/// The syncs of a connection, of this process and of others.
pub(crate) async fn of_connection(app: &App, connection: String) -> Result<Vec<View>, Problem> {
    let (views, _) = page(app, None, LARGEST_PAGE, Some(connection)).await?;
    Ok(views)
}

/// One sync, of this process or of the history.
pub(crate) async fn find(app: &App, id: &str) -> Result<View, Problem> {
    if let Some(sync) = app.runs.find(id) {
        return Ok(View::of(&sync));
    }
    let missing = || missing("this sync does not exist, or is too old");
    let (connection, _) = id.split_once('.').ok_or_else(missing)?;
    Store::check_name(connection).map_err(|_| missing())?;
    let all = of_connection(app, connection.to_owned()).await?;
    all.into_iter()
        .find(|view| view.id == id)
        .ok_or_else(missing)
}

fn missing(text: &str) -> Problem {
    Problem::new(StatusCode::NOT_FOUND, "not_found", text)
}

async fn get(State(app): State<Arc<App>>, Path(id): Path<String>) -> Result<Response, Problem> {
    Ok(json(StatusCode::OK, &find(&app, &id).await?))
}

async fn watch(
    State(app): State<Arc<App>>,
    Path(id): Path<String>,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    let last = headers
        .get("last-event-id")
        .and_then(|value| value.to_str().ok()?.parse().ok())
        .unwrap_or(0);
    let Some(sync) = app.runs.find(&id) else {
        // The history of a sync of another process has only its end.
        let view = find(&app, &id).await?;
        return Ok(events::stream(move |events| async move {
            if let Some(receipt) = view.receipt {
                let done = serde_json::json!({ "event": "done", "receipt": receipt });
                events.send(None, "done", &done).await;
            }
        }));
    };
    Ok(events::stream(move |events| async move {
        let (mut last, mut news) = (last, sync.news());
        loop {
            for (number, event) in sync.events_after(last) {
                last = number;
                let name = event["event"].as_str().unwrap_or("message").to_owned();
                if !events.send(Some(number), &name, &event).await || name == "done" {
                    return;
                }
            }
            // A client that names a later event than the last one does not wait after the end.
            let is_over = sync.receipt().is_some() && sync.events_after(last).is_empty();
            if is_over || news.changed().await.is_err() {
                return;
            }
        }
    }))
}

async fn cancel(
    State(app): State<Arc<App>>,
    Extension(caller): Extension<Caller>,
    Path(id): Path<String>,
) -> Result<Response, Problem> {
    let view = find(&app, &id).await?;
    stop(&app, &caller, &id);
    Ok(json(StatusCode::ACCEPTED, &view))
}

/// Stops a sync of this process.
pub(crate) fn stop(app: &App, caller: &Caller, id: &str) {
    if let Some(sync) = app.runs.find(id) {
        sync.stop();
        app.notes.add(AuditNote {
            actor: actor(caller),
            what: "sync cancelled",
            connection: Some(sync.connection.clone()),
            outcome: "asked".to_owned(),
        });
    }
}
