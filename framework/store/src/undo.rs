//! Restoring the previous config of a connection, one step and for a short time.

use std::{collections::BTreeMap, time::Duration};

use headwater_core::{Kind, Result, Timestamp};
use serde::{Deserialize, Serialize};
use serde_json::json;

use crate::{
    audit::{Actor, Change, Event, audited},
    connection_row::{ConnectionRow, SealedSecret, changed, unreadable},
    connections::timestamp,
    database::{Database, first, table},
    refusal::Refusal,
    seal::Binding,
    store::Store,
};

const UNDO_MILLISECONDS: i64 = 30 * 60 * 1000;

table! {
    /// Previous configs. Joined with its connection, a row may be missing.
    PreviousTable = "headwater_previous" {
        KEY_ID: String = "key_id",
        SEALED: String = "sealed",
        REPLACED: Option<i64> = "replaced",
    }
}

/// A replaced config. It is sealed as a whole, for its successor alone.
#[derive(Deserialize, Serialize)]
struct Previous {
    version: i64,
    config: String,
    identity: String,
    seals: BTreeMap<String, SealedSecret>,
    expires: Option<String>,
}

fn binding(id: &str, version: i64) -> Binding {
    Binding::new(&["previous", id, &version.to_string()])
}

/// Keeps the config of a connection, instead of an earlier one, before `new` replaces it. Its seals stay unchanged.
pub(crate) fn keep(change: &mut Change, stored: &ConnectionRow, new: &ConnectionRow) -> Result<()> {
    let previous = json!(Previous {
        version: stored.version,
        config: stored.config.clone(),
        identity: stored.identity.clone(),
        seals: stored.seals.clone(),
        expires: stored.expires.map(|day| day.to_string()),
    });
    let binding = binding(&stored.id, new.version);
    let sealed = SealedSecret::new(&change.key, &previous.to_string(), &binding)?;
    let statement = "INSERT INTO headwater_previous (connection, key_id, sealed, replaced) VALUES (?1, ?2, ?3, ?4) \
                     ON CONFLICT (connection) DO UPDATE \
                     SET key_id = excluded.key_id, sealed = excluded.sealed, replaced = excluded.replaced";
    let parameters = [
        stored.id.as_str().into(),
        sealed.key_id.as_str().into(),
        sealed.sealed.as_str().into(),
        new.updated.into(),
    ];
    change.database.execute(statement, &parameters).map(drop)
}

/// Until when the previous config can be restored.
pub(crate) fn until(stored: &ConnectionRow) -> Result<Option<Timestamp>> {
    let until = stored
        .replaced
        .map(|time| time.saturating_add(UNDO_MILLISECONDS));
    until.map(timestamp).transpose()
}

/// Forgets the configs that can no longer be restored.
pub(crate) fn forget_old(database: &mut dyn Database, now: i64) -> Result<u64> {
    let statement = "DELETE FROM headwater_previous WHERE replaced <= ?1";
    database.execute(statement, &[now.saturating_sub(UNDO_MILLISECONDS).into()])
}

impl Store {
    /// Forgets the previous config: making its replacement has ended its secrets.
    ///
    /// # Errors
    ///
    /// Fails if the store cannot be written.
    pub fn forget_previous(&mut self, name: &str) -> Result<()> {
        let statement = "DELETE FROM headwater_previous WHERE connection = \
                         (SELECT id FROM headwater_connections WHERE name = ?1)";
        self.database.execute(statement, &[name.into()])?;
        self.database.forget_deleted();
        Ok(())
    }

    /// How long [`Store::undo`] stays possible.
    pub const UNDO: Duration = Duration::from_millis(UNDO_MILLISECONDS.unsigned_abs());

    /// Restores the config before the last [`Store::replace`] as a new version.
    ///
    /// # Errors
    ///
    /// Fails if there is no earlier config, if it was replaced too long ago, or if the connection has another revision
    /// than the one given.
    pub fn undo(&mut self, name: &str, revision: Option<i64>, actor: &Actor) -> Result<()> {
        Self::check_name(name)?;
        let now = self.database.now()?;
        audited(self, actor, |change| {
            let held = change.hold(name, revision)?;
            let previous = previous(change, &held, now)?;
            let mut previous = previous.ok_or_else(|| nothing_to_undo(name))?;
            let secrets = previous.secrets(change.keyring);
            let secrets = secrets.map_err(|what| unreadable(name, &what))?;
            previous.version = held.version + 1;
            previous.updated = now;
            previous.updated_by = actor.who.clone();
            previous.seal_secrets(&secrets, &change.key)?;
            let database = &mut *change.database;
            previous.write_config(database)?;
            let statement = "UPDATE headwater_connections SET expires = ?1 WHERE id = ?2";
            database.execute(
                statement,
                &[previous.expires.into(), held.id.as_str().into()],
            )?;
            let statement = "DELETE FROM headwater_previous WHERE connection = ?1";
            database.execute(statement, &[held.id.as_str().into()])?;
            let event = Event::new("undone").of(&held.id, name, previous.version);
            change.seal(previous)?;
            Ok(((), event))
        })?;
        self.database.forget_deleted();
        Ok(())
    }
}

/// The connection with its previous config.
fn previous(
    change: &mut Change,
    stored: &ConnectionRow,
    now: i64,
) -> Result<Option<ConnectionRow>> {
    let name = &*stored.name;
    let statement = format!(
        "SELECT {} FROM headwater_previous WHERE connection = ?1 AND replaced > ?2",
        PreviousTable::ALL
    );
    let earliest = now.saturating_sub(UNDO_MILLISECONDS);
    let parameters = [stored.id.as_str().into(), earliest.into()];
    let rows = change.database.query(&statement, &parameters)?;
    let Some(row) = first(rows) else {
        return Ok(None);
    };
    let sealed = SealedSecret {
        key_id: row.get(PreviousTable::KEY_ID)?,
        sealed: row.get(PreviousTable::SEALED)?,
    };
    let text = sealed.open(change.keyring, &binding(&stored.id, stored.version));
    let text = text.map_err(|what| unreadable(name, &what))?;
    let previous: Previous =
        serde_json::from_str(text.expose()).map_err(|_| unreadable(name, &changed()))?;
    let expires = previous.expires.map(|day| day.parse()).transpose();
    Ok(Some(ConnectionRow {
        version: previous.version,
        config: previous.config,
        identity: previous.identity,
        seals: previous.seals,
        expires: expires.map_err(|_| unreadable(name, &changed()))?,
        ..stored.clone()
    }))
}

fn nothing_to_undo(name: &str) -> headwater_core::Error {
    let text = format!("the connection {name} has no earlier config; enter the values again");
    Refusal::NothingToUndo.error(Kind::ConfigInvalid, text)
}
