//! Connections: adding, showing, changing and removing them. Secrets come in and never go out.

mod again;
mod change;
mod embedded;
mod label;
mod save;
mod view;

use std::sync::{
    Arc,
    atomic::{AtomicBool, Ordering},
};

use axum::{
    Extension,
    extract::{Request, State},
    response::Response,
};
use headwater_core::{AnyConnector, Check, FormModel, ProbeReport};
use headwater_store::{Actor, Connection, LastCheck, Refusal, ScheduledRun, Scope, Store};
use http::{HeaderMap, Method, StatusCode};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

pub(crate) use again::{Unreadable, unreadable, whole_config};
pub(crate) use change::{changed_config, leads_elsewhere, merge, remove};
pub(crate) use save::{Change, New, Watch, save_change, save_new, unwatched};
pub(crate) use view::{Line, StreamView, View, failing, streams_of, view};

use crate::{
    answer::{self, if_match, tagged},
    app::{App, form},
    body::{Json, Path, Query},
    embeds::spent,
    events::{self, WantsEvents},
    guard::Caller,
    once::{HEADER, once},
    operations::Operation,
    probing::{Tester, connector, saved},
    problem::{Problem, ProblemBody},
};

/// How many connections a page of the list has at most, and by default.
const LARGEST_PAGE: usize = 1_000;
const PAGE: usize = 100;

/// The description of the events of a save.
const AS_EVENTS: &str = "As events: `check` for each check of the test as it ends, then `done` with the `status` of \
                         the normal answer, and with the `connection` or the `problem`. A request that is refused \
                         before the first check gets the normal answer.";

pub(super) const IF_MATCH: (&str, &str) = ("If-Match", "The ETag of the version you saw.");

pub(super) fn operations() -> Vec<Operation> {
    let one = "/api/v1/connections/{connection}";
    vec![
        Operation::new(
            Method::GET,
            "/api/v1/connections",
            "listConnections",
            Some(Scope::Read),
            list,
        )
        .summary("Saved connections, by name")
        .query::<Listing>()
        .answer::<Page>(200, "A page of connections."),
        Operation::new(
            Method::POST,
            "/api/v1/connections",
            "createConnection",
            Some(Scope::Admin),
            create,
        )
        .summary("Saves a connection, by default after a test that has to pass")
        .header(HEADER.0, HEADER.1, false)
        .body::<New>()
        .answer::<View>(201, "The saved connection.")
        .tagged()
        .plain(200, AS_EVENTS, Some("text/event-stream"))
        .problems([404, 409, 422]),
        Operation::new(Method::GET, one, "getConnection", Some(Scope::Read), get)
            .summary("One connection, without its secrets")
            .answer::<View>(200, "The connection.")
            .tagged()
            .problems([409]),
        Operation::new(Method::PATCH, one, "changeConnection", Some(Scope::Admin), change)
            .summary("Changes title, description, expiry or config; a new config is tested before it replaces the old \
                      one")
            .header(IF_MATCH.0, IF_MATCH.1, true)
            .body::<Change>()
            .answer::<View>(200, "The connection after the change. As events: the same as for a new connection.")
            .or("text/event-stream")
            .tagged()
            .problems([409, 412, 422, 428]),
        Operation::new(Method::DELETE, one, "deleteConnection", Some(Scope::Admin), delete)
            .summary("Deletes an unused connection; for a day it can be restored")
            .header(IF_MATCH.0, IF_MATCH.1, true)
            .query::<Deletion>()
            .plain(204, "The connection is deleted.", None)
            .problems([409, 412, 428]),
        Operation::new(
            Method::POST,
            "/api/v1/connections/{connection}/restore",
            "restoreConnection",
            Some(Scope::Admin),
            restore,
        )
        .summary("Restores a deleted connection")
        .answer::<View>(200, "The connection.")
        .tagged()
        .problems([409]),
        Operation::new(
            Method::POST,
            "/api/v1/connections/{connection}/undo",
            "undoChange",
            Some(Scope::Admin),
            undo,
        )
        .summary("Restores the config before the last change, within 30 minutes")
        .header(IF_MATCH.0, IF_MATCH.1, true)
        .answer::<View>(200, "The connection after the change.")
        .tagged()
        .problems([409, 412, 428]),
        Operation::new(
            Method::POST,
            "/api/v1/connections/{connection}/probe",
            "probeConnection",
            Some(Scope::Use),
            probe_saved,
        )
        .summary("Tests whether a saved connection works, and saves the result")
        .answer::<ProbeReport>(
            200,
            "The checks. As events: `check` for each check as it ends, then `done` with all of them.",
        )
        .or("text/event-stream")
        .problems([409, 422]),
        Operation::new(
            Method::POST,
            "/api/v1/connections/{connection}/probe-change",
            "probeChange",
            Some(Scope::Admin),
            probe_change,
        )
        .summary("Tests whether a changed config would work, without saving it")
        .body::<Draft>()
        .answer::<ProbeReport>(
            200,
            "The checks. As events: `check` for each check as it ends, then `done` with all of them.",
        )
        .or("text/event-stream")
        .problems([409, 422]),
        Operation::new(
            Method::GET,
            "/api/v1/connections/{connection}/streams",
            "listStreams",
            Some(Scope::Read),
            streams,
        )
        .summary("The streams of a connection, each with its access by the last test")
        .answer::<Streams>(200, "All of them.")
        .problems([409]),
    ]
}

