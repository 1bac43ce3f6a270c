//! The ledger: one sealed text that holds the newest revision of every connection, a digest of every token and the head
//! of the audit.
//!
//! The seal of a row also vouches for an older copy of that row. The ledger distinguishes the newest row from a copy.
//! It is written in the transaction of each change, by [`audited`](crate::audit::audited) alone. If rows and ledger are
//! all of one earlier moment, only a process that has seen a later one notices.

use std::{collections::BTreeMap, sync::Arc};

use headwater_core::{Error, Kind, Result};
use serde::{Deserialize, Serialize};

use crate::{
    audit::{AuditRow, AuditTable},
    connection_row::{ConnectionRow, ConnectionsTable},
    database::{Database, Row, first, table},
    key::{Key, Keyring},
    refusal::Refusal,
    seal::{Binding, open, seal},
    store::{Store, sealing_key},
    tokens::{token, token_rows},
};

/// How often rows and ledger are read again if a change came between them.
const TRIES: usize = 5;

table! {
    /// The one row about the store itself.
    StoreTable = "headwater_store" {
        FORMAT: i64 = "format",
        KEY_ID: Option<String> = "key_id",
        AUDITED: i64 = "audited",
        LEDGER: Option<String> = "ledger",
        LEDGER_KEY: String = "ledger_key",
    }
}

/// The newest state of a store.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Ledger {
    /// The number of the last row of the audit.
    pub audited: i64,
    /// The digest of that row, which covers all rows before it.
    pub head: String,
    /// The revision of each connection, by its id.
    pub connections: BTreeMap<String, i64>,
    /// The digest of each token, by its name.
    pub tokens: BTreeMap<String, String>,
}

impl Ledger {
    /// Opens the ledger of a row. A store without a ledger is empty.
    fn of(row: &Row, keyring: &Keyring) -> Result<Self> {
        let audited = row.get(StoreTable::AUDITED)?;
        let ledger = match row.get(StoreTable::LEDGER)? {
            None => Self::default(),
            Some(text) => {
                let key = row.get(StoreTable::LEDGER_KEY)?;
                let key = keyring.get(&key).ok_or_else(|| another_key(&key))?;
                let opened = open(&key, &text, &Self::binding());
                let opened = opened.and_then(|text| serde_json::from_str(&text).ok());
                opened.ok_or_else(damaged)?
            }
        };
        match ledger.audited == audited {
            true => Ok(ledger),
            false => Err(damaged()),
        }
    }

    fn binding() -> Binding {
        Binding::new(&["ledger"])
    }

    /// Replaces the ledger of the database.
    pub(crate) fn write(&self, database: &mut dyn Database, key: &Key) -> Result<()> {
        let text = serde_json::to_string(self).map_err(|error| {
            Error::new(Kind::Unexpected, "the ledger cannot be written as JSON").caused_by(error)
        })?;
        let statement =
            "UPDATE headwater_store SET ledger = ?1, ledger_key = ?2, audited = ?3, key_id = ?2";
        let parameters = [
            seal(key, &text, &Self::binding())?.as_str().into(),
            key.id.as_str().into(),
            self.audited.into(),
        ];
        database.execute(statement, &parameters).map(drop)
    }

    /// Locks the ledger until the transaction ends, so that changes wait for each other.
    pub(crate) fn hold(database: &mut dyn Database, keyring: &Keyring) -> Result<Self> {
        let statement = format!(
            "UPDATE headwater_store SET audited = audited RETURNING {}",
            StoreTable::ALL
        );
        let rows = database.query(&statement, &[])?;
        Self::of(&first(rows).ok_or_else(damaged)?, keyring)
    }
}

