//! Saved connections: adding, reading, changing and removing them.

use std::collections::BTreeMap;

use headwater_core::{Error, FormModel, Kind, Result, Secret, Timestamp, put};
use serde_json::Value;

use crate::{
    database::{Database, Row, first, transaction},
    key::{Key, Keyring, fill, hex},
    runs::Holder,
    seal::{Binding, open, seal},
    secrets::{identity, take_out},
    store::{Store, claim_key},
};

const LONGEST_NAME: usize = 63;
/// In the place of a field: the seal over everything else of a connection.
const WHOLE: &str = "";

/// Connections and their seals in one statement, so that both are of one moment. What [`stored`] reads.
const SELECT: &str = "SELECT c.id, c.name, c.connector, c.config, c.identity, c.version, c.destination, c.created, \
                      c.updated, c.holder, c.since, c.until, s.pointer, s.key_id, s.sealed \
                      FROM headwater_connections c LEFT JOIN headwater_secrets s ON s.connection = c.id";

/// A saved connection without its secrets.
#[derive(Clone, Debug)]
pub struct Connection {
    /// What it is called.
    pub name: String,
    /// The connector that it is a config of.
    pub connector: String,
    /// The config; a sealed secret is absent, a reference is there.
    pub config: Value,
    /// The places of the sealed secrets, as JSON Pointers into the config.
    pub sealed: Vec<String>,
    /// Where its records went last.
    pub destination: Option<String>,
    /// Grows with each change of the config.
    pub version: i64,
    /// When it was saved first.
    pub created: Timestamp,
    /// When its config was changed last.
    pub updated: Timestamp,
    /// Who runs it, or ran it and was killed.
    pub holder: Option<Holder>,
    stored: Stored,
}

/// A line of the list of connections.
#[derive(Clone, Debug)]
pub struct Listed {
    /// What it is called.
    pub name: String,
    /// The connector that it is a config of.
    pub connector: String,
    /// Where its records went last.
    pub destination: Option<String>,
    /// When its config was changed last.
    pub updated: Option<Timestamp>,
    /// How many secrets are sealed.
    pub secrets: usize,
    /// Why it cannot be read.
    pub problem: Option<String>,
}

/// What is removed with a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Contents {
    /// Sealed secrets.
    pub secrets: usize,
    /// Runs of its history.
    pub runs: usize,
    /// Whether the store keeps its state.
    pub has_state: bool,
}

/// A connection as it stands in the database.
#[derive(Clone, Debug)]
pub(crate) struct Stored {
    pub id: String,
    pub name: String,
    pub connector: String,
    config: String,
    identity: String,
    version: i64,
    destination: Option<String>,
    created: i64,
    updated: i64,
    pub holder: Option<Holder>,
    /// By pointer.
    pub seals: BTreeMap<String, Sealed>,
}

#[derive(Clone, Debug)]
pub(crate) struct Sealed {
    pub key_id: String,
    pub sealed: String,
}

impl Stored {
    pub(crate) fn find(database: &mut dyn Database, name: &str) -> Result<Option<Self>> {
        let statement = format!("{SELECT} WHERE c.name = ?1");
        let rows = database.query(&statement, &[name.into()])?;
        match rows.is_empty() {
            true => Ok(None),
            false => stored(&rows).map(Some),
        }
    }

    /// What a seal of this connection is bound to. That of the whole covers everything in clear that decides what a run
    /// does, and which secrets there are.
    fn binding(&self, pointer: &str) -> Binding {
        let version = self.version.to_string();
        let mut parts = vec![&*self.id, &*version, pointer, &*self.identity];
        if pointer == WHOLE {
            parts.extend([&*self.name, &*self.connector, &*self.config]);
            parts.extend(
                self.seals
                    .keys()
                    .map(String::as_str)
                    .filter(|one| *one != WHOLE),
            );
        }
        Binding::new(&parts)
    }

    /// Opens the seal of a field.
    fn reveal(&self, pointer: &str, keyring: &Keyring) -> Result<Secret, String> {
        let sealed = self.seals.get(pointer).ok_or_else(changed)?;
        let id = &sealed.key_id;
        let key = keyring
            .get(id)
            .ok_or_else(|| format!("is sealed with the key {id}, which was not given"))?;
        let text = open(key, &sealed.sealed, &self.binding(pointer)).ok_or_else(changed)?;
        Ok(Secret::new(text.as_str()))
    }

    /// Whether nobody changed what stands in clear.
    fn verify(&self, keyring: &Keyring) -> Result<(), String> {
        self.reveal(WHOLE, keyring).map(drop)
    }

