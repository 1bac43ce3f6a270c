//! Saved connections: adding, reading and changing them.

use std::collections::BTreeMap;

use headwater_core::{Date, Error, FormModel, Kind, Result, Timestamp, put};
use serde_json::Value;

use crate::{
    audit::{Actor, Change, Event, audited},
    checks::{LastCheck, last_check},
    connection_row::{
        ConnectionRow, ConnectionsTable, DAMAGED, changed, changed_meanwhile, missing, select_from,
        unreadable,
    },
    database::{Database, Row, first},
    health::LastSync,
    key::{fill, hex},
    ledger::Ledger,
    names::taken,
    refusal::Refusal,
    requests::{self, Reply},
    runs::RunHolder,
    schedules::ScheduledRun,
    secrets::{identity, split_secrets},
    store::Store,
    undo,
};

/// A saved connection without its secrets.
#[derive(Clone, Debug)]
pub struct Connection {
    /// The name in commands and URLs.
    pub name: String,
    /// The title for people: the name, unless it has a title of its own.
    pub title: String,
    /// The description for people.
    pub description: String,
    /// The day on which its secrets expire, as entered.
    pub expires: Option<Date>,
    /// The connector of the config.
    pub connector: String,
    /// The config with references, without sealed secrets.
    pub config: Value,
    /// The positions of the sealed secrets, as JSON Pointers into the config.
    pub sealed: Vec<String>,
    /// The destination of its last records.
    pub destination: Option<String>,
    /// Grows with each change of the config.
    pub version: i64,
    /// Grows with each change of anything: the config, the title, the description, the destination, the schedule.
    pub revision: i64,
    /// When it was saved first.
    pub created: Timestamp,
    /// Who saved it: the name of a token, or `local`.
    pub created_by: String,
    /// When its config was changed last.
    pub updated: Timestamp,
    /// Who changed its config last.
    pub updated_by: String,
    /// The last probe of the current config.
    pub last_check: Option<LastCheck>,
    /// The end of the last sync with the current config.
    pub last_sync: Option<LastSync>,
    /// Until when [`Store::undo`] restores the previous config.
    pub undo_until: Option<Timestamp>,
    /// Its schedule.
    pub schedule: Option<ScheduledRun>,
    /// The process that runs it, or that was killed while it ran it.
    pub holder: Option<RunHolder>,
    stored: ConnectionRow,
}

impl Connection {
    /// Its label.
    pub fn label(&self) -> Label<'_> {
        Label {
            title: &self.title,
            description: &self.description,
            expires: self.expires,
        }
    }
}

/// An entry of the list of connections.
#[derive(Clone, Debug)]
pub struct ConnectionSummary {
    /// The name in commands and URLs.
    pub name: String,
    /// The title for people.
    pub title: String,
    /// The description for people.
    pub description: String,
    /// The day on which its secrets expire, as entered.
    pub expires: Option<Date>,
    /// The connector of the config.
    pub connector: String,
    /// The destination of its last records.
    pub destination: Option<String>,
    /// Who saved it.
    pub created_by: String,
    /// Grows with each change of anything.
    pub revision: i64,
    /// When its config was changed last.
    pub updated: Option<Timestamp>,
    /// The last probe of the current config.
    pub last_check: Option<LastCheck>,
    /// The end of the last sync with the current config.
    pub last_sync: Option<LastSync>,
    /// Its schedule.
    pub schedule: Option<ScheduledRun>,
    /// How many secrets are sealed.
    pub secrets: usize,
    /// Why it cannot be read.
    pub problem: Option<String>,
}

/// The title, the description and the date of expiry that people enter.
#[derive(Clone, Copy, Debug, Default)]
pub struct Label<'a> {
    /// At most 80 characters in one line; the name replaces an empty title. Two connections may have the same title.
    pub title: &'a str,
    /// At most 500 characters.
    pub description: &'a str,
    /// The day on which its secrets expire, if known.
    pub expires: Option<Date>,
}