/// The filter of a list of connections.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct Listing {
    /// Only connections after this name: `next` of the page before.
    after: Option<String>,
    /// The maximum number.
    #[schemars(range(min = 1, max = 1000))]
    limit: Option<usize>,
    /// Only connections of this connector.
    connector: Option<String>,
}

/// The options of a deletion.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct Deletion {
    /// Whether to delete a connection with a schedule, which is refused otherwise.
    force: Option<bool>,
}

/// A page of connections.
#[derive(Serialize, JsonSchema)]
#[schemars(rename = "Connections")]
struct Page {
    items: Vec<Line>,
    /// The value of `after` for the next page; null at the end.
    next: Option<String>,
}

/// An unsaved config.
#[derive(Deserialize, JsonSchema)]
#[schemars(rename = "ConfigChange")]
#[serde(deny_unknown_fields)]
pub(crate) struct Draft {
    /// The fields to change (JSON Merge Patch).
    config: Value,
}

/// The streams of a connection.
#[derive(Serialize, JsonSchema)]
struct Streams {
    items: Vec<StreamView>,
}

/// The actor of a caller, for the audit.
pub(crate) fn actor(caller: &Caller) -> Actor {
    Actor {
        who: caller.name.clone(),
        request_id: caller.request_id.clone(),
    }
}

/// A page of connections.
pub(crate) async fn page(
    app: &App,
    after: Option<String>,
    limit: usize,
    connector: Option<String>,
) -> Result<(Vec<Line>, Option<String>), Problem> {
    let listed = app
        .store(move |store| {
            store
                .list(after.as_deref(), limit, connector.as_deref())
                .map_err(Problem::of_store)
        })
        .await?;
    let next = (listed.len() == limit)
        .then(|| listed.last().map(|last| last.name.clone()))
        .flatten();
    Ok((listed.into_iter().map(view::line).collect(), next))
}

async fn list(
    State(app): State<Arc<App>>,
    Query(wanted): Query<Listing>,
) -> Result<Response, Problem> {
    let limit = wanted.limit.unwrap_or(PAGE);
    if !(1..=LARGEST_PAGE).contains(&limit) {
        return Err(Problem::bad_request(format!(
            "limit has to be from 1 to {LARGEST_PAGE}"
        )));
    }
    let is_name = |after: &String| Store::check_name(after).is_ok();
    if !wanted.after.as_ref().is_none_or(is_name) {
        let text = "after has to be the value of next of the page before";
        return Err(Problem::bad_request(text));
    }
    let (items, next) = page(&app, wanted.after, limit, wanted.connector).await?;
    Ok(answer::json(StatusCode::OK, &Page { items, next }))
}

