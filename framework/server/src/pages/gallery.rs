//! The sources, and the saved connections of one or of all of them.

use axum::{Extension, response::Response};
use headwater_console::{
    Authenticate, ConnectionList, Expiry, Gallery, Source, SourceTile, Status, Tile, authenticate,
    connections, gallery,
};
use headwater_core::{AnyConnector, Date};
use headwater_store::{Health, SOON_DAYS, Scope, days_until};
use http::StatusCode;
use serde::Deserialize;
use tokio::task::JoinSet;

use super::{FormBody, Visit, connection::test, see_other, with_query};
use crate::{
    api::connections::{Line, find, page},
    app::App,
    body::{Path, Query},
    probing::connector,
    problem::Problem,
};

/// How many connections are read at once.
const READ: usize = 1_000;
/// How many connections a page shows, and how many are tested again by one click.
const SHOWN: usize = 100;
/// How many of them are tested at once.
const TESTED_AT_ONCE: usize = 16;

/// The query of a search.
#[derive(Deserialize)]
pub(super) struct Search {
    #[serde(default)]
    q: String,
    #[serde(default)]
    status: String,
    after: Option<String>,
    /// How many connections were tested again, and how many of them work.
    tested: Option<usize>,
    working: Option<usize>,
}

/// The connection that was just added.
#[derive(Deserialize)]
pub(super) struct AddedQuery {
    added: Option<String>,
}

pub(super) fn source_of(connector: &dyn AnyConnector) -> Source {
    let about = connector.about();
    Source {
        id: about.id.to_owned(),
        name: about.name.to_owned(),
        summary: about.summary.to_owned(),
        docs: about.docs.to_owned(),
    }
}

pub(super) fn status_of(health: Health) -> Status {
    match health {
        Health::Working => Status::Working,
        Health::NeedsAttention => Status::NeedsAttention,
        Health::Unfinished => Status::Unfinished,
        Health::Incomplete => Status::Incomplete,
        Health::Expiring => Status::Expiring,
        Health::NotTested => Status::NotTested,
        Health::Unreadable => Status::Unreadable,
    }
}

/// The date of expiry of a connection, if it is near.
pub(super) fn expiry(expires: Option<Date>) -> Option<Expiry> {
    let expiry = expires.map(|on| Expiry {
        on,
        days: days_until(on),
    });
    expiry.filter(|expiry| expiry.days <= SOON_DAYS)
}

fn tile(app: &App, line: Line) -> Tile {
    let source_name = app.registry.get(&line.connector).map_or_else(
        |_| line.connector.clone(),
        |one| one.about().name.to_owned(),
    );
    Tile {
        status: status_of(line.health),
        expiry: expiry(line.expires),
        checked_at: line.checked.map(|check| check.at),
        source_id: line.connector,
        source_name,
        owner: Some(line.created_by),
        used_by: usize::from(line.is_scheduled),
        name: line.name,
        title: line.title,
        description: line.description,
    }
}

/// The first matching connections after a name, one more than a page shows at most.
async fn matching(
    app: &App,
    mut after: Option<String>,
    source: Option<&str>,
    limit: usize,
    is_wanted: impl Fn(&Tile) -> bool,
) -> Result<Vec<Tile>, Problem> {
    let mut found = Vec::new();
    loop {
        let (lines, next) = page(app, after, READ, source.map(str::to_owned)).await?;
        let tiles = lines.into_iter().map(|line| tile(app, line));
        found.extend(tiles.filter(&is_wanted));
        if next.is_none() || found.len() > limit {
            found.truncate(limit.saturating_add(1));
            return Ok(found);
        }
        after = next;
    }
}

/// Whether one of the texts contains each word of a search.
fn matches(query: &str, texts: &[&str]) -> bool {
    let texts: Vec<String> = texts.iter().map(|text| text.to_lowercase()).collect();
    let query = query.to_lowercase();
    let mut words = query.split_whitespace();
    words.all(|word| texts.iter().any(|text| text.contains(word)))
}

pub(super) async fn sources(
    Extension(visit): Extension<Visit>,
    Query(search): Query<Search>,
) -> Result<Response, Problem> {
    visit.may(Scope::Read)?;
    let saved = matching(&visit.app, None, None, usize::MAX, |_| true).await?;
    let sources = visit.app.registry.iter().map(|one| source_of(&**one));
    let found = sources.filter(|source| matches(&search.q, &[&source.name, &source.summary]));
    let tile = |source: Source| {
        let own = || saved.iter().filter(|tile| tile.source_id == source.id);
        let is_wrong =
            |tile: &&Tile| matches!(tile.status, Status::NeedsAttention | Status::Unreadable);
        SourceTile {
            connections: own().count(),
            attention: own().filter(is_wrong).count(),
            expiring: own().filter(|tile| tile.expiry.is_some()).count(),
            source,
        }
    };
    let view = Gallery {
        tiles: found.map(tile).collect(),
        query: search.q,
    };
    Ok(visit.show(StatusCode::OK, gallery(&view, &visit.app.texts)))
}

