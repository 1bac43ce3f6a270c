//! Connections: adding, seeing, changing and removing them. Secrets come in and never go out.

use std::sync::Arc;

use axum::{
    Extension,
    extract::{Request, State},
    response::Response,
};
use headwater_core::{
    AnyConnector, FieldKind, FormModel, Outcome, ProbeReport, StreamSpec, Timestamp,
};
use headwater_host::references;
use headwater_store::{
    Actor, Connection, Label, LastCheck, Listed, NewConnection, Refusal, Said, Scope, Store,
};
use http::{HeaderMap, Method, StatusCode};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

use super::schedules;
use crate::{
    answer::{self, changed, if_match, tagged},
    app::{App, form},
    body::{Json, Path, Query},
    guard::Caller,
    once::{HEADER, once},
    operations::Operation,
    probing::{connector, judge, open_saved, probe, referring},
    problem::Problem,
};

/// How many connections a page of the list has at most, and without asking.
const LARGEST_PAGE: usize = 1_000;
const PAGE: usize = 100;

pub(super) const IF_MATCH: (&str, &str) = ("If-Match", "The ETag of what you saw.");

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
        .answer::<Page>(200, "A page of them."),
        Operation::new(
            Method::POST,
            "/api/v1/connections",
            "createConnection",
            Some(Scope::Admin),
            create,
        )
        .summary("Saves a connection, by default after a test that it has to pass")
        .header(HEADER.0, HEADER.1, false)
        .body::<New>()
        .answer::<View>(201, "The connection as it was saved.")
        .tagged()
        .problems([404, 409, 422]),
        Operation::new(Method::GET, one, "getConnection", Some(Scope::Read), get)
            .summary("One connection, without its secrets")
            .answer::<View>(200, "The connection.")
            .tagged()
            .problems([409]),
        Operation::new(Method::PATCH, one, "changeConnection", Some(Scope::Admin), change)
            .summary("Changes title, description or config; a new config is tested before it takes the old one's place")
            .header(IF_MATCH.0, IF_MATCH.1, true)
            .body::<Change>()
            .answer::<View>(200, "The connection as it is now.")
            .tagged()
            .problems([409, 412, 422, 428]),
        Operation::new(Method::DELETE, one, "deleteConnection", Some(Scope::Admin), delete)
            .summary("Deletes a connection; for a day it can be restored")
            .header(IF_MATCH.0, IF_MATCH.1, true)
            .plain(204, "It is deleted.", None)
            .problems([409, 412, 428]),
        Operation::new(
            Method::POST,
            "/api/v1/connections/{connection}/restore",
            "restoreConnection",
            Some(Scope::Admin),
            restore,
        )
        .summary("Brings a deleted connection back")
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
        .summary("Brings back the config that the last change replaced, within 30 minutes")
        .header(IF_MATCH.0, IF_MATCH.1, true)
        .answer::<View>(200, "The connection as it is now.")
        .tagged()
        .problems([409, 412, 428]),
        Operation::new(
            Method::POST,
            "/api/v1/connections/{connection}/probe",
            "probeConnection",
            Some(Scope::Use),
            probe_saved,
        )
        .summary("Asks the service whether a saved connection works, and keeps the answer")
        .answer::<ProbeReport>(
            200,
            "The checks. As events: `check` as each of them is made, then `done` with all of them.",
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
        .summary("Asks the service whether a changed config would work, without saving it")
        .body::<Draft>()
        .answer::<ProbeReport>(
            200,
            "The checks. As events: `check` as each of them is made, then `done` with all of them.",
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
        .summary("The streams of a connection, and what the last test said of the access to each")
        .answer::<Streams>(200, "All of them.")
        .problems([409]),
    ]
}

/// Which connections to list.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct Listing {
    /// Those after this name; what `next` of the page before says.
    after: Option<String>,
    /// How many at most.
    #[schemars(range(min = 1, max = 1000))]
    limit: Option<usize>,
    /// Those of this connector.
    connector: Option<String>,
}

/// A page of connections.
#[derive(Serialize, JsonSchema)]
#[schemars(rename = "Connections")]
struct Page {
    items: Vec<Line>,
    /// Give it as `after` for the next page; null at the end.
    next: Option<String>,
}

/// How a connection is, as far as is known without asking.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Health {
    /// The last test passed.
    Working,
    /// The last test failed.
    NeedsAttention,
    /// There was no test since the config was changed.
    NotTested,
    /// What is saved cannot be read.
    Unreadable,
}