    /// Seals again everything that was sealed, with a key.
    pub(crate) fn reseal(
        &self,
        keyring: &Keyring,
        key: &Key,
    ) -> Result<BTreeMap<String, Sealed>, String> {
        let again = |pointer: &String| {
            let text = self.reveal(pointer, keyring)?;
            let sealed = sealed(key, text.expose(), &self.binding(pointer));
            Ok((pointer.clone(), sealed.map_err(|error| error.to_string())?))
        };
        self.seals.keys().map(again).collect()
    }

    /// Seals these secrets, and the whole.
    fn seal(&mut self, secrets: &[(String, Secret)], key: &Key) -> Result<()> {
        let pointers = secrets.iter().map(|(pointer, _)| pointer.as_str());
        // First the places, which the seal of the whole counts.
        self.seals = pointers
            .chain([WHOLE])
            .map(|pointer| (pointer.to_owned(), nothing()))
            .collect();
        let texts = secrets
            .iter()
            .map(|(pointer, secret)| (pointer.as_str(), secret.expose()));
        for (pointer, text) in texts.chain([(WHOLE, "")]) {
            let sealed = sealed(key, text, &self.binding(pointer))?;
            self.seals.insert(pointer.to_owned(), sealed);
        }
        Ok(())
    }

    fn problem(&self, keyring: &Keyring) -> Option<String> {
        let mut seals = self
            .seals
            .keys()
            .map(|pointer| self.reveal(pointer, keyring));
        let verified = self.verify(keyring);
        verified
            .and_then(|()| seals.try_for_each(|seal| seal.map(drop)))
            .err()
    }
}

fn nothing() -> Sealed {
    Sealed {
        key_id: String::new(),
        sealed: String::new(),
    }
}

fn sealed(key: &Key, text: &str, binding: &Binding) -> Result<Sealed> {
    Ok(Sealed {
        key_id: key.id.clone(),
        sealed: seal(key, text, binding)?,
    })
}

fn changed() -> String {
    "was changed by something else than headwater, or comes from another place".to_owned()
}

impl Store {
    /// Whether a name can be that of a connection: lower case letters, digits, `-` and `_`, at most 63 of them, the first
    /// a letter or a digit.
    pub fn check_name(name: &str) -> Result<()> {
        let is_plain = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit();
        let is_good = name.starts_with(is_plain)
            && name.len() <= LONGEST_NAME
            && name.chars().all(|c| is_plain(c) || c == '-' || c == '_');
        if is_good {
            return Ok(());
        }
        let shown: String = name
            .chars()
            .take(LONGEST_NAME)
            .flat_map(char::escape_default)
            .collect();
        let text = format!(
            "a connection cannot be called \"{shown}\": a name has lower case letters, digits, - and _, at most \
             {LONGEST_NAME}, and starts with a letter or a digit"
        );
        Err(Error::new(Kind::ConfigInvalid, text))
    }

    /// Refuses a name that is no name or that is taken.
    pub fn check_new_name(&mut self, name: &str) -> Result<()> {
        Self::check_name(name)?;
        let statement = "SELECT id FROM headwater_connections WHERE name = ?1";
        match self.database.query(statement, &[name.into()])?.is_empty() {
            true => Ok(()),
            false => Err(taken(name)),
        }
    }

    /// Saves a new connection. The answer is valid and has its secrets.
    pub fn add(
        &mut self,
        form: &FormModel,
        name: &str,
        connector: &str,
        answer: &Value,
    ) -> Result<()> {
        Self::check_name(name)?;
        let (config, secrets) = take_out(form, answer)?;
        let key = self.sealing_key()?;
        let mut id = [0; 16];
        fill(&mut id)?;
        let now = self.database.now()?;
        let mut new = Stored {
            id: hex(&id),
            name: name.to_owned(),
            connector: connector.to_owned(),
            config: config.to_string(),
            identity: identity(form, connector, answer),
            version: 1,
            destination: None,
            created: now,
            updated: now,
            holder: None,
            seals: BTreeMap::new(),
        };
        new.seal(&secrets, &key)?;
        transaction(&mut *self.database, |database| {
            claim_key(database, &key)?;
            let statement = "INSERT INTO headwater_connections \
                             (id, name, connector, config, identity, version, created, updated, epoch) \
                             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, 0) ON CONFLICT (name) DO NOTHING";
            let texts = [
                &new.id,
                &new.name,
                &new.connector,
                &new.config,
                &new.identity,
            ];
            let mut parameters: Vec<_> = texts.map(|text| text.as_str().into()).to_vec();
            parameters.extend([new.version.into(), now.into(), now.into()]);
            if database.execute(statement, &parameters)? == 0 {
                return Err(taken(name));
            }
            write_seals(database, &new)
        })
    }

