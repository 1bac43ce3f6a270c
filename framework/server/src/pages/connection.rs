//! One saved connection: how it is, what was done with it, testing, undoing and deleting it.

use std::collections::BTreeMap;

use axum::{Extension, response::Response};
use headwater_console::{
    Access, Change, ConnectionDetail, SavedSecret, Tested, Tile, Use, connection,
};
use headwater_core::{Check, Outcome, ProbeReport};
use headwater_store::{Audited, LastCheck, Scope};
use http::StatusCode;
use serde_json::Value;

use super::{
    Posted, Visit,
    gallery::{source_of, status_of},
    see_other,
    streams::outcome_named,
    syncs::{row, streams_of as streams_of_run},
};
use crate::{
    api::{
        connections::{Found, View, actor, find, keep, streams_of, view},
        syncs::of_connection,
    },
    body::Path,
    probing::{open_saved, probe},
    problem::Problem,
};

/// How many of its runs and of the changes of it are shown.
const RUNS: usize = 10;
const CHANGES: usize = 20;

pub(super) async fn show(
    Extension(visit): Extension<Visit>,
    Path(name): Path<String>,
) -> Result<Response, Problem> {
    visit.may(Scope::Read)?;
    let found = find(&visit.app, name).await?;
    page(&visit, StatusCode::OK, &found, None).await
}

pub(super) async fn act(
    Extension(visit): Extension<Visit>,
    Path(name): Path<String>,
    posted: Posted,
) -> Result<Response, Problem> {
    let path = format!("/connections/{name}");
    let done = match posted.text("action") {
        "test" => test(&visit, &name).await.map(|()| path),
        "undo" => undo(&visit, &name, posted.revision()).await.map(|()| path),
        "delete" => delete(&visit, &name, &posted)
            .await
            .map(|()| "/connections".to_owned()),
        _ => Err(Problem::bad_request(
            "this cannot be done with a connection",
        )),
    };
    match done {
        Ok(path) => Ok(see_other(&path)),
        Err(problem) if problem.status() == StatusCode::NOT_FOUND => Err(problem),
        Err(problem) => {
            visit.may(Scope::Read)?;
            let found = find(&visit.app, name).await?;
            page(&visit, problem.status(), &found, Some(problem.detail)).await
        }
    }
}

async fn test(visit: &Visit, name: &str) -> Result<(), Problem> {
    let (app, actor) = (&visit.app, actor(visit.may(Scope::Use)?));
    let opened = open_saved(app, name).await?;
    let report = probe(app, &*opened.connector, &*opened.source, |_| {}).await?;
    let (name, version) = (name.to_owned(), opened.connection.version);
    app.store(move |store| keep(store, &name, version, &report, &actor).map(drop))
        .await
        .map_err(Problem::of_store)
}

async fn undo(visit: &Visit, name: &str, revision: Result<i64, Problem>) -> Result<(), Problem> {
    let actor = actor(visit.may(Scope::Admin)?);
    let (name, revision) = (name.to_owned(), revision?);
    let undone = visit
        .app
        .store(move |store| store.undo(&name, Some(revision), &actor));
    undone.await.map_err(Problem::of_store)
}

async fn delete(visit: &Visit, name: &str, posted: &Posted) -> Result<(), Problem> {
    let actor = actor(visit.may(Scope::Admin)?);
    let revision = posted.revision()?;
    let found = find(&visit.app, name.to_owned()).await?;
    let is_confirmed = posted.text("confirm").trim() == name;
    if !uses(&found).is_empty() && !is_confirmed {
        let text = format!("type {name} to delete it: it is in use");
        let status = StatusCode::UNPROCESSABLE_ENTITY;
        return Err(Problem::new(status, "not_confirmed", text));
    }
    let name = name.to_owned();
    let deleted = visit
        .app
        .store(move |store| store.delete(&name, Some(revision), &actor));
    deleted.await.map_err(Problem::of_store)
}

