//! A connection in the database: its row, its seals and their bindings.

use std::collections::BTreeMap;

use headwater_core::{Date, Error, FormModel, Kind, Result, Secret};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::{
    audit::{Actor, Change},
    connections::timestamp,
    database::{Database, Row},
    health::LastSync,
    key::{Key, Keyring},
    ledger::Ledger,
    refusal::Refusal,
    runs::RunHolder,
    schedules::ScheduledRun,
    seal::{Binding, open, seal},
    secrets::{identity, split_secrets},
    store::Store,
};

/// The pointer of the seal over everything in clear, instead of a field.
pub(crate) const WHOLE: &str = "";

/// The columns that [`ConnectionRow::of`] reads of a connection `c`: one statement reads all of them, so that they are
/// of one moment.
pub(crate) const COLUMNS: &str = "c.id, c.name, c.connector, c.config, c.identity, c.version, c.destination, c.created, \
                                  c.updated, c.holder, c.since, c.until, c.title, c.description, c.created_by, c.revision, \
                                  c.checked, c.last_check, c.deleted, p.replaced, s.pointer, s.key_id, s.sealed, \
                                  h.every, h.cron, h.zone, h.streams, h.destination, h.redacted, h.paused, h.due, h.started, \
                                  c.expires, c.updated_by, r.ended, r.receipt";
/// The joins that the columns need.
pub(crate) const JOINED: &str = "LEFT JOIN headwater_secrets s ON s.connection = c.id \
                                 LEFT JOIN headwater_previous p ON p.connection = c.id \
                                 LEFT JOIN headwater_schedules h ON h.connection = c.id \
                                 LEFT JOIN headwater_runs r ON r.connection = c.id AND r.epoch = (\
                                 SELECT MAX(e.epoch) FROM headwater_runs e \
                                 WHERE e.connection = c.id AND e.ended IS NOT NULL AND e.started >= c.updated)";

/// A connection in the database.
#[derive(Clone, Debug)]
pub(crate) struct ConnectionRow {
    pub id: String,
    pub name: String,
    pub connector: String,
    pub config: String,
    pub identity: String,
    pub version: i64,
    pub destination: Option<String>,
    pub created: i64,
    pub updated: i64,
    pub holder: Option<RunHolder>,
    pub title: Option<String>,
    pub description: String,
    pub created_by: String,
    pub updated_by: String,
    pub revision: i64,
    pub checked: Option<i64>,
    pub last_check: Option<String>,
    pub deleted: Option<i64>,
    /// When its config replaced the one that can still be restored.
    pub replaced: Option<i64>,
    pub schedule: Option<ScheduledRun>,
    pub expires: Option<Date>,
    /// How the last run of its config ended.
    pub last_sync: Option<LastSync>,
    /// By pointer.
    pub seals: BTreeMap<String, SealedSecret>,
}

#[derive(Clone, Debug, Deserialize, Serialize)]
pub(crate) struct SealedSecret {
    pub key_id: String,
    pub sealed: String,
}

impl ConnectionRow {
    /// Finds a connection by name, also a deleted one.
    pub(crate) fn find(database: &mut dyn Database, name: &str) -> Result<Option<Self>> {
        let rows = Self::rows(database, name)?;
        match rows.is_empty() {
            true => Ok(None),
            false => Self::of(&rows).map(Some),
        }
    }

    /// Reads the rows of a name, also of a deleted connection.
    pub(crate) fn rows(database: &mut dyn Database, name: &str) -> Result<Vec<Row>> {
        let statement =
            format!("SELECT {COLUMNS} FROM headwater_connections c {JOINED} WHERE c.name = ?1");
        database.query(&statement, &[name.into()])
    }

