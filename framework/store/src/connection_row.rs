//! A connection in the database: its row, its seals and their bindings.

use std::collections::BTreeMap;

use headwater_core::{Date, Error, FormModel, Kind, Result, Secret};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::{
    audit::{Actor, Change},
    connections::timestamp,
    database::{Database, Row, table},
    health::LastSync,
    key::{Key, Keyring},
    ledger::Ledger,
    refusal::Refusal,
    runs::{RunHolder, RunsTable},
    schedules::{ScheduledRun, SchedulesTable},
    seal::{Binding, open, seal},
    secrets::{identity, split_secrets},
    store::Store,
    undo::PreviousTable,
};

/// The pointer of the seal over everything in clear, instead of a field.
pub(crate) const WHOLE: &str = "";

table! {
    /// Connections.
    ConnectionsTable = "headwater_connections" {
        ID: String = "id",
        NAME: String = "name",
        CONNECTOR: String = "connector",
        CONFIG: String = "config",
        IDENTITY: String = "identity",
        VERSION: i64 = "version",
        DESTINATION: Option<String> = "destination",
        CREATED: i64 = "created",
        UPDATED: i64 = "updated",
        EPOCH: i64 = "epoch",
        HOLDER: Option<String> = "holder",
        SINCE: Option<i64> = "since",
        UNTIL: Option<i64> = "until",
        TITLE: Option<String> = "title",
        DESCRIPTION: String = "description",
        CREATED_BY: String = "created_by",
        UPDATED_BY: String = "updated_by",
        REVISION: i64 = "revision",
        CHECKED: Option<i64> = "checked",
        LAST_CHECK: Option<String> = "last_check",
        DELETED: Option<i64> = "deleted",
        EXPIRES: Option<Date> = "expires",
    }
}

table! {
    /// Sealed secrets. Joined with its connection, a row may be missing.
    SecretsTable = "headwater_secrets" {
        POINTER: Option<String> = "pointer",
        KEY_ID: String = "key_id",
        SEALED: String = "sealed",
    }
}

/// The statement up to its condition that reads connections with everything that belongs to them, so that all of it is of
/// one moment. `connections` is the table, or a selection of its rows with the table's name.
pub(crate) fn select_from(connections: &str) -> String {
    format!(
        "SELECT {}, {}, {}, {}, {}, {} FROM {connections} \
         LEFT JOIN headwater_secrets ON headwater_secrets.connection = headwater_connections.id \
         LEFT JOIN headwater_previous ON headwater_previous.connection = headwater_connections.id \
         LEFT JOIN headwater_schedules ON headwater_schedules.connection = headwater_connections.id \
         LEFT JOIN headwater_runs ON headwater_runs.connection = headwater_connections.id AND headwater_runs.epoch = (\
         SELECT MAX(e.epoch) FROM headwater_runs e WHERE e.connection = headwater_connections.id \
         AND e.ended IS NOT NULL AND e.started >= headwater_connections.updated)",
        ConnectionsTable::ALL,
        SecretsTable::ALL,
        PreviousTable::REPLACED,
        SchedulesTable::ALL,
        RunsTable::ENDED,
        RunsTable::RECEIPT,
    )
}

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
        let select = select_from("headwater_connections");
        let statement = format!("{select} WHERE headwater_connections.name = ?1");
        database.query(&statement, &[name.into()])
    }

    /// Reads a connection from its rows, one for each seal.
    pub(crate) fn of(rows: &[Row]) -> Result<Self> {
        let Some(row) = rows.first() else {
            return Err(Error::new(Kind::Unexpected, "a connection has no row"));
        };
        let mut seals = BTreeMap::new();
        for row in rows {
            if let Some(pointer) = row.get(SecretsTable::POINTER)? {
                let key_id = row.get(SecretsTable::KEY_ID)?;
                let sealed = row.get(SecretsTable::SEALED)?;
                seals.insert(pointer, SealedSecret { key_id, sealed });
            }
        }
        let name = row.get(ConnectionsTable::NAME)?;
        Ok(Self {
            id: row.get(ConnectionsTable::ID)?,
            connector: row.get(ConnectionsTable::CONNECTOR)?,
            config: row.get(ConnectionsTable::CONFIG)?,
            identity: row.get(ConnectionsTable::IDENTITY)?,
            version: row.get(ConnectionsTable::VERSION)?,
            destination: row.get(ConnectionsTable::DESTINATION)?,
            created: row.get(ConnectionsTable::CREATED)?,
            updated: row.get(ConnectionsTable::UPDATED)?,
            holder: RunHolder::of(row)?,
            title: row.get(ConnectionsTable::TITLE)?,
            description: row.get(ConnectionsTable::DESCRIPTION)?,
            created_by: row.get(ConnectionsTable::CREATED_BY)?,
            updated_by: row.get(ConnectionsTable::UPDATED_BY)?,
            revision: row.get(ConnectionsTable::REVISION)?,
            checked: row.get(ConnectionsTable::CHECKED)?,
            last_check: row.get(ConnectionsTable::LAST_CHECK)?,
            deleted: row.get(ConnectionsTable::DELETED)?,
            replaced: row.get(PreviousTable::REPLACED)?,
            schedule: ScheduledRun::of(row, &name)?,
            expires: row.get(ConnectionsTable::EXPIRES)?,
            last_sync: match (row.get(RunsTable::ENDED)?, row.get(RunsTable::RECEIPT)?) {
                (Some(ended), Some(receipt)) => LastSync::of(timestamp(ended)?, &receipt),
                _ => None,
            },
            seals,
            name,
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

impl LockedConnection {
    /// The columns that [`LockedConnection::of`] reads.
    pub(crate) fn columns() -> String {
        format!(
            "{}, {}, {}",
            ConnectionsTable::ID,
            ConnectionsTable::VERSION,
            ConnectionsTable::REVISION
        )
    }

    pub(crate) fn of(row: &Row) -> Result<Self> {
        Ok(Self {
            id: row.get(ConnectionsTable::ID)?,
            version: row.get(ConnectionsTable::VERSION)?,
            revision: row.get(ConnectionsTable::REVISION)?,
        })
    }
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
    let statement = format!(
        "UPDATE headwater_connections SET revision = revision + 1 \
         WHERE name = ?1 AND deleted IS NULL AND (CAST(?2 AS BIGINT) IS NULL OR revision = ?2) RETURNING {}",
        LockedConnection::columns()
    );
    let rows = database.query(&statement, &[name.into(), revision.into()])?;
    if let Some(row) = rows.first() {
        return LockedConnection::of(row);
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
