//! Connections as they may be shown: without their secrets, with what the last test said.

use headwater_core::{Date, Field, FieldKind, FormModel, StreamSpec, Timestamp};
use headwater_store::{Connection, LastCheck, Listed, days_until};
use schemars::JsonSchema;
use serde::Serialize;
use serde_json::Value;

use super::{super::schedules, Found, change::remove};

/// How many days before its end a connection is shown as one that ends.
pub(crate) const SOON_DAYS: i32 = 14;

/// How a connection is, as far as is known without asking.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Health {
    /// The last test passed.
    Working,
    /// The last test failed.
    NeedsAttention,
    /// Its secrets end within 14 days, or should have ended.
    Expiring,
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
    /// The day on which its secrets end, as people said.
    pub expires: Option<Date>,
    pub connector: String,
    pub health: Health,
    pub checked: Option<Checked>,
    /// Why it cannot be read.
    pub problem: Option<String>,
    pub created_by: String,
    /// Grows with each change; the ETag is made of it.
    pub revision: i64,
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
    /// The day on which its secrets end, as people said.
    pub expires: Option<Date>,
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
    /// Who changed the config last.
    pub updated_by: String,
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

fn checked(check: &LastCheck) -> Checked {
    Checked {
        at: check.checked,
        outcome: check.said.outcome.clone(),
        code: check.said.code.clone(),
        message: check.said.message.clone(),
    }
}

fn health(check: Option<&LastCheck>, expires: Option<Date>) -> Health {
    let is_ending = expires.is_some_and(|day| days_until(day) <= SOON_DAYS);
    match check.map(|check| check.said.outcome.as_str()) {
        Some("failed") => Health::NeedsAttention,
        _ if is_ending => Health::Expiring,
        None => Health::NotTested,
        Some(_) => Health::Working,
    }
}

pub(super) fn line(listed: Listed) -> Line {
    Line {
        health: match listed.problem {
            Some(_) => Health::Unreadable,
            None => health(listed.last_check.as_ref(), listed.expires),
        },
        checked: listed.last_check.as_ref().map(checked),
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
        expires: connection.expires,
        connector: connection.connector.clone(),
        config,
        secrets,
        health: health(connection.last_check.as_ref(), connection.expires),
        checked: connection.last_check.as_ref().map(checked),
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

/// The fields at which the last test failed. Where one of them says where the secrets are sent, they belong to it: they
/// have to be given again when it changes.
pub(crate) fn failing(found: &Found) -> Vec<String> {
    let check = found.connection.last_check.as_ref();
    let checks = check.and_then(|check| check.said.report["checks"].as_array());
    let failed = checks.into_iter().flatten();
    let failed = failed.filter(|check| check["outcome"] == "failed");
    let mut pointers: Vec<String> = failed
        .filter_map(|check| check["pointers"].as_array())
        .flatten()
        .filter_map(|pointer| pointer.as_str().map(str::to_owned))
        .collect();
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