/// Writes the first ledger of a store from the rows of an earlier version. A connection that cannot be read then stays
/// unreadable.
pub(crate) fn begin(database: &mut dyn Database, keyring: &Keyring) -> Result<()> {
    let key = sealing_key(database, keyring)?;
    let mut ledger = Ledger::default();
    let statement = format!(
        "SELECT {} FROM headwater_connections",
        ConnectionsTable::NAME
    );
    for row in &database.query(&statement, &[])? {
        let name = row.get(ConnectionsTable::NAME)?;
        let Ok(Some(mut stored)) = ConnectionRow::find(database, &name) else {
            continue;
        };
        if let Some(id) = stored.key_ids().find(|id| keyring.get(id).is_none()) {
            let text = format!(
                "the store has secrets that are sealed with the key {id}; give that key as well this time"
            );
            return Err(Error::new(Kind::ConfigInvalid, text));
        }
        if stored.verify_without_ledger(keyring).is_ok() {
            stored.seal_whole(&key)?;
            stored.write_whole(database)?;
            ledger.connections.insert(stored.id, stored.revision);
        }
    }
    for row in token_rows(database)? {
        let (token, hash) = token(&row)?;
        let digest = token.digest(&hash);
        ledger.tokens.insert(token.name, digest);
    }
    let statement = format!(
        "SELECT {} FROM headwater_audit ORDER BY id",
        AuditTable::ALL
    );
    for row in &database.query(&statement, &[])? {
        let row = AuditRow::of(row)?;
        (ledger.audited, ledger.head) = (row.id, row.digest(&ledger.head));
        let statement = "UPDATE headwater_audit SET digest = ?1 WHERE id = ?2";
        database.execute(statement, &[ledger.head.as_str().into(), row.id.into()])?;
    }
    match ledger == Ledger::default() {
        true => Ok(()),
        false => ledger.write(database, &key),
    }
}

/// A ledger with its row.
pub(crate) struct OpenLedger {
    text: Row,
    ledger: Arc<Ledger>,
}

impl Store {
    /// Reads the current ledger. A ledger with fewer rows of the audit than this process has seen is an earlier copy.
    pub(crate) fn ledger(&mut self) -> Result<Arc<Ledger>> {
        let statement = format!("SELECT {} FROM headwater_store", StoreTable::ALL);
        let row = first(self.database.query(&statement, &[])?).ok_or_else(damaged)?;
        let known = self.opened.as_ref().filter(|opened| opened.text == row);
        let ledger = match known {
            Some(opened) => Arc::clone(&opened.ledger),
            None => Arc::new(Ledger::of(&row, &self.keyring)?),
        };
        if ledger.audited < self.seen {
            let text = format!(
                "the store {} is an earlier copy of itself: its audit has {} rows and had {}; restore the newest copy, \
                 or restart to continue with this one",
                self.location, ledger.audited, self.seen
            );
            return Err(Error::new(Kind::ConfigInvalid, text));
        }
        self.seen = ledger.audited;
        self.opened = Some(OpenLedger {
            text: row,
            ledger: Arc::clone(&ledger),
        });
        Ok(ledger)
    }

    /// Reads rows and compares them with the ledger. Reads both again if they disagree and a change came between the
    /// two.
    pub(crate) fn with_ledger<T>(
        &mut self,
        agrees: impl Fn(&T) -> bool,
        mut read: impl FnMut(&mut Self, &Ledger) -> Result<T>,
    ) -> Result<T> {
        let mut tries = 0;
        loop {
            let ledger = self.ledger()?;
            let done = read(self, &ledger);
            tries += 1;
            let is_good = done.as_ref().is_ok_and(&agrees);
            if is_good || tries >= TRIES || Arc::ptr_eq(&ledger, &self.ledger()?) {
                return done;
            }
        }
    }
}

fn another_key(id: &str) -> Error {
    let text = format!("the store now has another key, {id}; try again with that key");
    Error::new(Kind::ConfigInvalid, text)
}

/// The refusal of a store whose ledger does not match.
pub(crate) fn damaged() -> Error {
    let text = "the store's ledger was changed by another program, or belongs to another store; restore the store from \
                a copy";
    Refusal::Unreadable.error(Kind::ConfigInvalid, text.to_owned())
}