/// What a test said, in short.
#[derive(Clone, Debug, Serialize, JsonSchema)]
pub(crate) struct Checked {
    /// When it was made.
    pub at: Timestamp,
    /// How it ended.
    pub outcome: String,
    /// What is wrong, for machines.
    pub code: Option<String>,
    /// What is wrong, for people.
    pub message: String,
}

/// A connection in a list.
#[derive(Serialize, JsonSchema)]
#[schemars(rename = "ConnectionLine")]
pub(crate) struct Line {
    pub name: String,
    pub title: String,
    pub description: String,
    pub connector: String,
    pub health: Health,
    pub checked: Option<Checked>,
    /// Why it cannot be read.
    pub problem: Option<String>,
    pub created_by: String,
    pub updated: Option<Timestamp>,
    /// Whether it runs by itself.
    #[serde(skip)]
    pub is_scheduled: bool,
}

/// A connection without its secrets.
#[derive(Serialize, JsonSchema)]
#[schemars(rename = "Connection")]
pub(crate) struct View {
    pub name: String,
    pub title: String,
    pub description: String,
    pub connector: String,
    /// The config. Secrets are absent.
    pub config: Value,
    /// The secrets that are set.
    pub secrets: Vec<SecretView>,
    pub health: Health,
    pub checked: Option<Checked>,
    /// Grows with each change of the config.
    pub version: i64,
    /// Grows with each change; the ETag is made of it.
    pub revision: i64,
    pub created: Timestamp,
    pub created_by: String,
    pub updated: Timestamp,
    /// Until when the last change of the config can be undone.
    pub undo_until: Option<Timestamp>,
    /// When it runs by itself; null where it does not.
    pub schedule: Option<schedules::View>,
    /// Whether a sync is under way.
    pub running: bool,
}

/// A secret that is set. Its value is shown to nobody.
#[derive(Serialize, JsonSchema)]
#[schemars(rename = "Secret")]
pub(crate) struct SecretView {
    /// JSON Pointer of the field.
    pub pointer: String,
    /// Whether the value is kept here, or only where to find it.
    pub kind: SecretKind,
}

/// Where a secret is.
#[derive(Clone, Copy, Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub(crate) enum SecretKind {
    /// Sealed in the store.
    Sealed,
    /// Elsewhere; the config names the place.
    Reference,
}

/// A connection to save.
#[derive(Deserialize, JsonSchema)]
#[schemars(rename = "NewConnection")]
#[serde(deny_unknown_fields)]
pub(crate) struct New {
    /// The connector.
    pub connector: String,
    /// What it is called in addresses; made of the title without it.
    pub name: Option<String>,
    /// What people call it.
    pub title: Option<String>,
    /// What people write about it.
    #[serde(default)]
    pub description: String,
    /// The answer to the form, with its secrets.
    pub config: Value,
    /// Whether it has to pass a test first; true unless said otherwise.
    #[serde(default = "yes")]
    pub test: bool,
}

/// What to change of a connection. What is absent stays.
#[derive(Deserialize, JsonSchema)]
#[schemars(rename = "ConnectionChange")]
#[serde(deny_unknown_fields)]
pub(crate) struct Change {
    pub title: Option<String>,
    pub description: Option<String>,
    /// The fields that change (JSON Merge Patch): absent keeps, null removes. A secret is kept while the address and the
    /// way to sign in stay the same.
    pub config: Option<Value>,
    /// Whether a new config has to pass a test first; true unless said otherwise.
    #[serde(default = "yes")]
    pub test: bool,
}

/// A config that is not saved.
#[derive(Deserialize, JsonSchema)]
#[schemars(rename = "ConfigChange")]
#[serde(deny_unknown_fields)]
pub(crate) struct Draft {
    /// The fields that change (JSON Merge Patch).
    config: Value,
}

/// The streams of a connection.
#[derive(Serialize, JsonSchema)]
struct Streams {
    items: Vec<StreamView>,
}

/// A stream, and whether it may be read.
#[derive(Serialize, JsonSchema)]
#[schemars(rename = "Stream")]
pub(crate) struct StreamView {
    #[serde(flatten)]
    pub spec: StreamSpec,
    /// What the last test said of it; null where it did not ask.
    pub access: Option<Access>,
}