    /// Reads a connection from its rows, one for each seal.
    pub(crate) fn of(rows: &[Row]) -> Result<Self> {
        let Some(row) = rows.first() else {
            return Err(Error::new(Kind::Unexpected, "a connection has no row"));
        };
        let mut seals = BTreeMap::new();
        for row in rows {
            if let Some(pointer) = row.optional_text(20)? {
                let (key_id, sealed) = (row.text(21)?, row.text(22)?);
                seals.insert(pointer, SealedSecret { key_id, sealed });
            }
        }
        Ok(Self {
            id: row.text(0)?,
            name: row.text(1)?,
            connector: row.text(2)?,
            config: row.text(3)?,
            identity: row.text(4)?,
            version: row.integer(5)?,
            destination: row.optional_text(6)?,
            created: row.integer(7)?,
            updated: row.integer(8)?,
            holder: RunHolder::of(row, 9)?,
            title: row.optional_text(12)?,
            description: row.text(13)?,
            created_by: row.text(14)?,
            updated_by: row.text(33)?,
            revision: row.integer(15)?,
            checked: row.optional_integer(16)?,
            last_check: row.optional_text(17)?,
            deleted: row.optional_integer(18)?,
            replaced: row.optional_integer(19)?,
            schedule: ScheduledRun::of(row, 23, &row.text(1)?)?,
            expires: row.optional_date(32)?,
            last_sync: match (row.optional_integer(34)?, row.optional_text(35)?) {
                (Some(ended), Some(receipt)) => LastSync::of(timestamp(ended)?, &receipt),
                _ => None,
            },
            seals,
        })
    }

    /// The title, or the name without a title.
    pub(crate) fn title(&self) -> &str {
        self.title.as_deref().unwrap_or(&self.name)
    }

    /// The pointers of its sealed secrets.
    pub(crate) fn pointers(&self) -> impl Iterator<Item = &str> {
        let pointers = self.seals.keys().map(String::as_str);
        pointers.filter(|pointer| *pointer != WHOLE)
    }

    /// The binding of a seal of this connection. The seal of the whole covers everything in clear that decides the work
    /// of a run or identifies the connection to people, and the list of secrets.
    fn binding(&self, pointer: &str) -> Binding {
        let obeyed = json!([
            self.revision,
            self.destination,
            self.title,
            self.description,
            self.expires.map(|day| day.to_string()),
            self.deleted.is_some(),
            self.schedule
                .as_ref()
                .map(|scheduled| scheduled.schedule.as_sealed()),
        ]);
        match pointer {
            WHOLE => self.binding_of_whole(Some(&obeyed.to_string())),
            _ => Binding::new(&[&self.id, &self.version.to_string(), pointer, &self.identity]),
        }
    }

    fn binding_of_whole(&self, obeyed: Option<&str>) -> Binding {
        let version = self.version.to_string();
        let mut parts = vec![&*self.id, &*version, WHOLE, &*self.identity];
        parts.extend([&*self.name, &*self.connector, &*self.config]);
        parts.extend(obeyed);
        parts.extend(self.pointers());
        Binding::new(&parts)
    }

    /// The ids of the keys of its seals.
    pub(crate) fn key_ids(&self) -> impl Iterator<Item = &str> {
        self.seals.values().map(|sealed| sealed.key_id.as_str())
    }

    /// Opens the seal of a field.
    pub(crate) fn unseal(&self, pointer: &str, keyring: &Keyring) -> Result<Secret, String> {
        self.open(pointer, keyring, &self.binding(pointer))
    }

    fn open(&self, pointer: &str, keyring: &Keyring, binding: &Binding) -> Result<Secret, String> {
        let sealed = self.seals.get(pointer).ok_or_else(changed)?;
        sealed.open(keyring, binding)
    }

    /// Fails if the row differs from the last one that headwater wrote.
    pub(crate) fn verify(&self, keyring: &Keyring, ledger: &Ledger) -> Result<(), String> {
        self.unseal(WHOLE, keyring)?;
        match ledger.connections.get(&self.id) {
            Some(revision) if *revision == self.revision => Ok(()),
            _ => Err(changed()),
        }
    }

    /// Verifies a row of a store before the third format, which had no ledger.
    pub(crate) fn verify_without_ledger(&self, keyring: &Keyring) -> Result<(), String> {
        let binding = self.binding_of_whole(None);
        self.open(WHOLE, keyring, &binding).map(drop)
    }

