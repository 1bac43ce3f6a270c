//! Bringing back the config that a new one took the place of, one step and for a short time.

use std::{collections::BTreeMap, time::Duration};

use headwater_core::{Kind, Result, Timestamp};

use crate::{
    audit::{Actor, Event, audited},
    connections::timestamp,
    database::{Database, first},
    refusal::Refusal,
    store::{Store, claim_key},
    stored::{Sealed, Stored, changed, hold, unreadable},
};

const UNDO_MILLISECONDS: i64 = 30 * 60 * 1000;

/// Keeps the config of a connection as it stands, instead of an earlier one. Its seals stay as they are.
pub(crate) fn keep(database: &mut dyn Database, name: &str, now: i64) -> Result<()> {
    let Some(stored) = Stored::find(database, name)? else {
        return Ok(());
    };
    let seals = serde_json::json!(stored.seals).to_string();
    let statement = "INSERT INTO headwater_previous (connection, version, config, identity, seals, expires, replaced) \
                     VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7) ON CONFLICT (connection) DO UPDATE \
                     SET version = excluded.version, config = excluded.config, identity = excluded.identity, \
                     seals = excluded.seals, expires = excluded.expires, replaced = excluded.replaced";
    let parameters = [
        stored.id.as_str().into(),
        stored.version.into(),
        stored.config.as_str().into(),
        stored.identity.as_str().into(),
        seals.as_str().into(),
        stored.expires.into(),
        now.into(),
    ];
    database.execute(statement, &parameters).map(drop)
}

/// Until when there is something to bring back.
pub(crate) fn until(stored: &Stored) -> Result<Option<Timestamp>> {
    let until = stored
        .replaced
        .map(|time| time.saturating_add(UNDO_MILLISECONDS));
    until.map(timestamp).transpose()
}

/// Forgets the configs that can be brought back no longer.
pub(crate) fn forget_old(database: &mut dyn Database, now: i64) -> Result<u64> {
    let statement = "DELETE FROM headwater_previous WHERE replaced <= ?1";
    database.execute(statement, &[now.saturating_sub(UNDO_MILLISECONDS).into()])
}

impl Store {
    /// Forgets the config that was there before: what has taken its place has ended its secrets.
    pub fn forget_previous(&mut self, name: &str) -> Result<()> {
        let statement = "DELETE FROM headwater_previous WHERE connection = \
                         (SELECT id FROM headwater_connections WHERE name = ?1)";
        self.database.execute(statement, &[name.into()])?;
        self.database.forget_deleted();
        Ok(())
    }

    /// How long [`Store::undo`] is possible.
    pub const UNDO: Duration = Duration::from_millis(UNDO_MILLISECONDS.unsigned_abs());

    /// Brings back the config that was there before the last [`Store::replace`], as a new version. Fails where that was
    /// too long ago, where there is none, and where the connection is of another revision than the one that is given.
    pub fn undo(&mut self, name: &str, revision: Option<i64>, actor: &Actor) -> Result<()> {
        Self::check_name(name)?;
        let key = self.sealing_key()?;
        let now = self.database.now()?;
        let keyring = &self.keyring;
        audited(&mut *self.database, actor, |database| {
            claim_key(database, &key)?;
            let held = hold(database, name, revision)?;
            let mut previous =
                previous(database, name, now)?.ok_or_else(|| nothing_to_undo(name))?;
            let secrets = previous.secrets(keyring);
            let secrets = secrets.map_err(|what| unreadable(name, &what))?;
            previous.version = held.version + 1;
            previous.updated = now;
            previous.updated_by = actor.who.clone();
            previous.seal(&secrets, &key)?;
            previous.write_config(database)?;
            let statement = "UPDATE headwater_connections SET expires = ?1 WHERE id = ?2";
            database.execute(
                statement,
                &[previous.expires.into(), held.id.as_str().into()],
            )?;
            let statement = "DELETE FROM headwater_previous WHERE connection = ?1";
            database.execute(statement, &[held.id.as_str().into()])?;
            Ok((
                (),
                Event::new("undone").of(&held.id, name, previous.version),
            ))
        })?;
        self.database.forget_deleted();
        Ok(())
    }
}

/// A connection with the config that it had before.
fn previous(database: &mut dyn Database, name: &str, now: i64) -> Result<Option<Stored>> {
    let Some(stored) = Stored::find(database, name)? else {
        return Ok(None);
    };
    let statement = "SELECT version, config, identity, seals, expires FROM headwater_previous WHERE connection = ?1 AND replaced > ?2";
    let earliest = now.saturating_sub(UNDO_MILLISECONDS);
    let rows = database.query(statement, &[stored.id.as_str().into(), earliest.into()])?;
    let Some(row) = first(rows) else {
        return Ok(None);
    };
    let seals: BTreeMap<String, Sealed> =
        serde_json::from_str(&row.text(3)?).map_err(|_| unreadable(name, &changed()))?;
    Ok(Some(Stored {
        version: row.integer(0)?,
        config: row.text(1)?,
        identity: row.text(2)?,
        seals,
        expires: row.optional_date(4)?,
        ..stored
    }))
}

fn nothing_to_undo(name: &str) -> headwater_core::Error {
    let text =
        format!("the connection {name} has no earlier config any more; give the values again");
    Refusal::NothingToUndo.error(Kind::ConfigInvalid, text)
}
