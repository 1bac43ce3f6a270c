//! Replacing the key, connection by connection.
//!
//! The order keeps every row readable at all times, and lets a killed rotation continue: first the new key comes before
//! the old one in the key file (or in the keys given), then the store names it as its own, then connections are sealed
//! again, each in one transaction, and only when no connection needs the old key does it leave the file.

use headwater_core::{Error, Kind, Result};
use headwater_files::Locked;

use crate::{
    audit::{Actor, Event, audited},
    connection_row::ConnectionRow,
    database::transaction,
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
    pub fn rekey(&mut self, actor: &Actor) -> Result<RekeyReport> {
        let _lock = self.lock_keys()?;
        let mut rekeyed = RekeyReport {
            key_id: String::new(),
            resealed: 0,
            unreadable: Vec::new(),
        };
        for name in self.begin_rekey()? {
            match self.reseal(&name)? {
                Ok(()) => rekeyed.resealed += 1,
                Err(what) => rekeyed.unreadable.push((name, what)),
            }
        }
        rekeyed.key_id = self.keyring.primary().id.clone();
        audited(self, actor, |_| Ok(((), Event::new("key replaced"))))?;
        self.end_rekey()?;
        Ok(rekeyed)
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

    /// Makes the new key the store's, and returns the connections that are still sealed with another key.
    fn begin_rekey(&mut self) -> Result<Vec<String>> {
        let before = sealing_key(&mut *self.database, &self.keyring)?;
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
        let (keyring, key) = (self.keyring.clone(), self.keyring.primary().clone());
        transaction(&mut *self.database, |database| {
            let ledger = Ledger::hold(database, &keyring)?;
            let now = sealing_key(database, &keyring)?.id;
            if now != before.id && now != key.id {
                let text = "another process is changing the store's key; wait for it to end";
                return Err(Error::new(Kind::Unavailable, text));
            }
            ledger.write(database, &key)
        })?;
        let key = key.id;
        let statement = "SELECT DISTINCT c.name FROM headwater_connections c \
                         JOIN headwater_secrets s ON s.connection = c.id WHERE s.key_id <> ?1 ORDER BY c.name";
        let rows = self.database.query(statement, &[key.as_str().into()])?;
        rows.iter().map(|row| row.text(0)).collect()
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
        // Earlier configs are sealed with an old key.
        let statement = "DELETE FROM headwater_previous";
        self.database.execute(statement, &[])?;
        self.database.forget_deleted();
        let key = self.keyring.primary().id.clone();
        let statement = "SELECT count(*) FROM headwater_secrets WHERE key_id <> ?1";
        let rows = self.database.query(statement, &[key.as_str().into()])?;
        let is_needed = rows.first().map_or(Ok(0), |row| row.integer(0))? > 0;
        if is_needed || self.has_given_keys {
            return Ok(());
        }
        if let Some(path) = self.location.key_file() {
            self.keyring = self.keyring.primary_alone();
            self.keyring.replace(&path)?;
        }
        Ok(())
    }
}
