//! Who did what: a list that only grows, and that never holds a value.
//!
//! Each row is written in the transaction of its change, so that neither exists without the other. The transaction
//! locks the ledger first, so all changes wait for each other and the numbers grow without a gap. Each row has a digest
//! of itself and of the one before, and the ledger seals the last one.

use headwater_core::{Result, Timestamp};
use serde::Serialize;
use serde_json::json;
use sha2::{Digest, Sha256};

use crate::{
    connection_row::ConnectionsTable,
    connections::timestamp,
    database::{Database, Row, Value, first, table, transaction},
    key::{Key, Keyring, hex},
    ledger::Ledger,
    store::{Store, sealing_key},
};

table! {
    /// The audit.
    AuditTable = "headwater_audit" {
        ID: i64 = "id",
        TIME: i64 = "time",
        WHO: String = "who",
        WHAT: String = "what",
        CONNECTION_ID: Option<String> = "connection_id",
        NAME: Option<String> = "name",
        VERSION: Option<i64> = "version",
        OUTCOME: String = "outcome",
        REQUEST_ID: Option<String> = "request_id",
        DIGEST: String = "digest",
    }
}

/// How many rows one query of a verification reads.
const ROWS_AT_ONCE: i64 = 10_000;

/// The author of a change.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Actor {
    /// The name of a token, or `local`.
    pub who: String,
    /// The id of the request behind it.
    pub request_id: Option<String>,
}

impl Actor {
    /// The scheduler, for a run that was due.
    pub fn schedule() -> Self {
        Self {
            who: "schedule".to_owned(),
            request_id: None,
        }
    }

    /// A direct user of the store, such as the command line.
    pub fn local() -> Self {
        Self {
            who: "local".to_owned(),
            request_id: None,
        }
    }
}

/// A row of the list.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AuditRow {
    /// Grows with each row.
    pub id: i64,
    /// When it happened.
    pub time: Timestamp,
    /// Its author: the name of a token, or `local`.
    pub who: String,
    /// The action, in a word or two.
    pub what: String,
    /// The id of the changed connection; a later connection of the same name has another id.
    pub connection_id: Option<String>,
    /// The name of the changed connection or token.
    pub name: Option<String>,
    /// The version of the connection's config.
    pub version: Option<i64>,
    /// The outcome.
    pub outcome: String,
    /// The id of the request behind it.
    pub request_id: Option<String>,
}

/// The contents of a row.
pub(crate) struct Event {
    what: String,
    connection_id: Option<String>,
    name: Option<String>,
    version: Option<i64>,
    outcome: String,
}

impl Event {
    /// A change of the store.
    pub(crate) fn new(what: &str) -> Self {
        Self {
            what: what.to_owned(),
            connection_id: None,
            name: None,
            version: None,
            outcome: "done".to_owned(),
        }
    }

    pub(crate) fn id(self, connection_id: &str) -> Self {
        Self {
            connection_id: Some(connection_id.to_owned()),
            ..self
        }
    }

    pub(crate) fn named(self, name: &str) -> Self {
        Self {
            name: Some(name.to_owned()),
            ..self
        }
    }

    pub(crate) fn at(self, version: i64) -> Self {
        Self {
            version: Some(version),
            ..self
        }
    }

    pub(crate) fn of(self, connection_id: &str, name: &str, version: i64) -> Self {
        self.id(connection_id).named(name).at(version)
    }

    pub(crate) fn ended(self, outcome: &str) -> Self {
        Self {
            outcome: outcome.to_owned(),
            ..self
        }
    }
}

/// A change of the store under way, in one transaction.
pub(crate) struct Change<'a> {
    pub database: &'a mut dyn Database,
    pub ledger: Ledger,
    pub keyring: &'a Keyring,
    /// The key for new seals.
    pub key: Key,
}

