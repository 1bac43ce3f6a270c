//! The public view of connections: without secrets, with the last test.

use headwater_core::{Date, Field, FieldKind, FormModel, Outcome, StreamSpec, Timestamp};
use headwater_store::{Connection, ConnectionSummary, Health, LastCheck, LastSync};
use schemars::JsonSchema;
use serde::Serialize;
use serde_json::Value;

use super::{super::schedules, ConnectionWithForm, change::remove};

/// A summary of the last sync of the config.
#[derive(Clone, Debug, Serialize, JsonSchema)]
pub(crate) struct Synced {
    /// When it ended.
    pub at: Timestamp,
    /// `complete`, `partial`, `suspended`, `stopped` or `failed`.
    pub outcome: String,
    /// The kind of error that ended it, or a stream of it.
    pub code: Option<String>,
    /// The sentence for people.
    pub message: String,
}

/// A summary of a test.
#[derive(Clone, Debug, Serialize, JsonSchema)]
pub(crate) struct Checked {
    /// When it ended.
    pub at: Timestamp,
    /// Its outcome.
    pub outcome: Outcome,
    /// The code of the worst check.
    pub code: Option<String>,
    /// The sentence for people.
    pub message: String,
}

/// A connection in a list.
#[derive(Serialize, JsonSchema)]
#[schemars(rename = "ConnectionLine")]
pub(crate) struct Line {
    pub name: String,
    pub title: String,
    pub description: String,
    /// The day on which its secrets expire, as entered.
    pub expires: Option<Date>,
    pub connector: String,
    pub health: Health,
    pub checked: Option<Checked>,
    pub synced: Option<Synced>,
    /// Why it cannot be read.
    pub problem: Option<String>,
    pub created_by: String,
    /// Grows with each change; the ETag is derived from it.
    pub revision: i64,
    pub updated: Option<Timestamp>,
    /// Whether it has a schedule.
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
    /// The day on which its secrets expire, as entered.
    pub expires: Option<Date>,
    pub connector: String,
    /// The config. Secrets are absent.
    pub config: Value,
    /// The secrets that are set.
    pub secrets: Vec<SecretView>,
    pub health: Health,
    pub checked: Option<Checked>,
    pub synced: Option<Synced>,
    /// Grows with each change of the config.
    pub version: i64,
    /// Grows with each change; the ETag is derived from it.
    pub revision: i64,
    pub created: Timestamp,
    pub created_by: String,
    pub updated: Timestamp,
    /// Who changed the config last.
    pub updated_by: String,
    /// Until when the last change of the config can be undone.
    pub undo_until: Option<Timestamp>,
    /// Its schedule, or null.
    pub schedule: Option<schedules::View>,
    /// Whether a sync is under way.
    pub running: bool,
}

/// A secret that is set. Its value is never shown.
#[derive(Serialize, JsonSchema)]
#[schemars(rename = "Secret")]
pub(crate) struct SecretView {
    /// JSON Pointer of the field.
    pub pointer: String,
    /// Whether the store holds the value, or only a reference to it.
    pub kind: SecretKind,
}

/// The location of a secret.
#[derive(Clone, Copy, Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub(crate) enum SecretKind {
    /// Sealed in the store.
    Sealed,
    /// Elsewhere; the config refers to it.
    Reference,
}

/// A stream and its access.
#[derive(Serialize, JsonSchema)]
#[schemars(rename = "Stream")]
pub(crate) struct StreamView {
    #[serde(flatten)]
    pub spec: StreamSpec,
    /// The access by the last test; null if not tested.
    pub access: Option<Access>,
}

/// The access to a stream by a test.
#[derive(Clone, Serialize, JsonSchema)]
pub(crate) struct Access {
    /// The outcome of its check.
    pub outcome: Outcome,
    /// The sentence.
    pub message: String,
}

fn checked(check: &LastCheck) -> Checked {
    Checked {
        at: check.checked,
        outcome: check.said.outcome,
        code: check.said.code.clone(),
        message: check.said.message.clone(),
    }
}

fn synced(sync: &LastSync) -> Synced {
    Synced {
        at: sync.ended,
        outcome: sync.outcome.clone(),
        code: sync.code.clone(),
        message: sync.message.clone(),
    }
}

pub(super) fn line(listed: ConnectionSummary) -> Line {
    Line {
        health: listed.health(),
        checked: listed.last_check.as_ref().map(checked),
        synced: listed.last_sync.as_ref().map(synced),
        name: listed.name,
        title: listed.title,
        description: listed.description,
        expires: listed.expires,
        connector: listed.connector,
        problem: listed.problem,
        created_by: listed.created_by,
        revision: listed.revision,
        updated: listed.updated,
        is_scheduled: listed.schedule.is_some(),
    }
}

/// The public view of a connection.
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
        expires: connection.expires,
        connector: connection.connector.clone(),
        config,
        secrets,
        health: connection.health(),
        checked: connection.last_check.as_ref().map(checked),
        synced: connection.last_sync.as_ref().map(synced),
        version: connection.version,
        revision: connection.revision,
        created: connection.created,
        created_by: connection.created_by.clone(),
        updated: connection.updated,
        updated_by: connection.updated_by.clone(),
        undo_until: connection.undo_until,
        schedule: connection.schedule.as_ref().map(schedules::View::of),
        running: connection.holder.is_some(),
    }
}

/// The fields that failed the last test. If one of them is the address for the secrets, the secrets are included: they
/// have to be entered again when it changes.
pub(crate) fn failing(found: &ConnectionWithForm) -> Vec<String> {
    let check = found.connection.last_check.as_ref();
    let checks = check
        .into_iter()
        .flat_map(|check| &check.said.report.checks);
    let failed = checks.filter(|check| check.outcome == Outcome::Failed);
    let mut pointers: Vec<String> = failed.flat_map(|check| check.pointers.clone()).collect();
    let inputs = found.form.inputs_of(&found.connection.config);
    let leads = |field: &&Field| field.destination && pointers.contains(&field.pointer);
    if inputs.iter().any(leads) {
        let secrets = inputs
            .iter()
            .filter(|field| field.kind == FieldKind::Secret);
        pointers.extend(secrets.map(|field| field.pointer.clone()));
    }
    pointers
}

/// The streams of a connection with their access by the last test.
pub(crate) fn streams_of(found: &ConnectionWithForm) -> Vec<StreamView> {
    let check = found.connection.last_check.as_ref();
    let checks = check.map_or(&[][..], |check| &check.said.report.checks);
    let access = |stream: &str| {
        let name = format!("access:{stream}");
        let check = checks.iter().find(|check| check.name == name)?;
        Some(Access {
            outcome: check.outcome,
            message: check.message.clone(),
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