/// A connection with the form of its connector.
pub(crate) struct ConnectionWithForm {
    pub connection: Connection,
    pub connector: Arc<dyn AnyConnector>,
    pub form: FormModel,
}

/// Finds a connection by name.
pub(crate) async fn find(app: &App, name: String) -> Result<ConnectionWithForm, Problem> {
    let connection = app
        .store(move |store| store.get(&name).map_err(Problem::of_store))
        .await?;
    let connector = connector(app, &connection.connector)?;
    let form = form(&*connector)?;
    Ok(ConnectionWithForm {
        connection,
        connector,
        form,
    })
}

/// The schedule of a connection, also of one that cannot be read or whose connector is missing.
pub(crate) async fn schedule_of(app: &App, name: String) -> Result<Option<ScheduledRun>, Problem> {
    let schedule = app.store(move |store| match store.get(&name) {
        Err(error) if Refusal::of(&error) == Some(&Refusal::Unreadable) => {
            store.remains(&name).map(|left| left.schedule)
        }
        found => found.map(|connection| connection.schedule),
    });
    schedule.await.map_err(Problem::of_store)
}

/// Answers with a connection and its entity tag.
pub(super) async fn shown(
    app: &App,
    name: String,
    status: StatusCode,
) -> Result<Response, Problem> {
    let found = find(app, name).await?;
    let revision = found.connection.revision;
    Ok(tagged(
        status,
        revision,
        &view(&found.form, &found.connection),
    ))
}

async fn get(State(app): State<Arc<App>>, Path(name): Path<String>) -> Result<Response, Problem> {
    shown(&app, name, StatusCode::OK).await
}

async fn create(
    State(app): State<Arc<App>>,
    Extension(caller): Extension<Caller>,
    wanted: WantsEvents,
    request: Request,
) -> Result<Response, Problem> {
    let id = caller.request_id.clone();
    let save = |watch| async move {
        let carry_out = |new, key| save_new(&app, &caller, new, key, watch);
        let answer = |name| async { created(&app, &caller, name).await };
        let status = StatusCode::CREATED;
        let saved = once(&app, &caller, request, status, carry_out, answer).await?;
        Ok((status, saved))
    };
    answer_save(wanted, id, save).await
}

/// The connection that a request has saved. A repeated request of an embedded form does not see later changes of
/// others.
async fn created(app: &App, caller: &Caller, name: String) -> Result<View, Problem> {
    let found = find(app, name).await?;
    if caller.embed.is_some() && found.connection.revision != 1 {
        return Err(spent());
    }
    Ok(view(&found.form, &found.connection))
}

async fn change(
    State(app): State<Arc<App>>,
    Extension(caller): Extension<Caller>,
    Path(name): Path<String>,
    wanted: WantsEvents,
    headers: HeaderMap,
    Json(change): Json<Change>,
) -> Result<Response, Problem> {
    let revision = if_match(&headers)?;
    let id = caller.request_id.clone();
    let save = |watch| async move {
        save_change(&app, &caller, name.clone(), revision, change, watch).await?;
        let found = find(&app, name).await?;
        Ok((StatusCode::OK, view(&found.form, &found.connection)))
    };
    answer_save(wanted, id, save).await
}

/// Answers with a saved connection or, as events, with the checks of its test and at the end with the normal answer. A
/// client that leaves ends the test.
async fn answer_save<F>(
    wanted: WantsEvents,
    request_id: Option<String>,
    save: impl FnOnce(Watch) -> F,
) -> Result<Response, Problem>
where
    F: Future<Output = Result<(StatusCode, View), Problem>> + Send + 'static,
{
    if !wanted.0 {
        let (status, saved) = save(unwatched()).await?;
        return Ok(tagged(status, saved.revision, &saved));
    }
    let task = |events: events::Events| {
        let (checks, has_checks) = (events.clone(), Arc::new(AtomicBool::new(false)));
        let reported = Arc::clone(&has_checks);
        let saved = save(Box::new(move |check: &Check| {
            reported.store(true, Ordering::Relaxed);
            checks.try_send("check", check);
        }));
        async move {
            let done = match saved.await {
                Ok((status, saved)) => json!({ "status": status.as_u16(), "connection": saved }),
                Err(problem) if !has_checks.load(Ordering::Relaxed) => return Err(problem),
                Err(problem) => {
                    let request_id = request_id.as_deref().unwrap_or_default();
                    let body = ProblemBody {
                        problem: &problem,
                        request_id,
                    };
                    json!({ "status": problem.status().as_u16(), "problem": body })
                }
            };
            events.send(None, "done", &done).await;
            Ok(())
        }
    };
    events::stream_unless_refused(task).await
}