/// Carries out a change and writes its row, as a whole or not at all.
pub(crate) fn audited<T>(
    store: &mut Store,
    actor: &Actor,
    work: impl FnOnce(&mut Change) -> Result<(T, Event)>,
) -> Result<T> {
    let keyring = &store.keyring;
    let database = &mut *store.database;
    let time = database.now()?;
    let (done, last) = transaction(database, |database| {
        let ledger = Ledger::hold(database, keyring)?;
        let key = sealing_key(database, keyring)?;
        let mut change = Change {
            database,
            ledger,
            keyring,
            key,
        };
        let (done, event) = work(&mut change)?;
        let Change {
            database,
            mut ledger,
            key,
            ..
        } = change;
        append(database, &mut ledger, time, actor, event)?;
        ledger.write(database, &key)?;
        Ok((done, ledger.audited))
    })?;
    store.seen = store.seen.max(last);
    Ok(done)
}

/// Writes the next row.
fn append(
    database: &mut dyn Database,
    ledger: &mut Ledger,
    time: i64,
    actor: &Actor,
    event: Event,
) -> Result<()> {
    let row = AuditRow {
        id: ledger.audited + 1,
        time: timestamp(time)?,
        who: actor.who.clone(),
        what: event.what,
        connection_id: event.connection_id,
        name: event.name,
        version: event.version,
        outcome: event.outcome,
        request_id: actor.request_id.clone(),
    };
    (ledger.audited, ledger.head) = (row.id, row.digest(&ledger.head));
    row.write(database, &ledger.head)
}

impl AuditRow {
    pub(crate) fn of(row: &Row) -> Result<Self> {
        Ok(Self {
            id: row.get(AuditTable::ID)?,
            time: timestamp(row.get(AuditTable::TIME)?)?,
            who: row.get(AuditTable::WHO)?,
            what: row.get(AuditTable::WHAT)?,
            connection_id: row.get(AuditTable::CONNECTION_ID)?,
            name: row.get(AuditTable::NAME)?,
            version: row.get(AuditTable::VERSION)?,
            outcome: row.get(AuditTable::OUTCOME)?,
            request_id: row.get(AuditTable::REQUEST_ID)?,
        })
    }

    /// The digest of this row after the rows with the digest `before`.
    pub(crate) fn digest(&self, before: &str) -> String {
        let Self {
            id,
            time,
            who,
            what,
            connection_id,
            name,
            version,
            outcome,
            request_id,
        } = self;
        let time = time.as_millisecond();
        let row = json!([
            before,
            id,
            time,
            who,
            what,
            connection_id,
            name,
            version,
            outcome,
            request_id
        ]);
        hex(&Sha256::digest(row.to_string()))
    }

    fn write(&self, database: &mut dyn Database, digest: &str) -> Result<()> {
        let statement = "INSERT INTO headwater_audit \
                         (id, time, who, what, connection_id, name, version, outcome, request_id, digest) \
                         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10)";
        let parameters = [
            self.id.into(),
            self.time.as_millisecond().into(),
            self.who.as_str().into(),
            self.what.as_str().into(),
            self.connection_id.as_deref().into(),
            self.name.as_deref().into(),
            self.version.into(),
            self.outcome.as_str().into(),
            self.request_id.as_deref().into(),
            digest.into(),
        ];
        database.execute(statement, &parameters).map(drop)
    }
}

/// A row about an action that changes nothing in the store.
#[derive(Clone, Debug)]
pub struct AuditNote {
    /// The author of the action.
    pub actor: Actor,
    /// The action.
    pub what: &'static str,
    /// Its connection.
    pub connection: Option<String>,
    /// The outcome.
    pub outcome: String,
}

impl AuditNote {
    fn event(&self, database: &mut dyn Database) -> Result<Event> {
        note_event(
            database,
            self.what,
            self.connection.as_deref(),
            &self.outcome,
        )
    }
}

fn note_event(
    database: &mut dyn Database,
    what: &str,
    connection: Option<&str>,
    outcome: &str,
) -> Result<Event> {
    let event = Event::new(what).ended(outcome);
    let Some(name) = connection else {
        return Ok(event);
    };
    let statement = format!(
        "SELECT {}, {} FROM headwater_connections WHERE name = ?1",
        ConnectionsTable::ID,
        ConnectionsTable::VERSION
    );
    Ok(match first(database.query(&statement, &[name.into()])?) {
        Some(row) => event.of(
            &row.get(ConnectionsTable::ID)?,
            name,
            row.get(ConnectionsTable::VERSION)?,
        ),
        None => event.named(name),
    })
}