    /// All its secrets by pointer.
    pub(crate) fn secrets(&self, keyring: &Keyring) -> Result<Vec<(String, Secret)>, String> {
        let secret = |pointer: &str| Ok((pointer.to_owned(), self.unseal(pointer, keyring)?));
        self.pointers().map(secret).collect()
    }

    /// The connection with another config as its next version. Writes nothing.
    pub(crate) fn with_config(
        &self,
        form: &FormModel,
        answer: &Value,
        now: i64,
        actor: &Actor,
        key: &Key,
    ) -> Result<Self> {
        let (config, secrets) = split_secrets(form, answer)?;
        let mut new = Self {
            config: config.to_string(),
            identity: identity(form, &self.connector, answer),
            version: self.version + 1,
            updated: now,
            updated_by: actor.who.clone(),
            ..self.clone()
        };
        new.seal_secrets(&secrets, key)?;
        Ok(new)
    }

    /// Seals these secrets, and no others.
    pub(crate) fn seal_secrets(&mut self, secrets: &[(String, Secret)], key: &Key) -> Result<()> {
        self.seals.clear();
        for (pointer, secret) in secrets {
            let sealed = SealedSecret::new(key, secret.expose(), &self.binding(pointer))?;
            self.seals.insert(pointer.clone(), sealed);
        }
        Ok(())
    }

    /// Seals everything in clear.
    pub(crate) fn seal_whole(&mut self, key: &Key) -> Result<()> {
        let sealed = SealedSecret::new(key, "", &self.binding(WHOLE))?;
        self.seals.insert(WHOLE.to_owned(), sealed);
        Ok(())
    }

    /// Replaces the config in the database, and forgets the last check and sync of the old one.
    pub(crate) fn write_config(&self, database: &mut dyn Database) -> Result<()> {
        let statement = "UPDATE headwater_connections SET config = ?1, identity = ?2, version = ?3, updated = ?4, \
                         updated_by = ?5, checked = NULL, last_check = NULL WHERE id = ?6";
        let parameters = [
            self.config.as_str().into(),
            self.identity.as_str().into(),
            self.version.into(),
            self.updated.into(),
            self.updated_by.as_str().into(),
            self.id.as_str().into(),
        ];
        database.execute(statement, &parameters)?;
        self.write_seals(database)
    }

    /// Replaces its seals in the database.
    pub(crate) fn write_seals(&self, database: &mut dyn Database) -> Result<()> {
        let statement = "DELETE FROM headwater_secrets WHERE connection = ?1";
        database.execute(statement, &[self.id.as_str().into()])?;
        let mut seals = self.seals.iter();
        seals.try_for_each(|(pointer, one)| self.write_seal(database, pointer, one))
    }

    /// Replaces its seal of the whole in the database.
    pub(crate) fn write_whole(&self, database: &mut dyn Database) -> Result<()> {
        let statement = "DELETE FROM headwater_secrets WHERE connection = ?1 AND pointer = ?2";
        database.execute(statement, &[self.id.as_str().into(), WHOLE.into()])?;
        let mut whole = self.seals.get(WHOLE).into_iter();
        whole.try_for_each(|one| self.write_seal(database, WHOLE, one))
    }

    fn write_seal(
        &self,
        database: &mut dyn Database,
        pointer: &str,
        one: &SealedSecret,
    ) -> Result<()> {
        let statement = "INSERT INTO headwater_secrets (connection, pointer, key_id, sealed) VALUES (?1, ?2, ?3, ?4)";
        let texts = [&self.id, pointer, &one.key_id, &one.sealed];
        database
            .execute(statement, &texts.map(Into::into))
            .map(drop)
    }
}

impl SealedSecret {
    pub(crate) fn new(key: &Key, text: &str, binding: &Binding) -> Result<Self> {
        Ok(Self {
            key_id: key.id.clone(),
            sealed: seal(key, text, binding)?,
        })
    }