/// A connection to save.
#[derive(Clone, Copy, Debug)]
pub struct NewConnection<'a> {
    /// The name; it has to be free.
    pub name: &'a str,
    /// The label.
    pub label: Label<'a>,
    /// The connector of the config.
    pub connector: &'a str,
    /// A valid config for the connector's form, with its secrets.
    pub answer: &'a Value,
}

impl Store {
    /// Saves a new connection.
    ///
    /// # Errors
    ///
    /// Fails if the name is invalid or taken, if the label is refused, or if the store cannot be written.
    pub fn add(&mut self, form: &FormModel, new: &NewConnection, actor: &Actor) -> Result<()> {
        self.add_for(form, new, None, actor)
    }

    /// Saves a new connection for the request with this key, and its answer in the same transaction.
    ///
    /// # Errors
    ///
    /// Fails as [`Store::add`], or if the request is no longer under way.
    pub fn add_once(
        &mut self,
        form: &FormModel,
        new: &NewConnection,
        key: &str,
        reply: &Reply,
        actor: &Actor,
    ) -> Result<()> {
        self.add_for(form, new, Some((key, reply)), actor)
    }

    fn add_for(
        &mut self,
        form: &FormModel,
        new: &NewConnection,
        request: Option<(&str, &Reply)>,
        actor: &Actor,
    ) -> Result<()> {
        Self::check_name(new.name)?;
        new.label.check()?;
        let (config, secrets) = split_secrets(form, new.answer)?;
        let mut id = [0; 16];
        fill(&mut id)?;
        let now = self.database.now()?;
        let mut stored = ConnectionRow {
            id: hex(&id),
            name: new.name.to_owned(),
            connector: new.connector.to_owned(),
            config: config.to_string(),
            identity: identity(form, new.connector, new.answer),
            version: 1,
            destination: None,
            created: now,
            updated: now,
            holder: None,
            title: new.label.kept_title(new.name).map(str::to_owned),
            description: new.label.description.to_owned(),
            created_by: actor.who.clone(),
            updated_by: actor.who.clone(),
            revision: 1,
            checked: None,
            last_check: None,
            last_sync: None,
            deleted: None,
            replaced: None,
            schedule: None,
            expires: new.label.expires,
            seals: BTreeMap::new(),
        };
        audited(self, actor, |change| {
            stored.seal_secrets(&secrets, &change.key)?;
            let database = &mut *change.database;
            let statement = "INSERT INTO headwater_connections \
                             (id, name, connector, config, identity, version, created, updated, epoch, title, description, \
                             created_by, updated_by, revision, expires) \
                             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, 0, ?9, ?10, ?11, ?11, ?12, ?13) ON CONFLICT (name) DO NOTHING";
            let parameters = [
                stored.id.as_str().into(),
                stored.name.as_str().into(),
                stored.connector.as_str().into(),
                stored.config.as_str().into(),
                stored.identity.as_str().into(),
                stored.version.into(),
                stored.created.into(),
                stored.updated.into(),
                stored.title.as_deref().into(),
                stored.description.as_str().into(),
                stored.created_by.as_str().into(),
                stored.revision.into(),
                stored.expires.into(),
            ];
            if database.execute(statement, &parameters)? == 0 {
                return Err(taken(
                    new.name,
                    is_deleted(database, new.name)? == Some(true),
                ));
            }
            stored.write_seals(database)?;
            if let Some((key, reply)) = request
                && !requests::keep(database, key, reply)?
            {
                let text = "this request has expired meanwhile; send it again";
                return Err(Error::new(Kind::Unavailable, text));
            }
            let event = Event::new("created").of(&stored.id, new.name, 1);
            change.seal(stored)?;
            Ok(((), event))
        })
    }

