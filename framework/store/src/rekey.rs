//! Replacing the key, connection by connection.
//!
//! The order keeps every row readable at all times, and lets a killed rotation continue: first the new key comes before
//! the old one in the key file (or in the keys given), then the store names it as its own, then connections are sealed
//! again, each in one transaction, and only when no connection needs the old key does it leave the file. Opening a store
//! ends a killed rotation.

use std::path::PathBuf;

use headwater_core::{Error, Kind, Result};
use headwater_files::Locked;

use crate::{
    audit::{Actor, Event, audited},
    connection_row::{ConnectionRow, ConnectionsTable},
    database::{COUNT, transaction},
    key::Keyring,
    ledger::Ledger,
    store::{Store, sealing_key},
};

/// The result of a rotation of the key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RekeyReport {
    /// The id of the new key.
    pub key_id: String,
    /// How many connections were sealed again.
    pub resealed: usize,
    /// The connections that cannot be read, each with the reason. They stay unchanged, and the old key stays.
    pub unreadable: Vec<(String, String)>,
}

impl Store {
    /// Seals everything with another key, or continues an interrupted rotation. Forgets earlier configs.
    ///
    /// # Errors
    ///
    /// Fails if another process changes the key, if the new key was not given, or if the store or its key file cannot
    /// be written.
    pub fn rekey(&mut self, actor: &Actor) -> Result<RekeyReport> {
        let _lock = self.lock_keys()?;
        self.begin_rekey()?;
        self.continue_rekey(actor)
    }

    /// Ends a rotation whose process was killed, so that the old key does not stay in the key file.
    pub(crate) fn end_interrupted_rekey(&mut self) -> Result<()> {
        let Some(path) = self.own_key_file() else {
            return Ok(());
        };
        if !self.keyring.is_rotating() {
            return Ok(());
        }
        let _lock = self.lock_keys()?;
        // Another process may have ended it meanwhile.
        if let Some(keyring) = Keyring::load(&path)? {
            self.keyring = keyring;
        }
        match self.keyring.is_rotating() {
            true => self.continue_rekey(&Actor::local()).map(drop),
            false => Ok(()),
        }
    }

    fn continue_rekey(&mut self, actor: &Actor) -> Result<RekeyReport> {
        self.seal_ledger(actor)?;
        let mut rekeyed = RekeyReport {
            key_id: self.keyring.primary().id.clone(),
            resealed: 0,
            unreadable: Vec::new(),
        };
        for name in self.sealed_with_another_key()? {
            match self.reseal(&name)? {
                Ok(()) => rekeyed.resealed += 1,
                Err(what) => rekeyed.unreadable.push((name, what)),
            }
        }
        self.end_rekey()?;
        Ok(rekeyed)
    }

    fn own_key_file(&self) -> Option<PathBuf> {
        self.location.key_file().filter(|_| !self.has_given_keys)
    }

    /// Two processes would create two new keys, but the file can have only one.
    fn lock_keys(&self) -> Result<Option<Locked>> {
        let Some(locks) = &self.locks else {
            return Ok(None);
        };
        let lock = locks.take("keys")?;
        lock.map(Some).ok_or_else(|| {
            let text = "another process is changing the store's key; wait for it to end";
            Error::new(Kind::Unavailable, text)
        })
    }

    /// Puts a new key before the old one, unless it is there already.
    fn begin_rekey(&mut self) -> Result<()> {
        if self.has_given_keys {
            if !self.keyring.is_rotating() {
                let text = "give the new key and the old key, as in NEW,OLD, where you give the store's key";
                return Err(Error::new(Kind::ConfigInvalid, text));
            }
        } else if let Some(path) = self.location.key_file() {
            self.keyring = match Keyring::load(&path)? {
                Some(keyring) if keyring.is_rotating() => keyring,
                Some(keyring) => {
                    let rotating = keyring.with_new_primary()?;
                    rotating.replace(&path)?;
                    rotating
                }
                None => Keyring::create(&path)?,
            };
        }
        Ok(())
    }

    /// Makes the new key the store's, unless it is already. The row of the audit is part of the change, so that a rotation
    /// has one row whenever its process is killed.
    fn seal_ledger(&mut self, actor: &Actor) -> Result<()> {
        let before = sealing_key(&mut *self.database, &self.keyring)?;
        let key = self.keyring.primary().clone();
        if before.id == key.id {
            return Ok(());
        }
        audited(self, actor, |change| {
            if change.key.id != before.id && change.key.id != key.id {
                let text = "another process is changing the store's key; wait for it to end";
                return Err(Error::new(Kind::Unavailable, text));
            }
            change.key = key;
            Ok(((), Event::new("key replaced")))
        })
    }

    fn sealed_with_another_key(&mut self) -> Result<Vec<String>> {
        let key = self.keyring.primary().id.clone();
        let statement = format!(
            "SELECT DISTINCT {} FROM headwater_connections \
             JOIN headwater_secrets s ON s.connection = headwater_connections.id \
             WHERE s.key_id <> ?1 ORDER BY headwater_connections.name",
            ConnectionsTable::NAME
        );
        let rows = self.database.query(&statement, &[key.as_str().into()])?;
        rows.iter()
            .map(|row| row.get(ConnectionsTable::NAME))
            .collect()
    }

    /// Seals one connection with the new key, or returns why it cannot be read.
    fn reseal(&mut self, name: &str) -> Result<Result<(), String>> {
        let (keyring, key) = (self.keyring.clone(), self.keyring.primary().clone());
        transaction(&mut *self.database, |database| {
            // Makes a change of it wait.
            let ledger = Ledger::hold(database, &keyring)?;
            let mut stored = match ConnectionRow::find(database, name) {
                Ok(Some(stored)) => stored,
                Ok(None) => return Ok(Ok(())),
                Err(error) if error.kind() == Kind::DataInvalid => {
                    return Ok(Err(error.message().to_owned()));
                }
                Err(error) => return Err(error),
            };
            let verified = stored.verify(&keyring, &ledger);
            let secrets = match verified.and_then(|()| stored.secrets(&keyring)) {
                Ok(secrets) => secrets,
                Err(what) => return Ok(Err(what)),
            };
            stored.seal_secrets(&secrets, &key)?;
            stored.seal_whole(&key)?;
            stored.write_seals(database)?;
            Ok(Ok(()))
        })
    }

    /// Drops the old keys once no seal needs them.
    fn end_rekey(&mut self) -> Result<()> {
        let key = self.keyring.primary().id.clone();
        let statement = "DELETE FROM headwater_previous WHERE key_id <> ?1";
        self.database.execute(statement, &[key.as_str().into()])?;
        self.database.forget_deleted();
        let statement = format!("SELECT {COUNT} FROM headwater_secrets WHERE key_id <> ?1");
        let rows = self.database.query(&statement, &[key.as_str().into()])?;
        let is_needed = rows.first().map_or(Ok(0), |row| row.get(COUNT))? > 0;
        if let Some(path) = self.own_key_file().filter(|_| !is_needed) {
            self.keyring = self.keyring.primary_alone();
            self.keyring.replace(&path)?;
        }
        Ok(())
    }
}
