//! Connections that cannot be read: their remains, and entering them again.
//!
//! No seal vouches for the remains. They are shown to the person who enters the connection again with all its secrets;
//! headwater opens no seal of them and follows no reference in them.

use std::collections::BTreeMap;

use headwater_core::{Date, FormModel, Result, Timestamp};
use serde_json::{Map, Value};

use crate::{
    audit::{Actor, Event, audited},
    connection_row::{
        ConnectionRow, ConnectionsTable, DAMAGED, changed_meanwhile, missing, raise, unreadable,
    },
    connections::{Label, timestamp},
    database::Row,
    schedules::ScheduledRun,
    store::Store,
};

/// The remains of a connection that cannot be read.
#[derive(Clone, Debug)]
pub struct CorruptConnection {
    /// The name in commands and URLs.
    pub name: String,
    /// The title for people.
    pub title: String,
    /// The description for people.
    pub description: String,
    /// The day on which its secrets expire, as entered.
    pub expires: Option<Date>,
    /// The connector of the config, as far as is known.
    pub connector: String,
    /// The config, as far as it can be read. Another program may have changed it.
    pub config: Value,
    /// Grows with each change of anything.
    pub revision: i64,
    /// When it was saved first.
    pub created: Option<Timestamp>,
    /// Who saved it.
    pub created_by: String,
    /// When its config was changed last.
    pub updated: Option<Timestamp>,
    /// Its schedule.
    pub schedule: Option<ScheduledRun>,
    stored: ConnectionRow,
}

impl CorruptConnection {
    /// Its label.
    pub fn label(&self) -> Label<'_> {
        Label {
            title: &self.title,
            description: &self.description,
            expires: self.expires,
        }
    }
}

impl Store {
    /// The remains of a connection that cannot be read.
    ///
    /// # Errors
    ///
    /// Fails if there is no such connection, or if too little of it is left.
    pub fn remains(&mut self, name: &str) -> Result<CorruptConnection> {
        Self::check_name(name)?;
        let rows = ConnectionRow::rows(&mut *self.database, name)?;
        let row = rows
            .first()
            .filter(|row| row.get(ConnectionsTable::DELETED).ok() == Some(None));
        let row = row.ok_or_else(|| missing(name))?;
        let stored = remains_of(row, name)?;
        let config = serde_json::from_str(&stored.config).ok();
        Ok(CorruptConnection {
            name: stored.name.clone(),
            title: stored.title().to_owned(),
            description: stored.description.clone(),
            expires: stored.expires,
            connector: stored.connector.clone(),
            config: config
                .filter(Value::is_object)
                .unwrap_or_else(|| Value::Object(Map::new())),
            revision: stored.revision,
            created: timestamp(stored.created).ok(),
            created_by: stored.created_by.clone(),
            updated: timestamp(stored.updated).ok(),
            schedule: stored.schedule.clone(),
            stored,
        })
    }

    /// Replaces a config that cannot be read with one that has all its secrets, for good. The answer is valid. Returns
    /// the new version.
    ///
    /// # Errors
    ///
    /// Fails if the connection changed since its remains were read, if the label is refused, or if the store cannot be
    /// written.
    pub fn enter_again(
        &mut self,
        form: &FormModel,
        remains: &CorruptConnection,
        answer: &Value,
        label: Label,
        actor: &Actor,
    ) -> Result<i64> {
        label.check()?;
        let now = self.database.now()?;
        let version = audited(self, actor, |change| {
            let stored = &remains.stored;
            let mut new = stored.with_config(form, answer, now, actor, &change.key)?;
            let database = &mut *change.database;
            let held = raise(database, &new.name, Some(remains.revision))?;
            if held.id != new.id {
                // Another connection of the same name.
                return Err(changed_meanwhile(&new.name));
            }
            // Writes everything else that may be damaged anew. Destination and schedule have to be entered again:
            // another program may have changed their remains.
            let statement = "UPDATE headwater_connections SET connector = ?1, destination = NULL, created = ?2, \
                             created_by = ?3 WHERE id = ?4";
            let parameters = [
                new.connector.as_str().into(),
                new.created.into(),
                new.created_by.as_str().into(),
                new.id.as_str().into(),
            ];
            database.execute(statement, &parameters)?;
            for statement in [
                "DELETE FROM headwater_schedules WHERE connection = ?1",
                "DELETE FROM headwater_previous WHERE connection = ?1",
            ] {
                database.execute(statement, &[new.id.as_str().into()])?;
            }
            new.write_config(database)?;
            new.write_label(database, label)?;
            new.revision = held.revision;
            (new.destination, new.schedule, new.deleted) = (None, None, None);
            let (version, event) = (new.version, Event::new("entered again"));
            let event = event.of(&new.id, &new.name, version);
            change.seal(new)?;
            Ok((version, event))
        })?;
        self.database.forget_deleted();
        Ok(version)
    }
}

/// Reads the remains of a row. Without its id, its version and its revision it cannot be replaced.
fn remains_of(row: &Row, name: &str) -> Result<ConnectionRow> {
    let needed = |number: Result<i64>| number.map_err(|_| unreadable(name, DAMAGED));
    let text = |column| row.get::<String>(column).unwrap_or_default();
    let optional_text = |column| row.get::<Option<String>>(column).unwrap_or_default();
    let number = |column| row.get::<i64>(column).unwrap_or_default();
    Ok(ConnectionRow {
        id: row
            .get(ConnectionsTable::ID)
            .map_err(|_| unreadable(name, DAMAGED))?,
        name: name.to_owned(),
        connector: text(ConnectionsTable::CONNECTOR),
        config: text(ConnectionsTable::CONFIG),
        identity: String::new(),
        version: needed(row.get(ConnectionsTable::VERSION))?,
        destination: optional_text(ConnectionsTable::DESTINATION),
        created: number(ConnectionsTable::CREATED),
        updated: number(ConnectionsTable::UPDATED),
        holder: None,
        title: optional_text(ConnectionsTable::TITLE),
        description: text(ConnectionsTable::DESCRIPTION),
        created_by: text(ConnectionsTable::CREATED_BY),
        updated_by: text(ConnectionsTable::UPDATED_BY),
        revision: needed(row.get(ConnectionsTable::REVISION))?,
        checked: None,
        last_check: None,
        last_sync: None,
        deleted: None,
        replaced: None,
        schedule: ScheduledRun::of(row, name).unwrap_or_default(),
        expires: row.get(ConnectionsTable::EXPIRES).unwrap_or_default(),
        seals: BTreeMap::new(),
    })
}