    /// Connections by name: at most `limit` after a name, of all connectors or of one. An unreadable connection states
    /// its problem and hides no other.
    ///
    /// # Errors
    ///
    /// Fails if the store or its ledger cannot be read.
    pub fn list(
        &mut self,
        after: Option<&str>,
        limit: usize,
        connector: Option<&str>,
    ) -> Result<Vec<ConnectionSummary>> {
        let mut parameters = vec![
            after.unwrap_or_default().into(),
            i64::try_from(limit).unwrap_or(i64::MAX).into(),
        ];
        parameters.extend(connector.map(Into::into));
        let of_connector = connector.map_or("", |_| "AND connector = ?3");
        let statement = format!(
            "{} ORDER BY headwater_connections.name",
            select_from(&format!(
                "(SELECT * FROM headwater_connections WHERE deleted IS NULL AND name > ?1 {of_connector} \
                 ORDER BY name LIMIT ?2) headwater_connections"
            ))
        );
        let agree =
            |listed: &Vec<ConnectionSummary>| listed.iter().all(|one| one.problem.is_none());
        self.with_ledger(agree, |store, ledger| {
            let rows = store.database.query(&statement, &parameters)?;
            let id = |row: &Row| row.get(ConnectionsTable::ID).ok();
            let listed = rows.chunk_by(|left, right| id(left) == id(right));
            Ok(listed.map(|rows| store.listed(rows, ledger)).collect())
        })
    }

    fn listed(&self, rows: &[Row], ledger: &Ledger) -> ConnectionSummary {
        let readable = ConnectionRow::of(rows).and_then(|stored| {
            let verified = stored.verify(&self.keyring, ledger);
            let problem = verified.and_then(|()| stored.secrets(&self.keyring)).err();
            let updated = timestamp(stored.updated)?;
            Ok((problem, updated, last_check(&stored)?, stored))
        });
        match readable {
            Ok((problem, updated, last_check, stored)) => ConnectionSummary {
                title: stored.title().to_owned(),
                secrets: stored.pointers().count(),
                name: stored.name,
                description: stored.description,
                expires: stored.expires,
                connector: stored.connector,
                destination: stored.destination,
                created_by: stored.created_by,
                revision: stored.revision,
                updated: Some(updated),
                last_check,
                last_sync: stored.last_sync,
                schedule: stored.schedule,
                problem,
            },
            Err(error) => {
                let row = &rows[0];
                let name = row.get(ConnectionsTable::NAME).unwrap_or_default();
                ConnectionSummary {
                    title: name.clone(),
                    name,
                    description: String::new(),
                    expires: None,
                    connector: row.get(ConnectionsTable::CONNECTOR).unwrap_or_default(),
                    destination: None,
                    created_by: String::new(),
                    revision: row.get(ConnectionsTable::REVISION).unwrap_or_default(),
                    updated: None,
                    last_check: None,
                    last_sync: None,
                    schedule: None,
                    secrets: 0,
                    problem: Some(error.message().to_owned()),
                }
            }
        }
    }

    /// Reads one connection without its secrets.
    ///
    /// # Errors
    ///
    /// Fails if there is no such connection, or if it cannot be read.
    pub fn get(&mut self, name: &str) -> Result<Connection> {
        let read = self.with_ledger(|_| true, |store, ledger| store.read(name, ledger));
        read.map_err(|error| match error.kind() {
            Kind::DataInvalid => unreadable(name, DAMAGED),
            _ => error,
        })
    }

    fn read(&mut self, name: &str, ledger: &Ledger) -> Result<Connection> {
        let stored = self.stored(name)?;
        let unreadable = |what: String| unreadable(name, &what);
        stored.verify(&self.keyring, ledger).map_err(unreadable)?;
        let config = serde_json::from_str(&stored.config).map_err(|_| unreadable(changed()))?;
        Ok(Connection {
            name: stored.name.clone(),
            title: stored.title().to_owned(),
            description: stored.description.clone(),
            expires: stored.expires,
            connector: stored.connector.clone(),
            config,
            sealed: stored.pointers().map(str::to_owned).collect(),
            destination: stored.destination.clone(),
            version: stored.version,
            revision: stored.revision,
            created: timestamp(stored.created)?,
            created_by: stored.created_by.clone(),
            updated: timestamp(stored.updated)?,
            updated_by: stored.updated_by.clone(),
            last_check: last_check(&stored)?,
            last_sync: stored.last_sync.clone(),
            undo_until: undo::until(&stored)?,
            schedule: stored.schedule.clone(),
            holder: stored.holder.clone(),
            stored,
        })
    }

