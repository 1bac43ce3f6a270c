//! The last probe of a connection.

use headwater_core::{Outcome, ProbeReport, Result, Timestamp};
use serde::{Deserialize, Deserializer, Serialize};
use serde_json::{Value, json};

use crate::{
    audit::{Actor, Event, audited},
    connection_row::{ConnectionRow, ConnectionsTable, changed, unreadable},
    connections::timestamp,
    store::Store,
};

/// A saved probe of a connection.
#[derive(Clone, Debug, PartialEq)]
pub struct LastCheck {
    /// When it ended.
    pub checked: Timestamp,
    /// Its result.
    pub said: CheckSummary,
}

impl LastCheck {
    /// Summarises a probe that has just ended.
    pub fn of(report: &ProbeReport) -> Self {
        let outcome = report.outcome();
        let mut checks = report.checks.iter();
        let worst = checks.find(|check| check.outcome == outcome && outcome >= Outcome::Warned);
        Self {
            checked: Timestamp::now(),
            said: CheckSummary {
                outcome,
                code: worst.map(|check| check.code.clone().into_owned()),
                message: worst.map_or_else(
                    || "all checks passed".to_owned(),
                    |check| check.message.clone(),
                ),
                report: report.clone(),
            },
        }
    }
}

/// The result of a probe: a summary and the whole report.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
pub struct CheckSummary {
    /// The outcome.
    pub outcome: Outcome,
    /// The code of the worst check.
    pub code: Option<String>,
    /// The sentence that people read.
    pub message: String,
    /// The whole report; empty where an earlier version saved one that this one cannot read.
    #[serde(deserialize_with = "known_report")]
    pub report: ProbeReport,
}

/// Reads a report, or none: a test that can be repeated does not make its connection unreadable.
fn known_report<'de, D: Deserializer<'de>>(saved: D) -> std::result::Result<ProbeReport, D::Error> {
    let report = Value::deserialize(saved)?;
    Ok(serde_json::from_value(report).unwrap_or_default())
}

impl Store {
    /// Saves the result of a probe of one version of a connection's config. Returns false if the config has changed or
    /// a later result is saved.
    ///
    /// # Errors
    ///
    /// Fails if the store cannot be written.
    pub fn record_check(
        &mut self,
        name: &str,
        version: i64,
        check: &LastCheck,
        actor: &Actor,
    ) -> Result<bool> {
        let summary = json!(check.said).to_string();
        audited(self, actor, |change| {
            let statement = format!(
                "UPDATE headwater_connections SET checked = ?1, last_check = ?2 \
                 WHERE name = ?3 AND deleted IS NULL AND version = ?4 AND (checked IS NULL OR checked <= ?1) \
                 RETURNING {}",
                ConnectionsTable::ID
            );
            let parameters = [
                check.checked.as_millisecond().into(),
                summary.as_str().into(),
                name.into(),
                version.into(),
            ];
            let rows = change.database.query(&statement, &parameters)?;
            let event = Event::new("checked").named(name).at(version);
            let event = event.ended(check.said.outcome.as_str());
            match rows.first() {
                Some(row) => Ok((true, event.id(&row.get(ConnectionsTable::ID)?))),
                None => Ok((false, event)),
            }
        })
    }
}

/// The saved probe of a connection.
pub(crate) fn last_check(stored: &ConnectionRow) -> Result<Option<LastCheck>> {
    let (Some(checked), Some(summary)) = (stored.checked, &stored.last_check) else {
        return Ok(None);
    };
    let summary =
        serde_json::from_str(summary).map_err(|_| unreadable(&stored.name, &changed()))?;
    Ok(Some(LastCheck {
        checked: timestamp(checked)?,
        said: summary,
    }))
}