/// What a test said of the access to a stream.
#[derive(Clone, Serialize, JsonSchema)]
pub(crate) struct Access {
    /// `passed`, `warned`, `failed` or `skipped`.
    pub outcome: String,
    /// The sentence.
    pub message: String,
}

fn yes() -> bool {
    true
}

/// Who is behind a change, for the audit.
pub(crate) fn actor(caller: &Caller) -> Actor {
    Actor {
        who: caller.name.clone(),
        request_id: None,
    }
}

/// The store's refusals, each with the status of its own.
impl Problem {
    pub(crate) fn of_store(error: headwater_core::Error) -> Self {
        let conflict = |code| Self::new(StatusCode::CONFLICT, code, error.to_string());
        match Refusal::of(&error) {
            Some(Refusal::Missing) => {
                Self::new(StatusCode::NOT_FOUND, "not_found", error.to_string())
            }
            Some(Refusal::Taken) => conflict("name_taken"),
            Some(Refusal::InUse) => conflict("in_use"),
            Some(Refusal::Unreadable) => conflict("unreadable"),
            Some(Refusal::NothingToUndo) => conflict("nothing_to_undo"),
            Some(Refusal::Field(name)) => Self::parameter(name, error.message()),
            Some(Refusal::Changed) => changed(),
            Some(Refusal::GiveAgain(pointers)) => {
                let text = error.message().to_owned();
                Self::fields(
                    pointers
                        .iter()
                        .map(|at| (at.as_str(), "give_again", &*text)),
                )
            }
            None => error.into(),
        }
    }
}

fn checked(check: &LastCheck) -> Checked {
    Checked {
        at: check.checked,
        outcome: check.said.outcome.clone(),
        code: check.said.code.clone(),
        message: check.said.message.clone(),
    }
}

fn health(check: Option<&LastCheck>) -> Health {
    match check.map(|check| check.said.outcome.as_str()) {
        None => Health::NotTested,
        Some("failed") => Health::NeedsAttention,
        Some(_) => Health::Working,
    }
}

pub(crate) fn line(listed: Listed) -> Line {
    Line {
        health: match listed.problem {
            Some(_) => Health::Unreadable,
            None => health(listed.last_check.as_ref()),
        },
        checked: listed.last_check.as_ref().map(checked),
        name: listed.name,
        title: listed.title,
        description: listed.description,
        connector: listed.connector,
        problem: listed.problem,
        created_by: listed.created_by,
        updated: listed.updated,
        is_scheduled: listed.schedule.is_some(),
    }
}

/// A connection as it may be shown.
pub(crate) fn view(form: &FormModel, connection: &Connection) -> View {
    let mut config = connection.config.clone();
    let mut secrets: Vec<SecretView> = connection
        .sealed
        .iter()
        .map(|pointer| SecretView {
            pointer: pointer.clone(),
            kind: SecretKind::Sealed,
        })
        .collect();
    for field in form.inputs() {
        if field.kind != FieldKind::Secret || config.pointer(&field.pointer).is_none() {
            continue;
        }
        remove(&mut config, &field.pointer);
        secrets.push(SecretView {
            pointer: field.pointer.clone(),
            kind: SecretKind::Reference,
        });
    }
    View {
        name: connection.name.clone(),
        title: connection.title.clone(),
        description: connection.description.clone(),
        connector: connection.connector.clone(),
        config,
        secrets,
        health: health(connection.last_check.as_ref()),
        checked: connection.last_check.as_ref().map(checked),
        version: connection.version,
        revision: connection.revision,
        created: connection.created,
        created_by: connection.created_by.clone(),
        updated: connection.updated,
        undo_until: connection.undo_until,
        schedule: connection.schedule.as_ref().map(schedules::View::of),
        running: connection.holder.is_some(),
    }
}