    /// All connections by name. One that cannot be read says why and hides no other.
    pub fn list(&mut self) -> Result<Vec<Listed>> {
        let statement = format!("{SELECT} ORDER BY c.name, s.pointer");
        let rows = self.database.query(&statement, &[])?;
        let listed = rows.chunk_by(|left, right| left.0[0] == right.0[0]);
        Ok(listed.map(|rows| self.listed(rows)).collect())
    }

    fn listed(&self, rows: &[Row]) -> Listed {
        let stored = stored(rows);
        let readable = stored.and_then(|stored| {
            let problem = stored.problem(&self.keyring);
            Ok((problem, timestamp(stored.updated)?, stored))
        });
        match readable {
            Ok((problem, updated, stored)) => Listed {
                name: stored.name,
                connector: stored.connector,
                destination: stored.destination,
                updated: Some(updated),
                secrets: stored.seals.len().saturating_sub(1),
                problem,
            },
            Err(error) => Listed {
                name: rows[0].text(1).unwrap_or_default(),
                connector: rows[0].text(2).unwrap_or_default(),
                destination: None,
                updated: None,
                secrets: 0,
                problem: Some(error.message().to_owned()),
            },
        }
    }

    /// One connection without its secrets.
    pub fn get(&mut self, name: &str) -> Result<Connection> {
        let stored = self.stored(name)?;
        let unreadable = |what: String| unreadable(name, &what);
        stored.verify(&self.keyring).map_err(unreadable)?;
        let config = serde_json::from_str(&stored.config).map_err(|_| unreadable(changed()))?;
        let sealed = stored.seals.keys().filter(|pointer| *pointer != WHOLE);
        Ok(Connection {
            name: stored.name.clone(),
            connector: stored.connector.clone(),
            config,
            sealed: sealed.cloned().collect(),
            destination: stored.destination.clone(),
            version: stored.version,
            created: timestamp(stored.created)?,
            updated: timestamp(stored.updated)?,
            holder: stored.holder.clone(),
            stored,
        })
    }

    pub(crate) fn stored(&mut self, name: &str) -> Result<Stored> {
        Self::check_name(name)?;
        let found = Stored::find(&mut *self.database, name)?;
        found.ok_or_else(|| missing(name))
    }

    /// Puts the sealed secrets of a connection where an answer has none. The answer is the connection's config, or what
    /// is to take its place; where that would send the secrets somewhere else, they have to be given again.
    pub fn reveal(
        &self,
        form: &FormModel,
        connection: &Connection,
        answer: &mut Value,
    ) -> Result<()> {
        let stored = &connection.stored;
        let inputs = form.inputs_of(answer);
        let kept = inputs.iter().filter(|field| {
            connection.sealed.contains(&field.pointer) && answer.pointer(&field.pointer).is_none()
        });
        let kept: Vec<(&str, &str)> = kept.map(|field| (&*field.pointer, &*field.title)).collect();
        if let Some((_, title)) = kept.first()
            && identity(form, &connection.connector, answer) != stored.identity
        {
            let text = format!(
                "{title} was saved for another address or another way to sign in, and is not sent anywhere else; give it again"
            );
            return Err(Error::new(Kind::ConfigInvalid, text));
        }
        for (pointer, title) in kept {
            let secret = stored
                .reveal(pointer, &self.keyring)
                .map_err(|what| unreadable(&connection.name, &format!("{what} ({title})")))?;
            put(answer, pointer, secret.expose().into());
        }
        Ok(())
    }

    /// Puts another config in the place of a connection's. The answer is valid and has all its secrets. Fails where
    /// somebody else changed the connection since it was read.
    pub fn replace(
        &mut self,
        form: &FormModel,
        connection: &Connection,
        answer: &Value,
    ) -> Result<()> {
        let (config, secrets) = take_out(form, answer)?;
        let key = self.sealing_key()?;
        let mut new = connection.stored.clone();
        new.config = config.to_string();
        new.identity = identity(form, &new.connector, answer);
        new.version += 1;
        new.updated = self.database.now()?;
        new.seal(&secrets, &key)?;
        transaction(&mut *self.database, |database| {
            claim_key(database, &key)?;
            let statement = "UPDATE headwater_connections SET config = ?1, identity = ?2, version = ?3, updated = ?4 \
                             WHERE id = ?5 AND version = ?6";
            let parameters = [
                new.config.as_str().into(),
                new.identity.as_str().into(),
                new.version.into(),
                new.updated.into(),
                new.id.as_str().into(),
                connection.version.into(),
            ];
            if database.execute(statement, &parameters)? == 0 {
                let text = format!(
                    "the connection {} was changed meanwhile; try again",
                    new.name
                );
                return Err(Error::new(Kind::Unavailable, text));
            }
            let statement = "DELETE FROM headwater_secrets WHERE connection = ?1";
            database.execute(statement, &[new.id.as_str().into()])?;
            write_seals(database, &new)
        })?;
        self.database.forget_deleted();
        Ok(())
    }