/// The result of a verification of the audit.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct AuditProof {
    /// How many rows there are.
    pub rows: i64,
    /// How many rows headwater wrote, by the ledger.
    pub expected: i64,
    /// The first row that was changed, added or removed.
    pub broken_at: Option<i64>,
}

impl Store {
    /// Writes a row about an action that changes nothing in the store, such as a preview.
    ///
    /// # Errors
    ///
    /// Fails if the store cannot be written.
    pub fn note(
        &mut self,
        actor: &Actor,
        what: &str,
        connection: Option<&str>,
        outcome: &str,
    ) -> Result<()> {
        audited(self, actor, |change| {
            Ok(((), note_event(change.database, what, connection, outcome)?))
        })
    }

    /// Writes several such rows in one transaction.
    ///
    /// # Errors
    ///
    /// Fails if the store cannot be written.
    pub fn note_all(&mut self, notes: &[AuditNote]) -> Result<()> {
        let Some((last, notes)) = notes.split_last() else {
            return Ok(());
        };
        let time = self.database.now()?;
        audited(self, &last.actor, |change| {
            let Change {
                database, ledger, ..
            } = change;
            for note in notes {
                let event = note.event(*database)?;
                append(*database, ledger, time, &note.actor, event)?;
            }
            Ok(((), last.event(*database)?))
        })
    }

    /// Rows of the audit, the newest first: at most `limit` rows before an id, of all connections or of one name.
    ///
    /// # Errors
    ///
    /// Fails if the store cannot be read.
    pub fn audit(
        &mut self,
        before: Option<i64>,
        limit: usize,
        name: Option<&str>,
    ) -> Result<Vec<AuditRow>> {
        let mut parameters: Vec<Value> = vec![
            before.unwrap_or(i64::MAX).into(),
            i64::try_from(limit).unwrap_or(i64::MAX).into(),
        ];
        parameters.extend(name.map(Value::from));
        let of_name = name.map_or("", |_| "AND name = ?3");
        let statement = format!(
            "SELECT {} FROM headwater_audit WHERE id < ?1 {of_name} ORDER BY id DESC LIMIT ?2",
            AuditTable::ALL
        );
        let rows = self.database.query(&statement, &parameters)?;
        rows.iter().map(AuditRow::of).collect()
    }

    /// Verifies the whole audit: each row has to follow from the row before, up to the last one, which the ledger
    /// seals.
    ///
    /// # Errors
    ///
    /// Fails if the store or its ledger cannot be read.
    pub fn verify_audit(&mut self) -> Result<AuditProof> {
        let is_whole = |proof: &AuditProof| proof.broken_at.is_none();
        self.with_ledger(is_whole, |store, ledger| {
            let mut proof = AuditProof {
                rows: 0,
                expected: ledger.audited,
                broken_at: None,
            };
            let (mut last, mut head) = (0, String::new());
            let statement = format!(
                "SELECT {} FROM headwater_audit WHERE id > ?1 ORDER BY id LIMIT ?2",
                AuditTable::ALL
            );
            loop {
                let rows = store
                    .database
                    .query(&statement, &[last.into(), ROWS_AT_ONCE.into()])?;
                for row in &rows {
                    // A row that cannot be read counts as changed.
                    last = row.get(AuditTable::ID)?;
                    proof.rows += 1;
                    let digest = AuditRow::of(row).map(|row| row.digest(&head));
                    let digest = digest.unwrap_or_default();
                    let saved = row.get(AuditTable::DIGEST);
                    let is_good = last == proof.rows && saved.is_ok_and(|saved| saved == digest);
                    if !is_good && proof.broken_at.is_none() {
                        proof.broken_at = Some(last.min(proof.rows));
                    }
                    head = digest;
                }
                if rows.is_empty() {
                    break;
                }
            }
            let is_whole = proof.rows == ledger.audited && head == ledger.head;
            if !is_whole && proof.broken_at.is_none() {
                proof.broken_at = Some(ledger.audited.min(proof.rows) + 1);
            }
            Ok(proof)
        })
    }
}