    /// Fills the missing secrets of an answer with the sealed ones of a connection. The answer is the connection's
    /// config or its replacement; if that would send the secrets to another address, they have to be entered again.
    ///
    /// # Errors
    ///
    /// Fails if a secret was sealed for another address, or if it cannot be opened.
    pub fn unseal(
        &self,
        form: &FormModel,
        connection: &Connection,
        answer: &mut Value,
    ) -> Result<()> {
        let stored = &connection.stored;
        let inputs = form.inputs_of(answer);
        let missing = inputs.iter().filter(|field| {
            connection.sealed.contains(&field.pointer) && answer.pointer(&field.pointer).is_none()
        });
        let missing: Vec<(&str, &str)> = missing
            .map(|field| (&*field.pointer, &*field.title))
            .collect();
        if let Some((_, title)) = missing.first()
            && identity(form, &connection.connector, answer) != stored.identity
        {
            let text = format!(
                "{title} was saved for another address or another way to sign in, and is sent nowhere else; enter it \
                 again"
            );
            let pointers = missing.iter().map(|(pointer, _)| (*pointer).to_owned());
            return Err(Refusal::GiveAgain(pointers.collect()).error(Kind::ConfigInvalid, text));
        }
        for (pointer, title) in missing {
            let secret = stored
                .unseal(pointer, &self.keyring)
                .map_err(|what| unreadable(&connection.name, &format!("{what} ({title})")))?;
            put(answer, pointer, secret.expose().into());
        }
        Ok(())
    }

    /// Replaces the config of a connection, and its label if there is a new one. The answer is valid and has all its
    /// secrets. [`Store::undo`] restores the previous config for a while.
    ///
    /// # Errors
    ///
    /// Fails if the connection changed since it was read, if the label is refused, or if the store cannot be written.
    pub fn replace(
        &mut self,
        form: &FormModel,
        connection: &Connection,
        answer: &Value,
        label: Option<Label>,
        actor: &Actor,
    ) -> Result<()> {
        label.map_or(Ok(()), |label| label.check())?;
        let now = self.database.now()?;
        audited(self, actor, |change| {
            let held = hold_as_read(change, connection)?;
            let mut new = held.with_config(form, answer, now, actor, &change.key)?;
            undo::keep(change, &held, &new)?;
            new.write_config(change.database)?;
            if let Some(label) = label {
                new.write_label(change.database, label)?;
            }
            let event = Event::new("replaced").of(&new.id, &new.name, new.version);
            change.seal(new)?;
            Ok(((), event))
        })?;
        self.database.forget_deleted();
        Ok(())
    }

    /// Changes the label of a connection and nothing else.
    ///
    /// # Errors
    ///
    /// Fails if the connection changed since it was read, if the label is refused, or if the store cannot be written.
    pub fn describe(&mut self, connection: &Connection, label: Label, actor: &Actor) -> Result<()> {
        label.check()?;
        audited(self, actor, |change| {
            let mut held = hold_as_read(change, connection)?;
            held.write_label(change.database, label)?;
            let event = Event::new("described").of(&held.id, &held.name, held.version);
            change.seal(held)?;
            Ok(((), event))
        })
    }

    /// Saves the destination of the last records of a connection.
    ///
    /// # Errors
    ///
    /// Fails if there is no such connection, or if the store cannot be written.
    pub fn set_destination(&mut self, name: &str, destination: &str, actor: &Actor) -> Result<()> {
        let statement = format!(
            "SELECT {} FROM headwater_connections WHERE name = ?1 AND deleted IS NULL",
            ConnectionsTable::DESTINATION
        );
        let row = first(self.database.query(&statement, &[name.into()])?);
        let row = row.ok_or_else(|| missing(name))?;
        let known = row.get(ConnectionsTable::DESTINATION)?;
        if known.as_deref() == Some(destination) {
            return Ok(());
        }
        audited(self, actor, |change| {
            let mut held = change.hold(name, None)?;
            held.destination = Some(destination.to_owned());
            let statement = "UPDATE headwater_connections SET destination = ?1 WHERE id = ?2";
            let parameters = [destination.into(), held.id.as_str().into()];
            change.database.execute(statement, &parameters)?;
            let event = Event::new("sent elsewhere").of(&held.id, name, held.version);
            change.seal(held)?;
            Ok(((), event))
        })
    }
}