pub(crate) fn remove(config: &mut Value, pointer: &str) {
    let (inside, name) = pointer.rsplit_once('/').unwrap_or_default();
    if let Some(object) = config.pointer_mut(inside).and_then(Value::as_object_mut) {
        object.remove(name);
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
    Ok((listed.into_iter().map(line).collect(), next))
}

async fn list(
    State(app): State<Arc<App>>,
    Query(wanted): Query<Listing>,
) -> Result<Response, Problem> {
    let limit = wanted.limit.unwrap_or(PAGE);
    if !(1..=LARGEST_PAGE).contains(&limit) {
        return Err(Problem::bad_request(format!(
            "limit is from 1 to {LARGEST_PAGE}"
        )));
    }
    let (items, next) = page(&app, wanted.after, limit, wanted.connector).await?;
    Ok(answer::json(StatusCode::OK, &Page { items, next }))
}

/// A connection with the form of its connector.
pub(crate) struct Found {
    pub connection: Connection,
    pub connector: Arc<dyn AnyConnector>,
    pub form: FormModel,
}

/// Finds a connection by name.
pub(crate) async fn find(app: &App, name: String) -> Result<Found, Problem> {
    let connection = app
        .store(move |store| store.get(&name).map_err(Problem::of_store))
        .await?;
    let connector = connector(app, &connection.connector)?;
    let form = form(&*connector)?;
    Ok(Found {
        connection,
        connector,
        form,
    })
}

/// Answers with a connection and its tag.
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
    request: Request,
) -> Result<Response, Problem> {
    // In a task of its own: it is carried out to its end although its client has gone.
    let done = tokio::spawn(async move {
        once(&app, &caller, request, |new| async {
            let name = save_new(&app, &caller, new).await?;
            let found = find(&app, name).await?;
            let shown = json!(view(&found.form, &found.connection));
            Ok((StatusCode::CREATED, shown))
        })
        .await
    });
    let broken = |_| {
        let text = "the connection could not be saved";
        Problem::new(StatusCode::INTERNAL_SERVER_ERROR, "unexpected", text)
    };
    done.await.map_err(broken)?
}

/// Saves a new connection and returns its name.
pub(crate) async fn save_new(app: &Arc<App>, caller: &Caller, new: New) -> Result<String, Problem> {
    let connector = connector(app, &new.connector)?;
    let title = new
        .title
        .or_else(|| new.name.clone())
        .unwrap_or_else(|| connector.about().name.to_owned());
    let label = Label {
        title: &title,
        description: &new.description,
    };
    label.check().map_err(Problem::of_store)?;
    let mut answer = new.config;
    let form = form(&*connector)?;
    headwater_core::tidy(&form, &mut answer);
    let (form, config) = judge(app, &*connector, &answer).map_err(Problem::form)?;
    let report = match new.test {
        true => {
            let source = connector.open(&config, &app.context())?;
            Some(accepted(app, &*connector, &*source, &mut answer).await?)
        }
        false => None,
    };
    let (actor, id) = (actor(caller), connector.about().id);
    let name = new.name;
    let saved = app.store(move |store| {
        let name = match name {
            Some(name) => name,
            None => store.free_name(&title)?,
        };
        let new = NewConnection {
            name: &name,
            label: Label {
                title: &title,
                description: &new.description,
            },
            connector: id,
            answer: &answer,
        };
        store.add(&form, &new, &actor).map_err(Problem::of_store)?;
        if let Some(report) = report {
            keep(store, &name, 1, &report, &actor)?;
        }
        Ok::<_, Problem>(name)
    });
    saved.await
}

/// Probes a config that is to be saved; refused where the probe fails. What the service would rather have is taken over.
async fn accepted(
    app: &App,
    connector: &dyn AnyConnector,
    source: &dyn headwater_core::Source,
    answer: &mut Value,
) -> Result<ProbeReport, Problem> {
    let report = probe(app, connector, source, |_| {}).await?;
    if let Some(failed) = report.failure() {
        return Err(Problem::test_failed(failed, &report));
    }
    if let Some(patch) = &report.patch {
        patch.apply(answer);
    }
    Ok(report)
}

/// Keeps what a probe said of a version of a connection.
pub(crate) fn keep(
    store: &mut Store,
    name: &str,
    version: i64,
    report: &ProbeReport,
    actor: &Actor,
) -> headwater_core::Result<bool> {
    let outcome = report.outcome();
    let worst = report
        .checks
        .iter()
        .find(|check| check.outcome == outcome && outcome >= Outcome::Warned);
    let check = LastCheck {
        checked: Timestamp::now(),
        said: Said {
            outcome: json!(outcome).as_str().unwrap_or_default().to_owned(),
            code: worst.map(|check| check.code.to_owned()),
            message: worst.map_or_else(
                || "everything is as it should be".to_owned(),
                |check| check.message.clone(),
            ),
            report: json!(report),
        },
    };
    store.record_check(name, version, &check, actor)
}