async fn delete(
    State(app): State<Arc<App>>,
    Extension(caller): Extension<Caller>,
    Path(name): Path<String>,
    Query(wanted): Query<Deletion>,
    headers: HeaderMap,
) -> Result<StatusCode, Problem> {
    let revision = if_match(&headers)?;
    let schedule = schedule_of(&app, name.clone()).await?;
    if let Some(used) = schedule.filter(|_| wanted.force != Some(true)) {
        let text = format!(
            "its schedule to {} would end with it; remove the schedule first, or give force=true",
            used.schedule.destination
        );
        return Err(Problem::new(StatusCode::CONFLICT, "in_use", text));
    }
    let actor = actor(&caller);
    app.store(move |store| {
        store
            .delete(&name, Some(revision), &actor)
            .map_err(Problem::of_store)
    })
    .await?;
    Ok(StatusCode::NO_CONTENT)
}

async fn restore(
    State(app): State<Arc<App>>,
    Extension(caller): Extension<Caller>,
    Path(name): Path<String>,
) -> Result<Response, Problem> {
    let (actor, restored) = (actor(&caller), name.clone());
    app.store(move |store| store.restore(&restored, &actor).map_err(Problem::of_store))
        .await?;
    shown(&app, name, StatusCode::OK).await
}

async fn undo(
    State(app): State<Arc<App>>,
    Extension(caller): Extension<Caller>,
    Path(name): Path<String>,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    let revision = if_match(&headers)?;
    let (actor, undone) = (actor(&caller), name.clone());
    app.store(move |store| {
        store
            .undo(&undone, Some(revision), &actor)
            .map_err(Problem::of_store)
    })
    .await?;
    shown(&app, name, StatusCode::OK).await
}

async fn probe_saved(
    State(app): State<Arc<App>>,
    Extension(caller): Extension<Caller>,
    Path(name): Path<String>,
    wanted: WantsEvents,
) -> Result<Response, Problem> {
    let (connection, ready) = saved(&app, &name).await?;
    let (version, actor) = (connection.version, actor(&caller));
    let own = Arc::clone(&app);
    let keep = move |report: ProbeReport| async move {
        let saved = own.store(move |store| {
            store.record_check(&name, version, &LastCheck::of(&report), &actor)
        });
        // The answer goes out even if it cannot be saved.
        let _: headwater_core::Result<bool> = saved.await;
    };
    super::answer_probe(app, &ready, wanted, Tester::Kept, keep).await
}

async fn probe_change(
    State(app): State<Arc<App>>,
    Extension(caller): Extension<Caller>,
    Path(name): Path<String>,
    wanted: WantsEvents,
    Json(draft): Json<Draft>,
) -> Result<Response, Problem> {
    let tester = Tester::Draft(actor(&caller), Some(name.clone()));
    let new = changed_config(&app, &caller, name.clone(), draft.config.clone()).await;
    let ready = match new {
        Ok(new) => new.config,
        Err(problem) => {
            let left = unreadable(&app, &caller, name, problem).await?;
            whole_config(&app, &caller, &left, draft.config)
                .await?
                .config
        }
    };
    super::answer_probe(app, &ready, wanted, tester, |_| async {}).await
}

async fn streams(
    State(app): State<Arc<App>>,
    Path(name): Path<String>,
) -> Result<Response, Problem> {
    let found = find(&app, name).await?;
    let items = streams_of(&found);
    Ok(answer::json(StatusCode::OK, &Streams { items }))
}