pub(super) async fn source(
    Extension(visit): Extension<Visit>,
    Path(id): Path<String>,
    Query(search): Query<Search>,
    Query(done): Query<AddedQuery>,
) -> Result<Response, Problem> {
    visit.may(Scope::Read)?;
    let connector = connector(&visit.app, &id)?;
    let is_wanted = |tile: &Tile| matches(&search.q, &[&tile.title, &tile.description, &tile.name]);
    let tiles = matching(&visit.app, None, Some(&id), usize::MAX, is_wanted).await?;
    let view = Authenticate {
        source: source_of(&*connector),
        selected: done.added.clone(),
        added: done.added,
        tiles,
    };
    Ok(visit.show(StatusCode::OK, authenticate(&view, &visit.app.texts)))
}

/// Continues with the chosen connection.
pub(super) async fn go_on(
    Extension(visit): Extension<Visit>,
    posted: FormBody,
) -> Result<Response, Problem> {
    visit.may(Scope::Read)?;
    let name = posted.text("connection").to_owned();
    match find(&visit.app, name.clone()).await {
        Ok(_) => Ok(see_other(&format!("/connections/{name}/streams"))),
        // Its page shows the remedy.
        Err(problem) if problem.code == "unreadable" => {
            Ok(see_other(&format!("/connections/{name}")))
        }
        Err(problem) => Err(problem),
    }
}

/// Retests connections that need attention, as many as a page shows.
pub(super) async fn retest(
    Extension(visit): Extension<Visit>,
    posted: FormBody,
) -> Result<Response, Problem> {
    visit.may(Scope::Use)?;
    if posted.text("action") != "retest" {
        return Err(Problem::bad_request(
            "unknown action; this page can only retest connections",
        ));
    }
    let is_wrong = |tile: &Tile| tile.status == Status::NeedsAttention;
    let mut tiles = matching(&visit.app, None, None, SHOWN, is_wrong).await?;
    tiles.truncate(SHOWN);
    let (mut tested, mut working) = (0_usize, 0_usize);
    let (mut waiting, mut testing) = (tiles.into_iter(), JoinSet::new());
    loop {
        let free = TESTED_AT_ONCE.saturating_sub(testing.len());
        for tile in waiting.by_ref().take(free) {
            let visit = visit.clone();
            testing.spawn(async move { test(&visit, &tile.name).await });
        }
        let Some(done) = testing.join_next().await else {
            break;
        };
        // A connection that could not be tested stays unchanged.
        tested += 1;
        working += usize::from(matches!(done, Ok(Ok(true))));
    }
    let (tested, working) = (tested.to_string(), working.to_string());
    let pairs = [("tested", &*tested), ("working", &working)];
    Ok(see_other(&with_query("/connections", &pairs)))
}

pub(super) async fn saved(
    Extension(visit): Extension<Visit>,
    Query(search): Query<Search>,
) -> Result<Response, Problem> {
    visit.may(Scope::Read)?;
    let status = Status::ALL
        .into_iter()
        .find(|status| status.name() == search.status);
    let is_wanted = |tile: &Tile| {
        let texts = [
            &*tile.title,
            &tile.description,
            &tile.source_name,
            &tile.name,
        ];
        // A failed connection that expires soon counts in both.
        let is_ending = status == Some(Status::Expiring) && tile.expiry.is_some();
        let is_of_status = is_ending || status.is_none_or(|status| tile.status == status);
        is_of_status && matches(&search.q, &texts)
    };
    let mut tiles = matching(&visit.app, search.after, None, SHOWN, is_wanted).await?;
    let has_more = tiles.len() > SHOWN;
    tiles.truncate(SHOWN);
    let next = tiles.last().filter(|_| has_more).map(|last| {
        let status = status.map_or("", Status::name);
        let pairs = [("q", &*search.q), ("status", status), ("after", &last.name)];
        with_query("/connections", &pairs)
    });
    let view = ConnectionList {
        tiles,
        query: search.q,
        status,
        next,
        retested: search.tested.zip(search.working),
    };
    Ok(visit.show(StatusCode::OK, connections(&view, &visit.app.texts)))
}