/// A saved config with a change in it, and with the secrets that it keeps.
pub(crate) struct Changed {
    pub found: Found,
    /// As it would be saved, with its secrets.
    answer: Value,
    pub config: headwater_core::Validated,
}

/// The saved config with a change (JSON Merge Patch) in it.
pub(crate) async fn changed_config(
    app: &App,
    name: String,
    change: Value,
) -> Result<Changed, Problem> {
    let found = find(app, name).await?;
    if !change.is_object() {
        return Err(Problem::field("", "type", "the config is an object"));
    }
    if !app.options.allows_references {
        let named = referring(&found.form, &change);
        if !named.is_empty() {
            return Err(Problem::form(named));
        }
    }
    let sealed = found.connection.sealed.iter();
    let removed: Vec<String> = sealed
        .filter(|pointer| change.pointer(pointer).is_some_and(Value::is_null))
        .cloned()
        .collect();
    let before = found.connection.config.clone();
    let mut answer = before.clone();
    merge(&mut answer, change);
    leave_out_other_secrets(&found.form, &mut answer);
    headwater_core::tidy(&found.form, &mut answer);
    if leads_elsewhere(&found.form, &before, &answer) {
        // A reference opens its secret for wherever the config leads, so it is as good as the secret.
        let kept = found.form.inputs_of(&answer).into_iter().filter(|field| {
            let text = answer.pointer(&field.pointer).and_then(Value::as_str);
            field.kind == FieldKind::Secret
                && text.is_some_and(references::is_reference)
                && before.pointer(&field.pointer) == answer.pointer(&field.pointer)
        });
        let text = "it was saved for another address or another way to sign in; give it again";
        let kept: Vec<_> = kept
            .map(|field| (&*field.pointer, "give_again", text))
            .collect();
        if !kept.is_empty() {
            return Err(Problem::fields(kept));
        }
    }
    let (form, connection) = (found.form.clone(), found.connection.clone());
    let answer = app
        .store(move |store| {
            store
                .reveal(&form, &connection, &mut answer)
                .map_err(Problem::of_store)?;
            for pointer in removed {
                remove(&mut answer, &pointer);
            }
            Ok::<_, Problem>(answer)
        })
        .await?;
    let mut resolved = answer.clone();
    references::resolve(&found.form, &mut resolved, &references::EnvFile::default())
        .await
        .map_err(Problem::form)?;
    let config = found.connector.validate(resolved).map_err(Problem::form)?;
    Ok(Changed {
        found,
        answer,
        config,
    })
}

/// Whether another config sends its secrets to another place, or signs in another way.
pub(crate) fn leads_elsewhere(form: &FormModel, before: &Value, after: &Value) -> bool {
    let is_moved = form.inputs().iter().any(|field| {
        field.destination && before.pointer(&field.pointer) != after.pointer(&field.pointer)
    });
    let is_other_way = form.fields.iter().any(|field| match &field.kind {
        FieldKind::OneOf { tag, .. } => {
            let tag = format!("{}/{tag}", field.pointer);
            before.pointer(&tag) != after.pointer(&tag)
        }
        _ => false,
    });
    is_moved || is_other_way
}

/// Takes out the references of alternatives that are not chosen: whoever changes the way to sign in sees none of them.
fn leave_out_other_secrets(form: &FormModel, answer: &mut Value) {
    let chosen = form.inputs_of(answer);
    let is_other = |pointer: &str| chosen.iter().all(|field| field.pointer != pointer);
    let inputs = form.inputs().into_iter();
    let others: Vec<&str> = inputs
        .filter(|field| field.kind == FieldKind::Secret && is_other(&field.pointer))
        .map(|field| field.pointer.as_str())
        .collect();
    for pointer in others {
        remove(answer, pointer);
    }
}

/// JSON Merge Patch (RFC 7396).
pub(crate) fn merge(target: &mut Value, patch: Value) {
    let Value::Object(patch) = patch else {
        *target = patch;
        return;
    };
    if !target.is_object() {
        *target = Value::Object(Map::new());
    }
    if let Some(object) = target.as_object_mut() {
        for (name, value) in patch {
            if value.is_null() {
                object.remove(&name);
            } else {
                merge(object.entry(name).or_insert(Value::Null), value);
            }
        }
    }
}

