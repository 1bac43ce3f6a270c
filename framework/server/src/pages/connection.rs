//! The page of one saved connection: its health and history; testing, undoing and deleting it.

use std::collections::BTreeMap;

use axum::{Extension, response::Response};
use headwater_console::{
    Access, Age, Change, ConnectionDetail, ProbeResult, RunRow, SavedSecret, Source, Status, Tile,
    Use, connection,
};
use headwater_core::{ConfigPatch, FormModel, ProbeReport, Timestamp};
use headwater_store::{AuditRow, LastCheck, ScheduledRun, Scope, Store};
use http::StatusCode;
use serde_json::Value;

use super::{
    FormBody, Visit,
    credential::open_pointers,
    gallery::{expiry, source_of, status_of},
    see_other,
    syncs::{row, streams_of as streams_of_run},
};
use crate::{
    api::{
        connections::{
            self, ConnectionWithForm, Unreadable, View, actor, find, leads_elsewhere, merge,
            save_change, schedule_of, streams_of, unreadable, unwatched, view,
        },
        syncs::of_connection,
    },
    body::Path,
    probing::{self, Tester, probe},
    problem::Problem,
};

/// How many of its runs and of its changes are shown.
const RUNS: usize = 10;
const CHANGES: usize = 20;
/// From this age in days, secrets count as old.
const OLD_DAYS: usize = 365;
/// The actor without a token.
const LOCAL: &str = "local";

pub(super) async fn show(
    Extension(visit): Extension<Visit>,
    Path(name): Path<String>,
) -> Result<Response, Problem> {
    page(&visit, StatusCode::OK, name, None).await
}

pub(super) async fn act(
    Extension(visit): Extension<Visit>,
    Path(name): Path<String>,
    posted: FormBody,
) -> Result<Response, Problem> {
    let path = format!("/connections/{name}");
    let done = match posted.text("action") {
        "test" => test(&visit, &name).await.map(|_| path),
        "apply" => apply(&visit, &name, posted.revision()).await,
        "undo" => undo(&visit, &name, posted.revision()).await.map(|()| path),
        "delete" => delete(&visit, &name, &posted)
            .await
            .map(|()| "/connections".to_owned()),
        _ => Err(Problem::bad_request(
            "this action does not exist for a connection",
        )),
    };
    match done {
        Ok(path) => Ok(see_other(&path)),
        Err(problem) if problem.status() == StatusCode::NOT_FOUND => Err(problem),
        Err(problem) => page(&visit, problem.status(), name, Some(problem.detail)).await,
    }
}

/// Tests the connection and saves the result. Returns whether the connection works.
pub(super) async fn test(visit: &Visit, name: &str) -> Result<bool, Problem> {
    let (app, actor) = (&visit.app, actor(visit.may(Scope::Use)?));
    let (connection, ready) = probing::saved(app, name).await?;
    let report = probe(app, &ready, Tester::Kept).await?;
    let is_working = report.failure().is_none();
    let (name, version) = (name.to_owned(), connection.version);
    let check = LastCheck::of(&report);
    app.store(move |store| store.record_check(&name, version, &check, &actor).map(drop))
        .await
        .map_err(Problem::of_store)?;
    Ok(is_working)
}

/// Applies the change that the last test offers, and returns the next page: the form if secrets have to be entered
/// again.
async fn apply(
    visit: &Visit,
    name: &str,
    revision: Result<i64, Problem>,
) -> Result<String, Problem> {
    let caller = visit.may(Scope::Admin)?;
    let (found, revision) = (find(&visit.app, name.to_owned()).await?, revision?);
    let path = format!("/connections/{name}");
    let Some(change) = offered_change(&found) else {
        let text = "the last test no longer offers a change; test the connection again";
        return Err(Problem::new(StatusCode::CONFLICT, "nothing_offered", text));
    };
    let before = &found.connection.config;
    let mut after = before.clone();
    merge(&mut after, change.clone());
    if leads_elsewhere(&found.form, before, &after) {
        return Ok(format!("{path}/edit?offer=1"));
    }
    let change = connections::Change {
        title: None,
        description: None,
        expires: None,
        config: Some(change),
        test: true,
    };
    let saved = save_change(
        &visit.app,
        caller,
        name.to_owned(),
        revision,
        change,
        unwatched(),
    );
    saved.await?;
    Ok(path)
}

async fn undo(visit: &Visit, name: &str, revision: Result<i64, Problem>) -> Result<(), Problem> {
    let actor = actor(visit.may(Scope::Admin)?);
    let (name, revision) = (name.to_owned(), revision?);
    let undone = visit
        .app
        .store(move |store| store.undo(&name, Some(revision), &actor));
    undone.await.map_err(Problem::of_store)
}