    /// Remembers where the records of a connection went.
    pub fn set_destination(&mut self, name: &str, destination: &str) -> Result<()> {
        let statement = "UPDATE headwater_connections SET destination = ?1 WHERE name = ?2";
        match self
            .database
            .execute(statement, &[destination.into(), name.into()])?
        {
            0 => Err(missing(name)),
            _ => Ok(()),
        }
    }

    /// What would be removed with a connection.
    pub fn contents(&mut self, name: &str) -> Result<Contents> {
        Self::check_name(name)?;
        let statement = "SELECT \
            (SELECT count(*) FROM headwater_secrets s WHERE s.connection = c.id AND s.pointer <> ?2), \
            (SELECT count(*) FROM headwater_runs r WHERE r.connection = c.id), \
            (SELECT count(*) FROM headwater_states t WHERE t.connection = c.id) \
            FROM headwater_connections c WHERE c.name = ?1";
        let rows = self
            .database
            .query(statement, &[name.into(), WHOLE.into()])?;
        let row = first(rows).ok_or_else(|| missing(name))?;
        let count = |column| {
            row.integer(column)
                .map(|count| usize::try_from(count).unwrap_or(0))
        };
        Ok(Contents {
            secrets: count(0)?,
            runs: count(1)?,
            has_state: count(2)? > 0,
        })
    }

    /// Removes a connection with all that belongs to it; refused while it runs. One that cannot be read can be removed.
    pub fn remove(&mut self, name: &str) -> Result<()> {
        // Whoever may start a run may remove what it would run.
        let run = self.begin_run(name)?;
        transaction(&mut *self.database, |database| {
            let statement = "DELETE FROM headwater_connections WHERE id = ?1 AND epoch = ?2";
            match database.execute(statement, &[run.id().into(), run.epoch().into()])? {
                0 => Err(run.lost()),
                _ => Ok(()),
            }
        })?;
        if let Some(locks) = &self.locks {
            locks.remove(run.id());
        }
        self.database.forget_deleted();
        Ok(())
    }
}

pub(crate) fn write_seals(database: &mut dyn Database, stored: &Stored) -> Result<()> {
    let statement = "INSERT INTO headwater_secrets (connection, pointer, key_id, sealed) VALUES (?1, ?2, ?3, ?4)";
    for (pointer, one) in &stored.seals {
        let texts = [&stored.id, pointer, &one.key_id, &one.sealed];
        database.execute(statement, &texts.map(|text| text.as_str().into()))?;
    }
    Ok(())
}

/// The connection that these rows of [`SELECT`] are of.
fn stored(rows: &[Row]) -> Result<Stored> {
    let Some(row) = rows.first() else {
        return Err(Error::new(Kind::Unexpected, "a connection has no row"));
    };
    let mut seals = BTreeMap::new();
    for row in rows {
        if let Some(pointer) = row.optional_text(12)? {
            let (key_id, sealed) = (row.text(13)?, row.text(14)?);
            seals.insert(pointer, Sealed { key_id, sealed });
        }
    }
    Ok(Stored {
        id: row.text(0)?,
        name: row.text(1)?,
        connector: row.text(2)?,
        config: row.text(3)?,
        identity: row.text(4)?,
        version: row.integer(5)?,
        destination: row.optional_text(6)?,
        created: row.integer(7)?,
        updated: row.integer(8)?,
        holder: Holder::of(row, 9)?,
        seals,
    })
}

pub(crate) fn timestamp(milliseconds: i64) -> Result<Timestamp> {
    Timestamp::from_millisecond(milliseconds).map_err(|_| {
        let text = "the store holds a time that is none";
        Error::new(Kind::DataInvalid, text)
    })
}

pub(crate) fn unreadable(name: &str, what: &str) -> Error {
    let text = format!(
        "the connection {name} cannot be read: it {what}; restore the store or its key, or remove the connection and add it \
         again"
    );
    Error::new(Kind::ConfigInvalid, text)
}

pub(crate) fn missing(name: &str) -> Error {
    let text = format!(
        "there is no connection {name:?}; `headwater connection list` shows those there are"
    );
    Error::new(Kind::NotFound, text)
}

fn taken(name: &str) -> Error {
    let text =
        format!("there is a connection {name} already; change it with rotate, or remove it first");
    Error::new(Kind::ConfigInvalid, text)
}