async fn change(
    State(app): State<Arc<App>>,
    Extension(caller): Extension<Caller>,
    Path(name): Path<String>,
    headers: HeaderMap,
    Json(change): Json<Change>,
) -> Result<Response, Problem> {
    let revision = if_match(&headers)?;
    save_change(&app, &caller, name.clone(), revision, change).await?;
    shown(&app, name, StatusCode::OK).await
}

/// Changes a connection that is still as it was seen.
pub(crate) async fn save_change(
    app: &Arc<App>,
    caller: &Caller,
    name: String,
    revision: i64,
    change: Change,
) -> Result<(), Problem> {
    let actor = actor(caller);
    let test = change.test;
    let found = find(app, name.clone()).await?;
    if found.connection.revision != revision {
        return Err(changed());
    }
    let title = change
        .title
        .unwrap_or_else(|| found.connection.title.clone());
    let description = change
        .description
        .unwrap_or_else(|| found.connection.description.clone());
    let label = Label {
        title: &title,
        description: &description,
    };
    label.check().map_err(Problem::of_store)?;
    let patch = change
        .config
        .filter(|patch| patch.as_object().is_none_or(|patch| !patch.is_empty()));
    let Some(patch) = patch else {
        return app
            .store(move |store| {
                let label = Label {
                    title: &title,
                    description: &description,
                };
                store
                    .describe(&found.connection, label, &actor)
                    .map_err(Problem::of_store)
            })
            .await;
    };
    let mut new = changed_config(app, name.clone(), patch).await?;
    let report = match test {
        true => {
            let connector = &new.found.connector;
            let source = connector.open(&new.config, &app.context())?;
            Some(accepted(app, &**connector, &*source, &mut new.answer).await?)
        }
        false => None,
    };
    app.store(move |store| {
        let Found {
            connection, form, ..
        } = found;
        let label = Label {
            title: &title,
            description: &description,
        };
        store
            .replace(&form, &connection, &new.answer, Some(label), &actor)
            .map_err(Problem::of_store)?;
        if let Some(report) = report {
            keep(store, &name, connection.version + 1, &report, &actor)?;
        }
        Ok(())
    })
    .await
}

async fn delete(
    State(app): State<Arc<App>>,
    Extension(caller): Extension<Caller>,
    Path(name): Path<String>,
    headers: HeaderMap,
) -> Result<StatusCode, Problem> {
    let revision = if_match(&headers)?;
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
    headers: HeaderMap,
) -> Result<Response, Problem> {
    let opened = open_saved(&app, &name).await?;
    let (version, actor) = (opened.connection.version, actor(&caller));
    let kept = Arc::clone(&app);
    let keep = move |report: ProbeReport| async move {
        let kept = kept.store(move |store| keep(store, &name, version, &report, &actor));
        // The answer is worth telling even where it cannot be kept.
        let _: headwater_core::Result<bool> = kept.await;
    };
    super::answer_probe(app, opened.connector, opened.source, &headers, keep).await
}

async fn probe_change(
    State(app): State<Arc<App>>,
    Path(name): Path<String>,
    headers: HeaderMap,
    Json(draft): Json<Draft>,
) -> Result<Response, Problem> {
    let new = changed_config(&app, name, draft.config).await?;
    let connector = new.found.connector;
    let source = connector.open(&new.config, &app.context())?;
    super::answer_probe(app, connector, source, &headers, |_| async {}).await
}

/// The streams of a connection with what the last test said of them.
pub(crate) fn streams_of(found: &Found) -> Vec<StreamView> {
    let report = found
        .connection
        .last_check
        .as_ref()
        .map(|check| &check.said.report);
    let checks = report
        .and_then(|report| report["checks"].as_array())
        .map_or(&[][..], Vec::as_slice);
    let access = |stream: &str| {
        let name = format!("access:{stream}");
        let check = checks.iter().find(|check| check["name"] == *name)?;
        let text = |field: &str| check[field].as_str().unwrap_or_default().to_owned();
        Some(Access {
            outcome: text("outcome"),
            message: text("message"),
        })
    };
    let streams = found.connector.catalog().into_iter();
    streams
        .map(|spec| StreamView {
            access: access(spec.name),
            spec,
        })
        .collect()
}

async fn streams(
    State(app): State<Arc<App>>,
    Path(name): Path<String>,
) -> Result<Response, Problem> {
    let found = find(&app, name).await?;
    let items = streams_of(&found);
    Ok(answer::json(StatusCode::OK, &Streams { items }))
}
