//! What the last check of a connection said.

use headwater_core::{Outcome, ProbeReport, Result, Timestamp};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::{
    audit::{Actor, Event, audited},
    connection_row::{ConnectionRow, changed, unreadable},
    connections::timestamp,
    store::Store,
};

/// A check of a connection, as it is kept.
#[derive(Clone, Debug, PartialEq)]
pub struct LastCheck {
    /// When it was made.
    pub checked: Timestamp,
    /// What it said.
    pub said: CheckSummary,
}

impl LastCheck {
    /// What a probe said that has just ended.
    pub fn of(report: &ProbeReport) -> Self {
        let outcome = report.outcome();
        let mut checks = report.checks.iter();
        let worst = checks.find(|check| check.outcome == outcome && outcome >= Outcome::Warned);
        Self {
            checked: Timestamp::now(),
            said: CheckSummary {
                outcome: json!(outcome).as_str().unwrap_or_default().to_owned(),
                code: worst.map(|check| check.code.to_owned()),
                message: worst.map_or_else(
                    || "everything is as it should be".to_owned(),
                    |check| check.message.clone(),
                ),
                report: json!(report),
            },
        }
    }
}

/// What a check said, in short and as a whole.
#[derive(Clone, Debug, Default, Deserialize, PartialEq, Serialize)]
pub struct CheckSummary {
    /// How it ended.
    pub outcome: String,
    /// The class of what is wrong.
    pub code: Option<String>,
    /// The sentence for people.
    pub message: String,
    /// The whole report.
    pub report: Value,
}

impl Store {
    /// Keeps what a check said of a version of a connection's config, and returns whether it did: not where the config
    /// has become another one, or where a later check is known.
    pub fn record_check(
        &mut self,
        name: &str,
        version: i64,
        check: &LastCheck,
        actor: &Actor,
    ) -> Result<bool> {
        let said = json!(check.said).to_string();
        audited(self, actor, |change| {
            let statement = "UPDATE headwater_connections SET checked = ?1, last_check = ?2 \
                             WHERE name = ?3 AND deleted IS NULL AND version = ?4 AND (checked IS NULL OR checked <= ?1) \
                             RETURNING id";
            let parameters = [
                check.checked.as_millisecond().into(),
                said.as_str().into(),
                name.into(),
                version.into(),
            ];
            let rows = change.database.query(statement, &parameters)?;
            let event = Event::new("checked").named(name).at(version);
            let event = event.ended(&check.said.outcome);
            match rows.first() {
                Some(row) => Ok((true, event.id(&row.text(0)?))),
                None => Ok((false, event)),
            }
        })
    }
}

/// The check that is kept of a connection.
pub(crate) fn last_check(stored: &ConnectionRow) -> Result<Option<LastCheck>> {
    let (Some(checked), Some(said)) = (stored.checked, &stored.last_check) else {
        return Ok(None);
    };
    let said = serde_json::from_str(said).map_err(|_| unreadable(&stored.name, &changed()))?;
    Ok(Some(LastCheck {
        checked: timestamp(checked)?,
        said,
    }))
}