async fn delete(visit: &Visit, name: &str, posted: &FormBody) -> Result<(), Problem> {
    let caller = visit.may(Scope::Admin)?;
    let actor = actor(caller);
    let revision = posted.revision()?;
    let schedule = schedule_of(&visit.app, name.to_owned()).await?;
    let is_confirmed = posted.text("confirm").trim() == name;
    if schedule.is_some() && !is_confirmed {
        let text = format!("type {name} to confirm");
        let status = StatusCode::UNPROCESSABLE_ENTITY;
        return Err(Problem::new(status, "not_confirmed", text));
    }
    let name = name.to_owned();
    let deleted = visit
        .app
        .store(move |store| store.delete(&name, Some(revision), &actor));
    deleted.await.map_err(Problem::of_store)
}

/// The uses of a connection: its schedule.
fn uses(schedule: Option<&ScheduledRun>) -> Vec<Use> {
    let used = |scheduled: &ScheduledRun| Use {
        title: format!("Schedule to \"{}\"", scheduled.schedule.destination),
        path: format!("/connections/{}/streams", scheduled.connection),
    };
    schedule.map(used).into_iter().collect()
}

/// The saved secrets of a connection, by pointer.
pub(super) fn secrets_of(view: &View) -> BTreeMap<String, SavedSecret> {
    let secret = SavedSecret {
        at: view.updated,
        by: Some(view.updated_by.clone()).filter(|who| who != LOCAL),
        ending: None,
    };
    let secrets = view.secrets.iter();
    secrets
        .map(|one| (one.pointer.clone(), secret.clone()))
        .collect()
}

async fn page(
    visit: &Visit,
    status: StatusCode,
    name: String,
    refused: Option<String>,
) -> Result<Response, Problem> {
    let caller = visit.may(Scope::Read)?;
    let found = match find(&visit.app, name.clone()).await {
        Ok(found) => found,
        Err(problem) => {
            let left = unreadable(&visit.app, caller, name, problem).await?;
            return remains_page(visit, status, &left, refused).await;
        }
    };
    let found = &found;
    let seen = view(&found.form, &found.connection);
    let access = streams_of(found).into_iter().filter_map(|stream| {
        let access = stream.access?;
        Some(Access {
            stream: stream.spec.name.to_owned(),
            outcome: access.outcome,
            message: access.message,
        })
    });
    let source = source_of(&*found.connector);
    let used_by = uses(found.connection.schedule.as_ref());
    let view = ConnectionDetail {
        tile: Tile {
            name: seen.name.clone(),
            title: seen.title.clone(),
            description: seen.description.clone(),
            source_id: source.id.clone(),
            source_name: source.name.clone(),
            status: status_of(seen.health),
            expiry: expiry(seen.expires),
            checked_at: seen.checked.as_ref().map(|check| check.at),
            owner: Some(seen.created_by.clone()),
            used_by: used_by.len(),
        },
        source: &source,
        form: &found.form,
        saved: secrets_of(&seen),
        version: seen.revision.to_string(),
        created: Some(seen.created),
        updated: Some(seen.updated),
        problem: None,
        can_be_entered: false,
        tested: tested(found),
        last_sync: last_sync(&seen),
        expires: seen.expires,
        age: age(visit, &seen).await?,
        access: access.collect(),
        allowances: Vec::new(),
        used_by,
        history: history(visit, &seen.name).await?,
        runs: runs(visit, &seen.name).await?,
        undo_until: seen.undo_until,
        done: None,
        refused,
        config: seen.config,
    };
    Ok(visit.show(status, connection(&view, &visit.app.texts)))
}

/// The message of the last sync unless it was complete.
fn last_sync(seen: &View) -> Option<String> {
    let sync = seen.synced.as_ref()?;
    (sync.outcome != "complete").then(|| sync.message.clone())
}

/// The page of a connection that cannot be read.
async fn remains_page(
    visit: &Visit,
    status: StatusCode,
    left: &Unreadable,
    refused: Option<String>,
) -> Result<Response, Problem> {
    let remains = &left.remains;
    let unknown = Source {
        id: remains.connector.clone(),
        name: remains.connector.clone(),
        summary: String::new(),
        docs: String::new(),
    };
    let empty = FormModel {
        title: String::new(),
        fields: Vec::new(),
        guide: Vec::new(),
    };
    let connector = left.connector.as_ref();
    let source = connector.map_or(unknown, |(connector, _)| source_of(&**connector));
    let used_by = uses(remains.schedule.as_ref());
    let view = ConnectionDetail {
        tile: Tile {
            name: remains.name.clone(),
            title: remains.title.clone(),
            description: remains.description.clone(),
            source_id: source.id.clone(),
            source_name: source.name.clone(),
            status: Status::Unreadable,
            expiry: None,
            checked_at: None,
            owner: Some(remains.created_by.clone()),
            used_by: used_by.len(),
        },
        source: &source,
        form: connector.map_or(&empty, |(_, form)| form),
        config: left.open_config(),
        saved: BTreeMap::new(),
        version: remains.revision.to_string(),
        created: remains.created,
        updated: remains.updated,
        problem: Some(left.problem.detail.clone()),
        can_be_entered: connector.is_some(),
        tested: None,
        last_sync: None,
        expires: remains.expires,
        age: Age::default(),
        access: Vec::new(),
        allowances: Vec::new(),
        used_by,
        history: history(visit, &remains.name).await?,
        runs: runs(visit, &remains.name).await?,
        undo_until: None,
        done: None,
        refused,
    };
    Ok(visit.show(status, connection(&view, &visit.app.texts)))
}