    pub(crate) fn open(&self, keyring: &Keyring, binding: &Binding) -> Result<Secret, String> {
        let id = &self.key_id;
        let key = keyring
            .get(id)
            .ok_or_else(|| format!("is sealed with the key {id}, which was not given"))?;
        let text = open(&key, &self.sealed, binding).ok_or_else(changed)?;
        Ok(Secret::new(text.as_str()))
    }
}

/// The problem of a row that cannot be read at all.
pub(crate) const DAMAGED: &str = "has a row that headwater did not write";

pub(crate) fn changed() -> String {
    "was changed by another program, or belongs to another store".to_owned()
}

pub(crate) fn unreadable(name: &str, what: &str) -> Error {
    let text = format!(
        "the connection {name} cannot be read: it {what}; restore the store or its key, or remove the connection and \
         add it again"
    );
    Refusal::Unreadable.error(Kind::ConfigInvalid, text)
}

pub(crate) fn missing(name: &str) -> Error {
    let text = format!(
        "there is no connection {name:?}; `headwater connection list` lists all connections"
    );
    Refusal::Missing.error(Kind::NotFound, text)
}

impl Store {
    pub(crate) fn stored(&mut self, name: &str) -> Result<ConnectionRow> {
        Self::check_name(name)?;
        let found = ConnectionRow::find(&mut *self.database, name)?;
        let found = found.filter(|stored| stored.deleted.is_none());
        found.ok_or_else(|| missing(name))
    }
}

/// A connection that no other process changes until the transaction ends.
pub(crate) struct LockedConnection {
    pub id: String,
    pub version: i64,
    pub revision: i64,
}

impl Change<'_> {
    /// Begins a change of a connection, and returns it with its new revision. Every change starts here and ends with
    /// [`Change::seal`]. Fails if the row differs from the last one that headwater wrote, or if the connection has
    /// another revision than the one given.
    pub(crate) fn hold(&mut self, name: &str, revision: Option<i64>) -> Result<ConnectionRow> {
        let verified = self.verified(name);
        let held = raise(self.database, name, revision)?;
        let stored = verified.map_err(|what| unreadable(name, &what))?;
        Ok(ConnectionRow {
            revision: held.revision,
            ..stored
        })
    }

    /// The connection of a name, also a deleted one, if its row is the last one that headwater wrote.
    pub(crate) fn verified(&mut self, name: &str) -> Result<ConnectionRow, String> {
        let found = ConnectionRow::find(self.database, name);
        let stored = found.ok().flatten().ok_or_else(|| DAMAGED.to_owned())?;
        stored.verify(self.keyring, &self.ledger)?;
        Ok(stored)
    }

    /// Ends a change of a connection: seals the intended row, whatever the database made of it.
    pub(crate) fn seal(&mut self, mut stored: ConnectionRow) -> Result<()> {
        stored.seal_whole(&self.key)?;
        stored.write_whole(self.database)?;
        self.ledger.connections.insert(stored.id, stored.revision);
        Ok(())
    }
}

/// Raises the revision of a connection.
pub(crate) fn raise(
    database: &mut dyn Database,
    name: &str,
    revision: Option<i64>,
) -> Result<LockedConnection> {
    let statement = "UPDATE headwater_connections SET revision = revision + 1 \
                     WHERE name = ?1 AND deleted IS NULL AND (CAST(?2 AS BIGINT) IS NULL OR revision = ?2) \
                     RETURNING id, version, revision";
    let rows = database.query(statement, &[name.into(), revision.into()])?;
    if let Some(row) = rows.first() {
        return Ok(LockedConnection {
            id: row.text(0)?,
            version: row.integer(1)?,
            revision: row.integer(2)?,
        });
    }
    let statement = "SELECT id FROM headwater_connections WHERE name = ?1 AND deleted IS NULL";
    match database.query(statement, &[name.into()])?.is_empty() {
        true => Err(missing(name)),
        false => Err(changed_meanwhile(name)),
    }
}

pub(crate) fn changed_meanwhile(name: &str) -> Error {
    let text = format!("the connection {name} changed meanwhile; try again");
    Refusal::Changed.error(Kind::Unavailable, text)
}
