//! Data sources of clariBI, and the status of reading them.

use serde_json::{Value, json};

use super::catalogue::{Catalogue, Kind, instant};
use super::options::{Ids, SourceField};
use super::record::Record;
use crate::random::Rolls;

/// The values that the filter `status` takes.
pub(crate) const STATUSES: &[&str] = &["active", "paused", "error"];

/// The values that the filter `type` takes.
pub(crate) const TYPES: &[&str] = &["database", "api", "file", "cloud"];

/// `preprocessing` is in the vendor's pages on another interface, and no value of the filter.
const STATUS_TURNS: &[&str] = &[
    "active",
    "error",
    "active",
    "paused",
    "active",
    "active",
    "preprocessing",
    "active",
];

const MINUTE: u64 = 60_000;
const DAY: u64 = 24 * 60 * MINUTE;

/// The title and the failure of one kind of source.
struct Engine {
    name: &'static str,
    title: &'static str,
    failure: &'static str,
}

const DATABASES: &[Engine] = &[
    Engine {
        name: "postgresql",
        title: "PostgreSQL",
        failure: "The connection timed out after 60 seconds.",
    },
    Engine {
        name: "mysql",
        title: "MySQL",
        failure: "Access denied for user 'reader'@'%'.",
    },
];

const APIS: &[Engine] = &[
    Engine {
        name: "google_analytics",
        title: "Google Analytics",
        failure: "The authorization has expired. Connect the account again.",
    },
    Engine {
        name: "jira",
        title: "Jira",
        failure: "The service answered with status 403.",
    },
];

const FILES: &[Engine] = &[Engine {
    name: "csv",
    title: "CSV",
    failure: "Line 1048577 has 12 columns instead of 13: «Zürich»;\t…",
}];

const CLOUDS: &[Engine] = &[Engine {
    name: "bigquery_query",
    title: "BigQuery",
    failure: "The query used more than its quota.",
}];

const PLACES: &[&str] = &[
    "Production",
    "Staging",
    "Finance",
    "Vertrieb",
    "Café Orbital",
];

pub(crate) fn status(catalogue: &Catalogue, index: u64) -> &'static str {
    catalogue.pick_in_turn(Kind::DataSource, index, STATUS_TURNS)
}

pub(crate) fn source_type(catalogue: &Catalogue, index: u64) -> &'static str {
    // One step more after every five, so that types and statuses meet in every combination.
    catalogue.pick_in_turn(Kind::DataSource, index / 5 + index, TYPES)
}

/// The record; single records have more fields than those in lists (proposed).
pub(crate) fn record(
    catalogue: &Catalogue,
    index: u64,
    ids: Ids,
    source_field: SourceField,
    is_detail: bool,
) -> Record {
    let mut rolls = Rolls::new(catalogue.seed, Kind::DataSource.purpose(), index);
    let status = status(catalogue, index);
    let source_type = source_type(catalogue, index);
    let engine = engine(source_type, rolls.next());
    let city = rolls.pick(PLACES);
    let created = catalogue.created(Kind::DataSource, index);
    let last_synced = last_synced(catalogue, status, created, &mut rolls);
    let type_name = match source_field {
        SourceField::Type => "type",
        SourceField::SourceType => "source_type",
    };
    let record = Record::default()
        .with("id", catalogue.id(Kind::DataSource, index, ids))
        .with("name", format!("{city} {} {}", engine.title, index + 1))
        .with(type_name, source_type)
        .with("engine", engine.name)
        .with("status", status)
        .with("last_synced_at", last_synced.map(instant))
        .with("created_at", instant(created))
        // Not in any page: a client must not stumble over fields that it does not know.
        .with_json("health_score", &spelled(&mut rolls, 100))
        .with("labels", json!({"team": city, "rank": index % 3}));
    if !is_detail {
        return record;
    }
    let rows = spelled(&mut rolls, 5_000_000);
    record
        .with("updated_at", instant(last_synced.unwrap_or(created)))
        .with("error_message", error_message(status, engine))
        .with_json("row_count", last_synced.map_or("null", |_| rows.as_str()))
        .with("sync_schedule", rolls.pick(&["hourly", "daily", "weekly"]))
}

fn engine(source_type: &str, number: u64) -> &'static Engine {
    let engines = match source_type {
        "database" => DATABASES,
        "api" => APIS,
        "file" => FILES,
        _ => CLOUDS,
    };
    let position = usize::try_from(number % engines.len() as u64).unwrap_or_default();
    engines.get(position).unwrap_or(&DATABASES[0])
}

fn error_message(status: &str, engine: &Engine) -> Value {
    match status {
        "error" => engine.failure.into(),
        "paused" => "Paused after 5 failures in a row.".into(),
        _ => Value::Null,
    }
}

/// The last read of a source: never while it is being prepared, long ago when it fails, and mostly
/// within a day otherwise. A few have a good status although their last read is long ago or missing.
fn last_synced(
    catalogue: &Catalogue,
    status: &str,
    created: i64,
    rolls: &mut Rolls,
) -> Option<i64> {
    let age = match (status, rolls.below(10)) {
        ("preprocessing", _) | ("active", 0) => return None,
        ("active", 1) => rolls.between(20 * DAY, 90 * DAY),
        ("active", _) => rolls.between(MINUTE, DAY),
        _ => rolls.between(5 * DAY, 120 * DAY),
    };
    let age = i64::try_from(age).unwrap_or_default();
    Some((catalogue.as_of() - age).max(created))
}

/// A number in one of the spellings that Python writes. Some of them another reader of JSON would
/// not write again in the same way.
fn spelled(rolls: &mut Rolls, bound: u64) -> String {
    let number = rolls.below(bound);
    match rolls.below(6) {
        0 => format!("{number}.0"),
        1 => format!("{number}.30000000000000004"),
        2 => format!("{}e+16", 1 + number % 9),
        3 => format!("900719925474099{}", 3 + number % 7),
        _ => number.to_string(),
    }
}