/// Whether its secrets are old, and whether the token that saved it still exists.
async fn age(visit: &Visit, seen: &View) -> Result<Age, Problem> {
    let now = Timestamp::now();
    let days = now.duration_since(seen.updated).as_hours() / 24;
    // The author of an embed names the token that created it.
    let who = seen.created_by.rsplit_once(" by ");
    let who = who.map_or(&*seen.created_by, |(_, maker)| maker).to_owned();
    let tokens = visit.app.store(Store::tokens).await;
    let tokens = tokens.map_err(Problem::of_store)?;
    let is_there = tokens
        .iter()
        .any(|token| token.name == who && token.expires.is_none_or(|expires| expires > now));
    Ok(Age {
        days: usize::try_from(days).ok().filter(|days| *days >= OLD_DAYS),
        left_by: (who != LOCAL && !is_there).then_some(who),
    })
}

async fn runs(visit: &Visit, name: &str) -> Result<Vec<RunRow>, Problem> {
    let runs = of_connection(&visit.app, name.to_owned()).await?;
    let rows = runs.iter().take(RUNS).map(|run| {
        let streams = streams_of_run(visit, run);
        row(run, &streams)
    });
    Ok(rows.collect())
}

/// The audit of a connection, for callers who may read it.
async fn history(visit: &Visit, name: &str) -> Result<Vec<Change>, Problem> {
    if visit.may(Scope::Admin).is_err() {
        return Ok(Vec::new());
    }
    let name = name.to_owned();
    let rows = visit
        .app
        .store(move |store| store.audit(None, CHANGES, Some(&name)));
    let rows = rows.await.map_err(Problem::of_store)?;
    Ok(rows.into_iter().map(change).collect())
}

fn change(row: AuditRow) -> Change {
    Change {
        at: row.time,
        who: row.who,
        what: action(&row.what, &row.outcome),
        request_id: row.request_id,
    }
}

/// The sentence of a row of the audit.
fn action(what: &str, outcome: &str) -> String {
    let what = match what {
        "checked" => return format!("Test {outcome}"),
        "created" => "Created",
        "deleted" => "Deleted",
        "described" => "Name or description changed",
        "entered again" => "Entered again",
        "previewed" => "Records previewed",
        "previewed with personal data" => "Records previewed with personal data",
        "replaced" => "Credentials or settings changed",
        "restored" => "Restored",
        "scheduled" => "Schedule set",
        "scheduled run" => "Scheduled run",
        "sent elsewhere" => "Destination changed",
        "sync cancelled" => "Sync stopped",
        "sync started" => "Sync started",
        "tested" => return format!("Change tested: {outcome}"),
        "undone" => "Last change undone",
        "unscheduled" => "Schedule removed",
        other => other,
    };
    match outcome {
        "done" | "started" | "asked" => what.to_owned(),
        _ => format!("{what}: {outcome}"),
    }
}

/// The saved test as the page shows it.
fn tested(found: &ConnectionWithForm) -> Option<ProbeResult> {
    let check = found.connection.last_check.as_ref()?;
    let checks = check.said.report.checks.clone();
    let took = checks.iter().filter_map(|check| check.latency);
    Some(ProbeResult {
        at: check.checked,
        seconds: took.map(|took| took.as_secs_f64()).sum(),
        request_id: None,
        report: ProbeReport {
            checks,
            allowances: check.said.report.allowances.clone(),
            patch: offer(found),
        },
    })
}

/// The corrections of the last test that the config does not have yet. Never a secret.
pub(super) fn offer(found: &ConnectionWithForm) -> Option<ConfigPatch> {
    let check = found.connection.last_check.as_ref()?;
    let mut offered = check.said.report.patch.clone()?;
    let open = open_pointers(&found.form);
    let config = &found.connection.config;
    offered.set.retain(|pointer, value| {
        open.contains(&**pointer) && config.pointer(pointer) != Some(value)
    });
    (!offered.set.is_empty()).then_some(offered)
}

/// The change (JSON Merge Patch) that the last test offers.
fn offered_change(found: &ConnectionWithForm) -> Option<Value> {
    let mut change = Value::Null;
    offer(found)?.apply(&mut change);
    Some(change)
}