/// Begins a change of a connection, if it is unchanged since it was read.
fn hold_as_read(change: &mut Change, connection: &Connection) -> Result<ConnectionRow> {
    let held = change.hold(&connection.name, Some(connection.revision))?;
    match held.id == connection.stored.id {
        true => Ok(held),
        // Another connection of the same name.
        false => Err(changed_meanwhile(&connection.name)),
    }
}

impl ConnectionRow {
    /// Replaces the label.
    pub(crate) fn write_label(&mut self, database: &mut dyn Database, label: Label) -> Result<()> {
        self.title = label.kept_title(&self.name).map(str::to_owned);
        self.description = label.description.to_owned();
        self.expires = label.expires;
        let statement = "UPDATE headwater_connections SET title = ?1, description = ?2, expires = ?3 WHERE id = ?4";
        let parameters = [
            self.title.as_deref().into(),
            label.description.into(),
            label.expires.into(),
            self.id.as_str().into(),
        ];
        database.execute(statement, &parameters).map(drop)
    }
}

/// Whether the connection of a name is a deleted one; `None` for a free name.
pub(crate) fn is_deleted(database: &mut dyn Database, name: &str) -> Result<Option<bool>> {
    let statement = format!(
        "SELECT {} FROM headwater_connections WHERE name = ?1",
        ConnectionsTable::DELETED
    );
    let row = first(database.query(&statement, &[name.into()])?);
    let deleted = row.map(|row| row.get(ConnectionsTable::DELETED));
    Ok(deleted.transpose()?.map(|deleted| deleted.is_some()))
}

pub(crate) fn timestamp(milliseconds: i64) -> Result<Timestamp> {
    Timestamp::from_millisecond(milliseconds).map_err(|_| {
        let text = "the store contains an invalid time";
        Error::new(Kind::DataInvalid, text)
    })
}

#[cfg(test)]
mod tests {
    use std::time::Instant;

    use serde_json::json;

    use super::*;
    use crate::location::StoreLocation;

    /// Not a test; `cargo test --release -p headwater-store -- --ignored --nocapture` shows how fast it is.
    #[test]
    #[ignore = "a measurement"]
    fn prints_how_long_a_list_takes() {
        let folder = tempfile::tempdir().unwrap();
        let location = StoreLocation::File(folder.path().join("store.db"));
        let mut store = Store::open(&location, None).unwrap();
        let secret = |title: &str, order: u64| {
            json!({ "type": "string", "format": "password", "writeOnly": true, "title": title, "description": "It.",
                    "x-headwater": { "order": order } })
        };
        let schema = json!({ "type": "object",
            "properties": { "key": secret("Key", 1), "password": secret("Password", 2) } });
        let form = FormModel::from_schema("Test", &[], &schema).unwrap();
        let answer = json!({ "key": "k".repeat(32), "password": "p".repeat(32) });
        for number in 0..10_000 {
            let new = NewConnection {
                name: &format!("c{number:05}"),
                label: Label::default(),
                connector: "test",
                answer: &answer,
            };
            store.add(&form, &new, &Actor::local()).unwrap();
        }
        for limit in [100, 1_000, 10_000] {
            for after in [None, Some("c08999")] {
                let begun = Instant::now();
                let listed = store.list(after, limit, Some("test")).unwrap();
                assert!(listed.iter().all(|one| one.problem.is_none()));
                eprintln!("{} after {after:?}: {:?}", listed.len(), begun.elapsed());
            }
        }
    }
}