/// What stops to work without a connection: its schedule.
fn uses(found: &Found) -> Vec<Use> {
    let scheduled = found.connection.schedule.iter();
    scheduled
        .map(|scheduled| Use {
            title: format!("the schedule to {}", scheduled.schedule.destination),
            path: format!("/connections/{}/streams", found.connection.name),
        })
        .collect()
}

/// What is known of the secrets of a connection, by pointer.
pub(super) fn secrets_of(view: &View) -> BTreeMap<String, SavedSecret> {
    let secret = SavedSecret {
        at: view.updated,
        by: None,
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
    found: &Found,
    refused: Option<String>,
) -> Result<Response, Problem> {
    let seen = view(&found.form, &found.connection);
    let history = history(visit, seen.name.clone()).await?;
    let runs = of_connection(&visit.app, seen.name.clone()).await?;
    let runs = runs.iter().take(RUNS).map(|run| {
        let streams = streams_of_run(visit, run);
        row(run, seen.title.clone(), &streams)
    });
    let access = streams_of(found).into_iter().filter_map(|stream| {
        let access = stream.access?;
        Some(Access {
            stream: stream.spec.name.to_owned(),
            outcome: outcome_named(&access.outcome)?,
            message: access.message,
        })
    });
    let source = source_of(&*found.connector);
    let used_by = uses(found);
    let view = ConnectionDetail {
        tile: Tile {
            name: seen.name.clone(),
            title: seen.title.clone(),
            description: seen.description.clone(),
            source_id: source.id.clone(),
            source_name: source.name.clone(),
            status: status_of(seen.health),
            checked_at: seen.checked.as_ref().map(|check| check.at),
            owner: Some(seen.created_by.clone()),
            used_by: used_by.len(),
        },
        source: &source,
        form: &found.form,
        saved: secrets_of(&seen),
        version: seen.revision.to_string(),
        created: seen.created,
        updated: seen.updated,
        problem: None,
        tested: found.connection.last_check.as_ref().map(tested),
        access: access.collect(),
        allowances: Vec::new(),
        used_by,
        history: history.into_iter().map(change).collect(),
        runs: runs.collect(),
        undo_until: seen.undo_until,
        done: None,
        refused,
        config: seen.config,
    };
    Ok(visit.show(status, connection(&view, &visit.app.texts)))
}

/// What was done with a connection, for those who may read the audit.
async fn history(visit: &Visit, name: String) -> Result<Vec<Audited>, Problem> {
    if visit.may(Scope::Admin).is_err() {
        return Ok(Vec::new());
    }
    let rows = visit
        .app
        .store(move |store| store.audit(None, CHANGES, Some(&name)));
    rows.await.map_err(Problem::of_store)
}

fn change(row: Audited) -> Change {
    Change {
        at: row.time,
        who: row.who,
        what: match row.outcome.as_str() {
            "done" => row.what,
            outcome => format!("{}: {outcome}", row.what),
        },
        request_id: row.request_id,
    }
}

/// A kept test, as far as it is for people.
fn tested(check: &LastCheck) -> Tested {
    let checks = check.said.report["checks"].as_array();
    let checks: Vec<Check> = checks.into_iter().flatten().map(check_of).collect();
    let took = checks.iter().filter_map(|check| check.latency);
    Tested {
        at: check.checked,
        seconds: took.map(|took| took.as_secs_f64()).sum(),
        request_id: None,
        report: ProbeReport::from(checks),
    }
}

fn check_of(kept: &Value) -> Check {
    let text = |name: &str| kept[name].as_str().unwrap_or_default().to_owned();
    let pointers = kept["pointers"].as_array().into_iter().flatten();
    let latency = kept["latency_ms"].as_u64();
    Check {
        outcome: outcome_named(&text("outcome")).unwrap_or(Outcome::Skipped),
        pointers: pointers
            .filter_map(|pointer| pointer.as_str().map(str::to_owned))
            .collect(),
        remedy: kept["remedy"].as_str().map(str::to_owned),
        latency: latency.map(std::time::Duration::from_millis),
        ..Check::passed(text("name"), text("message"))
    }
}
